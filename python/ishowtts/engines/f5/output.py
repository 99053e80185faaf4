"""From a finished mel spectrogram to samples in memory. On a CPU at once; on CUDA on a stream of its own, so that the
vocoder's many small launches run beside the next step of the DiT, and through page-locked buffers, so that nothing
waits but who takes the sound. On the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from ishowtts.engine import Pcm
from ishowtts.engines.f5.vocos import Vocoder

Taking = Callable[[], Pcm]
"""Waits for the sound and gives it, once. Raises ArithmeticError if the model gave no numbers."""
_KEPT_BUFFERS = 8


class Output(Protocol):
    """Makes sound of mel spectrograms, ``[frames, mel_dim]``."""

    beside: bool
    """Whether it goes on by itself, beside what is asked of the device next."""

    def begin(self, mel: torch.Tensor) -> Taking: ...
    def close(self) -> None: ...


class Inline:
    """All in ``begin``."""

    beside = False

    def __init__(self, vocos: Vocoder) -> None:
        self._vocos = vocos

    def begin(self, mel: torch.Tensor) -> Taking:
        sound = self._vocos.decode(mel).float()
        if not bool(_finite(mel, sound)):
            raise _not_finite()
        pcm: Pcm = np.ascontiguousarray(sound.cpu().numpy())
        return lambda: pcm

    def close(self) -> None:
        pass


class Beside:
    """On a stream of its own."""

    beside = True

    def __init__(self, vocos: Vocoder, device: torch.device) -> None:
        self._vocos = vocos
        # Somebody waits for it: its small kernels go before those of the next step.
        self._stream = torch.cuda.Stream(device, priority=-1)
        self._buffers = Buffers(pinned=True)

    def begin(self, mel: torch.Tensor) -> Taking:
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream(mel.device))
        with torch.cuda.stream(stream):
            # The allocator must not give its memory to the next step before this stream has read it.
            mel.record_stream(stream)
            packed = pack(mel, self._vocos.decode(mel))
            buffer = self._buffers.take(packed.numel())
            host = buffer[: packed.numel()]
            host.copy_(packed, non_blocking=True)
            done = torch.cuda.Event()
            done.record(stream)

        def take() -> Pcm:
            done.synchronize()
            try:
                return unpack(host)
            finally:
                self._buffers.give(buffer)

        return take

    def close(self) -> None:
        self._stream.synchronize()
        self._buffers.clear()


class Buffers:
    """Host memory that is used again; page-locked, so that a copy from the device needs no host to wait."""

    def __init__(self, pinned: bool) -> None:
        self._pinned = pinned
        self._free: list[torch.Tensor] = []

    def take(self, samples: int) -> torch.Tensor:
        """The smallest that holds them, or a new one of the next power of two."""
        fitting = [buffer for buffer in self._free if buffer.numel() >= samples]
        if not fitting:
            return torch.empty(1 << (samples - 1).bit_length(), pin_memory=self._pinned)
        smallest = min(fitting, key=torch.Tensor.numel)
        self._free = [buffer for buffer in self._free if buffer is not smallest]
        return smallest

    def give(self, buffer: torch.Tensor) -> None:
        """Of too many the smallest is let go."""
        self._free = sorted([*self._free, buffer], key=torch.Tensor.numel)[-_KEPT_BUFFERS:]

    def clear(self) -> None:
        self._free.clear()


def pack(mel: torch.Tensor, pcm: torch.Tensor) -> torch.Tensor:
    """The samples, and behind them whether all is finite: one copy brings both."""
    return torch.cat((pcm.float(), _finite(mel, pcm).float()[None]))


def unpack(host: torch.Tensor) -> Pcm:
    """A copy of the samples of ``pack``."""
    if host[-1] != 1:
        raise _not_finite()
    samples: Pcm = host[:-1].numpy().copy()
    return samples


def _finite(mel: torch.Tensor, pcm: torch.Tensor) -> torch.Tensor:
    """Both: a spectrogram may be too large for the vocoder, and the vocoder's clamp may hide one that is infinite."""
    return torch.isfinite(mel).all() & torch.isfinite(pcm).all()


def _not_finite() -> ArithmeticError:
    return ArithmeticError("the model gave values that are not finite")


def choose(vocos: Vocoder, device: torch.device) -> Output:
    """The fastest that the device can do."""
    return Beside(vocos, device) if device.type == "cuda" else Inline(vocos)
