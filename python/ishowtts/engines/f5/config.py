"""The shape of a DiT, checked: what of an upstream configuration this engine speaks, and why it refuses the rest.

Pure; no thread of its own. Source: ``f5_tts/model/backbones/dit.py`` of f5-tts 1.1.22.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ishowtts.engines.f5.models import ModelConfig
from ishowtts.errors import InvalidSetting

SAMPLE_RATE_HZ = 24_000
N_FFT = 1024
HOP = 256
FRAMES_PER_S = SAMPLE_RATE_HZ / HOP
MAX_FRAMES = 8192
"""Reference and speech together: the length of the text embedding's position table."""


@dataclass(frozen=True)
class Architecture:
    """One DiT."""

    name: str
    dim: int
    depth: int
    heads: int
    ff_mult: int = 2
    dim_head: int = 64
    text_dim: int = 512
    conv_layers: int = 4
    text_mask_padding: bool = True
    text_average_upsampling: bool = False
    pe_attn_head: int | None = None
    """Heads that get positions; None: all."""
    qk_norm: bool = False
    long_skip: bool = False
    mel_dim: int = 100

    def __post_init__(self) -> None:
        if min(self.dim, self.depth, self.heads, self.ff_mult, self.dim_head, self.text_dim, self.mel_dim) < 1:
            raise InvalidSetting(f"the model {self.name!r} has a size below 1")
        if self.pe_attn_head is not None and self.pe_attn_head < 0:
            raise InvalidSetting(f"the model {self.name!r} has a size below 0")
        if self.dim % 16 or self.dim_head % 2 or self.text_dim % 2 or self.conv_layers < 0:
            raise InvalidSetting(f"the model {self.name!r}: dim must be a multiple of 16, dim_head and text_dim even")
        if self.text_average_upsampling and not self.text_mask_padding:
            raise InvalidSetting(f"the model {self.name!r}: average upsampling needs text_mask_padding")

    @property
    def inner_dim(self) -> int:
        """Of the attention."""
        return self.heads * self.dim_head

    @property
    def ff_dim(self) -> int:
        return self.dim * self.ff_mult

    @property
    def positioned_heads(self) -> int:
        return self.heads if self.pe_attn_head is None else min(self.pe_attn_head, self.heads)


_REFUSED = {
    "UNetT": "the UNetT of E2-TTS has no time modulation and a token more than frames",
    "MMDiT": "no weights for upstream's MMDiT are published",
}
_FIELDS = {
    "dim": "dim",
    "depth": "depth",
    "heads": "heads",
    "dim_head": "dim_head",
    "ff_mult": "ff_mult",
    "text_dim": "text_dim",
    "mel_dim": "mel_dim",
    "text_mask_padding": "text_mask_padding",
    "text_embedding_average_upsampling": "text_average_upsampling",
    "conv_layers": "conv_layers",
    "pe_attn_head": "pe_attn_head",
    "long_skip_connection": "long_skip",
}
_FLAGS = ("text_mask_padding", "text_average_upsampling", "long_skip", "qk_norm")
_NO_PART = {"dropout", "attn_backend", "attn_mask_enabled", "checkpoint_activations", "text_num_embeds"}
"""They change nothing in what comes out of one unpadded request."""


def architecture(config: ModelConfig) -> Architecture:
    """Raises InvalidSetting for a model that this engine does not speak, with the reason."""
    name = config.name
    if config.backbone != "DiT":
        reason = _REFUSED.get(config.backbone, f"{config.backbone!r} is no backbone of F5-TTS")
        raise InvalidSetting(f"f5 does not speak the model {name!r}: {reason}; the engine f5-reference may")
    if config.mel_spec_type != "vocos":
        raise InvalidSetting(
            f"f5 does not speak the model {name!r}: it wants {config.mel_spec_type}, and this engine has neither "
            f"BigVGAN's mel spectrogram nor its anti-aliased activations; the engine f5-reference may"
        )
    # Upstream's own defaults where the file is silent.
    values: dict[str, Any] = {"depth": 8, "heads": 8, "ff_mult": 4, "conv_layers": 0, "text_dim": None}
    for key, value in config.arch.items():
        if key in _FIELDS:
            values[_FIELDS[key]] = value
        elif key == "qk_norm":
            if value not in (None, "rms_norm"):
                raise InvalidSetting(f"the model {name!r}: qk_norm {value!r} is not known")
            values["qk_norm"] = value == "rms_norm"
        elif key not in _NO_PART:
            raise InvalidSetting(f"the model {name!r}: the DiT has no argument {key!r}")
    if values["text_dim"] is None:
        values["text_dim"] = values.get("mel_dim", 100)
    if "dim" not in values:
        raise InvalidSetting(f"the model {name!r}: its configuration lacks 'dim'")
    for key, value in values.items():
        flag = key in _FLAGS
        fits = isinstance(value, bool) if flag else isinstance(value, int) and not isinstance(value, bool)
        if not fits and not (key == "pe_attn_head" and value is None):
            raise InvalidSetting(f"the model {name!r}: {key} must be {'true or false' if flag else 'a whole number'}")
    return Architecture(name=name, **values)
