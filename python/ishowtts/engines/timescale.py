"""Tempo of finished speech, for engines whose model has a narrower range of speeds than the protocol.

Pure NumPy; deterministic; safe on any thread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.float32]

_FRAME_S = 0.04
_SEARCH_S = 0.0125


def change_tempo(pcm: Pcm, rate: float, sample_rate_hz: int) -> Pcm:
    """Plays ``pcm`` at ``rate`` times its tempo and keeps its pitch.

    WSOLA (Verhelst and Roelands, 1993): half-overlapped Hann frames of 40 ms; each is taken within 12.5 ms of its
    due place, where it best continues the frame before it.
    """
    if rate == 1.0 or len(pcm) == 0:
        return pcm
    frame = int(_FRAME_S * sample_rate_hz) // 2 * 2
    hop, search = frame // 2, int(_SEARCH_S * sample_rate_hz)
    wanted = max(1, round(len(pcm) / rate))
    frames = -(-wanted // hop) + 1
    reach = int((frames + 1) * hop * rate) + 2 * (frame + search)
    source = np.zeros(search + hop + max(len(pcm), reach) + frame, np.float32)
    source[search + hop : search + hop + len(pcm)] = pcm
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)).astype(np.float32)
    spoken = np.zeros((frames + 1) * hop, np.float32)
    follow = None
    for index in range(frames):
        start = round(index * hop * rate)
        if follow is not None:
            span = source[start : start + 2 * search + frame]
            match = np.correlate(span[: 2 * search + hop], source[follow : follow + hop], "valid")
            start += int(np.argmax(match))
        else:
            start += search
        spoken[index * hop : index * hop + frame] += source[start : start + frame] * window
        follow = start + hop
    # The first half frame only fades in.
    changed: Pcm = spoken[hop : hop + wanted].copy()
    return changed
