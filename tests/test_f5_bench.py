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

    monkeypatch.setattr(f5_cuda, "SECONDS", 3.0)
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
    monkeypatch.setattr(f5_upstream, "PACKAGES", ("pypinyin", "huggingface_hub", "torch", "not-here"))
    packed = f5_upstream.pack(tmp_path / "pack")
    assert {"pypinyin", "huggingface-hub", "filelock"} <= set(packed)
    assert not {"torch", "numpy", "not-here"} & set(packed)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'pack')!r}); from importlib.metadata import distribution;"
        "import pypinyin, huggingface_hub.constants; distribution('pypinyin');"
        "assert pypinyin.lazy_pinyin('\u4f60\u597d') == ['ni', 'hao'], pypinyin.__file__"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
