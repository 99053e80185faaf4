"""What the time t does to the DiT: scales, shifts and gates of all layers, which depend on nothing else.

They come from 42 % of the model's weights. Those are not kept: the rows of every common t are made while loading
(0.5 MB each), the others when a request asks for them, from the checkpoint's file. Runs on the engine's thread.

Source: ``TimestepEmbedding``, ``AdaLayerNorm`` and ``AdaLayerNorm_Final`` in f5-tts 1.1.22's ``modules.py``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

import torch
import torch.nn.functional as F

from ishowtts.engines.f5.ahead import sent
from ishowtts.engines.f5.checkpoint import Checkpoint
from ishowtts.engines.f5.config import Architecture

_FREQUENCIES = 256
_TOGETHER = 32
"""Rows that are made at once, filled up with zeros: so that a row's last bit does not depend on its neighbours."""
_KEPT = 192


def shapes(config: Architecture) -> dict[str, tuple[int, ...]]:
    """The tensors that a checkpoint must hold for this part."""
    dim = config.dim
    wanted: dict[str, tuple[int, ...]] = {
        "time_embed.time_mlp.0.weight": (dim, _FREQUENCIES),
        "time_embed.time_mlp.0.bias": (dim,),
        "time_embed.time_mlp.2.weight": (dim, dim),
        "time_embed.time_mlp.2.bias": (dim,),
        "norm_out.linear.weight": (2 * dim, dim),
        "norm_out.linear.bias": (2 * dim,),
    }
    for index in range(config.depth):
        wanted[f"transformer_blocks.{index}.attn_norm.linear.weight"] = (6 * dim, dim)
        wanted[f"transformer_blocks.{index}.attn_norm.linear.bias"] = (6 * dim,)
    return wanted


class Modulations:
    """``row(t)`` is float32 ``[depth * 6 + 2, dim]``: for each layer shift, scale, gate of the attention, then of the
    feed-forward; last scale and shift of the output. One has been added to the scales."""

    def __init__(self, config: Architecture, checkpoint: Checkpoint, device: torch.device) -> None:
        self._config = config
        self._checkpoint = checkpoint
        self._device = device
        self._fixed: dict[float, torch.Tensor] = {}
        self._others: OrderedDict[float, torch.Tensor] = OrderedDict()

    @property
    def nbytes(self) -> int:
        return sum(row.nbytes for row in (*self._fixed.values(), *self._others.values()))

    def keep(self, times: Iterable[float]) -> None:
        """Makes the rows of ``times`` and keeps them for good. The checkpoint is open."""
        self._fixed.update(self._make(sorted(set(times))))

    def prepare(self, times: Iterable[float]) -> None:
        """Makes what is missing. Raises InvalidSetting if the checkpoint's file has gone or changed."""
        missing = [t for t in sorted(set(times)) if t not in self._fixed and t not in self._others]
        if missing:
            with self._checkpoint:
                self._others.update(self._make(missing))
            while len(self._others) > _KEPT:
                self._others.popitem(last=False)

    def row(self, t: float) -> torch.Tensor:
        found = self._fixed.get(t)
        if found is not None:
            return found
        if t not in self._others:
            self.prepare([t])
        self._others.move_to_end(t)
        return self._others[t]

    def _make(self, times: list[float]) -> dict[float, torch.Tensor]:
        rows: dict[float, torch.Tensor] = {}
        for start in range(0, len(times), _TOGETHER):
            some = times[start : start + _TOGETHER]
            rows.update(zip(some, self._batch(some), strict=True))
        return rows

    def _batch(self, times: list[float]) -> Iterable[torch.Tensor]:
        config, dim = self._config, self._config.dim
        embedded = F.silu(self._embed(times))
        rows = torch.empty(len(times), config.depth * 6 + 2, dim)
        for index in range(config.depth + 1):
            last = index == config.depth
            name = "norm_out.linear" if last else f"transformer_blocks.{index}.attn_norm.linear"
            made = self._linear(embedded, name)[: len(times)].view(len(times), -1, dim)
            for scale in (0,) if last else (1, 4):
                made[:, scale] += 1
            rows[:, index * 6 : index * 6 + made.shape[1]] = made
        rows = sent(rows, self._device)
        # Each its own memory, so that one can be dropped.
        return [row.clone() for row in rows]

    def _embed(self, times: list[float]) -> torch.Tensor:
        t = torch.zeros(_TOGETHER)
        t[: len(times)] = torch.tensor(times)
        half = _FREQUENCIES // 2
        frequencies = torch.exp(torch.arange(half).float() * -(math.log(10_000) / (half - 1)))
        angles = 1000 * t[:, None] * frequencies[None]
        hidden = torch.cat((angles.sin(), angles.cos()), -1)
        return self._linear(F.silu(self._linear(hidden, "time_embed.time_mlp.0")), "time_embed.time_mlp.2")

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = (self._checkpoint.tensor(f"{name}.{part}").float() for part in ("weight", "bias"))
        return F.linear(x, weight, bias)
