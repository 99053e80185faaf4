"""What one would write instead: the same engine behind FastAPI and uvicorn, in three orders.

`none`: every request in a thread of its own, all at once. `lock`: one request at a time. `least-served-first`: one
thread speaks a sentence at a time, for the request that has had the fewest, which is the order of our scheduler for
streams; what still differs from our server then is Rust.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import itertools
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response, StreamingResponse
from hibari import Hibari
from pydantic import BaseModel

ORDERS = ("none", "lock", "least-served-first")


class SpeechRequest(BaseModel):
    input: str
    voice: str | None = None
    response_format: str = "pcm"
    stream: bool = True
    cache: bool = False


def s16(pcm: npt.NDArray[np.float32]) -> bytes:
    return (np.clip(pcm, -1, 1) * 32767.0).astype("<i2").tobytes()


class Threads:
    """Starlette runs the generator in its thread pool: onnxruntime releases the GIL, the rest fights for it."""

    def __init__(self, tts: Hibari, lock: threading.Lock | None) -> None:
        self._tts = tts
        self._lock: contextlib.AbstractContextManager[object] = lock or contextlib.nullcontext()

    def speak(self, text: str) -> Iterator[bytes]:
        with self._lock:
            for sentence in self._tts.split_sentences(text):
                for pcm in self._tts.stream(sentence, seed=0):
                    yield s16(pcm)


@dataclass(order=True)
class Waiting:
    sentences_sent: int
    arrival: int
    sentences: list[str] = field(compare=False)
    chunks: asyncio.Queue[bytes | None] = field(compare=False)
    gone: bool = field(default=False, compare=False)


class LeastServedFirst:
    """One thread with a heap of requests; sound goes back to the event loop."""

    def __init__(self, tts: Hibari) -> None:
        self._tts = tts
        self._heap: list[Waiting] = []
        self._changed = threading.Condition()
        self._arrivals = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        threading.Thread(target=self._run, daemon=True).start()

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        self._loop = asyncio.get_running_loop()
        waiting = Waiting(0, next(self._arrivals), self._tts.split_sentences(text), asyncio.Queue())
        with self._changed:
            heapq.heappush(self._heap, waiting)
            self._changed.notify()
        try:
            while (chunk := await waiting.chunks.get()) is not None:
                yield chunk
        finally:
            waiting.gone = True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._heap)
                waiting = heapq.heappop(self._heap)
            if waiting.gone or self._loop is None:
                continue
            for pcm in self._tts.stream(waiting.sentences[waiting.sentences_sent], seed=0):
                self._loop.call_soon_threadsafe(waiting.chunks.put_nowait, s16(pcm))
            waiting.sentences_sent += 1
            if waiting.sentences_sent == len(waiting.sentences):
                self._loop.call_soon_threadsafe(waiting.chunks.put_nowait, None)
            else:
                with self._changed:
                    heapq.heappush(self._heap, waiting)


def application(order: str) -> FastAPI:
    tts = Hibari(threads=1)
    list(tts.stream("Warm up.", seed=0))
    speaker: Threads | LeastServedFirst
    if order == "least-served-first":
        speaker = LeastServedFirst(tts)
    else:
        speaker = Threads(tts, threading.Lock() if order == "lock" else None)
    app = FastAPI()

    @app.get("/readyz")
    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok")

    @app.post("/v1/audio/speech")
    async def speech(request: SpeechRequest) -> StreamingResponse:
        return StreamingResponse(speaker.speak(request.input), media_type="audio/pcm")

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--order", choices=ORDERS, required=True)
    order = parser.parse_args().order
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = application(order)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()
