# ruff: noqa: RUF001 - the characters are what this is about
"""Units behind numbers, in the languages that num2words counts in. Pure; safe on any thread."""

from __future__ import annotations

import functools
import re

_SYMBOLS = [
    "km", "m", "cm", "mm", "kg", "g", "mg", "t", "l", "ml", "h", "min", "km/h", "m/s", "km²", "m²", "MB",
    "GB", "TB", "kWh",
]  # fmt: skip
_NAMES = {
    "de": """Kilometer; Meter; Zentimeter; Millimeter; Kilogramm; Gramm; Milligramm; +Tonne(n); Liter; Milliliter;
        +Stunde(n); +Minute(n); Kilometer pro Stunde; Meter pro Sekunde; Quadratkilometer; Quadratmeter; Megabyte;
        Gigabyte; Terabyte; +Kilowattstunde(n)""",
    "fr": """kilomètre(s); mètre(s); centimètre(s); millimètre(s); kilogramme(s); gramme(s); milligramme(s); +tonne(s);
        litre(s); millilitre(s); +heure(s); +minute(s); kilomètre(s) par heure; mètre(s) par seconde;
        kilomètre(s) carré(s); mètre(s) carré(s); mégaoctet(s); gigaoctet(s); téraoctet(s); kilowattheure(s)""",
    "es": """kilómetro(s); metro(s); centímetro(s); milímetro(s); kilogramo(s); gramo(s); miligramo(s); +tonelada(s);
        litro(s); mililitro(s); +hora(s); minuto(s); kilómetro(s) por hora; metro(s) por segundo;
        kilómetro(s) cuadrado(s); metro(s) cuadrado(s); megabyte(s); gigabyte(s); terabyte(s); kilovatio(s) hora""",
    "it": """chilometro|chilometri; metro|metri; centimetro|centimetri; millimetro|millimetri; chilogrammo|chilogrammi;
        grammo|grammi; milligrammo|milligrammi; +tonnellata|tonnellate; litro|litri; millilitro|millilitri; +ora|ore;
        minuto|minuti; chilometro all'ora|chilometri all'ora; metro al secondo|metri al secondo;
        chilometro quadrato|chilometri quadrati; metro quadrato|metri quadrati; megabyte; gigabyte; terabyte;
        chilowattora""",
    "pt": """quilómetro(s); metro(s); centímetro(s); milímetro(s); quilograma(s); grama(s); miligrama(s); +tonelada(s);
        litro(s); mililitro(s); +hora(s); minuto(s); quilómetro(s) por hora; metro(s) por segundo;
        quilómetro(s) quadrado(s); metro(s) quadrado(s); megabyte(s); gigabyte(s); terabyte(s); quilowatt(s) hora""",
    "nl": """kilometer; meter; centimeter; millimeter; kilogram; gram; milligram; ton; liter; milliliter; uur;
        minuut|minuten; kilometer per uur; meter per seconde; vierkante kilometer; vierkante meter; megabyte; gigabyte;
        terabyte; kilowattuur""",
    "ru": """километр|километра|километров; метр|метра|метров; сантиметр|сантиметра|сантиметров;
        миллиметр|миллиметра|миллиметров; килограмм|килограмма|килограммов; грамм|грамма|граммов;
        миллиграмм|миллиграмма|миллиграммов; +тонна|тонны|тонн; литр|литра|литров; миллилитр|миллилитра|миллилитров;
        час|часа|часов; +минута|минуты|минут; километр в час|километра в час|километров в час;
        метр в секунду|метра в секунду|метров в секунду;
        квадратный километр|квадратных километра|квадратных километров;
        квадратный метр|квадратных метра|квадратных метров; мегабайт|мегабайта|мегабайт; гигабайт|гигабайта|гигабайт;
        терабайт|терабайта|терабайт; киловатт-час|киловатт-часа|киловатт-часов""",
    "pl": """kilometr|kilometry|kilometrów|kilometra; metr|metry|metrów|metra;
        centymetr|centymetry|centymetrów|centymetra;
        milimetr|milimetry|milimetrów|milimetra; kilogram|kilogramy|kilogramów|kilograma; gram|gramy|gramów|grama;
        miligram|miligramy|miligramów|miligrama; +tona|tony|ton|tony; litr|litry|litrów|litra;
        mililitr|mililitry|mililitrów|mililitra; +godzina|godziny|godzin|godziny; +minuta|minuty|minut|minuty;
        kilometr na godzinę|kilometry na godzinę|kilometrów na godzinę|kilometra na godzinę;
        metr na sekundę|metry na sekundę|metrów na sekundę|metra na sekundę;
        kilometr kwadratowy|kilometry kwadratowe|kilometrów kwadratowych|kilometra kwadratowego;
        metr kwadratowy|metry kwadratowe|metrów kwadratowych|metra kwadratowego;
        megabajt|megabajty|megabajtów|megabajta; gigabajt|gigabajty|gigabajtów|gigabajta;
        terabajt|terabajty|terabajtów|terabajta; +kilowatogodzina|kilowatogodziny|kilowatogodzin|kilowatogodziny""",
    "sv": """+kilometer; +meter; +centimeter; +millimeter; kilogram; gram; milligram; ton; +liter; +milliliter;
        +timme|timmar; +minut(er); +kilometer i timmen; +meter per sekund; +kvadratkilometer; +kvadratmeter;
        +megabyte; +gigabyte; +terabyte; +kilowattimme|kilowattimmar""",
    "vi": """ki lô mét; mét; xăng ti mét; mi li mét; ki lô gam; gam; mi li gam; tấn; lít; mi li lít; giờ; phút;
        ki lô mét trên giờ; mét trên giây; ki lô mét vuông; mét vuông; mê ga bai; gi ga bai; tê ra bai;
        ki lô oát giờ""",
}
"""In the order of the symbols: the forms for one and for more (``(s)``: with it for more), Slavic ones for 1, 2 to 4,
more, and decimals; ``+``: feminine, or of common gender."""
_CYRILLIC = [
    "км", "м", "см", "мм", "кг", "г", "мг", "т", "л", "мл", "ч", "мин", "км/ч", "м/с", "км²", "м²", "МБ",
    "ГБ", "ТБ", "кВтч",
]  # fmt: skip
_MONEY = {
    "sv": {"kr": "+krona|kronor"},
    "da": {"kr": "+krone(r)"},
    "no": {"kr": "+krone(r)"},
    "cs": {"Kč": "+koruna|koruny|korun"},
    "pl": {"zł": "złoty|złote|złotych|złotego"},
    "ru": {"руб": "рубль|рубля|рублей|рубля", "руб.": "рубль|рубля|рублей|рубля"},
}
_OPTIONAL = re.compile(r"\((\w+)\)")


