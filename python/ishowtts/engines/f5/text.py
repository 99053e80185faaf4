# ruff: noqa: RUF001 - the characters are what this is about
"""Text as the model reads it: tokens, ids, chunks and lengths, each exactly as upstream makes them (f5-tts 1.1.22), so
that the same weights say the same.

Pure functions, safe on any thread. pypinyin and rjieba are imported with the first text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ishowtts.engines.f5.config import HOP, SAMPLE_RATE_HZ
from ishowtts.errors import InvalidSetting

USEFUL_S = 22.0
"""Reference and speech together, in seconds, that the model was trained to keep up."""
SHORT_BYTES = 10
SHORT_SPEED = 0.3
"""Upstream's own rule: a text of fewer bytes is given the time of a speed of 0.3, whatever speed was asked for."""
LEAST_MS_PER_LETTER = 10.0
"""At speed 1: nobody says a letter in less, and sound that short is taken for a failure."""
UNKNOWN_ID = 0
"""The space: what a token becomes that the vocabulary lacks."""

_QUOTES = str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"})
_SENTENCE_END = re.compile(r"(?<=[;:,.!?])\s+|(?<=[；：，。！？])")


def to_tokens(text: str) -> list[str]:
    """The text as tokens of the pinyin vocabulary: characters, and for each Chinese one a space and its syllable with
    the tone behind it (``" "``, ``"hao3"``).

    Words are cut by rjieba, which shapes English too: ``"hello,world"`` becomes ``"hello, world"``.

    Upstream: ``f5_tts.model.utils.convert_char_to_pinyin`` for one text, polyphone on.
    """
    import rjieba
    from pypinyin import Style, lazy_pinyin

    tokens: list[str] = []
    for word in rjieba.cut(text.translate(_QUOTES)):
        word_bytes = len(word.encode())
        if word_bytes == len(word):
            if tokens and word_bytes > 1 and tokens[-1] not in " :'\"":
                tokens.append(" ")
            tokens.extend(word)
        elif word_bytes == 3 * len(word):
            syllables = lazy_pinyin(word, style=Style.TONE3, tone_sandhi=True)
            if len(syllables) != len(word):
                # pypinyin may keep a run of other characters in one piece; upstream raises IndexError for that.
                syllables = [lazy_pinyin(char, style=Style.TONE3, tone_sandhi=True)[0] for char in word]
            for char, syllable in zip(word, syllables, strict=True):
                if _is_chinese(char):
                    tokens.append(" ")
                tokens.append(syllable)
        else:
            for char in word:
                if ord(char) >= 256 and _is_chinese(char):
                    tokens.append(" ")
                    tokens.extend(lazy_pinyin(char, style=Style.TONE3, tone_sandhi=True))
                else:
                    tokens.append(char)
    return tokens


def _is_chinese(char: str) -> bool:
    return "\u3100" <= char <= "\u9fff"


def load_vocab(path: str | Path) -> dict[str, int]:
    """Token to id, one token a line; of a token that stands twice, the last line counts.

    Upstream: ``f5_tts.model.utils.get_tokenizer(path, "custom")``, which cuts one character off every line, the last
    one too even where no line break ends it.
    """
    try:
        with Path(path).open(encoding="utf-8") as lines:
            return {line[:-1]: number for number, line in enumerate(lines)}
    except UnicodeDecodeError as error:
        raise InvalidSetting(f"[engines.f5] vocab: {Path(path).name} is no text in UTF-8") from error


def check_vocab(vocab: dict[str, int], path: Path, engine: str = "f5") -> None:
    """Raises InvalidSetting for one whose ids go beyond what a model with as many tokens has: a line stands twice."""
    twice = sorted(set(range(max(vocab.values(), default=0) + 1)) - set(vocab.values()))
    if not vocab or twice:
        lines = (_cut_short(path) or f"its line {twice[0] + 1} stands again further down") if vocab else "it is empty"
        raise InvalidSetting(f"[engines.{engine}] vocab: {path.name} cannot be a model's vocabulary: {lines}")


def _cut_short(path: Path) -> str | None:
    """What is wrong where the last line is cut to another one's token for want of a line break."""
    lines = path.read_text(encoding="utf-8").split("\n")
    last, cut = lines[-1], lines[-1][:-1]
    if not last or cut not in lines[:-1]:
        return None
    return (
        f"its last line ({last!r}) has no line break at its end; upstream then reads {cut!r}, the token of its line "
        f"{lines.index(cut) + 1}. End the file with a line break"
    )


def encode(tokens: Iterable[str], vocab: dict[str, int]) -> npt.NDArray[np.int64]:
    """Ids, shape ``[tokens]``. The model adds 1 to each and keeps 0 for its filler.

    Upstream: ``f5_tts.model.utils.list_str_to_idx`` for one text.
    """
    return np.fromiter((vocab.get(token, UNKNOWN_ID) for token in tokens), np.int64)


