"""The bench of f5: its part for GPUs on a CPU and a small model, where its figures mean nothing; what it counts, and
what it packs for a machine that lacks the upstream package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pypinyin")

import f5_model  # noqa: E402
from ishowtts.engines.f5.dit import DiT, Evaluation  # noqa: E402

BENCHES = Path(__file__).parents[1] / "benches"


def test_every_figure_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5_cuda

    monkeypatch.setattr(f5_cuda, "SECONDS", 4.0)
    small = f5_model.write(tmp_path)
    engine = small.engine()
    voice = engine.prepare(small.voice())

    def one(dit: DiT) -> Evaluation:
        import numpy as np

        return Evaluation(dit.prompt(np.arange(5), torch.zeros(20, 100), 60), torch.randn(60, 100), 0.0, 2.0)

    work = f5_cuda.Work(lambda frames: 1e6 * frames, 64, 128)
    with torch.inference_mode():
        figures: dict[str, Any] = {
            "request": f5_cuda.single(engine, voice, rounds=1),
            "steps": f5_cuda.throughput(engine.dit, one(engine.dit), work, slots=2, rounds=1),
            "queue": f5_cuda.gaps(engine, voice, slots=3, requests=5),
        }
    engine.close()
    assert all(value >= 0 for part in figures.values() for value in part.values()), figures
    assert 0 < figures["queue"]["busy ratio"] <= 1
    assert figures["queue"]["steps"] >= 7
    assert figures["steps"]["2 slots, step ms"] > 0
    assert sys.path[0] == str(BENCHES)


def test_what_fails_does_not_take_the_others_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5_cuda

    monkeypatch.setattr(f5_cuda, "SECONDS", 4.0)
    monkeypatch.setattr(f5_cuda, "ROUNDS", 1)
    monkeypatch.setattr(f5_cuda, "PATHS", {"one": ("fp32", True), "none": ("fp8", True), "last": ("fp32", False)})
    for name in ("throughput", "gaps", "traced"):
        monkeypatch.setattr(f5_cuda, name, lambda *given, **more: {"figure": 1.0})
    monkeypatch.setattr(f5_cuda, "single", lambda engine, voice: 1 / 0)
    small, kept = f5_model.write(tmp_path), []
    wanted = torch.zeros(60, 100)

    def one(dit: DiT) -> Evaluation:
        import numpy as np

        return Evaluation(dit.prompt(np.arange(5), torch.zeros(20, 100), 60), torch.randn(60, 100), 0.0, 2.0)

    found = f5_cuda.measure(
        lambda dtype, graphs: small.engine(dtype=dtype),
        lambda engine: engine.prepare(small.voice()),
        one,
        f5_cuda.Work(lambda frames: 1e6 * frames, 64, 128),
        ("one", "none", "last"),
        lambda figures: kept.append(sorted(figures)),
        wanted,
    )
    assert found["none"].startswith("failed: InvalidSetting: [engines.f5] dtype: cpu has no float8")
    for name in ("one", "last"):
        assert found[name]["request"] == "failed: ZeroDivisionError: division by zero"
        assert found[name]["steps"] == found[name]["queue traced"] == {"figure": 1.0}
        assert found[name]["paths"].startswith("fp32, attention: products, operators one by one")
        assert found[name]["relative error"] > 0
    assert kept == [["one"], ["none", "one"], ["last", "none", "one"]]


def test_a_trace_tells_what_took_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5_cuda

    x = torch.ones(64, 64)
    found = f5_cuda.traced(torch.device("cpu"), lambda: [x @ x for _ in range(4)], 2)
    assert 0 < found["busy"] <= 1
    ms, calls = next(figures for name, figures in found["ms a step"].items() if "mm" in name)
    assert (ms > 0, calls) == (True, 2)


@torch.inference_mode()
def test_other_ways_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5_cuda

    # A CPU's GELU there is the exact one.
    work = f5_cuda.Work(lambda frames: 1.0, 64, 128)
    found = f5_cuda.variants(torch.device("cpu"), torch.float32, work, 40, 1)
    assert len(found) == 2
    assert all(figures["relative difference"] < 1e-2 and len(figures["ms"]) == 2 for figures in found.values()), found


def test_policies_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes 1 ms for each of its slots; a text of two segments, and one word a little later."""
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5_scheduling as s

    def told(policy: Any, device: Any) -> list[tuple[float, float]]:
        requests = [s.Request(0.0, (2.0, 2.0)), s.Request(8.5, (2.0,))]
        policy(s.Simulated(device), requests)
        return [(request.first_ms, request.whole_ms) for request in requests]

    device = s.Device(s.Line(0.0, 1 / s.frames(2.0)), shared=1)
    assert told(s.lock, device) == [(7.0, 14.0), (12.5, 12.5)]
    assert told(s.batches, device) == [(14.0, 14.0), (12.5, 12.5)]
    # The word goes before a segment whose listener has 2 s to hear, though that is under way.
    assert told(s.step_level, device) == [(7.0, 21.0), (7.5, 7.5)]
    shared = s.Device(s.Line(1.0), shared=2)
    assert told(s.step_level, shared) == [(7.0, 14.0), (7.5, 7.5)]
    padded, packed = (s.Device(s.Line(0.0, 1 / s.frames(2.0)), 8, padded=padded) for padded in (True, False))
    for device, wanted in ((padded, 14.0), (packed, 7.0 + 7 * s.frames(0.5) / s.frames(2.0))):
        requests = [s.Request(0.0, (2.0,)), s.Request(0.0, (0.5,))]
        s.batches(s.Simulated(device), requests)
        assert [request.whole_ms for request in requests] == pytest.approx([wanted] * 2)


