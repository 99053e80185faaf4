"""The chat from outside: messages in, sound at overlays, control, and what a crash leaves of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Server, run, steadily, wait_until, wav_samples
from overlay import STOP_MS, Overlay, Stream, post, until_stop_ms
from websockets.sync.client import connect

OPEN = "[chat.rules]\nuser_max_per_minute = 0\nduplicate_window_s = 0.0\n"
"""No rule against floods: they are what the queue is tested with."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, engine="fake", config=OPEN) as started:
        yield started


def enqueue(server: Server, user: str = "Ann", text: str = "Hello there.", **fields: Any) -> dict[str, Any]:
    status, answer = post(server.port, "/v1/chat/enqueue", {"platform": "twitch", "user": user, "text": text, **fields})
    assert status == 202, answer
    return dict(answer)


def queue(server: Server) -> dict[str, Any]:
    return dict(json.loads(server.get("/v1/chat/queue").body))


def ack(server: Server, name: str, state: str = "finished", overlay: str = "obs") -> dict[str, Any]:
    status, answer = post(server.port, "/v1/chat/ack", {"overlay": overlay, "id": name, "state": state})
    assert status == 200, answer
    return dict(answer)


def restart(server: Server) -> None:
    """Kills the server as a power cut would, and starts it again in the same home."""
    server.process.kill()
    server.wait_exit()
    with server._told:
        server.lines.clear()
    server.spawn()
    server.wait_listening()
    server.wait_ready()


def messages(count: int, paid_every: int = 5) -> Iterator[dict[str, Any]]:
    for index in range(count):
        message = {"platform": "youtube", "user": f"user{index % 40}", "text": f"Message {index}.", "id": f"m{index}"}
        if index % paid_every == 0:
            message["paid"] = {"amount": "1.50", "currency": "EUR"}
        yield message


def test_a_message_is_heard_at_the_overlay(server: Server) -> None:
    with Stream(server.port, "overlay=obs") as stream:
        assert stream.next("hello")["speaking"] is True
        item = enqueue(server)
        told = stream.next("item")
        assert {told[field] for field in ("id", "user", "text")} == {item["id"], "Ann", "Hello there."}
        assert told["priority"] == "everyone"
        assert told["paid"] is None
        reply = server.get(told["audio_url"])
        assert wav_samples(reply.body).size > 1000
        events = server.get(told["speech_url"]).body.decode()
        assert "event: start" in events
        assert "event: caption" in events
        assert "event: done" in events
        assert ack(server, item["id"], "started")["counted"]
        assert ack(server, item["id"]) == {"id": item["id"], "state": "finished", "counted": True}
        assert ack(server, item["id"]) == {"id": item["id"], "state": "finished", "counted": False}


def test_the_next_item_is_made_while_one_plays(server: Server) -> None:
    with Stream(server.port, "overlay=obs") as stream:
        enqueue(server, "Ann", "The first one.")
        enqueue(server, "Bo", "The second one.")
        stream.next("item")
        second = stream.next("item")
        wait_until(lambda: server.metrics().get("ishowtts_speech_in_flight", 0) == 0, "nobody asks for sound")
        spoken = 'ishowtts_segments_total{engine="fake",outcome="spoken"}'
        wait_until(lambda: server.metrics().get(spoken, 0) >= 2, "both are spoken")
        assert server.get(second["audio_url"]).headers["x-ishowtts-cache"] == "hit"


def test_a_client_that_retries_by_id_is_heard_once(server: Server) -> None:
    first = enqueue(server, "Bo", "Take it.", id="tip-1", paid={"amount": 5, "currency": "eur"})
    assert (first["priority"], first["paid"]) == ("paid", {"amount": "5", "currency": "EUR"})
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(enqueue(server, "Bo", "Take it.", id="tip-2"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["id"] for answer in answers}) == 1
    assert enqueue(server, "Bo", "Take it.", id="tip-1")["id"] == first["id"]
    assert len(queue(server)["waiting"]) == 2
    restart(server)
    assert enqueue(server, "Bo", "Take it.", id="tip-1")["id"] == first["id"]
    assert len(queue(server)["waiting"]) == 2


