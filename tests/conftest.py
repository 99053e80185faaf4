"""Servers, browsers and small models that tests share. Each worker of pytest-xdist has its own."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import Server

# Not where a test without them has to do without torch.
if TYPE_CHECKING:
    from f5_model import Small
    from ishowtts.engine import Conditioning
    from ishowtts.engines.f5.dit import DiT
    from ishowtts.engines.f5.engine import F5

# A shell's background job has SIGINT ignored, and so would all programs that are started here: as it is in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def hibari(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The program as it comes: default engine, default voice, nothing configured."""
    with Server(tmp_path_factory.mktemp("hibari")) as server:
        yield server


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The fake engine as fast as it goes, with its faults."""
    with Server(tmp_path_factory.mktemp("tone"), engine="fake", config="[engines.fake]\nfaults = true\n") as server:
        yield server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[..., Any]]:
    """Starts Debian's Chromium with arguments. Of a module: while it runs, its thread can run no other event loop."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with ExitStack() as stack:
        play = stack.enter_context(playwright.sync_playwright())

        def launched(*arguments: str) -> Any:
            browser = play.chromium.launch(
                executable_path=program,
                args=["--no-sandbox", "--mute-audio", "--disable-dev-shm-usage", *arguments],
                timeout=120_000,
            )
            stack.callback(browser.close)
            return browser

        yield launched


@pytest.fixture(scope="module")
def browser(chromium: Callable[..., Any]) -> Any:
    """As people have it."""
    return chromium()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own; they end with the test."""
    with ExitStack() as stack:
        count = 0

        def started(**options: Any) -> Server:
            nonlocal count
            count += 1
            home = tmp_path / f"server{count}"
            home.mkdir()
            return stack.enter_context(Server(home, **options))

        yield started


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The files of a small F5-TTS."""
    import f5_model

    return f5_model.write(tmp_path_factory.mktemp("f5"))


@pytest.fixture(scope="module")
def loaded(small: Small) -> Iterator[F5]:
    engine = small.engine()
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded: F5) -> Iterator[F5]:
    """``loaded`` with all slots free, before and after."""
    yield loaded
    for slot in range(loaded.info.max_slots):
        loaded.cancel(slot)


@pytest.fixture(scope="module")
def hum(small: Small, loaded: F5) -> Conditioning:
    """The small model's voice, prepared."""
    return loaded.prepare(small.voice())


@pytest.fixture(scope="module")
def dit(small: Small) -> DiT:
    """The small model's network alone."""
    import f5_model

    return f5_model.load_dit(small.files.checkpoint)
