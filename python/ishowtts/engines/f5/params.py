"""What a request may choose, beside text, seed and speed. Pure; safe on any thread.

The names and defaults are upstream's (``f5_tts/infer/utils_infer.py`` of f5-tts 1.1.22), so that the same values give
the same sound.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ishowtts.engines.f5 import schedule
from ishowtts.engines.f5.short_texts import SCHEMA as SHORT_SCHEMA
from ishowtts.engines.f5.short_texts import ShortTexts
from ishowtts.errors import InvalidSetting

AUTO = "auto"
_BOUNDS = f"from {schedule.MIN_STEPS} to {schedule.MAX_STEPS}"
_SHORT_BYTES, _LONG_BYTES = 24, 60
_AUTO_STEPS = (16, 10, 7)
_FLOOR = 7
_GRIDS = (16, 12, 10, 7, 6, 5, 4)
"""What ``auto`` takes for want of time: the pruned grids, and the least there is."""


@dataclass(frozen=True)
class Params:
    """Checked."""

    nfe_steps: int | str = 32
    """Evaluations of the flow, 4 to 64; ``auto``: by the text's length."""
    nfe_adapt: bool = False
    """Whether ``auto`` may take fewer where time is short. Never with a seed of the request's own."""
    nfe_floor: int = _FLOOR
    """``auto`` takes no fewer, whatever the text and the time."""
    schedule: str = "epss"
    """``epss`` takes the pruned grids where they are defined (5, 6, 7, 10, 12 and 16 steps), ``linear`` never."""
    sway: float | None = -1.0
    """Sway sampling's coefficient; None: none."""
    cfg_strength: float = 2.0
    cfg_interval: tuple[float, float] = (0.0, 1.0)
    """Guidance is worked out for these t only; every step without it costs half."""
    fix_duration: float | None = None
    """Seconds of reference and speech together, instead of what the texts' lengths tell."""
    target_rms: float = 0.1
    """A quieter reference is raised to this for the model; the speech gets the reference's level back."""
    cross_fade_duration: float = 0.15
    """Seconds, between the pieces of a text that is too long for one."""
    remove_silence: bool = False
    """Silences of over a second become one second. The sound then comes in one piece at the end."""
    normalize: bool = True
    """Whether numbers, dates, addresses and the like are read out; else the text is given as it is."""
    short: ShortTexts = field(default_factory=ShortTexts)
    """``short_speed_rule``, ``short_padding`` and ``short_reference_s``: how texts of a few words are spoken."""

    def steps(self, text: str, affordable: float = math.inf) -> int:
        """Evaluations for ``text``.

        ``auto``: 16 below 24 bytes of UTF-8, 10 below 60, else 7. Short texts are where few steps lose words first,
        and where more cost least. Of more than are ``affordable`` the next smaller grid is taken, down to the floor.
        """
        if self.nfe_steps != AUTO:
            return cast(int, self.nfe_steps)
        length = len(text.encode())
        wanted = _AUTO_STEPS[0] if length < _SHORT_BYTES else _AUTO_STEPS[1] if length < _LONG_BYTES else _AUTO_STEPS[2]
        if self.nfe_adapt and wanted > affordable:
            wanted = next((steps for steps in _GRIDS if steps <= min(wanted, affordable)), _GRIDS[-1])
        return max(wanted, self.nfe_floor)

    def times(self, steps: int) -> list[float]:
        """``steps + 1`` of them, from 0 to 1, each a float32."""
        return [float(t) for t in schedule.grid(steps, self.schedule, self.sway)]

    def strength(self, t: float) -> float:
        """Of the guidance at ``t``."""
        low, high = self.cfg_interval
        return self.cfg_strength if low <= t <= high else 0.0


