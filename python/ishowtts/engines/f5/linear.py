"""Matrix products in the precisions that the DiT runs in. Pure; no thread of its own.

On the CPU the weights are reordered once for oneDNN: without that torch asks MKL, which reaches less than half of the
speed in float32 on AMD. The operators are torch's own but private (they are what its compiler emits), so they are
probed, and ``F.linear`` is what remains without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F

_TOKENS = 1500
"""What the weights are laid out for: 8 s of reference and speech with guidance."""
_LEAST_INT8_ROWS = {"cuda": 32}
"""By the kind of device: cuBLAS refuses 16 tokens and fewer, so zeros follow them."""


class Linear:
    """``y = x W^T + b`` in ``dtype``; ``gelu`` applies the tanh approximation to it."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype, device: torch.device
    ) -> None:
        # Copies: a view of the memory-mapped checkpoint would keep all of it.
        self.bias = None if bias is None else bias.to(device, dtype, copy=True)
        self.shape = (weight.shape[0], weight.shape[1])
        self.prepacked = device.type == "cpu" and can_prepack(dtype)
        if self.prepacked:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype).contiguous(), _TOKENS)
        else:
            self.weight = weight.to(device, dtype, copy=True).contiguous()
        self.nbytes = weight.numel() * dtype.itemsize + (0 if self.bias is None else self.bias.nbytes)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.prepacked:
            packed: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
            return packed
        return F.linear(x, self.weight, self.bias)

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        if self.prepacked:
            packed: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "tanh")
            return packed
        return F.gelu(F.linear(x, self.weight, self.bias), approximate="tanh")


def _int8_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 ``[out, in]`` and a float32 scale a row."""
    scale = weight.abs().amax(1).clamp(min=1e-8) / 127
    return (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8), scale


class Int8Linear:
    """Weights int8 with a scale a row. The input comes quantised with a scale a token: one for the whole tensor would
    let the requests of a step change each other's sound."""

    kind = torch.int8
    """What the input comes in."""
    scale: torch.Tensor | None
    """A row's, which the product leaves to be applied; None where it has."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, device: torch.device) -> None:
        quantised, scale = _int8_rows(weight.to(device, torch.float32))
        self.shape = (weight.shape[0], weight.shape[1])
        # The product takes [in, out]; a transposed view keeps the rows as oneDNN and cuBLAS want them.
        self.weight = quantised.contiguous().t()
        self.scale = scale
        self.bias = torch.zeros_like(scale) if bias is None else bias.to(device, torch.float32, copy=True)
        self.nbytes = self.weight.nbytes + self.scale.nbytes + self.bias.nbytes

    def __call__(self, quantised: torch.Tensor) -> torch.Tensor:
        """int8 ``[tokens, in]`` to int32 ``[tokens, out]``, neither scaled nor biased."""
        tokens, least = quantised.shape[0], _LEAST_INT8_ROWS.get(quantised.device.type, 0)
        if tokens >= least:
            return torch._int_mm(quantised, self.weight)
        return torch._int_mm(F.pad(quantised, (0, 0, 0, least - tokens)), self.weight)[:tokens]


class PackedInt8Linear:
    """The same on a CPU, in weights that are reordered once. oneDNN takes uint8 there, 128 added to the integers, and
    applies the rows' scales as it writes ``dtype``."""

    kind = torch.uint8
    scale = None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> None:
        quantised, rows = _int8_rows(weight.float())
        self.shape = (weight.shape[0], weight.shape[1])
        self._weight = torch.ops.onednn.qlinear_prepack(quantised, [_TOKENS, self.shape[1]])
        self._rows, self._zeros = rows, torch.zeros(self.shape[0], dtype=torch.int64)
        self._dtype = dtype
        self.bias = torch.zeros_like(rows) if bias is None else bias.to(torch.float32, copy=True)
        self.nbytes = quantised.nbytes + rows.nbytes + self._zeros.nbytes + self.bias.nbytes

    def __call__(self, quantised: torch.Tensor) -> torch.Tensor:
        """uint8 ``[tokens, in]`` to ``[tokens, out]``, neither scaled by the token nor biased."""
        product: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            quantised, 1.0, 128, self._weight, self._rows, self._zeros, None, 1.0, 0, self._dtype, "none", [], ""
        )
        return product


