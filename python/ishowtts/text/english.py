# ruff: noqa: RUF001 - the characters are what this is about
"""What wetext's English grammar reads wrongly or not at all: money, dates, decades, ranges, phone numbers, speeds."""

from __future__ import annotations

import re

from ishowtts.text.dates import valid
from ishowtts.text.numbers import words
from ishowtts.text.reading import Reading

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_SHORT = {name[:3].lower(): name for name in _MONTHS} | {"sept": "September"}
_MONTH = rf"(?P<month>{'|'.join([*_MONTHS, *(name[:3] for name in _MONTHS if name != 'May'), 'Sept'])})\.?"
_NUMBER = r"\d{1,3}(?:,\d{3})+|\d{1,12}"
_END = r"(?![\w/-]|[.,:]\d)"

_MONEY = re.compile(
    rf"(?<![\w$£€¥₹₩])(?:(?P<sign>[$£€¥₹₩])\s?(?P<a>{_NUMBER})(?P<ac>\.\d{{1,2}})?|(?P<b>{_NUMBER})(?P<bc>\.\d{{1,2}})?\s?(?P<back>[€£¥₹₩$]))"
    rf"\s?(?P<scale>k|K|m|M|bn|B|thousand|million|billion|trillion)?{_END}"
)
_COINS = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"),
}
_SCALES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion", "B": "billion"}
_DATES = (
    re.compile(rf"\b{_MONTH}\s(?P<day>[0-3]?\d)(?:st|nd|rd|th)?(?:,?\s(?P<year>[12]\d{{3}}))?{_END}", re.IGNORECASE),
    re.compile(rf"\b(?P<day>[0-3]?\d)(?:st|nd|rd|th)?\s{_MONTH}(?:,?\s(?P<year>[12]\d{{3}}))?{_END}", re.IGNORECASE),
)
_ISO_DATE = re.compile(rf"(?<![\d/-])(?P<year>[12]\d{{3}})[-/](?P<month>[01]?\d)[-/](?P<day>[0-3]?\d){_END}")
_NUMERIC_DATE = re.compile(
    rf"(?<![\w./,-])(?P<a>\d{{1,2}})(?P<sep>[./-])(?P<b>\d{{1,2}})(?P=sep)(?P<year>[12]\d{{3}}){_END}"
)
_DECADE = re.compile(r"(?<![\w.,])(?P<century>[12]\d)?(?P<decade>[1-9]0)['’]?s\b")
_SHORT_DECADE = re.compile(r"(?<!\w)['’](?P<decade>[2-9]0)s\b")
_DECADES = dict(
    zip(
        "123456789",
        ["tens", "twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties"],
        strict=True,
    )
)
_PHONE = re.compile(r"(?<![\w.,$£€+-])(?:\+?\d{1,3}[ -])?(?:\(\d{3}\) ?|\d{3}[ -])?\d{3}-\d{4}(?![\w-])")
_RANGE = re.compile(r"(?<![\w.,:/$£€–-])(?P<low>\d{1,4})\s?[-–]\s?(?P<high>\d{1,4})(?![\w/–-]|[.,:]\d|\s?[-=+*/]\s?\d)")
_SPEED = re.compile(
    r"(?<![\w.,])(?P<number>\d{1,9}(?:\.\d{1,6})?)\s?(?P<unit>km|m|mi|ft|MB|GB|kB|Mb|Gb)/(?P<per>h|s|min|day|d)\b"
)
_UNITS = {
    "km": "kilometers", "m": "meters", "mi": "miles", "ft": "feet", "MB": "megabytes", "GB": "gigabytes",
    "kB": "kilobytes", "Mb": "megabits", "Gb": "gigabits",
}  # fmt: skip
_PER = {"h": "hour", "s": "second", "min": "minute", "d": "day", "day": "day"}
_VERSION = re.compile(r"(?<![\w.])[vV](?P<number>\d{1,4}(?:\.\d{1,4}){1,3})(?![\w.]\w|\w)")
_SIGNED = re.compile(rf"(?<![\w.,)\]])\+(?P<number>\d{{1,9}}){_END}")
_RANKED = re.compile(rf"(?<!\w)#(?P<number>\d{{1,6}}){_END}")
_SIZES = re.compile(r"(?<![\w.,])(?P<number>\d{1,6}(?:\.\d{1,3})?)\s?(?P<unit>[KMGT]B)\b")
_SIZE_UNITS = {"K": "kilobytes", "M": "megabytes", "G": "gigabytes", "T": "terabytes"}
_HEIGHT = re.compile(r"(?<![\w.,'’′])(?P<feet>[1-9])['’′](?P<inches>1[01]|\d)(?:[\"”″]|''|’’)(?!\w)")
_FIXED = {"24/7": "twenty four seven", "911": "nine one one", "50/50": "fifty fifty", "404": "four oh four"}
_FIXED_WORD = re.compile(rf"(?<![\w./:$£€-]){'|'.join(map(re.escape, _FIXED))}(?![\w/:%-]|[.,]\d)")
_THOUSANDS = re.compile(r"(?<![\w.,:/$£€¥#'’@&=+*^-])(?P<number>[1-9]\d{3})(?=\s(?P<noun>[A-Za-z]{3,})(?![\w/]))")
_COUNTED = frozenset([
    "people", "viewers", "followers", "subscribers", "subs", "fans", "users", "members", "players", "points",
    "coins", "bits", "votes", "likes", "views", "times", "words", "steps", "bytes", "pieces", "items",
    "copies", "dollars", "euros", "miles", "messages",
])  # fmt: skip
_NO_NOUNS = frozenset([
    # What stands behind a number that is a name, and units that the grammar reads.
    "and", "are", "but", "can", "did", "does", "for", "from", "had", "has", "have", "not", "that", "the",
    "then", "was", "were", "what", "when", "where", "which", "who", "why", "will", "with", "would", "lbs",
    "mph", "hrs", "min", "mins", "sec", "secs", "rpm", "psi", "mhz", "ghz", "khz", "kwh", "mah", "cal", "kcal",
])  # fmt: skip
_NAMED = re.compile(
    r"\b(?:years?|rooms?|flight|bus|train|call|dial|extension|pin|code|channel|number|no|in|since|until|by)\W{0,3}$",
    re.IGNORECASE,
)
_LONG = re.compile(r"(?<![\w.,])\d{13,}(?![\w]|[.,]\d)")
# wetext spells some of these ("eight eight people"). Years and what stands before a unit are left to it.
_PLAIN = re.compile(
    r"(?<![\w.,:/$£€¥#'’@&=+*^-])(?:[1-9]\d{0,2}(?:,\d{3}){0,3}|0)(?![\w/%°:’'^-]|[.,]\d"
    r"|\s?(?:[+*/=%°×÷&-]|[kcm]?[gm]|mg|km|ft|in|lbs?|oz|mph|[ap]\.?m|m?l|GB|MB|hrs?|mins?|secs?|h|s)\b|\s?[%°])",
    re.IGNORECASE,
)


