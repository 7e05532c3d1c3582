"""Scores of parts of the tracks: tempo by true bpm, pitch by register, and how far probabilities can be trusted.

Conventions
-----------
* A long table, one line for each ``row``, ``by`` (what is binned), ``bin`` and ``metric``, with the number of ``items``
  (tracks, but estimates for confidences) and the interval of the estimate over groups, as refitted as those of scores.
* ``ece`` is of all estimates, ``bin`` "all", and has no interval: drawn with repetition, items of a bin agree with its
  mean less well, so that a bootstrap of a calibration error lies above it.

References
----------
Expected calibration error: see :mod:`m2l2_mir.probe.genre`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.probe import genre, pitch, tempo
from m2l2_mir.probe.statistics import cluster_bootstrap

__all__ = ["BINNED", "binned_items", "binned_scores"]

DRAWS = 1000
COLUMNS = ("row", "by", "bin", "items", "metric", "estimate", "low", "high", "method", "groups", "reason")

# By module of metrics: what is binned, and the metrics that are shown for each bin.
BINNED: dict[str, tuple[str, tuple[str, ...]]] = {
    "pitch": ("octave", ("exact", "chroma", "absolute_error")),
    "tempo": ("bpm", ("acc1", "acc2", "oe1", "aoe1", "aoe2")),
}


def binned_scores(scores: Mapping[str, Any], section: Mapping[str, Any], predictions: pd.DataFrame) -> pd.DataFrame:
    """All rows of a section by bins.

    Parameters
    ----------
    scores, section
        Of :class:`m2l2_mir.probe.experiment.ProbeResult`, and one of its sections.
    predictions
        Of the same result.

    Returns
    -------
    pandas.DataFrame
        See the module's conventions; empty for keys, whose bins are those of the confusion.
    """
    inside = predictions[(predictions["split"] == section["split"]) & (predictions["readout"] == section["readout"])]
    lines: list[dict[str, Any]] = []
    for row in [row["name"] for row in scores["rows"]]:
        items = inside[inside["row"] == row].reset_index(drop=True)
        if scores["metrics"] in BINNED:
            table = binned_items(scores["metrics"], items, tested_per_trained=section["tested_per_trained"])
            lines += [
                {"row": row, **{str(key): value for key, value in line.items()}} for line in table.to_dict("records")
            ]
        elif scores["metrics"] == "genre" and len(items) and items["probabilities"].notna().all():
            lines += [{"row": row, **line} for line in _calibration(items, section["classes"])]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def binned_items(metrics: str, items: pd.DataFrame, *, tested_per_trained: float | None) -> pd.DataFrame:
    """Scores of one row by bins of the reference, from low to high.

    Parameters
    ----------
    metrics
        A key of ``BINNED``.
    items
        Columns ``seed``, ``track_id``, ``group``, ``reference`` and ``estimated``.
    tested_per_trained
        As in :func:`m2l2_mir.probe.statistics.cluster_bootstrap`.

    Examples
    --------
    >>> items = pd.DataFrame({"seed": 0, "track_id": ["a", "b"], "group": ["a", "b"], "reference": [59, 60]})
    >>> table = binned_items("pitch", items.assign(estimated=[59, 72]), tested_per_trained=1)
    >>> table.loc[table["metric"] == "exact", ["bin", "items", "estimate"]].to_numpy().tolist()
    [['3', 1, 1.0], ['4', 1, 0.0]]
    """
    by, shown = BINNED[metrics]
    module = {"pitch": pitch, "tempo": tempo}[metrics]
    reference = items["reference"].to_numpy()
    scores = module.per_item(reference, items["estimated"].to_numpy())
    numbers, names = module.bins_of(reference)
    return pd.DataFrame(
        [
            {"by": by, "bin": names[number], "items": items.loc[inside, "track_id"].nunique(), "metric": metric, **one}
            for number in np.unique(numbers).tolist()
            for inside in [numbers == number]
            for metric in shown
            for one in [_interval(items[inside], scores.loc[inside, metric], metric, tested_per_trained)]
        ]
    )


def _interval(items: pd.DataFrame, values: pd.Series[float], metric: str, ratio: float | None) -> dict[str, Any]:
    wide = items.assign(value=values).pivot(index="seed", columns="track_id", values="value")
    groups = items.drop_duplicates("track_id").set_index("track_id")["group"].loc[wide.columns]
    share = metric in ("exact", "chroma", "acc1", "acc2")
    interval = asdict(
        cluster_bootstrap(
            wide.to_numpy(),
            groups.to_numpy(dtype=object),
            tested_per_trained=ratio,
            bounds=(0, 1) if share else None,
            draws=DRAWS,
        )
    )
    return {name: interval[name] for name in ("estimate", "low", "high", "method", "groups", "reason")}


def _calibration(items: pd.DataFrame, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    probabilities: NDArray[np.float64] = np.stack(items["probabilities"].tolist()).astype(np.float64)
    arguments = (items["reference"].to_numpy(), probabilities, np.asarray(classes))
    none = {"low": math.nan, "high": math.nan, "method": "none", "groups": items["group"].nunique()}
    none |= {"by": "confidence", "reason": "no interval of a calibration error"}
    table = genre.reliability(*arguments)
    for number, line in zip(table.index.tolist(), table.to_dict("records"), strict=True):
        name = f"{number / genre.CALIBRATION_BINS:.2f}-{(number + 1) / genre.CALIBRATION_BINS:.2f}"
        for metric in ("confidence", "accuracy"):
            yield {**none, "bin": name, "items": int(line["items"]), "metric": metric, "estimate": line[metric]}
    error = genre.calibration_error(table)
    yield {**none, "bin": "all", "items": len(items), "metric": "ece", "estimate": error}
