"""Writes f5_full.npz: parts of what upstream gives in full size (F5TTS_v1_Base, vocos-mel-24khz) for the weights of
f5_model. Needs f5-tts 1.1.22 and vocos 0.1.0; run from the tests' folder: ``python golden/make_f5_full.py``."""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import f5_model
import test_f5_full as full
from f5_tts.model import CFM, DiT
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone


def main() -> None:
    given = full.given()
    weights = f5_model.dit_weights(full.MODEL, full.VOCABULARY)
    golden = {"weights": full.weights_told(weights)}
    theirs = DiT(**full.MODEL.arch, text_num_embeds=full.VOCABULARY, mel_dim=100).eval()
    theirs.load_state_dict(weights)
    del weights
    cfm = CFM(theirs, mel_spec_kwargs={}).eval()
    with torch.inference_mode():
        cond = torch.zeros(1, full.FRAMES, 100)
        cond[0, : full.REFERENCE_FRAMES] = given.reference
        ids = torch.from_numpy(given.ids)[None]
        for t in full.TIMES:
            flow = theirs(x=given.x[None], cond=cond, text=ids, time=torch.tensor(t), cfg_infer=True)
            golden[f"flow-{t}"] = full.parts(flow[0] + (flow[0] - flow[1]) * 2.0)
            theirs.clear_cache()
        for steps in full.STEPS:
            out, _ = cfm.sample(
                cond=given.reference[None], text=ids, duration=full.FRAMES, steps=steps, cfg_strength=2.0,
                sway_sampling_coef=-1.0, seed=full.SEED,
            )  # fmt: skip
            golden[f"run-{steps}"] = full.parts(out[0][full.REFERENCE_FRAMES :])
        backbone, head = VocosBackbone(100, 512, 1536, 8).eval(), ISTFTHead(512, 1024, 256, "center").eval()
        for part, prefix in ((backbone, "backbone."), (head, "head.")):
            kept = {name.removeprefix(prefix): w for name, w in full.vocos_weights().items() if name.startswith(prefix)}
            part.load_state_dict(kept)
        golden["sound"] = full.parts(head(backbone(given.mel.t()[None]))[0][:, None])
    np.savez_compressed(Path(__file__).with_name("f5_full.npz"), **golden)


if __name__ == "__main__":
    main()
