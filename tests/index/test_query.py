"""Filters, caps, folding, slot weights and the parts of a similarity."""

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.index import candidates, duplicates, hubness
from m2l2_mir.index.conditions import matching
from m2l2_mir.index.preparation import prepare
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.index.vectors import Rows

K = 4


@pytest.mark.parametrize("factory", ["Flat", "HNSW16,Flat", "IVF4,PQ4x4"])
def test_filters_hold_on_every_structure_and_leave_the_best(library, factory):
    vectors, ids, metadata = library
    index = SimilarityIndex.from_vectors(vectors, ids, metadata, factory=factory)
    cosine = index.vectors() @ index.vectors()[7]
    for where, met in [
        (["artist=artist 2", "bpm>70"], (metadata["artist"] == "artist 2") & (metadata["bpm"] > 70)),
        (["bpm=64"], metadata["bpm"] == 64),
        (["artist!=artist 1", "artist!=artist 3"], ~metadata["artist"].isin(["artist 1", "artist 3"])),
        (["artist=artist 1", "artist=artist 3"], metadata["artist"].isin(["artist 1", "artist 3"])),
    ]:
        found = index.query("t07", k=60, where=where)["track_id"].tolist()
        allowed = np.flatnonzero(met & (np.array(ids) != "t07"))
        if factory == "Flat" or len(allowed) <= 6:  # few are compared one by one
            assert found == [ids[row] for row in allowed[np.argsort(-cosine[allowed], kind="stable")]]
        assert set(found) <= {ids[row] for row in allowed}


def test_other_artists_and_so_many_of_each(library):
    vectors, ids, metadata = library
    metadata.loc[20, "artist"] = None  # nobody's: shares its artist with no one
    index = SimilarityIndex.from_vectors(vectors, ids, metadata)
    found = index.query("t07", k=60, other=["artist"])
    assert len(found) == 50
    assert "artist 1" not in found["artist"].tolist()
    found = index.query("t07", k=9, at_most={"artist": 2})
    assert found["artist"].value_counts().max() == 2
    assert len(found) == 9
    assert len(index.query("t07", k=60, at_most={"artist": 2})) == 13
    with pytest.raises(InputError, match=r"artist of a plain vector is not known.*artist!=NAME"):
        index.query(vectors[7], other=["artist"])
    with pytest.raises(InputError, match=r"artist of track 't20' is not known to the index: name it.*artist!=NAME"):
        index.query(["t07", "t20"], other=["artist"])
    for option in ({"at_most": {"artits": 1}}, {"other": ["artits"]}):
        with pytest.raises(InputError, match="no column 'artits'; did you mean 'artist'"):
            index.query("t07", **option)
    assert index.query("t07", k=60, other=["Artist"], where=["tempo>=100"])["bpm"].min() >= 100  # by its other name


def test_more_candidates_are_fetched_until_there_are_enough(rng):
    """The 400 nearest are of one artist, or copies of one track: four times as many as are asked for do not do."""
    centre = rng.normal(size=16)
    vectors = rng.normal(size=(500, 16)) + np.r_[np.full(400, 9), np.zeros(100)][:, None] * centre
    artists = pd.DataFrame({"artist": ["many"] * 400 + [f"a{row}" for row in range(100)]})
    index = SimilarityIndex.from_vectors(vectors, [str(row) for row in range(500)], artists, preparation="l2")
    found = index.query("0", k=10, at_most={"artist": 1})
    assert len(found) == 10
    assert found["artist"].is_unique
    order = np.argsort(-(index.vectors() @ index.vectors()[0]))
    others = [str(row) for row in order if row >= 400]
    assert found["track_id"].tolist() == [str(order[order != 0][0]), *others[:9]]
    copies = vectors.copy()
    copies[:200] = vectors[0] + 1e-4 * rng.normal(size=(200, 16))
    index = SimilarityIndex.from_vectors(copies, [str(row) for row in range(500)])
    folded = index.query(vectors[0], k=10, fold=True)
    assert len(folded) == 10
    assert (folded["track_id"].astype(int) < 200).sum() < 3 < index.query(vectors[0], k=10)["track_id"].nunique()


def test_conditions():
    table = pd.DataFrame(
        {"genre": ["a=b", "jazz", None], "year": [1990.0, np.nan, 2000.0], "live": [True, False, True]}
    )
    assert matching(table, ["genre=a=b"]).tolist() == [True, False, False]
    assert matching(table, ["genre != jazz"]).tolist() == [True, False, False]
    assert matching(table, ["year<=2000", "live=True"]).tolist() == [True, False, True]
    assert matching(table, ["live=true"]).tolist() == matching(table, ["live=1"]).tolist() == [True, False, True]
    assert matching(table.assign(live=[True, None, False]), ["live=False"]).tolist() == [False, False, True]
    assert matching(table, ["year!=1990"]).tolist() == [False, False, True]
    for bad, why in [
        ("genre=Jazz", "no track has that value; did you mean 'jazz'"),
        ("genre!=jaz", "no track has that value; did you mean 'jazz'"),
        ("genre=x", "it has a=b, jazz"),
        ("year=1991", "numbers go from 1990 to 2000"),
        ("live=maybe", "write true or false"),
        ("genre", "cannot read"),
        ("year>x", "'x' is none"),
        ("genre>a", "text"),
        ("yaer=1", "mean 'year'"),
    ]:
        with pytest.raises(InputError, match=why):
            matching(table, [bad])


