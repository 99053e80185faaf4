"""YouTube and Bilibili from outside: the whole program in front of local servers that answer as theirs do."""

from __future__ import annotations

import json
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import Server, wait_until
from websockets.sync.server import ServerConnection, serve

Answer = Callable[[str, dict[str, str]], tuple[int, Any]]

VIDEO = "dQw4w9WgXcQ"
LATER, LONG_AGO = "2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
RULES = '[chat.rules]\nmax_age_s = 0\n[chat.rules.templates]\nsuper_chat = "{text}"\n'
"""What is old is heard, and what is paid as it was written."""
BROTLI = Path(__file__).parent.parent / "src/chat/bilibili/fixtures/danmu.br"
"""One packet, compressed: somebody says 你好."""


@contextmanager
def http_server(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            status, told = answer(asked.path, {key: values[-1] for key, values in parse_qs(asked.query).items()})
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def chat(server: Server) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The connection and what waits."""
    (connection,) = json.loads(server.get("/v1/chat/state").body)["connections"]
    return connection, json.loads(server.get("/v1/chat/queue").body)["waiting"]


def shown(server: Server) -> list[tuple[str, str]]:
    return [(item["user"], item["text"]) for item in chat(server)[1]]


def youtube_item(type_: str, name: str, published: str = LATER, **details: Any) -> dict[str, Any]:
    snippet = {"type": type_, "publishedAt": published, **details}
    return {"id": name, "snippet": snippet, "authorDetails": {"channelId": f"UC{name}", "displayName": f"@{name}"}}


def youtube_text(name: str, published: str = LATER) -> dict[str, Any]:
    return youtube_item("textMessageEvent", name, published, textMessageDetails={"messageText": f"this is {name}"})


def youtube_error(status: int, reason: str) -> tuple[int, Any]:
    return status, {"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}}


def page(token: str, *items: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"nextPageToken": token, "pollingIntervalMillis": 1, "items": items}


@pytest.mark.parametrize("end", ["chatEndedEvent", "liveChatEnded", "quotaExceeded"])
def test_youtube_pages_fails_and_ends(start: Callable[..., Server], end: str) -> None:
    paid = {"amountMicros": "5000000", "currency": "EUR", "userComment": "well done"}
    last = page("p4", youtube_item("chatEndedEvent", "end")) if end == "chatEndedEvent" else youtube_error(403, end)
    pages = iter(
        [
            page("p1", youtube_text("old", LONG_AGO), youtube_text("one"), youtube_text("gone")),
            youtube_error(503, "backendError"),
            page("p2", youtube_text("one"), youtube_item("superChatEvent", "rich", superChatDetails=paid)),
            page("p3", youtube_item("messageDeletedEvent", "d", messageDeletedDetails={"deletedMessageId": "gone"})),
            last,
        ]
    )
    asked: list[str | None] = []

    def answer(path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path == "/videos":
            return 200, {"items": [{"liveStreamingDetails": {"activeLiveChatId": "c", "actualStartTime": LONG_AGO}}]}
        assert path == "/liveChat/messages", path
        asked.append(query.get("pageToken"))
        return next(pages, youtube_error(403, "liveChatEnded"))

    with http_server(answer) as url:
        settings = f'api_url = "{url}"\naddress = "{VIDEO}"\napi_key = "hush"\ndaily_quota = 1000000000\n'
        server = start(engine="fake", config=f"[chat.connect]\nreconnect_s = 0.05\n{RULES}[chat.youtube]\n{settings}")
        over = "waiting" if end == "quotaExceeded" else "ended"
        wait_until(lambda: len(asked) >= 5 and chat(server)[0]["state"] == over, "the end of the chat")
        wait_until(lambda: shown(server) == [("@rich", "well done"), ("@one", "this is one")], "what was said")
        assert asked == [None, "p1", "p1", "p2", "p3"]
        assert chat(server)[1][0]["paid"] == {"amount": "5", "currency": "EUR"}
        assert "hush" not in server.log


def packet(operation: int, body: bytes, version: int = 1) -> bytes:
    return struct.pack(">IHHII", 16 + len(body), 16, version, operation, 1) + body


def danmu(name: str, text: str) -> bytes:
    extra = {"extra": json.dumps({"id_str": name})}
    origin = [0, 1, 25, 0, int(time.time() * 1000), 1, 0, "", 0, 0, 0, "", 0, "{}", "{}", extra]
    return packet(
        5, json.dumps({"cmd": "DANMU_MSG", "info": [origin, text, [0, f"{name}***", 0], [], [0], [], 0, 0]}).encode()
    )


@contextmanager
def bilibili(start: Callable[..., Server], talk: Callable[[ServerConnection], None]) -> Iterator[Server]:
    """A server that listens to a room whose socket is `talk`."""

    def answer(path: str, query: dict[str, str]) -> tuple[int, Any]:
        image = "https://i0.hdslb.com/bfs/wbi/7cd084941338484aae1ad9425b84077c.png"
        data: dict[str, Any] = {
            "/x/frontend/finger/spi": {"b_3": "BUVID"},
            "/x/web-interface/nav": {"wbi_img": {"img_url": image, "sub_url": image}},
            "/room/v1/Room/get_info": {"room_id": 777, "uid": 1},
            "/xlive/web-room/v1/index/getDanmuInfo": {"token": "KEY", "host_list": []},
        }
        assert path != "/xlive/web-room/v1/index/getDanmuInfo" or {"w_rid", "wts"} <= set(query)
        return 200, {"code": 0, "data": data[path]}

    with serve(talk, "127.0.0.1", 0) as sockets, http_server(answer) as url:
        threading.Thread(target=sockets.serve_forever, daemon=True).start()
        socket_url = f"ws://127.0.0.1:{sockets.socket.getsockname()[1]}/sub"
        settings = f'room = 6\napi_url = "{url}"\nlive_api_url = "{url}"\nsocket_url = "{socket_url}"\n'
        config = f"[chat.connect]\nreconnect_s = 0.05\n{RULES}[chat.bilibili]\n{settings}"
        yield start(engine="fake", config=config)
        sockets.shutdown()


def test_bilibili_in_both_compressions_and_through_a_lost_connection(start: Callable[..., Server]) -> None:
    connections: list[dict[str, Any]] = []

    def talk(socket: ServerConnection) -> None:
        auth = socket.recv()
        assert isinstance(auth, bytes)
        connections.append(json.loads(auth[16:]))
        socket.send(packet(8, b'{"code":0}'))
        if len(connections) == 1:
            socket.send(packet(5, zlib.compress(danmu("a", "one") + danmu("b", "two")), version=2))
            socket.send(packet(5, BROTLI.read_bytes(), version=3))
            # Heartbeats come at once; then the connection is lost.
            assert socket.recv()[8:12] == struct.pack(">I", 2)
            return
        paid = {"id": 7, "uid": 9, "price": 30, "message": "加油", "ts": 1, "user_info": {"uname": "金主"}}
        socket.send(danmu("b", "two") + packet(5, json.dumps({"cmd": "SUPER_CHAT_MESSAGE", "data": paid}).encode()))
        for _ in socket:
            pass

    with bilibili(start, talk) as server:
        wait_until(lambda: len(shown(server)) >= 4, "all messages")
        assert shown(server)[0] == ("金主", "加油")
        assert sorted(shown(server)[1:]) == sorted([("a***", "one"), ("b***", "two"), ("观***", "你好")])
        assert chat(server)[0]["state"] == "connected"
        assert [(auth["roomid"], auth["key"], auth["buvid"]) for auth in connections] == [(777, "KEY", "BUVID")] * 2


def told(command: str, **data: Any) -> bytes:
    return packet(5, json.dumps({"cmd": command, "data": data}).encode())


def test_bilibili_takes_back_what_masked_viewers_said(start: Callable[..., Server]) -> None:
    taken_back = threading.Event()

    def talk(socket: ServerConnection) -> None:
        socket.recv()
        socket.send(packet(8, b'{"code":0}') + danmu("a", "one") + danmu("b", "two") + danmu("c", "three"))
        taken_back.wait(60)
        # Whose id is told with the ban, and hidden with the message.
        socket.send(told("ROOM_BLOCK_MSG", uid=12345, uname="Anton") + told("RECALL_DANMU_MSG", target_id="b"))
        for _ in socket:
            pass

    with bilibili(start, talk) as server:
        wait_until(lambda: len(shown(server)) == 3, "all messages")
        taken_back.set()
        wait_until(lambda: shown(server) == [("c***", "three")], "only what nobody took back")
        ended = json.loads(server.get("/v1/chat/queue").body)["ended"]
        why = {item["text"]: (item["state"], item["reason"]) for item in ended}
        assert why == {
            "one": ("withdrawn", "its author was removed from the chat"),
            "two": ("withdrawn", "the message was deleted"),
        }
