"""f5-reference: the upstream package f5-tts, unchanged, behind the engine protocol. The oracle of the f5 engine and the
"original" of every comparison; about as fast as upstream itself.

The functions that upstream's own command line calls are called in its order. Only the files are found by us
(weights.py, with the licence asked for), and a prepared clip is read without torchcodec: WAV needs no FFmpeg.
Importing upstream takes seconds: it happens when the engine loads, on the engine's thread. Upstream keeps a text cache
and the random state in globals: one of these in a process.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from ishowtts import text as texts
from ishowtts.engine import (
    Conditioning,
    Cost,
    EngineInfo,
    Pcm,
    Segment,
    Spoken,
    Transcript,
    Voice,
    WholeSegmentEngine,
)
from ishowtts.engines import options
from ishowtts.engines.f5 import models, spoken, weights
from ishowtts.engines.f5 import text as f5_text
from ishowtts.engines.f5.clip import read_clip
from ishowtts.engines.f5.config import HOP, SAMPLE_RATE_HZ
from ishowtts.errors import InvalidSetting, SegmentRefused

if TYPE_CHECKING:
    # It imports torch, which comes with the engine.
    from ishowtts.engines.f5.params import Params

MAX_FRAMES = 8192
"""Of reference and speech together: upstream's table of positions ends there."""
_MAX_SEGMENT_CHARS = 200
_AUDIO_MS_PER_CHAR = 70.0
_REFERENCE_FRAMES = 470
"""Five seconds: what the cost assumes."""

_KNOWN = (
    *("nfe_steps", "sway", "cfg_strength", "fix_duration", "target_rms", "cross_fade_duration", "remove_silence"),
    "normalize",
)
"""Those of f5's parameters that upstream knows too; f5's are their bounds."""


@dataclass(frozen=True)
class Options:
    """``[engines.f5-reference]``: the files and the device, as for f5."""

    model: str = "F5TTS_v1_Base"
    checkpoint: str = ""
    vocab: str = ""
    vocoder: str = ""
    device: str = "auto"


@dataclass(frozen=True)
class Clip:
    """A voice as upstream prepared it."""

    samples: Any
    """torch.Tensor, ``[channels, samples]``, at ``sample_rate_hz``."""
    sample_rate_hz: int
    reference_text: str
    languages: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        return int(self.samples.numel() * 4)


