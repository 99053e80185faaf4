# ruff: noqa: RUF001 - letters that look like others are what is tested here
"""The same request is the same samples, and a 200 always carries the speech of its words."""

from __future__ import annotations

import io
import struct
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from harness import Pcm, Reply, Server, loudness_db, wav_samples

PARAGRAPH = (
    "The old lighthouse stood alone on the cliff above the harbour. Every night its lamp swept slowly over the dark "
    "water, and the boats came home. One winter the keeper fell ill. His daughter climbed the stairs in his place, "
    "and nobody at sea ever knew the difference."
)
MIN_MS_PER_LETTER = 30
"""The fastest that the default engine says letters at speed 1 is 40 ms each (one unbroken word of 50 letters)."""
MIN_LOUDNESS_DB = -45
"""Words come out between -36 and -25 dB."""


def sample_rate_hz(reply: Reply) -> int:
    return int(reply.headers["x-ishowtts-sample-rate-hz"])


def assert_speech_of(text: str, reply: Reply) -> Pcm:
    """The answer has sound for all of the text's letters and digits."""
    pcm = reply.pcm
    letters = sum(character.isalnum() for character in text)
    length_ms = pcm.size * 1000 / sample_rate_hz(reply)
    assert letters, "a 200 for nothing speakable"
    assert length_ms >= max(200, MIN_MS_PER_LETTER * letters), f"{length_ms:.0f} ms for {letters} letters"
    assert loudness_db(pcm) > MIN_LOUDNESS_DB
    return pcm


class TestSamples:
    def test_streamed_and_whole_are_the_same(self, hibari: Server) -> None:
        streamed = hibari.speak(PARAGRAPH, stream=True)
        whole = hibari.speak(PARAGRAPH, stream=False)
        assert streamed.headers["transfer-encoding"] == "chunked"
        assert int(whole.headers["content-length"]) == len(whole.body)
        assert np.array_equal(assert_speech_of(PARAGRAPH, streamed), whole.pcm)

    def test_wav_and_pcm_are_the_same(self, hibari: Server) -> None:
        raw = hibari.speak(PARAGRAPH, response_format="pcm")
        assert raw.headers["content-type"].startswith("audio/pcm")
        for stream in (True, False):
            wav = hibari.speak(PARAGRAPH, response_format="wav", stream=stream)
            assert wav.headers["content-type"] == "audio/wav"
            assert np.array_equal(raw.pcm, wav.pcm)

    def test_wav_opens_in_a_wav_reader(self, hibari: Server) -> None:
        reply = hibari.speak("A file that players open.", response_format="wav", stream=False)
        assert reply.status == 200
        with wave.open(io.BytesIO(reply.body)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            assert file.getframerate() == sample_rate_hz(reply)
            assert np.array_equal(np.frombuffer(file.readframes(file.getnframes()), "<i2"), reply.pcm)

    def test_a_streamed_wav_opens_in_a_wav_reader(self, hibari: Server) -> None:
        reply = hibari.speak("A stream that players open.", response_format="wav")
        with wave.open(io.BytesIO(reply.body)) as file:
            assert np.array_equal(np.frombuffer(file.readframes(file.getnframes()), "<i2"), reply.pcm)

    def test_speed_changes_the_length(self, hibari: Server) -> None:
        lengths = {speed: hibari.speak(PARAGRAPH, speed=speed).pcm.size for speed in (0.7, 1.0, 1.5)}
        assert lengths[0.7] > 1.25 * lengths[1.0]
        assert lengths[1.5] < 0.8 * lengths[1.0]


class TestSeeds:
    def test_without_one_a_phrase_is_the_same_each_time(self, hibari: Server) -> None:
        first, second = hibari.speak(PARAGRAPH), hibari.speak(PARAGRAPH)
        assert first.body == second.body
        assert first.headers["x-ishowtts-seed"] == second.headers["x-ishowtts-seed"]

    def test_the_seed_told_gives_the_same_samples(self, hibari: Server) -> None:
        varied = hibari.speak(PARAGRAPH, seed=-1)
        again = hibari.speak(PARAGRAPH, seed=int(varied.headers["x-ishowtts-seed"]))
        assert varied.body == again.body

    def test_seeds_differ(self, hibari: Server) -> None:
        assert hibari.speak(PARAGRAPH, seed=1).body != hibari.speak(PARAGRAPH, seed=2).body
        assert hibari.speak(PARAGRAPH, seed=1).headers["x-ishowtts-seed"] == "1"

    def test_minus_one_varies(self, hibari: Server) -> None:
        replies = [hibari.speak(PARAGRAPH, seed=-1) for _ in range(3)]
        assert len({reply.body for reply in replies}) == 3
        assert len({reply.headers["x-ishowtts-seed"] for reply in replies}) == 3

    def test_minus_one_varies_with_the_cache_on(self, hibari: Server) -> None:
        replies = [hibari.speak("Surprise me with this one.", seed=-1, cache=True) for _ in range(2)]
        assert [reply.headers["x-ishowtts-cache"] for reply in replies] == ["miss", "miss"]
        assert replies[0].body != replies[1].body

    @pytest.mark.parametrize("seed", [-2, 1.5, "7", 2**64])
    def test_what_is_not_a_seed_is_refused(self, hibari: Server, seed: object) -> None:
        reply = hibari.speak("Hello.", seed=seed)
        assert reply.status == 400
        assert reply.error["param"] == "seed" or "seed" in reply.error["message"]

    def test_the_same_bytes_with_sixteen_others_in_flight(self, hibari: Server) -> None:
        alone = hibari.speak(PARAGRAPH, seed=42)
        with ThreadPoolExecutor(17) as pool:
            texts = [f"Number {index} speaks too. {PARAGRAPH}" for index in range(16)]
            others = [pool.submit(hibari.speak, text, seed=42) for text in texts]
            among = pool.submit(hibari.speak, PARAGRAPH, seed=42)
            assert among.result().body == alone.body
            for text, other in zip(texts, others, strict=True):
                assert_speech_of(text, other.result())

    def test_single_flight_gives_all_listeners_the_same(self, hibari: Server) -> None:
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: hibari.speak(PARAGRAPH, seed=77, cache=True), range(8)))
        assert len({reply.body for reply in replies}) == 1
        assert_speech_of(PARAGRAPH, replies[0])


