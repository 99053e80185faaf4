"""Files from the Hugging Face Hub, through huggingface_hub and its cache: resumed after an interruption, checked
against the hub's checksum, with a bar in a terminal. Imports huggingface_hub on first use; safe on any thread.

What is in the cache is used without asking the hub again, so that a start needs no network and changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ishowtts.directories import data_directory
from ishowtts.errors import InvalidSetting, Unavailable

_PREFIX = "hf://"
_BLOCK_BYTES = 1 << 20
_TRUE = ("1", "true", "yes", "on")
_OFFLINE = ("ISHOWTTS_OFFLINE", "HF_HUB_OFFLINE")
_NO_PLACE = frozenset(
    (
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENODEV, errno.ENXIO, errno.EXDEV, errno.EMLINK),
    )
)
"""The folder is not what a cache can lie in."""
_NO_DISK = frozenset(
    (
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBUSY, errno.ESTALE),
        *(errno.EMFILE, errno.ENFILE, errno.ETXTBSY),
    )
)
"""The folder would do; its disk or the system does not."""


class FetchFailed(Unavailable):
    """A file did not come. The message says what can be done about it; where that is not to try again later, it is one
    of the classes below."""


class NoAddress(FetchFailed, InvalidSetting):
    """What was given is no address of a file."""


class NotInRepository(FetchFailed, InvalidSetting):
    """The hub knows no such file, repository or revision, or does not show it to this user."""


class Offline(FetchFailed, InvalidSetting):
    """The file is not in the cache and nothing may be fetched."""


class NoCache(FetchFailed, InvalidSetting):
    """The folder of the cache cannot be used."""


@dataclass(frozen=True)
class Source:
    """``hf://OWNER/NAME/PATH`` or ``hf://OWNER/NAME@REVISION/PATH``."""

    repository: str
    path: str
    revision: str = "main"

    @staticmethod
    def parse(address: str) -> Source:
        """Raises NoAddress for anything else."""
        parts = address.removeprefix(_PREFIX).split("/", 2)
        if not address.startswith(_PREFIX) or len(parts) != 3 or not all(parts):
            raise NoAddress(f"{address!r} is no address of a file on the hub: hf://OWNER/NAME/FILE")
        name, _, revision = parts[1].partition("@")
        return Source(f"{parts[0]}/{name}", parts[2], revision or "main")

    def beside(self, name: str) -> Source:
        folder, _, _ = self.path.rpartition("/")
        return Source(self.repository, f"{folder}/{name}" if folder else name, self.revision)

    @property
    def address(self) -> str:
        return f"{_PREFIX}{self.repository}@{self.revision}/{self.path}"

    def __str__(self) -> str:
        return f"{self.path} of {self.repository}"


def is_address(value: str) -> bool:
    return value.startswith(_PREFIX)


def offline() -> bool:
    """``ISHOWTTS_OFFLINE``, or the hub's own ``HF_HUB_OFFLINE``."""
    return any(map(_is_set, _OFFLINE))


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in _TRUE


def _forbids() -> str:
    """Which of the variables does."""
    return " and ".join(filter(_is_set, _OFFLINE)) or _OFFLINE[0]


