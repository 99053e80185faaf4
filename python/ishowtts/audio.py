"""Sound on NumPy arrays: decode, resample, stretch, measure, encode.

Sound is mono float32 of shape ``(samples,)``, -1 to 1. An array of that type that lies in one piece is read without a
copy; any other is converted. Results are new arrays. The work is done in Rust with the interpreter lock released, so it
runs beside other threads; an array must not be changed while a call reads it. Importing this module loads no engine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ishowtts import _native
from ishowtts.errors import AudioError

__all__ = ["FILE_FORMATS", "AudioError", "Format", "Loudness", "decode", "encode", "loudness", "resample", "stretch"]

Sound = npt.NDArray[np.float32]
Format = Literal["mp3", "opus", "flac", "wav", "pcm", "wav_f32", "pcm_f32", "mulaw"]

FILE_FORMATS: dict[str, Format] = {".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".opus": "opus", ".ogg": "opus"}
"""What files are, by their suffix."""


@dataclass(frozen=True)
class Loudness:
    """What ``loudness`` measured."""

    integrated_lufs: float
    """Gated loudness of all of it; ``-inf`` for silence, and for sound shorter than 0.4 s."""
    true_peak_dbtp: float
    """The highest peak, also between samples, over full scale; ``-inf`` for silence."""


def decode(
    data: bytes | bytearray | memoryview | str | os.PathLike[str],
    *,
    max_duration_s: float = 3600.0,
    max_time_s: float = 60.0,
) -> tuple[Sound, int]:
    """Decodes a whole file: WAV, AIFF, FLAC, MP3, Ogg (Vorbis, Opus, FLAC), WebM, M4A or AAC, told by its content.

    Channels are averaged. The delay that an encoder states (MP3 with its LAME header, Ogg) is cut off; AAC keeps its
    start, 20 to 50 ms. A file that was cut is decoded as far as it goes, where its kind allows.

    :param data: the file's bytes, or the path of a file.
    :param max_duration_s: longer sound is an error, found while decoding. ``math.inf``: only 1 GiB of it is.
    :param max_time_s: so is decoding that takes longer than this. ``math.inf``: however long.
    :returns: float32 of shape ``(samples,)``, -1 to 1 (lossy codecs overshoot a little), all finite; and the sample
        rate in Hz, as the file has it.
    :raises AudioError: an unknown kind of file, a broken one, one without sound, or a limit that was exceeded.
    :raises ValueError: a limit that is negative or not a number.
    :raises OSError: the path cannot be read.

    Source: symphonia 0.6; libopus for Opus (RFC 6716); an own reader for WAV.
    """
    if isinstance(data, os.PathLike):
        data = os.fspath(data)
    clip = data if isinstance(data, (bytes, str)) else bytes(memoryview(data))
    return _native.audio_decode(clip, max_duration_s, max_time_s)


def resample(x: npt.ArrayLike, rate_in_hz: int, rate_out_hz: int, quality: Literal["fast", "high"] = "high") -> Sound:
    """Converts sound from one sample rate to another, in time with what it was.

    ``high``: flat to 0.92 of the lower Nyquist frequency, and what is beyond that frequency is 140 dB down. ``fast``:
    flat to 0.85, 105 dB down. Rates that have no large common divisor (44,100 and 44,101) take longer.

    :param x: mono sound of shape ``(samples,)``.
    :param rate_in_hz: its rate, 8,000 to 192,000 Hz.
    :param rate_out_hz: the wanted rate, 8,000 to 192,000 Hz.
    :returns: float32 of shape ``(round(samples * rate_out_hz / rate_in_hz),)``, halves rounded up. Finite samples stay
        finite.
    :raises ValueError: a rate or a quality that does not exist, or an array that is not one-dimensional.

    Source: a Kaiser-windowed sinc by overlap-save; Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd edition,
    sections 7.5 and 8.7.
    """
    return _native.audio_resample(_mono(x), rate_in_hz, rate_out_hz, quality)


def stretch(x: npt.ArrayLike, sample_rate_hz: int, speed: float = 1.0, pitch_semitones: float = 0.0) -> Sound:
    """Makes speech faster or slower, higher or lower, and keeps its timbre (its formants).

    Made for one voice. Other sound keeps its pitch, but its speed can be changed.

    :param x: mono sound of shape ``(samples,)``.
    :param sample_rate_hz: its rate, 8,000 to 192,000 Hz.
    :param speed: 0.25 to 4; 2 is twice as fast.
    :param pitch_semitones: -12 to 12.
    :returns: float32 of shape ``(round(samples / speed),)``, halves rounded up. Finite samples stay finite.
    :raises ValueError: a value out of range, or an array that is not one-dimensional.

    Source: Moulines and Charpentier, Pitch-synchronous waveform processing techniques (1990); Verhelst and Roelands, An
    overlap-add technique based on waveform similarity (1993).
    """
    return _native.audio_stretch(_mono(x), sample_rate_hz, speed, pitch_semitones)


def loudness(x: npt.ArrayLike, sample_rate_hz: int) -> Loudness:
    """Measures how loud sound is, as one channel: a full-scale sine of 997 Hz has -3.01 LUFS.

    :param x: mono sound of shape ``(samples,)``.
    :param sample_rate_hz: its rate, 8,000 to 192,000 Hz.
    :raises ValueError: a rate out of range, or an array that is not one-dimensional.

    Source: EBU R 128 and ITU-R BS.1770-4, by the crate ebur128.
    """
    return Loudness(*_native.audio_loudness(_mono(x), sample_rate_hz))


def encode(
    x: npt.ArrayLike,
    sample_rate_hz: int,
    format: Format,
    *,
    rate_out_hz: int | None = None,
    bitrate_bps: int | None = None,
) -> bytes:
    """Encodes sound as a whole file, which tells its true length.

    ``wav`` and ``flac`` are 16 bits, as is ``pcm``, which has no header; ``wav_f32`` and ``pcm_f32`` are float32;
    ``opus`` is in Ogg; ``mulaw`` is G.711 at 8 kHz without a header. All but the float formats clip what is beyond -1
    and 1, and are silent where a sample is not a number.

    :param x: mono sound of shape ``(samples,)``.
    :param sample_rate_hz: its rate, 8,000 to 192,000 Hz.
    :param rate_out_hz: the file's rate; without one the sound's own, or the next that the format has.
    :param bitrate_bps: of ``mp3`` (8,000 to 320,000: the nearest that there is) and ``opus`` (6,000 to 256,000).
    :raises ValueError: what the format does not have, or an array that is not one-dimensional.

    Source: LAME 3.100, libopus; RFC 9639 for FLAC, RFC 7845 for Ogg, ITU-T G.711 for mu-law.
    """
    return _native.audio_encode(_mono(x), sample_rate_hz, format, rate_out_hz, bitrate_bps)


def _mono(x: npt.ArrayLike) -> Sound:
    sound = np.ascontiguousarray(x, dtype=np.float32)
    if np.ndim(x) != 1:
        raise ValueError(f"sound must be one-dimensional, not of shape {np.shape(x)}")
    return sound
