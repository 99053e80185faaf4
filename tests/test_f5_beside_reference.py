# ruff: noqa: RUF001 - the characters are what this is about
"""f5 and f5-reference side by side on texts that take several runs of the model. Needs f5-tts and torch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_f5
from ishowtts.engine import Engine, Pcm, Segment, Voice, WholeSegmentAdapter

pytest.importorskip("f5_tts", reason="the upstream package is not installed")

from f5_model import speak
from ishowtts.engines.f5.reference import shorten_silences

ENGLISH = "Hello there. Yes. The harbour lights came on one by one, and more. No. " * 5
CHINESE = "你好世界，你好，" * 22 + "你好。"
MIXED = "I have 5 apples, at 3:15, for $100; hello: 你好，世界！ " * 4


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return small_f5.make(tmp_path_factory.mktemp("small")) | {"device": "cpu"}


@pytest.fixture(scope="module")
def engines(options: dict[str, str]) -> Iterator[tuple[Engine, Engine]]:
    from ishowtts.engines import f5, f5_reference

    ours = f5.load({**options, "dtype": "fp32"}, 2)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = WholeSegmentAdapter(f5_reference.load(options, 2))
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture(scope="module")
def voice(options: dict[str, str]) -> Voice:
    """With a text so short for it that a run of the model takes 160 bytes."""
    clip = Path(options["checkpoint"]).parent / "reference.wav"
    return Voice("mine", "1", ("en",), {}, clip.read_bytes(), "Hi there")


@pytest.mark.parametrize(
    ("text", "speed", "params"),
    [
        (ENGLISH, 1.0, {}),
        (ENGLISH, 1.5, {"cross_fade_duration": 2.0, "target_rms": 0.3}),
        (ENGLISH, 1.0, {"cross_fade_duration": 0, "cfg_strength": 0, "sway": None}),
        (ENGLISH, 1.0, {"fix_duration": 25, "cross_fade_duration": 0.5, "sway": 1.75}),
        (ENGLISH, 2.0, {"target_rms": 0.01, "cfg_strength": 5, "nfe_steps": 9}),
        (ENGLISH, 1.0, {"remove_silence": True}),
        (CHINESE, 2.0, {}),
        (CHINESE, 1.0, {"fix_duration": 40}),
        (MIXED, 1.0, {"normalize": True}),
    ],
)
def test_several_pieces_sound_the_same(
    engines: tuple[Engine, Engine], voice: Voice, text: str, speed: float, params: dict[str, Any]
) -> None:
    said = Segment(text, None, 5, speed, {"nfe_steps": 5, "normalize": False, **params})
    found, wanted = (speak(engine, said, engine.prepare(voice)) for engine in engines)
    assert len(found) == len(wanted)
    assert np.corrcoef(found, wanted)[0, 1] > 0.9999
    # Upstream shortens silences in a file of 16 bits.
    coarse = 1 / 32_768 if params.get("remove_silence") else 0.0
    np.testing.assert_allclose(found, wanted, atol=1e-4 * float(np.abs(wanted).max()) + coarse)


def pauses(seed: int) -> Pcm:
    """Noise with pauses of 0.2 to 3 s in it, silent or hissing, some of them at its ends."""
    random = np.random.default_rng(seed)
    sound = []
    for index in range(int(random.integers(3, 8))):
        level = random.choice([0.0, 0.001, 0.003, 0.01]) if index % 2 == seed % 2 else 0.2
        sound.append(level * random.standard_normal(int(random.uniform(0.2, 3.0) * 24_000)))
    return np.clip(np.concatenate(sound), -1, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_silences_are_shortened_to_the_same(seed: int, engines: tuple[Engine, Engine]) -> None:
    pcm = pauses(seed)
    wanted = engines[1]._engine._without_silence(pcm)  # type: ignore[attr-defined]
    found = shorten_silences(pcm)
    assert len(found) == len(wanted)
    np.testing.assert_allclose(found, wanted, atol=1.01 / 32_768)


def test_some_of_them_were(engines: tuple[Engine, Engine]) -> None:
    assert sum(len(shorten_silences(pauses(seed))) < len(pauses(seed)) for seed in range(12)) >= 6
