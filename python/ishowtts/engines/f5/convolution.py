"""The positional convolution: two grouped ones over time, each through Mish. It must not look across segments.

On the CPU segment by segment with time before channels, as tokens lie, in weights that are reordered once: torch would
choose another kernel of oneDNN's, which reaches half of the speed. The operators are torch's own but private, so they
are probed. Elsewhere all segments go in one row, with zeros between them. Runs on the engine's thread.

Source: ``ConvPositionEmbedding`` in ``f5_tts/model/modules.py`` of f5-tts 1.1.22.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F

from ishowtts.engines.f5.elementwise import LOG2_E
from ishowtts.engines.f5.pack import Pack
from ishowtts.engines.f5.precision import exact

KERNEL = 31
REACH = KERNEL // 2
"""Frames that it looks to either side."""
GROUPS = 16
_FRAMES = 750
"""What the weights are laid out for: 8 s of reference and speech."""
_GREATEST = 20.0
"""From there on Mish is the identity, and its exponentials do not overflow."""

Pair = tuple[torch.Tensor, torch.Tensor]
"""A weight, ``[dim, dim / GROUPS, KERNEL]``, and a bias, ``[dim]``."""


class PositionalConvolution:
    """``[tokens, dim]`` to the same, in the dtype of its weights."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        weight = pairs[0][0]
        self.nbytes = sum(tensor.nbytes for pair in pairs for tensor in pair)
        self.prepacked = weight.device.type == "cpu" and can_prepack(weight.dtype)
        self._pairs = [(_packed(weight), bias) for weight, bias in pairs] if self.prepacked else list(pairs)

    def __call__(self, hidden: torch.Tensor, pack: Pack) -> torch.Tensor:
        if hidden.device.type == "cpu" and not pack.fixed:
            return torch.cat([self._alone(hidden[start:end]) for start, end in pack.segments])
        return self.together(hidden, pack)

    def together(self, hidden: torch.Tensor, pack: Pack) -> torch.Tensor:
        """All segments in one row, with zeros between them as wide as the kernel reaches."""
        places, length = pack.gapped(REACH)
        row = hidden.new_zeros(length, hidden.shape[1])
        row[places] = hidden
        # Not by an assignment: on CUDA its value would be sent from the host and waited for, which a capture forbids.
        gaps = torch.ones(length, 1, dtype=torch.bool, device=hidden.device).index_fill_(0, places, False)
        return self._alone(row, gaps)[places]

    @exact()
    def _alone(self, x: torch.Tensor, gaps: torch.Tensor | None = None) -> torch.Tensor:
        for number, (weight, bias) in enumerate(self._pairs):
            if number and gaps is not None:
                # Not a product with zero: what is no number would stay none, and reach the next segment.
                x = x.masked_fill(gaps, 0.0)
            if self.prepacked:
                x = mish(_convolve_packed(x, weight, bias))
            else:
                x = F.mish(F.conv1d(x.t()[None], weight, bias, padding=REACH, groups=GROUPS))[0].t()
        return x


def mish(x: torch.Tensor) -> torch.Tensor:
    """As ``F.mish``, which takes three times as long on a CPU: ``tanh(log(1 + e))`` is ``n / (n + 2)`` with
    ``n = e (e + 2)``, and of all exponentials torch's exp2 is the quickest there."""
    full = x.float()
    e = full.clamp(max=_GREATEST).mul_(LOG2_E).exp2_()
    n = (e + 2).mul_(e)
    return n.div_(n + 2).mul_(full).to(x.dtype)


def _packed(weight: torch.Tensor) -> torch.Tensor:
    shape = [1, weight.shape[0], 1, _FRAMES + 2 * REACH]
    packed: torch.Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight[:, :, None], [0, 0], [1, 1], [1, 1], GROUPS, shape
    )
    return packed


def _convolve_packed(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    padded = F.pad(x, (0, 0, REACH, REACH))
    image = padded[None, None].permute(0, 3, 1, 2)
    out: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
        image, packed, bias, [0, 0], [1, 1], [1, 1], GROUPS, "none", [], ""
    )
    return out.permute(0, 2, 3, 1).reshape(x.shape)


@lru_cache(maxsize=8)
def can_prepack(dtype: torch.dtype) -> bool:
    """Whether the private operators are there and give what ``F.conv1d`` gives."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    noise = torch.Generator().manual_seed(0)
    x, bias = torch.randn(40, 64, generator=noise).to(dtype), torch.randn(64, generator=noise).to(dtype)
    weight = torch.randn(64, 4, KERNEL, generator=noise).to(dtype)
    try:
        found = _convolve_packed(x, _packed(weight), bias)
    except (AttributeError, RuntimeError):
        return False
    wanted = F.conv1d(x.float().t()[None], weight.float(), bias.float(), padding=REACH, groups=GROUPS)[0].t()
    return bool((found.float() - wanted).abs().max() <= 0.05 * wanted.abs().max())