def test_a_flood_delays_another_user_by_one_item(server: Server, tmp_path: Path) -> None:
    with Stream(server.port, "overlay=obs") as stream:
        stream.next("hello")
        for index in range(100):
            enqueue(server, "flood", f"Number {index}.")
        playing = stream.next("item")
        ahead = stream.next("item")
        guest = enqueue(server, "guest", "May I?")
        ack(server, playing["id"])
        after = stream.next("item")
        assert after["id"] == guest["id"], f"{ahead['text']} was handed out already, then it is the guest's turn"
        paid = enqueue(server, "rich", "Me first.", paid={"amount": 1, "currency": "USD"})
        ack(server, ahead["id"])
        assert stream.next("item")["id"] == paid["id"]


def test_no_paid_item_is_lost_or_said_twice_when_the_server_is_killed(server: Server, tmp_path: Path) -> None:
    """Short form of `benches/chat_soak.py`."""
    sent: dict[str, str] = {}
    kills = 2
    total = 1000

    def send() -> None:
        """As a client that was told to: again and again, until there is an answer."""
        connection: http.client.HTTPConnection | None = None
        for message in messages(total):
            while message["id"] not in sent:
                try:
                    if connection is None:
                        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
                    connection.request("POST", "/v1/chat/enqueue", json.dumps(message).encode())
                    response = connection.getresponse()
                    answer = json.loads(response.read())
                    assert response.status == 202, answer
                    sent[message["id"]] = answer.get("id", "")
                except (OSError, http.client.HTTPException):
                    connection = None
                    time.sleep(0.02)

    with Overlay(lambda: server.port, tmp_path / "finished") as overlay:
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for kill in range(1, kills + 1):
            overlay.wait(lambda heard, kill=kill: len(heard.finished) >= 40 * kill, "some are heard")
            restart(server)
        sender.join(300)
        assert len(sent) == total
        paid = [sent[message["id"]] for message in messages(total) if "paid" in message]
        assert all(paid)
        overlay.wait(lambda heard: set(paid) <= set(heard.finished), "all paid ones are heard", 300)
        heard = overlay.heard
        wait_until(lambda: not queue(server)["playing"] and not queue(server)["waiting"], "nothing waits", 300)
    assert len(heard.finished) == len(set(heard.finished)), "nothing was played to its end twice"
    assert len(heard.counted) == len(set(heard.counted)), "nothing was counted twice"
    server.end()
    with contextlib.closing(sqlite3.connect(tmp_path / "data/ishowtts/chat/chat.sqlite3")) as database:
        states = dict(database.execute("SELECT message, state FROM items").fetchall())
    assert {states[message["id"]] for message in messages(total) if "paid" in message} == {"finished"}
    assert set(states.values()) <= {"finished", "dropped"}


def test_an_overlay_that_reloads_begins_again_what_it_did_not_finish(server: Server) -> None:
    with Stream(server.port, "overlay=obs") as stream:
        first = enqueue(server, text="One.")
        second = enqueue(server, "Bo", "Two.")
        stream.next("item")
        ack(server, first["id"], "started")
    with Stream(server.port, "overlay=obs") as stream:
        assert stream.next("hello")["speaking"] is True
        assert [stream.next("item")["id"] for _ in range(2)] == [first["id"], second["id"]]
        ack(server, first["id"])
    with Stream(server.port, "overlay=obs") as stream:
        assert stream.next("item")["id"] == second["id"]


def test_one_overlay_speaks_and_another_takes_over(server: Server) -> None:
    with Stream(server.port, "overlay=one") as one, Stream(server.port, "overlay=two") as two:
        assert one.next("hello")["speaking"] is True
        assert two.next("hello")["speaking"] is False
        item = enqueue(server)
        assert one.next("item")["id"] == two.next("item")["id"] == item["id"]
        ack(server, item["id"], "started", "one")
        assert two.next("progress") == {"type": "progress", "id": item["id"], "state": "started"}
        left = time.perf_counter()
        one.close()
        assert two.next("role")["speaking"] is True
        assert 1.5 < time.perf_counter() - left < 10, "it had time to come back, and no more"
        assert two.next("item")["id"] == item["id"]
        # The first one was only cut off, and played it to its end.
        assert ack(server, item["id"], "finished", "one")["counted"]
        assert two.next("stop") == {"type": "stop", "id": item["id"], "reason": "finished"}


