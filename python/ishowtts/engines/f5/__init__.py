"""F5-TTS: our own fast inference, and what it reads (text, reference clip, weights).

Needs torch, numpy and safetensors alone to be imported; what reads text is imported with the first text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ishowtts.engines.f5.engine import F5


def check_options(options: Mapping[str, object], threads: int) -> None:
    """Raises InvalidSetting for options that nothing can be loaded by; needs neither weights nor a network."""
    from ishowtts.engines.f5 import engine

    engine.check_options(options)


def load(options: Mapping[str, object], threads: int) -> F5:
    """The entry point."""
    from ishowtts.engines.f5 import engine

    return engine.load(options, threads)
