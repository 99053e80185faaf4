"""The native module in this process and in children: streams, signals, exit codes, errors."""

from __future__ import annotations

import ast
import gc
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import ishowtts
import numpy as np
import pytest
from harness import Server, environment, wait_until
from ishowtts import _native

Open = Callable[..., ishowtts.Runtime]

TWO = "The first of them is a sentence that is long enough to stand alone. The second one follows it at once."
LIMIT_S = 60


def config(folder: Path, toml: str, **flags: str) -> ishowtts.Config:
    path = folder / "ishowtts.toml"
    path.write_text(toml, encoding="utf-8")
    given = [(key.replace("__", "."), value, f"--{key}") for key, value in flags.items()]
    return ishowtts.Config.load(path, given)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    runtimes = []

    def make(options: str = "", rest: str = "") -> ishowtts.Runtime:
        toml = f'engine = "fake"\n{rest}\n[engines.fake]\nfaults = true\n{options}\n'
        runtimes.append(ishowtts.Runtime(config(tmp_path, toml)))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        runtime.close()


def child(folder: Path, code: str, options: str = "") -> subprocess.Popen[str]:
    """A program that holds ``config`` for the fake engine."""
    toml = folder / "ishowtts.toml"
    toml.write_text(f'engine = "fake"\n[http]\nport = 0\n[engines.fake]\nfaults = true\n{options}\n', encoding="utf-8")
    setup = f"import ishowtts\nconfig = ishowtts.Config.load({str(toml)!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", setup + code],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestConfig:
    def test_flags_go_before_the_file(self, tmp_path: Path) -> None:
        loaded = config(tmp_path, "[http]\nport = 1234\n", http__port="4321")
        assert loaded.port == 4321
        assert ("http.port", "4321", "--http__port") in loaded.explain()
        assert loaded.file == tmp_path / "ishowtts.toml"

    def test_every_mistake_is_a_line(self, tmp_path: Path) -> None:
        with pytest.raises(ishowtts.ConfigError) as raised:
            config(tmp_path, "[http]\nprot = 1\nport = 'x'\n")
        lines = str(raised.value).splitlines()
        assert len(lines) == 2
        assert "http.port" in lines[0]


