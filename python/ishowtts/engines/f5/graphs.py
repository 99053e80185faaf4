"""CUDA graphs of the DiT's core, one for each pair of slots and tokens, both rounded up: a step of one request is
hundreds of launches, which take longer than the work. What a graph reads lies in buffers that all of them share; tokens
beyond those of a step are a segment of their own that nobody hears. On the engine's thread.

A pair is captured the second time it comes, so that what comes once is not; the least recently used is let go. All
share one memory pool. How to capture is handed in, so that all else runs without a GPU.
"""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch

from ishowtts.engines.f5.pack import Pack

LOG = logging.getLogger(__name__)
MOST_TOKENS = 8192
"""Beyond, the work takes longer than its launches."""
MOST_SLOTS = 16
MOST_GRAPHS = 32
USUAL = tuple((1, tokens) for tokens in (*range(768, 2048, 128), *range(2048, 3073, 256)))
"""One request with guidance, 4 to 16 s of reference and speech: captured while the engine loads."""
_LEAST_STEP = 128
_SIXTEENTHS = 4
"""Tokens are rounded up to one of so many bits: by an eighth at most."""

Core = Callable[[torch.Tensor, torch.Tensor, Pack], torch.Tensor]
Replay = Callable[[], None]
Capture = Callable[[Callable[[], torch.Tensor]], tuple[Replay, torch.Tensor]]
"""Runs the work, captures it, and gives what does it again and where its result then lies."""
Key = tuple[int, int]


