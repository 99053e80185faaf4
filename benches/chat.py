"""From a chat message to its first sound at the overlay, and from its deletion to the overlay's order to stop.

    .venv/bin/python benches/chat.py [--rounds 200] [--engine hibari] [--engine fake] [--out FILE]

Messages come one at a time, each after the one before was finished, so that nothing waits for its turn. What is
measured is the way itself. By IRC: from the frame with the message being put on the server's socket by a relay, with a
real ngircd behind it and Twitch's TLS, WebSocket and tags before it, through the parser, the rules, the database (each
message is on the disk before it is said), the overlay's stream and its request for the sound. By HTTP: from the request
to `POST /v1/chat/enqueue`. Beside them, in turn, the same kind of sentence by `POST /v1/tts`, which is what the sound
costs without any of this. Then messages are deleted while they play.

The relay, the viewer, the overlay and the server share the machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import programs
from figures import difference, percentiles, told
from texts import Texts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from chat_relay import Relay, Viewer
from overlay import Heard, Overlay, Stream, post

WARM_UP = 5


def settings(relay: Relay) -> list[str]:
    """A server that listens to the relay. The rules are on, but the one that counts a viewer's messages."""
    assigned = {
        "log.level": "error",
        "chat.twitch.irc_url": relay.url,
        "chat.twitch.channel": "bar",
        "chat.connect.ca_file": str(relay.authority),
        "chat.connect.reconnect_s": 0.05,
        "chat.rules.user_max_per_minute": 0,
    }
    return [argument for key, value in assigned.items() for argument in ("--set", f"{key}={value}")]


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


def item_of(heard: Heard, text: str) -> dict[str, Any] | None:
    """The item that was told with a text, if it was."""
    told = (event for _, event in reversed(heard.events) if event["type"] == "item" and event["text"] == text)
    return next(told, None)


def first_sounds(port: Callable[[], int], home: Path, relay: Relay, viewer: Viewer, rounds: int) -> dict[str, Any]:
    texts = Texts(7)
    irc_ms: list[float] = []
    chat_ms: list[float] = []
    direct_ms: list[float] = []
    enqueue_ms: list[float] = []
    with Overlay(port, home / "finished") as overlay:
        overlay.wait(lambda heard: bool(heard.events), "hello")
        for index in range(rounds + WARM_UP):
            by_irc, by_http, other = texts.sentence(), texts.sentence(), texts.sentence()
            viewer.say(by_irc)
            overlay.wait(
                lambda heard, text=by_irc: (found := item_of(heard, text)) and found["id"] in heard.counted, "it"
            )
            said = item_of(overlay.heard, by_irc)
            assert said is not None

            message = {"platform": "youtube", "user": f"Viewer {index}", "text": by_http}
            at = time.perf_counter()
            status, item = post(port(), "/v1/chat/enqueue", message)
            answered = time.perf_counter()
            assert status == 202, item
            assert item["accepted"], item
            overlay.wait(lambda heard, name=item["id"]: name in heard.counted, "it is heard")
            plain = direct(port(), other, item["voice"])
            if index >= WARM_UP:
                irc_ms.append((overlay.heard.first_byte_at[said["id"]] - relay.sent_at[by_irc]) * 1e3)
                chat_ms.append((overlay.heard.first_byte_at[item["id"]] - at) * 1e3)
                enqueue_ms.append((answered - at) * 1e3)
                direct_ms.append(plain)
        assert not overlay.errors, overlay.errors
    return {
        "rounds": rounds,
        **percentiles(irc_ms, "irc_first_sound_ms"),
        **percentiles(chat_ms, "enqueue_first_sound_ms"),
        **percentiles(direct_ms, "direct_ms"),
        **percentiles(enqueue_ms, "enqueue_stored_ms"),
        "irc_adds_ms": difference(irc_ms, direct_ms),
        "enqueue_adds_ms": difference(chat_ms, direct_ms),
    }


def stops(port: Callable[[], int], relay: Relay, viewer: Viewer, rounds: int) -> dict[str, Any]:
    """From CLEARMSG on the server's socket to the overlay's order to stop, of a message that is playing."""
    texts = Texts(8)
    stop_ms: list[float] = []
    with Stream(port(), "overlay=deleted") as stream:
        for index in range(rounds + WARM_UP):
            text = texts.sentence()
            viewer.say(text)
            item = stream.next("item")
            post(port(), "/v1/chat/ack", {"overlay": "deleted", "id": item["id"], "state": "started"})
            sent_at = relay.withdraw(viewer.nick, text, viewer.channel)
            assert stream.next("stop")["id"] == item["id"]
            if index >= WARM_UP:
                stop_ms.append((time.perf_counter() - sent_at) * 1e3)
    return {**percentiles(stop_ms, "stop_ms"), "stop_ms_worst": round(max(stop_ms), 3)}


def measure(rounds: int, engine: str) -> dict[str, Any]:
    home = Path(tempfile.mkdtemp(prefix="ishowtts-chat-"))
    with Relay(home) as relay:
        server = programs.at_home(home, ["--engine", engine, *settings(relay)])
        try:
            while not relay.clients:
                time.sleep(0.01)
            viewer = Viewer(relay, "ann", "bar")
            figures = first_sounds(lambda: server.port, home, relay, viewer, rounds)
            # The overlay before has the right to come back for so long.
            time.sleep(2.5)
            figures |= stops(lambda: server.port, relay, viewer, rounds)
        finally:
            server.end()
    for name, words in [
        ("irc_first_sound_ms", "first sound after a message by IRC"),
        ("enqueue_first_sound_ms", "first sound after one by enqueue  "),
        ("direct_ms", "the same by POST /v1/tts          "),
        ("enqueue_stored_ms", "enqueue, stored                   "),
        ("stop_ms", "stop after a deletion by IRC      "),
    ]:
        print(f"{engine}: {words} p50 {figures[f'{name}_p50']:.2f} ms, p99 {figures[f'{name}_p99']:.2f} ms")
    print(f"{engine}: what IRC and chat add to speaking  {told(figures['irc_adds_ms'], ' ms')}")
    print(f"{engine}: what the chat adds to speaking     {told(figures['enqueue_adds_ms'], ' ms')}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--engine", action="append", help="may be repeated")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    threading.stack_size(1 << 20)
    engines = arguments.engine or ["fake", "hibari"]
    machine = programs.machine()
    figures = {engine: measure(arguments.rounds, engine) for engine in engines}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"machine": machine, "chat": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
