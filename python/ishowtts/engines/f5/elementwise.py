"""What stands between the DiT's matrix products: norms with modulation, rotary positions, gates, quantisation.

Two sets of the same functions. ``EAGER`` is made of the few operators that torch has fused by itself; in
``compiled()`` torch's compiler (it needs a C++ compiler) fuses what int8 adds into one loop each. Norms, positions and
gates stay as they are: compiled they were measured slower. Modulations are one vector for all tokens or one row a
token. Pure; no thread of its own.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from ishowtts.directories import cache_directory

LOG = logging.getLogger(__name__)
EPSILON = 1e-6
LEAST_SCALE = 1e-8
GELU_SLOPE = 2 * math.sqrt(2 / math.pi)
GELU_CUBE = 0.044715 * GELU_SLOPE
LOG2_E = math.log2(math.e)
_TOKENS_AT_ONCE = 256

Quantised = tuple[torch.Tensor, torch.Tensor]
"""Tokens in int8 or float8 and float32 scales ``[tokens, 1]``."""
GREATEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}


@dataclass(frozen=True)
class Lookup:
    """A modulation for every token: its request's row."""

    rows: torch.Tensor
    """``[requests, dim]``, rows may lie apart."""
    index: torch.Tensor
    """``[tokens]``"""


@dataclass(frozen=True)
class Elementwise:
    """``h`` is the residual stream, float32 ``[tokens, dim]``."""

    norm: Callable[[torch.Tensor, Any, Any, torch.dtype], torch.Tensor]
    """``layer_norm(h) * scale + shift``."""
    rope: Callable[[torch.Tensor, torch.Tensor, int, int], torch.Tensor]
    """``[tokens, 3 * heads * dim_head]`` to ``[3, heads, tokens, dim_head]``, positions given to some heads."""
    gate: Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]
    """``h + y * gate``; may write into ``h``."""
    norm_quantise: Callable[[torch.Tensor, Any, Any, torch.dtype], Quantised]
    quantise: Callable[[torch.Tensor, torch.dtype], Quantised]
    """To int8 or float8, a scale a token."""
    dequantise: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.dtype], torch.Tensor]
    """int32 products to ``dtype``: by the token's scale and the row's, biased."""
    dequantise_gate: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Any], torch.Tensor]
    """May write into ``h``, as ``gate``."""
    dequantise_gelu_quantise: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Quantised]
    looks_up: bool = False
    """Whether modulations may come as :class:`Lookup`."""
    compiled: bool = False
    """Whether torch's compiler made any of them."""


def _norm(h: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    dim = h.shape[-1:]
    if scale.ndim == 1 and dtype != h.dtype and h.device.type == "cpu":
        # Some tokens at a time: their norms are in the cache when they are rounded.
        out = torch.empty(h.shape, dtype=dtype)
        for some, rounded in zip(h.split(_TOKENS_AT_ONCE), out.split(_TOKENS_AT_ONCE), strict=True):
            rounded.copy_(F.layer_norm(some, dim, scale, shift, EPSILON))
        return out
    if scale.ndim == 1:
        return F.layer_norm(h, dim, scale, shift, EPSILON).to(dtype)
    return torch.addcmul(shift, F.layer_norm(h, dim, None, None, EPSILON), scale).to(dtype)


def _rope(qkv: torch.Tensor, cis: torch.Tensor, heads: int, positioned: int) -> torch.Tensor:
    # Heads apart first: what then turns them, one complex product for all pairs, reads and writes one behind the other.
    out = qkv.view(qkv.shape[0], 3, heads, -1).permute(1, 2, 0, 3).contiguous()
    turns = torch.view_as_complex(cis)
    for part in out[:2, :positioned]:
        turned = part.to(torch.float32, copy=True)
        torch.view_as_complex(turned.view(*turned.shape[:2], -1, 2)).mul_(turns)
        part.copy_(turned)
    return out


def _gate(h: torch.Tensor, y: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return h.addcmul_(y.float(), gate)


def _quantise(y: torch.Tensor, kind: torch.dtype) -> Quantised:
    y = y.float()
    # Two readings cost less than the absolute values' writing.
    furthest = torch.maximum(y.amax(-1, keepdim=True), -y.amin(-1, keepdim=True))
    scale = furthest.clamp(min=LEAST_SCALE) / GREATEST[kind]
    scaled = y / scale
    return (scaled.round_() if kind == torch.int8 else scaled).to(kind), scale


def _norm_quantise(h: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, kind: torch.dtype) -> Quantised:
    return _quantise(_norm(h, scale, shift, torch.float32), kind)


def _norm_quantise_plain(h: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, kind: torch.dtype) -> Quantised:
    return _quantise(F.layer_norm(h, h.shape[-1:], None, None, EPSILON) * scale + shift, kind)


def _scaled(y: torch.Tensor, token: torch.Tensor, row: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    # In place: on a CPU each tensor more is 6 MB that leave the cache.
    return y.to(torch.float32, copy=True).mul_(token).mul_(row).add_(bias)


def _dequantise(
    y: torch.Tensor, token: torch.Tensor, row: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    return _scaled(y, token, row, bias).to(dtype)


def _dequantise_gate(
    h: torch.Tensor, y: torch.Tensor, token: torch.Tensor, row: torch.Tensor, bias: torch.Tensor, gate: torch.Tensor
) -> torch.Tensor:
    return h.addcmul_(_scaled(y, token, row, bias), gate)


def _dequantise_gelu_quantise(y: torch.Tensor, token: torch.Tensor, row: torch.Tensor, bias: torch.Tensor) -> Quantised:
    return _quantise(_gelu(_scaled(y, token, row, bias)), torch.int8)


def _gelu(x: torch.Tensor) -> torch.Tensor:
    # 0.5 * (1 + tanh(u)) is 1 / (1 + exp(-2 u)); of all of these torch's exp2 is the quickest on a CPU, six times as
    # quick as its tanh. What overflows divides to zero, as it should.
    turned = (x * x).mul_(-GELU_CUBE * LOG2_E).add_(-GELU_SLOPE * LOG2_E).mul_(x).exp2_().add_(1)
    return x / turned


EAGER = Elementwise(
    _norm, _rope, _gate, _norm_quantise, _quantise, _dequantise, _dequantise_gate, _dequantise_gelu_quantise
)


@lru_cache(maxsize=1)
def compiled() -> Elementwise:
    """The same, compiled with their first use: some seconds each. What was made is kept on disk, and not where a
    restart of the machine loses it."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "torchinductor"))
    plain: dict[str, Callable[..., Any]] = {
        "norm_quantise": _norm_quantise_plain,
        "quantise": _quantise,
        "dequantise": _dequantise,
        "dequantise_gate": _dequantise_gate,
        "dequantise_gelu_quantise": _dequantise_gelu_quantise,
    }
    made = {name: torch.compile(function, dynamic=True) for name, function in plain.items()}
    return replace(EAGER, compiled=True, **made)


def choose(device: torch.device, compiled_too: bool) -> Elementwise:
    """The fastest that the device can do."""
    kernels = _triton() if device.type == "cuda" else None
    ops = EAGER if kernels is None else kernels.fused(EAGER)
    if not compiled_too:
        return ops
    if ops is not EAGER:
        LOG.warning('f5: compile = "on" changes nothing here: Triton\'s kernels do all that it would compile')
        return ops
    return compiled()


def _triton() -> ModuleType | None:
    """Triton comes with torch where that has CUDA, but not on every platform."""
    try:
        from ishowtts.engines.f5 import triton_kernels
    except ImportError:
        return None
    return triton_kernels
