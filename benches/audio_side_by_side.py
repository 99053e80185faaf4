"""Resampling, decoding and encoding beside the libraries that one would use instead, in one run.

    python benches/audio_side_by_side.py [--rounds N] [--quick] [--out FILE]

Peers: soxr (HQ, VHQ), scipy's resample_poly and, where it is installed, torchaudio; soundfile (libsndfile) for files.
Every round gives the same sound to all, one after the other, in rotating order; compared are pairs of one round. One
thread each. See README.md for what the quality figures mean.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile
import soxr
from figures import ratio, table, told
from ishowtts import audio

try:
    import torch
    import torchaudio
except ImportError:
    torchaudio = None

OURS = "high"
PAIRS_HZ = [(44_100, 24_000), (48_000, 24_000), (24_000, 48_000), (24_000, 16_000)]
SECONDS = 10
RATE_HZ = 24_000

Convert = Callable[[np.ndarray, int, int], np.ndarray]


def with_torchaudio(x: np.ndarray, rate_in_hz: int, rate_out_hz: int) -> np.ndarray:
    return torchaudio.functional.resample(torch.from_numpy(x), rate_in_hz, rate_out_hz).numpy()


RESAMPLERS: dict[str, Convert] = {
    OURS: lambda x, a, b: audio.resample(x, a, b, "high"),
    "fast": lambda x, a, b: audio.resample(x, a, b, "fast"),
    "soxr HQ": lambda x, a, b: soxr.resample(x, a, b, "HQ"),
    "soxr VHQ": lambda x, a, b: soxr.resample(x, a, b, "VHQ"),
    "scipy poly": lambda x, a, b: scipy.signal.resample_poly(x, b // np.gcd(a, b), a // np.gcd(a, b)),
}
if torchaudio:
    torch.set_num_threads(1)
    RESAMPLERS["torchaudio"] = with_torchaudio


class Report:
    def __init__(self) -> None:
        self.json: dict[str, Any] = {}
        self.goals: list[tuple[str, str, str, str]] = []

    def goal(self, name: str, goal: str, reached: str, met: bool) -> None:
        self.goals.append((name, goal, reached, "met" if met else "missed"))


def side_by_side(systems: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in systems}
    names = list(systems)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            systems[name]()
            if turn:  # The first round warms up.
                times[name].append(time.perf_counter() - start)
    return times


# --- resampling ------------------------------------------------------------------------------------------------------


def sine(frequency_hz: float, rate_hz: int, seconds: float = 2.0, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(
        np.float32
    )


def inner(sound: np.ndarray) -> np.ndarray:
    """Without the ends, where the filter meets silence."""
    return sound[len(sound) // 8 : -len(sound) // 8].astype(np.float64)


def fitted(sound: np.ndarray, frequency_hz: float, rate_hz: int) -> tuple[float, float]:
    """Amplitude of the sine, and RMS of all else relative to the sine's, in dB."""
    angle = 2 * np.pi * frequency_hz * np.arange(len(sound)) / rate_hz
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    weights = np.linalg.lstsq(basis, sound, rcond=None)[0]
    amplitude = float(np.hypot(*weights))
    rest = float(np.sqrt(np.mean((sound - basis @ weights) ** 2)))
    return amplitude, 20 * np.log10(rest / (amplitude / np.sqrt(2)) + 1e-15)


def quality(convert: Convert, rate_in_hz: int, rate_out_hz: int) -> dict[str, float]:
    low_hz, high_hz = sorted([rate_in_hz / 2, rate_out_hz / 2])
    _, thd_n_db = fitted(inner(convert(sine(997, rate_in_hz), rate_in_hz, rate_out_hz)), 997, rate_out_hz)
    gains_db = []
    for frequency_hz in np.linspace(0.02, 0.9, 23) * low_hz:
        amplitude, _ = fitted(
            inner(convert(sine(frequency_hz, rate_in_hz), rate_in_hz, rate_out_hz)), frequency_hz, rate_out_hz
        )
        gains_db.append(20 * np.log10(amplitude / 0.5))
    worst_db = -999.0
    if rate_out_hz < rate_in_hz:
        # Alias: a tone beyond the new band, as what is left of it.
        for frequency_hz in np.linspace(1.005, 0.99 * high_hz / low_hz, 23) * low_hz:
            left = inner(convert(sine(frequency_hz, rate_in_hz), rate_in_hz, rate_out_hz))
            worst_db = max(worst_db, 20 * np.log10(np.sqrt(np.mean(left**2)) / (0.5 / np.sqrt(2)) + 1e-15))
    else:
        # Image: a tone below the old Nyquist frequency, as all but the tone.
        for frequency_hz in np.linspace(0.3, 0.98, 23) * low_hz:
            _, rest_db = fitted(
                inner(convert(sine(frequency_hz, rate_in_hz), rate_in_hz, rate_out_hz)), frequency_hz, rate_out_hz
            )
            worst_db = max(worst_db, rest_db)
    return {
        "thd_n_db": round(thd_n_db, 1),
        "ripple_db": round(float(max(gains_db) - min(gains_db)), 5),
        "alias_or_image_db": round(float(worst_db), 1),
    }


