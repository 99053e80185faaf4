# ruff: noqa: RUF001
"""The second engine: what the default one refuses is spoken by espeak-ng, segment by segment."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from harness import Server, loudness_db
from ishowtts.engine import Segment
from ishowtts.engines import espeak, espeak_languages
from ishowtts.errors import InvalidSetting, IshowttsError, SegmentRefused

pytestmark = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")

LINES = {
    "zh": "你好，世界。今天的天气很好。",
    "vi": "Xin chào các bạn, chúc một ngày tốt lành.",
    "ar": "مرحبا كيف حالك اليوم",
    "ru": "Привет, как дела у вас сегодня?",
    "hi": "नमस्ते आप कैसे हैं",
    "ko": "안녕하세요 여러분",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[espeak.Espeak]:
    loaded = espeak.load({}, 2)
    yield loaded
    loaded.close()


def spoken(engine: espeak.Espeak, text: str, language: str | None = None, speed: float = 1.0) -> np.ndarray:
    preset = espeak.Preset("", 50, ("en-US",))
    assert engine.admit(0, Segment(text, language, 0, speed, {}), preset) == 1
    (chunk,) = engine.step([0])
    if chunk.error is not None:
        raise chunk.error
    return chunk.pcm


class TestServer:
    @pytest.mark.parametrize("language", LINES)
    def test_other_languages_are_spoken_without_being_named(self, hibari: Server, language: str) -> None:
        reply = hibari.speak(LINES[language])
        assert reply.headers["x-ishowtts-engine"] == "espeak"
        assert loudness_db(reply.pcm) > -40
        assert reply.pcm.size / int(reply.headers["x-ishowtts-sample-rate-hz"]) > 0.05 * len(LINES[language])

    def test_english_stays_with_the_neural_voice(self, hibari: Server) -> None:
        for text in ("Hello there.", "Greetings from Germany, my friends, how is everyone today?", "gg wp"):
            assert hibari.speak(text).headers["x-ishowtts-engine"] == "hibari"

    def test_a_line_in_two_scripts_is_spoken_by_two_engines(self, hibari: Server) -> None:
        text = "My friends, 你好世界 and good night."
        reply = hibari.request("POST", "/v1/captions", json.dumps({"text": text}).encode())
        captions = json.loads(reply.body)["captions"]
        assert [text[caption["start_char"] : caption["end_char"]] for caption in captions] == [
            "My friends,",
            "你好世界",
            "and good night.",
        ]
        assert [bool(caption["words"]) for caption in captions] == [True, False, True]
        assert all(caption["end_ms"] - caption["start_ms"] > 400 for caption in captions)
        reply = hibari.speak(text)
        assert reply.headers["x-ishowtts-engine"] == "hibari"
        rate = int(reply.headers["x-ishowtts-sample-rate-hz"])
        parts = [
            loudness_db(reply.pcm[int(caption["start_ms"] * rate / 1e3) : int(caption["end_ms"] * rate / 1e3)])
            for caption in captions
        ]
        # Whoever speaks, about as loud as the others.
        assert max(parts) - min(parts) < 6, parts
        assert min(parts) > -26, parts

    def test_a_line_in_three_scripts_has_three_parts(self, hibari: Server) -> None:
        text = "Good evening, 大家好 привет всем!"
        reply = hibari.request("POST", "/v1/captions", json.dumps({"text": text}).encode())
        captions = json.loads(reply.body)["captions"]
        assert [caption["text"] for caption in captions] == ["Good evening,", "大家好", "привет всем!"]

    def test_latin_lines_of_other_languages_go_to_who_speaks_them(self, hibari: Server) -> None:
        for text in (
            "Das ist ein sehr schöner Abend, und wir freuen uns alle auf das Spiel.",
            "Muchas gracias por estar aquí, espero que estén disfrutando de la transmisión.",
        ):
            assert hibari.speak(text).headers["x-ishowtts-engine"] == "espeak"
            assert hibari.speak(text, language="en").headers["x-ishowtts-engine"] == "hibari"

    def test_a_voice_of_another_language_speaks_that(self, start: Callable[..., Server], tmp_path: Path) -> None:
        folder = tmp_path / "voices" / "amelie"
        folder.mkdir(parents=True)
        manifest = 'id = "amelie"\nname = "Amélie"\nlanguages = ["fr-FR"]\nlicence = "CC0-1.0"\n'
        (folder / "voice.toml").write_text(manifest, encoding="utf-8")
        server = start(config=f"[voices]\ndirectory = {json.dumps(str(folder.parent))}\n")
        french = server.speak("Salut !", voice="amelie")
        assert french.headers["x-ishowtts-engine"] == "espeak"
        assert french.body == server.speak("Salut !", voice="amelie", language="fr").body
        assert server.speak("Hello, this is the way that you speak.", voice="heart").headers["x-ishowtts-engine"] == (
            "hibari"
        )

    def test_what_it_has_no_sounds_for_is_refused(self, hibari: Server) -> None:
        # Kanji, which it would call Chinese letters one by one; Khmer, which it does not read at all.
        for text in ("日本語を話します", "សួស្តី"):
            reply = hibari.speak(text)
            assert reply.status == 422, text
            assert reply.error["code"] == "text_refused"

    def test_a_language_that_is_named_is_taken(self, hibari: Server) -> None:
        named = hibari.speak("Guten Morgen", language="de")
        assert named.headers["x-ishowtts-engine"] == "espeak"
        assert hibari.speak("Guten Morgen", language="en").headers["x-ishowtts-engine"] == "hibari"
        assert hibari.speak("Saluton", language="xx").status == 422

    def test_it_is_listed_with_its_licence(self, hibari: Server) -> None:
        models = {model["id"]: model for model in json.loads(hibari.get("/v1/models").body)["data"]}
        assert models["espeak"]["licence"] == "GPL-3.0-or-later"
        assert {"en", "fr", "zh", "vi", "ar", "ru"} <= set(models["espeak"]["languages"])
        assert len(models["espeak"]["languages"]) > 100

    def test_voices_differ(self, hibari: Server) -> None:
        heard = {hibari.speak(LINES["ru"], voice=voice).body for voice in ("heart", "hazel", "rowan", "wren")}
        assert len(heard) == 4

    def test_it_may_be_switched_off(self, start: Callable[..., Server]) -> None:
        server = start(config="fallback = []\n")
        refused = server.speak(LINES["zh"])
        assert refused.status == 422
        assert refused.error["code"] == "text_refused"

    def test_without_the_program_it_is_left_out_with_one_line(
        self, start: Callable[..., Server], tmp_path: Path
    ) -> None:
        server = start(env={"PATH": str(tmp_path)})
        server.wait_line("apt-get install espeak-ng")
        assert server.speak("Hello.").status == 200
        assert server.speak(LINES["zh"]).status == 422
        assert server.log.count("apt-get install espeak-ng") == 1


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A program of its name that tells what the real one tells about itself, and speaks by ``body``."""
    real = shutil.which("espeak-ng")
    script = folder / "espeak-ng"
    script.write_text(f'#!/bin/sh\ncase "$*" in --version|--voices) exec {real} "$@";; esac\n{body}\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def phonemes(text: str, language: str) -> str:
    command = ["espeak-ng", "-q", "-x", "--stdin", "-v", language]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=True).stdout


