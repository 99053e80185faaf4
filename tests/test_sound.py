"""What is sent and saved, beside independent programs: ffmpeg, ffprobe and libsndfile decode and measure it."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openai
import pytest
import soundfile
from harness import Reply, Server
from harness import run as program
from ishowtts import AudioError, Speaker, SpeechError, audio
from websockets.sync.client import connect

Sound = npt.NDArray[np.float32]

TEXT = "The early train was late again, so we walked along the river. We talked about the summer, and about you."
THREE = "One is the first sentence of all. Two is the second sentence here. Three is the last sentence."
RATE_HZ = 24_000
RAW = {"pcm": ("s16le", RATE_HZ), "pcm_f32": ("f32le", RATE_HZ), "mulaw": ("mulaw", 8_000)}
SUFFIXES = {"mp3": ".mp3", "opus": ".opus", "flac": ".flac", "wav": ".wav", "wav_f32": ".wav"}
MP3_LEAD = 95 + 529
"""Samples before the sound in a stream of MP3: what the encoder delays, and what every decoder adds."""
STEP = 1.5 / 32_768
"""Half of one of 16 bits, and what full scale is one less than: others divide by 32,768."""
LOSSLESS = {"flac": STEP, "wav": STEP, "pcm": STEP, "wav_f32": 0.0, "pcm_f32": 0.0}

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ffmpeg is not installed (scripts/test_tools.sh)"
)


def ask(server: Server, text: str = TEXT, **fields: Any) -> Reply:
    reply = server.request("POST", "/v1/audio/speech", json.dumps({"input": text, **fields}).encode())
    assert reply.status == 200, reply.body[:500]
    return reply


def samples(server: Server, text: str = TEXT, **fields: Any) -> Sound:
    return np.frombuffer(ask(server, text, response_format="pcm_f32", **fields).body, np.float32)


def ffmpeg(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["ffmpeg", "-hide_banner", "-nostdin" if not given else "-y", *map(str, arguments)]
    ended = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr.decode(errors="replace")
    return ended


def decoded(sound: bytes, format: str, rate_hz: int = RATE_HZ) -> Sound:
    """By ffmpeg, brought to ``rate_hz``."""
    kind, own_hz = RAW.get(format, (None, 0))
    read = ["-f", kind, "-ar", str(own_hz)] if kind else []
    return np.frombuffer(
        ffmpeg(*read, "-i", "-", "-ar", str(rate_hz), "-f", "f32le", "-", given=sound).stdout, np.float32
    )


def probed(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)
    # The codec's delay counts there, in files by LAME through ffmpeg too; where the sound starts is told beside it.
    starts_s = float(told["streams"][0]["start_time"]) if path.suffix == ".mp3" else 0.0
    return {**told["streams"][0], "duration_s": float(told["format"]["duration"]) - starts_s}


def measured(sound: Sound, rate_hz: int = RATE_HZ) -> tuple[float, float]:
    """LUFS and dBTP, by ffmpeg."""
    read = ["-f", "f32le", "-ar", str(rate_hz), "-i", "-"]
    told = ffmpeg(
        *read, "-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-", given=sound.tobytes()
    ).stderr.decode()
    summary = told[told.rindex("Summary:") :]
    found = [re.search(pattern, summary) for pattern in (r"I:\s+(\S+) LUFS", r"Peak:\s+(\S+) dBFS")]
    assert found[0], summary
    assert found[1], summary
    return float(found[0][1]), float(found[1][1])


def true_peak_dbtp(sound: Sound) -> float:
    """By the whole spectrum, eightfold: up to the Nyquist frequency, where a meter's short filter reads too little."""
    size = 1 << (len(sound) + 4_096).bit_length()
    spectrum = np.fft.rfft(sound.astype(np.float64), size)
    spectrum[-1] /= 2
    return float(20 * np.log10(8 * np.abs(np.fft.irfft(spectrum, 8 * size)).max()))


def to_noise_db(sound: Sound, expected: Sound, band_hz: float = 3_000.0) -> float:
    """Signal to noise below ``band_hz``, where lossy codecs keep the wave, at the best of all shifts up to 5 ms."""
    size = 2 * max(len(sound), len(expected))
    kept = int(band_hz * size / RATE_HZ)
    one, other = np.fft.rfft(sound, size), np.fft.rfft(expected, size)
    one[kept:] = other[kept:] = 0
    likeness = np.fft.irfft(one * np.conj(other))
    within = int(0.005 * RATE_HZ)
    shift = int(np.argmax(np.concatenate([likeness[-within:], likeness[: within + 1]]))) - within
    assert abs(shift) <= 24, f"{shift} samples late"
    low, wanted = np.roll(np.fft.irfft(one), -shift), np.fft.irfft(other)
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((low - wanted) ** 2)))


