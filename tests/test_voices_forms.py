"""What a form, a preview and JSON say alike, and what a clip's text and language are taken to be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clips
import fake_whisper
import pytest
from harness import Server
from voices_client import CONFIG, SAID, TEXT, Api, refused

SHAPED: list[dict[str, Any]] = [
    {"format": "pcm", "sample_rate": 16_000},
    {"response_format": "mp3", "bitrate": 64_000},
    {"format": "pcm", "volume": 0.25},
    {"format": "pcm", "loudness": "off"},
    {"format": "wav", "loudness": "file"},
    {"format": "wav", "stream": False},
    {"format": "pcm", "stream_format": "jsonl"},
]
"""Each asks for another sound, or another way to send it, than a request without it."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Path]]:
    home = tmp_path_factory.mktemp("forms")
    env = fake_whisper.put_into(home / "whisper")
    with Server(home, engine="fake", config=CONFIG, env=env) as server:
        yield Api(server), home / "whisper"


@pytest.fixture
def api(shared: tuple[Api, Path]) -> Iterator[Api]:
    yield shared[0]
    for voice in shared[0].http.get("/v1/voices").json()["voices"]:
        if voice["origin"] == "user" or voice["overridden"]:
            assert shared[0].http.delete(f"/v1/voices/{voice['id']}").status_code == 204


@pytest.fixture
def asked(shared: tuple[Api, Path]) -> Path:
    (shared[1] / "asked.txt").write_text("")
    return shared[1]


class TestFields:
    @pytest.mark.parametrize("fields", SHAPED, ids=json.dumps)
    def test_a_form_has_all_fields_that_json_has(self, api: Api, fields: dict[str, Any]) -> None:
        told = {"text": SAID, "seed": 7, "cache": False}
        as_json = api.http.post("/v1/tts", json=told | fields)
        assert as_json.status_code == 200, as_json.text
        form = {name: (None, value if isinstance(value, str) else json.dumps(value))
                for name, value in (told | fields).items()}  # fmt: skip
        as_form = api.http.post("/v1/tts", files=form)
        assert "x-ishowtts-ignored" not in as_form.headers
        assert (as_form.status_code, as_form.headers["content-type"]) == (200, as_json.headers["content-type"])
        assert as_form.content == as_json.content
        plain = api.http.post("/v1/tts", json=told | {"format": fields.get("format", "wav")})
        assert (as_json.content, as_json.headers) != (plain.content, plain.headers)

    def test_a_clip_of_the_callers_own_is_sent_as_it_was_asked_for(self, api: Api) -> None:
        form = {"text": (None, SAID), "seed": (None, "7"), "format": (None, "pcm"), "reference_text": (None, TEXT)}
        clip = {"reference_audio": ("a.wav", clips.wav())}
        plain = api.http.post("/v1/tts", files=form | clip)
        lower = api.http.post("/v1/tts", files=form | clip | {"sample_rate": (None, "12000")})
        assert lower.headers["x-ishowtts-sample-rate-hz"] == "12000"
        assert len(lower.content) == pytest.approx(len(plain.content) / 2, rel=0.01)
        error = refused(api.http.post("/v1/tts", files=form | clip | {"volume": (None, "99")}), 400, "invalid_value")
        assert error["param"] == "volume"

    @pytest.mark.parametrize("fields", SHAPED, ids=json.dumps)
    def test_a_preview_has_them_too(self, api: Api, fields: dict[str, Any]) -> None:
        told = {"text": SAID, "seed": 7, "cache": False} | fields
        preview = api.http.post("/v1/voices/wren/preview", json=told)
        assert "x-ishowtts-ignored" not in preview.headers
        spoken = api.http.post("/v1/tts", json=told | {"voice": "wren"})
        assert (preview.status_code, preview.headers["content-type"]) == (200, spoken.headers["content-type"])
        assert preview.content == spoken.content

    def test_the_voice_of_a_preview_is_that_of_its_path(self, api: Api) -> None:
        preview = api.http.post("/v1/voices/wren/preview", json={"voice": "rowan"})
        assert (preview.headers["x-ishowtts-voice"], preview.headers["x-ishowtts-ignored"]) == ("wren", "voice")

    def test_what_nobody_filled_in_is_absent(self, api: Api) -> None:
        schemas = api.http.get("/openapi.json").json()["components"]["schemas"]
        names = set(schemas["SpeechForm"]["properties"]) - {"text", "reference_audio"}
        empty: dict[str, Any] = dict.fromkeys(sorted(names), (None, ""))
        spoken = api.http.post("/v1/tts", files=empty | {"text": (None, SAID)})
        assert spoken.status_code == 200, spoken.text
        assert spoken.content == api.http.post("/v1/tts", json={"text": SAID}).content
        # As a browser sends a file that was not chosen.
        body = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{value}\r\n'
            for name, file, value in [("text", "", SAID), ("speed", "", ""), ("reference_audio", '; filename=""', "")]
        )
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert api.http.post("/v1/tts", content=f"{body}--x--\r\n", headers=kind).content == spoken.content
        refused(api.http.post("/v1/tts", files={"text": (None, "")}), 400, "input_missing")
        added = api.add("mine", name="", description="", language="", licence="", speed="", engine="")
        assert added.status_code == 201, added.text
        assert (added.json()["voice"]["name"], added.json()["voice"]["speed"]) == ("mine", 1)
        named = api.add("", name="Other")
        assert named.json()["voice"]["id"] == "other"

    @pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/captions", "/api/tts", "/v1/voices/heart/preview"])
    def test_where_a_form_is_none_that_is_told(self, api: Api, path: str) -> None:
        form = {"text": (None, SAID), "audio": ("a.wav", clips.wav())}
        error = refused(api.http.post(path, files=form), 400, "invalid_json")
        assert all(words in error["message"] for words in ("multipart/form-data", "application/json", "/v1/tts"))

    def test_the_document_has_them(self, api: Api) -> None:
        schemas = api.http.get("/openapi.json").json()["components"]["schemas"]
        speech = set(schemas["SpeechRequest"]["properties"])
        of_a_clip = {"reference_audio", "reference_text", "reference_language"}
        assert set(schemas["SpeechForm"]["properties"]) == speech | of_a_clip
        assert set(schemas["PreviewRequest"]["properties"]) == speech - {"voice"}


