"""Overlays that stay connected and do not tell what became of an item: the queue goes on, and what was paid is finished
once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Server, wait_until, wav_samples
from overlay import Overlay, Stream, post

GRACE_S = 3.0
"""Longer than a machine stalls: within it the tests must have told what they mean to tell in time."""
CONFIG = """
[chat.rules]
user_max_per_minute = 0
duplicate_window_s = 0.0
[chat.queue]
ack_grace_s = {grace_s}
[engines.fake]
audio_ms_per_char = 10
"""
PAID = {"amount": 5, "currency": "EUR"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, engine="fake", config=CONFIG.format(grace_s=GRACE_S)) as started:
        yield started


def enqueue(server: Server, text: str, **fields: Any) -> str:
    status, answer = post(server.port, "/v1/chat/enqueue", {"platform": "api", "user": text, "text": text, **fields})
    assert (status, answer["accepted"]) == (202, True), answer
    return str(answer["id"])


def queue(server: Server) -> dict[str, Any]:
    return dict(json.loads(server.get("/v1/chat/queue").body))


def ack(server: Server, name: str, overlay: str, state: str = "finished") -> bool:
    status, answer = post(server.port, "/v1/chat/ack", {"overlay": overlay, "id": name, "state": state})
    assert status == 200, answer
    return bool(answer["counted"])


def answering(server: Server) -> dict[str, bool]:
    overlays = json.loads(server.get("/v1/chat/state").body)["overlays"]
    return {overlay["overlay"]: overlay["answers"] for overlay in overlays}


def test_another_overlay_says_what_one_keeps_to_itself(server: Server) -> None:
    with Stream(server.port, "overlay=one") as one, Stream(server.port, "overlay=two") as two:
        assert (one.next("hello")["speaking"], two.next("hello")["speaking"]) == (True, False)
        item = enqueue(server, "Thank you", paid=PAID)
        told = one.next("item")
        assert two.next("item")["id"] == told["id"] == item
        assert wav_samples(server.get(told["audio_url"]).body).size > 1000
        assert ack(server, item, "one", "started")
        # Now it is silent. First it is told to be so, before another one begins.
        assert one.next("role")["speaking"] is False
        assert two.next("role")["speaking"] is True
        assert two.next("item")["id"] == item
        assert answering(server) == {"one": False, "two": True}
        (playing,) = queue(server)["playing"]
        assert (playing["id"], playing["state"]) == (item, "playing")
        assert '"one" did not tell' in playing["reason"]
        assert server.metrics()["ishowtts_chat_overdue_total"] == 1
        assert ack(server, item, "two")
        # The first one was only slow to tell.
        assert not ack(server, item, "one")
        assert answering(server) == {"one": True, "two": True}
        assert [ended["state"] for ended in queue(server)["ended"]] == ["finished"]


def test_a_late_word_still_counts_and_silences_the_other(server: Server) -> None:
    with Stream(server.port, "overlay=one") as one, Stream(server.port, "overlay=two") as two:
        assert one.next("hello")["speaking"]
        item = enqueue(server, "Thank you", paid=PAID)
        assert two.next("role")["speaking"] is True
        assert two.next("item")["id"] == item
        assert ack(server, item, "two", "started")
        assert ack(server, item, "one")
        assert two.next("stop") == {"type": "stop", "id": item, "reason": "finished"}
        assert not ack(server, item, "two")
        # The next one is the second overlay's: the role stays where it is.
        after = enqueue(server, "And on")
        assert two.next("item")["id"] == after
        assert ack(server, after, "two")


def test_where_there_is_no_other_overlay_the_queue_goes_on_and_paid_items_wait(server: Server) -> None:
    with Stream(server.port, "overlay=one") as stream:
        stream.next("hello")
        paid = enqueue(server, "Paid", paid=PAID)
        plain = [enqueue(server, f"Plain {index}") for index in range(2)]
        assert [stream.next("item")["id"] for _ in range(3)] == [paid, *plain], "none is acknowledged"
        (waits,) = [item for item in queue(server)["playing"] if item["id"] == paid]
        assert "it is said again once an overlay comes" in waits["reason"]
        assert queue(server)["playing"][-1]["id"] == paid, "what may be playing is first"
        for name in plain:
            assert stream.next("stop")["id"] == name
        wait_until(lambda: len(queue(server)["playing"]) == 1, "the others to be over")
        ended = {item["id"]: item for item in queue(server)["ended"]}
        assert {name: ended[name]["state"] for name in plain} == dict.fromkeys(plain, "failed")
        assert '"one" did not tell' in ended[plain[0]]["reason"]
    with Stream(server.port, "overlay=one") as stream:
        assert stream.next("item")["id"] == paid, "it begins again"
        assert ack(server, paid, "one")
        assert not ack(server, paid, "one")
        assert not queue(server)["playing"]


def test_a_slow_overlay_is_left_in_peace(tmp_path: Path) -> None:
    with Server(tmp_path, engine="fake", config=CONFIG.format(grace_s=5.0)) as server:
        # Its items take longer than they last, but less than the grace; one that waits for its turn takes more.
        with Overlay(lambda: server.port, tmp_path / "finished", play_s=2.7) as overlay:
            names = [enqueue(server, f"Number {index}") for index in range(3)]
            overlay.wait(lambda heard: len(heard.counted) == 3, "all are heard")
            assert overlay.heard.finished == names
        assert server.metrics().get("ishowtts_chat_overdue_total", 0) == 0
