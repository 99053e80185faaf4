"""hibari: the default engine. A small English neural voice that its wheel holds whole (Apache-2.0); nothing is
downloaded. About 150 times real time on one core.

A segment is turned into phonemes when it is admitted; each step speaks one piece of at most 400 phonemes. Slots that
share a step are spoken side by side on threads of their own: more than half of the time lies in onnxruntime and NumPy,
which let go of the interpreter.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ishowtts.engine import Chunk, Conditioning, Cost, EngineInfo, Pcm, Segment, Spoken, Transcript, Voice, Word
from ishowtts.engines import hibari_text, options
from ishowtts.engines.hibari_phonemes import Phonemes, Piece
from ishowtts.engines.timescale import change_tempo
from ishowtts.errors import InvalidSetting, SegmentRefused

_LARGEST_PITCH, _LARGEST_FORMANT = 12.0, 6.0
"""Semitones, up and down."""
_MAX_SEGMENT_CHARS = 280
"""About 300 phonemes of prose: one model run, well under its 400."""
_SLOWEST, _FASTEST = 0.5, 1.25
"""Speeds that the model keeps its words at. Faster ones are spoken at 1 and compressed: at 2 Whisper reads every word
of that and misses one in six of the model's own; from 2 on both lose words, and the model's loses fewer."""
_VOICED_HZ = 40.0
_DURATIONS = b"/Clip_output_0"
"""What the model makes of the length of each id, rounded."""
_ID_FRAMES, _FRAME_MS = 2, 12.5
_ID_MS = _ID_FRAMES * _FRAME_MS
_WARM_UP = (
    "Warm, quixotic zephyrs.",
    "The harbour lights came on one by one, and the last boats turned home.",
    "Nobody expected the old lighthouse to shine again after all those quiet years, but on the first evening of spring "
    "its beam swept over the bay, and people came out of their houses to look at it until it was late.",
)
"""Short, middle and long, to fit the cost; with words that no lexicon holds, to load the network for those."""


@dataclass(frozen=True)
class Options:
    """``[engines.hibari]``."""

    threads: int = 1
    """Of one model run. One is fastest for so small a model."""
    slots: int = 0
    """Segments that are spoken side by side; 0: two, where the program may use two threads."""


@dataclass(frozen=True)
class Preset:
    """A voice, prepared: its numbers."""

    pitch_ratio: float
    formant_ratio: float = 1.0
    """How far the resonances of the mouth are moved: above 1, a smaller mouth."""

    @property
    def nbytes(self) -> int:
        return 16


@dataclass
class _Saying:
    pieces: list[Piece]
    preset: Preset
    speed: float
    noise: np.random.Generator
    places: list[tuple[int, int]]
    """Where each word stands in the segment's text."""
    spoken_ms: float = 0.0


