"""Text over `/v1/ws` as a language model writes it: how soon it sounds, and whether it goes on without a gap.

    .venv/bin/python benches/ws.py [--rate 20] [--rounds 6] [--talkers 6] [--piece 1]

A simulated model writes characters at a steady rate. A clause is complete when its mark is written: the first sound is
counted from there, though the server cannot know before the next characters that the mark is one. The listener plays in
real time from the first sound on. A gap is the server's if a whole clause had been there for 300 ms and was not heard;
else the text had not come. Then the surface itself: whole texts over one connection beside POST /v1/audio/speech.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

import programs
from figures import difference, percentiles, table, told
from texts import Texts
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_sync

BYTES_PER_S = 48_000
MIN_CLAUSE_CHARS = 12
GRACE_S = 0.3
GOAL_MS = 300

REPLIES = [
    "Sure, here is a short answer to that. Bread rises because yeast eats the sugar in the dough, and what it leaves "
    "behind is gas. The gas is caught by the dough, so the loaf grows until the heat of the oven sets it.",
    "The short answer is no, although it depends on what you mean. Most cats do not mind the dark at all, since their "
    "eyes gather much more light than ours. They see less colour, though, and nothing that is very close.",
    "You could take the early train, which leaves at half past six and arrives before nine. There is a later one too, "
    "but it stops everywhere. If you like the sea, sit on the left side. The view is worth the crowd.",
    "First of all, take a deep breath. Exams feel larger the night before than they do in the morning, and you have "
    "done the work already. Read your notes once more, slowly, and then go to bed early. Sleep helps more.",
    "That is a good question. Glass is a solid, not a slow liquid, whatever old windows seem to show. Panes were made "
    "uneven, and people put the thicker side at the bottom. After centuries it still is where they put it.",
    "I found three places that are open tonight. The nearest is a small kitchen by the bridge, known for its soup. The "
    "second one is loud but cheap, and the third has a garden. Shall I call one of them, or do you want to see more?",
]  # fmt: skip


@dataclass
class Listener:
    """Plays in real time from the first sound on."""

    clauses: list[tuple[int, float]] = field(default_factory=list)
    """Where whole clauses end, and when that was written."""
    first_at: float | None = None
    dry_at: float = 0.0
    heard_chars: int = 0
    gaps_ms: list[float] = field(default_factory=list)
    own_gaps_ms: list[float] = field(default_factory=list)

    def hear(self, at: float, nbytes: int) -> None:
        if self.first_at is None:
            self.first_at = self.dry_at = at
        if at > self.dry_at + 1e-3:
            gap_ms = (at - self.dry_at) * 1e3
            self.gaps_ms.append(gap_ms)
            known = [end for end, written in self.clauses if written + GRACE_S <= self.dry_at]
            if known and known[-1] > self.heard_chars:
                self.own_gaps_ms.append(gap_ms)
        self.dry_at = max(self.dry_at, at) + nbytes / BYTES_PER_S


def clause_ends(text: str) -> list[int]:
    """Characters up to and with each mark, as far as enough stands before it."""
    marks = [match.end() for match in re.finditer(r"[.,;:!?](?= |$)", text)]
    return [end for end in marks if end >= MIN_CLAUSE_CHARS]


async def talk(port: int, text: str, rate: float, piece: int, delay_s: float) -> tuple[float, Listener]:
    """One reply written and heard; the first sound after its first clause, ms."""
    await asyncio.sleep(delay_s)
    listener = Listener()
    ends = clause_ends(text)
    async with connect(f"ws://127.0.0.1:{port}/v1/ws", max_size=None, compression=None) as socket:
        await socket.send(json.dumps({"type": "start"}))

        async def write() -> None:
            begun = time.perf_counter()
            for at in range(0, len(text), piece):
                part = text[at : at + piece]
                await asyncio.sleep(max(0.0, begun + (at + len(part)) / rate - time.perf_counter()))
                await socket.send(json.dumps({"type": "text", "text": part}))
                written = time.perf_counter()
                listener.clauses += [(end, written) for end in ends if at < end <= at + len(part)]
            await socket.send(json.dumps({"type": "end"}))

        writing = asyncio.create_task(write())
        async for message in socket:
            at = time.perf_counter()
            if isinstance(message, bytes):
                listener.hear(at, len(message))
                continue
            event = json.loads(message)
            if event["type"] == "caption":
                # Comes before the segment's last sound: what is heard up to the next gap includes it.
                listener.heard_chars = event["end_char"]
            elif event["type"] == "done":
                break
            elif event["type"] == "error":
                raise RuntimeError(event)
        await writing
    assert listener.first_at is not None
    return (listener.first_at - listener.clauses[0][1]) * 1e3, listener


async def dictation(port: int, options: argparse.Namespace) -> dict[str, Any]:
    latencies, gaps, own, spans_s = [], [], [], 0.0
    for round_ in range(options.rounds):
        texts = [REPLIES[(round_ + talker) % len(REPLIES)] for talker in range(options.talkers)]
        outcomes = await asyncio.gather(
            *(talk(port, text, options.rate, options.piece, 0.37 * index) for index, text in enumerate(texts))
        )
        for latency, listener in outcomes:
            latencies.append(latency)
            gaps += listener.gaps_ms
            own += listener.own_gaps_ms
            spans_s += listener.dry_at - (listener.first_at or 0.0)
    return {
        **percentiles(latencies, "first_sound_ms"),
        "worst_ms": round(max(latencies), 1),
        "talks": len(latencies),
        "speech_s": round(spans_s, 1),
        "gaps_of_the_text": len(gaps) - len(own),
        "gaps_of_the_text_ms": round(sum(gaps) - sum(own), 1),
        "gaps_of_the_server": len(own),
        "worst_gap_of_the_server_ms": round(max(own, default=0.0), 1),
    }


def surfaces(port: int, pairs: int) -> dict[str, Any]:
    """The same new texts over a connection that stays, and as requests of their own; who goes first alternates."""
    texts = Texts(seed=time.time_ns())
    measured: dict[str, list[float]] = {"ws": [], "http": [], "ws_total": [], "http_total": []}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with connect_sync(f"ws://127.0.0.1:{port}/v1/ws", max_size=None, compression=None) as socket:

        def over_ws(text: str) -> None:
            begun = time.perf_counter()
            socket.send(json.dumps({"type": "start", "text": text, "end": True, "cache": False, "captions": False}))
            first = 0.0
            while True:
                message = socket.recv()
                if isinstance(message, bytes):
                    first = first or time.perf_counter()
                elif json.loads(message)["type"] == "done":
                    break
            measured["ws"].append((first - begun) * 1e3)
            measured["ws_total"].append((time.perf_counter() - begun) * 1e3)

        def over_http(text: str) -> None:
            begun = time.perf_counter()
            body = json.dumps({"input": text, "response_format": "pcm", "cache": False})
            connection.request("POST", "/v1/audio/speech", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read1(1)
            measured["http"].append((time.perf_counter() - begun) * 1e3)
            response.read()
            measured["http_total"].append((time.perf_counter() - begun) * 1e3)

        for pair in range(pairs + 5):
            text = texts.text(3)
            for ask in (over_ws, over_http) if pair % 2 else (over_http, over_ws):
                ask(text)
    warm = {name: values[5:] for name, values in measured.items()}
    return {
        **percentiles(warm["ws"], "ws_ttfa_ms"),
        **percentiles(warm["http"], "http_ttfa_ms"),
        "ttfa_over_http_ms": difference(warm["ws"], warm["http"]),
        "total_over_http_ms": difference(warm["ws_total"], warm["http_total"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20.0, help="characters a second (default 20)")
    parser.add_argument("--piece", type=int, default=1, help="characters of one message (default 1)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of the model writing (default 6)")
    parser.add_argument("--talkers", type=int, default=6, help="texts written at the same time (default 6)")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of the comparison with HTTP (default 100)")
    options = parser.parse_args()
    hardware = programs.machine()
    load = hardware["load_average"]
    print(f"{hardware['cpu']}, {hardware['cores']} cores, Python {hardware['python']}, load {load:.1f}")
    service = programs.ours()
    try:
        written = asyncio.run(dictation(service.port, options))
        beside = surfaces(service.port, options.pairs)
    finally:
        service.end()
    rows = [[name, value] for name, value in written.items()]
    title = f"A text written at {options.rate:g} characters a second, {options.talkers} at a time"
    print(table(title, ["", ""], rows))
    rows = [[name, told(value) if isinstance(value, dict) else value] for name, value in beside.items()]
    print(table(f"Three sentences, {options.pairs} pairs", ["", ""], rows))
    met = written["first_sound_ms_p99"] <= GOAL_MS and written["gaps_of_the_server"] == 0
    print(f"\nfirst sound p99 within {GOAL_MS} ms of the first whole clause, no gap while text keeps ahead: "
          f"{'yes' if met else 'NO'}")  # fmt: skip


if __name__ == "__main__":
    main()