class F5Reference(WholeSegmentEngine):
    """Implements :class:`~ishowtts.engine.WholeSegmentEngine`: a segment is one call of upstream's."""

    def __init__(self, chosen: Options, threads: int) -> None:
        # First: without the package nothing is fetched.
        import torch
        from f5_tts import model as backbones
        from f5_tts.infer import utils_infer

        files = weights.resolve(chosen)
        # It prints to standard output, where `say -o -` puts its speech.
        utils_infer.print = _silent
        self._torch, self._upstream = torch, utils_infer
        self._infer_chunks = _with_globals(utils_infer.infer_batch_process, ThreadPoolExecutor=_InTurn)
        device = utils_infer.device if chosen.device == "auto" else chosen.device
        if device == "cpu":
            torch.set_num_threads(max(1, threads))
        config = files.model_config
        backbone = getattr(backbones, config.backbone, None)
        if backbone is None:
            raise InvalidSetting(f"[engines.f5-reference] model: upstream has no backbone {config.backbone!r}")
        self._device, self._mel_spec_type = device, config.mel_spec_type
        self._vocab = f5_text.load_vocab(files.vocab)
        f5_text.check_vocab(self._vocab, files.vocab, "f5-reference")
        with _as_published(torch, files.vocoder_dir, config.mel_spec_type) as folder:
            self._vocoder = utils_infer.load_vocoder(
                config.mel_spec_type, is_local=True, local_path=str(folder), device=device
            )
        self._model = utils_infer.load_model(
            backbone,
            dict(config.arch),
            str(files.checkpoint),
            mel_spec_type=config.mel_spec_type,
            vocab_file=str(files.vocab),
            use_ema=_has_ema(torch, files.checkpoint),
            device=device,
        )
        official = files.licence != weights.LICENCE_UNKNOWN
        self._info = EngineInfo(
            name="f5-reference",
            revision=_revision(files, torch.__version__),
            sample_rate_hz=SAMPLE_RATE_HZ,
            languages=("zh", "en") if official else (),
            scripts=(),
            clones_voices=True,
            licence=files.licence,
            device=str(device),
            max_segment_chars=_MAX_SEGMENT_CHARS,
            reads_links=True,
            cost=self._fit(),
            params=_schema(),
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def normalise(self, text: str, language: str | None) -> list[Spoken]:
        return texts.normalise(text, language)

    def prepare(self, voice: Voice) -> Conditioning:
        if voice.reference_audio is None:
            raise InvalidSetting(f"voice {voice.id!r} has no reference clip to clone")
        if not (voice.reference_text or "").strip():
            raise InvalidSetting(f"voice {voice.id!r} has no transcript of its reference clip")
        # Upstream takes a path, and makes a file of its own.
        with tempfile.NamedTemporaryFile(suffix=".wav") as clip:
            clip.write(voice.reference_audio)
            clip.flush()
            path, reference_text = self._upstream.preprocess_ref_audio_text(
                clip.name, voice.reference_text, show_info=_silent
            )
        frames, sample_rate_hz = read_clip(path)
        scale = np.float32(1 << (frames.dtype.itemsize * 8 - 1)) if frames.dtype.kind == "i" else np.float32(1)
        samples = self._torch.from_numpy(np.ascontiguousarray(frames.astype(np.float32).T) / scale)
        if not bool(samples.any()):
            raise InvalidSetting(f"voice {voice.id!r}: the reference clip is silent")
        return Clip(samples, sample_rate_hz, reference_text, voice.languages)

    def check(self, segment: Segment, conditioning: Conditioning) -> None:
        clip = _clip(conditioning)
        params = _params(segment.params)
        chunks = self._chunks(segment, clip, params)
        if not any(char.isalnum() for chunk in chunks for char in chunk):
            raise SegmentRefused("there is nothing in it that can be said")
        unknown = f5_text.unknown_letters(f5_text.to_tokens("".join(chunks)), self._vocab)
        if unknown:
            raise SegmentRefused(f"the model's vocabulary lacks {', '.join(map(repr, unknown[:5]))}")
        reference_samples = clip.samples.shape[-1] * SAMPLE_RATE_HZ // clip.sample_rate_hz
        conditioned = f5_text.conditioning_text(clip.reference_text)
        f5_text.check_duration(params.fix_duration, reference_samples, segment.text, segment.speed)
        shared = f5_text.share_duration(chunks, reference_samples, params.fix_duration, params.cross_fade_duration)
        for chunk, fixed in zip(chunks, shared, strict=True):
            speed = f5_text.spoken_speed(chunk, segment.speed)
            if f5_text.duration_frames(reference_samples, conditioned, chunk, speed, fixed) > MAX_FRAMES:
                raise SegmentRefused(
                    f"it would be longer than the model's {MAX_FRAMES} frames (87 s with the reference)"
                )

    def speak(self, segment: Segment, conditioning: Conditioning) -> Pcm:
        clip = _clip(conditioning)
        params = _params(segment.params)
        pcm = self._infer(self._chunks(segment, clip, params), clip, params, segment.speed, segment.seed)
        if params.remove_silence:
            pcm = self._without_silence(pcm)
        return np.ascontiguousarray(pcm, np.float32)

    def transcript(self, segment: Segment, conditioning: Conditioning) -> Transcript:
        return spoken.transcript(_said(segment, _clip(conditioning), _params(segment.params)))

    def close(self) -> None:
        del self._model, self._vocoder

    def _chunks(self, segment: Segment, clip: Clip, params: Params) -> list[str]:
        said = _said(segment, clip, params)
        reference_s = clip.samples.shape[-1] / clip.sample_rate_hz
        longest = f5_text.chunk_bytes(clip.reference_text, reference_s, segment.speed)
        chunks: list[str] = self._upstream.chunk_text(said, max_chars=longest)
        return chunks

    def _infer(self, chunks: list[str], clip: Clip, params: Params, speed: float, seed: int) -> Pcm:
        # The text that a failed request left in upstream's cache would be spoken now.
        self._model.transformer.clear_cache()
        self._torch.manual_seed(seed)
        sound, _, _ = next(
            self._infer_chunks(
                (clip.samples, clip.sample_rate_hz),
                clip.reference_text,
                chunks,
                self._model,
                self._vocoder,
                mel_spec_type=self._mel_spec_type,
                progress=None,
                target_rms=params.target_rms,
                cross_fade_duration=params.cross_fade_duration,
                nfe_step=params.nfe_steps,
                cfg_strength=params.cfg_strength,
                sway_sampling_coef=params.sway,
                speed=speed,
                fix_duration=params.fix_duration,
                device=self._device,
            )
        )
        if sound is None:
            raise SegmentRefused("there is nothing in it that can be said")
        pcm: Pcm = np.atleast_1d(sound)
        return pcm

    def _without_silence(self, pcm: Pcm) -> Pcm:
        """Upstream's own, which works on a file."""
        import soundfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            soundfile.write(path, pcm, SAMPLE_RATE_HZ)
            self._upstream.remove_silence_for_generated_wav(str(path))
            frames, _ = read_clip(path)
        kept: Pcm = frames[:, 0].astype(np.float32) / np.float32(32_768)
        return kept

    def _fit(self) -> Cost:
        """One evaluation of a short clip, timed; the rest follows from the number of frames."""
        noise = self._torch.randn(1, SAMPLE_RATE_HZ, generator=self._torch.Generator().manual_seed(0)) * 0.1
        clip = Clip(noise, SAMPLE_RATE_HZ, "Warm, quixotic zephyrs. ")
        one_step = replace(_params({}), nfe_steps=1)
        elapsed = []
        for _ in range(2):
            started = time.perf_counter()
            sound = self._infer(["Hello there, and hello again."], clip, one_step, 1.0, 0)
            elapsed.append(time.perf_counter() - started)
        frames = (noise.shape[-1] + len(sound)) / HOP
        # 32 evaluations of frames that each cost the same: linear on a CPU, too much on a GPU, where it matters less.
        ms_per_frame = min(elapsed) * 1e3 * 32 / frames
        per_char = _AUDIO_MS_PER_CHAR * SAMPLE_RATE_HZ / 1e3 / HOP * ms_per_frame
        return Cost(1, _REFERENCE_FRAMES * ms_per_frame, per_char, _AUDIO_MS_PER_CHAR)


def load(options_table: Mapping[str, object], threads: int) -> F5Reference:
    """The entry point."""
    return F5Reference(check_options(options_table, threads), threads)


def check_options(options_table: Mapping[str, object], threads: int) -> Options:
    """Raises InvalidSetting."""
    chosen = options.read(Options, "f5-reference", options_table)
    models.configuration(chosen.model)
    return chosen


def _said(segment: Segment, clip: Clip, params: Params) -> str:
    if not params.normalize:
        return segment.text
    return texts.say(segment.text, spoken.language(segment, clip.languages, clip.reference_text))


def _clip(conditioning: Conditioning) -> Clip:
    if not isinstance(conditioning, Clip):
        raise TypeError(f"a conditioning of another engine: {type(conditioning).__name__}")
    return conditioning


def _schema() -> Mapping[str, Any]:
    from ishowtts.engines.f5 import params

    defaults = params.Params()
    known = {
        name: {**params.SCHEMA["properties"][name], "default": getattr(defaults, name)}
        for name in _KNOWN
        if name != "nfe_steps"
    }
    steps, _ = params.SCHEMA["properties"]["nfe_steps"]["anyOf"]
    return {**params.SCHEMA, "properties": {"nfe_steps": {**steps, "default": defaults.nfe_steps}, **known}}


def _params(given: Mapping[str, Any]) -> Params:
    """Raises InvalidSetting."""
    from ishowtts.engines.f5 import params

    unknown = next((name for name in given if name not in _KNOWN), None)
    if unknown is not None:
        own = " (that is f5's own)" if unknown in params.SCHEMA["properties"] else ""
        raise InvalidSetting(f"f5-reference has no parameter {unknown!r}{own}; known are: {', '.join(_KNOWN)}")
    chosen = params.read(given, 32)
    if chosen.nfe_steps == params.AUTO:
        raise InvalidSetting(f"nfe_steps must be a whole number here: {params.AUTO!r} is f5's own")
    return chosen


class _InTurn(Executor):
    """In the place of upstream's pool: of several chunks its threads draw the noise in any order, and after a failure
    it goes on with the rest."""

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*arguments, **named))
        return done


