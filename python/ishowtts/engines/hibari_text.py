# ruff: noqa: RUF001 - ambiguous characters are what this is about
"""What the hibari engine reads aloud: text made safe for its grapheme-to-phoneme rules.

hibari falls silent, raises or crawls on text that it was not made for: it returns nothing for fullwidth or styled
letters, reads ``[word](/phonemes/)`` as markup, raises at numbers of 37 digits, cuts unbroken words after 24 letters
and takes quadratic time over combining marks and long tokens. Pure functions, linear time, safe on any thread.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

from ishowtts.engine import Spoken
from ishowtts.errors import SegmentRefused
from ishowtts.text import web

VERSION = 2
"""Goes up with every change of what is read."""

_MAX_MARKS = 2
_MAX_WORD = 24
"""Letters that hibari's network for unknown words takes; the rest it drops."""
_WORD_PIECE = 20
_MAX_DIGITS = 15
"""Of a number read as one. Beyond 36 hibari raises, beyond 33 it spells the names of the scales."""
_MAX_GROUPED_DIGITS = 21
_MAX_TOKEN = 60

# What hibari says, or passes over as punctuation, without our help.
_KEPT = frozenset("!\"#$%&'()+,-./:;<=>?@^~£€¥₹₩¢§°±×÷µ½¼¾²³©®—–…“”‘’→")
_SAID = {
    "[": "(",
    "]": ")",
    "{": "(",
    "}": ")",
    "`": "'",
    "´": "'",
    "ʼ": "'",
    "ʻ": "'",
    "ʹ": "'",
    "′": "'",
    "″": '"',
    "«": '"',
    "»": '"',
    "„": '"',
    "‟": '"',
    "‚": ",",
    "‛": "'",
    "‹": '"',
    "›": '"',
    "·": ",",
    "‐": "-",
    "‑": "-",
    "‒": "-",
    "−": "-",
    "―": "—",
    "⁄": "/",
    "∕": "/",
    "‽": "?",
    "⁇": "??",
    "⁈": "?!",
    "⁉": "!?",
    "≠": " not equal to ",
    "≈": " about ",
    "≤": " at most ",
    "≥": " at least ",
    "∞": " infinity ",
    "√": " root ",
    "℃": "°C",
    "℉": "°F",
    "№": " number ",
    "℗": " ",
    "™": " ",
    "‰": " per thousand ",
    "⅓": " 1/3 ",
    "⅔": " 2/3 ",
}
_LETTERS = {
    "Æ": "Ae",
    "æ": "ae",
    "Œ": "Oe",
    "œ": "oe",
    "ẞ": "SS",
    "ß": "ss",
    "Þ": "Th",
    "þ": "th",
    "Ð": "D",
    "ð": "th",
    "Ŋ": "Ng",
    "ŋ": "ng",
    "ĸ": "k",
    "ſ": "s",
    "Ə": "A",
    "ə": "a",
    "ʃ": "sh",
    "Ʃ": "Sh",
    "ʒ": "zh",
    "Ʒ": "Zh",
    "Ȝ": "Y",
    "ȝ": "y",
    "ƿ": "w",
    "Ƿ": "W",
    "ɣ": "g",
    "Ɣ": "G",
    "ɩ": "i",
    "Ɩ": "I",
    "ʊ": "u",
    "Ʊ": "U",
}
_TOKEN = re.compile(r"\S+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+")
_WORD = re.compile(rf"[^\W\d_]{{{_MAX_WORD + 1},}}")
_RUN = re.compile(r"([^\w\s])\1{3,}")
_LONE_CURRENCY = re.compile(r"(?<![\d$£€¥₹₩])([$£€¥₹₩])(?![\d$£€¥₹₩.])")
_CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro", "¥": "yen", "₹": "rupee", "₩": "won"}
_BREAK = re.compile(r"(?<=[^\w'’])(?=\w)|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)")
_SCRIPT_TAIL = re.compile(r" (?:SMALL|CAPITAL|LETTER|SYLLABLE|SYMBOL|VOWEL|SIGN)\b.*")
_NAMED_LETTER = re.compile(r"LATIN (?:CAPITAL |SMALL )?LETTER (?:[A-Z ]+ )??([A-Z])(?: WITH .*)?$")


