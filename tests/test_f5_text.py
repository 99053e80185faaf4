# ruff: noqa: RUF001 - the characters are what this is about
"""What F5-TTS reads, against upstream: recorded (tests/golden, made by make_f5_golden.py) and, where the package is
installed, the package itself."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ishowtts.engines.f5 import short_texts
from ishowtts.engines.f5 import text as f5_text
from ishowtts.engines.f5.clip import read_clip
from ishowtts.engines.f5.reference import prepare_clip, shorten_silences
from ishowtts.engines.f5.short_texts import ShortTexts
from ishowtts.errors import InvalidSetting
from make_f5_golden import clip, upstream_clip, wav

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "f5_text.json").read_text(encoding="utf-8"))
ALPHABET = [
    *"abc XYZ,.;:!?'\"“”123你好世界行长重一不的了，。！？😀é한の々\u3000—…-$%",
    "银行",
    "hello",
    "一起",
    "重庆",
    " ",
]


def texts(count: int) -> list[str]:
    generator = random.Random(7)
    return ["".join(generator.choices(ALPHABET, k=generator.randint(1, 40))) for _ in range(count)]


class TestTokens:
    @pytest.mark.parametrize(("text", "tokens"), GOLDEN["tokens"])
    def test_are_upstreams(self, text: str, tokens: list[str]) -> None:
        assert f5_text.to_tokens(text) == tokens

    def test_are_the_installed_packages(self) -> None:
        upstream = pytest.importorskip("f5_tts.model.utils", reason="the upstream package is not installed")
        for text in texts(1000):
            assert f5_text.to_tokens(text) == upstream.convert_char_to_pinyin([text])[0], text

    def test_become_ids(self) -> None:
        ids = f5_text.encode(["b", "?", "a"], {" ": 0, "a": 1, "b": 2})
        assert ids.dtype == np.int64
        assert ids.tolist() == [2, 0, 1]

    def test_ids_are_the_installed_packages(self) -> None:
        upstream = pytest.importorskip("f5_tts.model.utils", reason="the upstream package is not installed")
        vocab = {token: number for number, token in enumerate([" ", *"abcXYZ123,.", "ni3", "hao3"])}
        for text in texts(50):
            tokens = f5_text.to_tokens(text)
            assert f5_text.encode(tokens, vocab).tolist() == upstream.list_str_to_idx([tokens], vocab)[0].tolist()

    def test_names_letters_that_would_be_silent(self) -> None:
        assert f5_text.unknown_letters(["a", "か", "!", "か", "あ", " "], {" ": 0, "a": 1}) == ["か", "あ"]


class TestVocabulary:
    def test_is_one_token_a_line(self, tmp_path: Path) -> None:
        path = tmp_path / "vocab.txt"
        path.write_text(" \na\nni3\na\n", encoding="utf-8")
        assert f5_text.load_vocab(path) == {" ": 0, "a": 3, "ni3": 2}

    @pytest.mark.parametrize(
        ("lines", "told"),
        [
            (
                " \nzi\nzi1\nzi2",
                r"last line \('zi2'\) has no line break at its end; upstream then reads 'zi', the token of its line 2. "
                "End the file",
            ),
            (" \na\nb\na\n", "its line 2 stands again further down"),
            (" \na\nb\na\nd", "its line 2 stands again further down"),
            ("", "it is empty"),
        ],
    )
    def test_what_cannot_be_one_is_told(self, lines: str, told: str, tmp_path: Path) -> None:
        path = tmp_path / "vocab.txt"
        path.write_text(lines, encoding="utf-8")
        with pytest.raises(InvalidSetting, match=rf"\[engines.f5\] vocab: vocab.txt cannot be .*: .*{told}"):
            f5_text.check_vocab(f5_text.load_vocab(path), path)

    def test_one_that_is_cut_to_a_token_of_its_own_is_upstreams(self, tmp_path: Path) -> None:
        path = tmp_path / "vocab.txt"
        path.write_text(" \na\nzi1", encoding="utf-8")
        vocab = f5_text.load_vocab(path)
        f5_text.check_vocab(vocab, path)
        assert vocab == {" ": 0, "a": 1, "zi": 2}

    def test_is_the_installed_packages(self) -> None:
        upstream = pytest.importorskip("f5_tts.model.utils", reason="the upstream package is not installed")
        path = Path(upstream.__file__).parent.parent / "infer" / "examples" / "vocab.txt"
        vocab = f5_text.load_vocab(path)
        assert (vocab, len(vocab)) == upstream.get_tokenizer(str(path), "custom")


class TestChunks:
    @pytest.mark.parametrize(("text", "longest", "chunks"), GOLDEN["chunks"])
    def test_are_upstreams(self, text: str, longest: int, chunks: list[str]) -> None:
        assert f5_text.chunk_text(text, longest) == chunks

    def test_are_the_installed_packages(self) -> None:
        upstream = pytest.importorskip("f5_tts.infer.utils_infer", reason="the upstream package is not installed")
        for text in texts(500):
            for longest in (5, 20, 135):
                assert f5_text.chunk_text(text, longest) == upstream.chunk_text(text, longest), text

    def test_length_follows_the_reference(self) -> None:
        # 30 bytes in 3 s leave 19 s at 10 bytes a second.
        assert f5_text.chunk_bytes("x" * 30, 3.0) == 190
        assert f5_text.chunk_bytes("x" * 30, 3.0, 2.0) == 380


class TestDurations:
    @pytest.mark.parametrize(
        ("given", "completed", "conditioning"),
        [
            ("Hello", "Hello. ", "Hello.  "),
            ("Hello.", "Hello. ", "Hello.  "),
            ("Hello. ", "Hello. ", "Hello.  "),
            ("Hello!", "Hello!. ", "Hello!.  "),
            ("你好。", "你好。", "你好。"),
            ("你好", "你好. ", "你好.  "),
        ],
    )
    def test_reference_text_ends_as_upstreams(self, given: str, completed: str, conditioning: str) -> None:
        assert f5_text.complete_reference_text(given) == completed
        assert f5_text.conditioning_text(completed) == conditioning

    def test_follow_the_bytes(self) -> None:
        # 96,255 samples are 375 whole frames; 12 bytes of 30 at speed 0.5.
        assert f5_text.duration_frames(96_255, "x" * 30, "y" * 12, 0.5) == 375 + int(375 / 30 * 12 / 0.5)
        assert f5_text.duration_frames(96_255, "x" * 30, "你好", 1.0) == 375 + 75
        assert f5_text.duration_frames(96_255, "x" * 30, "y" * 12, 0.5, 10.0) == int(10 * 24_000 / 256)

    def test_short_texts_get_time(self) -> None:
        assert f5_text.spoken_speed("123456789", 2.0) == 0.3
        assert f5_text.spoken_speed("1234567890", 2.0) == 2.0
        assert f5_text.spoken_speed("你好啊", 2.0) == 0.3

    def test_leave_room_for_the_text(self) -> None:
        assert f5_text.least_frames(tokens=500, mel_frames=376) == 501
        assert f5_text.least_frames(tokens=50, mel_frames=376) == 377

    def test_a_fixed_one_is_shared_out(self) -> None:
        assert f5_text.share_duration(["a"], 24_000, 8.0, 0.15) == [8.0]
        assert f5_text.share_duration(["a", "b"], 24_000, None, 0.15) == [None, None]
        reference_s = 24_000 // 256 * 256 / 24_000
        shared = f5_text.share_duration(["aa", "bb", "cccc"], 24_000, 8.0, 0.15)
        assert sum(shared) - 3 * reference_s == pytest.approx(8.0 - reference_s + 0.3)  # type: ignore[arg-type]
        assert shared[2] - reference_s == pytest.approx(2 * (shared[0] - reference_s))  # type: ignore[operator]


class TestReference:
    @pytest.mark.parametrize("golden", GOLDEN["clips"], ids=lambda golden: "-".join(map(str, golden["given"])))
    def test_is_upstreams(self, golden: dict[str, Any], tmp_path: Path) -> None:
        given = golden["given"]
        path = tmp_path / "clip.wav"
        path.write_bytes(wav(clip(*given), given[1]))
        prepared = prepare_clip(*read_clip(path), "Some text")
        samples, gain = prepared.at_level()
        assert len(samples) == golden["samples"]
        assert prepared.duration_s == pytest.approx(golden["seconds"], abs=1e-9)
        assert prepared.rms == pytest.approx(golden["rms"], rel=1e-6)
        assert gain == pytest.approx(min(1.0, golden["rms"] / 0.1), rel=1e-6)
        some = samples[:: max(1, len(samples) // 50)]
        np.testing.assert_allclose(some, np.float32(golden["some"]), atol=2e-6)

    @pytest.mark.parametrize("seed", range(8))
    def test_is_the_installed_packages(self, seed: int, tmp_path: Path) -> None:
        pytest.importorskip("f5_tts.infer.utils_infer", reason="the upstream package is not installed")
        rate_hz = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)[seed]
        path = tmp_path / "clip.wav"
        path.write_bytes(wav(clip(8.0 + 4 * seed, rate_hz, 1 + seed % 2, 16 if seed % 3 else 32, 200 + seed), rate_hz))
        samples, rms, text, seconds = upstream_clip(path, "Some text")
        prepared = prepare_clip(*read_clip(path), "Some text")
        assert (prepared.reference_text, prepared.duration_s) == (text, pytest.approx(seconds))
        assert prepared.rms == pytest.approx(rms, rel=1e-6)
        ours, _ = prepared.at_level()
        np.testing.assert_allclose(ours, samples, atol=2e-6)

    def test_floats_of_a_16_bit_clip_are_the_same_clip(self) -> None:
        integers = clip(5.0, 24_000, 1, 16, 3)
        floats = (integers / 32_768).astype(np.float32)
        assert (prepare_clip(integers, 24_000, "x").samples == prepare_clip(floats, 24_000, "x").samples).all()

    def test_a_prepared_one_is_taken_as_it_is(self) -> None:
        loud = np.full(40 * 24_000, 8_000, np.int16)
        assert len(prepare_clip(loud, 24_000, "x").samples) < 13 * 24_000
        assert len(prepare_clip(loud, 24_000, "x", prepared=True).samples) == len(loud)

    @pytest.mark.parametrize(
        ("samples", "rate_hz", "text", "told"),
        [
            (np.ones(24_000, np.int16) * 9_000, 24_000, " ", "no transcript"),
            (np.zeros(24_000, np.int16), 24_000, "x", "no speech"),
            (np.zeros(0, np.int16), 24_000, "x", "must be"),
            (np.ones((2, 2, 2), np.int16), 24_000, "x", "must be"),
            (np.ones(24_000, np.int16), 100, "x", "100 Hz"),
            (np.ones(24_000, np.uint8), 24_000, "x", "type uint8"),
            (np.full(24_000, np.nan, np.float32), 24_000, "x", "not numbers"),
        ],
    )
    def test_refuses_what_cannot_be_cloned(self, samples: Any, rate_hz: int, text: str, told: str) -> None:
        with pytest.raises(InvalidSetting, match=told):
            prepare_clip(samples, rate_hz, text)

    def test_speech_is_filled_up_to_the_millisecond_that_its_length_is_rounded_to(self) -> None:
        pcm = np.full(72_013, 0.2, np.float32)
        found = shorten_silences(pcm)
        np.testing.assert_array_equal(found, np.pad(pcm, (0, 11)))


class TestClipFiles:
    @pytest.mark.parametrize("bits", [16, 32])
    def test_wav_is_read_as_it_stands(self, bits: int, tmp_path: Path) -> None:
        samples = clip(0.2, 8_000, 2, bits, 1)
        path = tmp_path / "clip.wav"
        path.write_bytes(wav(samples, 8_000))
        read, rate_hz = read_clip(path)
        assert (rate_hz, read.dtype) == (8_000, samples.dtype)
        assert (read == samples).all()

    def test_24_bits_and_floats(self, tmp_path: Path) -> None:
        import struct

        def file(code: int, bits: int, sound: bytes) -> Path:
            layout = struct.pack("<HHIIHH", code, 1, 24_000, 24_000 * bits // 8, bits // 8, bits)
            chunks = b"fmt " + struct.pack("<I", 16) + layout + b"LIST\x03\x00\x00\x00abc\x00"
            chunks += b"data" + struct.pack("<I", 0xFFFF_FFFF) + sound
            path = tmp_path / f"{code}-{bits}.wav"
            path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks)
            return path

        read, _ = read_clip(file(1, 24, b"\x01\x02\x03\xff\xff\xff"))
        assert read.reshape(-1).tolist() == [0x03020100, -256]
        read, _ = read_clip(file(3, 32, np.array([0.5, -1], "<f4").tobytes()))
        assert read.reshape(-1).tolist() == [0.5, -1.0]
        read, _ = read_clip(file(1, 8, b"\x00\x80\xff"))
        assert read.reshape(-1).tolist() == [-32_768, 0, 32_512]
        with pytest.raises(InvalidSetting, match="kind of WAV"):
            read_clip(file(2, 4, b"\x00"))

    @pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcd"])
    def test_what_is_no_whole_wav_is_told(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "clip.wav"
        path.write_bytes(content)
        with pytest.raises(InvalidSetting, match=r"clip\.wav"):
            read_clip(path)

    def test_one_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidSetting, match=r"none\.wav cannot be read"):
            read_clip(tmp_path / "none.wav")


class TestShortTexts:
    def test_upstreams_rule_is_the_default(self) -> None:
        for text in ("Hi", "你好啊", "This is no short text."):
            assert short_texts.speed(text, 1.5, ShortTexts()) == f5_text.spoken_speed(text, 1.5)
            assert short_texts.padded(text, ShortTexts()) == text

    def test_even_has_no_leap_and_heeds_the_speed(self) -> None:
        even = ShortTexts(speed_rule="even")

        def bytes_of_time(length: int, speed: float = 1.0) -> float:
            return length / short_texts.speed("x" * length, speed, even)

        times = [bytes_of_time(length) for length in range(1, 40)]
        assert times == sorted(times)
        assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 1.01
        assert bytes_of_time(4, 2.0) == pytest.approx(bytes_of_time(4) / 2)
        assert short_texts.speed("x" * 40, 1.3, even) == 1.3

    def test_off_leaves_the_speed(self) -> None:
        assert short_texts.speed("Hi", 1.3, ShortTexts(speed_rule="off")) == 1.3

    def test_padding_ends_a_sentence_and_goes_to_short_texts_alone(self) -> None:
        pad = ShortTexts(padding=True)
        assert short_texts.padded("Hi", pad) == "... Hi. ..."
        assert short_texts.padded("Hi!", pad) == "... Hi! ..."
        assert short_texts.padded("你好", pad) == "。你好。。"
        assert short_texts.padded("This is no short text at all.", pad) == "This is no short text at all."

    def test_a_shorter_reference_ends_with_a_sentence_at_a_pause(self) -> None:
        tone = (np.sin(np.arange(3 * 24_000) / 20) * 9_000).astype(np.int16)
        sound = np.concatenate([tone, np.zeros(12_000, np.int16), tone, np.zeros(12_000, np.int16)])
        whole = prepare_clip(sound, 24_000, "One two three four five. Six seven eight nine ten.", prepared=True)
        shorter = short_texts.shortened(whole, 4.0)
        assert shorter.reference_text == "One two three four five. "
        assert shorter.text == "One two three four five.  "
        assert 3.0 <= len(shorter.samples) / 24_000 <= 3.5
        assert shorter.duration_s == pytest.approx(len(shorter.samples) / 24_000)

    def test_what_has_no_pause_there_stays_whole(self) -> None:
        tone = (np.sin(np.arange(7 * 24_000) / 20) * 9_000).astype(np.int16)
        whole = prepare_clip(tone, 24_000, "One two three four five. Six seven eight nine ten.", prepared=True)
        assert short_texts.shortened(whole, 4.0) is whole
        assert short_texts.shortened(whole, 20.0) is whole

    def test_a_pause_far_from_where_the_sentence_ends_is_another_one(self) -> None:
        tone = (np.sin(np.arange(6 * 24_000) / 20) * 9_000).astype(np.int16)
        sound = np.concatenate([tone[:12_000], np.zeros(12_000, np.int16), tone])
        whole = prepare_clip(sound, 24_000, "One two three four five. Six seven eight nine ten.", prepared=True)
        assert short_texts.shortened(whole, 4.0) is whole

    def test_an_unknown_rule_is_told(self) -> None:
        with pytest.raises(InvalidSetting, match="upstream, even or off"):
            ShortTexts(speed_rule="slow")

    def test_come_from_a_requests_parameters(self) -> None:
        given = {"short_speed_rule": "even", "short_padding": True, "short_reference_s": 4, "seed": 1}
        assert ShortTexts.read(given) == ShortTexts("even", True, 4.0)
        assert ShortTexts.read({}) == ShortTexts()
        for wrong in ({"short_padding": 1}, {"short_reference_s": 13}, {"short_reference_s": True}):
            with pytest.raises(InvalidSetting, match="must be"):
                ShortTexts.read(wrong)
