"""What the estimates of one row look like beside the true labels, for each kind of label.

Conventions
-----------
* ``items`` are the predictions of one section and one row: a line for each seed and track. Shares count all of them;
  bars have 95 % intervals over groups of tracks, as in :mod:`m2l2_mir.probe.binned`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from m2l2_mir.probe import genre, key, pitch, tempo
from m2l2_mir.probe.binned import binned_items
from m2l2_mir.report.label_figures import confusion_map, error_histogram, reliability_plot, tempo_plot
from m2l2_mir.report.score_figures import binned_bars

__all__ = ["ProbeFigure", "task_figures"]


@dataclass(frozen=True, kw_only=True)
class ProbeFigure:
    """A figure, its name among those of a section, and a sentence that says what is seen."""

    name: str
    figure: Figure
    caption: str


def task_figures(
    metrics: str, items: pd.DataFrame, classes: Sequence[str], *, tested_per_trained: float | None = None
) -> list[ProbeFigure]:
    """Draw the estimates of one row.

    Parameters
    ----------
    metrics
        "key", "pitch", "tempo" or "genre".
    items
        Columns ``seed``, ``track_id``, ``group``, ``reference``, ``estimated`` and ``probabilities``.
    classes
        That probabilities are of.
    tested_per_trained
        As in :func:`m2l2_mir.probe.statistics.cluster_bootstrap`.
    """
    return _FIGURES[metrics](items.reset_index(drop=True), classes, tested_per_trained)


def _key(items: pd.DataFrame, *_: object) -> list[ProbeFigure]:
    scores = key.evaluate(items["reference"], items["estimated"])
    counts = key.circle_of_fifths_confusion(items["reference"], items["estimated"])
    caption = (
        f"{scores['accuracy']:.0%} of the keys are right, {scores['fifth']:.0%} a fifth off (beside the diagonal), "
        f"{scores['relative']:.0%} the relative and {scores['parallel']:.0%} the parallel key; along the circle of "
        "fifths, major keys first"
    )
    return [ProbeFigure(name="confusion", figure=confusion_map(counts, blocks=[12]), caption=caption)]


def _genre(items: pd.DataFrame, classes: Sequence[str], _: float | None) -> list[ProbeFigure]:
    counts = genre.confusion(items["reference"], items["estimated"])
    errors = counts.to_numpy() * (1 - np.eye(len(counts), dtype=np.int64))
    true, taken = divmod(int(errors.argmax()), len(counts))
    recall = np.diag(counts) / counts.sum(axis=1).where(lambda total: total > 0)
    caption = f"{recall.idxmax()} is named best ({recall.max():.0%} of its clips), {recall.idxmin()} worst"
    caption += f" ({recall.min():.0%})"
    if recall.min() == recall.max():
        caption = f"{recall.max():.0%} of the clips are right in every class"
    if errors.any():
        share = errors[true, taken] / counts.iloc[true].sum()
        caption += f"; the most frequent error takes {counts.index[true]} for {counts.columns[taken]} ({share:.0%})"
    found = [ProbeFigure(name="confusion", figure=confusion_map(counts), caption=caption)]
    if items["probabilities"].notna().all():
        probabilities = np.stack(items["probabilities"].tolist()).astype(np.float64)
        table = genre.reliability(items["reference"], probabilities, classes)
        gap = float(((table["confidence"] - table["accuracy"]) * table["items"]).sum() / table["items"].sum())
        error = genre.calibration_error(table)
        said = "too sure" if gap > 0 else "not sure enough"
        caption = (
            f"the read-out is {said} by {abs(gap):.2f} on average, its expected calibration error {error:.2f}; "
            "a dot's area is the number of its estimates"
        )
        found.append(ProbeFigure(name="calibration", figure=reliability_plot(table), caption=caption))
    return found


def _pitch(items: pd.DataFrame, _: Sequence[str], ratio: float | None) -> list[ProbeFigure]:
    means = pitch.evaluate(items["reference"], items["estimated"])
    errors = pitch.per_item(items["reference"], items["estimated"])["error"].to_numpy()
    caption = (
        f"{means['exact']:.0%} of {len(items)} estimates are exact, {means['within_semitone']:.0%} within a semitone "
        f"and {means['octave_error']:.0%} in the wrong octave (blue bars beside 0)"
    )
    histogram = error_histogram(errors, label="estimated less true, semitones")
    table = _bars("pitch", items, {"exact": "exact", "chroma": "chroma"}, ratio)
    return [
        ProbeFigure(name="errors", figure=histogram, caption=caption),
        ProbeFigure(
            name="register",
            figure=binned_bars(table, label="share right", x_label="octave of the true pitch; tracks"),
            caption=f"{_ends(table, 'exact', 'octave {}')}; octave 4 begins at C4, and chroma counts the pitch class "
            "alone",
        ),
    ]


def _tempo(items: pd.DataFrame, _: Sequence[str], ratio: float | None) -> list[ProbeFigure]:
    reference, estimated = (items[name].to_numpy(dtype=np.float64) for name in ("reference", "estimated"))
    scores = tempo.evaluate(reference, estimated)
    acc1, acc2 = scores["acc1"], scores["acc2"]
    caption = (
        f"{acc1:.0%} of {len(items)} estimates lie within 4 % of the true tempo, {acc2 - acc1:.0%} more on a line "
        "where a metrical level is taken for another"
    )
    table = _bars("tempo", items, {"acc1": "Acc1", "acc2": "Acc2"}, ratio)
    return [
        ProbeFigure(name="tempi", figure=tempo_plot(reference, estimated), caption=caption),
        ProbeFigure(
            name="bpm",
            figure=binned_bars(table, label="share right", x_label="true bpm; tracks"),
            caption=_ends(table, "Acc1", "{} bpm"),
        ),
    ]


_FIGURES: dict[str, Callable[[pd.DataFrame, Sequence[str], float | None], list[ProbeFigure]]] = {
    "key": _key,
    "pitch": _pitch,
    "tempo": _tempo,
    "genre": _genre,
}


def _bars(metrics: str, items: pd.DataFrame, series: Mapping[str, str], ratio: float | None) -> pd.DataFrame:
    """What :func:`~m2l2_mir.report.score_figures.binned_bars` draws: metrics by bin, under the names of `series`."""
    table = binned_items(metrics, items, tested_per_trained=ratio)
    return table[table["metric"].isin(list(series))].assign(series=lambda kept: kept["metric"].map(series))


def _ends(table: pd.DataFrame, series: str, where: str) -> str:
    """In words: where the score is lowest and highest."""
    scores = table[table["series"] == series].set_index("bin")["estimate"]
    if scores.min() == scores.max():
        return f"{series} is {scores.max():.2f} throughout"
    low, high = (where.format(place) for place in (scores.idxmin(), scores.idxmax()))
    return f"{series} is lowest at {low} ({scores.min():.2f}) and highest at {high} ({scores.max():.2f})"
