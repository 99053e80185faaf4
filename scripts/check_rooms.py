#!/usr/bin/env python3
"""Checks the rules between rooms that no compiler knows (docs/architecture.md): a room uses only itself and those
before it in the data's way, only src/bridge meets Python, only src/config reads the environment."""

import re
import sys
from pathlib import Path

ROOMS = ("error", "config", "audio", "voices", "engine", "text", "scheduler", "speech", "chat", "http", "bridge")
"""In the data's way. The bridge comes last: it is where the program meets its host, and nothing else knows it."""

USES_ROOM = re.compile(r"\bcrate::(?:(\w+)|\{)")
GROUPED_ROOM = re.compile(r"^    (\w+)(?:::|,|$)")
PYTHON = re.compile(r"\b(pyo3|numpy)::|\buse (pyo3|numpy)\b|#\[py\w+")
ENVIRONMENT = re.compile(r"\benv::vars?(_os)?\(")


def rooms_used(lines: list[str]) -> list[tuple[int, str]]:
    """Line number and room of each ``crate::room`` and each item of a ``use crate::{…}`` block, as rustfmt lays it."""
    found: list[tuple[int, str]] = []
    in_group = False
    for number, line in enumerate(lines, 1):
        code = line.split("//")[0]
        if in_group:
            if code.startswith("}"):
                in_group = False
            elif match := GROUPED_ROOM.match(code):
                found.append((number, match[1]))
        elif match := re.match(r"\s*(?:pub )?use crate::\{(.*)", code):
            in_group = "}" not in match[1]
            found += [(number, name) for name in re.findall(r"(?:^|[{,] ?)(\w+)(?=::|,|\}|$)", "{" + match[1])]
        else:
            found += [(number, match[1]) for match in USES_ROOM.finditer(code) if match[1]]
    return found


def faults(path: Path, source: Path) -> list[str]:
    parts = path.relative_to(source).with_suffix("").parts
    room = parts[0]
    if room in ("lib", "main"):
        return []
    if room not in ROOMS:
        return [
            f"{path}: no room is called {room!r}; add it to ROOMS in {Path(__file__).name} where the data passes it"
        ]
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [
        f"{path}:{number}: {room} must not know {used}, which comes after it in the data's way"
        for number, used in rooms_used(lines)
        if used in ROOMS and ROOMS.index(used) > ROOMS.index(room)
    ]
    for number, line in enumerate(lines, 1):
        code = line.split("//")[0]
        if room != "bridge" and PYTHON.search(code):
            found.append(f"{path}:{number}: only src/bridge may use pyo3 or numpy")
        if room != "config" and ENVIRONMENT.search(code):
            found.append(f"{path}:{number}: only src/config reads environment variables")
    return found


def main() -> int:
    source = Path(__file__).resolve().parent.parent / "src"
    found = [fault for path in sorted(source.rglob("*.rs")) for fault in faults(path, source)]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
