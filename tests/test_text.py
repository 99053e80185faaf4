# ruff: noqa: RUF001 - ambiguous characters are what some of this is about
"""The normaliser: what is said for a text, and where each piece of it stands in the original."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ishowtts import text
from ishowtts.text import web

ENGLISH = [
    ("Hello there, friend.", "Hello there, friend."),
    ("I have 5 apples and 88 people.", "I have five apples and eighty eight people."),
    ("1,234,567 people", "one million two hundred and thirty four thousand five hundred and sixty seven people"),
    ("It cost $12.50, not £3.05.", "It cost twelve dollars and fifty cents, not three pounds and five pence."),
    ("$1", "one dollar"),
    ("$5M and 10€", "five million dollars and ten euros"),
    ("On May 3, 2024 at 3:05 PM", "On May third, twenty twenty four at three o five PM"),
    ("due 2024-05-03", "due May third, twenty twenty four"),
    (
        "11/21/2026 and 21/11/2026",
        "November twenty first, twenty twenty six and November twenty first, twenty twenty six",
    ),
    ("31/2/2026", "thirty one, two, two thousand and twenty six"),
    ("2333 people", "two thousand three hundred and thirty three people"),
    ("The room 2333 in 1984 was", "The room twenty three thirty three in nineteen eighty four was"),
    ("the 1990s and the '80s", "the nineteen nineties and the eighties"),
    ("Call 555-1234", "Call five five five, one two three four"),
    ("a 5-3 win, pages 10–20", "a five to three win, pages ten to twenty"),
    ("50% of 3.5kg", "fifty percent of three and a half kilograms"),
    ("60 km/h, 16GB", "sixty kilometers per hour, sixteen gigabytes"),
    ("-5°C", "negative five degrees Celsius"),
    ("the 2nd of 3", "the second of three"),
    ("v2.0.1, #1, +1", "version two point zero point one, number one, plus one"),
    ("24/7 support from Dr. Smith & Mr. Bean", "twenty four seven support from doctor Smith and Mister Bean"),
    ("see https://www.example.com/a?b=1.", "see example dot com."),
    ("go to example.com/x, ok", "go to example dot com, ok"),
    ("write to a.b@mail.com", "write to a dot b at mail dot com"),
    ("@streamer hi #live", "streamer hi live"),
    ("hello 😀 world", "hello world"),
    ("hello😀world :)", "hello world"),
    ("omg that's gg", "oh my god that's good game"),
    ("soooooooo good!!!!!!", "sooo good!"),
    ("⅓ cup", "one third cup"),
    ("Hello\u200bworld\x00", "Helloworld"),
    ('He said "2026" on a \\ 12" screen', 'He said "twenty twenty six" on a \\ twelve" screen'),
    ("6'2\" tall", "six foot two tall"),
    ("1234567890123456", "one two three four five six seven eight nine zero one two three four five six"),
]
CHINESE = [
    ("你好，世界。", "你好，世界。"),
    ("666", "六六六"),
    ("主播666啊", "主播六六六啊"),
    ("花了666元", "花了六百六十六元"),
    ("卖了666万", "卖了六百六十六万"),
    ("第666天", "第六百六十六天"),
    ("23333笑死", "哈哈哈哈哈笑死"),
    ("2333年", "二三三三年"),
    ("555我哭了", "呜呜呜我哭了"),
    ("88", "拜拜"),
    ("我88岁了", "我八十八岁了"),
    ("5201314", "五二零一三一四"),
    ("996加班", "九九六加班"),
    ("yyds！", "永远的神！"),
    ("哈哈哈哈哈哈哈哈哈哈哈", "哈哈哈哈哈哈"),
    ("今天是2024年5月3日，气温-3.5℃", "今天是二零二四年五月三日，气温负三点五摄氏度"),
    ("我花了¥1,234.50买了5kg苹果", "我花了一千二百三十四点五零元买了五千克苹果"),
    ("打电话13812345678", "打电话幺三八幺二三四五六七八"),
    ("12:30开会，50%的人", "十二点三十分开会，百分之五十的人"),
    ("３个人", "三个人"),
    ("访问https://www.example.com/a?b=1，快", "访问example 点 com，快"),
    ("好棒😀👍", "好棒"),
    ("3:2战胜对手", "三比二战胜对手"),
    ("日期：11/21/2026，21/11/2026", "日期：二零二六年十一月二十一日，二零二六年十一月二十一日"),
    ("3/2/2026到2026/13/41", "二零二六年三月二日到两千零二十六，十三，四十一"),
    ("2024年1月2日，02月22号", "二零二四年一月二日，二月二十二号"),
    ('他说"5个"', '他说"五个"'),
]


class TestLanguages:
    @pytest.mark.parametrize(("given", "said"), ENGLISH)
    def test_english(self, given: str, said: str) -> None:
        assert text.say(given, "en") == said

    @pytest.mark.parametrize(("given", "said"), CHINESE)
    def test_chinese(self, given: str, said: str) -> None:
        assert text.say(given, "zh-CN") == said
        assert text.say(given) == said, "and where nobody says what language it is"

    @pytest.mark.parametrize(
        ("language", "given", "said"),
        [
            (
                "de",
                "Das kostet 1.234,56 €.",
                "Das kostet eintausendzweihundertvierunddreißig Euro und sechsundfünfzig Cent.",
            ),
            ("fr", "J'ai 21 ans et 3,5 kg", "J'ai vingt et un ans et trois virgule cinq kilogrammes"),
            ("es", "50% de 8", "cincuenta por ciento de ocho"),
            ("ru", "У меня 25 рублей", "У меня двадцать пять рублей"),
            ("vi", "Tôi có 15 quả", "Tôi có mười lăm quả"),
            ("ja", "100円です", "百円です"),
            ("xx", "12 foo", "12 foo"),
        ],
    )
    def test_others(self, language: str, given: str, said: str) -> None:
        assert text.say(given, language) == said

    @pytest.mark.parametrize(
        ("language", "given", "said"),
        [
            ("de", "21.11.2026", "einundzwanzigster November zweitausendsechsundzwanzig"),
            ("de", "am 1.5.2024 um 17:04 Uhr", "am ersten Mai zweitausendvierundzwanzig um siebzehn Uhr vier"),
            (
                "de",
                "bis 3. November 1985, 1.30 Uhr",
                "bis dritten November neunzehnhundertfünfundachtzig, ein Uhr dreißig",
            ),
            ("de", "31.02.2026", "einunddreißig, zwei, zweitausendsechsundzwanzig"),
            ("de", "3:2, Version 3.14.1", "drei zu zwei, Version drei Punkt vierzehn Punkt eins"),
            ("fr", "le 1/5/2024 à 17h04", "le premier mai deux mille vingt-quatre à dix-sept heures quatre"),
            ("fr", "17:00", "dix-sept heures"),
            ("es", "21/11/2026", "veintiuno de noviembre de dos mil veintiséis"),
            ("es", "11/21/2026", "veintiuno de noviembre de dos mil veintiséis"),
            ("es", "a las 17:04 h", "a las diecisiete y cuatro"),
            ("it", "alle 17:04", "alle diciassette e quattro"),
            ("pt", "às 2h05", "às duas horas e cinco"),
            ("nl", "17:04 uur", "zeventien uur vier"),
            ("ru", "21.11.2026 г.", "двадцать первое ноября две тысячи двадцать шестого года"),
            ("ru", "в 2026 г.", "в две тысячи двадцать шестом году"),
            ("ru", "с 2026 года", "с две тысячи двадцать шестого года"),
            ("ru", "в 17:04", "в семнадцать ноль четыре"),
            ("pl", "o 17:04", "o siedemnastej zero cztery"),
            ("sv", "21 november 1985", "tjugoförsta november nittonhundraåttiofem"),
            ("vi", "ngày 2/3/2026", "ngày hai tháng ba năm hai nghìn lẻ hai mươi sáu"),
            ("ja", "2026/11/21 17:04", "二千二十六年十一月二十一日 十七時四分"),
        ],
    )
    def test_dates_and_times_of_others(self, language: str, given: str, said: str) -> None:
        assert text.say(given, language) == said

    @pytest.mark.parametrize(
        ("language", "given", "said"),
        [
            ("fr", "1 000 000", "un million"),
            ("fr", "1\u00a0000 et 2\u202f000 et 3\u2009000", "mille et deux mille et trois mille"),
            ("fr", "06 12 34 56 78", "zéro six douze trente-quatre cinquante-six soixante-dix-huit"),
            ("es", "Tel. 612 345 678", "Tel. seis uno dos tres cuatro cinco seis siete ocho"),
            ("de", "1\u202f000 und 3 100", "eintausend und drei einhundert"),
            ("sv", "25 000 kr", "tjugofemtusen kronor"),
            ("de", "5 km, 1 kg, 1 t", "fünf Kilometer, ein Kilogramm, eine Tonne"),
            ("es", "21 km, 5 km/h", "veintiún kilómetros, cinco kilómetros por hora"),
            ("it", "3 kg, 1 m", "tre chilogrammi, un metro"),
            ("fr", "21 h, 3 l'heure", "vingt et une heures, trois l'heure"),
            ("ru", "100 км/ч, 21 кг, 2 т", "сто километров в час, двадцать один килограмм, две тонны"),
            ("ru", "3,5 кг", "три целых пять десятых килограмма"),
            ("pl", "22 zł, 5 km", "dwadzieścia dwa złote, pięć kilometrów"),
            ("fi", "5 km", "viisi km"),
        ],
    )
    def test_groups_and_units_of_others(self, language: str, given: str, said: str) -> None:
        assert text.say(given, language) == said

    def test_digits_mean_slang_in_chinese_alone(self) -> None:
        assert text.say("666", "en") == "six hundred and sixty six"
        assert text.say("666", "de") == "sechshundertsechsundsechzig"

    def test_each_clause_is_read_in_its_own(self) -> None:
        assert text.say("北京有3个环, and 5 dogs") == "北京有三个环, and five dogs"


class TestEmoji:
    def test_alone_they_are_named(self) -> None:
        assert text.say("😀", "en") == "grinning face,"
        assert text.say("👍👍👍", "en") == "thumbs up,"
        assert text.say("👍", "zh") == "拇指向上，"

    def test_no_more_than_three_of_them(self) -> None:
        assert text.say("😀🎉🚀🐶🐱", "en").count(",") == 3


class TestSpans:
    def test_tell_where_each_piece_stands(self) -> None:
        given = "I paid $5 for 3kg."
        pieces = text.normalise(given, "en")
        assert [(piece.text, given[piece.start : piece.end]) for piece in pieces] == [
            ("I paid ", "I paid "),
            ("five dollars", "$5"),
            (" for ", " for "),
            ("three kilograms", "3kg"),
            (".", "."),
        ]

    @pytest.mark.parametrize("given", ["", "   ", "\x00", ":)"])
    def test_nothing_to_say_is_nothing(self, given: str) -> None:
        assert text.say(given) == ""

    def test_hold_for_any_text(self) -> None:
        generator = random.Random(3)
        alphabet = [*"0123456789,.-/:$€¥%+#@&=*()°'’ \n\u3000!?，。！abcXYZ你好元年月日岁第😀🎉½①Ⅳñßпعک\u200d\ufe0f"]
        alphabet += [
            "666",
            "2333",
            "May 3",
            "1990s",
            "http://",
            "www.",
            "a@b.co",
            "v2.0",
            "km/h",
            "GB",
            "kg",
            "10-20",
            "1,234",
            "1 234",
            "21.11.2026",
            "11/21/2026",
            "17:04",
            "17h04",
            " Uhr",
            "am ",
            "км/ч",
        ]
        for _ in range(400):
            given = "".join(generator.choices(alphabet, k=generator.randint(1, 40)))
            language = generator.choice([None, "zh", "en", "de", "ja", "fr-FR", "ru", "pl", "xx"])
            end = 0
            for piece in text.normalise(given, language):
                assert piece.text, given
                assert end <= piece.start < piece.end <= len(given), given
                end = piece.end


class TestLinks:
    ROWS = json.loads((Path(__file__).parent / "data" / "links.json").read_text("utf-8"))
    """Beside each text: what the server leaves whole in it, and how it is said."""

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row["text"][:40])
    def test_their_hosts_are_said(self, row: dict[str, Any]) -> None:
        assert web.say(row["text"], "en") == row["said"]
        start = 0
        for link in row["links"]:
            start = row["text"].index(link, start)
            (piece,) = [piece for piece in web.read(row["text"], "en") if piece.start <= start < piece.end]
            assert start + len(link) <= piece.end, "what is left whole is read as one"
            assert link not in piece.text
            start += len(link)

    @pytest.mark.parametrize("language", ["zh", "de", "vi", "xx", None])
    def test_the_words_between_are_of_the_language(self, language: str | None) -> None:
        dot = {"zh": "点", "de": "Punkt", "vi": "chấm"}.get(language or "", "dot")
        assert web.say("https://a-b.example.com/x", language).split()[-2:] == [dot, "com"]

    def test_nothing_else_is_touched(self) -> None:
        for given in ("", "Plain.", "a.m. 3.14 e.g. v1.2", "  spaces  stay . \n"):
            assert web.say(given, "en") == given

    @pytest.mark.parametrize(
        "unit", ["https://", "www.", "www.-", "a.com/", "a@", "a.", "/", "://", "é.", "x://é", ",http://"]
    )
    def test_takes_its_time_from_the_length(self, unit: str) -> None:
        started = time.process_time()
        web.say(unit * 5_000, "en")
        assert time.process_time() - started < 1


class TestHostile:
    @pytest.mark.parametrize("language", ["zh", "en", "de"])
    @pytest.mark.parametrize(
        "unit",
        ["1", "1/", "1:2-", "$", "1.2.3.", "666", "😀", "9 ", "http://", "a@", "-", "1,", "三1", "w", "a.", "\u0301"],
    )
    def test_takes_its_time_from_the_length(self, unit: str, language: str) -> None:
        text.normalise("warm 1", language)
        given = (unit * 600)[:600]
        started = time.process_time()
        text.normalise(given, language)
        # Measured: 0.35 s for the worst of them ("9 9 9 …" in Chinese); quadratic ones took minutes.
        assert time.process_time() - started < 5


def test_imports_what_reads_numbers_when_there_are_any() -> None:
    code = (
        "import sys; sys.modules['ishowtts._native'] = None; from ishowtts import text; text.say('Hello there.', 'en');"
        "assert not {'wetext', 'num2words', 'emoji', 'kaldifst'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tells_which_package_is_missing() -> None:
    code = (
        "import sys; sys.modules['wetext'] = None; from ishowtts import text, errors\n"
        "try: text.say('3.5kg', 'en')\n"
        "except errors.InvalidSetting as error: assert 'ishowtts[text]' in str(error)\n"
        "else: raise SystemExit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
