"""The command line against a stand-in for the compiled half: what it asks of it, writes, says and returns."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import types
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ishowtts import cli
from ishowtts.cli import player, wav
from ishowtts.errors import ConfigError, EngineBroken, SpeechError

SAMPLE_RATE_HZ = 24_000
SPEECH = [np.linspace(-1.0, 1.0, 2_400, dtype=np.float32), np.full(1_200, 0.25, np.float32)]


class Native(types.ModuleType):
    """Takes the place of ``ishowtts._native`` and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__("ishowtts._native")
        self.loaded: list[tuple[str | None, list[tuple[str, str, str]]]] = []
        self.spoken: list[tuple[str, dict[str, Any]]] = []
        self.calls: list[str] = []
        self.engines: dict[str, dict[str, Any]] = {}
        self.fault: BaseException | None = None
        self.fault_in_stream: BaseException | None = None
        self.serving: Callable[[], int] = lambda: 0
        native = self

        class Config:
            engine = "hibari"
            fallback = ("fake",)
            engines = native.engines
            threads = 2

            @staticmethod
            def load(path: str | None, flags: list[tuple[str, str, str]]) -> Config:
                if path == "bad.toml":
                    raise ConfigError("bad.toml:3: http.prot is not a setting; did you mean http.port?\nbad.toml:4: no")
                native.loaded.append((path, flags))
                return Config()

            def explain(self) -> list[tuple[str, str, str]]:
                level = next((flag for key, _, flag in native.loaded[-1][1] if key == "log.level"), "default")
                extra = [("fallback", '["fake"]', "my.toml:1")]
                return [
                    ("engine", '"hibari"', "default"),
                    ("http.port", "9000", "--port"),
                    ("log.level", "…", level),
                    *extra,
                ]

        class Stream:
            sample_rate_hz = SAMPLE_RATE_HZ
            segments = len(SPEECH)
            segments_read = 0
            captions = ({"text": "Hi."},)

            def __iter__(self) -> Iterator[np.ndarray]:
                for pcm in SPEECH:
                    yield pcm
                    self.segments_read += 1
                    if native.fault_in_stream is not None:
                        raise native.fault_in_stream

        class Runtime:
            def __init__(self, config: Config) -> None:
                native.calls.append("start")

            def wait_ready(self, timeout_s: float | None = None) -> None:
                if native.fault is not None:
                    raise native.fault

            def speak(self, text: str, **options: Any) -> Stream:
                native.spoken.append((text, options))
                return Stream()

            def engines(self) -> list[dict[str, Any]]:
                return [{"name": "hibari", "state": "ready", "languages": ["en"], "device": "cpu"}]

            def serve(self) -> int:
                return native.serving()

            def shutdown(self) -> None:
                native.calls.append("shutdown")

            def close(self) -> None:
                native.calls.append("close")

        class Voices:
            def __init__(self, config: Config) -> None:
                pass

            def all(self) -> list[dict[str, Any]]:
                return [{"id": "heart", "name": "Heart", "languages": ["en"], "licence": "Apache-2.0"}]

        self.Config = Config
        self.Voices = Voices
        self.Runtime = Runtime
        self.subtitles = lambda format, text, captions: f"{format} of {text!r} with {len(captions)}: \u00e9\n"


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Native:
    native = Native()
    monkeypatch.setitem(sys.modules, "ishowtts._native", native)
    return native


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error, which must be one line of ours and nothing else."""
    error = capsys.readouterr().err
    assert error.startswith("ishowtts: ")
    assert error.count("\n") == 1
    assert error.endswith("\n")
    return error


# --- say: where the text comes from ---------------------------------------------------------------------------------


def test_words_are_joined(native: Native, folder: Path) -> None:
    assert cli.main(["say", "Hello", "there.", "-o", "x.wav"]) == 0
    assert native.spoken == [("Hello there.", {"voice": None, "speed": 1.0, "seed": None})]
    assert native.calls == ["start", "close"]


def test_options_reach_the_speech(native: Native, folder: Path) -> None:
    arguments = ["--voice", "wren", "--speed", "1.5", "--seed", "-1", "--engine", "fake", "--set", "cpu.threads=2"]
    assert cli.main(["say", "Hi.", "-o", "x.wav", "--config", "my.toml", *arguments]) == 0
    assert native.spoken == [("Hi.", {"voice": "wren", "speed": 1.5, "seed": -1})]
    flags = [("engine", "fake", "--engine"), ("cpu.threads", "2", "--set")]
    assert native.loaded == [("my.toml", flags), ("my.toml", [*flags, ("log.level", "off", "the command")])]


def test_a_log_level_that_was_asked_for_stays(native: Native, folder: Path) -> None:
    assert cli.main(["say", "Hi.", "-o", "x.wav", "--set", "log.level=debug"]) == 0
    assert native.loaded == [(None, [("log.level", "debug", "--set")])]


def test_a_file_is_read(native: Native, folder: Path) -> None:
    (folder / "story.txt").write_bytes(b"\xef\xbb\xbfOnce upon a time \xe2\x80\xa6")
    assert cli.main(["say", "story.txt", "-o", "x.wav"]) == 0
    assert native.spoken[0][0] == "Once upon a time …"


def test_a_missing_text_file_is_not_spoken(native: Native, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["say", "story.txt", "-o", "x.wav"]) == 2
    assert "there is no file story.txt" in one_error(capsys)
    assert native.spoken == []


@pytest.mark.parametrize("text", ["long " * 5_000, "a\0b", "and/or", "."])
def test_what_cannot_be_a_file_is_a_text(text: str, native: Native, folder: Path) -> None:
    assert cli.main(["say", text, "-o", "x.wav"]) == 0
    assert native.spoken[0][0] == text


def test_standard_input_is_read(native: Native, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Grüße".encode())))
    assert cli.main(["say", "-", "-o", "x.wav"]) == 0
    assert native.spoken[0][0] == "Grüße"


def test_text_must_be_utf8(native: Native, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "latin").write_bytes(b"ab\xe9c")
    assert cli.main(["say", "latin", "-o", "x.wav"]) == 1
    assert "latin is not UTF-8 text (byte 3)" in one_error(capsys)


# --- say: where the sound goes --------------------------------------------------------------------------------------


def test_a_wav_file_is_whole(native: Native, folder: Path) -> None:
    assert cli.main(["say", "Hi.", "-o", "x.wav"]) == 0
    with wave.open("x.wav") as file:
        assert file.getparams()[:4] == (1, 2, SAMPLE_RATE_HZ, 3_600)
        samples = np.frombuffer(file.readframes(3_600), "<i2")
    assert (samples[0], samples[2_399], samples[-1]) == (-32_767, 32_767, 8_192)
    assert [path.name for path in folder.iterdir()] == ["x.wav"]


def test_a_failure_leaves_the_old_file(native: Native, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.wav").write_bytes(b"old")
    native.fault_in_stream = SpeechError("engine_failed", "the engine raised ValueError")
    assert cli.main(["say", "Hi.", "-o", "x.wav"]) == 1
    assert "the engine raised ValueError; run it again with" in one_error(capsys)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("x.wav", b"old")]
    assert native.calls[-1] == "close"


def test_control_c_leaves_nothing(native: Native, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    native.fault_in_stream = KeyboardInterrupt()
    assert cli.main(["say", "Hi.", "-o", "x.wav"]) == 130
    assert list(folder.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_a_link_stays_a_link(native: Native, folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "x.wav").symlink_to("real/y.wav")
    assert cli.main(["say", "Hi.", "-o", "x.wav"]) == 0
    assert (folder / "x.wav").is_symlink()
    assert (folder / "real" / "y.wav").stat().st_size == 44 + 7_200


def test_what_is_no_file_is_written_through(native: Native, folder: Path) -> None:
    os.mkfifo("pipe")
    # Opened without blocking, so that the test ends even if nobody writes.
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert cli.main(["say", "Hi.", "-o", "pipe"]) == 0
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)
    assert os.read(reader, 100_000)[:44] == wav.header(SAMPLE_RATE_HZ)
    os.close(reader)


def test_wav_goes_to_a_pipe(native: Native, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert cli.main(["say", "Hi.", "-o", "-"]) == 0
    sound = capsysbinary.readouterr().out
    assert sound[:44] == wav.header(SAMPLE_RATE_HZ)
    assert sound[4:8] == sound[40:44] == b"\xff\xff\xff\xff"
    assert len(sound) == 44 + 7_200


@pytest.mark.parametrize(
    ("output", "code", "message"),
    [
        ("x.aac", 2, ".aac cannot be written, only .wav, .wave, .flac, .mp3, .opus, .ogg; use -o x.wav"),
        (".", 2, ". is a folder; name a file"),
        ("nowhere/x.wav", 1, "nowhere: No such file or directory; choose another place"),
    ],
)
def test_bad_outputs_are_seen_before_anything_starts(
    output: str, code: int, message: str, native: Native, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["say", "Hi.", "-o", output]) == code
    assert message in one_error(capsys)
    assert native.calls == []


def test_without_a_terminal_a_place_must_be_named(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["say", "Hi."]) == 2
    assert "nowhere to put the speech; name a file with -o speech.wav, or add --play" in one_error(capsys)


def fake_player(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    shell = shutil.which("sh")
    program = folder / "bin" / "aplay"
    program.parent.mkdir()
    program.write_text(f'#!{shell}\nPATH="{os.environ["PATH"]}"\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def test_it_is_played_and_written(native: Native, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_player(folder, monkeypatch, 'echo "$@" > arguments; cat > heard')
    assert cli.main(["say", "Hi.", "--play", "-o", "x.wav"]) == 0
    heard = (folder / "heard").read_bytes()
    assert heard == b"".join(map(wav.s16le, SPEECH))
    assert (folder / "x.wav").read_bytes()[44:] == heard
    assert "--rate=24000" in (folder / "arguments").read_text()


def test_a_player_that_fails_is_told(
    native: Native, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_player(folder, monkeypatch, "echo 'aplay: no sound card' >&2; exit 1")
    assert cli.main(["say", "Hi.", "--play"]) == 1
    assert "aplay could not play: aplay: no sound card; write a file instead" in one_error(capsys)


def test_control_c_ends_the_player(native: Native, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_player(folder, monkeypatch, "echo $$ > pid; exec sleep 60")
    native.fault_in_stream = KeyboardInterrupt()
    started = player.Player.start

    def start_and_wait(self: player.Player, sample_rate_hz: int) -> None:
        started(self, sample_rate_hz)
        processes.append(self)

    processes: list[player.Player] = []
    monkeypatch.setattr(player.Player, "start", start_and_wait)
    assert cli.main(["say", "Hi.", "--play"]) == 130
    assert [process.playing(timeout_s=0) for process in processes] == [False]


# --- say: captions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.srt", "x.VTT"])
def test_captions_are_written_beside_the_speech(native: Native, folder: Path, name: str) -> None:
    assert cli.main(["say", "Hi", "there.", "-o", "x.wav", "--captions", name]) == 0
    assert (folder / name).read_text(encoding="utf-8") == f"{name[2:].lower()} of 'Hi there.' with 1: é\n"
    assert sorted(path.name for path in folder.iterdir()) == sorted(["x.wav", name])


def test_captions_alone_need_no_place_for_the_speech(native: Native, folder: Path) -> None:
    assert cli.main(["say", "Hi.", "--captions", "x.srt"]) == 0
    assert [path.name for path in folder.iterdir()] == ["x.srt"]


def test_captions_of_a_failure_leave_what_was_there(native: Native, folder: Path) -> None:
    (folder / "x.srt").write_text("before")
    native.fault_in_stream = SpeechError("engine_failed", "no")
    assert cli.main(["say", "Hi.", "-o", "x.wav", "--captions", "x.srt"]) == 1
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("x.srt", "before")]


@pytest.mark.parametrize(("name", "code"), [("x.txt", 2), ("x", 2), ("folder.srt", 2), ("nowhere/x.srt", 1)])
def test_captions_that_cannot_be_written_are_told_before_anything_is_spoken(
    native: Native, folder: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    (folder / "folder.srt").mkdir()
    assert cli.main(["say", "Hi.", "--captions", name]) == code
    assert native.spoken == []
    assert name.split("/")[0] in one_error(capsys)


def test_without_a_player_it_says_what_to_install(
    native: Native, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert cli.main(["say", "Hi.", "--play"]) == 2
    assert "apt-get install alsa-utils" in one_error(capsys)


# --- lists and settings ---------------------------------------------------------------------------------------------


def test_voices(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["voices"]) == 0
    assert capsys.readouterr().out.split() == [
        "id",
        "name",
        "languages",
        "licence",
        *["heart", "Heart", "en", "Apache-2.0"],
    ]
    assert cli.main(["voices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "heart"


def test_engines(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["engines", "--engine", "fake"]) == 0
    assert native.loaded[0] == (None, [("engine", "fake", "--engine")])
    assert "hibari  ready" in capsys.readouterr().out


def test_engines_that_did_not_load_are_listed(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    native.fault = SpeechError("engine_failed", "no module onnxruntime")
    assert cli.main(["engines", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "hibari"


def test_config_show(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == {"key": "http.port", "value": "9000", "origin": "--port"}
    assert cli.main(["config", "show"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["http.port", "9000", "--port"]


def test_config_check(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "check"]) == 0
    assert cli.main(["config", "check", "--config", "bad.toml"]) == 2
    assert capsys.readouterr().err == (
        "ishowtts: bad.toml:3: http.prot is not a setting; did you mean http.port?\nishowtts: bad.toml:4: no\n"
    )


def test_config_check_asks_the_engines(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    native.engines.update({"fake": {"slot": 3}, "espeak": {"slots": 99}, "of-nobody": {"any": 1}})
    assert cli.main(["config", "check"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "ishowtts: [engines.fake] has no option 'slot'; did you mean 'slots'?",
        "ishowtts: [engines.espeak] slots must be from 0 to 16, not 99",
    ]
    assert "start" not in native.calls
    native.engines.clear()
    assert cli.main(["config", "check"]) == 0


def test_version(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ishowtts 0.")


def test_alone_it_shows_its_help(native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "voices" in capsys.readouterr().out


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["sya"],
        ["say"],
        ["say", "Hi.", "--sped", "2"],
        ["say", "Hi.", "--speed", "fast"],
        ["serve", "--prot", "1"],
        ["serve", "stray"],
        ["serve", "--set", "cpu.threads"],
        ["config", "shwo"],
        ["config"],
        ["voices", "--set", "=1"],
    ],
)
def test_wrong_command_lines(arguments: list[str], native: Native, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "; " in one_error(capsys)
    assert native.calls == []


@pytest.mark.parametrize("command", [["serve"], ["say", "Hi.", "-o", "x.wav"], ["engines"], ["config", "check"]])
def test_an_unknown_engine_is_a_wrong_setting(
    command: list[str], native: Native, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    native.Config.fallback = ("fake", "hibary")
    assert cli.main(command) == 2
    assert one_error(capsys) == (
        "ishowtts: my.toml:1: no engine is called 'hibary' "
        "(installed: espeak, f5, f5-reference, fake, hibari); did you mean 'hibari'?\n"
    )
    assert native.calls == []


@pytest.mark.parametrize(
    "fault", [EngineBroken("hibari did not load"), SpeechError("engine_failed", "hibari did not load")]
)
def test_a_broken_engine_has_its_own_code(
    fault: Exception, native: Native, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    native.fault = fault
    assert cli.main(["say", "Hi.", "-o", "x.wav"]) == 70
    assert "hibari did not load" in one_error(capsys)


def test_options_that_an_engine_does_not_accept_are_a_wrong_setting(
    native: Native, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    native.fault = SpeechError("invalid_setting", "[engines.f5] has no option 'modle'")
    assert cli.main(["say", "Hi.", "-o", "x.wav"]) == 2
    assert "modle" in one_error(capsys)


def test_an_unknown_voice_has_a_mend(native: Native, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = 'no voice is called "hart"; GET /v1/audio/voices lists them; did you mean "heart"?'
    native.fault = SpeechError("voice_not_found", message)
    assert cli.main(["say", "Hi.", "-o", "x.wav", "--voice", "hart"]) == 1
    assert one_error(capsys) == (
        'ishowtts: no voice is called "hart"; did you mean "heart"?; `ishowtts voices` lists them\n'
    )


def test_without_the_compiled_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ishowtts._native", None)
    assert cli.main(["voices"]) == 1
    assert "the compiled part of ishowtts does not load" in one_error(capsys)


# --- serve ----------------------------------------------------------------------------------------------------------


def test_serve_passes_its_flags_on(native: Native, restored_signals: None) -> None:
    native.serving = lambda: 3
    assert cli.main(["serve", "--port", "9000", "--host", "::1", "--set", "voices.aliases.tts.1=heart"]) == 3
    flags = [
        ("http.host", "::1", "--host"),
        ("http.port", "9000", "--port"),
        ("voices.aliases.tts.1", "heart", "--set"),
    ]
    assert native.loaded == [(None, flags)]


@pytest.fixture
def restored_signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_shuts_the_server_down(number: signal.Signals, native: Native, restored_signals: None) -> None:
    def serving() -> int:
        signal.raise_signal(number)
        return 0

    native.serving = serving
    assert cli.main(["serve"]) == 0
    assert native.calls == ["start", "shutdown"]


def test_a_lost_engine_cannot_keep_the_program(
    native: Native, restored_signals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    native.serving = lambda: 70
    cli.main(["serve"])
    assert ended == [70]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_serve_imports_neither_typer_nor_rich() -> None:
    done = run_python(
        "import sys; from ishowtts.cli import main, serve; serve.parser(); main(['serve', '--prot']);"
        "print(sorted({'typer', 'rich', 'click', 'torch', 'numpy'} & set(sys.modules)))"
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_error(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from ishowtts.cli import main; sys.exit(main(['--version']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
