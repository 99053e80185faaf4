"""Runs the model at two lengths, which makes every lazy part load, and fits what a step costs. On the engine's thread,
while it loads."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from ishowtts.engine import Cost
from ishowtts.engines.f5 import graphs
from ishowtts.engines.f5.config import FRAMES_PER_S
from ishowtts.engines.f5.dit import DiT, Evaluation
from ishowtts.engines.f5.vocos import Vocoder
from ishowtts.errors import InvalidSetting

_FIRST_FRAMES = 16
"""Of the run that makes the lazy parts load, and so tells nothing."""
_FRAMES = (64, 160)
_CUDA_FRAMES = (256, 2048)
"""Below that the launches are all that is seen."""
_AGREE = 1.25
"""Of the two quickest runs. Where something else has the machine, one run tells nothing: a step was seen to take a
hundred times as long as the next."""
_MOST_RUNS = 8
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
    lengths = _CUDA_FRAMES if cuda else _FRAMES
    _measured(dit, _FIRST_FRAMES, lambda run_ms: run_ms())
    step_ms = [_measured(dit, frames, agreed) for frames in lengths]
    ms_per_frame = max((step_ms[1] - step_ms[0]) / (lengths[1] - lengths[0]), 0.0)
    fixed_ms = max(step_ms[0] - ms_per_frame * lengths[0], 0.0)
    with torch.inference_mode():
        _check("vocoder", vocos.decode(torch.zeros(_FIRST_FRAMES, dit.config.mel_dim, device=dit.precision.device)))
    frames_per_char = FRAMES_PER_S / _CHARS_PER_S
    return Cost(
        steps,
        fixed_ms=fixed_ms + ms_per_frame * _REFERENCE_FRAMES,
        ms_per_char=ms_per_frame * frames_per_char,
        audio_ms_per_char=1e3 / _CHARS_PER_S,
    )


def _measured(dit: DiT, frames: int, measure: Callable[[Callable[[], float]], float]) -> float:
    """A step's time in ms."""
    device = dit.precision.device
    with torch.inference_mode():
        ids = np.zeros(frames // 8, np.int64)
        prompt = dit.prompt(ids, torch.zeros(frames // 2, dit.config.mel_dim, device=device), frames)
        evaluation = Evaluation(prompt, torch.zeros(frames, dit.config.mel_dim, device=device), 0.0, 2.0)

        def run_ms() -> float:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            started = time.perf_counter()
            (velocity,) = dit.velocities([evaluation])
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            elapsed_ms = (time.perf_counter() - started) * 1e3
            _check("checkpoint", velocity)
            return elapsed_ms

        found = measure(run_ms)
    dit.text.forget()
    return found


def agreed(run_ms: Callable[[], float]) -> float:
    """The quickest of as many runs as it takes for two to agree on it: two, where nothing disturbs them."""
    runs = [run_ms(), run_ms()]
    while len(runs) < _MOST_RUNS and sorted(runs)[1] > _AGREE * min(runs):
        runs.append(run_ms())
    return min(runs)


def _check(option: str, made: torch.Tensor) -> None:
    """Each weight is finite, or it would not have been read; what they make may yet be too large for its numbers."""
    if not bool(torch.isfinite(made).all()):
        raise InvalidSetting(f"[engines.f5] {option}: its weights make values that are not finite; is it damaged?")
