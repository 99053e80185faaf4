"""Who a user is: the platform as it was sent, and the id or the name there; also after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Server
from overlay import Stream, post
from test_chat import restart

RULES = "[chat.rules]\nuser_max_per_minute = 3\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, engine="fake", config=RULES) as started:
        yield started


def say(server: Server, platform: str, text: str, user: str = "Bob", **fields: Any) -> dict[str, Any]:
    body = {"platform": platform, "user": user, "text": text, **fields}
    status, answer = post(server.port, "/v1/chat/enqueue", body)
    assert status == 202, answer
    return dict(answer)


def test_people_of_one_name_on_other_platforms_are_several(server: Server) -> None:
    first = {platform: say(server, platform, f"By {platform}.", id="1") for platform in ["Kick", "tiktok", "twitch"]}
    assert [item["platform"] for item in first.values()] == ["kick", "tiktok", "twitch"]
    assert [item["message_id"] for item in first.values()] == ["1", "1", "1"]
    assert len({item["id"] for item in first.values()}) == 3
    for platform, voice in [("kick", "wren"), ("TikTok", "rowan")]:
        body = {"platform": platform, "user": "bob", "voice": voice}
        assert post(server.port, "/v1/chat/user-voice", body) == (200, {"voice": voice})
    assert say(server, "kick", "Two.")["voice"] == "wren"
    assert say(server, "kick", "Three.")["voice"] == "wren"
    assert say(server, "kick", "Four.")["rule"] == "rate"
    muted = post(server.port, "/v1/chat/mute-user", {"platform": "KICK", "user": "BOB"})
    assert muted == (200, {"muted": True, "withdrawn": 3})
    kicks = {"platform": "kick", "user": "Cy", "text": "Mine.", "user_id": "7"}
    assert post(server.port, "/v1/chat/enqueue", kicks)[1]["user_id"] == "7"
    mute = {"platform": "kick", "user": "Cy", "user_id": "7"}
    assert post(server.port, "/v1/chat/mute-user", mute) == (200, {"muted": True, "withdrawn": 1})

    restart(server)
    assert say(server, "kick", "Again.")["rule"] == "muted"
    assert say(server, "kick", "Renamed.", user="Di", user_id="7")["rule"] == "muted"
    assert say(server, "tiktok", "Mine as well.", user="Cy", user_id="7")["accepted"]
    assert say(server, "tiktok", "Heard.")["voice"] == "rowan"
    assert say(server, "trovo", "Heard too.")["accepted"]
    state = json.loads(server.get("/v1/chat/state").body)
    assert {(one["platform"], one["user"]) for one in state["muted"]} == {("kick", "BOB"), ("kick", "Cy")}
    again = say(server, "TIKTOK", "By tiktok.", id="1")
    assert (again["id"], again["platform"]) == (first["tiktok"]["id"], "tiktok")
    with Stream(server.port, "overlay=obs") as stream:
        item = stream.next("item")
        assert (item["id"], item["platform"]) == (first["tiktok"]["id"], "tiktok")


def test_people_of_one_name_take_turns(server: Server) -> None:
    post(server.port, "/v1/chat/pause")
    for number in range(3):
        say(server, "kick", f"Kick {number}.")
    say(server, "tiktok", "Mine.")
    waiting = json.loads(server.get("/v1/chat/queue").body)["waiting"]
    assert [item["platform"] for item in waiting] == ["kick", "tiktok", "kick", "kick"]


@pytest.mark.parametrize("platform", ["", "a b", "kick!", "youtube ", "кик", "a:b", "x" * 33])
def test_what_is_no_platforms_name_is_told(server: Server, platform: str) -> None:
    body = {"platform": platform, "user": "Bob", "text": "Hi.", "voice": None}
    for path in ["enqueue", "test", "mute-user", "user-voice"]:
        status, answer = post(server.port, f"/v1/chat/{path}", body)
        assert (status, answer["error"]["param"]) == (400, "platform"), answer
