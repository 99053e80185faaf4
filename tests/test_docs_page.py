"""The page at /docs in a real browser: all of the API is there, can be read, and can be tried."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Server, wait_until


@pytest.fixture
def page(browser: Any, hibari: Server) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 900, "height": 900})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(f"{hibari.url}/docs")
    opened.wait_for_selector("#schemas")
    yield opened
    context.close()
    assert [problem for problem in problems if "status of 4" not in problem] == []


def test_all_of_the_document_is_there(page: Any, hibari: Server) -> None:
    document = json.loads(hibari.get("/openapi.json").body)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shown = page.inner_text(f"#{operation['operationId']} > summary")
            assert method.upper() in shown
            assert path in shown
            answers = page.locator(f"#{operation['operationId']} > .inside > details > summary").all_text_contents()
            assert [answer.split()[0] for answer in answers] == list(operation["responses"])
    for name in document["components"]["schemas"]:
        assert page.locator(f"#schema-{name}").count() == 1
    assert "undefined" not in page.inner_text("body")
    assert "[object" not in page.text_content("body")


def test_a_request_is_tried_and_heard(page: Any) -> None:
    page.click("#speak > summary")
    if shots := os.environ.get("PAGE_SCREENSHOTS"):
        page.screenshot(path=str(Path(shots) / "docs.png"))
    page.fill("#speak-body", json.dumps({"text": "It's tried here."}))
    assert page.inner_text("#speak .curl").endswith("""-d '{"text": "It'\\''s tried here."}' '""" + page.url.replace(
        "/docs", "/v1/tts'"))  # fmt: skip
    page.click("#speak .send")
    page.wait_for_selector("#speak audio")
    # Asked from outside: the page's policy forbids its own scripts to evaluate text.
    heard = "document.querySelector('#speak audio').duration > 0.5"
    wait_until(lambda: page.evaluate(heard), heard)
    page.select_option("#speak-example", "events")
    page.click("#speak .send")
    page.wait_for_selector("#speak [aria-live] pre")
    assert '"type":"caption"' in page.inner_text("#speak [aria-live] pre")


def test_an_error_is_shown_as_it_is(page: Any) -> None:
    page.click("#speak > summary")
    page.fill("#speak-body", '{"text": ""}')
    page.click("#speak .send")
    page.wait_for_selector("#speak .failed")
    assert page.inner_text("#speak .failed").startswith("400 application/json")
    assert "input_missing" in page.inner_text("#speak [aria-live] pre")


def test_links_unfold_what_they_lead_to_and_keys_are_enough(page: Any) -> None:
    page.click("#captions > summary")
    page.locator('#captions a[href="#schema-Captions"]').first.evaluate(
        "link => { link.closest('details').open = true }"
    )
    page.locator('#captions a[href="#schema-Captions"]').first.click()
    assert page.locator("#schema-Captions").evaluate("details => details.open")
    page.goto(page.url.split("#")[0])
    page.wait_for_selector("#schemas")
    page.focus("#healthz > summary")
    page.keyboard.press("Enter")
    page.locator("#healthz .send").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#healthz [aria-live] pre")
    assert page.inner_text("#healthz [aria-live] pre") == "ok"
