# ruff: noqa: RUF001 - letters that look like others are meant
"""espeak: over 100 languages through the system's ``espeak-ng`` program. Robotic and tiny: says what no other can.

espeak-ng is GPL-3: it runs as a process of its own for each segment, reads the text from its standard input and writes
a WAV to its standard output; nothing of it is linked or bundled. A sentence takes about 20 ms, 4 of them to start the
process; slots that share a step run theirs side by side: on two cores two take a fifth longer than one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

import numpy as np

from ishowtts.engine import Chunk, Conditioning, Cost, EngineInfo, Pcm, Segment, Spoken, Voice
from ishowtts.engines import options
from ishowtts.engines.espeak_languages import Languages, language_of, parts, primary, unreadable
from ishowtts.engines.timescale import change_tempo
from ishowtts.errors import InvalidSetting, IshowttsError, SegmentRefused
from ishowtts.text import web

PROGRAM = "espeak-ng"
MEND = "apt-get install espeak-ng (Debian, Ubuntu), brew install espeak-ng (macOS)"

_SAMPLE_RATE_HZ = 22_050
_WORDS_PER_MINUTE = 165
_SLOWEST, _FASTEST = 0.5, 2.5
"""Speeds that espeak-ng keeps itself (80 to 450 words a minute); beyond, its sound is stretched."""
_PITCH = 50
_LIMIT_S = 20.0
_MAX_SEGMENT_CHARS = 300
_TAIL_S, _PART_TAIL_S = 0.25, 0.06
"""Of silence at the end that is kept after a sentence and after a part of one: espeak-ng adds 0.3 s to either."""
_SENTENCE_ENDS = tuple(".!?…:;。！？；：।॥؟۔։።፧၊။")
_CLOSERS = " \"'”’»)]」』）】"
_GAIN = np.float32(0.42)
"""As loud as the neural voice beside it: -27 dB over a sentence."""
_VARIANT = re.compile(r"[A-Za-z0-9_-]{1,32}")
_PHONEMES = re.compile(r"\[(?=\[)")
_FULLWIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""Ａ to A: it spells them out one by one."""
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Options:
    """``[engines.espeak]``."""

    slots: int = 0
    """Processes that run side by side; 0: as many as the program may use threads."""
    limit_s: float = _LIMIT_S
    """For one segment; a process that takes longer is ended."""


@dataclass(frozen=True)
class Preset:
    """A voice, prepared."""

    variant: str
    pitch: int
    languages: tuple[str, ...] = ()
    """The voice's own, the main one first."""

    @property
    def nbytes(self) -> int:
        return len(self.variant) + sum(map(len, self.languages)) + 8


def missing() -> str | None:
    """Why it cannot be used here, with the mend; None if it can."""
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed: {MEND}"


