"""Where the F5-TTS engines get their files from: local ones, the cache, a hub on this machine with faults."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_hub import FakeHub
from ishowtts import licences
from ishowtts.engines.f5 import models, weights
from ishowtts.engines.f5.hub import FetchFailed, Hub, NotInRepository, Offline, Source
from ishowtts.errors import InvalidSetting, IshowttsError

pytest.importorskip("huggingface_hub")

OFFICIAL = "SWivid/F5-TTS/F5TTS_v1_Base/model_1250000.safetensors"
CONTENT = bytes(range(256)) * 4096
SOURCE = Source("someone/fine-tune", "model.safetensors")


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub() as server:
        server.put("someone/fine-tune/model.safetensors", CONTENT)
        server.put("someone/fine-tune/vocab.txt", b" \na\n", large=False)
        server.put(OFFICIAL, CONTENT[::-1])
        server.put("SWivid/F5-TTS/F5TTS_v1_Base/vocab.txt", b" \nb\n", large=False)
        server.put("charactr/vocos-mel-24khz/config.yaml", b"{}", large=False)
        server.put("charactr/vocos-mel-24khz/pytorch_model.bin", CONTENT[:1000])
        yield server


@pytest.fixture
def hub(server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("ISHOWTTS_OFFLINE", raising=False)
    # What has come is written in blocks of 10 MB; and huggingface_hub waits up to 8 s before it asks again.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 14)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Hub(endpoint=server.endpoint, cache=tmp_path / "cache", waits_s=(0.0, 0.0))


class TestFetching:
    def test_comes_whole_and_is_not_fetched_twice(self, hub: Hub, server: FakeHub) -> None:
        assert hub.fetch(SOURCE).read_bytes() == CONTENT
        asked = len(server.asked)
        assert hub.fetch(SOURCE).read_bytes() == CONTENT
        assert len(server.asked) == asked, "a file in the cache needs no network"

    def test_resumes_where_the_connection_broke(self, hub: Hub, server: FakeHub) -> None:
        server.faults.extend(["cut", "cut"])
        assert hub.fetch(SOURCE).read_bytes() == CONTENT
        starts = [ranged for ranged in server.gets if ranged]
        assert starts == [f"bytes={len(CONTENT) // 2}-", f"bytes={len(CONTENT) * 3 // 4}-"]

    @pytest.mark.parametrize("large", [True, False], ids=["sha256", "git"])
    def test_fetches_again_what_arrived_damaged(self, hub: Hub, server: FakeHub, large: bool) -> None:
        server.put("someone/fine-tune/model.safetensors", CONTENT, large=large)
        server.faults.append("flip")
        assert hub.fetch(SOURCE).read_bytes() == CONTENT
        assert len(server.gets) == 2

    def test_gives_up_what_is_always_damaged_and_keeps_none_of_it(self, hub: Hub, server: FakeHub) -> None:
        server.faults.extend(["flip"] * 3)
        with pytest.raises(FetchFailed, match="arrived damaged 3 times"):
            hub.fetch(SOURCE)
        assert hub.cached(SOURCE) is None

    def test_finds_damage_in_the_cache(self, hub: Hub, server: FakeHub) -> None:
        blob = hub.fetch(SOURCE).resolve()
        blob.write_bytes(b"x" + CONTENT[1:])
        assert hub.fetch(SOURCE).read_bytes() == CONTENT
        assert len(server.gets) == 2

    def test_tries_again_while_the_hub_is_down(self, hub: Hub, server: FakeHub) -> None:
        server.faults.extend(["503", "503"])
        assert hub.fetch(SOURCE).read_bytes() == CONTENT

    @pytest.mark.parametrize(
        ("status", "told"), [(401, "set HF_TOKEN"), (403, "set HF_TOKEN"), (404, "has no model"), (503, "answers 503")]
    )
    def test_tells_what_the_hub_answers(self, hub: Hub, server: FakeHub, status: int, told: str) -> None:
        server.status = status
        with pytest.raises(FetchFailed, match=told):
            hub.fetch(SOURCE)

    def test_tells_a_file_that_is_not_there(self, hub: Hub) -> None:
        with pytest.raises(NotInRepository, match=r"has no other\.pt of someone/fine-tune"):
            hub.fetch(replace(SOURCE, path="other.pt"))

    def test_tells_that_nothing_answers(self, hub: Hub) -> None:
        with pytest.raises(FetchFailed, match="could not be fetched: the connection fails"):
            replace(hub, endpoint="http://127.0.0.1:9").fetch(SOURCE)

    def test_asks_nobody_when_offline(self, hub: Hub, server: FakeHub) -> None:
        with pytest.raises(Offline, match="ISHOWTTS_OFFLINE"):
            replace(hub, offline=True).fetch(SOURCE)
        assert server.asked == []

    def test_the_variable_keeps_it_offline(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ISHOWTTS_OFFLINE", "1")
        assert Hub.default().offline

    def test_the_hubs_own_variable_is_blamed_where_it_does(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert Hub.default().offline
        with pytest.raises(Offline, match="and HF_HUB_OFFLINE forbids"):
            replace(hub, offline=True).fetch(SOURCE)

    @pytest.mark.parametrize("address", ["hf://one/two", "one/two/three", "hf://a//b", ""])
    def test_refuses_what_is_no_address(self, address: str) -> None:
        with pytest.raises(FetchFailed, match="is no address"):
            Source.parse(address)

    def test_takes_a_revision(self) -> None:
        assert Source.parse("hf://a/b@v2/c/d.pt") == Source("a/b", "c/d.pt", "v2")


class TestOfficialWeights:
    def test_wait_for_their_licence(self, hub: Hub, server: FakeHub) -> None:
        with pytest.raises(licences.LicenceNotAccepted, match=r"CC-BY-NC-4\.0 .*--accept-license"):
            weights.resolve({}, hub)
        assert server.asked == []
        assert not weights.at_hand({}, hub)

    def test_wait_for_it_however_they_are_written(self, hub: Hub, server: FakeHub) -> None:
        for name in ("swivid/f5-tts", "SWIVID/E2-TTS"):
            with pytest.raises(licences.LicenceNotAccepted):
                weights.resolve({"checkpoint": f"hf://{name}/any/model.safetensors"}, hub)
        assert server.asked == []

    def test_wait_for_it_with_every_file_of_theirs(self, hub: Hub, server: FakeHub, tmp_path: Path) -> None:
        """The checkpoint was fetched by someone; what lies beside it was not."""
        folder = local(tmp_path)
        licences.accept(licences.F5)
        hub.fetch(Source.parse(f"hf://{OFFICIAL}"))
        (tmp_path / "data" / "ishowtts" / "licences.json").unlink()
        asked = len(server.asked)
        with pytest.raises(licences.LicenceNotAccepted):
            weights.resolve({"checkpoint": f"hf://{OFFICIAL}", "vocoder": str(folder)}, hub)
        assert len(server.asked) == asked

    def test_come_once_it_is_accepted(self, hub: Hub) -> None:
        licences.accept(licences.F5)
        files = weights.resolve({}, hub)
        assert files.checkpoint.read_bytes() == CONTENT[::-1]
        assert files.vocab.read_text() == " \nb\n"
        assert (files.vocoder_dir / "pytorch_model.bin").read_bytes() == CONTENT[:1000]
        assert files.licence == "CC-BY-NC-4.0"
        assert files.model_config.arch["depth"] == 22
        assert weights.at_hand({}, hub)

    def test_in_the_cache_they_have_been_fetched_by_someone(self, hub: Hub, tmp_path: Path) -> None:
        licences.accept(licences.F5)
        weights.resolve({}, hub)
        (tmp_path / "data" / "ishowtts" / "licences.json").unlink()
        assert weights.resolve({}, hub).checkpoint.is_file()

    def test_the_agreement_is_recorded_once(self, tmp_path: Path) -> None:
        assert not licences.accepted(licences.F5, tmp_path)
        licences.accept(licences.F5, tmp_path)
        first = (tmp_path / "licences.json").read_text()
        licences.accept(licences.F5, tmp_path)
        assert (tmp_path / "licences.json").read_text() == first
        assert licences.accepted(licences.F5, tmp_path)
        assert not licences.accepted(replace(licences.F5, spdx="CC-BY-NC-5.0"), tmp_path)

    def test_a_damaged_record_is_no_agreement(self, tmp_path: Path) -> None:
        (tmp_path / "licences.json").write_text("[")
        assert not licences.accepted(licences.F5, tmp_path)
        licences.accept(licences.F5, tmp_path)
        assert licences.accepted(licences.F5, tmp_path)


class TestFineTunes:
    def test_bring_their_own_vocabulary(self, hub: Hub) -> None:
        files = weights.resolve({"model": "F5TTS_Small", "checkpoint": "hf://someone/fine-tune/model.safetensors"}, hub)
        assert files.vocab.read_text() == " \na\n"
        assert files.licence == weights.LICENCE_UNKNOWN

    def test_without_one_say_so(self, hub: Hub, server: FakeHub) -> None:
        del server.files["someone/fine-tune/vocab.txt"]
        with pytest.raises(InvalidSetting, match="name the checkpoint's vocabulary"):
            weights.resolve({"checkpoint": "hf://someone/fine-tune/model.safetensors"}, hub)

    def test_local_files_need_no_network(self, hub: Hub, server: FakeHub, tmp_path: Path) -> None:
        folder = local(tmp_path)
        options = {"model": "F5TTS_Base", "checkpoint": str(folder), "vocoder": str(folder)}
        assert weights.at_hand(options, hub)
        files = weights.resolve(options, hub)
        assert (files.checkpoint, files.vocab) == (folder / "model.pt", folder / "vocab.txt")
        assert server.asked == []

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"model": "F5TTS_v1_Bse"}, "did you mean 'F5TTS_v1_Base'"),
            ({"model": "F5TTS_Small", "checkpoint": ""}, "no official checkpoint of F5TTS_Small"),
            ({"checkpoint": "/no/such.pt"}, "there is no file"),
            ({"checkpoint": "hf://someone/fine-tune/model.bin"}, "must be a .safetensors or a .pt"),
            ({"vocab": "/no/vocab.txt"}, "vocab: there is no file"),
            ({"vocoder": "/no/folder"}, "neither a folder nor a name on the hub"),
            ({"vocoder": "nvidia/bigvgan_v2_24khz_100band_256x"}, "is a BigVGAN, which hears another mel"),
        ],
    )
    def test_names_that_lead_nowhere_are_told(
        self, hub: Hub, tmp_path: Path, changed: dict[str, str], told: str
    ) -> None:
        folder = local(tmp_path)
        with pytest.raises(IshowttsError, match=told):
            weights.resolve({"checkpoint": str(folder), "vocoder": str(folder)} | changed, hub)

    def test_a_folder_with_several_checkpoints_is_ambiguous(self, hub: Hub, tmp_path: Path) -> None:
        folder = local(tmp_path)
        (folder / "other.pt").touch()
        with pytest.raises(InvalidSetting, match=r"several \(model\.pt, other\.pt\)"):
            weights.resolve({"checkpoint": str(folder)}, hub)

    def test_a_vocoder_in_safetensors_is_enough(self, hub: Hub, server: FakeHub, tmp_path: Path) -> None:
        folder = local(tmp_path)
        options = {"checkpoint": str(folder), "vocoder": str(folder)}
        (folder / "pytorch_model.bin").unlink()
        with pytest.raises(InvalidSetting, match=r"lacks pytorch_model\.bin or model\.safetensors"):
            weights.resolve(options, hub)
        vocoder = tmp_path / "vocoder"
        vocoder.mkdir()
        for name in ("config.yaml", "model.safetensors"):
            (vocoder / name).write_bytes(b" ")
        assert weights.resolve(options | {"vocoder": str(vocoder)}, hub).vocoder_dir == vocoder
        assert server.asked == []

    def test_a_vocoder_in_safetensors_comes_from_the_hub(self, hub: Hub, server: FakeHub, tmp_path: Path) -> None:
        server.put("someone/vocos/config.yaml", b"{}", large=False)
        server.put("someone/vocos/model.safetensors", CONTENT)
        options = {"checkpoint": str(local(tmp_path)), "vocoder": "someone/vocos"}
        found = weights.resolve(options, hub).vocoder_dir
        assert (found / "model.safetensors").read_bytes() == CONTENT
        asked = len(server.asked)
        assert weights.resolve(options, hub).vocoder_dir == found
        assert len(server.asked) == asked, "what is in the cache needs no network"
        del server.files["someone/vocos/model.safetensors"]
        with pytest.raises(NotInRepository, match=r"has no pytorch_model\.bin of someone/vocos"):
            weights.resolve(options, replace(hub, cache=tmp_path / "empty"))

    def test_a_vocoder_that_lacks_a_file_is_told(self, hub: Hub, tmp_path: Path) -> None:
        folder = local(tmp_path)
        (folder / "config.yaml").unlink()
        with pytest.raises(InvalidSetting, match=r"lacks config\.yaml"):
            weights.resolve({"checkpoint": str(folder), "vocoder": str(folder)}, hub)


YAML = """
model:
  name: mine
  tokenizer: custom
  backbone: DiT
  arch: {dim: 64, depth: 2, heads: 2, text_dim: 32, conv_layers: 1}
  mel_spec: {target_sample_rate: 24000, mel_spec_type: bigvgan}
