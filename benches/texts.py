"""Texts that no cache has seen: every one is different, and every sentence is short enough to be one segment for all
rivals (our server keeps the first segment to 80 characters)."""

from __future__ import annotations

import random

FIRST_SEGMENT_CHARS = 80

WHO = [
    "doctor",
    "teacher",
    "farmer",
    "sailor",
    "painter",
    "baker",
    "singer",
    "driver",
    "gardener",
    "lawyer",
    "child",
    "neighbour",
    "stranger",
    "visitor",
]
HOW = [
    "quiet",
    "tired",
    "clever",
    "honest",
    "hungry",
    "young",
    "careful",
    "famous",
    "lonely",
    "cheerful",
    "nervous",
    "gentle",
    "proud",
    "patient",
]
DID = [
    "found",
    "carried",
    "opened",
    "painted",
    "followed",
    "remembered",
    "sold",
    "borrowed",
    "noticed",
    "described",
    "repaired",
    "watched",
]
WHAT = [
    "letter",
    "bridge",
    "window",
    "garden",
    "basket",
    "mirror",
    "story",
    "engine",
    "blanket",
    "ticket",
    "ladder",
    "picture",
    "lantern",
    "bottle",
]
WHERE = [
    "by the river",
    "behind the station",
    "in the kitchen",
    "near the harbour",
    "under the old tree",
    "at the market",
]


class Texts:
    """A seeded stream of texts; no two are alike."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seen: set[str] = set()

    def sentence(self) -> str:
        while True:
            pick = self._random.choice
            sentence = f"The {pick(HOW)} {pick(WHO)} {pick(DID)} the {pick(HOW)} {pick(WHAT)} {pick(WHERE)}."
            if sentence not in self._seen:
                assert len(sentence) <= FIRST_SEGMENT_CHARS
                self._seen.add(sentence)
                return sentence

    def text(self, sentences: int) -> str:
        return " ".join(self.sentence() for _ in range(sentences))
