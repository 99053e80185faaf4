"""The DiT's text encoder: token ids to one vector a frame. Runs on the engine's thread, once per segment.

Always float32 and always one text at a time: the response normalisation is a norm over all frames, so a text that
shared a padded batch would hear its neighbours. For the same reason the embedding depends on the number of frames, and
the one without text on the text's length: both belong into the key of the cache.

Source: ``TextEmbedding`` in ``f5_tts/model/backbones/dit.py`` and ``ConvNeXtV2Block`` of f5-tts 1.1.22.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ishowtts.engines.f5.ahead import sent
from ishowtts.engines.f5.checkpoint import Checkpoint
from ishowtts.engines.f5.config import MAX_FRAMES, Architecture
from ishowtts.engines.f5.precision import exact

Ids = npt.NDArray[np.int64]
_EXPANSION = 2
_KERNEL = 7
_GRN_EPSILON = 1e-6


def shapes(config: Architecture, vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    """The tensors that a checkpoint must hold for this part."""
    dim, wide = config.text_dim, config.text_dim * _EXPANSION
    wanted: dict[str, tuple[int, ...]] = {"text_embed.text_embed.weight": (vocabulary_size + 1, dim)}
    for index in range(config.conv_layers):
        block = f"text_embed.text_blocks.{index}."
        wanted |= {
            block + "dwconv.weight": (dim, 1, _KERNEL),
            block + "dwconv.bias": (dim,),
            block + "norm.weight": (dim,),
            block + "norm.bias": (dim,),
            block + "pwconv1.weight": (wide, dim),
            block + "pwconv1.bias": (wide,),
            block + "grn.gamma": (1, 1, wide),
            block + "grn.beta": (1, 1, wide),
            block + "pwconv2.weight": (dim, wide),
            block + "pwconv2.bias": (dim,),
        }
    return wanted


class TextEmbedding:
    """``embed`` gives the conditional and the unconditional embedding, each ``[frames, text_dim]`` float32."""

    def __init__(self, config: Architecture, checkpoint: Checkpoint, device: torch.device, cache_bytes: int) -> None:
        def read(name: str) -> torch.Tensor:
            return checkpoint.tensor("text_embed." + name).to(device, torch.float32, copy=True)

        self._config = config
        self._device = device
        self._table = read("text_embed.weight")
        self._blocks = [
            {
                name: read(f"text_blocks.{index}.{name}")
                for name in (
                    *("dwconv.weight", "dwconv.bias", "norm.weight", "norm.bias", "pwconv1.weight", "pwconv1.bias"),
                    *("grn.gamma", "grn.beta", "pwconv2.weight", "pwconv2.bias"),
                )
            }
            for index in range(config.conv_layers)
        ]
        self._inverse = 1.0 / (10_000.0 ** (torch.arange(0, config.text_dim, 2, dtype=torch.float32) / config.text_dim))
        self._cache = _Cache(cache_bytes)

    @property
    def nbytes(self) -> int:
        """Of the weights."""
        return sum(t.nbytes for t in (self._table, *(t for block in self._blocks for t in block.values())))

    @property
    def cached_bytes(self) -> int:
        return self._cache.nbytes

    def forget(self) -> None:
        """Empties the cache."""
        self._cache.clear()

    def embed(self, ids: Ids, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """``ids`` without the shift of one: 0 is a space. Not more ids than frames are used."""
        ids = np.ascontiguousarray(ids[:frames], np.int64)
        with_text = self._cache.get((ids.tobytes(), frames), lambda: self._encode(ids, frames, drop=False))
        # Without masks the text's length makes no difference to the embedding without text.
        length = len(ids) if self._config.text_mask_padding else 0
        without = self._cache.get((length, frames), lambda: self._encode(ids, frames, drop=True))
        return with_text, without

    @exact()
    def _encode(self, ids: Ids, frames: int, drop: bool) -> torch.Tensor:
        config = self._config
        tokens = F.pad(sent(torch.from_numpy(ids), self._device) + 1, (0, frames - len(ids)))
        empty = (tokens == 0)[:, None] if config.text_mask_padding else None
        hidden = self._table[torch.zeros_like(tokens) if drop else tokens]
        if config.conv_layers:
            hidden = hidden + self._positions(frames)
            hidden = _masked(hidden, empty)
            for block in self._blocks:
                hidden = _masked(_convnext(hidden, block), empty)
        if config.text_average_upsampling:
            hidden = _spread(hidden, len(ids))
        return hidden

    def _positions(self, frames: int) -> torch.Tensor:
        if frames > MAX_FRAMES:
            raise ValueError(f"{frames} frames are more than the {MAX_FRAMES} that the model has positions for")
        angles = torch.outer(torch.arange(frames), self._inverse)
        return sent(torch.cat([angles.cos(), angles.sin()], -1), self._device)


def _masked(hidden: torch.Tensor, empty: torch.Tensor | None) -> torch.Tensor:
    return hidden if empty is None else hidden.masked_fill_(empty, 0.0)


def _convnext(x: torch.Tensor, block: dict[str, torch.Tensor]) -> torch.Tensor:
    dim = x.shape[1]
    hidden = F.conv1d(x.t()[None], block["dwconv.weight"], block["dwconv.bias"], padding=_KERNEL // 2, groups=dim)
    hidden = F.layer_norm(hidden[0].t(), (dim,), block["norm.weight"], block["norm.bias"], 1e-6)
    hidden = F.gelu(F.linear(hidden, block["pwconv1.weight"], block["pwconv1.bias"]))
    energy = hidden.norm(p=2, dim=0, keepdim=True)
    energy = energy / (energy.mean(dim=-1, keepdim=True) + _GRN_EPSILON)
    hidden = block["grn.gamma"][0] * (hidden * energy) + block["grn.beta"][0] + hidden
    return x + F.linear(hidden, block["pwconv2.weight"], block["pwconv2.bias"])


def _spread(hidden: torch.Tensor, length: int) -> torch.Tensor:
    """Each token for as many frames as the others; the last ones take the remainder."""
    frames = hidden.shape[0]
    if length == 0:
        return torch.zeros_like(hidden)
    base, rest = divmod(frames, length)
    repeats = torch.full((length,), base, device=hidden.device)
    repeats[length - rest :] += 1
    # Told how many come out, it need not ask the device.
    return hidden[:length].repeat_interleave(repeats, dim=0, output_size=frames)


class _Cache:
    """Least recently used, bounded in bytes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[Hashable, torch.Tensor] = OrderedDict()
        self.nbytes = 0

    def get(self, key: Hashable, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
            return found
        made = make()
        if made.nbytes <= self._capacity:
            self._entries[key] = made
            self.nbytes += made.nbytes
            while self.nbytes > self._capacity:
                self.nbytes -= self._entries.popitem(last=False)[1].nbytes
        return made

    def clear(self) -> None:
        self._entries.clear()
        self.nbytes = 0
