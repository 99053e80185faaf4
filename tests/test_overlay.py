"""The overlay in a real browser, as OBS has it: what sounds, what is seen, what is acknowledged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from chat_server import TOKEN, ChatServer
from harness import Server, steadily, wait_until

# What goes to the speakers: when it was loud, on the page's clock. A new span begins only after silence was seen, so
# that a page that had no time to look tells of no gap.
TAP = """
window.tap = { loudSpans: [], lastLoudAt: 0 };
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    const analyser = new AnalyserNode(this.context, { fftSize: 256 });
    connect.call(this, analyser);
    window.tap.context = this.context;
    const samples = new Float32Array(256);
    let silent = 9;
    setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const loud = this.context.state === "running" && samples.some((sample) => Math.abs(sample) > 0.002);
      const now = performance.timeOrigin + performance.now();
      silent = loud ? silent : silent + 1;
      if (loud) {
        if (silent > 3 && now - window.tap.lastLoudAt > 40) window.tap.loudSpans.push([now, now]);
        silent = 0;
        window.tap.loudSpans.at(-1)[1] = now;
        window.tap.lastLoudAt = now;
      }
    }, 4);
  }
  return connect.call(this, target, ...rest);
};
window.shown = [];
addEventListener("DOMContentLoaded", () => {
  new MutationObserver(() => {
    const name = document.querySelector("#name").textContent;
    if (name && window.shown.at(-1) !== name) window.shown.push(name);
  }).observe(document.querySelector("#name"), { childList: true, characterData: true, subtree: true });
});
"""
LOUD = "window.tap.loudSpans.length > 0 && Date.now() - window.tap.lastLoudAt < 100"
SILENT_MS = "Date.now() - window.tap.lastLoudAt"
SKIPPED_MS = 200
"""What is skipped must be silent by then."""


@pytest.fixture
def chat(tone: Server) -> Iterator[ChatServer]:
    with ChatServer(tone) as server:
        yield server


@pytest.fixture(scope="module")
def obs(chromium: Callable[..., Any]) -> Any:
    """OBS lets its browser sources sound without a click."""
    return chromium("--autoplay-policy=no-user-gesture-required")


@pytest.fixture
def overlay(obs: Any, chat: ChatServer) -> Iterator[Callable[..., Any]]:
    """Opens overlays; those of one `place` share their storage, as the sources of one OBS do."""
    contexts: dict[str, Any] = {}
    problems: list[str] = []

    def opened(query: str = "", place: str = "obs", url: str = chat.url) -> Any:
        if place not in contexts:
            contexts[place] = obs.new_context(viewport={"width": 960, "height": 540})
        page = contexts[place].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.add_init_script(TAP)
        page.goto(f"{url}/overlay?token={TOKEN}{query}")
        return page

    with ExitStack() as stack:
        yield opened
        for context in contexts.values():
            stack.callback(context.close)
    assert problems == []


def until(page: Any, expression: str) -> None:
    wait_until(lambda: page.evaluate(expression), expression)


def speaks(page: Any, yes: bool = True) -> None:
    until(page, f"document.documentElement.dataset.speaking === '{str(yes).lower()}'")


def test_ten_items_sound_in_order_without_a_gap(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)

    def sounded() -> list[tuple[float, float]]:
        chat.acks.clear()
        page.evaluate("window.shown = []; window.tap.loudSpans = []")
        expected = [chat.put(f"This is message {n}.", user=f"viewer{n}", duration_s=0.4) for n in range(10)]
        wait_until(lambda: len(chat.told("finished")) == 10, "all are finished")
        assert chat.told("finished") == expected
        assert chat.told("started") == expected
        assert page.evaluate("window.shown") == [f"viewer{n}" for n in range(10)]
        until(page, "document.querySelector('#card').hidden")
        return [(begin, end) for begin, end in page.evaluate("window.tap.loudSpans")]

    def whole(spans: list[tuple[float, float]]) -> bool:
        """One stretch of sound: 4 s, and no pause of 60 ms in it."""
        return len(spans) == 1 and 3700 < spans[0][1] - spans[0][0] < 4400

    spans = steadily(sounded, whole)
    assert whole(spans), spans


def test_skip_is_silence_within_200_ms(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)

    def silent_after_ms() -> float:
        ident = chat.put("A very long message that goes on.", duration_s=8)
        until(page, LOUD)
        asked = time.time() * 1000
        chat.stop(ident)
        until(page, f"{SILENT_MS} > 400")
        assert page.evaluate("document.querySelector('#card').hidden")
        return float(page.evaluate("window.tap.lastLoudAt")) - asked

    delays = steadily(lambda: [silent_after_ms() for _ in range(5)], lambda delays: max(delays) < SKIPPED_MS)
    assert max(delays) < SKIPPED_MS, delays
    print(f"from skip to silence: {sorted(round(delay) for delay in delays)} ms")
    following = chat.put("The next one.", duration_s=0.3)
    wait_until(lambda: chat.told("finished") == [following], "the next one")


def test_what_waits_is_taken_back_and_the_next_moves_up(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)

    def spans() -> list[Any]:
        chat.acks.clear()
        page.evaluate("window.shown = []; window.tap.loudSpans = []")
        first = chat.put("one", user="one", duration_s=4)
        second = chat.put("two", user="two", duration_s=5)
        third = chat.put("three", user="three", duration_s=0.4)
        until(page, LOUD)
        wait_until(lambda: third in chat.asked, "the third is fetched ahead")
        chat.stop(second)
        wait_until(lambda: chat.told("finished") == [first, third], "both")
        assert page.evaluate("window.shown") == ["one", "three"]
        until(page, "document.querySelector('#card').hidden")
        return list(page.evaluate("window.tap.loudSpans"))

    found = steadily(spans, lambda found: len(found) == 1)
    assert len(found) == 1, f"a gap between them: {found}"


def test_a_reload_begins_again_with_what_was_not_finished(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)
    first = chat.put("short", user="one", duration_s=0.3)
    second = chat.put("long", user="two", duration_s=5)
    third = chat.put("short", user="three", duration_s=0.3)
    wait_until(lambda: second in chat.told("started"), "the second plays")
    chat.put("short", user="one again", id=first)
    page.reload()
    wait_until(lambda: third in chat.told("finished"), "all")
    # The one that came again although it was finished is acknowledged, and not said again.
    assert page.evaluate("window.shown") == ["two", "three"]
    assert [chat.told("started").count(ident) for ident in (first, second, third)] == [1, 2, 1]
    assert chat.told("finished").count(second) == 1
    assert len({ack["overlay"] for ack in chat.acks}) == 1


def test_two_overlays_do_not_both_speak_and_one_takes_over(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    one = overlay()
    speaks(one)
    two = overlay()
    speaks(two, False)
    for n in range(3):
        chat.put(f"Message {n}.", user=f"viewer{n}", duration_s=0.5)
    wait_until(lambda: len(chat.told("finished")) == 3, "all are finished")
    assert one.evaluate("window.tap.loudSpans.length") >= 1
    assert two.evaluate("window.tap.loudSpans") == []
    until(two, "window.shown.length >= 2")
    assert len({ack["overlay"] for ack in chat.acks}) == 1
    last = chat.put("Long.", user="last", duration_s=4)
    wait_until(lambda: last in chat.told("started"), "it plays")
    one.close()
    speaks(two)
    until(two, LOUD)
    wait_until(lambda: last in chat.told("finished"), "it is said by the other one")
    assert len({ack["overlay"] for ack in chat.acks if ack["id"] == last}) == 2


def test_a_server_that_is_gone_is_found_again(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)
    first = chat.put("first", duration_s=4)
    second = chat.put("second", duration_s=0.3)
    until(page, LOUD)
    chat.down = True
    chat.break_off()
    # What sounds may end, nothing new begins; then it is silent, as another one may speak now.
    until(page, f"{SILENT_MS} > 1500")
    assert page.evaluate("window.shown") == ["Ann"]
    assert len(page.evaluate("window.tap.loudSpans")) == 1
    assert chat.told("finished") == []
    chat.down = False
    wait_until(lambda: second in chat.told("finished"), "both", 30)
    assert chat.told("finished")[0] == first
    # The first had ended while the server was away: it is not said twice.
    assert len(page.evaluate("window.tap.loudSpans")) == 2


def test_what_is_taken_back_while_the_server_is_away_stops_once_it_is_back(
    chat: ChatServer, overlay: Callable[..., Any]
) -> None:
    page = overlay()
    speaks(page)

    def silent_after_ms() -> float:
        ident = chat.put("A very long message that goes on.", duration_s=8)
        until(page, LOUD)
        # Nobody is told of it.
        chat.break_off(taking_back=ident)
        # Well before the time after which a page without a server is silent anyhow.
        wait_until(lambda: chat.streams, "it is back")
        back = time.time() * 1000
        until(page, f"{SILENT_MS} > 400")
        assert page.evaluate("document.querySelector('#card').hidden")
        return float(page.evaluate("window.tap.lastLoudAt")) - back

    assert steadily(silent_after_ms, lambda delay: delay < SKIPPED_MS) < SKIPPED_MS
    following = chat.put("The next one.", duration_s=0.3)
    wait_until(lambda: chat.told("finished") == [following], "the next one")


def test_what_sounds_goes_on_through_a_short_loss(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)
    ident = chat.put("A message that outlives the connection.", duration_s=3)
    until(page, LOUD)
    chat.break_off()
    wait_until(lambda: chat.told("finished") == [ident], "the end")
    assert len(page.evaluate("window.tap.loudSpans")) == 1


def test_pause_and_volume(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)
    ident = chat.put("Long enough to be paused.", duration_s=5)
    until(page, LOUD)
    chat.tell({"type": "pause"})
    until(page, f"{SILENT_MS} > 700")
    chat.tell({"type": "resume"})
    until(page, LOUD)
    chat.tell({"type": "volume", "volume": 0})
    until(page, f"{SILENT_MS} > 200")
    wait_until(lambda: chat.told("finished") == [ident], "the end")


def test_an_overlay_that_comes_into_a_pause_waits(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    chat.paused = True
    page = overlay()
    speaks(page)
    until(page, "window.tap.context.state === 'suspended'")
    chat.tell({"type": "resume"})
    ident = chat.put("It goes on.", duration_s=0.5)
    wait_until(lambda: chat.told("finished") == [ident], "the end")


@pytest.mark.parametrize("words", [True, False])
def test_what_sounds_is_marked(chat: ChatServer, overlay: Callable[..., Any], words: bool) -> None:
    chat.words = words
    page = overlay()
    speaks(page)
    page.evaluate(
        """() => {
          const look = () => {
            const now = document.querySelector("#text .now")?.textContent;
            if (now && window.marked.at(-1) !== now) window.marked.push(now);
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    text = "Every single word is marked"

    def marked() -> list[str]:
        page.evaluate("window.marked = []")
        ident = chat.put(text, duration_s=2.5)
        wait_until(lambda: ident in chat.told("finished"), "the end")
        return list(page.evaluate("window.marked"))

    expected = text.split() if words else [text]
    # A page that cannot draw for as long as a word lasts marks the next one.
    assert steadily(marked, lambda found: found == expected) == expected


def test_chat_is_text_whatever_it_says(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)
    hostile = '<img src=x onerror="window.hacked=1"><b>x</b>'
    ident = chat.put(hostile, user=hostile, paid={"amount": hostile, "currency": "EUR"}, duration_s=4)
    wait_until(lambda: ident in chat.told("started"), "it plays")
    assert page.inner_text("#name") == hostile
    assert page.inner_text("#text") == hostile
    assert page.locator("#card img, #card b").count() == 0
    wait_until(lambda: chat.told("finished"), "the end")
    assert page.evaluate("window.hacked") is None


def test_a_failed_item_does_not_hold_up_the_next(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay()
    speaks(page)
    lost = chat.put("lost", speech_url=f"/v1/chat/items/none/speech?token={TOKEN}")
    following = chat.put("next", duration_s=0.3)
    wait_until(lambda: chat.told("finished") == [following], "the next one")
    assert chat.told("failed") == [lost]


def test_a_server_without_room_is_asked_again_until_it_has_some(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    chat.busy = 12
    page = overlay()
    speaks(page)
    ident = chat.put("patience", priority="paid", paid={"amount": "5", "currency": "EUR"}, duration_s=0.3)
    wait_until(lambda: chat.told("finished") == [ident], "it is said in the end")
    assert (chat.told("failed"), chat.asked) == ([], [ident] * 13)


def test_custom_css_of_obs_and_a_transparent_page(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    page = overlay("&theme=neon&place=top-right&size=40&accent=ff8800")
    speaks(page)
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgba(0, 0, 0, 0)"
    # As OBS does it.
    page.evaluate(
        """() => {
          const style = document.createElement("style");
          style.innerHTML = "#name { color: rgb(1, 2, 3); } :root { --ink: rgb(4, 5, 6); }";
          document.querySelector("head").appendChild(style);
        }"""
    )
    ident = chat.put("Look.", duration_s=4)
    wait_until(lambda: ident in chat.told("started"), "it plays")
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert page.evaluate(style.format("#name", "color")) == "rgb(1, 2, 3)"
    assert page.evaluate(style.format("#text", "fontSize")) == "40px"
    assert page.evaluate("document.querySelector('#card').getBoundingClientRect().right") > 800
    assert page.evaluate("document.documentElement.style.getPropertyValue('--accent')") == "#ff8800"


def test_a_browser_wants_one_click(browser: Any, chat: ChatServer) -> None:
    page = browser.new_page()
    page.add_init_script(TAP)
    page.goto(f"{chat.url}/overlay?token={TOKEN}")
    page.wait_for_selector("#unlock:not([hidden])")
    assert chat.streams == {}, "who cannot sound does not take the place of one that can"
    ident = chat.put("Now it is heard.", duration_s=0.5)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_until(lambda: chat.told("finished") == [ident], "it is heard")
    assert page.evaluate("window.tap.loudSpans.length") == 1
    assert page.is_hidden("#unlock")
    page.close()


def test_a_wrong_address_is_told_to_who_sets_it_up(obs: Any, chat: ChatServer) -> None:
    context = obs.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(f"{chat.url}/overlay?token=wrong")
    page.wait_for_selector("#notice:not([hidden])")
    assert "叠加层" in page.inner_text("#notice")
    context.close()


def test_it_looks_good(chat: ChatServer, overlay: Callable[..., Any]) -> None:
    shots = os.environ.get("PAGE_SCREENSHOTS")
    if not shots:
        pytest.skip("PAGE_SCREENSHOTS names no folder")
    for theme in ("card", "light", "bubble", "bar", "neon", "plain"):
        page = overlay(f"&theme={theme}&overlay={theme}", place=theme)
        speaks(page)
        # As of a game behind it.
        page.add_style_tag(content="html { background: linear-gradient(160deg, #27515f, #3c2f5c 60%, #7a3f4b); }")
        paid = {"amount": "5", "currency": "EUR"}
        ident = chat.put("Good game! That last round was really something else 🎉", user="Mai_chan", paid=paid,
                         priority="paid", duration_s=4)  # fmt: skip
        until(page, "document.querySelector('#text .now')?.textContent === 'round'")
        page.screenshot(path=str(Path(shots) / f"overlay-{theme}.png"))
        page.close()
        chat.stop(ident)
        wait_until(lambda: not chat.streams, "it is gone")