def read(given: Mapping[str, Any], nfe_steps: int | str) -> Params:
    """A request's own parameters over the defaults. Raises InvalidSetting."""
    known = list(_READ) + list(SHORT_SCHEMA)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
            raise InvalidSetting(f"f5 has no parameter {name!r}; {meant}")
    values: dict[str, Any] = {name: read_one(name, given[name]) for name, read_one in _READ.items() if name in given}
    chosen = Params(**({"nfe_steps": nfe_steps} | values), short=ShortTexts.read(given))
    if chosen.nfe_adapt and chosen.nfe_steps != AUTO:
        raise InvalidSetting(f"nfe_adapt needs nfe_steps to be {AUTO!r}")
    return chosen


def read_steps(name: str, value: Any) -> int | str:
    """``nfe_steps``, wherever it is set."""
    if value == AUTO:
        return AUTO
    steps = _steps(value)
    if steps is None:
        raise InvalidSetting(f"{name} must be a whole number {_BOUNDS}, or {AUTO!r}, not {value!r}")
    return steps


def _steps(value: Any) -> int | None:
    # In JSON 7.0 is a whole number too.
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
    return int(value) if whole and schedule.MIN_STEPS <= value <= schedule.MAX_STEPS else None


def _number(name: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    raise InvalidSetting(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")


def _schedule(name: str, value: Any) -> str:
    if value in schedule.SCHEDULES:
        return cast(str, value)
    raise InvalidSetting(f"{name} must be one of {', '.join(schedule.SCHEDULES)}, not {value!r}")


def _sway(name: str, value: Any) -> float | None:
    # Beyond these the times of some grids would turn back.
    return None if value is None else _number(name, value, -1.0, 2 / (math.pi - 2))


def _interval(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise InvalidSetting(f"{name} must be two numbers, from and to, not {value!r}")
    low, high = (_number(name, part, 0.0, 1.0) for part in value)
    if low > high:
        raise InvalidSetting(f"{name} must not end before it begins, as {value!r} does")
    return low, high


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidSetting(f"{name} must be true or false, not {value!r}")


def _floor(name: str, value: Any) -> int:
    steps = _steps(value)
    if steps is None:
        raise InvalidSetting(f"{name} must be a whole number {_BOUNDS}, not {value!r}")
    return steps


_READ = {
    "nfe_steps": read_steps,
    "nfe_adapt": _flag,
    "nfe_floor": _floor,
    "schedule": _schedule,
    "sway": _sway,
    "cfg_strength": lambda name, value: _number(name, value, 0.0, 10.0),
    "cfg_interval": _interval,
    "fix_duration": lambda name, value: None if value is None else _number(name, value, 0.1, 90.0),
    "target_rms": lambda name, value: _number(name, value, 0.001, 1.0),
    "cross_fade_duration": lambda name, value: _number(name, value, 0.0, 2.0),
    "remove_silence": _flag,
    "normalize": _flag,
}

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "nfe_steps": {
            "anyOf": [
                {"type": "integer", "minimum": schedule.MIN_STEPS, "maximum": schedule.MAX_STEPS},
                {"const": AUTO},
            ]
        },
        "nfe_adapt": {"type": "boolean", "default": False},
        "nfe_floor": {
            "type": "integer",
            "minimum": schedule.MIN_STEPS,
            "maximum": schedule.MAX_STEPS,
            "default": _FLOOR,
        },
        "schedule": {"enum": list(schedule.SCHEDULES)},
        "sway": {"type": ["number", "null"], "minimum": -1, "maximum": 2 / (math.pi - 2)},
        "cfg_strength": {"type": "number", "minimum": 0, "maximum": 10},
        "cfg_interval": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 2,
            "maxItems": 2,
        },
        "fix_duration": {"type": ["number", "null"], "minimum": 0.1, "maximum": 90, "x-whole-text": True},
        "target_rms": {"type": "number", "minimum": 0.001, "maximum": 1},
        "cross_fade_duration": {"type": "number", "minimum": 0, "maximum": 2},
        "remove_silence": {"type": "boolean"},
        "normalize": {"type": "boolean", "x-reads-links": True},
        **SHORT_SCHEMA,
    },
}
