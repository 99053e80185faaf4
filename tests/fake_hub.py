"""A hub of the Hugging Face protocol on this machine, with faults: as much of it as downloading files takes."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections import deque
from dataclasses import dataclass, field

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Stored:
    content: bytes
    large: bool
    """Kept under its SHA-256 (Git LFS); else under git's own checksum."""

    @property
    def etag(self) -> str:
        if self.large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class FakeHub:
    """Use it as a context manager. ``faults``: what happens to the next requests of content, in order."""

    files: dict[str, Stored] = field(default_factory=dict)
    """By ``OWNER/NAME/PATH``."""
    faults: deque[str] = field(default_factory=deque)
    """An HTTP status ("503"), "cut" (half of what is asked for, then the connection ends), "flip" (one byte is
    wrong), or "" (nothing)."""
    status: int = 0
    """Answers everything with this, if not 0."""
    commit: str = COMMIT
    """Of all repositories."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Range of each request."""
    signed: list[str] = field(default_factory=list)
    """What each request says of who asks: its ``Authorization``."""

    def put(self, address: str, content: bytes, *, large: bool = True) -> None:
        self.files[address] = Stored(content, large)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def gets(self) -> list[str]:
        return [ranged for method, _, ranged in self.asked if method == "GET"]

    def __enter__(self) -> FakeHub:
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: http.server.BaseHTTPRequestHandler, *, body: bool) -> None:
        asked = request.headers.get("Range", "")
        self.asked.append((request.command, request.path, asked))
        self.signed.append(request.headers.get("Authorization", ""))
        fault = self.faults.popleft() if body and self.faults else ""
        if self.status or fault.isdigit():
            self._refuse(request, self.status or int(fault), "")
            return
        owner, name, _, _, *path = request.path.lstrip("/").split("/")
        stored = self.files.get("/".join((owner, name, *path)))
        if stored is None:
            known = any(address.startswith(f"{owner}/{name}/") for address in self.files)
            self._refuse(request, 404, "EntryNotFound" if known else "RepoNotFound")
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        content = stored.content[start:]
        request.send_response(206 if asked else 200)
        request.send_header("X-Repo-Commit", self.commit)
        request.send_header("ETag", f'"{stored.etag}"')
        if stored.large:
            request.send_header("X-Linked-Etag", f'"{stored.etag}"')
            request.send_header("X-Linked-Size", str(len(stored.content)))
        if asked:
            request.send_header("Content-Range", f"bytes {start}-{len(stored.content) - 1}/{len(stored.content)}")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if not body:
            return
        if fault == "flip":
            content = bytes((content[0] ^ 1,)) + content[1:]
        if fault == "cut":
            request.wfile.write(content[: len(content) // 2])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(2)
            return
        request.wfile.write(content)

    def _refuse(self, request: http.server.BaseHTTPRequestHandler, status: int, code: str) -> None:
        request.send_response(status)
        if code:
            request.send_header("X-Error-Code", code)
        request.send_header("Content-Length", "0")
        request.end_headers()
