"""Checkpoints in every layout that upstream and its fine-tunes write, and the ones that do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import f5_model  # noqa: E402
from f5_model import load_dit, relative  # noqa: E402
from ishowtts.engines.f5 import dit, vocos  # noqa: E402
from ishowtts.engines.f5.config import architecture  # noqa: E402
from ishowtts.errors import InvalidSetting  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

Weights = dict[str, Any]
SHAPES = dit.shapes(architecture(f5_model.config()), len(f5_model.TOKENS))


def _named(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: tensor for name, tensor in weights.items()}


def _older(weights: Weights) -> Weights:
    beside = {"mel_spec.mel_stft.mel_scale.fb": torch.zeros(3), "mel_spec.mel_stft.spectrogram.window": torch.zeros(3)}
    return _named("ema_model.transformer.", weights) | _named("ema_model.", beside) | {"initted": torch.tensor(True)}


def _pickled(path: Path, content: object) -> Path:
    torch.save(content, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def _tensors(path: Path, content: Weights) -> Path:
    save_file(content, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


LAYOUTS: dict[str, Callable[[Path, Weights], Path]] = {
    "safetensors, moving average": lambda p, w: _tensors(p, _named("ema_model.transformer.", w)),
    "safetensors, older": lambda p, w: _tensors(p, _older(w) | {"step": torch.tensor(5)}),
    "safetensors, plain": lambda p, w: _tensors(p, _named("transformer.", w)),
    "safetensors, both": lambda p, w: _tensors(
        p, _named("transformer.", {k: v + 1 for k, v in w.items()}) | _named("ema_model.transformer.", w)
    ),
    "safetensors, half precision": lambda p, w: _tensors(
        p, _named("ema_model.transformer.", {k: v.half() for k, v in w.items()})
    ),
    "pt, moving average": lambda p, w: _pickled(p, {"ema_model_state_dict": _older(w)}),
    "pt, training": lambda p, w: _pickled(
        p,
        {
            "model_state_dict": _named("transformer.", {k: v + 1 for k, v in w.items()}),
            "ema_model_state_dict": _older(w) | {"step": torch.tensor(5)},
            "optimizer_state_dict": {"state": {0: torch.zeros(3)}},
            "update": 100,
        },
    ),
    "pt, plain": lambda p, w: _pickled(p, {"model_state_dict": _named("transformer.", w)}),
    "pt, bare": lambda p, w: _pickled(p, w),
    "pt, both in one table": lambda p, w: _pickled(
        p, _named("transformer.", {k: v + 1 for k, v in w.items()}) | _named("ema_model.transformer.", w)
    ),
    "pt, before zip": lambda p, w: (
        torch.save({"ema_model_state_dict": _older(w)}, p.with_suffix(".pt"), _use_new_zipfile_serialization=False),
        p.with_suffix(".pt"),
    )[1],
}


def flow(model: dit.DiT) -> torch.Tensor:
    noise = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        prompt = model.prompt(np.arange(9), torch.randn(10, 100, generator=noise), 30)
        return model.velocities([dit.Evaluation(prompt, torch.randn(30, 100, generator=noise), 0.0, 2.0)])[0]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    path = tmp_path_factory.mktemp("plain") / "x"
    return flow(load_dit(_tensors(path, f5_model.dit_weights(f5_model.config()))))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads(layout: str, tmp_path: Path, wanted: torch.Tensor) -> None:
    path = LAYOUTS[layout](tmp_path / "model", f5_model.dit_weights(f5_model.config()))
    found = flow(load_dit(path))
    assert relative(found, wanted) < (1e-2 if "half" in layout else 1e-7)


def test_plain_weights_on_request(tmp_path: Path, wanted: torch.Tensor) -> None:
    weights = f5_model.dit_weights(f5_model.config())
    other = f5_model.dit_weights(f5_model.config(), seed=9)
    path = _pickled(
        tmp_path / "m",
        {"model_state_dict": _named("transformer.", weights), "ema_model_state_dict": _older(other)},
    )
    assert torch.equal(flow(load_dit(path, ema=False)), wanted)
    assert not torch.allclose(flow(load_dit(path)), wanted)
    with pytest.raises(InvalidSetting, match="moving average only"):
        load_dit(_pickled(tmp_path / "n", {"ema_model_state_dict": _older(other)}), ema=False)


def test_the_model_owes_nothing_to_the_file(tmp_path: Path, wanted: torch.Tensor) -> None:
    path = _tensors(tmp_path / "m", f5_model.dit_weights(f5_model.config()))
    model = load_dit(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    assert torch.equal(flow(model), wanted)


def test_fine_tune_with_its_own_vocabulary(tmp_path: Path) -> None:
    weights = f5_model.dit_weights(f5_model.config(), vocabulary=31)
    path = _tensors(tmp_path / "m", _named("ema_model.transformer.", weights))
    assert flow(load_dit(path, vocabulary=31)).shape == (30, 100)
    with pytest.raises(InvalidSetting, match=r"text_embed\.text_embed\.weight is \[32, 32\] instead of"):
        load_dit(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("proj_out.bias"), "missing: proj_out.bias"),
        (lambda w: w.update(extra=torch.zeros(1)), "unexpected: extra"),
        (lambda w: w.update({"proj_out.bias": torch.zeros(100).long()}), "no floats: proj_out.bias is of (I64|int64)"),
        (
            lambda w: w.update({"proj_out.bias": torch.zeros(7)}),
            r"misshapen: proj_out.bias is \[7\] instead of \[100\]",
        ),
        (lambda w: [w.pop(n) for n in list(w) if "blocks.1." in n], "missing: .* and .* more"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Callable[[Weights], object], said: str) -> None:
    weights = f5_model.dit_weights(f5_model.config())
    change(weights)
    for path in (_tensors(tmp_path / "m", weights), _pickled(tmp_path / "m", weights)):
        with pytest.raises(InvalidSetting, match=said):
            load_dit(path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = _tensors(tmp_path / "m", f5_model.dit_weights(f5_model.config())).read_bytes()
    for number, content in enumerate((b"", b"\x00" * 100, whole[: len(whole) // 2], b"not a model at all")):
        for suffix in (".safetensors", ".pt"):
            path = tmp_path / f"damaged{number}{suffix}"
            path.write_bytes(content)
            with pytest.raises(InvalidSetting, match="damaged"):
                load_dit(path)
    with pytest.raises(InvalidSetting, match="there is no checkpoint"):
        load_dit(tmp_path / "absent.safetensors")


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE], ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "text_embed.text_embed.weight",
        "text_embed.text_blocks.1.grn.beta",
        "time_embed.time_mlp.2.bias",
        "transformer_blocks.1.attn_norm.linear.weight",
        "transformer_blocks.2.ff.ff.2.weight",
        "rotary_embed.inv_freq",
        "proj_out.bias",
    ],
)
def test_values_that_are_not_finite_are_named(tmp_path: Path, name: str, value: float, suffix: str) -> None:
    """Also in places that only some texts would meet: here an embedding's last row."""
    path = tmp_path / f"m{suffix}"
    weights = f5_model.dit_weights(f5_model.config())
    (_tensors if suffix == ".safetensors" else _pickled)(path, weights)
    f5_model.rewrite(path, {name: value})
    said = f"'m{suffix}' is damaged: 2 of the {weights[name].numel()} values of {name} are not finite"
    with pytest.raises(InvalidSetting, match=re.escape(said)):
        load_dit(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_so_are_those_of_other_precisions(tmp_path: Path, dtype: torch.dtype) -> None:
    path = _tensors(tmp_path / "m", {k: v.to(dtype) for k, v in f5_model.dit_weights(f5_model.config()).items()})
    load_dit(path)
    f5_model.rewrite(path, {"proj_out.weight": NAN})
    with pytest.raises(InvalidSetting, match=r"2 of the 6400 values of proj_out\.weight are not finite"):
        load_dit(path)


def test_values_whose_sum_is_too_large_are_finite(tmp_path: Path) -> None:
    path = _tensors(tmp_path / "m", f5_model.dit_weights(f5_model.config()))
    f5_model.rewrite(path, {"text_embed.text_embed.weight": 3e38})
    load_dit(path)


def test_a_vocoder_is_looked_at_too_but_for_what_is_not_used(tmp_path: Path) -> None:
    folder = f5_model.write_vocos(tmp_path / "vocos")
    f5_model.rewrite(folder / "pytorch_model.bin", {"mel_scale.fb": NAN, "spectrogram.window": NAN})
    vocos.Vocos(folder, torch.device("cpu"))
    f5_model.rewrite(folder / "pytorch_model.bin", {"0.pwconv2.bias": NAN})
    said = r"'pytorch_model.bin' is damaged: 2 of the 32 values of backbone\.convnext\.0\.pwconv2\.bias are not finite"
    with pytest.raises(InvalidSetting, match=said):
        vocos.Vocos(folder, torch.device("cpu"))


def test_what_lies_beside_the_weights_may_be_anything(tmp_path: Path, wanted: torch.Tensor) -> None:
    weights = f5_model.dit_weights(f5_model.config())
    plain = {name: torch.full_like(values, NAN) for name, values in weights.items()}
    path = _tensors(tmp_path / "m", _named("transformer.", plain) | _older(weights))
    f5_model.rewrite(path, {"mel_scale.fb": NAN})
    assert torch.equal(flow(load_dit(path)), wanted)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('ran')",))


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="more than weights"):
        load_dit(_pickled(tmp_path / "evil", {"model_state_dict": _Evil()}))
