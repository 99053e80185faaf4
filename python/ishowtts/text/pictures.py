# ruff: noqa: RUF001 - the characters are what this is about
"""Emoji and emoticons: a space beside words, named where they are all there is."""

from __future__ import annotations

import re

from ishowtts.errors import InvalidSetting
from ishowtts.text.reading import Reading

MOST_NAMED = 3
_LANGUAGES = ("en", "es", "ja", "ko", "pt", "it", "fr", "de", "fa", "id", "zh", "ru", "tr", "ar")

_PICTURE = re.compile(
    "(?:[\U0001f1e6-\U0001f1ff]{2}"
    "|[0-9#*]\ufe0f?\u20e3"
    "|[\u203c\u2049\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001faff][\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    "(?:\u200d[\u2190-\u2bff\U0001f000-\U0001faff][\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*)*)"
)
_STRAY = re.compile("[\ufe0e\ufe0f\u200b-\u200d\u2060\ufeff\U000e0020-\U000e007f]+")
_EMOTICON = re.compile(
    r"(?<!\S)(?:[:;=xX8][-o^']?[)(\]\[DdPpOo3/\\|*]+|[<>]3+|[xX]D+|[TtQ][_.][TtQ]|\^_?\^|-_-+|[oO][_.][oO])(?!\S)"
)


def apply(reading: Reading, language: str) -> None:
    names = any(char.isalnum() for char in _PICTURE.sub("", reading.untouched)) is False
    named: list[str] = []

    def say(match: re.Match[str]) -> str:
        picture = match.group()
        if not names or picture in named or len(named) == MOST_NAMED:
            return " "
        named.append(picture)
        name = _name(picture, language)
        return f"{name}, " if name and language not in ("zh", "ja") else f"{name}，" if name else " "

    reading.replace(_PICTURE, say)
    reading.replace(_STRAY, lambda _: "")
    reading.replace(_EMOTICON, lambda _: " ")


def _name(picture: str, language: str) -> str:
    try:
        import emoji
    except ImportError as error:
        raise InvalidSetting("naming emoji needs the package emoji; install ishowtts[text]") from error
    if language not in _LANGUAGES:
        language = "en"
    if language != "en":
        emoji.config.load_language(language)
    name = emoji.demojize(picture, language=language, delimiters=("", ""))
    return "" if name == picture else name.replace("_", " ").replace("-", " ").strip()
