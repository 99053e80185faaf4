"""Vocos in ONNX Runtime: its network as a graph that is made once from the checkpoint and kept under the user's cache;
the inverse transform stays torch's. By the runtime's own kernels, or through TensorRT where it was built with that.

``load`` runs on the thread that loads the engine, the rest on the engine's thread.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ishowtts.directories import cache_directory
from ishowtts.engines.f5 import checkpoint as checkpoints
from ishowtts.engines.f5 import vocos
from ishowtts.engines.f5.config import N_FFT
from ishowtts.errors import InvalidSetting

LOG = logging.getLogger(__name__)
RUNTIMES = ("torch", "onnx", "tensorrt")
_PROVIDERS = {"onnx": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
"""On CUDA; on a CPU ``onnx`` takes the runtime's own kernels."""
_LAYOUT = "1"
"""Of the graph: another is made where this has changed."""
_OPSET, _IR = 20, 9
"""What the least runtime that this is for (1.17) reads."""
_INSTALL = "pip install 'ishowtts[onnx]'"


class OnnxVocos:
    """Decodes as :class:`~ishowtts.engines.f5.vocos.Vocos` does."""

    def __init__(self, session: Any, window: torch.Tensor, width: int, nbytes: int) -> None:
        self._session = session
        self._window = window
        self._width = width
        self.nbytes = nbytes

    def decode(self, mel: torch.Tensor) -> torch.Tensor:
        mel = mel.float().contiguous()
        out = mel.new_empty(mel.shape[0], self._width)
        device, number = mel.device.type, mel.device.index or 0
        binding = self._session.io_binding()
        # Where they lie: nothing is copied to the host and back.
        binding.bind_input("mel", device, number, np.float32, list(mel.shape), mel.data_ptr())
        binding.bind_output("out", device, number, np.float32, list(out.shape), out.data_ptr())
        if mel.is_cuda:
            # The runtime has a stream of its own, which knows nothing of torch's.
            torch.cuda.current_stream(mel.device).synchronize()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return vocos.sound(out, self._window)


def load(folder: Path, device: torch.device, mel_dim: int, runtime: str, threads: int) -> OnnxVocos:
    """``runtime``: onnx or tensorrt. Raises InvalidSetting for a vocoder that is none of ours, and with what to install
    where the runtime, or what makes the graph, is missing."""
    try:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise InvalidSetting(
            f"[engines.f5] vocoder_runtime: {runtime!r} needs the package onnxruntime; {_INSTALL}"
        ) from error
    providers = _providers(onnxruntime.get_available_providers(), runtime, device)
    layers, dim, wide = vocos.dimensions(folder, mel_dim)
    with checkpoints.Checkpoint(vocos.weights_file(folder)) as file:
        checkpoints.check(file, vocos.shapes(layers, dim, wide, mel_dim), "Vocos")
        window = file.tensor("head.istft.window").to(device, torch.float32, copy=True)
    graph = _graph(folder, mel_dim)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    # An arena would keep the longest sentence's memory; threads that wait by spinning take the DiT's cores.
    settings.enable_cpu_mem_arena = False
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), settings, providers=providers)
    if (taken := session.get_providers()[0]) != _name(providers[0]):
        raise InvalidSetting(f"[engines.f5] vocoder_runtime: {_name(providers[0])} does not start here, only {taken}")
    return OnnxVocos(session, window, N_FFT + 2, graph.stat().st_size + window.nbytes)


