"""A row that knows the group and nothing else: good where groups are on both sides, chance where they are apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from m2l2_mir.dataset.recipe import SplitRecipe
from m2l2_mir.errors import ConfigError
from m2l2_mir.probe.experiment import run_probe
from m2l2_mir.probe.grouping import grouping, paired_splits
from m2l2_mir.probe.plan import plan_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.report import write_report
from m2l2_mir.probe.results import plain
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.studies import write_study


@pytest.fixture(scope="module")
def artists(dataset):
    """24 artists of five tracks and one genre each; both splits."""
    numbers = np.arange(120)
    tracks = dataset.tracks.assign(
        group=[f"a{number // 5:02}" for number in numbers],
        genre=np.array(["jig", "reel", "waltz"])[(numbers // 5) % 3],
    )
    splits = {"grouped": SplitRecipe(folds=3), "ungrouped": SplitRecipe(folds=3, grouped=False)}
    recipe = replace(dataset.recipe, splits=splits)
    return plan_probe(*find_probe("genre"), replace(dataset, tracks=tracks, recipe=recipe), seeds=2)


def test_a_row_that_knows_the_artist(artists, tmp_path) -> None:
    vectors = 5 * np.eye(24, dtype=np.float32)[np.arange(120) // 5]
    row = Row(name="artist", kind="model", width=24, load=lambda _: vectors)
    result = run_probe(artists, [row], jobs=1, draws=200)
    study = grouping(artists, plain(result.scores), result.predictions, draws=500)
    assert study is not None
    table = study.table.set_index(["row", "x"])
    apart, mixed, difference = (table["estimate"]["artist", x] for x in ("grouped", "ungrouped", "difference"))
    assert apart < 0.4
    assert mixed > 0.6
    assert difference == pytest.approx(mixed - apart)
    assert table["low"]["artist", "difference"] > 0
    assert table["low"]["majority", "difference"] <= 0 <= table["high"]["majority", "difference"]
    assert study.sentence.endswith("part of the ungrouped score is the group")
    assert any("on purpose" in note for note in study.notes)
    write_study(tmp_path, study)
    text = write_report(tmp_path).read_text()  # a report of studies alone
    assert "What a single score hides" in text
    assert "with groups kept apart" in text
    assert [path.name for path in (tmp_path / "genre" / "figures").iterdir()] == ["grouping-splits-1.svg"]


def test_groups_are_whole_in_one_split_and_not_in_the_other(artists) -> None:
    for split, whole in (("grouped", True), ("ungrouped", False)):
        for manifest in artists.manifests[split]:
            assert bool((manifest.table.groupby("group")["fold"].nunique() == 1).all()) == whole
            assert manifest.table["group"].nunique() == 24


def test_only_with_both_splits(plan) -> None:
    assert paired_splits(plan()) is None
    assert grouping(plan(), {}, None) is None  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="only folds that are drawn"):
        SplitRecipe(column="fold", grouped=False)
