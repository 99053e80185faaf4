"""f5's kernels for GPUs, as far as a CPU can run them: Triton's through its interpreter, float8 products through
torch's own; and on a device where there is one."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import f5_model  # noqa: E402
from f5_model import evaluation, load_dit, relative  # noqa: E402
from ishowtts.engines.f5 import attention, convolution, elementwise, linear, output, precision, vocos  # noqa: E402
from ishowtts.engines.f5.dit import DiT, Evaluation  # noqa: E402
from ishowtts.engines.f5.precision import Precision  # noqa: E402
from ishowtts.errors import InvalidSetting  # noqa: E402

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
FP8 = torch.float8_e4m3fn

INTERPRETED = """
import torch
from ishowtts.engines.f5 import elementwise, triton_kernels
cpu = torch.device("cpu")
print(triton_kernels.check(cpu, torch.float32), triton_kernels.check(cpu, torch.bfloat16))
# The interpreter's own rounding to float8 loses carries: values that need none.
grid = torch.tensor([[448.0, 240.0, -0.875, 3.5], [-448.0, 0.015625, 104.0, 0.0]])
found, wanted = (ops.quantise(grid, torch.float8_e4m3fn) for ops in (triton_kernels, elementwise.EAGER))
assert found[0].float().equal(wanted[0].float()) and found[1].equal(wanted[1])
"""


def test_triton_kernels_do_what_the_eager_operators_do() -> None:
    pytest.importorskip("triton", reason="triton is not installed here")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    single, half = map(float, done.stdout.split())
    assert single < 1e-6
    assert half < 1e-2


COMPILED = """
import sys
import torch
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ishowtts.engines.f5 import triton_kernels as kernels
PLACES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int8: "*i8",
    torch.int32: "*i32", torch.int64: "*i64", torch.float8_e4m3fn: "*fp8e4nv"}
made = set()
class Recorded:
    def __init__(self, kernel):
        self.kernel = kernel
    def __getitem__(self, grid):
        return self.compile
    def compile(self, *given, **constants):
        names = self.kernel.arg_names
        types = dict(zip(names, [PLACES[g.dtype] if isinstance(g, torch.Tensor) else "i32" for g in given]))
        signature = {name: types.get(name, "constexpr") for name in names}
        source = ASTSource(self.kernel, signature, {(names.index(name),): value for name, value in constants.items()})
        for capability in map(int, sys.argv[1:]):
            if capability >= 89 or "*fp8e4nv" not in types.values():
                assert "cubin" in compile(source, target=GPUTarget("cuda", capability, 32)).asm
        made.add(self.kernel.fn.__name__)
