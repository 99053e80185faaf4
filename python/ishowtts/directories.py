"""Where the program keeps its own files. The same places that src/config computes, for Python without the native
module."""

from __future__ import annotations

import os
from pathlib import Path


def data_directory() -> Path:
    """``$XDG_DATA_HOME/ishowtts``, else ``~/.local/share/ishowtts``. Need not exist."""
    home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "share"
    return base / "ishowtts"