class TestLanguage:
    def test_a_clip_is_heard_in_the_language_of_its_voice(self, api: Api, asked: Path) -> None:
        added = api.post("/v1/voices", clips.wav(), id="mine", language="vi-VN")
        assert added.json()["voice"]["reference_text"] == "Heard as vi."
        assert added.json()["voice"]["languages"] == ["vi-VN"]
        found = api.post("/v1/voices", clips.wav(), id="other")
        assert found.json()["voice"]["languages"] == ["de"], "as it was heard"
        hints = '{"hibari": {"pitch_semitones": -5}}'
        api.post("/v1/voices", id="low", engine=hints, language="vi")
        api.post("/v1/voices", id="unknown", engine=hints)
        for id, languages in [("low", ["vi"]), ("unknown", ["de"])]:
            assert api.post(f"/v1/voices/{id}", clips.wav()).json()["voice"]["languages"] == languages
        assert fake_whisper.asked(asked) == ["vi", "None", "vi", "None"]

    def test_a_text_of_nothing_is_none(self, api: Api, asked: Path) -> None:
        added = api.post("/v1/voices", clips.wav(), id="mine", text=" \n")
        assert added.status_code == 201, added.text
        assert added.json()["voice"]["reference_text"] == "Heard as None."
        other = api.post("/v1/voices/mine", clips.wav(220), text="")
        assert [warning["code"] for warning in other.json()["warnings"] if warning["code"] == "text_kept"]
        assert other.json()["voice"]["reference_text"] == "Heard as None."
        assert fake_whisper.asked(asked) == ["None"], "as for one that is not given"
        refused(api.post("/v1/voices/mine", text=" "), 400, "invalid_voice")

    def test_an_override_is_heard_in_the_language_of_its_voice(self, api: Api, asked: Path) -> None:
        api.post("/v1/voices", id="low", engine='{"hibari": {"pitch_semitones": -5}}', language="vi")
        told = api.post("/api/voices/low/reference", clips.wav()).json()
        assert told["active_reference_text"] == "Heard as vi."
        assert fake_whisper.asked(asked) == ["vi"]

    def test_a_clip_of_a_request_is_heard_in_its_language(self, api: Api, asked: Path) -> None:
        form = {"text": (None, SAID), "reference_audio": ("a.wav", clips.wav())}
        for more in [{}, {"language": "en-GB"}, {"reference_language": "vi"},
                     {"language": "en", "reference_language": "vi"}]:  # fmt: skip
            fields = {name: (None, value) for name, value in more.items()}
            assert api.http.post("/v1/tts", files=form | fields).status_code == 200
        assert fake_whisper.asked(asked) == ["None", "en", "vi", "vi"]
        wrong = form | {"reference_language": (None, "not a tag")}
        assert refused(api.http.post("/v1/tts", files=wrong), 400, "invalid_value")["param"] == "reference_language"
        alone = {"text": (None, SAID), "reference_language": (None, "vi")}
        refused(api.http.post("/v1/tts", files=alone), 400, "invalid_reference")

    def test_nothing_is_heard_for_a_voice_that_cannot_be(self, api: Api, asked: Path) -> None:
        refused(api.post("/v1/voices/No%20id", clips.wav()), 400, "invalid_id")
        assert fake_whisper.asked(asked) == []