class Espeak:
    """Implements :class:`~ishowtts.engine.Engine`."""

    def __init__(self, chosen: Options) -> None:
        reason = missing()
        if reason is not None:
            raise IshowttsError(reason)
        version, self._languages = _describe()
        self._options = chosen
        self._saying: dict[int, tuple[Segment, Preset, str]] = {}
        self._pool = ThreadPoolExecutor(chosen.slots, thread_name_prefix="espeak")
        self._info = EngineInfo(
            name="espeak",
            revision=f"{version}-3",
            sample_rate_hz=_SAMPLE_RATE_HZ,
            languages=self._languages.tags,
            scripts=self._languages.scripts,
            clones_voices=False,
            licence="GPL-3.0-or-later",
            device="cpu",
            max_segment_chars=_MAX_SEGMENT_CHARS,
            reads_links=True,
            max_slots=chosen.slots,
            max_shared=chosen.slots,
            cost=Cost(steps=1, fixed_ms=8.0, ms_per_char=0.2, audio_ms_per_char=75.0),
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def normalise(self, text: str, language: str | None) -> list[Spoken]:
        return web.read(text, primary(language or language_of(text)))

    def prepare(self, voice: Voice) -> Conditioning:
        hints = dict(voice.hints)
        variant, pitch = hints.pop("variant", ""), hints.pop("pitch", _PITCH)
        if not isinstance(variant, str) or (variant and not _VARIANT.fullmatch(variant)):
            raise InvalidSetting(f"voice {voice.id!r}: variant must be the name of one of espeak's, not {variant!r}")
        if isinstance(pitch, bool) or not isinstance(pitch, int) or not 0 <= pitch <= 99:
            raise InvalidSetting(f"voice {voice.id!r}: espeak's pitch must be from 0 to 99, not {pitch!r}")
        if hints:
            raise InvalidSetting(
                f"voice {voice.id!r}: espeak has no hint {next(iter(hints))!r}; known are: variant, pitch"
            )
        return Preset(variant, pitch, tuple(voice.languages))

    def admit(self, slot: int, segment: Segment, conditioning: Conditioning) -> int:
        if not isinstance(conditioning, Preset):
            raise TypeError(f"a conditioning of another engine: {type(conditioning).__name__}")
        if segment.params:
            raise InvalidSetting(f"espeak has no parameter {next(iter(segment.params))!r}")
        tag, name = self._language(segment, conditioning)
        segment = replace(segment, text=web.say(segment.text, primary(tag)))
        letter = unreadable(segment.text, name)
        if letter is not None:
            raise SegmentRefused(f"espeak cannot say {letter!r} in the language {tag!r}")
        self._saying[slot] = (segment, conditioning, name)
        return 1

    def step(self, slots: Sequence[int]) -> Iterator[Chunk]:
        if len(slots) == 1:
            yield self._speak(slots[0])
            return
        for spoken in as_completed([self._pool.submit(self._speak, slot) for slot in slots]):
            yield spoken.result()

    def cancel(self, slot: int) -> None:
        self._saying.pop(slot, None)

    def forget(self, conditioning: Conditioning) -> None:
        pass

    def close(self) -> None:
        self._pool.shutdown()
        self._saying.clear()

    def _language(self, segment: Segment, preset: Preset) -> tuple[str, str]:
        """The segment's language, and what espeak-ng calls it. Raises SegmentRefused."""
        tag = segment.language or language_of(segment.text)
        if segment.language is None and tag == "en":
            # Latin letters and nothing else to go by: the voice's own language, whatever that is.
            tag = next(iter(preset.languages), tag)
        # The voice says which variety of it.
        same = (own for own in preset.languages if primary(own) == tag.lower())
        name = self._languages.called(next(same, tag))
        if name is None:
            raise SegmentRefused(f"espeak does not speak {tag!r}")
        return tag, name

    def _speak(self, slot: int) -> Chunk:
        segment, preset, language = self._saying.pop(slot)
        try:
            sounds = [self._run(text, name, segment.speed, preset) for name, text in parts(segment.text, language)]
            return Chunk(slot, np.concatenate(sounds), last=True)
        except Exception as error:
            return Chunk(slot, np.zeros(0, np.float32), last=True, error=error)

    def _run(self, text: str, language: str, speed: float, preset: Preset) -> Pcm:
        own_speed = min(max(speed, _SLOWEST), _FASTEST)
        command = [
            *(PROGRAM, "-b", "1", "--stdin", "--stdout"),
            *("-v", f"{language}+{preset.variant}" if preset.variant else language),
            *("-s", str(round(_WORDS_PER_MINUTE * own_speed)), "-p", str(preset.pitch)),
        ]
        try:
            ended = subprocess.run(
                command,
                input=readable(text).encode(),
                capture_output=True,
                timeout=self._options.limit_s,
                check=False,
                # Ctrl-C goes to all of a terminal's processes; what is being said then is still said to its end.
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{PROGRAM} took longer than {self._options.limit_s:g} s") from error
        if ended.returncode != 0:
            raise RuntimeError(
                f"{PROGRAM} ended with {ended.returncode}: {ended.stderr.decode(errors='replace')[:200]}"
            )
        ends = text.rstrip(_CLOSERS).endswith(_SENTENCE_ENDS)
        pcm = _GAIN * without_tail(samples(ended.stdout), _TAIL_S if ends else _PART_TAIL_S)
        return np.ascontiguousarray(change_tempo(pcm, speed / own_speed, _SAMPLE_RATE_HZ), np.float32)


def readable(text: str) -> str:
    """Text without what espeak-ng would take for a command: ``[[`` begins phonemes, control characters end the text."""
    text = _UNSPEAKABLE.sub(" ", text.encode("utf-8", "replace").decode()).translate(_FULLWIDTH)
    return _PHONEMES.sub("[ ", text)


def samples(wav: bytes) -> Pcm:
    """Of the WAV that espeak-ng streams: its sizes are made up, the data chunk lasts to the end."""
    at = wav.find(b"data", 12)
    if wav[:4] != b"RIFF" or wav[8:12] != b"WAVE" or at < 0 or int.from_bytes(wav[24:28], "little") != _SAMPLE_RATE_HZ:
        raise RuntimeError(f"{PROGRAM} did not write a WAV file at {_SAMPLE_RATE_HZ} Hz")
    whole = (len(wav) - at - 8) // 2 * 2
    pcm: Pcm = np.frombuffer(wav[at + 8 : at + 8 + whole], "<i2").astype(np.float32) / np.float32(32_768)
    return pcm


def without_tail(pcm: Pcm, kept_s: float) -> Pcm:
    """``pcm`` up to so much silence; nothing of it if it is silent."""
    sounding = np.flatnonzero(np.abs(pcm) > 1e-3)
    end = int(sounding[-1]) + 1 + round(kept_s * _SAMPLE_RATE_HZ) if sounding.size else 0
    return pcm[:end]


def _describe() -> tuple[str, Languages]:
    """Version and the languages there are. Raises IshowttsError where the program does not answer."""

    def ask(argument: str) -> str:
        ended = subprocess.run([PROGRAM, argument], capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        return ended.stdout

    try:
        version = re.search(r"\d+(?:\.\d+)+", ask("--version"))
        lines = [line.split() for line in ask("--voices").splitlines()[1:]]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IshowttsError(f"{PROGRAM} does not run ({error}); install it again: {MEND}") from error
    languages = Languages.of(fields[1] for fields in lines if len(fields) > 1)
    if version is None or not languages.names:
        raise IshowttsError(f"{PROGRAM} tells neither its version nor its voices; install it again: {MEND}")
    return version.group(), languages


def load(options_table: Mapping[str, object], threads: int) -> Espeak:
    """The entry point."""
    chosen = check_options(options_table, threads)
    return Espeak(replace(chosen, slots=chosen.slots or max(threads, 1)))


def check_options(options_table: Mapping[str, object], threads: int) -> Options:
    """Raises InvalidSetting."""
    chosen = options.read(Options, "espeak", options_table)
    if not 0 <= chosen.slots <= 16:
        raise InvalidSetting(f"[engines.espeak] slots must be from 0 to 16, not {chosen.slots}")
    if not chosen.limit_s > 0:
        raise InvalidSetting(f"[engines.espeak] limit_s must be above 0, not {chosen.limit_s}")
    return chosen
