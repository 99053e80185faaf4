"""Which tokens of a step belong to whom. Requests of different length stand one behind the other, without padding: with
guidance first all frames with the prompt, then the same frames without it. Runs on the engine's thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ishowtts.engines.f5.ahead import sent

Span = tuple[int, int]


@dataclass
class Pack:
    """The layout of one step. It is the same from step to step while the same slots advance."""

    spans: list[Span]
    """Of each request: its tokens, one or two segments of them."""
    segments: list[Span]
    """What attends to itself, and what the convolution must not look across."""
    tokens: int
    positions: torch.Tensor
    """Of each token in its segment, int64 ``[tokens]``."""
    cis: torch.Tensor
    """cos and sin of the rotary angles, float32 ``[tokens, dim_head / 2, 2]``."""
    index: torch.Tensor
    """The request of each token, int64 ``[tokens]``."""
    cumulative: torch.Tensor
    """Where segments begin, int32 ``[segments + 1]``."""
    longest: int
    fixed: bool = False
    """Its tensors are buffers whose contents change (graphs.py): ``segments`` is empty, ``longest`` an upper bound."""
    _gaps: tuple[torch.Tensor, int] | None = field(default=None, repr=False)

    def set_gaps(self, places: torch.Tensor, length: int) -> None:
        """What ``gapped`` gives, where it is known otherwise."""
        self._gaps = places, length

    def gapped(self, gap: int) -> tuple[torch.Tensor, int]:
        """Where each token goes in a row with ``gap`` empty places around every segment, and that row's length."""
        if self._gaps is None:
            begins = [begin + (number + 1) * gap for number, (begin, _) in enumerate(self.segments)]
            lengths = [end - begin for begin, end in self.segments]
            rows = [torch.arange(begin, begin + length) for begin, length in zip(begins, lengths, strict=True)]
            self._gaps = sent(torch.cat(rows), self.positions.device), self.tokens + gap * (len(rows) + 1)
        return self._gaps


def lay_out(frames: Sequence[int], guided: Sequence[bool], angles: torch.Tensor) -> Pack:
    """``angles``: the rotary table, ``[MAX_FRAMES, dim_head / 2, 2]``, on the device."""
    device = angles.device
    spans: list[Span] = []
    segments: list[Span] = []
    start = 0
    for length, with_guidance in zip(frames, guided, strict=True):
        copies = 2 if with_guidance else 1
        spans.append((start, start + copies * length))
        segments += [(start + k * length, start + (k + 1) * length) for k in range(copies)]
        start += copies * length
    lengths = [end - begin for begin, end in segments]
    # Made on the CPU and sent once: no launch for each request on a GPU.
    positions = sent(torch.cat([torch.arange(length) for length in lengths]), device)
    index = torch.cat([torch.full((end - begin,), number) for number, (begin, end) in enumerate(spans)])
    cumulative = torch.tensor([0, *(end for _, end in segments)], dtype=torch.int32)
    return Pack(
        spans=spans,
        segments=segments,
        tokens=start,
        positions=positions,
        cis=angles[positions],
        index=sent(index, device),
        cumulative=sent(cumulative, device),
        longest=max(lengths),
    )


def rotary_table(inverse_frequencies: torch.Tensor, frames: int, device: torch.device) -> torch.Tensor:
    """cos and sin of every position, ``[frames, dim_head / 2, 2]`` float32."""
    angles = torch.outer(torch.arange(frames, dtype=torch.float32), inverse_frequencies.float().cpu())
    return torch.stack((angles.cos(), angles.sin()), -1).to(device)
