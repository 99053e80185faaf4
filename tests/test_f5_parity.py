"""f5 against the upstream package itself, where that is installed: from reference audio and text to sound, with the
same weights and seed; once with a small model and once in full size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("f5_tts", reason="the upstream package is not installed")
torch = pytest.importorskip("torch")

import f5_model  # noqa: E402
from f5_model import Small, segment  # noqa: E402
from ishowtts.engine import Pcm  # noqa: E402
from ishowtts.engines.f5 import models, text  # noqa: E402
from ishowtts.engines.f5.engine import F5  # noqa: E402

BASE: dict[str, Any] = dict(models.CONFIGS["F5TTS_v1_Base"].arch)


def upstream(small: Small) -> Callable[..., Pcm]:
    """Upstream's own chain on the files of ``small``."""
    from f5_tts.infer import utils_infer
    from f5_tts.model import DiT

    quiet = {"show_info": lambda *_: None}
    vocoder = utils_infer.load_vocoder(is_local=True, local_path=str(small.files.vocoder_dir), device="cpu")
    model = utils_infer.load_model(
        DiT,
        dict(small.files.model_config.arch),
        str(small.files.checkpoint),
        vocab_file=str(small.files.vocab),
        device="cpu",
    )
    clip, clip_text = utils_infer.preprocess_ref_audio_text(str(small.reference), f5_model.REFERENCE_TEXT, **quiet)

    def speak(said: str, seed: int, nfe_steps: int, speed: float = 1.0, **chosen: Any) -> Pcm:
        torch.manual_seed(seed)
        pcm, _, _ = utils_infer.infer_process(
            clip, clip_text, said, model, vocoder, nfe_step=nfe_steps, speed=speed, device="cpu", **quiet, **chosen
        )
        return np.asarray(pcm)

    return speak


def ours(engine: F5, small: Small, said: str, seed: int, nfe_steps: int, speed: float = 1.0, **chosen: Any) -> Pcm:
    one = segment(said, seed, speed, nfe_steps=nfe_steps, **chosen)
    return f5_model.speak(engine, one, engine.prepare(small.voice()))


def check(found: Pcm, wanted: Pcm) -> None:
    assert found.shape == wanted.shape
    assert np.corrcoef(found, wanted)[0, 1] > 0.9999
    assert np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 1e-4


@pytest.mark.parametrize(
    "changed",
    [{}, {"text_mask_padding": False, "pe_attn_head": 1}, {"qk_norm": "rms_norm", "long_skip_connection": True}],
)
def test_small_model_speaks_as_upstream_does(changed: dict[str, Any], tmp_path: Path) -> None:
    small = f5_model.write(tmp_path, **changed)
    speak, engine = upstream(small), small.engine()
    for said, chosen in (
        ("Hello there, it is 5 o'clock.", {"seed": 1, "nfe_steps": 7}),
        ("Yes.", {"seed": 2, "nfe_steps": 16}),
        ("OK \u4f60\u597d, and so on.", {"seed": 3, "nfe_steps": 32, "speed": 1.3}),
        ("What a day it was.", {"seed": 4, "nfe_steps": 12, "cfg_strength": 0.0, "target_rms": 0.02}),
        ("A fixed length.", {"seed": 5, "nfe_steps": 5, "fix_duration": 4.0, "cfg_strength": 3.0}),
    ):
        check(ours(engine, small, said, **chosen), speak(said, **chosen))


def test_fine_tune_with_a_foreign_vocabulary(tmp_path: Path) -> None:
    """Cyrillic letters, and far fewer of them."""
    tokens = [
        " ",
        *"\u0430\u0431\u0432\u0433\u0434\u0435\u0436\u0437\u0438\u0439\u043a\u043b\u043c\u043d\u043e\u043f.,",
    ]
    small = f5_model.write(tmp_path)
    weights = f5_model.dit_weights(small.files.model_config, len(tokens), seed=5)
    path = tmp_path / "fine.pt"
    torch.save({"ema_model_state_dict": {f"ema_model.transformer.{k}": v for k, v in weights.items()}}, path)
    vocab = f5_model.write_vocab(tmp_path / "fine.txt", tokens)
    small = Small(dataclasses.replace(small.files, checkpoint=path, vocab=vocab), small.reference)
    said = "\u043c\u0430\u043c\u0430 \u0434\u043e\u043c\u0430, \u043f\u043e\u0434."
    check(ours(small.engine(), small, said, 1, 7), upstream(small)(said, 1, 7))


@pytest.mark.full
def test_full_size_speaks_as_upstream_does(tmp_path: Path) -> None:
    """F5TTS_v1_Base, 337 million weights."""
    model = models.ModelConfig("F5TTS_v1_Base", "DiT", BASE)
    tokens = f5_model.TOKENS + [f"t{number}" for number in range(2545 - len(f5_model.TOKENS))]
    from safetensors.torch import save_file

    small = f5_model.write(tmp_path)
    path = tmp_path / "full.safetensors"
    weights = f5_model.dit_weights(model, len(tokens))
    save_file({f"ema_model.transformer.{k}": v for k, v in weights.items()}, path)
    del weights
    vocab = f5_model.write_vocab(tmp_path / "full.txt", tokens)
    assert len(text.load_vocab(vocab)) == 2545
    small = Small(dataclasses.replace(small.files, model_config=model, checkpoint=path, vocab=vocab), small.reference)
    said = "The boats turned home."
    wanted = upstream(small)(said, 3, 7)
    check(ours(small.engine(), small, said, 3, 7), wanted)
