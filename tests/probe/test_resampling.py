"""Intervals over groups hold the truth as often as they say, and draws are those of a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from m2l2_mir.errors import InputError
from m2l2_mir.probe import resampling
from m2l2_mir.probe.resampling import resample_means


def _members(rng, groups: int) -> np.ndarray:
    return np.repeat(np.arange(groups), rng.integers(2, 20, groups))


def _clustered(rng, rows: int, members: np.ndarray, probability: float) -> np.ndarray:
    """Right or wrong [rows, items], alike within groups (intraclass correlation .2)."""
    of_group = rng.beta(4 * probability, 4 * (1 - probability), (rows, members.max() + 1))
    return rng.binomial(1, of_group[:, members]).astype(float)


@pytest.mark.parametrize(
    ("groups", "probability", "least"), [(5, 0.8, 0.92), (12, 0.2, 0.92), (30, 0.5, 0.92), (100, 0.1, 0.91)]
)
def test_intervals_hold_the_truth(rng, groups, probability, least) -> None:
    members = _members(rng, groups)
    rows = resample_means(_clustered(rng, 600, members, probability), members, draws=1000)
    intervals = [row.interval(bounds=(0, 1)) for row in rows]
    held = np.mean([one.low <= probability <= one.high for one in intervals])
    assert least < held < 0.99
    assert all(0 <= one.low <= one.estimate <= one.high <= 1 for one in intervals)


@pytest.mark.parametrize("groups", [8, 30])
def test_p_is_uniform_without_a_difference(rng, groups) -> None:
    members = _members(rng, groups)
    difference = _clustered(rng, 600, members, 0.5) - _clustered(rng, 600, members, 0.5)
    difference += rng.normal(scale=0.05, size=difference.shape)  # so that no two p are tied
    rows = resample_means(difference, members, draws=1000)
    p = np.array([row.p_value() for row in rows])
    assert 0.02 < np.mean(p < 0.05) < 0.08
    assert 0.45 < p.mean() < 0.55
    opposite = np.array([row.p_value() for row in resample_means(-difference, members, draws=1000)])
    assert np.array_equal(p, opposite)


@pytest.mark.parametrize("groups", [9, 20])
def test_p_is_one_less_the_level_at_the_bound_of_an_interval(rng, groups) -> None:
    values, members = rng.normal(size=(1, 3 * groups)), np.repeat(np.arange(groups), 3)
    bound = resample_means(values, members, draws=20_000)[0].interval().high
    assert resample_means(values - bound, members, draws=20_000)[0].p_value() == pytest.approx(0.05, abs=0.001)


def test_draws_are_those_of_a_plain_loop(rng, monkeypatch) -> None:
    sizes = [40, *rng.integers(1, 5, 24)]  # one group ten times as large as the others
    members = rng.permutation(np.repeat(np.arange(25), sizes))
    values = rng.normal(size=(2, len(members)))
    monkeypatch.setattr(resampling, "_BLOCK", 25 * 16)  # seven blocks
    rows = resample_means(values, members, draws=100, seed=4)
    for row, items in zip(rows, values, strict=True):
        draws = np.random.default_rng(4)
        expected = []
        for _ in range(100):
            chosen = draws.integers(25, size=25)
            expected.append(np.mean(np.concatenate([items[members == group] for group in chosen])))
        np.testing.assert_allclose(row.others, expected, rtol=0, atol=1e-12)
        assert row.estimate == pytest.approx(items.mean(), abs=1e-12)


def test_a_large_group_weighs_its_items() -> None:
    [row] = resample_means(np.array([[1.0] * 10 + [0.0, 0.0]]), ["large"] * 10 + ["b", "c"])
    assert row.estimate == pytest.approx(10 / 12)
    np.testing.assert_allclose(sorted(row.others), [0, 10 / 11, 10 / 11])
    # Jackknife error by hand: sqrt(2/3 * sum of squares about the mean 20/33); 144 / 102 - 1 < 1 degree of freedom.
    error = np.sqrt(2 / 3 * ((20 / 33) ** 2 + 2 * (10 / 33) ** 2))
    interval = row.interval()
    assert interval.high - interval.estimate == pytest.approx(12.7062 * error, rel=1e-4)
    assert interval.reason == "3 groups, fewer than 20: t interval over groups"
    assert row.p_value() == pytest.approx(2 * stats.t.sf(10 / 12 / error, 1))
    inside = row.interval(bounds=(0, 1))
    logit = np.log(5) - 12.7062 * error / (10 / 12 * 2 / 12)
    assert inside.low == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-3)


def test_equal_groups_give_students_t(rng) -> None:
    for groups, tolerance in ((12, 1e-9), (20, 0.02)):  # the percentiles of draws come near it, plain ones by 9 % only
        values = rng.normal(size=groups)
        interval = resample_means(values[None], None, draws=100_000)[0].interval()
        width = 2 * stats.t.ppf(0.975, groups - 1) * values.std(ddof=1) / np.sqrt(groups)
        assert interval.high - interval.low == pytest.approx(width, rel=tolerance)
        assert interval.method == ("t" if groups < 20 else "bootstrap")


def test_clear_differences_have_p_below_the_reach_of_draws(rng) -> None:
    [row] = resample_means(1 + 0.3 * rng.normal(size=(1, 25)), None, draws=1000)
    assert row.p_value() < 1e-8


def test_rows_that_score_the_same_items_share_draws(rng) -> None:
    values = np.vstack([rng.normal(size=(1, 60))] * 3)
    values[1, :6] = np.nan
    whole, part, again = resample_means(values, np.repeat(np.arange(30), 2))
    assert np.array_equal(whole.others, again.others)
    assert (len(part.sizes), part.scored, part.expected) == (27, 54, 60)
    assert part.estimate == pytest.approx(values[1, 6:].mean())


def test_little_data_gives_a_defined_result() -> None:
    [one, none] = resample_means(np.array([[1.0, 0.0], [np.nan, np.nan]]), ["a", "a"])
    assert (one.interval().estimate, one.interval().method) == (0.5, "none")
    assert one.interval().reason == "all items are of one group: no interval over groups"
    assert (none.interval().reason, none.interval().scored) == ("no item is scored", 0)
    assert np.isnan([one.interval().low, one.p_value(), none.interval().estimate, none.p_value()]).all()
    for groups in (4, 40):
        [right, equal] = resample_means(np.array([[1.0] * groups, [0.0] * groups]), None)
        assert np.isnan([right.interval().low, right.interval().high]).all()
        assert "nothing to tell an interval from" in right.interval().reason
        assert (right.p_value(), equal.p_value()) == (2.0 ** (1 - groups), 1)


def test_other_training_items_and_seeds_widen(rng) -> None:
    for groups in (12, 40):
        [row] = resample_means(rng.normal(size=(1, groups)), None)
        assert row.refitted(0, [0.3]).interval() == row.interval()
        half = row.interval().high - row.estimate
        assert row.refitted(1, [0.3]).interval().high - row.estimate == pytest.approx(half * np.sqrt(2))
        # Two seeds that differ by d have variance d^2 / 2, and half of that is what their mean may be off by.
        error = row._error()
        of_seeds = [0.0, 2 * error, np.nan]
        wider = row.refitted(0.25, of_seeds)
        assert wider.interval().high - row.estimate == pytest.approx(half * np.sqrt(2.25))
        assert (wider.estimate, wider.scored) == (row.estimate, row.scored)
        assert wider.p_value() > row.p_value()
    assert wider.interval(bounds=(row.estimate - 0.01, row.estimate + 0.01)).high == row.estimate + 0.01
    [flat] = resample_means(np.ones((1, 30)), None)
    with pytest.raises(InputError, match="-1 items tested"):
        flat.refitted(-1, [])


@pytest.mark.parametrize("groups", [6, 40])
def test_all_right_or_all_wrong_is_no_certainty(groups) -> None:
    members = np.repeat(np.arange(groups), 3)
    values = np.vstack([np.ones(3 * groups), np.zeros(3 * groups), np.full(3 * groups, 0.5)])
    right, wrong, half = resample_means(values, members)
    low = stats.binomtest(groups, groups).proportion_ci(method="exact").low  # three items of a group count as one
    interval = right.interval(bounds=(0, 1))
    assert (interval.low, interval.high, interval.method) == (pytest.approx(low), 1, "exact")
    assert right.interval(bounds=(0, 1), level=0.9).low > low
    assert wrong.interval(bounds=(0, 1)).high == pytest.approx(1 - low)
    assert wrong.interval(bounds=(0, 2)).high == pytest.approx(2 * (1 - low))
    # That fits are a sample too doubles the variance, as if there were half as many groups.
    assert right.refitted(1, [1.0, 1.0]).interval(bounds=(0, 1)).low == pytest.approx(low**2)
    assert (half.interval(bounds=(0, 1)).method, half.interval(bounds=(0, 1)).high) == (
        "none",
        pytest.approx(np.nan, nan_ok=True),
    )
    [uneven] = resample_means(np.ones((1, 12)), ["large"] * 9 + ["b", "c", "d"])
    assert uneven.interval(bounds=(0, 1)).low == pytest.approx(0.025 ** (84 / 144))


def test_bad_input_is_refused() -> None:
    values = np.array([[1.0, 0.0, 5.0]])
    with pytest.raises(InputError, match="1 of 3 items have no group"):
        resample_means(values, ["a", None, "b"])
    with pytest.raises(InputError, match="one group for each of 3 items"):
        resample_means(values, ["a", "b"])
    with pytest.raises(InputError, match="0 draws"):
        resample_means(values, None, draws=0)
    with pytest.raises(InputError, match="estimate 2 lies outside"):
        resample_means(values, None)[0].interval(bounds=(0, 1))
    with pytest.raises(InputError, match="level is 95"):
        resample_means(values, None)[0].interval(level=95)
