"""The surfaces beside speech, the guards of a loopback server, its queue, and how it starts and ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from harness import SERVE, Server, free_port, run, speech_body, wait_until

Start = Callable[..., Server]

SLOW = "[engines.fake]\nslots = 1\nstep_ms = {step_ms}\n"


def sentences(count: int) -> str:
    """Text of `count` segments: each sentence is too long to share one with its neighbour."""
    return " ".join(
        f"This is sentence number {index} of a text that somebody wants to have read aloud to them."
        for index in range(count)
    )


class TestSurfaces:
    def test_health_and_readiness(self, hibari: Server) -> None:
        assert hibari.get("/healthz").status == 200
        assert hibari.get("/readyz").status == 200

    def test_models_are_listed_as_openai_lists_them(self, hibari: Server) -> None:
        document = json.loads(hibari.get("/v1/models").body)
        assert document["object"] == "list"
        assert "hibari" in [model["id"] for model in document["data"]]
        assert all(model["object"] == "model" for model in document["data"])

    def test_every_voice_listed_speaks(self, hibari: Server) -> None:
        voices = json.loads(hibari.get("/v1/audio/voices").body)["voices"]
        assert {"id", "name"} <= set(voices[0])
        assert "heart" in [voice["id"] for voice in voices]
        for voice in voices:
            reply = hibari.speak("Hello there.", voice=voice["id"])
            assert reply.pcm.size > 8000
            assert reply.headers["x-ishowtts-voice"] == voice.get("alias_of", voice["id"])

    def test_metrics_are_prometheus_text_and_count(self, hibari: Server) -> None:
        reply = hibari.get("/metrics")
        assert reply.headers["content-type"].startswith("text/plain")
        before = hibari.metrics()
        hibari.speak("Count this one.")
        assert hibari.metrics() != before

    def test_headers_tell_who_spoke(self, hibari: Server) -> None:
        reply = hibari.speak("Who said that?", voice="alloy")
        assert reply.headers["x-ishowtts-engine"] == "hibari"
        assert reply.headers["x-ishowtts-voice"] == "heart"
        assert reply.headers["x-ishowtts-sample-rate-hz"] == "24000"
        assert reply.headers["x-ishowtts-cache"] == "miss"
        assert int(reply.headers["x-ishowtts-seed"]) >= 0

    @pytest.mark.parametrize("model", ["tts-1", "tts-1-hd", "gpt-4o-mini-tts", "hibari"])
    def test_openai_model_names_are_taken(self, hibari: Server, model: str) -> None:
        assert hibari.speak("Any of these will do.", model=model).headers["x-ishowtts-engine"] == "hibari"

    def test_request_ids_differ_and_are_on_errors_too(self, hibari: Server) -> None:
        replies = [hibari.get("/healthz"), hibari.speak("Hi there."), hibari.speak(""), hibari.get("/nowhere")]
        ids = [reply.headers["x-request-id"] for reply in replies]
        assert all(ids)
        assert len(set(ids)) == len(ids)

    def test_unknown_paths_and_methods(self, hibari: Server) -> None:
        missing = hibari.get("/v1/nothing")
        assert missing.status == 404
        assert missing.error["code"]
        assert hibari.get("/v1/audio/speech").status == 405

    def test_a_connection_is_kept_for_the_next_request(self, hibari: Server) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", hibari.port, timeout=30)
        bodies = []
        for _ in range(3):
            connection.request(
                "POST", "/v1/audio/speech", speech_body("Again and again."), {"Content-Type": "application/json"}
            )
            bodies.append(connection.getresponse().read())
            assert connection.sock is not None
        connection.close()
        assert len(set(bodies)) == 1


class TestRequestErrors:
    def test_unknown_voice_is_404_and_names_the_nearest(self, hibari: Server) -> None:
        reply = hibari.speak("Hello.", voice="haert")
        assert reply.status == 404
        assert reply.error["code"] == "voice_not_found"
        assert "heart" in reply.error["message"]

    def test_unknown_model_is_404(self, hibari: Server) -> None:
        reply = hibari.speak("Hello.", model="no-such-model")
        assert reply.status == 404
        assert reply.error["code"] == "model_not_found"

    @pytest.mark.parametrize("response_format", ["aac", "MIDI", "MP3", "", 7])
    def test_other_formats_are_400_and_name_those_that_exist(self, hibari: Server, response_format: object) -> None:
        reply = hibari.speak("Hello.", response_format=response_format)
        assert reply.status == 400
        assert reply.error["param"] == "response_format" or isinstance(response_format, int)
        if response_format:
            assert "wav" in reply.error["message"] or isinstance(response_format, int)

    @pytest.mark.parametrize("speed", [0, -1, 0.2, 4.1, 1e308, "fast"])
    def test_speed_out_of_range_is_400(self, hibari: Server, speed: object) -> None:
        reply = hibari.speak("Hello.", speed=speed)
        assert reply.status == 400
        assert "speed" in reply.error["message"] or reply.error["param"] == "speed"

    def test_unknown_fields_are_named_and_change_nothing(self, hibari: Server) -> None:
        # Clients of other servers send fields of theirs; refusing them would shut these clients out.
        reply = hibari.speak("Hello.", spede=1.5, normalization_options={"normalize": True})
        assert reply.body == hibari.speak("Hello.").body
        assert set(reply.headers["x-ishowtts-ignored"].split(", ")) == {"spede", "normalization_options"}
        assert "x-ishowtts-ignored" not in hibari.speak("Hello.").headers

    def test_input_is_required(self, hibari: Server) -> None:
        reply = hibari.request("POST", "/v1/audio/speech", b'{"voice": "heart"}')
        assert reply.status == 400
        assert "input" in reply.error["message"]


class TestGuards:
    @pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/metrics"])
    def test_a_foreign_host_is_403(self, hibari: Server, path: str) -> None:
        assert hibari.get(path, {"Host": "evil.example"}).status == 403

    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "192.168.1.7"]
    )
    def test_local_names_and_addresses_are_served(self, hibari: Server, host: str) -> None:
        assert hibari.get("/healthz", {"Host": host.format(port=hibari.port)}).status == 200

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1:1"]
    )
    def test_a_web_page_from_elsewhere_cannot_speak(self, hibari: Server, origin: str) -> None:
        reply = hibari.request(
            "POST", "/v1/audio/speech", speech_body("Buy now."), {"Origin": origin, "Content-Type": "text/plain"}
        )
        assert reply.status == 403
        assert reply.error["message"]

    def test_its_own_pages_can(self, hibari: Server) -> None:
        reply = hibari.request("POST", "/v1/audio/speech", speech_body("From my own page."), {"Origin": hibari.url})
        assert reply.pcm.size

    def test_configured_hosts_and_origins_are_served(self, start: Start) -> None:
        server = start(
            engine="fake",
            config='[http]\nallowed_hosts = ["tts.example"]\nallowed_origins = ["https://page.example"]\n',
        )
        assert server.get("/healthz", {"Host": "tts.example"}).status == 200
        body = speech_body("From an allowed page.")
        headers = {"Origin": "https://page.example", "Host": "tts.example"}
        assert server.request("POST", "/v1/audio/speech", body, headers).status == 200
        assert server.get("/healthz", {"Host": "other.example"}).status == 403


class TestQueue:
    CONFIG = "[queue]\nmax_requests = 2\n" + SLOW.format(step_ms=300)

    def test_a_full_queue_is_429_and_who_waits_as_told_gets_in(self, start: Start) -> None:
        server = start(engine="fake", config=self.CONFIG)
        with ThreadPoolExecutor(2) as pool, ExitStack() as stack:
            occupants = [stack.enter_context(server.streaming(f"Text {n}. {sentences(8)}")) for n in range(2)]
            reading = [pool.submit(response.read) for response in occupants]
            refused = server.speak("One more, please.")
            assert refused.status == 429
            assert refused.error["code"] == "queue_full"
            assert int(refused.headers["retry-after"]) >= 1
            answers = [refused]
            while answers[-1].status == 429 and len(answers) < 4:
                time.sleep(int(answers[-1].headers["retry-after"]))
                answers.append(server.speak("One more, please."))
            assert [answer.status for answer in answers].count(429) <= 2, "the wait that was told was not honest"
            assert answers[-1].status == 200
            for future in reading:
                assert len(future.result()) > 0

    def test_seconds_of_speech_are_bounded_too(self, start: Start) -> None:
        server = start(engine="fake", config="[queue]\nmax_speech_s = 20.0\n" + SLOW.format(step_ms=500))
        with server.streaming(sentences(12)) as occupant:
            assert server.speak(sentences(12).replace("sentence", "line")).status == 429
            assert occupant.read()

    def test_speech_that_cannot_start_in_time_is_504(self, start: Start) -> None:
        server = start(engine="fake", config="[queue]\nmax_wait_s = 0.3\n" + SLOW.format(step_ms=4000))
        with ThreadPoolExecutor(2) as pool:
            replies = list(pool.map(lambda n: server.speak(f"Speech number {n} wants to start."), range(2)))
        assert sorted(reply.status for reply in replies) == [200, 504]
        late = next(reply for reply in replies if reply.status == 504)
        assert late.error["code"] == "deadline_exceeded"

    def test_a_newcomer_does_not_wait_for_a_long_text(self, start: Start) -> None:
        server = start(engine="fake", config=SLOW.format(step_ms=100))
        with server.streaming(sentences(60)) as long, ThreadPoolExecutor(1) as pool:
            assert long.read1(1)
            reading = pool.submit(long.read)
            assert server.speak("A short question.").pcm.size
            assert not reading.done(), "the short one had to wait for the whole of the long one"
            server.process.send_signal(signal.SIGTERM)
            assert reading.result()


class TestEnd:
    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
    def test_what_is_in_flight_is_finished(self, start: Start, how: signal.Signals) -> None:
        server = start(engine="fake", config=SLOW.format(step_ms=60))
        text = sentences(12)
        whole = server.speak(text).pcm
        with server.streaming(text) as response:
            first = response.read1(1 << 16)
            server.process.send_signal(how)
            pcm = np.frombuffer(first + response.read(), "<i2")
        assert np.array_equal(pcm, whole)
        assert server.wait_exit() == 0
        assert "Traceback" not in server.log

    def test_nothing_new_is_taken_while_it_ends(self, start: Start) -> None:
        server = start(engine="fake", config=SLOW.format(step_ms=100))

        def refused() -> bool:
            try:
                return server.speak("Too late.").status == 503
            except (ConnectionError, http.client.HTTPException):
                return True

        with server.streaming(sentences(30)) as response:
            assert response.read1(1)
            server.process.send_signal(signal.SIGTERM)
            wait_until(refused, "no new speech after SIGTERM")
            assert response.read()
        assert server.wait_exit() == 0

    def test_grace_is_bounded(self, start: Start) -> None:
        server = start(engine="fake", config="[http]\nshutdown_grace_s = 0.5\n" + SLOW.format(step_ms=200))
        with server.streaming(sentences(100)) as response:
            assert response.read1(1)
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                response.read()
        assert server.wait_exit() == 0

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
    def test_an_idle_server_ends_with_0(self, start: Start, how: signal.Signals) -> None:
        server = start(engine="fake")
        server.process.send_signal(how)
        assert server.wait_exit() == 0


class TestStart:
    def test_the_port_is_open_before_the_engine_is_loaded(self, tmp_path: Path) -> None:
        server = Server(tmp_path)
        server.spawn()
        try:
            server.wait_listening()
            assert server.get("/healthz").status == 200
            first = server.get("/readyz").status
            assert first in (200, 503)
            server.wait_ready()
        finally:
            server.end()

    def test_settings_from_the_environment(self, tmp_path: Path) -> None:
        port = free_port()
        server = Server(tmp_path, env={"ISHOWTTS_HTTP_PORT": str(port), "ISHOWTTS_ENGINE": "fake"})
        server.command = [*SERVE]
        with server:
            assert server.port == port
            assert server.speak("Hello.").headers["x-ishowtts-engine"] == "fake"

    def test_a_busy_port_is_one_clear_line(self, tmp_path: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = str(other.getsockname()[1])
            ended = run(["serve", "--engine", "fake", "--host", "127.0.0.1", "--port", port], tmp_path)
        assert ended.returncode not in (0, 70)
        assert_one_line(ended.stderr, port)

    def test_a_missing_config_is_one_clear_line(self, tmp_path: Path) -> None:
        ended = run(["serve", "--config", tmp_path / "absent.toml"], tmp_path)
        assert ended.returncode != 0
        assert_one_line(ended.stderr, "absent.toml")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("\n[http]\nprot = 1\n", ["bad.toml", "3", "prot", "port"]),
            ("[http]\nport = 'x'\n", ["bad.toml", "2", "port"]),
            ("[http\n", ["bad.toml", "1"]),
            ("[queue]\nmax_requests = -1\n", ["bad.toml", "2", "max_requests"]),
            ("engine = 'hibary'\n", ["hibary", "hibari"]),
            ("[speech]\nmax_step_s = -1.0\n", ["bad.toml", "max_step_s"]),
        ],
        ids=["unknown key", "wrong type", "broken TOML", "out of range", "unknown engine", "negative time"],
    )
    def test_a_bad_config_is_one_line_with_file_line_and_key(
        self, tmp_path: Path, content: str, said: list[str]
    ) -> None:
        path = tmp_path / "bad.toml"
        path.write_text(content)
        ended = run(["serve", "--config", path, "--host", "127.0.0.1", "--port", "0"], tmp_path)
        assert ended.returncode not in (0, 70)
        assert_one_line(ended.stderr, *said)

    def test_an_unknown_engine_setting_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.toml"
        path.write_text("[engines.fake]\nspeeed = 3\n")
        ended = run(["serve", "--engine", "fake", "--config", path, "--host", "127.0.0.1", "--port", "0"], tmp_path)
        assert ended.returncode == 2, "nothing is mended by starting again"
        assert "speeed" in ended.stderr
        checked = run(["config", "check", "--set", "engine=fake", "--config", path], tmp_path)
        assert checked.returncode == 2
        assert_one_line(checked.stderr, "speeed")
        assert "Traceback" not in ended.stderr

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("absent = true", "what the fake engine needs could not be fetched; try again later"),
            ("slots = 1000000000", "EngineInfo.max_slots is 1000000000; 1024 at most are possible"),
        ],
    )
    def test_an_engine_that_cannot_be_had_says_why_without_a_traceback(
        self, tmp_path: Path, options: str, said: str
    ) -> None:
        path = tmp_path / "fake.toml"
        path.write_text(f"[engines.fake]\n{options}\n")
        arguments: list[str | Path] = ["--engine", "fake", "--config", path]
        for command in (["serve", "--port", "0"], ["say", "Hello.", "-o", "a.wav"]):
            ended = run([*command, *arguments], tmp_path)
            assert ended.returncode == 70, ended.stderr
            assert said in ended.stderr
            assert "Traceback" not in ended.stderr
            assert "/a/path" not in ended.stderr


def assert_one_line(stderr: str, *said: str) -> None:
    """An error for a person: one line, with the cause."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    assert len(lines) == 1, stderr
    for word in said:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"


