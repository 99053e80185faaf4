"""Clients that people use: the official OpenAI package and curl."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openai
import pytest
from harness import Server, wav_samples

TEXT = "The official client needs no change to speak through this server. It just works."


@pytest.fixture
def client(hibari: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{hibari.url}/v1", api_key="unused", max_retries=0)


class TestOpenAI:
    def test_a_file(self, client: openai.OpenAI, tmp_path: Path) -> None:
        path = tmp_path / "speech.wav"
        client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="wav").write_to_file(path)
        with wave.open(str(path)) as file:
            assert file.getframerate() == 24000
            assert len(file.readframes(file.getnframes())) > 24000 * 2 * 2

    def test_without_a_format(self, client: openai.OpenAI) -> None:
        response = client.audio.speech.create(model="tts-1", voice="nova", input=TEXT)
        assert response.response.headers["content-type"] == "audio/mpeg"
        assert len(response.content) > 96_000 / 8

    def test_streaming(self, client: openai.OpenAI, hibari: Server) -> None:
        create = client.audio.speech.with_streaming_response.create
        with create(model="gpt-4o-mini-tts", voice="coral", input=TEXT, response_format="pcm") as response:
            parts = list(response.iter_bytes(4096))
        assert b"".join(parts) == hibari.speak(TEXT, voice="coral").body

    def test_async_and_streaming_at_once(self, hibari: Server) -> None:
        async def all_at_once() -> list[bytes]:
            async with openai.AsyncOpenAI(base_url=f"{hibari.url}/v1", api_key="unused", max_retries=0) as client:

                async def one(index: int) -> bytes:
                    text = f"Listener number {index}. {TEXT}"
                    create = client.audio.speech.with_streaming_response.create
                    async with create(model="tts-1", voice="echo", input=text, response_format="pcm") as response:
                        return b"".join([part async for part in response.iter_bytes()])

                return await asyncio.gather(*(one(index) for index in range(8)))

        for index, body in enumerate(asyncio.run(all_at_once())):
            assert body == hibari.speak(f"Listener number {index}. {TEXT}", voice="echo").body

    def test_async(self, hibari: Server) -> None:
        async def speak() -> bytes:
            async with openai.AsyncOpenAI(base_url=f"{hibari.url}/v1", api_key="unused", max_retries=0) as client:
                response = await client.audio.speech.create(
                    model="tts-1", voice="sage", input=TEXT, response_format="wav"
                )
                return response.content

        assert np.array_equal(wav_samples(asyncio.run(speak())), hibari.speak(TEXT, voice="sage").pcm)

    def test_our_fields_through_extra_body(self, client: openai.OpenAI) -> None:
        def speak(seed: int) -> openai._legacy_response.HttpxBinaryResponseContent:
            fields = {"seed": seed, "cache": False, "stream": False}
            return client.audio.speech.create(
                model="hibari", voice="heart", input=TEXT, response_format="wav", speed=1.1, extra_body=fields
            )

        assert speak(3).content == speak(3).content
        assert speak(3).content != speak(4).content
        assert speak(9).response.headers["x-ishowtts-seed"] == "9"

    def test_events_through_its_own_parser(self, client: openai.OpenAI, hibari: Server) -> None:
        events = list(speech_events(client, TEXT))
        assert [event.type for event in events if event.usage] == ["speech.audio.done"]
        sound = b"".join(base64.b64decode(event.audio) for event in events if event.audio)
        assert sound == hibari.speak(TEXT, voice="coral").body

    def test_a_fault_in_its_events_is_its_own_error(self, tone: Server) -> None:
        client = openai.OpenAI(base_url=f"{tone.url}/v1", api_key="unused", max_retries=0)
        with pytest.raises(openai.APIError, match="fake") as failed:
            list(speech_events(client, f"{TEXT} And {TEXT} Now [raise] happens, and that is the end of it."))
        assert failed.value.code == "engine_failed"

    def test_models(self, client: openai.OpenAI) -> None:
        assert "hibari" in [model.id for model in client.models.list()]

    def test_errors_are_its_own(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as missing:
            client.audio.speech.create(model="tts-1", voice="nobody", input=TEXT)
        assert missing.value.code == "voice_not_found"
        with pytest.raises(openai.BadRequestError) as format_error:
            client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="aac")
        assert format_error.value.param == "response_format"
        with pytest.raises(openai.BadRequestError):
            client.audio.speech.create(model="tts-1", voice="alloy", input="")
        with pytest.raises(openai.UnprocessableEntityError):
            client.audio.speech.create(model="hibari", voice="alloy", input="你好")

    def test_its_retries_get_into_a_full_queue(self, start: Callable[..., Server]) -> None:
        config = "[queue]\nmax_requests = 1\n[engines.fake]\nslots = 1\nstep_ms = 400\n"
        server = start(engine="fake", config=config)
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=5)

        def speak(index: int) -> bytes:
            return client.audio.speech.create(
                model="fake", voice="heart", input=f"Number {index} waits.", response_format="pcm"
            ).content

        with ThreadPoolExecutor(3) as pool:
            assert all(pool.map(speak, range(3)))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
class TestCurl:
    def test_the_command_of_the_readme(self, hibari: Server, tmp_path: Path) -> None:
        path = tmp_path / "hello.mp3"
        body = json.dumps({"input": TEXT, "voice": "heart"})
        url = f"{hibari.url}/v1/audio/speech"
        curl("-o", path, url, "-H", "Content-Type: application/json", "-d", body)
        assert path.read_bytes() == hibari.speak(TEXT, response_format="mp3").body

    def test_a_pipe(self, hibari: Server) -> None:
        body = json.dumps({"input": TEXT, "response_format": "pcm"})
        out = curl("-N", f"{hibari.url}/v1/audio/speech", "-H", "Content-Type: application/json", "-d", body)
        assert out == hibari.speak(TEXT).body

    def test_twenty_megabytes_are_413(self, hibari: Server, tmp_path: Path) -> None:
        path = tmp_path / "big.json"
        path.write_bytes(b'{"input": "' + b"a" * 20_000_000 + b'"}')
        arguments = ["-s", "-o", tmp_path / "reply", "-w", "%{http_code}", "-H", "Content-Type: application/json"]
        ended = subprocess.run(
            ["curl", *arguments, "--data-binary", f"@{path}", f"{hibari.url}/v1/audio/speech"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.stdout == "413"
        assert json.loads((tmp_path / "reply").read_text())["error"]["message"]
        assert hibari.speak("Still here.").pcm.size

    def test_failing_tells_curl(self, hibari: Server) -> None:
        ended = subprocess.run(
            [
                "curl",
                "-sf",
                f"{hibari.url}/v1/audio/speech",
                "-H",
                "Content-Type: application/json",
                "-d",
                '{"input": ""}',
            ],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 22
        assert ended.stdout == b""


class SpeechEvent(openai.BaseModel):
    type: str
    audio: str | None = None
    usage: dict[str, int] | None = None


def speech_events(client: openai.OpenAI, text: str) -> openai.Stream[SpeechEvent]:
    """The client has no method of its own for them, but the parser that its other streams use."""
    body = {"model": "tts-1", "voice": "coral", "input": text, "response_format": "pcm", "stream_format": "sse"}
    return client.post(
        "/audio/speech", body=body, cast_to=SpeechEvent, stream=True, stream_cls=openai.Stream[SpeechEvent]
    )


def curl(*arguments: str | Path) -> bytes:
    return subprocess.run(["curl", "-sSf", *map(str, arguments)], capture_output=True, timeout=60, check=True).stdout
