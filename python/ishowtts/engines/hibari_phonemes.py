"""From safe text to the phoneme ids of hibari's model, in pieces that it can take. Engine thread only."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

from ishowtts.engines.hibari_text import has_words

_MAX_PHONEMES = 400
"""The model was trained on no more, and its time grows with the square."""
_CLAUSE = re.compile(r"(?<=[,;:—])\s+")


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

    def pieces(self, text: str) -> list[list[int]]:
        """Ids with the pads that the model expects. Empty if nothing of ``text`` sounds."""
        phonemes = (piece for sentence in self._sentences(text) for piece in _bound(self._say(sentence)))
        return [self._padded(piece) for piece in phonemes if self._sounds.intersection(piece)]

    def _padded(self, phonemes: str) -> list[int]:
        return [0, *(self._ids[char] for char in phonemes if char in self._ids), 0]

    def _say(self, sentence: str) -> str:
        try:
            return self._read(sentence)
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, StopIteration):
            # hibari's rules raise on some mixtures of digits and quotes ("'1" fifty times): only that word is spelled.
            words = sentence.split()
            if len(words) == 1:
                return self._spell(sentence)
            return " ".join(map(self._say, words))

    def _read(self, sentence: str) -> str:
        said = []
        for token in self._g2p.phonemize_tokens(self._g2p.tokenize(self._normalise(sentence))):
            phonemes = token.phonemes or ""
            if has_words(token.text) and not self._sounds.intersection(phonemes):
                phonemes = self._spell(token.text)
            said.append(phonemes + (" " if token.whitespace else ""))
        return "".join(said).strip()

    def _spell(self, word: str) -> str:
        """Letter by letter, for what neither the lexicon nor the network reads."""
        plain = unicodedata.normalize("NFKD", word)
        letters = [self._g2p.lexicon.golds.get(char.upper()) for char in plain if char.isascii() and char.isalpha()]
        digits = [self._g2p.lexicon.get_number(char, None, True)[0] for char in plain if char.isdigit()]
        return " ".join(filter(None, letters + digits))


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