def resampling(report: Report, rounds: int, seconds: int) -> None:
    for rate_in_hz, rate_out_hz in PAIRS_HZ:
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, seconds * rate_in_hz).astype(np.float32)
        systems = {name: partial(convert, noise, rate_in_hz, rate_out_hz) for name, convert in RESAMPLERS.items()}
        times = side_by_side(systems, rounds)
        figures: dict[str, Any] = {}
        rows = []
        for name, convert in RESAMPLERS.items():
            measured = quality(convert, rate_in_hz, rate_out_hz)
            ns = 1e9 * float(np.median(times[name])) / len(noise)
            times_ours = ratio(times[name], times[OURS])
            figures[name] = {"ns_per_sample_in": round(ns, 3), "time_to_ours": times_ours} | measured
            rows.append([name, ns, told(times_ours), *measured.values()])
        pair = f"{rate_in_hz} to {rate_out_hz} Hz"
        report.json.setdefault("resample", {})[pair] = figures
        print(table(f"Resampling {pair}, {seconds} s of noise",
                    ["", "ns/sample in", "time / ours", "THD+N dB", "ripple dB", "alias/image dB"], rows))  # fmt: skip
        ours, peer = figures[OURS], figures["soxr HQ"]
        gain = peer["time_to_ours"]
        report.goal(f"{pair}: time of soxr HQ / high", "> 1", told(gain), gain["median"] > 1)
        floor_db = -135.0  # Below this float32 itself is heard.
        as_good = (
            ours["thd_n_db"] <= max(peer["thd_n_db"] + 0.5, floor_db)
            and ours["alias_or_image_db"] <= max(peer["alias_or_image_db"] + 0.5, floor_db)
            and ours["ripple_db"] <= max(peer["ripple_db"], 0.001)
        )
        reached = " / ".join(f"{ours[key]:g} ({peer[key]:g})" for key in ("thd_n_db", "alias_or_image_db", "ripple_db"))
        report.goal(f"{pair}: THD+N / alias or image / ripple, high (soxr HQ)", "as good", reached, as_good)


# --- files -----------------------------------------------------------------------------------------------------------


def voice_like(seconds: int) -> np.ndarray:
    """Harmonics of a gliding voice with noise and pauses: what codecs meet here."""
    time_s = np.arange(seconds * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time_s)) / RATE_HZ
    voice = sum(np.sin(k * phase) / k for k in range(1, 24))
    noise = np.random.default_rng(0).normal(0, 0.05, len(time_s))
    return (0.2 * (voice + noise) * (np.sin(2 * np.pi * 1.3 * time_s) > -0.3)).astype(np.float32)


