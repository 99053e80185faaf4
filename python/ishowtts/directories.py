"""Where the program keeps its own files. The same places that src/config computes, for Python without the native
module."""

from __future__ import annotations

import os
from pathlib import Path


def data_directory() -> Path:
    """``$XDG_DATA_HOME/ishowtts``, else ``~/.local/share/ishowtts``. Need not exist."""
    return _under("XDG_DATA_HOME", Path(".local", "share"))


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/ishowtts``, else ``~/.cache/ishowtts``: what can be made anew. Need not exist."""
    return _under("XDG_CACHE_HOME", Path(".cache"))


def _under(variable: str, otherwise: Path) -> Path:
    home = os.environ.get(variable, "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / otherwise
    return base / "ishowtts"
