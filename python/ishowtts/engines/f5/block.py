"""One layer of the DiT, in floating point or with int8 or float8 products. Runs on the engine's thread.

Source: ``DiTBlock`` and ``AttnProcessor`` in ``f5_tts/model/modules.py`` of f5-tts 1.1.22.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from ishowtts.engines.f5 import attention
from ishowtts.engines.f5.attention import Attention
from ishowtts.engines.f5.config import Architecture
from ishowtts.engines.f5.elementwise import LOG2_E, Elementwise, Lookup
from ishowtts.engines.f5.linear import Fp8Linear, Int8Linear, Linear, PackedInt8Linear, int8_linear
from ishowtts.engines.f5.pack import Pack, Span
from ishowtts.engines.f5.precision import Precision

Read = Callable[[str], torch.Tensor]
_SHIFT_ATTENTION, _SCALE_ATTENTION, _GATE_ATTENTION, _SHIFT_FF, _SCALE_FF, _GATE_FF = range(6)


@dataclass(frozen=True)
class Table:
    """A layer's modulations of all requests for one span of all tokens."""

    rows: torch.Tensor
    """``[requests, 6, dim]``"""
    index: torch.Tensor
    """The request of each token."""
    looked_up: bool
    """By whom it is given to (``Elementwise.looks_up``); else each token's row is copied for it."""

    def __getitem__(self, which: int) -> torch.Tensor | Lookup:
        rows = self.rows[:, which]
        return Lookup(rows, self.index) if self.looked_up else rows[self.index]


@dataclass(frozen=True)
class Vectors:
    """A layer's modulations: for each span of tokens ``[6, dim]``, or one table for one span of all."""

    spans: list[Span]
    rows: list[torch.Tensor] | list[Table]

    def each(self, function: Callable[..., Any], *tensors: torch.Tensor) -> Any:
        """``function(*parts, row)`` of every span, put together."""
        if len(self.rows) == 1:
            return function(*tensors, self.rows[0])
        made = [
            function(*(tensor[start:end] for tensor in tensors), row)
            for (start, end), row in zip(self.spans, self.rows, strict=True)
        ]
        if isinstance(made[0], tuple):
            return tuple(torch.cat(parts) for parts in zip(*made, strict=True))
        return torch.cat(made)


class Block(Protocol):
    """A layer: the residual stream in and out, float32 ``[tokens, dim]``."""

    nbytes: int

    def __call__(self, hidden: torch.Tensor, vectors: Vectors, pack: Pack) -> torch.Tensor: ...


class _Layer(ABC):
    """What both kinds share."""

    def __init__(
        self, config: Architecture, read: Read, index: int, precision: Precision, ops: Elementwise, attend: Attention
    ) -> None:
        self._config = config
        self._dtype = precision.dtype
        self._device = precision.device
        self._ops = ops
        self._attend = attend
        name = f"transformer_blocks.{index}."
        # The softmax's scale is a part of the queries.
        scale = config.dim_head**-0.5 * LOG2_E
        norms = ("q_norm", "k_norm") if config.qk_norm else ()
        self._norms = [read(f"{name}attn.{norm}.weight").clone() for norm in norms]
        if self._norms:
            self._norms[0] *= scale
            scale = 1.0
        self._qkv = self._linear(
            torch.cat([read(f"{name}attn.to_{c}.weight") * (scale if c == "q" else 1.0) for c in "qkv"]),
            torch.cat([read(f"{name}attn.to_{c}.bias") * (scale if c == "q" else 1.0) for c in "qkv"]),
        )
        self._out = self._linear(read(name + "attn.to_out.0.weight"), read(name + "attn.to_out.0.bias"))
        self._widen = self._linear(read(name + "ff.ff.0.0.weight"), read(name + "ff.ff.0.0.bias"))
        self._narrow = self._linear(read(name + "ff.ff.2.weight"), read(name + "ff.ff.2.bias"))
        linears = (self._qkv, self._out, self._widen, self._narrow)
        self.nbytes: int = sum(linear.nbytes for linear in linears)

    @abstractmethod
    def _linear(self, weight: torch.Tensor, bias: torch.Tensor) -> Any:
        """The kind of product that this layer is made of."""

    def _heads(self, qkv: torch.Tensor, pack: Pack) -> torch.Tensor:
        """Attention from the projections, ``[tokens, 3 * inner]`` to ``[tokens, inner]``."""
        config = self._config
        if self._norms:
            qkv = self._normed(qkv)
        if self._attend is attention.products and not pack.fixed:
            out = qkv.new_empty(qkv.shape[0], config.heads, config.dim_head)
            for start, end in pack.segments:
                q, k, v = self._ops.rope(qkv[start:end], pack.cis[start:end], config.heads, config.positioned_heads)
                attention.product(q, k, v, out[start:end])
            return out.view(qkv.shape[0], -1)
        q, k, v = self._ops.rope(qkv, pack.cis, config.heads, config.positioned_heads)
        return self._attend(q, k, v, pack)

    def _normed(self, qkv: torch.Tensor) -> torch.Tensor:
        parts = list(qkv.view(qkv.shape[0], 3, self._config.heads, -1).unbind(1))
        for index, weight in enumerate(self._norms):
            parts[index] = F.rms_norm(parts[index].float(), weight.shape, weight, 1e-6).to(qkv.dtype)
        return torch.stack(parts, 1).view(qkv.shape)


