"""The upstream package as the other side of benches/f5.py: full-size models with random weights, none of them zero."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

PACKAGES = ("f5-tts", "vocos")
_NOT_PACKED = ("torch", "triton", "numpy", "cuda-bindings", "cuda-pathfinder", "cuda-toolkit")
_NOT_RUN = (
    *("accelerate", "bitsandbytes", "cached-path", "click", "datasets", "ema-pytorch", "gradio", "hf-xet"),
    *(
        "hydra-core",
        "matplotlib",
        "pydantic",
        "pydub",
        "soundfile",
        "tomli",
        "torchcodec",
        "transformers",
        "unidecode",
        "wandb",
    ),
)
"""What trains, shows, fetches, transcribes or reads files: the models that this measures need none of it."""
_WITHOUT_LIBRARIES = ("torchaudio",)
"""Its libraries are bound to one torch and it does without them: what upstream and Vocos use of it is Python."""
_TRAINER = "f5_tts.model.trainer"

ARCH: dict[str, Any] = {
    "dim": 1024,
    "depth": 22,
    "heads": 16,
    "ff_mult": 2,
    "text_dim": 512,
    "text_mask_padding": True,
    "qk_norm": None,
    "conv_layers": 4,
    "pe_attn_head": None,
}
"""F5TTS_v1_Base."""
VOCOS_CONFIG = """feature_extractor:
  class_path: vocos.feature_extractors.MelSpectrogramFeatures
  init_args: {sample_rate: 24000, n_fft: 1024, hop_length: 256, n_mels: 100, padding: center}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args: {input_channels: 100, dim: 512, intermediate_dim: 1536, num_layers: 8}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {dim: 512, n_fft: 1024, hop_length: 256, padding: center}
"""


def available() -> bool:
    """Whether the upstream package is installed here."""
    try:
        for name in PACKAGES:
            distribution(name)
    except PackageNotFoundError:
        return False
    return True


def models() -> Any:
    """``f5_tts.model``. It imports its trainer, and librosa, whose numba is bound to versions of NumPy: where what they
    need is missing, stand-ins take their place. The models that this measures need neither."""
    if _TRAINER not in sys.modules and any(find_spec(name) is None for name in ("wandb", "accelerate", "ema_pytorch")):
        trainer = ModuleType(_TRAINER)
        trainer.Trainer = None  # type: ignore[attr-defined]
        sys.modules[_TRAINER] = trainer
    try:
        import_module("librosa.filters")
    except Exception:
        filters = ModuleType("librosa.filters")
        filters.mel = None  # type: ignore[attr-defined]
        sys.modules |= {"librosa": ModuleType("librosa"), "librosa.filters": filters}
    import f5_tts.model

    return f5_tts.model


def dit(vocabulary: int, **changed: Any) -> Any:
    """Upstream zeroes the modulations, the response norms and the output: a parity test would then see nothing."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    model = models().DiT(**ARCH | changed, text_num_embeds=vocabulary, mel_dim=100).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm.linear" in name or "norm_out" in name:
                weight.normal_(0, 0.02 if weight.ndim > 1 else 0.1)
            elif "proj_out" in name:
                weight.normal_(0, 0.03)
            elif "grn" in name:
                weight.normal_(0, 0.3)
    return model


def cfm(model: Any, vocabulary: dict[str, int] | None) -> Any:
    return models().CFM(transformer=model, vocab_char_map=vocabulary, mel_spec_kwargs={}).eval()


def request(
    model: Any, vocoder: Any, reference: torch.Tensor, ids: torch.Tensor, frames: int, steps: int
) -> Callable[[], torch.Tensor]:
    """From a prepared reference and text, on the model's device, to sound in memory."""
    theirs = cfm(model, None).to(reference.device, reference.dtype)

    def run() -> torch.Tensor:
        mel, _ = theirs.sample(
            reference[None], ids[None], frames, steps=steps, cfg_strength=2.0, sway_sampling_coef=-1.0, seed=7
        )
        sound: torch.Tensor = vocoder.decode(mel[:, len(reference) :].float().transpose(1, 2)).cpu()
        return sound

    return run


def vocos(folder: Path) -> Any:
    """A Vocos whose blocks all matter, written to ``folder`` in its own layout."""
    from vocos import Vocos

    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(VOCOS_CONFIG)
    torch.manual_seed(0)
    model = Vocos.from_hparams(str(folder / "config.yaml")).eval()
    with torch.no_grad():
        for name, weight in model.backbone.named_parameters():
            if "dwconv.weight" in name:
                weight.normal_(0, 0.4)
            elif weight.ndim > 1:
                weight.normal_(0, weight[0].numel() ** -0.5)
            elif "gamma" in name:
                weight.normal_(0.5, 0.1)
        model.head.out.weight.normal_(0, 0.03)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


def write_reference(path: Path) -> None:
    import wave

    time_s = np.arange(4 * 24_000) / 24_000
    sound = 0.08 * np.sin(2 * np.pi * 150 * time_s) * (1.2 + np.sin(2 * np.pi * 2.5 * time_s))
    sound += 0.004 * np.random.default_rng(0).standard_normal(len(sound))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes((sound * 32767).astype("<i2").tobytes())


def pack(folder: Path) -> tuple[list[str], list[str]]:
    """Copies the upstream package and what its models need into ``folder``, for a machine that lacks them; with torch
    and numpy, which it has, goes what torch needs. Returns what was copied, and what the machine has to have: packages
    compiled for this Python alone."""
    folder.mkdir(parents=True, exist_ok=True)
    done: list[str] = []
    bound: list[str] = []
    there = _needed("torch") | {*_NOT_PACKED}
    names = list(PACKAGES)
    while names:
        name = names.pop().lower().replace("_", "-")
        if name in there or name in done or name in bound or name in _NOT_RUN or name.startswith("nvidia-"):
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if name not in _WITHOUT_LIBRARIES and _is_bound(found):
            bound.append(name)
        else:
            done.append(name)
            _copy(found, folder, libraries=name not in _WITHOUT_LIBRARIES)
        names += _requirements(found)
    return sorted(done), sorted(bound)


def _requirements(found: Distribution) -> list[str]:
    from packaging.requirements import Requirement

    read = [Requirement(line) for line in found.requires or ()]
    needed = [line for line in read if line.marker is None or line.marker.evaluate({"extra": ""})]
    return [line.name.lower().replace("_", "-") for line in needed]


def _needed(name: str) -> set[str]:
    """By a package, and by what it needs."""
    found: set[str] = set()
    names = [name]
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            try:
                names += _requirements(distribution(name))
            except PackageNotFoundError:
                continue
    return found


def _is_bound(found: Distribution) -> bool:
    """Whether another version of Python cannot use it."""
    tags = [
        line.partition(":")[2].split("-") for line in (found.read_text("WHEEL") or "").splitlines() if "Tag:" in line
    ]
    return bool(tags) and all(python.strip().startswith("cp") and abi != "abi3" for python, abi, _ in tags)


def _copy(found: Distribution, folder: Path, libraries: bool) -> None:
    for file in found.files or ():
        source = Path(str(file.locate()))
        if not source.is_file() or ".." in file.parts or "__pycache__" in file.parts:
            continue
        if libraries or ".so" not in source.suffixes:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
