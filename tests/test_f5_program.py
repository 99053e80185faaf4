"""f5 through the whole program: ``Speaker(engine="f5", options=…)`` and its requests, with a small model on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pypinyin")
pytest.importorskip("yaml")

import f5_model  # noqa: E402
import ishowtts  # noqa: E402
from f5_model import Small, segment, speak  # noqa: E402
from fake_hub import FakeHub  # noqa: E402
from harness import environment, run  # noqa: E402
from ishowtts.engine import Pcm  # noqa: E402

TEXT = "The boats turned home in the evening, one by one."
LONG = " ".join([TEXT] * 6)


@pytest.fixture(scope="module")
def options(small: Small) -> dict[str, Any]:
    """Every key that others rely on."""
    import yaml

    model = small.files.checkpoint.with_name("small.yaml")
    model.write_text(yaml.safe_dump({"model": {"name": "small", "backbone": "DiT", "arch": f5_model.ARCH}}), "utf-8")
    return {
        "model": str(model),
        "checkpoint": str(small.files.checkpoint),
        "vocab": str(small.files.vocab),
        "vocoder": str(small.files.vocoder_dir),
        "device": "cpu",
        "dtype": "fp32",
        "compile": "auto",
        "max_slots": 2,
    }


@pytest.fixture(scope="module")
def speaker(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ishowtts.Speaker]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(tmp_path_factory.mktemp("speaker")).items():
            patch.setenv(name, value)
        with ishowtts.Speaker(engine="f5", options=options, settings={"cpu.threads": 1}) as opened:
            yield opened


def said(small: Small, text: str, seed: int, **params: Any) -> Pcm:
    """By the engine itself."""
    engine = small.engine()
    made = speak(engine, segment(text, seed, **params), engine.prepare(small.voice()))
    engine.close()
    return made


@pytest.mark.parametrize("text", [TEXT, LONG], ids=["one chunk", "several chunks"])
def test_without_processing_the_sound_is_the_engines_own(speaker: ishowtts.Speaker, small: Small, text: str) -> None:
    """To the bit: upstream's chunks and cross-fades, and nothing of the program's."""
    audio = speaker.speak(
        text,
        reference_audio=small.reference,
        reference_text=f5_model.REFERENCE_TEXT,
        seed=7,
        nfe_steps=5,
        cfg_strength=1.5,
        normalize=False,
        postprocess=False,
    )
    assert (audio.sample_rate_hz, audio.engine, audio.seed) == (24_000, "f5", 7)
    assert audio.samples.tobytes() == said(small, text, 7, nfe_steps=5, cfg_strength=1.5).tobytes()


def test_with_processing_it_is_as_long_and_numbers_are_read(speaker: ishowtts.Speaker, small: Small) -> None:
    given: dict[str, Any] = {
        "reference_audio": str(small.reference),
        "reference_text": f5_model.REFERENCE_TEXT,
        "seed": 1,
        "nfe_steps": 4,
    }
    digits, words = (speaker.speak(text, **given) for text in ("It is 42 today.", "It is forty-two today."))
    as_given = speaker.speak("It is 42 today.", normalize=False, **given)
    assert len(digits.samples) == len(words.samples) > len(as_given.samples)
    (caption,) = digits.captions
    assert (caption.text, caption.spoken) == ("It is 42 today.", "It is forty two today.")
    assert (caption.start_char, caption.end_char, caption.words) == (0, len("It is 42 today."), ())
    assert [caption.spoken for caption in as_given.captions] == ["It is 42 today."]


@pytest.mark.parametrize("text", [TEXT, " ".join([TEXT] * 3), LONG])
def test_a_fixed_duration_is_that_of_the_whole_text(speaker: ishowtts.Speaker, small: Small, text: str) -> None:
    """Upstream shares it among its chunks, so a text of many sentences must reach the engine in one."""
    given: dict[str, Any] = {"reference_audio": small.reference, "reference_text": f5_model.REFERENCE_TEXT, "seed": 1}
    whole = speaker.speak(text, fix_duration=30.0, nfe_steps=4, postprocess=False, **given)
    usual = speaker.speak(text, fix_duration=30.0, nfe_steps=4, loudness="off", **given)
    assert usual.samples.tobytes() == whole.samples.tobytes()
    reference_s = 2.0
    # Each piece gives up to two frames at its seams.
    assert usual.duration_s == pytest.approx(30.0 - reference_s, abs=0.15)
    assert [caption.text for caption in usual.captions] == [text]


def test_a_clip_may_be_of_any_format(speaker: ishowtts.Speaker, small: Small, tmp_path: Path) -> None:
    from ishowtts import audio

    samples, rate_hz = audio.decode(small.reference.read_bytes())
    (tmp_path / "clip.flac").write_bytes(audio.encode(samples, rate_hz, "flac"))
    (tmp_path / "clip.mp3").write_bytes(audio.encode(samples, rate_hz, "mp3"))
    given: dict[str, Any] = {"reference_text": f5_model.REFERENCE_TEXT, "seed": 1, "nfe_steps": 4}
    wav, flac, mp3 = (
        speaker.speak(TEXT, reference_audio=path, **given, normalize=False, postprocess=False)
        for path in (small.reference, tmp_path / "clip.flac", tmp_path / "clip.mp3")
    )
    assert len(flac.samples) == len(wav.samples)
    assert np.corrcoef(flac.samples, wav.samples)[0, 1] > 0.999
    assert mp3.duration_s == pytest.approx(wav.duration_s, rel=0.1)
    (tmp_path / "clip.txt").write_text("no sound")
    with pytest.raises(ishowtts.SpeechError, match=r"clip\.txt cannot be used: .*FLAC") as refused:
        speaker.speak(TEXT, reference_audio=tmp_path / "clip.txt", **given)
    assert refused.value.code == "invalid_reference"


def test_numbers_of_numpy_are_numbers(speaker: ishowtts.Speaker, small: Small) -> None:
    given: dict[str, Any] = {"reference_audio": small.reference, "reference_text": f5_model.REFERENCE_TEXT, "seed": 1}
    plain = {"nfe_steps": 4, "cfg_strength": 1.5, "cfg_interval": (0.0, 0.5), "remove_silence": False}
    theirs = {
        "nfe_steps": np.int64(4),
        "cfg_strength": np.float32(1.5),
        "cfg_interval": np.array([0.0, 0.5]),
        "remove_silence": np.bool_(False),
    }
    wanted, found = (speaker.speak("Hello there.", cache=False, **given, **params) for params in (plain, theirs))
    assert found.samples.tobytes() == wanted.samples.tobytes()


def test_mistakes_are_told(speaker: ishowtts.Speaker, small: Small) -> None:
    given: dict[str, Any] = {"reference_audio": small.reference, "reference_text": f5_model.REFERENCE_TEXT}
    for params, told in (({"nfe_step": 7}, "nfe_step"), ({"nfe_steps": 3}, "nfe_steps"), ({"sway": "x"}, "sway")):
        with pytest.raises(ishowtts.SpeechError, match=told):
            speaker.speak(TEXT, **given, **params)
    for params, told in (
        ({"nfe_steps": float("nan")}, "nfe_steps must be a finite number, .* not nan"),
        ({"fix_duration": float("inf")}, "fix_duration must be a finite number"),
        ({"cfg_interval": (0.0, np.float32("nan"))}, "cfg_interval must be a finite number"),
        ({"nfe_steps": 10**30}, "nfe_steps must be"),
        ({"schedule": "\ud800"}, "schedule must be"),
        ({"sway": object()}, "sway must be .* not object"),
        ({"postprocess": "no"}, "postprocess must be true or false, not 'no'"),
        ({"loudness": "loud"}, "loudness must be"),
        ({"volume": float("nan")}, "volume must be"),
    ):
        with pytest.raises(ishowtts.SpeechError, match=told):
            speaker.speak(TEXT, **given, **params)
    for text in ("\U0001f600", "...", " "):
        with pytest.raises(ishowtts.SpeechError):
            speaker.speak(text, **given)
    with pytest.raises(ishowtts.SpeechError, match="Latn"):
        speaker.speak("\u0645\u0631\u062d\u0628\u0627", language="ar", **given)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"dtypes": "fp32"}, "dtype"),
        ({"max_slots": "two"}, "max_slots must be a whole number"),
        ({"compile": True}, "compile must be a string"),
        ({"nfe_steps": 7.5}, "nfe_steps must be a whole number or a string"),
        ({"nfe_steps": "fast"}, "from 4 to 64, or 'auto'"),
        ({"device": "tpu"}, "auto, cpu or cuda:N"),
    ],
)
def test_options_are_told(
    options: dict[str, Any], changed: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ishowtts.SpeechError, match=told) as refused,
        ishowtts.Speaker("f5", options={**options, **changed}),
    ):
        pass
    assert refused.value.code == "invalid_setting"


def test_a_file_that_the_hub_does_not_give_is_a_wrong_setting(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    with FakeHub() as hub:
        for name, value in (environment(tmp_path) | {"HF_ENDPOINT": hub.endpoint}).items():
            monkeypatch.setenv(name, value)
        for hub.status in (401, 404):
            wanted = {**options, "checkpoint": "hf://someone/of-ours/model.safetensors"}
            with (
                pytest.raises(ishowtts.SpeechError, match="of-ours") as refused,
                ishowtts.Speaker("f5", options=wanted),
            ):
                pass
            assert refused.value.code == "invalid_setting"


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["say", "Hello.", "-o", "a.wav"]], ids=["serve", "say"])
def test_offline_without_a_cache_is_a_wrong_setting(tmp_path: Path, command: list[str]) -> None:
    pytest.importorskip("huggingface_hub")
    env = {"ISHOWTTS_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    ended = run([*command, "--engine", "f5"], tmp_path, env=env)
    assert ended.returncode == 2, ended.stderr
    assert "is not in the cache, and ISHOWTTS_OFFLINE forbids to fetch it" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_same_keys_in_a_file_and_one_command(options: dict[str, Any], small: Small, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
    config.write_text(f'engine = "f5"\n[engines.f5]\n{keys}\nnfe_steps = 4\n', "utf-8")
    text = ["--text", f5_model.REFERENCE_TEXT]
    added = run(["voices", "add", "hum", small.reference, *text, "--language", "en"], tmp_path)
    assert added.returncode == 0, added.stderr
    done = run(
        ["say", TEXT, "--config", config, "--set", "cpu.threads=1", "--voice", "hum", "-o", "a.wav"],
        tmp_path,
        timeout_s=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.wav").stat().st_size > 24_000
    assert "slower than speech" in done.stderr, "a CPU is for offline work, and the program says so"
