"""Thinned training sets keep groups whole and lie inside each other; scores rise where there is something to learn."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe.experiment import run_probe
from m2l2_mir.probe.fitting import FoldItems
from m2l2_mir.probe.learning_curve import LAST_DOUBLING, learning_curve, thinned
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.probe.studies import read_studies, study_table, write_study


def test_thinned_folds() -> None:
    groups = np.repeat(np.arange(30), 4)
    fold = FoldItems(name="1", train=np.arange(80), test=np.arange(80, 120))
    parts = [thinned(fold, groups, share, seed=3) for share in (0.1, 0.25, 0.5, 1.0)]
    assert [len(part.train) for part in parts] == [8, 20, 40, 80]
    for small, large in pairwise(parts):
        assert set(small.train) <= set(large.train)
    for part in parts:
        assert (np.bincount(groups[part.train])[np.unique(groups[part.train])] == 4).all()
        assert part.test is fold.test
    other = thinned(fold, groups, 0.25, seed=4)
    assert set(other.train) != set(parts[1].train)
    assert len(thinned(fold, groups, 0.001, seed=0).train) == 4
    with pytest.raises(InputError, match="share is 0"):
        thinned(fold, groups, 0, seed=0)


def test_small_training_sets_do_not_widen_intervals_by_their_size(plan, rows, monkeypatch) -> None:
    """Each seed draws others of them, and the spread over seeds is counted."""
    ratios = []

    def spy(*values, tested_per_trained, **settings):
        ratios.append(tested_per_trained)
        return cluster_bootstrap(*values, tested_per_trained=tested_per_trained, **settings)

    monkeypatch.setattr("m2l2_mir.probe.learning_curve.cluster_bootstrap", spy)
    learning_curve(plan(), [rows["noise"]], sizes=3, jobs=1, draws=50)
    assert ratios == [1.0] * 9  # three rows: noise, shuffled, majority


def test_more_tracks_help_where_there_is_something_to_learn(plan, rows, tmp_path) -> None:
    rng = np.random.default_rng(0)
    label = rows["label"].load(0)
    vectors = np.hstack([label[:, :3] + rng.normal(0, 0.4, (120, 3)), rng.normal(size=(120, 20))]).astype(np.float32)
    row = replace(rows["label"], width=23, load=lambda _: vectors)
    study = learning_curve(plan(seeds=3), [row, rows["noise"]], sizes=4, jobs=1, draws=300)
    table = study.table.set_index(["row", "x"])["estimate"]
    sizes = [x for x in study.table["x"].unique() if x != LAST_DOUBLING]
    assert sizes == sorted(sizes)
    for size, wanted in zip(sizes, (10, 20, 40, 80), strict=True):
        assert wanted <= size <= wanted + 2  # groups of three are kept whole
    # The whole of it is what the probe itself says.
    whole = run_probe(plan(seeds=3), [row], jobs=1, draws=100).scores["sections"][0]["scores"]
    assert table["label", sizes[-1]] == next(
        line["estimate"] for line in whole if (line["row"], line["metric"]) == ("label", "accuracy")
    )
    curve = table["label"].drop(LAST_DOUBLING)
    assert curve.iloc[0] < curve.iloc[-1] - 0.15
    assert table["label", LAST_DOUBLING] == pytest.approx(curve.iloc[-1] - curve.iloc[-2])
    assert abs(table["noise", LAST_DOUBLING]) < 0.15
    assert table["majority"].drop(LAST_DOUBLING).between(0.2, 0.45).all()
    write_study(tmp_path, study)
    [read] = read_studies(tmp_path)
    assert (read.sentence, read.notes) == (study.sentence, study.notes)
    part = "split grouped, read-out linear"
    pd.testing.assert_frame_equal(study_table(read, part), study_table(study, part))
    text = (tmp_path / "genre" / "learning-curve.md").read_text()
    assert "| label |" in text
    (tmp_path / "genre" / "learning-curve.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(InputError, match="no result that this version can read"):
        read_studies(tmp_path)
