"""The engine protocol: how a speech model meets the server.

An engine is stepwise: the server admits segments into slots, asks for one step of exactly the slots it names, and gets
sound back as it is finished. A model that speaks a whole segment at once implements :class:`WholeSegmentEngine` and is
adapted by :class:`WholeSegmentAdapter` (one step per segment).

Threads: ``admit``, ``step``, ``cancel``, ``forget`` and ``close`` are called on one thread, which also loads the
engine, so an engine needs no locks for its slots. ``prepare`` and ``normalise`` are called on a second thread at the
same time: they must be thread-safe and must not run a model step.

Engines are found through the entry-point group ``ishowtts.engines``: name -> a callable
``load(options: Mapping[str, object], threads: int) -> Engine``.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.float32]
"""Mono speech: shape ``[samples]``, float32, C-contiguous, range -1 to 1, at ``EngineInfo.sample_rate_hz``."""


@dataclass(frozen=True)
class Cost:
    """What a segment costs, fitted at warm-up. Lengths are in grapheme clusters of the segment's text.

    ``step_ms = fixed_ms + ms_per_char * (characters of all slots in the step)``.
    """

    steps: int
    """Steps that one segment takes."""
    fixed_ms: float
    ms_per_char: float
    audio_ms_per_char: float
    """Speech that comes out, at speed 1."""


@dataclass(frozen=True)
class EngineInfo:
    """What an engine tells about itself once it is loaded."""

    name: str
    revision: str
    """Changes whenever the same request would give other samples: weights, numeric path, text normalisation."""
    sample_rate_hz: int
    languages: tuple[str, ...]
    """BCP 47, most preferred first; empty: any."""
    scripts: tuple[str, ...]
    """ISO 15924 codes of the scripts whose letters it can say (``"Latn"``); empty: any."""
    clones_voices: bool
    licence: str
    """SPDX expression of the weights."""
    device: str
    max_segment_chars: int
    """The longest segment worth giving, in grapheme clusters: 1,000,000 at most."""
    cost: Cost
    max_slots: int = 1
    """States that fit memory at once: 1,024 at most."""
    max_shared: int = 1
    """Slots that gain from sharing one step: 1 on a CPU, many on a GPU."""
    params: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "additionalProperties": False})
    """JSON Schema of the per-request parameters beside ``speed`` and ``seed``. A property with ``"x-whole-text": True``
    is about the whole text (its length in seconds): with it a text comes in one segment, however long. One with
    ``"x-reads-links": True`` turns ``reads_links`` off where a request sets it to false."""
    shapes_voices: bool = False
    """Whether ``prepare`` heeds :attr:`Voice.pitch_semitones` and :attr:`Voice.formant_semitones`; else the server
    changes the sound that comes."""
    reads_links: bool = False
    """Whether of a link (an address such as ``https://example.com/a?b=c``) the host alone is said, as
    :mod:`ishowtts.text.web` reads them. Links then come whole, up to 2048 characters of them beyond
    ``max_segment_chars``; else one that is too long for a segment is cut like any word."""


@dataclass(frozen=True)
class Voice:
    """One version of a voice, as the library holds it."""

    id: str
    version: str
    """A hash of all that changes its sound."""
    languages: tuple[str, ...]
    hints: Mapping[str, Any]
    """The voice's own table for this engine (``[engine.<name>]`` in voice.toml); empty if it has none."""
    reference_audio: bytes | None
    """The clip to clone, if the voice has one: a WAV file. It is in memory, whatever becomes of the file on disk."""
    reference_text: str | None
    """What is said in it."""
    pitch_semitones: float = 0.0
    """-12 to 12, beyond what the hints say."""
    formant_semitones: float = 0.0
    """-6 to 6: how far the resonances of the mouth are moved, beyond what the hints say."""


@runtime_checkable
class Conditioning(Protocol):
    """A voice, prepared. Opaque to the server but for its size."""

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True)
class Segment:
    """What to say: one sentence or so, already bounded by ``max_segment_chars``."""

    text: str
    language: str | None
    """BCP 47, where the request or the voice says it."""
    seed: int
    """0 to 2**53 - 1. The same segment, conditioning and seed give the same samples."""
    speed: float
    """0.25 to 4; 1 is the voice's own pace."""
    params: Mapping[str, Any]
    """Engine parameters of the request; the engine checks them (:class:`~ishowtts.errors.InvalidSetting`)."""
    budget_ms: float | None = None
    """Time on the engine, as :class:`Cost` counts it, that it may take and everybody who waits is still served in time.
    For engines that can be faster at a loss, where a request allows it. None: its sound may not depend on that."""


