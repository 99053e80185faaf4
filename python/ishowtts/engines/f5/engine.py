"""f5: F5-TTS, our own inference of it. One step is one evaluation of the flow for exactly the slots named; slots join
and leave between steps, each at its own place on its own grid. A finished slot is vocoded and its sound given at once.

Threads: as :mod:`ishowtts.engine` says. ``prepare`` and ``normalise`` run beside the steps and share nothing with them
but read-only tensors.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ishowtts.engine import Admitted, Chunk, Conditioning, Cost, EngineInfo, Segment, Spoken, Voice
from ishowtts.engines import options
from ishowtts.engines.f5 import (
    graphs,
    identity,
    memory,
    models,
    params,
    precision,
    short_texts,
    spoken,
    text,
    vocos_onnx,
    warm_up,
    weights,
)
from ishowtts.engines.f5 import output as outputs
from ishowtts.engines.f5.ahead import Ahead
from ishowtts.engines.f5.checkpoint import Checkpoint
from ishowtts.engines.f5.clip import read_clip
from ishowtts.engines.f5.config import FRAMES_PER_S, HOP, MAX_FRAMES, SAMPLE_RATE_HZ, architecture
from ishowtts.engines.f5.dit import DiT
from ishowtts.engines.f5.levels import Hearing, Levels
from ishowtts.engines.f5.output import Output, Taking
from ishowtts.engines.f5.params import Params
from ishowtts.engines.f5.precision import Precision
from ishowtts.engines.f5.reference import TARGET_RMS, PreparedClip, prepare_clip
from ishowtts.engines.f5.saying import Level, Piece, Saying
from ishowtts.engines.f5.vocos import Vocoder, Vocos
from ishowtts.engines.f5.weights import Files
from ishowtts.errors import EngineBroken, InvalidSetting, SegmentRefused

LOG = logging.getLogger(__name__)
MAX_SEGMENT_CHARS = 240
"""About 16 s of English beside a reference of 6 s; what is longer for its script is cut at upstream's own limit."""
_COMPILE = ("auto", "on", "off")
MOST_SLOTS = 1024
"""What the server takes of any engine."""
_SIZES = ("max_slots", "memory_mb", "text_cache_mb", "reference_cache_mb")
_MOST_MB = 1 << 24
"""16 TiB: what is beyond is a slip, or bytes."""


@dataclass(frozen=True)
class Options:
    """``[engines.f5]``."""

    model: str = "F5TTS_v1_Base"
    """A published model, or the path of an upstream YAML."""
    checkpoint: str = ""
    vocab: str = ""
    vocoder: str = ""
    ema: bool = True
    """Whether a ``.pt`` that holds both gives its moving average."""
    device: str = "auto"
    dtype: str = "auto"
    compile: str = "auto"
    """``on``: fused loops from torch's compiler, which takes up to two minutes once and needs a C++ compiler. Triton's
    kernels, where they are taken, leave it nothing."""
    vocoder_runtime: str = "torch"
    """``onnx``: the vocoder's network by ONNX Runtime; ``tensorrt``: by its provider for TensorRT."""
    graphs: bool = True
    """On CUDA: steps of up to 8,192 tokens are captured once and replayed."""
    nfe_steps: int | str = 32
    """Of requests that do not say; ``auto``, or 0 for it: by the text's length."""
    max_slots: int = 0
    """Up to 1,024; 0: as many as fit the memory."""
    memory_mb: int = 0
    """On CUDA: what the process takes of the device's memory at most; 0: what is free."""
    text_cache_mb: int = 64
    reference_cache_mb: int = 64
    """Of mel spectrograms of references on the device."""


@dataclass(frozen=True)
class Reference:
    """A voice, prepared. How the model hears it is in :class:`Levels`."""

    clip: PreparedClip
    nbytes: int
    """Of the clip, and of the spectrogram at upstream's level."""
    languages: tuple[str, ...]
    number: int = field(default_factory=itertools.count().__next__)


