"""What f5 refuses, before anything is made, and the reason that it gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pypinyin")

import f5_model  # noqa: E402
from f5_model import SENTENCES, Small, segment, speak  # noqa: E402
from ishowtts.engine import Conditioning  # noqa: E402
from ishowtts.engines.f5 import precision  # noqa: E402
from ishowtts.engines.f5.config import architecture  # noqa: E402
from ishowtts.engines.f5.engine import F5  # noqa: E402
from ishowtts.engines.f5.models import ModelConfig  # noqa: E402
from ishowtts.errors import InvalidSetting, SegmentRefused  # noqa: E402


class TestRequests:
    def test_nothing_to_say_is_refused(self, engine: F5, hum: Conditioning) -> None:
        for text in ("", "   ", "...!?", "\U0001f600\U0001f389"):
            with pytest.raises(SegmentRefused, match="nothing"):
                engine.admit(0, segment(text), hum)

    def test_letters_that_the_vocabulary_lacks_are_refused(self, engine: F5, hum: Conditioning) -> None:
        """Upstream makes silence of them."""
        for text in ("\u0645\u0631\u062d\u0628\u0627", "h\u00e9llo OK"):
            with pytest.raises(SegmentRefused, match="lacks"):
                engine.admit(0, segment(text), hum)
        assert len(speak(engine, segment("OK \u4f60\u597d."), hum)) > 2400

    def test_too_long_is_refused_before_anything_is_made(self, engine: F5, hum: Conditioning) -> None:
        with pytest.raises(SegmentRefused, match=r"8192|87 s"):
            engine.admit(0, segment("a" * 4000, fix_duration=90.0), hum)
        limit = 8192 * 256 / 24_000
        assert engine.admit(0, segment("a", fix_duration=limit), hum) == 7
        assert engine._slots[0].frames == 8192

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"nfe_steps": 3}, "from 4 to 64"),
            ({"nfe_steps": 65}, "from 4 to 64"),
            ({"nfe_steps": 7.5}, "from 4 to 64"),
            ({"nfe_steps": True}, "from 4 to 64"),
            ({"schedule": "cosine"}, "epss, linear"),
            ({"sway": -1.5}, "sway"),
            ({"cfg_strength": -1}, "cfg_strength"),
            ({"cfg_strength": float("nan")}, "cfg_strength"),
            ({"cfg_interval": [0.5, 0.2]}, "end before"),
            ({"cfg_interval": 0.5}, "two numbers"),
            ({"fix_duration": "long"}, "fix_duration"),
            ({"target_rms": 0}, "target_rms"),
            ({"remove_silence": 1}, "true or false"),
            ({"nfe_step": 7}, "did you mean 'nfe_steps'"),
            ({"nfe_adapt": True}, "needs nfe_steps"),
            ({"nfe_floor": "auto"}, "from 4 to 64, not"),
            ({"nfe_floor": 3}, "from 4 to 64, not"),
            ({"nfe_steps": float("inf")}, "from 4 to 64, or 'auto'"),
        ],
    )
    def test_parameters_are_checked(self, engine: F5, hum: Conditioning, given: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidSetting, match=said):
            engine.admit(0, segment(SENTENCES[0], **given), hum)

    def test_voices_are_checked(self, small: Small, engine: F5) -> None:
        for changed, said in (
            ({"reference_audio": None}, "needs a reference"),
            ({"reference_text": " "}, "needs a reference"),
            ({"hints": {"pitch": 1}}, "no hint 'pitch'"),
            ({"hints": {"prepared": 1}}, "prepared"),
        ):
            with pytest.raises(InvalidSetting, match=said):
                engine.prepare(dataclasses.replace(small.voice(), **changed))


class TestOptions:
    def test_options_are_checked(self, small: Small) -> None:
        for options, said in (
            ({"compile": "yes"}, "compile"),
            ({"nfe_steps": 3}, "nfe_steps"),
            ({"nfe_steps": "fast"}, "from 4 to 64, or 'auto'"),
            ({"nfe_steps": ""}, "from 4 to 64, or 'auto'"),
            ({"max_slots": -1}, "max_slots"),
            ({"reference_cache_mb": -1}, "reference_cache_mb"),
            ({"memory_mb": -1}, "memory_mb"),
            ({"dtype": "fp8"}, "float8"),
        ):
            with pytest.raises(InvalidSetting, match=said):
                small.engine(**options)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"model": "E2TTS_Base"}, "UNetT"),
            ({"model": "F5TTS_Base_bigvgan"}, "bigvgan"),
            ({"compile": "yes"}, "compile"),
            ({"nfe_steps": 3}, "nfe_steps"),
            ({"max_slots": -1}, "max_slots"),
            ({"dtype": "fp8", "device": "cpu"}, "float8"),
            ({"device": "cuda:99"}, "device"),
            ({"max_slot": 2}, "did you mean 'max_slots'"),
        ],
    )
    def test_what_can_never_be_spoken_is_not_fetched_first(
        self, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
    ) -> None:
        from ishowtts.engines import f5

        def fetched(options: object) -> None:
            raise AssertionError("this would be a gigabyte")

        monkeypatch.setattr("ishowtts.engines.f5.weights.resolve", fetched)
        with pytest.raises(InvalidSetting, match=said):
            f5.load(given, 1)

    def test_vocabularies_are_checked(self, small: Small, tmp_path: Path) -> None:
        """Its ids would go beyond the model's embedding, which ends a process that uses a GPU."""
        from ishowtts.engines.f5.text import load_vocab

        for content, said in (
            ("".join(f"{token}\n" for token in [" ", "a", *f5_model.TOKENS[1:]]), "line 2 stands again"),
            ("", "empty"),
        ):
            vocab = tmp_path / "vocab.txt"
            vocab.write_text(content, "utf-8")
            with pytest.raises(InvalidSetting, match=said):
                dataclasses.replace(small, files=dataclasses.replace(small.files, vocab=vocab)).engine()
        vocab.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InvalidSetting, match="UTF-8"):
            load_vocab(vocab)


class TestModels:
    @pytest.mark.parametrize(
        ("model", "said"),
        [
            (ModelConfig("E2TTS_Base", "UNetT", f5_model.ARCH), "UNetT"),
            (ModelConfig("x", "MMDiT", f5_model.ARCH), "MMDiT"),
            (ModelConfig("x", "DiT", f5_model.ARCH, mel_spec_type="bigvgan"), "bigvgan"),
            (ModelConfig("x", "DiT", f5_model.ARCH | {"qk_norm": "layer"}), "qk_norm"),
            (ModelConfig("x", "DiT", f5_model.ARCH | {"new": 1}), "new"),
            (ModelConfig("x", "DiT", f5_model.ARCH | {"dim": "64"}), "dim"),
            (ModelConfig("x", "DiT", f5_model.ARCH | {"depth": 0}), "below 1"),
            (ModelConfig("x", "DiT", {"heads": 4}), "lacks 'dim'"),
        ],
    )
    def test_name_the_reason(self, model: ModelConfig, said: str) -> None:
        with pytest.raises(InvalidSetting, match=said):
            architecture(model)

    def test_dtypes_and_devices(self) -> None:
        with pytest.raises(InvalidSetting, match="dtype must be one of"):
            precision.choose("cpu", "fp4")
        with pytest.raises(InvalidSetting, match="fp16 is for GPUs"):
            precision.choose("cpu", "fp16")
        with pytest.raises(InvalidSetting, match="cuda:99"):
            precision.choose("cuda:99", "auto")
        with pytest.raises(InvalidSetting, match="auto, cpu or cuda:N"):
            precision.choose("tpu", "auto")