def read(text: str) -> list[Spoken]:
    """What will be said for each word of ``text``, addresses as :mod:`ishowtts.text.web` reads them; words of which
    nothing is said are left out.

    Raises SegmentRefused for letters of other scripts than Latin.
    """
    pieces = []
    for token in _TOKEN.finditer(text):
        said = " ".join(_token(web.say(token.group(), "en")).split())
        if said:
            pieces.append(Spoken(said, token.start(), token.end()))
    return pieces


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit in it: something that a listener would miss."""
    return any(char.isalnum() for char in text)


def _token(token: str) -> str:
    if not token.isascii():
        token = unicodedata.normalize("NFC", _bound_marks(token))
    token = "".join(map(_char, token))
    token = _RUN.sub(r"\1\1\1", token)
    token = _NUMBER.sub(_number, token)
    token = _LONE_CURRENCY.sub(lambda match: f" {_CURRENCIES[match.group()]} ", token)
    token = _WORD.sub(_word, token)
    return " ".join(_shorten(part) for part in token.split())


def _bound_marks(token: str) -> str:
    """Composition takes quadratic time over a run of combining marks."""
    kept, marks = [], 0
    for char in token:
        marks = marks + 1 if unicodedata.category(char)[0] == "M" else 0
        if marks <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)


@functools.lru_cache(maxsize=4096)
def _char(char: str) -> str:
    if char in _KEPT or (char.isascii() and char.isalnum()):
        return char
    if char in _SAID:
        return _SAID[char]
    category = unicodedata.category(char)
    if category[0] == "L":
        return _letter(char)
    if category[0] == "N":
        return _numeral(char)
    if category == "Sc":
        return f" {unicodedata.name(char, '').lower().removesuffix(' sign')} "
    if category in ("Cf", "Cs", "Co", "Cn") or category[0] == "M":
        return ""
    if category == "Pd":
        return "-"
    plain = unicodedata.normalize("NFKC", char)
    if plain != char and all(part in _KEPT or part in _SAID or part.isascii() for part in plain):
        return "".join(_SAID.get(part, part if part in _KEPT or part.isalnum() else " ") for part in plain)
    if category in ("So", "Sm") and any(part.isalnum() for part in plain):
        # Squared, parenthesised and boxed letters and digits.
        return "".join(_char(part) for part in plain if part != char)
    return " "


def _letter(char: str) -> str:
    if char in _LETTERS:
        return _LETTERS[char]
    said = []
    for part in unicodedata.normalize("NFKD", char):
        if part.isascii():
            said.append(part)
        elif part in _LETTERS:
            said.append(_LETTERS[part])
        elif part in _SAID:
            said.append(_SAID[part])
        elif unicodedata.category(part)[0] != "M":
            said.append(_named(part, char))
    return _recompose(char, "".join(said))


def _recompose(char: str, said: str) -> str:
    # hibari's lexicon and network know the accented letters of western European words.
    return char if "À" <= char <= "ÿ" and char not in "ÈËÙÛÝ" else said


def _named(part: str, char: str) -> str:
    """``ɓ`` is "LATIN SMALL LETTER B WITH HOOK": a b."""
    name = unicodedata.name(part, "")
    found = _NAMED_LETTER.match(name)
    if found:
        return found.group(1) if "CAPITAL LETTER" in name else found.group(1).lower()
    if unicodedata.category(part) in ("Lm", "Sk"):
        return ""
    raise SegmentRefused(f"hibari speaks English and cannot say {char!r} ({_script(char)})")


def _script(char: str) -> str:
    name = unicodedata.name(char, "an unnamed character")
    if name.startswith("CJK"):
        return "Chinese characters"
    return _SCRIPT_TAIL.sub("", name).capitalize()


def _numeral(char: str) -> str:
    value = unicodedata.numeric(char)
    if unicodedata.category(char) == "Nd":
        return str(int(value))
    if value == int(value) and value >= 0:
        return f" {int(value)} "
    top, slash, bottom = unicodedata.normalize("NFKC", char).partition("⁄")
    return f" {top}/{bottom} " if slash else " "


def _number(match: re.Match[str]) -> str:
    run = match.group()
    digits = sum(char.isdigit() for char in run)
    if digits <= _MAX_DIGITS or (digits <= _MAX_GROUPED_DIGITS and _GROUPED.fullmatch(run)):
        return run
    point = " point " if run.count(".") == 1 else " dot "
    parts = [_digits(part) if part.isdigit() else (", " if part == "," else point) for part in re.split("([.,])", run)]
    return f" {''.join(parts)} "


def _digits(run: str) -> str:
    if len(run) <= _MAX_DIGITS:
        return run
    return ", ".join(" ".join(run[start : start + 3]) for start in range(0, len(run), 3))


def _word(match: re.Match[str]) -> str:
    run = match.group()
    pieces = -(-len(run) // _WORD_PIECE)
    cuts = [len(run) * piece // pieces for piece in range(pieces + 1)]
    return " ".join(run[start:end] for start, end in itertools.pairwise(cuts))


def _shorten(token: str) -> str:
    """hibari compares every part of a token with every other."""
    if len(token) <= _MAX_TOKEN:
        return token
    pieces, piece = [], ""
    for part in _BREAK.split(token):
        if piece and len(piece) + len(part) > _MAX_TOKEN // 2:
            pieces.append(piece)
            piece = ""
        piece += part
    return " ".join([*pieces, piece])
