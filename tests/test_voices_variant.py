"""Voices that are described where they are named, through the real server and its default engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

import numpy as np
import pytest
from harness import Pcm, Server
from overlay import post
from shipped_voices import make_voices

TEXT = "The harbour lights came on one by one, and the last boats turned home."
CHAT = """
[chat.twitch]
irc_url = "ws://127.0.0.1:9"
[chat.rules]
user_max_per_minute = 0
[chat.rules.voices]
en = "Onyx(2.000000000000)+Wren(2.000000000000)+pitch=2.50+formant=-1.0"
"""


def pitch_hz(pcm: Pcm) -> float:
    return float(make_voices.pitch_hz(pcm / 32768.0))


def say(server: Server, voice: str) -> Pcm:
    reply = server.speak(TEXT, voice=voice)
    assert reply.status == 200, reply.body
    return reply.pcm


class TestVariants:
    def test_pitch_and_speed_are_heard(self, hibari: Server) -> None:
        plain, high = say(hibari, "heart"), say(hibari, "heart+pitch=5")
        assert pitch_hz(high) / pitch_hz(plain) == pytest.approx(2 ** (5 / 12), rel=0.06)
        faster = hibari.speak(TEXT, voice="heart+speed=1.25", seed=1).pcm
        asked_for = hibari.speak(TEXT, voice="heart", speed=1.25, seed=1).pcm
        # But for the loudness, which is measured for each version of a voice.
        assert len(faster) == len(asked_for) < 0.95 * len(plain)
        assert np.corrcoef(faster, asked_for)[0, 1] > 0.999

    def test_a_mixture_lies_between(self, hibari: Server) -> None:
        low, mixed, high = (pitch_hz(say(hibari, voice)) for voice in ("rowan", "rowan+wren", "wren"))
        assert low * 1.15 < mixed < high / 1.15

    def test_every_surface_takes_it(self, hibari: Server) -> None:
        expected = say(hibari, "alloy+pitch=-3").tobytes()
        native = json.dumps({"text": TEXT, "voice": "heart+pitch=-3", "format": "pcm", "cache": False}).encode()
        reply = hibari.request("POST", "/v1/tts", native)
        assert reply.headers["x-ishowtts-voice"] == "heart+pitch=-3"
        assert reply.pcm.tobytes() == expected
        query = f"/v1/tts?text={quote(TEXT)}&voice={quote('heart+pitch=-3')}&format=pcm"
        assert hibari.get(query).pcm.tobytes() == expected
        original = hibari.request("POST", "/api/tts", json.dumps({"text": TEXT, "voice_id": "heart+pitch=-3"}).encode())
        assert json.loads(original.body)["voice_id"] == "heart+pitch=-3"

    def test_the_same_sound_is_cached_once(self, hibari: Server) -> None:
        for voice, state in [("heart+pitch=2+speed=1.1", "miss"), ("Alloy+speed=1.10+pitch=2", "hit")]:
            reply = hibari.speak("A sentence for the cache alone.", voice=voice, cache=True)
            assert (reply.status, reply.headers["x-ishowtts-cache"]) == (200, state)

    @pytest.mark.parametrize(
        ("voice", "words"),
        [
            ("heart+pitch=40", "from -12 to 12 semitones"),
            ("heart+pich=1", "pitch, formant and speed"),
            ("heart+", "nothing"),
            ("pitch=1", "names no voice"),
            ("heart(9e9)+wren", "0.01 to 100"),
        ],
    )
    def test_what_cannot_be_understood_is_said(self, hibari: Server, voice: str, words: str) -> None:
        reply = hibari.speak(TEXT, voice=voice)
        assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "invalid_voice", "voice")
        assert words in reply.error["message"]

    def test_more_than_the_engine_can_is_told(self, hibari: Server) -> None:
        reply = hibari.speak(TEXT, voice="rowan+pitch=-12")
        assert reply.status == 400
        assert "-19" in reply.error["message"]

    def test_an_unknown_voice_is_named(self, hibari: Server) -> None:
        reply = hibari.speak(TEXT, voice="hart+pitch=1")
        assert (reply.status, reply.error["code"]) == (404, "voice_not_found")
        assert "did you mean" in reply.error["message"]


class TestChat:
    """Where nobody waits for an answer, a voice that is described is none that is dropped."""

    def test_a_chat_a_viewer_and_a_language_have_it(self, start: Callable[..., Server]) -> None:
        server = start(engine="fake", config=CHAT)

        def spoken_with(user: str, text: str) -> tuple[str, str]:
            message = {"platform": "twitch", "user": user, "text": text}
            status, item = post(server.port, "/v1/chat/enqueue", message)
            assert (status, item["accepted"]) == (202, True), item
            sound = server.get(f"/v1/chat/items/{item['id']}/audio")
            assert sound.status == 200, sound.body
            return item["voice"], sound.headers["x-ishowtts-voice"]

        told = {"platform": "twitch", "user": "Bo", "voice": "Nova+pitch=-1"}
        status, answer = post(server.port, "/v1/chat/user-voice", told)
        assert (status, answer["voice"].endswith("+pitch=-1")) == (200, True), answer
        assert spoken_with("Bo", "Hm.") == (answer["voice"], answer["voice"])
        told = {"platform": "twitch", "user": "Cy", "voice": "hart+pitch=-1"}
        assert post(server.port, "/v1/chat/user-voice", told)[0] == 404

        told = {"platform": "twitch", "channel": "ann", "voice_id": "Alloy+pitch=3"}
        assert post(server.port, "/api/danmaku/start", told)[0] == 202
        (connection,) = json.loads(server.get("/v1/chat/state").body)["connections"]
        assert connection["voice"] == "heart+pitch=3"
        told = {"platform": "twitch", "channel": "ann", "voice": "wren+pitch=99"}
        status, refused = post(server.port, "/v1/chat/start", told)
        assert (status, refused["error"]["code"]) == (400, "invalid_voice")

        mixed = "rowan(0.5)+wren(0.5)+pitch=2.5+formant=-1"
        assert spoken_with("Ed", TEXT) == (mixed, mixed)
