"""From safe text to the phoneme ids of hibari's model, in pieces that it can take. Engine thread only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ishowtts.engines.hibari_text import has_words

_MAX_PHONEMES = 400
"""The model was trained on no more, and its time grows with the square."""
_CLAUSE = re.compile(r"(?<=[,;:—])\s+")


@dataclass(frozen=True)
class Said:
    """A word of the text that was given and where it lies in a piece's ids (end exclusive)."""

    word: int
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Piece:
    ids: list[int]
    words: tuple[Said, ...]
    """Empty where words and phonemes cannot be told apart."""


@dataclass(frozen=True)
class _Sound:
    text: str
    phonemes: str
    space: bool


class Phonemes:
    """hibari's own grapheme-to-phoneme rules, with what they would drop spelled out instead."""

    def __init__(self, onnxruntime: Any, settings: Any) -> None:
        from hibari.g2p import ASSETS, G2P, _load_json  # type: ignore[import-untyped]
        from hibari.g2p.normalize import normalize  # type: ignore[import-untyped]
        from hibari.g2p.oov import OOV  # type: ignore[import-untyped]
        from hibari.tts import Hibari  # type: ignore[import-untyped]

        unknown_words = Path(ASSETS) / "oov.onnx"
        session = onnxruntime.InferenceSession(str(unknown_words), settings, providers=["CPUExecutionProvider"])
        self._g2p: Any = G2P(oov=OOV(str(unknown_words), session))
        self._normalise = normalize
        self._sentences = Hibari.split_sentences
        self._ids: dict[str, int] = _load_json("vocab.json")
        self._sounds = frozenset(char for char in self._ids if unicodedata.category(char) in ("Ll", "Lu"))

    def pieces(self, text: str) -> list[Piece]:
        """Ids with the pads that the model expects. Empty if nothing of ``text`` sounds."""
        pieces, words = [], 0
        for sentence in self._sentences(text):
            sounds = self._say(sentence)
            phonemes = "".join(sound.phonemes + " " * sound.space for sound in sounds).strip()
            bound = _bound(phonemes)
            for piece in bound:
                if self._sounds.intersection(piece):
                    said = tuple(self._words(sentence, words, sounds)) if len(bound) == 1 else ()
                    pieces.append(Piece(self._padded(piece), said))
            words += len(sentence.split())
        return pieces

    def _padded(self, phonemes: str) -> list[int]:
        return [0, *(self._ids[char] for char in phonemes if char in self._ids), 0]

    def _words(self, sentence: str, first: int, sounds: Sequence[_Sound]) -> Iterator[Said]:
        """``first``: the index of the sentence's first word."""
        owners = self._owners(sentence.split(), len(self._normalise(sentence).split()))
        groups = _groups(sounds)
        if len(owners) != len(groups):
            return
        at, begun = 1, False
        for owner, group in zip(owners, groups, strict=True):
            phonemes = "".join(sound.phonemes for sound in group)
            # The ids are those of the stripped phonemes.
            phonemes = phonemes if begun else phonemes.lstrip()
            begun = begun or bool(phonemes)
            known = [char for char in phonemes if char in self._ids]
            if self._sounds.intersection(known):
                tail = next(index for index, char in enumerate(reversed(known)) if char in self._sounds)
                head = next(index for index, char in enumerate(known) if char in self._sounds)
                text = "".join(sound.text for sound in group)
                yield Said(first + owner, text, at + head, at + len(known) - tail)
            at += len(known) + (begun and " " in self._ids)

    def _owners(self, words: Sequence[str], normalised: int) -> list[int]:
        """For each normalised word the index of the word that it comes from; empty if that cannot be told."""
        if len(words) == normalised:
            return list(range(normalised))
        owners = [index for index, word in enumerate(words) for _ in self._normalise(word).split()]
        return owners if len(owners) == normalised else []

    def _say(self, sentence: str) -> list[_Sound]:
        try:
            return self._read(sentence)
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, StopIteration):
            # hibari's rules raise on some mixtures of digits and quotes ("'1" fifty times): only that word is spelled.
            words = sentence.split()
            if len(words) == 1:
                return [_Sound(sentence, self._spell(sentence), True)]
            return [_Sound(word, "".join(s.phonemes for s in self._say(word)).strip(), True) for word in words]

    def _read(self, sentence: str) -> list[_Sound]:
        said = []
        for token in self._g2p.phonemize_tokens(self._g2p.tokenize(self._normalise(sentence))):
            phonemes = token.phonemes or ""
            if has_words(token.text) and not self._sounds.intersection(phonemes):
                phonemes = self._spell(token.text)
            said.append(_Sound(token.text, phonemes, bool(token.whitespace)))
        return said

    def _spell(self, word: str) -> str:
        """Letter by letter, for what neither the lexicon nor the network reads."""
        plain = unicodedata.normalize("NFKD", word)
        letters = [self._g2p.lexicon.golds.get(char.upper()) for char in plain if char.isascii() and char.isalpha()]
        digits = [self._g2p.lexicon.get_number(char, None, True)[0] for char in plain if char.isdigit()]
        return " ".join(filter(None, letters + digits))


def _groups(sounds: Sequence[_Sound]) -> list[list[_Sound]]:
    """What stands between spaces."""
    groups: list[list[_Sound]] = [[]]
    for sound in sounds:
        groups[-1].append(sound)
        if sound.space:
            groups.append([])
    return groups if groups[-1] else groups[:-1]


def _bound(phonemes: str) -> list[str]:
    """Pieces of at most 400, cut at clauses, else between words."""
    if len(phonemes) <= _MAX_PHONEMES:
        return [phonemes]
    pieces: list[str] = []
    for clause in _CLAUSE.split(phonemes):
        for part in [clause] if len(clause) <= _MAX_PHONEMES else clause.split():
            for start in range(0, len(part), _MAX_PHONEMES):
                _append(pieces, part[start : start + _MAX_PHONEMES])
    return pieces


def _append(pieces: list[str], part: str) -> None:
    if pieces and len(pieces[-1]) + 1 + len(part) <= _MAX_PHONEMES:
        pieces[-1] = f"{pieces[-1]} {part}"
    else:
        pieces.append(part)