def test_arrivals_are_measured_and_simulated_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5_scheduling as s

    monkeypatch.setattr(s, "LONGEST_S", 1.0)
    monkeypatch.setattr(s, "_SMALL", {})
    figures = s.measure_small(0.8, 0.1, rounds=1)
    assert figures["slots that gain from sharing a step"] == 1
    assert figures["requests"] == 3
    assert figures["fitted"]["step"]["ms_per_frame"] >= 0
    for kind in ("measured", "simulated"):
        assert set(figures[kind]) == set(s.POLICIES)
        for row in figures[kind].values():
            assert 0 < row["first sound p50 ms"] <= row["first sound p95 ms"] <= row["whole p95 ms"]
        assert figures[kind]["one lock"]["whole p95, times faster"] == 1


def test_the_extra_brings_few_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond torch's own."""
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5

    count = f5.packages()
    if count is None:
        pytest.skip("ishowtts is not installed here")
    assert 5 < count < 25


def test_what_is_packed_for_a_device_works_there_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5_upstream

    # Stand-ins for the upstream package: one with modules and data, one that needs others, torch among them.
    monkeypatch.setattr(f5_upstream, "PACKAGES", ("pypinyin", "huggingface_hub", "pyyaml", "torch", "not-here"))
    packed, bound = f5_upstream.pack(tmp_path / "pack")
    assert {"pypinyin", "huggingface-hub", "tqdm"} <= set(packed)
    assert not {"torch", "numpy", "not-here", "hf-xet"} & {*packed, *bound}
    assert "filelock" not in packed, "torch needs it, and so it is there"
    # Here it is compiled for one version of Python, and would stand before what the machine has.
    assert "pyyaml" in bound
    assert not (tmp_path / "pack" / "yaml").exists()
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'pack')!r}); from importlib.metadata import distribution;"
        "import pypinyin, huggingface_hub.constants; distribution('pypinyin');"
        "assert pypinyin.lazy_pinyin('\u4f60\u597d') == ['ni', 'hao'], pypinyin.__file__"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_torchaudio_is_packed_without_its_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are bound to one torch, and what upstream uses of it is Python."""
    monkeypatch.syspath_prepend(str(BENCHES))
    import f5_upstream

    site = tmp_path / "site"
    for name, content in {
        "torchaudio/__init__.py": "",
        "torchaudio/lib/_torchaudio.abi3.so": "",
        "torchaudio-2.11.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torchaudio\nVersion: 2.11.0\n",
        "torchaudio-2.11.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(content)
    files = [path.relative_to(site) for path in sorted(site.rglob("*")) if path.is_file()]
    record = site / "torchaudio-2.11.0.dist-info" / "RECORD"
    record.write_text("".join(f"{path},,\n" for path in files))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(f5_upstream, "PACKAGES", ("torchaudio",))
    assert f5_upstream.pack(tmp_path / "pack") == (["torchaudio"], [])
    assert (tmp_path / "pack" / "torchaudio" / "__init__.py").is_file()
    assert not list((tmp_path / "pack").rglob("*.so"))


def test_what_upstream_does_not_run_is_not_needed(tmp_path: Path) -> None:
    """The package imports its trainer, so all that trains; and librosa, which may not go with a machine's NumPy."""
    package = tmp_path / "f5_tts" / "model"
    package.mkdir(parents=True)
    (tmp_path / "librosa").mkdir()
    (tmp_path / "librosa" / "__init__.py").write_text("raise ImportError('Numba needs an older NumPy')")
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(
        "from f5_tts.model.trainer import Trainer\nfrom librosa.filters import mel\nDiT = 1\n"
    )
    (package / "trainer.py").write_text("import wandb, accelerate, ema_pytorch\n")
    code = (
        f"import sys; sys.path[:0] = [{str(BENCHES)!r}, {str(tmp_path)!r}]; sys.modules['wandb'] = None;"
        "import f5_upstream; f5_upstream.find_spec = lambda name: None; assert f5_upstream.models().DiT == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
