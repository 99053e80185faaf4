# ruff: noqa: RUF001 - the characters are what this is about
"""What f5 says of a text: in which language, and that it tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("num2words")

from f5_model import Small, run_all, sound
from ishowtts.engine import Chunk, Segment, Transcript
from ishowtts.engines.f5 import spoken
from ishowtts.engines.f5.engine import F5

ENGLISH = "The harbour lights came on one by one."


def segment(text: str, language: str | None = None, **params: object) -> Segment:
    return Segment(text, language, 0, 1.0, params)


@pytest.mark.parametrize(
    ("text", "asked", "voice", "reference_text", "found"),
    [
        ("12345", None, (), ENGLISH, "en"),
        ("12345", None, (), "你好，世界。", "zh"),
        ("12345", None, ("und",), "Привет.", "ru"),
        ("3/4/2026, $12.50!", None, ("fr-CA", "en"), "Les lumières du port.", "fr"),
        ("12345", None, ("fr",), "你好，世界。", "zh"),
        ("12345", None, ("zh",), ENGLISH, "en"),
        ("12345", None, ("tlh",), ENGLISH, "en"),
        ("12345", "de", ("fr",), ENGLISH, "de"),
        ("12345号", None, ("en",), ENGLISH, None),
        ("It is 5.", None, ("fr",), "你好。", None),
    ],
)
def test_digits_alone_are_read_in_the_voices_language(
    text: str, asked: str | None, voice: tuple[str, ...], reference_text: str, found: str | None
) -> None:
    assert spoken.language(segment(text, asked), voice, reference_text) == found


def speak(engine: F5, said: Segment, small: Small, languages: tuple[str, ...] = ()) -> list[Chunk]:
    engine.admit(0, said, engine.prepare(replace(small.voice(), languages=languages)))
    return run_all(engine, [0])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (segment("It costs $100 on  3/4/2026."), "It costs one hundred dollars on March fourth, twenty twenty six."),
        (segment("It is\n5.", normalize=False), "It is 5."),
        (segment("Go. " * 60, short_padding=True), ("Go. " * 60).strip()),
        (segment("Hi.", remove_silence=True, short_padding=True), "Hi."),
    ],
    ids=["read out", "as given", "in several pieces", "all at once"],
)
def test_what_was_said_is_told_once(engine: F5, small: Small, said: Segment, told: str) -> None:
    chunks = speak(engine, said, small)
    assert len(sound(chunks))
    first, *others = [chunk.transcript for chunk in chunks]
    assert first == Transcript(told)
    assert others == [None] * len(others)


@pytest.mark.parametrize(("languages", "language"), [((), "en"), (("es",), "es")])
def test_the_engine_does_so(engine: F5, small: Small, languages: tuple[str, ...], language: str) -> None:
    found, wanted = (sound(speak(engine, segment("415", asked), small, languages)) for asked in (None, language))
    np.testing.assert_array_equal(found, wanted)
