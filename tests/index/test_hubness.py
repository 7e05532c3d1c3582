"""Counts and re-scorings against plain loops over the formulas, and on libraries whose hubs are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from m2l2_mir.errors import InputError
from m2l2_mir.index import hubness as module
from m2l2_mir.index.hubness import Neighbours, csls, hubness, k_occurrence, mutual_proximity, nearest


@pytest.fixture
def vectors(rng) -> np.ndarray:
    """A cloud off the origin's middle, in many dimensions: it has hubs."""
    raw = rng.normal(size=(300, 60)) + rng.normal(scale=0.8, size=60)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def test_neighbours_are_those_of_a_full_sort(vectors, monkeypatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_VALUES", 300 * 37)
    found = nearest(vectors, 12)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    assert np.array_equal(found.positions, np.argsort(-similarity, axis=1)[:, :12])
    assert np.allclose(found.scores, -np.sort(-similarity, axis=1)[:, :12], atol=1e-6)


def test_a_planted_hub_and_its_orphans(rng) -> None:
    rays = np.eye(40)
    hub = np.ones(40) / np.sqrt(40)
    vectors = np.vstack([0.9 * rays + 0.44 * hub, hub])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = hubness(nearest(vectors, 1), k=1)
    assert found.occurrences[-1] == 40
    assert found.orphans == 39 / 41
    assert found.hubs == 1 / 41
    assert found.skewness == pytest.approx(stats.skew([40, 1, *[0] * 39]))


def test_csls_is_its_formula(vectors) -> None:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    mean = np.sort(similarity, axis=1)[:, -5:].mean(axis=1)
    expected = 2 * similarity - mean[:, None] - mean[None]
    found = csls(nearest(vectors, 299), k=5)  # all others are candidates
    for row in range(300):
        assert np.allclose(found.scores[row], expected[row, found.positions[row]], atol=1e-5)
        assert np.allclose(found.scores[row], -np.sort(-expected[row])[:-1], atol=1e-5)


def test_mutual_proximity_is_a_plain_count(rng) -> None:
    vectors = rng.normal(size=(25, 4)).astype(np.float32)
    distance = 1 - (vectors @ vectors.T).astype(np.float64)
    found = mutual_proximity(vectors, nearest(vectors, 24))
    for x in range(25):
        for y, score in zip(found.positions[x], found.scores[x], strict=True):
            beyond = [j for j in range(25) if distance[x, j] > distance[x, y] and distance[y, j] > distance[x, y]]
            assert score == len(beyond) / 25
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_the_sampled_variant_is_its_formula(rng, vectors, monkeypatch) -> None:
    monkeypatch.setattr(module, "COUNTED", 299)  # a sample of all but one
    found = mutual_proximity(vectors, nearest(vectors, 20))
    similarity = vectors @ vectors.T
    chance = stats.norm.cdf((similarity - similarity.mean(axis=1)[:, None]) / similarity.std(axis=1)[:, None])
    both = np.log(chance) + np.log(chance.T)  # similarity is symmetric: row y at column x
    for row in (0, 100, 299):
        assert np.allclose(found.scores[row], both[row, found.positions[row]], atol=0.02)


@pytest.mark.parametrize("counted", [10_000, 100])
def test_re_scoring_brings_hubness_down(vectors, monkeypatch, counted) -> None:
    monkeypatch.setattr(module, "COUNTED", counted)
    candidates = nearest(vectors, 100)
    before = hubness(candidates)
    assert before.skewness > 2
    for after in (hubness(csls(candidates)), hubness(mutual_proximity(vectors, candidates))):
        assert after.skewness < 0.7 * before.skewness
        assert after.orphans < 0.3 * before.orphans


def test_small_and_short_lists() -> None:
    assert nearest(np.ones((1, 3)), 5).positions.shape == (1, 0)
    assert np.isnan(hubness(nearest(np.ones((1, 3)), 5)).orphans)
    assert np.isnan(hubness(nearest(np.eye(2), 1), k=1).skewness)  # each is the other's neighbour
    short = Neighbours(positions=np.array([[1, -1], [0, -1]]), scores=np.array([[0.5, 0.9], [0.5, 0.9]]))
    assert k_occurrence(short.positions, 2).tolist() == [1, 1]
    assert csls(short).positions.tolist() == [[1, -1], [0, -1]]  # an empty place stays the last, whatever is in it
    assert csls(short).scores[0].tolist() == [0, -np.inf]
    with pytest.raises(InputError, match="0 neighbours"):
        nearest(np.eye(2), 0)
