"""What it gains that a scheduler may change its mind between the steps of F5-TTS: one lock a request, request batches,
and slots that join and leave between steps, on the same arrivals. Each is one function over a machine, which is either
a cost model on a clock of its own or the f5 engine.

    python benches/f5_scheduling.py [--load 0.8] [--seconds 60] [--json FILE]

measures with a small random model, where the upstream package is not needed; benches/f5.py simulates with the cost of
the full size too.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from figures import keep

if TYPE_CHECKING:
    from ishowtts.engine import Conditioning
    from ishowtts.engines.f5.engine import F5

FRAMES_PER_S = 24_000 / 256
STEPS = 7
REFERENCE_S = 4.0
LONGEST_S = 10.0
BATCH = 8
"""Requests that go together at most."""
_TEXT = "And the last boats turned home in the evening."
_SMALL = {"dim": 128, "depth": 2, "heads": 4, "dim_head": 32}


@dataclass
class Request:
    """A text of one segment or several, which are heard in their order."""

    arrived_ms: float
    speech_s: tuple[float, ...]
    """Of each segment."""
    made_ms: dict[int, float] = field(default_factory=dict)
    """When a segment's sound came."""
    job: Job | None = None

    @property
    def done(self) -> bool:
        return len(self.made_ms) == len(self.speech_s)

    @property
    def first_ms(self) -> float:
        """From its arrival to its first sound."""
        return self.made_ms[0] - self.arrived_ms

    @property
    def whole_ms(self) -> float:
        return max(self.made_ms.values()) - self.arrived_ms

    @property
    def due_ms(self) -> float:
        """When what there is to hear ends: a first sound is due at once. Of segments that come in their order."""
        heard_ms = self.arrived_ms
        for index in range(len(self.made_ms)):
            heard_ms = max(heard_ms, self.made_ms[index]) + self.speech_s[index] * 1e3
        return heard_ms


@dataclass
class Job:
    """A segment that has a slot."""

    request: Request
    index: int
    slot: int
    left: int = STEPS
    done: bool = False

    @property
    def frames(self) -> int:
        return frames(self.request.speech_s[self.index])


def frames(speech_s: float) -> int:
    """Of reference and speech."""
    return int((REFERENCE_S + speech_s) * FRAMES_PER_S)


class Machine(Protocol):
    """What speaks. Times are ms since the first arrival could have come."""

    @property
    def shared(self) -> int:
        """Slots that one step advances to a gain."""
        ...

    def now_ms(self) -> float: ...
    def wait_until(self, ms: float) -> None: ...
    def can_admit(self) -> bool: ...
    def admit(self, request: Request, index: int) -> Job: ...
    def step(self, jobs: Sequence[Job]) -> None: ...


@dataclass(frozen=True)
class Line:
    fixed_ms: float
    ms_per_frame: float = 0.0

    def ms(self, count: int) -> float:
        return self.fixed_ms + self.ms_per_frame * count


@dataclass(frozen=True)
class Device:
    """What a segment costs: to be let in, each step (of all frames in it), to become sound."""

    step: Line
    shared: int
    """Slots that one step advances to a gain."""
    admit: Line = Line(0.0)
    finish: Line = Line(0.0)
    padded: bool = True
    """Whether what goes together is padded to the longest. Our engine packs."""

    def segment_ms(self, count: int) -> float:
        return self.admit.ms(count) + STEPS * self.step.ms(count) + self.finish.ms(count)


@dataclass
class Simulated:
    device: Device
    clock_ms: float = 0.0

    @property
    def shared(self) -> int:
        return self.device.shared

    def now_ms(self) -> float:
        return self.clock_ms

    def wait_until(self, ms: float) -> None:
        self.clock_ms = max(self.clock_ms, ms)

    def can_admit(self) -> bool:
        return True

    def admit(self, request: Request, index: int) -> Job:
        job = Job(request, index, slot=0)
        self.clock_ms += self.device.admit.ms(job.frames)
        return job

    def step(self, jobs: Sequence[Job]) -> None:
        lengths = [job.frames for job in jobs]
        self.clock_ms += self.device.step.ms(len(jobs) * max(lengths) if self.device.padded else sum(lengths))
        for job in sorted(jobs, key=lambda job: job.frames):
            job.left -= 1
            if job.left == 0:
                self.clock_ms += self.device.finish.ms(job.frames)
                job.request.made_ms[job.index] = self.clock_ms
                job.done = True