def test_what_is_skipped_stops_at_once(server: Server) -> None:
    with Stream(server.port, "overlay=obs") as stream:

        def skipped_within_ms() -> float:
            item = enqueue(server)
            stream.next("item")
            ack(server, item["id"], "started")
            took_ms, answer = until_stop_ms(stream, server.port, item["id"], "/v1/chat/skip")
            assert answer["skipped"]["id"] == item["id"]
            return took_ms

        worst_ms = steadily(lambda: max(skipped_within_ms() for _ in range(20)), lambda worst_ms: worst_ms < STOP_MS)
        print(f"from the skip to the stop: {worst_ms:.1f} ms at worst")
        assert worst_ms < STOP_MS
        assert queue(server)["ended"][0]["state"] == "skipped"


def test_who_comes_back_is_told_what_may_still_play(server: Server) -> None:
    with Stream(server.port, "overlay=obs") as stream:
        assert stream.next("hello")["items"] == []
        item = enqueue(server)
        stream.next("item")
        ack(server, item["id"], "started")
    restart(server)
    with Stream(server.port, "overlay=obs") as stream:
        assert stream.next("hello")["items"] == [item["id"]], "it may not have noticed that the server was away"
        stream.next("item")
    assert post(server.port, "/v1/chat/skip", {"id": item["id"]})[0] == 200
    with Stream(server.port, "overlay=obs") as stream:
        assert stream.next("hello")["items"] == []


def test_a_muted_user_is_silent_at_once_and_stays_so(server: Server) -> None:
    with Stream(server.port, "overlay=obs") as stream:

        def muted_within_ms() -> float:
            who = {"platform": "twitch", "user": "troll"}
            assert post(server.port, "/v1/chat/mute-user", who | {"muted": False})[0] == 200
            items = [enqueue(server, "Troll", f"Number {index}.", user_id="666") for index in range(5)]
            stream.next("item")
            took_ms, answer = until_stop_ms(stream, server.port, items[0]["id"], "/v1/chat/mute-user", who)
            assert answer["withdrawn"] == 5
            for item in items:
                assert server.get(f"/v1/chat/items/{item['id']}/audio").status == 404
            return took_ms

        took_ms = steadily(muted_within_ms, lambda took_ms: took_ms < STOP_MS)
        print(f"from the mute to the stop: {took_ms:.1f} ms")
        assert took_ms < STOP_MS
    restart(server)
    refused = enqueue(server, "TROLL", "Again!", user_id="666")
    assert (refused["accepted"], refused["rule"]) == (False, "muted")
    assert queue(server)["refused"][0]["user"] == "TROLL"


def test_what_ended_is_told_of_after_a_crash(server: Server) -> None:
    with Stream(server.port, "overlay=obs") as stream:
        played, skipped, *_ = (enqueue(server, f"user{n}", f"Number {n}.")["id"] for n in range(5))
        assert stream.next("item")["id"] == played
        ack(server, played)
        assert post(server.port, "/v1/chat/skip", {"id": skipped})[0] == 200
        wait_until(lambda: queue(server)["playing"], "the next one plays")
        assert post(server.port, "/v1/chat/clear")[1] == {"cleared": 2}
        assert enqueue(server, text="   ")["accepted"] is False
    before = queue(server)
    assert [item["state"] for item in before["ended"]] == ["cleared", "cleared", "skipped", "finished"]
    assert before["ended"][-1]["reason"] == "obs played it"
    assert len(before["refused"]) == 1
    restart(server)
    after = queue(server)
    assert after["ended"] == before["ended"]
    assert after["refused"] == []
    assert server.get(f"/v1/chat/items/{played}/audio").status == 200


