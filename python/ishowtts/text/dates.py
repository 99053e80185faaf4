# ruff: noqa: RUF001 - the characters are what this is about
"""Dates and times of day as words, in the languages that num2words counts in. Imported on first use; any thread."""

from __future__ import annotations

import datetime
import functools
import re

from ishowtts.text.numbers import languages, words
from ishowtts.text.reading import Reading

_MONTHS = {
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "uk": "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня",
    "pl": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "cs": "ledna února března dubna května června července srpna září října listopadu prosince",
    "sv": "januari februari mars april maj juni juli augusti september oktober november december",
    "da": "januar februar marts april maj juni juli august september oktober november december",
    "no": "januar februar mars april mai juni juli august september oktober november desember",
    "fi": "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta lokakuuta "
    "marraskuuta joulukuuta",
    "tr": "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık",
    "ro": "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    "id": "Januari Februari Maret April Mei Juni Juli Agustus September Oktober November Desember",
}
"""As they stand in a date. Elsewhere the month is a number."""
_ORDINAL_DAYS = frozenset(["de", "ru", "uk", "pl", "sv", "da", "no", "fi"])
_FIRST = frozenset(["fr", "it", "pt"])
"""Where only the first of a month is an ordinal."""
_SHAPES = {
    "es": "{day} de {month} de {year}",
    "pt": "{day} de {month} de {year}",
    "vi": "ngày {day} tháng {month} năm {year}",
    "ja": "{year}年{month}月{day}日",
    "ko": "{year}년 {month}월 {day}일",
}
_LEADS = {"de": "am|vom|zum|bis|den|dem|der|ab|seit", "vi": "ngày", "pl": "o|od|do|po"}
"""What stands before a date or a time and inflects it, or would be said twice."""
_YEAR_WORD = {"ru": r"(?:года|г\.?)", "uk": r"(?:року|р\.?)"}
_HOUR_WORDS = {
    "de": "Uhr", "fr": "heures?", "nl": "uur", "vi": "giờ", "es": "horas?|hs?|h", "pt": "horas?|h", "it": "ore",
}  # fmt: skip
_BEFORE, _AFTER = r"(?<![\w./:,-])", r"(?![\w/-]|[.,:]\d)"
_RATIO = re.compile(r"(?<=\d):(?=\d)")
_TO = {"de": " zu ", "fr": " à ", "es": " a ", "it": " a ", "pt": " a "}


def apply(reading: Reading, language: str) -> None:
    """Before the numbers."""
    if not re.search(r"\d", reading.untouched) or language not in languages():
        return
    for kind, pattern in _patterns(language).items():
        say = {"date": _numeric, "iso": _iso, "named": _named, "short": _short, "year": _russian_year, "time": _time}[
            kind.rstrip("2")
        ]
        reading.replace(pattern, functools.partial(say, language))
    reading.replace(_RATIO, lambda _: _TO.get(language, " "))


def valid(year: int, month: int, day: int) -> bool:
    """Whether there is such a day."""
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=64)
def _patterns(language: str) -> dict[str, re.Pattern[str]]:
    lead = rf"(?:\b(?P<lead>{_LEADS[language]})\s)?" if language in _LEADS else "(?P<lead>(?!))?"
    tail = rf"(?:\s?{_YEAR_WORD[language]}(?!\w))?" if language in _YEAR_WORD else ""
    names = _MONTHS.get(language, "").split()
    hour_word = rf"(?:\s?(?P<word>{_HOUR_WORDS[language]})(?!\w))?" if language in _HOUR_WORDS else "(?P<word>(?!))?"
    clock = r"(?P<hour>[01]?\d|2[0-4])"
    two = r"\d{1,2}"
    made = {
        "date": rf"{lead}{_BEFORE}(?P<a>{two})(?P<sep>[./-])(?P<b>{two})(?P=sep)(?P<year>[12]\d{{3}}){_AFTER}{tail}",
        "date2": rf"{lead}{_BEFORE}(?P<a>\d\d)(?P<sep>[./])(?P<b>\d\d)(?P=sep)(?P<year>\d\d){_AFTER}{tail}",
        "iso": rf"{lead}{_BEFORE}(?P<year>[12]\d{{3}})(?P<sep>[./-])(?P<a>{two})(?P=sep)(?P<b>{two}){_AFTER}",
    }
    if language == "ru":
        made["year"] = r"(?:\b(?P<lead>в)\s)?(?<![\w./:,-])(?P<year>[12]\d{3})\s?(?:г\.?|году|года)(?!\w)"
    if names:
        made["named"] = (
            rf"{lead}{_BEFORE}(?P<day>[0-3]?\d)(?:\.|er|º)?\s(?:de\s)?(?P<month>{'|'.join(names)})(?!\w)"
            rf"(?:\s(?:del?\s)?(?P<year>[12]\d{{3}}){_AFTER}{tail})?"
        )
    made["time"] = (
        rf"{lead}{_BEFORE}{clock}:(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?{_AFTER.replace(']', ':]', 1)}{hour_word}"
    )
    if language in ("fr", "pt", "es"):
        made["time2"] = rf"{lead}{_BEFORE}{clock}\s?h\s?(?P<minute>[0-5]\d)(?P<second>(?!))?(?P<word>(?!))?{_AFTER}"
    if language == "de":
        made["short"] = rf"\b(?P<lead>{_LEADS['de']})\s(?P<a>\d{{1,2}})\.(?P<b>\d{{1,2}})\.(?![\w/-])"
        made["time2"] = rf"{lead}{_BEFORE}{clock}\.(?P<minute>[0-5]\d)(?P<second>(?!))?\s?(?P<word>Uhr)(?!\w)"
    return {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in made.items()}


