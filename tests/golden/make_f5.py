"""Writes f5_small.npz: what upstream gives for the weights of f5_model. Needs f5-tts 1.1.22 and vocos 0.1.0;
run from the tests' folder: ``python golden/make_f5.py``."""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import f5_model
from f5_tts.model import DiT
from f5_tts.model.modules import MelSpec
from f5_tts.model.utils import get_epss_timesteps
from vocos.feature_extractors import MelSpectrogramFeatures
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone
from vocos.pretrained import Vocos

FRAMES, REFERENCE_FRAMES = 40, 17


def main() -> None:
    noise = np.random.default_rng(7)
    golden = {
        "ids": noise.integers(0, len(f5_model.TOKENS), 25),
        "reference": noise.standard_normal((REFERENCE_FRAMES, 100)).astype(np.float32) * 2 - 3,
        "x": noise.standard_normal((FRAMES, 100)).astype(np.float32),
        "vocos-mel": (noise.standard_normal((24, 100)) * 1.5 - 2).astype(np.float32),
        "mel-sound": (noise.standard_normal(24 * 256 + 77) * 0.1).astype(np.float32),
    }
    with torch.inference_mode():
        cond = torch.zeros(1, FRAMES, 100)
        cond[0, :REFERENCE_FRAMES] = torch.from_numpy(golden["reference"])
        for name, changed in f5_model.VARIANTS.items():
            model = f5_model.config(**changed)
            theirs = DiT(**model.arch, text_num_embeds=len(f5_model.TOKENS), mel_dim=100).eval()
            theirs.load_state_dict(f5_model.dit_weights(model))
            golden[f"{name}-flow"] = torch.stack(
                [
                    theirs(
                        x=torch.from_numpy(golden["x"])[None],
                        cond=cond,
                        text=torch.from_numpy(golden["ids"])[None],
                        time=torch.tensor(t),
                        cfg_infer=True,
                    )
                    for t in (0.0, 0.625)
                ]
            ).numpy()
        vocos = Vocos(
            MelSpectrogramFeatures(),
            VocosBackbone(100, f5_model.VOCOS_DIM, f5_model.VOCOS_WIDE, f5_model.VOCOS_LAYERS),
            ISTFTHead(f5_model.VOCOS_DIM, 1024, 256, "center"),
        ).eval()
        vocos.load_state_dict(f5_model.vocos_weights())
        golden["vocos-sound"] = vocos.decode(torch.from_numpy(golden["vocos-mel"]).t()[None])[0].numpy()
        golden["mel"] = MelSpec()(torch.from_numpy(golden["mel-sound"])[None])[0].t().numpy()
        for steps in (5, 6, 7, 8, 10, 12, 16, 20, 32, 64):
            t = get_epss_timesteps(steps, device="cpu", dtype=torch.float32)
            golden[f"grid-{steps}"] = (t + -1.0 * (torch.cos(torch.pi / 2 * t) - 1 + t)).numpy()
    np.savez_compressed(Path(__file__).with_name("f5_small.npz"), **golden)


if __name__ == "__main__":
    main()
