"""Who is in control of the chat, once others than this machine reach the server: whoever has the token."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Reply, Server, run
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

ANN = {"platform": "twitch", "user": "Ann", "text": "Hello.", "badges": ["broadcaster"]}
CHANNEL = {"platform": "twitch", "channel": "ann"}
ORIGINAL = {
    "id": "1",
    "platform": "Twitch",
    "channel": "ann",
    "username": "Bo",
    "priority": "Normal",
    "content": {"Text": "Hello!"},
}
CONTROLS: list[tuple[str, str, Any, int]] = [
    ("POST", "/v1/chat/enqueue", ANN, 202),
    ("POST", "/v1/chat/test", ANN, 200),
    ("GET", "/v1/chat/state", None, 200),
    ("GET", "/v1/chat/queue", None, 200),
    ("POST", "/v1/chat/skip", {}, 200),
    ("POST", "/v1/chat/pause", {}, 200),
    ("POST", "/v1/chat/resume", {}, 200),
    ("POST", "/v1/chat/clear", {}, 200),
    ("POST", "/v1/chat/volume", {"volume": 0.5}, 200),
    ("POST", "/v1/chat/mute-user", ANN, 200),
    ("POST", "/v1/chat/user-voice", ANN, 200),
    ("POST", "/v1/chat/approve", {"id": "x"}, 404),
    ("POST", "/v1/chat/reject", {"id": "x"}, 404),
    ("POST", "/v1/chat/stop", CHANNEL, 200),
    ("GET", "/v1/chat/twitch/sign-in", None, 200),
    ("POST", "/v1/chat/twitch/sign-in", None, 409),
    ("POST", "/api/danmaku/enqueue", ORIGINAL, 202),
    ("POST", "/api/danmaku/stop", CHANNEL, 200),
]
"""With the right token; those that would connect to a platform are seen below, without it."""


def kept(server: Server, name: str) -> str:
    path = server.home / "data/ishowtts/chat" / name
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text("utf-8").strip()


def ask(server: Server, method: str, path: str, body: Any = None, token: str | None = None) -> Reply:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return server.request(method, path, None if body is None else json.dumps(body).encode(), headers)


@pytest.fixture
def guarded(start: Callable[..., Server]) -> Server:
    return start(engine="fake", config='[chat]\nauth = "always"\n')


def test_on_all_addresses_only_the_control_token_opens_the_chat(start: Callable[..., Server]) -> None:
    server = start(engine="fake", arguments=["--host", "0.0.0.0"])
    control, overlay = kept(server, "control-token"), kept(server, "overlay-token")
    assert control != overlay
    connecting = [("POST", path, CHANNEL, None) for path in ("/v1/chat/start", "/api/danmaku/start")]
    for method, path, body, right in [*CONTROLS, *connecting]:
        missing = ask(server, method, path, body)
        assert (missing.status, missing.error["code"]) == (401, "token_missing"), path
        assert "ishowtts chat token" in missing.error["message"]
        assert missing.headers["www-authenticate"] == "Bearer"
        for wrong in (overlay, control[:-1]):
            refused = ask(server, method, path, body, wrong)
            assert (refused.status, refused.error["code"]) == (401, "token_invalid"), path
        assert ask(server, method, f"{path}?token={overlay}", body).status == 401, path
        if right is not None:
            assert ask(server, method, path, body, control).status in (right, 200), path
            assert ask(server, method, f"{path}?token={control}", body).status in (right, 200), path
    told = server.wait_line(rf"http://127\.0\.0\.1:{server.port}/#token=([0-9a-f]+)")
    assert told.group(1) == control
    assert server.speak("Speech is not the chat.").status == 200


def test_on_this_machine_nothing_is_asked_for(start: Callable[..., Server]) -> None:
    for server in (start(engine="fake"), start(engine="fake", config='[chat]\nauth = "never"\n')):
        assert ask(server, "POST", "/v1/chat/skip", {}).status == 200
        assert ask(server, "GET", "/v1/chat/state", token="a stale one").status == 200
        assert "#token=" not in server.log


@pytest.mark.parametrize("path", ["/speaker.bot", "/", "/api/danmaku/stream"])
def test_websockets_show_it_in_their_address(guarded: Server, path: str) -> None:
    address = f"ws://127.0.0.1:{guarded.port}{path}"
    for token in ("", f"?token={kept(guarded, 'overlay-token')}"):
        with pytest.raises(InvalidStatus) as refused, connect(address + token, compression=None):
            pass
        assert refused.value.response.status_code == 401
    with connect(f"{address}?token={kept(guarded, 'control-token')}", compression=None) as socket:
        if path != "/api/danmaku/stream":
            socket.send(json.dumps({"id": 1, "request": "Pause"}))
            assert json.loads(socket.recv(20)) == {"id": 1, "status": "ok"}


def test_overlays_show_theirs_which_opens_nothing_else(guarded: Server) -> None:
    control, overlay = kept(guarded, "control-token"), kept(guarded, "overlay-token")
    ident = json.loads(ask(guarded, "POST", "/v1/chat/enqueue", ANN, control).body)["id"]
    ack = {"overlay": "obs", "id": ident, "state": "failed"}
    for what in ("audio", "speech"):
        path = f"/v1/chat/items/{ident}/{what}"
        statuses = [ask(guarded, "GET", path + query).status for query in ("", "?token=x", f"?token={overlay}")]
        assert statuses == [401, 401, 200]
    assert ask(guarded, "GET", "/v1/chat/stream?overlay=obs").status == 401
    assert ask(guarded, "POST", "/v1/chat/ack", ack).status == 401
    with guarded.open("GET", f"/v1/chat/stream?overlay=obs&token={overlay}") as stream:
        assert stream.status == 200
        assert b'"hello"' in stream.readline()
        assert ask(guarded, "POST", f"/v1/chat/ack?token={overlay}", ack).status == 200
        assert ask(guarded, "POST", f"/v1/chat/skip?token={overlay}", {}).status == 401


def test_the_command_line_tells_it_and_shows_it(guarded: Server, tmp_path: Path) -> None:
    control, overlay = kept(guarded, "control-token"), kept(guarded, "overlay-token")
    port = ["--set", f"http.port={guarded.port}"]
    assert run(["chat", "token"], guarded.home).stdout == f"{control}\n"
    lines = dict(line.split() for line in run(["chat", "token", "--url", *port], guarded.home).stdout.splitlines())
    assert lines == {
        "studio": f"{guarded.url}/#token={control}",
        "overlay": f"{guarded.url}/overlay?token={overlay}",
    }
    signing = run(["chat", "sign-in", "twitch", *port], guarded.home)
    assert "client_id" in signing.stderr, "it was let in, and told that Twitch is not set up"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "asks for a token" in run(["chat", "sign-in", "twitch", *port], elsewhere).stderr


def test_no_token_is_in_the_log_of_a_request(start: Callable[..., Server]) -> None:
    server = start(engine="fake", config='[chat]\nauth = "always"\n[log]\nlevel = "debug"\n')
    control = kept(server, "control-token")
    assert ask(server, "GET", f"/v1/chat/state?token={control}").status == http.client.OK
    server.wait_line('path="?/v1/chat')
    assert server.log.count(control) == 1, "once, when it starts"


@pytest.fixture
def page(chromium: Callable[..., Any]) -> Iterator[Any]:
    context = chromium().new_context(locale="en-GB")
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert problems == []


def test_the_studio_takes_the_token_from_its_link_and_keeps_it(guarded: Server, page: Any) -> None:
    page.goto(f"{guarded.url}/#token={kept(guarded, 'control-token')}")
    page.wait_for_selector("#chat-live:not([hidden])")
    assert page.url == f"{guarded.url}/#chat"
    page.click("#chat-pause")
    page.wait_for_selector("#chat-pause[aria-pressed=true]")
    page.goto(f"{guarded.url}/#speak")
    page.goto(f"{guarded.url}/#chat")
    page.reload()
    page.wait_for_selector("#chat-live:not([hidden])")
    assert page.is_hidden("#chat-token-form")
    assert kept(guarded, "overlay-token") in page.input_value("#overlay-url")


def test_the_studio_asks_for_the_token_once(guarded: Server, page: Any) -> None:
    page.goto(f"{guarded.url}/#chat")
    page.wait_for_selector("#chat-token-form:not([hidden])")
    assert page.is_hidden("#chat-live")
    needed = page.inner_text("#chat-none")
    assert "asks for a token" in needed
    assert "ishowtts chat token" in needed
    for wrong in ("not this one", "不是这个"):
        page.fill("#chat-token", wrong)
        page.press("#chat-token", "Enter")
        page.wait_for_selector("#chat-none:has-text('not the right one')")
        assert page.is_visible("#chat-token-form")
        page.evaluate("localStorage.clear()")
        page.reload()
        page.wait_for_selector("#chat-none:has-text('asks for a token')")
    page.fill("#chat-token", kept(guarded, "control-token"))
    page.press("#chat-token", "Enter")
    page.wait_for_selector("#chat-live:not([hidden])")
    page.reload()
    page.wait_for_selector("#chat-live:not([hidden])")
    assert page.is_hidden("#chat-token-form")