def _numeric(language: str, match: re.Match[str]) -> str | None:
    a, b, year = int(match["a"]), int(match["b"]), int(match["year"])
    if len(match["year"]) == 2:
        year += 2000 if year < 70 else 1900
    if valid(year, b, a):
        return _date(language, match["lead"], a, b, year)
    if valid(year, a, b):
        return _date(language, match["lead"], b, a, year)
    return _apart(language, match)


def _iso(language: str, match: re.Match[str]) -> str:
    year, month, day = int(match["year"]), int(match["a"]), int(match["b"])
    return _date(language, match["lead"], day, month, year) if valid(year, month, day) else _apart(language, match)


def _apart(language: str, match: re.Match[str]) -> str:
    """No such day: the numbers, one by one."""
    said = ", ".join(words(number, language) for number in re.findall(r"\d+", match.group()))
    return f"{match['lead']} {said}" if match["lead"] else said


def _named(language: str, match: re.Match[str]) -> str | None:
    names = [name.lower() for name in _MONTHS[language].split()]
    # The pattern takes a long s for an s, which is none in lower case.
    found = match["month"].lower()
    month = names.index(found) + 1 if found in names else 0
    day, year = int(match["day"]), int(match["year"]) if match["year"] else None
    return _date(language, match["lead"], day, month, year) if valid(year or 2000, month, day) else None


def _short(language: str, match: re.Match[str]) -> str | None:
    day, month = int(match["a"]), int(match["b"])
    return _date(language, match["lead"], day, month, None) if valid(2000, month, day) else None


def _date(language: str, lead: str | None, day: int, month: int, year: int | None) -> str:
    names = _MONTHS.get(language, "").split()
    shape = _SHAPES.get(language, "{day} {month} {year}")
    if year is None:
        shape = re.split(r"(?<=\{month\})", shape)[0]
    said = shape.format(
        day=_day(language, day, (lead or "").lower()),
        month=names[month - 1] if names else words(str(month), language),
        year=_year(language, year) if year else "",
    )
    return f"{lead} {said}" if lead and not said.startswith(lead.lower()) else said


def _day(language: str, day: int, lead: str) -> str:
    number = str(day)
    if language == "ru":
        return words(number, "ru", "ordinal", case="n", gender="n")
    if language not in _ORDINAL_DAYS and not (day == 1 and language in _FIRST):
        return words(number, language)
    said = words(number, language, "ordinal")
    if language == "de":
        return said if lead == "der" else f"{said}n" if lead else f"{said}r"
    if language == "uk":
        return re.sub("ій$", "є", re.sub("ий$", "е", said))
    return said


def _year(language: str, year: int) -> str:
    number = str(year)
    if language == "ru":
        return f"{words(number, 'ru', 'ordinal', case='g', gender='m')} года"
    if language == "sv" and 1100 <= year < 2000:
        return f"{words(number[:2], 'sv')}hundra{words(str(year % 100), 'sv') if year % 100 else ''}"
    # The Japanese and Korean years of num2words are eras, and bring their own word.
    return words(number, language, "cardinal" if language in ("ja", "ko") else "year")


def _russian_year(language: str, match: re.Match[str]) -> str:
    """Its letter is that of the gram."""
    if match["lead"]:
        return f"{match['lead']} {words(match['year'], language, 'ordinal', case='p', gender='m')} году"
    return _year(language, int(match["year"]))


def _time(language: str, match: re.Match[str]) -> str:
    hour, minute = str(int(match["hour"])), str(int(match["minute"]))
    lead = (match["lead"] or "").lower()
    said = _clock(language, words(hour, language), hour, minute, lead)
    if match["second"]:
        said = f"{said} {words(str(int(match['second'])), language)}"
    return f"{match['lead']} {said}" if lead else said


def _clock(language: str, said: str, hour: str, minute: str, lead: str) -> str:
    minutes = words(minute, language) if minute != "0" else ""
    if language in ("es", "it", "pt", "fr"):
        said = re.sub("dois$", "duas", re.sub("um$", "uma", re.sub("uno$", "una", re.sub("un$", "une", said))))
    one = hour == "1"
    if language == "de":
        said = f"{'ein' if one else said} Uhr {minutes}"
    elif language == "fr":
        said = f"{said} heure{'' if hour in '01' else 's'} {minutes}"
    elif language == "es":
        said = f"{said} y {minutes}" if minutes else f"{said} hora{'' if one else 's'}"
    elif language == "it":
        said = f"{said} e {minutes}" if minutes else said
    elif language == "pt":
        said = f"{said} hora{'' if hour in '01' else 's'}{' e ' if minutes else ''}{minutes}"
    elif language == "nl":
        said = f"{said} uur {minutes}"
    elif language == "vi":
        said = f"{said} giờ {minutes}{' phút' if minutes else ''}"
    elif language == "ja":
        said = f"{said}時{minutes}{'分' if minutes else ''}"
    elif language == "ko":
        said = f"{said} 시 {minutes}{' 분' if minutes else ''}"
    elif language == "pl":
        said = f"{_polish_hour(hour, lead)} {_padded(minute, 'pl')}"
    else:
        said = f"{said} {_padded(minute, language)}"
    return said.strip()


def _padded(minute: str, language: str) -> str:
    zero = words("0", language)
    return f"{zero} {words(minute, language)}" if len(minute) == 1 else words(minute, language)


def _polish_hour(hour: str, lead: str) -> str:
    if hour == "0":
        return words(hour, "pl")
    feminine = re.sub(r"(?<=[cg])i\b", "ia", re.sub(r"y\b", "a", words(hour, "pl", "ordinal"))).replace("gia", "ga")
    if not lead:
        return feminine
    return re.sub(r"(?<!g)a\b", "ej", feminine).replace("ga", "giej")
