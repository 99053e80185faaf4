"""What f5 asks of a CUDA device, without one: fake tensors say of every operator whether devices, dtypes, shapes and
layouts agree; and whether it would have the host wait, which a step and an admission must not, and a capture cannot.
What the operators compute is tested on the CPU and, where there is one, on a device."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")

import f5_model  # noqa: E402
from ishowtts.engines.f5 import attention, checkpoint, elementwise, graphs, output, schedule, vocos  # noqa: E402
from ishowtts.engines.f5 import dit as dits  # noqa: E402
from ishowtts.engines.f5.config import architecture  # noqa: E402
from ishowtts.engines.f5.dit import DiT, Evaluation  # noqa: E402
from ishowtts.engines.f5.precision import Precision  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

if not torch.backends.cuda.is_built():
    pytest.skip("this torch knows nothing of CUDA", allow_module_level=True)

DEVICE = torch.device("cuda", 0)
PRECISIONS = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.bfloat16,
    "fp8": torch.bfloat16,
}
MODEL = f5_model.config(long_skip_connection=True, qk_norm="rms_norm")
"""With all that a model may have."""
LEAST_INT8_ROWS = 17
"""cuBLAS's."""


WAITS = ("_local_scalar_dense", "item", "nonzero", "equal", "_unique2", "istft")


def _places(*given: Any) -> set[str]:
    return {leaf.device.type for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor)}


