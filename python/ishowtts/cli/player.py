"""Playing sound while it is made, through whichever player the machine has."""

from __future__ import annotations

import contextlib
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable

from ishowtts.cli import wav
from ishowtts.cli.failure import Failure, usage


def _aplay(rate: str) -> list[str]:
    return ["aplay", "--quiet", "--file-type=raw", "--format=S16_LE", f"--rate={rate}", "--channels=1", "-"]


def _paplay(rate: str) -> list[str]:
    return ["paplay", "--raw", "--format=s16le", f"--rate={rate}", "--channels=1"]


def _ffplay(_rate: str) -> list[str]:
    return ["ffplay", "-nodisp", "-autoexit", "-loglevel", "error", "-i", "-"]


def _pw_play(rate: str) -> list[str]:
    return ["pw-play", "--raw", "--format=s16", f"--rate={rate}", "--channels=1", "-"]


PLAYERS: dict[str, Callable[[str], list[str]]] = {
    "aplay": _aplay,
    "paplay": _paplay,
    "ffplay": _ffplay,
    "pw-play": _pw_play,
}
"""In order of preference: the first two take raw sound in every version."""


def find() -> str | None:
    return next((name for name in PLAYERS if shutil.which(name)), None)


def require() -> str:
    name = find()
    if name is None:
        raise usage(
            "no player was found (aplay, paplay, ffplay, pw-play)",
            "install one (Debian, Ubuntu: apt-get install alsa-utils), or write a file with -o speech.wav",
        )
    return name


class Player:
    """A sink that plays. Sound waits here, not in the server: a player takes it only as fast as it sounds, and a
    listener that does not read is cut off."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end
        self._feeder = threading.Thread(target=self._feed, name="player", daemon=True)

    def start(self, sample_rate_hz: int) -> None:
        self._process = subprocess.Popen(
            PLAYERS[self._name](str(sample_rate_hz)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
        )
        if self._name == "ffplay":
            self._waiting.put(wav.header(sample_rate_hz))
        self._feeder.start()

    def _feed(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # A player that ended early is reported by finish, from its exit code.
        with contextlib.suppress(BrokenPipeError, ValueError):
            while (sound := self._waiting.get()) is not None:
                self._process.stdin.write(sound)
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.close()

    def write(self, sound: bytes) -> None:
        self._waiting.put(sound)

    def seal(self) -> None:
        """Nothing more comes: the player ends by itself when all has been heard."""
        self._waiting.put(None)

    def playing(self, timeout_s: float) -> bool:
        """Waits up to ``timeout_s``; False once all has been heard or the player has failed."""
        assert self._process is not None
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return True
        return False

    def finish(self) -> None:
        assert self._process is not None
        code = self._process.wait()
        self._feeder.join()
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        self._complaints.close()
        if code != 0:
            reason = lines[0].strip() if lines else f"exit code {code}"
            raise Failure(f"{self._name} could not play: {reason}", "write a file instead with -o speech.wav")

    def discard(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            self.seal()
            self._feeder.join(timeout=1)
        self._complaints.close()
