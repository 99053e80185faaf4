"""scripts/make_voices.py as a module: the voices that ship, and how what is heard of a voice is measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "make_voices.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Data classes look their own module up.
    sys.modules[SCRIPT.stem] = module
    spec.loader.exec_module(module)
    return module


make_voices = _script()
