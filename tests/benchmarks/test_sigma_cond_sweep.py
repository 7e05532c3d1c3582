"""The sweep names the lowest value, and tells only those apart from it that are."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
LEVELS = (0.0, 0.2, 0.4, 0.6)
PIECES = [str(number) for number in range(20)]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("sigma_cond_sweep")


def versions(seed: int, noise: tuple[float, ...]) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    rng = np.random.default_rng(seed)
    clips = [rng.normal(size=8) + rng.normal(size=(4, 8)) for _ in PIECES]
    return clips, [[clip + scale * rng.normal(size=clip.shape) for clip in clips] for scale in noise]


def told(script: ModuleType, found: dict) -> str:
    results = {"levels": LEVELS, "as_position": False, "model": {"trained": True}, "lowest": {"two-step": {"x": found}}}
    return script.sentence(results, "two-step", "x")


def test_a_value_that_is_worse_is_told_apart(script: ModuleType) -> None:
    clips, sets = versions(0, (0.5, 0.5, 0.4, 2.0))
    found = script.lowest(LEVELS, clips, sets, PIECES)
    assert (found["level"], found["told_apart"]) == (0.4, [0.6])
    assert set(found["rise"]) == {"0.0", "0.2", "0.6"}
    rises = [f"{found['rise'][level]['difference']:.3g}" for level in ("0.0", "0.6")]
    assert told(script, found) == (
        f"two-step: optimal at sigma_cond 0.4 by fad_x ({found['fad']:.4g}); the others lie {rises[0]} to {rises[1]} "
        "above it; told apart from it: 0.6, not 0, 0.2."
    )


def test_equal_values_are_not_told_apart(script: ModuleType) -> None:
    found = script.lowest(LEVELS, *versions(7, (0.5,) * 4), PIECES)
    least = min(script.p_value(one) for one in found["rise"].values())
    assert min(one["p_holm"] for one in found["rise"].values()) == pytest.approx(3 * least)
    assert 0.05 < least < 0.1
    said = told(script, found)
    assert said.endswith("above it; none is told apart from it.")
    assert ("an end of the values tried" in said) == (found["level"] in (0.0, 0.6))
    clips, (one, *_) = versions(0, (0.5,) * 4)
    assert script.lowest(LEVELS, clips, [one] * 4, PIECES)["told_apart"] == []
