"""The part of benches/f5.py for GPUs: one request and its stages, many slots against the products alone, the gaps
between steps while work is queued, every precision, with and without graphs, what the device did meanwhile, and other
ways to do the same. Nothing in it needs CUDA but the figures' meaning, so a CPU can check that it runs
(tests/test_f5_bench.py). What fails is told in the place of its figures, and all that there are so far are on disk.

On a machine without the upstream package (PACK is what ``--device-pack`` made elsewhere), from the checkout's root,
minutes each; a fault of the device spoils its process, so what depends on the least goes first:

    export PYTHONPATH=python PYTHONUNBUFFERED=1
    PYTHONPATH=python:PACK python -m pytest -q tests/test_f5_kernels.py tests/test_f5_graphs.py tests/test_f5_cuda.py
    python benches/f5.py --packed PACK --only cuda --paths graphs,launched,upstream --json one.json
    python benches/f5.py --packed PACK --only cuda --paths int8,fp8,fp16,fp32,variants,compiled --json two.json
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ishowtts.engine import Conditioning, Segment
from ishowtts.engines.f5.config import FRAMES_PER_S
from ishowtts.engines.f5.dit import DiT, Evaluation
from ishowtts.engines.f5.engine import F5
from ishowtts.engines.f5.linear import Fp8Linear, can_fp8

SAID = "And the last boats turned home in the evening."
SECONDS = 8.0
"""Four of reference, four spoken."""
STEPS = 7
SLOTS = 16
ROUNDS = 20
LARGE = 8192
"""Of the square product that tells what the device can do."""
KERNELS = 14
"""That are named, of those that took the longest."""
PATHS = {
    "graphs": ("auto", True),
    "launched": ("auto", False),
    "int8": ("int8", True),
    "fp8": ("fp8", True),
    "fp16": ("fp16", True),
    "fp32": ("fp32", True),
}
"""Of ours: the precision, and whether steps are captured."""
OTHERS = ("variants", "upstream", "compiled")


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


def tried(figures: dict[str, Any], name: str, made: Callable[[], Any]) -> None:
    """Its figures, or why there are none."""
    try:
        figures[name] = made()
    except Exception as error:
        figures[name] = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:400]}"


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
    """One request by itself, from a new text to its sound: whole, and once more stage by stage, waiting after each."""
    device = engine.dit.precision.device
    whole, stages = [], []
    for seed in range(rounds + 3):
        engine.dit.text.forget()
        started = time.perf_counter()
        engine.admit(0, segment(seed), voice)
        while not any(chunk.last for chunk in engine.step([0])):
            pass
        whole.append((time.perf_counter() - started) * 1e3)
    for seed in range(rounds + 3):
        engine.dit.text.forget()
        times = [time.perf_counter()]
        engine.admit(0, segment(seed), voice)
        for work in (lambda: None, *(lambda: list(engine.step([0])) for _ in range(STEPS))):
            work()
            wait(device)
            times.append(time.perf_counter())
        stages.append(np.diff(times) * 1e3)
    admit, *steps = np.median(np.array(stages[3:]), axis=0)
    mel = torch.zeros(int(SECONDS / 2 * FRAMES_PER_S), engine.dit.config.mel_dim, device=device)
    return {
        "whole ms": float(np.median(whole[3:])),
        "text, prompt and noise ms": float(admit),
        f"{STEPS} steps ms": float(np.median(steps[:-1]) * STEPS),
        "vocoder and copy ms": float(max(0.0, steps[-1] - np.median(steps[:-1]))),
        "vocoder alone ms": timed(device, lambda: engine.vocos.decode(mel), rounds),
        "vocoder and copy alone ms": timed(device, lambda: engine.output.begin(mel)(), rounds),
    }


def limit_ms(device: torch.device, dtype: torch.dtype, work: Work, rounds: int = ROUNDS) -> dict[str, float]:
    """What arithmetic alone takes of a request, at the speed of one large square product."""
    x, y = (torch.randn(LARGE, LARGE, device=device).to(dtype) for _ in range(2))
    flops = 2.0 * LARGE**3 / timed(device, lambda: x @ y, rounds) * 1e3
    request = STEPS * work.flop(int(SECONDS * FRAMES_PER_S))
    return {"large product TFLOP/s": flops / 1e12, "request TFLOP": request / 1e12, "limit ms": request / flops * 1e3}


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
    """Between steps while requests wait, on the device's own clock. They come one after the other, so that not all
    slots fall free in the same step."""
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
        slots = min(slots, engine.info.max_slots)
        while waiting or busy:
            for slot in sorted(set(range(slots)) - busy):
                if waiting and slot * STEPS <= len(marks) * slots:
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


def traced(device: torch.device, work: Callable[[], object], steps: int) -> dict[str, Any]:
    """Which kernels took the time, and what of it the device did nothing. The tracing itself takes some."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    wait(device)
    with profile(activities=[ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU]) as trace:
        work()
        wait(device)
    place = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    events = [event for event in trace.events() if event.device_type == place]
    spans = sorted((event.time_range.start, event.time_range.end) for event in events)
    kernels: dict[str, list[float]] = {}
    for event in events:
        kernels.setdefault(event.name[:120], []).append(event.time_range.end - event.time_range.start)
    idle, until = [], spans[0][1]
    for start, end in spans:
        if start > until:
            idle.append(start - until)
        until = max(until, end)
    longest = sorted(kernels.items(), key=lambda item: -sum(item[1]))[:KERNELS]
    return {
        "busy": 1 - sum(idle) / max(until - spans[0][0], 1e-9),
        "idle p99 ms": float(np.percentile(idle, 99)) / 1e3 if idle else 0.0,
        "idle most ms": max(idle, default=0.0) / 1e3,
        "kernels a step": len(events) / steps,
        "ms a step": {name: [round(sum(us) / 1e3 / steps, 4), len(us) / steps] for name, us in longest},
    }


