"""F5-TTS's network: equal to upstream's, request by request, whatever else is in the step."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import f5_model  # noqa: E402
from ishowtts.engines import f5_reference  # noqa: E402
from ishowtts.engines.f5 import attention, convolution, elementwise, mel, precision, schedule, vocos  # noqa: E402
from ishowtts.engines.f5.checkpoint import Checkpoint  # noqa: E402
from ishowtts.engines.f5.config import MAX_FRAMES, architecture  # noqa: E402
from ishowtts.engines.f5.dit import DiT, Evaluation  # noqa: E402
from ishowtts.engines.f5.linear import _LEAST_INT8_ROWS as LEAST_ROWS  # noqa: E402
from ishowtts.engines.f5.linear import Int8Linear  # noqa: E402
from ishowtts.engines.f5.models import ModelConfig  # noqa: E402
from ishowtts.engines.f5.pack import lay_out, rotary_table  # noqa: E402
from ishowtts.errors import InvalidSetting  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

GOLDEN = Path(__file__).parent / "golden" / "f5_small.npz"
VARIANTS = {
    "v1": {},
    "older": {"text_mask_padding": False, "pe_attn_head": 1},
    "every-option": {"qk_norm": "rms_norm", "long_skip_connection": True, "text_embedding_average_upsampling": True},
}


def relative(found: torch.Tensor, wanted: torch.Tensor | np.ndarray) -> float:
    wanted = torch.as_tensor(wanted)
    assert found.shape == wanted.shape
    return float((found - wanted).norm() / wanted.norm())


def load(folder: Path, dtype: str = "fp32", compiled: bool = False, **changed: object) -> DiT:
    model = f5_model.config(**changed)
    save_file(f5_model.dit_weights(model), folder / "dit.safetensors")
    with torch.inference_mode():
        return DiT(
            architecture(model),
            Checkpoint(folder / "dit.safetensors"),
            len(f5_model.TOKENS),
            precision.choose("cpu", dtype),
            compiled=compiled,
        )


@pytest.fixture(scope="module")
def dit(tmp_path_factory: pytest.TempPathFactory) -> DiT:
    return load(tmp_path_factory.mktemp("dit"))


def request(dit: DiT, frames: int, seed: int, t: float = 0.25, strength: float = 2.0) -> Evaluation:
    noise = np.random.default_rng(seed)
    ids = noise.integers(0, len(f5_model.TOKENS), frames // 3)
    reference = torch.from_numpy(noise.standard_normal((frames // 2, 100)).astype(np.float32))
    x = torch.from_numpy(noise.standard_normal((frames, 100)).astype(np.float32))
    return Evaluation(dit.prompt(ids, reference, frames), x, t, strength)


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """In double precision, ``[heads, frames, dim_head]``."""
    q, k, v = (x[:, start:end].double() for x in (q, k, v))
    return torch.softmax(q @ k.transpose(1, 2) / elementwise.LOG2_E, -1) @ v


@pytest.mark.parametrize("variant", VARIANTS)
class TestGolden:
    """Against what upstream gave for the same weights (tests/golden/make_f5.py)."""

    def test_flow_is_upstreams(self, variant: str, tmp_path: Path) -> None:
        golden = np.load(GOLDEN)
        dit = load(tmp_path, **VARIANTS[variant])
        with torch.inference_mode():
            reference, x = (torch.from_numpy(golden[name]) for name in ("reference", "x"))
            prompt = dit.prompt(golden["ids"], reference, len(x))
            for t, wanted in zip((0.0, 0.625), golden[f"{variant}-flow"], strict=True):
                with_prompt = dit.velocities([Evaluation(prompt, x, t, 0.0)])[0]
                guided = dit.velocities([Evaluation(prompt, x, t, 2.0)])[0]
                assert relative(with_prompt, wanted[0]) < 1e-5
                assert relative(guided, wanted[0] + (wanted[0] - wanted[1]) * 2.0) < 1e-5

    @pytest.mark.parametrize(("dtype", "bound"), [("bf16", 0.02), ("int8", 0.03)])
    def test_fewer_bits_stay_near(self, variant: str, dtype: str, bound: float, tmp_path: Path) -> None:
        if dtype == "int8" and not precision.can_int8(torch.device("cpu")):
            pytest.skip("this CPU's torch has no int8 products")
        golden = np.load(GOLDEN)
        dit = load(tmp_path, dtype, **VARIANTS[variant])
        with torch.inference_mode():
            reference, x = (torch.from_numpy(golden[name]) for name in ("reference", "x"))
            prompt = dit.prompt(golden["ids"], reference, len(x))
            found = dit.velocities([Evaluation(prompt, x, 0.625, 0.0)])[0]
        assert relative(found, golden[f"{variant}-flow"][1][0]) < bound


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


class TestSchedule:
    def test_grids_are_upstreams(self) -> None:
        golden = np.load(GOLDEN)
        for steps in (5, 6, 7, 8, 10, 12, 16, 20, 32, 64):
            assert schedule.grid(steps, "epss", -1.0).tolist() == golden[f"grid-{steps}"].tolist()
        assert schedule.grid(7, "linear", None).tolist() == torch.linspace(0, 1, 8).tolist()

    def test_times_never_turn_back(self) -> None:
        for steps in range(schedule.MIN_STEPS, schedule.MAX_STEPS + 1):
            for sway in (None, -1.0, 0.5, 1.75):
                for kind in schedule.SCHEDULES:
                    times = schedule.grid(steps, kind, sway)
                    assert len(times) == steps + 1
                    assert (times[1:] > times[:-1]).all()
                    assert float(times[0]) == 0.0
                    assert abs(float(times[-1]) - 1.0) < 1e-6


class TestPacking:
    def test_neighbours_change_nothing(self, dit: DiT) -> None:
        """Length, time, guidance and company at random, many times over."""
        choice = random.Random(5)
        with torch.inference_mode():
            for _ in range(40):
                company = [
                    request(
                        dit,
                        frames=choice.randint(2, 150),
                        seed=choice.randrange(1 << 30),
                        t=choice.choice(schedule.common_times()),
                        strength=choice.choice([0.0, 1.0, 2.0, 3.5]),
                    )
                    for _ in range(choice.randint(1, 6))
                ]
                together = dit.velocities(company)
                for one, found in zip(company, together, strict=True):
                    assert relative(found, dit.velocities([one])[0]) < 1e-6

    def test_alone_is_the_same_bits_every_time(self, dit: DiT) -> None:
        with torch.inference_mode():
            one = request(dit, 120, seed=1)
            first = dit.velocities([one])[0]
            dit.velocities([request(dit, 77, seed=2), one])
            assert torch.equal(first, dit.velocities([one])[0])

    def test_nothing_given_is_changed(self, dit: DiT) -> None:
        with torch.inference_mode():
            company = [request(dit, 60, seed=1), request(dit, 40, seed=2, strength=0.0)]
            kept = [(e.x.clone(), e.prompt.conditional.clone(), e.prompt.unconditional.clone()) for e in company]
            row = dit.modulations.row(0.25).clone()
            dit.velocities(company)
            for evaluation, (x, conditional, unconditional) in zip(company, kept, strict=True):
                assert torch.equal(evaluation.x, x)
                assert torch.equal(evaluation.prompt.conditional, conditional)
                assert torch.equal(evaluation.prompt.unconditional, unconditional)
            assert torch.equal(dit.modulations.row(0.25), row)

    def test_not_a_number_stays_with_its_owner(self, dit: DiT) -> None:
        with torch.inference_mode():
            well, sick = request(dit, 90, seed=1), request(dit, 50, seed=2)
            sick = dataclasses.replace(sick, x=torch.full_like(sick.x, float("nan")))
            together = dit.velocities([sick, well])
            assert torch.isnan(together[0]).all()
            assert relative(together[1], dit.velocities([well])[0]) < 1e-6

    def test_a_row_of_gaps_is_the_same_convolution(self, dit: DiT) -> None:
        """What a GPU does instead of one convolution for each segment."""
        pack = lay_out([30, 7, 100], [True, False, True], rotary_table(torch.ones(8), 200, torch.device("cpu")))
        hidden = torch.from_numpy(np.random.default_rng(0).standard_normal((pack.tokens, 64)).astype(np.float32))
        with torch.inference_mode():
            assert relative(dit.placed.together(hidden, pack), dit.placed(hidden, pack)) < 1e-6

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_reordered_weights_are_the_same_convolution(self, dtype: torch.dtype) -> None:
        """And so is what remains where torch cannot reorder them."""
        noise = torch.Generator().manual_seed(0)
        shape = (64, 64 // convolution.GROUPS, convolution.KERNEL)
        pairs = [(torch.randn(shape, generator=noise) * 0.1, torch.randn(64, generator=noise)) for _ in range(2)]
        hidden = torch.randn(50, 64, generator=noise)
        pack = lay_out([9, 41], [False, False], rotary_table(torch.ones(8), 50, torch.device("cpu")))
        assert convolution.can_prepack(dtype), "this torch has what ours is built on"
        found = convolution.PositionalConvolution([(w.to(dtype), b.to(dtype)) for w, b in pairs])(
            hidden.to(dtype), pack
        )
        wanted = []
        for start, end in pack.segments:
            x = hidden[start:end].t()[None]
            for weight, bias in pairs:
                x = torch.nn.functional.conv1d(x, weight, bias, padding=convolution.REACH, groups=convolution.GROUPS)
                x = torch.nn.functional.mish(x)
            wanted.append(x[0].t())
        assert relative(found, torch.cat(wanted)) < (1e-6 if dtype == torch.float32 else 0.02)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(convolution, "can_prepack", lambda dtype: False)
            assert relative(convolution.PositionalConvolution(pairs)(hidden, pack), torch.cat(wanted)) < 1e-6

    def test_mish(self) -> None:
        x = torch.cat((torch.linspace(-30, 30, 6001), torch.tensor([-1e30, 88.0, 1e30, float("inf")])))
        found, wanted = convolution.mish(x.clone()), torch.nn.functional.mish(x.double())
        assert float(((found.double() - wanted) / wanted.abs().clamp(min=1))[:-1].abs().max()) < 1e-6
        assert float(found[-1]) == float("inf")
        assert bool(convolution.mish(torch.tensor([float("nan")])).isnan())

    def test_not_a_number_stays_with_its_owner_in_a_row_of_gaps(self, dit: DiT) -> None:
        """Zero times it is no zero."""
        pack = lay_out([30, 20, 40], [False, False, False], rotary_table(torch.ones(8), 200, torch.device("cpu")))
        hidden = torch.from_numpy(np.random.default_rng(0).standard_normal((pack.tokens, 64)).astype(np.float32))
        with torch.inference_mode():
            wanted = dit.placed.together(hidden, pack)
            hidden[30:50] = float("nan")
            found = dit.placed.together(hidden, pack)
        assert torch.isnan(found[30:50]).all()
        assert torch.equal(found[:30], wanted[:30])
        assert torch.equal(found[50:], wanted[50:])

    def test_modulations_by_row_are_the_same(self, dit: DiT) -> None:
        """What a GPU does instead of a loop over requests."""
        pack = lay_out([30, 7], [True, False], rotary_table(torch.ones(8), 200, torch.device("cpu")))
        hidden = torch.from_numpy(np.random.default_rng(0).standard_normal((pack.tokens, 64)).astype(np.float32))
        rows = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 2, 64)).astype(np.float32))
        by_row = elementwise.EAGER.norm(hidden, *rows[:, pack.index], torch.float32)
        for number, (start, end) in enumerate(pack.spans):
            alone = elementwise.EAGER.norm(hidden[start:end], rows[0, number], rows[1, number], torch.float32)
            assert relative(by_row[start:end], alone) < 1e-6

    @pytest.mark.parametrize("cores", [1, 2, 3, 8])
    def test_every_core_has_as_many_heads(self, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
        for frames in range(8, 2000, 24):
            some = attention._heads_at_once(16, 2 * frames * frames)
            assert some in (1, 16) or some % cores == 0
            held = min(16, max(1, attention._SCORES_BYTES // (2 * frames * frames)))
            assert some < held + cores

    @pytest.mark.parametrize("attend", [attention.products, attention.fused])
    @pytest.mark.parametrize("frames", [[50], [40, 40], [30, 77, 1]])
    def test_attention_is_exact(self, attend: attention.Attention, frames: list[int]) -> None:
        pack = lay_out(frames, [True] * len(frames), rotary_table(torch.ones(8), 200, torch.device("cpu")))
        q, k, v = (torch.randn(4, pack.tokens, 16, generator=torch.Generator().manual_seed(i)) for i in range(3))
        found = attend(q, k, v, pack).view(pack.tokens, 4, 16).transpose(0, 1)
        for start, end in pack.segments:
            assert relative(found[:, start:end].double(), attended(q, k, v, start, end)) < 1e-6

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("score", [400.0, -400.0, 90.0, -90.0])
    def test_scores_beyond_the_range_of_numbers_are_counted_from_their_greatest(
        self, score: float, dtype: torch.dtype
    ) -> None:
        pack = lay_out([40], [False], rotary_table(torch.ones(8), 40, torch.device("cpu")))
        q, k, v = (torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(i)) for i in range(3))
        # One head of two is out of range: all of its scores are about ``score``.
        q[0, :, 0], k[0, :, 0] = score, 1.0
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
        found = attention.products(q, k, v, pack).view(40, 2, 16).transpose(0, 1)
        wanted = attended(q, k, v, 0, 40)
        assert relative(found[1].double(), wanted[1]) < (1e-6 if dtype == torch.float32 else 1e-2)
        # Scores themselves are rounded: in bfloat16 a score of 400 to the next even number.
        assert relative(found[0].double(), wanted[0]) < (1e-4 if dtype == torch.float32 else 0.7)

    def test_attention_passes_on_what_is_no_number(self) -> None:
        pack = lay_out([40], [False], rotary_table(torch.ones(8), 40, torch.device("cpu")))
        q = torch.full((2, 40, 16), float("nan"))
        assert bool(attention.products(q, q, q, pack).isnan().all())

    def test_attention_of_long_segments_is_cut_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pack = lay_out([300], [False], rotary_table(torch.ones(8), 300, torch.device("cpu")))
        q, k, v = (torch.randn(4, 300, 16, generator=torch.Generator().manual_seed(i)) for i in range(3))
        whole = attention.products(q, k, v, pack)
        monkeypatch.setattr(attention, "_SCORES_BYTES", 20_000)
        assert relative(attention.products(q, k, v, pack), whole) < 1e-6


class TestElementwise:
    """The compiler's versions are other code: the same functions, not compiled here, must give the same."""

    def test_what_the_compiler_makes_outlives_the_machines_restart(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        from torch._inductor.runtime.runtime_utils import cache_dir

        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        # So that what is set in between is taken back.
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
        for own, wanted in ((None, tmp_path / "ishowtts" / "torchinductor"), (tmp_path / "own", tmp_path / "own")):
            monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
            if own is not None:
                monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(own))
            elementwise.compiled.cache_clear()
            elementwise.compiled()
            assert cache_dir() == str(wanted)
        elementwise.compiled.cache_clear()

    @pytest.fixture
    def plain(self, monkeypatch: pytest.MonkeyPatch) -> elementwise.Elementwise:
        def uncompiled(function: Callable[..., object], dynamic: bool) -> Callable[..., object]:
            assert dynamic
            return function

        monkeypatch.setattr(torch, "compile", uncompiled)
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "unused")
        elementwise.compiled.cache_clear()
        made = elementwise.compiled()
        elementwise.compiled.cache_clear()
        return made

    def test_both_sets_agree(self, plain: elementwise.Elementwise) -> None:
        eager, noise = elementwise.EAGER, torch.Generator().manual_seed(0)
        h, y = (torch.randn(20, 64, generator=noise) for _ in range(2))
        scale, shift = (torch.randn(64, generator=noise) for _ in range(2))
        products = torch.randint(-9999, 9999, (20, 64), generator=noise, dtype=torch.int32)
        token, row, bias = torch.rand(20, 1, generator=noise) / 1e3, torch.rand(64, generator=noise), shift
        pairs = [
            (plain.norm_quantise(h, scale, shift, torch.int8), eager.norm_quantise(h, scale, shift, torch.int8)),
            (plain.quantise(y, torch.int8), eager.quantise(y, torch.int8)),
            (
                plain.dequantise_gelu_quantise(products, token, row, bias, torch.int8),
                eager.dequantise_gelu_quantise(products, token, row, bias, torch.int8),
            ),
        ]
        for found, wanted in pairs:
            # A value between two integers may fall to either side.
            assert int((found[0].int() - wanted[0].int()).abs().max()) <= 1
            assert relative(found[1], wanted[1]) < 1e-6
        gated = plain.dequantise_gate(h.clone(), products, token, row, bias, scale)
        assert relative(gated, h + (products * token * row + bias) * scale) < 1e-6

    def test_the_compiler_is_left_nothing_where_kernels_are_taken(
        self, plain: elementwise.Elementwise, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And says so: it would take its minutes for nothing."""
        fused = dataclasses.replace(elementwise.EAGER, looks_up=True)
        cuda, cpu = torch.device("cuda"), torch.device("cpu")
        monkeypatch.setattr(elementwise, "compiled", lambda: plain)
        for kernels in (None, SimpleNamespace(fused=lambda ops: ops), SimpleNamespace(fused=lambda ops: fused)):
            monkeypatch.setattr(elementwise, "_triton", lambda kernels=kernels: kernels)
            taken = fused if kernels is not None and kernels.fused(None) is fused else None
            assert elementwise.choose(cuda, False) is (taken or elementwise.EAGER)
            assert not caplog.messages
            assert elementwise.choose(cpu, True) is plain
            assert elementwise.choose(cuda, True) is (taken or plain)
        assert caplog.messages == [
            'f5: compile = "on" changes nothing here: Triton\'s kernels do all that it would compile'
        ]
        assert plain.compiled
        assert not fused.compiled

    def test_gelu_is_the_tanh_approximation(self) -> None:
        x = torch.linspace(-12, 12, 4001)
        wanted = torch.nn.functional.gelu(x.double(), approximate="tanh")
        assert float((elementwise._gelu(x).double() - wanted).abs().max()) < 1e-6

    @pytest.mark.parametrize("positioned", [1, 4])
    def test_positions_turn_pairs(self, positioned: int) -> None:
        noise = torch.Generator().manual_seed(0)
        qkv, angles = torch.randn(20, 192, generator=noise), torch.randn(20, 8, generator=noise)
        found = elementwise.EAGER.rope(qkv, torch.stack((angles.cos(), angles.sin()), -1), 4, positioned)
        wanted = qkv.view(20, 3, 4, 8, 2).clone()
        a, b = wanted[:, :2, :positioned].clone().unbind(-1)
        cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
        wanted[:, :2, :positioned] = torch.stack((a * cos - b * sin, b * cos + a * sin), -1)
        assert relative(found, wanted.flatten(-2).permute(1, 2, 0, 3)) < 1e-6


class TestFewTokens:
    """cuBLAS has no integer products of 16 rows and fewer."""

    @pytest.mark.parametrize("tokens", [1, 16, 17, 31, 32, 40])
    def test_are_filled_up_where_they_are_refused(self, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
        product, rows = torch._int_mm, []

        def as_on_cuda(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            if x.shape[0] <= 16:
                raise RuntimeError("self.size(0) needs to be greater than 16")
            rows.append(x.shape[0])
            return product(x, weight)

        noise = torch.Generator().manual_seed(0)
        linear = Int8Linear(torch.randn(24, 16, generator=noise), None, torch.device("cpu"))
        x = torch.randint(-127, 128, (tokens, 16), generator=noise, dtype=torch.int8)
        wanted = linear(x)
        monkeypatch.setattr(torch, "_int_mm", as_on_cuda)
        monkeypatch.setitem(LEAST_ROWS, "cpu", LEAST_ROWS["cuda"])
        assert torch.equal(linear(x), wanted)
        assert rows == [max(tokens, 32)]


class TestTimes:
    def test_an_uncommon_time_is_read_from_the_file(self, tmp_path: Path) -> None:
        dit = load(tmp_path)
        before = dit.modulations.nbytes
        with torch.inference_mode():
            odd = dit.modulations.row(0.123)
            assert dit.modulations.nbytes > before
            assert torch.equal(dit.modulations.row(0.123), odd)
            # However it was made: with others or alone.
            dit.modulations.prepare([0.1, 0.2, 0.3])
            again = load(tmp_path)
            again.modulations.prepare([0.05, 0.123, 0.9])
            assert torch.equal(again.modulations.row(0.123), odd)

    def test_a_file_that_changed_meanwhile_is_not_read(self, tmp_path: Path) -> None:
        dit = load(tmp_path)
        (tmp_path / "dit.safetensors").write_bytes(b"another")
        with pytest.raises(InvalidSetting, match="changed"):
            dit.modulations.row(0.123)

    def test_what_is_kept_is_bounded(self, tmp_path: Path) -> None:
        dit = load(tmp_path)
        sizes = set()
        for group in range(8):
            dit.modulations.prepare([0.001 * (group * 32 + k) + 1e-5 for k in range(32)])
            sizes.add(dit.modulations.nbytes)
        assert len(sizes) < 8


class TestText:
    def test_is_cached_within_bounds(self, dit: DiT) -> None:
        with torch.inference_mode():
            ids = np.arange(10)
            first = dit.text.embed(ids, 50)
            again = dit.text.embed(ids.copy(), 50)
            assert first[0] is again[0]
            assert first[1] is again[1]
            assert dit.text.embed(ids, 51)[0] is not first[0]
            for length in range(1, 400):
                dit.text.embed(np.zeros(length, np.int64), 4000)
            assert dit.text.cached_bytes <= 64 << 20
        dit.text.forget()
        assert dit.text.cached_bytes == 0

    def test_without_text_still_depends_on_the_texts_length(self, dit: DiT) -> None:
        with torch.inference_mode():
            short, long = (dit.text.embed(np.arange(length), 50)[1] for length in (10, 30))
            dit.text.forget()
            assert torch.equal(dit.text.embed(np.arange(30), 50)[1], long)
            assert relative(short, long) > 0.1

    def test_knows_its_longest(self, dit: DiT) -> None:
        with torch.inference_mode():
            assert dit.text.embed(np.zeros(3, np.int64), MAX_FRAMES)[0].shape == (MAX_FRAMES, 32)
            with pytest.raises(ValueError, match="8192"):
                dit.text.embed(np.zeros(3, np.int64), MAX_FRAMES + 1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("model", "said"),
        [
            (ModelConfig("E2TTS_Base", "UNetT", f5_model.ARCH), "UNetT"),
            (ModelConfig("x", "MMDiT", f5_model.ARCH), "MMDiT"),
            (ModelConfig("x", "DiT", f5_model.ARCH, mel_spec_type="bigvgan"), "bigvgan"),
            (ModelConfig("x", "DiT", f5_model.ARCH | {"qk_norm": "layer"}), "qk_norm"),
            (ModelConfig("x", "DiT", f5_model.ARCH | {"new": 1}), "new"),
            (ModelConfig("x", "DiT", f5_model.ARCH | {"dim": "64"}), "dim"),
            (ModelConfig("x", "DiT", f5_model.ARCH | {"depth": 0}), "below 1"),
            (ModelConfig("x", "DiT", {"heads": 4}), "lacks 'dim'"),
        ],
    )
    def test_name_the_reason(self, model: ModelConfig, said: str) -> None:
        with pytest.raises(InvalidSetting, match=said):
            architecture(model)

    def test_dtypes_and_devices(self) -> None:
        with pytest.raises(InvalidSetting, match="dtype must be one of"):
            precision.choose("cpu", "fp4")
        with pytest.raises(InvalidSetting, match="fp16 is for GPUs"):
            precision.choose("cpu", "fp16")
        with pytest.raises(InvalidSetting, match="cuda:99"):
            precision.choose("cuda:99", "auto")
        with pytest.raises(InvalidSetting, match="auto, cpu or cuda:N"):
            precision.choose("tpu", "auto")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
class TestCuda:
    def test_gives_what_the_cpu_gives(self, tmp_path: Path) -> None:
        model = f5_model.config()
        save_file(f5_model.dit_weights(model), tmp_path / "dit.safetensors")
        with torch.inference_mode():
            cpu, cuda = (
                DiT(
                    architecture(model),
                    Checkpoint(tmp_path / "dit.safetensors"),
                    len(f5_model.TOKENS),
                    precision.choose(device, "fp32"),
                )
                for device in ("cpu", "cuda")
            )
            here = [request(cpu, 100, 1), request(cpu, 33, 2, strength=0.0)]
            there = [
                Evaluation(
                    cuda.prompt(np.zeros(5, np.int64), e.x[:20].cuda(), len(e.x)), e.x.cuda(), e.t, e.cfg_strength
                )
                for e in here
            ]
            wanted = [
                Evaluation(cpu.prompt(np.zeros(5, np.int64), e.x[:20], len(e.x)), e.x, e.t, e.cfg_strength)
                for e in here
            ]
            for found, should in zip(cuda.velocities(there), cpu.velocities(wanted), strict=True):
                assert relative(found.cpu(), should) < 1e-4
