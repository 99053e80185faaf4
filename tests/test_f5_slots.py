"""f5's slots: they join, leave and fail without a trace in the others."""

from __future__ import annotations

import dataclasses
import itertools
import random
import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pypinyin")

from f5_model import SENTENCES, Small, relative, run, segment, sound, speak  # noqa: E402
from ishowtts.engine import Chunk, Conditioning, Pcm  # noqa: E402
from ishowtts.engines.f5 import memory  # noqa: E402
from ishowtts.engines.f5.ahead import Ahead, sent  # noqa: E402
from ishowtts.engines.f5.engine import F5  # noqa: E402
from ishowtts.errors import EngineBroken  # noqa: E402


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