def bucket(tokens: int) -> int:
    """``tokens`` rounded up, by 127 or by an eighth at most."""
    step = max(_LEAST_STEP, 1 << max(0, (tokens - 1).bit_length() - _SIXTEENTHS))
    return -(-tokens // step) * step


def slots_bucket(slots: int) -> int:
    """Powers of two."""
    return 1 << (slots - 1).bit_length()


@dataclass(frozen=True)
class Sizes:
    """Of the model: what the buffers are made for."""

    dim: int
    rows: int
    """Modulations of one request."""
    half_head: int
    reach: int
    """Of the positional convolution."""


class _Buffers:
    """The largest of each; a graph reads the beginning."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        long = {"dtype": torch.int64, "device": device}
        self.hidden = torch.zeros(MOST_TOKENS, sizes.dim, device=device)
        self.rows = torch.zeros(MOST_SLOTS, sizes.rows, sizes.dim, device=device)
        self.cis = torch.zeros(MOST_TOKENS, sizes.half_head, 2, device=device)
        self.index, self.places = torch.zeros(MOST_TOKENS, **long), torch.zeros(MOST_TOKENS, **long)
        self.positions = torch.zeros(MOST_TOKENS, **long)
        self.cumulative = torch.zeros(2 * MOST_SLOTS + 2, dtype=torch.int32, device=device)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in vars(self).values())


class Graphs:
    """See the module's header."""

    def __init__(
        self, core: Core, sizes: Sizes, device: torch.device, capture: Capture, most_slots: int = MOST_SLOTS
    ) -> None:
        self._core = core
        self._most_slots = most_slots
        self._sizes = sizes
        self._capture = capture
        self._buffers: _Buffers | None = _Buffers(sizes, device)
        self._graphs: OrderedDict[Key, tuple[Replay, torch.Tensor]] = OrderedDict()
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self._loaded: tuple[Key, Pack] | None = None
        self._capturing = True

    def __len__(self) -> int:
        return len(self._graphs)

    @property
    def nbytes(self) -> int:
        """Of the buffers; what graphs take is in the device's pool."""
        return 0 if self._buffers is None else self._buffers.nbytes

    def run(self, hidden: torch.Tensor, rows: Sequence[torch.Tensor], pack: Pack) -> torch.Tensor | None:
        """As the core does; the result is overwritten by the next run. None: it is too large for the buffers.

        What has no graph yet is rounded up all the same, so that its first run is no other sound than the next.
        """
        buffers = self._buffers
        if buffers is None or pack.tokens > MOST_TOKENS or len(rows) > self._most_slots:
            return None
        key = (slots_bucket(len(rows)), bucket(pack.tokens))
        self._fill(buffers, key, hidden, rows, pack)
        graph = self._graphs.get(key)
        if graph is not None:
            self._graphs.move_to_end(key)
        elif self._again(key):
            graph = self._captured(buffers, key)
        if graph is None:
            return self._work(buffers, key)()[: pack.tokens]
        graph[0]()
        return graph[1][: pack.tokens]

    def warm(self, keys: Sequence[Key]) -> None:
        """Captures before anyone waits for it, the largest first: the others then find room in its memory."""
        for key in sorted(keys, key=lambda key: key[1], reverse=True):
            buffers = self._buffers
            if buffers is not None and self._capturing and key not in self._graphs:
                self._loaded = None
                buffers.cumulative.fill_(key[1])
                buffers.cumulative[0] = 0
                torch.arange(key[1], out=buffers.places[: key[1]])
                self._captured(buffers, key)

    def close(self) -> None:
        """Lets all of it go; nothing runs through graphs any more."""
        self._graphs.clear()
        self._loaded = self._buffers = None

    def _again(self, key: Key) -> bool:
        """Whether it has come before."""
        if key in self._seen:
            return self._capturing
        self._seen[key] = None
        while len(self._seen) > 4 * MOST_GRAPHS:
            self._seen.popitem(last=False)
        return False

    def _work(self, buffers: _Buffers, key: Key) -> Callable[[], torch.Tensor]:
        pack = self._pack(buffers, key)
        hidden, rows = buffers.hidden[: key[1]], buffers.rows[: key[0]]
        return lambda: self._core(hidden, rows, pack)

    def _captured(self, buffers: _Buffers, key: Key) -> tuple[Replay, torch.Tensor] | None:
        try:
            graph = self._capture(self._work(buffers, key))
        except Exception as error:
            # Also out of memory: the step is then done without, and so are all that have no graph yet.
            LOG.warning("no more CUDA graphs: %s", str(error).strip()[:300] or type(error).__name__)
            self._capturing = False
            return None
        self._graphs[key] = graph
        while len(self._graphs) > MOST_GRAPHS:
            self._graphs.popitem(last=False)
        return graph

    def _pack(self, buffers: _Buffers, key: Key) -> Pack:
        """Over the buffers' beginning."""
        slots, tokens = key
        segments = 2 * slots + 1
        pack = Pack(
            spans=[(0, tokens)],
            segments=[],
            tokens=tokens,
            positions=buffers.positions[:tokens],
            cis=buffers.cis[:tokens],
            index=buffers.index[:tokens],
            cumulative=buffers.cumulative[: segments + 1],
            longest=tokens,
            fixed=True,
        )
        pack.set_gaps(buffers.places[:tokens], tokens + self._sizes.reach * (segments + 1))
        return pack

    def _fill(
        self, buffers: _Buffers, key: Key, hidden: torch.Tensor, rows: Sequence[torch.Tensor], pack: Pack
    ) -> None:
        used = pack.tokens
        buffers.hidden[:used].copy_(hidden)
        torch.stack(list(rows), out=buffers.rows[: len(rows)])
        if self._loaded is not None and self._loaded[0] == key and self._loaded[1] is pack:
            return
        self._loaded = key, pack
        tokens, segments = key[1], len(pack.segments)
        places, _ = pack.gapped(self._sizes.reach)
        # What the last step left beyond this one's tokens may be anything.
        buffers.hidden[used:tokens].zero_()
        buffers.cis[:used].copy_(pack.cis)
        buffers.cis[used:tokens].zero_()
        buffers.index[:used].copy_(pack.index)
        buffers.index[used:tokens].zero_()
        buffers.places[:used].copy_(places)
        beyond = self._sizes.reach * (segments + 1)
        torch.arange(used + beyond, tokens + beyond, out=buffers.places[used:tokens])
        # The rest is one more segment; those that are left have no tokens.
        buffers.cumulative[: segments + 1].copy_(pack.cumulative)
        buffers.cumulative[segments + 1 : 2 * key[0] + 2].fill_(tokens)


def on_device(core: Core, sizes: Sizes, device: torch.device, packed: bool) -> Graphs:
    """``packed``: attention costs no more for segments that share a step; else only steps of one request gain."""
    most_slots = MOST_SLOTS if packed else 1
    return Graphs(core, sizes, device, CudaCapture(device), most_slots)


class CudaCapture:
    """``Capture`` on a device: after two runs beside it, as libraries set themselves up in the first ones."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def __call__(self, work: Callable[[], torch.Tensor]) -> tuple[Replay, torch.Tensor]:
        with torch.cuda.device(self._device):
            here = torch.cuda.current_stream()
            self._stream.wait_stream(here)
            with torch.cuda.stream(self._stream):
                for _ in range(2):
                    work()
            here.wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.stream(self._stream), _no_collection():
                # Not with torch.cuda.graph: that empties the allocator's cache, for which the device is waited for.
                # Other threads (voices are prepared on one) may use the device meanwhile.
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    out = work()
                    graph.capture_end()
                except BaseException:
                    self._abandon(graph)
                    raise
        return graph.replay, out

    def _abandon(self, graph: torch.cuda.CUDAGraph) -> None:
        """What is left of a failed capture would fail, too, and not tell why."""
        try:
            graph.capture_end()
        except RuntimeError:
            # It does not reach the allocator's end of the capture, without which freed memory that two streams have
            # used is never given out again.
            end = getattr(torch._C, "_cuda_endAllocateToPool", None)
            if end is not None:
                with suppress(RuntimeError):
                    end(self._device.index or 0, self._pool)


@contextmanager
def _no_collection() -> Iterator[None]:
    """What the garbage collector frees on a device would end a capture."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
