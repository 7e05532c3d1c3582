"""What keeping groups apart takes away: the same tracks scored with artists, pieces or tunes on one side, and without.

Where tracks of one artist lie in training and test, a read-out can know the artist and not the genre; the difference
between the two splits is how much of a score is that [1]_.

Conventions
-----------
* Regularisation is selected by whole groups in both, so that the read-outs are the same and only what they have heard
  of the tested groups differs.
* Both splits test all tracks, so that differences are paired by track and averaged over seeds; a positive one is what
  the ungrouped split flatters. Intervals are over groups.

References
----------
.. [1] A. Flexer and D. Schnitzer, "Effects of album and artist filters in audio similarity computed for very large
   music databases", Computer Music Journal 34(3), 2010.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.dataset.recipe import SplitRecipe
from m2l2_mir.probe.comparison import paired_bootstrap
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.resampling import DRAWS
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.probe.studies import Study, line

__all__ = ["DIFFERENCE", "grouping", "paired_splits"]

DIFFERENCE = "difference"


def paired_splits(plan: Plan) -> tuple[str, str] | None:
    """Names of the first split of a plan that draws whole groups and the first that draws single tracks; None if both
    are not there.
    """
    splits: Mapping[str, SplitRecipe] = plan.dataset.recipe.splits
    drawn = [name for name in plan.manifests if splits[name].folds]
    grouped = [name for name in drawn if splits[name].grouped]
    single = [name for name in drawn if not splits[name].grouped]
    return (grouped[0], single[0]) if grouped and single else None


def grouping(plan: Plan, scores: Mapping[str, Any], predictions: pd.DataFrame, *, draws: int = DRAWS) -> Study | None:
    """Compare a split that keeps groups apart with one that does not.

    Parameters
    ----------
    plan
        Of the run.
    scores, predictions
        From :func:`m2l2_mir.probe.results.read_scores` and :func:`~m2l2_mir.probe.results.read_predictions`.
    draws
        Of the bootstrap.

    Returns
    -------
    Study or None
        Of kind "grouping"; None if the run has not both splits.
    """
    names = paired_splits(plan)
    if names is None:
        return None
    lines = []
    for readout in plan.recipe.readouts:
        lines += list(_compared(plan, scores, predictions[predictions["readout"] == readout], names, readout, draws))
    table = pd.DataFrame(lines)
    groups = next(iter(plan.manifests.values()))[0].table["group"]
    return Study(
        kind="grouping",
        probe=plan.name,
        title=f"{plan.recipe.title}: with and without groups on one side",
        model=scores["model"],
        sentence=_sentence(table, scores["model"], names),
        metric=plan.recipe.task(plan.recipe.readouts[0]).primary,
        x_label="split",
        table=table,
        notes=(
            f"{groups.nunique()} groups of {len(groups)} tracks, the largest of {groups.value_counts().iloc[0]}; "
            f"difference: {names[1]} less {names[0]}, paired by track; 95 % intervals over groups",
            *plan.notes,
        ),
        settings={**plan.settings, "splits": list(names), "draws": draws},
    )


def _compared(
    plan: Plan, scores: Mapping[str, Any], predictions: pd.DataFrame, names: tuple[str, str], readout: str, draws: int
) -> Iterator[dict[str, Any]]:
    task = plan.recipe.task(readout)
    metric = task.primary
    items = task.per_item(predictions["reference"].to_numpy(), predictions["estimated"].to_numpy())
    scored = predictions.assign(score=items[metric].to_numpy())
    part = f"read-out {readout}"
    ratio = max(
        section["tested_per_trained"]
        for section in scores["sections"]
        if section["split"] in names and section["readout"] == readout
    )
    for row in scores["rows"]:
        own = scored[scored["row"] == row["name"]]
        both = [_wide(own[own["split"] == name]) for name in names]
        groups = own.drop_duplicates("track_id").set_index("track_id")["group"].loc[both[0].columns].to_numpy(object)
        values: list[NDArray[np.float64]] = [one.reindex(columns=both[0].columns).to_numpy() for one in both]
        for name, one in zip(names, values, strict=True):
            interval = cluster_bootstrap(one, groups, tested_per_trained=ratio, bounds=task.bounds(metric), draws=draws)
            yield line(interval, part=part, row=row["name"], x=name, metric=metric)
        difference = paired_bootstrap(values[1], values[0], groups, tested_per_trained=ratio, draws=draws)
        yield line(difference.difference, part=part, row=row["name"], x=DIFFERENCE, metric=metric)


def _wide(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.pivot(index="seed", columns="track_id", values="score")


def _sentence(table: pd.DataFrame, model: str, names: tuple[str, str]) -> str:
    own = table[(table["row"] == model) & (table["part"] == table["part"].iloc[0])].set_index("x")
    apart, mixed, more = (own.loc[x] for x in (*names, DIFFERENCE))
    said = (
        "part of the ungrouped score is the group"
        if more["low"] > 0
        else "no gain from hearing the same group in training is shown"
    )
    return (
        f"{model}: {apart['metric']} {apart['estimate']:.2f} [{apart['low']:.2f}, {apart['high']:.2f}] with groups "
        f"kept apart, {mixed['estimate']:.2f} [{mixed['low']:.2f}, {mixed['high']:.2f}] without, difference "
        f"{more['estimate']:+.2f} [{more['low']:+.2f}, {more['high']:+.2f}]: {said}"
    )
