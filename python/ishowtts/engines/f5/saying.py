"""One segment on its way to sound: its pieces, their noise, where on the grid they stand, and how they are joined.
Everything of a slot is here and nowhere else. Runs on the engine's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ishowtts.engine import Pcm, Transcript
from ishowtts.engines.f5.ahead import sent
from ishowtts.engines.f5.config import HOP, SAMPLE_RATE_HZ
from ishowtts.engines.f5.dit import Evaluation, Prompt
from ishowtts.engines.f5.params import Params
from ishowtts.engines.f5.text_embedding import Ids


@dataclass(frozen=True)
class Level:
    """The reference as the model hears it."""

    mel: torch.Tensor
    """``[samples // 256 + 1, mel_dim]``, on the device."""
    samples: int
    gain: float
    """What takes the speech to the clip's own level."""

    @property
    def frames_cut(self) -> int:
        """Where the speech begins: one frame before the reference's mel ends, as upstream cuts it."""
        return self.samples // HOP


@dataclass(frozen=True)
class Piece:
    """What the model makes in one run."""

    text: str
    ids: Ids
    frames: int
    """Reference and speech."""
    times: list[float]


class Saying:
    """Noise is drawn on the CPU in float32 from one generator a segment, so that a seed means the same everywhere."""

    def __init__(
        self,
        pieces: list[Piece],
        level: Level,
        params: Params,
        seed: int,
        prompt: Callable[[Ids, torch.Tensor, int], Prompt],
    ) -> None:
        self.params = params
        self.level = level
        self._pieces = deque(pieces)
        self._prompt = prompt
        self._noise = torch.Generator().manual_seed(seed)
        self._join = Join(params)
        self.x = level.mel
        self.transcript: Transcript | None = None
        """Of the whole segment, for its first sound."""
        self._begin()

    @property
    def steps_left(self) -> int:
        """Of all pieces."""
        return len(self.times) - 1 - self.done + sum(len(piece.times) - 1 for piece in self._pieces)

    @property
    def frames(self) -> int:
        """Of the piece that is being made."""
        return self.prompt.frames

    @property
    def evaluation(self) -> Evaluation:
        """What the next step works out."""
        t = self.times[self.done]
        return Evaluation(self.prompt, self.x, t, self.params.strength(t))

    @property
    def piece_done(self) -> bool:
        return self.done == len(self.times) - 1

    def advance(self, velocity: torch.Tensor) -> None:
        """One step of Euler's method."""
        self.x = self.x + self.intervals[self.done] * velocity
        self.done += 1

    def mel(self) -> torch.Tensor:
        """The finished piece's speech, ``[frames, mel_dim]``; its first frame is the reference's last."""
        cut, reference = self.level.frames_cut, self.level.mel
        return torch.cat((reference[cut:], self.x[reference.shape[0] :]))

    def deliver(self, pcm: Pcm) -> tuple[Pcm, bool]:
        """Takes a finished piece's sound; gives what can go out by now, and whether it is the last. Then the next piece
        begins."""
        last = not self._pieces
        out = self._join.add(pcm * np.float32(self.level.gain) if self.level.gain != 1.0 else pcm, last)
        if not last:
            self._begin()
        return out, last

    def _begin(self) -> None:
        piece = self._pieces.popleft()
        reference = self.level.mel
        times = torch.tensor(piece.times, dtype=torch.float32)
        self.times = piece.times
        # Differences of float32 numbers, taken in float32, as upstream's solver does.
        self.intervals: list[float] = (times[1:] - times[:-1]).tolist()
        self.done = 0
        self.prompt = self._prompt(piece.ids, reference, piece.frames)
        noise = torch.randn(piece.frames, reference.shape[1], generator=self._noise)
        self.x = sent(noise, reference.device)


class Join:
    """Pieces to one sound, with upstream's linear cross-fade (``infer_batch_process`` of f5-tts 1.1.22)."""

    def __init__(self, params: Params) -> None:
        self._overlap = int(params.cross_fade_duration * SAMPLE_RATE_HZ)
        self._whole = params.remove_silence
        self._held: Pcm = np.zeros(0, np.float32)

    def add(self, pcm: Pcm, last: bool) -> Pcm:
        """What no later piece can change any more."""
        joined = _cross_fade(self._held, pcm, self._overlap)
        if last:
            self._held = np.zeros(0, np.float32)
            return _without_silence(joined) if self._whole else joined
        keep = len(joined) if self._whole else min(self._overlap, len(joined))
        self._held = joined[len(joined) - keep :]
        return joined[: len(joined) - keep]


def _cross_fade(before: Pcm, after: Pcm, overlap: int) -> Pcm:
    overlap = min(overlap, len(before), len(after))
    if overlap <= 0:
        return np.ascontiguousarray(np.concatenate((before, after)), np.float32)
    faded = before[-overlap:] * np.linspace(1, 0, overlap) + after[:overlap] * np.linspace(0, 1, overlap)
    return np.concatenate((before[:-overlap], faded, after[overlap:])).astype(np.float32)


def _without_silence(pcm: Pcm) -> Pcm:
    from ishowtts.engines.f5.reference import shorten_silences

    return shorten_silences(pcm)
