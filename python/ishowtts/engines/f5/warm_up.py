"""Runs the model at two lengths, which makes every lazy part load, and fits what a step costs. On the engine's thread,
while it loads."""

from __future__ import annotations

import time

import numpy as np
import torch

from ishowtts.engine import Cost
from ishowtts.engines.f5 import graphs
from ishowtts.engines.f5.config import FRAMES_PER_S
from ishowtts.engines.f5.dit import DiT, Evaluation
from ishowtts.engines.f5.vocos import Vocoder

_FIRST_FRAMES = 16
"""Of the run that makes the lazy parts load, and so tells nothing."""
_FRAMES = (64, 160)
_REPEATS = (2, 1)
"""The short one is quick and easily disturbed; steps are half of what loading takes on a CPU."""
_CUDA_FRAMES, _CUDA_REPEATS = (256, 2048), (5, 5)
"""Below that the launches are all that is seen."""
_REFERENCE_FRAMES = 5 * FRAMES_PER_S
"""Of a usual voice."""
_CHARS_PER_S = 15.0
"""Of English; what is spoken slower in characters costs more for each of them."""


def fit(dit: DiT, vocos: Vocoder, steps: int) -> Cost:
    """``steps`` for one segment."""
    cuda = dit.precision.device.type == "cuda"
    if dit.graphs is not None:
        with torch.inference_mode():
            dit.graphs.warm(graphs.USUAL)
    lengths, repeats = (_CUDA_FRAMES, _CUDA_REPEATS) if cuda else (_FRAMES, _REPEATS)
    _best_ms(dit, _FIRST_FRAMES, 1)
    step_ms = [_best_ms(dit, frames, times) for frames, times in zip(lengths, repeats, strict=True)]
    ms_per_frame = max((step_ms[1] - step_ms[0]) / (lengths[1] - lengths[0]), 0.0)
    fixed_ms = max(step_ms[0] - ms_per_frame * lengths[0], 0.0)
    with torch.inference_mode():
        vocos.decode(torch.zeros(_FIRST_FRAMES, dit.config.mel_dim, device=dit.precision.device))
    frames_per_char = FRAMES_PER_S / _CHARS_PER_S
    return Cost(
        steps,
        fixed_ms=fixed_ms + ms_per_frame * _REFERENCE_FRAMES,
        ms_per_char=ms_per_frame * frames_per_char,
        audio_ms_per_char=1e3 / _CHARS_PER_S,
    )


def _best_ms(dit: DiT, frames: int, repeats: int) -> float:
    device = dit.precision.device
    with torch.inference_mode():
        ids = np.zeros(frames // 8, np.int64)
        prompt = dit.prompt(ids, torch.zeros(frames // 2, dit.config.mel_dim, device=device), frames)
        evaluation = Evaluation(prompt, torch.zeros(frames, dit.config.mel_dim, device=device), 0.0, 2.0)
        best = float("inf")
        for _ in range(repeats):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            started = time.perf_counter()
            dit.velocities([evaluation])
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = min(best, (time.perf_counter() - started) * 1e3)
    dit.text.forget()
    return best
