"""The operators of f5's network: each equal to its definition, however it is worked out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from f5_model import relative  # noqa: E402
from ishowtts.engines.f5 import attention, convolution, elementwise  # noqa: E402
from ishowtts.engines.f5.linear import _LEAST_INT8_ROWS as LEAST_ROWS  # noqa: E402
from ishowtts.engines.f5.linear import Int8Linear  # noqa: E402
from ishowtts.engines.f5.pack import lay_out, rotary_table  # noqa: E402


class TestConvolution:
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


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """In double precision, ``[heads, frames, dim_head]``."""
    q, k, v = (x[:, start:end].double() for x in (q, k, v))
    return torch.softmax(q @ k.transpose(1, 2) / elementwise.LOG2_E, -1) @ v


class TestAttention:
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
        monkeypatch.setattr(attention, "_ROWS_BYTES", 80_000)
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