class TestFormats:
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("format", list(LOSSLESS))
    def test_lossless_ones_are_the_samples(self, hibari: Server, format: str, stream: bool) -> None:
        expected = samples(hibari)
        sound = ask(hibari, response_format=format, stream=stream).body
        found = decoded(sound, format)
        assert len(found) == len(expected)
        assert np.abs(found - expected).max() <= LOSSLESS[format]

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize(("format", "least_db"), [("mp3", 15.0), ("opus", 10.0), ("mulaw", 20.0)])
    def test_lossy_ones_sound_like_it(self, hibari: Server, format: str, least_db: float, stream: bool) -> None:
        expected = samples(hibari)
        found = decoded(ask(hibari, response_format=format, stream=stream).body, format)
        # A stream of MP3 cannot tell its decoder what to cut off at either end.
        lead = MP3_LEAD if format == "mp3" and stream else 0
        assert abs(len(found) - len(expected)) <= 0.05 * RATE_HZ + lead
        assert to_noise_db(found[lead:], expected) > least_db

    @pytest.mark.parametrize("format", list(SUFFIXES))
    def test_whole_files_tell_their_length(self, hibari: Server, format: str, tmp_path: Path) -> None:
        path = tmp_path / f"x{SUFFIXES[format]}"
        reply = ask(hibari, response_format=format, stream=False)
        path.write_bytes(reply.body)
        assert reply.headers["content-length"] == str(len(reply.body))
        expected_s = len(samples(hibari)) / RATE_HZ
        assert abs(probed(path)["duration_s"] - expected_s) < 0.05
        # libsndfile reads it too, and agrees.
        assert abs(soundfile.info(io.BytesIO(reply.body)).duration - expected_s) < 0.05

    @pytest.mark.parametrize("format", ["wav", "wav_f32"])
    def test_a_saved_stream_of_wav_claims_no_other_length(self, hibari: Server, format: str, tmp_path: Path) -> None:
        path = tmp_path / "x.wav"
        path.write_bytes(ask(hibari, response_format=format, stream=True).body)
        assert probed(path)["duration_s"] == pytest.approx(len(samples(hibari)) / RATE_HZ, abs=0.05)

    def test_what_is_not_asked_for_is_mp3(self, hibari: Server) -> None:
        reply = ask(hibari)
        assert reply.headers["content-type"] == "audio/mpeg"
        client = openai.OpenAI(base_url=f"{hibari.url}/v1", api_key="unused", max_retries=0)
        answer = client.audio.speech.create(model="tts-1", voice="heart", input=TEXT)
        assert answer.content == reply.body

    @pytest.mark.parametrize("format", ["mp3", "opus", "flac", "wav", "pcm_f32"])
    @pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
    def test_another_rate(self, hibari: Server, format: str, rate_hz: int, tmp_path: Path) -> None:
        reply = ask(hibari, response_format=format, sample_rate=rate_hz, stream=False)
        assert reply.headers["x-ishowtts-sample-rate-hz"] == str(rate_hz)
        expected_s = len(samples(hibari)) / RATE_HZ
        if format == "pcm_f32":
            assert len(reply.body) == 4 * round(expected_s * rate_hz)
            return
        path = tmp_path / f"x{SUFFIXES[format]}"
        path.write_bytes(reply.body)
        told = probed(path)
        # Opus is always decoded at 48 kHz.
        assert int(told["sample_rate"]) == (48_000 if format == "opus" else rate_hz)
        assert abs(told["duration_s"] - expected_s) < 0.05

    @pytest.mark.parametrize("format", ["mp3", "opus"])
    def test_bitrates(self, hibari: Server, format: str) -> None:
        seconds = len(samples(hibari)) / RATE_HZ
        for bitrate in (32_000, 64_000):
            size = len(ask(hibari, response_format=format, bitrate=bitrate).body)
            assert size * 8 / seconds == pytest.approx(bitrate, rel=0.2)

    @pytest.mark.parametrize(
        ("fields", "param", "told"),
        [
            ({"response_format": "aac"}, "response_format", "mp3, opus, flac, wav, pcm"),
            ({"response_format": "opus", "sample_rate": 44_100}, "sample_rate", "8000, 12000, 16000, 24000, 48000"),
            ({"response_format": "wav", "bitrate": 64_000}, "bitrate", "keeps every sample"),
            ({"response_format": "mp3", "bitrate": 1}, "bitrate", "8000 to 320000"),
            ({"volume": 5}, "volume", "0.01 to 4"),
            ({"loudness": "loud"}, "loudness", "voice, file, off"),
        ],
    )
    def test_what_does_not_exist_is_told(self, hibari: Server, fields: dict[str, Any], param: str, told: str) -> None:
        error = hibari.request("POST", "/v1/audio/speech", json.dumps({"input": "Hi.", **fields}).encode()).error
        assert (error["type"], error["param"]) == ("invalid_request_error", param)
        assert told in error["message"]

    def test_over_a_websocket(self, hibari: Server) -> None:
        for format in ("opus", "mp3", "flac"):
            sound = bytearray()
            with connect(hibari.url.replace("http", "ws") + "/v1/ws") as socket:
                socket.send(json.dumps({"type": "start", "format": format, "text": TEXT, "end": True}))
                for message in socket:
                    if isinstance(message, bytes):
                        sound += message
                    elif json.loads(message)["type"] in ("done", "error"):
                        break
            # The same speech, so the same bytes as over HTTP.
            assert bytes(sound) == ask(hibari, response_format=format, cache=False).body


