"""Memory: how many slots fit, what is given back, which errors a process cannot outlive. On the engine's thread."""

from __future__ import annotations

import ctypes
import gc

import torch

from ishowtts.engines.f5.dit import DiT
from ishowtts.engines.f5.vocos import Vocoder

_CPU_SLOTS = 8
"""Their states are a few MB each; a step advances one."""
_MOST_SLOTS = 64
_FRAMES = 1500
"""Reference and speech of a long segment."""
_KEPT_BACK = 0.35
"""Of what is free: for the vocoder, for other programs, for what the allocator cannot use."""
_FREED_BYTES = 256 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_FATAL = ("illegal memory access", "device-side assert", "misaligned address", "unspecified launch failure")


def bound(device: torch.device, most_bytes: int) -> None:
    """What is asked of the device beyond that is refused as out of memory; 0: no bound."""
    if device.type == "cuda" and most_bytes:
        _, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction(min(1.0, most_bytes / total), device)


def report(dit: DiT, vocos: Vocoder) -> str:
    """What is kept once it is loaded, and on CUDA what it took at most until then."""
    parts = {"the model": dit.nbytes, "the vocoder": vocos.nbytes}
    if dit.graphs is not None:
        parts["the graphs' buffers"] = dit.graphs.nbytes
    device = dit.precision.device
    if device.type == "cuda":
        parts["of the device in all"] = torch.cuda.memory_reserved(device)
        parts["at most"] = torch.cuda.max_memory_reserved(device)
    return ", ".join(f"{name} {nbytes / 2**20:.0f} MiB" for name, nbytes in parts.items())


def slots(dit: DiT, device: torch.device, most_bytes: int = 0) -> int:
    """How many can be worked on at once; ``most_bytes``: as ``bound``."""
    if device.type != "cuda":
        return _CPU_SLOTS
    free, _ = torch.cuda.mem_get_info(device)
    if most_bytes:
        free = max(0, min(free, most_bytes - torch.cuda.memory_reserved(device)))
    return fitting(dit, free)


def fitting(dit: DiT, free: int) -> int:
    """So many long segments have room in ``free`` bytes."""
    config = dit.config
    # Prompts and x stay; the residual stream, projections and the feed-forward come and go.
    kept = 2 * config.dim * 4 + 2 * config.mel_dim * 4
    passing = 2 * (2 * config.dim * 4 + 2 * 3 * config.inner_dim * 2 + 2 * config.ff_dim * 2)
    fit = int(free * (1 - _KEPT_BACK) / (_FRAMES * (kept + passing)))
    return max(1, min(_MOST_SLOTS, fit))


def give_back(device: torch.device) -> None:
    """What nothing uses goes back to the system."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_freed() -> None:
    """The C library (glibc) keeps up to 256 MB of what a step frees for the next step. By itself it gives large pieces
    back at once, and fetching them again page by page took a fifth of a step's time with int8."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _FREED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _FREED_BYTES)


def is_fatal(error: BaseException, device: torch.device) -> bool:
    """Whether the device's context is lost: by what the error says, or as the device answers nothing any more."""
    if any(sign in str(error) for sign in _FATAL) and "CUDA" in str(error):
        return True
    if device.type != "cuda" or isinstance(error, torch.cuda.OutOfMemoryError):
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False
