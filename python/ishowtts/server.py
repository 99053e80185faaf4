"""The HTTP server inside a program or a test: on a thread of its own, gone at the end of its ``with`` block."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ishowtts.errors import IshowttsError
from ishowtts.speaker import configuration

if TYPE_CHECKING:
    from ishowtts._native import Config


class Server:
    """``ishowtts serve`` in this process.

    >>> with Server(engine="fake") as server:
    ...     server.url
    'http://127.0.0.1:…'

    ``port`` 0: any free one, so that tests may run side by side. Other arguments as for
    :class:`~ishowtts.speaker.Speaker`.
    """

    def __init__(
        self,
        engine: str | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        options: Mapping[str, object] | None = None,
        config: str | os.PathLike[str] | Config | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        from ishowtts._native import Config, Runtime

        if not isinstance(config, Config):
            settings = {**(settings or {}), "http.host": host, "http.port": port}
        self._runtime = Runtime(configuration(engine, options, config, settings))
        self._thread: threading.Thread | None = None
        self._outcome: int | IshowttsError | None = None
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self, timeout_s: float | None = None) -> None:
        """Opens the port and returns once the engines can speak.

        Raises IshowttsError if the port cannot be opened, SpeechError if an engine cannot be loaded, TimeoutError.
        """
        self.host, self.port = self._runtime.listen()
        self._thread = threading.Thread(target=self._serve, name="ishowtts-server", daemon=True)
        self._thread.start()
        self._runtime.wait_ready(timeout_s)

    def _serve(self) -> None:
        try:
            self._outcome = self._runtime.serve()
        except IshowttsError as error:
            self._outcome = error

    def close(self) -> int:
        """Finishes what is in flight and ends. Returns the exit code that ``ishowtts serve`` would: 0, 70 if an
        engine was lost, 2 if one does not accept its options. Raises IshowttsError if the socket failed."""
        self._runtime.shutdown()
        if self._thread is not None:
            self._thread.join()
        self._runtime.close()
        if isinstance(self._outcome, IshowttsError):
            raise self._outcome
        return self._outcome or 0

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