def _with_globals(function: FunctionType, **others: Any) -> Callable[..., Any]:
    """A copy of ``function`` that finds ``others`` under these names; its module stays as it is for everybody else."""
    copy = FunctionType(function.__code__, {**function.__globals__, **others}, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


@contextmanager
def _as_published(torch: Any, folder: Path, kind: str) -> Iterator[Path]:
    """Upstream knows a vocoder's files by their first names alone."""
    wanted, found = weights.VOCODER_FILES[kind][-1][0], weights.weights_file(folder, kind)
    if found is None or found.name == wanted:
        yield folder
        return
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as made:
        for name, *_ in weights.VOCODER_FILES[kind][:-1]:
            shutil.copy(folder / name, made)
        torch.save(load_file(found), Path(made) / wanted)
        yield Path(made)


def _has_ema(torch: Any, checkpoint: Path) -> bool:
    """Upstream wants to be told which of the two layouts a file has."""
    if checkpoint.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(checkpoint), framework="pt") as tensors:
            return any(key.startswith("ema_model.") for key in tensors.keys())  # noqa: SIM118 - no mapping
    # mmap needs the zip layout that torch has written since 1.6.
    mapped = zipfile.is_zipfile(checkpoint)
    return "ema_model_state_dict" in torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=mapped)


def _revision(files: weights.Files, torch_version: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path in (files.checkpoint, files.vocab, *sorted(files.vocoder_dir.iterdir())):
        if path.is_file():
            with path.open("rb") as file:
                for block in _blocks(file):
                    digest.update(block)
    return f"{digest.hexdigest()}-{version('f5-tts')}-{torch_version}-{texts.VERSION}"


def _blocks(file: Any) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


def _silent(*_: object, **__: object) -> None:
    """In the place of ``print``."""
