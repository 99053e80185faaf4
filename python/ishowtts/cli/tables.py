"""``voices``, ``engines`` and ``config show``: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence


def show(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Lists and mappings are shown as words; what is missing is a dash. Piped on, no line is cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_words(value)) for value in row))
    Console(width=None if sys.stdout.isatty() else 1000, highlight=False).print(table, crop=False)


def show_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _words(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)
