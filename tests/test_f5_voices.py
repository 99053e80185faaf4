"""The voices that ship, as f5 clones them: each with its own clip and text, by a small model."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pypinyin")

import f5_model
from f5_model import segment
from ishowtts.engine import Voice
from ishowtts.engines.f5 import text
from ishowtts.engines.f5.engine import F5, Reference
from shipped_voices import make_voices

VOICES = make_voices.manifests()
SAID = "What a day it was, was it?"
STEPS = 4

each = pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.id)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[F5]:
    engine = f5_model.write(tmp_path_factory.mktemp("f5")).engine()
    yield engine
    engine.close()


@each
def test_it_is_cloned_from_its_clip(engine: F5, voice: Any) -> None:
    clip = (make_voices.VOICES / voice.id / "reference.wav").read_bytes()
    sound = make_voices.read(make_voices.VOICES / voice.id / "reference.wav")
    prepared = engine.prepare(Voice(voice.id, "1", (), {}, clip, voice.text))
    assert isinstance(prepared, Reference)
    # Of a clip that is too long, or has long silences, something is cut that its text still has.
    assert prepared.clip.duration_s == pytest.approx(len(sound) / make_voices.RATE_HZ, abs=0.5)

    assert engine.admit(0, segment(SAID, nfe_steps=STEPS), prepared) == STEPS
    chunks = [chunk for _ in range(STEPS) for chunk in engine.step([0])]
    assert [(chunk.last, chunk.error) for chunk in chunks] == [(True, None)]
    (spoken,) = (chunk.pcm for chunk in chunks)
    assert np.isfinite(spoken).all()
    assert np.sqrt(np.mean(spoken**2)) > 1e-4
    letters_a_second = len(voice.text) / prepared.clip.duration_s
    assert len(spoken) / engine.info.sample_rate_hz == pytest.approx(len(SAID) / letters_a_second, rel=0.1)


@each
def test_f5_knows_all_that_is_in_its_text(engine: F5, voice: Any) -> None:
    """The small model's are Latin letters, digits and a few marks, which every published vocabulary has."""
    assert set(text.to_tokens(voice.text)) <= set(engine.vocabulary)
    upstream = importlib.util.find_spec("f5_tts")
    if upstream is not None and upstream.origin is not None:
        official = text.load_vocab(Path(upstream.origin).parent / "infer" / "examples" / "vocab.txt")
        assert set(text.to_tokens(voice.text)) <= set(official)
