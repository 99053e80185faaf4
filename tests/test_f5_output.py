"""f5's way from a finished spectrogram to sound: beside the steps of others, piece by piece."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pypinyin")

from f5_model import SENTENCES, Small, relative, run, run_all, segment, sound, speak  # noqa: E402
from ishowtts.engine import Chunk, Conditioning, Pcm  # noqa: E402
from ishowtts.engines.f5 import output as outputs  # noqa: E402
from ishowtts.engines.f5 import params  # noqa: E402
from ishowtts.engines.f5.engine import F5  # noqa: E402
from ishowtts.engines.f5.output import Output, Taking  # noqa: E402
from ishowtts.engines.f5.saying import Join  # noqa: E402


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