class TestStreams:
    def test_speech_is_float32_in_order_and_tells_how_far_it_is(self, opened: Open) -> None:
        stream = opened("audio_ms_per_char = 10").speak(TWO, seed=3)
        assert (stream.engine, stream.voice, stream.seed, stream.sample_rate_hz) == ("fake", "heart", 3, 24_000)
        assert stream.segments == 2
        pieces = []
        for piece in stream:
            assert piece.dtype == np.float32
            assert piece.ndim == 1
            pieces.append(piece)
        assert stream.segments_read == 2
        parts, pause = TWO.replace(". T", ".\nT").splitlines(), 2_880
        assert sum(map(len, pieces)) == sum(240 * len(part) for part in parts) + pause

    def test_a_repeat_comes_from_the_cache_and_is_the_same(self, opened: Open) -> None:
        runtime = opened()
        first = runtime.speak(TWO)
        sound = np.concatenate(list(first))
        again = runtime.speak(TWO)
        assert (first.cached, again.cached) == (False, True)
        assert sound.tobytes() == np.concatenate(list(again)).tobytes()
        assert not runtime.speak(TWO, cache=False).cached

    def test_many_threads_each_hear_their_own(self, opened: Open) -> None:
        runtime = opened("audio_ms_per_char = 20\nmax_segment_chars = 500")

        def length(words: int) -> int:
            return sum(map(len, runtime.speak("word " * words, cache=False)))

        with ThreadPoolExecutor(16) as pool:
            lengths = list(pool.map(length, range(1, 13)))
        assert lengths == [480 * (5 * words - 1) for words in range(1, 13)]

    def test_errors_have_stable_codes(self, opened: Open) -> None:
        runtime = opened()
        for text, code, fields in [
            ("Hello.", "voice_not_found", {"voice": "no such"}),
            ("Hello.", "model_not_found", {"engine": "no such"}),
            ("...", "nothing_to_say", {}),
            ("Hello.", "invalid_speed", {"speed": float("nan")}),
        ]:
            with pytest.raises(ishowtts.SpeechError) as raised:
                runtime.speak(text, **fields)  # type: ignore[arg-type]
            assert raised.value.code == code

    @pytest.mark.parametrize(
        ("field", "code", "wrong"),
        [
            ("seed", "invalid_seed", [-2, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, np.uint64(2**64 - 1)]),
            ("speed", "invalid_speed", [0, 5, 10**400, -(10**400), float("inf"), np.float32("nan")]),
            ("volume", "invalid_value", [0, -(10**400), 10**400, float("nan"), np.float64("inf")]),
        ],
    )
    def test_a_number_out_of_range_is_the_same_fault_however_far(
        self, opened: Open, field: str, code: str, wrong: list[Any]
    ) -> None:
        runtime = opened()
        for value in wrong:
            with pytest.raises(ishowtts.SpeechError) as raised:
                runtime.speak("Hello.", **{field: value})
            assert raised.value.code == code, value
        for other in (True, np.True_, "1", [1]):
            with pytest.raises(TypeError):
                runtime.speak("Hello.", **{field: other})
        assert runtime.speak("Hello.", **{field: np.int64(1)}).seed >= 0

    def test_a_time_to_wait_that_none_is_left_of_is_over(self, opened: Open) -> None:
        runtime = opened("load_ms = 60000")
        for timeout_s in (0, -1, -(10**400), np.float32(0.01)):
            with pytest.raises(TimeoutError):
                runtime.wait_ready(timeout_s)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="timeout_s must be a number"):
            runtime.wait_ready(float("nan"))
        opened().wait_ready(10**400)

    @pytest.mark.parametrize("marker", ["raise", "exit", "nan", "dtype", "shape", "empty", "silent", "error"])
    def test_a_fault_ends_its_own_stream_only(self, opened: Open, marker: str) -> None:
        runtime = opened()
        with pytest.raises(ishowtts.SpeechError) as raised:
            list(runtime.speak(f"Say [{marker}] now."))
        assert raised.value.code == "engine_failed"
        assert "/a/path" not in str(raised.value)
        assert sum(map(len, runtime.speak("Hello there."))) > 0

    def test_lone_surrogates_are_no_crash(self, opened: Open) -> None:
        assert sum(map(len, opened().speak("Hello \ud800 there."))) > 0

    def test_closing_ends_streams(self, opened: Open) -> None:
        runtime = opened("step_ms = 1000")
        stream = runtime.speak("word " * 2000)
        next(stream)
        threading.Timer(0.1, runtime.close).start()
        with pytest.raises(ishowtts.SpeechError):
            list(stream)
        with pytest.raises(ishowtts.SpeechError) as raised:
            runtime.speak("Hello.")
        assert raised.value.code == "shutting_down"

    def test_dropping_everything_ends_the_threads(self, opened: Open, tmp_path: Path) -> None:
        def engine_threads() -> set[str]:
            found = set()
            for path in Path("/proc/self/task").glob("*/comm"):
                # A thread may end while it is looked at.
                with suppress(FileNotFoundError, ProcessLookupError):
                    if path.read_text().startswith(("engine-", "prepare-")):
                        found.add(path.parent.name)
            return found

        # Of other tests' engines, some of which may be ending.
        before = engine_threads()
        runtime = ishowtts.Runtime(config(tmp_path, 'engine = "fake"\n'))
        stream = runtime.speak("word " * 100)
        next(stream)
        wait_until(lambda: len(engine_threads() - before) == 2, "the engine's threads have their names")
        del runtime, stream
        gc.collect()
        wait_until(lambda: engine_threads() <= before, "the engine's threads have ended")