FILES = {
    "WAV s16": ("WAV", "PCM_16"),
    "WAV f32": ("WAV", "FLOAT"),
    "FLAC": ("FLAC", "PCM_16"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
    "Ogg Opus": ("OGG", "OPUS"),
    "Ogg Vorbis": ("OGG", "VORBIS"),
}


def written(sound: np.ndarray, kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, RATE_HZ, format=kind, subtype=subtype)
    return file.getvalue()


def with_soundfile(data: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(data), dtype="float32")[0]


def decoding(report: Report, rounds: int, seconds: int) -> None:
    sound = voice_like(seconds)
    rows = []
    for name, (kind, subtype) in FILES.items():
        data = written(sound, kind, subtype)
        systems: dict[str, Callable[[], Any]] = {
            "ours": partial(audio.decode, data),
            "soundfile": partial(with_soundfile, data),
        }
        times = side_by_side(systems, rounds)
        figures = {system: round(1e3 * float(np.median(values)), 3) for system, values in times.items()}
        faster = ratio(times["soundfile"], times["ours"])
        report.json.setdefault("decode", {})[name] = {"ms": figures, "speed_to_soundfile": faster}
        rows.append([name, len(data) // 1024, figures["ours"], figures["soundfile"], told(faster)])
        least = 1.0 if name.startswith("WAV") else 0.9
        report.goal(f"decode {name}: speed / soundfile", f"≥ {least}", told(faster), faster["median"] >= least)
    print(table(f"Decoding {seconds} s at 24 kHz", ["", "KiB", "ours ms", "soundfile ms", "speed / soundfile"], rows))


BITRATES_KBPS = {"MP3": 96, "Ogg Opus": 48}
"""Ours; libsndfile, which knows no bit rates, is set to the level whose file is nearest in size."""
ENCODED = {"WAV s16": "wav", "WAV f32": "wav_f32", "FLAC": "flac", "MP3": "mp3", "Ogg Opus": "opus"}


def written_at(sound: np.ndarray, kind: str, subtype: str, level: float | None) -> bytes:
    if level is None:
        return written(sound, kind, subtype)
    file = io.BytesIO()
    constant = {"bitrate_mode": "CONSTANT"} if kind == "MP3" else {}
    soundfile.write(file, sound, RATE_HZ, format=kind, subtype=subtype, compression_level=level, **constant)
    return file.getvalue()


def nearest_level(sound: np.ndarray, kind: str, subtype: str, size_bytes: int) -> float:
    levels = np.linspace(0, 0.99, 21)
    return float(min(levels, key=lambda level: abs(len(written_at(sound, kind, subtype, level)) - size_bytes)))


def snr_db(sound: np.ndarray, data: bytes) -> float:
    """Of what soundfile reads, in time with the sound: a codec's delay is no noise."""
    heard, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    heard = audio.resample(heard, rate_hz, RATE_HZ)
    size = min(len(sound), len(heard)) - 4_800
    best = np.inf
    for shift in range(-1_300, 1_301):
        rest = sound[2_400 : 2_400 + 24_000] - heard[2_400 + shift : 2_400 + shift + 24_000]
        if (power := float(np.mean(rest**2))) < best:
            best, at = power, shift
    rest = sound[2_400:size] - heard[2_400 + at : size + at]
    return float(10 * np.log10(np.mean(sound[2_400:size] ** 2) / (np.mean(rest.astype(np.float64) ** 2) + 1e-20)))


def encoding(report: Report, rounds: int, seconds: int) -> None:
    sound = voice_like(seconds)
    rows = []
    for name, ours in ENCODED.items():
        kind, subtype = FILES[name]
        options = {"bitrate_bps": BITRATES_KBPS[name] * 1000} if name in BITRATES_KBPS else {}
        file = audio.encode(sound, RATE_HZ, ours, **options)
        level = nearest_level(sound, kind, subtype, len(file)) if options else None
        systems: dict[str, Callable[[], Any]] = {
            "ours": partial(audio.encode, sound, RATE_HZ, ours, **options),
            "soundfile": partial(written_at, sound, kind, subtype, level),
        }
        peer = systems["soundfile"]()
        times = side_by_side(systems, rounds)
        ms = {system: round(1e3 * float(np.median(values)), 3) for system, values in times.items()}
        kib = {"ours": len(file) // 1024, "soundfile": len(peer) // 1024}
        snr = {"ours": round(snr_db(sound, file), 1), "soundfile": round(snr_db(sound, peer), 1)}
        faster = ratio(times["soundfile"], times["ours"])
        report.json.setdefault("encode", {})[name] = {"ms": ms, "kib": kib, "snr_db": snr, "speed_to_soundfile": faster}
        rows.append([name, *kib.values(), *snr.values(), *ms.values(), told(faster)])
        least = 1.0 if name.startswith("WAV") else 0.9
        report.goal(f"encode {name}: speed / soundfile", f"≥ {least}", told(faster), faster["median"] >= least)
    header = ["", "KiB", "soundfile's", "SNR dB", "soundfile's", "ours ms", "soundfile ms", "speed / soundfile"]
    print(table(f"Encoding {seconds} s at 24 kHz", header, rows))


# --- the rest --------------------------------------------------------------------------------------------------------


def hardware() -> dict[str, str]:
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    packages = ["numpy", "scipy", "soxr", "soundfile", *(["torch", "torchaudio"] if torchaudio else [])]
    versions = {name: version(name) for name in packages} | {"libsndfile": soundfile.__libsndfile_version__}
    return {"cpu": cpu, "python": platform.python_version(), "commit": commit.stdout.strip()} | versions


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--only", choices=["resample", "decode", "encode"], help="one part")
    parser.add_argument("--quick", action="store_true", help="only shows that it works")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args(arguments)
    rounds, seconds = (3, 2) if options.quick else (options.rounds, SECONDS)
    report = Report()
    report.json["hardware"] = hardware()
    for name, part in {"resample": resampling, "decode": decoding, "encode": encoding}.items():
        if options.only in (None, name):
            part(report, rounds, seconds)
    print(table("Goals", ["", "goal", "reached", ""], report.goals))
    report.json["goals"] = report.goals
    if options.out:
        options.out.write_text(json.dumps(report.json, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
