"""Attention over a pack: every segment to itself, nothing across. Queries come scaled, also by ``LOG2_E``: weights are
powers of two, which a CPU takes in less time than those of e. Runs on the engine's thread.

On the CPU a few heads at a time through two matrix products: their scores stay in the cache, and torch's fused kernel
reaches a third of the speed there. The weights of a row are divided by their sum when they have been used: its result
is a tenth of its scores. Nor is the row's greatest score taken off first, which numbers of eight bits of exponent do
without; what does leave their range is found by its sums and done again with that. On CUDA the variable-length flash
kernel where torch has it, else the fused kernel for each segment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import torch
import torch.nn.functional as F

from ishowtts.engines.f5.elementwise import LOG2_E
from ishowtts.engines.f5.pack import Pack, lay_out

LOG = logging.getLogger(__name__)
Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Pack], torch.Tensor]
"""Queries, keys and values, ``[heads, tokens, dim_head]``, to ``[tokens, heads * dim_head]``."""

_LN_2 = 1 / LOG2_E
_SCORES_BYTES = 9 << 20
"""Scores of several heads that are worked on at once: what the cores' shared cache holds beside the heads."""
_ROWS_BYTES = 16 << 20
"""Of one head, where it has more."""
_AGREEMENT = 2e-2
_LEAST_SUM, _GREATEST_SUM = 2.0**-60, 2.0**100
"""Of a row's weights. What is lost below the one is nothing beside it, and products stay finite below the other."""


def choose(device: torch.device, dtype: torch.dtype) -> Attention:
    """The fastest that the device can do."""
    if device.type == "cpu":
        return products
    return varlen if can_varlen(device, dtype) else fused


def products(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pack: Pack) -> torch.Tensor:
    """Products over some heads, and some queries where even one head's scores are too many."""
    if pack.fixed:
        return masked(q, k, v, pack)
    heads, tokens, dim = q.shape
    out = q.new_empty(tokens, heads, dim)
    for start, end in pack.segments:
        product(q[:, start:end], k[:, start:end], v[:, start:end], out[start:end])
    return out.view(tokens, heads * dim)


