"""Resampling that equals torchaudio's default to rounding: a clip resampled otherwise is another reference.

Pure NumPy; safe on any thread.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

_ZERO_CROSSINGS = 6
_ROLLOFF = 0.99
_BLOCK = 4096
"""Rows of one matrix product: bounds the memory of a long clip."""

Sound = npt.NDArray[np.float32]


def resample(sound: Sound, from_hz: int, to_hz: int) -> Sound:
    """``[samples]`` to ``[ceil(samples * to_hz / from_hz)]``.

    Upstream: ``torchaudio.transforms.Resample(from_hz, to_hz)`` (Hann-windowed sinc, 6 zero crossings, rolloff 0.99).
    """
    if from_hz == to_hz:
        return np.ascontiguousarray(sound, np.float32)
    common = math.gcd(from_hz, to_hz)
    old, new = from_hz // common, to_hz // common
    kernel, width = _kernel(old, new)
    padded = np.pad(sound.astype(np.float32), (width, width + old))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[1])[::old]
    rows = [windows[start : start + _BLOCK] @ kernel.T for start in range(0, len(windows), _BLOCK)]
    length = math.ceil(new * len(sound) / old)
    return np.ascontiguousarray(np.concatenate(rows).reshape(-1)[:length], np.float32)


@functools.lru_cache(maxsize=8)
def _kernel(old: int, new: int) -> tuple[Sound, int]:
    """``[new, taps]``, one row for each phase, and how many taps lie before the sample."""
    cutoff = min(old, new) * _ROLLOFF
    width = math.ceil(_ZERO_CROSSINGS * old / cutoff)
    taps = np.arange(-width, width + old, dtype=np.float64) / old
    # In float32 before the rest in float64: torchaudio makes it so.
    phases = np.arange(0, -new, -1, dtype=np.float32)[:, None] / np.float32(new)
    time = np.clip((phases + taps) * cutoff, -_ZERO_CROSSINGS, _ZERO_CROSSINGS)
    window = np.cos(time * math.pi / _ZERO_CROSSINGS / 2) ** 2
    return (np.sinc(time) * window * (cutoff / old)).astype(np.float32), width
