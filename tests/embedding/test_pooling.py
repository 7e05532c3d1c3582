"""Pooling over time and over embeddings, against numbers worked out by hand."""

import numpy as np
import pytest

from m2l2_mir.embedding.pooling import POOLINGS, apply_pooling, pool_time
from m2l2_mir.errors import InputError


def test_weights_count_samples():
    """A chunk of weight 3 counts as three of weight 1, and a chunk of weight 0 not at all."""
    values = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    values[1] = np.nan
    mean, std = pool_time(values, [3, 0, 1, 2])
    spread = values[[0, 0, 0, 2, 3, 3]].astype(np.float64)
    np.testing.assert_allclose(mean, spread.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, spread.std(axis=0), rtol=1e-6)
    assert mean.dtype == std.dtype == np.float32


def test_small_spread_about_a_large_mean_survives():
    """float32 sums, or mean(x**2) - mean(x)**2, would lose this spread."""
    values = np.float32(1000) + np.resize(np.float32([-0.125, 0.125]), (10_000, 1, 1))
    mean, std = pool_time(values, np.full(10_000, 32_635))
    assert mean.item() == 1000
    assert std.item() == pytest.approx(0.125, rel=1e-6)


def test_one_chunk_has_no_spread():
    mean, std = pool_time(np.full((1, 2, 2), 0.3, np.float32), [7])
    np.testing.assert_array_equal(mean, np.float32(0.3))
    np.testing.assert_array_equal(std, 0)


@pytest.mark.parametrize(
    ("shape", "weights", "message"),
    [
        ((3, 2, 2), [0, 0, 0], "all 3 chunks have weight zero"),
        ((0, 2, 2), [], "all 0 chunks"),
        ((3, 2, 2), [1, 1], "do not fit"),
        ((3, 4), [1, 1, 1], "do not fit"),
        ((2, 2, 2), [1, -1], "not negative"),
        ((2, 2, 2), [1, np.nan], "finite"),
    ],
)
def test_unfit_chunks_are_refused(shape, weights, message):
    with pytest.raises(InputError, match=message):
        pool_time(np.zeros(shape, np.float32), weights)


def test_every_pooling_arranges_the_same_numbers():
    mean = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    std = mean + 100
    assert apply_pooling("mean", mean) is mean
    np.testing.assert_array_equal(apply_pooling("mean+std", mean, std)[1, 0], [6, 7, 8, 106, 107, 108])
    np.testing.assert_array_equal(apply_pooling("flatten", mean)[1], np.arange(6, 12))
    np.testing.assert_array_equal(
        apply_pooling("mean+std-flatten", mean, std)[0], [0, 1, 2, 100, 101, 102, 3, 4, 5, 103, 104, 105]
    )
    np.testing.assert_array_equal(apply_pooling("slot-mean", mean), [[1.5, 2.5, 3.5], [7.5, 8.5, 9.5]])


@pytest.mark.parametrize("name", POOLINGS)
def test_no_tracks_keep_their_shape(name):
    nothing = np.zeros((0, 2, 3), np.float32)
    some = np.zeros((1, 2, 3), np.float32)
    assert apply_pooling(name, nothing, nothing).shape[1:] == apply_pooling(name, some, some).shape[1:]


def test_unknown_pooling_names_the_close_one():
    with pytest.raises(InputError, match=r"'mean\+sdt'.*did you mean 'mean\+std'.*slot-mean"):
        apply_pooling("mean+sdt", np.zeros((1, 2, 3), np.float32))
    with pytest.raises(InputError, match="needs std"):
        apply_pooling("mean+std", np.zeros((1, 2, 3), np.float32))