def product(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
    """Of one segment, into ``[frames, heads, dim_head]``. Tensors of its own are quicker than parts of larger ones,
    which oneDNN has to be given copies of."""
    least, greatest = weigh(q, k, v, out, from_greatest=False).aminmax()
    # Not a number is neither.
    if not (float(least) >= _LEAST_SUM and float(greatest) <= _GREATEST_SUM):
        weigh(q, k, v, out, from_greatest=True)


def weigh(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, *, from_greatest: bool) -> torch.Tensor:
    """As ``product``; gives the sums of weights, ``[heads, frames, 1]``. ``from_greatest``: scores count from each
    row's greatest, so that none is out of range."""
    heads, frames, _ = q.shape
    by_head = out.transpose(0, 1)
    bytes_each = frames * frames * q.element_size()
    some = _heads_at_once(heads, bytes_each)
    rows = frames if some > 1 else max(64, min(frames, _ROWS_BYTES // (frames * q.element_size())))
    sums = q.new_empty(heads, frames, 1)
    for head in range(0, heads, some):
        keys, values = k[head : head + some].transpose(1, 2), v[head : head + some]
        for row in range(0, frames, rows):
            last = min(row + rows, frames)
            weights = torch.bmm(q[head : head + some, row:last], keys)
            if from_greatest:
                weights -= weights.amax(-1, keepdim=True)
            weights.exp2_()
            total = weights.sum(-1, keepdim=True)
            sums[head : head + some, row:last] = total
            torch.div(torch.bmm(weights, values), total, out=by_head[head : head + some, row:last])
    return sums


def _heads_at_once(heads: int, bytes_each: int) -> int:
    """As many as the cache holds, in parts of one size in which every core has as many heads: what is left over would
    keep one of them waiting."""
    some = max(1, min(heads, _SCORES_BYTES // bytes_each))
    if some == 1:
        return 1
    cores: int = torch.get_num_threads()
    even = -(-heads // -(-heads // some))
    return min(heads, -(-even // cores) * cores)


def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pack: Pack) -> torch.Tensor:
    """torch's fused kernel, segment by segment; together where all are of one length."""
    if pack.fixed:
        return masked(q, k, v, pack)
    heads, tokens, dim = q.shape
    if len({end - start for start, end in pack.segments}) == 1:
        split = (heads, len(pack.segments), -1, dim)
        together = [x.view(split).transpose(0, 1) for x in (q, k, v)]
        out = F.scaled_dot_product_attention(together[0], together[1], together[2], scale=_LN_2)
        return out.permute(0, 2, 1, 3).reshape(tokens, heads * dim)
    pieces = []
    for start, end in pack.segments:
        parts = [x[None, :, start:end] for x in (q, k, v)]
        pieces.append(F.scaled_dot_product_attention(parts[0], parts[1], parts[2], scale=_LN_2)[0].transpose(0, 1))
    return torch.cat(pieces).reshape(tokens, heads * dim)


def varlen(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pack: Pack) -> torch.Tensor:
    """One kernel for all segments (torch 2.10 and later, CUDA)."""
    from torch.nn.attention.varlen import varlen_attn

    heads, tokens, dim = q.shape
    parts = [x.transpose(0, 1) for x in (q, k, v)]
    starts, longest = pack.cumulative, pack.longest
    with _without_cudnn():
        out = varlen_attn(parts[0], parts[1], parts[2], starts, starts, longest, longest, scale=_LN_2)
    assert isinstance(out, torch.Tensor)
    return out.reshape(tokens, heads * dim)


def masked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pack: Pack) -> torch.Tensor:
    """torch's fused kernel over all tokens, those of other segments masked. Nothing in it but tensors depends on where
    segments lie, so it can be captured; but it works out what is masked, too."""
    heads, tokens, dim = q.shape
    numbers = torch.arange(tokens, dtype=torch.int32, device=q.device)
    segment = torch.bucketize(numbers, pack.cumulative[1:], right=True)
    same = segment[:, None] == segment[None]
    out = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=same, scale=_LN_2)[0]
    return out.transpose(0, 1).reshape(tokens, heads * dim)


@contextmanager
def _without_cudnn() -> Iterator[None]:
    """Newer torch gives packed attention to cuDNN on Hopper and Blackwell. That plans anew for every layout, on the
    host; before 9.25 it cannot do segments without tokens, which graphs.py makes; and what torch told it of where
    segments begin held for tokens that lie one behind the other, not for heads that do."""
    was = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(was)


@lru_cache(maxsize=8)
def can_varlen(device: torch.device, dtype: torch.dtype) -> bool:
    """Tried, not asked: what is compiled in differs from build to build."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return False
    try:
        error = varlen_error(device, dtype)
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError) as refused:
        LOG.info("no packed attention here: %s", str(refused).strip()[:200] or type(refused).__name__)
        return False
    if not error < _AGREEMENT:
        LOG.warning("no packed attention: it differs by %.2g from that of each segment", error)
    return error < _AGREEMENT


def varlen_error(device: torch.device, dtype: torch.dtype) -> float:
    """The greatest difference from each segment by itself, for a layout as a step through a graph has it: heads one
    behind the other, segments without tokens at the end, an upper bound for the longest. Not finite where ``varlen``
    is not."""
    noise = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 300, 64, generator=noise).to(device, dtype) for _ in range(3))
    pack = lay_out([110, 190], [False, False], torch.zeros(190, 1, 2, device=device))
    empty = pack.cumulative[-1:].expand(2)
    pack = replace(pack, cumulative=torch.cat((pack.cumulative, empty)), longest=pack.tokens)
    difference = varlen(q * 0.125, k, v, pack).float() - fused(q * 0.125, k, v, pack).float()
    return float(difference.abs().max())
