"""Sound to bytes and to files: 16-bit mono WAV, the same samples that the server sends, and what is encoded of them."""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from ishowtts.cli.failure import Failure, usage
from ishowtts.engine import Pcm

if TYPE_CHECKING:
    from ishowtts.audio import Format

HEADER_BYTES = 44
FORMATS: dict[str, Format] = {
    "": "wav",
    ".wav": "wav",
    ".wave": "wav",
    ".flac": "flac",
    ".mp3": "mp3",
    ".opus": "opus",
    ".ogg": "opus",
}
"""What ``-o`` writes, by the file's suffix."""
UNKNOWN_BYTES = 0xFFFF_FFFF
"""Size fields of a stream whose length is not known: readers then read to its end."""


def s16le(pcm: Pcm) -> bytes:
    """Clipped to -1 … 1, times 32,767, rounded to nearest (ties to even), as src/audio does it."""
    rounded: npt.NDArray[np.int16] = np.rint(np.clip(pcm, -1.0, 1.0) * np.float32(32_767.0)).astype("<i2")
    return rounded.tobytes()


def header(sample_rate_hz: int, sound_bytes: int | None = None) -> bytes:
    """The 44 bytes before ``sound_bytes`` of 16-bit mono PCM; None: as many as come."""
    known = sound_bytes is not None and sound_bytes + HEADER_BYTES - 8 < UNKNOWN_BYTES
    sizes = (sound_bytes + HEADER_BYTES - 8, sound_bytes) if known and sound_bytes is not None else (UNKNOWN_BYTES,) * 2
    shape = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate_hz, sample_rate_hz * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", sizes[0]) + b"WAVEfmt " + shape + b"data" + struct.pack("<I", sizes[1])


class Sink(Protocol):
    """Where sound goes. ``start`` once, ``write`` for each piece, then ``finish``; ``discard`` instead if it failed."""

    def start(self, sample_rate_hz: int) -> None: ...
    def write(self, sound: bytes) -> None: ...
    def finish(self) -> None: ...
    def discard(self) -> None: ...


class WavStream:
    """WAV to something that cannot seek: standard output, a pipe, a device."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def start(self, sample_rate_hz: int) -> None:
        self.write(header(sample_rate_hz))

    def write(self, sound: bytes) -> None:
        self._stream.write(sound)
        self._stream.flush()

    def finish(self) -> None:
        self._stream.flush()

    def discard(self) -> None:
        pass


class WavFile:
    """WAV to a file that appears under its name when it is whole: a failure leaves what was there before."""

    def __init__(self, path: Path) -> None:
        # The file behind a link is replaced, not the link.
        self._path = Path(os.path.realpath(path))
        self._part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self._file = self._part.open("xb")
        self._sample_rate_hz = 0

    def start(self, sample_rate_hz: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._file.write(header(sample_rate_hz))

    def write(self, sound: bytes) -> None:
        self._file.write(sound)

    def finish(self) -> None:
        sound_bytes = self._file.tell() - HEADER_BYTES
        self._file.seek(0)
        self._file.write(header(self._sample_rate_hz, sound_bytes))
        self._put_in_place()

    def _put_in_place(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)

    def discard(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


class EncodedFile(WavFile):
    """Likewise a file of another format, encoded when all of the sound is there: it tells its true length."""

    def __init__(self, path: Path, format: Format) -> None:
        super().__init__(path)
        self._format = format
        self._sound = bytearray()

    def start(self, sample_rate_hz: int) -> None:
        self._sample_rate_hz = sample_rate_hz

    def write(self, sound: bytes) -> None:
        self._sound += sound

    def finish(self) -> None:
        from ishowtts.audio import encode

        pcm = np.frombuffer(self._sound, "<i2").astype(np.float32) / np.float32(32_767.0)
        self._file.write(encode(pcm, self._sample_rate_hz, self._format))
        self._put_in_place()


def open_sink(output: str) -> Sink:
    """For ``-o``: a file, ``-`` for standard output, or a device. Raises Failure before anything is spoken."""
    if output == "-":
        if sys.stdout.isatty():
            raise usage("WAV would garble the terminal", "send it on with a pipe, or name a file: -o speech.wav")
        return WavStream(sys.stdout.buffer)
    path = Path(output)
    format = FORMATS.get(path.suffix.lower())
    if format is None and not path.exists():
        known = ", ".join(suffix for suffix in FORMATS if suffix)
        raise usage(f"{path.suffix} cannot be written, only {known}", f"use -o {path.with_suffix('.wav')}")
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise usage(f"{output} is a folder", f"name a file: -o {path / 'speech.wav'}")
        if not stat.S_ISREG(mode):
            return WavStream(path.open("wb", buffering=0))
    except FileNotFoundError:
        pass
    try:
        return WavFile(path) if format in (None, "wav") else EncodedFile(path, format)
    except OSError as error:
        raise Failure(f"{path.parent}: {error.strerror}", "choose another place with -o") from error
