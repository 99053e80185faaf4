# ruff: noqa: RUF001 - letters that look like others are meant
"""What espeak-ng calls each language, which scripts it reads in it, and what stands for a script by itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_LATIN = ("Latn",)
_LETTERS = {
    "Latn": "LATIN",
    "Cyrl": "CYRILLIC",
    "Grek": "GREEK",
    "Hebr": "HEBREW",
    "Arab": "ARABIC",
    "Deva": "DEVANAGARI",
    "Beng": "BENGALI",
    "Guru": "GURMUKHI",
    "Gujr": "GUJARATI",
    "Orya": "ORIYA",
    "Taml": "TAMIL",
    "Telu": "TELUGU",
    "Knda": "KANNADA",
    "Mlym": "MALAYALAM",
    "Sinh": "SINHALA",
    "Thai": "THAI",
    "Mymr": "MYANMAR",
    "Ethi": "ETHIOPIC",
    "Geor": "GEORGIAN",
    "Armn": "ARMENIAN",
    "Hang": "HANGUL",
    "Hira": "HIRAGANA",
    "Kana": "KATAKANA",
    "Hani": "CJK",
}
"""How the Unicode names of a script's letters begin."""
_SCRIPTS = {
    **dict.fromkeys(("ba", "be", "bg", "cv", "kk", "ky", "mk", "ru", "sr", "tt", "uk"), ("Cyrl",)),
    **dict.fromkeys(("el", "grc"), ("Grek",)),
    "he": ("Hebr",),
    **dict.fromkeys(("ar", "fa", "sd", "ug", "ur"), ("Arab",)),
    **dict.fromkeys(("hi", "kok", "mr", "ne"), ("Deva",)),
    **dict.fromkeys(("as", "bn", "bpy"), ("Beng",)),
    "pa": ("Guru",),
    "gu": ("Gujr",),
    "or": ("Orya",),
    "ta": ("Taml",),
    "te": ("Telu",),
    "kn": ("Knda",),
    "ml": ("Mlym",),
    "si": ("Sinh",),
    "th": ("Thai",),
    **dict.fromkeys(("my", "shn"), ("Mymr",)),
    "am": ("Ethi",),
    "ka": ("Geor",),
    **dict.fromkeys(("hy", "hyw"), ("Armn",)),
    "ko": ("Hang",),
    # Of kanji and hanja it knows nothing but that they are Chinese letters, and says so.
    "ja": ("Hira", "Kana"),
    **dict.fromkeys(("cmn", "yue"), ("Hani",)),
}
"""By the first part of its tags: scripts that are read beside Latin, which it reads everywhere."""
_COMMONEST = {
    "Latn": "en",
    "Cyrl": "ru",
    "Grek": "el",
    "Arab": "ar",
    "Deva": "hi",
    "Beng": "bn",
    "Mymr": "my",
    "Armn": "hy",
    "Hira": "ja",
    "Kana": "ja",
    "Hani": "cmn",
}
_UNKNOWN_TO_THE_PROGRAM = ("chr",)
"""Listed by Debian's 1.51, but refused when it is asked for."""
_CALLED = {
    # Its plain Mandarin reads pinyin aloud as if it were English ("nee three how") in 1.51, which Debian 12 has.
    "cmn": "cmn-latn-pinyin",
    "zh": "cmn-latn-pinyin",
    "zh-hk": "yue",
    "zh-mo": "yue",
    "zh-yue": "yue",
    "no": "nb",
    "iw": "he",
    "in": "id",
    "en": "en-us",
    "fr": "fr-fr",
}
"""What it calls a tag, where that is another."""
_ALIASES = {"zh": "cmn", "no": "nb"}
PINYIN = "cmn-latn-pinyin"
_SIGNS = "µªº\u2126"
"""Letters by category only."""
_LATIN_WORDS = re.compile(r"(?=[A-Za-z'’ -]*[a-z]|[A-Za-z]{5})[A-Za-z][A-Za-z'’ -]*")
"""Abbreviations are spelt in pinyin's way as well as in English."""


@dataclass(frozen=True)
class Languages:
    """What this installation speaks."""

    names: frozenset[str]
    """As the program calls them, in lower case."""

    @classmethod
    def of(cls, names: Iterable[str]) -> Languages:
        known = (name.lower() for name in names)
        return cls(frozenset(name for name in known if primary(name) not in _UNKNOWN_TO_THE_PROGRAM))

    @property
    def tags(self) -> tuple[str, ...]:
        """BCP 47, first parts only."""
        tags = {primary(name) for name in self.names}
        return tuple(sorted(tags | {alias for alias, meant in _ALIASES.items() if meant in tags}))

    @property
    def scripts(self) -> tuple[str, ...]:
        found = {script for name in self.names for script in _SCRIPTS.get(primary(name), ())}
        return (*_LATIN, *sorted(found))

    def called(self, tag: str) -> str | None:
        """What the program calls this BCP 47 language or, if it lacks the variety, a wider one."""
        parts = tag.lower().replace("_", "-").split("-")
        for length in range(len(parts), 0, -1):
            wider = "-".join(parts[:length])
            for name in (_CALLED.get(wider), wider):
                if name in self.names:
                    return name
        return None


def primary(tag: str) -> str:
    return tag.partition("-")[0].lower()


def language_of(text: str) -> str:
    """The commonest language of the first script of ``text`` that is not Latin; English if there is none. Kana anywhere
    make it Japanese."""
    found = "en"
    for char in text:
        script = script_of(char)
        if script in ("Hira", "Kana"):
            return "ja"
        if script not in (None, "Latn") and found == "en":
            of_one = (name for name, scripts in _SCRIPTS.items() if script in scripts)
            found = _COMMONEST.get(str(script)) or next(of_one, "en")
    return found


def script_of(char: str) -> str | None:
    """None for what is no letter, ``"Zyyy"`` for letters of a script that no language here is written in."""
    if char.isascii():
        return "Latn" if char.isalpha() else None
    if not unicodedata.category(char).startswith("L"):
        return None
    if char in _SIGNS:
        return None
    name = unicodedata.name(unicodedata.normalize("NFKC", char)[0], "")
    for script, prefix in _LETTERS.items():
        if name.startswith(prefix):
            return script
    return None if unicodedata.category(char) == "Lm" else "Zyyy"


def unreadable(text: str, name: str) -> str | None:
    """The first letter that the language ``name`` has no sound for. The program would name its code or its script."""
    known = (*_LATIN, *_SCRIPTS.get(primary(name), ()))
    return next((char for char in text if (script := script_of(char)) is not None and script not in known), None)


def parts(text: str, name: str) -> list[tuple[str, str]]:
    """``text`` with what it is to be spoken as. Mandarin would read English words as pinyin."""
    if name != PINYIN:
        return [(name, text)]
    cut: list[tuple[str, str]] = []
    end = 0
    for words in _LATIN_WORDS.finditer(text):
        cut += [(name, text[end : words.start()]), ("en-us", words.group())]
        end = words.end()
    cut.append((name, text[end:]))
    return [(language, part) for language, part in cut if any(char.isalnum() for char in part)] or [(name, text)]
