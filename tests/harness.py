"""The installed program as a child process, and plain HTTP to it.

Every server gets its own home (config, data), a free port and a bounded life. Waiting is always for something that can
be seen: a line of the log, an answer of the server, the end of the process.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]
T = TypeVar("T")

COMMAND = Path(sys.executable).parent / "ishowtts"
SERVE = [os.environ["ISHOWTTS_TEST_SERVER"]] if "ISHOWTTS_TEST_SERVER" in os.environ else [str(COMMAND), "serve"]
"""What starts a server: the extension in its interpreter, or the standalone program."""
# Bounds, far beyond what anything takes: a busy machine is no fault.
START_S = 120.0
ANSWER_S = 180.0


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Asks again and again until the answer is true; returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.01)


def steadily(measure: Callable[[], T], good: Callable[[T], bool], attempts: int = 3) -> T:
    """Measures again while it is not good: a machine may stall once, a fault is there each time. Returns the last."""
    measured = measure()
    for _ in range(attempts - 1):
        if good(measured):
            break
        measured = measure()
    return measured


def free_port() -> int:
    """For a program that must be told its port. Below those that the kernel gives to connections, which are many."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True)
class Reply:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error object; fails if the answer has not exactly the one shape of errors."""
        document = json.loads(self.body)
        assert set(document) == {"error"}, document
        assert set(document["error"]) == {"message", "type", "param", "code"}, document
        assert all(document["error"][field] for field in ("message", "type", "code")), document
        assert self.headers["content-type"].startswith("application/json")
        assert "Traceback" not in document["error"]["message"]
        return dict(document["error"])

    @property
    def pcm(self) -> Pcm:
        """The samples, whichever of wav and pcm was sent; fails for anything but a 200."""
        assert self.status == 200, (self.status, self.body[:500])
        kind = self.headers["content-type"].split(";")[0]
        if kind == "audio/wav":
            return wav_samples(self.body)
        assert kind == "audio/pcm", kind
        return np.frombuffer(self.body, "<i2")


def wav_samples(wav: bytes) -> Pcm:
    """Samples of a mono 16-bit WAV, also of a streamed one, whose sizes are not known in its header."""
    assert wav[:4] == b"RIFF", wav[:16]
    assert wav[8:12] == b"WAVE", wav[:16]
    position = 12
    while position + 8 <= len(wav):
        name, size = wav[position : position + 4], struct.unpack_from("<I", wav, position + 4)[0]
        position += 8
        if name == b"fmt ":
            assert struct.unpack_from("<HH", wav, position) == (1, 1), "neither mono nor PCM"
            assert struct.unpack_from("<H", wav, position + 14)[0] == 16
        if name == b"data":
            end = len(wav) if size >= 0x7FFF_0000 else position + size
            assert end <= len(wav), f"{end - len(wav)} bytes of the announced speech are missing"
            return np.frombuffer(wav[position:end], "<i2")
        position += size + size % 2
    raise AssertionError("no data chunk")


def loudness_db(pcm: Pcm) -> float:
    """RMS over the whole, dB of full scale."""
    assert pcm.size, "no samples"
    return float(10 * np.log10(np.mean((pcm / 32768.0) ** 2) + 1e-12))


class Server:
    """``ishowtts serve`` in a fresh home. Use it as a context manager."""

    def __init__(
        self,
        home: Path,
        *,
        engine: str | None = None,
        config: str | None = None,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.command = [*SERVE, "--host", "127.0.0.1", "--port", "0", *arguments]
        if engine is not None:
            self.command += ["--engine", engine]
        if config is not None:
            path = home / "ishowtts.toml"
            path.write_text(config, encoding="utf-8")
            self.command += ["--config", str(path)]
        self.env = environment(home) | dict(env or {})
        self.port = 0
        self.lines: list[str] = []
        self._told = threading.Condition()

    def __enter__(self) -> Server:
        self.spawn()
        try:
            self.wait_listening()
            self.wait_ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def spawn(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, stderr: BinaryIO) -> None:
        with stderr:
            for line in stderr:
                with self._told:
                    self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                    self._told.notify_all()
        with self._told:
            self.lines.append("(end of the log)")
            self._told.notify_all()

    @property
    def log(self) -> str:
        with self._told:
            return "\n".join(self.lines)

    def wait_line(self, pattern: str, timeout_s: float = START_S) -> re.Match[str]:
        """The first line of the log, past or to come, in which `pattern` is found."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            found.extend(match for line in self.lines if (match := re.search(pattern, line)))
            return bool(found) or "(end of the log)" in self.lines

        with self._told:
            self._told.wait_for(seen, timeout_s)
        assert found, f"no line with {pattern!r} in the log:\n{self.log}"
        return found[0]

    def wait_listening(self) -> None:
        self.port = int(self.wait_line(r"listens on http://[0-9.]+:(\d+)").group(1))

    def wait_ready(self, timeout_s: float = START_S) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            return self.get("/readyz").status == 200

        wait_until(ready, f"/readyz 200; log:\n{self.log}", timeout_s)

    def wait_exit(self, timeout_s: float = 60.0) -> int:
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {timeout_s:g} s; log:\n{self.log}") from error
        self._reader.join(5)
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Reply:
        """One request on its own connection. A broken body raises ``http.client.IncompleteRead`` or OSError."""
        with self.open(method, path, body, headers, timeout_s) as response:
            sent = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, sent, response.read())

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer once its headers are there; leaving the block closes the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            default = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, default | dict(headers or {}))
            yield connection.getresponse()
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)

    def speak(self, text: str, timeout_s: float = ANSWER_S, **fields: Any) -> Reply:
        """POST /v1/audio/speech, read to the end. Raw PCM and no cache unless told otherwise."""
        return self.request("POST", "/v1/audio/speech", speech_body(text, **fields), timeout_s=timeout_s)

    @contextlib.contextmanager
    def streaming(self, text: str, timeout_s: float = ANSWER_S, **fields: Any) -> Iterator[http.client.HTTPResponse]:
        """A stream of speech whose first bytes are not read yet."""
        with self.open("POST", "/v1/audio/speech", speech_body(text, **fields), timeout_s=timeout_s) as response:
            yield response

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics, by its name with labels."""
        reply = self.get("/metrics")
        assert reply.status == 200
        lines = [line for line in reply.body.decode().splitlines() if line and not line.startswith("#")]
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}

    def raw(self, payload: bytes, timeout_s: float = ANSWER_S) -> bytes:
        """Sends bytes as they are and reads to the end of the connection. Empty when it was just closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout_s) as connection:
            received = bytearray()
            try:
                connection.sendall(payload)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(1 << 16):
                    received += part
            except OSError as error:
                # The other side may refuse before all is sent; only silence would be a fault.
                if isinstance(error, TimeoutError):
                    raise
            return bytes(received)


def environment(home: Path) -> dict[str, str]:
    """The caller's environment without settings of the program, and with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ISHOWTTS_", "XDG_"))}
    return kept | {
        "HOME": str(home),
        # Where the standalone program, which may lie anywhere, finds the engines.
        "VIRTUAL_ENV": sys.prefix,
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        # No test fetches a model; one that wants something heard names its own.
        "ISHOWTTS_VOICES_TRANSCRIBE_MODEL": "/nowhere/at-all",
        "COLUMNS": "1000",
        "NO_COLOR": "1",
    }


def speech_body(text: str, **fields: Any) -> bytes:
    defaults: dict[str, Any] = {"response_format": "pcm", "cache": False}
    return json.dumps({"input": text, **defaults, **fields}).encode()


def run(
    arguments: Sequence[str | Path], home: Path, timeout_s: float = 180.0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The program, to its end."""
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        env=environment(home) | dict(env or {}),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
