"""Clips of somebody who hums: sound like speech in its pauses, without any model."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import numpy.typing as npt

RATE_HZ = 24_000


def hum(pitch_hz: float = 150.0, seconds: float = 3.0) -> npt.NDArray[np.float32]:
    """Syllables of a quarter of a second, parted by pauses."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * pitch_hz * part * time_s) / part for part in range(1, 8))
    syllables = np.clip(np.sin(2 * np.pi * 2 * time_s), 0, 1) ** 0.5
    return np.asarray(0.15 * tone * syllables, np.float32)


def wav(pitch_hz: float = 150.0, seconds: float = 3.0) -> bytes:
    """A 16-bit WAV file of it."""
    return wav_of(hum(pitch_hz, seconds))


def wav_of(samples: npt.NDArray[np.float32], rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def text_wav() -> str:
    """An 8-bit WAV file, every byte of which is ASCII: for tools whose forms hold text."""
    samples = 0x2F40
    level = hum(seconds=2.0)[::3][:samples]
    sound = np.asarray(64 + 60 * level / np.abs(level).max(), np.uint8).tobytes()
    layout = (16, 1, 1, 8000, 8000, 1, 8)
    fields = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", samples + 36, b"WAVEfmt ", *layout, b"data", samples)
    return (fields + sound).decode("ascii")
