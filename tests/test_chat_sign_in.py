"""Signing in with Twitch from outside: a local server speaks the device flow as Twitch's does, and the whole program is
in front of it, with a real IRC server as its chat."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
from chat_relay import NGIRCD, Relay
from harness import COMMAND, Server, environment, run, wait_until
from overlay import post

PATH = "/v1/chat/twitch/sign-in"
SLOWER_S = 5.0
"""What `slow_down` adds to the wait, by RFC 8628."""


@dataclass
class Accounts:
    """As id.twitch.tv. Each request for the tokens of a sign-in takes the next of `answers`; the last one stays."""

    answers: list[str]
    expires_in_s: int = 60
    url: str = ""
    begun: int = 0
    polled_at: list[float] = field(default_factory=list)
    refreshed: int = 0
    valid: set[str] = field(default_factory=set)

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        if path == "/device":
            assert (form["client_id"], form["scopes"]) == ("abc", "chat:read channel:read:redemptions")
            self.begun += 1
            told = {"device_code": "secret", "user_code": f"CODE{self.begun}", "interval": 0.1}
            return 200, told | {"verification_uri": "https://www.twitch.tv/activate", "expires_in": self.expires_in_s}
        if path == "/validate":
            if authorization.removeprefix("OAuth ") not in self.valid:
                return 401, {"status": 401, "message": "invalid access token"}
            scopes = ["chat:read", "channel:read:redemptions"]
            return 200, {"client_id": "abc", "login": "streamer", "user_id": "7", "scopes": scopes, "expires_in": 14000}
        assert path == "/token", path
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] != f"refresh{self.refreshed}":
                return 400, {"status": 400, "message": "Invalid refresh token"}
            self.refreshed += 1
            return self.tokens()
        assert form["device_code"] == "secret"
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:device_code"
        self.polled_at.append(time.perf_counter())
        word = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return self.tokens() if word == "granted" else (400, {"status": 400, "message": word})

    def tokens(self) -> tuple[int, Any]:
        self.valid = {f"access{self.refreshed}"}
        return 200, {"access_token": f"access{self.refreshed}", "refresh_token": f"refresh{self.refreshed}"}


@contextmanager
def accounts(*answers: str, expires_in_s: int = 60) -> Iterator[Accounts]:
    found = Accounts(list(answers), expires_in_s)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            form = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            fields = {key: values[-1] for key, values in parse_qs(form).items()}
            status, told = found.answer(self.path, fields, self.headers.get("authorization", ""))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield found
        server.shutdown()
        thread.join()


def config(found: Accounts, more: str = "") -> str:
    return f'[chat.twitch]\nclient_id = "abc"\nauth_url = "{found.url}"\nredemptions = false\n{more}'


def state(server: Server) -> dict[str, Any]:
    return dict(json.loads(server.get(PATH).body))


def over(server: Server, timeout_s: float = 60.0) -> dict[str, Any]:
    wait_until(lambda: state(server)["state"] != "pending", "the end of the sign-in", timeout_s)
    return state(server)


def kept(server: Server) -> Path:
    return server.home / "data/ishowtts/chat/twitch.json"


@pytest.mark.skipif(NGIRCD is None, reason="ngircd is not installed")
def test_a_sign_in_is_kept_refreshed_and_used(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "relay").mkdir()
    with Relay(tmp_path / "relay") as relay, accounts("authorization_pending", "slow_down", "granted") as found:
        chat = f'channel = "bar"\nirc_url = "{relay.url}"\n[chat.connect]\nca_file = "{relay.authority}"\n'
        server = start(engine="fake", config=config(found, chat))
        wait_until(lambda: relay.joined == 1, "the chat to be joined")
        assert not [line for line in relay.heard if line.startswith("PASS")]
        assert state(server) == {"state": "none"}
        status, begun = post(server.port, PATH)
        assert (status, begun["state"], begun["user_code"]) == (200, "pending", "CODE1")
        assert begun["address"] == "https://www.twitch.tv/activate"
        assert 0 < begun["expires_unix_s"] - time.time() <= 60
        # Whoever asks again does not make the first code useless.
        assert post(server.port, PATH)[1] == begun == state(server)
        assert over(server) == {"state": "done", "login": "streamer"}
        waited = [later - earlier for earlier, later in zip(found.polled_at, found.polled_at[1:], strict=False)]
        assert [wait >= SLOWER_S for wait in waited] == [False, True], waited

        wait_until(lambda: "PASS oauth:access0" in relay.heard, "the connection to be made anew")
        wait_until(lambda: relay.joined == 2 and len(relay.clients) == 1, "the old connection to be closed")
        assert kept(server).stat().st_mode & 0o777 == 0o600
        secrets = json.loads(kept(server).read_text("utf-8"))
        assert (secrets["access_token"], secrets["refresh_token"]) == ("access0", "refresh0")

        # Tokens last for hours. It is refreshed by itself, also by a server that was started again since.
        found.valid.clear()
        server.process.kill()
        server.wait_exit()
        with server._told:
            server.lines.clear()
        server.spawn()
        server.wait_listening()
        assert state(server) == {"state": "done", "login": "streamer"}
        wait_until(lambda: "PASS oauth:access1" in relay.heard, "the fresh token to be used")
        assert json.loads(kept(server).read_text("utf-8"))["refresh_token"] == "refresh1"
        assert not any(word in server.log for word in ("access0", "access1", "refresh0", "refresh1"))


@pytest.mark.parametrize(
    ("answer", "expires_in_s", "reason"),
    [
        ("access_denied", 60, "somebody refused the sign-in"),
        ("expired_token", 60, "nobody signed in in time"),
        ("invalid device code", 60, "Twitch says: invalid device code"),
        ("authorization_pending", 1, "nobody signed in in time"),
    ],
)
def test_a_sign_in_that_comes_to_nothing(
    start: Callable[..., Server], answer: str, expires_in_s: int, reason: str
) -> None:
    with accounts(answer, expires_in_s=expires_in_s) as found:
        server = start(engine="fake", config=config(found))
        assert post(server.port, PATH)[1]["user_code"] == "CODE1"
        assert over(server) == {"state": "failed", "reason": reason}
        assert not kept(server).exists()
        # It may be begun again.
        found.answers[:], found.expires_in_s = ["granted"], 60
        assert post(server.port, PATH)[1]["user_code"] == "CODE2"
        assert over(server) == {"state": "done", "login": "streamer"}


def test_what_stands_against_a_sign_in(start: Callable[..., Server]) -> None:
    with accounts("granted") as found:
        for more, url, status, code, word in [
            ('client_id = ""', found.url, 409, "sign_in_refused", "chat.twitch.client_id"),
            ('client_id = "abc"\ntoken = "mine"', found.url, 409, "sign_in_refused", "chat.twitch.token"),
            ('client_id = "abc"', "http://127.0.0.1:9", 502, "platform_unreachable", "127.0.0.1"),
        ]:
            server = start(engine="fake", config=f'[chat.twitch]\nauth_url = "{url}"\n{more}\n')
            reply = server.request("POST", PATH)
            assert (reply.status, reply.error["code"]) == (status, code)
            assert word in reply.error["message"]
            assert state(server) == {"state": "none"}
            foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
            token = post(server.port, "/v1/chat/pause")[1]["overlay_url"].partition("?")[2]
            for method in ("GET", "POST"):
                assert server.request(method, f"{PATH}?{token}", headers=foreign).status == 403


def test_the_command_shows_the_code_and_waits(start: Callable[..., Server]) -> None:
    with accounts("authorization_pending", "authorization_pending", "granted") as found:
        server = start(engine="fake", config=config(found))
        command = [COMMAND, "chat", "sign-in", "twitch", "--set", f"http.port={server.port}"]
        ended = subprocess.run(
            command, env=environment(server.home), capture_output=True, text=True, timeout=60, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == "open https://www.twitch.tv/activate and type CODE1\nsigned in as streamer\n"
        found.answers[:] = ["access_denied"]
        denied = run(["chat", "sign-in", "twitch", "--set", f"http.port={server.port}"], server.home)
        assert denied.returncode == 1
        assert denied.stderr == "ishowtts: somebody refused the sign-in; run it again for another code\n"
        server.end()
        nobody = run(["chat", "sign-in", "twitch", "--set", f"http.port={server.port}"], server.home)
        assert "no server answers at 127.0.0.1" in nobody.stderr
