"""Prepared voices: warm before the server is ready, bounded, never in the way of what is spoken."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import clips
import httpx
from harness import Server, steadily, wait_until
from voices_client import Api

PRELOAD = ["wren", "nova", "heart+pitch=1", "heart+pitch=2", "nobody"]


def fake(voices: str, engine: str) -> str:
    return f"[voices]\n{voices}\n[engines.fake]\n{engine}\n"


def count(server: Server, name: str, **labels: str) -> float:
    wanted = "".join(sorted(f'{key}="{value}"' for key, value in ({"engine": "fake"} | labels).items()))
    for sample, value in server.metrics().items():
        if sample.startswith(f"ishowtts_voice_{name}{{"):
            found = "".join(sorted(sample.partition("{")[2].rstrip("}").split(",")))
            if found == wanted:
                return value
    return 0.0


def form(text: str, pitch_hz: float) -> dict[str, tuple[str | None, str | bytes]]:
    """A request with a clip in it."""
    return {
        "text": (None, text),
        "reference_text": (None, "What is said."),
        "format": (None, "pcm"),
        "reference_audio": ("a.wav", clips.wav(pitch_hz)),
    }


def clone(server: Server, text: str, pitch_hz: float) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/tts", files=form(text, pitch_hz), timeout=60, trust_env=False)


@contextlib.contextmanager
def cloning(server: Server, text: str, pitch_hz: float) -> Iterator[None]:
    """Asks, and does not wait for the answer; whoever leaves the block leaves it."""
    request = httpx.Request("POST", f"{server.url}/v1/tts", files=form(text, pitch_hz))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/tts", request.read(), dict(request.headers))
        yield


class TestWarmUp:
    def test_it_is_told_step_by_step_and_keeps_nobody_from_asking(self, tmp_path: Path) -> None:
        config = fake(f"preload = {json.dumps(PRELOAD)}", "prepare_ms = 1000")
        server = Server(tmp_path, engine="fake", config=config)
        server.spawn()
        try:
            server.wait_listening()
            percents, states, waits_s = [], set(), []

            def ready() -> bool:
                asked = time.perf_counter()
                assert server.get("/healthz").status == 200
                waits_s.append(time.perf_counter() - asked)
                reply = server.get("/readyz")
                told = json.loads(reply.body)
                assert (reply.status == 200) == told["ready"] == (told["percent"] == 100)
                percents.append(told["percent"])
                states.add((told["engines"][0]["voices"]["prepared"], told["engines"][0]["voices"]["of"]))
                return bool(told["ready"])

            wait_until(ready, "readiness")
            assert percents == sorted(percents)
            assert len(set(percents)) >= 3, percents
            assert statistics.median(waits_s) < 0.5, "liveness waited for the warm-up"
            # The default one, wren (nova is wren), and two variants.
            assert {of for _, of in states} == {4}
            assert (4, 4) in states
            server.wait_line(r"voice warmed up: 2 of 4")
            server.wait_line(r"voices\.preload: no voice is called .*nobody")
            assert server.speak("Warm.", voice="heart+pitch=2").status == 200
            assert (count(server, "lookups_total", outcome="hit"), count(server, "lookups_total", outcome="miss")) == (
                1,
                4,
            )
            assert count(server, "saved_ms_total") >= 500
        finally:
            server.end()

    def test_a_voice_that_cannot_be_prepared_is_told_and_the_others_are_ready(self, tmp_path: Path) -> None:
        folder = tmp_path / "data" / "ishowtts" / "voices" / "bad"
        folder.mkdir(parents=True)
        manifest = 'id = "bad"\nname = "Bad"\nlanguages = ["en"]\nlicence = "CC0-1.0"\n[engine.fake]\nrefuse = true\n'
        (folder / "voice.toml").write_text(manifest, encoding="utf-8")
        with Server(tmp_path, engine="fake", config=fake('preload = ["bad"]', "")) as server:
            server.wait_line(r"voice not prepared.*bad")
            assert server.speak("Hello.", voice="heart").status == 200
            assert server.speak("Hello.", voice="bad").error["code"] == "invalid_parameter"

    def test_their_loudness_is_measured_before_anybody_asks_and_when_they_change(self, tmp_path: Path) -> None:
        config = fake('preload = ["wren", "heart+pitch=2"]', "") + '[log]\nlevel = "info,ishowtts=debug"\n'
        with Server(tmp_path, engine="fake", config=config) as server:
            for voice in ("heart", "wren", r"heart\+pitch=2"):
                server.wait_line(rf"voice measured.*voice\S*{voice}\W")
            measured = server.log.count("voice measured")
            assert server.speak("Warm.", voice="wren").status == 200
            assert server.log.count("voice measured") == measured
            assert Api(server).post("/api/voices/wren/reference", clips.wav(), text="Other.").status_code == 200
            wait_until(lambda: server.log.count("voice measured") > measured, "the new version is measured")


class TestBounds:
    def test_memory_is_bounded_and_pinned_voices_stay(self, tmp_path: Path) -> None:
        config = fake('preload = ["wren"]\ncache_mib = 4', "conditioning_kib = 1000")
        with Server(tmp_path, engine="fake", config=config) as server:
            for step in range(1, 25):
                assert server.speak("Hello.", voice=f"heart+pitch={step / 2}").status == 200
                # What has been spoken is let go right after its last sound is sent.
                wait_until(lambda: count(server, "cache_bytes") <= 4 << 20, "the least recently used one goes")
            misses = count(server, "lookups_total", outcome="miss")
            assert server.speak("Hello.", voice="wren").status == 200
            assert server.speak("Hello.", voice="heart").status == 200
            assert count(server, "lookups_total", outcome="miss") == misses
            wait_until(lambda: count(server, "cache_voices") == 4, "four have room")
            assert count(server, "evictions_total") == misses - 4
            # One that went is prepared again.
            assert server.speak("Hello.", voice="heart+pitch=0.5").status == 200
            assert count(server, "lookups_total", outcome="miss") == misses + 1

    def test_clips_of_single_requests_go_with_them_and_drive_no_voice_out(self, tmp_path: Path) -> None:
        config = fake('preload = ["wren"]\ncache_mib = 4', "conditioning_kib = 1000")
        with Server(tmp_path, engine="fake", config=config) as server:
            assert server.speak("Hello.", voice="rowan").status == 200
            kept, misses = count(server, "cache_bytes"), count(server, "lookups_total", outcome="miss")
            text = "One sentence of some length is spoken here. And a second one follows it there. And a third comes."
            for number in range(6):
                assert clone(server, text, 150 + 10 * number).status_code == 200
                wait_until(lambda: count(server, "cache_voices") == 3, "the clip goes")
            assert count(server, "cache_bytes") == kept
            assert count(server, "lookups_total", outcome="miss") == misses + 6, "once for all segments of a request"
            assert count(server, "evictions_total") == 0
            assert server.speak("Hello.", voice="rowan").status == 200
            assert count(server, "lookups_total", outcome="miss") == misses + 6

    def test_a_clip_whose_request_has_ended_is_not_kept_when_it_is_prepared(self, tmp_path: Path) -> None:
        with Server(tmp_path, engine="fake", config=fake("", "prepare_ms = 3000")) as server:
            with cloning(server, "Hello.", 150):
                wait_until(lambda: count(server, "lookups_total", outcome="miss") == 2, "the clip is asked for")
            assert count(server, "prepare_ms_total") < 6000, "it was left in time"
            wait_until(lambda: count(server, "prepare_ms_total") >= 6000, "the clip is prepared")
            wait_until(lambda: count(server, "cache_voices") == 1, "it is gone")
            assert count(server, "evictions_total") == 0

    def test_a_voice_in_use_stays_until_it_has_been_spoken(self, tmp_path: Path) -> None:
        config = fake("cache_mib = 0", "conditioning_kib = 100\nfaults = true\nslots = 2\nsteps = 2\nstep_ms = 100")
        with Server(tmp_path, engine="fake", config=config) as server:
            text = "One sentence of some length is spoken here. And a second one follows it there. And a third comes."
            expected = server.speak(text, voice="wren").body
            with server.streaming(text, voice="wren") as response:
                first = response.read(100)
                assert server.speak("Meanwhile.", voice="rowan").status == 200
                assert first + response.read() == expected

    def test_a_cold_voice_stalls_nobody(self, tmp_path: Path) -> None:
        with Server(tmp_path, engine="fake", config=fake("", "prepare_ms = 4000")) as server:
            cold = threading.Thread(target=server.speak, args=("Cold.",), kwargs={"voice": "heart+pitch=1"})
            cold.start()
            wait_until(lambda: count(server, "lookups_total", outcome="miss") == 2, "the cold voice was asked for")
            assert server.speak("Warm.", voice="heart").status == 200
            assert cold.is_alive(), "the warm one did not wait for it"
            cold.join()

    def test_a_stream_goes_on_while_another_requests_clip_is_prepared(self, tmp_path: Path) -> None:
        text = " ".join(f"This is sentence number {number} of them." for number in range(6))
        with Server(tmp_path, engine="fake", config=fake("", "prepare_ms = 4000\nsteps = 4\nstep_ms = 40")) as server:
            alone, gaps_alone = arriving(server, text)
            assert len(gaps_alone) > 10, "it comes piece by piece"

            def longest_gap_s() -> float:
                prepared_ms = count(server, "prepare_ms_total")
                misses = count(server, "lookups_total", outcome="miss")
                cloned: list[httpx.Response] = []
                asked = threading.Thread(target=lambda: cloned.append(clone(server, "Hello.", 150 + misses)))
                asked.start()
                wait_until(lambda: count(server, "lookups_total", outcome="miss") > misses, "the clip is asked for")
                meanwhile, gaps = arriving(server, text)
                went_on = count(server, "prepare_ms_total") == prepared_ms
                assert meanwhile == alone
                asked.join()
                assert cloned[0].status_code == 200
                return max(gaps) if went_on else float("inf")

            # A stall is as long as what is left of the preparation; what the machine adds is nothing beside it.
            longest_s = max(gaps_alone) + 1.0
            assert steadily(longest_gap_s, lambda gap_s: gap_s < longest_s) < longest_s


def arriving(server: Server, text: str) -> tuple[bytes, list[float]]:
    """Speech, and the seconds between its pieces."""
    pieces, times_s = [], [time.perf_counter()]
    with server.streaming(text, voice="heart", seed=7) as response:
        while piece := response.read1():
            pieces.append(piece)
            times_s.append(time.perf_counter())
    return b"".join(pieces), [later - earlier for earlier, later in itertools.pairwise(times_s)]
