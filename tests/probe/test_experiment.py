"""Rows with known answers get them, on the same folds, and nothing is scored that some row lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe.comparison import holm, paired_bootstrap
from m2l2_mir.probe.experiment import MAJORITY, SHUFFLED, run_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.results import plain
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.probe.tables import footnotes


def scores_of(result, metric=None, section=0) -> pd.DataFrame:
    part = result.scores["sections"][section]
    table = pd.DataFrame(part["scores"])
    return table[table["metric"] == (metric or part["primary"])].set_index("row")


def test_rows_get_the_scores_that_are_known(plan, rows) -> None:
    result = run_probe(plan(seeds=5), [rows["label"], rows["noise"]], jobs=1, draws=500)
    accuracy = scores_of(result)
    assert list(accuracy.index) == ["label", SHUFFLED, MAJORITY, "noise"]
    assert accuracy["estimate"]["label"] == 1
    assert accuracy["low"]["noise"] < 1 / 3 < accuracy["high"]["noise"]
    # Its items share one drawn labelling, so that seeds and not groups tell how far it may be off.
    assert abs(accuracy["estimate"][SHUFFLED] - 1 / 3) < 2 * accuracy["seed_std"][SHUFFLED] < 0.4
    assert accuracy["estimate"][MAJORITY] == pytest.approx(1 / 3)
    assert set(accuracy["scored"]) == set(accuracy["expected"]) == {120}
    assert set(accuracy["groups"]) == {40}
    assert {line["mark"] for line in result.scores["sections"][0]["comparisons"]} == {""}
    assert scores_of(result, "macro_f1")["estimate"]["label"] == 1
    section = result.scores["sections"][0]
    assert (section["tested_per_trained"], section["training_items"]) == (1, 81)
    # Intervals and tests know that fits learn from a sample.
    table = result.predictions.assign(right=result.predictions["reference"] == result.predictions["estimated"])
    right = table.pivot(index=["row", "seed"], columns="track_id", values="right").astype(float)
    settings = {"groups": np.arange(120) // 3, "tested_per_trained": 1.0, "draws": 500}
    own = cluster_bootstrap(right.loc["noise"], bounds=(0, 1), **settings)
    assert (accuracy["low"]["noise"], accuracy["high"]["noise"]) == pytest.approx((own.low, own.high))
    pair = paired_bootstrap(right.loc["noise"], right.loc["label"], **settings)
    [line] = [line for line in section["comparisons"] if line["row"] == "noise"]
    assert (line["low"], line["high"], line["p"]) == pytest.approx((pair.difference.low, pair.difference.high, pair.p))
    assert (result.scores["about"], result.scores["dataset"]["size"]) == (find_probe("genre")[1].about, "quick")


def test_all_rows_see_the_same_folds_and_seeds_redraw_them(plan, rows) -> None:
    table = run_probe(plan(), list(rows.values()), jobs=1, draws=100).predictions
    folds = table.pivot(index="track_id", columns=["row", "seed"], values="fold")
    for seed in range(2):
        assert (folds.xs(seed, axis=1, level="seed").nunique(axis=1) == 1).all()
    assert (folds["label"][0] != folds["label"][1]).any()
    # A track is predicted once a seed, and its group never trained on it.
    assert len(table) == 4 * 2 * 120
    assert (table.groupby(["row", "seed", "group"])["fold"].nunique() == 1).all()


def test_vectors_are_asked_for_by_seed(plan, rows, rng) -> None:
    """An untrained row draws other weights for each seed: here, only the first draw holds the label."""
    genres, noise = rows["label"].load(0), rng.normal(size=(120, 8)).astype(np.float32)
    untrained = Row(name="untrained", kind="untrained", width=8, load=lambda seed: noise if seed else genres)
    result = run_probe(plan(), [rows["label"], untrained], jobs=1, draws=100)
    accuracy = scores_of(result)
    assert list(accuracy.index)[:2] == ["label", "untrained"]
    table = result.predictions.query("row == 'untrained'")
    right = (table["reference"] == table["estimated"]).groupby(table["seed"]).mean()
    assert right[0] == 1
    assert right[1] < 0.6
    assert accuracy["seed_std"]["untrained"] == pytest.approx(np.std(right, ddof=1))


def test_the_same_for_any_number_of_processes(plan, rows) -> None:
    first, second = (run_probe(plan(seeds=1), [rows["label"]], jobs=jobs, draws=100) for jobs in (1, 2))
    assert plain(first.scores) == plain(second.scores)
    pd.testing.assert_frame_equal(first.predictions, second.predictions)


def test_a_track_that_failed_in_one_row_is_left_out_of_all_and_counted(plan, rows) -> None:
    vectors = rows["noise"].load(0).copy()
    vectors[[5, 6]] = np.nan
    failing = replace(rows["noise"], load=lambda _: vectors, failed={5: "silent", 6: "cut off"})
    result = run_probe(plan(), [rows["label"], failing], jobs=1, draws=100)
    accuracy = scores_of(result)
    assert set(accuracy["scored"]) == {118}
    assert set(accuracy["expected"]) == {120}
    section = result.scores["sections"][0]
    assert (section["scored"], section["expected"]) == (118, 120)
    assert section["left_out"][0] == {"track_id": "t005", "reason": "silent", "rows": "noise"}
    assert not result.predictions["track_id"].isin(["t005", "t006"]).any()


def test_wrong_rows_are_refused(plan, rows) -> None:
    broken = rows["noise"].load(0).copy()
    broken[7, 0] = np.nan
    for wrong, message in (
        ([], "nothing to probe"),
        ([rows["label"], rows["label"]], "several rows are called 'label'"),
        (
            [rows["label"], replace(rows["noise"], load=lambda _: broken)],
            "NaN or infinity for 1 tracks, such as 't007'",
        ),
        ([replace(rows["label"], width=7)], r"a row is \[tracks, 7\]"),
        ([replace(rows["label"], failed=dict.fromkeys(range(120), "gone"))], "0 tracks to train on"),
    ):
        with pytest.raises(InputError, match=message):
            run_probe(plan(), wrong, jobs=1, draws=100)


def test_tempo_by_classes_and_by_regression(plan, dataset) -> None:
    octaves = np.log2(dataset.tracks["tempo"].to_numpy())
    waves = np.cos(octaves[:, None] * np.arange(1, 24)).astype(np.float32)
    row = Row(name="waves", kind="model", width=23, load=lambda _: waves)
    result = run_probe(plan("tempo"), [row], jobs=1, draws=200)
    classes, regression = (scores_of(result, section=number) for number in (0, 1))
    assert [section["readout"] for section in result.scores["sections"]] == ["linear", "linear-regression"]
    assert classes["estimate"]["waves"] > 0.5 > classes["estimate"][SHUFFLED] + 0.2
    assert regression["estimate"]["waves"] > 0.5 > regression["estimate"][SHUFFLED] + 0.2
    assert scores_of(result, "r2", section=1)["estimate"]["waves"] > 0.9
    assert abs(scores_of(result, "r2", section=1)["estimate"][MAJORITY]) < 0.2
    assert result.predictions.query("readout == 'linear-regression'")["probabilities"].isna().all()
    # Both sections are one family of tests.
    compared = [pd.DataFrame(section["comparisons"]) for section in result.scores["sections"]]
    np.testing.assert_allclose(pd.concat(compared)["p_holm"], holm(pd.concat(compared)["p"]))
    below = footnotes(plain(result.scores), plain(result.scores["sections"][1]))[0]
    assert "the 4 comparisons of this probe's 2 tables" in below


def test_probabilities_belong_to_the_classes_that_are_stated(plan, rows) -> None:
    result = run_probe(plan(), [rows["label"]], jobs=1, draws=100)
    classes = np.array(result.scores["sections"][0]["classes"])
    table = result.predictions.query("row == 'label'")
    shares = np.stack(table["probabilities"].tolist())
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (classes[shares.argmax(axis=1)] == table["estimated"]).all()


def test_plan_knows_what_is_not_there(plan) -> None:
    with pytest.raises(InputError, match="mock has no label 'gener'; did you mean 'genre'"):
        plan(label="gener")
    with pytest.raises(InputError, match="seeds is 0"):
        plan(seeds=0)
    with pytest.raises(InputError, match="no split 'other'"):
        plan(splits=["other"])
