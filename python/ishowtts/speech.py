"""Speech as Python holds it: samples, captions, a file, a player in a notebook."""

from __future__ import annotations

import base64
import html
import io
import itertools
import wave
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ishowtts.engine import Pcm

if TYPE_CHECKING:
    import os

    from ishowtts._native import Stream

_WAVEFORM_BARS = 240
_WAVEFORM_HEIGHT = 48


@dataclass(frozen=True)
class CaptionWord:
    """One word. Times are ms from the beginning of the speech; characters are code points of the text that was given,
    the end exclusive."""

    text: str
    """As said: "one hundred dollars" for "$100"."""
    start_ms: float
    end_ms: float
    start_char: int
    end_char: int


@dataclass(frozen=True)
class Caption:
    """One segment, a sentence or so; times and characters as in :class:`CaptionWord`."""

    segment: int
    text: str
    """As written."""
    spoken: str
    """As said, where the engine tells; else as written."""
    start_ms: float
    end_ms: float
    start_char: int
    end_char: int
    words: tuple[CaptionWord, ...]
    """Empty where the engine tells no durations."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """What the engine chose for this segment where the request's params left the choice to it."""

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Caption:
        words = tuple(CaptionWord(**word) for word in fields["words"])
        return Caption(**{**fields, "words": words})


@dataclass(frozen=True, repr=False)
class Audio:
    """A whole speech. In a notebook it shows itself as a player with its waveform."""

    samples: Pcm
    """Mono: shape ``[samples]``, float32, -1 to 1."""
    sample_rate_hz: int
    captions: tuple[Caption, ...]
    engine: str
    voice: str
    seed: int
    """Given again, it gives the same samples."""
    text: str
    """What was to be said, as it was given."""

    @property
    def duration_s(self) -> float:
        return self.samples.size / self.sample_rate_hz

    def wav(self) -> bytes:
        """A mono 16-bit WAV file: the same samples that the server sends."""
        scaled = np.rint(np.clip(self.samples, -1.0, 1.0) * np.float32(32_767.0)).astype("<i2")
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(self.sample_rate_hz)
            writer.writeframes(scaled.tobytes())
        return file.getvalue()

    def subtitles(self, format: str = "srt") -> str:
        """The captions as a SubRip ("srt") or WebVTT ("vtt") file. Raises ValueError for another format."""
        from ishowtts._native import subtitles

        return subtitles(format, self.text, [asdict(caption) for caption in self.captions])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a WAV file. Raises ValueError for another suffix, OSError."""
        path = Path(path)
        if path.suffix.lower() != ".wav":
            raise ValueError(f"{path.name}: speech is saved as .wav")
        path.write_bytes(self.wav())

    def __repr__(self) -> str:
        return (
            f"Audio({self.duration_s:.2f} s at {self.sample_rate_hz} Hz, {len(self.captions)} captions, "
            f"engine={self.engine!r}, voice={self.voice!r}, seed={self.seed})"
        )

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.wav()).decode("ascii")
        text = html.escape(" ".join(caption.text for caption in self.captions))
        return (
            f'<figure style="margin:0;max-width:{2 * _WAVEFORM_BARS}px">{_waveform(self.samples)}'
            f'<audio controls style="width:100%" src="data:audio/wav;base64,{data}"></audio>'
            f"<figcaption>{text}</figcaption></figure>"
        )


def _waveform(samples: Pcm) -> str:
    """The peaks of equal parts, as an SVG."""
    edges = np.linspace(0, samples.size, _WAVEFORM_BARS + 1).astype(int)
    peaks = [float(np.abs(samples[a:b]).max()) if b > a else 0.0 for a, b in itertools.pairwise(edges)]
    middle = _WAVEFORM_HEIGHT / 2
    bars = "".join(
        f"M{2 * index + 1} {middle - max(peak * middle, 0.5):.1f}V{middle + max(peak * middle, 0.5):.1f}"
        for index, peak in enumerate(peaks)
    )
    return (
        f'<svg role="img" aria-label="waveform" viewBox="0 0 {2 * _WAVEFORM_BARS} {_WAVEFORM_HEIGHT}" '
        f'width="100%" preserveAspectRatio="none"><path d="{bars}" stroke="currentColor" stroke-width="1"/></svg>'
    )


class SpeechStream:
    """Speech while it is made: an iterator of arrays like :attr:`Audio.samples`, sync or async.

    ``close`` or the end of its ``with`` block gives the rest up.
    """

    def __init__(self, stream: Stream, text: str) -> None:
        self._stream: Stream | None = stream
        self.text = text
        self.sample_rate_hz = stream.sample_rate_hz
        self.engine = stream.engine
        self.voice = stream.voice
        self.seed = stream.seed
        self.cached = stream.cached
        """Nothing had to be spoken."""
        self.segments = stream.segments
        self._captions: tuple[Caption, ...] = ()

    @property
    def captions(self) -> tuple[Caption, ...]:
        """Of the segments read so far: a segment's caption is there with its last sound."""
        if self._stream is not None:
            told = self._stream.captions
            self._captions += tuple(Caption.of(fields) for fields in told[len(self._captions) :])
        return self._captions

    def __iter__(self) -> Iterator[Pcm]:
        return self

    def __next__(self) -> Pcm:
        """Waits without the interpreter lock. Raises SpeechError if the speech ends early."""
        if self._stream is None:
            raise StopIteration
        return next(self._stream)

    def __aiter__(self) -> AsyncIterator[Pcm]:
        return self

    async def __anext__(self) -> Pcm:
        import asyncio

        pcm = await asyncio.to_thread(self._next_or_none)
        if pcm is None:
            raise StopAsyncIteration
        return pcm

    def _next_or_none(self) -> Pcm | None:
        # StopIteration cannot pass through a future.
        return next(self, None)

    def close(self) -> None:
        captions = self.captions
        self._stream, self._captions = None, captions

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> SpeechStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def collect(self) -> Audio:
        """Reads to the end. Raises SpeechError."""
        pieces = list(self)
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        return Audio(samples, self.sample_rate_hz, self.captions, self.engine, self.voice, self.seed, self.text)
