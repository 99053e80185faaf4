"""Vocos: the mel spectrogram back to sound. Runs on the engine's thread, float32 on every device.

Source: ``vocos/models.py`` and ``vocos/heads.py`` of vocos 0.1.0 (the checkpoint ``charactr/vocos-mel-24khz``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from ishowtts.engines.f5 import checkpoint as checkpoints
from ishowtts.engines.f5 import weights
from ishowtts.engines.f5.config import HOP, N_FFT
from ishowtts.engines.f5.linear import Linear
from ishowtts.engines.f5.precision import exact
from ishowtts.errors import InvalidSetting

CONTEXT_FRAMES = 24
"""What a piece of the mel needs on both sides to sound as the whole does, to rounding."""
KERNEL = 7
EPSILON = 1e-6
_LOUDEST = 1e2
_MOST_LAYERS, _WIDEST = 128, 16_384
_CLASSES = {
    "feature_extractor": "MelSpectrogramFeatures",
    "backbone": "VocosBackbone",
    "head": "ISTFTHead",
}


class Vocoder(Protocol):
    """Mel spectrograms to sound."""

    nbytes: int
    """Of what is kept of the weights."""

    def decode(self, mel: torch.Tensor) -> torch.Tensor:
        """``[frames, mel_dim]`` to ``[(frames - 1) * 256]`` samples at 24 kHz."""
        ...


class Vocos:
    """By torch's operators."""

    def __init__(self, folder: Path, device: torch.device, mel_dim: int = 100) -> None:
        layers, dim, wide = dimensions(folder, mel_dim)
        with checkpoints.Checkpoint(weights_file(folder)) as file:
            checkpoints.check(file, shapes(layers, dim, wide, mel_dim), "Vocos")

            def read(name: str) -> torch.Tensor:
                return file.tensor(name).to(device, torch.float32, copy=True)

            def linear(name: str) -> Linear:
                return Linear(read(name + ".weight"), read(name + ".bias"), torch.float32, device)

            self._embed = read("backbone.embed.weight"), read("backbone.embed.bias")
            self._norm = read("backbone.norm.weight"), read("backbone.norm.bias")
            self._last_norm = read("backbone.final_layer_norm.weight"), read("backbone.final_layer_norm.bias")
            self._blocks = []
            for index in range(layers):
                block = f"backbone.convnext.{index}."
                self._blocks.append(
                    (
                        (read(block + "dwconv.weight"), read(block + "dwconv.bias")),
                        (read(block + "norm.weight"), read(block + "norm.bias")),
                        linear(block + "pwconv1"),
                        linear(block + "pwconv2"),
                        read(block + "gamma"),
                    )
                )
            self._out = linear("head.out")
            self._window = read("head.istft.window")
        self.nbytes = 4 * sum(
            math.prod(shape) for name, shape in shapes(layers, dim, wide, mel_dim).items() if "feature" not in name
        )

    @exact()
    def decode(self, mel: torch.Tensor) -> torch.Tensor:
        dim = self._norm[0].shape[0]
        hidden = F.conv1d(mel.t()[None], *self._embed, padding=KERNEL // 2)
        hidden = F.layer_norm(hidden[0].t(), (dim,), *self._norm, EPSILON)
        for depthwise, norm, widen, narrow, gamma in self._blocks:
            inner = F.conv1d(hidden.t()[None], *depthwise, padding=KERNEL // 2, groups=dim)[0].t()
            inner = narrow(F.gelu(widen(F.layer_norm(inner, (dim,), *norm, EPSILON))))
            hidden = hidden + gamma * inner
        return sound(self._out(F.layer_norm(hidden, (dim,), *self._last_norm, EPSILON)), self._window)


def sound(out: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """From the network's output, logarithms of magnitudes and phases, ``[frames, N_FFT + 2]``."""
    magnitude, phase = out.t().chunk(2)
    spectrum = torch.polar(magnitude.exp().clamp(max=_LOUDEST), phase)
    if out.is_cuda:
        # torch's own looks at the envelope on the host, and so waits for the device.
        return overlap_add(spectrum, window)
    return torch.istft(spectrum[None], N_FFT, HOP, N_FFT, window, center=True)[0]


def overlap_add(spectrum: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """What ``torch.istft`` gives of ``[bins, frames]``, centred."""
    frames = torch.fft.irfft(spectrum.t(), N_FFT, dim=-1) * window
    added = _added(frames) / _added((window * window).expand_as(frames)).clamp(min=1e-11)
    return added[N_FFT // 2 : -(N_FFT // 2)]


def _added(frames: torch.Tensor) -> torch.Tensor:
    """``[frames, N_FFT]`` to sound, each a hop later than the one before."""
    count, overlap = frames.shape[0], N_FFT // HOP
    hops = frames.reshape(count, overlap, HOP)
    out = frames.new_zeros(count + overlap - 1, HOP)
    for number in range(overlap):
        out[number : number + count] += hops[:, number]
    return out.view(-1)


def weights_file(folder: Path) -> Path:
    if folder.is_file():
        return folder
    found = weights.weights_file(folder, "vocos")
    if found is None:
        names = " nor ".join(weights.VOCODER_FILES["vocos"][-1])
        raise InvalidSetting(f"the vocoder's folder {folder.name!r} holds neither {names}")
    return found


def dimensions(folder: Path, mel_dim: int) -> tuple[int, int, int]:
    """Layers, width and inner width from config.yaml; those of vocos-mel-24khz without one."""
    path = folder / "config.yaml"
    if (folder / "config.json").is_file() and "bigvgan" in (folder / "config.json").read_text("utf-8").lower():
        raise InvalidSetting(
            f"the vocoder {folder.name!r} is BigVGAN, whose anti-aliased activations this engine does not have; "
            f"take a Vocos, or the engine f5-reference"
        )
    if not path.is_file():
        return 8, 512, 1536
    import yaml  # type: ignore[import-untyped,unused-ignore]

    try:
        config: Any = yaml.safe_load(path.read_text("utf-8"))
        for part, name in _CLASSES.items():
            kind = str(config[part]["class_path"]).rpartition(".")[2]
            if kind != name:
                raise InvalidSetting(f"the vocoder's {part} is {kind}; only {name} is spoken here")
        features = config["feature_extractor"].get("init_args") or {}
        backbone: Mapping[str, Any] = config["backbone"]["init_args"]
        head: Mapping[str, Any] = config["head"]["init_args"]
        layers, dim, wide = (int(backbone[key]) for key in ("num_layers", "dim", "intermediate_dim"))
        found = {
            "sample rate": (features.get("sample_rate", 24_000), 24_000),
            "mels": (backbone["input_channels"], mel_dim),
            "n_fft": (head["n_fft"], N_FFT),
            "hop_length": (head["hop_length"], HOP),
            "padding of its sound": (head.get("padding", "same"), "center"),
            "padding of its mel": (features.get("padding", "center"), "center"),
            "adaptive norms": (backbone.get("adanorm_num_embeddings"), None),
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise InvalidSetting("the vocoder's config.yaml is not one of Vocos") from error
    if not (1 <= layers <= _MOST_LAYERS and 1 <= dim <= _WIDEST and 1 <= wide <= _WIDEST):
        raise InvalidSetting(
            f"the vocoder's config.yaml asks for {layers} layers of {dim} and {wide}; at most {_MOST_LAYERS} layers of "
            f"{_WIDEST} are possible"
        )
    for what, (value, wanted) in found.items():
        if value != wanted:
            raise InvalidSetting(f"the vocoder's {what}: {value!r}, where F5-TTS needs {wanted!r}")
    return layers, dim, wide


def shapes(layers: int, dim: int, wide: int, mel_dim: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of a Vocos, as upstream names it, and its shape."""
    wanted: dict[str, tuple[int, ...]] = {
        "feature_extractor.mel_spec.spectrogram.window": (N_FFT,),
        "feature_extractor.mel_spec.mel_scale.fb": (N_FFT // 2 + 1, mel_dim),
        "backbone.embed.weight": (dim, mel_dim, KERNEL),
        "backbone.embed.bias": (dim,),
        "backbone.norm.weight": (dim,),
        "backbone.norm.bias": (dim,),
        "backbone.final_layer_norm.weight": (dim,),
        "backbone.final_layer_norm.bias": (dim,),
        "head.out.weight": (N_FFT + 2, dim),
        "head.out.bias": (N_FFT + 2,),
        "head.istft.window": (N_FFT,),
    }
    for index in range(layers):
        block = f"backbone.convnext.{index}."
        wanted |= {
            block + "gamma": (dim,),
            block + "dwconv.weight": (dim, 1, KERNEL),
            block + "dwconv.bias": (dim,),
            block + "norm.weight": (dim,),
            block + "norm.bias": (dim,),
            block + "pwconv1.weight": (wide, dim),
            block + "pwconv1.bias": (wide,),
            block + "pwconv2.weight": (dim, wide),
            block + "pwconv2.bias": (dim,),
        }
    return wanted
