"""What is said in a clip, by Whisper (faster-whisper, the extra ``ishowtts[transcribe]``). One thread at a time."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ishowtts.errors import InvalidSetting

LOG = logging.getLogger(__name__)
SAMPLE_RATE_HZ = 16_000
_TRUE = ("1", "true", "yes", "on")
_MAX_SILENCE = 0.8
"""Whisper's own estimate that a piece holds no speech, above which what it made up is left out."""


def available() -> bool:
    return importlib.util.find_spec("faster_whisper") is not None


class Transcriber:
    """A model, loaded. ``model``: a published one's name (``"base"``), which is fetched once unless
    ``ISHOWTTS_OFFLINE`` forbids it, or a folder with a model in CTranslate2's format."""

    def __init__(self, model: str, threads: int) -> None:
        from faster_whisper import WhisperModel  # type: ignore[import-not-found,unused-ignore]

        if model.startswith(("/", ".", "~")):
            model = str(Path(model).expanduser())
            if not Path(model).is_dir():
                raise InvalidSetting(f"voices.transcribe_model: there is no folder {Path(model).name!r}")
        offline = any(os.environ.get(name, "").lower() in _TRUE for name in ("ISHOWTTS_OFFLINE", "HF_HUB_OFFLINE"))
        try:
            self._model: Any = WhisperModel(
                model, device="cpu", compute_type="int8", cpu_threads=max(1, threads), local_files_only=offline
            )
        except Exception as error:
            LOG.warning("the model of voices.transcribe_model (%s) cannot be loaded: %s", model, error)
            where = "is not here, and ISHOWTTS_OFFLINE forbids to fetch it" if offline else "cannot be loaded"
            named = Path(model).name
            raise InvalidSetting(f"the model {named!r} of voices.transcribe_model {where}") from error

    def hear(self, samples: npt.NDArray[np.float32], language: str | None) -> tuple[str, str]:
        """The words of mono float32 at 16 kHz, empty if there are none, and the language that they are in (ISO 639)."""
        asked = language.partition("-")[0].lower() if language else None
        if asked not in self._model.supported_languages:
            asked = None
        segments, info = self._model.transcribe(
            samples, language=asked, beam_size=5, condition_on_previous_text=False, without_timestamps=True
        )
        said = [segment.text.strip() for segment in segments if segment.no_speech_prob < _MAX_SILENCE]
        return " ".join(text for text in said if text), str(info.language)


def load(model: str, threads: int) -> Transcriber | None:
    """None: the extra is not installed. Raises InvalidSetting for a model that cannot be had."""
    return Transcriber(model, threads) if available() else None
