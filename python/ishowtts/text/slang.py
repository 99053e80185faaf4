# ruff: noqa: RUF001 - the characters are what this is about
"""What people in chats mean by digits and letters. Before the numbers: 666 is praise and no number."""

from __future__ import annotations

import functools
import re

from ishowtts.text.reading import Reading

_MOST = 6
"""Repetitions that are said of a longer run."""
_DIGITS = dict(zip("0123456789", "零一二三四五六七八九", strict=True))
# No digit, letter or sign that would make it part of a number or a word.
_BEFORE, _AFTER = (
    r"(?<![\dA-Za-z.,:/+\-¥$€£第])",
    r"(?![\dA-Za-z%℃°]|[.,:/\-]\d|\s?[万亿千百十个元块年月日号分秒米岁名次人天点楼])",
)

_RUNS = {"6{3,}": "六", "23{2,}": "哈", "5{3,}": "呜", "[hH]{3,}": "哈", "[wW]{3,}": "哈"}
"""As many of it as there are characters."""
_RUN = [(re.compile(f"{_BEFORE}{run}{_AFTER}"), syllable) for run, syllable in _RUNS.items()]
_SPELT = re.compile(f"{_BEFORE}(?:520|1314|5201314|996|007|9527|1024){_AFTER}")
_ALONE = {
    "6": "六",
    "66": "六六",
    "88": "拜拜",
    "886": "拜拜咯",
    "1": "一",
    "111": "一一一",
    "+1": "加一",
    "＋1": "加一",
    "?": "",
    "？": "",
}
"""Said so only where it is all there is."""
_CHINESE = {
    "yyds": "永远的神",
    "xswl": "笑死我了",
    "awsl": "啊我死了",
    "u1s1": "有一说一",
    "yysy": "有一说一",
    "zqsg": "真情实感",
    "srds": "虽然但是",
    "dbq": "对不起",
    "xdm": "兄弟们",
    "jmm": "姐妹们",
    "gkd": "搞快点",
    "nbcs": "没人在乎",
    "plgg": "漂亮哥哥",
    "pljj": "漂亮姐姐",
    "bdjw": "不懂就问",
    "drl": "打扰了",
    "wsl": "我死了",
    "tql": "太强了",
    "nsdd": "你说得对",
    "kdl": "磕到了",
    "bhys": "不好意思",
}
_ENGLISH = {
    "brb": "be right back",
    "idk": "I don't know",
    "omg": "oh my god",
    "thx": "thanks",
    "ty": "thank you",
    "tysm": "thank you so much",
    "np": "no problem",
    "imo": "in my opinion",
    "imho": "in my humble opinion",
    "tbh": "to be honest",
    "ngl": "not gonna lie",
    "btw": "by the way",
    "irl": "in real life",
    "ikr": "I know, right",
    "rn": "right now",
    "smh": "shaking my head",
    "fyi": "for your information",
    "jk": "just kidding",
    "nvm": "never mind",
    "gg": "good game",
    "ggwp": "good game, well played",
    "glhf": "good luck, have fun",
    "wp": "well played",
    "gj": "good job",
    "afk": "away from keyboard",
    "dm": "direct message",
    "pls": "please",
    "plz": "please",
    "gn": "good night",
    "gm": "good morning",
    "o7": "salute",
}
_CHINESE_WORD = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_CHINESE)})(?![A-Za-z0-9])", re.IGNORECASE)
_ENGLISH_WORD = re.compile(rf"(?<![\w'@#.-])(?:{'|'.join(_ENGLISH)})(?![\w'-]|\.\w)", re.IGNORECASE)
_STRETCH = re.compile(r"([a-z])\1{4,}", re.IGNORECASE)
_STRETCHED = re.compile(r"(?<![a-z])[a-z]{0,40}?([a-z])\1{4,}[a-z]{0,40}(?![a-z])", re.IGNORECASE)
_REPEATED = re.compile(r"([\u3400-\u9fff])\1{7,}")
_SIGNS = re.compile(r"([!?！？。，~～…])\1{3,}")


def apply(reading: Reading, language: str, asked: str | None) -> None:
    if asked in ("zh", None):
        # Nobody means anything else by these.
        reading.replace(_CHINESE_WORD, lambda match: _CHINESE[match.group().lower()])
    if language == "zh":
        whole = reading.untouched.strip()
        if whole in _ALONE:
            reading.replace(re.compile(r"\S.*\S|\S", re.DOTALL), lambda _: _ALONE[whole])
        for pattern, syllable in _RUN:
            reading.replace(pattern, functools.partial(_repeat, syllable))
        reading.replace(_SPELT, lambda match: "".join(_DIGITS[digit] for digit in match.group()))
        reading.replace(_REPEATED, lambda match: match.group(1) * _MOST)
    elif language == "en":
        reading.replace(_ENGLISH_WORD, lambda match: _cased(match.group()))
        reading.replace(_STRETCHED, lambda match: _STRETCH.sub(r"\1\1\1", match.group()))
    reading.replace(_SIGNS, lambda match: match.group(1))


def _repeat(syllable: str, match: re.Match[str]) -> str:
    return syllable * min(len(match.group()), _MOST)


def _cased(word: str) -> str | None:
    # "TY" may be a name and "DM" a currency; in lower case they are slang.
    if word.isupper() and len(word) < 3:
        return None
    return _ENGLISH[word.lower()]
