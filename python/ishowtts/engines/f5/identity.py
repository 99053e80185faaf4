"""What the loaded model is: the revision that cached sound hangs on, and what it can speak. Pure."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from ishowtts.engines.f5 import models
from ishowtts.engines.f5.precision import Precision
from ishowtts.engines.f5.weights import Files

_SAMPLES = 256
_SAMPLE_BYTES = 4096


def revision(
    files: Files, precision: Precision, compiled: bool, ema: bool = True, vocoder_runtime: str = "torch"
) -> str:
    """Changes with the weights, the vocabulary, the numeric path and the way text is read."""
    from ishowtts import text

    vocoder = [path for path in sorted(files.vocoder_dir.iterdir()) if path.is_file()]
    weights = "-".join(_fingerprint(path) for path in (files.checkpoint, files.vocab, *vocoder))
    path = [
        *(torch.__version__, precision.name, precision.device.type, compiled, ema, text.VERSION),
        torch.backends.cpu.get_cpu_capability() if precision.device.type == "cpu" else _capability(precision),
        files.model_config.name,
        sorted((key, str(value)) for key, value in files.model_config.arch.items()),
        vocoder_runtime,
    ]
    numeric = hashlib.blake2b(json.dumps(path).encode(), digest_size=4).hexdigest()
    return f"{hashlib.blake2b(weights.encode(), digest_size=8).hexdigest()}-{numeric}"


def _capability(precision: Precision) -> str:
    return ".".join(map(str, torch.cuda.get_device_capability(precision.device)))


def _fingerprint(path: Path) -> str:
    """Of the size and 1 MB spread over the file: a whole checkpoint would take longer to hash than to load."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= _SAMPLES * _SAMPLE_BYTES:
            digest.update(file.read())
        else:
            for index in range(_SAMPLES):
                file.seek((size - _SAMPLE_BYTES) * index // (_SAMPLES - 1), os.SEEK_SET)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def languages(files: Files) -> tuple[str, ...]:
    """English and Chinese for the published vocabulary; any for a fine-tune's own."""
    official = models.OFFICIAL.get(files.model_config.name)
    return ("en", "zh") if official is not None and files.licence == models.OFFICIAL_LICENCE else ()


def scripts(vocabulary: Mapping[str, int]) -> tuple[str, ...]:
    """ISO 15924 codes of the scripts whose letters stand in the vocabulary. Chinese is read as pinyin."""
    found = [code for code, signs in _SIGNS.items() if any(sign in vocabulary for sign in signs)]
    if "zhong1" in vocabulary or "zhong1 " in vocabulary:
        found.append("Hani")
    return tuple(found)


_SIGNS: Mapping[str, str] = {
    "Latn": "aeiou",
    "Cyrl": "\u0430\u0435\u0438",
    "Grek": "\u03b1\u03b5\u03b9",
    "Arab": "\u0627\u0644\u0645",
    "Hebr": "\u05d0\u05dc\u05de",
    "Deva": "\u0915\u0928\u0930",
    "Hira": "\u3042\u3044\u306e",
    "Kana": "\u30a2\u30a4\u30ce",
    "Hang": "\uac00\ub2e4\uc774",
    "Thai": "\u0e01\u0e19\u0e32",
    "Hani": "\u7684\u4e00\u662f",
}