names = [name for name in vars(kernels) if name.endswith("_kernel")]
for name in names:
    setattr(kernels, name, Recorded(getattr(kernels, name)))
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    kernels.check(torch.device("cpu"), dtype, (torch.int8, torch.float8_e4m3fn))
assert made == set(names), made
"""


def test_triton_kernels_compile_for_devices_that_are_not_here(tmp_path: Path) -> None:
    """All of them, for all numbers that the engine may give them: Orin and Hopper."""
    pytest.importorskip("triton.backends.nvidia", reason="triton is not installed here")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-c", COMPILED, "87", "90"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_table_is_what_each_request_has_by_itself() -> None:
    """What kernels look up is what is copied for each token without them."""
    from ishowtts.engines.f5.block import Table

    rows, index = torch.arange(24.0).view(2, 3, 4), torch.tensor([0, 1, 1])
    looked_up, copied = Table(rows, index, True)[2], Table(rows, index, False)[2]
    assert isinstance(looked_up, elementwise.Lookup)
    assert looked_up.rows[looked_up.index].equal(copied)  # type: ignore[arg-type]


needs_packed = pytest.mark.skipif(
    not linear.can_pack_int8(torch.float32), reason="this CPU's torch has no packed int8 products"
)


class TestPackedInt8:
    """oneDNN's products in reordered weights are those of the plain ones."""

    @staticmethod
    def both(dtype: torch.dtype) -> tuple[linear.PackedInt8Linear, linear.Int8Linear]:
        noise = torch.Generator().manual_seed(0)
        weight, bias = torch.randn(48, 32, generator=noise), torch.randn(48, generator=noise)
        return linear.PackedInt8Linear(weight, bias, dtype), linear.Int8Linear(weight, bias, torch.device("cpu"))

    @needs_packed
    @pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
    @pytest.mark.parametrize("tokens", [1, 7, 200])
    def test_give_what_the_plain_ones_give(self, dtype: torch.dtype, bound: float, tokens: int) -> None:
        packed, plain = self.both(dtype)
        y = torch.randn(tokens, 32, generator=torch.Generator().manual_seed(1))
        products = []
        for product in (packed, plain):
            integers, scale = elementwise.EAGER.quantise(y, product.kind)
            products.append(elementwise.EAGER.dequantise(product(integers), scale, product.scale, product.bias, dtype))
        found, wanted = (made.float() for made in products)
        assert float((found - wanted).abs().max() / wanted.abs().max()) < bound
        assert packed.nbytes < plain.nbytes + 1024

    def test_are_left_where_they_are_wrong_slow_or_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cpu, weight = torch.device("cpu"), torch.randn(16, 16)

        class Sixteen(linear.PackedInt8Linear):
            """Sums end at 16 bits, as on processors without an instruction of their own."""

            def __call__(self, quantised: torch.Tensor) -> torch.Tensor:
                return super().__call__(quantised).clamp(max=32767 * float(self._rows.max()))

        class Slow(linear.PackedInt8Linear):
            def __call__(self, quantised: torch.Tensor) -> torch.Tensor:
                for _ in range(3000):
                    super().__call__(quantised)
                return super().__call__(quantised)

        class Missing(linear.PackedInt8Linear):
            def __init__(self, *_: object) -> None:
                raise AttributeError("no such operator")

        try:
            for kind in (Sixteen, Slow, Missing):
                monkeypatch.setattr(linear, "PackedInt8Linear", kind)
                linear.can_pack_int8.cache_clear()
                assert isinstance(linear.int8_linear(weight, None, torch.float32, cpu), linear.Int8Linear), kind
        finally:
            linear.can_pack_int8.cache_clear()


def test_some_tokens_at_a_time_give_what_all_give_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.Generator().manual_seed(0)
    h, y = torch.randn(23, 16, generator=noise), torch.randn(23, 16, generator=noise).bfloat16()
    scale, shift, bias = (torch.randn(16, generator=noise) for _ in range(3))
    products, token = torch.randint(-999, 999, (23, 16), generator=noise, dtype=torch.int32), torch.rand(23, 1)
    ops, kind = elementwise.EAGER, torch.uint8

    def everything() -> list[torch.Tensor]:
        return [
            ops.norm(h, scale, shift, torch.bfloat16),
            ops.gate(h.clone(), y, scale),
            *ops.norm_quantise(h, scale, shift, kind),
            *ops.quantise(y, kind),
            ops.dequantise(products, token, scale, bias, torch.bfloat16),
            ops.dequantise_gate(h.clone(), products, token, None, bias, scale),
            *ops.dequantise_gelu_quantise(products, token, scale, bias, kind),
        ]

    together = everything()
    monkeypatch.setattr(elementwise, "_TOKENS_AT_ONCE", 5)
    for found, wanted in zip(everything(), together, strict=True):
        assert torch.equal(found, wanted)


needs_fp8 = pytest.mark.skipif(
    not linear.can_fp8(torch.device("cpu")), reason="this torch has no float8 products on the CPU"
)


def company(dit: DiT) -> list[Evaluation]:
    return [evaluation(dit, *given) for given in ((60, 3, 0.0, 2.0), (33, 4, 0.25, 0.0), (90, 5, 0.5, 1.0))]


