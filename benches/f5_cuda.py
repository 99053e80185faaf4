"""The part of benches/f5.py for GPUs: one request and its stages, many slots against the products alone, the gaps
between steps while work is queued, every precision, with and without graphs. Nothing in it needs CUDA but the figures'
meaning, so a CPU can check that it runs (tests/test_f5_bench.py)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ishowtts.engine import Conditioning, Segment
from ishowtts.engines.f5.dit import DiT, Evaluation
from ishowtts.engines.f5.engine import F5

SAID = "And the last boats turned home in the evening."
SECONDS = 8.0
"""Four of reference, four spoken."""
STEPS = 7
SLOTS = 16
ROUNDS = 20


@dataclass(frozen=True)
class Work:
    """What the products of a step are: of one frame, all layers, with guidance."""

    flop: Callable[[int], float]
    dim: int
    wide: int


class Mark:
    """A moment on the device."""

    def __init__(self, device: torch.device) -> None:
        self._event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None
        self._at = time.perf_counter()
        if self._event is not None:
            self._event.record(torch.cuda.current_stream(device))

    def ms_until(self, later: Mark) -> float:
        """Both have happened."""
        if self._event is not None and later._event is not None:
            return float(self._event.elapsed_time(later._event))
        return (later._at - self._at) * 1e3


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(device: torch.device, work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """ms each, launches hidden behind the work where they can be."""
    for _ in range(3):
        work()
    wait(device)
    started = time.perf_counter()
    for _ in range(rounds):
        work()
    wait(device)
    return (time.perf_counter() - started) * 1e3 / rounds


def segment(seed: int, seconds: float = SECONDS) -> Segment:
    return Segment(SAID, None, seed, 1.0, {"normalize": False, "nfe_steps": STEPS, "fix_duration": seconds})


def single(engine: F5, voice: Conditioning, rounds: int = ROUNDS) -> dict[str, float]:
    """One request by itself, from its text to its sound: whole, and once more stage by stage, waiting after each."""
    device = engine.dit.precision.device
    whole, stages = [], []
    for seed in range(rounds + 3):
        started = time.perf_counter()
        engine.admit(0, segment(seed), voice)
        while not any(chunk.last for chunk in engine.step([0])):
            pass
        whole.append((time.perf_counter() - started) * 1e3)
    for seed in range(rounds + 3):
        times = [time.perf_counter()]
        engine.admit(0, segment(seed), voice)
        for work in (lambda: None, *(lambda: list(engine.step([0])) for _ in range(STEPS))):
            work()
            wait(device)
            times.append(time.perf_counter())
        stages.append(np.diff(times) * 1e3)
    admit, *steps = np.median(np.array(stages[3:]), axis=0)
    return {
        "whole ms": float(np.median(whole[3:])),
        "text, prompt and noise ms": float(admit),
        f"{STEPS} steps ms": float(np.median(steps[:-1]) * STEPS),
        "vocoder and copy ms": float(max(0.0, steps[-1] - np.median(steps[:-1]))),
    }


def throughput(dit: DiT, one: Evaluation, work: Work, slots: int = SLOTS, rounds: int = ROUNDS) -> dict[str, float]:
    """Steps of one and of many, and what of the products' own speed they reach."""
    device = dit.precision.device
    figures: dict[str, float] = {}
    for count in (1, slots):
        step_ms = timed(device, lambda count=count: dit.velocities([one] * count), rounds)  # type: ignore[misc]
        flop = count * work.flop(one.prompt.frames)
        peak = product_peak(dit, count * 2 * one.prompt.frames, work, rounds)
        figures |= {
            f"{count} slots, step ms": step_ms,
            f"{count} slots, TFLOP/s": flop / step_ms / 1e9,
            f"{count} slots, share of the product peak": flop / step_ms / 1e3 / peak,
        }
    return figures


