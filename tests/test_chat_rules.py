"""The rules of the chat, as a streamer meets them: settings, refusals with their reasons, and the test box."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import SERVE, Server, environment
from overlay import post

RULES = """
[chat.rules]
banned_words = ["darn", "傻瓜"]
max_chars = 20
min_bits = 50
[chat.rules.min_amounts]
USD = "5"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Server(tmp_path_factory.mktemp("rules"), engine="fake", config=RULES) as started:
        yield started


def send(server: Server, path: str, text: str, user: str = "Ann", **fields: Any) -> dict[str, Any]:
    status, answer = post(server.port, path, {"platform": "twitch", "user": user, "text": text, **fields})
    assert status in (200, 202), answer
    return dict(answer)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("oh d.4.r.n", "banned"),
        ("你这个傻 瓜", "banned"),
        ("!skip", "command"),
        ("!uptime", "command"),
        ("?!?!", "words"),
    ],
)
def test_a_refusal_names_its_rule(server: Server, text: str, rule: str) -> None:
    answer = send(server, "/v1/chat/enqueue", text)
    assert (answer["accepted"], answer["rule"]) == (False, rule)
    assert answer["reason"]
    refused = json.loads(server.get("/v1/chat/queue").body)["refused"]
    assert rule in [entry["rule"] for entry in refused]


def test_the_test_box_tells_every_rule_and_changes_nothing(server: Server) -> None:
    before = server.get("/v1/chat/queue").body
    verdict = send(server, "/v1/chat/test", "GO TO https://example.org/a NOOOOOW PLEASE", user="Bob")
    assert verdict["decision"] == "speak"
    assert verdict["text"] == "go to link nooow"
    outcomes = {step["rule"]: step["outcome"] for step in verdict["trace"]}
    assert outcomes["links"] == outcomes["repeats"] == outcomes["caps"] == outcomes["length"] == "changed"
    assert outcomes["banned"] == "passed"
    assert server.get("/v1/chat/queue").body == before


def test_what_is_paid_enough_is_paid(server: Server) -> None:
    much = send(server, "/v1/chat/enqueue", "Good luck.", user="Cleo", paid={"amount": "5.00", "currency": "USD"})
    assert much["priority"] == "paid"
    assert much["text"] == "Cleo sent 5 USD: Good luck."
    little = send(server, "/v1/chat/enqueue", "Good luck!", user="Dan", paid={"amount": "4.99", "currency": "USD"})
    assert little["priority"] == "everyone"
    assert little["text"] == "Good luck!"


def test_a_viewer_is_not_heard_twice_with_the_same(server: Server) -> None:
    assert send(server, "/v1/chat/enqueue", "Is it on?", user="Eve")["accepted"]
    assert send(server, "/v1/chat/enqueue", "is it ON", user="Eve")["rule"] == "duplicate"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('[chat.rules.templates]\nraid = "{nobody}"', "chat.rules.templates.raid: there is no {nobody}"),
        ('[chat.rules]\nbanned_patterns = ["("]', "chat.rules.banned_patterns"),
        ('[chat.rules]\nwho = "friends"', 'chat.rules.who must be "everyone"'),
        ('[chat.rules.min_amounts]\nUSD = "five"', "chat.rules.min_amounts.USD"),
    ],
)
def test_a_setting_that_cannot_be_used_keeps_it_from_starting(tmp_path: Path, line: str, told: str) -> None:
    config = tmp_path / "ishowtts.toml"
    config.write_text(line + "\n", encoding="utf-8")
    ended = subprocess.run(
        [*SERVE, "--port", "0", "--engine", "fake", "--config", str(config)],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
