# ruff: noqa: RUF001 - the characters are what this is about
"""Numbers as words through num2words (LGPL-2.1, an extra of its own licence), for languages that wetext does not read,
and for the rules of English. Imported on first use; safe on any thread."""

from __future__ import annotations

import functools
import re
from typing import Any

from ishowtts.errors import InvalidSetting
from ishowtts.text import units
from ishowtts.text.reading import Reading

MOST_DIGITS = 15
"""Longer runs are read digit by digit."""

_COMMA_DECIMALS = frozenset(
    [
        "de",
        "fr",
        "es",
        "it",
        "pt",
        "nl",
        "pl",
        "ru",
        "uk",
        "cs",
        "da",
        "fi",
        "no",
        "sv",
        "tr",
        "ro",
        "hu",
        "lv",
        "lt",
        "id",
        "vi",
        "sr",
        "sl",
        "bg",
    ]
)
_CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₽": "RUB", "₹": "INR", "₩": "KRW"}
_PERCENT = {
    "de": "Prozent", "fr": "pour cent", "es": "por ciento", "it": "per cento", "pt": "por cento", "nl": "procent",
    "pl": "procent", "ru": "процентов", "uk": "відсотків", "cs": "procent", "da": "procent", "fi": "prosenttia",
    "sv": "procent", "no": "prosent", "tr": "yüzde", "ja": "パーセント", "ko": "퍼센트", "vi": "phần trăm",
    "id": "persen", "ar": "بالمئة", "hi": "प्रतिशत", "ro": "la sută", "hu": "százalék", "lv": "procenti",
}  # fmt: skip
_DEGREES = {
    "de": "Grad", "fr": "degrés", "es": "grados", "it": "gradi", "pt": "graus", "nl": "graden", "ru": "градусов",
    "pl": "stopni", "ja": "度", "ko": "도", "fi": "astetta", "sv": "grader", "da": "grader", "tr": "derece",
    "vi": "độ", "id": "derajat", "ar": "درجة", "hi": "डिग्री", "lv": "grādi",
}  # fmt: skip
_POINT = {
    "de": "Punkt", "fr": "point", "es": "punto", "it": "punto", "pt": "ponto", "nl": "punt", "pl": "kropka",
    "ru": "точка", "sv": "punkt", "da": "punktum", "no": "punktum", "vi": "chấm",
}  # fmt: skip
"""Between the parts of what is no number: a version, an address."""
_SPACES = "\u00a0\u2009\u202f"
_SPACE_GROUPS = frozenset([
    "fr", "ru", "uk", "pl", "cs", "sv", "no", "da", "fi", "es", "pt", "it", "hu", "bg", "sk", "sr", "sl",
    "lv", "lt", "ro",
])  # fmt: skip
"""Languages whose digits may be grouped by a plain space; the spaces above group in all of them."""
_CALL = re.compile(r"(?:t[eé]l|tlf|ph?one|fon|num|numm|num[eé]r|m[oó]v|тел|номер|whats)\w*\W{0,3}$", re.IGNORECASE)
"""A telephone's number follows, not a great sum."""


@functools.lru_cache(maxsize=64)
def _number(language: str) -> re.Pattern[str]:
    space = f"[{_SPACES} ]" if language in _SPACE_GROUPS else f"[{_SPACES}]"
    spaced = rf"(?<![\d.,])[1-9]\d{{0,2}}(?:{space}\d{{3}})+(?!{space}?\d)(?:[.,]\d+)?"
    return re.compile(
        rf"(?P<money>[$€£¥₽₹₩]\s?)?(?P<sign>(?<![\w.,)])[-−])?(?P<number>{spaced}|\d+(?:[.,]\d+)*)"
        rf"(?P<after>\s?(?:%|°C?|℃|[$€£¥₽₹₩]|{units.pattern(language)}))?"
    )


@functools.lru_cache(maxsize=1)
def languages() -> frozenset[str]:
    """ISO 639-1 codes that num2words reads."""
    return frozenset(name.partition("_")[0].lower() for name in _module().CONVERTER_CLASSES)