class TestLanguages:
    @pytest.fixture
    def known(self, engine: espeak.Espeak) -> espeak_languages.Languages:
        return engine._languages

    @pytest.mark.parametrize("language", LINES)
    def test_no_language_is_read_as_english(self, known: espeak_languages.Languages, language: str) -> None:
        name = known.called(language)
        assert name is not None
        assert "(en)" not in phonemes(LINES[language], name)

    @pytest.mark.parametrize(
        ("tag", "name"),
        [
            ("zh", "cmn-latn-pinyin"),
            ("zh-TW", "cmn-latn-pinyin"),
            ("zh-HK", "yue"),
            ("en", "en-us"),
            ("en_GB", "en-gb"),
            ("fr-CA", "fr-fr"),
            ("pt-BR", "pt-br"),
            ("pt-PT", "pt"),
            ("no", "nb"),
            ("es-419", "es-419"),
            ("xx", None),
            ("chr", None),
            ("", None),
        ],
    )
    def test_tags_are_found(self, known: espeak_languages.Languages, tag: str, name: str | None) -> None:
        assert known.called(tag) == name

    @pytest.mark.parametrize(
        ("text", "name", "letter"),
        [
            ("Hello 5 µm ª ™ 🎉", "en-us", None),
            ("hello 你好", "en-us", "你"),
            ("こんにちは、ラーメン ﾃｽﾄ", "ja", None),
            ("日本", "ja", "日"),
            ("你好 OK", "cmn", None),
            ("안녕 漢", "ko", "漢"),
            ("привет, e\u0301", "ru", None),
            ("सर्वज्ञ", "hi", None),
            ("Ꭳ", "ru", "Ꭳ"),
        ],
    )
    def test_letters_without_a_sound_are_found(self, text: str, name: str, letter: str | None) -> None:
        assert espeak_languages.unreadable(text, name) == letter

    def test_english_within_chinese_is_english(self) -> None:
        pinyin = espeak_languages.PINYIN
        assert espeak_languages.parts("我的iPhone很好用", pinyin) == [
            (pinyin, "我的"),
            ("en-us", "iPhone"),
            (pinyin, "很好用"),
        ]
        assert espeak_languages.parts("AI技术 OK", pinyin) == [(pinyin, "AI技术 OK")]
        assert espeak_languages.parts("see you, 明天见。", pinyin) == [("en-us", "see you"), (pinyin, ", 明天见。")]
        assert espeak_languages.parts("see you 你好", "ru") == [("ru", "see you 你好")]

    def test_a_voice_says_which_variety(self, engine: espeak.Espeak) -> None:
        def of(language: str | None, *own: str) -> str:
            return engine._language(Segment("hello", language, 0, 1.0, {}), espeak.Preset("", 50, own))[1]

        assert of(None, "en-GB") == "en-gb"
        assert of("pt", "en-US", "pt-BR") == "pt-br"
        assert of("pt-PT", "pt-BR") == "pt"
        assert of(None, "fr-FR") == "fr-fr"
        assert of(None) == "en-us"


