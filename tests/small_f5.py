# ruff: noqa: RUF001 - the characters are what this is about
"""A small F5-TTS on disk, made by the upstream packages: random weights in the official layout, a vocabulary, a small
Vocos, a reference clip. What upstream sets to zero (AdaLN, GRN, proj_out) is random too: with zeros the model ignores
its input, and any comparison passes."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np

ARCH = {
    "dim": 64, "depth": 2, "heads": 2, "ff_mult": 2, "text_dim": 32, "text_mask_padding": True, "qk_norm": None,
    "conv_layers": 2, "pe_attn_head": None,
}  # fmt: skip
REFERENCE_TEXT = "The harbour lights came on one by one"


def make(folder: Path) -> dict[str, str]:
    """Options of the engines f5 and f5-reference, with everything they name in ``folder``."""
    import torch
    import yaml
    from f5_tts.model import CFM, DiT
    from f5_tts.model.utils import get_tokenizer
    from safetensors.torch import save_file
    from vocos import Vocos

    folder.mkdir(parents=True, exist_ok=True)
    tokens = [" ", *map(chr, range(33, 127)), "ni3", "hao3", "ma5", "。", "，", "ni2", "shi4", "jie4"]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    model = {"name": "small", "backbone": "DiT", "arch": ARCH, "mel_spec": {"mel_spec_type": "vocos"}}
    (folder / "model.yaml").write_text(yaml.safe_dump({"model": model}), encoding="utf-8")

    vocab, size = get_tokenizer(str(folder / "vocab.txt"), "custom")
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    whole = CFM(DiT(**ARCH, text_num_embeds=size, mel_dim=100), vocab_char_map=vocab)
    randomise(whole.transformer, generator)
    state = {f"ema_model.{name}": tensor.contiguous() for name, tensor in whole.state_dict().items()}
    save_file(state | {"initted": torch.tensor(True), "step": torch.tensor(1)}, str(folder / "model.safetensors"))
    torch.save({"ema_model_state_dict": state}, folder / "ema.pt")

    config: dict[str, Any] = {
        "feature_extractor": {
            "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
            "init_args": {"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "padding": "center"},
        },
        "backbone": {
            "class_path": "vocos.models.VocosBackbone",
            "init_args": {"input_channels": 100, "dim": 32, "intermediate_dim": 64, "num_layers": 2},
        },
        "head": {
            "class_path": "vocos.heads.ISTFTHead",
            "init_args": {"dim": 32, "n_fft": 1024, "hop_length": 256, "padding": "center"},
        },
    }
    vocoder = folder / "vocos"
    vocoder.mkdir(exist_ok=True)
    (vocoder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    vocos = Vocos.from_hparams(str(vocoder / "config.yaml"))
    torch.save(vocos.state_dict(), vocoder / "pytorch_model.bin")
    write_clip(folder / "reference.wav")
    return {
        "model": str(folder / "model.yaml"),
        "checkpoint": str(folder / "model.safetensors"),
        "vocab": str(folder / "vocab.txt"),
        "vocoder": str(vocoder),
    }


def randomise(transformer: Any, generator: Any) -> None:
    import torch

    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            scale = 0.3 if "grn" in name else 0.05 if "norm" in name or "proj_out" in name else 0.0
            if scale:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


def write_clip(path: Path, seconds: float = 1.5, sample_rate_hz: int = 24_000, channels: int = 1) -> None:
    """Something between two quiet edges, 16 bits."""
    times = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    loud = (times > 0.1) & (times < seconds - 0.2)
    sound = np.sin(2 * np.pi * 180 * times) * (0.04 + 0.03 * np.sin(2 * np.pi * 3 * times)) * loud
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(np.repeat((sound * 32_767).astype("<i2"), channels).tobytes())
