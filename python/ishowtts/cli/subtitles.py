"""Captions to a file that players read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ishowtts.cli.failure import Failure, usage

_FORMATS = {".srt": "srt", ".vtt": "vtt"}


class CaptionFile:
    """Appears under its name when it is whole: a failure leaves what was there before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._format = _FORMATS[path.suffix.lower()]

    def write(self, text: str, captions: list[dict[str, Any]]) -> None:
        from ishowtts._native import subtitles

        # The file behind a link is replaced, not the link.
        path = Path(os.path.realpath(self._path))
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            part.write_text(subtitles(self._format, text, captions), encoding="utf-8", newline="\n")
            part.replace(path)
        except OSError as error:
            raise Failure(f"{self._path}: {error.strerror}", "choose another place with --captions") from error
        finally:
            part.unlink(missing_ok=True)


def open_file(name: str) -> CaptionFile:
    """Raises Failure, before anything is spoken, for what cannot be written."""
    path = Path(name)
    if path.suffix.lower() not in _FORMATS:
        raise usage(f"{name}: captions are written as .srt or .vtt", f"use --captions {path.with_suffix('.srt')}")
    if path.is_dir():
        raise usage(f"{name} is a folder", f"name a file: --captions {path / 'speech.srt'}")
    if not path.parent.is_dir():
        raise Failure(f"{path.parent}: there is no such folder", "choose another place with --captions")
    return CaptionFile(path)