def test_csls_is_that_of_the_evaluation(library):
    vectors, ids, metadata = library
    index = SimilarityIndex.from_vectors(vectors, ids, metadata)
    expected = hubness.csls(hubness.nearest(index.vectors(), 59), k=10)
    lists = {name: index.query(name, k=10, csls=True) for name in ids}
    for row, found in enumerate(lists.values()):
        assert found["track_id"].tolist() == [ids[one] for one in expected.positions[row, :10]]
    cosine = index.vectors() @ index.vectors()[7]
    np.testing.assert_allclose(
        lists["t07"]["similarity"], [cosine[ids.index(one)] for one in lists["t07"]["track_id"]], atol=1e-5
    )
    with pytest.raises(InputError, match="csls and weights"):
        index.query("t07", csls=True, weights=[1, 1, 1, 1])


@pytest.mark.parametrize("small", [20_000, 0])
def test_near_duplicates_are_folded_into_the_first(rng, monkeypatch, small):
    """In a library compared all with all, and in one searched through its structure."""
    monkeypatch.setattr(duplicates, "SMALL", small)
    monkeypatch.setattr(duplicates, "SAMPLED", 200)
    vectors = rng.normal(size=(200, K, 4)).astype(np.float32)
    vectors[[11, 12, 150]] = vectors[10] + 0.02 * rng.normal(size=(3, K, 4))
    vectors[90] = vectors[91]
    index = SimilarityIndex.from_vectors(vectors, [str(row) for row in range(200)])
    pairs = index.duplicates()
    found = {tuple(sorted(pair, key=int)) for pair in pairs[["first", "second"]].to_numpy()}
    assert found == {
        ("10", "11"),
        ("10", "12"),
        ("10", "150"),
        ("11", "12"),
        ("11", "150"),
        ("12", "150"),
        ("90", "91"),
    }
    assert pairs["similarity"].iloc[0] == pytest.approx(1)
    question = vectors[10] + 0.3 * rng.normal(size=(K, 4))
    plain = index.query(question, k=8)["track_id"].tolist()
    folded = index.query(question, k=5, fold=True)
    assert set(plain[:4]) == {"10", "11", "12", "150"}
    assert folded["track_id"].tolist() == [plain[0], *plain[4:8]]
    assert folded["copies"].tolist() == [3, 0, 0, 0, 0]
    assert index.query(question, k=200, fold=True)["copies"].sum() == 4  # two groups, each with its own first


@pytest.mark.parametrize("factory", ["Flat", "HNSW16,Flat"])
def test_large_libraries_have_the_rule_of_small_ones(rng, monkeypatch, factory):
    """A recording that is there twelve times has hardly a distance to its tenth neighbour, and is still near it."""
    vectors = rng.normal(size=(300, K, 4)).astype(np.float32) * np.arange(1, 5)
    vectors[100:112] = vectors[100] + 1e-3 * rng.normal(size=(12, K, 4))
    vectors[40] = vectors[41] + 0.05 * rng.normal(size=(K, 4))
    made = [SimilarityIndex.from_vectors(vectors, [str(row) for row in range(300)], factory=factory) for _ in "ab"]
    small = made[0].duplicates()
    monkeypatch.setattr(duplicates, "SMALL", 100)
    large = made[1].duplicates()
    assert ("40", "41") in set(map(tuple, small[["first", "second"]].to_numpy()))
    assert 60 <= len(small) - 1 <= 12 * 11 // 2  # of twelve, each lists its ten nearest
    pairs = [table.set_index(["first", "second"]).sort_index() for table in (small, large)]
    assert pairs[0].index.equals(pairs[1].index)
    np.testing.assert_allclose(pairs[0]["ratio"], pairs[1]["ratio"], rtol=0.05)  # of 50 candidates
    assert made[1].query("100", k=30, fold=True)["track_id"].isin([str(row) for row in range(100, 112)]).sum() == 1


