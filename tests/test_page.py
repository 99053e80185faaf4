"""The page at / in a real browser: what a person types, hears, sees and keeps."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
from harness import Server, steadily, wait_until, wav_samples

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
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, accept_downloads=True, locale="en-GB")
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.add_init_script(TAP)
    opened.goto(f"{hibari.url}/")
    opened.wait_for_selector("#voice option", state="attached")
    opened.wait_for_selector("#state[data-state=good]")
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
          new MutationObserver(() => {
            const now = document.querySelector("#reading .now")?.textContent;
            if (now && window.marked.at(-1) !== now) window.marked.push(now);
          }).observe(document.querySelector("#reading"), { subtree: true, attributes: true, childList: true });
        }"""
    )

    def marked() -> list[str]:
        page.evaluate("window.marked = []")
        page.fill("#text", "It costs $100 at 9:30PM 🎉 today.")
        page.click("#speak")
        page.wait_for_selector("#stop:not([disabled])")
        page.wait_for_selector("#stop[disabled]", timeout=30_000)
        found = list(page.evaluate("window.marked"))
        assert found == [word for word in ["It", "costs", "$100", "at", "9:30PM", "today."] if word in found]
        return found

    found = steadily(marked, lambda found: len(found) >= 5)
    assert len(found) >= 5, found


