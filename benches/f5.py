"""F5-TTS: our inference beside the upstream package, in one run, with the same weights (random ones: figures of speed
and numerical error, never of quality). Parts can be chosen; all figures go to one JSON file.

    python benches/f5.py --json FILE [--only speed,parity] [--frames 750] [--compile]
    python benches/f5.py --device-pack FOLDER      what a machine without the upstream package needs to run this
    python benches/f5.py --packed FOLDER --only cuda --json FILE      there; its own packages go first
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import f5_cuda
import f5_scheduling
import f5_upstream
import numpy as np
import torch
from figures import keep
from ishowtts.engine import Segment, Voice
from ishowtts.engines.f5 import dit as dits
from ishowtts.engines.f5 import memory, precision, text, vocos_onnx
from ishowtts.engines.f5.checkpoint import Checkpoint
from ishowtts.engines.f5.config import architecture
from ishowtts.engines.f5.engine import F5, Options, load_files
from ishowtts.engines.f5.linear import Linear
from ishowtts.engines.f5.models import ModelConfig
from ishowtts.engines.f5.schedule import grid
from ishowtts.engines.f5.vocos import Vocos
from ishowtts.engines.f5.weights import Files
from ishowtts.errors import InvalidSetting

MODEL = ModelConfig("F5TTS_v1_Base", "DiT", f5_upstream.ARCH)
TOKENS = 2545
REFERENCE_SHARE = 0.4
ROUNDS = 5
PARTS = ("speed", "parity", "packing", "loading", "scheduling", "cuda")


class Bench:
    """One set of weights on disk, the upstream model that they came from, and the figures so far."""

    def __init__(self, folder: Path, frames: int, compiled: bool) -> None:
        self.folder = folder
        self.frames = frames
        self.compiled = compiled
        self.figures: dict[str, Any] = {"machine": machine()}
        self.json: Path | None = None
        self.paths: list[str] = [*f5_cuda.PATHS, *f5_cuda.OTHERS]
        self.checkpoint = folder / "model.safetensors"
        self.vocabulary = folder / "vocab.txt"
        letters = [" ", *map(chr, range(33, 127))]
        rest = [f"token{number}" for number in range(TOKENS - len(letters))]
        self.vocabulary.write_text("".join(token + "\n" for token in letters + rest), "utf-8")
        self.upstream = f5_upstream.dit(TOKENS)
        self.upstream_vocos = f5_upstream.vocos(folder / "vocos")
        from safetensors.torch import save_file

        weights = {f"ema_model.transformer.{k}": v.contiguous() for k, v in self.upstream.state_dict().items()}
        save_file(weights, self.checkpoint)
        noise = torch.Generator().manual_seed(1)
        self.reference_frames = int(frames * REFERENCE_SHARE)
        self.reference = torch.randn(self.reference_frames, 100, generator=noise) * 2 - 3
        self.ids = torch.randint(1, TOKENS, (frames // 5,), generator=noise)
        self.x = torch.randn(frames, 100, generator=noise)
        self.cond = torch.nn.functional.pad(self.reference, (0, 0, 0, frames - self.reference_frames))

    def files(self) -> Files:
        return Files(MODEL, self.checkpoint, self.vocabulary, self.folder / "vocos", "Apache-2.0")

    def ours(self, dtype: str, compiled: bool = False, device: str = "cpu") -> dits.DiT:
        with torch.inference_mode():
            numbers = precision.choose(device, dtype)
            return dits.DiT(architecture(MODEL), Checkpoint(self.checkpoint), TOKENS, numbers, compiled=compiled)

    def evaluation(self, model: dits.DiT, t: float = 0.0, strength: float = 2.0) -> dits.Evaluation:
        device = model.precision.device
        prompt = model.prompt(self.ids.numpy(), self.reference.to(device), self.frames)
        return dits.Evaluation(prompt, self.x.to(device), t, strength)

    def their_step(self, model: Any, dtype: torch.dtype, t: float = 0.0, cache: bool = True) -> torch.Tensor:
        out = model(
            x=self.x[None].to(dtype),
            cond=self.cond[None].to(dtype),
            text=self.ids[None],
            time=torch.tensor(t, dtype=dtype),
            cfg_infer=True,
            cache=cache,
        ).float()
        return out[0] + (out[0] - out[1]) * 2.0


def machine() -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": name,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
        "fast_bf16": precision.fast_bf16(),
    }


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.float() - wanted).norm() / wanted.norm())


def side_by_side(work: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """The best time of each in ms; all in turn, so that a busy moment of the machine meets all of them."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds + 1):
        for name, function in work.items():
            started = time.perf_counter()
            function()
            best[name] = min(best[name], (time.perf_counter() - started) * 1e3)
    return best


