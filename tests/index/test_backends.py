"""Which structure is chosen, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.index.backends import Backend
from m2l2_mir.index.choice import choose
from m2l2_mir.index.similarity import SimilarityIndex


@pytest.mark.parametrize(
    ("count", "options", "kind"),
    [
        (0, {}, "Flat"),
        (195_312, {"memory_mb": 1e5}, "Flat"),
        (195_313, {"memory_mb": 1e5}, "HNSW"),
        (195_313, {"exact": True}, "Flat"),
        (1_000_000, {"memory_mb": 2300}, "HNSW"),
        (1_000_000, {"memory_mb": 1000}, "IVF-PQ"),
        (100_000, {"memory_mb": 100}, "IVF-PQ"),
        (100, {"factory": "HNSW8,Flat"}, "own"),
    ],
)
def test_choice_by_size_and_budget(count, options, kind):
    choice = choose(count, 512, **options)
    assert choice.kind == kind
    assert choice.reasons


def test_the_codes_fit_the_budget():
    for budget in (100, 40, 20):
        factory = choose(1_000_000, 512, memory_mb=budget).factory
        lists, size = (int(part.strip("IVFPQ")) for part in factory.split(","))
        assert 1_000_000 * (size + 8) + lists * 512 * 4 <= budget * 2**20
        assert 512 % size == 0
    with pytest.raises(InputError, match=r"need at least .* MiB, more than the 1 MiB given"):
        choose(1_000_000, 512, memory_mb=1)
    with pytest.raises(InputError, match="exclude each other"):
        choose(10, 4, exact=True, factory="Flat")


@pytest.mark.parametrize(
    ("factory", "match"),
    [
        ("Flt", "cannot make 'Flt'"),
        ("IVF4,PQ5", "multiple"),
        ("IDMap,Flat", "leave IDMap out"),
        ("IVF99,Flat", "trained"),
    ],
)
def test_bad_factories(library, factory, match):
    with pytest.raises(InputError, match=match):
        SimilarityIndex.from_vectors(*library, factory=factory)


@pytest.mark.parametrize("factory", ["HNSW32,Flat", "IVF32,PQ8"])
def test_approximate_structures_find_nearly_what_exact_search_finds(rng, factory):
    centres = rng.normal(size=(40, 16))
    vectors = (centres[rng.integers(40, size=3000)] + 0.5 * rng.normal(size=(3000, 16))).astype(np.float32)
    ids = [str(row) for row in range(3000)]
    exact = SimilarityIndex.from_vectors(vectors, ids, exact=True)
    index = SimilarityIndex.from_vectors(vectors, ids, factory=factory)
    queries = exact.vectors()[:200]
    true, found = exact.search(queries, 10), index.search(queries, 10)
    recall = np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(true[1], found[1], strict=True)])
    assert recall > 0.9
    same = true[1] == found[1]
    np.testing.assert_allclose(found[0][same], true[0][same], atol=1e-5)  # scores of codes are scored again


def test_a_graph_finds_the_few_that_are_allowed(rng):
    vectors = rng.normal(size=(2000, 16)).astype(np.float32)
    metadata = pd.DataFrame({"rare": np.arange(2000) % 400 == 0})
    index = SimilarityIndex.from_vectors(vectors, [str(row) for row in range(2000)], metadata, factory="HNSW8,Flat")
    found = index.query(vectors[7], k=5, where=["rare=True"])
    assert sorted(found["track_id"], key=int) == ["0", "400", "800", "1200", "1600"]


def test_a_structure_takes_no_more_than_it_says():
    backend = Backend.of(choose(1000, 64), 64)
    backend.add(np.zeros((1000, 64), np.float32))
    assert 1000 * 64 * 4 <= backend.memory_bytes() < 1000 * 64 * 4 + 1000


def test_a_graph_finds_all_that_a_filter_leaves_after_loading_too(rng, tmp_path):
    vectors = rng.normal(size=(2000, 16)).astype(np.float32)
    ids = [str(row) for row in range(2000)]
    metadata = pd.DataFrame({"part": np.arange(2000) % 10})
    exact = SimilarityIndex.from_vectors(vectors, ids, metadata, exact=True)
    index = SimilarityIndex.from_vectors(vectors, ids, metadata, factory="HNSW8,Flat")
    index.save(tmp_path / "index")
    expected = exact.query(vectors[7], k=20, where=["part=3"])
    for graph in (index, SimilarityIndex.load(tmp_path / "index")):
        assert graph.backend.search(vectors[:1], 20, np.arange(2000) % 10 == 3) is not None  # not row by row
        found = graph.query(vectors[7], k=20, where=["part=3"])
        assert list(found["track_id"]) == list(expected["track_id"])
        np.testing.assert_allclose(found["similarity"], expected["similarity"], atol=1e-5)
