"""f5 behind the engine protocol: slots that join, leave and fail without a trace in the others."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import random
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pypinyin")

import f5_model  # noqa: E402
from f5_model import Small, segment  # noqa: E402
from harness import steadily  # noqa: E402
from ishowtts.engine import Admitted, Chunk, Conditioning, Engine, Pcm, Segment  # noqa: E402
from ishowtts.engines.f5 import memory, params, warm_up  # noqa: E402
from ishowtts.engines.f5 import output as outputs  # noqa: E402
from ishowtts.engines.f5.ahead import Ahead, sent  # noqa: E402
from ishowtts.engines.f5.engine import F5  # noqa: E402
from ishowtts.engines.f5.output import Output, Taking  # noqa: E402
from ishowtts.engines.f5.saying import Join  # noqa: E402
from ishowtts.errors import EngineBroken, InvalidSetting, SegmentRefused  # noqa: E402

SENTENCES = (
    "Hello there.",
    "The boats turned home in the evening, one by one.",
    "ni hao",
    "What a day it was, was it?",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return f5_model.write(tmp_path_factory.mktemp("f5"))


@pytest.fixture(scope="module")
def loaded(small: Small) -> Iterator[F5]:
    engine = small.engine()
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded: F5) -> Iterator[F5]:
    yield loaded
    for slot in range(loaded.info.max_slots):
        loaded.cancel(slot)


@pytest.fixture(scope="module")
def hum(small: Small, loaded: F5) -> Conditioning:
    return loaded.prepare(small.voice())


def run(engine: Engine, slots: list[int]) -> dict[int, list[Chunk]]:
    """Steps until all are done."""
    chunks: dict[int, list[Chunk]] = {slot: [] for slot in slots}
    left = list(slots)
    while left:
        for chunk in engine.step(left):
            chunks[chunk.slot].append(chunk)
            if chunk.last:
                left.remove(chunk.slot)
    return chunks


def run_all(engine: Engine, slots: list[int]) -> list[Chunk]:
    """All chunks in the order in which they come."""
    chunks: list[Chunk] = []
    left = list(slots)
    while left:
        for chunk in engine.step(left):
            chunks.append(chunk)
            if chunk.last:
                left = [slot for slot in left if slot != chunk.slot]
    return chunks


def sound(chunks: list[Chunk]) -> Pcm:
    for chunk in chunks:
        if chunk.error is not None:
            raise chunk.error
        assert chunk.pcm.dtype == np.float32
        assert chunk.pcm.flags.c_contiguous
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    return np.concatenate([chunk.pcm for chunk in chunks])


def speak(engine: Engine, said: Segment, conditioning: Conditioning) -> Pcm:
    engine.admit(0, said, conditioning)
    return sound(run(engine, [0])[0])


def relative(found: Pcm, wanted: Pcm) -> float:
    assert found.shape == wanted.shape
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


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


class TestSlots:
    def test_join_and_leave_at_random_and_hear_nothing_of_each_other(self, engine: F5, hum: Conditioning) -> None:
        choice = random.Random(11)
        said = [
            segment(choice.choice(SENTENCES), seed, choice.choice([0.8, 1.0, 1.3]), nfe_steps=choice.choice([4, 7, 10]))
            for seed in range(24)
        ]
        alone = [speak(engine, one, hum) for one in said]
        waiting = list(enumerate(said))
        owner: dict[int, int] = {}
        cancelled: set[int] = set()
        heard: dict[int, list[Chunk]] = {number: [] for number in range(len(said))}
        while waiting or owner:
            free = [slot for slot in range(engine.info.max_slots) if slot not in owner]
            while waiting and free and choice.random() < 0.6:
                number, one = waiting.pop()
                engine.admit(free[0], one, hum)
                owner[free.pop(0)] = number
            if owner and choice.random() < 0.05:
                slot = choice.choice(list(owner))
                engine.cancel(slot)
                cancelled.add(owner.pop(slot))
            some = [slot for slot in owner if choice.random() < 0.7]
            if some:
                for chunk in engine.step(some):
                    heard[owner[chunk.slot]].append(chunk)
                    if chunk.last:
                        del owner[chunk.slot]
        assert 0 < len(cancelled) < 12
        for number, wanted in enumerate(alone):
            if number not in cancelled:
                assert relative(sound(heard[number]), wanted) < 1e-5

    def test_one_at_a_time_is_the_same_bits_in_every_order(self, engine: F5, hum: Conditioning) -> None:
        said = [segment(text, seed) for seed, text in enumerate(SENTENCES[:3])]
        alone = [speak(engine, one, hum).tobytes() for one in said]
        for order in itertools.permutations(range(3)):
            for slot in order:
                engine.admit(slot, said[slot], hum)
            chunks: dict[int, list[Chunk]] = {0: [], 1: [], 2: []}
            for _ in range(7):
                for slot in order:
                    chunks[slot] += engine.step([slot])
            assert [sound(chunks[slot]).tobytes() for slot in range(3)] == alone

    def test_a_slot_in_use_is_refused(self, engine: F5, hum: Conditioning) -> None:
        engine.admit(1, segment(SENTENCES[0]), hum)
        for slot in (1, -1, engine.info.max_slots):
            with pytest.raises(RuntimeError, match="not free"):
                engine.admit(slot, segment(SENTENCES[0]), hum)
        engine.cancel(1)
        engine.cancel(1)
        engine.admit(1, segment(SENTENCES[0]), hum)

    def test_cancelled_slots_leave_nothing_behind(self, engine: F5, hum: Conditioning) -> None:
        wanted = speak(engine, segment(SENTENCES[1], 9), hum)
        for steps in range(7):
            engine.admit(0, segment(SENTENCES[3], steps), hum)
            for _ in range(steps):
                list(engine.step([0]))
            engine.cancel(0)
            assert speak(engine, segment(SENTENCES[1], 9), hum).tobytes() == wanted.tobytes()

    def test_two_engines_at_once(self, small: Small, hum: Conditioning, loaded: F5) -> None:
        other = small.engine()
        wanted = [speak(loaded, segment(SENTENCES[1], seed), hum) for seed in range(4)]
        heard: dict[str, list[Pcm]] = {"loaded": [], "other": []}

        def work(name: str, engine: F5) -> None:
            conditioning = engine.prepare(small.voice())
            heard[name] = [speak(engine, segment(SENTENCES[1], seed), conditioning) for seed in range(4)]

        threads = [threading.Thread(target=work, args=pair) for pair in (("loaded", loaded), ("other", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        other.close()
        for name in heard:
            assert [pcm.tobytes() for pcm in heard[name]] == [pcm.tobytes() for pcm in wanted]


class Later:
    """An output that goes on beside the steps, as on a GPU: its sound is there when it is taken."""

    beside = True

    def __init__(self, inline: Output) -> None:
        self._inline = inline
        self.begun = 0
        self.taken = 0

    def begin(self, mel: torch.Tensor) -> Taking:
        self.begun += 1
        taking = self._inline.begin(mel)

        def take() -> Pcm:
            self.taken += 1
            return taking()

        return take

    def close(self) -> None:
        pass


class TestOutput:
    def test_sound_is_made_beside_the_steps_of_others(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = [segment("Hi there.", seed, nfe_steps=4 + seed) for seed in range(3)]
        wanted = [speak(engine, one, hum) for one in said]
        later = Later(engine.output)
        monkeypatch.setattr(engine, "output", later)
        for slot, one in enumerate(said):
            engine.admit(slot, one, hum)
        for _ in range(3):
            assert list(engine.step([0, 1, 2])) == []
        assert (list(engine.step([0, 1, 2])), later.begun, later.taken) == ([], 1, 0)
        # The next step of the others brings it; a slot that is passed over is waited for no longer than that.
        assert (list(engine.step([1])), later.begun, later.taken) == ([], 2, 0)
        (first,) = engine.step([0, 2])
        assert (first.slot, first.last, later.taken) == (0, True, 1)
        second, third = run_all(engine, [1, 2])
        assert [chunk.slot for chunk in (second, third)] == [1, 2]
        for chunk in (first, second, third):
            assert relative(chunk.pcm, wanted[chunk.slot]) < 1e-5

    def test_who_is_alone_does_not_wait_for_another_step(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "output", Later(engine.output))
        engine.admit(0, segment("Hi there.", nfe_steps=4), hum)
        assert [len(list(engine.step([0]))) for _ in range(4)] == [0, 0, 0, 1]

    def test_a_long_text_goes_on_and_a_cancelled_one_is_gone(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = " ".join(SENTENCES * 4)
        wanted = speak(engine, segment(text, nfe_steps=4), hum)
        monkeypatch.setattr(engine, "output", Later(engine.output))
        engine.admit(0, segment(text, nfe_steps=4), hum)
        engine.admit(1, segment("Hi there.", nfe_steps=4), hum)
        engine.admit(2, segment("Hi there.", nfe_steps=64), hum)
        chunks: list[Chunk] = []
        for _ in range(4):
            chunks += engine.step([0, 1, 2])
        assert chunks == []
        engine.cancel(1)
        while not chunks or not chunks[-1].last:
            chunks += engine.step([0, 2])
        assert {chunk.slot for chunk in chunks} == {0}
        assert relative(sound(chunks), wanted) < 1e-5
        assert engine.admit(1, segment("Hi there."), hum) == 7

    def test_failures_on_the_way_end_their_own_slot(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "output", Later(engine.output))
        for slot in (0, 1):
            engine.admit(slot, segment("Hi there.", nfe_steps=4 + slot), hum)
        with torch.inference_mode():
            engine._slots[0].x[5, 5] = float("nan")
        chunks = run_all(engine, [0, 1])
        assert [(chunk.slot, type(chunk.error)) for chunk in chunks] == [(0, ArithmeticError), (1, type(None))]

    def test_samples_and_their_soundness_come_in_one_piece(self) -> None:
        mel, pcm = torch.zeros(3, 4), torch.linspace(-1, 1, 700)
        buffers = outputs.Buffers(pinned=False)
        first = buffers.take(701)
        first[:701].copy_(outputs.pack(mel, pcm))
        samples = outputs.unpack(first[:701])
        first.zero_()
        assert samples.tobytes() == pcm.numpy().tobytes()
        loud = pcm.clone()
        loud[5] = float("nan")
        with pytest.raises(ArithmeticError, match="not finite"):
            outputs.unpack(outputs.pack(mel, loud))
        mel[1, 2] = float("inf")
        with pytest.raises(ArithmeticError, match="not finite"):
            outputs.unpack(outputs.pack(mel, pcm))

    def test_a_vocoder_that_gives_no_numbers_is_heard_by_nobody(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine.vocos, "decode", lambda mel: torch.full((256,), float("inf")))
        engine.admit(0, segment("Hi there.", nfe_steps=4), hum)
        (chunk,) = run(engine, [0])[0]
        assert (type(chunk.error), len(chunk.pcm)) == (ArithmeticError, 0)

    def test_buffers_are_used_again(self) -> None:
        buffers = outputs.Buffers(pinned=False)
        small, large = buffers.take(1000), buffers.take(5000)
        assert [len(small), len(large)] == [1024, 8192]
        buffers.give(large)
        buffers.give(small)
        assert buffers.take(900) is small
        assert buffers.take(900) is large
        for size in range(1, 21):
            buffers.give(torch.empty(size))
        assert buffers.take(13).numel() == 13
        assert buffers.take(1).numel() == 14

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
    def test_on_a_device(self, small: Small, engine: F5, hum: Conditioning) -> None:
        wanted = [speak(engine, segment(text, nfe_steps=7), hum) for text in SENTENCES]
        device = small.engine(device="cuda:0", dtype="fp32")
        reference = device.prepare(small.voice())
        for slot, text in enumerate(SENTENCES):
            device.admit(slot, segment(text, nfe_steps=7), reference)
        chunks = run_all(device, list(range(len(SENTENCES))))
        for chunk in chunks:
            assert chunk.error is None
            assert np.corrcoef(chunk.pcm, wanted[chunk.slot])[0, 1] > 0.999
        held = torch.cuda.memory_allocated()
        device.close()
        gc.collect()
        assert torch.cuda.memory_allocated() < held / 2


class Reached:
    """A place in a device's work that the host has waited for, or not."""

    def __init__(self) -> None:
        self.waited = False

    def synchronize(self) -> None:
        self.waited = True


