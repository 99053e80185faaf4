"""Host and device: what is sent without waiting, and how far the host runs ahead of the device. On the engine's thread,
but for ``sent``, which is safe on any."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch

_MOST_STEPS = 1


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``tensor``, which lies on the CPU, on ``device``.

    From memory that can be paged a copy would wait until the device has done all that it was asked to, and the device
    would then wait for what comes next. Page-locked memory is not used again before it has been read.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Mark(Protocol):
    """A place in the work that the device was asked for."""

    def synchronize(self) -> None: ...


class Ahead:
    """Steps are asked for one ahead of the one that the device is doing, so that it never waits for the host; and no
    more: a step would else seem to take no time, and who comes or goes would wait for all that was asked for before."""

    def __init__(self, mark: Callable[[], Mark] | None = None) -> None:
        self._mark = mark
        self._under_way: deque[Mark] = deque()

    @staticmethod
    def of(device: torch.device) -> Ahead:
        """On a CPU a step is over when it returns."""
        return Ahead(_recorded) if device.type == "cuda" else Ahead()

    def stepped(self) -> None:
        """A step was asked for. Returns when the one before it is over; raises what the device failed with."""
        if self._mark is None:
            return
        self._under_way.append(self._mark())
        while len(self._under_way) > _MOST_STEPS:
            self._under_way.popleft().synchronize()


def _recorded() -> Mark:
    # Whoever waits for it sleeps: the cores are others'.
    event = torch.cuda.Event(blocking=True)
    event.record()
    mark: Mark = event
    return mark
