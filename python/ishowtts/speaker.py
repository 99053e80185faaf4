"""Speech in this process: the same scheduler, jobs and cache as the server's, without a port."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ishowtts.errors import SpeechError
from ishowtts.speech import Audio, SpeechStream

if TYPE_CHECKING:
    from ishowtts._native import Config, Runtime

_SHOWN_CHARS = 100


def configuration(
    engine: str | None = None,
    options: Mapping[str, object] | None = None,
    config: str | os.PathLike[str] | Config | None = None,
    settings: Mapping[str, object] | None = None,
) -> Config:
    """``options`` are those of ``engine`` (``[engines.<name>]``), ``settings`` any others by dotted key.

    Raises ConfigError, with a line for each mistake; TypeError where both a Config and settings are given.
    """
    from ishowtts._native import Config

    if isinstance(config, Config):
        if engine is not None or options or settings:
            raise TypeError("a Config is complete: give engine, options and settings when it is loaded")
        return config
    flags = [(key, _toml(value), f"settings[{key!r}]") for key, value in (settings or {}).items()]
    if engine is not None:
        flags.append(("engine", _toml(engine), "engine"))
    if options:
        named = engine if engine is not None else Config.load(config, flags).engine
        flags += [(f"engines.{named}.{key}", _toml(value), f"options[{key!r}]") for key, value in options.items()]
    return Config.load(config, flags)


def _toml(value: object) -> str:
    """What TOML and JSON have in common: strings, numbers, booleans, lists of them."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, int) and not -(2**64) < value < 2**64:
        # Out of every range, and with more digits than Python may print.
        value = 2.0**64 if value > 0 else -(2.0**64)
    return value if isinstance(value, str) else json.dumps(value)


def _param(name: str, value: Any) -> Any:
    """``value`` of the engine's parameter ``name``, as JSON has it; NumPy's scalars and arrays are what they hold.

    Raises SpeechError.
    """
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_param(name, item) for item in value]
    if isinstance(value, Mapping):
        return {_param(name, key): _param(name, item) for key, item in value.items()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value):
        return str(value)
    raise _refused(name, f"a finite number, true or false, a text or a list of them, not {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 2**64:
        return "a number of more than 64 bits"
    return repr(value)[:_SHOWN_CHARS] if isinstance(value, (int, float, str)) else type(value).__name__


def _refused(name: str, wanted: str) -> SpeechError:
    return SpeechError("invalid_parameter", f"{name} must be {wanted}")


class Speaker:
    """Speaks. Engines load in the background from the first call on, or when its ``with`` block is entered.

    >>> with Speaker() as speaker:
    ...     audio = speaker.speak("Hello from Python.")
    ...     audio.save("hello.wav")

    Threads may share one; they wait without the interpreter lock. ``engine``: by name, None: the configured one;
    ``options``: its own settings; ``config``: a TOML file or a loaded Config; ``settings``: any others, by dotted key.
    """

    def __init__(
        self,
        engine: str | None = None,
        *,
        options: Mapping[str, object] | None = None,
        config: str | os.PathLike[str] | Config | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        from ishowtts._native import Runtime

        self._runtime: Runtime = Runtime(configuration(engine, options, config, settings))

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Until the engines can speak. Raises SpeechError if one cannot be loaded, TimeoutError."""
        self._runtime.wait_ready(timeout_s)

    def stream(
        self,
        text: str,
        *,
        voice: str | None = None,
        language: str | None = None,
        speed: float = 1.0,
        seed: int | None = None,
        cache: bool = True,
        reference_audio: str | os.PathLike[str] | None = None,
        reference_text: str | None = None,
        postprocess: bool = True,
        loudness: Literal["voice", "off"] | None = None,
        volume: float = 1.0,
        **params: Any,
    ) -> SpeechStream:
        """Returns before the first sound; iterate over it, or over it with ``async for``.

        ``voice``: an id or alias; None: the default one. ``language``: BCP 47; None: the voice's. ``speed``: 0.25 to 4.
        ``seed``: None: from text, voice and settings, so that the same is said the same; -1: another each time.
        ``cache``: may be answered from memory, and kept there. ``reference_audio``: a sound file to clone in the place
        of a voice, ``reference_text``: what is said in it. ``postprocess`` False: the engine gets all of the text at
        once instead of sentence by sentence, and its sound is left as it is. ``loudness``: "voice" brings the voice to
        the configured loudness, "off" leaves it; None: as configured. ``volume``: a factor on top, up to 4; peaks are
        limited. ``params``: the engine's own, such as ``nfe_steps``.

        Raises SpeechError, with a stable ``code``, for what can be known before anything is spoken.
        """
        if not isinstance(postprocess, (bool, np.bool_)):
            raise _refused("postprocess", f"true or false, not {_shown(postprocess)}")
        reference = None if reference_audio is None else (reference_audio, reference_text or "")
        if reference_audio is None and reference_text is not None:
            raise TypeError("reference_text is what is said in reference_audio: give both")
        if reference is not None and voice is not None:
            raise TypeError("reference_audio takes the place of voice: give one of them")
        return SpeechStream(
            self._runtime.speak(
                text,
                voice=voice,
                language=language,
                speed=speed,
                seed=seed,
                cache=cache,
                params={name: _param(name, value) for name, value in params.items()} or None,
                reference=reference,
                whole=not postprocess,
                loudness=loudness,
                volume=volume,
            ),
            text,
        )

    def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        language: str | None = None,
        speed: float = 1.0,
        seed: int | None = None,
        cache: bool = True,
        reference_audio: str | os.PathLike[str] | None = None,
        reference_text: str | None = None,
        postprocess: bool = True,
        loudness: Literal["voice", "off"] | None = None,
        volume: float = 1.0,
        **params: Any,
    ) -> Audio:
        """All of it at once; arguments as for :meth:`stream`. Raises SpeechError: never a part of the speech."""
        stream = self.stream(
            text,
            voice=voice,
            language=language,
            speed=speed,
            seed=seed,
            cache=cache,
            reference_audio=reference_audio,
            reference_text=reference_text,
            postprocess=postprocess,
            loudness=loudness,
            volume=volume,
            **params,
        )
        return stream.collect()

    async def astream(self, text: str, **arguments: Any) -> SpeechStream:
        """:meth:`stream` without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.stream, text, **arguments)

    async def aspeak(self, text: str, **arguments: Any) -> Audio:
        """:meth:`speak` without blocking the event loop. Cancelled, it gives the speech up."""
        async with await self.astream(text, **arguments) as stream:
            pieces = [piece async for piece in stream]
            samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
            told = (stream.captions, stream.engine, stream.voice, stream.seed, stream.text)
            return Audio(samples, stream.sample_rate_hz, *told)

    def voices(self) -> list[dict[str, Any]]:
        """id, name, description, languages, licence, default and aliases of each, sorted by id."""
        return self._runtime.voices()

    def engines(self) -> list[dict[str, Any]]:
        """name and state of each, and what a ready one tells about itself."""
        return self._runtime.engines()

    def close(self) -> None:
        """Ends the engines, and the streams that are still read."""
        self._runtime.close()

    def __enter__(self) -> Speaker:
        try:
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Speaker:
        import asyncio

        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        await asyncio.to_thread(self.close)
