"""An approximate structure looks as widely as it must, and says what it finds."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.index import backends, filling
from m2l2_mir.index.choice import Choice
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.index.vectors import Rows

IDS = [str(row) for row in range(4000)]


@pytest.fixture
def strangers(rng):
    """Vectors in 64 directions without clusters: hard for a graph of few links."""
    return rng.normal(size=(len(IDS), 64)).astype(np.float32)


def recall(index: SimilarityIndex, exact: SimilarityIndex) -> float:
    """Share of the ten nearest others of tracks that were not asked when the structure was filled, as far as may be."""
    asked = exact.vectors()[-500:]
    pairs = zip(index.search(asked, 11)[1], exact.search(asked, 11)[1], strict=True)
    return float(np.mean([np.isin(true[1:], found).mean() for found, true in pairs]))


def told(index: SimilarityIndex) -> float:
    """The share that an index says it finds."""
    return float(index.reasons["backend"][-1].removeprefix(filling.MEASURED).partition("%")[0]) / 100


def test_a_graph_is_widened_until_it_finds_enough(strangers, monkeypatch, tmp_path):
    exact = SimilarityIndex.from_vectors(strangers, IDS, exact=True, preparation="l2")
    monkeypatch.setattr(filling, "WANTED", 0)
    narrow = SimilarityIndex.from_vectors(strangers, IDS, factory="HNSW4,Flat", preparation="l2")
    monkeypatch.undo()
    wide = SimilarityIndex.from_vectors(strangers, IDS, factory="HNSW4,Flat", preparation="l2")
    assert recall(narrow, exact) < 0.9
    assert told(narrow) == pytest.approx(recall(narrow, exact), abs=0.03)
    assert recall(wide, exact) > 0.96
    assert narrow.backend.breadth == backends.HNSW_BREADTH < wide.backend.breadth
    assert f"by looking at {wide.backend.breadth:,} of 4,000 vectors" in wide.reasons["backend"][-1]
    wide.save(tmp_path / "index")
    loaded = SimilarityIndex.load(tmp_path / "index")
    assert loaded.backend.breadth == wide.backend.breadth
    assert recall(loaded, exact) == recall(wide, exact)


def test_lists_are_widened_and_what_is_still_missed_is_said(strangers):
    index = SimilarityIndex.from_vectors(strangers, IDS, factory="IVF64,PQ8x4", preparation="l2")
    assert 8 < index.backend.breadth <= 32
    assert "fewer than wanted: --exact finds all" in index.reasons["backend"][-1]


def test_widening_stops_where_it_gains_nothing(strangers, monkeypatch):
    monkeypatch.setattr(filling, "GAIN", 1)
    index = SimilarityIndex.from_vectors(strangers, IDS, factory="HNSW4,Flat", preparation="l2")
    assert index.backend.breadth == backends.HNSW_BREADTH


def test_nothing_is_measured_of_exact_search(strangers):
    index = SimilarityIndex.from_vectors(strangers, IDS, exact=True)
    assert not any(filling.MEASURED in reason for reason in index.reasons["backend"])


def test_a_compacted_index_says_it_once(strangers):
    index = SimilarityIndex.from_vectors(strangers, IDS, factory="HNSW4,Flat")
    changes = index.remove(IDS[:800])
    assert changes.compacted
    assert sum(filling.MEASURED in reason for reason in index.reasons["backend"]) == 1
    assert "of 3,200 vectors" in index.reasons["backend"][-1]


@pytest.mark.parametrize(
    ("factory", "least"), [("PCA64,IVF64,Flat", 0.85), ("L2norm,HNSW4", 0.95), ("HNSW4,SQ8", 0.95)]
)
def test_what_stands_before_or_compresses_is_widened_too(strangers, factory, least):
    exact = SimilarityIndex.from_vectors(strangers, IDS, exact=True, preparation="l2")
    index = SimilarityIndex.from_vectors(strangers, IDS, factory=factory, preparation="l2")
    assert recall(index, exact) > least  # .13 for lists and .39 for a graph, as FAISS makes them


def test_of_copies_any_will_do(strangers):
    index = SimilarityIndex.from_vectors(np.repeat(strangers[:100], 40, axis=0), IDS, factory="HNSW32,Flat")
    assert "measured when filled: 100.0%" in index.reasons["backend"][-1]
    assert index.backend.breadth == backends.HNSW_BREADTH


def test_silent_rows_are_not_asked(strangers):
    strangers[50:] = 0
    choice = Choice(kind="own", factory="IVF4,Flat", reasons=())
    backend = filling.filled(Rows([strangers]), lambda rows: rows, choice, width=64, seed=0, among=np.arange(50))
    assert len(backend) == len(IDS)
    assert "(50 asked" in backend.choice.reasons[-1]
