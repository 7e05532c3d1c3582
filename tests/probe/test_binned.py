"""Scores by bins: hand-worked ones, their intervals, and where they are written."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.probe import genre
from m2l2_mir.probe.binned import binned_items
from m2l2_mir.probe.experiment import run_probe
from m2l2_mir.probe.results import read_predictions, write_result
from m2l2_mir.probe.statistics import cluster_bootstrap


def test_worked_bins() -> None:
    tracks = list("abcd")
    items = pd.DataFrame({"seed": 0, "track_id": tracks, "group": tracks, "reference": [83, 60, 71, 84]})
    table = binned_items("pitch", items.assign(estimated=[83, 48, 73, 84]), tested_per_trained=1)
    wide = table.pivot(index="bin", columns="metric", values="estimate")
    assert wide.index.tolist() == ["4", "5", "6"]
    assert wide["exact"].tolist() == [0, 1, 1]
    assert wide["chroma"].tolist() == [0.5, 1, 1]
    assert wide["absolute_error"].tolist() == [7, 0, 0]
    assert table.drop_duplicates("bin")["items"].tolist() == [2, 1, 1]
    # By value and not by name: < 60 before 60-75 before 110-125.
    tempi = items.assign(reference=[110.0, 60, 50, 50], estimated=[110.0, 60, 50, 100])
    table = binned_items("tempo", tempi, tested_per_trained=1)
    assert table.loc[table["metric"] == "acc1", "estimate"].tolist() == [0.5, 1, 1]
    assert table["bin"].unique()[:2].tolist() == ["< 60", "60-75"]
    # Signed: slow music taken for fast, and fast for slow.
    pulled = items.assign(reference=[50.0, 50, 200, 200], estimated=[100.0, 50, 100, 100])
    table = binned_items("tempo", pulled, tested_per_trained=1)
    assert table.loc[table["metric"] == "oe1", "estimate"].tolist() == [0.5, -1]


def test_intervals_are_for_other_tracks_to_train_on_too(rng: np.random.Generator) -> None:
    reference = np.full(60, 100.0)
    estimated = np.where(rng.random(60) < 0.6, 100.0, 150.0)
    tracks = [f"t{number:02}" for number in range(60)]
    items = pd.DataFrame({"seed": 0, "track_id": tracks, "group": tracks, "reference": reference})
    table = binned_items("tempo", items.assign(estimated=estimated), tested_per_trained=1)
    [line] = table[table["metric"] == "acc1"].to_dict("records")
    right = (estimated == reference).astype(float)
    wanted = cluster_bootstrap(right, tracks, tested_per_trained=1, bounds=(0, 1), draws=1000)
    assert (line["low"], line["high"]) == (wanted.low, wanted.high)
    given = cluster_bootstrap(right, tracks, bounds=(0, 1), draws=1000)
    assert line["high"] - line["low"] > 1.2 * (given.high - given.low)


def test_they_are_written_beside_the_scores(plan, rows, tmp_path) -> None:
    write_result(tmp_path, run_probe(plan("tempo", readouts=["linear"]), [rows["noise"]], jobs=1, draws=100))
    table = pd.read_csv(tmp_path / "tempo" / "binned.csv")
    assert set(table["row"]) == {"noise", "shuffled labels", "majority"}
    assert set(table["by"]) == {"bpm"}
    [section, *_] = json.loads((tmp_path / "tempo" / "scores.json").read_text())["sections"]
    own = [line for line in section["binned"] if (line["row"], line["metric"]) == ("noise", "acc1")]
    whole = next(line for line in section["scores"] if (line["row"], line["metric"]) == ("noise", "acc1"))
    assert sum(line["items"] for line in own) == 120
    assert np.average([line["estimate"] for line in own], weights=[line["items"] for line in own]) == pytest.approx(
        whole["estimate"]
    )


def test_calibration_is_written(plan, rows, tmp_path) -> None:
    write_result(tmp_path, run_probe(plan(), [rows["noise"]], jobs=1, draws=100))
    table = pd.read_csv(tmp_path / "genre" / "binned.csv").set_index(["row", "metric", "bin"])
    predictions = read_predictions(tmp_path, "genre")
    own = predictions[predictions["row"] == "noise"]
    probabilities = np.stack(own["probabilities"].tolist()).astype(float)
    scores = genre.evaluate(own["reference"], own["estimated"], probabilities, ["jig", "reel", "waltz"])
    assert table.loc[("noise", "ece", "all"), "estimate"] == pytest.approx(scores["ece"])
    shares = table.xs("accuracy", level="metric").loc["noise"]
    assert np.average(shares["estimate"], weights=shares["items"]) == pytest.approx(scores["accuracy"])
