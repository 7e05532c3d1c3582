"""Estimates over items, seeds and groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe.statistics import bootstrap_statistic, cluster_bootstrap, seed_means, seed_spread
from m2l2_mir.probe.task import Task


def test_seeds_are_averaged_inside_an_item(rng) -> None:
    values = np.array([[1.0, 0.0, np.nan, 1.0], [1.0, np.nan, np.nan, 0.0]])
    np.testing.assert_equal(seed_means(values), [1, 0, np.nan, 0.5])
    result = cluster_bootstrap(values, ["a", "b", "b", "c"])
    assert (result.estimate, result.scored, result.expected, result.groups) == (0.5, 3, 4, 3)
    # Ten seeds that say the same of each item are no more evidence than one.
    once = rng.integers(0, 2, 60).astype(float)
    assert cluster_bootstrap(np.tile(once, (10, 1))) == cluster_bootstrap(once)


def test_fits_are_a_sample_too(rng) -> None:
    values = rng.integers(0, 2, (5, 60)).astype(float)
    given, refitted = (cluster_bootstrap(values, tested_per_trained=ratio) for ratio in (None, 1.0))
    variance = values.mean(axis=0).var(ddof=1) / 60
    widening = np.sqrt(2 + values.mean(axis=1).var(ddof=1) / 5 / variance)
    assert (refitted.high - refitted.low) / (given.high - given.low) == pytest.approx(widening, rel=0.03)
    items = pd.DataFrame({"value": values.ravel()})
    owners = np.tile(np.arange(60), 5)
    slow = bootstrap_statistic(
        lambda rows: rows["value"].mean(), items, owners, tested_per_trained=1.0, of_seeds=values.mean(axis=1)
    )
    assert slow.high - slow.low == pytest.approx(refitted.high - refitted.low, rel=0.1)


def test_seed_spread_is_that_of_the_means() -> None:
    values = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, np.nan], [0.0, 0.0, 0.0, 0.0]])
    assert seed_spread(values) == (pytest.approx(0.5), 3)
    spread, seeds = seed_spread(values[0])
    assert np.isnan(spread)
    assert seeds == 1


def test_the_same_seed_gives_the_same_interval(rng) -> None:
    values = rng.random(50)
    assert cluster_bootstrap(values, seed=3) == cluster_bootstrap(values, seed=np.random.default_rng(3))
    assert cluster_bootstrap(values, seed=3) != cluster_bootstrap(values, seed=4)


@pytest.mark.parametrize("groups", [7, 25])
def test_a_mean_as_statistic_has_the_interval_of_the_mean(rng, groups) -> None:
    members = rng.permutation(np.repeat(np.arange(groups), rng.integers(1, 9, groups)))
    values = rng.random(len(members))
    direct = cluster_bootstrap(values, members, bounds=(0, 1), draws=300, seed=5)
    items = pd.DataFrame({"value": values})
    slow = bootstrap_statistic(lambda rows: rows["value"].mean(), items, members, bounds=(0, 1), draws=300, seed=5)
    assert slow.estimate == pytest.approx(direct.estimate)
    # The mean of draws, which is taken for a bias, is off by what the number of draws allows.
    allowed = 0 if groups < 20 else 0.1 * (direct.high - direct.low)
    assert (slow.low, slow.high) == pytest.approx((direct.low, direct.high), abs=allowed + 1e-9)
    assert (slow.method, slow.groups, slow.reason) == (direct.method, direct.groups, direct.reason)


def test_a_statistic_that_is_not_always_defined(rng) -> None:
    items = pd.DataFrame({"right": [0.0] * 3 + [1.0] * 21})

    def share_of_both(rows: pd.DataFrame) -> float:
        return rows["right"].mean() if rows["right"].nunique() > 1 else np.nan

    result = bootstrap_statistic(share_of_both, items, draws=200)
    assert result.low < result.estimate < result.high
    left_out = int(result.reason.split()[0])
    assert 0 < left_out < 40
    assert result.reason == f"{left_out} of 200 draws are not defined and left out"
    few = bootstrap_statistic(share_of_both, items[2:8])
    assert few.method == "none"
    assert "1 of 6 times" in few.reason
    assert bootstrap_statistic(share_of_both, items[:0]).reason == "no item is scored"
    assert bootstrap_statistic(share_of_both, items[:3]).reason == "the statistic is not defined on these items"


def test_intervals_of_macro_f1_lie_about_the_truth(rng) -> None:
    """24 classes with five items each: the sample is .03 below, and draws of it by as much again."""
    macro_f1 = Task(metrics="genre", regression=False).statistics["macro_f1"]
    right = np.linspace(0.2, 0.9, 24)

    def sample(size: int) -> pd.DataFrame:
        classes = rng.integers(24, size=size)
        guessed = np.where(rng.random(size) < right[classes], classes, rng.integers(24, size=size))
        return pd.DataFrame({"reference": classes, "estimated": guessed})

    truth, settings = macro_f1(sample(300_000)), {"bounds": (0, 1), "draws": 100}
    for ratio, least in ((None, 0.85), (1.0, 0.95)):
        intervals = [
            bootstrap_statistic(macro_f1, sample(120), tested_per_trained=ratio, **settings) for _ in range(40)
        ]
        middle = np.mean([(one.low + one.high) / 2 for one in intervals])
        assert middle == pytest.approx(truth, abs=0.025)
        assert np.mean([one.low <= truth <= one.high for one in intervals]) >= least


def test_bad_values_are_refused() -> None:
    with pytest.raises(InputError, match=r"\[1, 1, 2\]"):
        cluster_bootstrap([[[1.0, 2.0]]])
    with pytest.raises(InputError, match="1 of 2 values are infinite"):
        cluster_bootstrap([1.0, np.inf])
