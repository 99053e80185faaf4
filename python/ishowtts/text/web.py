# ruff: noqa: RUF001 - the characters are what this is about
"""Addresses: of a link its host is said, of a mail address all of it."""

from __future__ import annotations

import re

from ishowtts.text.reading import Reading

_TLD = "com|net|org|edu|gov|io|tv|gg|me|co|cn|jp|uk|de|fr|eu|us|ru|info|dev|app|ai|xyz|live|top|fm|ly|be|moe"
_URL = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|(?<![\w@.])www\.)(?:[^\s/?#@]*@)?(?P<host>[\w.-]*\w)(?::\d+)?"
    r"(?:[/?#][^\s，。！？；：、“”‘’《》（）\u4e00-\u9fff]*)?",
    re.IGNORECASE | re.ASCII,
)
_BARE = re.compile(
    rf"(?<![\w@./-])(?P<host>(?:[a-z0-9](?:[a-z0-9-]{{0,62}})\.){{1,4}}(?:{_TLD}))(?![\w-])(?!\.\w)"
    r"(?:/[^\s，。！？；：、“”‘’《》（）\u4e00-\u9fff]*)?",
    re.IGNORECASE | re.ASCII,
)
_MAIL = re.compile(
    r"(?<![\w.+-])(?P<user>[a-z0-9][\w.+-]{0,63})@(?P<host>(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24})(?!\w)",
    re.I | re.A,
)
_MENTION = re.compile(r"(?<![\w@])[@#](?=[^\W\d_])")
_TAIL = ".,;:!?)]}'\""

_WORDS = {"zh": ("点", "at", "杠", "下划线"), "en": ("dot", "at", "dash", "underscore")}


def apply(reading: Reading, language: str) -> None:
    words = _WORDS.get(language, _WORDS["en"])
    reading.replace(_MAIL, lambda match: f"{_name(match['user'], words)} {words[1]} {_name(match['host'], words)}")
    for pattern in (_URL, _BARE):
        reading.replace(pattern, lambda match: _name(_host(match), words) + _tail(match))
    # Who or what is meant is said, the sign before it is not.
    reading.replace(_MENTION, lambda _: "")


def _host(match: re.Match[str]) -> str:
    return match["host"].lower().removeprefix("www.").strip(".")


def _tail(match: re.Match[str]) -> str:
    """Punctuation that belongs to the sentence, not to the address."""
    whole = match.group()
    return whole[len(whole.rstrip(_TAIL)) :]


def _name(name: str, words: tuple[str, str, str, str]) -> str:
    dot, _, dash, underscore = words
    spelt = (
        name.replace(".", f" {dot} ").replace("-", f" {dash} ").replace("_", f" {underscore} ").replace("+", " plus ")
    )
    return " ".join(spelt.split())
