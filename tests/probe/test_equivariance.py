"""Rows that follow, rows that stay where they are: both right on unaltered tracks, and told apart by alteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.labels import KEYS
from m2l2_mir.errors import InputError
from m2l2_mir.probe.alteration import Alteration
from m2l2_mir.probe.altered_tracks import changes_of, draw_tracks
from m2l2_mir.probe.equivariance import equivariance
from m2l2_mir.probe.following import ALTERATIONS, labels_altered
from m2l2_mir.probe.plan import Plan, plan_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.study_figures import study_figures

SEMITONES = tuple(Alteration(kind="transposition", amount=n) for n in (-5, 3))
FACTORS = tuple(Alteration(kind="stretch", amount=f) for f in (0.8, 1.25))


@pytest.fixture(scope="module")
def keys(dataset: Dataset) -> Plan:
    """All 24 keys five times, in groups of three tracks."""
    labels = np.array(KEYS)[np.arange(120) % 24]
    return plan_probe(*find_probe("key"), replace(dataset, tracks=dataset.tracks.assign(key=labels)), seeds=2, folds=3)


def pair(name: str, labels: Sequence[object], moved: Sequence[object], code: Callable, **options) -> tuple[Row, Row]:
    """A row of all tracks and the same row of altered ones, both the code of a label."""
    rows = [np.stack([code(label) for label in part]).astype(np.float32) for part in (labels, moved)]
    return tuple(Row(name=name, kind="model", width=rows[0].shape[1], load=lambda _, r=r: r, **options) for r in rows)  # type: ignore[return-value]


def one_hot(label: object) -> np.ndarray:
    return 5.0 * np.eye(24)[KEYS.index(str(label))]


def measured(plan: Plan, alterations: Sequence[Alteration], code: Callable, **failures) -> pd.DataFrame:
    labels = plan.dataset.tracks.set_index("track_id")[plan.label].loc[plan.track_ids].to_numpy()
    positions = draw_tracks(plan, np.ones(len(labels), bool), alterations=alterations, count=30)
    moved = np.concatenate([labels_altered(plan.recipe.metrics, labels[positions], one) for one in alterations])
    stayed = np.tile(labels[positions], len(alterations))
    follower, altered_follower = pair("follower", labels, moved, code)
    other, altered_other = pair("other", labels, stayed, code)
    altered = {"rendering": [replace(altered_follower, **failures), replace(altered_other, kind="hand-made")]}
    rows = [follower, replace(other, kind="hand-made")]
    study = equivariance(plan, rows, altered, positions, alterations, jobs=1, draws=200)
    assert all(one.figure.axes for one in study_figures(study))
    study.table.attrs = {"sentence": study.sentence}
    return study.table.set_index(["row", "metric", "x"]).sort_index()


def test_keys_that_follow_and_keys_that_stay(keys: Plan) -> None:
    table = measured(keys, SEMITONES, one_hot)["estimate"]
    assert (table["follower"]["accuracy"] == 1).all()
    assert (table["follower"]["follows"] == 1).all()
    assert table["other", "accuracy", "unaltered"] == 1
    assert (table["other"]["follows"] == 0).all()
    assert table["other", "accuracy", "all"] == 0
    assert table["shuffled labels", "follows", "all"] < 0.5


def test_slope_and_error_of_tempo(plan) -> None:
    def code(bpm: float) -> np.ndarray:
        return np.array([np.log2(bpm)])

    regression = plan("tempo", readouts=["linear-regression"], splits=["grouped"])
    table = measured(regression, FACTORS, code)["estimate"]
    assert table["follower", "slope", "all"] == pytest.approx(1, abs=0.02)
    assert table["other", "slope", "all"] == pytest.approx(0, abs=0.02)
    assert table["follower", "error", 1.25] == pytest.approx(0, abs=0.01)
    assert table["other", "error", 1.25] == pytest.approx(-np.log2(1.25), abs=0.01)
    assert (table["follower", "acc1", "all"], table["other", "follows", "all"]) == (1, 0)


def test_a_track_whose_alteration_failed_is_left_out_and_counted(keys: Plan) -> None:
    table = measured(keys, SEMITONES, one_hot, failed={31: "cut off"})  # the second alteration of the second track
    assert set(table["scored"]) == {29}
    assert set(table["expected"]) == {30}


def test_whole_groups_inside_the_range_of_labels_are_drawn(plan) -> None:
    tempi = plan("tempo")
    usable = np.ones(120, bool)
    usable[:6] = False
    drawn = draw_tracks(tempi, usable, alterations=FACTORS, count=15)
    tracks = tempi.dataset.tracks.iloc[drawn]
    assert len(drawn) == 15
    assert tracks["tempo"].between(60 / 0.8, tempi.dataset.tracks["tempo"].max() / 1.25).all()
    assert min(drawn) >= 6
    assert tracks["group"].nunique() < 15
    with pytest.raises(InputError, match="0 tracks can be altered"):
        draw_tracks(tempi, np.zeros(120, bool))


@pytest.fixture(scope="module")
def gaps(dataset: Dataset) -> Dataset:
    """Four pitches, 14 semitones apart, as in a quick set of notes."""
    return replace(dataset, tracks=dataset.tracks.assign(pitch=np.array([41, 55, 69, 83])[np.arange(120) // 3 % 4]))


def test_pitches_with_gaps_are_moved_to_one_another(gaps: Dataset) -> None:
    """No usual transposition leads from one class to another, so that none could be followed."""
    plan = plan_probe(*find_probe("pitch"), gaps, splits=["grouped"], seeds=1, folds=3)
    assert [one.amount for one in ALTERATIONS["pitch"][::3]] == [-6, -3, 1, 4]
    with pytest.raises(InputError, match="0 tracks can be altered to a label that the read-out 'linear' can give"):
        draw_tracks(plan, np.ones(120, bool), alterations=ALTERATIONS["pitch"][::3])
    changes = changes_of(plan, every=3)
    assert [one.amount for one in changes] == [-14, 14]

    def code(pitch: float) -> np.ndarray:
        return np.eye(128)[int(pitch)]

    table = measured(plan, changes, code)["estimate"]
    assert (table["follower", "follows", "all"], table["other", "follows", "all"]) == (1, 0)
    positions = draw_tracks(plan, np.ones(120, bool), alterations=changes, count=30)
    with pytest.raises(InputError, match="30 of 30 altered tracks have a label that the read-out 'linear' cannot give"):
        equivariance(plan, [pair("x", [60], [60], code)[0]], {}, positions, SEMITONES)
    # A regression can follow to anywhere between the lowest and the highest.
    regression = plan_probe(
        *find_probe("pitch"), gaps, splits=["grouped"], readouts=["linear-regression"], seeds=1, folds=3
    )
    assert changes_of(regression) == ALTERATIONS["pitch"]


def test_keys_that_the_set_lacks_are_not_scored(dataset: Dataset) -> None:
    """C, D and E major: up by two of them have somewhere to go, down by two others."""
    labels = np.array(["C major", "D major", "E major"])[np.arange(120) % 3]
    lacking = replace(dataset, tracks=dataset.tracks.assign(key=labels))
    plan = plan_probe(*find_probe("key"), lacking, seeds=1, folds=3)
    changes = tuple(Alteration(kind="transposition", amount=n) for n in (-2, 1, 2))
    table = measured(plan, changes, one_hot)
    assert (
        table.loc[("follower", "follows", 2), "estimate"] == table.loc[("follower", "follows", "all"), "estimate"] == 1
    )
    assert table.loc[("follower", "follows", 2), "scored"] == 20
    assert np.isnan(table.loc[("follower", "follows", 1), "estimate"])


def test_only_labels_that_music_carries_along(plan, rows) -> None:
    assert set(ALTERATIONS) == {"key", "pitch", "tempo"}
    with pytest.raises(InputError, match="no change moves labels of genre"):
        equivariance(plan(), [rows["label"]], {}, [], SEMITONES)
