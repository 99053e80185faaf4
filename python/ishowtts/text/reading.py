"""A text on its way to what will be said: rules replace parts of it, and every part keeps its place in the original."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ishowtts.engine import Spoken

Say = Callable[[re.Match[str]], str | None]
"""What is said for a match; None: the rule does not apply here. Empty: nothing."""


@dataclass(frozen=True)
class _Part:
    text: str
    start: int
    end: int
    said: bool
    """By a rule: no other one looks at it."""


class Reading:
    """Parts are read once: what one rule has said, no later rule changes. Not thread-safe; one for each text."""

    def __init__(self, text: str, original_length: int | None = None) -> None:
        """``text`` may differ from the original in its characters, not in their number."""
        length = len(text) if original_length is None else original_length
        if length != len(text):
            raise ValueError("a reading keeps places: its text is as long as the original")
        self._parts = [_Part(text, 0, length, said=False)] if text else []

    def replace(self, pattern: re.Pattern[str], say: Say) -> None:
        """Every match in what no rule has said yet."""
        self._split(lambda part: _matches(part, pattern, say))

    def spans(self, find: Callable[[str], Iterable[tuple[int, int, str]]]) -> None:
        """``find`` tells start, end and what is said there, in order, for each part that no rule has said yet."""
        self._split(lambda part: ((start, end, said) for start, end, said in find(part.text)))

    def _split(self, find: Callable[[_Part], Iterable[tuple[int, int, str]]]) -> None:
        parts: list[_Part] = []
        for part in self._parts:
            if part.said:
                parts.append(part)
                continue
            position = 0
            for start, end, said in find(part):
                if start < position or end <= start:
                    continue
                if start > position:
                    parts.append(_piece(part, position, start))
                parts.append(_Part(said, part.start + start, part.start + end, said=True))
                position = end
            if position < len(part.text):
                parts.append(_piece(part, position, len(part.text)))
        self._parts = parts

    @property
    def untouched(self) -> str:
        """What no rule has said, for decisions about the whole."""
        return " ".join(part.text for part in self._parts if not part.said)

    def spoken(self) -> list[Spoken]:
        """Put together with ``"".join`` it is what will be said. Parts of which nothing is said are left out, words of
        letters that a rule put beside others stand apart."""
        pieces: list[Spoken] = []
        said_before = False
        for part in self._parts:
            text = part.text
            before = pieces[-1].text[-1:] if pieces else " "
            if before.isspace():
                text = text.lstrip()
            if not text:
                continue
            if (part.said or said_before) and _glued(before, text[0]):
                text = f" {text}"
            pieces.append(Spoken(text, part.start, part.end))
            said_before = part.said
        return pieces


def _matches(part: _Part, pattern: re.Pattern[str], say: Say) -> Iterable[tuple[int, int, str]]:
    for match in pattern.finditer(part.text):
        said = say(match)
        if said is not None:
            yield match.start(), match.end(), said


def _piece(part: _Part, start: int, end: int) -> _Part:
    return _Part(part.text[start:end], part.start + start, part.start + end, said=False)


def _glued(before: str, after: str) -> bool:
    """Two letters of scripts that put spaces between words."""
    return before.isalnum() and after.isalnum() and ord(before) < 0x2E80 and ord(after) < 0x2E80
