"""``engine = "auto"``, ``--accept-license`` and engines whose packages are missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import COMMAND, Server, environment, run
from ishowtts import registry
from ishowtts.engines import auto
from ishowtts.errors import IshowttsError


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which f5 could be chosen."""
    monkeypatch.setattr(auto, "cuda_devices", lambda: 1)
    monkeypatch.setattr(auto, "torch_has_cuda", lambda: True)
    monkeypatch.setattr(auto.weights, "at_hand", lambda options: True)
    monkeypatch.setattr(auto.importlib.util, "find_spec", lambda name: object())
    return monkeypatch


class TestChoice:
    def test_is_f5_where_all_is_at_hand(self, everything: pytest.MonkeyPatch) -> None:
        assert auto.choose({}, True) == ("f5", "a CUDA device and its weights are here")

    def test_is_never_f5_on_a_cpu(self, everything: pytest.MonkeyPatch) -> None:
        assert auto.choose({"f5": {"device": "cpu"}}, True)[0] == "hibari"
        everything.setattr(auto, "cuda_devices", lambda: 0)
        name, reason = auto.choose({}, True)
        assert (name, "on a CPU f5 is slower than speech" in reason) == ("hibari", True)

    def test_is_never_f5_with_a_torch_for_cpus(
        self, everything: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A driver alone makes nothing fast: f5 would run on the CPU beside an idle GPU."""
        everything.setattr(auto, "torch_has_cuda", lambda: False)
        name, reason = auto.choose({}, True)
        assert (name, "torch that is installed has no CUDA" in reason) == ("hibari", True)
        everything.undo()
        library = tmp_path / "torch" / "lib" / "libtorch_cuda.so"
        library.parent.mkdir(parents=True)
        (tmp_path / "torch" / "__init__.py").touch()
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        assert not auto.torch_has_cuda()
        library.touch()
        assert auto.torch_has_cuda()

    def test_needs_weights_a_clip_and_the_packages(self, everything: pytest.MonkeyPatch) -> None:
        name, reason = auto.choose({}, False)
        assert (name, "has no reference clip" in reason) == ("hibari", True)
        everything.setattr(auto.weights, "at_hand", lambda options: False)
        name, reason = auto.choose({}, True)
        assert (name, "weights of f5 are not here" in reason) == ("hibari", True)
        everything.setattr(auto.importlib.util, "find_spec", lambda name: None if name == "torch" else object())
        name, reason = auto.choose({}, True)
        assert (name, "not installed" in reason) == ("hibari", True)

    def test_imports_no_model(self) -> None:
        code = "import sys; from ishowtts.engines import auto; auto.choose({}, True); assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_of_a_server_is_told_and_speaks(self, start: Callable[..., Server]) -> None:
        server = start(engine="auto")
        assert server.wait_line(r'engine = "auto": (\w+) speaks, because .').group(1) == "hibari"
        assert len(server.speak("Hello there.").pcm) > 8_000


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """Where upstream's package is found, as far as it is asked for before its weights are."""
    for module in ("__init__", "model", "infer/__init__", "infer/utils_infer"):
        path = tmp_path / "packages" / "f5_tts" / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return {"PYTHONPATH": str(tmp_path / "packages")}


class TestLicence:
    def test_is_recorded_before_anything_is_fetched(self, tmp_path: Path, package: dict[str, str]) -> None:
        told = subprocess.run(
            [str(COMMAND), "say", "Hello.", "-o", "a.wav", "--engine", "f5-reference", "--accept-license"],
            env=environment(tmp_path) | package | {"ISHOWTTS_OFFLINE": "1"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "accepted: CC-BY-NC-4.0 for the official F5-TTS" in told.stderr, told.stderr
        record = json.loads((tmp_path / "data" / "ishowtts" / "licences.json").read_text())
        (entry,) = record.values()
        assert entry["licence"] == "CC-BY-NC-4.0"
        assert "ISHOWTTS_OFFLINE" in told.stderr, told.stderr
        assert told.returncode == 2

    def test_without_it_the_message_tells_what_to_do(self, tmp_path: Path, package: dict[str, str]) -> None:
        told = run(["say", "Hello.", "-o", "a.wav", "--engine", "f5-reference"], tmp_path, env=package)
        assert "CC-BY-NC-4.0" in told.stderr, told.stderr
        assert "--accept-license" in told.stderr
        assert told.returncode == 2

    def test_of_an_engine_without_one_is_a_mistake(self, tmp_path: Path) -> None:
        told = run(["say", "Hello.", "-o", "a.wav", "--accept-license"], tmp_path)
        assert told.returncode == 2
        assert "--engine f5" in told.stderr
        assert not (tmp_path / "data" / "ishowtts" / "licences.json").exists()


class TestMissingPackages:
    def test_are_named_with_the_extra_that_brings_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(options: object, threads: int) -> None:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

        point = next(point for point in registry.entry_points(group=registry.GROUP) if point.name == "f5")
        monkeypatch.setattr(type(point), "load", lambda self: load)
        with pytest.raises(
            IshowttsError, match=r"needs the package torch; install it with: pip install 'ishowtts\[f5\]'"
        ):
            registry.load("f5", {}, 1)