@dataclass(frozen=True)
class Admitted:
    """What ``admit`` may give instead of the steps alone: what it chose where the request left the choice to it."""

    steps_left: int
    params: Mapping[str, Any]
    """As a request could have given them. Listeners are told."""
    hurried: bool = False
    """With more time it would have chosen otherwise: the sound is not kept for those who ask later."""


@dataclass(frozen=True)
class Spoken:
    """A piece of what will be said and where it stands in the original text (code points, end exclusive)."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Word:
    """When a word sounds and where it stands in ``Segment.text`` (code points, end exclusive)."""

    text: str
    """As it is said: "one hundred dollars" for "$100"."""
    start: int
    end: int
    start_ms: float
    """From the segment's beginning."""
    end_ms: float


@dataclass(frozen=True)
class Transcript:
    """What a chunk says. Those of all chunks of a segment are put together, in order."""

    spoken: str
    words: tuple[Word, ...] = ()
    """In order; empty where the model tells no durations."""


@dataclass(frozen=True)
class Chunk:
    """Sound from one slot. After ``last`` or ``error`` the slot is free."""

    slot: int
    pcm: Pcm
    last: bool
    error: BaseException | None = None
    transcript: Transcript | None = None


@runtime_checkable
class Engine(Protocol):
    """What the server calls. See the module's header for the threads."""

    @property
    def info(self) -> EngineInfo: ...

    def normalise(self, text: str, language: str | None) -> list[Spoken]:
        """What will be said, with spans in ``text``. Raises SegmentRefused where ``admit`` would."""
        ...

    def prepare(self, voice: Voice) -> Conditioning:
        """Everything about ``voice`` that does not depend on the text. Raises InvalidSetting."""
        ...

    def admit(self, slot: int, segment: Segment, conditioning: Conditioning) -> int | Admitted:
        """Puts a segment into a free slot; returns the steps left (at least 1). Raises SegmentRefused."""
        ...

    def step(self, slots: Sequence[int]) -> Iterable[Chunk]:
        """Advances exactly these slots by one step; the others keep their state.

        A list, or a generator that gives what is finished while the rest is still made: each chunk goes out as it is
        taken. The step lasts until the generator ends.
        """
        ...

    def cancel(self, slot: int) -> None:
        """Frees the slot at once."""
        ...

    def forget(self, conditioning: Conditioning) -> None:
        """The server drops its reference after this call."""
        ...

    def close(self) -> None: ...


class WholeSegmentEngine(abc.ABC):
    """Base for engines that speak a whole segment at once."""

    @property
    @abc.abstractmethod
    def info(self) -> EngineInfo: ...

    @abc.abstractmethod
    def normalise(self, text: str, language: str | None) -> list[Spoken]: ...

    @abc.abstractmethod
    def prepare(self, voice: Voice) -> Conditioning: ...

    @abc.abstractmethod
    def check(self, segment: Segment, conditioning: Conditioning) -> None:
        """Raises SegmentRefused or InvalidSetting for what ``speak`` could not say. Cheap."""

    @abc.abstractmethod
    def speak(self, segment: Segment, conditioning: Conditioning) -> Pcm: ...

    def transcript(self, segment: Segment, conditioning: Conditioning) -> Transcript | None:
        """What ``speak`` has said, where that may differ from the text. Cheap."""
        return None

    def close(self) -> None:  # noqa: B027 - most engines have nothing to release
        """Releases the model."""


class WholeSegmentAdapter:
    """Gives a :class:`WholeSegmentEngine` the stepwise shape: one step per segment."""

    def __init__(self, engine: WholeSegmentEngine) -> None:
        self._engine = engine
        self._slots: dict[int, tuple[Segment, Conditioning]] = {}

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def normalise(self, text: str, language: str | None) -> list[Spoken]:
        return self._engine.normalise(text, language)

    def prepare(self, voice: Voice) -> Conditioning:
        return self._engine.prepare(voice)

    def admit(self, slot: int, segment: Segment, conditioning: Conditioning) -> int:
        self._engine.check(segment, conditioning)
        self._slots[slot] = (segment, conditioning)
        return 1

    def step(self, slots: Sequence[int]) -> Iterator[Chunk]:
        return (self._speak(slot) for slot in slots)

    def _speak(self, slot: int) -> Chunk:
        segment, conditioning = self._slots.pop(slot)
        try:
            pcm = self._engine.speak(segment, conditioning)
            return Chunk(slot, pcm, last=True, transcript=self._engine.transcript(segment, conditioning))
        except Exception as error:
            return Chunk(slot, np.zeros(0, np.float32), last=True, error=error)

    def cancel(self, slot: int) -> None:
        self._slots.pop(slot, None)

    def forget(self, conditioning: Conditioning) -> None:
        pass

    def close(self) -> None:
        self._slots.clear()
        self._engine.close()
