"""What sixteen MP3 listeners cost the engine: its step time while they hear MP3, beside the same listeners with PCM.

    python benches/encoding.py [--streams 16] [--blocks 12] [--block-s 10] [--format mp3] [--out FILE]

One server, hibari with one slot. Every listener asks for a sentence, and for the next when the first would have been
played: real time. One more asks for PCM again and again, so that the engine is never idle. Blocks with PCM and with the
format take turns; both ask for the same texts. Clients are a process of their own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import ishowtts
import numpy as np
from figures import difference, ratio, table, told
from ishowtts.engine import Chunk
from ishowtts.engines.hibari import Hibari
from texts import Texts

GOAL = 1.05


def clients(port: int, streams: int, block_s: float, orders: Connection) -> None:
    """Does each block that is ordered, and answers with how many sentences were heard."""

    def hear(texts: Sequence[str], form: str, paced: bool, start: float, heard: list[float]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        due = start
        for text in texts:
            if (now := time.perf_counter()) >= start + block_s:
                return
            if due > now:
                time.sleep(min(due, start + block_s) - now)
            body = json.dumps({"text": text, "format": form, "cache": False, "stream": True})
            connection.request("POST", "/v1/tts", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            nbytes = len(answer.read())
            assert answer.status == 200, answer.status
            assert nbytes > 1_000, nbytes
            heard.append(nbytes)
            if paced:
                due += len(text) * 0.065

    while (order := orders.recv()) is not None:
        form, texts = order
        heard: list[list[float]] = [[] for _ in texts]
        start = time.perf_counter()
        threads = [
            threading.Thread(
                target=hear,
                # Not all at once: listeners come when they come.
                args=(own, form if index else "pcm", index > 0, start + block_s * 0.02 * index / streams, heard[index]),
            )
            for index, own in enumerate(texts)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        orders.send([len(own) for own in heard])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=12, help="of each of the two")
    parser.add_argument("--block-s", type=float, default=10.0)
    parser.add_argument("--format", default="mp3")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)

    steps_ms: list[float] = []
    step = Hibari.step

    def timed(self: Hibari, slots: Sequence[int]) -> Iterator[Chunk]:
        begun = time.perf_counter()
        yield from step(self, slots)
        steps_ms.append((time.perf_counter() - begun) * 1e3)

    Hibari.step = timed  # type: ignore[method-assign]
    here, there = multiprocessing.get_context("spawn").Pipe()
    texts = Texts(0)
    p50_ms: dict[str, list[float]] = {"pcm": [], given.format: []}
    sentences: dict[str, int] = dict.fromkeys(p50_ms, 0)
    with ishowtts.Server("hibari", options={"slots": 1}, settings={"log.level": "off"}) as server:
        child = multiprocessing.get_context("spawn").Process(
            target=clients, args=(server.port, given.streams, given.block_s, there)
        )
        child.start()
        for block in range(given.blocks + 1):
            # The one that is never idle says short sentences, about 18 ms each.
            own = [
                [texts.sentence() for _ in range(2_000)],
                *([texts.sentence() for _ in range(60)] for _ in range(given.streams)),
            ]
            forms = list(p50_ms) if block % 2 else list(p50_ms)[::-1]
            for form in forms:
                steps_ms.clear()
                here.send((form, own))
                heard = here.recv()
                if block:  # The first warms up.
                    p50_ms[form].append(float(np.median(steps_ms)))
                    sentences[form] += sum(heard[1:])
        here.send(None)
        child.join()
    grown = ratio(p50_ms[given.format], p50_ms["pcm"])
    more_ms = difference(p50_ms[given.format], p50_ms["pcm"])
    rows = [[form, float(np.median(values)), sentences[form]] for form, values in p50_ms.items()]
    print(table(f"{given.streams} listeners, a step of the engine", ["", "p50 ms", "sentences heard"], rows))
    met = "met" if grown["median"] <= GOAL else "missed"
    print(f"\n{given.format} / pcm: {told(grown)}, {told(more_ms, ' ms')}; goal ≤ {GOAL}: {met}")
    if given.out:
        figures = {"streams": given.streams, "step_p50_ms": p50_ms, "ratio": grown, "difference_ms": more_ms}
        given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
