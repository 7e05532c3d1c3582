"""Results are written whole, read back, found again by the same settings only, and set side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe.experiment import run_probe, settings_of
from m2l2_mir.probe.results import finished, read_predictions, read_scores, write_result
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.side_by_side import compare_runs
from m2l2_mir.probe.tables import latex, section_table


@pytest.fixture(scope="module")
def result(plan, rows):
    return run_probe(plan(), list(rows.values()), jobs=1, draws=200)


def test_what_is_written_is_read(result, tmp_path) -> None:
    folder = write_result(tmp_path, result)
    assert sorted(path.name for path in folder.iterdir()) == [
        "predictions.parquet",
        "scores.csv",
        "scores.json",
        "table.md",
        "table.tex",
    ]
    pd.testing.assert_frame_equal(
        read_predictions(tmp_path, "genre").drop(columns="probabilities"),
        result.predictions.drop(columns="probabilities"),
    )
    scores = read_scores(tmp_path)["genre"]
    assert scores["sentence"].startswith("label: genre accuracy 1.00 [1.00, 1.00]; above shuffled labels (.")
    long = pd.read_csv(folder / "scores.csv")
    primary = long[(long["row"] == "noise") & (long["metric"] == "accuracy")].iloc[0]
    assert primary["estimate"] - 1 == pytest.approx(primary["difference"])
    assert "label" in (tmp_path / "table.md").read_text()


def test_only_the_same_settings_are_finished(plan, rows, result, tmp_path) -> None:
    both = list(rows.values())
    write_result(tmp_path, result)
    same = settings_of(plan(), both, draws=200)
    assert finished(tmp_path, "genre", same) is not None
    other_row = replace(rows["label"], provenance={"made": "otherwise"})
    for other in (
        settings_of(plan(folds=4), both, draws=200),
        settings_of(plan(readouts=["knn"]), both, draws=200),
        settings_of(plan(), [other_row, rows["noise"]], draws=200),
    ):
        assert finished(tmp_path, "genre", other) is None
    # A run that was killed while it wrote leaves no scores.json.
    (tmp_path / "genre" / "scores.json").unlink()
    assert finished(tmp_path, "genre", same) is None


def test_damaged_results_are_named(result, tmp_path) -> None:
    with pytest.raises(InputError, match="holds no results"):
        read_scores(tmp_path)
    folder = write_result(tmp_path, result)
    (folder / "scores.json").write_text("{")
    with pytest.raises(InputError, match=r"scores\.json cannot be read"):
        read_scores(tmp_path)


def test_tables_show_intervals_and_how_many_were_scored(result) -> None:
    scores = json.loads(json.dumps(result.scores, default=str).replace("NaN", "null"))
    table = section_table(scores, scores["sections"][0]).set_index("row")
    assert table.loc["label", "accuracy"] == "1.000 [1.000, 1.000]"
    assert table.loc["noise", "scored"] == "120 of 120"
    assert table.loc["noise", "less the model"].startswith("-0.")
    text = latex(scores)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"macro\_f1" in text
    assert "95 %" not in text.replace(r"95 \%", "")


def test_two_runs_side_by_side(plan, rows, result, rng, tmp_path) -> None:
    write_result(tmp_path / "before", result)
    worse = rows["label"].load(0) + rng.normal(size=(120, 8)).astype(np.float32)
    model = Row(name="worse", kind="model", width=8, load=lambda _: worse)
    write_result(tmp_path / "after", run_probe(plan(), [model, rows["noise"]], jobs=1, draws=200))
    [both] = compare_runs(tmp_path / "before", tmp_path / "after")
    table = both.table.set_index(["first", "second"])
    assert table.index[0] == ("label", "worse")
    assert table.loc[("label", "worse"), "difference"] == pytest.approx(
        table.loc[("label", "worse"), "second_score"] - 1
    )
    assert table.loc[("label", "worse"), "mark"] == ""
    # The same vectors on the same folds: nothing differs.
    assert table.loc[("noise", "noise"), ["difference", "mark"]].tolist() == [0, "not distinguishable"]
    write_result(tmp_path / "after", run_probe(plan(folds=4), [model], jobs=1, draws=200))
    with pytest.raises(InputError, match="tracks, folds or number of seeds differ"):
        compare_runs(tmp_path / "before", tmp_path / "after")
