"""f5 in full size against what the upstream package gave for the same random weights (tests/golden/make_f5_full.py):
kept are parts of it, a few KB. Where upstream itself is installed, test_f5_parity.py compares with that."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import f5_model  # noqa: E402
from ishowtts.engines.f5 import models, params, precision  # noqa: E402
from ishowtts.engines.f5.checkpoint import Checkpoint  # noqa: E402
from ishowtts.engines.f5.config import HOP, architecture  # noqa: E402
from ishowtts.engines.f5.dit import DiT, Evaluation  # noqa: E402
from ishowtts.engines.f5.saying import Level, Piece, Saying  # noqa: E402
from ishowtts.engines.f5.vocos import Vocos  # noqa: E402

pytestmark = pytest.mark.full

GOLDEN = Path(__file__).parent / "golden" / "f5_full.npz"
MODEL = models.CONFIGS["F5TTS_v1_Base"]
VOCABULARY = 2545
FRAMES, REFERENCE_FRAMES = 48, 18
TIMES = (0.0, 0.625)
STEPS = (7, 16, 32)
SEED = 4
BOUND = 1e-5
WEIGHTS_SHOWN = 64


@dataclass(frozen=True)
class Given:
    ids: Any
    reference: Any
    x: Any
    mel: Any


def given() -> Given:
    noise = np.random.default_rng(11)
    ids = noise.integers(0, VOCABULARY, 25)
    reference = noise.standard_normal((REFERENCE_FRAMES, 100)).astype(np.float32) * 2 - 3
    x = noise.standard_normal((FRAMES, 100)).astype(np.float32)
    mel = (noise.standard_normal((60, 100)) * 1.5 - 2).astype(np.float32)
    return Given(ids, *map(torch.from_numpy, (reference, x, mel)))


def parts(found: Any) -> Any:
    """Some rows and columns of ``[rows, columns]``; last its norm, so that no value can be far off unseen."""
    few = found[::7, :: max(1, found.shape[1] // 12)].reshape(-1)
    return torch.cat((few, found.norm()[None])).numpy()


def weights_told(weights: Mapping[str, Any]) -> Any:
    """One value of some tensors: the generator that they come from has not changed."""
    return np.array([float(weights[name].reshape(-1)[-1]) for name in sorted(weights)[::6]][:WEIGHTS_SHOWN], np.float32)


def vocos_weights() -> dict[str, Any]:
    return f5_model.vocos_weights(layers=8, dim=512, wide=1536)


def relative(found: Any, wanted: Any) -> float:
    assert found.shape == wanted.shape
    # The norm would drown the values.
    values = np.linalg.norm(found[:-1] - wanted[:-1]) / np.linalg.norm(wanted[:-1])
    return max(float(values), abs(float(found[-1] / wanted[-1]) - 1.0))


@pytest.fixture(scope="module")
def golden() -> Mapping[str, Any]:
    return dict(np.load(GOLDEN))


@pytest.fixture(scope="module")
def dit(tmp_path_factory: pytest.TempPathFactory, golden: Mapping[str, Any]) -> DiT:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("full") / "model.safetensors"
    weights = f5_model.dit_weights(MODEL, VOCABULARY)
    assert np.array_equal(weights_told(weights), golden["weights"]), "NumPy's generator has changed: make it anew"
    save_file({f"ema_model.transformer.{name}": weight for name, weight in weights.items()}, path)
    del weights
    started = time.perf_counter()
    with torch.inference_mode():
        made = DiT(architecture(MODEL), Checkpoint(path), VOCABULARY, precision.choose("cpu", "fp32"))
    print(f"loaded in {time.perf_counter() - started:.1f} s")
    # Nothing is read of the file from here on.
    made.modulations.prepare(TIMES)
    path.unlink()
    return made


@torch.inference_mode()
@pytest.mark.parametrize("t", TIMES)
def test_one_step_is_upstreams(dit: DiT, golden: Mapping[str, Any], t: float) -> None:
    stood = given()
    prompt = dit.prompt(stood.ids, stood.reference, FRAMES)
    (flow,) = dit.velocities([Evaluation(prompt, stood.x, t, 2.0)])
    assert relative(parts(flow), golden[f"flow-{t}"]) < BOUND


@torch.inference_mode()
@pytest.mark.parametrize("steps", STEPS)
def test_whole_runs_are_upstreams(dit: DiT, golden: Mapping[str, Any], steps: int) -> None:
    stood, chosen = given(), params.Params()
    piece = Piece("", stood.ids, FRAMES, chosen.times(steps))
    level = Level(stood.reference, REFERENCE_FRAMES * HOP, 1.0)
    saying = Saying([piece], level, chosen, SEED, dit.prompt)
    while not saying.piece_done:
        saying.advance(dit.velocities([saying.evaluation])[0])
    assert relative(parts(saying.x[REFERENCE_FRAMES:]), golden[f"run-{steps}"]) < BOUND


@torch.inference_mode()
def test_vocoder_is_upstreams(golden: Mapping[str, Any], tmp_path: Path) -> None:
    torch.save(vocos_weights(), tmp_path / "pytorch_model.bin")
    sound = Vocos(tmp_path, torch.device("cpu")).decode(given().mel)
    assert relative(parts(sound[:, None]), golden["sound"]) < BOUND
