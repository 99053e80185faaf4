"""References as the model hears them: their mel spectrograms on the device, least recently used out, bounded in bytes.
What was put out is made anew from the clip when it is asked for. Called from the engine's thread and the one that
prepares voices; the lock is held for neither the making nor the copying."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import torch

from ishowtts.engines.f5.ahead import sent
from ishowtts.engines.f5.mel import log_mel
from ishowtts.engines.f5.reference import PreparedClip
from ishowtts.engines.f5.saying import Level


@dataclass(frozen=True)
class Hearing:
    """Which of a reference's levels."""

    reference: int
    """Unique in the process."""
    target_rms: float
    longest_s: float = 0.0
    """What the clip was cut to; 0: it is whole."""


class Levels:
    """See the module's header."""

    def __init__(self, device: torch.device, mel_dim: int, capacity_bytes: int) -> None:
        self._device = device
        self._mel_dim = mel_dim
        self._capacity_bytes = capacity_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[Hearing, Level] = OrderedDict()
        self._nbytes = 0
        self._closed = False

    @property
    def nbytes(self) -> int:
        """Held now."""
        return self._nbytes

    def get(self, hearing: Hearing, clip: PreparedClip) -> Level:
        """``clip`` as ``hearing`` says. One that alone is over the bound is made each time."""
        with self._lock:
            found = self._held.get(hearing)
            if found is not None:
                self._held.move_to_end(hearing)
                return found
        made = self._make(clip, hearing.target_rms)
        with self._lock:
            if not self._closed and hearing not in self._held and made.mel.nbytes <= self._capacity_bytes:
                self._held[hearing] = made
                self._nbytes += made.mel.nbytes
                while self._nbytes > self._capacity_bytes:
                    self._nbytes -= self._held.popitem(last=False)[1].mel.nbytes
        return made

    def forget(self, reference: int) -> None:
        """All that is held of a reference."""
        with self._lock:
            for hearing in [hearing for hearing in self._held if hearing.reference == reference]:
                self._nbytes -= self._held.pop(hearing).mel.nbytes

    def close(self) -> None:
        """Nothing is held from here on, also of what is being made now."""
        with self._lock:
            self._closed = True
            self._held.clear()
            self._nbytes = 0

    def _make(self, clip: PreparedClip, target_rms: float) -> Level:
        samples, gain = clip.at_level(target_rms)
        with torch.inference_mode():
            mel = sent(log_mel(torch.from_numpy(samples), self._mel_dim), self._device)
        return Level(mel, len(samples), gain)
