"""`/v1/ws` with the `websockets` package: text in pieces, sound while it is written, and everything hostile."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Pcm, Server, wait_until, wav_samples
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

SENTENCES = [
    "The old lighthouse stood alone on the rock. ",
    "Nobody had climbed its stairs for 12.5 years, as far as Dr. Brown knew. ",
    "Then, one evening in spring, a light was seen again.",
]
TEXT = "".join(SENTENCES)
ANSWER_S = 60


class Talk:
    """One connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self.sound: dict[str, bytes] = {}

    def send(self, type_: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": type_, **fields}))

    def read(self) -> dict[str, Any]:
        """The next event; sound is kept under its context's name."""
        message = self.connection.recv(ANSWER_S)
        assert isinstance(message, str), "sound without an event before it"
        event: dict[str, Any] = json.loads(message)
        if event["type"] == "audio":
            sound = self.connection.recv(ANSWER_S)
            assert isinstance(sound, bytes)
            assert len(sound) == event["bytes"]
            self.sound[event["context"]] = self.sound.get(event["context"], b"") + sound
        self.events.append(event)
        return event

    def until(self, type_: str, context: str | None = "default") -> dict[str, Any]:
        while True:
            event = self.read()
            if event["type"] == type_ and event.get("context") == context:
                return event
            assert event["type"] != "error", event

    def pcm(self, context: str = "default") -> Pcm:
        return np.frombuffer(self.sound[context], "<i2")

    def closed(self) -> tuple[int, str]:
        """Reads on until the server closes."""
        while True:
            try:
                self.connection.recv(ANSWER_S)
            except ConnectionClosed as closed:
                if closed.rcvd is None:
                    raise
                return closed.rcvd.code, closed.rcvd.reason


@contextlib.contextmanager
def talk(server: Server, **options: Any) -> Iterator[Talk]:
    url = f"ws://127.0.0.1:{server.port}/v1/ws"
    with connect(url, max_size=None, open_timeout=ANSWER_S, compression=None, **options) as connection:
        yield Talk(connection)


def pieces(text: str, chars: int) -> list[str]:
    return [text[at : at + chars] for at in range(0, len(text), chars)]


class TestSpeech:
    @pytest.mark.parametrize("chars", [1, 5, 1000])
    def test_pieces_are_the_samples_of_the_whole(self, hibari: Server, chars: int) -> None:
        with talk(hibari) as said:
            said.send("start", seed=7, hurry=False)
            for piece in pieces(TEXT, chars):
                said.send("text", text=piece)
            said.send("end")
            done = said.until("done")
        whole = hibari.speak(TEXT, seed=7).pcm
        assert np.array_equal(said.pcm(), whole)
        assert done["audio_ms"] == pytest.approx(len(whole) / 24, abs=0.01)

    def test_fifty_requests_in_pieces_are_the_samples_of_other_ways(self, tone: Server) -> None:
        with talk(tone) as said:
            for number in range(50):
                text = (
                    f"Request number {number} says that every way leads to the same samples. It has a second sentence."
                )
                said.send("start", context=str(number), seed=number * 7, hurry=False, captions=False)
                for piece in pieces(text, 1 + number):
                    said.send("text", context=str(number), text=piece)
                said.send("end", context=str(number))
                said.until("done", str(number))
                assert said.sound[str(number)] == tone.speak(text, seed=number * 7).body, number

    def test_a_text_that_is_whole_at_once_is_a_request_like_any_other(self, hibari: Server) -> None:
        text = f"{TEXT} This is for the cache, it is."
        whole = hibari.speak(text, cache=True).pcm
        with talk(hibari) as said:
            said.send("start", text=text, end=True)
            assert said.until("started")["cached"] is True
            said.until("done")
        assert np.array_equal(said.pcm(), whole)

    def test_sound_comes_while_the_text_is_written(self, hibari: Server) -> None:
        with talk(hibari) as said:
            said.send("start", voice="nova", speed=1.2)
            said.send("text", text=SENTENCES[0] + SENTENCES[1][:10])
            started = said.until("started")
            assert started["voice"] == "wren"
            assert started["engine"] == "hibari"
            assert started["format"] == "pcm"
            said.until("audio")
            said.send("text", text=SENTENCES[1][10:] + SENTENCES[2], flush=True)
            said.until("flushed")
            assert len(said.pcm()) > 24_000 * 3
            said.send("end")
            said.until("done")

    def test_captions_stand_in_the_whole_text(self, hibari: Server) -> None:
        with talk(hibari) as said:
            said.send("start")
            # None ends with "12.", which after a stall would be the end of a clause.
            for piece in pieces(TEXT, 4):
                said.send("text", text=piece)
            said.send("end")
            said.until("done")
        captions = [event for event in said.events if event["type"] == "caption"]
        assert " ".join(caption["text"] for caption in captions) == TEXT
        end_ms = 0.0
        for caption in captions:
            assert TEXT[caption["start_char"] : caption["end_char"]] == caption["text"]
            assert caption["start_ms"] >= end_ms
            end_ms = caption["end_ms"]
            for word in caption["words"]:
                assert caption["start_char"] <= word["start_char"] < word["end_char"] <= caption["end_char"]
        assert end_ms == pytest.approx(len(said.pcm()) / 24, abs=0.1)
        starts = [event["start_ms"] for event in said.events if event["type"] == "audio"]
        assert starts == sorted(starts)

    def test_contexts_alternate_and_do_not_mix(self, hibari: Server) -> None:
        texts = {"a": SENTENCES[0].strip(), "b": "Something else is said on this line, by another voice."}
        with talk(hibari) as said:
            said.send("start", context="a", captions=False)
            said.send("start", context="b", voice="rowan", captions=False)
            for one, other in zip(pieces(texts["a"], 9), pieces(texts["b"], 9), strict=False):
                said.send("text", context="a", text=one)
                said.send("text", context="b", text=other)
            said.send("text", context="b", text=texts["b"][9 * len(pieces(texts["a"], 9)) :], end=True)
            said.send("end", context="a")
            over: set[str] = set()
            while over != {"a", "b"}:
                event = said.read()
                assert event["type"] in {"started", "audio", "done"}, event
                if event["type"] == "done":
                    over.add(event["context"])
        assert np.array_equal(said.pcm("a"), hibari.speak(texts["a"]).pcm)
        expected = hibari.speak(texts["b"], voice="rowan").pcm
        assert abs(len(said.pcm("b")) - len(expected)) < 0.3 * len(expected)

    def test_a_name_can_be_used_again(self, tone: Server) -> None:
        with talk(tone) as said:
            for _ in range(20):
                said.send("start", text="Once more.", end=True)
                said.until("done")
            said.send("start", text="Not for long, dear, not for long. But on it goes")
            said.until("started")
            said.send("cancel")
            said.until("cancelled")
            said.send("start", text="Again.", end=True)
            said.until("done")

    def test_wav_has_one_header(self, tone: Server) -> None:
        with talk(tone) as said:
            said.send("start", format="wav", text=TEXT, end=True)
            said.until("done")
        sound = said.sound["default"]
        assert sound[:4] == b"RIFF"
        assert np.array_equal(np.frombuffer(sound[44:], "<i2"), tone.speak(TEXT).pcm)

    def test_a_ping_is_answered(self, tone: Server) -> None:
        with talk(tone) as said:
            said.send("ping")
            assert said.read() == {"type": "pong"}
            assert said.connection.ping().wait(ANSWER_S)


class TestDocumentation:
    def test_the_example_in_python(
        self, hibari: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = (Path(__file__).parent.parent / "docs" / "websocket.md").read_text(encoding="utf-8")
        examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        assert len(examples) == 2
        monkeypatch.chdir(tmp_path)
        for example in examples:
            exec(example.replace("127.0.0.1:8880", f"127.0.0.1:{hibari.port}"), {})
        assert "And so is this." in capsys.readouterr().out
        assert wav_samples((tmp_path / "hello.wav").read_bytes()).size > 24_000


class TestFaults:
    """Those that end a context, those that refuse a message, and those that end the connection."""

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"voice": "nobody"}, "voice_not_found"),
            ({"model": "gpt-9"}, "model_not_found"),
            ({"speed": 9}, "invalid_speed"),
            ({"seed": -2}, "invalid_seed"),
            ({"format": "midi"}, "unsupported_format"),
            ({"context": ""}, "invalid_value"),
            ({"context": "x" * 200}, "invalid_value"),
        ],
    )
    def test_a_start_that_is_refused(self, tone: Server, fields: dict[str, Any], code: str) -> None:
        with talk(tone) as said:
            said.send("start", **fields)
            event = said.read()
            assert (event["type"], event["context"]) == ("error", None)
            assert event["error"]["code"] == code
            assert set(event["error"]) == {"message", "type", "param", "code"}
            said.send("start", text="It goes on.", end=True)
            said.until("done")

    def test_messages_for_contexts_that_are_not_there(self, tone: Server) -> None:
        with talk(tone) as said:
            for type_, fields in [("text", {"text": "Hi"}), ("flush", {}), ("end", {}), ("cancel", {})]:
                said.send(type_, **fields)
                assert said.read()["error"]["code"] == "context_not_found"
            said.send("start")
            said.send("start")
            assert said.read()["error"]["code"] == "context_exists"
            said.send("end")
            assert said.read()["error"]["code"] == "nothing_to_say"

    def test_a_context_that_fails_takes_no_other_with_it(self, tone: Server) -> None:
        with talk(tone) as said:
            said.send("start", context="good", text="One is the first sentence of all. Two")
            said.send("start", context="bad", text="This is to [raise] an error at once. And it goes")
            said.send("text", context="bad", text=" on and on.")
            while (event := said.read())["type"] != "error":
                pass
            assert (event["context"], event["error"]["code"]) == ("bad", "engine_failed")
            said.send("text", context="bad", text="It is over, and this is passed over.")
            said.send("text", context="good", text=" is the second.", end=True)
            said.until("done", "good")

    def test_too_much_text(self, start: Callable[..., Server]) -> None:
        server = start(engine="fake", config="[text]\nmax_chars = 1000\n[websocket]\nmax_contexts = 2\n")
        with talk(server) as said:
            said.send("start")
            for _ in range(11):
                said.send("text", text="x" * 50 + " " * 50)
            while (event := said.read())["type"] != "error":
                pass
            assert (event["context"], event["error"]["code"]) == ("default", "text_too_long")
            for context in "abc":
                said.send("start", context=context)
            event = said.read()
            assert (event["context"], event["error"]["code"]) == (None, "too_many_contexts")

    def test_a_message_that_is_too_large(self, start: Callable[..., Server]) -> None:
        server = start(engine="fake", config="[http]\nmax_body_bytes = 5000\n")
        with talk(server) as said:
            said.send("text", text="x" * 6000)
            assert said.closed() == (CloseCode.MESSAGE_TOO_BIG, "message_too_large")

    @pytest.mark.parametrize(
        "message", ["", "{", "[]", "null", '{"type":"sing"}', '{"type":"start","pitch":1}', "\0", '{"type":"text"}']
    )
    def test_what_is_no_message(self, tone: Server, message: str) -> None:
        with talk(tone) as said:
            said.connection.send(message)
            assert said.read()["error"]["code"] == "invalid_message"
            assert said.closed() == (4400, "invalid_message")

    def test_binary(self, tone: Server) -> None:
        with talk(tone) as said:
            said.connection.send(b"\0" * 1000)
            assert said.closed() == (CloseCode.UNSUPPORTED_DATA, "text_expected")

    def test_half_a_million_bytes_of_garbage(self, tone: Server) -> None:
        garbage = os.urandom(500_000)
        text = base64.b64encode(garbage).decode()
        before = tone.metrics().get("ishowtts_speech_in_flight", 0.0)
        for frames in ([garbage], [text[at : at + 1000] for at in range(0, 500_000, 1000)], [b""] * 1000, [text]):
            with talk(tone) as said:
                with contextlib.suppress(ConnectionClosed):
                    for frame in frames:
                        said.connection.send(frame)
                assert said.closed()[0] in {CloseCode.UNSUPPORTED_DATA, 4400}
        # Not even frames.
        for junk in (garbage, b"\x81\x05hello" * 50_000, b"\xff" * 500_000, b"\xc1\x80\0\0\0\0"):
            assert raw_close(tone, junk) == CloseCode.PROTOCOL_ERROR
        assert raw_close(tone, masked(0x81, b"\xff\xfe" * 10)) == CloseCode.INVALID_DATA
        wait_until(lambda: tone.metrics()["ishowtts_speech_in_flight"] == before, "all contexts gone")
        assert tone.speak("Still there.").pcm.size

    def test_web_pages_of_others(self, tone: Server) -> None:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            with pytest.raises(InvalidStatus) as refused, talk(tone, additional_headers=headers):
                pass
            assert refused.value.response.status_code == 403
        with talk(tone, origin=f"http://127.0.0.1:{tone.port}") as said:
            said.send("ping")
            assert said.read() == {"type": "pong"}

    def test_a_plain_get(self, tone: Server) -> None:
        reply = tone.get("/v1/ws")
        assert reply.status == 400
        assert reply.error["code"] == "websocket_expected"


