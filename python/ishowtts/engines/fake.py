"""fake: a deterministic tone for tests and simulations. Its pitch follows text, voice, reference clip and seed, its
length the text and the speed; its options set how long everything takes. With ``faults = true``, markers in the text
make it fail in every way in which an engine can (``[raise]``, ``[nan]``, ``[hang]`` …, see ``_FAULTS``). ``[choose]``
makes it tell what it chose, and that this was for want of time if it has less than a second."""

from __future__ import annotations

import ctypes
import hashlib
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ishowtts.engine import (
    Admitted,
    Chunk,
    Conditioning,
    Cost,
    EngineInfo,
    Pcm,
    Segment,
    Spoken,
    Transcript,
    Voice,
    Word,
)
from ishowtts.engines import options
from ishowtts.errors import EngineBroken, InvalidSetting, SegmentRefused, Unavailable
from ishowtts.text import web

_AMPLITUDE = 0.25
_HANG_S = 24 * 3600.0
_SLOW_FACTOR = 20
_FAULTS = (
    "choose",
    "refuse",
    "invalid",
    "raise",
    "late-raise",
    "error",
    "nan",
    "inf",
    "empty",
    "silent",
    "dtype",
    "shape",
    "slow",
    "backwards",
    "tear",
    "wait",
    "hang",
    "spin",
    "freeze",
    "exit",
    "break",
)


LET_GO = threading.Event()
"""What ``[wait]`` waits for."""


@dataclass(frozen=True)
class Options:
    """``[engines.fake]``."""

    load_ms: float = 0.0
    prepare_ms: float = 0.0
    conditioning_kib: int = 0
    """Of memory that each prepared voice takes."""
    step_ms: float = 0.0
    """Of one step, whatever it carries."""
    ms_per_char: float = 0.0
    """Of one step, for every character of every slot in it."""
    audio_ms_per_char: float = 60.0
    steps: int = 1
    """That one segment takes. Each brings its share of the sound."""
    slots: int = 1
    shared: int = 1
    sample_rate_hz: int = 24_000
    scripts: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_segment_chars: int = 200
    fail_load: bool = False
    absent: bool = False
    """Whether what it would have to fetch is not to be had."""
    faults: bool = False
    """Whether markers in the text make it fail."""


@dataclass(frozen=True)
class Tone:
    """A voice, prepared."""

    voice_id: str
    clip: str
    """Tells reference clips apart; empty where the voice has none."""
    ballast: bytes = b""

    @property
    def nbytes(self) -> int:
        return len(self.voice_id) + len(self.ballast)


@dataclass
class _Saying:
    segment: Segment
    pcm: Pcm
    faults: frozenset[str]
    step: int = 0