@pytest.mark.parametrize("kind", ["l2", "centred", "pca"])
def test_the_parts_of_the_slots_sum_to_the_similarity(library, kind):
    vectors, ids, metadata = library
    index = SimilarityIndex.from_vectors(vectors, ids, metadata, preparation=kind)
    found = index.query("t07", k=12, why=True)
    parts = found[[f"slot {slot}" for slot in range(1, K + 1)]].to_numpy()
    np.testing.assert_allclose(parts.sum(axis=1), found["similarity"], atol=1e-5)
    if kind != "pca":  # exactly what both hold in that slot
        centred = vectors - (vectors.mean(axis=0) if kind == "centred" else 0)
        one, other = centred[7], centred[int(found["track_id"][3][1:])]
        expected = (one * other).sum(axis=1) / np.linalg.norm(one) / np.linalg.norm(other)
        np.testing.assert_allclose(parts[3], expected, atol=1e-5)


@pytest.mark.parametrize("scanned", [20_000, 10])
def test_slot_weights_change_the_comparison_and_not_only_the_question(library, monkeypatch, scanned):
    monkeypatch.setattr(candidates, "SCANNED", scanned)  # or by a shortlist of the structure's, scored again
    monkeypatch.setattr(candidates, "SHORTLIST", 40)
    vectors, ids, metadata = library
    index = SimilarityIndex.from_vectors(vectors, ids, metadata)
    found = index.query("t07", k=5, weights=[0, 4, 1, 0], why=True)
    centred = (vectors - vectors.mean(axis=0)) * np.sqrt([0, 4, 1, 0])[:, None]
    flat = centred.reshape(60, -1) / np.linalg.norm(centred, axis=(1, 2))[:, None]
    expected = flat @ flat[7]
    order = np.argsort(-expected, kind="stable")
    order = order[order != 7][:5]
    assert found["track_id"].tolist() == [ids[row] for row in order]
    np.testing.assert_allclose(found["similarity"], expected[order], atol=1e-5)
    assert np.all(found[["slot 1", "slot 4"]] == 0)
    pairs = (flat @ flat.T)[np.triu_indices(60, 1)]
    assert found["percentile"][0] == pytest.approx(100 * np.mean(pairs <= expected[order[0]] + 1e-6))


def test_preparation_is_chosen_by_the_number_of_tracks_and_whitened_only_if_asked(rng):
    width, chosen = 16, {}
    for count in (5, 20, 999, 1000, 5001):
        rows = Rows([(rng.normal(size=(count, width)) * np.arange(1, width + 1) + 7).astype(np.float32)])
        chosen[count] = prepare(rows, np.ones(count, bool))[0].kind
    assert list(chosen.values()) == ["l2", "centred", "centred", "pca", "pca"]
    preparation, reasons = prepare(rows, np.ones(5001, bool), "whitened")
    covariance = np.cov(preparation.coordinates(rows.parts[0]).T)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-5)
    np.testing.assert_allclose(np.diag(covariance)[:8], 1, atol=0.02)
    assert 0.5 < covariance[-1, -1] < 0.8  # shrunk: the smallest variance is the least certain
    assert "--preparation pca leaves it out" in reasons[-1]
    with pytest.raises(InputError, match=r"needs at least 5,001 tracks, there are 5,000; take pca"):
        prepare(Rows([rows.parts[0][:5000]]), np.ones(5000, bool), "whitened")


def test_rank_is_that_of_the_tracks_own_spectrum(rng):
    """Shrinkage lifts the small variances, and would keep directions in which there is nothing."""
    few = (rng.normal(size=(60, 12)) @ rng.normal(size=(12, 64)) + 0.01 * rng.normal(size=(60, 64))).astype(np.float32)
    preparation, reasons = prepare(Rows([few]), np.ones(60, bool), "pca")
    assert preparation.rank == 16  # 12, to a multiple of 8
    assert reasons[-1] == "rank 16 of 64 keeps 100.0 % of the variance"
    centred = few - few.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    prepared = preparation(few)
    np.testing.assert_allclose(prepared @ prepared.T, unit @ unit.T, atol=1e-3)
    nine, _ = prepare(Rows([rng.normal(size=(9, 16)).astype(np.float32)]), np.ones(9, bool), "pca")
    assert nine.rank == 8


@pytest.mark.parametrize("factory", ["HNSW16,Flat", "IVF32,Flat"])
def test_what_a_filter_leaves_may_lie_far_from_the_question(rng, factory):
    genres = rng.integers(4, size=2_000)
    vectors = (rng.normal(size=(4, 16))[genres] * 5 + rng.normal(size=(2_000, 16))).astype(np.float32)
    ids, metadata = [str(row) for row in range(2_000)], pd.DataFrame({"genre": [f"g{one}" for one in genres]})
    asked = int(np.flatnonzero(genres == 0)[0])
    found, true = (
        SimilarityIndex.from_vectors(vectors, ids, metadata, **options).query(str(asked), k=10, where=["genre=g2"])
        for options in ({"factory": factory}, {"exact": True})
    )
    assert found["track_id"].tolist() == true["track_id"].tolist()
