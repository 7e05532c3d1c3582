"""Intervals over clips cover what they claim to."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.intervals import jackknife, mean_interval


def test_mean_interval_covers_a_skewed_mean() -> None:
    held, skewed = 0, 0
    for seed in range(100):
        values = np.random.default_rng(seed).exponential(size=60)
        result = mean_interval(values, resamples=500, seed=seed)
        skewed += result["high"] - result["mean"] > result["mean"] - result["low"] > 0
        held += result["low"] <= 1 <= result["high"]
    assert 88 <= held <= 99
    assert skewed > 90


def test_mean_interval_counts_and_repeats() -> None:
    values = [1.0, np.nan, 2.0, 4.0, np.nan]
    result = mean_interval(values)
    assert (result["scored"], result["expected"]) == (3, 5)
    assert result["mean"] == pytest.approx(7 / 3)
    assert mean_interval(values) == result
    narrow = mean_interval(values, level=0.5)
    assert result["low"] < narrow["low"] <= narrow["high"] < result["high"]


def test_mean_interval_of_little() -> None:
    assert mean_interval([3.0, 3.0, 3.0])["low"] == 3.0
    single = mean_interval([3.0])
    assert single["mean"] == 3.0
    assert np.isnan([single["low"], single["high"], mean_interval([np.nan])["mean"]]).all()
    with pytest.raises(InputError, match="level is 95"):
        mean_interval([1.0, 2.0], level=95)
    with pytest.raises(InputError, match=r"\[1, 2\]"):
        mean_interval([[1.0, 2.0]])


def test_jackknife_of_two_samples(rng) -> None:
    # The biased variance of one sample plus that of another: the jackknife makes both unbiased.
    first, second = rng.normal(size=12), rng.normal(size=30)
    left_out = [np.array([np.var(np.delete(x, i)) for i in range(len(x))]) for x in (first, second)]
    result = jackknife(first.var() + second.var(), left_out[0] + second.var(), first.var() + left_out[1], level=0.9)
    assert result["unbiased"] == pytest.approx(first.var(ddof=1) + second.var(ddof=1), rel=1e-9)
    assert result["unbiased_high"] - result["unbiased"] == pytest.approx(1.7959 * result["standard_error"], rel=1e-4)
    assert result["high"] - result["low"] == pytest.approx(2 * 1.7959 * result["standard_error"], rel=1e-4)
