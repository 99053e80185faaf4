"""f5's vocoder in ONNX Runtime: the sound of the one in torch, from a graph that is made once."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import f5_model  # noqa: E402
from ishowtts.engines.f5 import vocos, vocos_onnx  # noqa: E402
from ishowtts.errors import InvalidSetting  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ishowtts" / "f5"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return f5_model.write_vocos(tmp_path / "vocos")


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """``package`` is not installed."""
    real = builtins.__import__

    def imported(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **more)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", imported)


def test_sound_is_that_of_torch(folder: Path) -> None:
    ours, theirs = vocos.Vocos(folder, CPU), vocos_onnx.load(folder, CPU, 100, "onnx", 2)
    assert 0 < ours.nbytes < theirs.nbytes < 1.1 * ours.nbytes + 65_536
    noise = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for frames in (2, 40, 375):
            mel = torch.randn(frames, 100, generator=noise) * 1.5 - 2
            wanted, found = ours.decode(mel), theirs.decode(mel)
            assert found.shape == wanted.shape
            assert float((found - wanted).norm() / wanted.norm()) < 1e-5
        # One that does not lie in one piece.
        turned = torch.randn(100, 40, generator=noise).t()
        assert torch.allclose(theirs.decode(turned), ours.decode(turned), atol=1e-5)


def test_sound_is_upstreams(folder: Path) -> None:
    golden = np.load(Path(__file__).parent / "golden" / "f5_small.npz")
    with torch.inference_mode():
        found = vocos_onnx.load(folder, CPU, 100, "onnx", 1).decode(torch.from_numpy(golden["vocos-mel"])).numpy()
    assert np.linalg.norm(found - golden["vocos-sound"]) / np.linalg.norm(golden["vocos-sound"]) < 1e-5


def test_the_graph_is_made_once_for_the_same_weights(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocos_onnx.load(folder, CPU, 100, "onnx", 1)
    (first,) = cache.iterdir()
    weights = f5_model.vocos_weights()
    weights["head.out.bias"] = weights["head.out.bias"] + 1
    torch.save(weights, folder / "pytorch_model.bin")
    vocos_onnx.load(folder, CPU, 100, "onnx", 1)
    assert len(list(cache.iterdir())) == 2, "other weights took the first one's graph"
    torch.save(f5_model.vocos_weights(), folder / "pytorch_model.bin")
    made = first.stat().st_mtime_ns
    without(monkeypatch, "onnx")
    vocos_onnx.load(folder, CPU, 100, "onnx", 1)
    assert first.stat().st_mtime_ns == made


def test_what_is_missing_is_told(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSetting, match="tensorrt is for GPUs"):
        vocos_onnx.load(folder, CPU, 100, "tensorrt", 1)
    with pytest.raises(
        InvalidSetting, match=r"no TensorrtExecutionProvider, only CPUExecutionProvider.*onnxruntime-gpu"
    ):
        vocos_onnx._providers(["CPUExecutionProvider"], "tensorrt", torch.device("cuda:1"))
    with pytest.raises(InvalidSetting, match="CUDAExecutionProvider"):
        vocos_onnx._providers(["CPUExecutionProvider"], "onnx", torch.device("cuda:0"))
    with monkeypatch.context() as patch:
        without(patch, "onnx")
        with pytest.raises(InvalidSetting, match=r"package onnx is needed once; pip install 'ishowtts\[onnx\]'"):
            vocos_onnx.load(folder, CPU, 100, "onnx", 1)
    assert not cache.exists()
    without(monkeypatch, "onnxruntime")
    with pytest.raises(InvalidSetting, match=r"needs the package onnxruntime"):
        vocos_onnx.load(folder, CPU, 100, "onnx", 1)


def test_tensorrt_comes_before_cuda_and_keeps_what_it_builds(cache: Path) -> None:
    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    (first, told), (second, place), last = vocos_onnx._providers(available, "tensorrt", torch.device("cuda:1"))
    assert (first, second, last) == tuple(available)
    assert told["device_id"] == place["device_id"] == 1
    assert Path(told["trt_engine_cache_path"]).is_relative_to(cache)
    assert vocos_onnx._providers(available, "onnx", torch.device("cuda:0"))[0][0] == "CUDAExecutionProvider"


def test_a_checkpoint_that_does_not_fit_is_refused(folder: Path) -> None:
    weights = f5_model.vocos_weights()
    del weights["backbone.convnext.0.gamma"]
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(InvalidSetting, match=r"convnext\.0\.gamma"):
        vocos_onnx.load(folder, CPU, 100, "onnx", 1)


def test_an_engine_speaks_through_it(tmp_path: Path) -> None:
    small = f5_model.write(tmp_path)
    spoken = {}
    for runtime in ("torch", "onnx"):
        engine = small.engine(vocoder_runtime=runtime)
        engine.admit(0, f5_model.segment("Hello there.", seed=7), engine.prepare(small.voice()))
        last, pieces = False, []
        while not last:
            for chunk in engine.step([0]):
                assert chunk.error is None
                pieces.append(chunk.pcm)
                last = chunk.last
        spoken[engine.info.revision] = np.concatenate(pieces)
        engine.close()
    wanted, found = spoken.values()
    assert np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 1e-5
    with pytest.raises(InvalidSetting, match="vocoder_runtime must be one of torch, onnx, tensorrt, not 'openvino'"):
        small.engine(vocoder_runtime="openvino")
