"""f5's steps through captured graphs. Without a GPU the graph is torch's own trace of the operators: like a captured
one it knows nothing but the tensors that it read, so what Python decided while it was recorded is the same for ever."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import f5_model  # noqa: E402
from f5_model import load_dit, relative  # noqa: E402
from ishowtts.engines.f5 import graphs, pack, precision  # noqa: E402
from ishowtts.engines.f5.config import MAX_FRAMES  # noqa: E402
from ishowtts.engines.f5.dit import DiT, Evaluation  # noqa: E402

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


class Traced:
    """``graphs.Capture`` on any device."""

    def __init__(self) -> None:
        self.captured = 0
        self.replayed = 0
        self.fail = False

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        from torch.fx.experimental.proxy_tensor import make_fx

        if self.fail:
            raise torch.OutOfMemoryError("CUDA out of memory while capturing")
        self.captured += 1
        trace = make_fx(work)()
        out = trace().clone()

        def replay() -> None:
            self.replayed += 1
            out.copy_(trace())

        return replay, out


@pytest.fixture(scope="module")
def dit(tmp_path_factory: pytest.TempPathFactory) -> DiT:
    return load(tmp_path_factory.mktemp("f5"))


def load(folder: Path, device: str = "cpu", dtype: str = "fp32") -> DiT:
    small = f5_model.write(folder, long_skip_connection=True)
    return load_dit(small.files.checkpoint, precision.choose(device, dtype), long_skip_connection=True)


@pytest.fixture
def traced(dit: DiT, monkeypatch: pytest.MonkeyPatch) -> tuple[graphs.Graphs, Traced]:
    capture = Traced()
    made = graphs.Graphs(dit.core, dit.sizes, dit.precision.device, capture)
    monkeypatch.setattr(dit, "graphs", made)
    return made, capture


def evaluation(dit: DiT, frames: int, seed: int, strength: float = 2.0) -> Evaluation:
    return f5_model.evaluation(dit, frames, seed, (0.0, 0.25, 0.5)[seed % 3], strength)


def check(dit: DiT, company: list[Evaluation], bound: float = 1e-5) -> None:
    graphed = [velocity.clone() for velocity in dit.velocities(company)]
    kept, dit.graphs = dit.graphs, None
    plain = dit.velocities(company)
    dit.graphs = kept
    for found, wanted in zip(graphed, plain, strict=True):
        assert found.shape == wanted.shape
        assert relative(found, wanted) < bound


@torch.inference_mode()
def test_one_graph_serves_every_length_of_its_bucket(dit: DiT, traced: tuple[graphs.Graphs, Traced]) -> None:
    made, capture = traced
    for turn, frames in enumerate((100, 128, 101, 127, 126)):
        check(dit, [evaluation(dit, frames, turn)])
    assert (capture.captured, capture.replayed) == (1, 4), "not the first time, which may be the only one"
    # Other contents for the same layout: the next step of the same request.
    company = [evaluation(dit, 110, 1)]
    for seed in range(3):
        company = [Evaluation(company[0].prompt, torch.randn_like(company[0].x), 0.1 * seed, 2.0)]
        check(dit, company)
    assert (capture.captured, len(made)) == (1, 1)


@torch.inference_mode()
def test_the_first_time_sounds_as_the_next_ones(dit: DiT, traced: tuple[graphs.Graphs, Traced]) -> None:
    _, capture = traced
    company = [evaluation(dit, frames, frames) for frames in (50, 33)]
    velocities = [[v.clone() for v in dit.velocities(company)] for _ in range(3)]
    assert (capture.captured, capture.replayed) == (1, 2)
    for again in velocities[1:]:
        assert all(one.equal(other) for one, other in zip(velocities[0], again, strict=True))


@torch.inference_mode()
def test_requests_join_and_leave_with_and_without_guidance(dit: DiT, traced: tuple[graphs.Graphs, Traced]) -> None:
    made, capture = traced
    choice = random.Random(5)
    for turn in range(24):
        company = [
            evaluation(dit, choice.choice((16, 40, 90, 130)), 100 * turn + number, choice.choice((0.0, 1.0, 2.0)))
            for number in range(choice.choice((1, 2, 3, 4)))
        ]
        check(dit, company)
    assert capture.replayed > 12
    assert 1 < len(made) == capture.captured <= 8


@torch.inference_mode()
def test_what_was_in_the_buffers_before_is_not_heard(dit: DiT, traced: tuple[graphs.Graphs, Traced]) -> None:
    made, _ = traced
    short = [evaluation(dit, 70, 1)]
    for _ in range(2):
        check(dit, short)
    wanted = dit.velocities(short)[0].clone()
    buffers = made._buffers
    assert buffers is not None
    buffers.hidden[140:].fill_(float("nan"))
    dit.velocities([evaluation(dit, 72, 2)])
    buffers.cis.fill_(7.0)
    buffers.hidden[144:].fill_(1e6)
    made._loaded = None
    assert dit.velocities(short)[0].equal(wanted)


@torch.inference_mode()
def test_beyond_the_bounds_it_does_without(
    dit: DiT, traced: tuple[graphs.Graphs, Traced], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, capture = traced
    monkeypatch.setattr(graphs, "MOST_TOKENS", 256)
    monkeypatch.setattr(made, "_most_slots", 2)
    monkeypatch.setattr(graphs, "MOST_GRAPHS", 2)
    for _ in range(3):
        check(dit, [evaluation(dit, 140, 1)])
        check(dit, [evaluation(dit, 16, seed) for seed in range(3)])
    assert capture.captured == 0
    for frames in (60, 60, 100, 100):
        check(dit, [evaluation(dit, frames, 1)])
    for _ in range(2):
        check(dit, [evaluation(dit, 16, seed) for seed in range(2)])
    assert (capture.captured, len(made)) == (3, 2)


@torch.inference_mode()
def test_a_capture_that_fails_is_the_last(
    dit: DiT, traced: tuple[graphs.Graphs, Traced], caplog: pytest.LogCaptureFixture
) -> None:
    made, capture = traced
    capture.fail = True
    for _ in range(3):
        check(dit, [evaluation(dit, 60, 1)])
    assert len([record.message for record in caplog.records if "no more CUDA graphs" in record.message]) == 1
    capture.fail = False
    check(dit, [evaluation(dit, 60, 1)])
    assert (capture.captured, len(made)) == (0, 0)


@torch.inference_mode()
def test_closed_they_hold_nothing(dit: DiT, traced: tuple[graphs.Graphs, Traced]) -> None:
    made, _ = traced
    made.warm([(1, 128)])
    buffers = made._buffers
    assert buffers is not None
    assert made.nbytes == buffers.nbytes
    held = weakref.ref(buffers.hidden), weakref.ref(buffers)
    del buffers
    made.close()
    gc.collect()
    assert [ref() for ref in held] == [None, None]
    assert (len(made), made.nbytes) == (0, 0)
    check(dit, [evaluation(dit, 60, 1)])


@torch.inference_mode()
def test_warmed_pairs_are_there_at_once(dit: DiT, traced: tuple[graphs.Graphs, Traced]) -> None:
    made, capture = traced
    made.warm([(1, 128), (1, 256), (1, 256)])
    check(dit, [evaluation(dit, 120, 1)])
    assert (capture.captured, capture.replayed) == (2, 1)


def test_buckets_waste_little() -> None:
    for tokens in range(1, graphs.MOST_TOKENS + 1):
        rounded = graphs.bucket(tokens)
        assert tokens <= rounded <= max(tokens + 127, tokens * 9 // 8)
    assert len({graphs.bucket(tokens) for tokens in range(1, graphs.MOST_TOKENS + 1)}) <= 40
    assert [graphs.slots_bucket(slots) for slots in (1, 2, 3, 4, 5, 16)] == [1, 2, 4, 4, 8, 16]


@pytest.mark.parametrize("dtype", ["fp32", "auto"])
@CUDA
def test_captured_graphs_on_a_device(tmp_path: Path, dtype: str) -> None:
    with torch.inference_mode():
        dit = load(tmp_path, "cuda", dtype)
        capture = graphs.CudaCapture(dit.precision.device)
        dit.graphs = graphs.Graphs(dit.core, dit.sizes, dit.precision.device, capture)
        bound = 1e-4 if dtype == "fp32" else 3e-2
        for frames in (100, 100, 128, 90, 3000):
            check(dit, [evaluation(dit, frames, frames)], bound)
        for _ in range(3):
            check(dit, [evaluation(dit, 60 + seed, seed) for seed in range(3)], bound)
        assert len(dit.graphs) >= 2, "a capture failed, as the log tells"
        held = torch.cuda.memory_allocated()
        dit.graphs.close()
        assert torch.cuda.memory_allocated() < held


@CUDA
@pytest.mark.parametrize("graphed", [False, True], ids=["launched", "graphed"])
@torch.inference_mode()
def test_neither_a_step_nor_a_prompt_waits_for_the_device(tmp_path: Path, graphed: bool) -> None:
    dit = load(tmp_path, "cuda", "auto")
    if graphed:
        dit.graphs = graphs.on_device(dit.core, dit.sizes, dit.precision.device, packed=True)
    given = [evaluation(dit, 60 + seed, seed) for seed in range(4)]
    references = [torch.zeros(20, dit.config.mel_dim, device=dit.precision.device) for _ in given]
    for _ in range(3):
        dit.velocities(given)
    assert not graphed or len(dit.graphs or ()) == 1
    dit.text.forget()
    torch.cuda.set_sync_debug_mode("error")
    try:
        # Another layout, whose sizes have a graph.
        company = [
            Evaluation(dit.prompt(np.arange(10), reference, one.prompt.frames), one.x, one.t, 2.0)
            for one, reference in zip(given[::-1], references, strict=True)
        ]
        for _ in range(2):
            dit.velocities(company)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@torch.inference_mode()
def test_masked_attention_is_that_of_the_segments() -> None:
    from ishowtts.engines.f5 import attention

    angles = pack.rotary_table(torch.ones(4), MAX_FRAMES, torch.device("cpu"))
    layout = pack.lay_out([5, 9, 2], [True, False, True], angles)
    noise = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, layout.tokens, 8, generator=noise) for _ in range(3))
    wanted = attention.products(q, k, v, layout)
    assert np.allclose(attention.masked(q, k, v, layout).numpy(), wanted.numpy(), atol=1e-6)