class FloatBlock(_Layer):
    """float32, bfloat16 or float16."""

    def _linear(self, weight: torch.Tensor, bias: torch.Tensor) -> Linear:
        return Linear(weight, bias, self._dtype, self._device)

    def __call__(self, hidden: torch.Tensor, vectors: Vectors, pack: Pack) -> torch.Tensor:
        ops, dtype = self._ops, self._dtype
        y = vectors.each(lambda h, m: ops.norm(h, m[_SCALE_ATTENTION], m[_SHIFT_ATTENTION], dtype), hidden)
        y = self._out(self._heads(self._qkv(y), pack))
        hidden = vectors.each(lambda h, y, m: ops.gate(h, y, m[_GATE_ATTENTION]), hidden, y)
        y = vectors.each(lambda h, m: ops.norm(h, m[_SCALE_FF], m[_SHIFT_FF], dtype), hidden)
        y = self._narrow(self._widen.gelu(y))
        gated: torch.Tensor = vectors.each(lambda h, y, m: ops.gate(h, y, m[_GATE_FF]), hidden, y)
        return gated


class Int8Block(_Layer):
    """int8 products with a scale a token; attention in the half precision of the device."""

    def _linear(self, weight: torch.Tensor, bias: torch.Tensor) -> Int8Linear | PackedInt8Linear:
        return int8_linear(weight, bias, self._dtype, self._device)

    def __call__(self, hidden: torch.Tensor, vectors: Vectors, pack: Pack) -> torch.Tensor:
        ops, qkv, out, widen, narrow = self._ops, self._qkv, self._out, self._widen, self._narrow
        kind = qkv.kind

        def gated(h: torch.Tensor, y: torch.Tensor, scale: torch.Tensor, m: torch.Tensor, linear: Any, at: int) -> Any:
            return ops.dequantise_gate(h, y, scale, linear.scale, linear.bias, m[at])

        y, scale = vectors.each(
            lambda h, m: ops.norm_quantise(h, m[_SCALE_ATTENTION], m[_SHIFT_ATTENTION], kind), hidden
        )
        y = self._heads(ops.dequantise(qkv(y), scale, qkv.scale, qkv.bias, self._dtype), pack)
        y, scale = ops.quantise(y, kind)
        hidden = vectors.each(lambda h, y, s, m: gated(h, y, s, m, out, _GATE_ATTENTION), hidden, out(y), scale)
        y, scale = vectors.each(lambda h, m: ops.norm_quantise(h, m[_SCALE_FF], m[_SHIFT_FF], kind), hidden)
        y, scale = ops.dequantise_gelu_quantise(widen(y), scale, widen.scale, widen.bias, kind)
        done: torch.Tensor = vectors.each(
            lambda h, y, s, m: gated(h, y, s, m, narrow, _GATE_FF), hidden, narrow(y), scale
        )
        return done


class Fp8Block(_Layer):
    """float8 products with a scale a token and a row, which the product itself applies; attention in bfloat16."""

    def _linear(self, weight: torch.Tensor, bias: torch.Tensor) -> Fp8Linear:
        return Fp8Linear(weight, bias, self._device)

    def __call__(self, hidden: torch.Tensor, vectors: Vectors, pack: Pack) -> torch.Tensor:
        ops, kind = self._ops, torch.float8_e4m3fn
        y = vectors.each(lambda h, m: ops.norm_quantise(h, m[_SCALE_ATTENTION], m[_SHIFT_ATTENTION], kind), hidden)
        y = self._out(*ops.quantise(self._heads(self._qkv(*y), pack), kind))
        hidden = vectors.each(lambda h, y, m: ops.gate(h, y, m[_GATE_ATTENTION]), hidden, y)
        y = vectors.each(lambda h, m: ops.norm_quantise(h, m[_SCALE_FF], m[_SHIFT_FF], kind), hidden)
        y = self._narrow(*ops.quantise(F.gelu(self._widen(*y), approximate="tanh"), kind))
        gated: torch.Tensor = vectors.each(lambda h, y, m: ops.gate(h, y, m[_GATE_FF]), hidden, y)
        return gated
