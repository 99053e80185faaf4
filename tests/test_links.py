"""Links of any length, in a whole text and in one that is still written: their hosts are said, and nothing is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness import Pcm, Server
from websockets.sync.client import connect

LINK = "https://www.example.com/" + "some-path/" * 60 + "?a=1&b=" + "9f86d081884c7d65" * 8
TEXTS = [
    f"You will find it all at {LINK}, and nowhere else. That is all there is.",
    f"Read ({LINK}). Then read [the other page]({LINK}) as well, please.",
    f"{LINK}\nA second line, which is not long.",
]
WAIT_S = 60


def captions(server: Server, text: str, **fields: Any) -> list[dict[str, Any]]:
    reply = server.request("POST", "/v1/captions", json.dumps({"text": text, "seed": 3, **fields}).encode())
    assert reply.status == 200, reply.body
    told: list[dict[str, Any]] = json.loads(reply.body)["captions"]
    return told


def written(server: Server, text: str, chars: int) -> tuple[Pcm, list[dict[str, Any]]]:
    """Sound and captions of a text that comes in pieces of so many characters."""
    sound, told = b"", []
    with connect(f"ws://127.0.0.1:{server.port}/v1/ws", max_size=None) as connection:
        connection.send(json.dumps({"type": "start", "seed": 3, "hurry": False}))
        for at in range(0, len(text), chars):
            connection.send(json.dumps({"type": "text", "text": text[at : at + chars]}))
        connection.send(json.dumps({"type": "end"}))
        for event in events(connection):
            assert event["type"] != "error", event
            if event["type"] == "audio":
                frame = connection.recv(WAIT_S)
                assert isinstance(frame, bytes)
                sound += frame
            elif event["type"] == "caption":
                told.append(event)
            elif event["type"] == "done":
                break
    return np.frombuffer(sound, "<i2"), told


def events(connection: Any) -> Iterator[dict[str, Any]]:
    while True:
        yield json.loads(connection.recv(WAIT_S))


def assert_whole(text: str, told: list[dict[str, Any]]) -> None:
    """The captions join to the text, and every link lies in one of them."""
    spans = [(caption["start_char"], caption["end_char"]) for caption in told]
    between = [end for _, end in spans[:-1]], [start for start, _ in spans[1:]]
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    assert all(text[end:start].strip() == "" for end, start in zip(*between, strict=True)), spans
    at = text.find(LINK)
    while at >= 0:
        assert any(start <= at and at + len(LINK) <= end for start, end in spans), spans
        at = text.find(LINK, at + 1)


@pytest.mark.parametrize("text", TEXTS)
def test_a_link_stays_whole_and_its_host_is_said(hibari: Server, text: str) -> None:
    told = captions(hibari, text)
    assert_whole(text, told)
    words = [
        word for caption in told for word in caption["words"] if LINK in text[word["start_char"] : word["end_char"]]
    ]
    assert len(words) == text.count(LINK)
    for word in words:
        assert "example dot com" in word["text"]
        assert 300 < word["end_ms"] - word["start_ms"] < 3000


@pytest.mark.parametrize("text", TEXTS)
def test_it_does_not_matter_how_it_comes(tone: Server, text: str) -> None:
    whole, told = written(tone, text, len(text))
    assert_whole(text, told)
    for chars in (1, 4, 77):
        sound, again = written(tone, text, chars)
        assert np.array_equal(sound, whole)
        assert [caption["text"] for caption in again] == [caption["text"] for caption in told]


def test_a_link_without_an_end_holds_nothing_up(tone: Server) -> None:
    with connect(f"ws://127.0.0.1:{tone.port}/v1/ws", max_size=None) as connection:
        connection.send(json.dumps({"type": "start", "hurry": False}))
        connection.send(json.dumps({"type": "text", "text": f"You will find it all at {LINK[:200]}"}))
        first = next(event for event in events(connection) if event["type"] in ("caption", "error"))
        assert first["text"] == "You will find it all at"
        connection.send(json.dumps({"type": "text", "text": "0123456789" * 300}))
        rest = (json.loads(message) for message in connection if isinstance(message, str))
        assert next(event for event in rest if event["type"] == "caption")["text"].startswith(LINK[:200])