class TestDataDirectory:
    @pytest.mark.parametrize(
        "what", ["not TOML", "a directory", "no file", "foreign bytes", "bad values", "a dangling link"]
    )
    def test_an_unreadable_voice_does_not_keep_it_from_starting(self, tmp_path: Path, what: str) -> None:
        voice = tmp_path / "data" / "ishowtts" / "voices" / "broken"
        voice.mkdir(parents=True)
        manifest = voice / "voice.toml"
        if what == "a directory":
            manifest.mkdir()
        elif what == "a dangling link":
            manifest.symlink_to(tmp_path / "nowhere")
        elif what != "no file":
            content = {
                "not TOML": b"name = [",
                "foreign bytes": b"\xff\xfe\x00\x01" * 20,
                "bad values": b"speed = 'high'\n",
            }
            manifest.write_bytes(content[what])
        with Server(tmp_path, engine="fake") as server:
            assert server.speak("The others still speak.").pcm.size
            assert server.speak("This one cannot.", voice="broken").status == 404
            if what != "no file":
                server.wait_line("broken")

    def test_a_file_where_the_voices_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "data" / "ishowtts").mkdir(parents=True)
        (tmp_path / "data" / "ishowtts" / "voices").write_text("not a directory")
        with Server(tmp_path, engine="fake") as server:
            assert server.speak("The shipped voices still speak.").pcm.size

    def test_a_data_directory_that_cannot_be_written(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir(mode=0o555)
        # Permissions do not hold root back; in /proc nobody can make a directory.
        for place in (data, Path("/proc")):
            with Server(tmp_path, engine="fake", env={"XDG_DATA_HOME": str(place)}) as server:
                assert server.speak("Speaking needs no disk.").pcm.size
