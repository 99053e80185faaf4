#!/usr/bin/env python3
"""Makes the reference clips of the voices that ship, out of these voices themselves: what hibari says with the
numbers in a voice's manifest is what an engine that clones is given. Nobody's recording is in them, and hibari-tts
and its voice are under Apache-2.0. Needs the installed program.

    make_voices.py            writes voices/*/reference.wav anew
    make_voices.py --check    makes them and compares them with those in the repository
    make_voices.py --measure  has all of them say one sentence, and prints what tells them apart, as in voices/README.md
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import wave
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

VOICES = Path(__file__).resolve().parent.parent / "voices"
RATE_HZ = 24_000
SEED = 1
MEASURED = "heart"
"""Whose text all say to be measured, as resonances change with what is said."""
RMS = 0.1
"""About -18 LUFS, and what F5 brings a clip to."""
PEAK = 0.89
LIKENESS = 0.98
"""Correlation of a clip with itself, made by other versions of onnxruntime and NumPy."""

Sound = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Manifest:
    """A shipped voice's ``voice.toml``."""

    id: str
    plain: str
    """Without its reference."""
    text: str

    @staticmethod
    def read(folder: Path) -> Manifest:
        plain, _, reference = (folder / "voice.toml").read_text(encoding="utf-8").partition("\n[reference]\n")
        text = re.search(r'^text = "(.*)"$', reference, re.M)
        if text is None:
            raise SystemExit(f"{folder.name}: voice.toml has no [reference] with a text")
        return Manifest(folder.name, plain, text[1])


def manifests() -> list[Manifest]:
    return [Manifest.read(path.parent) for path in sorted(VOICES.glob("*/voice.toml"))]


def made(voices: list[Manifest]) -> dict[str, Sound]:
    """Each saying its text, from the manifests as they stand here, whatever the installed program ships."""
    from ishowtts import Speaker

    root = Path(tempfile.mkdtemp(prefix="voices-"))
    try:
        for voice in voices:
            (root / voice.id).mkdir()
            (root / voice.id / "voice.toml").write_text(voice.plain + "\n", encoding="utf-8")
        with Speaker("hibari", settings={"voices.directory": str(root), "fallback": []}) as speaker:
            return {voice.id: _said(speaker, voice) for voice in voices}
    finally:
        shutil.rmtree(root)


def with_one_text(voices: list[Manifest]) -> list[Manifest]:
    """The same voices, all with one text."""
    text = next(voice.text for voice in voices if voice.id == MEASURED)
    return [replace(voice, text=text) for voice in voices]


def _said(speaker: Any, voice: Manifest) -> Sound:
    audio = speaker.speak(voice.text, voice=voice.id, seed=SEED, cache=False)
    sound = np.asarray(audio.samples, np.float64)
    gain = min(RMS / np.sqrt(np.mean(sound**2)), PEAK / np.abs(sound).max())
    levelled: Sound = sound * gain
    return levelled


def write(path: Path, sound: Sound) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())


def read(path: Path) -> Sound:
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, RATE_HZ):
            raise SystemExit(f"{path}: not mono, 16 bits, {RATE_HZ} Hz")
        sound: Sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0
        return sound


def pitch_hz(sound: Sound) -> float:
    """The median over voiced frames, by autocorrelation (Boersma 1993)."""
    length = int(0.04 * RATE_HZ)
    window = np.hanning(length)
    fade = np.fft.irfft(np.abs(np.fft.rfft(window, 4 * length)) ** 2)[:length]
    found = []
    for start in range(0, len(sound) - length, length // 4):
        frame = sound[start : start + length]
        if np.sqrt(np.mean(frame**2)) < 0.02:
            continue
        spectrum = np.fft.rfft((frame - frame.mean()) * window, 4 * length)
        likeness = np.fft.irfft(np.abs(spectrum) ** 2)[:length] / fade
        shortest, longest = RATE_HZ // 500, RATE_HZ // 60
        period = shortest + int(np.argmax(likeness[shortest:longest]))
        if likeness[period] > 0.7 * likeness[0]:
            found.append(RATE_HZ / period)
    return float(np.median(found))


def formants_hz(sound: Sound) -> tuple[float, float, float]:
    """Medians of the three lowest resonances, by linear prediction of order 12 at 11 kHz."""
    rate_hz, order = 11_000, 12
    spectrum = np.fft.rfft(sound)
    samples = len(sound) * rate_hz // RATE_HZ
    lower = np.fft.irfft(spectrum[: samples // 2 + 1], samples) * samples / len(sound)
    lower = np.append(lower[0], lower[1:] - 0.97 * lower[:-1])
    length = int(0.03 * rate_hz)
    window = np.hamming(length)
    found = []
    for start in range(0, len(lower) - length, length // 2):
        frame = lower[start : start + length] * window
        if np.sqrt(np.mean(frame**2)) < 0.003:
            continue
        likeness = np.correlate(frame, frame, "full")[length - 1 : length + order]
        places = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
        weights = np.linalg.solve(likeness[places] + np.eye(order) * likeness[0] * 1e-6, likeness[1 : order + 1])
        roots = np.roots(np.concatenate(([1.0], -weights)))
        roots = roots[roots.imag > 0.01]
        at_hz = np.angle(roots) * rate_hz / (2 * np.pi)
        width_hz = -np.log(np.abs(roots)) * rate_hz / np.pi
        sharp = np.sort(at_hz[(width_hz < 500) & (at_hz > 200)])
        if len(sharp) >= 3:
            found.append(sharp[:3])
    first, second, third = np.median(np.array(found), axis=0)
    return float(first), float(second), float(third)


def row(voice: Manifest, sound: Sound) -> str:
    first, second, third = formants_hz(sound)
    pace = sum(char.isalnum() for char in voice.text) / (len(sound) / RATE_HZ)
    figures = [f"{pitch_hz(sound):.0f}", f"{first:.0f}", f"{second:.0f}", f"{third:.0f}", f"{pace:.1f}"]
    return f"| {voice.id} | " + " | ".join(figures) + " |"


def main(arguments: list[str]) -> int:
    voices = manifests()
    if arguments == ["--measure"]:
        voices = with_one_text(voices)
        print("\n".join(row(voice, sound) for voice, sound in zip(voices, made(voices).values(), strict=True)))
        return 0
    sounds = made(voices)
    if arguments == []:
        for voice, sound in sounds.items():
            write(VOICES / voice / "reference.wav", sound)
        return 0
    if arguments != ["--check"]:
        print(__doc__, file=sys.stderr)
        return 2
    wrong = []
    for voice, sound in sounds.items():
        kept = read(VOICES / voice / "reference.wav")
        length = min(len(kept), len(sound))
        alike = np.corrcoef(kept[:length], sound[:length])[0, 1] if abs(len(kept) - len(sound)) < RATE_HZ // 50 else 0.0
        if alike < LIKENESS:
            wrong.append(f"{voice}: reference.wav is not what its manifest makes ({alike:.2f} alike)")
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
