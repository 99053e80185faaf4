# ruff: noqa: RUF001 - the characters are what this is about
"""Numbers as words through num2words (LGPL-2.1, an extra of its own licence), for languages that wetext does not read,
and for the rules of English. Imported on first use; safe on any thread."""

from __future__ import annotations

import functools
import re
from typing import Any

from ishowtts.errors import InvalidSetting
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
_NUMBER = re.compile(
    r"(?P<money>[$€£¥₽₹₩]\s?)?(?P<sign>(?<![\w.,)])[-−])?(?P<number>\d+(?:[.,]\d+)*)(?P<after>\s?(?:%|°C?|℃|[$€£¥₽₹₩]))?"
)


@functools.lru_cache(maxsize=1)
def languages() -> frozenset[str]:
    """ISO 639-1 codes that num2words reads."""
    return frozenset(name.partition("_")[0].lower() for name in _module().CONVERTER_CLASSES)


def apply(reading: Reading, language: str) -> None:
    """Numbers with their signs, percent, degrees and currency. A language that is not known is left alone."""
    if not re.search(r"\d", reading.untouched) or language not in languages():
        return
    reading.replace(_NUMBER, lambda match: _say(match, language))


@functools.lru_cache(maxsize=4096)
def words(number: str, language: str, kind: str = "cardinal") -> str:
    """``number`` as plain digits with ``.`` for decimals. ``kind``: cardinal, ordinal or year."""
    whole, _, decimals = number.partition(".")
    if len(whole) + len(decimals) > MOST_DIGITS:
        return " ".join(words(digit, language) for digit in number if digit.isdigit())
    value = int(whole) if not decimals else float(number)
    try:
        said = str(_module().num2words(value, lang=language, to=kind))
    except (NotImplementedError, OverflowError, TypeError, ValueError):
        if kind != "cardinal":
            return words(number, language)
        return " ".join(words(digit, language) for digit in number if digit.isdigit()) if len(number) > 1 else number
    return said.replace(",", "").replace("-", " ") if language == "en" else said


def _say(match: re.Match[str], language: str) -> str:
    number = _plain(match["number"], language)
    sign = _minus(language) if match["sign"] else ""
    after = (match["after"] or "").strip()
    currency = _CURRENCIES.get((match["money"] or after or " ").strip())
    said = ""
    if currency:
        said = _money(number, currency, language)
    if not said:
        said = words(number, language)
        unit = _PERCENT if after == "%" else _DEGREES if after[:1] in ("°", "℃") and after else {}
        name = unit.get(language, "")
        if name:
            said = f"{name} {said}" if language == "tr" and after == "%" else f"{said} {name}"
    return " ".join(f"{sign} {said}".split())


def _plain(number: str, language: str) -> str:
    """Grouping away, ``.`` for decimals, as the language writes them."""
    group, point = (".", ",") if language in _COMMA_DECIMALS else (",", ".")
    if re.fullmatch(rf"\d{{1,3}}(?:{re.escape(group)}\d{{3}})+(?:{re.escape(point)}\d+)?", number):
        number = number.replace(group, "")
    number = number.replace(point, ".") if number.count(point) == 1 and group not in number else number
    if number.count(".") + number.count(",") > 1 or not re.fullmatch(r"\d+(?:\.\d+)?", number.replace(",", ".")):
        return re.sub(r"\D", "", number)
    return number.replace(",", ".")


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
