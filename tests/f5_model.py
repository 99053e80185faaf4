"""A small F5-TTS model for tests, from NumPy's generator: the same weights on every machine, in upstream's own layouts.

Upstream initialises modulations, response norms and the output with zeros, with which most mistakes would not be seen:
here they are random like the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ishowtts.engine import Chunk, Conditioning, Engine, Pcm, Segment, Voice
from ishowtts.engines.f5 import dit, models, precision, weights
from ishowtts.engines.f5.checkpoint import Checkpoint
from ishowtts.engines.f5.config import architecture
from ishowtts.engines.f5.dit import DiT, Evaluation
from ishowtts.engines.f5.engine import F5, Options, load_files
from ishowtts.engines.f5.precision import Precision
from safetensors.torch import load_file, save_file

# The workers of a test run share the cores; so small a model gains nothing from more.
torch.set_num_threads(1)

ARCH: dict[str, Any] = {
    "dim": 64,
    "depth": 3,
    "heads": 4,
    "dim_head": 16,
    "ff_mult": 2,
    "text_dim": 32,
    "conv_layers": 2,
    "text_mask_padding": True,
    "pe_attn_head": None,
    "qk_norm": None,
}
TOKENS = [" ", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?'-0123456789", "ni3", "hao3", "shi4", "ni2"]
REFERENCE_TEXT = "The harbour lights came on one by one."
GOLDEN = Path(__file__).parent / "golden" / "f5_small.npz"
"""What upstream gave for these weights (golden/make_f5.py)."""
VARIANTS: dict[str, dict[str, Any]] = {
    "v1": {},
    "older": {"text_mask_padding": False, "pe_attn_head": 1},
    "every-option": {"qk_norm": "rms_norm", "long_skip_connection": True, "text_embedding_average_upsampling": True},
}
SENTENCES = (
    "Hello there.",
    "The boats turned home in the evening, one by one.",
    "ni hao",
    "What a day it was, was it?",
)
VOCOS_LAYERS, VOCOS_DIM, VOCOS_WIDE = 2, 32, 64


def config(**changed: Any) -> models.ModelConfig:
    return models.ModelConfig("test", "DiT", ARCH | changed)


def dit_weights(model: models.ModelConfig, vocabulary: int = len(TOKENS), seed: int = 0) -> dict[str, torch.Tensor]:
    """By upstream's names within the DiT."""
    random = np.random.default_rng(seed)
    made: dict[str, torch.Tensor] = {}
    for name, shape in sorted(dit.shapes(architecture(model), vocabulary).items()):
        values = random.standard_normal(shape)
        if name == "rotary_embed.inv_freq":
            values = 1.0 / 10_000 ** (np.arange(0, 2 * shape[0], 2) / (2 * shape[0]))
        elif "grn" in name:
            values = values * 0.3
        elif "norm.weight" in name:
            values = 1 + 0.3 * values
        elif name.endswith("bias"):
            values = values * 0.1
        elif "text_embed.text_embed" not in name:
            values = values / np.sqrt(np.prod(shape[1:]))
        made[name] = torch.from_numpy(values.astype(np.float32))
    return made


def vocos_weights(
    seed: int = 1, layers: int = VOCOS_LAYERS, dim: int = VOCOS_DIM, wide: int = VOCOS_WIDE
) -> dict[str, torch.Tensor]:
    from ishowtts.engines.f5 import vocos

    random = np.random.default_rng(seed)
    made: dict[str, torch.Tensor] = {}
    for name, shape in sorted(vocos.shapes(layers, dim, wide, 100).items()):
        values = random.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))
        if "norm.weight" in name:
            values = 1 + 0.3 * random.standard_normal(shape)
        elif name.endswith("bias"):
            values = 0.1 * random.standard_normal(shape)
        elif name.endswith("window"):
            values = torch.hann_window(shape[0]).numpy()
        made[name] = torch.from_numpy(np.asarray(values, np.float32))
    return made


def write_vocos(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(vocos_weights(), folder / "pytorch_model.bin")
    (folder / "config.yaml").write_text(
        f"""feature_extractor:
  class_path: vocos.feature_extractors.MelSpectrogramFeatures
  init_args: {{sample_rate: 24000, n_fft: 1024, hop_length: 256, n_mels: 100, padding: center}}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args:
    {{input_channels: 100, dim: {VOCOS_DIM}, intermediate_dim: {VOCOS_WIDE}, num_layers: {VOCOS_LAYERS}}}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {{dim: {VOCOS_DIM}, n_fft: 1024, hop_length: 256, padding: center}}
"""
    )
    return folder


def write_vocab(path: Path, tokens: list[str] = TOKENS) -> Path:
    path.write_text("".join(token + "\n" for token in tokens), "utf-8")
    return path


def write_reference(path: Path, seconds: float = 2.0, seed: int = 2) -> Path:
    """A quiet hum with pauses and noise in it, 24 kHz, 16 bit."""
    import wave

    random = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * 24_000)) / 24_000
    sound = 0.05 * np.sin(2 * np.pi * 140 * time_s) * (1 + np.sin(2 * np.pi * 3 * time_s)) / 2
    sound += 0.005 * random.standard_normal(len(sound))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return path


