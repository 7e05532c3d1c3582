"""Splits: every track once, no group on both sides, every class in every fold, whatever the order of rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.dataset.manifest import Manifest
from m2l2_mir.dataset.recipe import SplitRecipe
from m2l2_mir.dataset.split import make_manifest
from m2l2_mir.errors import InputError, SplitWarning

NOTHING_DROPPED = pd.DataFrame(columns=["track_id", "label", "reason"])


def _split(tracks: pd.DataFrame, recipe: SplitRecipe, *, label: str = "genre", seed: int = 0, **more: Any) -> Manifest:
    dropped = more.pop("dropped", NOTHING_DROPPED)
    return make_manifest(tracks, dropped, dataset="set", label=label, split_name="s", split=recipe, seed=seed)


def _quiet(*arguments: Any, **more: Any) -> Manifest:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SplitWarning)
        return _split(*arguments, **more)


def _artists(rng: np.random.Generator, tracks: int, artists: int, classes: int) -> pd.DataFrame:
    """Artists of one genre each, as in life with very different numbers of tracks."""
    share = rng.dirichlet(np.ones(artists))
    artist = np.concatenate([np.arange(artists), rng.choice(artists, tracks - artists, p=share)])
    return pd.DataFrame(
        {
            "track_id": [f"t{number:04}" for number in range(tracks)],
            "genre": [f"genre{number % classes}" for number in artist],
            "tempo": rng.uniform(60, 180, tracks),
            "group": [f"artist{number}" for number in artist],
        }
    )


@pytest.mark.parametrize("case", range(6))
@pytest.mark.parametrize("label", ["genre", "tempo"])
def test_drawn_folds_keep_groups_whole_and_use_each_track_once(case: int, label: str) -> None:
    rng = np.random.default_rng(case)
    tracks = _artists(rng, tracks=150 + 50 * case, artists=25 + 15 * case, classes=2 + case)
    folds = int(rng.integers(2, 7))
    manifest = _quiet(tracks, SplitRecipe(folds=folds), label=label, seed=case)
    assert manifest.folds == tuple(map(str, range(1, folds + 1)))
    assert sorted(manifest.table["track_id"]) == sorted(tracks["track_id"])
    assert (manifest.table.groupby("group")["fold"].nunique() == 1).all()
    tested: list[str] = []
    group = manifest.table.set_index("track_id")["group"]
    for rotation in manifest.rotations():
        assert sorted(rotation.train + rotation.test) == sorted(tracks["track_id"])
        assert not set(group[list(rotation.train)]) & set(group[list(rotation.test)])
        tested += rotation.test
    assert sorted(tested) == sorted(tracks["track_id"])


def test_drawn_folds_are_balanced(rng: np.random.Generator) -> None:
    tracks = _artists(rng, tracks=600, artists=300, classes=4)
    tracks["group"] = [f"{row.genre} {index // 3}" for index, row in enumerate(tracks.itertuples())]
    genre = _split(tracks, SplitRecipe(folds=5)).table
    tempo = _split(tracks.assign(group=tracks["track_id"]), SplitRecipe(folds=5), label="tempo").table
    for classes, table in ((genre["label"], genre), (pd.qcut(tempo["label"], 10, labels=False), tempo)):
        share = pd.crosstab(classes, table["fold"], normalize="index")
        assert share.to_numpy() == pytest.approx(0.2, abs=0.02)
    with pytest.warns(SplitWarning, match="NO GROUPS are known"):
        alone = _split(tracks.drop(columns="group"), SplitRecipe(folds=5)).table
    counts = pd.crosstab(alone["label"], alone["fold"]).to_numpy()
    assert (np.ptp(counts, axis=1) <= 1).all()


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_rows(rng: np.random.Generator) -> None:
    tracks = _artists(rng, tracks=120, artists=60, classes=3)
    shuffled = tracks.sample(frac=1, random_state=3).reset_index(drop=True)
    one = _quiet(tracks, SplitRecipe(folds=4), seed=5)
    pd.testing.assert_frame_equal(_quiet(shuffled, SplitRecipe(folds=4), seed=5).table, one.table)
    assert _quiet(tracks, SplitRecipe(folds=4), seed=6).sha256 != one.sha256
    ungrouped = [_quiet(part.drop(columns="group"), SplitRecipe(folds=4)).sha256 for part in (tracks, shuffled)]
    assert ungrouped[0] == ungrouped[1]


def test_large_groups_and_rare_classes_are_balanced_too() -> None:
    for case in range(5):
        rng = np.random.default_rng(case)
        rows = [("large", "x")] * 40 + [(f"small {group}", "x") for group in range(4) for _ in range(10)]
        rows += [("y 1", "y"), ("y 2", "y")]
        tracks = pd.DataFrame(rows, columns=["group", "genre"]).assign(track_id=[f"{n:03}" for n in range(82)])
        assert _split(tracks, SplitRecipe(folds=2), seed=case).table["fold"].value_counts().tolist() == [41, 41]

        rows = [(f"{group}", "x") for group in range(24) for _ in range(rng.integers(5, 16))]
        rows += [(f"{group}", "rare") for group in range(8)]
        tracks = pd.DataFrame(rows, columns=["group", "genre"]).assign(track_id=[f"{n:03}" for n in range(len(rows))])
        folds = pd.crosstab(*(_split(tracks, SplitRecipe(folds=4), seed=case).table[c] for c in ("label", "fold")))
        assert folds.loc["rare"].tolist() == [2, 2, 2, 2]


def test_the_draw_is_the_same_on_every_machine() -> None:
    tracks = pd.DataFrame(
        {
            "track_id": [f"{number:02}" for number in range(20)],
            "genre": ["x", "y", "y", "z"] * 5,
            "group": [f"artist {number // 2}" for number in range(20)],
        }
    )
    assert "".join(_split(tracks, SplitRecipe(folds=3), seed=7).table["fold"]) == "22332233112233111111"


def test_no_fold_is_empty_where_there_are_as_many_groups_as_folds() -> None:
    for case in range(20):
        rng = np.random.default_rng(case)
        folds = int(rng.integers(3, 8))
        tracks = _artists(rng, tracks=60, artists=folds, classes=2)
        assert len(_quiet(tracks, SplitRecipe(folds=folds)).folds) == folds


def test_official_folds_in_one_spelling_with_every_other_track_excluded_for_a_reason() -> None:
    tracks = pd.DataFrame(
        {
            "track_id": list("abcdefg"),
            "key": ["C major", "C major", "D minor", "C major", None, None, "D minor"],
            "split": ["training", "Train", "test", "validation", "test", "test", None],
            "audio": ["md5:1", None, "", "", "", "", ""],
        }
    )
    dropped = pd.DataFrame(
        [("e", "key", "several keys"), ("f", "tempo", "no tempo"), ("gone", "key", "also in the test set")],
        columns=["track_id", "label", "reason"],
    )
    with (
        pytest.warns(SplitWarning, match="1 of 2 classes are missing from a training set: D minor"),
        pytest.warns(SplitWarning, match="NO GROUPS are known"),
    ):
        manifest = _split(
            pd.concat([tracks, tracks.iloc[[2]].assign(track_id="h", key="C major")]),
            SplitRecipe(column="split"),
            label="key",
            dropped=dropped,
        )
    assert dict(zip(manifest.table["track_id"], manifest.table["fold"], strict=True)) == {
        "a": "train",
        "b": "train",
        "c": "test",
        "d": "valid",
        "h": "test",
    }
    assert manifest.table["audio"].tolist() == ["md5:1", "", "", "", ""]
    assert dict(manifest.excluded.to_numpy().tolist()) == {
        "e": "several keys",
        "f": "no key stated",
        "g": "not in the split split",
    }
    (rotation,) = manifest.rotations()
    assert (rotation.train, rotation.valid, rotation.test) == (("a", "b"), ("d",), ("c", "h"))


def test_leaving_out_tests_each_value_in_its_turn() -> None:
    tracks = pd.DataFrame(
        {
            "track_id": [f"{number:02}" for number in range(12)],
            "pitch": [60.0, 61.0, 62.0, np.nan] * 3,  # pandas turns pitches to floats beside a missing one
            "player": [1.0] * 4 + [2.0] * 4 + [10.0] * 3 + [np.nan],
        }
    )
    with pytest.warns(SplitWarning, match="NO GROUPS are known"):
        manifest = _split(tracks, SplitRecipe(leave_out="player"), label="pitch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _split(tracks.assign(group=tracks["player"]), SplitRecipe(leave_out="group"), label="pitch")
    assert [rotation.name for rotation in manifest.rotations()] == ["1", "2", "10"]
    assert [rotation.test for rotation in manifest.rotations()][1] == ("04", "05", "06")
    assert manifest.table["label"].tolist() == [60, 61, 62] * 3
    assert manifest.table["label"].dtype == np.int64
    assert set(manifest.table["group"]) == {f"track:{track}" for track in manifest.table["track_id"]}


def test_groups_on_both_sides_of_an_official_split_are_counted_and_kept() -> None:
    tracks = pd.DataFrame(
        {
            "track_id": list("abcdef"),
            "genre": ["x", "y", "x", "x", "y", "y"],
            "group": ["A", "A", "B", "B", "C", "B"],
            "fold": ["train", "train", "train", "test", "test", "valid"],
        }
    )
    with pytest.warns(SplitWarning, match="1 of 3 groups have tracks in training and test, such as 'B'"):
        manifest = _split(tracks, SplitRecipe(column="fold"))
    assert manifest.table["fold"].tolist() == tracks["fold"].tolist()
    tracks["fold"] = ["1", "1", "2", "1", "1", "2"]
    with pytest.warns(SplitWarning, match="1 of 3 groups"):
        _split(tracks, SplitRecipe(column="fold"))


def test_tracks_without_a_group_stand_alone() -> None:
    tracks = pd.DataFrame(
        {"track_id": list("abcdef"), "genre": ["x", "y"] * 3, "group": ["A", "A", "", None, "B", "B"]}
    )
    with pytest.warns(SplitWarning, match="2 of 6 tracks state no group"):
        table = _split(tracks, SplitRecipe(folds=2)).table
    assert table["group"].tolist() == ["A", "A", "track:c", "track:d", "B", "B"]


def test_a_class_that_cannot_be_in_every_fold_is_named() -> None:
    tracks = pd.DataFrame(
        {
            "track_id": [f"{n:02}" for n in range(13)],
            "genre": ["x"] * 10 + ["rare"] * 3,
            "group": [f"g{n}" for n in range(13)],
        }
    )
    with pytest.warns(SplitWarning, match="1 of 2 classes are missing from a test fold: rare"):
        _split(tracks, SplitRecipe(folds=5))
    tracks.loc[10:, "group"] = "one artist"
    in_one_fold = "1 of 2 classes are missing from a"
    with (
        pytest.warns(SplitWarning, match=f"{in_one_fold} training set: rare"),
        pytest.warns(SplitWarning, match=f"{in_one_fold} test fold: rare"),
    ):
        _split(tracks, SplitRecipe(folds=5))


@pytest.mark.parametrize(
    ("change", "recipe", "message"),
    [
        ({}, SplitRecipe(column="folds"), r"no column 'folds'; did you mean 'fold'\?"),
        ({}, SplitRecipe(folds=4), "4 folds cannot be drawn from 3 groups"),
        ({"genre": list("uvwxyz")}, SplitRecipe(folds=2), "no test fold shares a class"),
        ({"genre": "x"}, SplitRecipe(column="fold"), "only one genre, 'x', on 6 tracks: nothing to learn"),
        ({"genre": 7.0}, SplitRecipe(folds=2), "only one genre, '7', on 6 tracks"),
        ({"genre": None}, SplitRecipe(folds=2), "none of 6 tracks has both"),
        ({"fold": None}, SplitRecipe(column="fold"), "none of 6 tracks has both"),
        ({"fold": "train"}, SplitRecipe(column="fold"), "must be train, test and perhaps valid.*: train$"),
        ({"fold": ["train", "test", "1"] * 2}, SplitRecipe(column="fold"), "must be train, test and perhaps valid"),
        ({"fold": "all"}, SplitRecipe(column="fold"), "all 6 tracks are in one fold, 'all'"),
        ({}, SplitRecipe(leave_out="genre"), "no test fold shares a class with its training set"),
        ({"track_id": ["a"] * 6}, SplitRecipe(folds=2), "5 track ids occur twice, such as 'a'"),
        ({"genre": [["rock", "pop"]] * 6}, SplitRecipe(folds=2), r"must be a word or a number for each track: \["),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(change: dict[str, Any], recipe: SplitRecipe, message: str) -> None:
    tracks = pd.DataFrame(
        {
            "track_id": list("abcdef"),
            "genre": ["x", "y"] * 3,
            "group": list("AABBCC"),
            "fold": ["train", "test"] * 3,
        }
    ).assign(**change)
    with pytest.raises(InputError, match=message) as caught:
        _quiet(tracks, recipe)
    assert "\n" not in str(caught.value)


def test_paths_count_where_there_are_no_checksums_but_not_the_folder_they_lie_in() -> None:
    tracks = pd.DataFrame({"track_id": list("abcdef"), "genre": ["x", "y"] * 3, "group": list("AABBCC")})
    paths = [f"{number // 2}/{number}.wav" for number in range(6)]

    def hash_of(folder: str, paths: list[str], **more: Any) -> str:
        return _split(tracks.assign(path=[folder + path for path in paths], **more), SplitRecipe(folds=3)).sha256

    here = hash_of("/here/", paths)
    assert hash_of("/moved/else where/", paths) == here
    assert hash_of("/here/", paths[::-1]) != here
    assert hash_of("/here/", paths, audio="md5:1") == hash_of("/here/", paths[::-1], audio="md5:1")
