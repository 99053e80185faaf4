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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F

from ishowtts.directories import cache_directory

LOG = logging.getLogger(__name__)
EPSILON = 1e-6
LEAST_SCALE = 1e-8
GELU_SLOPE = 2 * math.sqrt(2 / math.pi)
GELU_CUBE = 0.044715 * GELU_SLOPE
LOG2_E = math.log2(math.e)
_TOKENS_AT_ONCE = 768

Quantised = tuple[torch.Tensor, torch.Tensor]
"""Tokens in int8, in uint8 (the same integers with 128 added) or in float8, and float32 scales ``[tokens, 1]``."""
GREATEST = {torch.int8: 127.0, torch.uint8: 127.0, torch.float8_e4m3fn: 448.0}


Row: TypeAlias = "torch.Tensor | None"
"""Float32 scales of the weights' rows, ``[dim]``."""


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
    """To integers or float8, a scale a token."""
    dequantise: Callable[[torch.Tensor, torch.Tensor, Row, torch.Tensor, torch.dtype], torch.Tensor]
    """Products to ``dtype``: by the token's scale and the row's (None: they have that), biased. May write into them."""
    dequantise_gate: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Row, torch.Tensor, Any], torch.Tensor]
    """May write into ``h``, as ``gate``."""
    dequantise_gelu_quantise: Callable[[torch.Tensor, torch.Tensor, Row, torch.Tensor, torch.dtype], Quantised]
    looks_up: bool = False
    """Whether modulations may come as :class:`Lookup`."""
    compiled: bool = False
    """Whether torch's compiler made any of them."""


def _parts(out: torch.Tensor, *tensors: torch.Tensor) -> Iterable[tuple[torch.Tensor, ...]]:
    """Some tokens of each at a time on a CPU, where what one operator makes is in the cache for the next; elsewhere
    all of them."""
    together = (out, *tensors)
    if out.device.type != "cpu":
        return [together]
    return zip(*(tensor.split(_TOKENS_AT_ONCE) for tensor in together), strict=True)


def _norm(h: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if scale.ndim > 1:
        return torch.addcmul(shift, F.layer_norm(h, h.shape[-1:], None, None, EPSILON), scale).to(dtype)
    if dtype == h.dtype:
        return F.layer_norm(h, h.shape[-1:], scale, shift, EPSILON)
    out = torch.empty(h.shape, dtype=dtype, device=h.device)
    for rounded, some in _parts(out, h):
        rounded.copy_(F.layer_norm(some, h.shape[-1:], scale, shift, EPSILON))
    return out


def _rope(qkv: torch.Tensor, cis: torch.Tensor, heads: int, positioned: int) -> torch.Tensor:
    # Heads apart with the widening: what then turns them, one complex product for all pairs, reads and writes one
    # behind the other.
    parts = qkv.view(qkv.shape[0], 3, heads, -1).permute(1, 2, 0, 3)
    out = torch.empty(parts.shape, dtype=qkv.dtype, device=qkv.device)
    turns = torch.view_as_complex(cis)
    turned = torch.empty(parts[0, :positioned].shape, device=qkv.device)
    pairs = torch.view_as_complex(turned.view(*turned.shape[:2], -1, 2))
    for part, placed in zip(parts[:2], out[:2], strict=True):
        turned.copy_(part[:positioned])
        pairs.mul_(turns)
        placed[:positioned].copy_(turned)
        if positioned < heads:
            placed[positioned:].copy_(part[positioned:])
    out[2].copy_(parts[2])
    return out


def _gate(h: torch.Tensor, y: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    if gate.ndim > 1:
        return h.addcmul_(y.float(), gate)
    for some, added in _parts(h, y):
        some.addcmul_(added.float(), gate)
    return h


def _to_integers(y: torch.Tensor, kind: torch.dtype) -> Quantised:
    """Of float32, or to float8."""
    # Two readings cost less than the absolute values' writing.
    furthest = torch.maximum(y.amax(-1, keepdim=True), -y.amin(-1, keepdim=True))
    scale = furthest.clamp(min=LEAST_SCALE) / GREATEST[kind]
    scaled = y / scale
    if kind == torch.float8_e4m3fn:
        return scaled.to(kind), scale
    return (scaled.round_() if kind == torch.int8 else scaled.round_().add_(128)).to(kind), scale


def _quantised_by_parts(made: Callable[..., torch.Tensor], kind: torch.dtype, *tensors: torch.Tensor) -> Quantised:
    """Of what ``made`` makes of some tokens of ``tensors``, all of one width."""
    first = tensors[0]
    out = torch.empty(first.shape, dtype=kind, device=first.device)
    scales = torch.empty(first.shape[0], 1, device=first.device)
    for some, some_scales, *parts in _parts(out, scales, *tensors):
        integers, scale = _to_integers(made(*parts), kind)
        some.copy_(integers)
        some_scales.copy_(scale)
    return out, scales


def _quantise(y: torch.Tensor, kind: torch.dtype) -> Quantised:
    return _quantised_by_parts(torch.Tensor.float, kind, y)


def _quantise_plain(y: torch.Tensor, kind: torch.dtype) -> Quantised:
    return _to_integers(y.float(), kind)


def _norm_quantise(h: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, kind: torch.dtype) -> Quantised:
    if scale.ndim > 1:
        return _to_integers(_norm(h, scale, shift, torch.float32), kind)
    return _quantised_by_parts(lambda some: F.layer_norm(some, h.shape[-1:], scale, shift, EPSILON), kind, h)


def _norm_quantise_plain(h: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, kind: torch.dtype) -> Quantised:
    return _to_integers(F.layer_norm(h, h.shape[-1:], None, None, EPSILON) * scale + shift, kind)


def _scaled(y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor) -> torch.Tensor:
    scaled = y.to(torch.float32, copy=True).mul_(token)
    return (scaled if row is None else scaled.mul_(row)).add_(bias)


def _dequantise(y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    out = y if y.dtype == dtype else torch.empty(y.shape, dtype=dtype, device=y.device)
    for some, part, scale in _parts(out, y, token):
        some.copy_(_scaled(part, scale, row, bias))
    return out


def _dequantise_plain(
    y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    return _scaled(y, token, row, bias).to(dtype)


def _dequantise_gate(
    h: torch.Tensor, y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, gate: torch.Tensor
) -> torch.Tensor:
    if gate.ndim > 1:
        return _dequantise_gate_plain(h, y, token, row, bias, gate)
    for some, part, scale in _parts(h, y, token):
        some.addcmul_(_scaled(part, scale, row, bias), gate)
    return h


def _dequantise_gate_plain(
    h: torch.Tensor, y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, gate: torch.Tensor
) -> torch.Tensor:
    return h.addcmul_(_scaled(y, token, row, bias), gate)


def _dequantise_gelu_quantise(
    y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, kind: torch.dtype
) -> Quantised:
    return _quantised_by_parts(lambda some, scale: _gelu(_scaled(some, scale, row, bias)), kind, y, token)


def _dequantise_gelu_quantise_plain(
    y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, kind: torch.dtype
) -> Quantised:
    return _to_integers(_gelu(_scaled(y, token, row, bias)), kind)


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
        "quantise": _quantise_plain,
        "dequantise": _dequantise_plain,
        "dequantise_gate": _dequantise_gate_plain,
        "dequantise_gelu_quantise": _dequantise_gelu_quantise_plain,
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
