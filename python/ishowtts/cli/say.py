"""``ishowtts say``: speaks a text to a file, to a pipe or aloud, without a server."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ishowtts.cli import player, settings, subtitles, wav
from ishowtts.cli.failure import Failure, usage
from ishowtts.cli.progress import Bar

if TYPE_CHECKING:
    from ishowtts._native import Config, Stream

_TEXT_SUFFIXES = (".txt", ".md")


@dataclass(frozen=True)
class Saying:
    words: Sequence[str]
    output: str | None
    captions: str | None
    play: bool
    voice: str | None
    speed: float
    seed: int | None


def run(config: Config, saying: Saying) -> int:
    text = read_text(saying.words)
    captions = subtitles.open_file(saying.captions) if saying.captions is not None else None
    sinks = open_sinks(saying.output, saying.play, needed=captions is None)
    finished = False
    try:
        runtime = settings.start(config)
        try:
            settings.wait_ready(runtime)
            # Nothing here keeps the stream, so that closing finds nobody who listens.
            told = _deliver(runtime.speak(text, voice=saying.voice, speed=saying.speed, seed=saying.seed), sinks)
        finally:
            runtime.close()
        for sink in sinks:
            sink.finish()
        if captions is not None:
            captions.write(text, told)
        finished = True
    finally:
        if not finished:
            for sink in sinks:
                sink.discard()
    return 0


def read_text(words: Sequence[str]) -> str:
    """``-`` is standard input, the name of a file is what it holds, anything else is what to say."""
    if list(words) == ["-"]:
        return _decode(sys.stdin.buffer.read(), "standard input")
    if len(words) == 1:
        path = Path(words[0])
        try:
            if path.is_file():
                return _decode(path.read_bytes(), words[0])
        except (OSError, ValueError) as error:
            # Too long for a name, or with a NUL: it is a text. Any other error is of a file that exists.
            if isinstance(error, PermissionError):
                raise
        if path.suffix.lower() in _TEXT_SUFFIXES and not any(letter.isspace() for letter in words[0]):
            raise usage(f"there is no file {words[0]}", f"to say just these words: echo {words[0]} | ishowtts say -")
    return " ".join(words)


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure(
            f"{where} is not UTF-8 text (byte {error.start + 1})", "convert it, for example with iconv -t UTF-8"
        ) from error


def open_sinks(output: str | None, play: bool, needed: bool = True) -> list[wav.Sink]:
    """Where the sound goes; in a terminal it is played unless a file is named, or it need not go anywhere."""
    if output is None and not play and needed:
        if not sys.stderr.isatty():
            raise usage("nowhere to put the speech", "name a file with -o speech.wav, or add --play")
        play = True
    # The player first: it leaves nothing behind if the file cannot be made.
    sinks: list[wav.Sink] = [player.Player(player.require())] if play else []
    if output is not None:
        sinks.append(wav.open_sink(output))
    return sinks


def _deliver(stream: Stream, sinks: Sequence[wav.Sink]) -> list[dict[str, Any]]:
    """Hands each piece on as it is made, then waits until all has been heard; returns the captions."""
    sample_rate_hz = stream.sample_rate_hz
    for sink in sinks:
        sink.start(sample_rate_hz)
    samples = 0
    started = time.monotonic()
    with Bar("speaking", stream.segments) as bar:
        for pcm in stream:
            if samples == 0:
                started = time.monotonic()
            samples += pcm.size
            sound = wav.s16le(pcm)
            for sink in sinks:
                sink.write(sound)
            bar.update(stream.segments_read)
    captions = stream.captions
    for sink in sinks:
        if isinstance(sink, player.Player):
            sink.seal()
            with Bar("playing", samples / sample_rate_hz) as bar:
                while sink.playing(timeout_s=0.1):
                    bar.update(time.monotonic() - started)
    return captions
