"""The configurations of the model: the official ones, and upstream's YAML files. Safe on any thread."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ishowtts.errors import InvalidSetting

OFFICIAL_LICENCE = "CC-BY-NC-4.0"


@dataclass(frozen=True)
class ModelConfig:
    """What upstream's YAML says under ``model``."""

    name: str
    backbone: str
    """DiT, UNetT or MMDiT."""
    arch: Mapping[str, Any]
    """The backbone's arguments, as in the file."""
    mel_spec_type: str = "vocos"
    """vocos or bigvgan: which mel spectrogram it was trained on, and so which vocoder it needs."""
    tokenizer: str = "pinyin"
    """What it was trained with. Upstream's inference makes pinyin in any case, and so do we."""


@dataclass(frozen=True)
class Official:
    """Where an official model lies: ``hf://REPOSITORY/FILE``."""

    config: ModelConfig
    checkpoint: str
    vocab: str


def _dit(**changed: Any) -> Mapping[str, Any]:
    base = {"dim": 1024, "depth": 22, "heads": 16, "ff_mult": 2, "text_dim": 512, "conv_layers": 4}
    return MappingProxyType(base | changed)


_V0 = {"text_mask_padding": False, "pe_attn_head": 1}
_SMALL = {"dim": 768, "depth": 18, "heads": 12}
_V1 = {"text_mask_padding": True, "qk_norm": None, "pe_attn_head": None}

CONFIGS: Mapping[str, ModelConfig] = MappingProxyType(
    {
        "F5TTS_v1_Base": ModelConfig("F5TTS_v1_Base", "DiT", _dit(**_V1)),
        "F5TTS_Base": ModelConfig("F5TTS_Base", "DiT", _dit(**_V0)),
        "F5TTS_Base_bigvgan": ModelConfig("F5TTS_Base_bigvgan", "DiT", _dit(**_V0), mel_spec_type="bigvgan"),
        "F5TTS_v1_Small": ModelConfig("F5TTS_v1_Small", "DiT", _dit(**_SMALL, **_V1), tokenizer="char"),
        "F5TTS_Small": ModelConfig("F5TTS_Small", "DiT", _dit(**_SMALL, **_V0)),
        "E2TTS_Base": ModelConfig(
            "E2TTS_Base",
            "UNetT",
            MappingProxyType(
                {"dim": 1024, "depth": 24, "heads": 16, "ff_mult": 4, "text_mask_padding": False, "pe_attn_head": 1}
            ),
        ),
        "E2TTS_Small": ModelConfig(
            "E2TTS_Small",
            "UNetT",
            MappingProxyType(
                {"dim": 768, "depth": 20, "heads": 12, "ff_mult": 4, "text_mask_padding": False, "pe_attn_head": 1}
            ),
        ),
    }
)
"""By the name that ``[engines.f5] model`` takes: the files under ``f5_tts/configs`` of f5-tts 1.1.22."""

_VOCAB = "hf://SWivid/F5-TTS/F5TTS_v1_Base/vocab.txt"

OFFICIAL: Mapping[str, Official] = MappingProxyType(
    {
        name: Official(CONFIGS[name], f"hf://SWivid/{checkpoint}", _VOCAB)
        for name, checkpoint in {
            "F5TTS_v1_Base": "F5-TTS/F5TTS_v1_Base/model_1250000.safetensors",
            "F5TTS_Base": "F5-TTS/F5TTS_Base/model_1200000.safetensors",
            "F5TTS_Base_bigvgan": "F5-TTS/F5TTS_Base_bigvgan/model_1250000.pt",
            "E2TTS_Base": "E2-TTS/E2TTS_Base/model_1200000.safetensors",
        }.items()
    }
)
"""Of the small configurations no official checkpoint is published."""

_KNOWN_ARCH = frozenset(
    [
        "dim",
        "depth",
        "heads",
        "dim_head",
        "ff_mult",
        "dropout",
        "text_dim",
        "text_mask_padding",
        "text_embedding_average_upsampling",
        "qk_norm",
        "conv_layers",
        "pe_attn_head",
        "attn_backend",
        "attn_mask_enabled",
        "long_skip_connection",
        "checkpoint_activations",
        "skip_connect_type",
        "mel_dim",
        "text_num_embeds",
    ]
)


_MOST: Mapping[str, int] = MappingProxyType(
    {
        "dim": 8192,
        "depth": 256,
        "heads": 256,
        "dim_head": 512,
        "ff_mult": 16,
        "text_dim": 8192,
        "conv_layers": 64,
        "pe_attn_head": 256,
        "mel_dim": 1024,
        "text_num_embeds": 1_000_000,
    }
)
"""Far beyond what anybody trains. A larger number is a slip, and would take minutes and memory to fail by itself."""


def expanded(path: str) -> Path:
    """With the home directory in the place of ``~``, where there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_file(path: Path) -> bool:
    """Also of what no file can be called, or nobody may look at."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """As ``is_file``."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def configuration(model: str) -> ModelConfig:
    """The configuration that ``[engines.f5] model`` names: an official one, or the path of a YAML file."""
    if model in CONFIGS:
        return CONFIGS[model]
    path = expanded(model)
    if path.suffix.lower() in (".yaml", ".yml") or is_file(path):
        return _from_yaml(path)
    near = difflib.get_close_matches(model, list(CONFIGS), 1)
    meant = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(CONFIGS)}, or the path of a YAML file"
    raise InvalidSetting(f"[engines.f5] model: there is no model {model!r}; {meant}")


def _from_yaml(path: Path) -> ModelConfig:
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSetting(f"[engines.f5] model: {path.name} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: not UTF-8, a date that does not exist, more digits than Python reads.
        raise InvalidSetting(f"[engines.f5] model: {path.name} is not YAML: {' '.join(str(error).split())}") from error
    model = document.get("model") if isinstance(document, dict) else None
    arch = model.get("arch") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(arch, dict) or not isinstance(model.get("backbone"), str):
        raise InvalidSetting(
            f"[engines.f5] model: {path.name} has no model.backbone and model.arch, as upstream's have"
        )
    unknown = sorted(map(str, set(arch) - _KNOWN_ARCH))
    if unknown:
        raise InvalidSetting(f"[engines.f5] model: {path.name}: model.arch has {unknown[0]!r}, which is not known here")
    mel = model.get("mel_spec") or {}
    if not isinstance(mel, dict):
        raise InvalidSetting(f"[engines.f5] model: {path.name}: model.mel_spec must be a table")
    for key, value in arch.items():
        if key in _MOST and isinstance(value, (int, float)) and not value <= _MOST[key]:
            raise InvalidSetting(
                f"[engines.f5] model: {path.name}: model.arch.{key} is {value}; {_MOST[key]} at most are possible"
            )
    wanted = {"target_sample_rate": 24000, "n_mel_channels": 100, "hop_length": 256, "win_length": 1024, "n_fft": 1024}
    for key, value in wanted.items():
        if mel.get(key, value) != value:
            raise InvalidSetting(
                f"[engines.f5] model: {path.name}: model.mel_spec.{key} is {mel[key]!r}; only {value} is supported"
            )
    return ModelConfig(
        name=str(model.get("name", path.stem)),
        backbone=model["backbone"],
        arch=MappingProxyType(dict(arch)),
        mel_spec_type=str(mel.get("mel_spec_type", "vocos")),
        tokenizer=str(model.get("tokenizer", "pinyin")),
    )
