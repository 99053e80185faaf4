# ruff: noqa: RUF001 - the characters are what this is about
"""Which language a piece of text is read in, by its letters and by what the request says."""

from __future__ import annotations

import re

HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3041-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_LATIN = re.compile(r"[A-Za-z]")

_WIDE = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
_WIDE |= {ord("％"): ord("%"), ord("＄"): ord("$"), ord("￥"): ord("¥"), ord("＋"): ord("+"), ord("．"): ord(".")}


def narrow(text: str) -> str:
    """Wide digits and letters as plain ones; as long as ``text``. Wide punctuation is Chinese and stays."""
    return text.translate(_WIDE)


def primary(language: str | None) -> str | None:
    """``"zh-Hant"`` -> ``"zh"``."""
    return re.split("[-_]", language, maxsplit=1)[0].lower() or None if language else None


def language_of(piece: str, asked: str | None, whole: str) -> str:
    """ISO 639-1. Letters that only one language uses go before ``asked``; a piece without letters goes with the whole.

    Without anything to go by, digits alone are Chinese: in chats that is who writes them.
    """
    for text in (piece, whole):
        if _KANA.search(text):
            return "ja"
        if _HANGUL.search(text):
            return "ko"
        if HAN.search(text):
            return asked if asked in ("zh", "ja") else "zh"
        if asked and asked not in ("zh", "ja", "ko"):
            return asked
        if _CYRILLIC.search(text):
            return "ru"
        if _LATIN.search(text):
            return "en" if asked != "zh" or text is whole else "zh"
    return asked or "zh"
