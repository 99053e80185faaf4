"""Our own `/v1/tts` and `/v1/captions` in use: real speech, clients that leave, stall or are browsers."""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ishowtts
import numpy as np
import pytest
from harness import Pcm, Reply, Server, run, wait_until, wav_samples

TEXT = "The tide came in. It costs $100 at 9:30PM, they said. Nobody laughed."
SENTENCES = [f"This is sentence number {number} of a text that takes a while." for number in range(40)]
LONG = " ".join(SENTENCES)


def ask(server: Server, path: str = "/v1/tts", **fields: Any) -> Reply:
    return server.request("POST", path, json.dumps({"cache": False, **fields}).encode())


def parse(line: str) -> dict[str, Any]:
    event = json.loads(line)
    assert isinstance(event, dict)
    return event


def events(reply: Reply) -> list[dict[str, Any]]:
    """Every event of an answer, framed as its type says."""
    assert reply.status == 200, reply.body[:500]
    if reply.headers["content-type"] == "application/jsonl":
        return [parse(line) for line in reply.body.decode().splitlines()]
    assert reply.headers["content-type"] == "text/event-stream"
    frames = reply.body.decode().removesuffix("\n\n").split("\n\n")
    return [parse(frame.splitlines()[-1].removeprefix("data: ")) for frame in frames]


def sound(told: list[dict[str, Any]]) -> Pcm:
    return np.frombuffer(b"".join(base64.b64decode(event["audio"]) for event in told if "audio" in event), "<i2")


