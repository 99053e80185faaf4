"""Reads a reference clip, as the integers that stand in it. Safe on any thread."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ishowtts.errors import InvalidSetting

MAX_BYTES = 200 << 20

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_BYTES = 0x7FFF_0000
"""Sizes from here on stand for "to the end" in WAV files that were streamed."""

Frames = npt.NDArray[np.generic]


def read_clip(clip: bytes | str | Path) -> tuple[Frames, int]:
    """A file's content, or a path to it, to ``[frames, channels]`` and the sample rate: int16 or int32 as in the file
    (8 and 24 bits are lifted to those), or float32.

    WAV is read here. Any other format is read by the package soundfile where that is installed. Raises InvalidSetting.
    """
    content, name = (clip, "") if isinstance(clip, bytes) else _content(Path(clip))
    if content[:4] in (b"RIFF", b"RF64") and content[8:12] == b"WAVE":
        return _read_wav(content, name)
    return _read_other(content, name)


def _content(path: Path) -> tuple[bytes, str]:
    """And the file's name, for messages."""
    name = f" {path.name}"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidSetting(f"the reference clip{name} is larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes(), name
    except OSError as error:
        raise InvalidSetting(f"the reference clip{name} cannot be read: {error.strerror}") from error


def _read_wav(content: bytes, name: str) -> tuple[Frames, int]:
    layout: tuple[int, int, int, int] | None = None
    position = 12
    while position + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, position)
        position += 8
        if kind == b"fmt " and position + 16 <= len(content):
            code, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", content, position)
            if code == _EXTENSIBLE and size >= 26 and position + 26 <= len(content):
                (code,) = struct.unpack_from("<H", content, position + 24)
            layout = (code, channels, rate_hz, bits)
        elif kind == b"data" and layout is not None:
            end = len(content) if size >= _UNKNOWN_BYTES else min(position + size, len(content))
            return _samples(content[position:end], layout, name), layout[2]
        position += size + size % 2
    raise InvalidSetting(f"the reference clip{name} is no whole WAV file")


def _samples(sound: bytes, layout: tuple[int, int, int, int], name: str) -> Frames:
    code, channels, _, bits = layout
    width = bits // 8
    if not channels or (code, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
        raise InvalidSetting(f"the reference clip{name} holds a kind of WAV that is not supported; use 16-bit PCM")
    sound = sound[: len(sound) // (width * channels) * width * channels]
    samples: Frames
    if code == _FLOAT:
        samples = np.frombuffer(sound, f"<f{width}").astype(np.float32)
    elif bits == 8:
        samples = (np.frombuffer(sound, np.uint8).astype(np.int16) - 128) << 8
    elif bits == 24:
        # Into the upper three bytes of four.
        wide = np.zeros((len(sound) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(sound, np.uint8).reshape(-1, 3)
        samples = wide.reshape(-1).view("<i4").astype(np.int32)
    else:
        samples = np.frombuffer(sound, f"<i{width}").astype(np.int16 if bits == 16 else np.int32)
    return samples.reshape(-1, channels)


def _read_other(content: bytes, name: str) -> tuple[Frames, int]:
    try:
        import soundfile
    except ImportError as error:
        raise InvalidSetting(f"the reference clip{name} is no WAV file; convert it to 16-bit WAV") from error
    try:
        lossless = soundfile.info(io.BytesIO(content)).subtype in ("PCM_24", "PCM_32")
        samples, rate_hz = soundfile.read(io.BytesIO(content), dtype="int32" if lossless else "int16", always_2d=True)
    except Exception as error:
        raise InvalidSetting(f"the reference clip{name} cannot be decoded: {error}") from error
    return samples, int(rate_hz)