class TestPace:
    def test_the_host_is_one_step_ahead_and_no_more(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        marks: list[Reached] = []
        monkeypatch.setattr(engine, "ahead", Ahead(lambda: marks.append(Reached()) or marks[-1]))  # type: ignore[func-returns-value]
        engine.admit(0, segment(SENTENCES[0], nfe_steps=5), hum)
        for step in range(1, 6):
            list(engine.step([0]))
            assert [mark.waited for mark in marks] == [True] * (step - 1) + [False]

    def test_a_device_that_failed_meanwhile_breaks_the_engine(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Lost:
            def synchronize(self) -> None:
                raise RuntimeError("unknown error")

        monkeypatch.setattr(engine, "ahead", Ahead(Lost))
        engine.admit(0, segment(SENTENCES[0]), hum)
        list(engine.step([0]))
        with pytest.raises(EngineBroken):
            list(engine.step([0]))

    def test_what_is_sent_to_a_device_waits_for_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        locked, asked = torch.ones(2), []
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: locked)
        monkeypatch.setattr(torch.Tensor, "to", lambda self, *given, **how: asked.append((self, given, how)))
        device = torch.device("cuda", 1)
        sent(torch.zeros(2), device)
        ((tensor, given, how),) = asked
        assert tensor is locked
        assert (given, how) == ((device,), {"non_blocking": True})

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
    def test_admission_on_a_device_never_waits_for_it(self, small: Small) -> None:
        device = small.engine(device="cuda:0")
        reference = device.prepare(small.voice())
        speak(device, segment(SENTENCES[0]), reference)
        torch.cuda.set_sync_debug_mode("error")
        try:
            device.admit(0, segment(SENTENCES[1]), reference)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        device.close()


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


class TestFailures:
    def test_who_is_at_fault_ends_and_nobody_else(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Out of memory together, and one of them alone too."""
        wanted = [speak(engine, segment(SENTENCES[1], seed), hum) for seed in (0, 1)]
        for slot in (0, 1):
            engine.admit(slot, segment(SENTENCES[1], slot), hum)
        engine.admit(2, segment(SENTENCES[1], fix_duration=20.0), hum)
        original = engine.dit.velocities

        def scarce(evaluations: Any) -> Any:
            if sum(e.prompt.frames for e in evaluations) > 1500:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return original(evaluations)

        monkeypatch.setattr(engine.dit, "velocities", scarce)
        chunks = run(engine, [0, 1, 2])
        assert isinstance(chunks[2][-1].error, torch.OutOfMemoryError)
        assert len(chunks[2]) == 1
        for slot in (0, 1):
            assert relative(sound(chunks[slot]), wanted[slot]) < 1e-5
        monkeypatch.undo()
        assert relative(speak(engine, segment(SENTENCES[1], 0), hum), wanted[0]) == 0

    def test_not_a_number_ends_its_own_slot(self, engine: F5, hum: Conditioning) -> None:
        wanted = speak(engine, segment(SENTENCES[1]), hum)
        engine.admit(0, segment(SENTENCES[1]), hum)
        engine.admit(1, segment(SENTENCES[3]), hum)
        list(engine.step([0, 1]))
        with torch.inference_mode():
            engine._slots[1].x[5, 5] = float("nan")
        chunks = run(engine, [0, 1])
        assert relative(sound(chunks[0]), wanted) < 1e-5
        assert isinstance(chunks[1][-1].error, ArithmeticError)
        assert chunks[1][-1].last

    def test_a_vocoder_that_fails_ends_one_slot(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for slot in (0, 1):
            engine.admit(slot, segment(SENTENCES[slot]), hum)
        original = engine.vocos.decode
        turns = itertools.count()

        def fail_once(frames: torch.Tensor) -> torch.Tensor:
            if next(turns) == 0:
                raise RuntimeError("no memory for the vocoder")
            return original(frames)

        monkeypatch.setattr(engine.vocos, "decode", fail_once)
        chunks = run(engine, [0, 1])
        assert [chunks[slot][-1].error is None for slot in (0, 1)] == [False, True]

    def test_a_lost_device_breaks_the_engine(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(evaluations: Any) -> Any:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        engine.admit(0, segment(SENTENCES[0]), hum)
        monkeypatch.setattr(engine.dit, "velocities", lost)
        with pytest.raises(EngineBroken):
            list(engine.step([0]))

    def test_so_does_one_that_answers_nothing_any_more(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever it was called: torch names many such errors."""

        def failed(*_: object) -> Any:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

        gpu = dataclasses.replace(engine.dit.precision, device=torch.device("cuda", 0))
        monkeypatch.setattr(engine.dit, "precision", gpu)
        monkeypatch.setattr(engine.dit, "velocities", failed)
        monkeypatch.setattr(torch.cuda, "synchronize", failed)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        engine.admit(0, segment(SENTENCES[0]), hum)
        with pytest.raises(EngineBroken):
            list(engine.step([0]))
        monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
        (chunk,) = engine.step([0])
        assert isinstance(chunk.error, RuntimeError), "a device that still answers has lost one segment"

    def test_a_device_that_is_lost_before_the_first_step_breaks_it_too(
        self, engine: F5, hum: Conditioning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given_back: list[object] = []
        monkeypatch.setattr(memory, "give_back", given_back.append)

        def scarce(*_: object) -> Any:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        def lost(*_: object) -> Any:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(engine.dit, "prompt", scarce)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            engine.admit(0, segment(SENTENCES[0]), hum)
        assert len(given_back) == 1
        monkeypatch.setattr(engine.dit, "prompt", lost)
        with pytest.raises(EngineBroken):
            engine.admit(0, segment(SENTENCES[0]), hum)

    def test_nothing_to_say_is_refused(self, engine: F5, hum: Conditioning) -> None:
        for text in ("", "   ", "...!?", "\U0001f600\U0001f389"):
            with pytest.raises(SegmentRefused, match="nothing"):
                engine.admit(0, segment(text), hum)

    def test_letters_that_the_vocabulary_lacks_are_refused(self, engine: F5, hum: Conditioning) -> None:
        """Upstream makes silence of them."""
        for text in ("\u0645\u0631\u062d\u0628\u0627", "h\u00e9llo OK"):
            with pytest.raises(SegmentRefused, match="lacks"):
                engine.admit(0, segment(text), hum)
        assert len(speak(engine, segment("OK \u4f60\u597d."), hum)) > 2400

    def test_too_long_is_refused_before_anything_is_made(self, engine: F5, hum: Conditioning) -> None:
        with pytest.raises(SegmentRefused, match=r"8192|87 s"):
            engine.admit(0, segment("a" * 4000, fix_duration=90.0), hum)
        limit = 8192 * 256 / 24_000
        assert engine.admit(0, segment("a", fix_duration=limit), hum) == 7
        assert engine._slots[0].frames == 8192

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"nfe_steps": 3}, "from 4 to 64"),
            ({"nfe_steps": 65}, "from 4 to 64"),
            ({"nfe_steps": 7.5}, "from 4 to 64"),
            ({"nfe_steps": True}, "from 4 to 64"),
            ({"schedule": "cosine"}, "epss, linear"),
            ({"sway": -1.5}, "sway"),
            ({"cfg_strength": -1}, "cfg_strength"),
            ({"cfg_strength": float("nan")}, "cfg_strength"),
            ({"cfg_interval": [0.5, 0.2]}, "end before"),
            ({"cfg_interval": 0.5}, "two numbers"),
            ({"fix_duration": "long"}, "fix_duration"),
            ({"target_rms": 0}, "target_rms"),
            ({"remove_silence": 1}, "true or false"),
            ({"nfe_step": 7}, "did you mean 'nfe_steps'"),
            ({"nfe_adapt": True}, "needs nfe_steps"),
            ({"nfe_floor": "auto"}, "from 4 to 64, not"),
            ({"nfe_floor": 3}, "from 4 to 64, not"),
            ({"nfe_steps": float("inf")}, "from 4 to 64, or 'auto'"),
        ],
    )
    def test_parameters_are_checked(self, engine: F5, hum: Conditioning, given: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidSetting, match=said):
            engine.admit(0, segment(SENTENCES[0], **given), hum)

    def test_options_are_checked(self, small: Small) -> None:
        for options, said in (
            ({"compile": "yes"}, "compile"),
            ({"nfe_steps": 3}, "nfe_steps"),
            ({"nfe_steps": "fast"}, "from 4 to 64, or 'auto'"),
            ({"nfe_steps": ""}, "from 4 to 64, or 'auto'"),
            ({"max_slots": -1}, "max_slots"),
            ({"reference_cache_mb": -1}, "reference_cache_mb"),
            ({"memory_mb": -1}, "memory_mb"),
            ({"dtype": "fp8"}, "float8"),
        ):
            with pytest.raises(InvalidSetting, match=said):
                small.engine(**options)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"model": "E2TTS_Base"}, "UNetT"),
            ({"model": "F5TTS_Base_bigvgan"}, "bigvgan"),
            ({"compile": "yes"}, "compile"),
            ({"nfe_steps": 3}, "nfe_steps"),
            ({"max_slots": -1}, "max_slots"),
            ({"dtype": "fp8", "device": "cpu"}, "float8"),
            ({"device": "cuda:99"}, "device"),
            ({"max_slot": 2}, "did you mean 'max_slots'"),
        ],
    )
    def test_what_can_never_be_spoken_is_not_fetched_first(
        self, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
    ) -> None:
        from ishowtts.engines import f5

        def fetched(options: object) -> None:
            raise AssertionError("this would be a gigabyte")

        monkeypatch.setattr("ishowtts.engines.f5.weights.resolve", fetched)
        with pytest.raises(InvalidSetting, match=said):
            f5.load(given, 1)

    def test_vocabularies_are_checked(self, small: Small, tmp_path: Path) -> None:
        """Its ids would go beyond the model's embedding, which ends a process that uses a GPU."""
        from ishowtts.engines.f5.text import load_vocab

        for content, said in (
            ("".join(f"{token}\n" for token in [" ", "a", *f5_model.TOKENS[1:]]), "line 2 stands again"),
            ("", "empty"),
        ):
            vocab = tmp_path / "vocab.txt"
            vocab.write_text(content, "utf-8")
            with pytest.raises(InvalidSetting, match=said):
                dataclasses.replace(small, files=dataclasses.replace(small.files, vocab=vocab)).engine()
        vocab.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InvalidSetting, match="UTF-8"):
            load_vocab(vocab)

    def test_voices_are_checked(self, small: Small, engine: F5) -> None:
        for changed, said in (
            ({"reference_audio": None}, "needs a reference"),
            ({"reference_text": " "}, "needs a reference"),
            ({"hints": {"pitch": 1}}, "no hint 'pitch'"),
            ({"hints": {"prepared": 1}}, "prepared"),
        ):
            with pytest.raises(InvalidSetting, match=said):
                engine.prepare(dataclasses.replace(small.voice(), **changed))


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


