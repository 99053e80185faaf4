"""The clip to clone, made ready as upstream does it (f5-tts 1.1.22 with pydub 0.25.1 and torchaudio): long silences
shortened, at most about 12 s, quiet edges cut, mono, 24 kHz. The samples equal upstream's to rounding.

Pure NumPy; safe on any thread. A clip is prepared once for each version of a voice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from ishowtts.engines.f5 import text as f5_text
from ishowtts.engines.f5.config import SAMPLE_RATE_HZ
from ishowtts.engines.f5.resample import resample
from ishowtts.errors import InvalidSetting

TARGET_RMS = 0.1

_MIN_CLIP_MS, _MAX_CLIP_MS = 6_000, 12_000
"""Once it has 6 s, no piece is added that would take it over 12 s."""
_KEEP_SILENCE_MS = 1_000
_KEEP_SPOKEN_SILENCE_MS = 500
_SEEK_MS = 10
_EDGE_DBFS = -42.0
_EDGE_MS = 10
_TAIL_MS = 50
_SILENT_RATE_HZ = 11_025
"""Of pydub's own silence; a clip below that is brought up to it."""
_LEAST_RATE_HZ, _MOST_RATE_HZ = 4_000, 384_000

Integers = npt.NDArray[np.int32]
"""Samples as in a WAV file, ``[frames, channels]``."""


@dataclass(frozen=True)
class PreparedClip:
    """A reference clip as the model is given it, but for its level (``at_level``)."""

    samples: npt.NDArray[np.float32]
    """Mono, 24 kHz, ``[samples]``, at the clip's own level."""
    rms: float
    """Before resampling, as upstream measures it."""
    text: str
    """What stands before the text to be spoken (``text.conditioning_text``), with all the spaces that count."""
    reference_text: str
    """Without the last of those spaces, as ``chunk_bytes`` wants it."""
    duration_s: float
    """Before resampling."""

    def at_level(self, target_rms: float = TARGET_RMS) -> tuple[npt.NDArray[np.float32], float]:
        """The samples raised to ``target_rms`` if they are quieter, and the gain that takes the speech back to the
        clip's own level (1 if they were not raised)."""
        if self.rms >= target_rms:
            return self.samples, 1.0
        return (self.samples * np.float32(target_rms / self.rms)).astype(np.float32), self.rms / target_rms

    def chunk_bytes(self, speed: float = 1.0) -> int:
        """How long upstream's chunks are with this clip."""
        return f5_text.chunk_bytes(self.reference_text, self.duration_s, speed)


def prepare_clip(
    samples: npt.NDArray[np.generic], sample_rate_hz: int, text: str, *, prepared: bool = False
) -> PreparedClip:
    """``samples``: ``[frames]`` or ``[frames, channels]``, integers of 16 or 32 bits as they stand in the file
    (24 bits in the upper part of 32), or floats from -1 to 1. ``prepared``: it has been through this before, or was
    cut by hand, and is taken as it is.

    Raises InvalidSetting for a clip without speech or text, and for samples that are no sound.

    Upstream: ``preprocess_ref_audio_text``, then the beginning of ``infer_batch_process``.
    """
    if not text.strip():
        raise InvalidSetting("the reference clip has no transcript: reference_text must tell what is said in it")
    if not _LEAST_RATE_HZ <= sample_rate_hz <= _MOST_RATE_HZ:
        raise InvalidSetting(f"a reference clip of {sample_rate_hz} Hz cannot be used")
    clip = _Clip.of(samples, sample_rate_hz)
    if not prepared:
        clip = _trim_edges(_shorten(clip))
        if not len(clip.frames):
            raise InvalidSetting("the reference clip holds no speech that is louder than -50 dB")
        clip = clip.with_tail()
    sound = clip.floats().mean(axis=1, dtype=np.float32)
    rms = float(np.sqrt(np.mean(np.square(sound), dtype=np.float64)))
    if not rms > 0.0:
        raise InvalidSetting("the reference clip is silent")
    reference_text = f5_text.complete_reference_text(text)
    return PreparedClip(
        samples=resample(sound, clip.rate_hz, SAMPLE_RATE_HZ),
        rms=rms,
        text=f5_text.conditioning_text(reference_text),
        reference_text=reference_text,
        duration_s=len(sound) / clip.rate_hz,
    )


