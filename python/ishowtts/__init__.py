"""ishowtts: text to speech, live.

Names are loaded when first used, so that ``import ishowtts.engines.hibari`` needs neither the native module nor the
command line's packages.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ishowtts._native import Config, Runtime, Stream
    from ishowtts.errors import (
        ConfigError,
        EngineBroken,
        InvalidSetting,
        IshowttsError,
        SegmentRefused,
        SpeechError,
    )

_HOMES = {
    "Config": "ishowtts._native",
    "Runtime": "ishowtts._native",
    "Stream": "ishowtts._native",
    "ConfigError": "ishowtts.errors",
    "EngineBroken": "ishowtts.errors",
    "InvalidSetting": "ishowtts.errors",
    "IshowttsError": "ishowtts.errors",
    "SegmentRefused": "ishowtts.errors",
    "SpeechError": "ishowtts.errors",
}

__all__ = [
    "Config",
    "ConfigError",
    "EngineBroken",
    "InvalidSetting",
    "IshowttsError",
    "Runtime",
    "SegmentRefused",
    "SpeechError",
    "Stream",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ishowtts")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ishowtts' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