class TestReadiness:
    def test_nothing_loads_for_the_list_of_voices(self, opened: Open) -> None:
        (heart,) = (voice for voice in opened("fail_load = true").voices() if voice["default"])
        assert heart["id"] == "heart"
        assert "alloy" in heart["aliases"]

    def test_an_engine_that_cannot_load_is_an_error(self, opened: Open) -> None:
        runtime = opened("fail_load = true")
        with pytest.raises(ishowtts.SpeechError) as raised:
            runtime.wait_ready()
        assert raised.value.code == "engine_failed"
        (engine,) = runtime.engines()
        assert (engine["name"], engine["state"]) == ("fake", "broken")
        assert "told to fail" not in engine["reason"]

    def test_waiting_has_an_end(self, opened: Open) -> None:
        runtime = opened("load_ms = 3000")
        with pytest.raises(TimeoutError):
            runtime.wait_ready(0.05)
        assert runtime.engines()[0]["state"] == "loading"
        runtime.wait_ready(LIMIT_S)
        assert runtime.engines()[0]["max_segment_chars"] == 200

    def test_the_environment_stays_as_it_is_once_there_are_threads(self, tmp_path: Path) -> None:
        code = (
            "import os, sys\nchanges = []\n"
            "for name in list(os.environ):\n    if name.endswith('_NUM_THREADS'): del os.environ[name]\n"
            "sys.addaudithook(lambda event, what: changes.append(what[0]) if event == 'os.putenv' else None)\n"
            "runtime = ishowtts.Runtime(config)\nprint(b'OMP_NUM_THREADS' in changes)\nchanges.clear()\n"
            "runtime.wait_ready()\nprint(changes)"
        )
        assert child(tmp_path, code).communicate(timeout=LIMIT_S)[0] == "True\n[]\n"


class TestSignals:
    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
    def test_serve_ends_with_0(self, tmp_path: Path, how: signal.Signals) -> None:
        code = (
            "import signal, sys\nruntime = ishowtts.Runtime(config)\n"
            "for how in (signal.SIGINT, signal.SIGTERM): signal.signal(how, lambda *_: runtime.shutdown())\n"
            "sys.exit(runtime.serve())"
        )
        process = child(tmp_path, code)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("ishowtts listens on http://127.0.0.1:")
        process.send_signal(how)
        assert process.wait(LIMIT_S) == 0

    def test_without_a_handler_ctrl_c_is_a_keyboard_interrupt(self, tmp_path: Path) -> None:
        code = (
            "runtime = ishowtts.Runtime(config)\ntry: runtime.serve()\nexcept KeyboardInterrupt: print('interrupted')"
        )
        process = child(tmp_path, code)
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=LIMIT_S)[0] == "interrupted\n"
        assert process.returncode == 0

    @pytest.mark.parametrize(
        ("wait", "options"),
        [
            ("for _ in runtime.speak('Hello.'): pass", "step_ms = 60000"),
            ("runtime.wait_ready()", "load_ms = 60000"),
        ],
    )
    def test_ctrl_c_ends_what_waits(self, tmp_path: Path, wait: str, options: str) -> None:
        code = (
            "import os\nruntime = ishowtts.Runtime(config)\ntry:\n"
            f"    print('up', flush=True)\n    {wait}\n"
            "except KeyboardInterrupt: print('interrupted', flush=True)\nos._exit(0)"
        )
        process = child(tmp_path, code, options)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=LIMIT_S)[0] == "interrupted\n"


class TestExit:
    def test_an_interpreter_ends_with_everything_open(self, tmp_path: Path) -> None:
        code = (
            "runtime = ishowtts.Runtime(config)\nstream = runtime.speak('word ' * 2000)\nnext(stream)\n"
            "other = ishowtts.Runtime(config)\nother.engines()\nprint('end')"
        )
        process = child(tmp_path, code, "step_ms = 5")
        assert process.communicate(timeout=LIMIT_S)[0] == "end\n"
        assert process.returncode == 0

    def test_so_it_does_with_the_real_engine(self, tmp_path: Path) -> None:
        code = (
            "runtime = ishowtts.Runtime(ishowtts.Config.load())\nprint(sum(map(len, runtime.speak('Hello.'))) > 9000)"
        )
        process = child(tmp_path, code)
        assert process.communicate(timeout=LIMIT_S)[0] == "True\n"
        assert process.returncode == 0

    @pytest.mark.parametrize(("marker", "limit_s"), [("break", 100), ("hang", 3)])
    def test_a_lost_engine_is_70(self, tmp_path: Path, marker: str, limit_s: int) -> None:
        code = (
            "import os, threading\n"
            "runtime = ishowtts.Runtime(config)\n"
            "def ask():\n"
            f"    try: list(runtime.speak('Say [{marker}].'))\n"
            "    except ishowtts.SpeechError as error: print(error.code, flush=True)\n"
            "asker = threading.Thread(target=ask, daemon=True); asker.start()\n"
            "code = runtime.serve(); asker.join(30); os._exit(code)"
        )
        process = child(tmp_path, code, f"[speech]\nmax_step_s = {limit_s}")
        heard, log = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 70, log
        assert heard == "engine_failed\n"
        assert "an engine is lost" in log

    @pytest.mark.parametrize("marker", ["spin", "freeze"])
    def test_an_engine_that_keeps_the_interpreter_busy_is_70_too(self, tmp_path: Path, marker: str) -> None:
        code = (
            "import sys, threading\nruntime = ishowtts.Runtime(config)\n"
            f"ask = lambda: list(runtime.speak('Say [{marker}].'))\n"
            "threading.Thread(target=ask, daemon=True).start()\nsys.exit(runtime.serve())"
        )
        process = child(tmp_path, code, "[speech]\nmax_step_s = 3")
        assert process.wait(LIMIT_S) == 70

    def test_a_taken_port_is_told_before_anything_loads(self, tmp_path: Path, tone: Server) -> None:
        code = (
            f"config = ishowtts.Config.load(None, [('http.port', '{tone.port}', '--port')])\nimport sys\n"
            "try: ishowtts.Runtime(config).serve()\nexcept ishowtts.IshowttsError as error: print(error)\n"
            "print('onnxruntime' in sys.modules)"
        )
        told, imported = child(tmp_path, code).communicate(timeout=LIMIT_S)[0].splitlines()
        assert told.startswith(f"cannot listen on 127.0.0.1:{tone.port} ")
        assert "choose another port" in told
        assert imported == "False"