@functools.lru_cache(maxsize=64)
def pattern(language: str) -> str:
    """A regular expression's alternatives for the symbols known, and what may not follow them."""
    known = sorted(_table(language), key=len, reverse=True)
    # "3 l'heure" and "5 m/min" are no litres and no metres.
    return rf"(?:{'|'.join(map(re.escape, known))})(?![\w²³^/'’])" if known else "(?!)"


def name(symbol: str, number: str, language: str) -> str:
    """For ``number`` of them, plain digits with ``.`` for decimals. Empty where the symbol is not known."""
    forms = _table(language).get(symbol, "").lstrip("+").split("|")
    if "(" in forms[0]:
        forms = [_OPTIONAL.sub("", forms[0]), _OPTIONAL.sub(r"\1", forms[0])]
    return forms[min(_form(number, language), len(forms) - 1)] if len(forms) < 3 else _slavic(forms, number, language)


def counted(said: str, symbol: str, language: str) -> str:
    """The number's words in the gender of what is counted."""
    feminine = _table(language).get(symbol, "").startswith("+")
    for ending, of_one, of_other in _ENDINGS.get(language, ()):
        if said == ending or (ending[0] == "*" and said.endswith(ending[1:])):
            end = of_one if feminine else of_other
            return said[: len(said) - len(ending.lstrip("*"))] + end
    return said


_ENDINGS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "de": (("eins", "eine", "ein"),),
    "fr": (("*un", "une", "un"),),
    "es": (("*veintiuno", "veintiuna", "veintiún"), ("*uno", "una", "un")),
    "it": (("uno", "una", "un"),),
    "pt": (("*dois", "duas", "dois"), ("*um", "uma", "um")),
    "nl": (("één", "één", "één"),),
    "pl": (("jeden", "jedna", "jeden"), ("*dwa", "dwie", "dwa")),
    "ru": (("*один", "одна", "один"), ("*два", "две", "два")),
    "sv": (("*ett", "en", "ett"),),
    "da": (("et", "en", "et"),),
    "cs": (("jedna", "jedna", "jeden"), ("dva", "dvě", "dva")),
}


@functools.lru_cache(maxsize=64)
def _table(language: str) -> dict[str, str]:
    names = [" ".join(one.split()) for one in _NAMES.get(language, "").split(";")]
    table = dict(zip(_SYMBOLS, names, strict=True)) if language in _NAMES else {}
    if language == "ru":
        table |= dict(zip(_CYRILLIC, names, strict=True))
    return table | _MONEY.get(language, {})


def _form(number: str, language: str) -> int:
    below_two = language in ("fr", "pt") and float(number) < 2
    return 0 if below_two or number == "1" else 1


def _slavic(forms: list[str], number: str, language: str) -> str:
    if "." in number:
        return forms[3] if len(forms) > 3 else forms[1]
    last_two, last = int(number[-2:]), int(number[-1])
    # In Polish and Czech 21 is many.
    if number == "1" or (language == "ru" and last == 1 and last_two != 11):
        return forms[0]
    return forms[1] if 2 <= last <= 4 and not 12 <= last_two <= 14 else forms[2]
