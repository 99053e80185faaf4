"""What a voice costs when it is cold, when it is warm, and when there are two hundred of them.

    python benches/voices.py [--voices 200] [--hot 20] [--requests 2000] [--prepare-ms 40] [--out FILE]

The server with the engine `fake`, which takes `--prepare-ms` to prepare a voice, keeps 1 MiB for each, and has room
for 64 (`voices.cache_mib`): so time and memory are those of the library and of the books of prepared voices. Nine
requests in ten are for the hot voices. Files that are opened while warm voices speak are counted by strace, where it is
installed.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from figures import table
from programs import SERVE, Service

CACHE_MIB = 64
RATE_HZ = 24_000


def clip(frequency_hz: float, seconds: float = 5.0) -> bytes:
    sound = 0.2 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes((sound * 32767).astype("<i2").tobytes())
    return file.getvalue()


def library(folder: Path, count: int) -> list[str]:
    names = [f"voice{index:03}" for index in range(count)]
    for index, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        (folder / name / "reference.wav").write_bytes(clip(100.0 + index))
        (folder / name / "voice.toml").write_text(
            f'id = "{name}"\nname = "{name}"\nlanguages = ["en"]\nlicence = "CC0-1.0"\n'
            '[reference]\ntext = "What is said in it."\n',
            encoding="utf-8",
        )
    return names


class Client:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._count = 0

    def first_sound_ms(self, voice: str) -> float:
        """From the request to the first bytes of sound; the rest is read too."""
        self._count += 1
        body = json.dumps({"text": f"This is request {self._count}.", "voice": voice, "format": "pcm", "cache": False})
        begun = time.perf_counter()
        self._connection.request("POST", "/v1/tts", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read(2)
        elapsed_ms = (time.perf_counter() - begun) * 1e3
        answer.read()
        return elapsed_ms

    def metrics(self) -> dict[str, float]:
        self._connection.request("GET", "/metrics")
        lines = self._connection.getresponse().read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("ishowtts_") and "voice" in line)
        return {name: float(value) for name, value in pairs}


def opened(process: int, speak: object) -> int | None:
    """Files that the process opens while `speak` runs; none without strace."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile() as log:
        command = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", log.name, "-p", str(process)]
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(1.0)  # Nothing tells when it has attached to every thread.
        speak()  # type: ignore[operator]
        tracer.terminate()
        tracer.wait()
        return sum(" = " in line for line in Path(log.name).read_text().splitlines() if "open" in line)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", type=int, default=200)
    parser.add_argument("--hot", type=int, default=20)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--prepare-ms", type=float, default=40.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as home:
        names = library(Path(home, "voices"), given.voices)
        config = Path(home, "ishowtts.toml")
        config.write_text(
            f'[voices]\ndirectory = "{home}/voices"\ncache_mib = {CACHE_MIB}\n[log]\nlevel = "warn"\n'
            f"[engines.fake]\nprepare_ms = {given.prepare_ms}\nconditioning_kib = 1024\naudio_ms_per_char = 20\n",
            encoding="utf-8",
        )
        environment = os.environ | {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
        server = Service("ishowtts", [*SERVE, "--port", "0", "--engine", "fake", "--config", config], environment)
        try:
            client = Client(server.port)
            hot = names[: given.hot]
            cold_ms = [client.first_sound_ms(name) for name in hot]
            warm_ms = [client.first_sound_ms(name) for _ in range(10) for name in hot]
            opens = opened(server.process.pid, lambda: [client.first_sound_ms(name) for _ in range(5) for name in hot])
            before_mib = server.resident_mib()
            pick = random.Random(0)
            mixed_ms: dict[str, list[float]] = {"hot": [], "others": []}
            highest_mib = before_mib
            for number in range(given.requests):
                is_hot = pick.random() < 0.9
                name = pick.choice(hot if is_hot else names[given.hot :])
                mixed_ms["hot" if is_hot else "others"].append(client.first_sound_ms(name))
                if number % 20 == 0:
                    highest_mib = max(highest_mib, server.resident_mib())
            metrics = client.metrics()
        finally:
            server.end()
    kinds = {"cold": cold_ms, "warm": warm_ms, "of many: hot": mixed_ms["hot"], "of many: others": mixed_ms["others"]}
    rows = [[name, *(float(np.percentile(ms, point)) for point in (50, 99)), len(ms)] for name, ms in kinds.items()]
    print(
        table(f"First sound, ms; preparing a voice takes {given.prepare_ms} ms", ["", "p50", "p99", "requests"], rows)
    )
    files = "strace is not installed" if opens is None else f"{opens} files opened in {5 * given.hot} requests"
    print(f"\nWarm voices: {files}")
    print(
        f"Memory: {before_mib:.1f} MiB with {given.hot} voices warm, {highest_mib:.1f} MiB at most in {given.requests}"
    )
    print("\n".join(f"{name} {value:g}" for name, value in sorted(metrics.items())))
    if given.out:
        figures = {
            "first_sound_ms": {row[0]: {"p50": row[1], "p99": row[2], "requests": row[3]} for row in rows},
            "files_opened": opens,
            "resident_mib": {"before": before_mib, "highest": highest_mib},
            "metrics": metrics,
        }
        given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
