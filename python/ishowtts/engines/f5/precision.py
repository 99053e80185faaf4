"""Which device and which numbers: chosen by what the machine can do. Pure; no thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ishowtts.engines.f5.linear import can_fp8, can_int8
from ishowtts.errors import InvalidSetting

DTYPES = ("auto", "fp32", "bf16", "fp16", "int8", "fp8")
_FLOATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """The numeric path of the DiT. Text, times, x and the vocoder are float32 on every path."""

    name: str
    """fp32, bf16, fp16, int8 or fp8."""
    device: torch.device
    dtype: torch.dtype
    """Of the products, or with int8 and fp8 of the attention."""


def choose(device: str, dtype: str) -> Precision:
    """``device``: auto, cpu, cuda or cuda:N. ``dtype``: one of DTYPES. Raises InvalidSetting for what is not here."""
    if dtype not in DTYPES:
        raise InvalidSetting(f"[engines.f5] dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    place = _device(device)
    name = half(place) if dtype == "auto" else dtype
    if name == "int8":
        if not can_int8(place):
            raise InvalidSetting(f"[engines.f5] dtype: {place} has no int8 products here")
        return Precision(name, place, _FLOATS[half(place)])
    if name == "fp8":
        if place.type != "cuda" or not can_fp8(place):
            raise InvalidSetting(f"[engines.f5] dtype: {place} has no float8 products; Ada, Hopper and later GPUs do")
        return Precision(name, place, torch.bfloat16)
    if name == "fp16" and place.type == "cpu":
        raise InvalidSetting("[engines.f5] dtype: fp16 is for GPUs; a CPU takes fp32, bf16 or int8")
    if name == "bf16" and place.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InvalidSetting("[engines.f5] dtype: this GPU has no bf16; take fp16 or auto")
    return Precision(name, place, _FLOATS[name])


def half(device: torch.device) -> str:
    """The half precision that the device is fast in; fp32 where it has none."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if fast_bf16() else "fp32"


def fast_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 by itself (AVX-512 BF16, AMX, or ARM's)."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(probe() for name in probes if (probe := getattr(torch.cpu, name, None)) is not None)


@contextmanager
def exact() -> Iterator[None]:
    """float32 is float32: by itself torch gives its convolutions on CUDA to TF32, with 10 bits of a value. A decorator
    too."""
    cudnn: Any = torch.backends.cudnn
    # Since torch 2.9 each operator has a setting of its own, and the old one cannot be read where they differ.
    place, name, full = (cudnn.conv, "fp32_precision", "ieee") if has_own_setting() else (cudnn, "allow_tf32", False)
    was = getattr(place, name)
    setattr(place, name, full)
    try:
        yield
    finally:
        setattr(place, name, was)


def has_own_setting() -> bool:
    """Whether convolutions have one."""
    return hasattr(getattr(torch.backends.cudnn, "conv", None), "fp32_precision")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "cuda" or (name.startswith("cuda:") and name[5:].isdecimal() and len(name) < 9):
        number = int(name[5:] or 0)
        if number < torch.cuda.device_count():
            return torch.device("cuda", number)
        raise InvalidSetting(f"[engines.f5] device: there is no {name!r} here ({torch.cuda.device_count()} GPUs)")
    raise InvalidSetting(f"[engines.f5] device must be auto, cpu or cuda:N, not {name!r}")
