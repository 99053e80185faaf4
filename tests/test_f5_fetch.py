"""f5 with its files on a hub: agreed to, fetched, recorded, spoken with over the WebSocket. A hub on this machine."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("huggingface_hub")
pytest.importorskip("pypinyin")
yaml = pytest.importorskip("yaml")

import f5_model  # noqa: E402
from f5_model import Small  # noqa: E402
from fake_hub import FakeHub  # noqa: E402
from harness import Server, run  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

TOKEN = "hf_ThisIsNobodysTokenAtAll"
TEXT = "The boats turned home in the evening."
WEIGHTS = "SWivid/F5-TTS/small/model.safetensors"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return f5_model.write(tmp_path_factory.mktemp("f5"))


@pytest.fixture(scope="module")
def hub(small: Small) -> Iterator[FakeHub]:
    """Has a small model in the place of the official one."""
    with FakeHub() as hub:
        hub.put(WEIGHTS, small.files.checkpoint.read_bytes())
        hub.put("SWivid/F5-TTS/small/vocab.txt", small.files.vocab.read_bytes(), large=False)
        for name, large in (("config.yaml", False), ("pytorch_model.bin", True)):
            hub.put(f"charactr/vocos-mel-24khz/{name}", (small.files.vocoder_dir / name).read_bytes(), large=large)
        yield hub


@pytest.fixture(scope="module")
def home(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    arch = {"model": {"name": "small", "backbone": "DiT", "arch": f5_model.ARCH}}
    (home / "small.yaml").write_text(yaml.safe_dump(arch), "utf-8")
    options = {"model": "./small.yaml", "checkpoint": f"hf://{WEIGHTS}", "device": "cpu", "dtype": "fp32"}
    keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
    (home / "ishowtts.toml").write_text(
        f'engine = "f5"\nlog.level = "debug"\n[cpu]\nthreads = 1\n[engines.f5]\n{keys}\nnfe_steps = 4\n', "utf-8"
    )
    added = run(["voices", "add", "hum", small.reference, "--text", f5_model.REFERENCE_TEXT, "--language", "en"], home)
    assert added.returncode == 0, added.stderr
    return home


def environment(home: Path, endpoint: str) -> dict[str, str]:
    return {"HF_HOME": str(home / "hf"), "HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_TELEMETRY": "1"}


def say(home: Path, hub: FakeHub, *flags: str) -> Any:
    return run(
        ["say", TEXT, "--config", home / "ishowtts.toml", "--voice", "hum", "-o", "said.wav", *flags],
        home,
        timeout_s=300,
        env=environment(home, hub.endpoint),
    )


@pytest.fixture(scope="module")
def refused(home: Path, hub: FakeHub) -> Any:
    """The program's end before anyone has agreed, and what there was then."""
    return say(home, hub), list(hub.asked), record(home).exists()


@pytest.fixture(scope="module")
def agreed(home: Path, hub: FakeHub, refused: Any) -> Any:
    return say(home, hub, "--accept-license")


@pytest.fixture(scope="module")
def server(home: Path, hub: FakeHub, agreed: Any) -> Iterator[Server]:
    asked = len(hub.asked)
    config = (home / "ishowtts.toml").read_text("utf-8")
    with Server(home, config=config, env=environment(home, hub.endpoint)) as server:
        yield server
    assert len(hub.asked) == asked, "what is in the cache is used without asking the hub"
    assert TOKEN not in server.log


def record(home: Path) -> Path:
    return home / "data" / "ishowtts" / "licences.json"