def test_whoever_just_wants_to_be_told_is_told_items(server: Server) -> None:
    """Events and WebSocket alike: one object for each item, the first thing that comes, and its stop."""
    with (
        Stream(server.port) as stream,
        connect(f"ws://127.0.0.1:{server.port}/v1/chat/stream", compression=None) as socket,
    ):
        assert post(server.port, "/v1/chat/volume", {"volume": 0.5})[0] == 200
        first, second = enqueue(server), enqueue(server, "Bo", "And you!")
        for told in (lambda: json.loads(socket.recv(20)), stream.next):
            items = [told(), told()]
            assert [item["id"] for item in items] == [first["id"], second["id"]]
            for item in items:
                assert {"id", "user", "text", "voice", "audio_url", "priority"} <= item.keys()
                assert server.get(item["audio_url"]).status == 200


def test_what_is_set_is_set_after_a_restart(server: Server) -> None:
    assert post(server.port, "/v1/chat/volume", {"volume": 0.5})[0] == 200
    assert post(server.port, "/v1/chat/pause")[1]["paused"] is True
    body = {"platform": "twitch", "user": "Ann", "voice": "rowan"}
    assert post(server.port, "/v1/chat/user-voice", body) == (200, {"voice": "rowan"})
    before = json.loads(server.get("/v1/chat/state").body)
    restart(server)
    state = json.loads(server.get("/v1/chat/state").body)
    assert (state["volume"], state["paused"], state["overlay_url"]) == (0.5, True, before["overlay_url"])
    assert enqueue(server, "ann", user_id="12")["voice"] == "rowan"
    with Stream(server.port, "overlay=obs") as stream:
        assert stream.next("hello")["paused"] is True
        post(server.port, "/v1/chat/resume")
        assert [stream.next()["type"], stream.next()["type"]] == ["resume", "item"]


def test_the_same_viewer_has_the_same_voice(server: Server) -> None:
    voices = {name: enqueue(server, name, user_id=f"id-{name}")["voice"] for name in "abcdefghijkl"}
    assert len(set(voices.values())) > 1
    restart(server)
    for name, voice in voices.items():
        assert enqueue(server, f"{name} renamed", "Me again.", user_id=f"id-{name}")["voice"] == voice


def test_the_token_opens_what_an_overlay_needs_and_nothing_else(server: Server, tmp_path: Path) -> None:
    shown = run(["chat", "token", "--url"], tmp_path)
    assert shown.returncode == 0, shown.stderr
    token = shown.stdout.strip().split("/overlay?token=")[1]
    path = tmp_path / "data/ishowtts/chat/overlay-token"
    assert path.read_text("utf-8").strip() == token
    assert path.stat().st_mode & 0o777 == 0o600
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    item = enqueue(server)
    for path_, refused in [
        ("/v1/chat/stream?overlay=x", 403),
        (f"/v1/chat/items/{item['id']}/audio", 403),
        ("/v1/chat/state", 403),
        ("/v1/chat/queue", 403),
        (f"/v1/chat/state?token={token}", 403),
        (f"/v1/chat/queue?token={token}", 403),
        ("/v1/chat/stream?token=0123", 401),
        (f"/v1/chat/items/{item['id']}/audio?token=0123", 401),
    ]:
        reply = server.request("GET", path_, headers=foreign)
        assert reply.status == refused, path_
    assert server.request("GET", f"/v1/chat/items/{item['id']}/audio?token={token}", headers=foreign).status == 200
    assert server.request("POST", f"/v1/chat/skip?token={token}", b"{}", foreign).status == 403


def test_a_websocket_does_what_the_events_do(server: Server) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/v1/chat/stream?overlay=obs", compression=None) as socket:
        read = lambda: json.loads(socket.recv(20))  # noqa: E731
        assert read()["type"] == "hello"
        item = enqueue(server)
        assert read()["id"] == item["id"]
        socket.send(json.dumps({"type": "ack", "id": item["id"], "state": "finished"}))
        answers = {event["type"]: event for event in (read(), read())}
        assert answers["acked"] == {"type": "acked", "id": item["id"], "state": "finished", "counted": True}
        socket.send("{}")
        assert read()["type"] == "error"