class TestLoudness:
    def test_voices_are_alike_and_peaks_are_bounded(self, hibari: Server) -> None:
        for voice in ("heart", "hazel", "rowan", "wren"):
            lufs, peak = measured(samples(hibari, voice=voice))
            assert lufs == pytest.approx(-18.0, abs=1.5), voice
            assert peak <= -0.9, voice

    def test_streamed_and_whole_are_the_same_samples(self, hibari: Server) -> None:
        assert np.array_equal(samples(hibari, cache=False), samples(hibari, stream=False, cache=False))

    def test_a_file_is_exact(self, hibari: Server) -> None:
        lufs, peak = measured(samples(hibari, loudness="file"))
        assert lufs == pytest.approx(-18.0, abs=0.3)
        assert peak <= -0.9
        assert np.array_equal(samples(hibari, loudness="file", stream=False), samples(hibari, loudness="file"))

    def test_volume_is_a_factor_and_off_is_the_engines(self, hibari: Server) -> None:
        plain = samples(hibari, loudness="off", volume=0.25)
        assert np.allclose(samples(hibari, loudness="off", volume=0.125) * 2, plain, atol=1e-6)
        assert np.abs(samples(hibari, volume=4)).max() <= 10 ** (-1 / 20) + 1e-6

    @pytest.mark.parametrize("rate_hz", [8_000, 24_000, 44_100, 48_000])
    def test_peaks_are_bounded_between_samples_at_every_rate(self, hibari: Server, rate_hz: int) -> None:
        for voice in ("heart", "finch", "wren"):
            for volume in (1.5, 4):
                sound = samples(hibari, voice=voice, volume=volume, sample_rate=rate_hz)
                assert true_peak_dbtp(sound) <= -0.9, (voice, volume)
                wav = ask(hibari, response_format="wav", voice=voice, volume=volume, sample_rate=rate_hz).body
                whole = np.frombuffer(wav[44:], "<i2")
                assert np.abs(whole.astype(np.int32)).max() <= 10 ** (-1 / 20) * 32_767

    def test_settings(self, start: Any) -> None:
        server = start(config="[loudness]\ntarget_lufs = -24.0\n")
        assert measured(samples(server))[0] == pytest.approx(-24.0, abs=1.5)


class TestJoins:
    def test_no_seam_clicks(self, hibari: Server) -> None:
        """Within 2 ms of every seam no step is larger than the largest of the speech around it."""
        text = TEXT * 3
        body = json.dumps({"text": text}).encode()
        captions = json.loads(hibari.request("POST", "/v1/captions", body).body)["captions"]
        assert len(captions) > 2
        steps = np.abs(np.diff(samples(hibari, text, loudness="off")))
        near = int(0.002 * RATE_HZ)
        for one, following in itertools.pairwise(captions):
            assert 100 < following["start_ms"] - one["end_ms"] < 810
            for ms in (one["end_ms"], following["start_ms"]):
                seam = int(ms / 1e3 * RATE_HZ)
                before, after = steps[max(0, seam - RATE_HZ) : seam - near], steps[seam + near : seam + RATE_HZ]
                assert steps[seam - near : seam + near].max() <= max(before.max(), after.max())

    def test_pauses_are_settings(self, start: Any) -> None:
        def seconds(settings: str) -> float:
            server = start(engine="fake", config=f"[loudness]\nmode = 'off'\n[join]\n{settings}")
            return len(samples(server, THREE)) / RATE_HZ

        usual = seconds("")
        assert seconds("sentence_min_ms = 620.0") == pytest.approx(usual + 1.0, abs=0.001)
        assert seconds("enabled = false") == pytest.approx(usual - 0.24, abs=0.01)


