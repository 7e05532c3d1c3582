"""The whole evaluation on libraries whose neighbours are known, its files, and its page."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.errors import InputError
from m2l2_mir.index import evaluate as module
from m2l2_mir.index.evaluate import Evaluation, evaluate_index
from m2l2_mir.index.evaluation_results import write_evaluation
from m2l2_mir.index.evaluation_rows import RANDOM, store_row
from m2l2_mir.index.evaluation_tables import long_table
from m2l2_mir.index.evaluation_words import sentences
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.index.tables import read_table


def quiet(title: str):
    return nullcontext(lambda done, total: None)


@pytest.fixture
def library(rng) -> tuple[np.ndarray, pd.DataFrame]:
    """120 tracks of 30 artists; an artist has its own sound, and genres are heard in nothing but that."""
    artist = np.repeat(np.arange(30), 4)
    vectors = rng.normal(size=(30, 24))[artist] + 0.2 * rng.normal(size=(120, 24))
    table = pd.DataFrame({"artist": [f"a{one}" for one in artist], "genre": [f"g{one % 3}" for one in artist]})
    table.loc[[0, 50], "genre"] = None
    return vectors.reshape(120, 4, 6), table


def evaluated(library, **settings) -> Evaluation:
    vectors, table = library
    index = SimilarityIndex.from_vectors(vectors, [f"t{number:03}" for number in range(len(vectors))], table)
    return evaluate_index(index, **{"name": "mine", "k": 3, "plane": "pca", "jobs": 1, "count": quiet, **settings})


def best(scores: dict, label: str, filtered: bool, row: str, metric: str = "precision") -> float:
    [section] = [one for one in scores["sections"] if one["label"] == label and one["filter"] == filtered]
    return next(line["estimate"] for line in section["scores"] if (line["row"], line["metric"]) == (row, metric))


def test_what_the_artist_filter_shows(library) -> None:
    found = evaluated(library)
    scores = found.scores
    assert scores["group"] == "artist"
    assert [(one["label"], one["filter"]) for one in scores["sections"]] == [
        ("genre", False),
        ("genre", True),
        ("artist", False),  # with the filter, nothing would be left to find
    ]
    assert best(scores, "artist", False, "mine", "average_precision") > 0.99
    assert best(scores, "genre", False, "mine") > 0.9
    assert best(scores, "genre", True, "mine") < 0.5
    assert best(scores, "genre", True, RANDOM) == pytest.approx(9 / 29, abs=0.05)
    [without, filtered, _] = scores["sections"]
    assert (without["known"], without["scored"], without["expected"]) == (118, 118, 118)
    chance, filtered_chance = (
        next(line["mark"] for line in section["comparisons"] if line["row"] == RANDOM)
        for section in (without, filtered)
    )
    assert (chance, filtered_chance) == ("", "not distinguishable")
    assert without["scores"][0]["groups"] == 30
    assert "not distinguishable from random vectors" in sentences(scores)[1]
    queries = found.queries
    own = queries[(queries["row"] == "mine") & ~queries["filter"] & (queries["relation"] == "genre")]
    assert own["precision"].mean() == pytest.approx(best(scores, "genre", False, "mine"))
    assert found.tracks["occurrences"].sum() == 3 * 120


def test_the_neighbours_that_the_index_finds_are_used_for_large_libraries(library, monkeypatch) -> None:
    exact = evaluated(library, labels=["genre"])
    monkeypatch.setattr(module, "EXACT_BELOW", 100)
    monkeypatch.setattr(module, "_BLOCK", 50)
    searched = evaluated(library, labels=["genre"])
    assert searched.scores["hubness_of"] != exact.scores["hubness_of"]
    assert np.array_equal(searched.neighbours.positions[:, :10], exact.neighbours.positions[:, :10])
    assert (searched.neighbours.positions != np.arange(120)[:, None]).all()
    assert searched.scores["search"]["recall"]["estimate"] == 1


def test_a_search_may_miss_the_track_itself() -> None:
    class Forgetful:
        def search(self, vectors, count):
            found = np.array([[2, 0, 1], [2, 0, 3], [2, 1, -1]])  # the second is not found by itself
            return np.array([[0.9, 0.8, 0.7]] * 3), found

    found = module._searched(Forgetful(), np.zeros((3, 2)), 2, quiet)
    assert found.positions.tolist() == [[2, 1], [2, 0], [1, -1]]
    assert found.scores.tolist() == [[0.9, 0.7], [0.9, 0.8], [0.8, 0.7]]


def test_rows_are_scored_on_the_same_tracks(library, tmp_path: Path, rng) -> None:
    vectors, table = library[0][:24], library[1][:24]
    time = np.arange(22050) / 22050
    paths = []
    for number, artist in enumerate(table["artist"]):
        paths.append(str(tmp_path / f"{number}.wav"))
        if number != 7:  # is missing
            save(Path(paths[-1]), 0.3 * np.sin(2 * np.pi * (200 + 60 * int(artist[1:])) * time)[None], 22050)
    found = evaluated((vectors, table.assign(path=paths)), labels=["artist"], group=None)
    scores = found.scores
    assert [one["track_id"] for one in scores["left_out"]] == ["t007"]
    assert {row["name"]: row["kind"] for row in scores["rows"]}["log-mel"] == "hand-made"
    assert best(scores, "artist", False, "log-mel") > 0.9
    assert (found.queries.groupby("row")["track_id"].apply(lambda ids: "t007" in set(ids))).sum() == 0
    assert set(found.queries.groupby("row").size()) == {23}


def test_other_preparations_and_baselines_prepared_alike(library, tmp_path: Path, make_store) -> None:
    vectors, table = library
    found = evaluated((vectors + 40, table), labels=["artist"])
    names = [row["name"] for row in found.scores["rows"]]
    assert names == ["mine", "same embeddings, l2", "same embeddings, pca", RANDOM]
    assert "prepared otherwise: l2 1.00 (no difference), pca 1.00" in sentences(found.scores)[0]
    store = make_store("store", {f"t{number:03}": one + 40 for number, one in enumerate(vectors)})
    for kind in ("l2", "centred"):
        row = store_row(store, [f"t{number:03}" for number in range(120)], preparation=kind, pooling="mean")
        flat = (vectors + 40).reshape(120, -1).astype(np.float32)
        flat = flat - flat.mean(axis=0) if kind == "centred" else flat
        np.testing.assert_allclose(row.load(0), flat / np.linalg.norm(flat, axis=1, keepdims=True), atol=1e-5)
    wide = store_row(store, ["t000", "t001"], preparation="l2", pooling="mean+std")
    assert wide.width == 48
    paths = [str(store.parent / "music" / name) for name in ("t007", "t001", "t003")]
    row = store_row(store, ["7", "t001"], paths[:2], preparation="l2", pooling="mean")
    flat = (vectors[[7, 1]] + 40).reshape(2, -1)
    np.testing.assert_allclose(row.load(0), flat / np.linalg.norm(flat, axis=1, keepdims=True), atol=1e-5)
    with pytest.raises(InputError, match=r"id 't001' and path .*t003' are of two known tracks"):
        store_row(store, ["t001"], paths[2:], preparation="l2", pooling="mean")


def test_recall_of_unseen_queries_where_search_is_approximate(library) -> None:
    vectors, table = library
    index = SimilarityIndex.from_vectors(vectors, [f"t{n:03}" for n in range(120)], table, factory="HNSW4,Flat")
    scores = evaluate_index(index, name="graph", labels=["genre"], k=3, plane="pca", count=quiet).scores
    assert scores["search"]["recall_unseen"]["queries"] == 12
    assert "of unseen queries" in sentences(scores)[-1]
    assert "recall@3, unseen" in long_table(scores)["metric"].tolist()
    assert "recall_unseen" not in evaluated(library, labels=["genre"]).scores["search"]  # compared with all


def test_files_hold_what_was_found(library, tmp_path: Path) -> None:
    found = evaluated(library)
    write_evaluation(tmp_path / "new" / "out", found, report="<html></html>", command="m2l2 index evaluate")
    out = tmp_path / "new" / "out"
    scores = json.loads((out / "scores.json").read_text())
    assert scores["command"] == "m2l2 index evaluate"
    assert len(scores["sentences"]) == 5
    assert len(pd.read_parquet(out / "queries.parquet")) == len(found.queries) == 4 * (118 + 118 + 120 + 120)
    assert pd.read_parquet(out / "tracks.parquet")["track_id"].tolist() == [f"t{number:03}" for number in range(120)]
    lines = pd.read_csv(out / "scores.csv")
    assert lines.shape == long_table(scores).shape
    retrieval = lines[(lines["part"] == "retrieval") & (lines["row"] == "mine") & (lines["metric"] == "precision")]
    assert retrieval["estimate"].tolist() == [
        best(scores, *one, "mine") for one in (("genre", False), ("genre", True), ("artist", False))
    ]
    assert "| mine | 24 |" in (out / "table.md").read_text()
    assert (out / "table.tex").read_text().count(r"\bottomrule") == 5
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_evaluation(tmp_path / "file" / "out", found, report="")


def test_labels_from_a_table(library, tmp_path: Path) -> None:
    vectors, _ = library
    (tmp_path / "labels.csv").write_text("track_id,mood\n" + "".join(f"t{n:03},m{n % 2}\n" for n in range(0, 120, 3)))
    known = pd.DataFrame({"track_id": [f"t{n:03}" for n in range(120)]})
    table = read_table(tmp_path / "labels.csv", known)
    found = evaluated((vectors, pd.DataFrame({"mood": ["old"] * 120})), labels=["mood"], table=table)
    assert found.scores["sections"][0]["known"] == 40
    (tmp_path / "bad.csv").write_text("trackid,mood\na,b\n")
    with pytest.raises(InputError, match="did you mean 'trackid'"):
        read_table(tmp_path / "bad.csv", known)
    placed = pd.DataFrame({"path": [f"/music/{n}.wav" for n in range(120)], "mood": ["old"] * 120})
    found = evaluated((vectors, placed), labels=["mood"], table=table.assign(path="/elsewhere", duration=1.0))
    assert found.tracks["path"].tolist() == placed["path"].tolist()
    assert found.tracks["duration"].notna().sum() == 40  # the index has none
    for bad, message in (
        (table.assign(track_id="t000"), "twice"),
        (table.assign(track_id=table["mood"] + table.index.astype(str)), "know none"),
    ):
        with pytest.raises(InputError, match=message):
            evaluated(library, table=bad)


def test_without_labels_and_with_two_tracks(library) -> None:
    bare = SimilarityIndex.from_vectors(np.eye(2), ["a", "b"])
    scores = evaluate_index(bare, name="two", count=quiet).scores
    assert scores["sections"] == []
    assert "--label" in scores["notes"][0]
    assert scores["search"]["recall"]["estimate"] == 1
    with pytest.raises(InputError, match="1 tracks"):
        evaluate_index(SimilarityIndex.from_vectors(np.eye(1), ["a"]), name="one", count=quiet)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": ["gnre"]}, "did you mean 'genre'"),
        ({"labels": ["genre:kay"]}, "no relation 'kay'.*did you mean 'key'"),
        ({"labels": ["genre:tempo"]}, "no two tracks are within 4 % of its genre"),
        ({"group": "artists"}, "did you mean 'artist'"),
        ({"labels": ["genre"], "k": 0}, "k is 0"),
    ],
)
def test_what_cannot_be_is_told(library, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        evaluated(library, **settings)