class Measured:
    """The engine. On a GPU in real time. On a CPU the clock is the processor time that it takes, and leaps to the next
    arrival where it would wait: what else runs on the machine does not enter. One thread, or it would count twice."""

    def __init__(self, engine: F5, voice: Conditioning) -> None:
        self._engine = engine
        self._voice = voice
        self._free = list(range(engine.info.max_slots))
        self._jobs: dict[int, Job] = {}
        self._own_time = engine.dit.precision.device.type == "cpu"
        self._leapt_ms = 0.0
        self._started_ms = self._clock_ms()

    @property
    def shared(self) -> int:
        return self._engine.info.max_shared

    def now_ms(self) -> float:
        return self._clock_ms() - self._started_ms + self._leapt_ms

    def wait_until(self, ms: float) -> None:
        left_ms = max(0.0, ms - self.now_ms())
        if self._own_time:
            self._leapt_ms += left_ms
        else:
            time.sleep(left_ms / 1e3)

    def _clock_ms(self) -> float:
        return (time.process_time() if self._own_time else time.perf_counter()) * 1e3

    def can_admit(self) -> bool:
        return bool(self._free)

    def admit(self, request: Request, index: int) -> Job:
        from ishowtts.engine import Segment

        job = Job(request, index, self._free.pop())
        params = {"normalize": False, "nfe_steps": STEPS, "fix_duration": REFERENCE_S + request.speech_s[index]}
        self._engine.admit(job.slot, Segment(_TEXT, None, index, 1.0, params), self._voice)
        self._jobs[job.slot] = job
        return job

    def step(self, jobs: Sequence[Job]) -> None:
        for chunk in self._engine.step([job.slot for job in jobs]):
            if chunk.error is not None:
                raise chunk.error
            if chunk.last:
                job = self._jobs.pop(chunk.slot)
                job.request.made_ms[job.index] = self.now_ms()
                job.done = True
                self._free.append(chunk.slot)


def lock(machine: Machine, requests: Sequence[Request]) -> None:
    """One whole request after the other."""
    for request in requests:
        machine.wait_until(request.arrived_ms)
        for index in range(len(request.speech_s)):
            _finish(machine, [machine.admit(request, index)])


def batches(machine: Machine, requests: Sequence[Request]) -> None:
    """Whoever waits goes together; nobody joins before all have ended."""
    waiting = deque(requests)
    while waiting:
        machine.wait_until(waiting[0].arrived_ms)
        now_ms, some = machine.now_ms(), list[Request]()
        while waiting and waiting[0].arrived_ms <= now_ms and len(some) < BATCH:
            some.append(waiting.popleft())
        _finish(machine, [machine.admit(request, index) for request in some for index in range(len(request.speech_s))])


def step_level(machine: Machine, requests: Sequence[Request]) -> None:
    """Who is due earliest has the next step, a segment of each at a time; the others keep their slots."""
    waiting, present = deque(requests), list[Request]()
    while waiting or present:
        if not present:
            machine.wait_until(waiting[0].arrived_ms)
        now_ms = machine.now_ms()
        while waiting and waiting[0].arrived_ms <= now_ms:
            present.append(waiting.popleft())
        present.sort(key=lambda request: request.due_ms)
        jobs: list[Job] = []
        for request in present:
            if request.job is None and machine.can_admit():
                request.job = machine.admit(request, len(request.made_ms))
            if request.job is not None:
                jobs.append(request.job)
            if len(jobs) == machine.shared:
                break
        machine.step(jobs)
        for job in jobs:
            if job.done:
                job.request.job = None
        present = [request for request in present if not request.done]


def _finish(machine: Machine, jobs: list[Job]) -> None:
    while jobs:
        machine.step(jobs)
        jobs = [job for job in jobs if not job.done]


POLICIES: dict[str, Callable[[Machine, Sequence[Request]], None]] = {
    "one lock": lock,
    "request batches": batches,
    "steps": step_level,
}


def arrivals(device: Device, load: float, count: int, seed: int = 0) -> list[Request]:
    """Poisson arrivals; two of three texts are short, the others have three to six segments. At ``load`` 1 the lock
    would just keep up."""
    choice = random.Random(seed)
    texts = []
    for _ in range(count):
        segments = 1 if choice.random() < 2 / 3 else choice.randint(3, 6)
        texts.append(tuple(_half_seconds(choice.lognormvariate(1.0, 0.5)) for _ in range(segments)))
    mean_ms = sum(device.segment_ms(frames(s)) for text in texts for s in text) / count
    now_ms, made = 0.0, []
    for text in texts:
        now_ms += choice.expovariate(load / mean_ms)
        made.append(Request(now_ms, text))
    return made


def _half_seconds(wanted_s: float) -> float:
    """Few lengths, so that each can be made once before anything is measured: the first step of a length costs more."""
    return min(LONGEST_S, max(0.5, round(2 * wanted_s) / 2))