def test_python_says_the_same(hibari: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with ishowtts.Speaker() as speaker:
        audio = speaker.speak(TEXT)
        assert audio.text == TEXT
        assert np.array_equal(wav_samples(audio.wav()), ask(hibari, text=TEXT).pcm)
        for kind in ("srt", "vtt"):
            served = ask(hibari, "/v1/captions", text=TEXT, format=kind).body.decode()
            assert audio.subtitles(kind) == served
        with pytest.raises(ValueError, match="srt or vtt"):
            audio.subtitles("ass")


class TestEvents:
    def test_captions_map_to_the_original_text(self, hibari: Server) -> None:
        told = events(ask(hibari, text=TEXT, format="pcm", stream_format="jsonl"))
        assert [told[0]["type"], told[-1]["type"]] == ["start", "done"]
        captions = [event for event in told if event["type"] == "caption"]
        assert len(captions) == told[0]["segments"]
        assert captions[0]["start_ms"] == 0
        assert captions[-1]["end_ms"] == pytest.approx(sound(told).size / 24.0, abs=0.01)
        assert told[-1]["audio_ms"] == pytest.approx(captions[-1]["end_ms"], abs=0.01)
        for caption in captions:
            assert TEXT[caption["start_char"] : caption["end_char"]] == caption["text"]
        spoken = " ".join(caption["spoken"] for caption in captions)
        assert "nine thirty" in spoken
        words = [word for caption in captions for word in caption["words"]]
        spans = {TEXT[word["start_char"] : word["end_char"]] for word in words}
        assert {"tide", "laughed"} <= {span.strip(".,") for span in spans}
        assert any("9:30PM" in span for span in spans)

    def test_the_first_sound_comes_before_the_rest_is_made(self, start: Callable[..., Server]) -> None:
        server = start(engine="fake", config="[engines.fake]\nstep_ms = 300\n")
        body = json.dumps({"text": LONG, "format": "pcm", "stream_format": "jsonl", "cache": False}).encode()
        with server.open("POST", "/v1/tts", body) as response:
            kinds = [parse(response.readline().decode())["type"] for _ in range(3)]
            assert sorted(kinds) == ["audio", "caption", "start"]
            # 40 segments of 300 ms each: it cannot have ended.
            assert server.metrics()["ishowtts_speech_in_flight"] == 1

    @pytest.mark.parametrize(("path", "kind"), [("/v1/tts", "sse"), ("/v1/audio/speech", "sse"), ("/v1/tts", "jsonl")])
    def test_who_leaves_frees_the_engine(self, start: Callable[..., Server], path: str, kind: str) -> None:
        server = start(engine="fake", config="[engines.fake]\nstep_ms = 500\n")
        body = json.dumps({"text": LONG, "input": LONG, "stream_format": kind, "cache": False}).encode()
        with server.open("POST", path, body) as response:
            response.readline()
        wait_until(lambda: server.metrics()["ishowtts_speech_in_flight"] == 0, "the request to end")
        assert "client_left" in server.wait_line("outcome.*client_left").group(0)

    def test_who_does_not_read_is_cut_off_and_slows_nobody(self, start: Callable[..., Server]) -> None:
        server = start(
            engine="fake",
            config="[speech]\nmax_stall_s = 5\nmax_unread_s = 5\n[engines.fake]\naudio_ms_per_char = 400\n",
        )
        body = json.dumps({"text": LONG, "stream_format": "sse", "cache": False}).encode()
        with server.open("POST", "/v1/tts", body) as response:
            response.readline()
            assert server.speak("Another one is not slowed.").status == 200
            wait_until(lambda: server.metrics()["ishowtts_speech_in_flight"] == 0, "the request to be cut off")
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                response.read()


class TestCaptionFiles:
    def test_the_page_tells_which_fields_are_passed_over(self, hibari: Server) -> None:
        page = (Path(__file__).resolve().parent.parent / "docs" / "http.md").read_text(encoding="utf-8")
        section = page.split("## `POST /v1/captions`", 1)[1].split("```", 1)[0]
        told = set(re.findall(r"`([a-z_]+)`", section.split("passed over", 1)[0].rsplit("; ", 1)[-1]))
        sound: dict[str, Any] = {"sample_rate": 16_000, "bitrate": 64_000, "loudness": "off", "volume": 0.5}
        fields = sound | {"stream": False, "stream_format": "sse"}
        reply = ask(hibari, "/v1/captions", text=TEXT, **fields)
        assert set(reply.headers["x-ishowtts-ignored"].split(", ")) == set(fields) == told
        assert json.loads(reply.body) == json.loads(ask(hibari, "/v1/captions", text=TEXT).body)

    def test_srt_and_vtt_are_of_the_same_times(self, hibari: Server) -> None:
        srt = ask(hibari, "/v1/captions", text=TEXT, format="srt")
        vtt = ask(hibari, "/v1/captions", text=TEXT, format="vtt")
        assert srt.headers["content-type"].startswith("application/x-subrip")
        assert vtt.headers["content-type"] == "text/vtt; charset=utf-8"
        times = re.findall(r"[\d:,]+ --> [\d:,]+", srt.body.decode())
        assert times == [time.replace(".", ",") for time in re.findall(r"[\d:.]+ --> [\d:.]+", vtt.body.decode())]
        assert vtt.body.startswith(b"WEBVTT\n\n")
        shown = " ".join(
            line for line in srt.body.decode().splitlines() if line and not re.match(r"^[\d:, >-]+$", line)
        )
        assert shown == TEXT
        hours, minutes, seconds = times[-1].split(" --> ")[1].replace(",", ".").split(":")
        end_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        assert end_s == pytest.approx(ask(hibari, text=TEXT).pcm.size / 24_000, abs=0.002)

    def test_they_are_of_what_is_spoken_with_the_same_fields(self, hibari: Server) -> None:
        fields = {"text": TEXT, "speed": 1.5, "voice": "rowan", "seed": 7}
        told = ask(hibari, "/v1/captions", **fields)
        streamed = events(ask(hibari, **fields, stream_format="jsonl"))
        captions = [{key: value for key, value in event.items() if key != "type"} for event in streamed
                    if event["type"] == "caption"]  # fmt: skip
        assert json.loads(told.body) == {"captions": captions}

    def test_the_command_line_writes_them(self, hibari: Server, tmp_path: Path) -> None:
        ended = run(["say", TEXT, "-o", "x.wav", "--captions", "x.vtt"], tmp_path)
        assert ended.returncode == 0, ended.stderr
        served = ask(hibari, "/v1/captions", text=TEXT, format="vtt").body
        assert (tmp_path / "x.vtt").read_bytes() == served


class TestBrowsers:
    """What a browser tells of the page that asks, and what it may then do."""

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "audio"}, 200),
            ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "audio"}, 403),
            ({"Sec-Fetch-Site": "something-new"}, 403),
        ],
    )
    def test_other_pages_may_not_make_it_speak(self, tone: Server, headers: dict[str, str], status: int) -> None:
        reply = tone.get("/v1/tts?text=Hello.", headers)
        assert reply.status == status
        if status == 403:
            assert reply.error["code"] == "origin_not_allowed"

    def test_a_listed_page_may(self, start: Callable[..., Server]) -> None:
        server = start(engine="fake", config='[http]\nallowed_origins = ["https://studio.example"]\n')
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://studio.example"}
        reply = server.get("/v1/tts?text=Hello.", headers)
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "https://studio.example")
        assert server.get("/v1/tts?text=Hello.", headers | {"Origin": "https://other.example"}).status == 403

    def test_a_head_speaks_nothing_to_the_end(self, tone: Server) -> None:
        reply = tone.request("HEAD", "/v1/tts?text=Hello.")
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["content-type"] == "audio/wav"
        wait_until(lambda: tone.metrics()["ishowtts_speech_in_flight"] == 0, "nothing in flight")


def test_many_kinds_at_once_are_kept_apart(tone: Server) -> None:
    """Threads that ask for the same text in every way share one job, and each gets its own framing."""
    text = "Shared by all of them. In two sentences."
    replies: dict[str, Reply] = {}

    def one(kind: str) -> None:
        replies[kind] = ask(tone, text=text, format="pcm", stream_format=kind, cache=True)

    threads = [threading.Thread(target=one, args=(kind,)) for kind in ("audio", "sse", "jsonl")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = replies["audio"].pcm
    assert all(np.array_equal(sound(events(replies[kind])), expected) for kind in ("sse", "jsonl"))
