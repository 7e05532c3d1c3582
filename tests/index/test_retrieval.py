"""Rankings worked by hand, scikit-learn's metrics, and what the filter and ties must not do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from m2l2_mir.dataset.labels import KEYS
from m2l2_mir.errors import InputError
from m2l2_mir.index import retrieval
from m2l2_mir.index.relations import key_compatible, same, tempo_within
from m2l2_mir.index.retrieval import METRICS, evaluate, per_query


def on_a_line(places: list[float]) -> np.ndarray:
    """Unit vectors at small angles: the nearer on the line, the more similar."""
    angles = np.array(places) / 100
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_ranking_by_hand() -> None:
    # From the first track on, the others are ranked in their order: b a b a a.
    vectors, labels = on_a_line([0, 1, 2, 3, 4, 5]), ["a", "b", "a", "b", "a", "a"]
    first = per_query(vectors, [same(labels)], k=2).iloc[0]
    assert first[["relevant", "candidates"]].tolist() == [3, 5]
    assert first["precision"] == 1 / 2
    assert first["r_precision"] == 1 / 3
    assert first["average_precision"] == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert first["ndcg"] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))


def test_the_group_filter_takes_candidates_out_of_the_ranking() -> None:
    vectors, labels = on_a_line([0, 1, 2, 3, 4]), ["a", "a", "b", "a", "b"]
    groups = ["x", "x", None, "y", None]  # tracks without a group are not of one group
    table = per_query(vectors, [same(labels)], k=1, groups=groups)
    first = table[(table["track"] == 0) & table["filter"]].iloc[0]
    assert first[["relevant", "candidates"]].tolist() == [1, 3]  # b a b remain
    assert first[list(METRICS)].tolist() == [0, 0, 1 / 2, 0]
    assert table[(table["track"] == 0) & ~table["filter"]]["precision"].item() == 1
    assert table[(table["track"] == 2) & table["filter"]]["relevant"].item() == 1


def test_metrics_are_those_of_scikit_learn(rng, monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "_BLOCK_VALUES", 60 * 7)  # several blocks
    vectors, labels = rng.normal(size=(60, 5)), rng.integers(4, size=60)
    groups = rng.integers(20, size=60)
    table = per_query(vectors, [same(labels)], k=6, groups=groups)
    filtered = table[table["filter"]].set_index("track")
    for query in range(60):
        candidates = groups != groups[query]
        truth = (labels == labels[query])[candidates]
        similarity = (vectors @ vectors[query])[candidates]
        ap, gain = filtered.loc[query, ["average_precision", "ndcg"]]
        assert ap == pytest.approx(average_precision_score(truth, similarity))
        assert gain == pytest.approx(ndcg_score([truth], [similarity], k=6), abs=1e-6)
        best = np.argsort(-similarity)
        assert filtered.loc[query, "precision"] == pytest.approx(truth[best[:6]].mean())
        assert filtered.loc[query, "r_precision"] == pytest.approx(truth[best[: truth.sum()]].mean())


def test_ties_do_not_follow_the_order_of_the_table() -> None:
    vectors, labels = np.ones((400, 3)), np.repeat(["a", "b"], 200)
    table = per_query(vectors, [same(labels)], k=10)
    first = table[table["track"] < 200]
    assert 0.1 < first["precision"].mean() < 0.9  # one order for all queries: it is luck who leads
    assert 0.45 < first["r_precision"].mean() < 0.55


def test_tracks_without_label_or_relevant_candidate() -> None:
    table = per_query(on_a_line([0, 1, 2, 3, 9]), [same(["a", None, "a", "b", float("nan")])], k=3)
    assert table["track"].tolist() == [0, 2, 3]
    assert table["candidates"].tolist() == [2, 2, 2]
    assert table["precision"].tolist()[:2] == [1 / 2, 1 / 2]  # of two candidates, not of three
    assert table.loc[2, list(METRICS)].isna().all()
    found = evaluate(on_a_line([0, 1]), same(["a", "b"]))
    assert np.isnan(found["precision"])
    assert (found["scored"], found["expected"]) == (0, 2)


def test_few_queries_are_those_of_all(rng) -> None:
    vectors, relation = rng.normal(size=(50, 4)), same(rng.integers(3, size=50))
    every = per_query(vectors, [relation]).set_index("track")
    some = per_query(vectors, [relation], queries=7).set_index("track")
    assert len(some) == 7
    assert some.equals(every.loc[some.index])
    assert per_query(vectors[:1], [same(["a"])])["precision"].isna().all()
    assert per_query(np.empty((0, 3)), [same([])]).empty


def test_relations_of_keys_and_tempi() -> None:
    keys = ["A minor", "C major", "E minor", "D minor", "A major", "G major", "am", "?"]
    found = key_compatible(keys)
    assert found.between(np.array([0]))[0].tolist() == [True, True, True, True, False, False, True, False]
    everything = found.between(np.arange(7))[:, :7]
    assert np.array_equal(everything, everything.T)
    wheel = key_compatible(KEYS)
    assert wheel.between(np.arange(24)).sum(axis=1).tolist() == [4] * 24
    bpm = tempo_within([60, 62.4, 62.5, 120, 181, 20, 0, "fast"], octaves=True)
    assert bpm.between(np.array([0]))[0].tolist() == [True, True, False, True, True, True, False, False]


@pytest.mark.parametrize(
    ("vectors", "settings", "message"),
    [
        (np.ones(3), {}, r"vectors are \[3\]"),
        (np.full((3, 2), np.nan), {}, "3 of 3 vectors hold NaN"),
        (np.ones((3, 2)), {"k": 0}, "k is 0"),
        (np.ones((3, 2)), {"groups": ["a"]}, r"groups are \[1\]"),
        (np.ones((4, 2)), {}, "'label' is not of 4 tracks"),
    ],
)
def test_what_does_not_fit_is_told(vectors, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        per_query(vectors, [same(["a", "a", "b"])], **settings)
