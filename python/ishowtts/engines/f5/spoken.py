"""What is said of a segment's text, and in whose language; for both engines of F5. Pure; safe on any thread."""

from __future__ import annotations

from collections.abc import Sequence

from ishowtts import text as texts
from ishowtts.engine import Segment, Transcript
from ishowtts.text import scripts


def language(segment: Segment, voice_languages: Sequence[str], reference_text: str) -> str | None:
    """BCP 47: what the segment is read in; None: what its letters tell.

    Digits alone tell nothing: they are read in the voice's language, or the one of its transcript's letters where no
    other language uses them.
    """
    if segment.language or any(char.isalpha() for char in segment.text):
        return segment.language
    known = texts.languages()
    own = next((main for main in map(scripts.primary, voice_languages) if main in known), None)
    return scripts.language_of(reference_text, own, reference_text)


def transcript(said: str) -> Transcript:
    """Of a whole segment. When its words sound nobody knows: the model makes all of it at once and tells no lengths."""
    return Transcript(" ".join(said.split()))
