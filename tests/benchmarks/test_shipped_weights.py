"""A bar is reached where the paired test says that the model is above all of its rows."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
ROWS = {  # kind and score
    "a": ("model", 0.6),
    "b": ("model", 0.7),
    "random a": ("untrained", 0.3),
    "majority": ("majority", 0.1),
    "shuffled labels": ("shuffled", 0.1),
    "tempogram": ("hand-made", 0.9),
    "chroma": ("hand-made", 0.2),
}


def scores(probe: str, *not_told: str) -> dict:
    return {
        "probe": probe,
        "title": probe.title(),
        "command": "m2l2 probe run",
        "sentence": "Said",
        "rows": [{"name": name, "kind": kind} for name, (kind, _) in ROWS.items()],
        "sections": [
            {
                "primary": "acc1",
                "scores": [{"row": row, "metric": "acc1", "estimate": value} for row, (_, value) in ROWS.items()],
                "comparisons": [
                    {"row": row, "mark": "n.s." if row in not_told else "", "difference": value - 0.6}
                    for row, (_, value) in ROWS.items()
                    if row != "a"
                ],
            }
        ],
    }


def test_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    script = importlib.import_module("shipped_weights")
    first, second = script.bars(scores("key", "majority"))
    assert first["floor"] == {"best": "random a", "score": 0.3, "not above": ["majority"]}
    assert first["hand-made"] == {"best": "tempogram", "score": 0.9, "not above": ["tempogram"]}
    assert second == {"model": "b", "score": 0.7}
    first, _ = script.bars(scores("tempo"))
    assert first["hand-made"] == {"best": "chroma", "score": 0.2, "not above": []}  # of chunks, not of the clip
    assert first["floor"]["not above"] == []
