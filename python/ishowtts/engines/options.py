"""An engine's options: its table of the configuration, read into a frozen dataclass that rejects what it lacks."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from ishowtts.errors import InvalidSetting

Options = TypeVar("Options")


def read(kind: type[Options], engine: str, table: Mapping[str, object]) -> Options:
    """``table`` as a ``kind``. Raises InvalidSetting for an unknown key or a value of the wrong type.

    Fields are bool, int, float, str, int | str or tuple[str, ...]; an int is taken where a float stands.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
            raise InvalidSetting(f"[engines.{engine}] has no option {key!r}; {meant}")
        values[key] = _value(engine, key, value, hints[key])
    return kind(**values)


def _value(engine: str, key: str, value: object, kind: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (bool, int, float, str):
        if type(value) is kind:
            return value
        raise InvalidSetting(f"[engines.{engine}] {key} must be {_NAMES[kind]}, not {value!r}")
    if kind == int | str:
        if type(value) in (int, str):
            return value
        raise InvalidSetting(f"[engines.{engine}] {key} must be a whole number or a string, not {value!r}")
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise InvalidSetting(f"[engines.{engine}] {key} must be a list of strings, not {value!r}")


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