def path(
    engine: F5, voice: Conditioning, one: Evaluation, work: Work, wanted: torch.Tensor | None = None
) -> dict[str, Any]:
    """All figures of an engine; ``wanted``: what ``one`` gives in float32."""
    dit, device = engine.dit, engine.dit.precision.device
    figures: dict[str, Any] = {"paths": dit.paths}
    if wanted is not None:
        tried(figures, "relative error", lambda: relative(dit.velocities([one])[0].cpu(), wanted))
    tried(figures, "request", lambda: single(engine, voice))
    tried(figures, "steps", lambda: throughput(dit, one, work))
    tried(figures, "queue", lambda: gaps(engine, voice))
    tried(figures, "one step traced", lambda: traced(device, lambda: [dit.velocities([one]) for _ in range(5)], 5))
    tried(figures, "many traced", lambda: traced(device, lambda: [dit.velocities([one] * SLOTS) for _ in range(2)], 2))
    tried(figures, "queue traced", lambda: traced(device, lambda: gaps(engine, voice, requests=2 * SLOTS), 1))
    figures["paths after it"] = dit.paths
    return figures


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())


def measure(
    engine_of: Callable[..., F5],
    voice_of: Callable[[F5], Conditioning],
    one_of: Callable[[DiT], Evaluation],
    work: Work,
    names: Sequence[str] = tuple(PATHS),
    kept: Callable[[dict[str, Any]], None] = lambda figures: None,
    wanted: torch.Tensor | None = None,
) -> dict[str, Any]:
    """``engine_of(dtype, graphs=…)`` loads one; ``one_of`` gives the request of which ``throughput`` has many; ``kept``
    is told after each path all that there is so far."""
    figures: dict[str, Any] = {}

    def measured(name: str) -> dict[str, Any]:
        dtype, graphs = PATHS[name]
        started = time.perf_counter()
        engine = engine_of(dtype, graphs=graphs)
        loaded_s = time.perf_counter() - started
        device = engine.dit.precision.device
        cuda = device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        try:
            with torch.inference_mode():
                found = path(engine, voice_of(engine), one_of(engine.dit), work, wanted)
        finally:
            engine.close()
        memory = {"peak memory MiB": torch.cuda.max_memory_allocated(device) / 2**20} if cuda else {}
        return {"loaded in s": loaded_s} | found | memory

    for name in names:
        tried(figures, name, lambda name=name: measured(name))  # type: ignore[misc]
        kept(figures)
    return figures


def variants(device: torch.device, dtype: torch.dtype, work: Work, tokens: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Other ways to do what the engine does: ms, and how far the second is from the first."""
    functional = torch.nn.functional
    x = torch.randn(tokens, work.dim, device=device).to(dtype)
    weight = (torch.randn(work.dim, work.dim // 16, 31, device=device) / 40).to(dtype)
    bias = torch.randn(work.dim, device=device).to(dtype)
    flat = weight[:, :, None].contiguous(memory_format=torch.channels_last)
    wide = (torch.randn(work.wide, work.dim, device=device) / 30).to(dtype)
    more = torch.randn(work.wide, device=device).to(dtype)
    pairs: dict[str, tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]] = {
        "convolution, time last and channels last": (
            lambda: functional.conv1d(x.t()[None], weight, bias, padding=15, groups=16)[0].t(),
            lambda: functional.conv2d(x[None, None].permute(0, 3, 1, 2), flat, bias, padding=(0, 15), groups=16)[
                0, :, 0
            ].t(),
        ),
        "GELU after its product and in it": (
            lambda: functional.gelu(functional.linear(x, wide, more), approximate="tanh"),
            lambda: torch._addmm_activation(more, x, wide.t(), use_gelu=True),
        ),
    }
    if dtype == torch.bfloat16 and can_fp8(device):
        linear, ones = Fp8Linear(wide, more, device), torch.ones(tokens, 1, device=device)
        eight = x.to(torch.float8_e4m3fn)
        given = {"scale_a": ones, "scale_b": linear.scale, "bias": linear.bias, "out_dtype": torch.bfloat16}
        pairs["fp8 product, exact and fast sums"] = (
            lambda: linear(eight, ones),
            lambda: torch._scaled_mm(eight, linear.weight, use_fast_accum=True, **given),
        )
    figures: dict[str, Any] = {}
    for name, (one, other) in pairs.items():
        tried(
            figures,
            name,
            lambda one=one, other=other: {  # type: ignore[misc]
                "ms": [timed(device, work, rounds) for work in (one, other)],
                "relative difference": relative(other(), one()),
            },
        )
    return figures


def upstream(
    model: Any,
    inputs: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    names: Sequence[str] = ("upstream", "compiled"),
    request: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """One step of the upstream model with guidance, as it is and compiled; ``request``: a whole one of its own."""
    model = model.to(device, dtype)
    cast = {
        key: value.to(device, dtype) if value.is_floating_point() else value.to(device) for key, value in inputs.items()
    }
    step = {**cast, "time": torch.tensor(0.0, device=device, dtype=dtype), "cfg_infer": True, "cache": True}
    figures: dict[str, Any] = {}
    if "upstream" in names:
        tried(figures, "eager step ms", lambda: timed(device, lambda: model(**step)))
        model.clear_cache()
        if request is not None:
            tried(figures, "request ms", lambda: timed(device, request, 5))
            model.clear_cache()
    if "compiled" in names:

        def compiled() -> float:
            made = torch.compile(model)
            return timed(device, lambda: made(**step))

        tried(figures, "compiled step ms", compiled)
        model.clear_cache()
    return figures