@dataclass(frozen=True)
class Small:
    """The files of a small model."""

    files: weights.Files
    reference: Path

    def engine(self, **options: Any) -> F5:
        return load_files(self.files, Options(**({"device": "cpu", "dtype": "fp32", "nfe_steps": 7} | options)), 1)

    def voice(self, **hints: Any) -> Voice:
        return Voice("hum", "1", (), hints, self.reference.read_bytes(), REFERENCE_TEXT)


def write(folder: Path, **changed: Any) -> Small:
    model = config(**changed)
    checkpoint = folder / "model.safetensors"
    save_file({f"ema_model.transformer.{name}": w for name, w in dit_weights(model).items()}, checkpoint)
    files = weights.Files(
        model, checkpoint, write_vocab(folder / "vocab.txt"), write_vocos(folder / "vocos"), "Apache-2.0"
    )
    return Small(files, write_reference(folder / "hum.wav"))


def rewrite(path: Path, filled: dict[str, float]) -> None:
    """Puts a value into two places of the first tensor whose name ends so, in a file of weights of either kind."""
    tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    for end, value in filled.items():
        for name in [name for name in tensors if name.endswith(end)][:1]:
            tensors[name].view(-1)[[2, -1]] = value
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


def segment(text: str, seed: int = 0, speed: float = 1.0, **params: Any) -> Segment:
    return Segment(text, None, seed, speed, {"normalize": False} | params)


def load_dit(
    checkpoint: Path,
    numbers: Precision | None = None,
    *,
    vocabulary: int = len(TOKENS),
    ema: bool = True,
    compiled: bool = False,
    **changed: Any,
) -> DiT:
    """The network alone; ``numbers``: float32 on the CPU."""
    with torch.inference_mode():
        return DiT(
            architecture(config(**changed)),
            Checkpoint(checkpoint, ema),
            vocabulary,
            numbers or precision.choose("cpu", "fp32"),
            compiled=compiled,
        )


def evaluation(dit: DiT, frames: int, seed: int, t: float = 0.25, strength: float = 2.0) -> Evaluation:
    """Of a request with half of its frames for the reference."""
    noise, device = np.random.default_rng(seed), dit.precision.device
    ids = noise.integers(0, len(TOKENS), frames // 3)
    reference, x = (
        torch.from_numpy(noise.standard_normal((length, 100)).astype(np.float32)).to(device)
        for length in (frames // 2, frames)
    )
    return Evaluation(dit.prompt(ids, reference, frames), x, t, strength)


def relative(found: Any, wanted: Any) -> float:
    """The norm of the difference in that of ``wanted``; both NumPy's or torch's, on any device."""
    found, wanted = (torch.as_tensor(values).detach().cpu().double() for values in (found, wanted))
    assert found.shape == wanted.shape
    return float((found - wanted).norm() / wanted.norm())


def run_all(engine: Engine, slots: list[int]) -> list[Chunk]:
    """Steps until all are done; their chunks in the order in which they come."""
    chunks: list[Chunk] = []
    left = list(slots)
    while left:
        for chunk in engine.step(left):
            chunks.append(chunk)
            if chunk.last:
                left = [slot for slot in left if slot != chunk.slot]
    return chunks


def run(engine: Engine, slots: list[int]) -> dict[int, list[Chunk]]:
    """As ``run_all``, slot by slot."""
    chunks = run_all(engine, slots)
    return {slot: [chunk for chunk in chunks if chunk.slot == slot] for slot in slots}


def sound(chunks: list[Chunk]) -> Pcm:
    """All of a segment; raises what it ended with."""
    for chunk in chunks:
        if chunk.error is not None:
            raise chunk.error
        assert chunk.pcm.dtype == np.float32
        assert chunk.pcm.flags.c_contiguous
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    return np.concatenate([chunk.pcm for chunk in chunks])


def speak(engine: Engine, said: Segment, conditioning: Conditioning) -> Pcm:
    engine.admit(0, said, conditioning)
    return sound(run_all(engine, [0]))
