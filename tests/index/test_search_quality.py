"""Recall of searches that forget on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.index.search_quality import evaluate_search, recall, unseen_recall


@pytest.fixture
def vectors(rng) -> np.ndarray:
    raw = rng.normal(size=(400, 16)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def forgetful(vectors: np.ndarray, forgotten: int):
    """Exact search that never finds the first so many tracks, and ends its lists with -1 instead."""

    def search(asked, count):
        similarity = asked @ vectors.T
        best = np.argsort(-similarity, axis=1)[:, :count]
        return similarity, np.where(best < forgotten, -1, best)

    return search


@pytest.mark.parametrize("forgotten", [0, 100])
def test_recall_is_the_share_that_is_found(vectors, forgotten) -> None:
    found = evaluate_search(vectors, forgetful(vectors, forgotten), {"graph": 4000, "vectors": 400}, queries=200)
    assert found["recall"]["low"] <= 1 - forgotten / 400 <= found["recall"]["high"]
    assert found["recall"]["estimate"] == pytest.approx(1 - forgotten / 400, abs=0.03)
    assert found["bytes_per_track"] == {"graph": 10, "vectors": 1}
    assert min(found["queries_per_second"].values()) > 0
    assert found["queries"] == 200


def test_copies_count_for_each_other_and_the_query_for_none(rng) -> None:
    vectors = np.repeat(np.eye(3), [4, 1, 1], axis=0)  # four copies
    lists = np.array([[0, 3, 2], [0, 4, 5], [0, 0, 0]])
    assert recall(vectors, vectors[[0, 0, 1]], lists, 2, own=np.array([0, 0, 1])).tolist() == [1, 0, 0.5]


def test_two_tracks_and_one() -> None:
    assert evaluate_search(np.eye(2), forgetful(np.eye(2), 0), {})["recall"]["estimate"] == 1
    assert evaluate_search(np.eye(2)[:1], forgetful(np.eye(2), 0), {}) == {}


@pytest.mark.parametrize("forgotten", [0, 90])
def test_unseen_queries_are_not_in_what_is_searched(vectors, forgotten) -> None:
    built = []

    def build(kept):
        built.append(kept)
        return forgetful(kept, forgotten)

    found = unseen_recall(vectors, build, k=5)
    assert found["queries"] == 40
    assert len(built[0]) == 360
    assert found["estimate"] == pytest.approx(1 - forgotten / 360, abs=0.06)
