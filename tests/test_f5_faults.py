"""What the F5-TTS engines say of files and settings that cannot be: at once, and whether the user has to change
something (InvalidSetting) or somebody may try again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_hub import FakeHub
from ishowtts.engines.f5.hub import Hub, Source
from ishowtts.errors import InvalidSetting, Unavailable

pytest.importorskip("huggingface_hub")

SOURCE = Source("someone/fine-tune", "model.safetensors")
CONTENT = bytes(range(256)) * 64


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub() as server:
        server.put("someone/fine-tune/model.safetensors", CONTENT)
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited for."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture
def hub(server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Hub:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Hub(endpoint=server.endpoint, cache=tmp_path / "cache", waits_s=(1.0, 2.0))


class TestWhoHasToMendIt:
    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_the_user_what_the_hub_does_not_give(self, hub: Hub, server: FakeHub, status: int) -> None:
        server.status = status
        with pytest.raises(InvalidSetting, match="someone/fine-tune"):
            hub.fetch(SOURCE)

    def test_the_user_what_is_misspelt_or_may_not_be_fetched(self, hub: Hub) -> None:
        for wrong in (
            replace(SOURCE, path="other.pt"),
            replace(SOURCE, repository="someone/other"),
            replace(SOURCE, repository="some one/fine tune"),
            replace(SOURCE, repository="someone/" + "n" * 200),
        ):
            with pytest.raises(InvalidSetting):
                hub.fetch(wrong)
        for address in ("hf://one/two", "hf://a//b"):
            with pytest.raises(InvalidSetting, match="no address"):
                Source.parse(address)
        with pytest.raises(InvalidSetting, match="forbids to fetch"):
            replace(hub, offline=True).fetch(SOURCE)

    def test_nobody_what_a_network_loses(self, hub: Hub, server: FakeHub) -> None:
        server.status = 503
        for place in (hub, replace(hub, endpoint="http://127.0.0.1:9")):
            with pytest.raises(Unavailable, match="try again later") as raised:
                place.fetch(SOURCE)
            assert not isinstance(raised.value, InvalidSetting)