def apply(reading: Reading, language: str) -> None:
    """Numbers with their signs, percent, degrees and currency. A language that is not known is left alone."""
    if not re.search(r"\d", reading.untouched) or language not in languages():
        return
    reading.replace(_number(language), lambda match: _say(match, language))


@functools.lru_cache(maxsize=4096)
def words(number: str, language: str, kind: str = "cardinal", **form: str) -> str:
    """``number`` as plain digits with ``.`` for decimals. ``kind``: cardinal, ordinal or year. ``form``: case and
    gender, where num2words knows them."""
    whole, _, decimals = number.partition(".")
    if len(whole) + len(decimals) > MOST_DIGITS:
        return " ".join(words(digit, language) for digit in number if digit.isdigit())
    value = int(whole) if not decimals else float(number)
    try:
        said = str(_module().num2words(value, lang=language, to=kind, **form))
    except (AttributeError, NotImplementedError, OverflowError, TypeError, ValueError):
        if kind != "cardinal":
            return words(number, language)
        return " ".join(words(digit, language) for digit in number if digit.isdigit()) if len(number) > 1 else number
    return said.replace(",", "").replace("-", " ") if language == "en" else said


def _say(match: re.Match[str], language: str) -> str:
    if " " in match["number"] and _CALL.search(match.string[max(0, match.start() - 16) : match.start()]):
        return " ".join(words(digit, language) for digit in match["number"] if digit.isdigit())
    number = _plain(match["number"], language)
    sign = _minus(language) if match["sign"] else ""
    after = (match["after"] or "").strip()
    if number is None:
        point = f" {_POINT[language]} " if language in _POINT else " "
        said = point.join(words(part, language) for part in re.split(r"[.,]", match["number"]))
        return " ".join(f"{(match['money'] or '').strip()} {sign} {said} {after}".split())
    currency = _CURRENCIES.get((match["money"] or after or " ").strip())
    said = ""
    if currency:
        said = _money(number, currency, language)
    if not said:
        said = words(number, language)
        if re.match(r"0\d", number):
            # Of telephones and codes each zero counts.
            zeros = len(number) - len(number.lstrip("0").rjust(1))
            said = " ".join([*[words("0", language)] * zeros, *([said] if number.strip("0") else [])])
        unit = _PERCENT if after == "%" else _DEGREES if after[:1] in ("°", "℃") and after else {}
        name = unit.get(language, "")
        if not name and after and (name := units.name(after, number, language)):
            said = units.counted(said, after, language)
        if name:
            said = f"{name} {said}" if language == "tr" and after == "%" else f"{said} {name}"
    return " ".join(f"{sign} {said}".split())


def _plain(number: str, language: str) -> str | None:
    """Grouping away, ``.`` for decimals, as the language writes them. None: that is not one number."""
    number = re.sub(r"\s", "", number)
    group, point = (".", ",") if language in _COMMA_DECIMALS else (",", ".")
    if re.fullmatch(rf"\d{{1,3}}(?:{re.escape(group)}\d{{3}})+(?:{re.escape(point)}\d+)?", number):
        number = number.replace(group, "")
    plain = number.replace(",", ".")
    return plain if re.fullmatch(r"\d+(?:\.\d+)?", plain) else None


def _money(number: str, currency: str, language: str) -> str:
    try:
        value = float(number) if "." in number else int(number)
        if isinstance(value, int):
            # num2words takes whole numbers for cents.
            value = float(value)
        said = str(_module().num2words(value, lang=language, to="currency", currency=currency))
    except (NotImplementedError, OverflowError, KeyError, TypeError, ValueError, AttributeError):
        return ""
    # What comes after the comma of a whole sum is no cents at all.
    return said if "." in number else re.split(r",| (?:et|y|e|и|und|con) (?=z[eé]ro|cero|null|ноль)", said)[0]


def _minus(language: str) -> str:
    return {
        "ru": "минус",
        "fr": "moins",
        "es": "menos",
        "pt": "menos",
        "it": "meno",
        "ja": "マイナス",
        "ko": "마이너스",
    }.get(language, "minus")


def _module() -> Any:
    try:
        import num2words
    except ImportError as error:
        raise InvalidSetting("reading numbers needs the package num2words; install ishowtts[text]") from error
    return num2words
