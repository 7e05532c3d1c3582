"""Inner folds keep groups whole and classes even; the search ends where it may."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from m2l2_mir.probe.selection import ReadoutWarning, best_candidate, inner_folds, warn_of_edge


def test_groups_stay_whole_and_classes_even(rng) -> None:
    groups = rng.integers(60, size=600)
    classes = groups % 4  # a piece has one key
    for seed in range(5):
        folds = inner_folds(classes, groups, 3, np.random.RandomState(seed))
        assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(600))
        for training, held_out in folds:
            assert not set(groups[training]) & set(groups[held_out])
            shares = np.bincount(classes[held_out]) / np.bincount(classes)
            np.testing.assert_allclose(shares, 1 / 3, atol=0.08)


def test_items_without_groups_are_dealt_evenly(rng) -> None:
    classes = rng.permutation(np.repeat(np.arange(5), [30, 30, 7, 4, 1]))
    folds = inner_folds(classes, None, 3, np.random.RandomState(0))
    counts = np.array([np.bincount(classes[held_out], minlength=5) for _, held_out in folds])
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_folds_depend_on_the_seed_alone() -> None:
    classes = np.arange(60) % 3
    held_out = [inner_folds(classes, None, 3, np.random.RandomState(seed))[0][1].tolist() for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]


def test_fewer_groups_than_folds() -> None:
    assert len(inner_folds(np.array([0, 1, 0]), np.array([0, 1, 1]), 5, np.random.RandomState(0))) == 2
    assert inner_folds(np.array([0, 1]), np.array([0, 0]), 3, np.random.RandomState(0)) == []


def test_search_passes_dips_and_ties_go_to_the_simpler() -> None:
    dips = [1.0, 0.5, 0.4, 9.0, 9.0, 1.9, 1.8, 1.7]
    best, scores = best_candidate(8, dips.__getitem__)
    assert (best, scores.tolist()) == (3, dips)
    asked = iter([False, True])
    best, scores = best_candidate(8, dips.__getitem__, lambda: next(asked))
    assert best == 3  # the first time, more was to come
    assert scores[:7].tolist() == dips[:7]
    assert np.isnan(scores[7])


@pytest.mark.parametrize(
    ("scores", "end"),
    [([0.5, 0.4, 0.3], "first"), ([0.3, 0.4, 0.5], "last"), ([0.5, 0.4999, 0.3], None), ([0.4, 0.5, math.nan], None)],
)
def test_edge_where_it_matters(scores: list[float], end: str | None) -> None:
    best = int(np.nanargmax(scores))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert warn_of_edge(best, np.array(scores), ("first", "last")) == end
    assert [warning.category for warning in caught] == ([ReadoutWarning] if end else [])
    assert warn_of_edge(best, np.array(scores), (None, None)) is None
