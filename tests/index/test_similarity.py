"""What an index finds, and what adding, updating and removing change."""

import numpy as np
import pandas as pd
import pytest

import m2l2_mir as mm
from m2l2_mir.errors import InputError, StoreError
from m2l2_mir.index.preparation import Preparation, drift_of
from m2l2_mir.index.similarities import random_pairs
from m2l2_mir.index.similarity import SimilarityIndex

FACTORIES = ["Flat", "HNSW16,Flat", "IVF4,PQ4x4", "SQ8"]


def by_hand(vectors, centred=True):
    """Cosines between all vectors, after the mean is taken away."""
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    flat = flat - flat.mean(axis=0) if centred else flat
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit @ unit.T


def test_neighbours_similarity_and_percentile_as_worked_by_hand(library):
    vectors, ids, metadata = library
    index = SimilarityIndex.from_vectors(vectors, ids, metadata)
    cosine = by_hand(vectors)
    found = index.query("t07", k=5)
    expected = np.argsort(-cosine[7], kind="stable")[1:6]
    assert found["track_id"].tolist() == [ids[row] for row in expected]
    assert found["rank"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(found["similarity"], cosine[7, expected], atol=1e-5)
    pairs = cosine[np.triu_indices(60, 1)]
    share = [100 * np.mean(pairs <= one + 1e-6) for one in cosine[7, expected]]
    np.testing.assert_allclose(found["percentile"], share, atol=0.1)
    assert found["artist"].tolist() == ["artist 1"] * 5
    assert index.query(vectors[7], k=1)["track_id"].item() == "t07"
    assert mm.SimilarityIndex is SimilarityIndex


def test_several_seeds_are_met_between_them_and_are_not_found_themselves(library):
    vectors, ids, metadata = library
    index = SimilarityIndex.from_vectors(vectors, ids, metadata)
    found = index.query(["t00", "t01", vectors[6]], k=60)
    assert len(found) == 58
    assert not set(found["track_id"]) & {"t00", "t01"}
    middle = index.vectors()[[0, 1, 6]].mean(axis=0)
    expected = index.vectors() @ (middle / np.linalg.norm(middle))
    np.testing.assert_allclose(
        found.set_index("track_id")["similarity"], pd.Series(expected, ids)[found["track_id"]], atol=1e-5
    )


@pytest.mark.parametrize("factory", FACTORIES)
def test_every_structure_adds_updates_and_removes(library, factory):
    vectors, ids, metadata = library
    index = SimilarityIndex.from_vectors(vectors[:50], ids[:50], metadata[:50], factory=factory)
    before = index.vectors()
    changes = index.add_vectors(vectors[48:], ids[48:], metadata[48:])
    assert (len(changes.added), changes.updated, changes.unchanged) == (10, (), 2)
    changes = index.add_vectors(vectors[[1, 3]], ["t02", "t03"])
    assert (changes.added, changes.updated, changes.unchanged) == ((), ("t02",), 1)
    changes = index.remove(["t00", "t09", "t00"])
    assert changes.removed == ("t00", "t09")
    assert not changes.compacted
    assert len(index) == 58
    found = index.query(vectors[1], k=58)
    assert len(found) == 58
    assert set(found["track_id"][:2]) == {"t01", "t02"}
    assert found["artist"][found["track_id"] == "t02"].item() == "artist 2"  # kept by the update
    where = {name: row for row, name in enumerate(index.ids)}
    np.testing.assert_array_equal(index.vectors()[where["t30"]], before[30])  # old vectors stay where they were
    similarity, positions = index.search(index.vectors()[[5]], k=3)
    assert positions[0, 0] == 5
    assert similarity[0, 0] == pytest.approx(1, abs=1e-5)
    assert index.remove(ids[20:26]).compacted
    assert len(index.library.rows) == len(index) == 52
    assert index.query(vectors[1], k=100)["track_id"].is_unique
    assert {"t20", "t09"}.isdisjoint(index.query(vectors[1], k=100)["track_id"])


def test_a_store_is_followed_exactly(make_store, library):
    vectors, ids, _ = library
    folder = make_store("store", dict(zip(ids[:30], vectors[:30], strict=True)))
    index = SimilarityIndex.build(folder, metadata=pd.DataFrame({"track_id": ["t03"], "title": ["Three"]}))
    assert index.metadata.columns.tolist() == ["track_id", "path", "duration", "source", "title"]
    changes = index.add(folder)
    assert (changes.added, changes.updated, changes.removed, changes.unchanged) == ((), (), (), 30)
    make_store("store", {"t03": vectors[40], "t31": vectors[31]})
    (folder.parent / "music" / "t05").unlink()
    changes = index.add(folder)
    assert (changes.added, changes.updated, changes.removed, changes.unchanged) == (("t31",), ("t03",), (), 29)
    assert index.metadata.set_index("track_id")["title"]["t03"] == "Three"
    changes = index.add(folder, metadata=pd.DataFrame({"track_id": ["t03", "t04"], "title": ["Three", "Four"]}))
    assert (changes.updated, changes.relabelled, changes.unchanged) == ((), ("t04",), 30)
    assert index.metadata.set_index("track_id")["title"][["t03", "t04"]].tolist() == ["Three", "Four"]
    assert index.add(folder, files="checked").removed == ("t05",)
    other = make_store("other", {"x": vectors[50]})
    assert index.add(other).added == ("x",)
    assert index.add(folder, files="checked").removed == ()  # tracks of another store stay
    assert index.query(vectors[50], k=1)["track_id"].item() == "x"


def test_a_table_does_not_move_the_audio(make_store, library):
    vectors, ids, _ = library
    folder = make_store("store", dict(zip(ids[:30], vectors[:30], strict=True)))
    music = folder.parent / "music"
    table = pd.DataFrame({"track_id": ids[:30], "path": "/elsewhere/x.wav", "duration": 99.0, "genre": "jazz"})
    index = SimilarityIndex.build(folder, metadata=table)
    assert index.metadata.columns.tolist() == ["track_id", "path", "duration", "source", "genre"]
    assert index.metadata["path"].tolist() == [str(music / name) for name in ids[:30]]
    assert set(index.metadata["duration"]) == {1.0}
    (music / "t05").unlink()
    assert index.add(folder, metadata=table, files="checked").removed == ("t05",)
    assert index.metadata["path"].str.startswith(str(music)).all()


def test_namesakes_of_two_stores_are_refused(make_store, library):
    vectors, _, _ = library
    index = SimilarityIndex.build(make_store("one", {"a": vectors[0], "b": vectors[1]}))
    with pytest.raises(InputError, match=r"'b' is in the index already, from .*one"):
        index.add(make_store("two", {"b": vectors[2]}))
    changes = index.add(make_store("copy", {"b": vectors[1]}))
    assert (changes.relabelled, changes.moved, changes.unchanged) == (("b",), 1, 0)


def test_a_disk_that_is_not_mounted_removes_nothing(make_store, library):
    vectors, _, _ = library
    folder = make_store("one", {"a": vectors[0], "b": vectors[1]})
    index = SimilarityIndex.build(folder)
    for name in "ab":
        (folder.parent / "music" / name).unlink()
    with pytest.raises(InputError, match="none of the 2 audio files is there"):
        index.add(folder, files="checked")
    assert len(index) == 2


def test_another_models_embeddings_are_refused_with_both_names(make_store, library, provenance):
    vectors, _, _ = library
    index = SimilarityIndex.build(make_store("one", {"a": vectors[0]}))
    settings = {**provenance["settings"], "weights": "sha256:beef", "weights_sha256": "bbbb"}
    other = make_store("two", {"b": vectors[1]}, provenance={**provenance, "settings": settings})
    with pytest.raises(StoreError, match=r"made with m2l2-tiny \(sha256:beef\), the index with m2l2-tiny \(random:"):
        index.add(other)
    quiet = {**provenance["settings"], "loudness": -23.0}
    other = make_store("three", {"b": vectors[1]}, provenance={**provenance, "settings": quiet})
    with pytest.raises(StoreError, match=r"loudness = -23\.0, the index with loudness = None"):
        index.add(other)
    short = {**provenance["settings"], "excerpt": [10.0, 3.0]}
    other = make_store("four", {"b": vectors[1]}, provenance={**provenance, "settings": short})
    with pytest.raises(StoreError, match=r"excerpt = \[10\.0, 3\.0\], the index with excerpt = None"):
        index.add(other)
    with pytest.raises(StoreError, match="made from plain vectors"):
        SimilarityIndex.from_vectors(vectors[:1], ["a"]).add(other)


def test_drift_is_told_and_rebuild_mends_it(library):
    vectors, ids, _ = library
    index = SimilarityIndex.from_vectors(vectors[:30], ids[:30])
    assert index.add_vectors(vectors[30:55], ids[30:55]).advice == ""
    changes = index.add_vectors(vectors[:40] + 2, [f"far {number}" for number in range(40)])
    assert changes.drift.large
    assert "rebuild it" in changes.advice
    made = index.rebuild()
    assert made.advice() == ""
    assert made.ids == index.ids
    whole = np.concatenate([vectors[:55], vectors[:40] + 2])
    np.testing.assert_allclose(made.vectors() @ made.vectors().T, by_hand(whole), atol=1e-4)
    with pytest.raises(InputError, match="no option 'pooling'"):
        index.rebuild(pooling="mean")


def test_few_tracks_drift_no_more_than_chance_has_it(rng):
    frozen = Preparation(kind="centred", mean=np.zeros(400, np.float32), spread=20.0, fitted=100)
    drift = drift_of(frozen, [rng.normal(size=(4, 400)).astype(np.float32)])
    assert drift.shift < 0.25  # the mean of four lies half a spread away by itself
    assert not drift_of(frozen, [np.full((1, 400), 9.0, np.float32)]).large


def test_random_pairs_are_of_different_tracks(library):
    index = SimilarityIndex.from_vectors(*library)
    pairs = random_pairs(index.library, index.preparation, count=1000)
    assert len(pairs) == 1000
    assert pairs[-1] < 0.999
    assert np.all(np.diff(pairs) >= 0)


def test_noise_has_a_nearest_neighbour_but_none_as_near_as_tracks_have(rng):
    """Its percentile among random pairs is as high as that of a track: among the nearest it is not."""
    centres = rng.normal(size=(100, 16))
    vectors = np.repeat(centres, 4, axis=0) + 0.3 * rng.normal(size=(400, 16))
    index = SimilarityIndex.from_vectors(vectors, [str(row) for row in range(400)])
    cosine = by_hand(vectors)
    np.fill_diagonal(cosine, -1)
    drawn = index.query("7", k=2)
    share = 100 * np.mean(cosine.max(axis=1) <= cosine[7].max() + 1e-6)
    assert drawn["among_nearest"][0] == pytest.approx(share, abs=6)  # of 300 of the 400
    noise = [index.query(one, k=1).iloc[0] for one in rng.normal(size=(20, 16))]
    assert np.median([one["percentile"] for one in noise]) > 97
    assert np.median([one["among_nearest"] for one in noise]) < 5
    before = index.nearest
    index.add_vectors(vectors + 1e-3, [f"copy {row}" for row in range(400)])
    assert np.median(index.nearest) > 0.999 > np.median(before)


def test_degenerate_libraries_have_defined_answers():
    empty = SimilarityIndex.from_vectors(np.zeros((0, 3)), [])
    assert len(empty.query(np.ones(3))) == 0
    assert empty.search(np.ones((2, 3), np.float32))[0].shape == (2, 0)
    one = SimilarityIndex.from_vectors([[1.0, 0.0]], ["a"])
    found = one.query(np.array([1.0, 1.0]))
    assert found["similarity"].item() == pytest.approx(np.sqrt(0.5))
    assert np.isnan(found["percentile"].item())
    assert len(one.query("a")) == 0
    zero = SimilarityIndex.from_vectors([[0.0, 0.0], [1.0, 0.0]], ["zero", "b"])
    assert zero.query("zero")["similarity"].item() == 0
    with pytest.raises(InputError, match="zeros has no direction"):
        zero.query(np.zeros(2), k=9)
    zero.remove(["zero", "b"])
    assert len(zero.query(np.ones(2))) == 0
    assert zero.add_vectors([[3.0, 4.0]], ["c"]).added == ("c",)
    assert zero.query(np.array([3.0, 4.0]))["track_id"].tolist() == ["c"]


@pytest.mark.parametrize(
    ("vectors", "ids", "match"),
    [
        ([[1.0, np.nan], [0, 1]], ["a", "b"], "1 of 2 vectors hold NaN or infinity \\('a'\\)"),
        ([[1e300, 0], [0, 1]], ["a", "b"], "NaN or infinity"),
        ([[1.0, 0], [0, 1]], ["a", "a"], "ids must be unique: 'a'"),
        ([[1.0, 0], [0, 1]], ["a"], "2 vectors need as many ids, not 1"),
        ([[1.0, 0], [0, 1]], ["a", ""], "an id is empty"),
        ([1.0, 2.0], ["a", "b"], "shaped \\[n, ...\\]"),
    ],
)
def test_bad_vectors_and_ids(vectors, ids, match):
    with pytest.raises(InputError, match=match):
        SimilarityIndex.from_vectors(vectors, ids)


@pytest.mark.parametrize(
    ("what", "options", "match"),
    [
        ("t99", {}, "'t99' is neither a track of the index nor an audio file; did you mean"),
        (np.ones(5), {}, r"has 24 numbers \(4 slots\), not \(5,\)"),
        (np.full(24, np.inf), {}, "NaN or infinity"),
        ([], {}, "nothing to start from"),
        ({"a": 1}, {}, "cannot start from dict"),
        ("t01", {"k": 0}, "k must be at least 1"),
        ("t01", {"start": 3.0}, "so that no part of it can be taken"),
        ("t01", {"weights": [1, 1]}, "4 slots need as many weights"),
    ],
)
def test_bad_questions(library, what, options, match):
    index = SimilarityIndex.from_vectors(*library)
    with pytest.raises(InputError, match=match):
        index.query(what, **options)


def test_an_index_shrinks_below_what_its_structure_is_trained_with(rng, tmp_path):
    vectors, ids = rng.normal(size=(400, 16)).astype(np.float32), [str(row) for row in range(400)]
    index = SimilarityIndex.from_vectors(vectors, ids, factory="IVF64,Flat")
    assert index.remove(ids[50:]).compacted
    assert index.query(vectors[7], k=1)["track_id"].item() == "7"
    index.save(tmp_path / "idx")
    assert SimilarityIndex.load(tmp_path / "idx").ids == ids[:50]