class TestPython:
    def voice(self, seconds: float = 2.0, rate_hz: int = RATE_HZ) -> Sound:
        time_s = np.arange(int(seconds * rate_hz)) / rate_hz
        tone = sum(np.sin(2 * np.pi * 140 * k * time_s + k) / k for k in range(1, 12))
        return np.asarray(0.15 * tone * (1 + np.sin(2 * np.pi * 3 * time_s)), np.float32)

    @pytest.mark.parametrize("rate_hz", [8_000, 24_000, 48_000, 192_000])
    @pytest.mark.parametrize("format", [*SUFFIXES, *RAW])
    def test_others_decode_it(self, format: Any, rate_hz: int, tmp_path: Path) -> None:
        if format == "mulaw" and rate_hz != 8_000:
            rate_hz = 8_000
        x = self.voice(rate_hz=rate_hz)
        file = audio.encode(x, rate_hz, format)
        if format in SUFFIXES:
            path = tmp_path / f"x{SUFFIXES[format]}"
            path.write_bytes(file)
            assert abs(probed(path)["duration_s"] - 2.0) < 0.05
            back, back_hz = soundfile.read(path, dtype="float32")
            back = audio.resample(back, back_hz, rate_hz)
        else:
            kind = {"pcm": "<i2", "pcm_f32": "<f4", "mulaw": "u1"}[format]
            back = np.frombuffer(file, kind).astype(np.float32)
            if format == "mulaw":
                back = np.frombuffer(
                    ffmpeg("-f", "mulaw", "-ar", "8000", "-i", "-", "-f", "f32le", "-", given=file).stdout, np.float32
                )
            back = back / 32_768 if format == "pcm" else back
        assert len(back) == pytest.approx(len(x), abs=2)
        if format in LOSSLESS:
            assert np.abs(back - x).max() <= max(LOSSLESS[format], 0)
        else:
            noise = back[: len(x)] - x[: len(back)]
            assert 10 * np.log10(np.sum(x**2) / np.sum(noise**2)) > 12

    @pytest.mark.parametrize("format", [*SUFFIXES, *RAW])
    def test_what_is_not_a_number_is_silent_and_ends_nothing(self, format: Any) -> None:
        """LAME ends the whole program over one NaN, so it must never be given any."""
        x = self.voice()
        x[10_000:10_100] = np.nan
        x[30_000] = np.inf
        file = audio.encode(x, RATE_HZ, format)
        if not format.endswith("f32"):
            back = decoded(file, format)
            assert np.isfinite(back).all()
            # A pipe has no end to look for: the last frame of MP3 is not cut.
            assert len(back) == pytest.approx(len(x), abs=600)

    @pytest.mark.parametrize(
        ("rate_hz", "bitrate_bps"),
        [(24_000, None), (24_000, 32_000), (44_100, None), (48_000, None), (48_000, 32_000), (16_000, 8_000)],
    )
    def test_mp3_is_as_long_as_it_tells(self, rate_hz: int, bitrate_bps: int | None, tmp_path: Path) -> None:
        path = tmp_path / "x.mp3"
        frame = 1_152 if rate_hz >= 32_000 else 576
        least = 30 * frame - MP3_LEAD
        # The last sample that a frame holds, and the first of the next one: the shortest and the longest there is.
        for length in (least, least + 1, least + 70, least + frame // 2):
            x = np.asarray(0.5 * np.cos(2 * np.pi * 440 / rate_hz * np.arange(length)), np.float32)
            path.write_bytes(audio.encode(x, rate_hz, "mp3", bitrate_bps=bitrate_bps))
            read, read_hz = soundfile.read(path, dtype="float32")
            assert read_hz == rate_hz
            # Of a pipe ffmpeg does not cut the end off.
            by_ffmpeg = np.frombuffer(ffmpeg("-i", path, "-f", "f32le", "-").stdout, np.float32)
            for found in (read, by_ffmpeg, audio.decode(path)[0]):
                assert len(found) == length
                if bitrate_bps is None:
                    # From the first sample on, where it begins with a step: it is 12 dB where what begins is lost.
                    for part in (slice(100), slice(None)):
                        assert 10 * np.log10(np.sum(x[part] ** 2) / np.sum((found - x)[part] ** 2)) > 18
            told = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
            duration_s = float(subprocess.run(told, capture_output=True, timeout=60, check=True).stdout)
            assert duration_s == pytest.approx(-(-(length + MP3_LEAD) // frame) * frame / rate_hz, abs=1e-5)
            assert rate_hz < RATE_HZ or duration_s - length / rate_hz < 0.05

    def test_loudness_is_what_ffmpeg_measures(self) -> None:
        for level in (0.05, 0.5):
            x = self.voice(6.0) * np.float32(level)
            found, (lufs, peak) = audio.loudness(x, RATE_HZ), measured(x)
            assert found.integrated_lufs == pytest.approx(lufs, abs=0.1)
            assert found.true_peak_dbtp == pytest.approx(peak, abs=0.2)
        assert audio.loudness(np.zeros(24_000), RATE_HZ).integrated_lufs == -np.inf

    def test_what_is_wrong_is_told(self) -> None:
        for arguments in [(RATE_HZ, "aac"), (7_000, "mp3"), (44_100, "midi")]:
            with pytest.raises(ValueError, match=r"must be|not"):
                audio.encode(np.zeros(100), *arguments)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="one-dimensional"):
            audio.encode(np.zeros((2, 100)), RATE_HZ, "wav")
        with pytest.raises(ValueError, match="bitrate"):
            audio.encode(np.zeros(100), RATE_HZ, "flac", bitrate_bps=64_000)
        for rate_hz in (0, 7_999, 192_001, -1, 10**12):
            wrong: list[Callable[[], object]] = [
                lambda rate_hz=rate_hz: audio.encode(np.zeros(100), rate_hz, "wav"),
                lambda rate_hz=rate_hz: audio.encode(np.zeros(100), RATE_HZ, "flac", rate_out_hz=rate_hz),
                lambda rate_hz=rate_hz: audio.resample(np.zeros(100), RATE_HZ, rate_hz),
                lambda rate_hz=rate_hz: audio.stretch(np.zeros(100), rate_hz, 2.0),
                lambda rate_hz=rate_hz: audio.loudness(np.zeros(100), rate_hz),
            ]
            for call in wrong:
                with pytest.raises(ValueError, match=str(rate_hz)):
                    call()
        with pytest.raises(ValueError, match="-1"):
            audio.encode(np.zeros(100), RATE_HZ, "mp3", bitrate_bps=-1)
        with pytest.raises(TypeError):
            audio.decode(5)  # type: ignore[arg-type]
        assert issubclass(AudioError, Exception)

    def test_speech_is_saved_as_its_suffix_says(self, tmp_path: Path) -> None:
        with Speaker("fake") as speaker:
            speech = speaker.speak("One is the first sentence here.")
            half = speaker.speak("One is the first sentence here.", volume=0.5)
            with pytest.raises(SpeechError, match="volume"):
                speaker.speak("Hi.", volume=0)
            with pytest.raises(SpeechError, match="loudness"):
                speaker.speak("Hi.", loudness="file")  # type: ignore[arg-type]
        assert np.allclose(half.samples * 2, speech.samples, atol=1e-4)
        for suffix in (".wav", ".flac", ".mp3", ".opus", ".ogg"):
            path = tmp_path / f"x{suffix}"
            speech.save(path)
            assert abs(probed(path)["duration_s"] - speech.duration_s) < 0.05
        with pytest.raises(ValueError, match=r"\.mp3"):
            speech.save(tmp_path / "x.aac")
        speech.save(tmp_path / "small.mp3", bitrate_bps=16_000)
        assert (tmp_path / "small.mp3").stat().st_size < (tmp_path / "x.mp3").stat().st_size / 3

    def test_the_command_writes_it_too(self, tmp_path: Path) -> None:
        for suffix in (".mp3", ".flac"):
            ended = program(["say", "One is the first.", "-o", f"x{suffix}", "--engine", "fake"], tmp_path)
            assert ended.returncode == 0, ended.stderr
            assert probed(tmp_path / f"x{suffix}")["duration_s"] > 0.5