class Hibari:
    """Implements :class:`~ishowtts.engine.Engine`."""

    def __init__(self, chosen: Options) -> None:
        import onnxruntime  # type: ignore[import-untyped]
        from hibari import dsp  # type: ignore[import-untyped]
        from hibari.voices import voice_path  # type: ignore[import-untyped]

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = chosen.threads
        settings.inter_op_num_threads = 1
        # Its arena would keep the longest sentence's memory for ever, to save nothing that can be measured.
        settings.enable_cpu_mem_arena = False
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.log_severity_level = 3
        model = Path(voice_path("heart", download_missing=False))
        self._session = _session(onnxruntime, settings, model)
        self._dsp = dsp
        self._phonemes = Phonemes(onnxruntime, settings)
        self._saying: dict[int, _Saying] = {}
        self._side_by_side = ThreadPoolExecutor(chosen.slots, thread_name_prefix="hibari")
        self._info = EngineInfo(
            name="hibari",
            revision=_revision(model, dsp.FFT_BACKEND),
            sample_rate_hz=dsp.SR,
            languages=("en",),
            scripts=("Latn",),
            clones_voices=False,
            shapes_voices=True,
            licence="Apache-2.0",
            device="cpu",
            max_segment_chars=_MAX_SEGMENT_CHARS,
            reads_links=True,
            max_slots=chosen.slots,
            max_shared=chosen.slots,
            cost=Cost(steps=1, fixed_ms=5.0, ms_per_char=0.15, audio_ms_per_char=65.0),
        )
        self._info = replace(self._info, cost=self._fit())
        _give_back_memory()

    @property
    def info(self) -> EngineInfo:
        return self._info

    def normalise(self, text: str, language: str | None) -> list[Spoken]:
        return hibari_text.read(text)

    def prepare(self, voice: Voice) -> Conditioning:
        hints = dict(voice.hints)
        name = hints.pop("voice", "heart")
        if name != "heart":
            raise InvalidSetting(f"voice {voice.id!r}: hibari holds the voice 'heart' alone, not {name!r}")
        pitch = _semitones(voice, "pitch_semitones", hints.pop("pitch_semitones", 0.0), _LARGEST_PITCH)
        formant = _semitones(voice, "formant_semitones", hints.pop("formant_semitones", 0.0), _LARGEST_FORMANT)
        if hints:
            raise InvalidSetting(
                f"voice {voice.id!r}: hibari has no hint {next(iter(hints))!r}; known are: voice, pitch_semitones, "
                "formant_semitones"
            )
        return Preset(2.0 ** (pitch / 12.0), 2.0 ** (formant / 12.0))

    def admit(self, slot: int, segment: Segment, conditioning: Conditioning) -> int:
        if not isinstance(conditioning, Preset):
            raise TypeError(f"a conditioning of another engine: {type(conditioning).__name__}")
        if segment.params:
            raise InvalidSetting(f"hibari has no parameter {next(iter(segment.params))!r}")
        if segment.language is not None and segment.language.partition("-")[0].lower() != "en":
            raise SegmentRefused(f"hibari speaks English, not {segment.language!r}")
        read = hibari_text.read(segment.text)
        pieces = self._phonemes.pieces(" ".join(spoken.text for spoken in read))
        if not pieces:
            raise SegmentRefused(_nothing(segment.text))
        noise = np.random.default_rng(segment.seed)
        places = [(spoken.start, spoken.end) for spoken in read for _ in spoken.text.split()]
        self._saying[slot] = _Saying(pieces, conditioning, segment.speed, noise, places)
        return len(pieces)

    def step(self, slots: Sequence[int]) -> Iterator[Chunk]:
        if len(slots) == 1:
            yield self._advance(slots[0])
            return
        # The shorter one's sound does not wait for the longer one's.
        for spoken in as_completed([self._side_by_side.submit(self._advance, slot) for slot in slots]):
            yield spoken.result()

    def cancel(self, slot: int) -> None:
        self._saying.pop(slot, None)

    def forget(self, conditioning: Conditioning) -> None:
        pass

    def close(self) -> None:
        self._side_by_side.shutdown()
        self._saying.clear()
        del self._session

    def _advance(self, slot: int) -> Chunk:
        saying = self._saying[slot]
        try:
            pcm, transcript = self._speak(saying.pieces.pop(0), saying)
        except Exception as error:
            del self._saying[slot]
            return Chunk(slot, np.zeros(0, np.float32), last=True, error=error)
        last = not saying.pieces
        if last:
            del self._saying[slot]
        return Chunk(slot, pcm, last, transcript=transcript)

    def _speak(self, piece: Piece, saying: _Saying) -> tuple[Pcm, Transcript]:
        speed = saying.speed
        spoken_at = max(speed, _SLOWEST) if speed <= _FASTEST else 1.0 if speed <= 2.0 else 2.0
        inputs = {"ids": np.asarray([piece.ids], np.int64), "speed": np.asarray([spoken_at], np.float32)}
        # Log magnitudes and phases of 601 bins a frame: harmonics (lh, th), noise (ln), the free rest (lr, phi).
        lh, th, ln, lr, phi, f0, *durations = self._session.run(None, inputs)
        lh, th, ln, lr, phi, f0 = (output[0] for output in (lh, th, ln, lr, phi, f0))
        preset = saying.preset
        if preset.pitch_ratio != 1.0 or preset.formant_ratio != 1.0:
            lh = _envelope(lh, f0, self._dsp.SR / self._dsp.N_FFT)
            f0 = np.where(f0 >= _VOICED_HZ, f0 * np.float32(preset.pitch_ratio), f0)
        if preset.formant_ratio != 1.0:
            lh, ln, lr = (_stretched(magnitude, preset.formant_ratio) for magnitude in (lh, ln, lr))
        pcm = self._dsp.synth(lh, th, ln, lr, phi, f0, saying.noise)
        pcm = change_tempo(pcm, speed / spoken_at, self._dsp.SR)
        ids_end_ms = np.cumsum(durations[0]) * _ID_MS * (spoken_at / speed) if durations else None
        transcript = _transcript(piece, saying, ids_end_ms)
        saying.spoken_ms += len(pcm) / self._dsp.SR * 1e3
        return np.ascontiguousarray(pcm, np.float32), transcript

    def _fit(self) -> Cost:
        """Speaks the warm-up sentences, which also makes every lazy part load, and times them."""
        slot, preset = 0, Preset(1.0)

        def speak(text: str) -> tuple[float, float]:
            segment = Segment(text, None, 0, 1.0, {})
            started = time.perf_counter()
            steps = self.admit(slot, segment, preset)
            samples = sum(len(chunk.pcm) for _ in range(steps) for chunk in self.step([slot]))
            return (time.perf_counter() - started) * 1e3, samples / self._dsp.SR * 1e3

        speak(_WARM_UP[0])
        timed = [min(speak(text) for _ in range(2)) for text in _WARM_UP]
        chars = np.array([len(text) for text in _WARM_UP], np.float64)
        elapsed_ms = np.array([elapsed for elapsed, _ in timed])
        ms_per_char, fixed_ms = np.polyfit(chars, elapsed_ms, 1)
        if fixed_ms < 0 or ms_per_char < 0:
            # Something else took the processor meanwhile: the mean is what is left to believe.
            fixed_ms, ms_per_char = 0.0, elapsed_ms.sum() / chars.sum()
        audio_ms = sum(audio for _, audio in timed)
        return Cost(1, float(fixed_ms), float(ms_per_char), float(audio_ms / chars.sum()))


