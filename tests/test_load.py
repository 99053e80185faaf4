"""Load from a real load generator: no answer but 200, no broken connection. Speed is measured in benches/, not here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import Server, steadily

SPEECH_LUA = """
local count = 0
request = function()
  count = count + 1
  local fields = '"cache": CACHE, "response_format": "pcm"'
  local body = string.format('{"input": "Request number %d of this thread.", ' .. fields .. '}', VARY)
  return wrk.format("POST", "/v1/audio/speech", {["Content-Type"] = "application/json"}, body)
end
"""


@pytest.fixture(scope="session")
def wrk() -> str:
    """The load generator; Debian's package is installed where that is possible."""
    if shutil.which("wrk") is None and shutil.which("apt-get") is not None and os.geteuid() == 0:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False, "timeout": 120}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)  # type: ignore[call-overload]
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], **quiet)  # type: ignore[call-overload]
    path = shutil.which("wrk")
    if path is None:
        pytest.skip("wrk is not installed (Debian, Ubuntu: apt-get install wrk)")
    return path


def load(wrk: str, server: Server, path: str, *arguments: str) -> int:
    """Answers within two seconds; fails unless every one is a 200."""
    ended = subprocess.run(
        [wrk, "-t1", "-d2s", "--timeout", "20s", *arguments, f"{server.url}{path}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Non-2xx" not in ended.stdout, ended.stdout
    assert "Socket errors" not in ended.stdout, ended.stdout
    answers = re.search(r"(\d+) requests in", ended.stdout)
    assert answers, ended.stdout
    return int(answers.group(1))


def test_health_from_a_hundred_connections(tone: Server, wrk: str) -> None:
    assert load(wrk, tone, "/healthz", "-c100") > 100


@pytest.mark.parametrize(("cache", "vary"), [("true", "1"), ("false", "count")], ids=["cached", "spoken"])
def test_speech_from_thirty_two_connections(tone: Server, wrk: str, tmp_path: Path, cache: str, vary: str) -> None:
    script = tmp_path / "speech.lua"
    script.write_text(SPEECH_LUA.replace("CACHE", cache).replace("VARY", vary))
    assert load(wrk, tone, "/v1/audio/speech", "-c32", "-s", str(script)) > 32
    assert tone.speak("Afterwards it still speaks.").pcm.size


def test_real_speech_from_sixteen_connections(hibari: Server, wrk: str, tmp_path: Path) -> None:
    script = tmp_path / "speech.lua"
    script.write_text(SPEECH_LUA.replace("CACHE", "false").replace("VARY", "count"))
    assert load(wrk, hibari, "/v1/audio/speech", "-c16", "-s", str(script)) > 16


def test_memory_does_not_grow_with_requests(tone: Server, wrk: str, tmp_path: Path) -> None:
    """Twice the same load after a first: whatever is kept for each request would show as megabytes."""
    script = tmp_path / "speech.lua"
    script.write_text(SPEECH_LUA.replace("CACHE", "false").replace("VARY", "count"))
    load(wrk, tone, "/v1/audio/speech", "-c32", "-s", str(script))

    def grown_mib() -> float:
        before = resident_mib(tone)
        for _ in range(2):
            load(wrk, tone, "/v1/audio/speech", "-c32", "-s", str(script))
        return resident_mib(tone) - before

    # What an allocator takes once and keeps is no growth: that goes on.
    assert steadily(grown_mib, lambda grown: grown < 16) < 16


def resident_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc on this system")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status.read_text())[0]) / 1024