class NeverWaits(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
    """Raises where a host with a real device would wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func.namespace == "prim":
            return func(*args, **given)
        assert func.overloadpacket.__name__ not in WAITS or "cuda" not in _places(args, given), (
            f"{func} waits for the device"
        )
        with self:
            # Of an operator that is made of others, those.
            made = func.decompose(*args, **given)
        if made is not NotImplemented:
            return made
        made = func(*args, **given)
        names = [argument.name for argument in func._schema.arguments]
        self._check(func, dict(zip(names, args, strict=False)) | given, made)
        return made

    def _check(self, func: Any, given: dict[str, Any], made: Any) -> None:
        name = func.overloadpacket.__name__
        places = _places(given, made)
        if "cuda" not in places:
            return
        self.operators.add(name)
        if len(places) > 1:
            assert name in ("_to_copy", "copy_"), f"{name} has tensors on the host and on the device, and so waits"
            assert given.get("non_blocking"), "a copy from one to the other waits"
        if name == "_int_mm":
            assert given["self"].shape[0] >= LEAST_INT8_ROWS, "cuBLAS refuses so few"
            assert given["self"].shape[1] % 8 == given["mat2"].shape[1] % 8 == 0


class Kernel:
    """In the place of a kernel of Triton's: what it takes for granted of what it is given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*args: Any, **constants: Any) -> None:
            tensors = [argument for argument in args if isinstance(argument, torch.Tensor)]
            assert len(tensors) >= 3
            assert all(tensor.device == DEVICE for tensor in tensors)
            # Rows may lie apart, as their strides say; all else lies one behind the other.
            apart = {"_norm_kernel": (1, 2), "_gate_kernel": (2,), "_dequantise_gate_kernel": (5,)}.get(self.name, ())
            for number, tensor in enumerate(tensors):
                assert tensor.stride(-1) == 1 or tensor.shape[-1] == 1
                assert number in apart or tensor.is_contiguous(), (self.name, number)
            assert all(isinstance(size, int) and 0 < size < 1 << 31 for size in grid)
            assert constants["BLOCK"] & (constants["BLOCK"] - 1) == 0

        return launch


class Weights:
    """As a :class:`~ishowtts.engines.f5.checkpoint.Checkpoint`, of nothing but shapes."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = shapes

    def tensor(self, name: str) -> Any:
        return torch.empty(self._shapes[name])

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *failed: object) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A device that only says what it would give."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, device=None: torch.empty_like(self))
    monkeypatch.setattr(schedule, "common_times", lambda: [0.0, 0.25, 0.5])
    with torch.inference_mode(), fake_tensor.FakeTensorMode(allow_non_fake_inputs=True):
        yield


def load(name: str, monkeypatch: pytest.MonkeyPatch, kernels: bool, packed: bool) -> DiT:
    ops = elementwise.EAGER
    if kernels:
        triton_kernels = pytest.importorskip("ishowtts.engines.f5.triton_kernels", reason="triton is not installed")
        for kernel in [kernel for kernel in vars(triton_kernels) if kernel.endswith("_kernel")]:
            monkeypatch.setattr(triton_kernels, kernel, Kernel(kernel))
        monkeypatch.setattr(triton_kernels, "_right", lambda: True)
        ops = triton_kernels.fused(ops)
    monkeypatch.setattr(elementwise, "choose", lambda device, compiled: ops)
    monkeypatch.setattr(attention, "choose", lambda *given: attention.varlen if packed else attention.fused)
    numbers = Precision(name, DEVICE, PRECISIONS[name])
    monkeypatch.setattr(checkpoint, "check", lambda *given: None)
    config = architecture(MODEL)
    weights = Weights(dits.shapes(config, len(f5_model.TOKENS)))
    return DiT(config, weights, len(f5_model.TOKENS), numbers)  # type: ignore[arg-type]


def evaluation(dit: DiT, frames: int, strength: float, t: float = 0.25) -> Evaluation:
    prompt = dit.prompt(np.arange(frames // 4), torch.empty(frames // 3, 100, device=DEVICE), frames)
    return Evaluation(prompt, torch.empty(frames, 100, device=DEVICE), t, strength)


COMPANIES = {
    "one": [(100, 2.0)],
    "one, unguided": [(90, 0.0)],
    "many": [(60, 2.0), (33, 0.0), (61, 1.0)],
    "few tokens": [(5, 0.0)],
}


@pytest.mark.parametrize("graphed", [False, True], ids=["launched", "graphed"])
@pytest.mark.parametrize("kernels", [False, True], ids=["eager", "triton"])
@pytest.mark.parametrize("name", PRECISIONS)
def test_a_step_agrees_with_the_device_and_never_waits(
    monkeypatch: pytest.MonkeyPatch, fake: None, name: str, kernels: bool, graphed: bool
) -> None:
    packed = name != "fp32"
    dit = load(name, monkeypatch, kernels, packed)
    captured: list[Any] = []

    def capture(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        captured.append(work())
        return lambda: None, captured[-1]

    if graphed:
        dit.graphs = graphs.Graphs(dit.core, dit.sizes, DEVICE, capture, graphs.MOST_SLOTS if packed else 1)
        dit.graphs.warm([(1, 128)])
        assert len(captured) == 1
    with NeverWaits() as waits:
        for company in COMPANIES.values():
            evaluations = [evaluation(dit, frames, strength) for frames, strength in company]
            for _ in range(2):
                velocities = dit.velocities(evaluations)
            for (frames, _), velocity in zip(company, velocities, strict=True):
                assert (tuple(velocity.shape), velocity.dtype, velocity.device) == (
                    (frames, 100),
                    torch.float32,
                    DEVICE,
                )
    product = {"int8": "_int_mm", "fp8": "_scaled_mm"}.get(name, "addmm")
    attended = "_varlen_attn" if packed else "softmax"
    for wanted in (product, attended, "convolution"):
        assert any(wanted in operator for operator in waits.operators), (wanted, waits.operators)


class Told:
    """In which order streams, events and graphs are asked for what, in the place of those of ``torch.cuda``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.broken = False
        """Whether a capture ends with an error."""
        told, current = self, ["main"]

        class Stream:
            def __init__(self, device: Any = None, priority: int = 0, name: str = "beside") -> None:
                self.name = name

            def wait_stream(self, other: Stream) -> None:
                told.log.append(f"{self.name} waits for {other.name}")

        class Event:
            def record(self, stream: Stream) -> None:
                told.log.append(f"event on {stream.name}")

        class Graph:
            def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
                told.log.append(f"capture on {current[-1]}, {pool}, {capture_error_mode}")

            def capture_end(self) -> None:
                told.log.append("end")
                if told.broken:
                    raise RuntimeError("the capture is broken")

            def replay(self) -> None:
                told.log.append("replay")

        @contextlib.contextmanager
        def on(stream: Stream) -> Iterator[None]:
            current.append(stream.name)
            try:
                yield
            finally:
                current.pop()

        stand_ins: dict[str, Any] = {"Stream": Stream, "Event": Event, "CUDAGraph": Graph, "stream": on}
        stand_ins |= {
            "device": contextlib.nullcontext,
            "current_stream": lambda device=None: Stream(name=current[-1]),
            "graph_pool_handle": lambda: (0, 1),
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)
        monkeypatch.setattr(
            torch.Tensor, "record_stream", lambda tensor, stream: self.log.append(f"{stream.name} keeps the mel")
        )
        monkeypatch.setattr(
            torch._C, "_cuda_endAllocateToPool", lambda device, pool: self.log.append(f"leave {pool} of {device}")
        )


def test_the_vocoder_agrees_with_the_device_and_runs_beside(monkeypatch: pytest.MonkeyPatch, fake: None) -> None:
    sizes = f5_model.VOCOS_LAYERS, f5_model.VOCOS_DIM, f5_model.VOCOS_WIDE
    monkeypatch.setattr(vocos, "dimensions", lambda *given: sizes)
    monkeypatch.setattr(vocos, "weights_file", lambda folder: folder)
    monkeypatch.setattr(checkpoint, "check", lambda *given: None)
    monkeypatch.setattr(checkpoint, "Checkpoint", lambda path: Weights(vocos.shapes(*sizes, 100)))
    monkeypatch.setattr(output, "Buffers", lambda pinned, kept=output.Buffers: kept(pinned=False))
    made = vocos.Vocos(Path(), DEVICE)
    told = Told(monkeypatch)
    beside = output.choose(made, DEVICE)
    with NeverWaits() as waits:
        for frames in (2, 30):
            beside.begin(torch.empty(frames, 100, device=DEVICE))
    assert {"_fft_c2r", "convolution", "copy_"} <= waits.operators
    assert told.log == 2 * ["beside waits for main", "beside keeps the mel", "event on beside"]


@pytest.mark.parametrize("fault", ["", "work", "end", "both"])
def test_a_capture_runs_beside_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    told = Told(monkeypatch)
    told.broken = fault in ("end", "both")
    capture, runs = graphs.CudaCapture(DEVICE), 0

    def work() -> Any:
        nonlocal runs
        runs += 1
        told.log.append("work" if gc.isenabled() else "work, nothing collected")
        if runs == 3 and fault in ("work", "both"):
            raise ValueError("what went wrong")
        return torch.zeros(1)

    begun = ["beside waits for main", "work", "work", "main waits for beside"]
    begun += ["capture on beside, (0, 1), thread_local", "work, nothing collected", "end"]
    if not fault:
        replay, _ = capture(work)
        replay()
        assert told.log == [*begun, "replay"]
    else:
        with pytest.raises(RuntimeError if fault == "end" else ValueError):
            capture(work)
        left = {"work": [], "end": ["end", "leave (0, 1) of 0"], "both": ["leave (0, 1) of 0"]}
        assert told.log == begun + left[fault]
    assert gc.isenabled()


def speak(small: f5_model.Small, **options: Any) -> list[Any]:
    """What an engine makes of three segments, one joining a step after the other, and of one by itself."""
    engine = small.engine(**options)
    voice = engine.prepare(small.voice())
    waiting = list(enumerate(["Hello there.", "The boats turn home.", "One by one.", "Hello there."]))
    spoken: list[list[Any]] = [[] for _ in waiting]
    speaking: dict[int, int] = {}
    try:
        while waiting or speaking:
            if waiting and (waiting[0][0] < 3 or not speaking):
                number, text = waiting.pop(0)
                engine.admit(number % 3, f5_model.segment(text, seed=number), voice)
                speaking[number % 3] = number
            for chunk in engine.step(sorted(speaking)):
                if chunk.error is not None:
                    raise chunk.error
                spoken[speaking[chunk.slot]].append(chunk.pcm)
                if chunk.last:
                    del speaking[chunk.slot]
    finally:
        engine.close()
    return [np.concatenate(pieces) for pieces in spoken]


@pytest.mark.parametrize("dtype", ["fp32", "auto"])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_an_engine_on_a_device_sounds_as_on_the_cpu_and_leaves_nothing(tmp_path: Path, dtype: str) -> None:
    pytest.importorskip("pypinyin")
    pytest.importorskip("rjieba")
    small = f5_model.write(tmp_path)
    wanted = speak(small)
    held = []
    for graphed in (True, False, True):
        found = speak(small, device="cuda", dtype=dtype, graphs=graphed)
        held.append(torch.cuda.memory_allocated())
        for one, other in zip(found, wanted, strict=True):
            assert np.corrcoef(one, other)[0, 1] > (0.9999 if dtype == "fp32" else 0.95)
    # What libraries keep for themselves stays after the first.
    assert held[2] <= held[1] + (1 << 20)
