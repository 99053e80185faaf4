# ruff: noqa: RUF001 - the characters are what this is about
"""f5-reference against the package that it wraps: the same samples, whatever came before. Needs f5-tts and torch."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_f5
from ishowtts.engine import Segment, Transcript, Voice, WholeSegmentAdapter
from ishowtts.errors import InvalidSetting, SegmentRefused

pytest.importorskip("f5_tts", reason="the upstream package is not installed")

from ishowtts.engines.f5.params import SCHEMA, Params

TEXT = "Hello there world, and more."


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return small_f5.make(tmp_path_factory.mktemp("small")) | {"device": "cpu"}


@pytest.fixture(scope="module")
def engine(options: dict[str, str]) -> Iterator[Any]:
    from ishowtts.engines import f5_reference

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        engine = f5_reference.load(options, 2)
    assert printed.getvalue() == "", "standard output is where `say -o -` puts its speech"
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def voice(options: dict[str, str]) -> Voice:
    clip = Path(options["checkpoint"]).parent / "reference.wav"
    return Voice("mine", "1", ("en",), {}, clip.read_bytes(), small_f5.REFERENCE_TEXT)


def segment(text: str = TEXT, seed: int = 5, speed: float = 1.0, **params: object) -> Segment:
    return Segment(text, None, seed, speed, {"nfe_steps": 4, "normalize": False, **params})


def upstream(engine: Any, voice: Voice, text: str, seed: int, **arguments: Any) -> np.ndarray:
    """Upstream's own chain, as its command line calls it."""
    import torch

    functions = engine._upstream
    assert voice.reference_audio is not None
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(voice.reference_audio)
        file.flush()
        clip, reference_text = functions.preprocess_ref_audio_text(file.name, voice.reference_text)
    torch.manual_seed(seed)
    spoken, rate_hz, _ = functions.infer_process(
        clip, reference_text, text, engine._model, engine._vocoder, nfe_step=4, device="cpu", **arguments
    )
    assert rate_hz == engine.info.sample_rate_hz
    return np.asarray(spoken)


@pytest.mark.parametrize(
    ("text", "given", "theirs"),
    [
        (TEXT, {}, {}),
        ("Hi.", {}, {}),
        (TEXT, {"cfg_strength": 0.0, "sway": 0.0}, {"cfg_strength": 0.0, "sway_sampling_coef": 0.0}),
        (TEXT, {"speed": 1.5, "target_rms": 0.2}, {"speed": 1.5, "target_rms": 0.2}),
        (TEXT, {"fix_duration": 3.0}, {"fix_duration": 3.0}),
        (TEXT, {"sway": None, "fix_duration": None}, {"sway_sampling_coef": None}),
        (TEXT, {"sway": 1.75}, {"sway_sampling_coef": 1.75}),
    ],
)
def test_samples_are_upstreams(
    engine: Any, voice: Voice, text: str, given: dict[str, Any], theirs: dict[str, Any]
) -> None:
    spoken = engine.speak(segment(text, **given), engine.prepare(voice))
    assert spoken.dtype == np.float32
    assert np.abs(spoken).max() > 0
    np.testing.assert_array_equal(spoken, upstream(engine, voice, text, 5, **theirs))


PIECES = "Hello there. Yes. The harbour lights came on one by one, and more. No. " * 5
CHINESE = "你好世界，你好，" * 22 + "你好。"