def unknown_letters(tokens: Iterable[str], vocab: dict[str, int]) -> list[str]:
    """Tokens of letters or digits that ``encode`` would turn into silence, each once, in order."""
    return list(dict.fromkeys(token for token in tokens if token not in vocab and token.isalnum()))


def chunk_text(text: str, max_bytes: int = 135) -> list[str]:
    """Sentences and clauses, put together up to ``max_bytes`` of UTF-8; a longer one stays whole.

    Upstream: ``f5_tts.infer.utils_infer.chunk_text``.
    """
    chunks: list[str] = []
    chunk = ""
    for sentence in _SENTENCE_END.split(text):
        if not sentence:
            continue
        spaced = sentence + " " if len(sentence[-1].encode()) == 1 else sentence
        if len(chunk.encode()) + len(sentence.encode()) <= max_bytes:
            chunk += spaced
        else:
            if chunk:
                chunks.append(chunk.strip())
            chunk = spaced
    if chunk:
        chunks.append(chunk.strip())
    return chunks


def chunk_bytes(reference_text: str, reference_s: float, speed: float = 1.0) -> int:
    """The ``max_bytes`` that upstream's ``infer_process`` gives to ``chunk_text``.

    ``reference_text`` as ``complete_reference_text`` leaves it, ``reference_s`` the prepared clip's length.
    """
    return int(len(reference_text.encode()) / reference_s * (USEFUL_S - reference_s) * speed)


def complete_reference_text(text: str) -> str:
    """With the ending that keeps the reference's last word out of the speech.

    Upstream: the end of ``preprocess_ref_audio_text``.
    """
    if text.endswith((". ", "。")):
        return text
    return text + " " if text.endswith(".") else text + ". "


def conditioning_text(reference_text: str) -> str:
    """What stands before the text to be spoken: one more space behind a character of one byte.

    Upstream: the beginning of ``infer_batch_process``. Its bytes count in ``duration_frames``.
    """
    return reference_text + " " if len(reference_text[-1].encode()) == 1 else reference_text


def spoken_speed(text: str, speed: float) -> float:
    """The speed that upstream speaks ``text`` at."""
    return SHORT_SPEED if len(text.encode()) < SHORT_BYTES else speed


def duration_frames(
    reference_samples: int, conditioning: str, text: str, speed: float, fix_duration_s: float | None = None
) -> int:
    """Mel frames of reference and speech together, before the model's own lower bound (``least_frames``).

    ``reference_samples`` at 24 kHz; ``conditioning`` from ``conditioning_text``; ``speed`` from ``spoken_speed`` (or
    another rule of ``short_texts``); ``fix_duration_s`` counts the reference in, as upstream's does.

    Upstream: ``_infer_basic`` in ``infer_batch_process``.
    """
    if fix_duration_s is not None:
        return int(fix_duration_s * SAMPLE_RATE_HZ / HOP)
    reference_frames = reference_samples // HOP
    return reference_frames + int(reference_frames / len(conditioning.encode()) * len(text.encode()) / speed)


def least_frames(tokens: int, mel_frames: int) -> int:
    """The model makes at least so many frames. ``mel_frames`` of the conditioning: ``samples // 256 + 1``.

    Upstream: ``f5_tts.model.cfm.CFM.sample``.
    """
    return max(tokens, mel_frames) + 1


def check_duration(fix_duration_s: float | None, reference_samples: int, text: str, speed: float) -> None:
    """Raises InvalidSetting where ``fix_duration_s`` leaves no time to say ``text``: upstream would make a blip."""
    if fix_duration_s is None:
        return
    reference_s = reference_samples / SAMPLE_RATE_HZ
    letters = sum(char.isalnum() for char in text)
    # The model's own two frames at the seam are not speech.
    needed_s = reference_s + letters * LEAST_MS_PER_LETTER / 1e3 / speed + 2 * HOP / SAMPLE_RATE_HZ
    if fix_duration_s < needed_s:
        least_s = math.ceil(needed_s * 10) / 10
        raise InvalidSetting(
            f"fix_duration is the time of reference and speech together: the reference alone is {reference_s:.1f} s "
            f"long, so {fix_duration_s:g} s leave too little to say {letters} letters; give {least_s} at least"
        )


def share_duration(
    chunks: list[str], reference_samples: int, fix_duration_s: float | None, cross_fade_s: float
) -> list[float | None]:
    """``fix_duration_s`` for each chunk: the speech is shared out by bytes, the cross-fades are given back.

    Upstream: the beginning of ``infer_batch_process``.
    """
    if fix_duration_s is None or len(chunks) < 2:
        return [fix_duration_s] * len(chunks)
    reference_s = reference_samples // HOP * HOP / SAMPLE_RATE_HZ
    weights = [len(chunk.encode()) for chunk in chunks]
    to_share_s = fix_duration_s - reference_s + cross_fade_s * (len(chunks) - 1)
    return [reference_s + to_share_s * weight / sum(weights) for weight in weights]
