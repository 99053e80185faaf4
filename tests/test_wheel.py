"""The wheel, in an environment that has nothing else: it installs, speaks and serves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path

import harness
import pytest
from harness import Server, environment

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as it would be published, in the folder where the build of `.venv` left its work."""
    maturin = Path(sys.executable).parent / "maturin"
    if not maturin.exists() or shutil.which("cargo") is None:
        pytest.skip("building a wheel needs maturin and cargo")
    target = os.environ.get("MATURIN_TARGET_DIR", str(ROOT / "target" / "maturin"))
    out = tmp_path_factory.mktemp("dist")
    arguments = ["build", "--release", "--locked", "--target-dir", target, "--out", str(out)]
    command = [str(maturin), *arguments, "--interpreter", sys.executable]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bin folder of a new environment with the wheel and what it says it needs."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    yield folder / "bin"
    shutil.rmtree(folder)


def test_it_is_for_every_python_from_3_10(wheel: Path) -> None:
    assert "-cp310-abi3-" in wheel.name


def test_it_holds_what_it_needs_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    assert any(name.startswith("ishowtts/_native") for name in names)
    assert any(name.endswith("LICENSE") for name in names)
    assert "License-Expression: Apache-2.0" in metadata
    foreign = [name for name in names if name.split("/")[0] not in ("ishowtts",) and ".dist-info/" not in name]
    assert not foreign, "files outside the package would land in site-packages"
    assert not [name for name in names if name.endswith((".rs", ".pyc", ".toml")) and "/voices/" not in name]


def test_it_says_what_it_is(empty: Path, tmp_path: Path) -> None:
    version = run(empty / "ishowtts", "--version", home=tmp_path)
    assert version.split()[-1].count(".") == 2


def test_it_speaks(empty: Path, tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    run(empty / "ishowtts", "say", "Hello from an empty environment.", "-o", str(path), home=tmp_path)
    with wave.open(str(path)) as file:
        assert file.getnframes() > file.getframerate()


def test_it_serves(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "COMMAND", empty / "ishowtts")
    with Server(tmp_path) as server:
        assert server.speak("And it serves.").pcm.size > 12_000


def test_the_package_imports_without_the_native_module(empty: Path, tmp_path: Path) -> None:
    code = "import sys, ishowtts.engine, ishowtts.errors; assert 'ishowtts._native' not in sys.modules"
    run(empty / "python", "-c", code, home=tmp_path)


def run(*command: str | Path, home: Path) -> str:
    ended = subprocess.run(
        list(map(str, command)),
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
