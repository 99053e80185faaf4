"""The bench of voices fails where a warm voice is read from disk, or their memory goes beyond its bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BENCHES = Path(__file__).parents[1] / "benches"
FIGURE = {"ms_p50": 1.0, "ms_p99": 2.0}
GOOD: dict[str, Any] = {
    "engine": "fake",
    "voices": 3,
    "hot": 1,
    "requests": 10,
    "first_sound_ms": {"cold voice": FIGURE},
    "hit_share": 0.5,
    "saved_s": 1.0,
    "bound_mib": 62,
    "most_prepared_mib": 62.0,
    "memory_mib": {"before": 100.0, "after": 100.0},
    "opened_by_warm_requests": {"requests": 50, "opens": 0},
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"opened_by_warm_requests": None}, ""),
        ({"opened_by_warm_requests": {"requests": 50, "opens": 2}}, "50 requests with a warm voice opened 2 files"),
        ({"most_prepared_mib": 62.1}, "prepared voices took 62.1 MiB, and 62 are the bound"),
    ],
)
def test_it_fails_where_a_promise_is_broken(
    changed: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    monkeypatch.setattr("sys.argv", ["voices.py"])
    import voices

    monkeypatch.setattr(voices, "measure", lambda *_: GOOD | changed)
    assert voices.main() == (1 if told else 0)
    captured = capsys.readouterr()
    assert captured.err.removeprefix("voices.py: ").rstrip() == told
    assert "62" in captured.out, "the figures are told in any case"
