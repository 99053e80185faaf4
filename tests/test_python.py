"""The Python API: Speaker and Server in this process, and every example of docs/python.md."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
import threading
import urllib.request
import wave
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import ishowtts
import numpy as np
import pytest
from harness import COMMAND, environment, speech_body
from small_f5 import write_clip

TEXT = "  One is the first sentence of all. Two costs $100 at 9:30PM, they say.  Three is the last sentence."
EXAMPLES = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ishowtts.Speaker]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(tmp_path_factory.mktemp("speaker")).items():
            patch.setenv(name, value)
        with ishowtts.Speaker("fake", options={"faults": True, "audio_ms_per_char": 10}) as opened:
            yield opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ishowtts.Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(tmp_path_factory.mktemp("server")).items():
            patch.setenv(name, value)
        with ishowtts.Server("fake", options={"faults": True, "audio_ms_per_char": 10}) as opened:
            yield opened


class TestAudio:
    def test_samples_captions_and_where_they_come_from(self, speaker: ishowtts.Speaker) -> None:
        audio = speaker.speak(TEXT, voice="wren", seed=4)
        assert (audio.samples.dtype, audio.samples.ndim, audio.sample_rate_hz) == (np.float32, 1, 24_000)
        assert (audio.engine, audio.voice, audio.seed) == ("fake", "wren", 4)
        assert [caption.segment for caption in audio.captions] == [0, 1, 2]
        assert audio.captions[0].start_ms == 0
        assert audio.captions[-1].end_ms == pytest.approx(audio.duration_s * 1e3, abs=0.1)
        for caption in audio.captions:
            assert TEXT[caption.start_char : caption.end_char] == caption.text
            for word in caption.words:
                assert TEXT[word.start_char : word.end_char] == word.text
                assert caption.start_ms <= word.start_ms < word.end_ms <= caption.end_ms

    def test_a_file_holds_what_the_server_sends(
        self, speaker: ishowtts.Speaker, server: ishowtts.Server, tmp_path: Path
    ) -> None:
        speaker.speak(TEXT).save(tmp_path / "speech.wav")
        with wave.open(str(tmp_path / "speech.wav")) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
            saved = file.readframes(file.getnframes())
        request = urllib.request.Request(
            f"{server.url}/v1/audio/speech", speech_body(TEXT), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.read() == saved

    def test_another_suffix_is_refused(self, speaker: ishowtts.Speaker, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"\.wav"):
            speaker.speak(TEXT).save(tmp_path / "speech.xyz")
        assert not list(tmp_path.iterdir())

    def test_a_notebook_shows_a_player(self, speaker: ishowtts.Speaker) -> None:
        shown = speaker.speak("Say <b>this</b> & that.")._repr_html_()
        tags: list[str] = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attributes: tags.append(tag)  # type: ignore[method-assign]
        parser.feed(shown)
        assert tags == ["figure", "svg", "path", "audio", "figcaption"]
        assert 'src="data:audio/wav;base64,UklGR' in shown


class TestStreams:
    def test_sound_comes_while_the_rest_is_made(self, speaker: ishowtts.Speaker) -> None:
        with speaker.stream(TEXT, cache=False) as stream:
            first = next(stream)
            assert [caption.segment for caption in stream.captions] == [0]
            rest = list(stream)
        assert len(stream.captions) == stream.segments == 3
        whole = speaker.speak(TEXT, cache=False).samples
        assert np.array_equal(np.concatenate([first, *rest]), whole)

    def test_a_closed_stream_ends(self, speaker: ishowtts.Speaker) -> None:
        stream = speaker.stream(TEXT, cache=False)
        next(stream)
        stream.close()
        assert list(stream) == []
        assert len(stream.captions) == 1

    def test_a_failure_is_no_short_speech(self, speaker: ishowtts.Speaker) -> None:
        with pytest.raises(ishowtts.SpeechError) as raised:
            speaker.speak("One is the first sentence of all. The second one of them holds a [raise] in it.")
        assert raised.value.code == "engine_failed"

    def test_a_clip_of_ones_own_is_a_voice(self, speaker: ishowtts.Speaker, tmp_path: Path) -> None:
        clip = tmp_path / "mine.wav"
        write_clip(clip)
        mine = speaker.speak(TEXT, reference_audio=clip, reference_text="What is said.")
        assert mine.voice == "reference"
        assert not np.array_equal(mine.samples, speaker.speak(TEXT).samples)

    def test_one_that_cannot_be_used_is_told(self, speaker: ishowtts.Speaker, tmp_path: Path) -> None:
        clip = tmp_path / "mine.wav"
        with pytest.raises(ishowtts.SpeechError, match=r"reference_audio: mine\.wav cannot be read") as raised:
            speaker.speak(TEXT, reference_audio=clip, reference_text="What is said.")
        assert raised.value.code == "invalid_reference"
        write_clip(clip)
        with pytest.raises(ishowtts.SpeechError, match="reference_text must tell"):
            speaker.speak(TEXT, reference_audio=clip)
        with pytest.raises(TypeError, match="give both"):
            speaker.speak(TEXT, reference_text="What is said.")
        with pytest.raises(TypeError, match="give one of them"):
            speaker.speak(TEXT, voice="wren", reference_audio=clip, reference_text="What is said.")

    def test_without_postprocessing_the_text_goes_in_one_piece(self, speaker: ishowtts.Speaker) -> None:
        spoken = speaker.speak(TEXT, postprocess=False)
        assert [TEXT[caption.start_char : caption.end_char] for caption in spoken.captions] == [TEXT]

    def test_unknown_parameters_are_named(self, speaker: ishowtts.Speaker) -> None:
        with pytest.raises(ishowtts.SpeechError, match="nfe_steps"):
            speaker.speak("Hello.", nfe_steps=7)

    def test_a_number_with_more_digits_than_python_prints_is_one_out_of_range(self, speaker: ishowtts.Speaker) -> None:
        for wrong in (10**5000, -(10**5000)):
            with pytest.raises(ishowtts.SpeechError, match="not a number of more than 64 bits"):
                speaker.speak("Hello.", nfe_steps=wrong)
            with pytest.raises(ishowtts.SpeechError, match="seed must be"):
                speaker.speak("Hello.", seed=wrong)
        with pytest.raises(ishowtts.SpeechError, match="postprocess must be true or false"):
            speaker.speak("Hello.", postprocess=10**5000)  # type: ignore[arg-type]

    def test_waiting_leaves_the_interpreter_to_others(self, speaker: ishowtts.Speaker) -> None:
        ticks, done = [0], threading.Event()

        def count() -> None:
            while not done.is_set():
                ticks[0] += 1

        thread = threading.Thread(target=count)
        thread.start()
        try:
            before = ticks[0]
            speaker.speak("[slow] " + TEXT, cache=False)
            assert ticks[0] > before
        finally:
            done.set()
            thread.join()


class TestAsync:
    def test_tasks_share_a_speaker(self, speaker: ishowtts.Speaker) -> None:
        async def main() -> list[ishowtts.Audio]:
            return await asyncio.gather(*(speaker.aspeak(f"Sentence number {n}.", cache=False) for n in range(20)))

        spoken = asyncio.run(main())
        for n, audio in enumerate(spoken):
            assert np.array_equal(audio.samples, speaker.speak(f"Sentence number {n}.").samples)

    def test_a_stream_is_an_async_iterator(self, speaker: ishowtts.Speaker) -> None:
        async def main() -> int:
            async with await speaker.astream(TEXT, cache=False) as stream:
                return sum([piece.size async for piece in stream])

        assert asyncio.run(main()) == speaker.speak(TEXT).samples.size


class TestServer:
    def test_two_at_once_on_ports_of_their_own(self, server: ishowtts.Server) -> None:
        with ishowtts.Server("fake") as other:
            assert other.port != server.port
            for one in (server, other):
                with urllib.request.urlopen(f"{one.url}/readyz") as answer:
                    assert json.load(answer)["ready"]
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"{other.url}/readyz")

    def test_a_taken_port_is_told(self, server: ishowtts.Server) -> None:
        with pytest.raises(ishowtts.IshowttsError, match=str(server.port)):
            ishowtts.Server("fake", port=server.port).start()

    def test_an_engine_that_does_not_load_is_told(self) -> None:
        with pytest.raises(ishowtts.SpeechError), ishowtts.Server("fake", options={"fail_load": True}):
            pass

    def test_settings_are_checked(self) -> None:
        with pytest.raises(ishowtts.ConfigError, match=r"speech\.cach_mib"):
            ishowtts.Server("fake", settings={"speech.cach_mib": 1})
        for wrong in (2**63, 10**5000, -(10**5000), float("nan"), np.uint64(2**64 - 1), np.float64("inf")):
            with pytest.raises(ishowtts.ConfigError, match=r"speech\.cache_mib must be a whole number"):
                ishowtts.Server("fake", settings={"speech.cache_mib": wrong})
            with (
                pytest.raises(ishowtts.SpeechError, match="slots must be a whole number") as refused,
                ishowtts.Speaker("fake", options={"slots": wrong}),
            ):
                pass
            assert refused.value.code == "invalid_setting"
        with ishowtts.Speaker(
            "fake", options={"slots": np.int64(2), "step_ms": np.float32(0.5), "languages": np.array(["en"])}
        ) as numpys:
            assert numpys.engines()[0]["max_slots"] == 2


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda code: code.strip().splitlines()[-1].strip()[:40])
def test_examples_run_as_they_stand(example: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_the_command_saves_the_same_samples(tmp_path: Path) -> None:
    command = [str(COMMAND), "say", "--engine", "fake", TEXT, "-o", "speech.wav"]
    subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), check=True, capture_output=True, timeout=60)
    with ishowtts.Speaker("fake") as speaker:
        expected = speaker.speak(TEXT).wav()
    with wave.open(io.BytesIO((tmp_path / "speech.wav").read_bytes())) as file:
        assert file.readframes(file.getnframes()) == expected[44:]