class TestChanging:
    SPANISH = "Gracias por llamar, su pedido salió ayer de nuestro taller y debería llegar el jueves por la tarde."

    def test_a_language_that_was_told_stays(self, api: Api) -> None:
        guessed = api.post("/v1/voices", clips.wav(), id="guessed", text=self.SPANISH)
        assert guessed.json()["voice"]["languages"] == ["es"]
        assert api.add("english").json()["voice"]["languages"] == ["en"]
        api.add("mine", language="en-GB, vi")
        changed = api.post("/v1/voices/mine", clips.wav(220), text=self.SPANISH)
        assert changed.json()["voice"]["languages"] == ["en-GB", "vi"]
        # Of this one nothing was known.
        assert api.add("unknown", text="Ah.").json()["voice"]["languages"] == ["und"]
        assert api.post("/v1/voices/unknown", text=self.SPANISH).json()["voice"]["languages"] == ["es"]

    def test_words_are_one_line_of_what_can_be_said(self, api: Api) -> None:
        added = api.add("mine", text="One.\r\nTwo.\tThree.\n")
        assert added.json()["voice"]["reference_text"] == "One. Two. Three."
        for field in ("text", "description"):
            assert refused(api.post("/v1/voices/mine", **{field: "a\0b"}), 400, "invalid_value")["param"] == field
        assert refused(api.post("/v1/voices/mine", licence="CC0\n1.0"), 400, "invalid_value")["param"] == "licence"
        assert refused(api.post("/api/voices/mine/reference", text="a\0b"), 400, "invalid_value")["param"] == "text"
        form = {"text": (None, SAID), "reference_text": (None, "a\0b"), "reference_audio": ("a.wav", clips.wav())}
        assert refused(api.http.post("/v1/tts", files=form), 400, "invalid_value")["param"] == "reference_text"
        assert api.http.get("/v1/voices/mine").json()["reference_text"] == "One. Two. Three."

    def test_a_text_that_stays_with_another_clip_is_warned_of(self, api: Api) -> None:
        def warned(**fields: Any) -> list[str]:
            answer = api.post("/v1/voices/mine", **fields).json()
            return [warning["message"] for warning in answer["warnings"] if warning["code"] == "text_kept"]

        assert warned(audio=clips.wav(), text=TEXT) == []
        (message,) = warned(audio=clips.wav(220))
        assert TEXT in message
        assert api.http.get("/v1/voices/mine").json()["reference_text"] == TEXT
        assert warned(audio=clips.wav(200), text="Other words.") == []
        assert warned(text="Others again.") == []
        assert warned(audio=clips.wav(200)) == [], "it is the clip that is there"
        assert warned(name="Mine") == []

    def test_a_voice_that_nothing_here_speaks_with_is_warned_of(self, api: Api, hibari: Server) -> None:
        def codes(asked: Api, **fields: Any) -> list[str]:
            answer = asked.post("/v1/voices", id="mine", **fields)
            assert answer.status_code == 201, answer.text
            return [warning["code"] for warning in answer.json()["warnings"]]

        assert "not_cloned_here" not in codes(api, audio=clips.wav(), text=TEXT)
        plain = Api(hibari)
        try:
            assert "not_cloned_here" in codes(plain, audio=clips.wav(), text=TEXT)
            refused(plain.http.post("/v1/voices/mine/preview"), 400, "voice_not_cloned")
            plain.http.delete("/v1/voices/mine")
            hints = '{"hibari": {"pitch_semitones": -5}}'
            assert "not_cloned_here" not in codes(plain, audio=clips.wav(), text=TEXT, engine=hints)
        finally:
            plain.http.delete("/v1/voices/mine")


class TestIds:
    @pytest.mark.parametrize(
        ("name", "id"),
        [("Ánh Đào", "anh-dao"), ("Nu\u031b\u0303 3", "nu-3"), ("Jörg Weiß", "jorg-weiss"), ("Søren Åse", "soren-ase"),
         ("小美", "xiao-mei"), ("Анна", "anna"), ("My Own Voice!", "my-own-voice")],
    )  # fmt: skip
    def test_a_name_in_any_script_makes_one(self, api: Api, name: str, id: str) -> None:
        added = api.post("/v1/voices", clips.wav(), name=name, text=TEXT)
        assert added.status_code == 201, added.text
        assert (added.json()["voice"]["id"], added.json()["voice"]["name"]) == (id, name)

    def test_a_name_of_no_letters_is_not_enough(self, api: Api) -> None:
        error = refused(api.post("/v1/voices", clips.wav(), name="!?…", text=TEXT), 400, "id_missing")
        assert error["param"] == "id"
