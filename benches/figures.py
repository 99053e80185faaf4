"""Statistics of paired measurements, and where they go."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESAMPLES = 4000


def percentiles(values: Sequence[float], name: str) -> dict[str, float]:
    return {f"{name}_p{point}": round(float(np.percentile(values, point)), 3) for point in (50, 99)}


def paired(ours: Sequence[float], theirs: Sequence[float], of: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """Median of `of(ours, theirs)` over the pairs with its 95 % interval (percentile bootstrap)."""
    values = of(np.asarray(ours, float), np.asarray(theirs, float))
    picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[picks], axis=1), [2.5, 97.5])
    return {
        "median": round(float(np.median(values)), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "pairs": len(values),
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    return paired(ours, theirs, np.divide)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    return paired(ours, theirs, np.subtract)


def told(figure: dict[str, Any], unit: str = "") -> str:
    """`1.02 [1.01, 1.03]`"""
    return f"{figure['median']:.4g}{unit} [{figure['low']:.4g}, {figure['high']:.4g}]"


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [
        list(header),
        *[[f"{cell:,.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows],
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in ([*zip(row, widths, strict=True)] for row in cells)
    ]
    return "\n".join(["", title, lines[0], "-" * len(lines[0]), *lines[1:]])


def keep(figures: object, path: Path | None) -> None:
    """In a file, as JSON; without one on standard output."""
    document = json.dumps(figures, indent=2, ensure_ascii=False)
    if path:
        path.write_text(document + "\n", "utf-8")
    else:
        print(document)
