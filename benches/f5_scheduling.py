"""What it gains that a scheduler may change its mind between the steps of F5-TTS: simulated arrivals with the cost
model that an engine has fitted, one lock (first in, first out) against request batches and step-level slots. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass
class Request:
    """``frames`` of reference and speech; ``left`` steps."""

    arrived_ms: float
    frames: int
    left: int
    ended_ms: float = 0.0


@dataclass(frozen=True)
class Device:
    """``step_ms = fixed_ms + ms_per_frame * frames``."""

    fixed_ms: float
    ms_per_frame: float
    shared: int
    """Slots that one step advances."""

    def step_ms(self, frames: int) -> float:
        return self.fixed_ms + self.ms_per_frame * frames


def arrivals(device: Device, load: float, count: int, steps: int, seed: int = 0) -> list[Request]:
    """Poisson arrivals of lognormal lengths; at ``load`` 1 the lock would just keep up."""
    choice = random.Random(seed)
    frames = [round(min(2500, max(200, choice.lognormvariate(6.5, 0.45)))) for _ in range(count)]
    mean_ms = sum(steps * device.step_ms(n) for n in frames) / count
    now, made = 0.0, []
    for n in frames:
        now += choice.expovariate(load / mean_ms)
        made.append(Request(now, n, steps))
    return made


def lock(device: Device, requests: list[Request]) -> None:
    """One whole request after the other."""
    now = 0.0
    for request in requests:
        now = max(now, request.arrived_ms) + request.left * device.step_ms(request.frames)
        request.ended_ms = now


def batches(device: Device, requests: list[Request]) -> None:
    """Whoever waits goes together and is padded to the longest; all end together."""
    now, queue = 0.0, list(requests)
    while queue:
        now = max(now, queue[0].arrived_ms)
        batch = [r for r in queue if r.arrived_ms <= now][: max(device.shared, 1)]
        queue = [r for r in queue if r not in batch]
        now += max(r.left for r in batch) * device.step_ms(len(batch) * max(r.frames for r in batch))
        for request in batch:
            request.ended_ms = now


def step_level(device: Device, requests: list[Request]) -> None:
    """Packed, joining and leaving between steps; shortest remaining first, with ageing."""
    now, waiting, present = 0.0, list(requests), []
    while waiting or present:
        if not present:
            now = max(now, waiting[0].arrived_ms)
        while waiting and waiting[0].arrived_ms <= now:
            present.append(waiting.pop(0))
        present.sort(key=lambda r: r.left * device.step_ms(r.frames) - 0.5 * (now - r.arrived_ms))
        some = present[: device.shared]
        now += device.step_ms(sum(r.frames for r in some))
        for request in some:
            request.left -= 1
            if request.left == 0:
                request.ended_ms = now
        present = [r for r in present if r.left]


POLICIES = {"one lock": lock, "request batches": batches, "steps": step_level}


def compare(device: Device, loads: tuple[float, ...] = (0.5, 0.8, 0.95), count: int = 1500) -> dict[str, object]:
    """Latency of the lock divided by that of each policy, mean and 95th percentile: over 1 is faster than the lock."""
    table: dict[str, object] = {}
    for load in loads:
        latencies: dict[str, list[float]] = {}
        for name, policy in POLICIES.items():
            requests = arrivals(device, load, count, steps=7)
            policy(device, requests)
            latencies[name] = sorted(r.ended_ms - r.arrived_ms for r in requests)
        base = latencies["one lock"]
        table[f"load {load}"] = {
            name: {
                "mean": round(sum(base) / sum(values), 2),
                "p95": round(base[int(0.95 * count)] / values[int(0.95 * count)], 2),
            }
            for name, values in latencies.items()
        }
    return table
