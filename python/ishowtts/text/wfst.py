# ruff: noqa: RUF001 - the characters are what this is about
"""wetext's grammars for Chinese and English, clause by clause. Imported on first use; one caller at a time."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterable
from typing import Any

from ishowtts.errors import InvalidSetting
from ishowtts.text import numbers

MOST_CHARS = 80
"""The grammars take a time that grows with the clause (0.5 ms a character where there are many numbers)."""

_CLAUSE = re.compile(r"(?:[^\s，。！？；、：]|[^\S\n]|(?<=\d)[：](?=\d))+|[，。！？；、：\n]+", re.DOTALL)
_WORD = re.compile(r"\S+")
_DIGIT_RUN = re.compile(r"\d+")
_ESCAPED = re.compile(r'\\(["\\])')
# In English also signs between words and the abbreviations that the grammar knows.
_WORTH = {
    "zh": re.compile(r"\d"),
    "en": re.compile(r"[\d&%$£€=°@]|\b(?:Mr|Mrs|Ms|Dr|Prof|Jr|Sr|No|vs|Gen|Capt|Lt|Col)\."),
}

_lock = threading.Lock()


def spans(text: str, language: str) -> Iterable[tuple[int, int, str]]:
    """Start, end and what is said there, for what the grammar changes. ``language``: zh or en."""
    for clause in _CLAUSE.finditer(text):
        if not _WORTH[language].search(clause.group()):
            continue
        for start, end in _bounded(clause.group()):
            piece = clause.group()[start:end]
            for first, last, said in _changes(piece, language):
                yield clause.start() + start + first, clause.start() + start + last, said


def _bounded(clause: str) -> Iterable[tuple[int, int]]:
    """The clause in pieces, cut between words where it is long."""
    start = 0
    while len(clause) - start > MOST_CHARS:
        end = start + MOST_CHARS
        space = clause.rfind(" ", start + 1, end)
        if space > start:
            end = space
        else:
            # No number is cut in two where that can be avoided.
            while end > start + MOST_CHARS // 2 and clause[end - 1 : end + 1].isascii():
                end -= 1
        yield start, end
        start = end
    yield start, len(clause)


@functools.lru_cache(maxsize=2048)
def _changes(piece: str, language: str) -> tuple[tuple[int, int, str], ...]:
    if not _WORTH[language].search(piece):
        return ()
    try:
        return _grammar(piece, language)
    except (RuntimeError, ValueError):
        # It has no way through some texts ("#1", "10€"): word by word it has for most.
        changes: list[tuple[int, int, str]] = []
        for word in _WORD.finditer(piece):
            if word.group() != piece and _WORTH[language].search(word.group()):
                changes += [
                    (word.start() + a, word.start() + b, said) for a, b, said in _changes(word.group(), language)
                ]
            elif _DIGIT_RUN.search(word.group()):
                changes += [
                    (word.start() + run.start(), word.start() + run.end(), numbers.words(run.group(), language))
                    for run in _DIGIT_RUN.finditer(word.group())
                ]
        return tuple(changes)


def _grammar(piece: str, language: str) -> tuple[tuple[int, int, str], ...]:
    # Spaces at the edges and doubled ones are no part of its alphabet's sentences.
    inner = piece.strip()
    offset = piece.index(inner)
    if "  " in inner or not inner.isprintable():
        raise ValueError("word by word")
    with _lock:
        result = _normalizer()(inner, lang=language)
    changes = (
        # Quotes and backslashes come back escaped, as its protocol of tokens writes them.
        (
            offset + change.input_start,
            offset + change.input_end,
            change.input_text,
            _ESCAPED.sub(r"\1", change.output_text),
        )
        for change in result.mappings
    )
    return tuple((start, end, said) for start, end, given, said in changes if said != given)


@functools.lru_cache(maxsize=1)
def _normalizer() -> Any:
    try:
        from wetext import normalize_with_mapping
    except ImportError as error:
        raise InvalidSetting(
            "reading Chinese and English numbers needs the package wetext; install ishowtts[text]"
        ) from error
    return normalize_with_mapping