def test_the_keyboard_is_enough(page: Any) -> None:
    assert page.evaluate("document.activeElement.id") == "text"
    order = []
    page.focus("#text")
    for _ in range(3):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order == ["speak", "voice", "engine"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.focus("#text")
    page.keyboard.type("Hello from the keyboard, without a mouse.")
    page.keyboard.press("Control+Enter")
    until(page, "window.heard.energy > 1")
    assert page.evaluate("document.querySelector('.top nav [aria-current]').hash") == "#speak"
    page.keyboard.press("Escape")
    page.wait_for_selector("#stop[disabled]")


UNNAMED = """[...document.querySelectorAll("textarea, select, input, button, a, progress, canvas:not([aria-hidden])")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
  .map((one) => one.outerHTML).join()"""


@pytest.mark.parametrize("view", ["speak", "voices", "chat", "dashboard"])
def test_every_view_tells_its_name_to_those_who_do_not_see_it(page: Any, view: str) -> None:
    page.click(f"nav a[href='#{view}']")
    page.wait_for_selector(f"#{view}-view:not([hidden])")
    assert page.locator("nav [aria-current=page]").count() == 1
    if view == "dashboard":
        until(page, "document.querySelector('#engines tbody td') !== null")
    wait_until(lambda: page.evaluate(UNNAMED) == "", "all has a name")


def test_stop_is_silence(page: Any) -> None:

    def peak_after_stop() -> float:
        page.evaluate("window.heard.peak = 0")
        page.fill("#text", TEXT)
        page.click("#speak")
        until(page, "window.heard.peak > 0.02")
        page.click("#stop")
        page.wait_for_timeout(100)
        page.evaluate("window.heard.peak = 0")
        page.wait_for_timeout(300)
        return float(page.evaluate("window.heard.peak"))

    assert steadily(peak_after_stop, lambda peak: peak < 1e-4) < 1e-4


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
    for path in (
        "/",
        "/overlay",
        "/web/studio/main.js",
        "/web/studio/base.css",
        "/web/icon.svg",
        "/web/overlay/main.js",
    ):
        reply = hibari.get(path)
        assert reply.status == 200
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert ("unsafe-inline" in policy) == (path == "/overlay"), "OBS adds a style to the overlay, and nothing else"
        assert b"https://" not in reply.body
    assert hibari.get("/web/none.js").error["code"] == "path_not_found"
    assert hibari.get("/web/..%2fengine.py").status == 404
    assert hibari.get("/web/studio/..%2f..%2fengine.py").status == 404


def test_history_is_kept_heard_and_used_again(page: Any, tmp_path: Path) -> None:
    for text in ("The first one.", "The second one, a little longer."):
        page.fill("#text", text)
        page.click("#speak")
        page.locator("#history .line", has_text=text).wait_for()
    page.reload()
    page.wait_for_selector("#history li")
    assert page.locator("#history .line").all_inner_texts() == ["The second one, a little longer.", "The first one."]
    with page.expect_download() as downloaded:
        page.locator("#history li").nth(1).get_by_role("button", name="Download").click()
    downloaded.value.save_as(tmp_path / "first.wav")
    assert 10_000 < wav_samples((tmp_path / "first.wav").read_bytes()).size < 60_000
    page.locator("#history li").nth(1).get_by_role("button", name="Use this text").click()
    assert page.input_value("#text") == "The first one."
    page.locator("#history li").nth(0).get_by_role("button", name="Remove").click()
    until(page, "document.querySelectorAll('#history li').length === 1")
    page.click("#history-clear")
    page.click("#history-clear")
    page.wait_for_selector("#history-none:not([hidden])")


def test_the_history_is_bounded(page: Any) -> None:
    count = page.evaluate(
        """async () => {
          const { History, MOST_ENTRIES } = await import("/web/studio/store.js");
          const history = new History();
          for (let n = 0; n < MOST_ENTRIES + 5; n++) await history.add({ text: String(n), wav: new Blob(["x"]) });
          const all = await history.all();
          return [all.length - MOST_ENTRIES, all[0].text];
        }"""
    )
    assert count == [0, "54"]


def test_an_engine_has_the_controls_of_its_schema(page: Any) -> None:
    schema = {
        "type": "object",
        "properties": {
            "nfe_steps": {
                "anyOf": [{"type": "integer", "minimum": 4, "maximum": 64}, {"const": "auto"}],
                "default": 32,
            },
            "cfg_strength": {"type": "number", "minimum": 0, "maximum": 10},
            "schedule": {"enum": ["epss", "linear"]},
            "remove_silence": {"type": "boolean", "default": False},
            "normalize": {"type": "boolean"},
            "style": {"type": "string"},
        },
    }
    model = {"id": "f5", "state": "ready", "params": schema, "device": "cuda", "sample_rate_hz": 24000, "licence": "x",
             "languages": [], "clones_voices": True}  # fmt: skip
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": [{**model, "id": "a"}, model]}))
    asked: list[dict[str, Any]] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(status=422, json={"error": {"message": "no", "code": "x", "type": "x", "param": None}})

    page.route("**/v1/tts", refuse)
    page.reload()
    page.wait_for_selector("#engine option[value=f5]", state="attached")
    assert page.is_hidden("#params")
    page.select_option("#engine", "f5")
    page.locator("#param-nfe_steps").fill("8")
    page.locator("#param-cfg_strength").fill("3")
    page.select_option("#param-schedule", "linear")
    page.check("#param-remove_silence")
    page.fill("#seed", "7")
    page.fill("#text", "Hello.")
    page.click("#speak")
    page.wait_for_selector("#problem:not([hidden])")
    assert asked[0]["params"] == {"nfe_steps": 8, "cfg_strength": 3, "schedule": "linear", "remove_silence": True}
    assert (asked[0]["engine"], asked[0]["seed"]) == ("f5", 7)
    page.click("#params-reset")
    page.click("#speak")
    wait_until(lambda: len(asked) == 2, "asked again")
    assert "params" not in asked[1]


def test_pictures_show_the_sound(page: Any) -> None:
    page.fill("#text", "A picture of this.")
    page.click("#speak")
    page.wait_for_selector("#stop[disabled]", timeout=30_000)
    painted = """(id) => {
      const canvas = document.getElementById(id);
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const colours = new Set();
      for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 4).join());
      return colours.size;
    }"""
    assert page.evaluate(painted, "waveform") > 1
    assert page.evaluate(painted, "spectrogram") > 50
    loudest = page.evaluate(
        """async () => {
          const { spectrumAt } = await import("/web/studio/draw.js");
          const tone = Float32Array.from({ length: 2048 }, (_, n) => 0.5 * Math.sin(2 * Math.PI * 1500 * n / 24000));
          const levels = [...spectrumAt(tone, 500)];
          return [levels.indexOf(Math.max(...levels)), Math.max(...levels)];
        }"""
    )
    assert loudest[0] == 32
    assert abs(loudest[1] + 6) < 0.5


def test_languages_have_the_same_words(page: Any) -> None:
    words = page.evaluate(
        """async () => {
          const { LANGUAGES, dictionary } = await import("/web/shared/words.js");
          const all = {};
          for (const language of Object.keys(LANGUAGES)) all[language] = await dictionary(language);
          return all;
        }"""
    )
    assert list(words) == ["en", "zh", "vi"]
    values = {
        language: {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in all.items()}
        for language, all in words.items()
    }
    assert values["zh"] == values["en"]
    assert values["vi"] == values["en"]
    for language, heading in (("zh", "历史记录"), ("vi", "Lịch sử"), ("en", "History")):
        page.select_option("#language", language)
        until(page, f"document.documentElement.lang === '{language}'")
        assert page.inner_text("#history-title") == heading
        left = page.evaluate("[...document.querySelectorAll('body *')].map((one) => one.textContent).join()")
        assert not re.search(r"\b(nav|speak|voices|chat|dashboard|history)\.[a-z_]+\b", left)
    page.select_option("#language", "vi")
    page.reload()
    until(page, "document.documentElement.lang === 'vi'")


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PAIRS = [("ink", "back"), ("ink", "panel"), ("ink", "raised"), ("quiet", "panel"), ("quiet", "back"),
         ("quiet", "raised"), ("accent-ink", "accent-soft"), ("accent-ink", "panel"), ("on-accent", "accent"),
         ("good", "good-soft"), ("wait", "wait-soft"), ("bad", "bad-soft"), ("bad", "panel"), ("mark-ink", "mark"),
         ("ink", "accent-soft")]  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_is_enough(page: Any, theme: str) -> None:
    if page.evaluate("document.documentElement.dataset.theme") != theme:
        page.click("#theme")
    for ink, ground in PAIRS:
        colours = page.evaluate(
            """(names) => names.map((name) => {
              const probe = document.body.appendChild(document.createElement("i"));
              probe.style.color = `var(--${name})`;
              const { color } = getComputedStyle(probe);
              probe.remove();
              return color;
            })""",
            [ink, ground],
        )
        light, dark = sorted(map(luminance, colours), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (theme, ink, ground, colours)


def test_the_dashboard_tells_what_metrics_tell(page: Any, hibari: Server) -> None:
    hibari.speak("Something to count.", voice="hazel")
    page.click("nav a[href='#dashboard']")
    until(page, "parseFloat(document.querySelector('#tile-rtf')?.textContent) > 0")
    assert 0 < float(page.inner_text("#tile-ttfa").split()[0]) < 30_000

    def memory_is_told() -> bool:
        told_mb = float(page.inner_text("#tile-memory").split()[0])
        return abs(told_mb - hibari.metrics()["process_resident_memory_bytes"] / 1e6) < 60

    wait_until(memory_is_told, "the memory of now")
    assert "hibari" in page.inner_text("#engines")


def test_quantiles_are_those_of_what_was_counted_between(page: Any) -> None:
    found = page.evaluate(
        """async () => {
          const { parse, quantile, grown } = await import("/web/studio/prometheus.js");
          const text = (a, b, c) => ["# HELP t_ms x", `t_ms_bucket{le="10"} ${a}`, `t_ms_bucket{le="20"} ${b}`,
            `t_ms_bucket{le="+Inf"} ${c}`, `n_total{route="/a\\"b",status="500"} ${c}`].join("\\n");
          const [before, after] = [parse(text(5, 5, 5)), parse(text(5, 15, 15))];
          return [quantile(before, after, "t_ms", 0.5), quantile(after, after, "t_ms", 0.5),
            grown(before, after, "n_total", ({ route }) => route.startsWith("/a")), grown(after, before, "n_total")];
        }"""
    )
    assert found == [15, None, 10, 5]


@pytest.fixture
def cloner(start: Callable[..., Server]) -> Server:
    """An engine that speaks with anybody's voice."""
    return start(engine="fake")


@pytest.fixture
def speaker(chromium: Callable[..., Any], cloner: Server, tmp_path: Path) -> Iterator[Any]:
    """Somebody with a microphone, into which they hum."""
    (tmp_path / "said.wav").write_bytes(clips.wav(seconds=8))
    microphone = f"--use-file-for-fake-audio-capture={tmp_path / 'said.wav'}"
    launched = chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", microphone)
    context = launched.new_context(permissions=["microphone"], locale="en-GB", viewport={"width": 1200, "height": 1000})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.add_init_script(TAP)
    opened.goto(f"{cloner.url}/#voices")
    opened.wait_for_selector("#voices li")
    yield opened
    context.close()
    assert problems == []


def own_voices(server: Server) -> dict[str, Any]:
    listed = json.loads(server.get("/v1/voices").body)["voices"]
    return {voice["id"]: voice for voice in listed if voice["origin"] == "user"}


def test_a_recording_becomes_a_voice_that_is_heard_and_removed(speaker: Any, cloner: Server) -> None:
    # Twice: whoever is impatient has one recording all the same.
    speaker.evaluate("document.querySelector('#record').click(); document.querySelector('#record').click()")
    until(speaker, "parseFloat(document.querySelector('#record-time').textContent) > 4")
    speaker.click("#record")
    speaker.wait_for_selector("#voice-preview:not([hidden])")
    speaker.fill("#voice-name", "Giọng của tôi")
    speaker.fill("#voice-text", "What was said.")
    speaker.check("#voice-consent")
    speaker.click("#voice-send")
    speaker.wait_for_selector("#voice-told .good")
    assert "Giọng của tôi" in speaker.inner_text("#voice-told .good")
    (voice,) = own_voices(cloner).values()
    assert (voice["id"], voice["name"], voice["cloned"]) == ("giong-cua-toi", "Giọng của tôi", True)
    assert voice["reference_text"] == "What was said."
    kept = wav_samples(cloner.get("/v1/voices/giong-cua-toi/audio").body)
    assert kept.size > 2 * clips.RATE_HZ
    assert np.abs(kept).max() > 1000
    card = speaker.locator("#voice-giong-cua-toi")
    with speaker.expect_response("**/v1/voices/giong-cua-toi/preview") as heard:
        card.get_by_role("button", name="Listen").click()
    assert heard.value.status == 200
    card.get_by_role("button", name="Speak with it").click()
    assert speaker.input_value("#voice") == "giong-cua-toi"
    speaker.fill("#text", "This is my own voice.")
    speaker.click("#speak")
    until(speaker, "window.heard.energy > 1")
    speaker.click("nav a[href='#voices']")
    remove = card.locator(".danger")
    remove.click()
    remove.click()
    card.wait_for(state="detached")
    assert own_voices(cloner) == {}


def test_a_file_becomes_a_voice_and_what_is_wrong_with_it_is_told(speaker: Any, cloner: Server, tmp_path: Path) -> None:
    def add(name: str, clip: bytes) -> None:
        (tmp_path / "clip.wav").write_bytes(clip)
        speaker.set_input_files("#voice-file", str(tmp_path / "clip.wav"))
        speaker.fill("#voice-name", name)
        speaker.fill("#voice-text", "What was said.")
        speaker.check("#voice-consent")
        speaker.click("#voice-send")
        speaker.wait_for_selector("#voice-told .good, #voice-told .problem")

    add("小明", clips.wav())
    assert "小明" in speaker.inner_text("#voice-told .good")
    (voice,) = own_voices(cloner).values()
    assert voice["name"] == "小明"
    assert speaker.locator("#voices li", has_text="小明").count() == 1
    add("Heart", clips.wav())
    assert sorted(own_voices(cloner)) == ["heart-2", voice["id"]], "the shipped one stays what it is"
    for name, clip in (("Mine", b"no sound at all"), ("Mine", clips.wav(seconds=0.2))):
        add(name, clip)
        assert speaker.inner_text("#voice-told .problem")
    assert len(own_voices(cloner)) == 2


def test_what_the_server_had_to_listen_for_is_shown(speaker: Any) -> None:
    """Somebody must look whether it is right. The answer is made up: listening takes a model of its own."""
    sent: list[bytes] = []

    def take(route: Any) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        sent.append(route.request.post_data_buffer or b"")
        voice = {"id": "mine", "name": "Mine", "languages": ["en"], "description": "", "licence": "",
                 "reference_text": "What was said."}  # fmt: skip
        clip = {"duration_s": 1.2, "snr_db": 31.0}
        route.fulfill(status=201, json={"voice": voice, "clip": clip, "warnings": []})

    speaker.route("**/v1/voices", take)
    speaker.fill("#voice-name", "Mine")
    speaker.set_input_files("#voice-file", {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"RIFF"})
    speaker.check("#voice-consent")
    speaker.click("#voice-send")
    speaker.get_by_text("Heard in it: “What was said.”").wait_for()
    assert b'name="text"' not in sent[0]