class TestLoad:
    def test_one_who_does_not_read_is_not_spoken_for(self, start: Callable[..., Server]) -> None:
        server = start(engine="fake")
        spoken = 'ishowtts_segments_total{engine="fake",outcome="spoken"}'
        text = "One sentence among very many that nobody will ever listen to. " * 700
        with contextlib.closing(handshake(server)) as slow:
            slow.sendall(masked(0x81, json.dumps({"type": "start", "text": text, "end": True}).encode()))
            wait_until(lambda: server.metrics().get(spoken, 0) > 3, "speech for the slow one")
            # Others are served, and meanwhile the engine has all the time that it could want.
            for index in range(20):
                assert server.speak(f"Listener number {index} is served at once. {TEXT}").pcm.size
            made_s = server.metrics()[spoken] * 62 * 0.06
            assert made_s < 0.5 * 700 * 62 * 0.06, "all of it was made, though nobody reads"
            assert resident_mib(server) < 250

    def test_many_at_once(self, hibari: Server) -> None:
        outcomes: list[bool] = []

        def one(index: int) -> None:
            text = f"Client number {index} says this. {SENTENCES[0]}"
            with talk(hibari) as said:
                said.send("start", seed=index, hurry=False)
                for piece in pieces(text, 4):
                    said.send("text", text=piece)
                said.send("end")
                said.until("done")
                outcomes.append(np.array_equal(said.pcm(), hibari.speak(text, seed=index).pcm))

        threads = [threading.Thread(target=one, args=(index,)) for index in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ANSWER_S)
        assert outcomes == [True] * 16


def resident_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame, with a mask of zeros."""
    length = len(payload)
    if length < 126:
        head = bytes([opcode, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([opcode, 0x80 | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([opcode, 0x80 | 127]) + length.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def handshake(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), ANSWER_S)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return connection


def raw_close(server: Server, junk: bytes) -> int:
    """Sends bytes that are no frames; the code of the close that answers them."""
    with contextlib.closing(handshake(server)) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(junk)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                received += part
        assert received[:1] == b"\x88", received[:20]
        return int.from_bytes(received[2:4], "big")