def speed(bench: Bench) -> dict[str, Any]:
    """A step of one request with guidance."""
    import copy

    bench.upstream.clear_cache()
    bench.upstream.__dict__.pop("_cache_local", None)
    halved = copy.deepcopy(bench.upstream).bfloat16()
    kinds = ["fp32", "bf16", *(["int8"] if precision.can_int8(torch.device("cpu")) else [])]
    models = {kind: bench.ours(kind) for kind in kinds}
    if bench.compiled:
        models |= {f"{kind} compiled": bench.ours(kind, compiled=True) for kind in kinds}
    evaluations = {name: bench.evaluation(model) for name, model in models.items()}
    work: dict[str, Callable[[], object]] = {
        "upstream fp32": lambda: bench.their_step(bench.upstream, torch.float32),
        "upstream bf16": lambda: bench.their_step(halved, torch.bfloat16),
    }
    for name, model in models.items():
        work[name] = lambda model=model, name=name: model.velocities([evaluations[name]])  # type: ignore[misc]
    wanted = bench.their_step(bench.upstream, torch.float32)
    errors = {name: relative(model.velocities([evaluations[name]])[0], wanted) for name, model in models.items()}
    errors["upstream bf16"] = relative(bench.their_step(halved, torch.bfloat16), wanted)
    peaks = gemm_work(2 * bench.frames, ("fp32", "bf16"))
    best = side_by_side(work | {f"products {name}": run for name, (run, _) in peaks.items()})
    bench.upstream.clear_cache()
    flop = step_flop(bench.frames)
    table: dict[str, Any] = {}
    for name in work:
        kind = "fp32" if "fp32" in name else "bf16"
        peak = peaks[kind][1] / best[f"products {kind}"]
        table[name] = {
            "ms": round(best[name], 1),
            "times upstream fp32": round(best["upstream fp32"] / best[name], 2),
            "times upstream bf16": round(best["upstream bf16"] / best[name], 2),
            "share of the product peak": None if "int8" in name else round(flop / best[name] / peak, 2),
            "relative error": errors.get(name, 0.0),
        }
    peak_gflops = {name: round(count / best[f"products {name}"] / 1e6) for name, (_, count) in peaks.items()}
    return {"frames": bench.frames, "gflop a step": round(flop / 1e9), "product peak gflop/s": peak_gflops} | table


def step_flop(frames: int, guided: bool = True) -> float:
    """Of the products, the attention and the convolution."""
    a = f5_upstream.ARCH
    dim, wide = a["dim"], a["dim"] * a["ff_mult"]
    layer = 2 * (4 * dim * dim + 2 * dim * wide) + 4 * frames * dim
    return (2 if guided else 1) * frames * (a["depth"] * layer + 2 * 2 * 31 * dim * dim / 16)


def gemm_work(tokens: int, kinds: tuple[str, ...]) -> dict[str, tuple[Callable[[], object], float]]:
    """The model's own products and nothing else: what a perfect step would be measured against."""
    dim, wide = f5_upstream.ARCH["dim"], f5_upstream.ARCH["dim"] * f5_upstream.ARCH["ff_mult"]
    sizes = ((dim, 3 * dim), (dim, dim), (dim, wide), (wide, dim))
    made: dict[str, tuple[Callable[[], object], float]] = {}
    for kind in kinds:
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[kind]
        layers = [
            (
                Linear(torch.randn(out, into), torch.randn(out), dtype, torch.device("cpu")),
                torch.randn(tokens, into).to(dtype),
            )
            for into, out in sizes
        ]
        made[kind] = (
            lambda layers=layers: [linear(x) for _ in range(4) for linear, x in layers],  # type: ignore[misc]
            4.0 * sum(2 * tokens * into * out for into, out in sizes),
        )
    return made


