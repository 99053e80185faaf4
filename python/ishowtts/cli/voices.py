"""``ishowtts voices``: the library of voices on the command line, without a server. One that runs sees what changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ishowtts.cli import settings
from ishowtts.cli.failure import Failure, as_failure, tell, usage
from ishowtts.errors import SpeechError

if TYPE_CHECKING:
    from ishowtts._native import Config, Voices

CLIP_SUFFIXES = frozenset(
    {".wav", ".aiff", ".aif", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".webm", ".m4a", ".mp4", ".aac"}
)
MANIFEST = "voice.toml"


@dataclass(frozen=True)
class About:
    """What is told of a voice. None: as it was, or a default."""

    text: str | None = None
    name: str | None = None
    description: str | None = None
    languages: list[str] | None = None
    licence: str | None = None
    speed: float | None = None


def library(config: Config) -> Voices:
    try:
        from ishowtts._native import Voices
    except ImportError as error:
        raise settings.not_built(error) from error
    return Voices(config)


def add(voices: Voices, id: str, clip: str | None, about: About, *, replace: bool) -> None:
    path = None if clip is None else Path(clip)
    told = vars(about) | {"text": about.text if about.text is not None else _text_beside(path)}
    added = voices.add(id, path, replace=replace, **told)
    length = "" if added["duration_s"] is None else f" ({added['duration_s']:.1f} s of speech)"
    print(f"added the voice {added['id']!r}{length}")
    _tell_more(id, added)


def remove(voices: Voices, ids: list[str]) -> None:
    for id in ids:
        voices.remove(id)
        print(f"removed {id!r}")


def import_folder(voices: Voices, folder: str, *, replace: bool) -> int:
    """Voices' folders, and clips, whose texts are in files of the same name or listened for. One that is not in order
    stops no other."""
    root = Path(folder)
    if not root.is_dir():
        raise usage(f"{folder} is not a folder", "name one that holds voices' folders, or clips")
    found = list(_importable(root))
    if not found:
        raise Failure(
            f"{folder} holds no voices",
            f"a voice is a folder with {MANIFEST}, or a clip, best with its text in NAME.txt",
        )
    failed = 0
    for path in found:
        try:
            if path.is_dir():
                imported = voices.import_folder(path, replace=replace)
            else:
                imported = voices.add(
                    _id_of(voices, path), path, text=_text_beside(path), name=path.stem, replace=replace
                )
        except (Failure, SpeechError) as error:
            failed += 1
            failure = as_failure(error)
            tell(Failure(f"{path}: {failure.cause}", failure.mend))
        else:
            print(f"imported {imported['id']!r}")
            _tell_more(str(path), imported)
    if failed:
        raise Failure(f"{failed} of {len(found)} voices were not imported", "the lines above tell why")
    return 0


def shown(voices: Voices, id: str) -> dict[str, Any]:
    """A voice, with its clip's size in the place of the clip."""
    voice = dict(voices.get(id))
    clip = voice.pop("reference_audio")
    return voice | {"reference_bytes": None if clip is None else len(clip)}


def _importable(root: Path) -> Iterator[Path]:
    if (root / MANIFEST).is_file():
        yield root
        return
    for path in sorted(root.iterdir()):
        is_voice = path.is_dir() and (path / MANIFEST).is_file()
        is_clip = path.suffix.lower() in CLIP_SUFFIXES and path.is_file()
        if not path.name.startswith(".") and (is_voice or is_clip):
            yield path


def _text_beside(clip: Path | None) -> str | None:
    if clip is None or not clip.with_suffix(".txt").is_file():
        return None
    try:
        return clip.with_suffix(".txt").read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise Failure(f"{clip.with_suffix('.txt')} is not UTF-8", "save it as UTF-8") from error


def _id_of(voices: Voices, clip: Path) -> str:
    id = voices.id_of_name(clip.stem)
    if id is None:
        raise Failure("there is no letter in its name to make an id of", "rename it")
    return id


def _tell_more(voice: str, added: dict[str, Any]) -> None:
    if added.get("heard") is not None:
        print(f"heard in it: {added['heard']}")
        print(f"ishowtts: {voice}: every wrong word is heard in the voice; --replace --text mends it", file=sys.stderr)
    for warning in added.get("warnings", []):
        print(f"ishowtts: {voice}: {warning}", file=sys.stderr)