@dataclass(frozen=True)
class Hub:
    """Where files come from and are kept. The defaults are huggingface_hub's own (``HF_ENDPOINT``, ``HF_HUB_CACHE``,
    ``HF_TOKEN``)."""

    endpoint: str | None = None
    cache: Path | None = None
    offline: bool = False
    records: Path | None = None
    """Where it is noted which files were found whole; None: the data directory."""
    waits_s: tuple[float, ...] = (1.0, 3.0, 10.0)
    """Before each further attempt."""

    @staticmethod
    def default() -> Hub:
        return Hub(endpoint=os.environ.get("HF_ENDPOINT") or None, offline=offline())

    def cached(self, source: Source) -> Path | None:
        """From the cache alone; the first time it is seen, its checksum is compared. A damaged file is removed.

        Raises FetchFailed where that cannot be told."""
        from huggingface_hub import try_to_load_from_cache

        with _told_of_disks(source):
            try:
                found = try_to_load_from_cache(source.repository, source.path, self.cache, source.revision)
            except ValueError as error:
                raise _no_name(source) from error
            if not isinstance(found, str):
                return None
            path = Path(found)
            if self._is_whole(path):
                return path
            _remove(path)
            return None

    def fetch(self, source: Source) -> Path:
        """From the cache, else from the hub. Raises FetchFailed."""
        path = self.cached(source)
        if path is not None:
            return path
        if self.offline:
            raise Offline(
                f"{source} is not in the cache, and {_forbids()} forbids to fetch it; unset it once, or give the "
                f"path of a local file"
            )
        _tell(f"fetching {source} …")
        started = time.monotonic()
        failure: Exception | None = None
        damaged = 0
        for wait_s in (0.0, *self.waits_s):
            time.sleep(wait_s)
            try:
                path = self._download(source)
            except Exception as error:
                failure = _final(source, error)
                continue
            with _told_of_disks(source):
                if self._is_whole(path):
                    _tell(f"fetched {source}: {path.stat().st_size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
                    return path
                _remove(path)
            damaged += 1
            failure = FetchFailed(f"{source} arrived damaged {damaged} times (its checksum differs); try again later")
        raise FetchFailed(_reason(source, failure)) from failure

    def _download(self, source: Source) -> Path:
        from huggingface_hub import hf_hub_download

        with _bars():
            return Path(
                hf_hub_download(
                    source.repository,
                    source.path,
                    revision=source.revision,
                    cache_dir=self.cache,
                    endpoint=self.endpoint,
                    library_name="ishowtts",
                )
            )

    def _is_whole(self, path: Path) -> bool:
        """The cache names a file by its checksum: SHA-256 of a large one, git's own of a small one."""
        blob = path.resolve()
        expected = blob.name
        if blob.parent.name != "blobs" or len(expected) not in (40, 64):
            # A file system without links: the hub's name for the content is not known here.
            return True
        records = (self.records or data_directory()) / "whole.json"
        stat = blob.stat()
        mark = f"{stat.st_size}:{stat.st_mtime_ns}"
        known = _read_json(records)
        if known.get(str(blob)) == mark:
            return True
        if _checksum(blob, expected) != expected:
            return False
        _write_json(records, {name: seen for name, seen in known.items() if Path(name).exists()} | {str(blob): mark})
        return True


def _checksum(path: Path, expected: str) -> str:
    digest = hashlib.sha256() if len(expected) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _remove(path: Path) -> None:
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)


def _final(source: Source, error: Exception) -> Exception:
    """The error itself if another attempt may mend it; raises for those that none will."""
    from huggingface_hub import errors

    status = _status(error)
    if isinstance(error, errors.GatedRepoError) or status in (401, 403):
        raise NotInRepository(
            f"the hub does not give {source} to this user ({status or 'gated'}): open its page, agree to its terms and "
            f"set HF_TOKEN to a token that may read it; a misspelt name looks the same"
        ) from error
    if isinstance(
        error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError)
    ) and (not isinstance(error, errors.LocalEntryNotFoundError)):
        raise NotInRepository(f"the hub has no {source} (revision {source.revision})") from error
    if status == 404:
        raise NotInRepository(f"the hub has no {source} (revision {source.revision})") from error
    if isinstance(error, errors.LocalEntryNotFoundError):
        # huggingface_hub has asked several times for the file's description, and waited in between.
        raise FetchFailed(_reason(source, error)) from error
    if isinstance(error, OSError) and (fault := _of_disk(source, error)) is not None:
        raise fault from error
    if isinstance(error, ValueError) and status is None:
        raise _no_name(source) from error
    return error


@contextlib.contextmanager
def _told_of_disks(source: Source) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _of_disk(source, error) or FetchFailed(f"{source} cannot be read from the cache") from error


def _of_disk(source: Source, error: OSError) -> FetchFailed | None:
    """None where it is not the file system's: those of sockets name no file."""
    # huggingface_hub's own are without a number.
    if error.errno is None or not (error.errno in _NO_PLACE | _NO_DISK or error.filename is not None):
        return None
    kind = NoCache if error.errno in _NO_PLACE else FetchFailed
    reason = error.strerror or os.strerror(error.errno)
    return kind(f"{source} cannot be kept in the cache: {reason}; HF_HUB_CACHE names another place")


def _no_name(source: Source) -> NoAddress:
    return NoAddress(f"{source} (revision {source.revision}) is no name that the hub could have")


def _status(error: BaseException | None) -> int | None:
    """huggingface_hub hides the answer behind its own exceptions."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return None


def _reason(source: Source, failure: Exception | None) -> str:
    if isinstance(failure, FetchFailed):
        return str(failure)
    status = _status(failure)
    cause = f"the hub answers {status}" if status else "the connection fails"
    return f"{source} could not be fetched: {cause}; try again later"


@contextlib.contextmanager
def _bars() -> Iterator[None]:
    """A bar would fill a log with lines."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr is None or sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _tell(line: str) -> None:
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)


def _read_json(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_json(path: Path, content: dict[str, str]) -> None:
    # Only spares a checksum next time: a directory that cannot be written is no reason not to speak.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(json.dumps(content, indent=2), encoding="utf-8")
        part.replace(path)
