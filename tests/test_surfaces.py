"""Every way in says the same: native, OpenAI's events, captions, the original's paths, Python, in real requests."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import wave
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import numpy as np
import openai
import pytest
from harness import Reply, Server, wav_samples

TEXT = "  One is the first sentence of all. Two costs $100 at 9:30PM, they say.  Three is the last sentence."


def post(server: Server, path: str, **fields: Any) -> Reply:
    return server.request("POST", path, json.dumps(fields).encode())


def events(reply: Reply) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Name and data of each server-sent event."""
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"].startswith("text/event-stream")
    for block in reply.body.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        yield fields.get("event"), json.loads(fields["data"])


class TestNative:
    def test_a_post_a_get_and_openais_path_are_the_same_samples(self, tone: Server) -> None:
        expected = tone.speak(TEXT).body
        assert post(tone, "/v1/tts", text=TEXT, format="pcm", cache=False).body == expected
        query = urlencode({"text": TEXT, "format": "pcm", "cache": "false"}, quote_via=quote)
        assert tone.get(f"/v1/tts?{query}").body == expected

    def test_curl_needs_one_line(self, tone: Server) -> None:
        spoken = subprocess.run(
            ["curl", "-sf", f"{tone.url}/v1/tts", "--json", json.dumps({"text": TEXT})], capture_output=True, check=True
        ).stdout
        got = subprocess.run(
            ["curl", "-sfG", f"{tone.url}/v1/tts", "--data-urlencode", f"text={TEXT}"], capture_output=True, check=True
        ).stdout
        assert wav_samples(spoken).tobytes() == wav_samples(got).tobytes() == tone.speak(TEXT).body

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    def test_other_pages_may_not_make_it_speak(self, tone: Server, site: str) -> None:
        refused = tone.get("/v1/tts?text=Hello", {"Sec-Fetch-Site": site})
        assert refused.status == 403
        assert refused.error["code"] == "origin_not_allowed"
        assert tone.get("/v1/tts?text=Hello", {"Sec-Fetch-Site": "same-origin"}).status == 200
        assert tone.get("/v1/tts?text=Hello", {"Sec-Fetch-Site": "none"}).status == 200

    @pytest.mark.parametrize(
        ("query", "param"),
        [("", "text"), ("text=", "text"), ("text=a&text=b", "text"), ("text=a&speed=x", "speed"), ("text=%ff", "text")],
    )
    def test_a_wrong_query_is_named(self, tone: Server, query: str, param: str) -> None:
        refused = tone.get(f"/v1/tts?{query}")
        assert refused.status == 400
        assert refused.error["param"] == param

    def test_what_cannot_be_said_is_told_in_its_own_names(self, tone: Server) -> None:
        assert post(tone, "/v1/tts", text="[refuse]").error["param"] == "text"
        assert post(tone, "/v1/tts", text="...").error["param"] == "text"
        assert post(tone, "/v1/tts", text="a", engine="none").error["code"] == "model_not_found"
        assert post(tone, "/v1/tts", text="a", params={"warmth": 1}).error["message"].count("warmth") == 1


class TestEvents:
    def test_sound_and_captions_come_in_order_and_end_with_done(self, tone: Server) -> None:
        told = list(events(post(tone, "/v1/tts", text=TEXT, format="pcm", stream_format="sse", cache=False)))
        assert all(name == data["type"] for name, data in told)
        kinds = [data["type"] for _, data in told]
        assert (kinds[0], kinds[-1], kinds.count("caption")) == ("start", "done", 3)
        start, done = told[0][1], told[-1][1]
        assert (start["sample_rate_hz"], start["segments"], start["format"]) == (24_000, 3, "pcm")
        sound = b"".join(base64.b64decode(data["audio"]) for _, data in told if data["type"] == "audio")
        assert sound == tone.speak(TEXT).body
        assert done["audio_ms"] == pytest.approx(len(sound) / 48)
        read_ms, end_ms = 0.0, 0.0
        for _, data in told:
            if data["type"] == "audio":
                read_ms += len(base64.b64decode(data["audio"])) / 48
            if data["type"] == "caption":
                pause_ms = 120 if end_ms else 0
                assert data["start_ms"] == pytest.approx(end_ms + pause_ms, abs=0.1)
                end_ms = data["end_ms"]
                assert read_ms < end_ms, "a caption comes before its last sound"
                assert TEXT[data["start_char"] : data["end_char"]] == data["text"]
                assert [TEXT[word["start_char"] : word["end_char"]] for word in data["words"]] == data["text"].split()

    def test_lines_are_the_same_events(self, tone: Server) -> None:
        reply = post(tone, "/v1/tts", text=TEXT, stream_format="jsonl")
        assert reply.headers["content-type"] == "application/jsonl"
        lines = [json.loads(line) for line in reply.body.decode().splitlines()]
        sse = [data for _, data in events(post(tone, "/v1/tts", text=TEXT, stream_format="sse"))]
        same = [{key: value for key, value in event.items() if key != "cached"} for event in (*lines, *sse)]
        assert same[: len(lines)] == same[len(lines) :]

    def test_openais_events_as_openai_has_them(self, tone: Server) -> None:
        client = openai.OpenAI(base_url=f"{tone.url}/v1", api_key="none", max_retries=0)
        with client.audio.speech.with_streaming_response.create(
            input=TEXT, model="tts-1", voice="alloy", response_format="pcm", stream_format="sse"
        ) as response:
            told = [json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line]
        assert [event["type"] for event in told] == ["speech.audio.delta"] * 3 + ["speech.audio.done"]
        sound = b"".join(base64.b64decode(event["audio"]) for event in told[:-1])
        assert sound == tone.speak(TEXT, voice="alloy").body
        usage = told[-1]["usage"]
        assert usage["input_tokens"] == len(TEXT)
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]

    @pytest.mark.parametrize("path", ["/v1/tts", "/v1/audio/speech"])
    def test_a_failure_is_an_event_and_no_done(self, tone: Server, path: str) -> None:
        text = "One is the first sentence of all. The second one of them holds a [raise] in it."
        reply = post(tone, path, stream_format="sse", **{"text" if path == "/v1/tts" else "input": text})
        told = list(events(reply))
        name, data = told[-1]
        assert (name, data["type"], data["error"]["code"]) == ("error", "error", "engine_failed")
        assert not any("done" in data["type"] for _, data in told)

    def test_a_failure_before_the_first_sound_has_its_status(self, tone: Server) -> None:
        assert post(tone, "/v1/tts", text="[raise]", stream_format="sse").status == 500


