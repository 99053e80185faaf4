"""An overlay without a browser: it reads the chat's stream, fetches the sound, acknowledges, and comes back.

It keeps the ids that it finished in a file, as a page keeps them in its local storage, so that what was said is not
said again by the next one of the same name. Only the standard library: tests and measurements share it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]

TIMEOUT_S = 60.0
RETRY_S = 0.02
STOP_MS = 200
"""A message that is taken back while it plays must be silent by then."""


@dataclass
class Heard:
    """What an overlay saw and did, across its reconnects."""

    events: list[tuple[float, Event]] = field(default_factory=list)
    """With the time (`time.perf_counter`) at which each came."""
    first_byte_at: dict[str, float] = field(default_factory=dict)
    """Of an item's sound."""
    finished: list[str] = field(default_factory=list)
    """Items that were played to their end, in order."""
    counted: list[str] = field(default_factory=list)
    """Items whose end the server took for the first one."""


class Stream:
    """One connection to `/v1/chat/stream`."""

    def __init__(self, port: int, query: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self.connection.request("GET", f"/v1/chat/stream?{query}")
        self.response = self.connection.getresponse()
        assert self.response.status == 200, (self.response.status, self.response.read())

    def events(self) -> Iterator[Event]:
        """To the end of the connection."""
        while line := self.response.readline():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def next(self, type_: str | None = None) -> Event:
        """The next event, or the next one of a type."""
        for event in self.events():
            if type_ is None or event["type"] == type_:
                return event
        raise AssertionError("the stream has ended")

    def close(self) -> None:
        # The response holds the socket open for as long as it is read.
        with contextlib.suppress(OSError):
            if self.connection.sock is not None:
                self.connection.sock.shutdown(2)
        self.connection.close()
        self.response.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def post(port: int, path: str, body: object = None, timeout_s: float = TIMEOUT_S) -> tuple[int, Any]:
    """Status and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        data = b"" if body is None else json.dumps(body).encode()
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        return response.status, json.loads(answer) if answer else None
    finally:
        connection.close()


def until_stop_ms(stream: Stream, port: int, name: str, path: str, body: object = None) -> tuple[float, Any]:
    """From a request to the stop of an item that it asks for, and the answer, which may come later than that."""
    answers: list[tuple[int, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(post(port, path, body)))
    asked_at = time.perf_counter()
    asking.start()
    stopped = stream.next("stop")
    took_ms = (time.perf_counter() - asked_at) * 1e3
    asking.join()
    ((status, answer),) = answers
    assert (status, stopped["id"]) == (200, name), (stopped, answer)
    return took_ms, answer


class Overlay:
    """Plays what it is told, in its own thread, until it is closed. `port` is asked for at each reconnect.

    `play_s`: how long an item takes, whatever its sound; the sound is fetched to its end all the same.
    """

    def __init__(self, port: Callable[[], int], memory: Path, name: str = "obs", play_s: float = 0.0) -> None:
        self.port = port
        self.memory = memory
        self.name = name
        self.play_s = play_s
        self.heard = Heard()
        self.errors: list[str] = []
        self._known = set(memory.read_text("utf-8").split()) if memory.exists() else set()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()
        self._thread.join(TIMEOUT_S)

    def __enter__(self) -> Overlay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, condition: Callable[[Heard], bool], what: str, timeout_s: float = 60.0) -> None:
        with self._changed:
            seen = self._changed.wait_for(lambda: condition(self.heard), timeout_s)
        assert seen, f"not within {timeout_s:g} s: {what}; heard {len(self.heard.finished)}, errors {self.errors[-3:]}"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._stream = Stream(self.port(), f"overlay={self.name}")
                self._listen(self._stream)
            # http.client knows more ways to fail than it tells when its socket is closed under it.
            except Exception as error:
                if not self._stop.is_set():
                    self.errors.append(repr(error))
            time.sleep(RETRY_S)

    def _listen(self, stream: Stream) -> None:
        speaking = False
        stopped: set[str] = set()
        for event in stream.events():
            with self._changed:
                self.heard.events.append((time.perf_counter(), event))
                self._changed.notify_all()
            if event["type"] in ("hello", "role"):
                speaking = bool(event["speaking"])
            elif event["type"] == "stop":
                stopped.add(event["id"])
            elif event["type"] == "item" and speaking and event["id"] not in stopped:
                self._play(event)
            if self._stop.is_set():
                return

    def _play(self, item: Event) -> None:
        name = item["id"]
        if name not in self._known:
            if not self._fetch(item):
                self._ack(name, "failed")
                return
            self._ack(name, "started")
            time.sleep(self.play_s)
            # First what lasts, as a page writes to its storage before it tells the server.
            self._known.add(name)
            with self.memory.open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")
            with self._changed:
                self.heard.finished.append(name)
                self._changed.notify_all()
        acked = self._ack(name, "finished")
        if acked.get("counted"):
            with self._changed:
                self.heard.counted.append(name)
                self._changed.notify_all()

    def _fetch(self, item: Event) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=TIMEOUT_S)
        try:
            connection.request("GET", item["audio_url"] + "&format=pcm")
            response = connection.getresponse()
            if response.status != 200:
                self.errors.append(f"{response.status} {response.read()[:200]!r}")
                return False
            if response.read(1):
                self.heard.first_byte_at.setdefault(item["id"], time.perf_counter())
            response.read()
            return True
        finally:
            connection.close()

    def _ack(self, name: str, state: str) -> Any:
        status, answer = post(self.port(), "/v1/chat/ack", {"overlay": self.name, "id": name, "state": state})
        if status != 200:
            self.errors.append(f"{state} {name}: {status} {answer}")
            return {}
        return answer
