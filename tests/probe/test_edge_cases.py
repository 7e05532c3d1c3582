"""What an experiment does with little, broken or odd data: a clear line, or a result that is defined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.errors import InputError
from m2l2_mir.probe.experiment import MAJORITY, ProbeResult, run_probe
from m2l2_mir.probe.plan import plan_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.results import write_result
from m2l2_mir.probe.rows import Row

pytestmark = pytest.mark.filterwarnings("ignore::m2l2_mir.errors.SplitWarning")


@pytest.fixture
def probe(dataset: Dataset, rng: np.random.Generator):
    """Run a probe on the first tracks of the mock set, with other columns and vectors."""

    def run(tracks: int, name: str = "genre", vectors: Any = None, readouts: Any = ("linear",), **columns: Any):
        table = dataset.tracks[:tracks].assign(**columns)
        plan = plan_probe(*find_probe(name), replace(dataset, tracks=table), seeds=2, folds=3, readouts=readouts)
        given = rng.normal(size=(tracks, 4)) if vectors is None else vectors
        row = Row(name="row", kind="model", width=given.shape[1], load=lambda _: given.astype(np.float32))
        return run_probe(plan, [row], jobs=1, draws=100)

    return run


def primary(result: ProbeResult) -> pd.DataFrame:
    [section] = result.scores["sections"]
    table = pd.DataFrame(section["scores"])
    return table[table["metric"] == section["primary"]].set_index("row")


def warned(result: ProbeResult, row: str = "row") -> str:
    return " ".join(result.scores["sections"][0]["fits"][row]["warnings"])


def test_three_tracks(probe, tmp_path) -> None:
    result = probe(3, group=["a", "b", "c"], genre=["jig", "jig", "reel"])
    accuracy = primary(result)
    assert accuracy["estimate"].between(0, 1).all()
    assert accuracy["scored"].tolist() == accuracy["expected"].tolist() == [3, 3, 3]
    # Where the only reel is tested, training knows jigs alone; of a jig and a reel, the tie goes to the jig.
    assert accuracy["estimate"][MAJORITY] == pytest.approx(2 / 3)
    assert "all training items are of one class" in warned(result)
    assert "a class lies in a single item or group" in warned(result)
    assert (write_result(tmp_path, result) / "table.md").is_file()
    with pytest.raises(InputError, match="no test fold shares a class with its training set"):
        probe(3, group=["a", "b", "c"])
    with pytest.raises(InputError, match="3 folds cannot be drawn from 1 groups; ask for fewer folds"):
        probe(3, group="a")


def test_a_class_with_one_member(probe, rng) -> None:
    genres = np.where(np.arange(60) % 2, "jig", "reel").astype(object)
    genres[7] = "polka"
    vectors = np.column_stack([genres == "jig", genres == "reel", rng.normal(size=(60, 2))])
    result = probe(60, genre=genres, vectors=vectors)
    table = result.predictions.query("row == 'row'")
    assert (table["reference"] == table["estimated"]).groupby(table["reference"]).mean().to_dict() == {
        "jig": 1,
        "polka": 0,
        "reel": 1,
    }
    assert "a class lies in a single item or group" in warned(result)


def test_one_class_in_the_training_of_a_fold(probe) -> None:
    # All waltzes are of one group: where it is tested, training knows jigs only.
    genres = np.where(np.arange(30) < 3, "waltz", "jig")
    result = probe(30, genre=genres)
    assert "all training items are of one class, which is predicted always" in warned(result)
    table = result.predictions.query("row == 'row' and reference == 'waltz'")
    assert set(table["estimated"]) == {"jig"}
    assert set(table["confidence"]) == {1}


def test_features_without_any_spread(probe) -> None:
    genres = np.resize(["jig", "jig", "reel"], 90)
    result = probe(90, genre=genres, vectors=np.full((90, 3), 7.0))
    accuracy = primary(result)
    assert accuracy["estimate"]["row"] == accuracy["estimate"][MAJORITY] == pytest.approx(2 / 3)
    [line] = [line for line in result.scores["sections"][0]["comparisons"] if line["row"] == MAJORITY]
    assert (line["difference"], line["p"], line["mark"]) == (0, 1, "not distinguishable")


def test_ties_in_the_majority_go_to_the_class_that_sorts_first(probe) -> None:
    result = probe(60, genre=np.resize(["reel", "jig"], 60), group=[f"g{number // 2}" for number in range(60)])
    table = result.predictions.query("row == @MAJORITY")
    assert set(table["estimated"]) == {"jig"}
    assert set(table["confidence"]) == {0.5}
    assert primary(result)["estimate"][MAJORITY] == 0.5


@pytest.mark.parametrize("readout", ["linear-regression", "mlp-regression", "knn-regression"])
def test_a_regression_on_targets_that_hardly_vary(probe, readout) -> None:
    """One group has another tempo: where it is tested, all training targets are equal."""
    tempi = np.where(np.arange(30) < 3, 60.0, 120.0)
    result = probe(30, "tempo", tempo=tempi, readouts=[readout])
    assert "all training targets are equal" in warned(result)
    table = result.predictions.query("row == 'row' and reference == 60")
    np.testing.assert_allclose(table["estimated"], 120)
    with pytest.raises(InputError, match="only one tempo"):
        probe(30, "tempo", tempo=120.0, readouts=[readout])


def test_tracks_that_fail_are_no_part_of_any_fit(plan, rows) -> None:
    vectors = rows["noise"].load(0).copy()
    vectors[:30] = np.inf
    failing = replace(rows["noise"], load=lambda _: vectors, failed=dict.fromkeys(range(30), "NaN in the embedding"))
    result = run_probe(plan(), [rows["label"], failing], jobs=1, draws=100)
    section = result.scores["sections"][0]
    assert (section["scored"], section["expected"], section["training_items"]) == (90, 120, 60)
    assert len(section["left_out"]) == 30
    assert set(pd.DataFrame(section["scores"])["scored"]) == {90}
    assert set(pd.DataFrame(section["comparisons"])["scored"]) == {90}
    with pytest.raises(InputError, match="'noise' holds NaN or infinity for 30 tracks, such as 't000'; state them as"):
        run_probe(plan(), [rows["label"], replace(failing, failed={})], jobs=1, draws=100)


def test_a_fold_without_tracks_that_are_left(plan, rows) -> None:
    few = dict.fromkeys(range(3, 120), "gone")
    with pytest.raises(InputError, match=r"fold \w+ has \d+ tracks to train on and \d+ to test that failed in no row"):
        run_probe(plan(), [replace(rows["label"], failed=few)], jobs=1, draws=100)
