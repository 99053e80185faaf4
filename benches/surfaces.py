"""What each way in costs over the bare job: three sentences to the last byte, with an engine that costs nothing.

The job is `Speaker.stream` in this process; the server runs beside it, as installed. All take turns; compared are pairs
of one round, medians with p50 and p99 of each.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import ishowtts
from websockets.sync.client import connect

TEXT = "The first sentence of number {} comes at once. The second one follows it. The third one ends it all."
OPTIONS = {"audio_ms_per_char": 10}


def posted(connection: http.client.HTTPConnection, path: str, **fields: object) -> None:
    connection.request("POST", path, json.dumps(fields), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body[:200]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    quiet = {"log.level": "off"}
    with (
        ishowtts.Speaker("fake", options=OPTIONS, settings=quiet) as speaker,
        ishowtts.Server("fake", options=OPTIONS, settings=quiet) as server,
        connect(f"ws://127.0.0.1:{server.port}/v1/ws", max_size=None) as socket,
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)

        def read(text: str) -> None:
            connection.request("GET", "/v1/tts?" + urlencode({"text": text, "format": "pcm", "cache": "false"}))
            assert len(connection.getresponse().read()) > 1_000

        def written(text: str) -> None:
            context = f"c{hash(text) & 0xFFFFFF}"
            socket.send(json.dumps({"type": "start", "context": context, "text": text, "end": True, "cache": False}))
            while True:
                frame = socket.recv()
                told = json.loads(frame) if isinstance(frame, str) else {}
                if told.get("type") in ("done", "error"):
                    assert told["type"] == "done", told
                    return

        plain = {"response_format": "pcm", "cache": False}
        native = {"format": "pcm", "cache": False}
        ways: dict[str, Callable[[str], object]] = {
            "bare job (Python stream)": lambda text: list(speaker.stream(text, cache=False)),
            "Python speak": lambda text: speaker.speak(text, cache=False),
            "/v1/audio/speech": lambda text: posted(connection, "/v1/audio/speech", input=text, **plain),
            "/v1/audio/speech, SSE": lambda text: posted(
                connection, "/v1/audio/speech", input=text, stream_format="sse", **plain
            ),
            "POST /v1/tts": lambda text: posted(connection, "/v1/tts", text=text, **native),
            "GET /v1/tts": read,
            "/v1/tts, SSE": lambda text: posted(connection, "/v1/tts", text=text, stream_format="sse", **native),
            "/v1/captions": lambda text: posted(connection, "/v1/captions", text=text, cache=False),
            "/api/tts": lambda text: posted(connection, "/api/tts", text=text),
            "/v1/ws": written,
        }
        elapsed_ms: dict[str, list[float]] = {name: [] for name in ways}
        names = list(ways)
        for round_number in range(given.rounds + 20):
            turn = round_number % len(names)
            for name in names[turn:] + names[:turn]:
                text = TEXT.format(f"{round_number} {name}")
                begun = time.perf_counter()
                ways[name](text)
                if round_number >= 20:
                    elapsed_ms[name].append((time.perf_counter() - begun) * 1e3)
    base = elapsed_ms[names[0]]
    rows = {
        name: {
            "p50_ms": round(statistics.median(times), 3),
            "p99_ms": round(sorted(times)[int(len(times) * 0.99)], 3),
            "over_job_ms": round(statistics.median(a - b for a, b in zip(times, base, strict=True)), 3),
        }
        for name, times in elapsed_ms.items()
    }
    for name, row in rows.items():
        print(
            f"{name:28} p50 {row['p50_ms']:8.3f}  p99 {row['p99_ms']:8.3f}  over the job {row['over_job_ms']:8.3f} ms"
        )
    if given.out:
        given.out.write_text(json.dumps({"rounds": given.rounds, "surfaces": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