@pytest.mark.parametrize(
    ("text", "given", "theirs"),
    [
        (PIECES, {}, {}),
        (CHINESE, {}, {}),
        (
            PIECES,
            {"fix_duration": 20.0, "cross_fade_duration": 0.5},
            {"fix_duration": 20.0, "cross_fade_duration": 0.5},
        ),
    ],
    ids=["English", "600 bytes of Chinese", "of a fixed length"],
)
def test_pieces_of_a_long_text_are_spoken_in_turn(
    engine: Any,
    voice: Voice,
    text: str,
    given: dict[str, Any],
    theirs: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Upstream's threads draw their noise in any order: with one of them its sound is the seed's."""
    voice = dataclasses.replace(voice, reference_text="Hi there")
    clip = engine.prepare(voice)
    assert len(engine._chunks(segment(text), clip, Params(normalize=False))) >= 3
    engine.check(segment(text, **given), clip)
    spoken = engine.speak(segment(text, **given), clip)
    assert engine._upstream.ThreadPoolExecutor is ThreadPoolExecutor, "others who use the package keep its pool"
    monkeypatch.setattr(engine._upstream, "ThreadPoolExecutor", functools.partial(ThreadPoolExecutor, 1))
    # Its cross-fade makes doubles of the samples.
    np.testing.assert_array_equal(spoken, upstream(engine, voice, text, 5, **theirs).astype(np.float32))


def test_a_piece_that_fails_ends_the_segment(engine: Any, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = engine.prepare(dataclasses.replace(voice, reference_text="Hi there"))
    calls = []

    def fail(*arguments: Any, **named: Any) -> Any:
        calls.append(named["duration"])
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine._model, "sample", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.speak(segment(PIECES), clip)
    assert len(calls) == 1, "nobody waits for the others"


def test_the_seed_decides(engine: Any, voice: Voice) -> None:
    clip = engine.prepare(voice)
    first, again, other = (engine.speak(segment(seed=seed), clip) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not np.array_equal(first, other)


def test_a_failed_request_leaves_no_text_behind(engine: Any, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = engine.prepare(voice)
    wanted = engine.speak(segment("Hello world again."), clip)
    calls = 0

    def fail_in_the_middle(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("out of memory")
        return forward(*arguments, **named)

    forward = engine._model.transformer.forward
    monkeypatch.setattr(engine._model.transformer, "forward", fail_in_the_middle)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.speak(segment("Another text."), clip)
    np.testing.assert_array_equal(engine.speak(segment("Hello world again."), clip), wanted)


def test_numbers_are_read_unless_told_otherwise(engine: Any, voice: Voice) -> None:
    clip = engine.prepare(voice)
    words = engine.speak(segment("I have five apples."), clip)
    np.testing.assert_array_equal(engine.speak(segment("I have 5 apples.", normalize=True), clip), words)
    assert not np.array_equal(engine.speak(segment("I have 5 apples."), clip), words)


def test_what_was_said_is_told(engine: Any, voice: Voice) -> None:
    adapted = WholeSegmentAdapter(engine)
    adapted.admit(0, segment("I have 5 apples.", normalize=True), engine.prepare(voice))
    (chunk,) = adapted.step([0])
    assert chunk.transcript == Transcript("I have five apples.")


@pytest.mark.parametrize(
    ("text", "params", "error", "told"),
    [
        ("!!!", {}, SegmentRefused, "nothing in it"),
        ("", {}, SegmentRefused, "nothing in it"),
        ("かな", {}, SegmentRefused, "vocabulary lacks"),
        (TEXT, {"fix_duration": 0.05}, InvalidSetting, "fix_duration must be a number from 0.1 to 90"),
        (TEXT, {"cross_fade_duration": 2.1}, InvalidSetting, "cross_fade_duration must be a number from 0 to 2"),
        (TEXT, {"nfe_steps": "auto"}, InvalidSetting, "'auto' is f5's own"),
        (TEXT, {"cfg_interval": [0, 0.5]}, InvalidSetting, "no parameter 'cfg_interval' .that is f5's own"),
        (TEXT, {"nfe_steps": 3}, InvalidSetting, "nfe_steps must be a whole number from 4 to 64"),
        (TEXT, {"nfe_steps": 7.5}, InvalidSetting, "nfe_steps must be a whole number from 4 to 64"),
        (TEXT, {"nfe_step": 8}, InvalidSetting, "no parameter 'nfe_step'"),
        (TEXT, {"normalize": 1}, InvalidSetting, "normalize must be true or false"),
        ("a" * 4000, {}, SegmentRefused, "8192 frames"),
    ],
)
def test_refuses_what_it_cannot_say(
    engine: Any, voice: Voice, text: str, params: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        engine.check(segment(text, **params), engine.prepare(voice))


def test_bounds_are_those_of_f5(engine: Any) -> None:
    known = engine.info.params["properties"]
    assert known.pop("nfe_steps") == {"type": "integer", "minimum": 4, "maximum": 64, "default": 32}
    assert {name: {**SCHEMA["properties"][name], "default": known[name]["default"]} for name in known} == known
    assert Params(**{name: schema["default"] for name, schema in known.items()}) == Params()


def test_a_voice_needs_a_clip(engine: Any) -> None:
    with pytest.raises(InvalidSetting, match="no reference clip"):
        engine.prepare(Voice("heart", "1", (), {}, None, None))


def test_pt_checkpoints_load(options: dict[str, str], engine: Any, voice: Voice) -> None:
    import torch
    from ishowtts.engines import f5_reference

    newer = Path(options["checkpoint"]).parent / "ema.pt"
    older = newer.with_name("older.pt")
    torch.save(torch.load(newer, weights_only=True), older, _use_new_zipfile_serialization=False)
    for path in (newer, older):
        other = f5_reference.load(options | {"checkpoint": str(path)}, 2)
        same = other.speak(segment(), other.prepare(voice))
        np.testing.assert_array_equal(same, engine.speak(segment(), engine.prepare(voice)))
        assert other.info.revision != engine.info.revision


@pytest.mark.parametrize("text", [TEXT, "Hi.", "ni hao, hello"])
@pytest.mark.parametrize("nfe_steps", [7, 16])
def test_f5_is_upstreams_chain(engine: Any, voice: Voice, options: dict[str, str], text: str, nfe_steps: int) -> None:
    """The reference's preparation included: from a clip and a text to the waveform."""
    from ishowtts.engines import f5

    ours = f5.load({**options, "dtype": "fp32"}, 2)
    said = segment(text, nfe_steps=nfe_steps)
    for _ in range(ours.admit(0, said, ours.prepare(voice))):
        (chunk,) = list(ours.step([0])) or (None,)
    assert chunk is not None
    assert chunk.error is None
    wanted = engine.speak(said, engine.prepare(voice))
    assert len(chunk.pcm) == len(wanted)
    assert np.corrcoef(chunk.pcm, wanted)[0, 1] > 0.9999
    np.testing.assert_allclose(chunk.pcm, wanted, atol=1e-4 * float(np.abs(wanted).max()))