class TestCaptions:
    def test_as_json_srt_and_vtt(self, tone: Server) -> None:
        spoken = post(tone, "/v1/captions", text=TEXT)
        captions = json.loads(spoken.body)["captions"]
        assert [caption["text"] for caption in captions] == [
            TEXT[caption["start_char"] : caption["end_char"]] for caption in captions
        ]
        srt = post(tone, "/v1/captions", text=TEXT, format="srt")
        assert srt.headers["content-type"] == "application/x-subrip"
        cues = re.findall(r"(\d+)\n(\S+) --> (\S+)\n((?:.+\n)+)\n", srt.body.decode())
        assert [int(number) for number, *_ in cues] == list(range(1, len(cues) + 1))
        assert " ".join(cue[3] for cue in cues).split() == TEXT.split()
        vtt = post(tone, "/v1/captions", text=TEXT, format="vtt").body.decode()
        assert vtt.startswith("WEBVTT\n\n")
        assert vtt.count("-->") == len(cues)

    def test_they_are_of_the_speech_that_was_cached(self, tone: Server) -> None:
        text = "Captions of what was spoken already."
        assert post(tone, "/v1/tts", text=text).headers["x-ishowtts-cache"] == "miss"
        assert post(tone, "/v1/captions", text=text).headers["x-ishowtts-cache"] == "hit"

    def test_real_speech_has_words(self, hibari: Server) -> None:
        captions = json.loads(post(hibari, "/v1/captions", text="It is $100 at 9:30PM.").body)["captions"]
        (caption,) = captions
        assert [word["text"] for word in caption["words"]] == ["It", "is", "$100", "at", "nine thirty P.M."]
        assert caption["spoken"] == "It is $100 at nine thirty P.M."


class TestOriginal:
    def test_health_and_voices(self, tone: Server) -> None:
        health = json.loads(tone.get("/api/health").body)
        assert health == {"status": "ok", "voices": 8, "default_voice": "heart"}
        voices = json.loads(tone.get("/api/voices").body)
        shipped = ["alder", "finch", "hazel", "heart", "oak", "rowan", "willow", "wren"]
        assert [voice["id"] for voice in voices] == shipped
        assert all(set(voice) == {"id", "engine", "engine_label", "language", "reference_text"} for voice in voices)

    def test_it_speaks_with_all_the_fields_of_its_front_end(self, tone: Server) -> None:
        fields = {
            "text": TEXT,
            "voice_id": "wren",
            "engine": None,
            "speed": 1.0,
            "target_rms": 0.1,
            "cross_fade_duration": 0.15,
            "sway_sampling_coef": -1.0,
            "cfg_strength": 2.0,
            "nfe_step": 16,
            "fix_duration": None,
            "remove_silence": False,
            "seed": 7,
        }
        answer = httpx.post(f"{tone.url}/api/tts", json=fields).json()
        assert set(answer) == {
            "request_id",
            "voice_id",
            "engine",
            "engine_label",
            "sample_rate",
            "audio_base64",
            "waveform_len",
            "format",
        }
        assert (answer["voice_id"], answer["engine"], answer["format"]) == ("wren", "fake", "audio/wav")
        with wave.open(io.BytesIO(base64.b64decode(answer["audio_base64"]))) as file:
            assert (file.getframerate(), file.getnframes()) == (answer["sample_rate"], answer["waveform_len"])
            samples = file.readframes(file.getnframes())
        assert samples == tone.speak(TEXT, voice="wren", seed=7).body

    def test_its_errors_have_the_one_shape(self, tone: Server) -> None:
        assert post(tone, "/api/tts", text="").error["param"] == "text"
        assert post(tone, "/api/tts", text="a", voice_id="nobody").status == 404


def test_fifty_requests_are_the_same_samples_on_every_way(tone: Server) -> None:
    for number in range(50):
        text = f"Request number {number} says that every way leads to the same samples. It has a second sentence."
        seed = number * 7
        expected = tone.speak(text, seed=seed).body
        ways = [
            post(tone, "/v1/tts", text=text, seed=seed, format="pcm", cache=False).body,
            b"".join(
                base64.b64decode(data["audio"])
                for _, data in events(
                    post(tone, "/v1/tts", text=text, seed=seed, format="pcm", stream_format="sse", cache=False)
                )
                if data["type"] == "audio"
            ),
            b"".join(
                base64.b64decode(data["audio"])
                for _, data in events(
                    post(
                        tone,
                        "/v1/audio/speech",
                        input=text,
                        seed=seed,
                        response_format="pcm",
                        stream_format="sse",
                        cache=False,
                    )
                )
                if "audio" in data
            ),
            base64.b64decode(json.loads(post(tone, "/api/tts", text=text, seed=seed).body)["audio_base64"])[44:],
        ]
        assert all(np.array_equal(np.frombuffer(way, "<i2"), np.frombuffer(expected, "<i2")) for way in ways), number
