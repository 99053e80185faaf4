"""ElevenLabs' `stream-input` with their own package, and its messages one by one."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from harness import Pcm, Server, loudness_db
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

TEXT = "The old lighthouse stood alone on the rock. Nobody had climbed its stairs for years, as far as anyone knew."
ANSWER_S = 60


def client_of(server: Server) -> ElevenLabs:
    client = ElevenLabs(base_url=server.url, api_key="unused")
    # Whatever its base_url says, the package asks for wss: TLS is for a proxy before this server.
    client.text_to_speech._ws_base_url = server.url.replace("http", "ws")
    return client


def words(text: str) -> Iterator[str]:
    for word in text.split():
        yield word + " "


@contextlib.contextmanager
def opened(server: Server, voice: str = "heart", query: str = "") -> Iterator[ClientConnection]:
    url = f"ws://127.0.0.1:{server.port}/v1/text-to-speech/{voice}/stream-input{query}"
    with connect(url, max_size=None, open_timeout=ANSWER_S) as connection:
        yield connection


def said(connection: ClientConnection, *messages: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Everything that is answered, and the code of the close."""
    answers = []
    with contextlib.suppress(ConnectionClosed):
        for message in messages:
            connection.send(json.dumps(message))
    try:
        while True:
            answers.append(json.loads(connection.recv(ANSWER_S)))
    except ConnectionClosed as closed:
        if closed.rcvd is None:
            raise
        return answers, closed.rcvd.code


def pcm_of(answers: list[dict[str, Any]]) -> Pcm:
    return np.frombuffer(b"".join(base64.b64decode(answer["audio"]) for answer in answers if answer["audio"]), "<i2")


class TestPackage:
    def test_it_speaks(self, hibari: Server) -> None:
        settings = VoiceSettings(stability=0.5, similarity_boost=0.75, speed=1.0)
        stream = client_of(hibari).text_to_speech.convert_realtime(
            voice_id="heart",
            text=words(TEXT),
            model_id="eleven_flash_v2_5",
            output_format="pcm_24000",
            voice_settings=settings,
        )
        pcm = np.frombuffer(b"".join(stream), "<i2")
        whole = hibari.speak(TEXT).pcm
        assert abs(len(pcm) - len(whole)) < 0.1 * len(whole)
        assert abs(loudness_db(pcm) - loudness_db(whole)) < 3

    def test_a_fault_is_an_error_of_theirs(self, tone: Server) -> None:
        text = words("One is the first sentence of all. Two is to [raise] an error. Three is not said. Nor is four.")
        stream = client_of(tone).text_to_speech.convert_realtime(voice_id="heart", text=text, output_format="pcm_24000")
        with pytest.raises(ApiError) as raised:
            list(stream)
        assert raised.value.status_code == 1011

    def test_what_is_not_there_is_refused_before(self, tone: Server) -> None:
        speech = client_of(tone).text_to_speech
        with pytest.raises(InvalidStatus) as refused:
            list(speech.convert_realtime(voice_id="nobody", text=words(TEXT), output_format="pcm_24000"))
        assert refused.value.response.status_code == 404
        with pytest.raises(InvalidStatus) as refused:
            list(speech.convert_realtime(voice_id="heart", text=words(TEXT), output_format="mp3_44100_128"))
        assert refused.value.response.status_code == 400
        assert b"pcm_24000" in refused.value.response.body


class TestMessages:
    def test_every_character_has_its_time(self, hibari: Server) -> None:
        with opened(hibari, query="?output_format=pcm_24000&sync_alignment=true") as connection:
            pieces = [{"text": word} for word in words(TEXT)]
            answers, code = said(connection, {"text": " ", "xi_api_key": "unused"}, *pieces, {"text": ""})
        assert code == 1000
        assert answers[-1] == {"audio": None, "isFinal": True, "alignment": None, "normalizedAlignment": None}
        told = ""
        for answer in answers[:-1]:
            audio_ms = len(base64.b64decode(answer["audio"])) / 48
            for name in ("alignment", "normalizedAlignment"):
                alignment = answer[name]
                starts, durations = alignment["charStartTimesMs"], alignment["charDurationsMs"]
                assert len(alignment["chars"]) == len(starts) == len(durations)
                assert starts == sorted(starts)
                # The limiter holds 3.3 ms back: the last of a segment comes with the next one.
                assert starts[-1] + durations[-1] == pytest.approx(audio_ms, abs=4.5)
            told += "".join(answer["alignment"]["chars"]) + " "
        assert told.strip() == TEXT

    def test_a_flush_is_answered_before_the_end(self, hibari: Server) -> None:
        with opened(hibari) as connection:
            connection.send(json.dumps({"text": " "}))
            connection.send(json.dumps({"text": "Hello there", "flush": True}))
            answer = json.loads(connection.recv(ANSWER_S))
            assert "".join(answer["alignment"]["chars"]) == "Hello there"
            answers, code = said(connection, {"text": ""})
        assert code == 1000
        # What the limiter held back, 3.3 ms, and the end.
        assert len(pcm_of(answers)) < 0.004 * 24_000
        assert answers[-1]["isFinal"]

    @pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
    def test_rates(self, tone: Server, rate_hz: int) -> None:
        with opened(tone, query=f"?output_format=pcm_{rate_hz}&model_id=tts-1") as connection:
            answers, code = said(connection, {"text": " "}, {"text": TEXT}, {"text": ""})
        assert code == 1000
        assert len(pcm_of(answers)) == pytest.approx(len(tone.speak(TEXT).pcm) * rate_hz / 24000, rel=0.02)

    def test_speed_and_seed(self, hibari: Server) -> None:
        with opened(hibari, query="?seed=5") as connection:
            first = {"text": " ", "voice_settings": {"speed": 1.2, "stability": 0.3}}
            sentence = "No comma stands in this sentence."
            answers, _ = said(connection, first, {"text": sentence}, {"text": ""})
        assert np.array_equal(pcm_of(answers), hibari.speak(sentence, speed=1.2, seed=5).pcm)

    def test_silence_is_a_timeout(self, tone: Server) -> None:
        with opened(tone, query="?inactivity_timeout=0.2") as connection:
            answers, code = said(connection, {"text": " "})
        assert (answers, code) == ([], 1008)

    @pytest.mark.parametrize(
        ("messages", "error"),
        [
            ([{"flush": True}], "invalid_message"),
            ([{"text": 7}], "invalid_message"),
            ([{"text": " ", "voice_settings": {"speed": 9}}], "invalid_speed"),
            ([{"text": " "}, {"text": "Please [refuse] this now, will you. Or will you not?"}], "text_refused"),
        ],
    )
    def test_errors(self, tone: Server, messages: list[dict[str, Any]], error: str) -> None:
        with opened(tone) as connection:
            answers, code = said(connection, *messages)
        assert code == 1008
        assert (answers[-1]["error"], answers[-1]["code"]) == (error, 1008)
        assert answers[-1]["message"]

    def test_nothing_to_say_is_no_error(self, tone: Server) -> None:
        for messages in ([{"text": ""}], [{"text": " "}, {"text": ""}, {"text": "late"}]):
            with opened(tone) as connection:
                answers, code = said(connection, *messages)
            assert (len(answers), code) == (1, 1000)
            assert answers[0]["isFinal"]