@pytest.mark.parametrize("path", ["/speaker.bot", "/"])
@pytest.mark.parametrize("key", ["request", "command"])
def test_hotkeys_made_for_speakerbot_work(server: Server, path: str, key: str) -> None:
    with (
        Stream(server.port, "overlay=obs") as stream,
        connect(f"ws://127.0.0.1:{server.port}{path}", compression=None) as socket,
    ):

        def ask(verb: str, **fields: Any) -> dict[str, Any]:
            socket.send(json.dumps({"id": "<id>", key: verb, **fields}))
            return dict(json.loads(socket.recv(20)))

        assert stream.next("hello")
        for _ in range(2):
            assert ask("Speak", voice="Rowan+pitch=2", message="This is a test message") == {
                "id": "<id>",
                "status": "ok",
            }
        item = stream.next("item")
        assert (item["text"], item["voice"]) == ("This is a test message", "rowan+pitch=2")
        unknown = ask("Speak", voice="Nobody in particular", message="In which voice?")
        assert unknown["status"] == "error"
        assert "Nobody in particular" in unknown["error"]
        assert ask("stop")["status"] == "ok"
        assert stream.next("stop")["id"] == item["id"]
        assert ask("Pause")["status"] == "ok"
        assert stream.next("pause")
        assert ask("Resume")["status"] == "ok"
        assert ask("Clear")["status"] == "ok"
        assert ask("Disable")["status"] == "ok"
        assert enqueue(server)["rule"] == "disabled"
        assert ask("Enable")["status"] == "ok"
        assert enqueue(server)["accepted"] is True
        assert ask("set", method="nickname", username="Ann", nickname="Annie")["status"] == "ok"
        assert ask("dance")["status"] == "error"
        assert server.get("/").status == 200


def test_clients_of_the_original_work(server: Server) -> None:
    message = {
        "id": "7f3c2b7e-6f0e-4a57-9d53-2f2f4c1d9a11",
        "platform": "Twitch",
        "channel": "ann",
        "user_id": None,
        "username": "Bo",
        "priority": "Normal",
        "content": {"Text": "Hello from the original."},
        "metadata": {},
        "timestamp": "2026-01-01T00:00:00Z",
    }
    with connect(f"ws://127.0.0.1:{server.port}/api/danmaku/stream", compression=None, max_size=None) as socket:
        wait_until(lambda: json.loads(server.get("/v1/chat/state").body)["overlays"], "it listens")
        assert post(server.port, "/api/danmaku/enqueue", message)[0] == 202
        packet = socket.recv(30)
        assert isinstance(packet, bytes)
        length = struct.unpack_from("<I", packet)[0]
        header = json.loads(packet[4 : 4 + length])
        assert header == {
            "platform": "Twitch",
            "channel": "ann",
            "username": "Bo",
            "display_text": "Hello from the original.",
            "format": "audio/wav",
            "color": None,
        }
        assert wav_samples(packet[4 + length :]).size > 1000
        empty = message | {"id": "other", "content": {"System": " "}}
        assert post(server.port, "/api/danmaku/enqueue", empty)[0] == 204


def test_without_a_usable_database_it_speaks_all_the_same(start: Callable[..., Server], tmp_path: Path) -> None:
    directory = tmp_path / "chat"
    directory.mkdir()
    (directory / "chat.sqlite3").write_bytes(b"no database at all, really none. " * 100)
    with_damage = start(engine="fake", config=f'[chat]\ndirectory = "{directory}"\n')
    assert with_damage.speak("Hello.").pcm.size
    reply = with_damage.get("/v1/chat/state")
    assert (reply.status, reply.error["code"]) == (503, "chat_unavailable")
    assert "is damaged, or no database" in reply.error["message"]
    assert "there is no chat" in with_damage.log
    (directory / "chat.sqlite3").unlink()
    first = start(engine="fake", config=f'[chat]\ndirectory = "{directory}"\n')
    second = start(engine="fake", config=f'[chat]\ndirectory = "{directory}"\n')
    assert first.get("/v1/chat/state").status == 200
    assert "another server has it open" in second.get("/v1/chat/state").error["message"]


def test_it_stops_while_overlays_listen(server: Server) -> None:
    with Stream(server.port, "overlay=obs") as stream:
        stream.next("hello")
        server.process.terminate()
        assert not list(stream.events()), "the stream ends in good order"
        assert server.wait_exit() == 0
