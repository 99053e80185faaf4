"""The voices that ship: distinct to the ear, each with a clip that tells the truth, made as their README says."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from harness import Server
from shipped_voices import make_voices
from test_words import plain, whisper, word_error_rate

ROOT = Path(__file__).resolve().parent.parent
MIN_VOICES = 6


VOICES = make_voices.manifests()


def clip(voice: str) -> np.ndarray:
    return np.asarray(make_voices.read(make_voices.VOICES / voice / "reference.wav"))


def test_the_clips_are_what_the_manifests_make() -> None:
    assert len(VOICES) >= MIN_VOICES
    assert make_voices.main(["--check"]) == 0


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    """What is measured of each while all say the same, as in the README: id, F0, F1, F2, F3, pace."""
    voices = make_voices.with_one_text(VOICES)
    assert len({voice.text for voice in voices}) == 1
    sounds = make_voices.made(voices)
    return [cells(make_voices.row(voice, sounds[voice.id])) for voice in voices]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|\n").split("|")]


def test_every_two_voices_differ_in_pitch_or_mouth(rows: list[list[str]]) -> None:
    """By what nobody can miss: 1.5 semitones of pitch, or 12 % of the third resonance."""
    heard = {voice: (float(pitch), float(third)) for voice, pitch, _, _, third, _ in rows}
    assert len(heard) >= MIN_VOICES
    for (one, (pitch, third)), (other, (pitch_too, third_too)) in itertools.combinations(heard.items(), 2):
        semitones = abs(12 * math.log2(pitch / pitch_too))
        mouth = abs(math.log(third / third_too))
        assert semitones > 1.5 or mouth > math.log(1.12), f"{one} and {other}: {semitones:.1f} semitones, {mouth:.2f}"
    assert max(pitch for pitch, _ in heard.values()) > 2 * min(pitch for pitch, _ in heard.values())


def test_the_readme_has_the_figures(rows: list[list[str]]) -> None:
    """But for what other versions of onnxruntime and NumPy change."""
    readme = (ROOT / "voices" / "README.md").read_text(encoding="utf-8")
    _, _, table = readme.partition("| F3, Hz |")
    told = {voice: figures for voice, *figures in map(cells, table.splitlines()) if figures}
    for voice, *figures in rows:
        assert [float(figure) for figure in told[voice]] == pytest.approx([*map(float, figures)], rel=0.03), voice


@pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.id)
def test_a_clip_says_its_text(voice: object) -> None:
    text, sound = voice.text, clip(voice.id)  # type: ignore[attr-defined]
    assert 4.0 < len(sound) / make_voices.RATE_HZ < 12.0
    assert np.abs(sound).max() < 0.95
    at_16_khz = np.interp(np.arange(0, len(sound), 1.5), np.arange(len(sound)), sound).astype(np.float32)
    segments, _ = whisper().transcribe(at_16_khz, language="en", beam_size=1)
    heard = plain(" ".join(segment.text for segment in segments))
    assert word_error_rate([plain(text)], [heard]) < 0.06, (text, heard)


def test_the_default_engine_speaks_with_all_of_them(hibari: Server) -> None:
    text = "The harbour lights came on one by one."
    spoken = {voice.id: hibari.speak(text, voice=voice.id) for voice in VOICES}
    assert all(reply.status == 200 for reply in spoken.values())
    assert len({reply.body for reply in spoken.values()}) == len(VOICES)
