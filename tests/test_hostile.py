"""Bodies, headers and listeners that mean harm or know no better. After each the same server still speaks."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Server, speech_body, wait_until
from test_server import sentences

Start = Callable[..., Server]

SPEECH = "/v1/audio/speech"


@pytest.fixture
def still_speaks(tone: Server) -> Iterator[Server]:
    """The shared server; the test fails if it does not speak afterwards exactly as it did before."""
    before = tone.speak("Are you still there?")
    yield tone
    after = tone.speak("Are you still there?")
    assert after.pcm.size
    assert after.body == before.body


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b'"hello"',
            b"input=hello",
            b'{"input": null}',
            b'{"input": 7}',
            b'{"input": ["a", "b"]}',
            b'{"input": {"text": "a"}}',
            b'{"input": "hello"',
            b'{"input": "hello"} trailing',
            b'{"input": "a", "input": "b", "voice": 5}',
            b'{"input": "\xff\xfe hello"}',
            b'{"input": "\xed\xa0\x80"}',
            b'{"input": "\\ud800 hello"}',
            b'{"input": "hello \x00 raw"}',
            b'{"input": "hello", "speed": NaN}',
            b'{"input": "hello", "speed": 1e999}',
            b'{"input": "hello", "speed": -Infinity}',
            b'{"input": "hello", "stream": "yes"}',
            b'{"input": "hello", "cache": 1}',
            b'{"input": "hello", "seed": 1e400}',
            b'{"input": "hello", "seed": 99999999999999999999999999}',
            b"[" * 100_000,
            b'{"input": ' + b'{"a": ' * 50_000 + b"1" + b"}" * 50_000 + b"}",
            b"\x00" * 1000,
            b"\x1f\x8b\x08\x00" + b"\x00" * 100,
        ],
        ids=lambda body: repr(body[:40]),
    )
    def test_what_is_not_a_request_is_400(self, still_speaks: Server, body: bytes) -> None:
        reply = still_speaks.request("POST", SPEECH, body)
        assert reply.status == 400
        assert reply.error["message"]

    def test_depth_in_a_field_that_is_ignored(self, still_speaks: Server) -> None:
        body = b'{"input": "hello", "extra": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        assert still_speaks.request("POST", SPEECH, body).status in (200, 400)

    def test_nul_in_json_is_text(self, still_speaks: Server) -> None:
        assert still_speaks.speak("hello \x00 world").pcm.size

    def test_announced_twenty_megabytes_are_413_before_they_are_sent(self, still_speaks: Server) -> None:
        head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", still_speaks.port), 30) as connection:
            connection.sendall(head + b"Content-Length: 20000000\r\nExpect: 100-continue\r\n\r\n")
            assert b" 413 " in connection.recv(4096).split(b"\r\n")[0]

    def test_twenty_megabytes_in_chunks_are_not_taken(self, still_speaks: Server) -> None:
        head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
        answer = still_speaks.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 300 + b"0\r\n\r\n")
        # Its answer may be lost with the reset that follows, if the client does nothing but send.
        assert not answer or b" 413 " in answer.split(b"\r\n")[0]

    def test_a_body_at_the_limit_is_read(self, start: Start) -> None:
        server = start(engine="fake", config="[http]\nmax_body_bytes = 2000\n")
        body = speech_body("hello")
        assert server.request("POST", SPEECH, body + b" " * (2000 - len(body))).status == 200
        assert server.request("POST", SPEECH, body + b" " * (2001 - len(body))).status == 413

    @pytest.mark.parametrize(
        "voice",
        [
            "../../etc/passwd",
            "/etc/passwd",
            "..",
            ".",
            "heart/../heart",
            "heart\x00",
            "heart\n",
            "C:\\windows",
            "%2e%2e%2f",
            "heart/voice.toml",
            "a" * 100_000,
            "",
            "\U0001f389",
        ],
        ids=lambda voice: repr(voice[:20]),
    )
    def test_voice_names_are_names_and_never_paths(self, still_speaks: Server, voice: str) -> None:
        reply = still_speaks.speak("Hello.", voice=voice)
        assert reply.status in (400, 404)
        assert "root:" not in reply.error["message"]
        assert len(reply.error["message"]) < 1000


class TestHttp:
    @pytest.mark.parametrize(
        "payload",
        [
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"a" * 1_000_000 + b"\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: a\r\n" * 10_000 + b"\r\n",
            b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: \x00\xff\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            b"NONSENSE\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
            b"\x00" * 10_000,
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nshort",
        ],
        ids=lambda payload: repr(payload[:30]),
    )
    def test_what_is_not_http_is_refused(self, still_speaks: Server, payload: bytes) -> None:
        answer = still_speaks.raw(payload, timeout_s=20)
        assert not answer or answer.split(b" ", 2)[1][:1] == b"4", answer[:200]

    def test_connections_that_say_nothing(self, still_speaks: Server) -> None:
        silent = [socket.create_connection(("127.0.0.1", still_speaks.port)) for _ in range(300)]
        half = [socket.create_connection(("127.0.0.1", still_speaks.port)) for _ in range(50)]
        for connection in half:
            connection.sendall(b"POST /v1/audio/speech HTTP/1.1\r\nHost: loc")
        try:
            assert still_speaks.speak("Others are served.").pcm.size
        finally:
            for connection in silent + half:
                connection.close()


class TestListeners:
    def test_two_hundred_streams_each_hear_their_own(self, tone: Server) -> None:
        texts = [f"Listener number {index} has a text of its own. {sentences(1 + index % 3)}" for index in range(200)]
        with ThreadPoolExecutor(200) as pool:
            together = list(pool.map(tone.speak, texts))
        for text, reply in zip(texts, together, strict=True):
            assert reply.status == 200, reply.body[:200]
            assert reply.pcm.size
            assert reply.body == tone.speak(text).body, "crosstalk"

    def test_two_hundred_voices_of_the_real_engine(self, hibari: Server) -> None:
        texts = [f"Number {index} is here." for index in range(200)]
        with ThreadPoolExecutor(200) as pool:
            replies = list(pool.map(hibari.speak, texts))
        assert all(reply.pcm.size > 12_000 for reply in replies)
        for index in (0, 99, 199):
            assert replies[index].body == hibari.speak(texts[index]).body

    def test_a_listener_who_leaves_gives_its_place_back(self, start: Start) -> None:
        # One request fits. The text takes a minute, so only a cancelled one can make room in time.
        server = start(engine="fake", config="[queue]\nmax_requests = 1\n[engines.fake]\nslots = 1\nstep_ms = 200\n")
        with server.streaming(sentences(300)) as response:
            assert response.read1(1)
            assert server.speak("Is there room?").status == 429
        wait_until(lambda: server.speak("Is there room?").status == 200, "room after the listener left", 30)
        wait_until(lambda: server.metrics()["ishowtts_speech_in_flight"] == 0, "nothing in flight")

    def test_one_who_leaves_before_the_first_sound(self, start: Start) -> None:
        server = start(engine="fake", config="[queue]\nmax_requests = 1\n[engines.fake]\nslots = 1\nstep_ms = 200\n")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            body = speech_body(sentences(300), stream=False)
            head = f"POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            wait_until(lambda: server.metrics()['ishowtts_queue_requests{engine="fake"}'] == 1, "it is queued")
            assert server.speak("Is there room?").status == 429
        wait_until(lambda: server.speak("Is there room?").status == 200, "room after the listener left", 30)

    def test_hundreds_who_leave_at_random(self, tone: Server) -> None:
        text = sentences(40)

        def leave_after(count: int) -> None:
            with tone.streaming(text, seed=count) as response:
                response.read(count)

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(leave_after, [1 + 997 * index % 200_000 for index in range(300)]))
        wait_until(lambda: tone.metrics()["ishowtts_speech_in_flight"] == 0, "nothing in flight", 60)
        assert tone.speak(text).body == tone.speak(text).body

    def test_one_who_does_not_read_is_cut_off_and_others_go_on(self, start: Start) -> None:
        server = start(engine="fake", config="[speech]\nmax_stall_s = 5.0\nmax_unread_s = 5.0\n")
        text = sentences(200)
        whole = len(server.speak(text).body)
        deaf = socket.socket()
        # Small buffers: what the kernel holds must be far less than the speech.
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with deaf:
            deaf.settimeout(60)
            deaf.connect(("127.0.0.1", server.port))
            body = speech_body(text)
            head = f"POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            deaf.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            assert server.speak("Others are served at once.").pcm.size
            assert len(server.speak(text).body) == whole
            wait_until(lambda: server.metrics()["ishowtts_speech_in_flight"] == 0, "the deaf listener is cut off", 60)
            received = drain(deaf)
        assert len(received) < whole
        assert not received.endswith(b"\r\n0\r\n\r\n"), "a clean end although speech is missing"

    def test_one_who_reads_slowly_hears_everything(self, start: Start) -> None:
        server = start(engine="fake", config="[speech]\nmax_stall_s = 5.0\nmax_unread_s = 2.0\n")
        text = sentences(100)
        whole = server.speak(text).body
        with server.streaming(text) as response:
            parts = []
            pause = threading.Event()
            while part := response.read1(1 << 18):
                parts.append(part)
                pause.wait(0.02)
        assert b"".join(parts) == whole

    def test_a_deaf_one_does_not_slow_who_hears_the_same(self, start: Start) -> None:
        server = start(engine="fake", config="[speech]\nmax_stall_s = 5.0\nmax_unread_s = 5.0\n")
        text = sentences(200)
        whole = server.speak(text).body
        with server.streaming(text, cache=True):
            # Single flight: the same job, with a cursor of its own.
            assert server.speak(text, cache=True).body == whole


def drain(connection: socket.socket) -> bytes:
    """What is left to read, to the end or the reset."""
    received = bytearray()
    try:
        while part := connection.recv(1 << 16):
            received += part
    except ConnectionError:
        pass
    return bytes(received)


FAULTS = ("[raise]", "[error]", "[exit]", "[nan]", "[inf]", "[empty]", "[silent]", "[shape]")
"""Markers of the fake engine: each makes one segment fail in a way of its own."""


class TestEngineFaults:
    @pytest.mark.parametrize("marker", FAULTS)
    @pytest.mark.parametrize("stream", [True, False])
    def test_in_the_first_segment_it_is_a_500(self, still_speaks: Server, marker: str, stream: bool) -> None:
        reply = still_speaks.speak(f"This one {marker} fails.", stream=stream)
        assert reply.status == 500
        assert reply.error["code"] == "engine_failed"
        assert "/a/path" not in reply.error["message"], "the exception's text belongs into the log"

    @pytest.mark.parametrize("marker", [*FAULTS, "[refuse]"])
    def test_in_mid_stream_the_connection_breaks(self, still_speaks: Server, marker: str) -> None:
        text = (
            f"{sentences(3)} This is the sentence in which the engine {marker} gives up all of a sudden. {sentences(2)}"
        )

        def heard() -> bytes:
            with still_speaks.streaming(text) as response:
                assert response.status == 200
                return response.read()

        # Also without any answer: the first sound may still have been on its way when the rest failed.
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            heard()

    @pytest.mark.parametrize("marker", FAULTS)
    def test_in_a_later_segment_of_a_whole_file_it_is_a_500(self, still_speaks: Server, marker: str) -> None:
        reply = still_speaks.speak(f"{sentences(3)} And then the engine {marker} fails on it.", stream=False)
        assert reply.status == 500
        assert reply.error["code"] == "engine_failed"

    def test_refused_is_422_with_the_reason(self, still_speaks: Server) -> None:
        for stream in (True, False):
            reply = still_speaks.speak("I will [refuse] to say this.", stream=stream)
            assert reply.status == 422
            assert reply.error["code"] == "text_refused"

    def test_what_the_caller_can_mend_is_400(self, still_speaks: Server) -> None:
        before = still_speaks.metrics()
        assert still_speaks.speak("The engine says that this is [invalid] so.").status == 400
        after = still_speaks.metrics()

        def counted(outcome: str) -> float:
            name = f'ishowtts_segments_total{{engine="fake",outcome="{outcome}"}}'
            return after.get(name, 0) - before.get(name, 0)

        assert (counted("refused"), counted("failed")) == (1, 0), "a slip of the caller's is no failure of the engine's"

    def test_between_two_steps_of_a_segment(self, start: Start) -> None:
        server = start(engine="fake", config="[engines.fake]\nfaults = true\nsteps = 4\n")
        # Also without any answer: the first sound may still have been on its way when the rest failed.
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            server.speak("This one fails [late-raise] after its first sound.")
        assert server.speak("This one [late-raise] fails too.", stream=False).status == 500
        assert server.speak("And this one does not.").pcm.size

    def test_failures_are_not_cached(self, still_speaks: Server) -> None:
        replies = [still_speaks.speak("This one [raise] fails.", cache=True) for _ in range(2)]
        assert [reply.status for reply in replies] == [500, 500]

    def test_the_traceback_is_in_the_log_and_nowhere_else(self, still_speaks: Server) -> None:
        reply = still_speaks.speak("Look into the log after this [raise] here.")
        assert "Traceback" not in json.dumps(reply.error)
        wait_until(lambda: "Traceback" in still_speaks.log, "the traceback in the log")

    def test_one_that_fails_does_not_harm_those_beside_it(self, still_speaks: Server) -> None:
        good = [f"Number {index} is fine. {sentences(3)}" for index in range(16)]
        alone = [still_speaks.speak(text).body for text in good]
        bad = [f"Number {index} is not. {sentences(1)} And now {marker}." for index, marker in enumerate(FAULTS * 2)]

        def fails(text: str) -> bool:
            try:
                return still_speaks.speak(text).status == 500
            except (http.client.IncompleteRead, ConnectionError):
                return True

        with ThreadPoolExecutor(32) as pool:
            failing = [pool.submit(fails, text) for text in bad]
            together = list(pool.map(still_speaks.speak, good))
        assert all(future.result() for future in failing)
        assert [reply.body for reply in together] == alone

    def test_sound_leaves_before_the_rest_is_made(self, start: Start) -> None:
        server = start(engine="fake", config="[engines.fake]\nfaults = true\n")
        with server.streaming(
            f"{sentences(2)} After these two the engine will [hang] for as long as it likes."
        ) as response:
            # What follows is never made, so these bytes cannot have waited for it.
            assert len(response.read(2000)) == 2000
            server.process.kill()

    def test_a_hang_ends_the_program_with_70(self, start: Start) -> None:
        server = start(engine="fake", config="[speech]\nmax_step_s = 3.0\n[engines.fake]\nfaults = true\n")
        assert_broken(server, "This will [hang] now.")

    def test_a_broken_engine_ends_the_program_with_70(self, start: Start) -> None:
        server = start(engine="fake", config="[engines.fake]\nfaults = true\n")
        assert_broken(server, "And this will [break] it.")


def assert_broken(server: Server, text: str) -> None:
    """The one who asked gets no clean end, the server stops saying that it is ready, and its supervisor sees 70."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        assert server.speak(text).status >= 500

    def gone() -> bool:
        try:
            return server.get("/readyz").status != 200
        except (OSError, http.client.HTTPException):
            return True

    wait_until(gone, "no longer ready")
    assert server.wait_exit() == 70
    assert "ERROR" in server.log