@dataclass(frozen=True)
class _Clip:
    """Integer samples with pydub's arithmetic of milliseconds: what upstream cuts follows from its roundings."""

    frames: Integers
    rate_hz: int
    bits: int

    @staticmethod
    def of(samples: npt.NDArray[np.generic], rate_hz: int) -> _Clip:
        if samples.ndim not in (1, 2) or not samples.size:
            raise InvalidSetting(f"the reference clip must be [frames] or [frames, channels], not {samples.shape}")
        frames = samples.reshape(len(samples), -1)
        if frames.dtype in (np.int16, np.int32):
            return _Clip(frames.astype(np.int32), rate_hz, frames.dtype.itemsize * 8)
        if frames.dtype in (np.float32, np.float64):
            integers, bits = _as_integers(frames.astype(np.float64))
            return _Clip(integers, rate_hz, bits)
        raise InvalidSetting(f"samples of the type {frames.dtype} are not supported")

    def floats(self) -> npt.NDArray[np.float32]:
        sound: npt.NDArray[np.float32] = self.frames.astype(np.float32) / np.float32(1 << (self.bits - 1))
        return sound

    @property
    def ms(self) -> int:
        return round(1000 * (len(self.frames) / self.rate_hz))

    def cut(self, start_ms: int, end_ms: int) -> Integers:
        """Filled up with silence where the rounded length goes past the last frame."""
        start, end = self._place(min(start_ms, self.ms)), self._place(min(end_ms, self.ms))
        piece = self.frames[start:end]
        return np.pad(piece, ((0, end - start - len(piece)), (0, 0))) if len(piece) < end - start else piece

    def cut_sound(self, sound: npt.NDArray[np.float32], start_ms: int, end_ms: int) -> npt.NDArray[np.float32]:
        """The same piece of other samples of this length and rate, filled up in the same way."""
        start, end = self._place(min(start_ms, self.ms)), self._place(min(end_ms, self.ms))
        piece = sound[start:end]
        return np.pad(piece, (0, max(0, end - start - len(piece))))

    def _place(self, ms: int) -> int:
        return int(ms * (self.rate_hz / 1000.0))

    def with_frames(self, frames: Integers) -> _Clip:
        return _Clip(frames, self.rate_hz, self.bits)

    def with_tail(self) -> _Clip:
        frames = int(_SILENT_RATE_HZ * (_TAIL_MS / 1000.0))
        if self.rate_hz != _SILENT_RATE_HZ:
            frames = (frames - 1) * self.rate_hz // _SILENT_RATE_HZ + 1
        return self.with_frames(np.pad(self.frames, ((0, frames), (0, 0))))

    def rms(self, windows_ms: list[tuple[int, int]]) -> list[int]:
        """Of each window, rounded down, over all channels."""
        sums = np.cumsum(np.square(self.frames.astype(np.float64)).sum(axis=1))
        sums = np.concatenate(([0.0], sums))
        levels = []
        for start_ms, end_ms in windows_ms:
            start, end = self._place(min(start_ms, self.ms)), self._place(min(end_ms, self.ms))
            last = len(self.frames)
            energy = max(0.0, float(sums[min(end, last)] - sums[min(start, last)]))
            count = (end - start) * self.frames.shape[1]
            levels.append(int(math.sqrt(energy / count)) if count else 0)
        return levels

    @property
    def full_scale(self) -> float:
        return float(1 << (self.bits - 1))


def _as_integers(sound: npt.NDArray[np.float64]) -> tuple[Integers, int]:
    """The integers that were read as floats; 32 bits for what 16 do not hold. ``(frames, bits)``."""
    if not np.isfinite(sound).all():
        raise InvalidSetting("the reference clip holds samples that are not numbers")
    for bits in (16, 32):
        scale = float(1 << (bits - 1))
        integers = np.clip(np.rint(sound * scale), -scale, scale - 1)
        if bits == 32 or (integers == sound * scale).all():
            break
    return integers.astype(np.int32), bits


def _shorten(clip: _Clip) -> _Clip:
    """Cuts at long silences, at short ones if that left too much, and in the middle of speech if that did too."""
    kept = _join(clip, 1_000, -50.0)
    if kept.ms > _MAX_CLIP_MS:
        kept = _join(clip, 100, -40.0)
    if kept.ms > _MAX_CLIP_MS:
        kept = kept.with_frames(kept.cut(0, _MAX_CLIP_MS))
    return kept


def _join(clip: _Clip, silence_ms: int, silence_dbfs: float) -> _Clip:
    rate_hz = max(clip.rate_hz, _SILENT_RATE_HZ)
    kept = _Clip(np.zeros((0, clip.frames.shape[1]), np.int32), rate_hz, clip.bits)
    for start_ms, end_ms in _speech(clip, silence_ms, silence_dbfs):
        piece = _linear(clip.cut(start_ms, end_ms), clip.rate_hz, rate_hz, clip.bits)
        joined = kept.with_frames(np.concatenate((kept.frames, piece)))
        if kept.ms > _MIN_CLIP_MS and joined.ms > _MAX_CLIP_MS:
            break
        kept = joined
    return kept


