"""Addresses: of a link its host is said, of a mail address all of it. Pure; safe on any thread.

The server leaves whole what is a link here, however long (``src/text/link.rs``): whatever its rules take for one, these
must too. ``tests/data/links.json`` holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from ishowtts.engine import Spoken
from ishowtts.text import chinese, numbers
from ishowtts.text.reading import Reading

_ENDINGS = "com|net|org|edu|gov|io|tv|gg|co|cn|jp|uk|de|fr|eu|ru|info|dev|ai|xyz|fm|ly|moe"
_WORD_ENDINGS = "me|us|be|live|top|app"
"""What follows a missing space as well ("it's over.be nice"): a path tells."""
_SOLID = "\u0e00-\u0eff\u1000-\u11ff\u2010-\u206f\u3000-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
"""Scripts that put no space behind a link, and their punctuation."""
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u0900-\u0963\u0966-\u0dff"
)
"""What belongs to letters and is none."""
_SAFE = rf"(?:[!#-'*-;=?-Z\\^_a-z~]|(?![\x00-\x7f{_SOLID}])(?u:[\w{_MARKS}]))"
_NEXT = "[,;]https?://"
_ONE = rf"(?:(?!{_NEXT}){_SAFE})"
_PATH = rf"(?:{_ONE}|\({_ONE}*\)|\[{_ONE}*\]|\{{{_ONE}*\}})*"
"""Brackets come in pairs: one that closes what was opened before the link is not part of it, nor is what follows."""
_USER = r"[!-.0->A-~]{0,64}@"
_SCHEME = r"(?<![a-z])[a-z][a-z0-9]{0,15}://"
_URL = re.compile(
    rf"(?:{_SCHEME}|(?<![\w@.])www\.)(?:{_USER})?(?P<host>[\w.-]{{0,252}}\w)(?::\d{{1,5}})?(?:[/?#]{_PATH})?",
    re.IGNORECASE | re.ASCII,
)
_OTHER_LETTERS = re.compile(
    rf"{_SCHEME}(?=[\w.-]{{0,252}}[^\x00-\x7f])"
    r"(?P<host>[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.(?:[a-z]{2,24}|рф|укр|中国))(?::[0-9]{1,5})?"
    rf"(?:[/?#]{_PATH})?",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"(?<![\w@./-])(?P<host>(?:[a-z0-9](?:[a-z0-9-]{0,62})\.){1,4}"
    rf"(?:(?:{_ENDINGS})(?![\w-])(?!\.\w)|(?:{_WORD_ENDINGS})(?=/)))(?:/{_PATH})?",
    re.IGNORECASE | re.ASCII,
)
_MAIL = re.compile(
    r"(?<![\w.+-])(?P<user>[a-z0-9][\w.+-]{0,63})@(?P<host>(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24})(?!\w)",
    re.I | re.A,
)
_DIGIT = re.compile("[0-9]")
_MENTION = re.compile(r"(?<![\w@])[@#](?=[^\W\d_])")
_TAIL = ".,;:!?'*"

_Words: TypeAlias = tuple[str, str, str, str]
_CHINESE = ("点", "at", "杠", "下划线")
_ENGLISH = ("dot", "at", "dash", "underscore")
_WORDS: dict[str, _Words] = {
    "zh": _CHINESE,
    "cmn": _CHINESE,
    "yue": _CHINESE,
    "de": ("Punkt", "ät", "Bindestrich", "Unterstrich"),
    "fr": ("point", "arobase", "tiret", "tiret bas"),
    "es": ("punto", "arroba", "guion", "guion bajo"),
    "it": ("punto", "chiocciola", "trattino", "trattino basso"),
    "pt": ("ponto", "arroba", "hífen", "sublinhado"),
    "nl": ("punt", "apenstaartje", "streepje", "laag streepje"),
    "ru": ("точка", "собака", "дефис", "подчёркивание"),
    "pl": ("kropka", "małpa", "myślnik", "podkreślnik"),
    "sv": ("punkt", "snabel-a", "bindestreck", "understreck"),
    "vi": ("chấm", "a còng", "gạch ngang", "gạch dưới"),
}


def read(text: str, language: str | None) -> list[Spoken]:
    """``text`` with its addresses as they are said, in parts with their places. For engines that read all else
    themselves.

    ``language``: of the words between, ISO 639; English where it is not known.
    """
    if not text:
        return []
    reading = Reading(text)
    if "." in text or "://" in text:
        _addresses(reading, language)
    return [Spoken(text, 0, len(text))] if reading.untouched == text else reading.spoken()


def say(text: str, language: str | None) -> str:
    """The same in one piece."""
    return "".join(piece.text for piece in read(text, language))


def apply(reading: Reading, language: str) -> None:
    _addresses(reading, language, lambda name: _DIGIT.sub(lambda digit: f" {_digit(digit.group(), language)} ", name))
    # Who or what is meant is said, the sign before it is not.
    reading.replace(_MENTION, lambda _: "")


def _addresses(reading: Reading, language: str | None, spell: Callable[[str], str] = str) -> None:
    """``spell``: what a name is said as, its marks put in words already."""
    words = _WORDS.get(language or "", _ENGLISH)

    def named(name: str) -> str:
        return " ".join(spell(_name(name, words)).split())

    def host(match: re.Match[str]) -> str:
        return named(match["host"].lower().removeprefix("www.").strip(".-")) + _tail(match)

    # Links first: the name of a user in one looks like a mail address.
    for pattern in (_OTHER_LETTERS, _URL):
        reading.replace(pattern, host)
    reading.replace(_MAIL, lambda match: f"{named(match['user'])} {words[1]} {named(match['host'])}")
    reading.replace(_BARE, lambda match: None if _misses_a_space(match) else host(match))


def _digit(digit: str, language: str) -> str:
    """One by one, as who spells an address says them; as it is in a language whose numbers are not known."""
    if language in ("zh", "cmn", "yue"):
        return chinese.DIGITS[digit]
    return numbers.words(digit, language) if language in numbers.languages() else digit


def _misses_a_space(match: re.Match[str]) -> bool:
    """ "Sim.Eu", "1.AI", "S.A.de": two sentences, or an abbreviation, where no path tells a host."""
    host = match["host"]
    *labels, ending = host.split(".")
    if match.end() > match.end("host"):
        return False
    if ending.islower():
        return len(labels) > 1 and all(len(label) == 1 for label in labels)
    return not (host.isupper() and all(re.search("[A-Z]", label) for label in labels))


def _tail(match: re.Match[str]) -> str:
    """Punctuation that belongs to the sentence, not to the address."""
    whole = match.group()
    return whole[len(whole.rstrip(_TAIL)) :]


def _name(name: str, words: _Words) -> str:
    dot, _, dash, underscore = words
    return (
        name.replace(".", f" {dot} ").replace("-", f" {dash} ").replace("_", f" {underscore} ").replace("+", " plus ")
    )
