"""Results are written whole, read back, found again by the same settings only, and set side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe import experiment
from m2l2_mir.probe.comparison import paired_bootstrap
from m2l2_mir.probe.experiment import run_probe, settings_of
from m2l2_mir.probe.results import finished, plain, read_predictions, read_scores, refuse_other, write_result
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.side_by_side import compare_runs
from m2l2_mir.probe.tables import footnotes, latex, markdown, section_table
from m2l2_mir.probe.wording import sentence


@pytest.fixture(scope="module")
def result(plan, rows):
    return run_probe(plan(), list(rows.values()), jobs=1, draws=200)


def test_what_is_written_is_read(result, tmp_path) -> None:
    folder = write_result(tmp_path, result)
    assert sorted(path.name for path in folder.iterdir()) == [
        "binned.csv",
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
    assert scores["sentence"].startswith(
        "label: genre accuracy 1.00 [.83, 1.00] (exact interval over 40 groups); above shuffled labels (."
    )
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


def test_other_settings_are_refused_by_name(plan, rows, result, tmp_path) -> None:
    refuse_other(tmp_path, "genre", {"seeds": 3})  # nothing there
    write_result(tmp_path, result)
    both = list(rows.values())
    refuse_other(tmp_path, "genre", settings_of(plan(), both, draws=200))
    refuse_other(tmp_path, "genre", {"seeds": 2, "label": "genre"})  # as far as they are known
    renamed = replace(rows["noise"], name="other noise")
    changed = replace(rows["label"], provenance={"made": "otherwise"})
    for settings, message in (
        ({"seeds": 3}, r"\(seeds: 2 in the folder, 3 asked for\): choose another --out, or .* --overwrite"),
        (
            settings_of(plan(readouts=["knn"]), both, draws=200),
            r'recipe.readouts: \["linear"\] in the folder, \["knn"\]',
        ),
        (settings_of(plan(), [rows["label"], renamed], draws=200), "row 'noise' only in the folder; .* only asked for"),
        (settings_of(plan(), [changed, rows["noise"]], draws=200), """row 'label'.made: "of labels" in the folder"""),
    ):
        with pytest.raises(InputError, match=message):
            refuse_other(tmp_path, "genre", settings)


def test_damaged_results_are_named(result, tmp_path) -> None:
    with pytest.raises(InputError, match="holds no results"):
        read_scores(tmp_path)
    folder = write_result(tmp_path, result)
    (folder / "scores.json").write_text("{")
    assert finished(tmp_path, "genre", {}) is None
    with pytest.raises(InputError, match="again with --overwrite"):
        refuse_other(tmp_path, "genre", {})
    with pytest.raises(InputError, match=r"scores\.json cannot be read"):
        read_scores(tmp_path)


def test_tables_show_intervals_and_how_many_were_scored(result) -> None:
    scores = json.loads(json.dumps(result.scores, default=str).replace("NaN", "null"))
    table = section_table(scores, scores["sections"][0]).set_index("row")
    assert table.loc["label", "accuracy"] == "1.000 [0.832, 1.000]"
    assert table.loc["noise", "scored"] == "120 of 120"
    [line] = [line for line in scores["sections"][0]["comparisons"] if line["row"] == "noise"]
    assert table.loc["noise", "less the model"] == "{difference:+.3f} [{low:+.3f}, {high:+.3f}]".format(**line)
    text = latex(scores)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"macro\_f1" in text
    assert "95 %" not in text.replace(r"95 \%", "")


def test_tables_tell_of_fits_that_went_badly(result) -> None:
    scores = plain(result.scores)
    [section] = scores["sections"]
    assert not [note for note in footnotes(scores, section) if "warned" in note]
    for row, count in (("noise", 2), ("shuffled labels", 6)):
        assert section["fits"][row]["number"] == 6  # two seeds of three folds
        section["fits"][row]["warnings"] = {"the weakest penalty offered scored best": count}
    line = "warned of in fits of shuffled labels (6 of 6), noise (2 of 6): the weakest penalty offered scored best"
    assert line in footnotes(scores, section)
    assert line in markdown(scores)


def test_patch_releases_are_stated_and_not_compared(plan, rows, result, tmp_path, monkeypatch) -> None:
    write_result(tmp_path, result)
    installed = experiment.version
    for patched, same in (("{}.999", True), ("9.{}", False)):
        monkeypatch.setattr(
            experiment,
            "version",
            lambda name, patched=patched: patched.format(".".join(installed(name).split(".")[:2])),
        )
        settings = settings_of(plan(), list(rows.values()), draws=200)
        assert (finished(tmp_path, "genre", settings) is not None) is same
        assert "torch" in settings["versions"]
    [scores] = read_scores(tmp_path).values()
    assert scores["environment"]["versions"]["numpy"] == np.__version__
    assert f"numpy {np.__version__}" in (tmp_path / "genre" / "table.md").read_text()


def test_tables_do_not_say_that_rows_are_equal(plan, rows, rng) -> None:
    """Nine groups, and a row that differs from the model in three tracks."""
    near = rows["label"].load(0).copy()
    near[:3, :3] = near[:3, [1, 2, 0]]
    alike = Row(name="near", kind="model", width=8, load=lambda _: near, failed=dict.fromkeys(range(27, 120), "gone"))
    result = run_probe(plan(seeds=1, folds=2), [rows["label"], alike], jobs=1, draws=100)
    scores = json.loads(json.dumps(result.scores, default=str).replace("NaN", "null"))
    [section] = scores["sections"]
    table = section_table(scores, section).set_index("row")
    assert table.loc["near", "less the model"].endswith("] n.s.")
    assert table.loc["near", "scored"] == "27 of 120"
    assert table.loc["near", "sd of seeds"] == ""
    said = "\n".join(footnotes(scores, section))
    assert "'n.s.': not distinguishable, which does not say equal" in said
    assert "9 groups, fewer than 20: t interval over groups" in said
    assert "not distinguishable from near" in sentence(scores)
    assert "(t interval over 9 groups), 27 of 120 tracks scored" in sentence(scores) or "1.00" in sentence(scores)


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
    # The same vectors on the same folds: nothing differs, and nothing is tested.
    assert table.loc[("noise", "noise"), ["difference", "mark"]].tolist() == [0, "identical"]
    assert table.loc[("majority", "majority"), "mark"] == "identical"
    # Shuffled labels of the two models differ, and are no question of this comparison.
    assert table.loc[("shuffled labels", "shuffled labels"), "mark"] == "not tested"
    # The two models are the whole family: their p is that of one test.
    ours, theirs = (read_predictions(tmp_path / run, "genre") for run in ("before", "after"))
    right = [
        one[one["row"] == row]
        .assign(right=lambda t: t["reference"] == t["estimated"])
        .pivot(index="seed", columns="track_id", values="right")
        for one, row in ((ours, "label"), (theirs, "worse"))
    ]
    groups = ours.drop_duplicates("track_id").set_index("track_id")["group"].loc[right[0].columns]
    alone = paired_bootstrap(right[1], right[0], groups.to_numpy(), tested_per_trained=1)
    assert table.loc[("label", "worse"), "p_holm"] == alone.p
    write_result(tmp_path / "after", run_probe(plan(folds=4), [model], jobs=1, draws=200))
    with pytest.raises(InputError, match="tracks, folds or number of seeds differ"):
        compare_runs(tmp_path / "before", tmp_path / "after")