"""


class TestConfigurations:
    def test_upstreams_yaml_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(YAML)
        config = models.configuration(str(path))
        assert (config.name, config.backbone, config.arch["dim"], config.mel_spec_type) == (
            "mine",
            "DiT",
            64,
            "bigvgan",
        )

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda text: text.replace("24000", "22050"), "target_sample_rate is 22050"),
            (lambda text: text.replace("dim: 64", "dimension: 64"), "'dimension', which is not known"),
            (lambda text: text.replace("backbone", "spine"), "has no model.backbone"),
            (lambda text: "{", "is not YAML"),
        ],
    )
    def test_what_cannot_be_run_is_refused(self, tmp_path: Path, change: Callable[[str], str], told: str) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(change(YAML))
        with pytest.raises(InvalidSetting, match=told):
            models.configuration(str(path))

    def test_the_official_ones_are_upstreams(self) -> None:
        f5_tts = pytest.importorskip("f5_tts", reason="the upstream package is not installed")
        folder = Path(f5_tts.__path__[0]) / "configs"
        for path in folder.glob("*.yaml"):
            theirs, ours = models.configuration(str(path)), models.CONFIGS[path.stem]
            plain = {"attn_backend", "attn_mask_enabled", "checkpoint_activations"}
            arch = {key: value for key, value in theirs.arch.items() if key not in plain}
            assert dict(ours.arch) == arch, path.stem
            assert replace(theirs, arch={}) == replace(ours, arch={})


def test_the_reference_engine_looks_for_its_package_before_it_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from ishowtts import registry

    fetched: list[object] = []
    monkeypatch.setattr(weights, "resolve", lambda chosen: fetched.append(chosen))
    monkeypatch.setitem(sys.modules, "f5_tts", None)
    with pytest.raises(IshowttsError, match=r"needs the package f5_tts; .*ishowtts\[reference\]"):
        registry.load("f5-reference", {}, 1)
    assert not fetched


def test_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['ishowtts._native'] = None; from ishowtts.engines.f5 import weights, text, reference;"
        "assert not {'torch', 'huggingface_hub', 'pypinyin', 'rjieba', 'wetext'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def local(folder: Path) -> Path:
    """A checkpoint, its vocabulary and a vocoder, all in one folder."""
    folder = folder / "local"
    folder.mkdir()
    for name in ("model.pt", "vocab.txt", "config.yaml", "pytorch_model.bin"):
        (folder / name).write_bytes(b" \n")
    return folder