def _providers(available: list[str], runtime: str, device: torch.device) -> list[Any]:
    if device.type == "cpu":
        if runtime == "tensorrt":
            raise InvalidSetting("[engines.f5] vocoder_runtime: tensorrt is for GPUs; a CPU takes torch or onnx")
        return ["CPUExecutionProvider"]
    wanted = _PROVIDERS[runtime]
    if wanted not in available:
        raise InvalidSetting(
            f"[engines.f5] vocoder_runtime: this onnxruntime has no {wanted}, only {', '.join(available)}; "
            f"the package onnxruntime-gpu brings it"
        )
    place = {"device_id": device.index or 0}
    if runtime == "onnx":
        return [(wanted, place), "CPUExecutionProvider"]
    kept = _directory() / "tensorrt"
    kept.mkdir(parents=True, exist_ok=True)
    engines = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(kept)}
    return [(wanted, place | engines), ("CUDAExecutionProvider", place), "CPUExecutionProvider"]


def _name(provider: Any) -> str:
    return str(provider[0] if isinstance(provider, tuple) else provider)


def _directory() -> Path:
    return cache_directory() / "f5"


def _graph(folder: Path, mel_dim: int) -> Path:
    """The graph's file, made where it is not there yet."""
    digest = hashlib.blake2b(f"{_LAYOUT} {mel_dim} {vocos.dimensions(folder, mel_dim)}".encode(), digest_size=12)
    with vocos.weights_file(folder).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    path = _directory() / f"vocos-{digest.hexdigest()}.onnx"
    if not path.is_file():
        content = _made(folder, mel_dim)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another program may make the same; neither sees a part of it.
        descriptor, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as written:
                written.write(content)
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        LOG.info("the vocoder's graph is kept as %s", path)
    return path


def _made(folder: Path, mel_dim: int) -> bytes:
    """From mel ``[frames, mel_dim]`` to what the inverse transform takes, ``[frames, N_FFT + 2]``."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise InvalidSetting(
            f"[engines.f5] vocoder_runtime: to make the vocoder's graph the package onnx is needed once; {_INSTALL}"
        ) from error
    layers, dim, _ = vocos.dimensions(folder, mel_dim)
    nodes: list[Any] = []
    constants: list[Any] = []

    def add(kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        given = name or f"v{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [given], **attributes))
        return given

    with checkpoints.Checkpoint(vocos.weights_file(folder)) as file:

        def read(name: str, turned: bool = False) -> str:
            value = file.tensor(name).float()
            array = np.ascontiguousarray((value.t() if turned else value).numpy())
            constants.append(numpy_helper.from_array(array, name))
            return name

        def norm(x: str, name: str) -> str:
            weight, bias = read(name + ".weight"), read(name + ".bias")
            return add("LayerNormalization", x, weight, bias, axis=-1, epsilon=vocos.EPSILON)

        def linear(x: str, name: str, given: str = "") -> str:
            product = add("MatMul", x, read(name + ".weight", turned=True))
            return add("Add", product, read(name + ".bias"), name=given)

        def convolution(x: str, name: str, groups: int) -> str:
            pads = [vocos.KERNEL // 2] * 2
            across = add("Transpose", x, perm=[0, 2, 1])
            made = add("Conv", across, read(name + ".weight"), read(name + ".bias"), group=groups, pads=pads)
            return add("Transpose", made, perm=[0, 2, 1])

        constants.append(numpy_helper.from_array(np.zeros(1, np.int64), "first"))
        hidden = norm(convolution(add("Unsqueeze", "mel", "first"), "backbone.embed", 1), "backbone.norm")
        for index in range(layers):
            block = f"backbone.convnext.{index}."
            inner = norm(convolution(hidden, block + "dwconv", dim), block + "norm")
            inner = linear(add("Gelu", linear(inner, block + "pwconv1")), block + "pwconv2")
            hidden = add("Add", hidden, add("Mul", inner, read(block + "gamma")))
        last = norm(add("Squeeze", hidden, "first"), "backbone.final_layer_norm")
        linear(last, "head.out", "out")
    told = {"mel": mel_dim, "out": N_FFT + 2}
    mel, out = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["frames", size]) for n, size in told.items())
    made = helper.make_graph(nodes, "vocos", [mel], [out], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    content: bytes = model.SerializeToString()
    return content
