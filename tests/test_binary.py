"""The standalone program: how it finds the environment that holds the engines. ``make test-binary`` builds it and runs
the server's tests against it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import ishowtts
import pytest
from harness import SERVE, Server, environment

pytestmark = pytest.mark.skipif("ISHOWTTS_TEST_SERVER" not in os.environ, reason="make test-binary names the program")


def ended(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = environment(folder) | variables
    return subprocess.run([*SERVE, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_flag_names_the_environment(tmp_path: Path) -> None:
    server = Server(tmp_path, engine="fake")
    server.command[1:1] = ["--venv", sys.prefix]
    with server:
        assert server.speak("Hello.").headers["x-ishowtts-engine"] == "fake"


def test_the_active_environment_is_taken(tmp_path: Path) -> None:
    with Server(tmp_path, engine="fake", env={"VIRTUAL_ENV": sys.prefix}) as server:
        assert server.speak("Hello.").status == 200


def test_no_environment_there_is_one_clear_line(tmp_path: Path) -> None:
    told = ended(tmp_path, VIRTUAL_ENV=str(tmp_path))
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "no virtual environment" in told.stderr


def test_an_environment_without_the_package_is_one_clear_line(tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=False)
    told = ended(tmp_path, "--venv", str(tmp_path / "empty"))
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "pip install ishowtts" in told.stderr


def test_another_version_is_refused(tmp_path: Path) -> None:
    venv.create(tmp_path / "other", with_pip=False)
    packages = next((tmp_path / "other" / "lib").glob("python*")) / "site-packages"
    metadata = packages / "ishowtts-0.0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ishowtts\nVersion: 0.0.1\n", encoding="utf-8")
    told = ended(tmp_path, "--venv", str(tmp_path / "other"))
    assert told.returncode == 2
    assert "0.0.1" in told.stderr
    assert ishowtts.__version__ in told.stderr


def test_its_help_calls_it_by_its_name(tmp_path: Path) -> None:
    told = ended(tmp_path, "--venv", sys.prefix, "--help")
    assert told.returncode == 0
    assert told.stdout.startswith("usage: ishowtts-server ")