class TestCache:
    def test_a_hit_is_the_same_bytes_and_says_so(self, hibari: Server) -> None:
        text = "This phrase is kept, and given again as it was."
        miss = hibari.speak(text, cache=True)
        hit = hibari.speak(text, cache=True)
        assert (miss.headers["x-ishowtts-cache"], hit.headers["x-ishowtts-cache"]) == ("miss", "hit")
        assert miss.body == hit.body
        assert miss.headers["x-ishowtts-seed"] == hit.headers["x-ishowtts-seed"]

    def test_streamed_fills_it_for_whole_and_every_format(self, hibari: Server) -> None:
        text = "One result serves the stream and the file."
        streamed = hibari.speak(text, cache=True, stream=True)
        whole = hibari.speak(text, cache=True, stream=False, response_format="wav")
        assert whole.headers["x-ishowtts-cache"] == "hit"
        assert np.array_equal(streamed.pcm, whole.pcm)

    def test_speed_and_seed_are_part_of_the_key(self, hibari: Server) -> None:
        text = "Everything that changes the sound is part of the key."
        plain = hibari.speak(text, cache=True)
        for fields in ({"speed": 1.2}, {"seed": 5}):
            other = hibari.speak(text, cache=True, **fields)
            assert other.headers["x-ishowtts-cache"] == "miss"
            assert other.body != plain.body

    def test_cache_false_goes_past_it(self, hibari: Server) -> None:
        text = "Do not keep this, and do not look for it."
        assert [hibari.speak(text).headers["x-ishowtts-cache"] for _ in range(2)] == ["miss", "miss"]
        assert hibari.speak(text, cache=True).headers["x-ishowtts-cache"] == "miss"

    def test_what_a_listener_left_is_not_kept_in_part(self, tone: Server) -> None:
        text = " ".join(f"Sentence number {index} of a text that nobody hears to its end." for index in range(400))
        with tone.streaming(text, cache=True) as response:
            assert response.read1(1024)
        again = tone.speak(text, cache=True)
        assert again.body == tone.speak(text).body