def table(runs: dict[str, list[Request]]) -> dict[str, Any]:
    """ms of each policy, and the lock's divided by it: over 1 is faster than the lock."""

    def at(values: Iterable[float], share: float) -> float:
        ordered = sorted(values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def figures(requests: list[Request]) -> dict[str, float]:
        return {
            f"{what} p{percent} ms": at((getattr(r, attribute) for r in requests), percent / 100)
            for what, attribute in (("first sound", "first_ms"), ("whole", "whole_ms"))
            for percent in (50, 95)
        }

    found = {name: figures(requests) for name, requests in runs.items()}
    base = found["one lock"]
    return {
        name: {key: round(value, 1) for key, value in values.items()}
        | {f"{key.removesuffix(' ms')}, times faster": round(base[key] / value, 2) for key, value in values.items()}
        for name, values in found.items()
    }


def simulated(device: Device, load: float, count: int) -> dict[str, Any]:
    runs = {name: arrivals(device, load, count) for name in POLICIES}
    for name, policy in POLICIES.items():
        policy(Simulated(device), runs[name])
    return table(runs)


def compare(device: Device, loads: tuple[float, ...] = (0.5, 0.8, 0.95), count: int = 1500) -> dict[str, Any]:
    return {f"load {load}": simulated(device, load, count) for load in loads}


def fit(engine: F5, voice: Conditioning, rounds: int) -> Device:
    """What segments of three lengths cost when each is alone."""
    import numpy as np

    lengths = (1.0, 3.0, 8.0)
    best = np.full((len(lengths), 3), np.inf)
    machine = Measured(engine, voice)
    for _ in range(rounds):
        for row, speech_s in enumerate(lengths):
            marks = [machine.now_ms()]
            job = machine.admit(Request(0.0, (speech_s,)), 0)
            marks.append(machine.now_ms())
            while not job.done:
                machine.step([job])
                marks.append(machine.now_ms())
            admit, *steps = np.diff(marks)
            step = float(np.median(steps[:-1]))
            best[row] = np.minimum(best[row], (admit, step, max(0.0, steps[-1] - step)))
    lines = []
    for column in best.T:
        slope, fixed = np.polyfit([frames(speech_s) for speech_s in lengths], column, 1)
        lines.append(Line(max(0.0, float(fixed)), max(0.0, float(slope))))
    return Device(lines[1], engine.info.max_shared, lines[0], lines[2], padded=False)


def measure(
    engine: F5, voice: Conditioning, load: float = 0.8, seconds: float = 60.0, rounds: int = 3
) -> dict[str, Any]:
    """Arrivals of about ``seconds`` in all, and the same ones in the simulator with the engine's fitted cost. The
    policies take turns, so that a busy moment of the machine meets all of them."""
    for number in range(1, round(2 * LONGEST_S) + 1):
        lock(Measured(engine, voice), [Request(0.0, (number / 2,))])
    device = fit(engine, voice, rounds + 2)
    mean_ms = arrivals(device, load, 1000)[-1].arrived_ms / 1000
    count = max(3, round(seconds * 1e3 / mean_ms / rounds))
    measured: dict[str, list[Request]] = {name: [] for name in POLICIES}
    modelled: dict[str, list[Request]] = {name: [] for name in POLICIES}
    for seed in range(rounds):
        for name, policy in POLICIES.items():
            for done, machine in ((modelled[name], Simulated(device)), (measured[name], Measured(engine, voice))):
                requests = arrivals(device, load, count, seed)
                policy(machine, requests)
                done += requests
    return {
        "slots that gain from sharing a step": device.shared,
        "load": load,
        "requests": rounds * count,
        "fitted": {
            name: {"fixed_ms": round(line.fixed_ms, 2), "ms_per_frame": round(line.ms_per_frame, 4)}
            for name, line in (("admit", device.admit), ("step", device.step), ("finish", device.finish))
        },
        "measured": table(measured),
        "simulated": table(modelled),
    }


def small(folder: Path) -> tuple[F5, Conditioning]:
    """A model of random weights, whose steps take some ms on a CPU, and a voice for it."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    import f5_model
    from ishowtts.engine import Voice
    from ishowtts.engines.f5.engine import Options, load_files

    files = f5_model.write(folder, **_SMALL).files
    options = Options(device="auto", dtype="auto", nfe_steps=STEPS, max_slots=6 * BATCH)
    engine = load_files(files, options, threads=1)
    clip = f5_model.write_reference(folder / "clip.wav", seconds=REFERENCE_S - 0.5)
    return engine, engine.prepare(Voice("v", "1", (), {}, clip.read_bytes(), f5_model.REFERENCE_TEXT))


def measure_small(load: float, seconds: float, rounds: int = 3) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        engine, voice = small(Path(folder))
        try:
            return {"model": _SMALL, "threads": 1, "device": engine.info.device} | measure(
                engine, voice, load, seconds, rounds
            )
        finally:
            engine.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--seconds", type=float, default=60.0, help="of arrivals, for each of the three")
    parser.add_argument("--json", type=Path, help="where the figures go; standard output without it")
    chosen = parser.parse_args()
    keep(measure_small(chosen.load, chosen.seconds), chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
