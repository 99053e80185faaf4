# ruff: noqa: RUF001 - the characters are what this is about
"""What wetext's Chinese grammar reads wrongly or not at all: grouped thousands, phone numbers, scores, versions."""

from __future__ import annotations

import re

from ishowtts.text import wfst
from ishowtts.text.dates import valid
from ishowtts.text.reading import Reading

DIGITS = dict(zip("0123456789", "零一二三四五六七八九", strict=True))
_PHONE_DIGITS = DIGITS | {"1": "幺"}
_GROUPED = re.compile(
    r"(?<![\d.,])(?P<sign>[¥$€£])?(?P<number>\d{1,3}(?:,\d{3})+)(?P<cents>\.\d{1,4})?(?![\d,]|\.\d)(?P<unit>\s?(?:%|[元块美欧日英]元?|[€£]))?"
)
_PHONE = re.compile(
    r"(?<![\d.,-])(?:1[3-9]\d(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}|0\d{2,3}-\d{7,8}|400-?\d{3}-?\d{4})(?![\d-])"
)
_SCORE = re.compile(
    r"(?<![\d.,:=+*/×÷-])(?P<one>\d{1,3})\s?[-–:：比]\s?(?P<other>\d{1,3})(?=\s*(?:获胜|战胜|击败|赢|输|领先|落后|战平|平局|逆转|大胜|惜败))"
)
_VERSION = re.compile(r"(?<![\w.])[vV](?P<number>\d{1,4}(?:\.\d{1,4}){1,3})(?![\w.]\w)", re.ASCII)
_DATE = re.compile(
    r"(?<![\d./-])(?:(?P<year>[12]\d{3})(?P<sep>[./-])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})"
    r"|(?P<a>\d{1,2})(?P<mark>[./-])(?P<b>\d{1,2})(?P=mark)(?P<last>[12]\d{3}))(?![\d/-]|[.]\d)"
)
_DAY = re.compile(r"(?<![\d./:-])(?:(?P<year>\d{4})年)?(?P<month>\d{1,2})月(?P<day>\d{1,2})(?P<unit>[日号])")
_LONG = re.compile(r"(?<![\d.,])\d{14,}(?![\d]|[.,]\d)")
_AND = re.compile(r"(?<=[\u3400-\u9fff])\s?&\s?(?=[\u3400-\u9fff])")
_SPACED_SIGNED = re.compile(r"(?<![\w.,)])\+(?P<number>[1-9]\d{0,5})(?![\w.]|\s?[-+=*/])", re.ASCII)


def apply(reading: Reading) -> None:
    reading.replace(_LONG, lambda match: _spell(match.group(), DIGITS))
    reading.replace(_DATE, _date)
    reading.replace(_DAY, _day)
    reading.replace(_PHONE, lambda match: _spell(match.group(), _PHONE_DIGITS))
    reading.replace(_GROUPED, _grouped)
    reading.replace(_SCORE, lambda match: f"{_read(match['one'])}比{_read(match['other'])}")
    reading.replace(_VERSION, lambda match: "版本" + "点".join(_read(part) for part in match["number"].split(".")))
    reading.replace(_SPACED_SIGNED, lambda match: "加" + _read(match["number"]))
    reading.replace(_AND, lambda _: "和")


def _date(match: re.Match[str]) -> str:
    """The year first or last. Before it month and day, or day and month where there is no other such day."""
    year, month, day = match["year"] or match["last"], match["month"] or match["a"], match["day"] or match["b"]
    orders = [(month, day)] if match["year"] else [(day, month), (month, day)]
    if match["mark"] != ".":
        orders.reverse()
    for month, day in orders:
        if valid(int(year), int(month), int(day)):
            return f"{_spell(year, DIGITS)}年{_count(int(month))}月{_count(int(day))}日"
    # No such day: the numbers, one by one.
    return "，".join(_read(str(int(number))) for number in re.findall(r"\d+", match.group()))


def _day(match: re.Match[str]) -> str | None:
    month, day = int(match["month"]), int(match["day"])
    if not valid(2000, month, day):
        return None
    year = f"{_spell(match['year'], DIGITS)}年" if match["year"] else ""
    return f"{year}{_count(month)}月{_count(day)}{match['unit']}"


def _count(number: int) -> str:
    """Below a hundred. The grammar says 两日 of the second of a month."""
    tens, ones = divmod(number, 10)
    ten = "" if not tens else "十" if tens == 1 else f"{DIGITS[str(tens)]}十"
    return ten + (DIGITS[str(ones)] if ones or not tens else "")


def _spell(run: str, names: dict[str, str]) -> str:
    return "".join(names[char] for char in run if char.isdigit())


def _grouped(match: re.Match[str]) -> str:
    plain = match["number"].replace(",", "")
    return _read(f"{match['sign'] or ''}{plain}{match['cents'] or ''}{match['unit'] or ''}")


def _read(piece: str) -> str:
    """By the grammar, as a text of its own."""
    said, position = [], 0
    for start, end, words in wfst.spans(piece, "zh"):
        said += [piece[position:start], words]
        position = end
    return "".join([*said, piece[position:]])
