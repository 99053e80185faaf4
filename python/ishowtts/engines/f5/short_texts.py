# ruff: noqa: RUF001 - the characters are what this is about
"""Texts of one to four words, of which the model loses words or into which it leaks the reference. Each remedy is an
option; the defaults are upstream's. Pure; safe on any thread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ishowtts.engines.f5 import text as f5_text
from ishowtts.engines.f5.config import SAMPLE_RATE_HZ
from ishowtts.engines.f5.reference import PreparedClip
from ishowtts.errors import InvalidSetting

RULES = ("upstream", "even", "off")
SCHEMA: Mapping[str, Mapping[str, Any]] = {
    "short_speed_rule": {"type": "string", "enum": list(RULES), "default": "upstream"},
    "short_padding": {"type": "boolean", "default": False},
    "short_reference_s": {"type": "number", "minimum": 0, "maximum": 12, "default": 0},
}
"""Properties of ``EngineInfo.params``, for engines that take these as parameters of a request."""
MOST_BYTES = 24
"""What counts as short for ``even`` and for the padding: about four English words, eight Chinese characters."""

_SPARE_BYTES = 12
"""The time of so many bytes is given to the shortest text on top of its own; less to a longer one, none from 24 on."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_CLOSED = ".!?。！？…"
_PAUSE_S = 0.12
_PAUSE_LEVEL = 0.1
"""Of the clip's own RMS."""
_REACH = 0.2
"""How far, of the clip's length, a pause may lie from where the text lets it be expected."""


@dataclass(frozen=True)
class ShortTexts:
    """How short texts are spoken."""

    speed_rule: str = "upstream"
    """``upstream``: below 10 bytes the time of speed 0.3, whatever speed was asked for (a leap: 9 bytes get the time of
    30, 10 bytes that of 10). ``even``: spare time that shrinks to nothing at 24 bytes, and the speed asked for.
    ``off``: no rule."""
    padding: bool = False
    """Pauses before and behind, so that neither end of the text lies at the edge of what is made."""
    reference_s: float = 0.0
    """Above 0: the reference is cut at a sentence so that at most so many seconds are left; 0: it is whole."""

    def __post_init__(self) -> None:
        if self.speed_rule not in RULES:
            raise InvalidSetting(f"the rule for short texts must be upstream, even or off, not {self.speed_rule!r}")

    @staticmethod
    def read(params: Mapping[str, Any]) -> ShortTexts:
        """From a request's parameters, those of ``SCHEMA``. Raises InvalidSetting."""
        rule, padding = params.get("short_speed_rule", RULES[0]), params.get("short_padding", False)
        reference_s = params.get("short_reference_s", 0)
        if not isinstance(padding, bool):
            raise InvalidSetting(f"short_padding must be true or false, not {padding!r}")
        if isinstance(reference_s, bool) or not isinstance(reference_s, (int, float)) or not 0 <= reference_s <= 12:
            raise InvalidSetting(f"short_reference_s must be a number from 0 to 12, not {reference_s!r}")
        return ShortTexts(rule, padding, float(reference_s))


def is_short(text: str) -> bool:
    return len(text.encode()) < MOST_BYTES


def speed(text: str, asked: float, options: ShortTexts) -> float:
    """The speed that ``duration_frames`` is given for ``text``."""
    if options.speed_rule == "upstream":
        return f5_text.spoken_speed(text, asked)
    length = len(text.encode())
    if options.speed_rule == "off" or not 0 < length < MOST_BYTES:
        return asked
    spare = _SPARE_BYTES * (1 - length / MOST_BYTES)
    return asked * length / (length + spare)


def padded(text: str, options: ShortTexts) -> str:
    """``text`` between pauses, if it is short."""
    if not options.padding or not text.strip() or not is_short(text):
        return text
    text = text.strip()
    chinese = any("\u3400" <= char <= "\u9fff" for char in text)
    stop, pause = ("。", "。") if chinese else (".", " ...")
    closed = text if text[-1] in _CLOSED else text + stop
    return f"。{closed}{pause}" if chinese else f"... {closed}{pause}"


def shortened(clip: PreparedClip, longest_s: float) -> PreparedClip:
    """The clip up to the end of a sentence that lies in its first ``longest_s``, or the clip itself where no pause is
    found near where its text lets one be expected.

    Without an aligner the two are matched by length: a sentence's share of the bytes against a pause's place.
    """
    if longest_s <= 0 or clip.duration_s <= longest_s:
        return clip
    sentences = [sentence for sentence in _SENTENCE_END.split(clip.reference_text) if sentence.strip()]
    whole_bytes = len(clip.reference_text.encode())
    pauses = _pauses(clip)
    best: tuple[float, str] | None = None
    for count in range(1, len(sentences)):
        text = " ".join(sentences[:count]) if sentences[0].isascii() else "".join(sentences[:count])
        expected_s = clip.duration_s * len(text.encode()) / whole_bytes
        near = [at for at in pauses if at <= longest_s and abs(at - expected_s) <= _REACH * clip.duration_s]
        if near:
            best = (min(near, key=lambda at: abs(at - expected_s)), text)
    if best is None:
        return clip
    end_s, text = best
    reference_text = f5_text.complete_reference_text(text)
    samples = np.ascontiguousarray(clip.samples[: int(end_s * SAMPLE_RATE_HZ)])
    return replace(
        clip,
        samples=samples,
        text=f5_text.conditioning_text(reference_text),
        reference_text=reference_text,
        duration_s=len(samples) / SAMPLE_RATE_HZ,
    )


def _pauses(clip: PreparedClip) -> list[float]:
    """Where in the clip, in seconds, the middle of each pause lies."""
    frame = SAMPLE_RATE_HZ // 100
    count = len(clip.samples) // frame
    levels = np.sqrt(np.mean(clip.samples[: count * frame].reshape(count, frame).astype(np.float64) ** 2, axis=1))
    quiet = np.concatenate(([False], levels < _PAUSE_LEVEL * clip.rms, [False]))
    edges = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)
    return [float(start + end) / 200 for start, end in edges if (end - start) / 100 >= _PAUSE_S and end < count]
