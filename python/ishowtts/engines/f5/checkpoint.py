"""Reads the weights of F5-TTS models in every layout that upstream writes. Pure; no thread of its own.

The layouts: ``.safetensors`` or ``.pt``; the moving average (``ema_model.transformer.*``, in a ``.pt`` under
``ema_model_state_dict``) or the plain weights (``transformer.*``, ``model_state_dict``); float32 or half precision;
with what older versions saved beside them (the mel filters, ``initted``, ``step``). Tensors are memory-mapped and read
one at a time, so that loading never holds a second copy of the file.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from ishowtts.errors import InvalidSetting

_BESIDE = {"initted", "step", "mel_spec.mel_stft.mel_scale.fb", "mel_spec.mel_stft.spectrogram.window"}
_WRAPPERS = ("ema_model.", "module.", "_orig_mod.", "model.")
_KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
"""torch's names and safetensors'."""
_SHOWN = 6
_MAPPED_BYTES = 32 << 20
"""What is read of a memory-mapped file counts as the program's memory until it is opened anew."""


class Checkpoint:
    """The tensors of one file under the DiT's own names. Open it while tensors are read; close it afterwards."""

    def __init__(self, path: Path, ema: bool = True) -> None:
        self.path = path
        self._ema = ema
        self._signature = self._stat()
        self._names: dict[str, str] = {}
        self._tensors: Mapping[str, torch.Tensor] | None = None
        self._file: Any = None
        self._read_bytes = 0
        self._finite: set[str] = set()
        """What has been read, and so found to be."""

    def __enter__(self) -> Checkpoint:
        if self._stat() != self._signature:
            raise InvalidSetting(f"the checkpoint {self.path.name!r} has changed since it was loaded; start again")
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file = self._tensors = None

    @property
    def names(self) -> set[str]:
        """The DiT's own, without prefixes."""
        return set(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Without reading the tensor."""
        if self._file is not None:
            return tuple(self._file.get_slice(self._names[name]).get_shape())
        assert self._tensors is not None
        return tuple(self._tensors[self._names[name]].shape)

    def kind(self, name: str) -> str:
        """``F32``, ``BF16``, ``I64``: as safetensors names it. Without reading the tensor."""
        if self._file is not None:
            return str(self._file.get_slice(self._names[name]).get_dtype())
        assert self._tensors is not None
        found = str(self._tensors[self._names[name]].dtype).removeprefix("torch.")
        return _KINDS.get(found, found)

    def tensor(self, name: str) -> torch.Tensor:
        """In the file's precision; memory-mapped where possible, so copy what is to be kept.

        Raises InvalidSetting if values are not finite: of some the first to tell would be a request that meets them.
        """
        if self._read_bytes > _MAPPED_BYTES:
            self._open()
        self._read_bytes += math.prod(self.shape(name)) * 4
        if self._file is not None:
            found: torch.Tensor = self._file.get_tensor(self._names[name])
        else:
            assert self._tensors is not None
            found = self._tensors[self._names[name]]
        if name not in self._finite:
            if count := _not_finite(found):
                raise InvalidSetting(
                    f"the checkpoint {self.path.name!r} is damaged: {count} of the {found.numel()} values of {name} "
                    f"are not finite"
                )
            self._finite.add(name)
        return found

    def _open(self) -> None:
        self._read_bytes = 0
        if self.path.suffix == ".safetensors":
            self._open_safetensors()
        else:
            self._open_pickle()

    def _stat(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise InvalidSetting(f"there is no checkpoint {self.path.name!r}") from error
        return found.st_size, found.st_mtime_ns

    def _open_safetensors(self) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            self._file = safe_open(os.fspath(self.path), framework="pt", device="cpu")
        except SafetensorError as error:
            raise InvalidSetting(f"the checkpoint {self.path.name!r} is damaged or no safetensors file") from error
        self._names = _plain_names(self._file.keys())

    def _open_pickle(self) -> None:
        # mmap needs the zip layout that torch has written since 1.6.
        mapped = zipfile.is_zipfile(self.path)
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:
            raise InvalidSetting(
                f"the checkpoint {self.path.name!r} is damaged, or holds more than weights, which are all that is read"
            ) from error
        if not isinstance(found, Mapping):
            raise InvalidSetting(f"the checkpoint {self.path.name!r} holds no table of weights")
        keys = ("ema_model_state_dict", "model_state_dict") if self._ema else ("model_state_dict",)
        table = next((found[key] for key in keys if key in found), None)
        if table is None:
            if "ema_model_state_dict" in found:
                raise InvalidSetting(f"the checkpoint {self.path.name!r} holds the moving average only (ema = true)")
            table = found
        self._tensors = {key: value for key, value in table.items() if isinstance(value, torch.Tensor)}
        self._names = _plain_names(self._tensors)


def _plain_names(keys: Iterable[str]) -> dict[str, str]:
    """The DiT's own names to the file's. A file that holds both kinds of weights gives its moving average."""
    names: dict[str, str] = {}
    for key in keys:
        plain = key
        while (wrapper := next((w for w in _WRAPPERS if plain.startswith(w)), None)) is not None:
            plain = plain[len(wrapper) :]
        if plain in _BESIDE:
            continue
        plain = plain.removeprefix("transformer.")
        if plain not in names or key.startswith("ema_model."):
            names[plain] = key
    return names


def _not_finite(tensor: torch.Tensor) -> int:
    """How many values of floats are infinite or no number."""
    # The sum is one pass at the memory's pace, and not finite if any of them is; large ones alone may make it so, too.
    if math.isfinite(tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32))):
        return 0
    return int(tensor.numel() - torch.isfinite(tensor).sum())


def check(checkpoint: Checkpoint, wanted: Mapping[str, tuple[int, ...]], what: str) -> None:
    """Every name, no other, every shape, all of floats; else InvalidSetting with the ones at fault."""
    names = checkpoint.names
    faults = []
    missing = sorted(set(wanted) - names)
    unexpected = sorted(names - set(wanted))
    misshapen = sorted(
        f"{name} is {list(shape)} instead of {list(wanted[name])}"
        for name, shape in ((name, checkpoint.shape(name)) for name in names & set(wanted))
        if shape != wanted[name]
    )
    # Of a quantised checkpoint: without its scales, integers are no weights.
    kinds = {name: checkpoint.kind(name) for name in names & set(wanted)}
    not_floats = sorted(f"{name} is of {kind}" for name, kind in kinds.items() if kind not in _KINDS.values())
    titles = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen, "no floats": not_floats}
    for title, entries in titles.items():
        if entries:
            more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
            faults.append(f"{title}: {', '.join(entries[:_SHOWN])}{more}")
    if faults:
        raise InvalidSetting(f"the checkpoint {checkpoint.path.name!r} does not fit {what}; {'; '.join(faults)}")
