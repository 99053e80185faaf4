"""F5-TTS's network: equal to upstream's; its times and its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import f5_model  # noqa: E402
from f5_model import GOLDEN, VARIANTS, evaluation, load_dit, relative  # noqa: E402
from ishowtts.engines.f5 import precision, schedule  # noqa: E402
from ishowtts.engines.f5.config import MAX_FRAMES  # noqa: E402
from ishowtts.engines.f5.dit import DiT, Evaluation  # noqa: E402
from ishowtts.errors import InvalidSetting  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


def load(folder: Path, dtype: str = "fp32", **changed: Any) -> DiT:
    path = folder / "dit.safetensors"
    save_file(f5_model.dit_weights(f5_model.config(**changed)), path)
    return load_dit(path, precision.choose("cpu", dtype), **changed)


@pytest.mark.parametrize("variant", VARIANTS)
class TestGolden:
    """Against what upstream gave for the same weights (golden/make_f5.py)."""

    def test_flow_is_upstreams(self, variant: str, tmp_path: Path) -> None:
        golden = np.load(GOLDEN)
        dit = load(tmp_path, **VARIANTS[variant])
        with torch.inference_mode():
            reference, x = (torch.from_numpy(golden[name]) for name in ("reference", "x"))
            prompt = dit.prompt(golden["ids"], reference, len(x))
            for t, wanted in zip((0.0, 0.625), golden[f"{variant}-flow"], strict=True):
                with_prompt = dit.velocities([Evaluation(prompt, x, t, 0.0)])[0]
                guided = dit.velocities([Evaluation(prompt, x, t, 2.0)])[0]
                assert relative(with_prompt, wanted[0]) < 1e-5
                assert relative(guided, wanted[0] + (wanted[0] - wanted[1]) * 2.0) < 1e-5

    @pytest.mark.parametrize(("dtype", "bound"), [("bf16", 0.02), ("int8", 0.03)])
    def test_fewer_bits_stay_near(self, variant: str, dtype: str, bound: float, tmp_path: Path) -> None:
        if dtype == "int8" and not precision.can_int8(torch.device("cpu")):
            pytest.skip("this CPU's torch has no int8 products")
        golden = np.load(GOLDEN)
        dit = load(tmp_path, dtype, **VARIANTS[variant])
        with torch.inference_mode():
            reference, x = (torch.from_numpy(golden[name]) for name in ("reference", "x"))
            prompt = dit.prompt(golden["ids"], reference, len(x))
            found = dit.velocities([Evaluation(prompt, x, 0.625, 0.0)])[0]
        assert relative(found, golden[f"{variant}-flow"][1][0]) < bound


class TestSchedule:
    def test_grids_are_upstreams(self) -> None:
        golden = np.load(GOLDEN)
        for steps in (5, 6, 7, 8, 10, 12, 16, 20, 32, 64):
            assert schedule.grid(steps, "epss", -1.0).tolist() == golden[f"grid-{steps}"].tolist()
        assert schedule.grid(7, "linear", None).tolist() == torch.linspace(0, 1, 8).tolist()

    def test_times_never_turn_back(self) -> None:
        for steps in range(schedule.MIN_STEPS, schedule.MAX_STEPS + 1):
            for sway in (None, -1.0, 0.5, 1.75):
                for kind in schedule.SCHEDULES:
                    times = schedule.grid(steps, kind, sway)
                    assert len(times) == steps + 1
                    assert (times[1:] > times[:-1]).all()
                    assert float(times[0]) == 0.0
                    assert abs(float(times[-1]) - 1.0) < 1e-6


class TestTimes:
    def test_an_uncommon_time_is_read_from_the_file(self, tmp_path: Path) -> None:
        dit = load(tmp_path)
        before = dit.modulations.nbytes
        with torch.inference_mode():
            odd = dit.modulations.row(0.123)
            assert dit.modulations.nbytes > before
            assert torch.equal(dit.modulations.row(0.123), odd)
            # However it was made: with others or alone.
            dit.modulations.prepare([0.1, 0.2, 0.3])
            again = load(tmp_path)
            again.modulations.prepare([0.05, 0.123, 0.9])
            assert torch.equal(again.modulations.row(0.123), odd)

    def test_a_file_that_changed_meanwhile_is_not_read(self, tmp_path: Path) -> None:
        dit = load(tmp_path)
        (tmp_path / "dit.safetensors").write_bytes(b"another")
        with pytest.raises(InvalidSetting, match="changed"):
            dit.modulations.row(0.123)

    def test_what_is_kept_is_bounded(self, tmp_path: Path) -> None:
        dit = load(tmp_path)
        sizes = set()
        for group in range(8):
            dit.modulations.prepare([0.001 * (group * 32 + k) + 1e-5 for k in range(32)])
            sizes.add(dit.modulations.nbytes)
        assert len(sizes) < 8


class TestText:
    def test_is_cached_within_bounds(self, dit: DiT) -> None:
        with torch.inference_mode():
            ids = np.arange(10)
            first = dit.text.embed(ids, 50)
            again = dit.text.embed(ids.copy(), 50)
            assert first[0] is again[0]
            assert first[1] is again[1]
            assert dit.text.embed(ids, 51)[0] is not first[0]
            for length in range(1, 400):
                dit.text.embed(np.zeros(length, np.int64), 4000)
            assert dit.text.cached_bytes <= 64 << 20
        dit.text.forget()
        assert dit.text.cached_bytes == 0

    def test_without_text_still_depends_on_the_texts_length(self, dit: DiT) -> None:
        with torch.inference_mode():
            short, long = (dit.text.embed(np.arange(length), 50)[1] for length in (10, 30))
            dit.text.forget()
            assert torch.equal(dit.text.embed(np.arange(30), 50)[1], long)
            assert relative(short, long) > 0.1

    def test_knows_its_longest(self, dit: DiT) -> None:
        with torch.inference_mode():
            assert dit.text.embed(np.zeros(3, np.int64), MAX_FRAMES)[0].shape == (MAX_FRAMES, 32)
            with pytest.raises(ValueError, match="8192"):
                dit.text.embed(np.zeros(3, np.int64), MAX_FRAMES + 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
class TestCuda:
    def test_gives_what_the_cpu_gives(self, tmp_path: Path) -> None:
        model = f5_model.config()
        save_file(f5_model.dit_weights(model), tmp_path / "dit.safetensors")
        with torch.inference_mode():
            cpu, cuda = (
                load_dit(tmp_path / "dit.safetensors", precision.choose(device, "fp32")) for device in ("cpu", "cuda")
            )
            here = [evaluation(cpu, 100, 1), evaluation(cpu, 33, 2, strength=0.0)]
            there = [
                Evaluation(
                    cuda.prompt(np.zeros(5, np.int64), e.x[:20].cuda(), len(e.x)), e.x.cuda(), e.t, e.cfg_strength
                )
                for e in here
            ]
            wanted = [
                Evaluation(cpu.prompt(np.zeros(5, np.int64), e.x[:20], len(e.x)), e.x, e.t, e.cfg_strength)
                for e in here
            ]
            for found, should in zip(cuda.velocities(there), cpu.velocities(wanted), strict=True):
                assert relative(found.cpu(), should) < 1e-4
