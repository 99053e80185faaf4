"""The document of the API and what the server really does, held together; and the page that shows it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import Reply, Server

TESTS = Path(__file__).parent
CONNECTING = ["/v1/chat/start", "/api/danmaku/start"]


@pytest.fixture
def document(tone: Server) -> dict[str, Any]:
    reply = tone.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    found = json.loads(reply.body)
    assert isinstance(found, dict)
    return found


TALKING = [
    "/v1/ws",
    "/v1/text-to-speech/{voice_id}/stream-input",
    "/v1/chat/stream",
    "/api/danmaku/stream",
    "/speaker.bot",
]
"""Whose answers have no end."""


CONFIG = """
[engines.fake]
audio_ms_per_char = 40
[chat.webhook]
secret = "sixteen-characters-at-least"
"""


@pytest.mark.parametrize(("pick", "examples", "at_least"), [("exclude", 60, 500), ("include", 12, 300)])
def test_schemathesis_finds_nothing(
    start: Callable[..., Server], tmp_path: Path, pick: str, examples: int, at_least: int
) -> None:
    """All of its checks but one, on made-up requests, good and bad, to every operation; the chat's fewer, as they are
    many. A shipped voice is there again once the voice that stood in its place is deleted, which looks to it like a
    deletion that did nothing."""
    server = start(engine="fake", config=CONFIG)
    left_out = [argument for path in [*CONNECTING, *TALKING] for argument in ("--exclude-path", path)]
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json", "--checks", "all",
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(examples),
        "--generation-deterministic", f"--{pick}-tag", "chat", *left_out, "--request-timeout", "30",
        "--exclude-checks", "use_after_free", "--suppress-health-check", "too_slow",
        "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(TESTS)}
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=900, check=False, env=environment, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    described = json.loads(server.get("/openapi.json").body)["paths"]
    operations = sum(
        ("chat" in operation["tags"]) == (pick == "include")
        for path, found in described.items()
        for operation in found.values()
        if path not in CONNECTING + TALKING
    )
    # It leaves out the path that it has the document from.
    assert f"Tested: {operations - (pick == 'exclude')}\n" in ended.stdout
    generated = re.search(r"(\d+) generated", ended.stdout)
    assert generated
    assert int(generated.group(1)) > at_least


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


BAD: list[tuple[int, str, bytes | dict[str, Any]]] = [
    (400, "input_missing", {}),
    (400, "input_missing", {"text": ""}),
    (400, "invalid_value", {"text": "Hi.", "speed": 9}),
    (400, "invalid_value", {"text": "Hi.", "seed": -7}),
    (400, "unsupported_format", {"text": "Hi.", "response_format": "midi"}),
    (400, "unsupported_format", {"text": "Hi.", "stream_format": "carrier pigeon"}),
    (400, "invalid_json", b'{"text": }'),
    (400, "invalid_json", b""),
    (400, "invalid_utf8", b'{"text": "\xff"}'),
    (400, "nothing_to_say", {"text": "…!"}),
    (400, "invalid_parameter", {"text": "Now [invalid] happens."}),
    (404, "voice_not_found", {"text": "Hi.", "voice": "nobody"}),
    (404, "model_not_found", {"text": "Hi.", "engine": "gpt-4"}),
    (413, "text_too_long", {"text": "a" * 200_000}),
    (413, "body_too_large", b'{"text": "' + b"a" * (2 << 20) + b'"}'),
    (422, "text_refused", {"text": "Now [refuse] happens."}),
    (500, "engine_failed", {"text": "Now [raise] happens."}),
]


def examples(document: dict[str, Any], path: str, method: str, status: int) -> dict[str, Any]:
    answer = document["paths"][path][method]["responses"][str(status)]["content"]["application/json"]
    found = answer["examples"]
    assert isinstance(found, dict)
    return found


BODIES = {
    "/v1/tts": "SpeechRequest",
    "/v1/captions": "CaptionRequest",
    "/v1/audio/speech": "OpenAiSpeechRequest",
    "/api/tts": "OriginalSpeechRequest",
}


class TestErrors:
    """Every fault that can be provoked is told of, by its status and its code, and has the example's shape."""

    def check(
        self, document: dict[str, Any], reply: Reply, path: str, status: int, code: str, method: str = "post"
    ) -> None:
        assert (reply.status, reply.error["code"]) == (status, code), reply.body[:300]
        example = examples(document, path, method, status)[code]["value"]["error"]
        assert reply.error["type"] == example["type"]
        retry_after = document["paths"][path][method]["responses"][str(status)]["headers"].get("retry-after")
        assert retry_after is not None or "retry-after" not in reply.headers

    @pytest.mark.parametrize(("status", "code", "fields"), BAD)
    @pytest.mark.parametrize("path", ["/v1/tts", "/v1/captions", "/v1/audio/speech", "/api/tts"])
    def test_of_requests_to_speak(
        self, tone: Server, document: dict[str, Any], path: str, status: int, code: str, fields: bytes | dict[str, Any]
    ) -> None:
        names = {"text": "input", "engine": "model"} if path == "/v1/audio/speech" else {}
        names |= {"voice": "voice_id"} if path == "/api/tts" else {}
        if isinstance(fields, bytes):
            sent = fields.replace(b"text", names.get("text", "text").encode())
        else:
            schema = document["components"]["schemas"][BODIES[path]]["properties"]
            named = {names.get(name, name): value for name, value in fields.items()}
            sent = body(**{name: value for name, value in named.items() if name in schema})
            if set(named) - set(schema):
                # Another surface's field, which is passed over here.
                status, code = 200, ""
        reply = tone.request("POST", path, sent)
        if status == 200:
            assert reply.status == 200
            return
        self.check(document, reply, path, status, code)
        at_fault = {"text_refused": "text", "nothing_to_say": "text", "text_too_long": "text", "input_missing": "text",
                    "voice_not_found": "voice", "model_not_found": "engine"}.get(code)  # fmt: skip
        if at_fault is not None:
            assert reply.error["param"] == names.get(at_fault, at_fault)

    def test_of_queries(self, tone: Server, document: dict[str, Any]) -> None:
        for query, status, code in [
            ("", 400, "input_missing"),
            ("?text=Hi&text=Ho", 400, "invalid_value"),
            ("?text=Hi&speed=fast", 400, "invalid_value"),
            ("?text=Hi&voice=nobody", 404, "voice_not_found"),
        ]:
            self.check(document, tone.get(f"/v1/tts{query}"), "/v1/tts", status, code, "get")

    def test_of_the_door(self, tone: Server, document: dict[str, Any]) -> None:
        for path, methods in document["paths"].items():
            reply = tone.get(path.replace("{id}", "fake").replace("{voice_id}", "heart"), {"Host": "evil.example"})
            if "get" in methods:
                self.check(document, reply, path, 403, "host_not_allowed", "get")
        for path in ("/v1/ws", "/v1/text-to-speech/{voice_id}/stream-input"):
            plain = tone.get(path.replace("{voice_id}", "heart"))
            self.check(document, plain, path, 400, "websocket_expected", "get")
        unknown = tone.get("/v1/text-to-speech/nobody/stream-input")
        self.check(document, unknown, "/v1/text-to-speech/{voice_id}/stream-input", 404, "voice_not_found", "get")
        foreign = tone.request("POST", "/v1/tts", body(text="Hi."), {"Origin": "https://evil.example"})
        self.check(document, foreign, "/v1/tts", 403, "origin_not_allowed")
        self.check(document, tone.get("/v1/models/gpt-4"), "/v1/models/{id}", 404, "model_not_found", "get")

    def test_of_a_full_queue(self, start: Callable[..., Server], document: dict[str, Any]) -> None:
        server = start(engine="fake", config="[queue]\nmax_requests = 1\n[engines.fake]\nslots = 1\nstep_ms = 300\n")
        long = " ".join(f"Sentence number {number} of a text that takes a while." for number in range(20))
        with server.open("POST", "/v1/tts", body(text=long)) as first:
            assert first.read1(1)
            refused = server.request("POST", "/v1/tts", body(text="Hi."))
            self.check(document, refused, "/v1/tts", 429, "queue_full")
            assert int(refused.headers["retry-after"]) >= 1

    def test_of_waiting_too_long(self, start: Callable[..., Server], document: dict[str, Any]) -> None:
        config = "[queue]\nmax_wait_s = 0.3\n[engines.fake]\nslots = 1\nstep_ms = 4000\n"
        server = start(engine="fake", config=config)
        with ThreadPoolExecutor(2) as pool:
            asked = [body(text=f"Speech number {number} wants to start.") for number in range(2)]
            replies = list(pool.map(lambda sent: server.request("POST", "/v1/tts", sent), asked))
        (late,) = [reply for reply in replies if reply.status != 200]
        self.check(document, late, "/v1/tts", 504, "deadline_exceeded")

    def test_of_a_server_that_loads(self, document: dict[str, Any], tmp_path: Path) -> None:
        server = Server(tmp_path, engine="fake", config="[engines.fake]\nload_ms = 60000\n")
        server.spawn()
        try:
            server.wait_listening()
            reply = server.request("POST", "/v1/tts", body(text="Hi."))
            self.check(document, reply, "/v1/tts", 503, "engine_loading")
            assert reply.headers["retry-after"]
        finally:
            server.process.kill()
            server.end()


