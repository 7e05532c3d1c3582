"""Scores of a section: all rows of one split and one read-out, on all metrics, and compared on the primary one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.probe.comparison import compare_rows, score_rows
from m2l2_mir.probe.fitting import FoldItems, Predicted
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.statistics import bootstrap_statistic
from m2l2_mir.probe.task import Task

__all__ = ["Section", "score_section"]

STATISTIC_DRAWS = 500  # of metrics that are no mean over items, each of which costs a call


@dataclass(frozen=True, kw_only=True)
class Section:
    """What all rows of one split and read-out share."""

    task: Task
    readout: str
    split: str
    places: NDArray[np.intp]  # of items among the tracks
    items: pd.DataFrame  # track_id, label, group
    usable: NDArray[np.bool_]
    folds: tuple[tuple[FoldItems, ...], ...]  # of each seed, usable items only
    tested: NDArray[np.bool_]  # whether or not usable
    targets: NDArray[Any]
    classes: NDArray[Any]

    @property
    def tested_per_trained(self) -> float:
        """Items tested for each item that fits of a seed learnt from; 1 where every fold is tested in its turn."""
        fits = self.folds[0]
        tested, trained = (
            np.unique(np.concatenate([getattr(fold, name) for fold in fits])) for name in ("test", "train")
        )
        return len(tested) / len(trained)


def score_section(
    section: Section,
    rows: Sequence[Row],
    predicted: Mapping[tuple[str, int], Predicted],
    table: pd.DataFrame,
    *,
    workers: int,
    draws: int,
) -> dict[str, Any]:
    """Scores of all rows on all metrics, comparisons on the primary one, and how the fits went."""
    task = section.task
    expected = section.items.loc[section.tested, ["track_id", "group"]]
    frames = []
    for (row, seed), one in predicted.items():
        reference = section.items["label"].to_numpy()[one.items]
        probabilities = None if one.probabilities is None else one.probabilities.astype(np.float64)
        items = task.per_item(reference, one.estimates, probabilities, section.classes)
        items.index = pd.Index(section.items["track_id"].to_numpy()[one.items])
        # Failed tracks stay, with nan, to be counted as expected.
        frames.append(expected.assign(row=row, seed=seed).join(items, on="track_id"))
    items = pd.concat(frames, ignore_index=True)
    lines = [
        {"metric": metric, **line, "low": max(line["low"], 0.0) if task.is_size(metric) else line["low"]}
        for metric in task.metric_names
        if metric not in task.statistics
        for line in score_rows(
            items, metric, tested_per_trained=section.tested_per_trained, bounds=task.bounds(metric), draws=draws
        ).to_dict("records")
    ]
    names = [row.name for row in rows]
    fits = sum(len(folds) for folds in section.folds)
    statistics = joblib.Parallel(n_jobs=workers)(
        joblib.delayed(_statistic)(
            task, metric, part, len(expected), section.tested_per_trained, min(draws, STATISTIC_DRAWS)
        )
        for metric in task.statistics
        for part in _coded(table, names)
    )
    compared = compare_rows(items, names[0], task.primary, tested_per_trained=section.tested_per_trained, draws=draws)
    return {
        "split": section.split,
        "readout": section.readout,
        "primary": task.primary,
        "expected": len(expected),
        "scored": int((section.tested & section.usable).sum()),
        "training_items": int(np.median([len(fold.train) for seed in section.folds for fold in seed])),
        "tested_per_trained": section.tested_per_trained,
        "left_out": _left_out(section, rows),
        "classes": [] if task.regression else section.classes.tolist(),
        "scores": [*lines, *statistics],
        "comparisons": compared.to_dict("records"),
        "fits": {
            row.name: {"number": fits} | _fits([predicted[row.name, seed] for seed in range(len(section.folds))])
            for row in rows
        },
    }


def _coded(table: pd.DataFrame, names: Sequence[str]) -> Iterator[pd.DataFrame]:
    """References and estimates of each row, classes as integers: quicker to count."""
    columns = table[["row", "seed", "group", "reference", "estimated"]].copy()
    if not pd.api.types.is_numeric_dtype(columns["reference"]):
        classes = pd.unique(pd.concat([columns["reference"], columns["estimated"]]))
        for column in ("reference", "estimated"):
            columns[column] = pd.Index(classes).get_indexer(pd.Index(columns[column]))
    for name in names:
        yield columns[columns["row"] == name]


def _statistic(
    task: Task, metric: str, items: pd.DataFrame, expected: int, tested_per_trained: float, draws: int
) -> dict[str, Any]:
    function = task.statistics[metric]
    by_seed = [function(part) for _, part in items.groupby("seed")]
    interval = bootstrap_statistic(
        function,
        items[["reference", "estimated"]],
        items["group"],
        tested_per_trained=tested_per_trained,
        of_seeds=by_seed,
        bounds=task.bounds(metric),
        draws=draws,
    )
    return {
        "metric": metric,
        "row": items["row"].iloc[0],
        **asdict(interval),
        "scored": len(items) // len(by_seed),
        "expected": expected,
        "seed_std": float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else float("nan"),
        "seeds": len(by_seed),
    }


def _left_out(section: Section, rows: Sequence[Row]) -> list[dict[str, str]]:
    """Every track that failed, with the rows that it failed in and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.kind != "control":
            for item in np.flatnonzero(~section.usable):
                if reason := row.failed.get(int(section.places[item])):
                    found.setdefault((section.items["track_id"].iloc[item], reason), []).append(row.name)
    return [{"track_id": track, "reason": why, "rows": ", ".join(names)} for (track, why), names in found.items()]


def _fits(fits: Sequence[Predicted]) -> dict[str, Any]:
    """What the inner folds selected, and what was warned of in how many fits."""
    return {
        "selected": sorted(value for one in fits for value in one.selected),
        "warnings": dict(sum((one.warned for one in fits), start=type(fits[0].warned)())),
    }