@dataclass
class F5:
    """Implements :class:`~ishowtts.engine.Engine`."""

    dit: DiT
    vocos: Vocoder
    vocabulary: dict[str, int]
    levels: Levels
    output: Output
    info: EngineInfo
    default_steps: int | str = 32
    ahead: Ahead = field(default_factory=Ahead)
    _slots: dict[int, Saying] = field(default_factory=dict)
    _sounding: dict[int, Taking] = field(default_factory=dict)
    """Slots whose piece is on its way from the vocoder."""

    def normalise(self, text: str, language: str | None) -> list[Spoken]:
        from ishowtts.text import normalise

        said = normalise(text, language)
        _check_sayable("".join(piece.text for piece in said), text)
        return said

    def prepare(self, voice: Voice) -> Conditioning:
        hints = dict(voice.hints)
        prepared = hints.pop("prepared", False)
        if not isinstance(prepared, bool):
            raise InvalidSetting(f"voice {voice.id!r}: prepared must be true or false, not {prepared!r}")
        if hints:
            raise InvalidSetting(f"voice {voice.id!r}: f5 has no hint {next(iter(hints))!r}; known is: prepared")
        if voice.reference_audio is None or not (voice.reference_text or "").strip():
            raise InvalidSetting(f"voice {voice.id!r}: f5 needs a reference clip and what is said in it")
        frames, rate_hz = read_clip(voice.reference_audio)
        clip = prepare_clip(frames, rate_hz, voice.reference_text or "", prepared=prepared)
        if len(clip.samples) < SAMPLE_RATE_HZ // 10:
            raise InvalidSetting(f"voice {voice.id!r}: less than 0.1 s of speech is left of its reference clip")
        level_bytes = (len(clip.samples) // HOP + 1) * self.dit.config.mel_dim * 4
        reference = Reference(clip, clip.samples.nbytes + level_bytes, voice.languages)
        self.levels.get(Hearing(reference.number, TARGET_RMS), clip)
        return reference

    def admit(self, slot: int, segment: Segment, conditioning: Conditioning) -> int | Admitted:
        if not isinstance(conditioning, Reference):
            raise TypeError(f"a conditioning of another engine: {type(conditioning).__name__}")
        if slot in self._slots or not 0 <= slot < self.info.max_slots:
            raise RuntimeError(f"slot {slot} is not free")
        try:
            return self._admit(slot, segment, conditioning)
        except (SegmentRefused, InvalidSetting):
            raise
        except Exception as error:
            self._judge(error)
            raise

    def step(self, slots: Sequence[int]) -> Iterator[Chunk]:
        due = [slot for slot in slots if slot in self._sounding]
        moving = [slot for slot in slots if slot not in self._sounding]
        with torch.inference_mode():
            failures = self._advance({slot: self._slots[slot] for slot in moving}) if moving else {}
        if moving:
            self._keep_pace()
        for slot, error in failures.items():
            del self._slots[slot]
            yield _failed(slot, error)
        # The shortest first: its listener need not wait for the others' vocoding.
        finished = [slot for slot in moving if slot not in failures and self._slots[slot].piece_done]
        finished.sort(key=lambda slot: self._slots[slot].frames)
        for slot in finished:
            failed = self._vocode(slot)
            if failed is not None:
                yield failed
        # Sound that goes on beside the steps is taken with the next one, if there is anything to do meanwhile.
        if not self.output.beside or all(slot in self._sounding for slot in self._slots):
            due += finished
        for slot in due:
            if slot in self._sounding:
                yield self._finish(slot)

    def cancel(self, slot: int) -> None:
        self._slots.pop(slot, None)
        self._sounding.pop(slot, None)

    def forget(self, conditioning: Conditioning) -> None:
        if isinstance(conditioning, Reference):
            self.levels.forget(conditioning.number)

    def close(self) -> None:
        self._slots.clear()
        self._sounding.clear()
        self.levels.close()
        self.output.close()
        device = self.dit.precision.device
        if self.dit.graphs is not None:
            self.dit.graphs.close()
        del self.dit, self.vocos, self.output
        memory.give_back(device)

    def _admit(self, slot: int, segment: Segment, conditioning: Reference) -> int | Admitted:
        chosen = params.read(segment.params, self.default_steps)
        said = self._said(segment, conditioning, chosen)
        clip, longest_s = conditioning.clip, 0.0
        if chosen.short.reference_s > 0 and short_texts.is_short(said):
            longest_s = chosen.short.reference_s
            clip = short_texts.shortened(clip, longest_s)
        level = self.levels.get(Hearing(conditioning.number, chosen.target_rms, longest_s), clip)
        text.check_duration(chosen.fix_duration, level.samples, segment.text, segment.speed)
        affordable = math.inf
        if segment.budget_ms is not None:
            affordable = segment.budget_ms / max(self.info.cost.fixed_ms + self.info.cost.ms_per_char * len(said), 1e-3)
        pieces = self._pieces(said, segment.speed, clip, level, chosen, affordable)
        with torch.inference_mode():
            self.dit.modulations.prepare({t for piece in pieces for t in piece.times[:-1]})
            saying = Saying(pieces, level, chosen, segment.seed, self.dit.prompt)
        saying.transcript = spoken.transcript(said)
        self._slots[slot] = saying
        if chosen.nfe_steps != params.AUTO:
            return saying.steps_left
        steps = [len(piece.times) - 1 for piece in pieces]
        hurried = any(taken < chosen.steps(piece.text) for taken, piece in zip(steps, pieces, strict=True))
        told = steps[0] if len(set(steps)) == 1 else steps
        return Admitted(saying.steps_left, {"nfe_steps": told}, hurried)

    def _said(self, segment: Segment, reference: Reference, chosen: Params) -> str:
        said = segment.text
        if chosen.normalize:
            language = spoken.language(segment, reference.languages, reference.clip.reference_text)
            said = "".join(piece.text for piece in self.normalise(segment.text, language)).strip()
        _check_sayable(said, segment.text)
        return said

    def _pieces(
        self, said: str, speed: float, clip: PreparedClip, level: Level, chosen: Params, affordable: float
    ) -> list[Piece]:
        chunks = text.chunk_text(said, clip.chunk_bytes(speed))
        unknown = text.unknown_letters(text.to_tokens(said), self.vocabulary)
        if unknown:
            raise SegmentRefused(f"the model's vocabulary lacks {', '.join(map(repr, unknown[:5]))}")
        fixed = text.share_duration(chunks, level.samples, chosen.fix_duration, chosen.cross_fade_duration)
        pieces = []
        padded = [short_texts.padded(chunk, chosen.short) for chunk in chunks]
        for chunk, fixed_s in zip(padded, fixed, strict=True):
            ids = text.encode(text.to_tokens(clip.text + chunk), self.vocabulary)
            pace = short_texts.speed(chunk, speed, chosen.short)
            frames = text.duration_frames(level.samples, clip.text, chunk, pace, fixed_s)
            frames = max(frames, text.least_frames(len(ids), level.mel.shape[0]))
            if frames > MAX_FRAMES:
                raise SegmentRefused(
                    f"this would be {frames / FRAMES_PER_S:.0f} s with the reference, and the model has no positions "
                    f"beyond {MAX_FRAMES / FRAMES_PER_S:.0f} s"
                )
            pieces.append(Piece(chunk, ids, frames, chosen.times(chosen.steps(chunk, affordable))))
        return pieces

    def _advance(self, sayings: Mapping[int, Saying]) -> dict[int, Exception]:
        """All in one evaluation; one by one if that fails, so that only who is at fault ends."""
        try:
            velocities = self.dit.velocities([saying.evaluation for saying in sayings.values()])
        except Exception as error:
            self._judge(error)
            if len(sayings) == 1:
                return dict.fromkeys(sayings, error)
            LOG.warning("a step of %d segments failed and is done again one by one: %s", len(sayings), error)
            failures: dict[int, Exception] = {}
            for slot, saying in sayings.items():
                failures |= self._advance({slot: saying})
            return failures
        for saying, velocity in zip(sayings.values(), velocities, strict=True):
            saying.advance(velocity)
        return {}

    def _keep_pace(self) -> None:
        try:
            self.ahead.stepped()
        except Exception as error:
            # Whose work it was cannot be told any more.
            raise EngineBroken("the GPU has failed and needs a new process") from error

    def _judge(self, error: Exception) -> None:
        device = self.dit.precision.device
        if memory.is_fatal(error, device):
            raise EngineBroken("the GPU has failed and needs a new process") from error
        memory.give_back(device)

    def _vocode(self, slot: int) -> Chunk | None:
        """Has a finished piece made into sound. Gives what to tell if it fails."""
        try:
            with torch.inference_mode():
                self._sounding[slot] = self.output.begin(self._slots[slot].mel())
        except Exception as error:
            return self._broken_off(slot, error)
        return None

    def _finish(self, slot: int) -> Chunk:
        saying = self._slots[slot]
        try:
            with torch.inference_mode():
                pcm, last = saying.deliver(self._sounding.pop(slot)())
        except Exception as error:
            return self._broken_off(slot, error)
        if last:
            del self._slots[slot]
        transcript, saying.transcript = saying.transcript, None
        return Chunk(slot, pcm, last, transcript=transcript)

    def _broken_off(self, slot: int, error: Exception) -> Chunk:
        self.cancel(slot)
        self._judge(error)
        return _failed(slot, error)


def _failed(slot: int, error: BaseException) -> Chunk:
    return Chunk(slot, np.zeros(0, np.float32), last=True, error=error)


def _check_sayable(said: str, original: str) -> None:
    if not any(char.isalnum() for char in said):
        raise SegmentRefused(f"there is nothing in {original.strip()[:40]!r} that can be said")


def load(options_table: Mapping[str, object], threads: int) -> F5:
    """The entry point: fetches what is not here yet, loads, warms up."""
    # What can never be spoken is not fetched first.
    chosen = check_options(options_table)
    return load_files(weights.resolve(chosen), chosen, threads)


def check_options(options_table: Mapping[str, object]) -> Options:
    """Raises InvalidSetting for a name or a value that cannot be, as far as that is known without files."""
    chosen = options.read(Options, "f5", options_table)
    _checked(chosen)
    architecture(models.configuration(chosen.model))
    return chosen


def _checked(chosen: Options) -> tuple[int | str, Precision]:
    """Steps by default, and the numeric path. Raises InvalidSetting for a value that cannot be."""
    if chosen.compile not in _COMPILE:
        raise InvalidSetting(f"[engines.f5] compile must be one of {', '.join(_COMPILE)}, not {chosen.compile!r}")
    if chosen.vocoder_runtime not in vocos_onnx.RUNTIMES:
        known = ", ".join(vocos_onnx.RUNTIMES)
        raise InvalidSetting(f"[engines.f5] vocoder_runtime must be one of {known}, not {chosen.vocoder_runtime!r}")
    if negative := [name for name in _SIZES if getattr(chosen, name) < 0]:
        raise InvalidSetting(f"[engines.f5] {negative[0]} must not be negative")
    if chosen.max_slots > MOST_SLOTS:
        raise InvalidSetting(f"[engines.f5] max_slots must be from 0 to {MOST_SLOTS}, not {chosen.max_slots}")
    if large := [name for name in _SIZES if getattr(chosen, name) > _MOST_MB]:
        raise InvalidSetting(f"[engines.f5] {large[0]} must be at most {_MOST_MB}, not {getattr(chosen, large[0])}")
    steps = params.read_steps("[engines.f5] nfe_steps", params.AUTO if chosen.nfe_steps == 0 else chosen.nfe_steps)
    return steps, precision.choose(chosen.device, chosen.dtype)


def load_files(files: Files, chosen: Options, threads: int) -> F5:
    """From local files."""
    torch.set_num_threads(max(1, threads))
    steps, numbers = _checked(chosen)
    if numbers.device.type == "cuda":
        # Of this thread, which makes all steps: kernels go where it is.
        torch.cuda.set_device(numbers.device)
    memory.bound(numbers.device, chosen.memory_mb << 20)
    config = architecture(files.model_config)
    vocabulary = text.load_vocab(files.vocab)
    text.check_vocab(vocabulary, files.vocab)
    with torch.inference_mode():
        dit = DiT(
            config,
            Checkpoint(files.checkpoint, chosen.ema),
            len(vocabulary),
            numbers,
            text_cache_bytes=chosen.text_cache_mb << 20,
            compiled=chosen.compile == "on",
        )
        vocos = _vocoder(files.vocoder_dir, numbers.device, config.mel_dim, chosen.vocoder_runtime, threads)
    cuda = numbers.device.type == "cuda"
    if not cuda:
        memory.keep_freed()
    elif chosen.graphs:
        dit.graphs = graphs.on_device(dit.core, dit.sizes, numbers.device, dit.attends_by_tensors)
    slots = chosen.max_slots or memory.slots(dit, numbers.device, chosen.memory_mb << 20)
    info = EngineInfo(
        name="f5",
        revision=identity.revision(files, numbers, dit.compiled, chosen.ema, chosen.vocoder_runtime),
        sample_rate_hz=SAMPLE_RATE_HZ,
        languages=identity.languages(files),
        scripts=identity.scripts(vocabulary),
        clones_voices=True,
        licence=files.licence,
        device=torch.cuda.get_device_name(numbers.device) if cuda else "cpu",
        max_segment_chars=MAX_SEGMENT_CHARS,
        reads_links=True,
        cost=Cost(int(steps) if steps != params.AUTO else 10, 0.0, 1.0, 70.0),
        max_slots=slots,
        max_shared=slots if cuda else 1,
        params=params.SCHEMA,
    )
    info = replace(info, cost=warm_up.fit(dit, vocos, info.cost.steps))
    memory.give_back(numbers.device)
    LOG.info("f5 runs on %s: %s; it keeps %s", info.device, dit.paths, memory.report(dit, vocos))
    if not cuda:
        LOG.warning(
            "f5 runs on the CPU, where it is slower than speech: %d steps of a sentence take about %.1f s",
            info.cost.steps,
            info.cost.steps * (info.cost.fixed_ms + 60 * info.cost.ms_per_char) / 1e3,
        )
    levels = Levels(numbers.device, config.mel_dim, chosen.reference_cache_mb << 20)
    return F5(
        dit, vocos, vocabulary, levels, outputs.choose(vocos, numbers.device), info, steps, Ahead.of(numbers.device)
    )


def _vocoder(folder: Path, device: torch.device, mel_dim: int, runtime: str, threads: int) -> Vocoder:
    if runtime == "torch":
        return Vocos(folder, device, mel_dim)
    return vocos_onnx.load(folder, device, mel_dim, runtime, max(1, threads))
