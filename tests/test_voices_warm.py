"""Prepared voices: warm before the server is ready, bounded, never in the way of what is spoken."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from harness import Server, wait_until

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


class TestWarmUp:
    def test_it_is_told_step_by_step_and_keeps_nobody_from_asking(self, tmp_path: Path) -> None:
        config = fake(f"preload = {json.dumps(PRELOAD)}", "prepare_ms = 500")
        server = Server(tmp_path, engine="fake", config=config)
        server.spawn()
        try:
            server.wait_listening()
            percents, states = [], set()

            def ready() -> bool:
                asked = time.perf_counter()
                assert server.get("/healthz").status == 200
                assert time.perf_counter() - asked < 1.0, "liveness waited for the warm-up"
                reply = server.get("/readyz")
                told = json.loads(reply.body)
                assert (reply.status == 200) == told["ready"] == (told["percent"] == 100)
                percents.append(told["percent"])
                states.add((told["engines"][0]["voices"]["prepared"], told["engines"][0]["voices"]["of"]))
                return bool(told["ready"])

            wait_until(ready, "readiness")
            assert percents == sorted(percents)
            assert len(set(percents)) >= 4, percents
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


class TestBounds:
    def test_memory_is_bounded_and_pinned_voices_stay(self, tmp_path: Path) -> None:
        config = fake('preload = ["wren"]\ncache_mib = 4', "conditioning_kib = 1000")
        with Server(tmp_path, engine="fake", config=config) as server:
            for step in range(1, 25):
                assert server.speak("Hello.", voice=f"heart+pitch={step / 2}").status == 200
                assert count(server, "cache_bytes") <= 4 << 20
            misses = count(server, "lookups_total", outcome="miss")
            assert server.speak("Hello.", voice="wren").status == 200
            assert server.speak("Hello.", voice="heart").status == 200
            assert count(server, "lookups_total", outcome="miss") == misses
            assert count(server, "cache_voices") == 4
            assert count(server, "evictions_total") == misses - 4
            # One that went is prepared again.
            assert server.speak("Hello.", voice="heart+pitch=0.5").status == 200
            assert count(server, "lookups_total", outcome="miss") == misses + 1

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
        with Server(tmp_path, engine="fake", config=fake("", "prepare_ms = 3000")) as server:
            cold = threading.Thread(target=server.speak, args=("Cold.",), kwargs={"voice": "heart+pitch=1"})
            cold.start()
            wait_until(lambda: count(server, "lookups_total", outcome="miss") == 2, "the cold voice was asked for")
            started = time.perf_counter()
            assert server.speak("Warm.", voice="heart").status == 200
            assert time.perf_counter() - started < 2.0
            assert cold.is_alive()
            cold.join()