def parity(bench: Bench) -> dict[str, Any]:
    """One step, whole runs, the vocoder, and the chain from reference and text to sound; float32."""
    model = bench.ours("fp32")
    table: dict[str, Any] = {}
    for t in (0.0, float(grid(7, "epss", -1.0)[3]), 0.6):
        found = model.velocities([bench.evaluation(model, t)])[0]
        table[f"step at t = {t:.3f}"] = relative(found, bench.their_step(bench.upstream, torch.float32, t, cache=False))
    frames = 240
    short = Bench.__new__(Bench)
    short.__dict__.update(bench.__dict__, frames=frames, reference_frames=96, reference=bench.reference[:96])
    short.ids, short.x = bench.ids[:40], torch.randn(frames, 100, generator=torch.Generator().manual_seed(7))
    theirs = f5_upstream.cfm(bench.upstream, None)
    for steps in (7, 16, 32):
        wanted, _ = theirs.sample(
            short.reference[None],
            short.ids[None],
            frames,
            steps=steps,
            cfg_strength=2.0,
            sway_sampling_coef=-1.0,
            seed=7,
        )
        x, times = short.x, grid(steps, "epss", -1.0)
        for index in range(steps):
            t = float(times[index])
            evaluation = dits.Evaluation(short.evaluation(model).prompt, x, t, 2.0) if index == 0 else None
            prompt = evaluation.prompt if evaluation else prompt  # noqa: F821
            x = x + (times[index + 1] - times[index]) * model.velocities([dits.Evaluation(prompt, x, t, 2.0)])[0]
        table[f"{steps} steps"] = relative(x[96:], wanted[0, 96:])
    mel = torch.randn(375, 100) * 1.5 - 2
    ours = Vocos(bench.folder / "vocos", torch.device("cpu"))
    table["vocos"] = relative(ours.decode(mel), bench.upstream_vocos.decode(mel.t()[None])[0])
    work: dict[str, Callable[[], object]] = {
        "vocos, 4 s": lambda: ours.decode(mel),
        "upstream": lambda: bench.upstream_vocos.decode(mel.t()[None]),
    }
    try:
        graph = vocos_onnx.load(bench.folder / "vocos", torch.device("cpu"), 100, "onnx", torch.get_num_threads())
    except InvalidSetting as error:
        table["vocos by ONNX Runtime"] = str(error)
    else:
        work["ONNX Runtime"] = lambda: graph.decode(mel)
        table["vocos by ONNX Runtime"] = relative(graph.decode(mel), ours.decode(mel))
    best = side_by_side(work)
    table["vocos ms"] = {name: round(value, 1) for name, value in best.items()}
    table["whole chain"] = chain(bench)
    return table


def chain(bench: Bench) -> dict[str, float]:
    """Reference audio and text to sound, 7 steps."""
    from f5_tts.infer import utils_infer

    reference = bench.folder / "reference.wav"
    f5_upstream.write_reference(reference)
    spoken, said = "The harbour lights came on one by one.", "And the last boats turned home in the evening."
    clip, clip_text = utils_infer.preprocess_ref_audio_text(str(reference), spoken, show_info=lambda *_: None)
    theirs = f5_upstream.cfm(bench.upstream, text.load_vocab(bench.vocabulary))
    torch.manual_seed(5)
    wanted, _, _ = utils_infer.infer_process(
        clip, clip_text, said, theirs, bench.upstream_vocos, nfe_step=7, device="cpu", show_info=lambda *_: None
    )
    engine = engine_for(bench, "fp32")
    found = speak(engine, said, engine.prepare(Voice("v", "1", (), {}, reference.read_bytes(), spoken)), 5)
    engine.close()
    error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
    return {"correlation": float(np.corrcoef(found, wanted)[0, 1]), "relative error": error}


def engine_for(bench: Bench, dtype: str, device: str = "cpu") -> F5:
    return load_files(bench.files(), Options(dtype=dtype, device=device, nfe_steps=7), torch.get_num_threads())


def speak(engine: F5, said: str, conditioning: Any, seed: int) -> Any:
    engine.admit(0, Segment(said, None, seed, 1.0, {"normalize": False}), conditioning)
    pieces, last = [], False
    while not last:
        for chunk in engine.step([0]):
            if chunk.error is not None:
                raise chunk.error
            pieces.append(chunk.pcm)
            last = chunk.last
    return np.concatenate(pieces)


