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
        AudioError,
        ConfigError,
        EngineBroken,
        InvalidSetting,
        IshowttsError,
        SegmentRefused,
        SpeechError,
    )
    from ishowtts.server import Server
    from ishowtts.speaker import Speaker
    from ishowtts.speech import Audio, Caption, CaptionWord, SpeechStream

_HOMES = {
    "Audio": "ishowtts.speech",
    "AudioError": "ishowtts.errors",
    "Caption": "ishowtts.speech",
    "CaptionWord": "ishowtts.speech",
    "Config": "ishowtts._native",
    "Runtime": "ishowtts._native",
    "Server": "ishowtts.server",
    "Speaker": "ishowtts.speaker",
    "SpeechStream": "ishowtts.speech",
    "Stream": "ishowtts._native",
    "ConfigError": "ishowtts.errors",
    "EngineBroken": "ishowtts.errors",
    "InvalidSetting": "ishowtts.errors",
    "IshowttsError": "ishowtts.errors",
    "SegmentRefused": "ishowtts.errors",
    "SpeechError": "ishowtts.errors",
}

__all__ = [
    "Audio",
    "AudioError",
    "Caption",
    "CaptionWord",
    "Config",
    "ConfigError",
    "EngineBroken",
    "InvalidSetting",
    "IshowttsError",
    "Runtime",
    "SegmentRefused",
    "Server",
    "Speaker",
    "SpeechError",
    "SpeechStream",
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
