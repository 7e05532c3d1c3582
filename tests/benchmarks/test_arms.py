"""Differences of arms are told no further than the seeds go."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("_arms")


def test_intervals_over_seeds_are_of_students_t(script) -> None:
    found = script.student([0.1, 0.2, 0.6])
    # 4.303 is Student's 97.5 % point with 2 degrees of freedom
    half = 4.3027 * np.std([0.1, 0.2, 0.6], ddof=1) / math.sqrt(3)
    assert (found["estimate"], found["high"]) == pytest.approx((0.3, 0.3 + half), rel=1e-4)
    assert found["low"] == pytest.approx(0.3 - half, rel=1e-4)
    assert not script.told({"seeds": found})
    assert script.told({"seeds": script.student([0.29, 0.3, 0.31])})
    assert script.told({"seeds": script.student([-0.29, -0.3, -0.31])})
    alone = script.student([1.0])
    assert alone["estimate"] == 1
    assert math.isnan(alone["low"])
    assert not script.told({"seeds": alone})


def test_arms_are_paired_by_seed_and_piece(script) -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=(3, 40)) + 10 * rng.normal(size=40)  # pieces differ more than arms do
    ours = theirs + 0.5 + 0.01 * rng.normal(size=(3, 40))
    ours[1, 4] = np.nan  # left out of both
    found = script.compared(ours, theirs)
    for kind in ("seeds", "pieces"):
        assert found[kind]["low"] < 0.5 < found[kind]["high"]
        assert found[kind]["high"] - found[kind]["low"] < 0.05
    np.testing.assert_allclose(np.subtract(found["ours"], found["theirs"]), np.nanmean(ours - theirs, axis=1))
    assert script.compared([1, 2, 3], [0, 1, 2])["pieces"] is None


def test_one_arm_beyond_the_floor_is_enough(script) -> None:
    rng = np.random.default_rng(0)
    floor = rng.normal(size=40)
    near, far = (floor + rise + 0.1 * rng.normal(size=(3, 40)) for rise in (0.5, -0.5))
    sides = {name: script.beyond_floor(values, floor) for name, values in (("ours", near), ("theirs", far))}
    assert sides["ours"]["estimate"] == pytest.approx(0.5, abs=0.05)
    assert script.beyond_floor(far, floor, better=-1)["estimate"] == pytest.approx(0.5, abs=0.05)
    assert not script.at_the_floor(sides)
    assert script.at_the_floor({"ours": sides["theirs"], "theirs": sides["theirs"]})
    assert script.at_the_floor({"ours": {"low": math.nan}, "theirs": {"low": -1.0}})
