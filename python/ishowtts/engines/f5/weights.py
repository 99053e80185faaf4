"""Which files the model is loaded from: local ones, the hub's cache, or the hub. Called while an engine loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from ishowtts import licences
from ishowtts.engines.f5 import models
from ishowtts.engines.f5.hub import FetchFailed, Hub, NotInRepository, Source, is_address
from ishowtts.engines.f5.models import ModelConfig
from ishowtts.errors import InvalidSetting

VOCOS = "charactr/vocos-mel-24khz"
BIGVGAN = "nvidia/bigvgan_v2_24khz_100band_256x"
VOCODER_FILES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "vocos": (("config.yaml",), ("pytorch_model.bin", "model.safetensors")),
    "bigvgan": (("config.json",), ("bigvgan_generator.pt",)),
}
"""By ``ModelConfig.mel_spec_type``: the vocoder's configuration and weights in ``Files.vocoder_dir``, each under any of
its names. The published one first: where a checkpoint of F5 lies beside it, ``model.safetensors`` is that."""
LICENCE_UNKNOWN = "LicenseRef-unknown"

_OWN_LICENCE = ("swivid/f5-tts", "swivid/e2-tts")
"""In lower case: the hub finds them however they are written."""
_CHECKPOINTS = (".safetensors", ".pt")
_ROUNDS = 3
"""In which files of one repository are fetched until they are of one commit."""


@runtime_checkable
class Wanted(Protocol):
    """The part of an engine's options that names files; empty: the official ones."""

    @property
    def model(self) -> str: ...
    @property
    def checkpoint(self) -> str: ...
    @property
    def vocab(self) -> str: ...
    @property
    def vocoder(self) -> str: ...


@dataclass(frozen=True)
class Names:
    """``Wanted`` from a table of the configuration."""

    model: str = "F5TTS_v1_Base"
    checkpoint: str = ""
    vocab: str = ""
    vocoder: str = ""


@dataclass(frozen=True)
class Files:
    """All of them exist."""

    model_config: ModelConfig
    checkpoint: Path
    """.safetensors or .pt."""
    vocab: Path
    vocoder_dir: Path
    """Holds the files that ``VOCODER_FILES`` names for ``model_config.mel_spec_type``."""
    licence: str
    """SPDX expression of the checkpoint's licence, as far as it is known."""


def resolve(options: Wanted | Mapping[str, object], hub: Hub | None = None) -> Files:
    """The files that ``options`` name, fetched where they are not here yet.

    Raises InvalidSetting for a name that leads nowhere, FetchFailed for what cannot be had, LicenceNotAccepted before
    official weights are fetched without agreement.
    """
    wanted = options if isinstance(options, Wanted) else _names(options)
    getter = _Getter(hub or Hub.default())
    config = models.configuration(wanted.model)
    official = models.OFFICIAL.get(wanted.model)
    checkpoint = wanted.checkpoint or (official.checkpoint if official else "")
    if not checkpoint:
        raise InvalidSetting(
            f"[engines.f5] checkpoint: there is no official checkpoint of {config.name}; name a file, a folder or an "
            f"address hf://OWNER/NAME/FILE"
        )
    found = getter.checkpoint(checkpoint)
    return Files(
        model_config=config,
        checkpoint=found,
        vocab=getter.vocab(
            wanted.vocab, checkpoint, found, official.vocab if official and not wanted.checkpoint else ""
        ),
        vocoder_dir=getter.vocoder(wanted.vocoder, config.mel_spec_type),
        licence=_licence(checkpoint),
    )


def at_hand(options: Wanted | Mapping[str, object], hub: Hub | None = None) -> bool:
    """Whether ``resolve`` would fetch nothing."""
    try:
        resolve(options, replace(hub or Hub.default(), offline=True))
    except (InvalidSetting, FetchFailed, ImportError):
        return False
    return True


def _names(table: Mapping[str, object]) -> Names:
    names = {key: str(table[key]) for key in ("model", "checkpoint", "vocab", "vocoder") if key in table}
    return Names(**names)