class TestEngine:
    @pytest.mark.parametrize("speed", [0.25, 0.5, 1.5, 2.5, 4.0])
    def test_speed_is_kept_over_its_whole_range(self, engine: espeak.Espeak, speed: float) -> None:
        text = "The harbour lights came on one by one, and the last boats turned home."
        plain, changed = spoken(engine, text), spoken(engine, text, speed=speed)
        assert len(changed) / len(plain) == pytest.approx(1 / speed, rel=0.25)

    @pytest.mark.parametrize(
        "text",
        [
            "--help",
            "-f /etc/passwd",
            "[[h@l'oU]] is no phoneme",
            "<speak>no markup</speak> here",
            "a\x00b\x1bc",
            "\ud800 alone",
            "word " * 60,
            "🎉 party 🎉",
            "%s%n $(id) `id`; rm -rf",
        ],
    )
    def test_hostile_text_is_text(self, engine: espeak.Espeak, text: str) -> None:
        pcm = spoken(engine, text)
        assert pcm.size > 5_000
        assert np.sqrt(np.mean(pcm**2)) > 1e-3

    @pytest.mark.parametrize(("language", "said"), [("en", "example dot com"), ("de", "example Punkt com")])
    def test_a_link_is_its_host(self, engine: espeak.Espeak, language: str, said: str) -> None:
        link = "https://www.example.com/" + "some/path/" * 60
        assert [piece.text for piece in engine.normalise(f"OK {link} OK", language)] == ["OK ", said, " OK"]
        assert np.array_equal(spoken(engine, f"OK {link}, OK", language), spoken(engine, f"OK {said}, OK", language))

    def test_the_same_is_the_same(self, engine: espeak.Espeak) -> None:
        assert np.array_equal(spoken(engine, "Once more."), spoken(engine, "Once more."))

    def test_slots_are_spoken_side_by_side(self, engine: espeak.Espeak) -> None:
        preset = espeak.Preset("", 50)
        texts = ["A long sentence that takes a while to be spoken to its end.", "Short."]
        for slot, text in enumerate(texts):
            engine.admit(slot, Segment(text, "en", 0, 1.0, {}), preset)
        chunks = {chunk.slot: chunk.pcm for chunk in engine.step([0, 1])}
        assert [np.array_equal(chunks[slot], spoken(engine, text, "en")) for slot, text in enumerate(texts)] == [
            True
        ] * 2

    def test_refuses_what_it_does_not_know(self, engine: espeak.Espeak) -> None:
        with pytest.raises(SegmentRefused, match="xx"):
            spoken(engine, "Hello", "xx-YY")
        with pytest.raises(InvalidSetting, match="warmth"):
            engine.admit(0, Segment("Hello", None, 0, 1.0, {"warmth": 1}), espeak.Preset("", 50))

    @pytest.mark.parametrize(
        ("body", "told", "limit_s"),
        [
            ("exit 3", "ended with 3", 60),
            ("echo nonsense", "WAV", 60),
            ("exec sleep 60", "longer than", 0.5),
            ('case "$*" in *stdin*) kill -9 $$;; esac', "ended with -9", 60),
        ],
    )
    def test_a_program_that_fails_is_a_failure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str, limit_s: float
    ) -> None:
        stand_in(tmp_path, monkeypatch, body)
        loaded = espeak.load({"limit_s": limit_s}, 1)
        with pytest.raises((RuntimeError, TimeoutError), match=told):
            spoken(loaded, "Hello.")
        loaded.close()

    def test_a_hang_ends_with_its_process(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid\nexec sleep 60")
        # Time enough for the shell to write who it is.
        loaded = espeak.load({"limit_s": 3.0}, 1)
        with pytest.raises(TimeoutError):
            spoken(loaded, "Hello.")
        loaded.close()
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)

    def test_ctrl_c_in_the_terminal_is_not_for_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tell = f"{sys.executable} -c 'import os; print(os.getpgrp())' > {tmp_path}/group"
        stand_in(tmp_path, monkeypatch, f'{tell}\nexec {shutil.which("espeak-ng")} "$@"')
        loaded = espeak.load({}, 1)
        assert spoken(loaded, "Hello.").size
        loaded.close()
        assert int((tmp_path / "group").read_text()) != os.getpgrp()

    def test_its_absence_is_told_with_the_mend(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(IshowttsError, match="apt-get install"):
            espeak.load({}, 1)
