"""Licences that someone must have agreed to before anything under them is fetched. The agreement is recorded once, in
the data directory, for all programs of the user. Safe on any thread."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ishowtts.directories import data_directory
from ishowtts.errors import InvalidSetting


@dataclass(frozen=True)
class Licence:
    spdx: str
    covers: str
    terms: str
    """What a user should know before anything else, in a few words."""
    url: str


F5 = Licence(
    "CC-BY-NC-4.0",
    "the official F5-TTS and E2-TTS weights",
    "attribution, non-commercial use only",
    "https://huggingface.co/SWivid/F5-TTS",
)

OF_ENGINE: Mapping[str, Licence] = MappingProxyType({"f5": F5, "f5-reference": F5})
"""Which licence ``--accept-license`` accepts, by the engine that it is given with."""


class LicenceNotAccepted(InvalidSetting):
    """Something would have to be fetched whose licence nobody has agreed to yet."""

    def __init__(self, licence: Licence) -> None:
        super().__init__(
            f"{licence.covers} are under {licence.spdx} ({licence.terms}; {licence.url}) and are fetched only once "
            f"that is accepted: run `ishowtts say --engine f5 --accept-license …` once, or `ishowtts serve --engine f5 "
            f"--accept-license`"
        )
        self.licence = licence


def accept(licence: Licence, directory: Path | None = None) -> None:
    """Records that the user agrees. Raises OSError if the data directory cannot be written."""
    if accepted(licence, directory):
        return
    path = _record(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    records = _read(path) | {licence.covers: {"licence": licence.spdx, "url": licence.url, "accepted_at": now}}
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(records, file, ensure_ascii=False, indent=2)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def accepted(licence: Licence, directory: Path | None = None) -> bool:
    """Whether the very licence was accepted; another one for the same thing must be accepted anew."""
    record = _read(_record(directory)).get(licence.covers)
    return isinstance(record, dict) and record.get("licence") == licence.spdx


def _record(directory: Path | None) -> Path:
    return (directory or data_directory()) / "licences.json"


def _read(path: Path) -> dict[str, object]:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return records if isinstance(records, dict) else {}