@dataclass(frozen=True)
class _Getter:
    hub: Hub

    def get(self, address: str) -> Path:
        source = Source.parse(address)
        if source.repository.lower() in _OWN_LICENCE and not self.hub.offline and not licences.accepted(licences.F5):
            # What is in the cache already has been fetched by someone.
            cached = self.hub.cached(source)
            if cached is None:
                raise licences.LicenceNotAccepted(licences.F5)
            return cached
        return self.hub.fetch(source)

    def checkpoint(self, checkpoint: str) -> Path:
        if is_address(checkpoint):
            if not checkpoint.endswith(_CHECKPOINTS):
                raise InvalidSetting("[engines.f5] checkpoint must be a .safetensors or a .pt file")
            return self.get(checkpoint)
        path = models.expanded(checkpoint)
        if models.is_folder(path):
            return _only_checkpoint(path)
        if not models.is_file(path):
            raise InvalidSetting(f"[engines.f5] checkpoint: there is no file {checkpoint}")
        if path.suffix not in _CHECKPOINTS:
            raise InvalidSetting("[engines.f5] checkpoint must be a .safetensors or a .pt file")
        return path

    def vocab(self, vocab: str, checkpoint: str, found: Path, official: str) -> Path:
        if is_address(vocab):
            return self.get(vocab)
        if vocab:
            path = models.expanded(vocab)
            if not models.is_file(path):
                raise InvalidSetting(f"[engines.f5] vocab: there is no file {vocab}")
            return path
        if official:
            return self.get(official)
        if is_address(checkpoint):
            beside = Source.parse(checkpoint).beside("vocab.txt")
            try:
                return self.get(beside.address)
            except NotInRepository as error:
                raise InvalidSetting(
                    f"[engines.f5] vocab: there is no {beside}; name the checkpoint's vocabulary"
                ) from error
        path = found.with_name("vocab.txt")
        if not models.is_file(path):
            raise InvalidSetting(
                "[engines.f5] vocab: no vocab.txt lies beside the checkpoint; name the one it was made with"
            )
        return path

    def vocoder(self, vocoder: str, kind: str) -> Path:
        if kind not in VOCODER_FILES:
            raise InvalidSetting(f"[engines.f5] model: no vocoder is known for mel spectrograms of the type {kind!r}")
        names = VOCODER_FILES[kind]
        folder = models.expanded(vocoder)
        if kind == "vocos" and ("bigvgan" in vocoder.lower() or weights_file(folder, "bigvgan")):
            raise InvalidSetting(
                f"[engines.f5] vocoder: {vocoder} is a BigVGAN, which hears another mel spectrogram than this model "
                f"makes; name a Vocos"
            )
        if vocoder and models.is_folder(folder):
            missing = [" or ".join(some) for some in names if not any(models.is_file(folder / name) for name in some)]
            if missing:
                raise InvalidSetting(f"[engines.f5] vocoder: {vocoder} lacks {' and '.join(missing)}")
            return folder
        repository = vocoder.removeprefix("hf://") or (VOCOS if kind == "vocos" else BIGVGAN)
        if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
            raise InvalidSetting(
                f"[engines.f5] vocoder: {vocoder!r} is neither a folder nor a name on the hub (OWNER/NAME)"
            )
        for _ in range(_ROUNDS):
            paths = [self.first([f"hf://{repository}/{name}" for name in some]) for some in names]
            if len({path.parent for path in paths}) == 1:
                return paths[0].parent
            # The repository has moved on since the first of them came: what was fetched last moved the cache's mark
            # too, so that the others are now looked for beside it.
        raise FetchFailed(f"{repository} changed while its files were fetched; try again later")

    def first(self, addresses: Sequence[str]) -> Path:
        """The first that is in the cache, else the first that the repository has."""
        first, *others = addresses
        for address in others:
            if (cached := self.hub.cached(Source.parse(address))) is not None:
                return cached
        try:
            return self.get(first)
        except NotInRepository:
            if not others:
                raise
            try:
                return self.first(others)
            except NotInRepository:
                pass
            raise


def weights_file(folder: Path, kind: str) -> Path | None:
    """By a name that a vocoder of this kind has."""
    return next((folder / name for name in VOCODER_FILES[kind][-1] if models.is_file(folder / name)), None)


def _only_checkpoint(folder: Path) -> Path:
    for suffix in _CHECKPOINTS:
        found = sorted(path for path in folder.iterdir() if path.suffix == suffix)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise InvalidSetting(f"[engines.f5] checkpoint: {folder} holds several ({names}); name one of them")
    raise InvalidSetting(f"[engines.f5] checkpoint: {folder} holds neither .safetensors nor .pt")


def _licence(checkpoint: str) -> str:
    if is_address(checkpoint) and Source.parse(checkpoint).repository.lower() in _OWN_LICENCE:
        return models.OFFICIAL_LICENCE
    return LICENCE_UNKNOWN