def apply(reading: Reading) -> None:
    reading.replace(_LONG, lambda match: _digits(match.group()))
    reading.replace(_MONEY, _money)
    reading.replace(_HEIGHT, lambda match: f"{_number(match['feet'])} foot {_number(match['inches'])}")
    reading.replace(_ISO_DATE, lambda match: _date(match, _month_by_number(match["month"])))
    reading.replace(_NUMERIC_DATE, _numeric_date)
    for pattern in _DATES:
        reading.replace(pattern, lambda match: _date(match, _SHORT.get(match["month"][:3].lower())))
    reading.replace(_SHORT_DECADE, lambda match: _DECADES[match["decade"][0]])
    reading.replace(_DECADE, _decade)
    reading.replace(_PHONE, lambda match: ", ".join(_digits(group) for group in re.findall(r"\d+", match.group())))
    reading.replace(_FIXED_WORD, lambda match: _FIXED[match.group()])
    reading.replace(_RANGE, lambda match: f"{_number(match['low'])} to {_number(match['high'])}")
    reading.replace(_SPEED, lambda m: f"{_number(m['number'])} {_UNITS[m['unit']]} per {_PER[m['per']]}")
    reading.replace(_SIZES, lambda m: f"{_number(m['number'])} {_SIZE_UNITS[m['unit'][0]]}")
    reading.replace(_VERSION, lambda m: "version " + " point ".join(_number(part) for part in m["number"].split(".")))
    reading.replace(_SIGNED, lambda match: f"plus {_number(match['number'])}")
    reading.replace(_RANKED, lambda match: f"number {_number(match['number'])}")
    reading.replace(_THOUSANDS, _count)
    reading.replace(_PLAIN, lambda match: _number(match.group().replace(",", "")))


def _number(number: str) -> str:
    return words(number, "en")


def _digits(group: str) -> str:
    return " ".join(words(digit, "en") for digit in group)


def _money(match: re.Match[str]) -> str:
    one, many, one_cent, many_cents = _COINS[match["sign"] or match["back"]]
    amount = (match["a"] or match["b"]).replace(",", "")
    cents = (match["ac"] or match["bc"] or "")[1:]
    if match["scale"]:
        number = f"{amount}.{cents}" if cents else amount
        return f"{_number(number)} {_SCALES.get(match['scale'], match['scale'])} {many}"
    said = [f"{_number(amount)} {one if int(amount) == 1 else many}"] if int(amount) or not int(cents or 0) else []
    if cents and int(cents):
        value = int(cents.ljust(2, "0"))
        said.append(f"{_number(str(value))} {one_cent if value == 1 else many_cents}")
    return " and ".join(said)


def _month_by_number(month: str) -> str | None:
    return _MONTHS[int(month) - 1] if 1 <= int(month) <= 12 else None


def _date(match: re.Match[str], month: str | None) -> str | None:
    day = int(match["day"])
    if month is None or not 1 <= day <= 31:
        return None
    said = f"{month} {words(str(day), 'en', 'ordinal')}"
    year = match["year"]
    return f"{said}, {words(year, 'en', 'year')}" if year else said


def _numeric_date(match: re.Match[str]) -> str:
    """Month and day, with points day and month, and the other way where there is no such day."""
    orders = [("a", "b"), ("b", "a")]
    for month, day in reversed(orders) if match["sep"] == "." else orders:
        if valid(int(match["year"]), int(match[month]), int(match[day])):
            said = f"{_MONTHS[int(match[month]) - 1]} {words(str(int(match[day])), 'en', 'ordinal')}"
            return f"{said}, {words(match['year'], 'en', 'year')}"
    # No such day: the numbers, one by one.
    return ", ".join(_number(str(int(number))) for number in re.findall(r"\d+", match.group()))


def _count(match: re.Match[str]) -> str | None:
    """2,333 people; but the year, the room and the code 2333 go by twos, as does what may be a year."""
    if _NAMED.search(match.string[max(0, match.start() - 24) : match.start()]):
        return None
    noun = match["noun"].lower()
    may_be_a_year = 1100 <= int(match["number"]) < 2100
    return _number(match["number"]) if noun in _COUNTED or not (may_be_a_year or noun in _NO_NOUNS) else None


def _decade(match: re.Match[str]) -> str | None:
    decade = _DECADES[match["decade"][0]]
    if not match["century"]:
        return decade
    if match["century"] == "20" and match["decade"] == "00":
        return "two thousands"
    return f"{words(match['century'], 'en')} {decade}"
