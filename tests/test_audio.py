"""`ishowtts.audio` beside independent programs: files that ffmpeg and sox made, and what they decode."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from harness import Server, steadily
from ishowtts import audio
from test_words import LINES, plain, whisper, word_error_rate

Sound = npt.NDArray[np.float32]

RATE_HZ = 24_000


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed (scripts/test_tools.sh)")


def chirp(seconds: float = 2.0) -> Sound:
    """From 100 Hz to 6 kHz, fading in and out: every place in it is different, and lossy codecs have no trouble."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (100 * time_s + (5900 / seconds) * time_s**2 / 2)
    return np.asarray(0.4 * np.sin(phase) * np.sin(np.pi * time_s / seconds), dtype=np.float32)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "chirp.wav"
    soundfile.write(path, chirp(), RATE_HZ, subtype="PCM_16")
    return path


def run(*command: str | Path) -> bytes:
    ended = subprocess.run(list(map(str, command)), capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr.decode(errors="replace")
    return ended.stdout


def ffmpeg_decodes(path: Path, channels: int) -> Sound:
    """Channels are averaged here: ffmpeg would keep their power."""
    raw = run("ffmpeg", "-loglevel", "error", "-i", path, "-f", "f32le", "-")
    frames = np.frombuffer(raw, np.float32).reshape(-1, channels)
    return np.asarray(frames.mean(axis=1), np.float32)


def signal_to_noise_db(actual: Sound, expected: Sound, lead: int) -> float:
    """At the best of the first `lead` samples' shifts: what an encoder's delay may put before the sound."""
    spectrum = np.fft.rfft(actual, 2 * len(expected)) * np.conj(np.fft.rfft(expected, 2 * len(expected)))
    shift = int(np.argmax(np.fft.irfft(spectrum)[: lead + 1]))
    length = min(len(actual) - shift, len(expected))
    signal, noise = expected[:length], actual[shift : shift + length] - expected[:length]
    return float(
        10 * np.log10(np.sum(signal.astype(np.float64) ** 2) / (np.sum(noise.astype(np.float64) ** 2) + 1e-30))
    )


FFMPEG = {
    "u8.wav": ["-c:a", "pcm_u8"],
    "s16.wav": ["-c:a", "pcm_s16le"],
    "s24.wav": ["-c:a", "pcm_s24le"],
    "s32.wav": ["-c:a", "pcm_s32le"],
    "f32.wav": ["-c:a", "pcm_f32le"],
    "f64.wav": ["-c:a", "pcm_f64le"],
    "mulaw.wav": ["-c:a", "pcm_mulaw"],
    "alaw.wav": ["-c:a", "pcm_alaw"],
    "stereo.wav": ["-af", "pan=stereo|c0=c0|c1=c0"],
    "aiff.aiff": [],
    "flac.flac": [],
    "flac.ogg": ["-c:a", "flac"],
    "alac.m4a": ["-c:a", "alac"],
    "cbr.mp3": ["-c:a", "libmp3lame", "-b:a", "96k"],
    "vbr.mp3": ["-c:a", "libmp3lame", "-q:a", "2"],
    "vorbis.ogg": ["-c:a", "libvorbis", "-q:a", "6"],
    "vorbis.webm": ["-c:a", "libvorbis", "-q:a", "6"],
    "opus.ogg": ["-c:a", "libopus", "-b:a", "96k", "-ar", "48000"],
    "stereo-opus.ogg": ["-af", "pan=stereo|c0=c0|c1=c0", "-c:a", "libopus", "-b:a", "128k", "-ar", "48000"],
    "opus.webm": ["-c:a", "libopus", "-b:a", "96k", "-ar", "48000"],
    "aac.m4a": ["-c:a", "aac", "-b:a", "96k"],
    "aac.aac": ["-c:a", "aac", "-b:a", "96k"],
}
LOSSLESS = {
    "s16.wav",
    "s24.wav",
    "s32.wav",
    "f32.wav",
    "f64.wav",
    "stereo.wav",
    "aiff.aiff",
    "flac.flac",
    "flac.ogg",
    "alac.m4a",
}


class TestDecode:
    @needs("ffmpeg")
    @pytest.mark.parametrize("name", FFMPEG)
    def test_files_of_ffmpeg_are_what_ffmpeg_decodes(self, original: Path, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        run("ffmpeg", "-loglevel", "error", "-i", original, *FFMPEG[name], path)
        sound, rate_hz = audio.decode(path)
        expected = ffmpeg_decodes(path, 2 if "stereo" in name else 1)
        assert rate_hz == (48_000 if "opus" in name else RATE_HZ)
        assert abs(len(sound) - len(expected)) / rate_hz < 0.05
        if name in LOSSLESS:
            assert np.abs(sound - expected).max() < 1e-6
            assert np.abs(sound - chirp()).max() < 1e-4
        else:
            # Two decoders of one file: what differs is rounding.
            assert signal_to_noise_db(sound, expected, lead=rate_hz // 10) > (
                45 if "law" in name or "u8" in name else 75
            )

    @needs("sox")
    @pytest.mark.parametrize("name", ["s16.wav", "mulaw.wav", "s24.aiff", "flac.flac", "vorbis.ogg", "cut.mp3"])
    def test_files_of_sox(self, original: Path, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        kind = {"mulaw.wav": ["-e", "mu-law"], "s24.aiff": ["-b", "24"]}.get(name, [])
        run("sox", "-D", original, *kind, path)
        sound, rate_hz = audio.decode(path.read_bytes())
        assert rate_hz == RATE_HZ
        assert abs(len(sound) / rate_hz - 2.0) < 0.08
        assert signal_to_noise_db(sound, chirp(), lead=rate_hz // 10) > 20

    @pytest.mark.parametrize(
        ("kind", "subtype"), [("WAV", "PCM_24"), ("FLAC", "PCM_24"), ("AIFF", "FLOAT"), ("OGG", None)]
    )
    def test_files_of_libsndfile(self, tmp_path: Path, kind: str, subtype: str | None) -> None:
        path = tmp_path / f"sound.{kind.lower()}"
        soundfile.write(path, np.stack([chirp(), chirp() / 2], axis=1), RATE_HZ, subtype=subtype, format=kind)
        expected = soundfile.read(path, dtype="float32")[0].mean(axis=1)
        for data in [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), memoryview(path.read_bytes())]:
            sound, rate_hz = audio.decode(data)
            assert rate_hz == RATE_HZ
            assert sound.dtype == np.float32
            assert sound.shape == expected.shape
            assert np.abs(sound - expected).max() < 1e-4

    def test_errors_say_what_was_found(self, tmp_path: Path, original: Path) -> None:
        with pytest.raises(audio.AudioError, match="a PNG picture"):
            audio.decode(b"\x89PNG\r\n\x1a\n" + bytes(100))
        with pytest.raises(audio.AudioError, match="0 bytes"):
            audio.decode(b"")
        with pytest.raises(audio.AudioError, match="limit of 1 s"):
            audio.decode(original, max_duration_s=1.0)
        with pytest.raises(FileNotFoundError):
            audio.decode(tmp_path / "absent.wav")
        with pytest.raises(audio.AudioError, match="this is text"):
            audio.decode("This is no sound at all.".encode("utf-16"))

    @pytest.mark.parametrize("limit", ["max_duration_s", "max_time_s"])
    def test_limits_are_from_nought_to_infinity(self, original: Path, limit: str) -> None:
        for wrong in (float("nan"), -1.0, float("-inf")):
            with pytest.raises(ValueError, match=limit):
                audio.decode(original, **{limit: wrong})
        for none in (float("inf"), 1e19):
            assert len(audio.decode(original, **{limit: none})[0]) == len(chirp())

    @needs("ffmpeg")
    @pytest.mark.parametrize("codec", ["libopus", "libvorbis"])
    @pytest.mark.parametrize("live", ["0", "1"])
    def test_a_webm_that_was_cut_is_decoded_as_far_as_it_goes(
        self, original: Path, tmp_path: Path, codec: str, live: str
    ) -> None:
        path = tmp_path / "x.webm"
        rate = ["-ar", "48000"] if codec == "libopus" else []
        run("ffmpeg", "-loglevel", "error", "-i", original, "-c:a", codec, *rate, "-live", live, path)
        file = path.read_bytes()
        whole, _ = audio.decode(file)
        # The headers are at the beginning, those of Vorbis are 4 KiB.
        start = file.index(b"\x1f\x43\xb6\x75")
        for left in (0.999, 0.99, 0.5, 0.1):
            sound, _ = audio.decode(file[: start + int(left * (len(file) - start))])
            assert len(sound) == pytest.approx(left * len(whole), abs=0.35 * len(whole))
            assert np.abs(sound - whole[: len(sound)]).max() < 1e-6
        assert len(audio.decode(file[: int(0.99 * len(file))])[0]) > 0.9 * len(whole)


class TestResample:
    @pytest.mark.parametrize("quality", ["fast", "high"])
    def test_a_chirp_is_the_same_at_another_rate(self, quality: str) -> None:
        sound = chirp()
        up = audio.resample(sound, RATE_HZ, 44_100, quality)  # type: ignore[arg-type]
        back = audio.resample(up, 44_100, RATE_HZ, quality)  # type: ignore[arg-type]
        assert up.dtype == np.float32
        assert up.shape == (88_200,)
        assert back.shape == sound.shape
        assert signal_to_noise_db(back, sound, lead=0) > 95

    def test_any_array_is_taken_and_that_of_the_right_kind_as_it_is(self) -> None:
        sound = chirp()
        expected = audio.resample(sound, RATE_HZ, 16_000)
        assert audio._mono(sound) is sound
        sound.flags.writeable = False
        assert audio._mono(sound) is sound
        spread = np.zeros(2 * len(sound), np.float32)
        spread[::2] = sound
        for same in [sound, spread[::2], sound.astype(np.float64), sound.tolist()]:
            assert np.array_equal(audio.resample(same, RATE_HZ, 16_000), expected)

    def test_what_does_not_exist_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="8000 to 192000"):
            audio.resample(chirp(), RATE_HZ, 7_999)
        with pytest.raises(ValueError, match="quality"):
            audio.resample(chirp(), RATE_HZ, 16_000, "best")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="one-dimensional"):
            audio.resample(np.zeros((2, 100), np.float32), RATE_HZ, 16_000)

    def test_other_threads_run_meanwhile(self) -> None:
        sound = np.tile(chirp(), 20)

        def turns() -> int:
            worker = threading.Thread(target=audio.stretch, args=(sound, RATE_HZ, 0.5))
            worker.start()
            taken = 0
            while worker.is_alive():
                taken += 1
            return taken

        assert steadily(turns, lambda taken: taken > 1_000) > 1_000


class TestStretch:
    @pytest.mark.parametrize(("speed", "semitones"), [(1.0, 0.0), (1.5, 0.0), (0.25, 12.0), (4.0, -12.0)])
    def test_lengths_are_exact(self, speed: float, semitones: float) -> None:
        sound = chirp(0.5)
        output = audio.stretch(sound, RATE_HZ, speed, semitones)
        assert output.dtype == np.float32
        assert output.shape == (round(len(sound) / speed),)
        assert np.isfinite(output).all()

    def test_what_is_out_of_range_is_an_error(self) -> None:
        for wrong in [
            {"speed": 0.2},
            {"speed": 4.1},
            {"pitch_semitones": 12.1},
            {"pitch_semitones": float("nan")},
            {"speed": 10**400},
        ]:
            with pytest.raises(ValueError, match="must be from"):
                audio.stretch(chirp(0.1), RATE_HZ, **wrong)

    @pytest.mark.parametrize(("speed", "semitones"), [(1.5, 0.0), (0.7, 0.0), (1.0, 4.0), (1.0, -4.0), (1.3, 3.0)])
    def test_words_are_still_understood(self, hibari: Server, speed: float, semitones: float) -> None:
        lines = LINES[2:6]
        transcripts = []
        for line in lines:
            reply = hibari.speak(line)
            rate_hz = int(reply.headers["x-ishowtts-sample-rate-hz"])
            said = audio.stretch(reply.pcm.astype(np.float32) / 32768, rate_hz, speed, semitones)
            heard, _ = whisper().transcribe(audio.resample(said, rate_hz, 16_000), language="en", beam_size=1)
            transcripts.append(" ".join(segment.text for segment in heard))
        assert word_error_rate(lines, transcripts) <= 0.08, [plain(transcript) for transcript in transcripts]


def test_importing_it_loads_no_engine() -> None:
    code = "import sys, ishowtts.audio; print([name for name in sys.modules if 'engine' in name or 'onnx' in name])"
    assert run(sys.executable, "-c", code).decode().strip() == "[]"
