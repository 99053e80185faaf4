"""Finds engines by name. An engine is an entry point of the group ``ishowtts.engines``: a package adds one by naming a
callable ``load(options: Mapping[str, object], threads: int)`` that returns an
:class:`~ishowtts.engine.Engine` or a :class:`~ishowtts.engine.WholeSegmentEngine`. Beside it in the module there may be
``check_options(options: Mapping[str, object], threads: int)``, which raises InvalidSetting as ``load`` would for
options that cannot be, and loads nothing: ``ishowtts config check`` calls it."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from ishowtts.engine import Engine, WholeSegmentAdapter, WholeSegmentEngine
from ishowtts.errors import InvalidSetting, IshowttsError

GROUP = "ishowtts.engines"
AUTO = "auto"
_ALONE = ("fake", "espeak")
"""Engines that nobody else speaks for."""

_EXTRAS = {"f5": "f5", "f5-reference": "reference"}
"""Engines of ours whose packages come with an extra."""

# Read once, when the libraries are imported: one budget for the program instead of one thread a core for each of them.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Available:
    """An engine that is installed; nothing of it has been imported."""

    name: str
    package: str
    version: str


def available() -> list[Available]:
    """The installed engines, sorted by name."""
    return [_describe(point) for point in _points().values()]


def share_threads(threads: int) -> None:
    """Tells the numeric libraries how many threads they may have; what was set before stays.

    To be called before there are other threads: C libraries read the environment without a lock, and crash where it
    moves meanwhile.
    """
    for variable in _THREAD_VARIABLES:
        os.environ.setdefault(variable, str(max(1, threads)))


def load(name: str, options: Mapping[str, object], threads: int) -> Engine:
    """Imports and loads the engine ``name``.

    Raises InvalidSetting for an unknown name or an option that the engine does not accept, and whatever else the
    engine's own ``load`` raises.
    """
    points = _points()
    point = points.get(name)
    if point is None:
        raise InvalidSetting(_unknown(name, list(points)))
    share_threads(threads)
    package = _describe(point).package
    try:
        make = point.load()
    except Exception as error:
        raise _not_importable(name, package, error) from error
    try:
        engine = make(options, threads)
    except ModuleNotFoundError as error:
        raise _not_importable(name, package, error) from error
    if isinstance(engine, WholeSegmentEngine):
        return WholeSegmentAdapter(engine)
    if not isinstance(engine, Engine):
        raise IshowttsError(f"the engine {name!r} of the package {package} returned {type(engine).__name__}, no engine")
    return engine


def check_options(name: str, options: Mapping[str, object], threads: int) -> None:
    """Whether the engine ``name`` could accept ``options``, as far as that is known without loading it.

    Raises InvalidSetting if it does not, IshowttsError if it cannot be imported.
    """
    points = _points()
    point = points.get(name)
    if point is None:
        raise InvalidSetting(_unknown(name, list(points)))
    share_threads(threads)
    try:
        check = getattr(importlib.import_module(point.module), "check_options", None)
        if check is not None:
            check(options, threads)
    except IshowttsError:
        raise
    except Exception as error:
        raise _not_importable(name, _describe(point).package, error) from error


def _not_importable(name: str, package: str, error: Exception) -> IshowttsError:
    if isinstance(error, ModuleNotFoundError) and package == "ishowtts" and name in _EXTRAS:
        mend = f"install it with: pip install 'ishowtts[{_EXTRAS[name]}]'"
        return IshowttsError(f"the engine {name!r} needs the package {error.name}; {mend}")
    return IshowttsError(
        f"the engine {name!r} of the package {package} could not be imported ({type(error).__name__}); "
        f"is the package installed whole?"
    )


def _points() -> dict[str, EntryPoint]:
    # The first of a name wins, as on the path.
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, point)
    return dict(sorted(found.items()))


def _describe(point: EntryPoint) -> Available:
    if point.dist is None:
        return Available(point.name, point.value.partition(".")[0], "")
    return Available(point.name, point.dist.name, point.dist.version)


def fallbacks(engine: str, named: Sequence[str]) -> tuple[list[str], list[str]]:
    """Who is asked for what ``engine`` cannot say, with ``"auto"`` resolved; and what a person should know about it."""
    from ishowtts.engines import espeak

    names: list[str] = []
    notes = []
    for name in named:
        if name != AUTO:
            names.append(name)
        elif engine not in _ALONE:
            reason = espeak.missing()
            if reason is None:
                names.append("espeak")
            else:
                notes.append(f"text that {engine} cannot say is refused, as {reason}")
    return names, notes


def _unknown(name: str, names: list[str]) -> str:
    installed = ", ".join(names) if names else "none"
    near = difflib.get_close_matches(name, names, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"no engine is called {name!r}{meant} (installed: {installed})"