NASTY = {
    "a single letter": "a",
    "a hundred digits": "1234567890" * 10,
    "an unbroken word": "abcdefghij" * 50,
    "zero-width spaces between letters": "\u200b".join("hello everyone") + " and good evening to all of you",
    "zero-width joiners and a byte order mark": "\ufeffhel\u200dlo wo\u200crld\u2060 again",
    "right-to-left controls": "Good \u202eevening\u202c to \u2067all\u2069 of \u200fyou",
    "a few combining marks": "he\u0301llo\u0308 wo\u0302rld",
    "letters drowned in combining marks": "Hello " + "e" + "\u0301" * 20_000 + " world",
    "marks on every letter": "".join(letter + "\u0336\u0334\u0321" * 20 for letter in "zalgo is here"),
    "emoji and words": "Nice work \U0001f389\U0001f389 \U0001f44d everyone \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "accents": "Ünïcödé wörds hérè",
    "full-width letters": "Ｈｅｌｌｏ ｅｖｅｒｙｏｎｅ",
    "shouting": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA NO WAY!!!!!!!!!!!!!!!!!!!!!!!!",
    "newlines and tabs": "one\n\n\n\ttwo\r\n\r\nthree\u2028four\u2029five",
    "control characters": "bell \x07 escape \x1b[31m null \x00 end",
    "markup": "<speak>hello <break time='1s'/> &amp; <b>goodbye</b></speak>",
    "a URL": "See https://example.org/a/b?c=d&e=f#g for more.",
    "symbols": "x = y + z, 50 % of $100 is €50 & that's @home #fine",
    "no punctuation": "and then we went on and on " * 60,
}


class TestNever200WithoutTheSpeech:
    @pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
    def test_words_are_spoken_whatever_they_stand_in(self, hibari: Server, text: str) -> None:
        assert_speech_of(text, hibari.speak(text))

    def test_a_hundred_thousand_combining_marks(self, hibari: Server) -> None:
        text = "Hello " + "e" + "\u0301" * 100_000 + " world"
        reply = hibari.speak(text)
        if reply.status == 200:
            assert_speech_of(text, reply)
        else:
            assert (reply.status, reply.error["code"]) == (413, "text_too_long")

    def test_five_thousand_digits(self, hibari: Server) -> None:
        text = "7041936528" * 500
        assert_speech_of(text, hibari.speak(text, timeout_s=240))

    @pytest.mark.parametrize(
        "text",
        [
            "你好，很高兴认识你。",
            "مرحبا بكم جميعا",
            "שלום לכולם",
            "Good morning, 各位观众, how are you?",
            "Hello שלום world",
            "Первое предложение. The second one is English.",
            PARAGRAPH + " 然后他笑了。",
        ],
    )
    @pytest.mark.parametrize("stream", [True, False])
    def test_what_the_engine_cannot_say_is_refused_at_once(self, hibari: Server, text: str, stream: bool) -> None:
        reply = hibari.speak(text, model="hibari", stream=stream)
        assert reply.status == 422
        assert reply.error["code"] == "text_refused"
        assert len(reply.error["message"]) > 20

    @pytest.mark.parametrize(
        "text",
        ["", "   \n\t ", "...?!", "\U0001f389\U0001f44d", "\u200b\u200d\ufeff", "\u0301\u0301", "\x00", "—"],
    )
    def test_nothing_speakable_is_a_clear_400(self, hibari: Server, text: str) -> None:
        reply = hibari.speak(text)
        assert reply.status == 400
        assert reply.error["param"] == "input"

    def test_too_long_is_413_with_the_limit(self, hibari: Server) -> None:
        reply = hibari.speak("word " * 10_001)
        assert reply.status == 413
        assert "50000" in reply.error["message"].replace(",", "")

    def test_short_sentences_are_all_there(self, hibari: Server) -> None:
        sentences = ["Yes.", "No!", "Why?", "I see...", "Dr. Smith paid $3.50 at 7.30 p.m. today.", "OK."]
        together = assert_speech_of(" ".join(sentences), hibari.speak(" ".join(sentences)))
        apart = sum(hibari.speak(sentence).pcm.size for sentence in sentences)
        assert together.size > 0.5 * apart


def test_wav_of_a_broken_length_is_seen() -> None:
    """The reader above must notice a file that ends early."""
    samples = np.arange(100, dtype="<i2").tobytes()
    layout = struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16)
    header = b"RIFF" + struct.pack("<I", 236) + b"WAVEfmt " + layout + b"data" + struct.pack("<I", 200)
    assert wav_samples(header + samples).size == 100
    with pytest.raises(AssertionError, match="missing"):
        wav_samples(header + samples[:-2])
