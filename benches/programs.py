"""The programs that take part: our server, its rivals, the bare engine, the load generator. Each is a process."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import platform
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OURS = "ishowtts"
COMMAND = Path(sys.executable).parent / "ishowtts"
SERVE = [os.environ["ISHOWTTS_TEST_SERVER"]] if "ISHOWTTS_TEST_SERVER" in os.environ else [str(COMMAND), "serve"]
"""As tests/harness.py."""
POLL_S = 0.001


class Program:
    """A child process; its stderr is kept for when it fails."""

    def __init__(self, name: str, command: Sequence[str | Path], env: dict[str, str] | None = None) -> None:
        self.name = name
        self.log: list[str] = []
        self._said: queue.Queue[str] = queue.Queue()
        self.spawned = time.perf_counter()
        self.process = subprocess.Popen(
            list(map(str, command)),
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())
            self._said.put(line)
        self._said.put("")

    def wait_for(self, pattern: str, timeout_s: float = 60.0) -> re.Match[str]:
        while line := self._said.get(timeout=timeout_s):
            if match := re.search(pattern, line):
                return match
        raise RuntimeError(f"{self.name} ended:\n" + "\n".join(self.log[-20:]))

    def ask(self, message: object) -> Any:
        """One JSON line there, one back."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(5)
            raise RuntimeError(f"{self.name} ended:\n" + "\n".join(self.log[-20:]))
        return json.loads(line)

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Service(Program):
    """A server. Constructing one waits until it is ready and measures how long that took."""

    def __init__(self, name: str, command: Sequence[str | Path], env: dict[str, str] | None = None) -> None:
        super().__init__(name, command, env)
        self.port = int(self.wait_for(r"http://127\.0\.0\.1:(\d+)").group(1))
        self.open_ms = self._until(self._accepts)
        self.ready_ms = self._until(self._ready)

    def _until(self, condition: Any) -> float:
        while not condition():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended:\n" + "\n".join(self.log[-20:]))
            time.sleep(POLL_S)
        return (time.perf_counter() - self.spawned) * 1e3

    def _accepts(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except ConnectionError:
            return False
        finally:
            connection.close()


def bare() -> Program:
    program = Program("bare call", [sys.executable, HERE / "bare.py"])
    assert program.answer()["loaded"]
    return program


def load_generator() -> Program:
    return Program("load generator", [sys.executable, HERE / "load.py"])


def rival(order: str) -> Service:
    return Service(f"FastAPI, {order}", [sys.executable, HERE / "rivals.py", "--order", order])


def ours(python_path: Path | None = None) -> Service:
    """As it comes: nothing configured, in a home where nothing was before."""
    env = {} if python_path is None else {"PYTHONPATH": str(python_path)}
    return at_home(Path(tempfile.mkdtemp(prefix="ishowtts-bench-")), env=env)


def at_home(home: Path, arguments: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Service:
    """Our server with what it left in its home before."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ISHOWTTS_", "XDG_"))}
    homes = {"HOME": str(home), "XDG_DATA_HOME": f"{home}/data", "XDG_CONFIG_HOME": f"{home}/config"}
    command = [*SERVE, "--host", "127.0.0.1", "--port", "0", *arguments]
    return Service(OURS, command, kept | homes | dict(env or {}))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu_info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    cpu = re.search(r"model name\s*:\s*(.*)", cpu_info)
    flags = re.search(r"flags\s*:\s*(.*)", cpu_info)
    wanted = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni")
    packages = ("ishowtts", "hibari-tts", "onnxruntime", "numpy", "fastapi", "uvicorn", "uvloop", "httptools")
    return {
        "cpu": cpu.group(1) if cpu else platform.processor(),
        "cpu_flags": [flag for flag in wanted if flags and flag in flags.group(1).split()],
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "commit": commit(),
        "load_average": os.getloadavg()[0],
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or None
