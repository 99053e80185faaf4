"""Voices, cold and warm: how long the first sound takes, what a warm voice reads from disk, and whether memory stays
within its bound while many voices take turns. Fails if a warm voice is read, or the bound is not kept.

    python benches/voices.py [--voices 200] [--hot 20] [--requests 2000] [--f5 FOLDER] [--quick] [--out FILE]

Without ``--f5`` the fake engine speaks; preparing takes it ``--prepare-ms``, which is then an assumption. ``--f5``: a
folder that tests/small_f5.py has made. Its weights are random and small, so speaking is cheap, but preparing a voice is
all that it is with the published model: reading the clip, cutting its silences, resampling, the mel spectrogram.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figures import percentiles, table
from programs import COMMAND, Service, machine

SHIPPED = Path(__file__).resolve().parent.parent / "voices"
TEXT = "the harbour lights"
HOT_SHARE = 0.8
"""Of the requests: what the hot voices get."""
FITTING = 40
"""Voices that the bound has room for."""
TRACED = 50


def clips() -> list[tuple[np.ndarray, str]]:
    found = []
    for folder in sorted(path.parent for path in SHIPPED.glob("*/reference.wav")):
        with wave.open(str(folder / "reference.wav"), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        text = re.search(r'^text = "(.*)"$', (folder / "voice.toml").read_text(encoding="utf-8"), re.M)
        assert text is not None
        found.append((samples, text[1]))
    return found


def fill(root: Path, count: int) -> list[str]:
    """As many voices, each with a clip of its own: a shipped one at another level."""
    sounds, ids = clips(), []
    for number in range(count):
        samples, text = sounds[number % len(sounds)]
        folder = root / f"voice-{number:03}"
        folder.mkdir(parents=True)
        with wave.open(str(folder / "reference.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(24_000)
            file.writeframes((samples * (1.0 - number / (4 * count))).astype("<i2").tobytes())
        manifest = f'id = "{folder.name}"\nname = "{number}"\nlanguages = ["en"]\nlicence = "Apache-2.0"\n'
        # The small model's letters are lower case.
        said = re.sub(r"[^a-z ]", "", text.lower())
        (folder / "voice.toml").write_text(f'{manifest}[reference]\ntext = "{said}"\n', encoding="utf-8")
        ids.append(folder.name)
    return ids


class Server:
    def __init__(self, home: Path, config: str) -> None:
        self.folder = home / "data" / "ishowtts" / "voices"
        path = home / "ishowtts.toml"
        path.write_text(config, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ISHOWTTS_", "XDG_"))}
        env = kept | {"HOME": str(home), "XDG_DATA_HOME": str(home / "data")}
        command = [COMMAND, "serve", "--host", "127.0.0.1", "--port", "0", "--config", path]
        self.service = Service("ishowtts", command, env)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=120)

    def first_sound_ms(self, voice: str) -> float:
        body = {"input": TEXT, "voice": voice, "response_format": "pcm", "cache": False, "seed": 1}
        started = time.perf_counter()
        self.connection.request("POST", "/v1/audio/speech", json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{voice}: {answer.status} {answer.read().decode()}")
        answer.read(1)
        elapsed_ms = (time.perf_counter() - started) * 1e3
        answer.read()
        return elapsed_ms

    def metric(self, name: str) -> float:
        """Summed over its labels."""
        self.connection.request("GET", "/metrics")
        lines = self.connection.getresponse().read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"ishowtts_voice_{name}"))

    def lookups(self, engine: str) -> tuple[float, float]:
        """Hits and misses."""
        hits, misses = (
            self.metric(f'lookups_total{{engine="{engine}",outcome="{outcome}"}}') for outcome in ("hit", "miss")
        )
        return hits, misses

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.service.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024

    def opened(self, voice: str, requests: int) -> list[str] | None:
        """What the program opens meanwhile, by strace; None without it."""
        if shutil.which("strace") is None:
            return None
        with tempfile.NamedTemporaryFile(suffix=".strace") as told:
            pid = str(self.service.process.pid)
            tracing = subprocess.Popen(
                ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat", "-o", told.name, "-p", pid],
                stderr=subprocess.PIPE,
            )
            deadline = time.monotonic() + 10
            while not self._traced(int(pid)) and time.monotonic() < deadline:
                time.sleep(0.02)
            for _ in range(requests):
                self.first_sound_ms(voice)
            # A change in the folder is read anew: a trace without that has seen nothing at all.
            manifest = self.folder / voice / "voice.toml"
            manifest.write_text(manifest.read_text() + "\n")
            lines: list[str] = []
            while not any("voice.toml" in line for line in lines):
                if time.monotonic() > deadline + 30:
                    raise RuntimeError("the trace does not see what is opened")
                time.sleep(0.05)
                lines = Path(told.name).read_text().splitlines()
            tracing.terminate()
            tracing.wait()
            return lines[: next(at for at, line in enumerate(lines) if str(self.folder) in line)]

    @staticmethod
    def _traced(pid: int) -> bool:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)

    def close(self) -> None:
        self.connection.close()
        self.service.process.terminate()
        self.service.process.wait(20)


def engine(arguments: argparse.Namespace) -> tuple[str, str, int]:
    """Its name, its table, and about how much a prepared voice takes, in KiB."""
    if arguments.f5 is None:
        size_kib = 1600
        return "fake", f"prepare_ms = {arguments.prepare_ms}\nconditioning_kib = {size_kib}\n", size_kib
    folder = Path(arguments.f5).resolve()
    named = {
        "model": folder / "model.yaml",
        "checkpoint": folder / "model.safetensors",
        "vocab": folder / "vocab.txt",
        "vocoder": folder / "vocos",
    }
    options = "".join(f'{name} = "{path}"\n' for name, path in named.items())
    return "f5", options + "nfe_steps = 4\n", 1000


def measure(arguments: argparse.Namespace, home: Path) -> dict[str, Any]:
    name, options, size_kib = engine(arguments)
    ids = fill(home / "data" / "ishowtts" / "voices", arguments.voices)
    bound_mib = max(1, FITTING * size_kib // 1024)
    preload = json.dumps(ids[: arguments.hot // 2])
    config = f'engine = "{name}"\nfallback = []\n[voices]\ndefault = "{ids[0]}"\npreload = {preload}\n'
    server = Server(home, f"{config}cache_mib = {bound_mib}\n[engines.{name}]\n{options}")
    try:
        # What the engine does at its first speech is no matter of voices.
        server.first_sound_ms(ids[0])
        cold = [server.first_sound_ms(voice) for voice in ids[arguments.hot // 2 :]]
        warm = [server.first_sound_ms(ids[at % (arguments.hot // 2)]) for at in range(len(cold))]
        opened = server.opened(ids[0], TRACED)

        before_mib, choice = server.memory_mib(), random.Random(0)
        hot, cool = ids[: arguments.hot], ids[arguments.hot :]
        mixed: dict[str, list[float]] = {"hot": [], "others": []}
        most_bytes = 0.0
        hits, misses = server.lookups(name)
        for at in range(arguments.requests):
            kind = "hot" if choice.random() < HOT_SHARE else "others"
            mixed[kind].append(server.first_sound_ms(choice.choice(hot if kind == "hot" else cool)))
            if at % 20 == 0:
                most_bytes = max(most_bytes, server.metric("cache_bytes"))
        hits, misses = (now - before for now, before in zip(server.lookups(name), (hits, misses), strict=True))
        return {
            "engine": name,
            "voices": arguments.voices,
            "hot": arguments.hot,
            "requests": arguments.requests,
            "first_sound_ms": {
                "cold voice": percentiles(cold, "ms"),
                "warm voice": percentiles(warm, "ms"),
                "of many, hot": percentiles(mixed["hot"], "ms"),
                "of many, others": percentiles(mixed["others"], "ms"),
            },
            "hit_share": round(hits / max(1.0, hits + misses), 3),
            "saved_s": round(server.metric("saved_ms_total") / 1e3, 1),
            "bound_mib": bound_mib,
            "most_prepared_mib": round(most_bytes / 2**20, 1),
            "memory_mib": {"before": round(before_mib, 1), "after": round(server.memory_mib(), 1)},
            "opened_by_warm_requests": None if opened is None else {"requests": TRACED, "opens": len(opened)},
        }
    finally:
        server.close()


def missed(report: dict[str, Any]) -> list[str]:
    """What must hold on every machine, and does not."""
    opened, most_mib, bound_mib = report["opened_by_warm_requests"], report["most_prepared_mib"], report["bound_mib"]
    found = []
    if opened is not None and opened["opens"] > 0:
        found.append(f"{opened['requests']} requests with a warm voice opened {opened['opens']} files")
    if most_mib > bound_mib:
        found.append(f"prepared voices took {most_mib} MiB, and {bound_mib} are the bound")
    return found


def told(report: dict[str, Any]) -> str:
    sounds = report["first_sound_ms"].items()
    rows: list[Sequence[object]] = [[name, *(figure[f"ms_p{point}"] for point in (50, 99))] for name, figure in sounds]
    opened, memory = report["opened_by_warm_requests"], report["memory_mib"]
    facts: list[Sequence[object]] = [
        ["voices that were found prepared", f"{report['hit_share']:.1%}"],
        ["preparing that this saved", f"{report['saved_s']} s"],
        ["prepared voices at most (bound)", f"{report['most_prepared_mib']} MiB ({report['bound_mib']})"],
        [f"memory before and after {report['requests']} requests", f"{memory['before']}, {memory['after']} MiB"],
        [
            f"files opened by {TRACED} requests with a warm voice",
            "strace is not installed" if opened is None else opened["opens"],
        ],
    ]
    title = f"{report['engine']}, {report['voices']} voices of which {report['hot']} are hot"
    return table(title, ["first sound, ms", "p50", "p99"], rows) + "\n" + table("", ["", ""], facts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", type=int, default=200)
    parser.add_argument("--hot", type=int, default=20)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--prepare-ms", type=float, default=100.0, help="of the fake engine")
    parser.add_argument("--f5", help="a folder made by tests/small_f5.py")
    parser.add_argument("--quick", action="store_true", help="only shows that it works")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.voices, arguments.hot, arguments.requests = 30, 6, 60
    with tempfile.TemporaryDirectory(prefix="ishowtts-bench-") as home:
        report = measure(arguments, Path(home))
    print(told(report))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"machine": machine(), "voices": report}, indent=2) + "\n")
    for miss in missed(report):
        print(f"voices.py: {miss}", file=sys.stderr)
    return 1 if missed(report) else 0


if __name__ == "__main__":
    sys.exit(main())
