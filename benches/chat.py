"""From a chat message to its first sound at the overlay.

    .venv/bin/python benches/chat.py [--rounds 200] [--engine hibari]

Messages come one at a time, each after the one before was finished, so that nothing waits for its turn. What is
measured is the way itself, through the rules, the database (each message is on the disk before it is said), the
overlay's stream and its request for the sound. Beside each, in turn, the same kind of sentence by `POST /v1/tts`,
which is what the sound costs without any of this.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import programs
from figures import difference, percentiles, told
from texts import Texts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from overlay import Overlay, post


def direct(port: int, text: str, voice: str | None) -> float:
    """Milliseconds to the first byte of sound."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"text": text, "voice": voice, "format": "pcm"})
    at = time.perf_counter()
    connection.request("POST", "/v1/tts", body.encode())
    response = connection.getresponse()
    assert response.status == 200, response.read()
    response.read(1)
    ms = (time.perf_counter() - at) * 1e3
    response.read()
    connection.close()
    return ms


def measure(rounds: int, engine: str) -> dict[str, object]:
    home = Path(tempfile.mkdtemp(prefix="ishowtts-chat-"))
    server = programs.at_home(home, ["--engine", engine, "--set", "log.level=error"])
    texts = Texts(7)
    chat_ms: list[float] = []
    direct_ms: list[float] = []
    enqueue_ms: list[float] = []
    try:
        with Overlay(lambda: server.port, home / "finished") as overlay:
            overlay.wait(lambda heard: bool(heard.events), "hello")
            for index in range(rounds + 5):
                text, other = texts.sentence(), texts.sentence()
                message = {"platform": "twitch", "user": f"Viewer {index}", "text": text}
                at = time.perf_counter()
                status, item = post(server.port, "/v1/chat/enqueue", message)
                answered = time.perf_counter()
                assert status == 202, item
                assert item["accepted"], item
                overlay.wait(lambda heard, name=item["id"]: name in heard.counted, "it is heard")
                plain = direct(server.port, other, item["voice"])
                if index >= 5:
                    chat_ms.append((overlay.heard.first_byte_at[item["id"]] - at) * 1e3)
                    enqueue_ms.append((answered - at) * 1e3)
                    direct_ms.append(plain)
    finally:
        server.end()
    extra = difference(chat_ms, direct_ms)
    print(f"{engine}: first sound after a message {percentiles(chat_ms, 'ms')}")
    print(f"{engine}: the same by POST /v1/tts    {percentiles(direct_ms, 'ms')}")
    print(f"{engine}: what the chat adds          {told(extra, ' ms')}")
    print(f"{engine}: enqueue, stored             {percentiles(enqueue_ms, 'ms')}")
    return {
        "engine": engine,
        **percentiles(chat_ms, "first_sound_ms"),
        **percentiles(direct_ms, "direct_ms"),
        **percentiles(enqueue_ms, "enqueue_ms"),
        "added_ms": extra,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--engine", default="hibari")
    arguments = parser.parse_args()
    threading.stack_size(1 << 20)
    print(json.dumps(measure(arguments.rounds, arguments.engine), indent=2))


if __name__ == "__main__":
    main()
