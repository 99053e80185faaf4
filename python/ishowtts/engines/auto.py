"""``engine = "auto"``: f5 where a GPU, its weights and a voice to clone are at hand, else hibari. Imports no model."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from ishowtts.engines.f5 import weights

_NEEDED = ("torch", "safetensors", "huggingface_hub", "pypinyin", "rjieba")


def choose(tables: Mapping[str, Mapping[str, object]], clones: bool) -> tuple[str, str]:
    """The engine's name and, as the end of a sentence, why.

    ``tables``: ``[engines.<name>]`` by name; ``clones``: whether the default voice has a reference clip. Fetches
    nothing. f5 is never chosen on a CPU: there it takes longer to speak than to listen, which is for offline work.
    """
    options = tables.get("f5", {})
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return "hibari", "f5 is not installed (pip install 'ishowtts[f5]')"
    if str(options.get("device", "auto")) == "cpu" or not cuda_devices():
        return "hibari", "there is no CUDA device, and on a CPU f5 is slower than speech"
    if not torch_has_cuda():
        return "hibari", "the torch that is installed has no CUDA, and on a CPU f5 is slower than speech"
    if not clones:
        return "hibari", "the default voice (voices.default) has no reference clip that f5 could clone"
    if not weights.at_hand(options):
        return "hibari", "the weights of f5 are not here yet (ishowtts say --engine f5 --accept-license fetches them)"
    return "f5", "a CUDA device and its weights are here"


def torch_has_cuda() -> bool:
    """By its libraries: importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    folders = spec.submodule_search_locations if spec is not None else None
    return any(any((Path(folder) / "lib").glob("*torch_cuda*")) for folder in folders or ())


def cuda_devices() -> int:
    """Asks the driver itself: importing torch takes seconds."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
