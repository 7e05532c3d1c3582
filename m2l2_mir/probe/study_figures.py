"""Figures of studies: how far estimates follow, learning curves, and what keeping groups apart takes away.

Conventions
-----------
* Drawn are the models, and of the other rows the best hand-made ones and one that shows what is no music: six lines at
  most. The tables have all rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from m2l2_mir.probe.grouping import DIFFERENCE
from m2l2_mir.probe.studies import Study
from m2l2_mir.probe.task_figures import ProbeFigure
from m2l2_mir.report.curve_figures import curves
from m2l2_mir.report.score_figures import Bar, score_bars

__all__ = ["study_figures"]

MOST = 5  # rows that are drawn beside the model


def study_figures(study: Study) -> list[ProbeFigure]:
    """Draw a study, one figure or two for each of its parts."""
    drawn = []
    for number, part in enumerate(study.table["part"].unique(), start=1):
        inside = study.table[study.table["part"] == part]
        drawn += [
            ProbeFigure(name=f"{study.kind}-{one.name}-{number}", figure=one.figure, caption=f"{part}: {one.caption}")
            for one in _FIGURES[study.kind](study, inside)
        ]
    return drawn


def _equivariance(study: Study, part: pd.DataFrame) -> list[ProbeFigure]:
    stretched = study.x_label.startswith("factor")
    found = []
    for metric in part["metric"].unique():
        lines = _numbered(part[part["metric"] == metric])
        if lines.empty:
            continue
        lines = _with_origin(lines, part, metric, stretched=stretched)
        unit = "octaves" if stretched else "semitones"
        share = metric != "error"
        figure = curves(
            _picked(lines, study.model, reverse=share),
            label=f"share: {metric}" if share else f"median error, {unit}",
            x_label=study.x_label,
            logarithmic=stretched,
            limits=(0.0, 1.0) if share else None,
            level=None if share else 0.0,
        )
        own = lines[lines["row"] == study.model]
        sizes = own["estimate"] if share else own["estimate"].abs()
        (low, least), (high, most) = (own.iloc[int(at)][["x", "estimate"]] for at in (sizes.argmin(), sizes.argmax()))
        ends = ("lowest", "highest") if share else ("smallest", "largest")
        caption = (
            f"{metric} of {study.model} by {study.x_label}, {ends[0]} at {low:g} ({least:.2f}) and "
            f"{ends[1]} at {high:g} ({most:.2f})"
        )
        found.append(ProbeFigure(name=metric, figure=figure, caption=caption))
    return found


def _learning_curve(study: Study, part: pd.DataFrame) -> list[ProbeFigure]:
    lines = _numbered(part)
    bounded = bool((lines["estimate"] <= 1).all() and (lines["estimate"] >= 0).all())
    figure = curves(
        _picked(lines, study.model, reverse=True),
        label=study.metric,
        x_label=study.x_label,
        logarithmic=True,
        limits=(0.0, 1.0) if bounded else None,
    )
    return [ProbeFigure(name="rows", figure=figure, caption=study.sentence)]


def _grouping(study: Study, part: pd.DataFrame) -> list[ProbeFigure]:
    splits = [x for x in part["x"].unique() if x != DIFFERENCE]
    kept = part[part["x"] != DIFFERENCE]
    means = kept.groupby("row")["estimate"].mean().drop(study.model).sort_values(ascending=False)
    bars = [
        Bar(name=f"{row}, {split}", estimate=one["estimate"], low=one["low"], high=one["high"], kind=split)
        for row in (study.model, *means.index[:MOST])
        for split in splits
        for one in kept[(kept["row"] == row) & (kept["x"] == split)].to_dict("records")
    ]
    figure = score_bars(bars, label=f"{study.metric}, with 95 % intervals", kinds={name: name for name in splits})
    return [ProbeFigure(name="splits", figure=figure, caption=study.sentence)]


_FIGURES: dict[str, Callable[[Study, pd.DataFrame], list[ProbeFigure]]] = {
    "equivariance": _equivariance,
    "learning-curve": _learning_curve,
    "grouping": _grouping,
}


def _numbered(lines: pd.DataFrame) -> pd.DataFrame:
    """Lines whose place on the axis is a number; summaries have none."""
    number = lines["x"].map(lambda x: not isinstance(x, str))
    return lines[number].assign(x=lambda kept: kept["x"].astype(np.float64))


def _with_origin(lines: pd.DataFrame, part: pd.DataFrame, metric: str, *, stretched: bool) -> pd.DataFrame:
    """The unaltered tracks among the altered ones, where a metric is known of them."""
    origin = part[(part["metric"] == metric) & part["x"].map(lambda x: x == "unaltered")]
    return pd.concat([lines, origin.assign(x=1.0 if stretched else 0.0)]).astype({"x": np.float64})


def _picked(lines: pd.DataFrame, model: str, *, reverse: bool) -> pd.DataFrame:
    """The model first, then the rows with the highest last estimates (or the smallest errors), in that order."""
    size = lines["estimate"] if reverse else -lines["estimate"].abs()
    means = size.groupby(lines["row"]).mean().drop(model).sort_values(ascending=False)
    rows = [model, *means.index[:MOST]]
    place = {row: number for number, row in enumerate(rows)}
    return lines[lines["row"].isin(rows)].sort_values("row", key=lambda column: column.map(place), kind="stable")
