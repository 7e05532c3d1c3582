"""Correlations of chunks where they are known."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.latents import chunk_agreement

PIECES = [clip // 2 for clip in range(40)]


def test_share_of_what_stays_inside_a_clip_is_the_correlation(rng) -> None:
    # What stays has variance 3, what changes from chunk to chunk 1: 3 / 4 of it is common to two chunks.
    stays, changes = rng.normal(size=(40, 1, 500)), rng.normal(size=(40, 6, 500))
    scales, offsets = 10.0 ** rng.uniform(-3, 3, 500), rng.uniform(-100, 100, 500)
    found = chunk_agreement((np.sqrt(3) * stays + changes) * scales + offsets, PIECES)
    assert found["within"].mean() == pytest.approx(0.75, abs=0.02)
    assert found["adjacent"].mean() == pytest.approx(0.75, abs=0.02)
    assert found["between"].mean() == pytest.approx(0, abs=0.03)


def test_pair_by_pair(rng) -> None:
    embeddings = rng.normal(size=(5, 3, 4)).cumsum(axis=1)
    embeddings[..., 2] = 7.0  # never changes
    pieces = ["x", "y", "x", "z", "y"]
    found = chunk_agreement(embeddings, pieces)
    scaled = embeddings[..., [0, 1, 3]] - embeddings[..., [0, 1, 3]].mean(axis=(0, 1))
    scaled /= scaled.std(axis=(0, 1))
    unit = scaled / np.linalg.norm(scaled, axis=2, keepdims=True)
    for clip in range(5):
        inside = unit[clip] @ unit[clip].T
        assert found["adjacent"][clip] == pytest.approx((inside[0, 1] + inside[1, 2]) / 2)
        assert found["within"][clip] == pytest.approx((inside.sum() - 3) / 6)
        other = [unit[clip] @ unit[place].T for place in range(5) if pieces[place] != pieces[clip]]
        assert found["between"][clip] == pytest.approx(np.mean(other))


def test_one_piece_has_nothing_between(rng) -> None:
    found = chunk_agreement(rng.normal(size=(3, 4, 5)), ["a"] * 3)
    assert np.isnan(found["between"]).all()
    assert np.isfinite(found["within"]).all()


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros((3, 1, 5)), r"\[3, 1, 5\]"),
        (np.full((3, 2, 5), np.nan), "NaN"),
        (np.ones((3, 2, 5)), "same embedding"),
        (np.zeros((2, 2, 5)), "one piece for each of 2"),
    ],
)
def test_bad_input(embeddings: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chunk_agreement(embeddings, ["a", "b", "c"])
