# ruff: noqa: RUF001 - the characters are what this is about
"""Puts the rules together. Safe on any thread; nothing is kept but bounded caches."""

from __future__ import annotations

import functools
import re
import unicodedata

from ishowtts.engine import Spoken
from ishowtts.text import chinese, dates, english, numbers, pictures, scripts, slang, web, wfst
from ishowtts.text.reading import Reading

VERSION = "4"
"""Changes whenever a text may be read in another way: part of an engine's revision."""

_MOST_CACHED_CHARS = 2000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_CLAUSE = re.compile(
    r"[^,.!?;:，。！？；：\n]*(?:(?<=\d)[.,:](?=\d)[^,.!?;:，。！？；：\n]*)*(?:[,.!?;:，。！？；：\n]+|$)"
)
_FRACTION = re.compile("[\u00bc-\u00be\u2150-\u215e]")


def languages() -> frozenset[str]:
    """ISO 639-1 codes of the languages whose numbers are read."""
    return numbers.languages() | {"zh", "en"}


def normalise(text: str, language: str | None = None) -> list[Spoken]:
    """What will be said, in order; ``"".join`` of the pieces' text is the whole. Spans are code points of ``text``.

    ``language``: BCP 47; None: by the letters, clause by clause. Raises InvalidSetting where a package is missing.
    """
    read = _cached if len(text) <= _MOST_CACHED_CHARS else _read
    return list(read(text, scripts.primary(language)))


def say(text: str, language: str | None = None) -> str:
    """What will be said, in one piece."""
    return "".join(piece.text for piece in normalise(text, language)).strip()


def _read(text: str, asked: str | None) -> tuple[Spoken, ...]:
    plain = scripts.narrow(text)
    reading = Reading(plain, len(text))
    main = scripts.language_of(plain, asked, plain)
    reading.replace(_CONTROL, lambda _: "")
    web.apply(reading, main)
    pictures.apply(reading, main)
    slang.apply(reading, main, asked)
    if not any(char.isalnum() for char in reading.untouched):
        return tuple(reading.spoken())
    if main == "zh":
        chinese.apply(reading)
    elif main == "en":
        english.apply(reading)
    if main in ("zh", "en"):
        reading.replace(_FRACTION, lambda match: _fraction(match, main))
        reading.spans(lambda part: _by_clause(part, asked, plain))
    else:
        dates.apply(reading, main)
        numbers.apply(reading, main)
    return tuple(reading.spoken())


_cached = functools.lru_cache(maxsize=512)(_read)


def _fraction(match: re.Match[str], language: str) -> str | None:
    plain = unicodedata.normalize("NFKC", match.group()).replace("\u2044", "/")
    return next((said for _, _, said in wfst.spans(plain, language)), None)


def _by_clause(part: str, asked: str | None, whole: str) -> list[tuple[int, int, str]]:
    """Chinese and English stand in one text: each clause is read in its own."""
    changes: list[tuple[int, int, str]] = []
    for clause in _CLAUSE.finditer(part):
        if clause.group():
            found = scripts.language_of(clause.group(), asked, whole)
            language = found if found in ("zh", "en") else "en"
            changes += [
                (clause.start() + start, clause.start() + end, said)
                for start, end, said in wfst.spans(clause.group(), language)
            ]
    return changes