def shorten_silences(pcm: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """24 kHz speech with every silence of over a second shortened to one.

    Upstream: ``remove_silence_for_generated_wav``.
    """
    clip = _Clip.of(np.clip(np.rint(pcm * 32768.0), -32768, 32767).astype(np.int16), SAMPLE_RATE_HZ)
    kept = [clip.cut_sound(pcm, *piece) for piece in _speech(clip, 1_000, -50.0, _KEEP_SPOKEN_SILENCE_MS)]
    return np.concatenate(kept) if kept else pcm[:0]


def _speech(
    clip: _Clip, silence_ms: int, silence_dbfs: float, keep_ms: int = _KEEP_SILENCE_MS
) -> list[tuple[int, int]]:
    """Milliseconds from, to of the pieces between silences, each with up to ``keep_ms`` of those around it.

    Upstream: ``pydub.silence.split_on_silence``.
    """
    ranges = [(start - keep_ms, end + keep_ms) for start, end in _loud(clip, silence_ms, silence_dbfs)]
    pieces = [list(piece) for piece in ranges]
    for piece, following in pairwise(pieces):
        if following[0] < piece[1]:
            piece[1] = following[0] = (piece[1] + following[0]) // 2
    return [(max(start, 0), min(end, clip.ms)) for start, end in pieces]


def _loud(clip: _Clip, silence_ms: int, silence_dbfs: float) -> list[tuple[int, int]]:
    silences = list(_silences(clip, silence_ms, silence_dbfs))
    if not silences:
        return [(0, clip.ms)]
    if silences[0] == (0, clip.ms):
        return []
    starts = [0, *(end for _, end in silences)]
    loud = list(zip(starts, (start for start, _ in silences), strict=False))
    if starts[-1] != clip.ms:
        loud.append((starts[-1], clip.ms))
    return loud[1:] if loud[0] == (0, 0) else loud


def _silences(clip: _Clip, silence_ms: int, silence_dbfs: float) -> Iterator[tuple[int, int]]:
    if clip.ms < silence_ms:
        return
    last = clip.ms - silence_ms
    places = range(0, last + 1, _SEEK_MS)
    tried = list(chain(places, [last]) if last % _SEEK_MS else places)
    limit = 10 ** (silence_dbfs / 20) * clip.full_scale
    levels = clip.rms([(place, place + silence_ms) for place in tried])
    quiet = [place for place, level in zip(tried, levels, strict=True) if level <= limit]
    if not quiet:
        return
    start = before = quiet[0]
    for place in quiet[1:]:
        if place != before + _SEEK_MS and place > before + silence_ms:
            yield start, before + silence_ms
            start = place
        before = place
    yield start, before + silence_ms


def _trim_edges(clip: _Clip) -> _Clip:
    """Upstream: ``remove_silence_edges``."""
    trimmed = clip.with_frames(clip.cut(_quiet_edge_ms(clip), clip.ms))
    end_ms = _quiet_edge_ms(trimmed.with_frames(trimmed.frames[::-1]))
    return trimmed.with_frames(trimmed.cut(0, trimmed.ms - end_ms)) if end_ms else trimmed


def _quiet_edge_ms(clip: _Clip) -> int:
    edge_ms = 0
    levels = clip.rms([(place, place + _EDGE_MS) for place in range(0, clip.ms, _EDGE_MS)])
    for level in levels:
        if level and 20 * math.log(level / clip.full_scale, 10) >= _EDGE_DBFS:
            break
        edge_ms += _EDGE_MS
    return min(edge_ms, clip.ms)


def _linear(frames: Integers, from_hz: int, to_hz: int, bits: int) -> Integers:
    """Linear interpolation from the silence before the first frame, rounded towards zero in 32 bits.

    Upstream: ``audioop.ratecv`` without a filter, which pydub brings a clip below 11,025 Hz up with.
    """
    if from_hz == to_hz or not len(frames):
        return frames
    lift = 32 - bits
    step = math.gcd(from_hz, to_hz)
    read, made = from_hz // step, to_hz // step
    places = np.arange((len(frames) - 1) * made // read + 1) * read
    current = -(-places // made)
    share = (current * made - places)[:, None]
    lifted = np.concatenate((np.zeros((1, frames.shape[1])), frames.astype(np.float64) * (1 << lift)))
    mixed = np.trunc((lifted[current] * share + lifted[current + 1] * (made - share)) / made)
    return (mixed.astype(np.int64) >> lift).astype(np.int32)