class TestExamples:
    def test_every_request_of_the_document_is_answered(self, hibari: Server) -> None:
        document = json.loads(hibari.get("/openapi.json").body)
        tried = 0
        for path, methods in document["paths"].items():
            for example in methods.get("post", {}).get("requestBody", {}).get("content", {}).get(
                "application/json", {}
            ).get("examples", {}).values():  # fmt: skip
                reply = hibari.request("POST", path, json.dumps(example["value"]).encode())
                if path in CONNECTING or (reply.status == 404 and reply.error["code"] == "item_not_found"):
                    continue
                assert reply.status in (200, 202), (path, example, reply.body[:300])
                kinds = methods["post"]["responses"][str(reply.status)].get("content", {"": None})
                assert reply.headers.get("content-type", "").split(";")[0] in kinds, path
                tried += 1
        assert tried >= 6


class TestPage:
    def test_it_loads_nothing_from_elsewhere(self, tone: Server) -> None:
        page = tone.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        wanted = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
        assert all(path.startswith("/") or path == "data:," for path in wanted)
        for path in wanted:
            if path.startswith("/"):
                file = tone.get(path)
                assert file.status == 200, path
                assert path == "/openapi.json" or file.headers["x-content-type-options"] == "nosniff"

    def test_nothing_stands_inside_the_page_that_the_policy_forbids(self, tone: Server) -> None:
        page = tone.get("/docs").body.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page)
