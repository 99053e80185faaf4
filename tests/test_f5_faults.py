"""What the F5-TTS engines say of files and settings that cannot be: at once, and whether the user has to change
something (InvalidSetting) or somebody may try again."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_hub import FakeHub
from ishowtts.engines.f5 import config, models, weights
from ishowtts.engines.f5.hub import FetchFailed, Hub, NoCache, Source
from ishowtts.errors import InvalidSetting, Unavailable

pytest.importorskip("huggingface_hub")

SOURCE = Source("someone/fine-tune", "model.safetensors")
CONTENT = bytes(range(256)) * 64
OLDER, NEWER = "a" * 40, "b" * 40


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


class TestCache:
    def told(self, hub: Hub, waits: list[float], kind: type[FetchFailed]) -> str:
        with pytest.raises(kind, match=r"cannot be kept in the cache: .*HF_HUB_CACHE names another place") as raised:
            hub.fetch(SOURCE)
        assert [wait for wait in waits if wait] == [], "no disk changes by waiting"
        assert type(raised.value) is kind
        return str(raised.value)

    def test_below_a_file_is_none(self, hub: Hub, waits: list[float], tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "Not a directory" in self.told(replace(hub, cache=tmp_path / "file" / "cache"), waits, NoCache)

    def test_with_a_name_too_long_is_none(self, hub: Hub, waits: list[float], tmp_path: Path) -> None:
        assert "File name too long" in self.told(replace(hub, cache=tmp_path / ("x" * 300)), waits, NoCache)

    @pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ELOOP])
    def test_that_cannot_be_one(self, hub: Hub, waits: list[float], number: int, monkeypatch: Any) -> None:
        monkeypatch.setattr(Hub, "_download", raising(number))
        assert os.strerror(number) in self.told(hub, waits, NoCache)

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE])
    def test_whose_disk_gives_up(self, hub: Hub, waits: list[float], number: int, monkeypatch: Any) -> None:
        monkeypatch.setattr(Hub, "_download", raising(number))
        assert os.strerror(number) in self.told(hub, waits, FetchFailed)

    def test_that_cannot_be_read_is_told(self, hub: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        hub.fetch(SOURCE)
        monkeypatch.setattr("ishowtts.engines.f5.hub._checksum", raising(errno.EIO))
        self.told(replace(hub, records=hub.cache), waits, FetchFailed)

    def test_a_socket_is_no_disk(self, hub: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Hub, "_download", raising(errno.ECONNRESET))
        with pytest.raises(FetchFailed, match="the connection fails"):
            hub.fetch(SOURCE)
        assert [wait for wait in waits if wait] == [1.0, 2.0]


class TestVocoderThatMoved:
    @pytest.fixture(autouse=True)
    def vocoder(self, server: FakeHub) -> None:
        server.put("someone/vocos/config.yaml", b"{}", large=False)
        server.put("someone/vocos/pytorch_model.bin", CONTENT)

    def resolve(self, hub: Hub, tmp_path: Path) -> Path:
        for name in ("model.pt", "vocab.txt"):
            (tmp_path / name).write_bytes(b" \n")
        options = {"checkpoint": str(tmp_path / "model.pt"), "vocoder": "someone/vocos"}
        return weights.resolve(options, hub).vocoder_dir

    def test_comes_whole_of_the_later_commit(self, hub: Hub, server: FakeHub, tmp_path: Path) -> None:
        server.commit = OLDER
        hub.fetch(Source("someone/vocos", "config.yaml"))
        server.commit = NEWER
        server.put("someone/vocos/config.yaml", b"{1: 2}", large=False)
        found = self.resolve(hub, tmp_path)
        assert found.name == NEWER
        assert (found / "config.yaml").read_bytes() == b"{1: 2}"
        assert (found / "pytorch_model.bin").read_bytes() == CONTENT
        asked = len(server.asked)
        assert self.resolve(replace(hub, offline=True), tmp_path) == found
        assert len(server.asked) == asked

    def test_again_and_again_is_told(self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        count = iter(range(100))
        monkeypatch.setattr(Hub, "fetch", lambda _, source: tmp_path / str(next(count)) / source.path)
        with pytest.raises(FetchFailed, match="someone/vocos changed while its files were fetched"):
            self.resolve(hub, tmp_path)


ARCH = {"dim": 64, "depth": 2, "heads": 2, "text_dim": 32, "conv_layers": 1}


class TestConfigurations:
    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"mel_spec": [1]}, "mel_spec must be a table"),
            ({"mel_spec": "vocos"}, "mel_spec must be a table"),
            ({"mel_spec": {"target_sample_rate": float("nan")}}, "target_sample_rate is nan"),
            ({"arch": [1]}, "has no model.backbone and model.arch"),
            ({"backbone": {}}, "has no model.backbone and model.arch"),
            ({"arch": ARCH | {"depth": 1_000_000}}, "depth is 1000000; 256 at most"),
            ({"arch": ARCH | {"conv_layers": 10**30}}, "conv_layers is 1"),
            ({"arch": ARCH | {"dim": float("inf")}}, "dim is inf; 8192 at most"),
            ({"arch": ARCH | {"heads": float("nan")}}, "heads is nan"),
            ({"arch": ARCH | {"ff_mult": 2.5}}, "ff_mult must be a whole number"),
            ({"arch": ARCH | {"pe_attn_head": -1}}, "size below"),
            ({"arch": ARCH | {"depth": "two"}}, "depth must be a whole number"),
            ({"arch": ARCH | {"depth": -3}}, "size below 1"),
        ],
    )
    def test_that_nobody_could_run_are_refused(self, tmp_path: Path, changed: dict[str, Any], told: str) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"model": {"backbone": "DiT", "arch": ARCH} | changed}))
        started = time.monotonic()
        with pytest.raises(InvalidSetting, match=told):
            config.architecture(models.configuration(str(path)))
        assert time.monotonic() - started < 30

    @pytest.mark.parametrize(
        "content",
        [b"a: " + b"9" * 5000, b"[" * 2000, b"a: 2024-13-45", b"\xff", b"a: \0"],
        ids=["digits", "depth", "date", "bytes", "nul"],
    )
    def test_that_are_no_yaml_are_told(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "mine.yaml"
        path.write_bytes(content)
        with pytest.raises(InvalidSetting, match=r"mine\.yaml is not YAML"):
            models.configuration(str(path))


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-of-that-name/x", "a\0b"], ids=["long", "home", "nul"])
def test_names_that_no_file_can_have(hub: Hub, tmp_path: Path, name: str) -> None:
    for key in ("model", "checkpoint", "vocab", "vocoder"):
        good = {"checkpoint": str(tmp_path / "model.pt"), "vocoder": "someone/vocos"}
        (tmp_path / "model.pt").touch()
        with pytest.raises(InvalidSetting):
            weights.resolve(good | {key: name}, hub)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"max_slots": 1_000_000_000}, "max_slots must be from 0 to 1024, not 1000000000"),
        ({"max_slots": 1025}, "max_slots must be from 0 to 1024"),
        ({"max_slots": -1}, "max_slots must not be negative"),
        ({"max_slots": 2.0}, "max_slots must be a whole number"),
        ({"max_slots": True}, "max_slots must be a whole number"),
        ({"memory_mb": 2**63 - 1}, "memory_mb must be at most 16777216"),
        ({"text_cache_mb": 2**63 - 1}, "text_cache_mb must be at most"),
        ({"reference_cache_mb": float("nan")}, "reference_cache_mb must be a whole number"),
        ({"nfe_steps": 2**63}, "nfe_steps must be a whole number from 4 to 64"),
        ({"nfe_steps": -1}, "nfe_steps must be a whole number from 4 to 64"),
        ({"vocoder_runtime": "cuda" * 99}, "vocoder_runtime must be one of"),
        ({"device": "cuda:" + "9" * 5000}, "device"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value)[:30],
)
def test_options_out_of_all_bounds(changed: dict[str, Any], told: str) -> None:
    pytest.importorskip("torch")
    from ishowtts.engines.f5 import engine

    with pytest.raises(InvalidSetting, match=told):
        engine.check_options(changed)
    engine.check_options({"max_slots": engine.MOST_SLOTS})


def raising(number: int) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