def packing(bench: Bench) -> dict[str, Any]:
    """Requests of different length, text and time in one step against each alone, and what padding would cost."""
    table: dict[str, Any] = {}
    for kind in ("fp32", "bf16"):
        model = bench.ours(kind)
        company = []
        for number, frames in enumerate((bench.frames, bench.frames // 2, bench.frames // 3)):
            part = Bench.__new__(Bench)
            part.__dict__.update(bench.__dict__, frames=frames, x=bench.x[:frames], ids=bench.ids[: frames // 6])
            part.reference = bench.reference[: frames // 3]
            company.append(part.evaluation(model, float(grid(7, "epss", -1.0)[number])))
        together = model.velocities(company)
        alone = [model.velocities([one])[0] for one in company]
        padded = [dits.Evaluation(company[0].prompt, bench.x, one.t, 2.0) for one in company]
        best = side_by_side(
            {"packed": lambda m=model, c=company: m.velocities(c), "padded": lambda m=model, p=padded: m.velocities(p)},  # type: ignore[misc]
            rounds=2,
        )
        table[kind] = {
            "relative error": max(relative(a, b) for a, b in zip(together, alone, strict=True)),
            "packed ms": round(best["packed"]),
            "padded to the longest ms": round(best["padded"]),
        }
    return table


_LOADING = """
import json, os, sys, time
def memory():
    lines = open("/proc/self/status").read().splitlines()
    return {l.split(":")[0]: int(l.split()[1]) / 1024 for l in lines if l.startswith(("VmRSS", "VmHWM"))}
import torch
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
before, started = memory(), time.perf_counter()
from pathlib import Path
from ishowtts.engines.f5.engine import Options, load_files
from ishowtts.engines.f5 import models, weights
imported = time.perf_counter() - started
folder, arch = Path(sys.argv[1]), json.loads(sys.argv[3])
files = weights.Files(models.ModelConfig("F5TTS_v1_Base", "DiT", arch), folder / "model.safetensors",
    folder / "vocab.txt", folder / "vocos", "Apache-2.0")
started = time.perf_counter()
engine = load_files(files, Options(dtype=sys.argv[2], device="cpu"), torch.get_num_threads())
loaded, after = time.perf_counter() - started, memory()
kept = (engine.dit.nbytes + engine.vocos.nbytes) / 2**20
print(json.dumps({"import s": round(imported, 2), "load and warm up s": round(loaded, 2),
    "weights kept MiB": round(kept),
    "resident beyond torch MiB": round(after["VmRSS"] - before["VmRSS"]), "bound MiB": round(1.1 * kept + 64),
    "peak beyond torch MiB": round(after["VmHWM"] - before["VmRSS"]), "peak bound MiB": round(2 * kept)}))
"""


def loading(bench: Bench) -> dict[str, Any]:
    """In a process of its own, from a warm page cache."""
    table: dict[str, Any] = {}
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    bench.checkpoint.read_bytes()
    for kind in ("fp32", "bf16", "int8"):
        command = [sys.executable, "-c", _LOADING, str(bench.folder), kind, json.dumps(f5_upstream.ARCH)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        table[kind] = json.loads(done.stdout) if done.returncode == 0 else done.stderr[-400:]
    table["packages of the extra beyond torch's own"] = packages()
    return table


def packages() -> int | None:
    """How many the extra f5 brings; None where ishowtts is not installed."""
    from packaging.requirements import Requirement

    def needs(name: str, extra: str) -> list[str]:
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            return []
        found = [Requirement(line) for line in lines]
        return [r.name.lower() for r in found if r.marker is None or r.marker.evaluate({"extra": extra})]

    def closure(names: list[str]) -> set[str]:
        found: set[str] = set()
        while names:
            name = names.pop().replace("_", "-")
            if name not in found:
                found.add(name)
                names += needs(name, "")
        return found

    extra = needs("ishowtts", "f5")
    return len(closure(extra) - closure(["torch"]) - closure(["ishowtts"])) if extra else None


def scheduling(bench: Bench) -> dict[str, Any]:
    """Measured with a small model; simulated with the full size's cost of a step as measured here, and with a GPU's."""
    model = bench.ours("bf16")
    lengths = (200, 400, 800)
    times = []
    for frames in lengths:
        part = Bench.__new__(Bench)
        part.__dict__.update(bench.__dict__, frames=frames, x=torch.randn(frames, 100), ids=bench.ids[: frames // 6])
        part.reference = bench.reference[: frames // 3]
        evaluation = part.evaluation(model)
        times.append(side_by_side({"": lambda e=evaluation: model.velocities([e])}, rounds=2)[""])  # type: ignore[misc]
    per_frame, fixed = np.polyfit(lengths, times, 1)
    here = f5_scheduling.Line(max(0.0, float(fixed)), float(per_frame))
    threads = torch.get_num_threads()
    small = f5_scheduling.measure_small(0.8, 60.0)
    torch.set_num_threads(threads)
    return {
        "a small model": small,
        "fitted here": {"fixed_ms": round(here.fixed_ms, 1), "ms_per_frame": round(here.ms_per_frame, 3)},
        "this CPU, simulated": f5_scheduling.compare(f5_scheduling.Device(here, shared=1)),
        "a GPU's cost (2 ms + 0.9 ms for 750 frames), simulated": f5_scheduling.compare(
            f5_scheduling.Device(f5_scheduling.Line(2.0, 0.9 / 750), shared=8)
        ),
    }


def cuda(bench: Bench) -> dict[str, Any] | str:
    """Requests, throughput and gaps on every path, beside upstream. What there is so far is kept at once."""
    if not torch.cuda.is_available():
        return "no CUDA device here: these paths have not run"
    device, reference = torch.device("cuda:0"), bench.folder / "reference.wav"
    f5_upstream.write_reference(reference)
    voice = Voice("v", "1", (), {}, reference.read_bytes(), "The harbour lights came on one by one.")
    half = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision.half(device)]
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name(device)}

    def kept(found: dict[str, Any]) -> None:
        figures.update(found)
        bench.figures["cuda"] = figures
        if bench.json:
            keep(bench.figures, bench.json)

    def engine_of(dtype: str, graphs: bool) -> F5:
        options = Options(dtype=dtype, device=str(device), nfe_steps=7, graphs=graphs)
        return load_files(bench.files(), options, torch.get_num_threads())

    work = f5_cuda.Work(step_flop, f5_upstream.ARCH["dim"], f5_upstream.ARCH["dim"] * f5_upstream.ARCH["ff_mult"])
    f5_cuda.tried(figures, "arithmetic", lambda: f5_cuda.limit_ms(device, half, work))
    model = bench.ours("fp32")
    wanted = model.velocities([bench.evaluation(model)])[0]
    del model
    ours = [name for name in bench.paths if name in f5_cuda.PATHS]
    f5_cuda.measure(engine_of, lambda e: e.prepare(voice), bench.evaluation, work, ours, kept, wanted)
    if "variants" in bench.paths:
        tokens = 2 * bench.frames * f5_cuda.SLOTS
        f5_cuda.tried(figures, "variants", lambda: f5_cuda.variants(device, half, work, tokens))
        kept({})
    if {"upstream", "compiled"} & set(bench.paths):
        inputs = {"x": bench.x[None], "cond": bench.cond[None], "text": bench.ids[None]}
        vocos, reference = bench.upstream_vocos.to(device), bench.reference.to(device, half)
        request = f5_upstream.request(
            bench.upstream.to(device, half), vocos, reference, bench.ids.to(device), bench.frames, f5_cuda.STEPS
        )
        f5_cuda.tried(
            figures, "upstream", lambda: f5_cuda.upstream(bench.upstream, inputs, device, half, bench.paths, request)
        )
        # Rounded for good: this part is the last.
        bench.upstream, bench.upstream_vocos = bench.upstream.float().cpu(), vocos.cpu()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the figures go; standard output without it")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--frames", type=int, default=750)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="measure the compiled paths too")
    paths = [*f5_cuda.PATHS, *f5_cuda.OTHERS]
    parser.add_argument("--paths", default=",".join(paths), help=f"of cuda: some of {', '.join(paths)}")
    parser.add_argument("--device-pack", type=Path, metavar="FOLDER")
    parser.add_argument("--packed", type=Path, metavar="FOLDER", help="what --device-pack has made")
    chosen = parser.parse_args()
    if chosen.device_pack:
        packed, bound = f5_upstream.pack(chosen.device_pack)
        print("packed:", *packed)
        print(f"compiled for Python {platform.python_version()}, the machine needs its own:", *bound)
        return 0
    if chosen.packed:
        sys.path.append(str(chosen.packed.resolve()))
    if not f5_upstream.available():
        print("the packages f5-tts and vocos are not installed here; --device-pack takes them along", file=sys.stderr)
        return 1
    unknown = sorted(set(chosen.only.split(",")) - set(PARTS))
    if unknown:
        parser.error(f"--only takes {', '.join(PARTS)}, not {', '.join(unknown)}")
    if strange := sorted(set(chosen.paths.split(",")) - set(paths)):
        parser.error(f"--paths takes {', '.join(paths)}, not {', '.join(strange)}")
    torch.set_num_threads(chosen.threads)
    # As the engine does when it loads; upstream, in the same process, gains by it too.
    memory.keep_freed()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        bench = Bench(Path(folder), chosen.frames, chosen.compile)
        bench.json, bench.paths = chosen.json, chosen.paths.split(",")
        for name in chosen.only.split(","):
            print(f"{name} …", file=sys.stderr)
            f5_cuda.tried(bench.figures, name, lambda name=name: globals()[name](bench))  # type: ignore[misc]
            if chosen.json:
                keep(bench.figures, chosen.json)
    if not chosen.json:
        keep(bench.figures, None)
    failed = [name for name in chosen.only.split(",") if str(bench.figures[name]).startswith("failed: ")]
    print(*(f"{name} {bench.figures[name]}" for name in failed), sep="\n", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