def int8_linear(
    weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype, device: torch.device
) -> Int8Linear | PackedInt8Linear:
    """The faster that the device can do; ``dtype``: what is worth writing there."""
    if device.type == "cpu" and can_pack_int8(dtype):
        return PackedInt8Linear(weight, bias, dtype)
    return Int8Linear(weight, bias, device)


class Fp8Linear:
    """Weights float8 (e4m3) with a scale a row; the input likewise with a scale a token. bfloat16 comes out."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, device: torch.device) -> None:
        weight = weight.to(device, torch.float32)
        scale = weight.abs().amax(1).clamp(min=1e-8) / 448
        self.shape = (weight.shape[0], weight.shape[1])
        self.weight = (weight / scale[:, None]).to(torch.float8_e4m3fn).contiguous().t()
        self.scale = scale[None]
        self.bias = torch.zeros_like(scale) if bias is None else bias.to(device, torch.float32)
        self.bias = self.bias.to(torch.bfloat16)
        self.nbytes = self.weight.nbytes + self.scale.nbytes + self.bias.nbytes

    def __call__(self, quantised: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """float8 ``[tokens, in]`` and its scales ``[tokens, 1]`` to bfloat16 ``[tokens, out]``."""
        return torch._scaled_mm(
            quantised, self.weight, scale_a=scale, scale_b=self.scale, bias=self.bias, out_dtype=torch.bfloat16
        )


@lru_cache(maxsize=8)
def can_prepack(dtype: torch.dtype) -> bool:
    """Whether the private operators are there and give what ``F.linear`` gives."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    try:
        x, weight, bias = (torch.linspace(-1, 1, n).to(dtype) for n in (64 * 32, 32 * 32, 32))
        x, weight = x.view(64, 32), weight.view(32, 32)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 64)
        found = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "gelu", [], "tanh")
    except (AttributeError, RuntimeError):
        return False
    wanted = F.gelu(F.linear(x.float(), weight.float(), bias.float()), approximate="tanh")
    return bool((found.float() - wanted).abs().max() <= 0.05 * wanted.abs().max())


@lru_cache(maxsize=8)
def can_int8(device: torch.device) -> bool:
    """Whether integer products run on the device."""
    try:
        ones = torch.ones(32, 32, dtype=torch.int8, device=device)
        return bool((torch._int_mm(ones, ones.t()) == 32).all())
    except (AttributeError, RuntimeError):
        return False


@lru_cache(maxsize=8)
def can_pack_int8(dtype: torch.dtype) -> bool:
    """Whether oneDNN's products of uint8 are there, right where sums are greatest (older processors add them in 16
    bits), and no reference code: that takes a thousand times as long."""
    noise = torch.Generator().manual_seed(0)
    weight = torch.randn(256, 256, generator=noise)
    weight[0] = 1.0
    x = torch.randint(1, 256, (64, 256), generator=noise, dtype=torch.uint8)
    x[0] = 255
    try:
        packed, plain = PackedInt8Linear(weight, None, dtype), Int8Linear(weight, None, torch.device("cpu"))
        signed = (x.to(torch.int16) - 128).to(torch.int8)
        found, wanted = packed(x).float(), plain(signed) * plain.scale
        took = [_least_seconds(work) for work in (lambda: packed(x), lambda: plain(signed))]
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return bool((found - wanted).abs().max() <= 0.01 * wanted.abs().max()) and took[0] <= 20 * took[1]


def _least_seconds(work: Callable[[], object]) -> float:
    took = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


@lru_cache(maxsize=8)
def can_fp8(device: torch.device) -> bool:
    """Whether float8 products with a scale a token run on the device."""
    try:
        linear = Fp8Linear(torch.eye(32), None, device)
        ones = torch.ones(32, 32, device=device)
        found = linear(ones.to(torch.float8_e4m3fn), ones[:, :1].clone())
        return bool(((found - 1).abs() < 0.1).all())
    except (AttributeError, RuntimeError, ValueError, NotImplementedError):
        return False
