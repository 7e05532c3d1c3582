"""Nulls: what is exchanged, what is turned, and how scores are set against them."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.disentangle.bases import evened, standardised, whitening
from m2l2_mir.disentangle.nulls import Nulls, against_null, moved_share, normalised, permuted_rows, rotations
from m2l2_mir.errors import InputError


def test_labels_are_exchanged_inside_groups(rng) -> None:
    groups = rng.permutation(np.arange(60) % 7)
    labels = rng.integers(0, 5, size=60)
    rows = permuted_rows(labels, groups, 50, rng)
    assert (groups[rows] == groups).all()
    assert (np.sort(rows, axis=1) == np.arange(60)).all()
    moved = (labels[rows] != labels).mean()
    assert 0.5 < moved < 0.9
    assert len(np.unique(rows, axis=0)) == 50


def test_labels_of_whole_groups_change_places(rng) -> None:
    groups = rng.permutation(np.arange(60) % 10)
    labels = rng.permutation(10)[groups]
    permuted = labels[permuted_rows(labels, groups, 30, rng)]
    for draw in permuted:
        assert all(len(np.unique(draw[groups == group])) == 1 for group in range(10))
        assert (np.sort(np.unique(draw)) == np.arange(10)).all()
    assert (permuted != labels).mean() > 0.7


def test_labels_that_are_mostly_those_of_groups_change_places_with_them(rng) -> None:
    groups = np.concatenate([np.arange(60) % 10, np.full(30, 10)])  # one is larger than the rest
    labels = np.concatenate([rng.permutation(10) % 5, [4]])[groups]
    labels[3] = (labels[3] + 1) % 5
    rows = permuted_rows(labels, groups, 40, rng)
    assert moved_share(labels, rows) > 0.7
    for draw in groups[rows]:
        assert all(len(np.unique(draw[groups == group])) == 1 for group in range(11))
    alone = np.append(np.arange(80), 79)  # each item its own group, but for two that differ
    changed = np.arange(81) % 4
    assert moved_share(changed, permuted_rows(changed, alone, 40, rng)) > 0.9
    two = np.arange(40) // 20
    assert len(np.unique(two[permuted_rows(two, two, 40, rng)], axis=0)) == 2


def test_rotations_keep_the_standardised_code_but_for_its_basis(rng) -> None:
    codes = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) * 10.0 ** np.arange(6) + 3
    codes = np.hstack([codes, codes[:, :1], np.full((500, 1), 7.0)])  # a dimension twice, one that is constant
    standard = (codes - codes.mean(axis=0)) / np.append(codes.std(axis=0)[:-1], 1.0)
    np.testing.assert_allclose(standardised(codes), standard, atol=1e-9)
    first, second = (standard @ turn for turn in rotations(8, Nulls(rotations=2)))
    np.testing.assert_allclose(first @ first.T, standard @ standard.T, atol=1e-6)  # distances stay
    assert np.abs(first - second).max() > 0.5


def test_evened_slots_have_one_scale_each_and_keep_their_shape(rng) -> None:
    slots = rng.normal(size=(300, 3, 4)) * np.array([1.0, 10.0, 0.0])[:, None] * [1, 2, 3, 4] + 5
    even = evened(slots)
    np.testing.assert_allclose(np.square(even).mean(axis=(0, 2)), [1, 1, 0], atol=1e-9)
    centred = slots[:, 1] - slots[:, 1].mean(axis=0)
    np.testing.assert_allclose(even[:, 1] * np.sqrt(np.square(centred).mean()), centred)


def test_whitening_leaves_what_does_not_vary_and_shrinks_where_items_are_few(rng) -> None:
    codes = np.hstack([rng.normal(size=(4000, 6)) * np.arange(1, 7), np.full((4000, 1), 7.0)])
    white = codes @ whitening(codes)
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(white.T)), [0, 1, 1, 1, 1, 1, 1], atol=0.05)
    few = rng.normal(size=(30, 40))  # a sample covariance of rank 29
    white = few @ whitening(few)
    assert white.shape == (30, 40)
    assert 0.2 < white.var(axis=0).mean() < 2


def test_score_against_its_null() -> None:
    draws = np.array([[0.2, 1.0], [0.4, 1.0], [0.3, 1.0]])
    found = against_null(np.array([0.3, 1.0]), draws)
    np.testing.assert_allclose(found["mean"], [0.3, 1.0])
    np.testing.assert_allclose(found["normalised"], [0.0, np.nan], atol=1e-12)  # the second null left no room
    np.testing.assert_allclose(found["p"], [3 / 4, 1.0])
    assert np.isnan(against_null(1.0, np.array([0.97, 0.95]))["normalised"])  # luck would decide: 1 or 0
    assert np.isnan(normalised(float("nan"), 0.5))
    assert np.isnan(against_null(float("nan"), np.array([np.nan, np.nan]))["p"])


def test_numbers_of_draws() -> None:
    with pytest.raises(InputError, match="-1 rotations"):
        Nulls(rotations=-1)
