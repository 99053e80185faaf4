"""The native module: the server, as Python sees it (src/bridge/)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

def subtitles(format: str, text: str, captions: list[dict[str, Any]]) -> str:
    """Captions as a file: ``format`` "srt" or "vtt", ``captions`` as :attr:`Stream.captions` has them.

    They show ``text`` as it was written. Raises ValueError.
    """

class Config:
    """The configuration, loaded and checked. Immutable."""

    @staticmethod
    def load(path: str | os.PathLike[str] | None = None, flags: list[tuple[str, str, str]] = ...) -> Config:
        """Defaults < file < environment < flags.

        ``path`` None: the file that ISHOWTTS_CONFIG names, else the user's own if there is one. ``flags``: dotted key,
        value, and the flag as it was typed. Raises :class:`~ishowtts.errors.ConfigError` with a line for each mistake.
        """

    def explain(self) -> list[tuple[str, str, str]]:
        """Key, value and origin of every setting, in the order of the keys."""

    @property
    def file(self) -> str | None:
        """The file that was read, if any."""

    @property
    def engine(self) -> str: ...
    @property
    def fallback(self) -> list[str]: ...
    @property
    def engines(self) -> dict[str, dict[str, Any]]:
        """``[engines]``: each table by the name of its engine."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def threads(self) -> int:
        """The thread budget of the whole program."""

class Voices:
    """The library of voices, without engines. A server that runs sees what is changed here within a second.

    All methods raise SpeechError.
    """

    def __new__(cls, config: Config) -> Voices: ...
    def all(self) -> list[dict[str, Any]]:
        """id, name, description, languages, licence, version, speed, origin ("shipped", "user"), overridden, cloned,
        default, aliases and engine (hints by engine) of each, sorted by id."""

    def get(self, id: str) -> dict[str, Any]:
        """One by its id or alias, with reference_text, reference_source (where the clip is from, for people) and
        reference_audio (a WAV file's bytes), or None in their places."""

    def preview_text(self, id: str) -> str:
        """A sentence in the voice's language."""

    @staticmethod
    def id_of_name(name: str) -> str | None:
        """An id for a voice of that name; None if there is no letter in it."""

    def add(
        self,
        id: str,
        clip: str | os.PathLike[str] | None = None,
        *,
        text: str | None = None,
        name: str | None = None,
        description: str | None = None,
        languages: Sequence[str] | None = None,
        licence: str | None = None,
        speed: float | None = None,
        engine: dict[str, dict[str, Any]] | None = None,
        replace: bool = False,
    ) -> dict[str, Any]:
        """A voice of the user's own, cloned from ``clip``, a file of any common format, in which ``text`` is said.

        ``text`` None: it is listened for, with ishowtts[transcribe]. ``replace``: or a change of the one that is there,
        in which what is not given stays. Returns the voice with the prepared clip's duration_s and warnings, and the
        text that was heard (None: nobody listened).
        """

    def import_folder(self, folder: str | os.PathLike[str], *, replace: bool = False) -> dict[str, Any]:
        """A voice's folder, as it is."""

    def remove(self, id: str) -> None:
        """The user's own under this id, and its override."""

class Runtime:
    """Speech in this process, with or without a server.

    The engines start, in the background, with the first call that needs them: ``serve`` (once it has its port),
    ``wait_ready``, ``speak`` or ``engines``. All methods may be called on any thread and wait without the interpreter
    lock; Ctrl-C ends the waiting ones. A context manager; closed by itself when it is dropped and at exit.
    """

    def __new__(cls, config: Config) -> Runtime: ...
    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Waits until the engines can speak. Raises SpeechError if one cannot be loaded, TimeoutError."""

    def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        engine: str | None = None,
        language: str | None = None,
        speed: float = 1.0,
        seed: int | None = None,
        cache: bool = True,
        params: dict[str, Any] | None = None,
        reference: tuple[str | os.PathLike[str], str] | None = None,
        whole: bool = False,
        loudness: str | None = None,
        volume: float = 1.0,
    ) -> Stream:
        """Waits until the engines can speak, then queues the text; returns before the first sound.

        ``seed`` None: from text, voice and settings; -1: another each time. ``params``: the engine's own.
        ``reference``: a WAV file to clone and what is said in it, in the place of ``voice``. ``whole``: the engine gets
        all of the text at once. Raises
        :class:`~ishowtts.errors.SpeechError` for what can be known by then.
        """

    def voices(self) -> list[dict[str, Any]]:
        """As :meth:`Voices.all`."""

    def engines(self) -> list[dict[str, Any]]:
        """name and state ("loading", "ready", "broken") of each; when ready, the fields of
        :class:`~ishowtts.engine.EngineInfo`; when broken, the reason."""

    def listen(self) -> tuple[str, int]:
        """Opens the port that ``serve`` will serve; returns address and port. Raises IshowttsError if it cannot."""

    def serve(self) -> int:
        """Serves HTTP until ``shutdown`` and closes the runtime; returns the exit code.

        Prints ``ishowtts listens on http://ADDRESS:PORT`` on standard error once the port is open. Raises IshowttsError
        if it cannot be opened, before any engine loads. 70: an engine broke or hangs. Where that keeps the interpreter
        for itself the process ends with 70 after 5 s; where its thread still hangs at exit, the process ends with 70.
        """

    def shutdown(self) -> None:
        """Lets ``serve`` end once what is in flight has been sent. Also from a signal handler."""

    def close(self) -> None:
        """Ends the engines, and the streams that are still read."""

    def __enter__(self) -> Runtime: ...
    def __exit__(self, kind: object, error: object, trace: object, /) -> None: ...

class Stream:
    """Speech, piece by piece: iterating waits for the next one. Dropping it gives the speech up."""

    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def engine(self) -> str: ...
    @property
    def voice(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def cached(self) -> bool:
        """Nothing had to be spoken."""

    @property
    def segments(self) -> int: ...
    @property
    def segments_read(self) -> int:
        """Segments that were read to the end."""

    @property
    def captions(self) -> list[dict[str, Any]]:
        """Of the segments that were read: the fields of :class:`~ishowtts.speech.Caption`."""

    def __iter__(self) -> Stream: ...
    def __next__(self) -> npt.NDArray[np.float32]:
        """Mono float32. Raises SpeechError if the speech ends early: what was read is then not all of it."""

def audio_decode(
    clip: bytes | str | os.PathLike[str], max_duration_s: float, max_time_s: float
) -> tuple[npt.NDArray[np.float32], int]:
    """See :func:`ishowtts.audio.decode`."""

def audio_encode(
    samples: npt.NDArray[np.float32],
    sample_rate_hz: int,
    format: str,
    rate_out_hz: int | None,
    bitrate_bps: int | None,
) -> bytes:
    """See :func:`ishowtts.audio.encode`."""

def audio_loudness(samples: npt.NDArray[np.float32], sample_rate_hz: int) -> tuple[float, float]:
    """See :func:`ishowtts.audio.loudness`."""

def audio_resample(
    samples: npt.NDArray[np.float32], rate_in_hz: int, rate_out_hz: int, quality: str
) -> npt.NDArray[np.float32]:
    """See :func:`ishowtts.audio.resample`."""

def audio_stretch(
    samples: npt.NDArray[np.float32], sample_rate_hz: int, speed: float, pitch_semitones: float
) -> npt.NDArray[np.float32]:
    """See :func:`ishowtts.audio.stretch`."""