class Fake:
    """Implements :class:`~ishowtts.engine.Engine`."""

    def __init__(self, chosen: Options) -> None:
        self._options = chosen
        self._saying: dict[int, _Saying] = {}
        self._info = EngineInfo(
            name="fake",
            revision="1",
            sample_rate_hz=chosen.sample_rate_hz,
            languages=chosen.languages,
            scripts=chosen.scripts,
            clones_voices=True,
            licence="Apache-2.0",
            device="cpu",
            max_segment_chars=chosen.max_segment_chars,
            reads_links=True,
            cost=Cost(chosen.steps, chosen.step_ms, chosen.ms_per_char, chosen.audio_ms_per_char),
            max_slots=chosen.slots,
            max_shared=chosen.shared,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def normalise(self, text: str, language: str | None) -> list[Spoken]:
        return web.read(text, language)

    def prepare(self, voice: Voice) -> Conditioning:
        time.sleep(self._options.prepare_ms / 1e3)
        if "refuse" in voice.hints:
            raise InvalidSetting(f"the fake engine does not take the voice {voice.id!r}")
        clip = voice.reference_audio
        clip_hash = "" if clip is None else hashlib.blake2b(clip, digest_size=8).hexdigest()
        # Written to, so that it is memory and not a promise of it.
        return Tone(voice.id, clip_hash, b"\1" * (self._options.conditioning_kib << 10))

    def admit(self, slot: int, segment: Segment, conditioning: Conditioning) -> int | Admitted:
        if not isinstance(conditioning, Tone):
            raise TypeError("a conditioning of another engine")
        if slot in self._saying or not 0 <= slot < self._options.slots:
            raise RuntimeError(f"slot {slot} is not free")
        if segment.params:
            raise InvalidSetting(f"the fake engine has no parameter {next(iter(segment.params))!r}")
        faults = frozenset(name for name in _FAULTS if self._options.faults and f"[{name}]" in segment.text)
        if "refuse" in faults:
            raise SegmentRefused("the fake engine was told to refuse this")
        if "invalid" in faults:
            raise InvalidSetting("the fake engine was told not to accept this")
        self._saying[slot] = _Saying(segment, self._tone(segment, conditioning), faults)
        if "choose" in faults:
            hurried = segment.budget_ms is not None and segment.budget_ms < 1e3
            return Admitted(self._options.steps, {"steps": self._options.steps, "timed": hurried}, hurried)
        return self._options.steps

    def step(self, slots: Sequence[int]) -> Iterator[Chunk]:
        sayings = [self._saying[slot] for slot in slots]
        chars = sum(len(saying.segment.text) for saying in sayings)
        slow = _SLOW_FACTOR if any("slow" in saying.faults for saying in sayings) else 1
        elapsed_ms = self._options.step_ms + self._options.ms_per_char * chars
        if elapsed_ms > 0 or slow > 1:
            time.sleep(max(elapsed_ms, 1.0) * slow / 1e3)
        for saying in sayings:
            self._fail(saying)
        for slot in slots:
            yield self._advance(slot)

    def cancel(self, slot: int) -> None:
        self._saying.pop(slot, None)

    def forget(self, conditioning: Conditioning) -> None:
        if not isinstance(conditioning, Tone):
            raise TypeError("a conditioning of another engine")

    def close(self) -> None:
        self._saying.clear()

    def _fail(self, saying: _Saying) -> None:
        """What ends or stops the step as a whole."""
        if "hang" in saying.faults:
            time.sleep(_HANG_S)
        while "spin" in saying.faults:
            pass
        if "freeze" in saying.faults:
            # Unlike CDLL, PyDLL keeps the interpreter's lock: nothing in Python can run any more.
            ctypes.PyDLL(None).sleep(int(_HANG_S))
        if "raise" in saying.faults or ("late-raise" in saying.faults and saying.step > 0):
            raise RuntimeError("the fake engine was told to raise; /a/path that no client may see")
        if "exit" in saying.faults:
            raise SystemExit(3)
        if "break" in saying.faults:
            raise EngineBroken("the fake engine was told to break")

    def _advance(self, slot: int) -> Chunk:
        saying = self._saying[slot]
        if "tear" in saying.faults:
            raise RuntimeError("the fake engine was told to raise between two slots")
        if "wait" in saying.faults:
            LET_GO.wait()
        steps = self._options.steps
        start, end = (len(saying.pcm) * step // steps for step in (saying.step, saying.step + 1))
        saying.step += 1
        last = saying.step == steps
        if "error" in saying.faults:
            del self._saying[slot]
            return Chunk(slot, np.zeros(0, np.float32), last=True, error=ValueError("told to fail"))
        if last:
            del self._saying[slot]
        transcript = self._transcript(saying) if saying.step == 1 else None
        return Chunk(slot, _spoil(saying.pcm[start:end], saying.faults), last, transcript=transcript)

    def _transcript(self, saying: _Saying) -> Transcript:
        text = saying.segment.text
        char_ms = self._options.audio_ms_per_char / saying.segment.speed
        words, unsaid = [], 0
        for found in re.finditer(r"\S+", text):
            said = web.say(found.group(), saying.segment.language)
            start = found.start() - unsaid
            unsaid += len(found.group()) - len(said)
            words.append(Word(said, *found.span(), start * char_ms, (start + len(said)) * char_ms))
        if "backwards" in saying.faults:
            words.append(Word("backwards", 0, 0, 1.0, 0.0))
        return Transcript(web.say(text, saying.segment.language), tuple(words))

    def _tone(self, segment: Segment, tone: Tone) -> Pcm:
        rate = self._options.sample_rate_hz
        said = web.say(segment.text, segment.language)
        seconds = self._options.audio_ms_per_char * len(said) / 1e3 / segment.speed
        key = f"{segment.seed}\0{tone.voice_id}{tone.clip}\0{segment.text}".encode("utf-8", "surrogatepass")
        pitch_hz = 200 + hashlib.blake2b(key, digest_size=2).digest()[0]
        phase = np.arange(max(1, round(seconds * rate))) * (2 * np.pi * pitch_hz / rate)
        # A cosine: well above silence from the first sample.
        pcm: Pcm = (_AMPLITUDE * np.cos(phase)).astype(np.float32)
        return pcm


def _spoil(pcm: Pcm, faults: frozenset[str]) -> Pcm:
    if "nan" in faults:
        return np.full_like(pcm, np.nan)
    if "inf" in faults:
        return np.full_like(pcm, np.inf)
    if "empty" in faults:
        return pcm[:0]
    if "silent" in faults:
        return np.zeros_like(pcm)
    if "dtype" in faults:
        return pcm.astype(np.float64)
    if "shape" in faults:
        return pcm.reshape(1, -1)
    return np.ascontiguousarray(pcm)


def check_options(options_table: Mapping[str, object], threads: int) -> Options:
    """Raises InvalidSetting."""
    chosen = options.read(Options, "fake", options_table)
    if chosen.steps < 1 or chosen.slots < 1 or chosen.shared < 1:
        raise InvalidSetting("[engines.fake] steps, slots and shared must be at least 1")
    return chosen


def load(options_table: Mapping[str, object], threads: int) -> Fake:
    """The entry point."""
    chosen = check_options(options_table, threads)
    time.sleep(chosen.load_ms / 1e3)
    if chosen.absent:
        raise Unavailable("what the fake engine needs could not be fetched; try again later") from OSError("/a/path")
    if chosen.fail_load:
        raise RuntimeError("the fake engine was told to fail at load")
    return Fake(chosen)
