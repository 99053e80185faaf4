"""Time grids: at which t the flow is evaluated. Pure; no thread of its own.

Always float32 on the CPU: a half-precision grid moves its points (the first step of 7 is 0.0039 instead of 0.0048).
Source: ``get_epss_timesteps`` in ``f5_tts/model/utils.py`` and ``CFM.sample`` of f5-tts 1.1.22; the pruned grids are
those of "Accelerating Flow-Matching-Based Text-to-Speech via Empirically Pruned Step Sampling".
"""

from __future__ import annotations

from functools import lru_cache

import torch

MIN_STEPS, MAX_STEPS = 4, 64
GRID = 32
_PRUNED = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}
SCHEDULES = ("epss", "linear")


@lru_cache(maxsize=256)
def grid(steps: int, schedule: str, sway: float | None) -> torch.Tensor:
    """``steps + 1`` times from 0 to 1, float32. ``epss`` is linear where no pruned grid is defined."""
    pruned = _PRUNED.get(steps) if schedule == "epss" else None
    if pruned is not None:
        times = (1 / GRID) * torch.tensor(pruned, dtype=torch.float32)
    else:
        times = torch.linspace(0, 1, steps + 1, dtype=torch.float32)
    if sway is not None:
        times = times + sway * (torch.cos(torch.pi / 2 * times) - 1 + times)
    return times


def common_times() -> list[float]:
    """Every t that the pruned grids and 8, 16 and 32 linear steps use, with upstream's sway of -1."""
    times = {float(t) for steps in (*_PRUNED, 8, 16, 32) for t in grid(steps, "epss", -1.0)[:-1]}
    return sorted(times)