@needs_fp8
@torch.inference_mode()
def test_float8_is_near_and_no_request_hears_another(small: f5_model.Small) -> None:
    cpu = torch.device("cpu")
    exact = load_dit(small.files.checkpoint, Precision("fp32", cpu, torch.float32))
    dit = load_dit(small.files.checkpoint, Precision("fp8", cpu, torch.bfloat16))
    wanted = exact.velocities(company(exact))
    together, alone = dit.velocities(company(dit)), [dit.velocities([one])[0] for one in company(dit)]
    for number in range(3):
        assert 1e-4 < relative(together[number], wanted[number]) < 0.1
        assert relative(together[number], alone[number]) < 0.02
    assert dit.nbytes < exact.nbytes


def test_float8_is_refused_where_it_would_be_slow() -> None:
    with pytest.raises(InvalidSetting, match="float8"):
        precision.choose("cpu", "fp8")


@torch.inference_mode()
def test_overlap_that_waits_for_no_device_is_torchs_own() -> None:
    noise = torch.Generator().manual_seed(0)
    for frames in (2, 5, 40):
        spectrum = torch.fft.rfft(torch.randn(frames, 1024, generator=noise)).t()
        window = torch.hann_window(1024)
        wanted = torch.istft(spectrum[None], 1024, 256, 1024, window, center=True)[0]
        found = vocos.overlap_add(spectrum, window)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-5


def test_flash_attention_is_probed_and_never_on_a_cpu() -> None:
    cpu = torch.device("cpu")
    assert not attention.can_varlen(cpu, torch.bfloat16)
    assert attention.choose(cpu, torch.bfloat16) is attention.products


def flash(q: Any, k: Any, v: Any, starts: Any, *rest: Any, scale: float) -> Any:
    """As torch's own, on a CPU: ``[tokens, heads, dim]``."""
    assert not torch.backends.cuda.cudnn_sdp_enabled(), "cuDNN would be asked"
    edges = starts.tolist()
    parts = [x.transpose(0, 1) for x in (q, k, v)]
    out = torch.empty_like(q)
    for start, end in itertools.pairwise(edges):
        scores = parts[0][:, start:end] @ parts[1][:, start:end].transpose(1, 2) * scale
        out[start:end] = (scores.softmax(-1) @ parts[2][:, start:end]).transpose(0, 1)
    return out


def test_flash_attention_is_tried_on_the_layout_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="this torch has no packed attention")
    cpu, was = torch.device("cpu"), torch.backends.cuda.cudnn_sdp_enabled()
    monkeypatch.setattr(varlen, "varlen_attn", flash)
    torch.backends.cuda.enable_cudnn_sdp(True)
    try:
        assert attention.varlen_error(cpu, torch.float32) < 1e-5
        assert torch.backends.cuda.cudnn_sdp_enabled(), "for others it is as it was"
    finally:
        torch.backends.cuda.enable_cudnn_sdp(was)
    # One that takes tokens to lie one behind the other, and one that gives no numbers for what is empty.
    monkeypatch.setattr(
        varlen, "varlen_attn", lambda q, *rest, **given: flash(q.reshape(2, -1, 64).transpose(0, 1), *rest, **given)
    )
    assert attention.varlen_error(cpu, torch.float32) > 0.1
    monkeypatch.setattr(varlen, "varlen_attn", lambda *given, **scale: flash(*given, **scale) * float("nan"))
    assert not attention.varlen_error(cpu, torch.float32) < 2e-2


@CUDA
@torch.inference_mode()
def test_the_vocoder_never_waits_for_the_device(small: f5_model.Small) -> None:
    device = torch.device("cuda:0")
    made = output.choose(vocos.Vocos(small.files.vocoder_dir, device), device)
    mel = torch.zeros(30, 100, device=device)
    wanted = made.begin(mel)()
    torch.cuda.set_sync_debug_mode("error")
    try:
        taking = made.begin(mel)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert taking().tobytes() == wanted.tobytes()


