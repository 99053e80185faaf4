"""Triton kernels for what stands between the DiT's matrix products on CUDA: one pass over the tokens each, every token
finding its request's modulation by itself. Imported only where triton is. On the engine's thread.

Places are reckoned in 64 bits: a step of many long segments has more values than 32 can count. The kernels are tried
against the eager operators when they are chosen: a device on which they fail or differ goes without.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias

import torch
import triton
import triton.language as tl

from ishowtts.engines.f5.elementwise import (
    EAGER,
    EPSILON,
    GELU_CUBE,
    GELU_SLOPE,
    LEAST_SCALE,
    Elementwise,
    Lookup,
    Quantised,
    Row,
)
from ishowtts.engines.f5.linear import can_fp8

LOG = logging.getLogger(__name__)
_AGREEMENT = 2e-3
PLAIN, INT8, FP8 = 0, 1, 2
_KINDS = {torch.int8: INT8, torch.float8_e4m3fn: FP8}
# Added and taken away again, it leaves the nearest whole number, the even one of two.
_ROUNDING = tl.constexpr(12582912.0)


@triton.jit
def _store_quantised(y, out, scales, token, at, inside, dim, LEAST: tl.constexpr, KIND: tl.constexpr):
    greatest = 127.0 if KIND == 1 else 448.0
    scale = tl.maximum(tl.max(tl.abs(y), 0), LEAST) / greatest
    scaled = y / scale
    if KIND == 1:
        scaled = (scaled + _ROUNDING) - _ROUNDING
    tl.store(out + token * dim + at, scaled.to(out.dtype.element_ty), mask=inside)
    tl.store(scales + token, scale)


@triton.jit
def _norm_kernel(
    h, scale, shift, index, out, scales, dim, scale_stride, shift_stride,
    EPS: tl.constexpr, LEAST: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < dim
    x = tl.load(h + token * dim + at, mask=inside, other=0.0)
    centred = tl.where(inside, x - tl.sum(x, 0) / dim, 0.0)
    normed = centred / tl.sqrt(tl.sum(centred * centred, 0) / dim + EPS)
    row = tl.load(index + token)
    factor = tl.load(scale + row * scale_stride + at, mask=inside, other=0.0)
    offset = tl.load(shift + row * shift_stride + at, mask=inside, other=0.0)
    y = normed * factor + offset
    if KIND == 0:
        tl.store(out + token * dim + at, y.to(out.dtype.element_ty), mask=inside)
    else:
        _store_quantised(y, out, scales, token, at, inside, dim, LEAST, KIND)


@triton.jit
def _quantise_kernel(y, out, scales, dim, LEAST: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < dim
    values = tl.load(y + token * dim + at, mask=inside, other=0.0).to(tl.float32)
    _store_quantised(values, out, scales, token, at, inside, dim, LEAST, KIND)


@triton.jit
def _scaled(y, tokens, rows, bias, token, at, inside, dim):
    """Of an int32 product, what it stands for."""
    values = tl.load(y + token * dim + at, mask=inside, other=0).to(tl.float32) * tl.load(tokens + token)
    row = tl.load(rows + at, mask=inside, other=0.0)
    return values * row + tl.load(bias + at, mask=inside, other=0.0)


@triton.jit
def _dequantise_kernel(y, tokens, rows, bias, out, dim, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < dim
    values = _scaled(y, tokens, rows, bias, token, at, inside, dim)
    tl.store(out + token * dim + at, values.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _dequantise_gate_kernel(h, y, tokens, rows, bias, gate, index, dim, gate_stride, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < dim
    values = _scaled(y, tokens, rows, bias, token, at, inside, dim)
    factor = tl.load(gate + tl.load(index + token) * gate_stride + at, mask=inside, other=0.0)
    x = tl.load(h + token * dim + at, mask=inside, other=0.0)
    tl.store(h + token * dim + at, x + values * factor, mask=inside)


@triton.jit
def _dequantise_gelu_quantise_kernel(
    y, tokens, rows, bias, out, scales, dim,
    SLOPE: tl.constexpr, CUBE: tl.constexpr, LEAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < dim
    x = _scaled(y, tokens, rows, bias, token, at, inside, dim)
    x = x / (1.0 + tl.exp(-x * (SLOPE + CUBE * x * x)))
    _store_quantised(x, out, scales, token, at, inside, dim, LEAST, 1)


@triton.jit
def _gate_kernel(h, y, gate, index, dim, gate_stride, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < dim
    row = tl.load(index + token)
    factor = tl.load(gate + row * gate_stride + at, mask=inside, other=0.0)
    x = tl.load(h + token * dim + at, mask=inside, other=0.0)
    added = tl.load(y + token * dim + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(h + token * dim + at, x + added * factor, mask=inside)


@triton.jit
def _rope_kernel(qkv, cis, out, tokens, heads, positioned, HALF: tl.constexpr, BLOCK: tl.constexpr):
    """A program turns the pairs of one token's queries, keys or values."""
    token, part = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    pair, one = tl.arange(0, BLOCK), tl.arange(0, 2)
    inside = (pair < heads * HALF)[:, None] & (one < 2)[None]
    # Both numbers of a pair in one access, and neighbours' side by side: apart they would be read two bytes at a time.
    places = pair[:, None] * 2 + one[None]
    real, imaginary = tl.split(tl.load(qkv + (token * 3 + part) * heads * HALF * 2 + places, mask=inside, other=0.0))
    real, imaginary = real.to(tl.float32), imaginary.to(tl.float32)
    turned = (part < 2) & (pair // HALF < positioned)
    angles = cis + (token * HALF + pair % HALF)[:, None] * 2 + one[None]
    cos, sin = tl.split(tl.load(angles, mask=inside, other=0.0))
    cos, sin = tl.where(turned, cos, 1.0), tl.where(turned, sin, 0.0)
    made = tl.join(real * cos - imaginary * sin, real * sin + imaginary * cos)
    tl.store(out + (part * tokens + token) * heads * HALF * 2 + places, made.to(out.dtype.element_ty), mask=inside)


Rows: TypeAlias = torch.Tensor | Lookup


def norm(h: torch.Tensor, scale: Rows, shift: Rows, dtype: torch.dtype) -> torch.Tensor:
    """As ``Elementwise.norm``."""
    out = torch.empty(h.shape, dtype=dtype, device=h.device)
    _norm(h, scale, shift, out, out, PLAIN)
    return out


def norm_quantise(h: torch.Tensor, scale: Rows, shift: Rows, kind: torch.dtype) -> Quantised:
    """As ``Elementwise.norm_quantise``."""
    out, scales = _quantised(h, kind)
    _norm(h, scale, shift, out, scales, _KINDS[kind])
    return out, scales


def _norm(h: torch.Tensor, scale: Rows, shift: Rows, out: torch.Tensor, scales: torch.Tensor, kind: int) -> None:
    tokens, dim = h.shape
    factors, index = _rows(scale, h)
    offsets, _ = _rows(shift, h)
    strides = factors.stride(0), offsets.stride(0)
    _norm_kernel[(tokens,)](
        *(h, factors, offsets, index, out, scales, dim, *strides),
        EPS=EPSILON, LEAST=LEAST_SCALE, KIND=kind, BLOCK=_block(dim),
    )  # fmt: skip


def quantise(y: torch.Tensor, kind: torch.dtype) -> Quantised:
    """As ``Elementwise.quantise``."""
    out, scales = _quantised(y, kind)
    tokens, dim = y.shape
    _quantise_kernel[(tokens,)](y, out, scales, dim, LEAST=LEAST_SCALE, KIND=_KINDS[kind], BLOCK=_block(dim))
    return out, scales


def dequantise(y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """As ``Elementwise.dequantise``."""
    out = torch.empty(y.shape, dtype=dtype, device=y.device)
    _dequantise_kernel[(y.shape[0],)](y, token, row, bias, out, y.shape[1], BLOCK=_block(y.shape[1]))
    return out


def dequantise_gate(
    h: torch.Tensor, y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, factor: Rows
) -> torch.Tensor:
    """As ``Elementwise.dequantise_gate``; writes into ``h``."""
    tokens, dim = y.shape
    gates, index = _rows(factor, h)
    _dequantise_gate_kernel[(tokens,)](h, y, token, row, bias, gates, index, dim, gates.stride(0), BLOCK=_block(dim))
    return h


def dequantise_gelu_quantise(
    y: torch.Tensor, token: torch.Tensor, row: Row, bias: torch.Tensor, kind: torch.dtype
) -> Quantised:
    """As ``Elementwise.dequantise_gelu_quantise``, to int8."""
    tokens, dim = y.shape
    out, scales = _quantised(y, kind)
    _dequantise_gelu_quantise_kernel[(tokens,)](
        *(y, token, row, bias, out, scales, dim),
        SLOPE=GELU_SLOPE, CUBE=GELU_CUBE, LEAST=LEAST_SCALE, BLOCK=_block(dim),
    )  # fmt: skip
    return out, scales


def gate(h: torch.Tensor, y: torch.Tensor, factor: Rows) -> torch.Tensor:
    """As ``Elementwise.gate``; writes into ``h``."""
    tokens, dim = h.shape
    rows, index = _rows(factor, h)
    _gate_kernel[(tokens,)](h, y, rows, index, dim, rows.stride(0), BLOCK=_block(dim))
    return h


def rope(qkv: torch.Tensor, cis: torch.Tensor, heads: int, positioned: int) -> torch.Tensor:
    """As ``Elementwise.rope``."""
    tokens = qkv.shape[0]
    dim = qkv.shape[1] // (3 * heads)
    # Heads of a token side by side, as packed attention has them: it then gives them so, and nothing is put in order.
    out = qkv.new_empty(3, tokens, heads, dim)
    half = dim // 2
    _rope_kernel[(tokens, 3)](qkv, cis, out, tokens, heads, positioned, HALF=half, BLOCK=_block(heads * half))
    return out.transpose(1, 2)


def fused(ops: Elementwise) -> Elementwise:
    """``ops`` with these kernels in the place of theirs, if they work here."""
    if not _right():
        return ops
    return replace(
        ops,
        norm=norm,
        gate=gate,
        rope=rope,
        norm_quantise=norm_quantise,
        quantise=quantise,
        dequantise=dequantise,
        dequantise_gate=dequantise_gate,
        dequantise_gelu_quantise=dequantise_gelu_quantise,
        looks_up=True,
    )


def _rows(given: Rows, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(given, Lookup):
        return given.rows, given.index
    return given[None], torch.zeros(h.shape[0], dtype=torch.int64, device=h.device)


def _quantised(y: torch.Tensor, kind: torch.dtype) -> Quantised:
    """Room for it."""
    scales = torch.empty(y.shape[0], 1, dtype=torch.float32, device=y.device)
    return torch.empty(y.shape, dtype=kind, device=y.device), scales


def _block(size: int) -> int:
    return int(triton.next_power_of_2(size))


@lru_cache(maxsize=1)
def _right(device: str = "cuda", dtype: torch.dtype = torch.float16) -> bool:
    try:
        kinds = (torch.int8, *([torch.float8_e4m3fn] if can_fp8(torch.device(device)) else []))
        difference = check(torch.device(device), dtype, kinds)
    except Exception as error:
        # What a kernel can raise while it is compiled has no class in common.
        LOG.info("no Triton kernels here: %s", str(error).strip()[:200] or type(error).__name__)
        return False
    if not difference < _AGREEMENT:
        LOG.warning("no Triton kernels: they differ by %.2g from the eager operators", difference)
    return difference < _AGREEMENT


def check(device: torch.device, dtype: torch.dtype, kinds: Sequence[torch.dtype] = (torch.int8,)) -> float:
    """The greatest difference from the eager operators, relative to the largest value."""
    noise = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=noise).to(device)

    tokens, heads, dim_head, requests = 7, 3, 8, 2
    dim = heads * dim_head
    h, y, qkv = drawn(tokens, dim), drawn(tokens, dim).to(dtype), drawn(tokens, 3 * dim).to(dtype)
    table, cis = drawn(requests, 6, dim), drawn(tokens, dim_head // 2, 2)
    index = torch.tensor([0, 0, 0, 1, 1, 0, 1], device=device)
    looked = [Lookup(table[:, which], index) for which in range(3)]
    plain = [table[:, which][index] for which in range(3)]
    row, bias, token = drawn(dim).abs() / 500, drawn(dim), drawn(tokens, 1).abs() / 50
    product = (drawn(tokens, dim) * 20_000).to(torch.int32)
    pairs = [
        (norm(h, looked[0], looked[1], dtype), EAGER.norm(h, plain[0], plain[1], dtype)),
        (norm(h, table[0, 0], table[0, 1], dtype), EAGER.norm(h, table[0, 0], table[0, 1], dtype)),
        (gate(h.clone(), y, looked[2]), EAGER.gate(h.clone(), y, plain[2])),
        *((rope(qkv, cis, heads, some), EAGER.rope(qkv, cis, heads, some)) for some in (heads, 1)),
        (
            dequantise(product, token, row, bias, torch.float32),
            EAGER.dequantise(product, token, row, bias, torch.float32),
        ),
        (
            dequantise_gate(h.clone(), product, token, row, bias, looked[2]),
            EAGER.dequantise_gate(h.clone(), product, token, row, bias, plain[2]),
        ),
    ]
    quantised = [
        (
            dequantise_gelu_quantise(product, token, row, bias, torch.int8),
            EAGER.dequantise_gelu_quantise(product, token, row, bias, torch.int8),
        )
    ]
    for kind in kinds:
        quantised += [
            (norm_quantise(h, looked[0], looked[1], kind), EAGER.norm_quantise(h, plain[0], plain[1], kind)),
            (quantise(y, kind), EAGER.quantise(y, kind)),
        ]
    pairs += [(found[1], wanted[1]) for found, wanted in quantised]
    # A value between two steps may fall to either side of them.
    pairs += [(_close(found[0], wanted[0]), wanted[0].float()) for found, wanted in quantised]
    differences = [(found.float() - wanted.float()).abs().max() / wanted.float().abs().max() for found, wanted in pairs]
    return float(torch.stack(differences).max())


def _close(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """``wanted``, where ``found`` is at most one step away."""
    step = 1.0 if wanted.dtype == torch.int8 else (wanted.float().abs() / 8).clamp(min=2**-9)
    return torch.where((found.float() - wanted.float()).abs() <= step, wanted.float(), found.float())