class TestJoin:
    def test_is_upstreams_cross_fade(self) -> None:
        noise = np.random.default_rng(0)
        for lengths in ((9000, 8000, 7000), (9000, 100, 7000), (50, 60, 70), (4000, 0, 4000)):
            waves = [noise.standard_normal(n).astype(np.float32) for n in lengths]
            join = Join(params.Params())
            parts = [join.add(wave, last=number == 2) for number, wave in enumerate(waves)]
            wanted: Any = waves[0]
            for wave in waves[1:]:
                n = min(3600, len(wanted), len(wave))
                mixed = wanted[len(wanted) - n :] * np.linspace(1, 0, n) + wave[:n] * np.linspace(0, 1, n)
                wanted = np.concatenate([wanted[: len(wanted) - n], mixed, wave[n:]])
            assert np.allclose(np.concatenate(parts), wanted, atol=1e-6)
            assert len(parts[0]) > 0 or lengths[0] <= 3600

    def test_silence_is_shortened_when_asked(self) -> None:
        noise = np.random.default_rng(0).standard_normal(24_000).astype(np.float32) * 0.1
        pause = np.zeros(72_000, np.float32)
        join = Join(params.Params(remove_silence=True))
        assert len(join.add(noise, last=False)) == 0
        assert len(join.add(np.concatenate((pause, noise)), last=True)) == pytest.approx(3 * 24_000, abs=4800)


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
def test_weights_that_are_not_finite_do_not_load(tmp_path: Path, file: str, option: str) -> None:
    from safetensors.torch import load_file, save_file

    small = f5_model.write(tmp_path)
    path = next(tmp_path.rglob(file))
    tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    name = next(name for name in tensors if name.endswith(("attn.to_q.weight", "pwconv1.weight")))
    tensors[name][3, 5] = float("nan")
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
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
