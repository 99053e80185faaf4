"""Clips of every kind of file, through the real server: somebody who speaks, encoded as people's programs do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from harness import Server, wav_samples
from shipped_voices import make_voices
from voices_client import CONFIG, TEXT, Api, refused

SOUNDS = Path(__file__).parent / "sounds"
SPOKEN = make_voices.VOICES / "alder" / "reference.wav"
OPUS, VORBIS, AAC = ["-c:a", "libopus"], ["-c:a", "libvorbis"], ["-c:a", "aac"]
KINDS = {
    "aac.aac": AAC,
    "aac.m4a": AAC,
    "aac.mkv": AAC,
    "adpcm.wav": ["-c:a", "adpcm_ima_wav"],
    "alac.m4a": ["-c:a", "alac"],
    "alaw.wav": ["-c:a", "pcm_alaw"],
    "bare.mp3": ["-c:a", "libmp3lame", "-write_xing", "0"],
    "cbr.mp3": ["-c:a", "libmp3lame", "-b:a", "64k"],
    "f32.aiff": ["-c:a", "pcm_f32be"],
    "f32.wav": ["-c:a", "pcm_f32le"],
    "f64.wav": ["-c:a", "pcm_f64le"],
    "flac.oga": ["-c:a", "flac"],
    "fragmented.m4a": [*AAC, "-movflags", "frag_keyframe+empty_moov"],
    "mulaw.wav": ["-c:a", "pcm_mulaw"],
    "opus.mp4": OPUS,
    "opus.ogg": OPUS,
    "opus.webm": OPUS,
    "s16.aiff": ["-c:a", "pcm_s16be"],
    "s16.flac": ["-c:a", "flac"],
    "s16.wav": ["-c:a", "pcm_s16le"],
    "s24.aiff": ["-c:a", "pcm_s24be"],
    "s24.wav": ["-c:a", "pcm_s24le"],
    "s32.wav": ["-c:a", "pcm_s32le"],
    "stereo-opus.ogg": [*OPUS, "-ac", "2"],
    "stereo-vbr.mp3": ["-c:a", "libmp3lame", "-q:a", "4", "-ac", "2"],
    "stereo.wav": ["-c:a", "pcm_s16le", "-ac", "2"],
    "surround-opus.ogg": [*OPUS, "-filter:a", "pan=5.1|FC=c0"],
    "u8.wav": ["-c:a", "pcm_u8"],
    "vorbis.ogg": VORBIS,
    "vorbis.webm": VORBIS,
}
"""What makes ffmpeg write each kind that the decoder's own tests have a file of."""
KIND_OF = {".aac": "AAC", ".aiff": "AIFF", ".flac": "FLAC", ".m4a": "M4A", ".mkv": "WebM", ".mp3": "MP3", ".mp4": "M4A",
           ".oga": "Ogg", ".ogg": "Ogg", ".wav": "WAV", ".webm": "WebM"}  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with Server(tmp_path_factory.mktemp("formats"), engine="fake", config=CONFIG) as server:
        yield Api(server)


def loudness_over_time(sound: npt.NDArray[np.float64], rate_hz: int) -> npt.NDArray[np.float64]:
    """Every 20 ms: what is left of a sound whatever encoded it, and however loud it was made."""
    step = rate_hz // 50
    frames = sound[: len(sound) // step * step].reshape(-1, step)
    return np.sqrt(np.mean(frames**2, axis=1))


def likeness(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Their best correlation within half a second: codecs delay, and silence is trimmed."""
    length = min(len(one), len(other)) - 25
    return max(
        float(np.corrcoef(one[max(shift, 0) :][:length], other[max(-shift, 0) :][:length])[0, 1])
        for shift in range(-25, 26)
    )


def test_every_kind_that_is_decoded_is_here() -> None:
    assert {path.name for path in SOUNDS.iterdir() if path.suffix != ".md"} == set(KINDS)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed (scripts/test_tools.sh)")
@pytest.mark.parametrize("name", KINDS)
def test_somebody_who_speaks_is_cloned_from_it(api: Api, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    command = ["ffmpeg", "-loglevel", "error", "-i", SPOKEN, *KINDS[name], path]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    # Neither the name nor the type of a part is believed.
    added = api.post("/v1/voices/mine", ("song.txt", path.read_bytes(), "text/plain"), text=TEXT)
    assert added.status_code in (200, 201), added.text
    source = added.json()["clip"]["source"]
    assert source["format"] == KIND_OF[path.suffix]
    assert source["channels"] == (6 if "surround" in name else 2 if "stereo" in name else 1)
    spoken = make_voices.read(SPOKEN)
    assert source["duration_s"] == pytest.approx(len(spoken) / make_voices.RATE_HZ, abs=0.15)
    kept = api.http.get("/v1/voices/mine/audio").content
    rate_hz = added.json()["clip"]["sample_rate_hz"]
    heard = loudness_over_time(wav_samples(kept) / 32768.0, rate_hz)
    assert likeness(heard, loudness_over_time(spoken, make_voices.RATE_HZ)) > 0.98
    assert api.speak("mine") != api.speak("heart")


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_each_kind_that_is_too_short_is_measured(api: Api, name: str) -> None:
    """The files themselves, a third of a second each: read to their end, and refused for their length alone."""
    sound = (SOUNDS / name).read_bytes()
    for path, part in [("/v1/voices/brief", "audio"), ("/v1/tts", "reference_audio")]:
        form = {"text": (None, TEXT), "reference_text": (None, TEXT), part: (name, sound)}
        error = refused(api.http.post(path, files=form), 400, "clip_too_short")
        assert error["param"] == part
        assert "holds 0.3 s of sound" in error["message"], error["message"]
