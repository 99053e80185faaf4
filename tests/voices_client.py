"""A client of voices: uploads as httpx makes them."""

from __future__ import annotations

from typing import Any

import clips
import httpx
from harness import Server

TEXT = "What is said in the clip."
SAID = "One is the first sentence of all."
CONFIG = "[engines.fake]\nfaults = true\n"


class Api:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=60, trust_env=False)

    def post(self, path: str, audio: Any = None, **fields: str) -> httpx.Response:
        files: dict[str, Any] = {name: (None, value) for name, value in fields.items()}
        if audio is not None:
            files["audio"] = audio if isinstance(audio, tuple) else ("clip", audio)
        return self.http.post(path, files=files or {"nothing": (None, "")})

    def add(self, id: str, audio: Any = None, **fields: str) -> httpx.Response:
        return self.post("/v1/voices", clips.wav() if audio is None else audio, id=id, **{"text": TEXT} | fields)

    def ids(self) -> list[str]:
        return [voice["id"] for voice in self.http.get("/v1/voices").json()["voices"]]

    def speak(self, voice: str, text: str = SAID) -> bytes:
        return self.server.speak(text, voice=voice, seed=7).pcm.tobytes()


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code, error
    assert "/tmp" not in error["message"], "no path leaves the server"
    return dict(error)
