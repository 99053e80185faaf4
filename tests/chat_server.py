"""A server that speaks docs/chat.md as far as an overlay sees it, and nothing more: what is played, and when, is up to
the test. Pages come from a real server, so that they have its headers."""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from harness import Server

RATE_HZ = 24_000
TOKEN = "0123456789abcdef"


def tone(duration_s: float, hz: float = 330.0) -> bytes:
    """Never silent but at its very ends."""
    at = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    return bytes((9000 * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes())


class ChatServer:
    """The overlay's side of the chat. Use it as a context manager."""

    def __init__(self, pages: Server) -> None:
        self.pages = pages
        self.lock = threading.Lock()
        self.items: dict[str, dict[str, Any]] = {}
        self.speech: dict[str, float] = {}
        self.words = True
        self.count = 0
        self.acks: list[dict[str, str]] = []
        self.asked: list[str] = []
        self.streams: dict[str, queue.Queue[dict[str, Any] | None]] = {}
        self.speaking: str | None = None
        self.down = False
        self.busy = 0
        """For so many more requests of sound."""
        self.paused = False
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.break_off()
        self.http.shutdown()
        self.http.server_close()

    def put(self, text: str, *, user: str = "Ann", duration_s: float = 0.4, **fields: Any) -> str:
        with self.lock:
            self.count += 1
            sequence = self.count
            ident = f"a-{sequence}"
            url = f"/v1/chat/items/{ident}"
            item = {
                "type": "item",
                "id": ident,
                "sequence": sequence,
                "platform": "twitch",
                "user": user,
                "text": text,
                "voice": None,
                "priority": "everyone",
                "paid": None,
                "audio_url": f"{url}/audio?token={TOKEN}",
                "speech_url": f"{url}/speech?token={TOKEN}",
                "volume": 1.0,
            } | fields
            self.items[ident], self.speech[ident] = item, duration_s
            self._tell(item)
            return ident

    def stop(self, ident: str) -> None:
        with self.lock:
            self.items.pop(ident, None)
            self._tell({"type": "stop", "id": ident, "reason": "skipped"})

    def tell(self, event: dict[str, Any]) -> None:
        with self.lock:
            self._tell(event)

    def _tell(self, event: dict[str, Any]) -> None:
        for stream in self.streams.values():
            stream.put(event)

    def break_off(self, taking_back: str | None = None) -> None:
        """Ends all streams, as a server that is killed does; before anybody is back, an item may be gone."""
        with self.lock:
            if taking_back is not None:
                del self.items[taking_back]
            for stream in self.streams.values():
                stream.put(None)
            self.streams.clear()

    def told(self, state: str) -> list[str]:
        with self.lock:
            return [ack["id"] for ack in self.acks if ack["state"] == state]

    def join(self, overlay: str) -> queue.Queue[dict[str, Any] | None]:
        with self.lock:
            stream: queue.Queue[dict[str, Any] | None] = queue.Queue()
            self.streams[overlay] = stream
            if self.speaking not in self.streams:
                self.speaking = overlay
            speaking = self.speaking == overlay
            hello = {"type": "hello", "overlay": overlay, "speaking": speaking, "paused": self.paused, "volume": 1.0}
            stream.put(hello | {"grace_ms": 1000, "items": list(self.items)})
            for item in self.items.values():
                stream.put(item)
            return stream

    def leave(self, overlay: str, stream: queue.Queue[dict[str, Any] | None]) -> None:
        with self.lock:
            if self.streams.get(overlay) is not stream:
                return
            del self.streams[overlay]
            if self.speaking == overlay:
                self.speaking = next(iter(self.streams), None)
                if self.speaking is not None:
                    self.streams[self.speaking].put({"type": "role", "speaking": True})
                    for item in self.items.values():
                        self.streams[self.speaking].put(item)

    def ack(self, ack: dict[str, str]) -> None:
        with self.lock:
            self.acks.append(ack)
            if ack["state"] != "started":
                self.items.pop(ack["id"], None)
            for name, stream in self.streams.items():
                if name != ack["overlay"]:
                    stream.put({"type": "progress", "id": ack["id"], "state": ack["state"]})

    def events(self, ident: str) -> Iterator[dict[str, Any]]:
        """The speech of an item in pieces of 100 ms."""
        duration_s, text = self.speech[ident], self.items[ident]["text"]
        yield {"type": "start", "format": "pcm", "sample_rate_hz": RATE_HZ, "engine": "fake", "voice": "heart"}
        words, at = [], 0
        for word in text.split():
            start = text.index(word, at)
            at = start + len(word)
            part = duration_s * 1000 / max(len(text), 1)
            words.append(
                {"text": word, "start_char": start, "end_char": at, "start_ms": start * part, "end_ms": at * part}
            )
        pcm = tone(duration_s)
        for offset in range(0, len(pcm), RATE_HZ // 5):
            yield {"type": "audio", "audio": base64.b64encode(pcm[offset : offset + RATE_HZ // 5]).decode()}
            if offset == 0:
                yield {
                    "type": "caption",
                    "segment": 0,
                    "text": text,
                    "spoken": text,
                    "start_ms": 0,
                    "end_ms": duration_s * 1000,
                    "start_char": 0,
                    "end_char": len(text),
                    "words": words if self.words else [],
                }
        yield {"type": "done", "audio_ms": duration_s * 1000, "chars": len(text)}


def _handler(chat: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if not url.path.startswith("/v1/chat/"):
                reply = chat.pages.get(self.path)
                kept = ("content-type", "content-security-policy")
                self._answer(reply.status, reply.body, {name: reply.headers[name] for name in kept})
            elif chat.down or query.get("token") != TOKEN:
                self._answer(503 if chat.down else 401, b'{"error": {"code": "no", "message": "no"}}', {})
            elif url.path == "/v1/chat/stream":
                self._stream(query["overlay"])
            else:
                self._speak(url.path.split("/")[4])

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if chat.down:
                self._answer(503, b"{}", {})
                return
            chat.ack(body)
            self._answer(200, b"{}", {})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _begin(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

        def _event(self, event: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()

        def _stream(self, overlay: str) -> None:
            self._begin()
            stream = chat.join(overlay)
            try:
                while True:
                    try:
                        event = stream.get(timeout=0.1)
                    except queue.Empty:
                        self.wfile.write(b": alive\n\n")
                        continue
                    if event is None:
                        return
                    self._event(event)
            except OSError:
                pass
            finally:
                chat.leave(overlay, stream)

        def _speak(self, ident: str) -> None:
            with chat.lock:
                chat.asked.append(ident)
                busy = chat.busy > 0
                chat.busy -= int(busy)
            if busy:
                body = b'{"error": {"code": "busy", "message": "busy"}}'
                self._answer(429, body, {"Retry-After": "0.05"})
                return
            with chat.lock:
                events = list(chat.events(ident)) if ident in chat.items else None
            if events is None:
                self._answer(404, b'{"error": {"code": "unknown_item", "message": "gone"}}', {})
                return
            self._begin()
            # An overlay that goes away in the middle of it is what some tests are about.
            with contextlib.suppress(OSError):
                for event in events:
                    self._event(event)

    return Handler
