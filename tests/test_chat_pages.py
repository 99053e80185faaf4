"""The studio's chat view and the overlay, both beside the real server: what a streamer does while viewers write."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Server, steadily, wait_until
from overlay import Stream
from test_overlay import LOUD, SILENT_MS, SKIPPED_MS, TAP, until

LONG = "This message goes on for a good while, so that there is time enough to look at it, and to take it back again."


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start(engine="fake")


@pytest.fixture(scope="module")
def obs(chromium: Callable[..., Any]) -> Any:
    return chromium("--autoplay-policy=no-user-gesture-required")


@pytest.fixture
def studio(obs: Any, server: Server) -> Iterator[Any]:
    context = obs.new_context(viewport={"width": 1280, "height": 1100}, locale="en-GB")
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{server.url}/#chat")
    page.wait_for_selector("#chat-live:not([hidden])")
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def overlay(obs: Any, server: Server) -> Iterator[Any]:
    context = obs.new_context(viewport={"width": 960, "height": 540})
    page = context.new_page()
    page.add_init_script(TAP)
    page.goto(server.url + json.loads(server.get("/v1/chat/state").body)["overlay_url"])
    until(page, "document.documentElement.dataset.speaking === 'true'")
    yield page
    context.close()


def enqueue(server: Server, user: str, text: str, **fields: Any) -> str:
    body = {"platform": "twitch", "user": user, "text": text, **fields}
    reply = server.request("POST", "/v1/chat/enqueue", json.dumps(body).encode())
    assert reply.status == 202, reply.body
    told = json.loads(reply.body)
    assert told["accepted"], told
    return str(told["id"])


def queue(server: Server) -> dict[str, Any]:
    return dict(json.loads(server.get("/v1/chat/queue").body))


def ended(server: Server) -> dict[str, str]:
    return {item["id"]: item["state"] for item in queue(server)["ended"]}


def test_ten_messages_are_heard_in_order(server: Server, overlay: Any) -> None:
    items = [enqueue(server, f"viewer{n}", f"Number {n}.") for n in range(10)]
    wait_until(lambda: ended(server).keys() >= set(items), "all are over", 90)
    assert set(ended(server).values()) == {"finished"}
    assert overlay.evaluate("window.shown") == [f"viewer{n}" for n in range(10)]


def test_a_platform_that_it_does_not_know_is_not_written_on_the_card(server: Server, overlay: Any) -> None:
    for user, platform, written in [("Bo", "constructor", ""), ("Cy", "YouTube", "YouTube")]:
        enqueue(server, user, "Hello there!", platform=platform)
        until(overlay, f"document.querySelector('#name').textContent === '{user}'")
        assert overlay.evaluate("document.querySelector('#platform').textContent") == written
        assert overlay.evaluate("document.querySelector('#card').dataset.platform") == platform.lower()


def test_the_studio_controls_what_the_overlay_says(server: Server, studio: Any, overlay: Any) -> None:
    studio.click("#chat-pause")
    studio.wait_for_selector("#chat-pause[aria-pressed=true]")
    first, second, tip = (
        enqueue(server, "Ann", LONG),
        enqueue(server, "Bo", "Me too!"),
        enqueue(server, "Mai", "Thank you for the stream!", paid={"amount": 5, "currency": "EUR"}),
    )
    studio.wait_for_selector("#chat-waiting li:nth-child(3)")
    assert studio.locator("#chat-waiting strong").all_inner_texts() == ["Mai", "Ann", "Bo"]
    assert studio.inner_text("#chat-waiting .badge.paid") == "5 EUR"
    studio.locator("#chat-waiting li", has_text="Bo").get_by_role("button", name="Remove").click()
    wait_until(lambda: ended(server).get(second) == "skipped", "it is taken out")
    studio.click("#chat-pause")
    until(overlay, LOUD)
    wait_until(lambda: ended(server).get(tip) == "finished", "the paid one was first")
    studio.locator("#chat-playing li", has_text="Ann").wait_for()
    until(overlay, "document.querySelector('#name').textContent === 'Ann'")
    if shots := os.environ.get("PAGE_SCREENSHOTS"):
        studio.screenshot(path=str(Path(shots) / "chat.png"))
    until(overlay, LOUD)
    studio.click("#chat-skip")
    wait_until(lambda: ended(server).get(first) == "skipped", "it is skipped")
    until(overlay, f"{SILENT_MS} > 300")
    studio.locator("#chat-past li", has_text="Ann").wait_for()
    assert studio.locator("#chat-connections", has_text="speaks").count() == 1


def test_a_reloaded_overlay_goes_on_with_what_was_not_finished(server: Server, overlay: Any) -> None:
    said = (("Ann", "Hello there."), ("Bo", LONG), ("Mai", "Bye now."))
    first, second, third = (enqueue(server, user, text) for user, text in said)
    until(overlay, "window.shown.includes('Bo') && window.tap.loudSpans.length > 0")
    overlay.reload()
    wait_until(lambda: ended(server).keys() >= {first, second, third}, "all are over", 90)
    assert set(ended(server).values()) == {"finished"}
    # The page that was loaded again begins with the one that was cut short, not with the one that had ended.
    assert overlay.evaluate("window.shown") == ["Bo", "Mai"]


def test_of_two_overlays_one_is_heard_and_the_other_takes_over(server: Server, overlay: Any) -> None:
    second = overlay.context.new_page()
    second.add_init_script(TAP)
    second.goto(overlay.url)
    until(second, "document.documentElement.dataset.speaking === 'false'")
    items = [enqueue(server, f"viewer{n}", f"Number {n}.") for n in range(3)]
    wait_until(lambda: ended(server).keys() >= set(items), "all are over", 90)
    assert set(ended(server).values()) == {"finished"}
    assert overlay.evaluate("window.shown") == ["viewer0", "viewer1", "viewer2"]
    assert second.evaluate("window.tap.loudSpans") == []
    last = enqueue(server, "Ann", LONG)
    until(overlay, LOUD)
    overlay.close()
    until(second, LOUD)
    wait_until(lambda: ended(server).get(last) == "finished", "the other one says it from its beginning", 90)


def test_from_skip_to_silence_within_200_ms(server: Server, overlay: Any) -> None:
    numbers = itertools.count()

    def silent_after_ms() -> float:
        number = next(numbers)
        enqueue(server, f"viewer{number}", f"{LONG} This was the time number {number}.")
        until(overlay, LOUD)
        asked = time.time() * 1000
        assert server.request("POST", "/v1/chat/skip").status == 200
        until(overlay, f"{SILENT_MS} > 400")
        return float(overlay.evaluate("window.tap.lastLoudAt")) - asked

    delays = steadily(lambda: [silent_after_ms() for _ in range(4)], lambda delays: max(delays) < SKIPPED_MS)
    assert max(delays) < SKIPPED_MS, delays
    print(f"from POST to silence: {sorted(round(delay) for delay in delays)} ms")


def test_volume_reaches_the_overlay_and_clear_asks_twice(server: Server, studio: Any, overlay: Any) -> None:
    studio.locator("#chat-volume").fill("0.25")
    wait_until(lambda: json.loads(server.get("/v1/chat/state").body)["volume"] == 0.25, "the volume is set")
    studio.click("#chat-pause")
    studio.wait_for_selector("#chat-pause[aria-pressed=true]")
    for n in range(3):
        enqueue(server, f"viewer{n}", "Hello there.")
    studio.wait_for_selector("#chat-waiting li:nth-child(3)")
    studio.click("#chat-clear")
    assert len(queue(server)["waiting"]) == 3
    studio.click("#chat-clear")
    wait_until(lambda: queue(server)["waiting"] == [], "the queue is empty")


def test_the_rules_tell_which_one_decided(server: Server, studio: Any) -> None:
    studio.fill("#test-text", "Hello there!")
    studio.click("#chat-test button[type=submit]")
    studio.wait_for_selector("#verdict .decision")
    assert studio.inner_text("#verdict .decision") == "It is spoken"
    body = {"platform": "api", "user": "viewer", "text": "Hello there!"}
    verdict = json.loads(server.request("POST", "/v1/chat/test", json.dumps(body).encode()).body)
    assert verdict["rule"] in studio.inner_text("#verdict")
    studio.click("#test-send")
    studio.locator("#chat-waiting li, #chat-playing li, #chat-past li", has_text="Hello there!").first.wait_for()


def test_an_overlay_that_does_not_answer_is_told_of(obs: Any, start: Callable[..., Server]) -> None:
    server = start(engine="fake", config="[chat.queue]\nack_grace_s = 0.2\n")
    context = obs.new_context(locale="en-GB")
    studio = context.new_page()
    studio.goto(f"{server.url}/#chat")
    with Stream(server.port, "overlay=obs") as silent:
        studio.locator("#chat-connections", has_text="speaks").wait_for()
        enqueue(server, "Ann", "Is anybody there?")
        assert silent.next("stop")
        studio.locator("#chat-connections", has_text="does not answer").wait_for()
        # It is open, and the one that speaks: only its word is missing.
        assert studio.locator("#chat-connections li").count() == 1
    context.close()


APPROVED = '[chat.rules]\napproval = "unpaid"\nbanned_words = ["darn"]\n'


@pytest.fixture
def strict(obs: Any, start: Callable[..., Server]) -> Iterator[tuple[Server, Any]]:
    """What nobody paid for waits for the streamer, whose studio is open in Chinese."""
    server = start(engine="fake", config=APPROVED)
    context = obs.new_context(viewport={"width": 1280, "height": 1100}, locale="zh-CN")
    page = context.new_page()
    page.goto(f"{server.url}/#chat")
    page.wait_for_selector("#chat-live:not([hidden])")
    yield server, page
    context.close()


def test_held_messages_are_approved_or_rejected(strict: tuple[Server, Any]) -> None:
    server, studio = strict
    said, unsaid = enqueue(server, "Ann", "Look at <b>this</b>"), enqueue(server, "Bo", "Look at that")
    late = enqueue(server, "Mai", "And me?", user_id="7")
    studio.get_by_role("button", name="拒绝: Bo").click()
    wait_until(lambda: ended(server).get(unsaid) == "rejected", "it is rejected")
    studio.locator("#chat-past .badge", has_text="未批准").wait_for()
    assert "<b>this</b>" in studio.inner_text("#chat-held")
    assert studio.locator("#chat-held b").count() == 0
    studio.get_by_role("button", name="批准: Ann").click()
    wait_until(lambda: [item["id"] for item in queue(server)["waiting"]] == [said], "it waits for an overlay")
    studio.locator("#chat-held li", has_text="Mai").get_by_role("button", name="屏蔽 Mai").click()
    wait_until(lambda: ended(server).get(late) == "withdrawn", "nothing of theirs is held")
    studio.locator("#chat-muted li", has_text="Mai").get_by_role("button").click()
    studio.wait_for_selector("#chat-muted-panel", state="hidden")
    assert json.loads(server.get("/v1/chat/state").body)["muted"] == []


def test_a_name_that_must_not_be_read_is_shown_as_another(strict: tuple[Server, Any]) -> None:
    server, studio = strict
    enqueue(server, "xX_d4rn_Xx", LONG, paid={"amount": 5, "currency": "EUR"})
    studio.locator("#chat-waiting .badge", has_text="someone").wait_for()
    assert studio.inner_text("#chat-waiting strong") == "xX_d4rn_Xx"
    overlay = studio.context.new_page()
    overlay.add_init_script(TAP)
    overlay.goto(server.url + json.loads(server.get("/v1/chat/state").body)["overlay_url"])
    until(overlay, LOUD)
    assert overlay.inner_text("#name") == "someone"
    assert "someone" in overlay.inner_text("#text")


def test_the_overlay_needs_a_token_only_where_one_is_asked_for(
    server: Server, obs: Any, start: Callable[..., Server]
) -> None:
    context = obs.new_context(locale="en-GB")
    page = context.new_page()
    for query in ("", "?token="):
        page.goto(f"{server.url}/overlay{query}")
        until(page, "document.documentElement.dataset.speaking === 'true'")
        ident = enqueue(server, f"viewer{query}", "Without a token.")
        wait_until(lambda ident=ident: ended(server).get(ident) == "finished", "it is heard", 60)
        assert page.is_hidden("#notice")
    page.goto(f"{server.url}/overlay?token=wrong")
    page.wait_for_selector("#notice:not([hidden])")
    guarded = start(engine="fake", config='[chat]\nauth = "always"\n')
    page.goto(f"{guarded.url}/overlay")
    page.wait_for_selector("#notice:not([hidden])")
    assert "address" in page.inner_text("#notice")
    context.close()


def test_the_overlays_address_is_to_be_copied(server: Server, studio: Any) -> None:
    studio.select_option("#overlay-theme", "neon")
    address = studio.input_value("#overlay-url")
    assert address == server.url + json.loads(server.get("/v1/chat/state").body)["overlay_url"] + "&theme=neon"