class TestOfficialWeights:
    def test_nothing_is_fetched_before_someone_agrees(self, refused: Any) -> None:
        done, asked, recorded = refused
        assert done.returncode == 2, done.stderr
        assert "CC-BY-NC-4.0" in done.stderr
        assert "--accept-license" in done.stderr
        assert (asked, recorded) == ([], False)

    def test_who_agrees_hears_it_and_is_recorded(self, home: Path, agreed: Any) -> None:
        assert agreed.returncode == 0, agreed.stderr
        assert (home / "said.wav").stat().st_size > 24_000
        (agreement,) = json.loads(record(home).read_text("utf-8")).values()
        assert (agreement["licence"], agreement["url"]) == ("CC-BY-NC-4.0", "https://huggingface.co/SWivid/F5-TTS")
        assert datetime.datetime.fromisoformat(agreement["accepted_at"]).tzinfo is not None

    def test_all_files_come_and_are_known_to_be_whole(self, home: Path, hub: FakeHub, agreed: Any) -> None:
        assert hub.files.keys() == {path_of(request) for request in hub.asked}
        assert len(json.loads(record(home).with_name("whole.json").read_text("utf-8"))) == len(hub.files)

    def test_the_token_goes_to_the_hub_and_nowhere_else(self, home: Path, hub: FakeHub, agreed: Any) -> None:
        assert set(hub.signed) == {f"Bearer {TOKEN}"}
        assert TOKEN not in agreed.stderr + agreed.stdout
        kept = [file for file in home.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]
        assert kept == []

    def test_the_cache_and_the_record_are_enough_for_a_server(self, server: Server) -> None:
        (f5,) = [model for model in json.loads(server.get("/v1/models").body)["data"] if model["id"] == "f5"]
        assert f5["licence"] == "CC-BY-NC-4.0"


def path_of(request: tuple[str, str, str]) -> str:
    owner, name, _, _, *path = request[1].lstrip("/").split("/")
    return "/".join((owner, name, *path))


def over_websocket(server: Server, text: str, **fields: Any) -> tuple[list[dict[str, Any]], bytes]:
    """Events and 16-bit sound of a text that is whole in its first message."""
    events: list[dict[str, Any]] = []
    sound = b""
    with connect(f"ws://127.0.0.1:{server.port}/v1/ws", compression=None, open_timeout=60) as connection:
        connection.send(json.dumps({"type": "start", "text": text, "end": True, "voice": "hum", "seed": 3, **fields}))
        while not events or events[-1]["type"] not in ("done", "error"):
            message = connection.recv(60)
            if isinstance(message, bytes):
                sound += message
            else:
                events.append(json.loads(message))
    return events, sound


class TestWebSocket:
    @pytest.mark.parametrize(
        "params",
        [
            {"nfe_steps": 6, "cfg_strength": 1, "sway": None, "schedule": "linear", "cfg_interval": [0, 0.5]},
            {"fix_duration": 6.0, "cross_fade_duration": 0.3, "target_rms": 0.2},
            {"short_speed_rule": "even", "short_padding": True, "normalize": False, "remove_silence": True},
        ],
    )
    def test_parameters_are_those_of_a_request(self, server: Server, params: dict[str, Any]) -> None:
        events, sound = over_websocket(server, TEXT, params=params, cache=False)
        assert events[-1]["type"] == "done", events[-1]
        assert sound == posted(server, params=params)
        assert sound != posted(server)

    def test_what_was_chosen_and_said_is_told(self, server: Server) -> None:
        events, _ = over_websocket(server, "It is 5.", params={"nfe_steps": "auto"})
        (caption,) = [event for event in events if event["type"] == "caption"]
        assert caption["params"] == {"nfe_steps": 16}
        assert (caption["text"], caption["spoken"], caption["words"]) == ("It is 5.", "It is five.", [])

    @pytest.mark.parametrize(
        ("params", "told"),
        [
            ({"nfe_steps": 3}, "nfe_steps must be a whole number from 4 to 64"),
            ({"sway": "none"}, "sway must be a number"),
            ({"nfe_step": 7}, "did you mean 'nfe_steps'"),
            ({"fix_duration": 1}, "fix_duration is the time of reference and speech together"),
        ],
    )
    def test_wrong_ones_end_their_context_alone(self, server: Server, params: dict[str, Any], told: str) -> None:
        events, sound = over_websocket(server, TEXT, params=params)
        assert events[-1]["type"] == "error"
        assert told in events[-1]["error"]["message"]
        assert events[-1]["error"]["code"] == "invalid_parameter"
        assert (events[-1]["context"], sound) == ("default", b"")


def posted(server: Server, **fields: Any) -> bytes:
    asked = {"text": TEXT, "voice": "hum", "seed": 3, "format": "pcm", "cache": False, **fields}
    reply = server.request("POST", "/v1/tts", json.dumps(asked).encode())
    assert reply.status == 200, reply.body
    return reply.body
