"""f5 behind the engine protocol: what a request makes of it, references, and what it says of itself."""

from __future__ import annotations

import dataclasses
import gc
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pypinyin")

import f5_model  # noqa: E402
from f5_model import SENTENCES, Small, relative, run, segment, sound, speak  # noqa: E402
from harness import steadily  # noqa: E402
from ishowtts.engine import Admitted, Conditioning, Engine  # noqa: E402
from ishowtts.engines.f5 import memory, warm_up  # noqa: E402
from ishowtts.engines.f5.engine import F5  # noqa: E402
from ishowtts.errors import InvalidSetting  # noqa: E402


class TestSpeaking:
    def test_is_an_engine(self, engine: F5) -> None:
        assert isinstance(engine, Engine)
        info = engine.info
        assert (info.name, info.sample_rate_hz, info.device, info.max_shared) == ("f5", 24_000, "cpu", 1)
        assert info.clones_voices
        assert info.max_slots >= 1
        assert info.cost.steps == 7
        assert info.cost.ms_per_char >= 0
        assert info.cost.fixed_ms + info.cost.ms_per_char > 0

    def test_takes_the_steps_it_says(self, engine: F5, hum: Conditioning) -> None:
        for steps in (4, 7, 32):
            assert engine.admit(0, segment(SENTENCES[0], nfe_steps=steps), hum) == steps
            for _ in range(steps - 1):
                assert list(engine.step([0])) == []
            (chunk,) = engine.step([0])
            assert chunk.last

    def test_seed_decides(self, engine: F5, hum: Conditioning) -> None:
        first, again, other = (speak(engine, segment(SENTENCES[1], seed), hum) for seed in (3, 3, (1 << 53) - 1))
        assert first.tobytes() == again.tobytes()
        assert relative(other, first) > 0.1

    def test_speed_decides_the_length(self, engine: F5, hum: Conditioning) -> None:
        slow, plain, fast = (len(speak(engine, segment(SENTENCES[1], speed=s), hum)) for s in (0.5, 1.0, 2.0))
        assert slow == pytest.approx(2 * plain, rel=0.02)
        assert fast == pytest.approx(plain / 2, rel=0.02)

    def test_long_text_is_made_in_pieces_that_come_one_by_one(self, engine: F5, hum: Conditioning) -> None:
        text = " ".join(SENTENCES * 4)
        left = engine.admit(0, segment(text), hum)
        assert left > 7
        assert left % 7 == 0
        chunks = run(engine, [0])[0]
        assert len(chunks) == left // 7
        whole = sound(chunks)
        hard = speak(engine, segment(text, cross_fade_duration=0.0), hum)
        assert len(hard) - len(whole) == (len(chunks) - 1) * 3600

    def test_quiet_reference_gives_quiet_speech(self, engine: F5, hum: Conditioning) -> None:
        usual, as_it_is = (speak(engine, segment(SENTENCES[1], target_rms=rms), hum) for rms in (0.1, 0.001))
        assert np.abs(usual).mean() < np.abs(as_it_is).mean() * 0.9

    def test_duration_can_be_fixed(self, engine: F5, hum: Conditioning) -> None:
        pcm = speak(engine, segment(SENTENCES[1], fix_duration=5.0), hum)
        reference = len(hum.clip.samples) // 256  # type: ignore[attr-defined]
        assert len(pcm) == (int(5.0 * 24_000 / 256) - reference - 1) * 256

    def test_a_duration_that_the_reference_fills_is_refused(self, engine: F5, hum: Conditioning) -> None:
        reference_s = len(hum.clip.samples) / 24_000  # type: ignore[attr-defined]
        for fixed in (0.5, reference_s, reference_s + 0.1):
            with pytest.raises(InvalidSetting, match=rf"the reference alone is {reference_s:.1f} s"):
                engine.admit(0, segment(SENTENCES[1], fix_duration=fixed), hum)
        assert not engine._slots
        # What is asked for at least is enough for the server to take it for speech: 8 ms a letter.
        with pytest.raises(InvalidSetting) as refused:
            engine.admit(0, segment(SENTENCES[1], fix_duration=0.5), hum)
        least = float(re.findall(r"give (\S+) at least", str(refused.value))[0]) + 0.05
        letters = sum(letter.isalnum() for letter in SENTENCES[1])
        assert len(speak(engine, segment(SENTENCES[1], fix_duration=least), hum)) >= letters * 8 * 24

    def test_no_guidance_for_some_t_is_cheaper_and_another_sound(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[bool] = []
        original = engine.dit.velocities
        monkeypatch.setattr(engine.dit, "velocities", lambda es: (seen.extend(e.guided for e in es), original(es))[1])
        full = speak(engine, segment(SENTENCES[1]), hum)
        part = speak(engine, segment(SENTENCES[1], cfg_interval=[0.0, 0.3]), hum)
        none = speak(engine, segment(SENTENCES[1], cfg_strength=0), hum)
        assert seen[:7] == [True] * 7
        assert seen[7:14] == [True] * 6 + [False]
        assert seen[14:] == [False] * 7
        assert relative(part, full) > 0.001
        assert relative(none, full) > 0.001


class TestShortTexts:
    def test_get_the_time_that_the_request_says(self, engine: F5, hum: Conditioning) -> None:
        def samples(text: str, **given: Any) -> int:
            return len(speak(engine, segment(text, **given), hum))

        assert samples("Thank you") > 2 * samples("Thank you", short_speed_rule="off")
        even = samples("Hi", short_speed_rule="even")
        padded = samples("Hi", short_speed_rule="even", short_padding=True)
        assert samples("Hi", short_speed_rule="off") < even < padded
        long = "This is no text of a few words."
        assert samples(long) == samples(long, short_speed_rule="even", short_padding=True)

    def test_rules_are_checked(self, engine: F5, hum: Conditioning) -> None:
        with pytest.raises(InvalidSetting, match="upstream, even or off"):
            engine.admit(0, segment("Hi", short_speed_rule="never"), hum)


class TestAuto:
    def admitted(self, engine: F5, hum: Conditioning, text: str, budget_steps: float | None, **given: Any) -> Admitted:
        said = segment(text, nfe_steps="auto", **given)
        if budget_steps is not None:
            step_ms = engine.info.cost.fixed_ms + engine.info.cost.ms_per_char * len(text)
            said = dataclasses.replace(said, budget_ms=budget_steps * step_ms)
        admitted = engine.admit(0, said, hum)
        engine.cancel(0)
        assert isinstance(admitted, Admitted)
        assert admitted.params["nfe_steps"] == admitted.steps_left
        return admitted

    def test_steps_follow_the_text_alone(self, engine: F5, hum: Conditioning) -> None:
        for text, steps in (("Hi there.", 16), ("x" * 24, 10), ("x" * 59, 10), ("x" * 60, 7)):
            for budget_steps in (None, 0.0):
                admitted = self.admitted(engine, hum, text, budget_steps)
                assert (admitted.steps_left, admitted.hurried) == (steps, False)

    def test_steps_follow_the_time_where_the_request_allows_it(self, engine: F5, hum: Conditioning) -> None:
        for budget_steps, steps in ((None, 16), (100.0, 16), (16.1, 16), (15.9, 12), (10.5, 10), (0.0, 7)):
            admitted = self.admitted(engine, hum, "Hi there.", budget_steps, nfe_adapt=True)
            assert (admitted.steps_left, admitted.hurried) == (steps, steps < 16)

    def test_never_below_the_floor(self, engine: F5, hum: Conditioning) -> None:
        for floor, steps in ((4, 4), (5, 5), (12, 12), (24, 24)):
            given = {"nfe_adapt": True, "nfe_floor": floor}
            assert self.admitted(engine, hum, "Hi there.", 0.0, **given).steps_left == steps
        assert self.admitted(engine, hum, "x" * 90, None, nfe_floor=12).steps_left == 12

    def test_of_a_long_text_every_piece_is_told(self, engine: F5, hum: Conditioning) -> None:
        text = "The boats turned home one by one, and nobody spoke of it. " * 4 + "Yes."
        admitted = engine.admit(0, segment(text, nfe_steps="auto"), hum)
        engine.cancel(0)
        assert isinstance(admitted, Admitted)
        told = admitted.params["nfe_steps"]
        assert sum(told) == admitted.steps_left if isinstance(told, list) else admitted.steps_left % told == 0

    def test_numbers_of_the_requests_own_stand(self, engine: F5, hum: Conditioning) -> None:
        assert engine.admit(0, dataclasses.replace(segment("Hi there.", nfe_steps=32), budget_ms=0.0), hum) == 32

    def test_whole_numbers_are_what_json_takes_for_them(self, engine: F5, hum: Conditioning) -> None:
        assert engine.admit(0, segment("Hi there.", nfe_steps=5.0), hum) == 5
        engine.cancel(0)
        admitted = engine.admit(0, segment("Hi there.", nfe_steps="auto", nfe_floor=20.0), hum)
        assert isinstance(admitted, Admitted)
        assert admitted.params == {"nfe_steps": 20}

    @pytest.mark.parametrize("told", [0, "auto"])
    def test_can_be_the_default(self, small: Small, told: int | str) -> None:
        engine = small.engine(nfe_steps=told)
        admitted = engine.admit(0, segment("Hi there."), engine.prepare(small.voice()))
        assert isinstance(admitted, Admitted)
        assert admitted.steps_left == 16
        engine.close()


class TestReferences:
    def test_are_bounded_in_bytes_and_sound_the_same_when_made_anew(self, small: Small, tmp_path: Path) -> None:
        engine = small.engine(reference_cache_mb=1)
        try:
            clips = []
            for seed in range(3):
                path = f5_model.write_reference(tmp_path / f"{seed}.wav", 11.0, seed)
                voice = dataclasses.replace(
                    small.voice(prepared=True), reference_audio=path.read_bytes(), version=str(seed)
                )
                clips.append(engine.prepare(voice))
                assert engine.levels.nbytes <= 1 << 20
            mel_bytes = (11 * 24_000 // 256 + 1) * 400
            assert engine.levels.nbytes == 2 * mel_bytes
            assert [clip.nbytes for clip in clips] == [11 * 24_000 * 4 + mel_bytes] * 3
            said = segment("Hi there.", nfe_steps=4)
            first = speak(engine, said, clips[0])
            for clip in clips[1:]:
                assert relative(speak(engine, said, clip), first) > 0.01
            assert speak(engine, said, clips[0]).tobytes() == first.tobytes()
            assert engine.levels.nbytes <= 1 << 20
        finally:
            engine.close()

    def test_without_room_for_one_it_speaks_all_the_same(self, small: Small, engine: F5, hum: Conditioning) -> None:
        tight = small.engine(reference_cache_mb=0)
        found = speak(tight, segment(SENTENCES[0]), tight.prepare(small.voice()))
        assert found.tobytes() == speak(engine, segment(SENTENCES[0]), hum).tobytes()
        assert tight.levels.nbytes == 0
        tight.close()

    def test_are_released_when_forgotten_and_all_is_at_the_end(self, small: Small) -> None:
        engine = small.engine()
        one, two = engine.prepare(small.voice()), engine.prepare(small.voice())
        engine.admit(0, segment("Hi there.", target_rms=0.2), one)
        engine.admit(1, segment("Hi there."), two)
        held = [weakref.ref(level.mel) for level in engine.levels._held.values()]
        weights = weakref.ref(engine.dit), weakref.ref(engine.vocos)
        assert len(held) == 3
        engine.cancel(0)
        engine.forget(one)
        gc.collect()
        assert [ref() is None for ref in held] == [True, True, False]
        assert engine.levels.nbytes == two.nbytes - two.clip.samples.nbytes  # type: ignore[attr-defined]
        levels = engine.levels
        engine.close()
        gc.collect()
        assert [ref() for ref in (*held, *weights)] == [None] * 5
        assert levels.nbytes == 0


class TestMemory:
    def test_is_told(self, small: Small, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO", logger="ishowtts"):
            engine = small.engine()
        (told,) = [record.message for record in caplog.records if "keeps" in record.message]
        assert f"the model {engine.dit.nbytes / 2**20:.0f} MiB" in told
        assert "the vocoder" in told
        engine.close()

    def test_decides_how_many_fit(self, engine: F5) -> None:
        fits = [memory.fitting(engine.dit, free) for free in (0, 1 << 20, 1 << 24, 1 << 28, 1 << 40)]
        assert fits == sorted(fits)
        assert (fits[0], fits[-1]) == (1, 64)
        assert len(set(fits)) >= 3


class TestImport:
    def test_needs_torch_numpy_and_safetensors_alone(self) -> None:
        code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        allowed = ("torch", "numpy", "safetensors", "ishowtts")
        if name == "ishowtts._native" or name.partition(".")[0] in (
            "pypinyin", "rjieba", "wetext", "num2words", "yaml", "huggingface_hub", "torchaudio", "scipy", "soundfile"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import torch, numpy, safetensors, time
started = time.process_time()
import ishowtts.engines.f5.engine
import ishowtts.engines.f5
print(time.process_time() - started, [n for n in sys.modules if n.startswith("ishowtts._native")])
"""

        def seconds() -> float:
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            taken, _, rest = done.stdout.partition(" ")
            assert rest.strip() == "[]"
            return float(taken)

        # Of a core, not of the clock: other tests run beside this one.
        assert steadily(seconds, lambda taken: taken < 0.3) < 0.3


@pytest.mark.parametrize(("file", "option"), [("model.safetensors", "checkpoint"), ("pytorch_model.bin", "vocoder")])
def test_weights_that_make_no_numbers_do_not_load(tmp_path: Path, file: str, option: str) -> None:
    """Each of them is finite."""
    small = f5_model.write(tmp_path)
    path = next(tmp_path.rglob(file))
    f5_model.rewrite(path, {"attn.to_q.weight": 1e38, "pwconv1.weight": 1e38})
    with pytest.raises(InvalidSetting, match=rf"\[engines\.f5\] {option}: .* not finite"):
        small.engine()


def test_revision_follows_weights_and_path(small: Small, loaded: F5, tmp_path: Path) -> None:
    assert small.engine().info.revision == loaded.info.revision
    assert small.engine(ema=False).info.revision != loaded.info.revision
    assert small.engine(dtype="bf16").info.revision != loaded.info.revision
    assert f5_model.write(tmp_path, pe_attn_head=1).engine().info.revision != loaded.info.revision


@pytest.mark.parametrize(
    ("runs", "used"),
    [
        ([5, 5.1, 1], 2),
        ([500, 5, 5.2, 1], 3),
        ([5, 900, 5.2, 1], 3),
        ([9, 700, 800, 9.5, 1], 4),
        ([2.0**n for n in range(20)], 8),
    ],
)
def test_a_disturbed_run_does_not_tell_the_cost(runs: list[float], used: int) -> None:
    left = iter(runs)
    assert warm_up.agreed(lambda: next(left)) == min(runs[:used])
    assert next(left) == runs[used]
