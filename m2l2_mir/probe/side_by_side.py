"""Two runs of the same probes beside each other, row by row, on the very same tracks, folds and seeds.

Conventions
-----------
* What is asked is whether the models differ: pairs of models are tested, and they alone are the family that p-values
  are adjusted over. Other pairs stand beside them with their intervals, untested.
* Pairs whose every estimate is the same, as of hand-made rows in both runs, are "identical": there is nothing to test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.probe.comparison import ALPHA, NOT_DISTINGUISHABLE, NOT_TESTED, holm, paired_bootstrap
from m2l2_mir.probe.results import read_predictions, read_scores
from m2l2_mir.probe.task import Task, is_regression

__all__ = ["IDENTICAL", "SideBySide", "compare_runs"]

IDENTICAL = "identical"


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """One probe in two runs.

    Parameters
    ----------
    probe, split, readout, metric
        What is compared: the first section, by its primary metric.
    table
        One line for each pair of rows, first the two models: ``first``, ``second`` (their names), ``first_score``,
        ``second_score``, ``difference`` (second less first), ``low``, ``high``, ``p_holm``, ``mark``: "identical",
        "not tested", "not distinguishable" or nothing.
    """

    probe: str
    split: str
    readout: str
    metric: str
    table: pd.DataFrame


def compare_runs(first: Path, second: Path) -> list[SideBySide]:
    """Compare the probes that both folders hold.

    Raises
    ------
    InputError
        No probe is in both, or tracks, folds or seeds of one differ.
    """
    ours, theirs = read_scores(first), read_scores(second)
    shared = [probe for probe in ours if probe in theirs]
    if not shared:
        raise InputError(f"no probe is in both folders: {', '.join(ours)} and {', '.join(theirs)}")
    return [_compared(probe, (first, ours[probe]), (second, theirs[probe])) for probe in shared]


def _compared(probe: str, one: tuple[Path, Mapping[str, Any]], other: tuple[Path, Mapping[str, Any]]) -> SideBySide:
    section, opposite = one[1]["sections"][0], other[1]["sections"][0]
    for key in ("split", "readout", "primary"):
        if section[key] != opposite[key]:
            raise InputError(f"{probe}: {key} is {section[key]!r} in {one[0]} and {opposite[key]!r} in {other[0]}")
    split = section["split"]
    if one[1]["settings"]["manifests"][split] != other[1]["settings"]["manifests"][split]:
        raise InputError(
            f"{probe}: tracks, folds or number of seeds differ between {one[0]} and {other[0]}; run both with the same "
            "--dataset, --size, --split, --folds and --seeds"
        )
    left_run, right_run = (_estimates(folder, probe, scores) for folder, scores in (one, other))
    groups = left_run.groups
    if not groups.index.equals(right_run.groups.index):
        raise InputError(
            f"{probe}: {len(groups)} and {len(right_run.groups)} tracks are scored in {one[0]} and {other[0]}, not "
            "the same ones; see left_out in their scores.json"
        )
    models = (one[1]["model"], other[1]["model"])
    names = [row["name"] for row in one[1]["rows"] if row["name"] in right_run.values]
    kinds = {row["name"]: row["kind"] for scores in (one[1], other[1]) for row in scores["rows"]}
    lines = []
    for left, right in dict.fromkeys([models, *((name, name) for name in names)]):
        same = np.array_equal(left_run.estimated[left], right_run.estimated[right])
        ours, theirs = left_run.values[left], right_run.values[right]
        result = paired_bootstrap(theirs, ours, groups.to_numpy(), tested_per_trained=section["tested_per_trained"])
        lines.append(
            {
                "first": left,
                "second": right,
                "first_score": float(np.mean(ours)),
                "second_score": float(np.mean(theirs)),
                "difference": result.difference.estimate,
                "low": result.difference.low,
                "high": result.difference.high,
                "p": result.p if kinds[left] == kinds[right] == "model" and not same else np.nan,
                "same": same,
            }
        )
    table = pd.DataFrame(lines)
    table["p_holm"] = holm(table.pop("p"))
    unsure = np.where(table["p_holm"] >= ALPHA, NOT_DISTINGUISHABLE, "")
    untested = np.where(table.pop("same"), IDENTICAL, NOT_TESTED)
    table["mark"] = np.where(table["p_holm"].isna(), untested, unsure)
    return SideBySide(probe=probe, split=split, readout=section["readout"], metric=section["primary"], table=table)


@dataclass(frozen=True, kw_only=True)
class _Estimates:
    """By row: estimates and their primary metric, each [seeds, tracks]; and the group of each track."""

    estimated: Mapping[str, NDArray[Any]]
    values: Mapping[str, NDArray[np.float64]]
    groups: pd.Series[Any]


def _estimates(folder: Path, probe: str, scores: Mapping[str, Any]) -> _Estimates:
    section = scores["sections"][0]
    table = read_predictions(folder, probe)
    table = table[(table["split"] == section["split"]) & (table["readout"] == section["readout"])]
    task = Task(metrics=scores["metrics"], regression=is_regression(section["readout"]))
    items = task.per_item(table["reference"].to_numpy(), table["estimated"].to_numpy())
    table = table.assign(score=items[section["primary"]].to_numpy())
    scored, estimated = (
        table.pivot(index=["row", "seed"], columns="track_id", values=column) for column in ("score", "estimated")
    )
    rows = table["row"].unique()
    return _Estimates(
        estimated={row: estimated.loc[row].to_numpy() for row in rows},
        values={row: scored.loc[row].to_numpy() for row in rows},
        groups=table.drop_duplicates("track_id").set_index("track_id")["group"].reindex(scored.columns),
    )
