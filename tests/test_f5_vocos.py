"""f5's vocoder and its spectrograms: equal to upstream's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import f5_model  # noqa: E402
from f5_model import GOLDEN, relative  # noqa: E402
from ishowtts.engines import f5_reference  # noqa: E402
from ishowtts.engines.f5 import mel, vocos  # noqa: E402
from ishowtts.errors import InvalidSetting  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


class TestVocoder:
    def test_sound_is_upstreams(self, tmp_path: Path) -> None:
        golden = np.load(GOLDEN)
        decoder = vocos.Vocos(f5_model.write_vocos(tmp_path / "vocos"), torch.device("cpu"))
        with torch.inference_mode():
            found = decoder.decode(torch.from_numpy(golden["vocos-mel"]))
        assert relative(found, golden["vocos-sound"]) < 1e-5

    def test_weights_in_safetensors_sound_the_same(self, tmp_path: Path) -> None:
        mel = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
        folder = f5_model.write_vocos(tmp_path / "vocos")
        with torch.inference_mode():
            wanted = vocos.Vocos(folder, torch.device("cpu")).decode(mel)
            # A checkpoint of F5 beside the published file is not the vocoder's.
            save_file({"other": torch.zeros(1)}, folder / "model.safetensors")
            assert torch.equal(vocos.Vocos(folder, torch.device("cpu")).decode(mel), wanted)
            (folder / "pytorch_model.bin").unlink()
            with pytest.raises(InvalidSetting, match="unexpected: other"):
                vocos.Vocos(folder, torch.device("cpu"))
            save_file(f5_model.vocos_weights(), folder / "model.safetensors")
            assert torch.equal(vocos.Vocos(folder, torch.device("cpu")).decode(mel), wanted)

    def test_upstream_gets_the_weights_by_the_name_that_it_knows(self, tmp_path: Path) -> None:
        folder = f5_model.write_vocos(tmp_path / "vocos")
        with f5_reference._as_published(torch, folder, "vocos") as found:
            assert found == folder
        (folder / "pytorch_model.bin").unlink()
        save_file(f5_model.vocos_weights(), folder / "model.safetensors")
        with f5_reference._as_published(torch, folder, "vocos") as found:
            made = torch.load(found / "pytorch_model.bin", weights_only=True)
            assert (found / "config.yaml").read_text() == (folder / "config.yaml").read_text()
        assert made.keys() == f5_model.vocos_weights().keys()
        assert all(torch.equal(made[name], weight) for name, weight in f5_model.vocos_weights().items())

    def test_mel_is_upstreams(self) -> None:
        golden = np.load(GOLDEN)
        assert relative(mel.log_mel(torch.from_numpy(golden["mel-sound"])), golden["mel"]) < 1e-5

    def test_context_is_enough_for_a_piece(self, tmp_path: Path) -> None:
        decoder = vocos.Vocos(f5_model.write_vocos(tmp_path / "vocos"), torch.device("cpu"))
        frames = torch.from_numpy(np.random.default_rng(0).standard_normal((200, 100)).astype(np.float32))
        context = vocos.CONTEXT_FRAMES
        with torch.inference_mode():
            whole = decoder.decode(frames)[80 * 256 : 120 * 256]
            piece = decoder.decode(frames[80 - context : 121 + context])[context * 256 : (context + 40) * 256]
        assert relative(piece, whole) < 1e-4

    def test_another_vocoder_is_refused_with_the_reason(self, tmp_path: Path) -> None:
        folder = f5_model.write_vocos(tmp_path / "vocos")
        config = (folder / "config.yaml").read_text()
        for change, said in (
            (("padding: center}\n", "padding: same}\n"), "padding"),
            (("ISTFTHead", "IMDCTCosHead"), "IMDCTCosHead"),
            (("hop_length: 256, n_mels", "hop_length: 256, sample_rate: 16000, n_mels"), "sample rate"),
        ):
            (folder / "config.yaml").write_text(config.replace(*change))
            with pytest.raises(InvalidSetting, match=said):
                vocos.Vocos(folder, torch.device("cpu"))
        (folder / "config.json").write_text('{"model": "BigVGAN"}')
        with pytest.raises(InvalidSetting, match="BigVGAN"):
            vocos.Vocos(folder, torch.device("cpu"))