@CUDA
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_packed_attention_on_a_device(dtype: torch.dtype) -> None:
    device = torch.device("cuda:0")
    if attention.choose(device, dtype) is attention.varlen:
        assert attention.varlen_error(device, dtype) < 1e-2


@CUDA
@torch.inference_mode()
def test_kernels_on_a_device() -> None:
    triton_kernels = pytest.importorskip("ishowtts.engines.f5.triton_kernels", reason="triton is not installed here")
    device = torch.device("cuda:0")
    kinds = (torch.int8, FP8) if linear.can_fp8(device) else (torch.int8,)
    assert triton_kernels.check(device, torch.float32, kinds) < 1e-5
    assert elementwise.choose(device, False).looks_up


@torch.inference_mode()
@pytest.mark.parametrize("asked_for", ["tf32", "ieee"])
def test_no_convolution_is_left_to_tf32(small: f5_model.Small, monkeypatch: pytest.MonkeyPatch, asked_for: str) -> None:
    """It is torch's default on CUDA, and has a hundredth of the precision. A program around this one may have said
    otherwise, in torch's newer way, beside which the older cannot be read."""
    cudnn: Any = torch.backends.cudnn
    # What probes the CPU's own kernels may have them as it likes.
    convolution.can_prepack(torch.float32)
    newer = precision.has_own_setting()
    place, name = (cudnn.conv, "fp32_precision") if newer else (cudnn, "allow_tf32")
    asked: list[object] = []
    original, was = torch.nn.functional.conv1d, getattr(place, name)
    monkeypatch.setattr(
        torch.nn.functional,
        "conv1d",
        lambda *given, **rest: (asked.append(getattr(place, name)), original(*given, **rest))[1],
    )
    around = asked_for if newer else asked_for == "tf32"
    setattr(place, name, around)
    try:
        dit = load_dit(small.files.checkpoint, Precision("fp32", torch.device("cpu"), torch.float32))
        dit.velocities(company(dit))
        before = len(asked)
        vocos.Vocos(small.files.vocoder_dir, torch.device("cpu")).decode(torch.zeros(30, 100))
        assert getattr(place, name) == around, "for others it is as it was"
    finally:
        setattr(place, name, was)
    assert 0 < before < len(asked)
    assert set(asked) == ({"ieee"} if newer else {False})


@CUDA
@torch.inference_mode()
def test_kernels_reach_beyond_32_bits() -> None:
    triton_kernels = pytest.importorskip("ishowtts.engines.f5.triton_kernels", reason="triton is not installed here")
    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("this takes 9 GiB of the device's memory")
    dim = 4096
    tokens = (1 << 31) // dim + 8
    y = torch.zeros(tokens, dim, dtype=torch.float16, device="cuda:0")
    y[-1] = torch.arange(dim, device="cuda:0") % 128
    found, scales = triton_kernels.quantise(y, torch.int8)
    assert found[-1].float().equal(y[-1].float())
    assert float(scales[-1]) == pytest.approx(1.0)


@CUDA
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8", "fp8"])
@torch.inference_mode()
def test_every_precision_on_a_device(small: f5_model.Small, dtype: str) -> None:
    try:
        numbers = precision.choose("cuda:0", dtype)
    except InvalidSetting as error:
        pytest.skip(str(error))
    exact = load_dit(small.files.checkpoint, Precision("fp32", torch.device("cpu"), torch.float32))
    wanted = exact.velocities(company(exact))
    bound = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2, "int8": 0.1, "fp8": 0.1}[dtype]
    dit = load_dit(small.files.checkpoint, numbers)
    plain = dataclasses.replace(elementwise.EAGER)
    for ops in (dit._ops, plain):
        for block in dit._blocks:
            block._ops = ops  # type: ignore[attr-defined]
        dit._ops = ops
        for found, true in zip(dit.velocities(company(dit)), wanted, strict=True):
            assert relative(found, true) < bound