def product_peak(dit: DiT, tokens: int, work: Work, rounds: int = ROUNDS) -> float:
    """FLOP/s of the model's own products and nothing else, in its half precision."""
    device, dtype = dit.precision.device, dit.precision.dtype
    shapes = ((3 * work.dim, work.dim), (work.dim, work.dim), (work.wide, work.dim), (work.dim, work.wide))
    pairs = [
        (torch.randn(tokens, into, device=device).to(dtype), torch.randn(out, into, device=device).to(dtype))
        for out, into in shapes
    ]
    ms = timed(device, lambda: [torch.nn.functional.linear(x, weight) for x, weight in pairs], rounds)
    return sum(2.0 * tokens * out * into for out, into in shapes) / ms * 1e3


def gaps(engine: F5, voice: Conditioning, slots: int = SLOTS, requests: int = 4 * SLOTS) -> dict[str, float]:
    """Between steps while requests wait, on the device's own clock. Lengths differ, so slots fall free at odd times."""
    device, velocities = engine.dit.precision.device, engine.dit.velocities
    marks: list[tuple[Mark, Mark]] = []

    def marked(evaluations: Sequence[Evaluation]) -> Any:
        start = Mark(device)
        made = velocities(evaluations)
        marks.append((start, Mark(device)))
        return made

    engine.dit.velocities = marked  # type: ignore[method-assign]
    try:
        waiting = [segment(seed, SECONDS * (0.7 + 0.6 * (seed % 7) / 6)) for seed in range(requests)]
        busy: set[int] = set()
        while waiting or busy:
            for slot in set(range(min(slots, engine.info.max_slots))) - busy:
                if waiting:
                    engine.admit(slot, waiting.pop(), voice)
                    busy.add(slot)
            busy -= {chunk.slot for chunk in engine.step(sorted(busy)) if chunk.last}
    finally:
        del engine.dit.velocities
    wait(device)
    between = [end.ms_until(start) for (_, end), (start, _) in itertools.pairwise(marks)]
    worked = sum(start.ms_until(end) for start, end in marks)
    return {
        "steps": float(len(marks)),
        "busy ratio": worked / marks[0][0].ms_until(marks[-1][1]),
        "gap p50 ms": float(np.percentile(between, 50)),
        "gap p99 ms": float(np.percentile(between, 99)),
    }


def measure(
    engine_of: Callable[..., F5],
    voice_of: Callable[[F5], Conditioning],
    one_of: Callable[[DiT], Evaluation],
    work: Work,
) -> dict[str, Any]:
    """``engine_of(dtype, graphs=…)`` loads one; ``one_of`` gives the request of which ``throughput`` has many."""
    figures: dict[str, Any] = {}
    for dtype, graphs in (("auto", True), ("auto", False), ("fp16", True), ("int8", True), ("fp8", True)):
        name = f"{dtype}, {'graphs' if graphs else 'no graphs'}"
        try:
            engine = engine_of(dtype, graphs=graphs)
        except Exception as error:
            figures[name] = str(error)
            continue
        device = engine.dit.precision.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with torch.inference_mode():
            figures[name] = {
                "precision": engine.dit.precision.name,
                "request": single(engine, voice_of(engine)),
                "steps": throughput(engine.dit, one_of(engine.dit), work),
                "queue": gaps(engine, voice_of(engine)),
            }
        if device.type == "cuda":
            figures[name]["peak memory MiB"] = torch.cuda.max_memory_allocated(device) / 2**20
        engine.close()
    return figures


def upstream(model: Any, inputs: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """One step of the upstream model with guidance, as it is and compiled."""
    model = model.to(device, dtype)
    cast = {
        key: value.to(device, dtype) if value.is_floating_point() else value.to(device) for key, value in inputs.items()
    }
    step = {**cast, "time": torch.tensor(0.0, device=device, dtype=dtype), "cfg_infer": True, "cache": True}
    figures: dict[str, Any] = {"eager step ms": timed(device, lambda: model(**step))}
    try:
        compiled = torch.compile(model)
        figures["compiled step ms"] = timed(device, lambda: compiled(**step))
    except Exception as error:
        figures["compiled step ms"] = str(error)[:200]
    model.clear_cache()
    return figures