def load(options_table: Mapping[str, object], threads: int) -> Hibari:
    """The entry point. ``threads`` is the program's budget; the model needs one of it."""
    chosen = check_options(options_table, threads)
    return Hibari(replace(chosen, slots=chosen.slots or min(2, max(threads, 1))))


def check_options(options_table: Mapping[str, object], threads: int) -> Options:
    """Raises InvalidSetting."""
    chosen = options.read(Options, "hibari", options_table)
    if not 1 <= chosen.threads <= max(threads, 1):
        raise InvalidSetting(
            f"[engines.hibari] threads must be from 1 to [cpu] threads ({threads}), not {chosen.threads}"
        )
    if not 0 <= chosen.slots <= max(threads, 1):
        raise InvalidSetting(f"[engines.hibari] slots must be from 0 to [cpu] threads ({threads}), not {chosen.slots}")
    return chosen


def _give_back_memory() -> None:
    """What loading and warming up have freed goes back to the system, where the C library can do that (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _nothing(text: str) -> str:
    missed = [char for char in text if char.isalnum()]
    if not missed:
        return "there is nothing in it that can be said"
    return f"hibari finds nothing to say in {''.join(missed[:12])!r}"


def _envelope(log_magnitude: npt.NDArray[np.float32], f0: npt.NDArray[np.float32], bin_hz: float) -> Any:
    """The spectrum's envelope through the harmonics of ``f0``, for voiced frames; ``[bins, frames]`` like its input.

    The model is only right where it has learnt to be: on the harmonics. Between them it leaves spikes, on which
    the harmonics of another pitch would fall (peaks of 2.5 instead of 0.7 at -12 semitones).
    """
    bins = log_magnitude.shape[0]
    step = (f0 / bin_hz).astype(np.float32)
    voiced = f0 >= _VOICED_HZ
    step = np.where(voiced, step, 1.0)
    last = np.floor((bins - 1) / step)
    position = np.arange(bins, dtype=np.float32)[:, None] / step
    below = np.clip(np.floor(position), 1, last)
    above = np.minimum(below + 1, last)
    share = np.clip(position - below, 0.0, 1.0).astype(np.float32)
    frames = np.arange(log_magnitude.shape[1])

    def at(harmonic: npt.NDArray[np.float32]) -> Any:
        place = harmonic * step
        left = np.minimum(place.astype(np.intp), bins - 1)
        right = np.minimum(left + 1, bins - 1)
        part = (place - left).astype(np.float32)
        return log_magnitude[left, frames] * (1 - part) + log_magnitude[right, frames] * part

    return np.where(voiced, at(below) * (1 - share) + at(above) * share, log_magnitude)


def _stretched(log_magnitude: npt.NDArray[np.float32], ratio: float) -> Any:
    """The spectrum with everything in it at ``ratio`` times its frequency; ``[bins, frames]`` like its input. What was
    not there, above the highest frequency, goes on as quietly as it ends."""
    bins = log_magnitude.shape[0]
    place = np.minimum(np.arange(bins, dtype=np.float32) / np.float32(ratio), bins - 1)
    below = np.minimum(place.astype(np.intp), bins - 2)
    share = (place - below)[:, None].astype(np.float32)
    return log_magnitude[below] * (1 - share) + log_magnitude[below + 1] * share


def _semitones(voice: Voice, name: str, hint: object, most: float) -> float:
    """The hint of that name, and what the voice is shaped by beyond it."""
    if isinstance(hint, bool) or not isinstance(hint, (int, float)) or not abs(hint) <= most:
        raise InvalidSetting(f"voice {voice.id!r}: {name} must be a number from {-most:g} to {most:g}, not {hint!r}")
    together = hint + float(getattr(voice, name))
    if not abs(together) <= most:
        raise InvalidSetting(
            f"voice {voice.id!r}: {name} would be {together:g} altogether; hibari goes from {-most:g} to {most:g}"
        )
    return together


def _session(onnxruntime: Any, settings: Any, model: Path) -> Any:
    """The model, if possible with how long each id lasts as one more output.

    That is a value inside of its graph. Protocol buffers merge what follows into the message before it, so an output is
    added by appending it: field 7 of the model is the graph, 12 of that its outputs, 1 of those the name. In a file, as
    the same from memory leaves 15 MB more of it in use.
    """

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    providers = ["CPUExecutionProvider"]
    with contextlib.suppress(Exception), tempfile.NamedTemporaryFile(suffix=".onnx") as told, model.open("rb") as plain:
        shutil.copyfileobj(plain, told)
        told.write(field(7, field(12, field(1, _DURATIONS))))
        told.flush()
        session = onnxruntime.InferenceSession(told.name, settings, providers=providers)
        *_, f0, durations = session.run(None, {"ids": np.zeros((1, 3), np.int64), "speed": np.ones(1, np.float32)})
        if len(durations) == 3 and durations.sum() * _ID_FRAMES == f0.shape[1]:
            return session
    return onnxruntime.InferenceSession(str(model), settings, providers=providers)


def _transcript(piece: Piece, saying: _Saying, ids_end_ms: npt.NDArray[np.float64] | None) -> Transcript:
    words: list[Word] = []
    if ids_end_ms is None or any(said.word >= len(saying.places) for said in piece.words):
        return Transcript("")
    for said in piece.words:
        start, end = saying.places[said.word]
        start_ms, end_ms = (saying.spoken_ms + float(ids_end_ms[at - 1]) for at in (said.start, said.end))
        if words and (words[-1].start, words[-1].end) == (start, end):
            # One word of the text that is said as several.
            start_ms, before = words[-1].start_ms, words.pop().text
            said = replace(said, text=f"{before} {said.text}")
        words.append(Word(said.text, start, end, start_ms, end_ms))
    return Transcript(" ".join(word.text for word in words), tuple(words))


def _revision(model: Path, fft_backend: str) -> str:
    weights = hashlib.blake2b(model.read_bytes(), digest_size=8).hexdigest()
    path = json.dumps([version("hibari-tts"), version("onnxruntime"), version("numpy"), fft_backend])
    numeric = hashlib.blake2b(path.encode(), digest_size=4).hexdigest()
    return f"{weights}-{numeric}-{hibari_text.VERSION}"
