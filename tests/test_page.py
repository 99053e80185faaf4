"""The page at / in a real browser: what a person types, hears, sees and keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Server, wait_until, wav_samples

TEXT = "Welcome to the stream. It costs $100 at 9:30PM, and every word of it is marked. This is the last sentence."

# Whatever reaches the speakers also reaches an analyser of ours; when network bytes came is kept too.
TAP = """
const connect = AudioNode.prototype.connect;
window.heard = { peak: 0, energy: 0, firstAt: null };
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode && this instanceof AudioBufferSourceNode) {
    const samples = this.buffer.getChannelData(0);
    window.heard.energy += samples.reduce((sum, sample) => sum + sample * sample, 0);
    const analyser = window.heard.analyser ??= this.context.createAnalyser();
    connect.call(this, analyser);
    window.heard.firstAt ??= performance.now();
    const look = () => {
      const now = new Float32Array(analyser.fftSize);
      analyser.getFloatTimeDomainData(now);
      window.heard.peak = Math.max(window.heard.peak, ...now.map(Math.abs));
      setTimeout(look, 20);
    };
    look();
  }
  return connect.call(this, target, ...rest);
};
const url = URL.createObjectURL;
URL.createObjectURL = (blob) => { window.heard.lastAt = performance.now(); return url.call(URL, blob); };
"""


@pytest.fixture
def page(browser: Any, hibari: Server) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 900, "height": 760}, accept_downloads=True)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.add_init_script(TAP)
    opened.goto(f"{hibari.url}/")
    opened.wait_for_selector("#voice option", state="attached")
    yield opened
    context.close()
    assert [problem for problem in problems if "status of 4" not in problem] == []


def until(page: Any, expression: str) -> None:
    """Asks from outside: the page's policy forbids its own scripts to evaluate text."""
    wait_until(lambda: page.evaluate(expression), expression)


def test_a_text_is_heard_seen_and_kept(page: Any, hibari: Server, tmp_path: Path) -> None:
    page.fill("#text", TEXT)
    page.select_option("#voice", "wren")
    page.click("#speak")
    page.wait_for_selector("#reading .now")
    until(page, "window.heard.peak > 0.02")
    assert page.inner_text("#reading") == TEXT
    if shots := os.environ.get("PAGE_SCREENSHOTS"):
        until(page, "document.querySelector('#reading .now')?.textContent.includes('$100')")
        page.screenshot(path=str(Path(shots) / "page.png"))
    page.wait_for_selector("#download:not([hidden])")
    assert page.evaluate("window.heard.firstAt < window.heard.lastAt"), "sound before the last byte"
    with page.expect_download() as downloaded:
        page.click("#download")
    downloaded.value.save_as(tmp_path / "speech.wav")
    kept = wav_samples((tmp_path / "speech.wav").read_bytes())
    assert np.abs(kept.astype(int) - hibari.speak(TEXT, voice="wren").pcm.astype(int)).max() <= 1
    page.wait_for_selector("#stop[disabled]", timeout=60_000)
    assert page.locator("#reading .now").count() == 0
    assert page.evaluate("document.querySelector('#progress').value") == 1


def test_words_are_marked_one_after_the_other(page: Any) -> None:
    page.evaluate(
        """() => {
          window.marked = [];
          new MutationObserver(() => {
            const now = document.querySelector("#reading .now")?.textContent;
            if (now && window.marked.at(-1) !== now) window.marked.push(now);
          }).observe(document.querySelector("#reading"), { subtree: true, attributes: true, childList: true });
        }"""
    )
    page.fill("#text", "It costs $100 at 9:30PM 🎉 today.")
    page.click("#speak")
    page.wait_for_selector("#stop:not([disabled])")
    page.wait_for_selector("#stop[disabled]", timeout=30_000)
    marked = page.evaluate("window.marked")
    assert marked == [word for word in ["It", "costs", "$100", "at", "9:30PM", "today."] if word in marked]
    assert len(marked) >= 5, marked


def test_the_keyboard_is_enough(page: Any) -> None:
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("Hello from the keyboard, without a mouse.")
    page.keyboard.press("Control+Enter")
    until(page, "window.heard.energy > 1")
    page.keyboard.press("Escape")
    page.wait_for_selector("#stop[disabled]")
    order = []
    page.focus("#text")
    for _ in range(3):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order == ["voice", "speed", "speak"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    unnamed = page.evaluate(
        """[...document.querySelectorAll("textarea, select, input, button, a, progress")]
             .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim())).length"""
    )
    assert unnamed == 0


def test_stop_is_silence(page: Any) -> None:
    page.fill("#text", TEXT)
    page.click("#speak")
    until(page, "window.heard.peak > 0.02")
    page.click("#stop")
    page.evaluate("window.heard.peak = 0")
    page.wait_for_timeout(100)
    page.evaluate("window.heard.peak = 0")
    page.wait_for_timeout(300)
    assert page.evaluate("window.heard.peak") < 1e-4


def test_an_error_is_told_in_words_and_the_next_try_works(page: Any) -> None:
    page.fill("#text", "...")
    page.click("#speak")
    page.wait_for_selector("#problem:not([hidden])")
    told = page.inner_text("#problem")
    assert "nothing to say" in told
    assert page.get_attribute("#problem", "role") == "alert"
    page.fill("#text", "This works again.")
    page.click("#speak")
    until(page, "window.heard.energy > 1")
    assert page.is_hidden("#problem")


def test_markup_is_text(page: Any) -> None:
    page.fill("#text", "Say <img src=x onerror=alert(1)> and <b>go</b>.")
    page.click("#speak")
    page.wait_for_selector("#reading span")
    assert page.locator("#reading img, #reading b").count() == 0
    page.click("#stop")


def test_nothing_comes_from_elsewhere(hibari: Server) -> None:
    for path in ("/", "/web/app.js", "/web/style.css", "/web/icon.svg"):
        reply = hibari.get(path)
        assert reply.status == 200
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert b"https://" not in reply.body
    assert hibari.get("/web/none.js").error["code"] == "path_not_found"
    assert hibari.get("/web/..%2fengine.py").status == 404