class TestStub:
    """The stub is what type checkers believe: it must say what is built."""

    def tree(self) -> ast.Module:
        return ast.parse(Path(_native.__file__).with_name("_native.pyi").read_text(encoding="utf-8"))

    def classes(self) -> dict[str, ast.ClassDef]:
        return {node.name: node for node in self.tree().body if isinstance(node, ast.ClassDef)}

    def functions(self) -> dict[str, ast.FunctionDef]:
        return {node.name: node for node in self.tree().body if isinstance(node, ast.FunctionDef)}

    def test_names_are_those_of_the_module(self) -> None:
        public = {name for name in dir(_native) if not name.startswith("_")}
        assert public == set(self.classes()) | set(self.functions())

    def test_parameters_of_functions_are_those_of_the_module(self) -> None:
        for name, node in self.functions().items():
            parameters = list(inspect.signature(getattr(_native, name)).parameters)
            assert parameters == [argument.arg for argument in node.args.args], name

    @pytest.mark.parametrize("name", ["Config", "Runtime", "Stream"])
    def test_members_and_parameters_are_those_of_the_class(self, name: str) -> None:
        built = getattr(_native, name)
        methods = {node.name: node for node in self.classes()[name].body if isinstance(node, ast.FunctionDef)}
        own = {member for member in vars(built) if not member.startswith("__")}
        assert own == {method for method in methods if not method.startswith("__")}
        for method, node in methods.items():
            is_property = any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list)
            member = inspect.getattr_static(built, method)
            assert inspect.isgetsetdescriptor(member) == is_property, method
            if is_property or method.startswith("__"):
                continue
            parameters = list(inspect.signature(getattr(built, method)).parameters.values())
            stubbed = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
            assert [parameter.name for parameter in parameters] == stubbed, method
            keyword_only = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
            assert keyword_only == [argument.arg for argument in node.args.kwonlyargs], method

    def test_the_package_offers_all_of_it(self) -> None:
        # The library of voices is the command line's.
        assert set(self.classes()) - {"Voices"} < set(ishowtts.__all__)
        assert all(getattr(ishowtts, name) is not None for name in ishowtts.__all__)
        assert ishowtts.__version__
        assert Path(_native.__file__).name.startswith("_native")


def test_what_the_engine_chose_is_told_with_each_caption(opened: Open) -> None:
    with opened() as runtime:
        stream = runtime.speak("Please [choose] now.", seed=3)
        assert sum(map(len, stream)) > 0
        (caption,) = (ishowtts.Caption.of(fields) for fields in stream.captions)
        assert caption.params == {"steps": 1, "timed": False}, "with a seed of its own it is not told of its time"
        plain = runtime.speak("Please say it.")
        assert sum(map(len, plain)) > 0
        assert ishowtts.Caption.of(plain.captions[0]).params == {}
