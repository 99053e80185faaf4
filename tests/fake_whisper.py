"""A module in the place of faster-whisper, for tests of what it is asked: it hears the name of the language."""

from __future__ import annotations

from pathlib import Path

_MODULE = """
import os
import time
from pathlib import Path
from types import SimpleNamespace

ASKED = Path(__file__).with_name("asked.txt")


class WhisperModel:
    supported_languages = ["de", "en", "vi"]

    def __init__(self, *_args, **_options):
        pass

    def transcribe(self, samples, language=None, **_options):
        with ASKED.open("a") as asked:
            print(language, file=asked)
        if "FAKE_WHISPER_STALLS" in os.environ:
            time.sleep(60)
        said = SimpleNamespace(text=f" Heard as {language}.", no_speech_prob=0.0)
        return [said], SimpleNamespace(language=language or "de")
"""


def put_into(folder: Path) -> dict[str, str]:
    """Writes it; returns the environment in which it is found."""
    folder.mkdir(exist_ok=True)
    (folder / "faster_whisper.py").write_text(_MODULE, encoding="utf-8")
    return {"PYTHONPATH": str(folder), "ISHOWTTS_VOICES_TRANSCRIBE_MODEL": "base"}


def asked(folder: Path) -> list[str]:
    """The languages in which it was asked to hear, in order; "None": in whichever it is."""
    return (folder / "asked.txt").read_text(encoding="utf-8").split()


def put_nothing_into(folder: Path) -> dict[str, str]:
    """As where the extra is not installed."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['faster_whisper'] = None\n", encoding="utf-8")
    return {"PYTHONPATH": str(folder), "ISHOWTTS_VOICES_TRANSCRIBE_MODEL": "base"}
