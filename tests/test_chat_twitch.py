"""Twitch from outside: a real IRC server behind Twitch's WebSocket and tags, in front of the whole program."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_relay import NGIRCD, Relay, Viewer
from harness import Server, steadily, wait_until
from overlay import STOP_MS, Stream, post

pytestmark = pytest.mark.skipif(NGIRCD is None, reason="ngircd is not installed")

RATE = 500
"""Messages a second: far more than the busiest chats have."""


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with Relay(tmp_path) as relay:
        yield relay


def config(relay: Relay, trusted: bool = True) -> str:
    ca = f'ca_file = "{relay.authority}"' if trusted else ""
    return (
        f"[chat.connect]\nreconnect_s = 0.05\n{ca}\n[chat.queue]\nmax_waiting = 10000\n"
        "[chat.rules]\nuser_max_per_minute = 0\n"
        f'[chat.twitch]\nirc_url = "{relay.url}"\n'
    )


def connection(server: Server) -> dict[str, Any]:
    (only,) = json.loads(server.get("/v1/chat/state").body)["connections"]
    return dict(only)


def waiting(server: Server) -> list[dict[str, Any]]:
    return list(json.loads(server.get("/v1/chat/queue").body)["waiting"])


def texts(server: Server) -> list[str]:
    return [item["text"] for item in waiting(server)]


@pytest.fixture
def server(relay: Relay, start: Callable[..., Server]) -> Server:
    started = start(engine="fake", config=config(relay))
    status, state = post(started.port, "/v1/chat/start", {"platform": "twitch", "channel": "https://www.twitch.tv/Bar"})
    assert status == 200, state
    assert state["connections"][0]["channel"] == "bar"
    wait_until(lambda: connection(started)["state"] == "connected", "the chat to be joined")
    return started


def test_a_message_comes_through_with_its_tags(server: Server, relay: Relay) -> None:
    assert relay.heard[0] == "CAP REQ :twitch.tv/tags twitch.tv/commands"
    assert relay.heard[1].startswith("NICK justinfan")
    ann, sub = Viewer(relay, "ann", "bar"), Viewer(relay, "subbo", "bar")
    ann.say("hello there 你好 🎉")
    wait_until(lambda: len(waiting(server)) == 1, "the first message")
    sub.say("a word from a subscriber")
    wait_until(lambda: len(waiting(server)) == 2, "the second message")
    ann.say("cheer100 take this")
    items = wait_until(lambda: len(found := waiting(server)) == 3 and found, "the third message")
    assert [(item["user"], item["priority"]) for item in items] == [
        ("Ann", "paid"),
        ("Subbo", "subscriber"),
        ("Ann", "everyone"),
    ]
    assert items[2]["text"] == "hello there 你好 🎉"


def test_what_is_said_there_has_the_voice_that_was_described(server: Server, relay: Relay) -> None:
    told = {"platform": "twitch", "channel": "bar", "voice": "wren + speed=1.5"}
    status, state = post(server.port, "/v1/chat/start", told)
    assert (status, state["connections"][0]["voice"]) == (200, "wren+speed=1.5")
    Viewer(relay, "ann", "bar").say("hello there")
    (item,) = wait_until(lambda: waiting(server), "the message")
    assert item["voice"] == "wren+speed=1.5"
    assert server.get(f"/v1/chat/items/{item['id']}/audio").headers["x-ishowtts-voice"] == "wren+speed=1.5"


def test_what_is_taken_back_never_sounds(server: Server, relay: Relay) -> None:
    ann, bob = Viewer(relay, "ann", "bar"), Viewer(relay, "bob", "bar")
    ann.say("this stays")
    ann.say("this is deleted")
    wait_until(lambda: len(waiting(server)) == 2, "both messages")
    bob.say("this one is banned")
    wait_until(lambda: len(waiting(server)) == 3, "all messages")
    relay.withdraw("ann", "this is deleted", "bar")
    relay.ban("bob", "bar")
    wait_until(lambda: texts(server) == ["this stays"], "what was taken back to go")


@pytest.mark.parametrize("what", ["the deletion", "the ban"])
def test_what_is_taken_back_while_it_plays_stops_at_once(server: Server, relay: Relay, what: str) -> None:
    numbers = itertools.count()
    with Stream(server.port, "overlay=obs") as stream:

        def stopped_within_ms() -> float:
            nick = f"bob{next(numbers)}"
            text = f"this is taken back from {nick}"
            Viewer(relay, nick, "bar").say(text)
            playing = stream.next("item")
            ack = {"overlay": "obs", "id": playing["id"], "state": "started"}
            assert post(server.port, "/v1/chat/ack", ack)[0] == 200
            sent_at = relay.ban(nick, "bar") if what == "the ban" else relay.withdraw(nick, text, "bar")
            assert stream.next("stop")["id"] == playing["id"]
            return (time.perf_counter() - sent_at) * 1e3

        took_ms = steadily(stopped_within_ms, lambda took_ms: took_ms < STOP_MS)
        print(f"from {what} on the IRC socket to the stop at the overlay: {took_ms:.1f} ms")
        assert took_ms < STOP_MS


def ended(server: Server) -> dict[str, str]:
    return {item["text"]: item["state"] for item in json.loads(server.get("/v1/chat/queue").body)["ended"]}


def test_a_deleted_message_stops_while_it_plays(server: Server, relay: Relay) -> None:
    ann = Viewer(relay, "ann", "bar")
    with Stream(server.port, "overlay=obs") as stream:
        ann.say("this is deleted")
        playing = stream.next("item")
        assert server.get(playing["audio_url"]).status == 200
        assert post(server.port, "/v1/chat/ack", {"overlay": "obs", "id": playing["id"], "state": "started"})[0] == 200
        ann.say("this was handed out ahead")
        ahead = stream.next("item")
        ann.say("this waits and is deleted too")
        ann.say("this comes after it")
        wait_until(lambda: len(waiting(server)) == 2, "the others to wait")
        relay.withdraw("ann", "this waits and is deleted too", "bar")
        wait_until(lambda: texts(server) == ["this comes after it"], "the waiting one to go")
        relay.withdraw("ann", "this is deleted", "bar")
        assert stream.next("stop")["id"] == playing["id"]
        assert server.get(playing["audio_url"]).status == 404
        assert stream.next()["text"] == "this comes after it", "what is told next, and nothing in between"
        assert ahead["text"] == "this was handed out ahead"
        withdrawn = {"this is deleted": "withdrawn", "this waits and is deleted too": "withdrawn"}
        assert ended(server) == withdrawn


def test_a_banned_user_stops_while_they_play_and_is_not_heard_again(server: Server, relay: Relay) -> None:
    ann, bob = Viewer(relay, "ann", "bar"), Viewer(relay, "bob", "bar")
    with Stream(server.port, "overlay=obs") as stream:
        bob.say("one of the banned", "two of the banned", "three of the banned")
        playing, ahead = stream.next("item"), stream.next("item")
        assert post(server.port, "/v1/chat/ack", {"overlay": "obs", "id": playing["id"], "state": "started"})[0] == 200
        wait_until(lambda: texts(server) == ["three of the banned"], "the third to wait")
        relay.ban("bob", "bar")
        assert stream.next("stop")["id"] == playing["id"]
        assert stream.next()["id"] == ahead["id"], "the one that was handed out ahead is stopped too"
        ann.say("somebody else")
        assert stream.next()["text"] == "somebody else", "the third is never told"
        assert ended(server) == {f"{number} of the banned": "withdrawn" for number in ("one", "two", "three")}


def test_a_flood_through_a_reconnect_is_heard_once(server: Server, relay: Relay) -> None:
    seconds, viewers = 4, [Viewer(relay, f"viewer{number}", "bar") for number in range(50)]
    expected = []
    began = time.perf_counter()
    for index in range(RATE * seconds):
        if index == RATE * seconds // 2:
            # On a thread of its own: the flood goes on while the old connection is replaced.
            future = relay.loop.run_in_executor(None, relay.reconnect)
        # Never a burst, however busy the machine: the IRC server throws out who floods it.
        time.sleep(max(began + index / RATE - time.perf_counter(), 0.5 / RATE))
        wait_until(lambda index=index: len(relay.sent_at) > index - len(viewers), "the IRC server to keep up")
        text = f"message number {index} of the flood"
        viewers[index % len(viewers)].say(text)
        expected.append(text)
    wait_until(future.done, "the reconnect")
    wait_until(lambda: len(waiting(server)) >= len(expected), "all of them", timeout_s=120)
    assert sorted(texts(server)) == sorted(expected)
    assert relay.joined == 2


def test_a_lost_connection_is_made_again(server: Server, relay: Relay) -> None:
    ann = Viewer(relay, "ann", "bar")

    def says(text: str) -> None:
        before = len(waiting(server))
        ann.say(text)
        wait_until(lambda: len(waiting(server)) == before + 1, text)

    def loses_its_connection() -> None:
        before = relay.joined
        relay.drop()
        wait_until(lambda: relay.joined > before and connection(server)["state"] == "connected", "a new connection")

    for turn in range(3):
        says(f"before loss {turn}")
        loses_its_connection()
        says(f"after loss {turn}")


def test_it_is_listened_to_again_after_a_restart_and_not_after_a_stop(server: Server, relay: Relay) -> None:
    server.process.kill()
    server.wait_exit()
    with server._told:
        server.lines.clear()
    server.spawn()
    server.wait_listening()
    wait_until(lambda: connection(server)["state"] == "connected", "the chat to be joined again")
    status, state = post(server.port, "/v1/chat/stop", {"platform": "twitch", "channel": "bar"})
    assert (status, state["connections"]) == (200, [])
    wait_until(lambda: not relay.clients, "the connection to be closed")


def test_a_server_that_nobody_vouches_for_is_not_talked_to(relay: Relay, start: Callable[..., Server]) -> None:
    server = start(engine="fake", config=config(relay, trusted=False) + 'channel = "bar"\n')
    waits = wait_until(lambda: (now := connection(server))["state"] == "waiting" and now, "it to give up")
    assert "certificate" in waits["detail"].lower(), waits
    assert not relay.heard
