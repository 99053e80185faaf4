"""The load generator: a process of its own with one thread, so that it takes as little as it can of the machine it
shares with the server, and the same from every rival.

Jobs come as JSON lines on stdin, measurements go as JSON lines to stdout. Times are in milliseconds.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass

import numpy as np

AUDIBLE = int(32768 * 10 ** (-50 / 20))
"""-50 dBFS in 16-bit steps: headers and silence before it do not count as sound."""


@dataclass
class Measurement:
    """One request. `ttfa_ms` is from the first byte sent to the chunk that holds the first audible sample."""

    started_ms: float
    ttfa_ms: float | None = None
    total_ms: float | None = None
    status: int = 0
    samples: int = 0
    complete: bool = False


class Connection:
    """One kept-alive HTTP/1.1 connection that reads 16-bit PCM, chunked or with a length."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = (
            f"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        ).encode()
        self.index = -1

    def send(self, index: int, body: bytes, epoch: float) -> None:
        self.index = index
        self.buffer = bytearray()
        self.in_body = False
        self.left: int | None = 0
        """Bytes to come of this chunk, or of the body if it is not chunked."""
        self.chunked = False
        self.last_chunk = False
        self.odd = b""
        self.start = time.perf_counter()
        self.measured = Measurement(started_ms=(self.start - epoch) * 1e3)
        self.socket.sendall(self.head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def receive(self) -> bool:
        """Takes what is there; true at the end of the answer."""
        part = self.socket.recv(1 << 18)
        now = time.perf_counter()
        if not part:
            return True
        self.buffer += part
        if not self.in_body and not self._read_head():
            return False
        done = self._read_chunks(now) if self.chunked else self._read_length(now)
        if done:
            self.measured.total_ms = (now - self.start) * 1e3
            self.measured.complete = True
        return done

    def _read_head(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = bytes(self.buffer[:end]).lower().split(b"\r\n")
        headers = dict(line.split(b":", 1) for line in lines[1:])
        del self.buffer[: end + 4]
        self.measured.status = int(lines[0].split()[1])
        self.chunked = headers.get(b"transfer-encoding", b"").strip() == b"chunked"
        self.left = 0 if self.chunked else int(headers.get(b"content-length", b"0"))
        self.in_body = True
        return True

    def _read_length(self, now: float) -> bool:
        assert self.left is not None
        self._sound(self.buffer, now)
        self.left -= len(self.buffer)
        self.buffer.clear()
        return self.left <= 0

    def _read_chunks(self, now: float) -> bool:
        position = 0
        size = len(self.buffer)
        while True:
            if not self.left:
                end = self.buffer.find(b"\r\n", position)
                if end < 0:
                    break
                self.left = int(self.buffer[position:end].split(b";")[0], 16) + 2
                self.last_chunk = self.left == 2
                position = end + 2
            take = min(self.left, size - position)
            sound = min(take, max(self.left - 2, 0))
            if sound:
                self._sound(self.buffer[position : position + sound], now)
            self.left -= take
            position += take
            if self.left:
                break
            if self.last_chunk:
                return True
        del self.buffer[:position]
        return False

    def _sound(self, data: bytearray, now: float) -> None:
        self.measured.samples += len(data)
        if self.measured.ttfa_ms is not None or self.measured.status != 200:
            return
        whole = self.odd + data
        self.odd = whole[len(whole) & ~1 :]
        pcm = np.frombuffer(whole, "<i2", len(whole) // 2)
        if pcm.size and (int(pcm.max()) > AUDIBLE or int(pcm.min()) < -AUDIBLE):
            self.measured.ttfa_ms = (now - self.start) * 1e3


def drive(port: int, bodies: list[bytes], connections: int) -> list[Measurement]:
    """Sends all bodies in order over so many connections, the next one as soon as an answer is complete."""
    selector = selectors.DefaultSelector()
    measurements: list[Measurement | None] = [None] * len(bodies)
    waiting = iter(enumerate(bodies))
    opened = [Connection(port) for _ in range(min(connections, len(bodies)))]
    epoch = time.perf_counter()
    for connection in opened:
        connection.send(*next(waiting), epoch)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    busy = len(opened)
    while busy:
        for key, _ in selector.select():
            connection = key.data
            if not connection.receive():
                continue
            measured = connection.measured
            measured.samples //= 2
            measurements[connection.index] = measured
            following = next(waiting, None) if measured.complete else None
            if following is None:
                selector.unregister(connection.socket)
                connection.socket.close()
                busy -= 1
            else:
                connection.send(*following, epoch)
    return [measured or Measurement(started_ms=0.0) for measured in measurements]


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        bodies = [json.dumps(body).encode() for body in job["bodies"]]
        measurements = drive(job["port"], bodies, job["connections"])
        print(json.dumps([vars(measured) for measured in measurements]), flush=True)


if __name__ == "__main__":
    main()
