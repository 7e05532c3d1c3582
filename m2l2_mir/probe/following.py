"""How far estimates follow when the music is altered: shares, slopes and errors.

Conventions
-----------
* ``follows``: the estimate of the altered track is the one of the unaltered track, moved: the tonic by the semitones
  and the same mode, the nearest MIDI number by the semitones, the tempo by the factor within 4 %. Whether it is right
  plays no part. An estimate that never changes does not follow; a random key follows in 1 of 24 cases.
* ``accuracy``, ``exact`` or ``acc1``: the estimate is the true label, moved; ``x`` "unaltered" is the same tracks as
  they are.
* A change of a key that leads to none of the keys of the set (:func:`reachable`) is not scored.
* ``slope``, of tempo and pitch: of the estimate on the change over all changes of a track, through the unaltered one,
  in octaves on octaves or semitones on semitones: 1 follows, 0 ignores. ``error``: what the estimate moved less what it
  should have, in octaves or semitones; ``x`` "all" is the mean over changes. Both are means over seeds and medians over
  tracks, since one jump to another metrical level would outweigh many tracks that follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.dataset.labels import KEYS
from m2l2_mir.errors import InputError
from m2l2_mir.probe import key, tempo
from m2l2_mir.probe.alteration import Alteration
from m2l2_mir.probe.statistics import bootstrap_statistic, cluster_bootstrap
from m2l2_mir.probe.studies import line
from m2l2_mir.probe.task import Task

__all__ = ["ALTERATIONS", "Estimates", "check_movable", "labels_altered", "reachable", "score_following"]

MEDIAN_DRAWS = 500

# By module of metrics: changes of either direction, small to large.
ALTERATIONS: dict[str, tuple[Alteration, ...]] = {
    "key": tuple(Alteration(kind="transposition", amount=n) for n in range(-6, 7) if n),
    "pitch": tuple(Alteration(kind="transposition", amount=n) for n in range(-6, 7) if n),
    "tempo": tuple(Alteration(kind="stretch", amount=round(1.25 ** (n / 3), 3)) for n in range(-3, 4) if n),
}


_RIGHT = {"key": "accuracy", "pitch": "exact", "tempo": "acc1"}


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Of one row: estimates of the drawn tracks, unaltered [seeds, tracks] and altered [seeds, alterations, tracks]."""

    before: NDArray[Any]
    after: NDArray[Any]


def check_movable(metrics: str) -> None:
    """Raise an InputError unless an alteration moves such labels."""
    if metrics not in ALTERATIONS:
        raise InputError(f"no change moves labels of {metrics}; name a probe of {', '.join(ALTERATIONS)}")


def labels_altered(metrics: str, labels: ArrayLike, alteration: Alteration) -> NDArray[Any]:
    """The labels that altered tracks have.

    >>> labels_altered("key", ["B minor"], Alteration(kind="transposition", amount=2)).tolist()
    ['Db minor']
    >>> labels_altered("tempo", [100.0], Alteration(kind="stretch", amount=1.25)).tolist()
    [125.0]
    """
    if metrics == "key":
        numbers, _ = key.validate(labels, labels)
        return np.array(KEYS)[numbers // 12 * 12 + (numbers + int(alteration.amount)) % 12]
    values = np.asarray(labels, dtype=np.float64)
    return values * alteration.amount if alteration.kind == "stretch" else values + alteration.amount


def reachable(task: Task, labels: NDArray[Any], alterations: Sequence[Alteration]) -> NDArray[np.bool_]:
    """Whether a read-out of these labels could give the moved one of each, [alterations, items].

    One of classes gives its classes alone; tempi and pitches have to stay between the lowest and the highest, too.

    >>> low, high = (Alteration(kind="transposition", amount=n) for n in (2, 12))
    >>> reachable(Task(metrics="pitch", regression=False), np.array([48, 60, 72]), [low, high]).tolist()
    [[False, False, False], [True, True, False]]
    """
    classes = np.unique(task.targets(labels))
    able = []
    for alteration in alterations:
        moved = labels_altered(task.metrics, labels, alteration)
        one = np.ones(len(labels), dtype=np.bool_)
        if not task.regression:
            one &= np.isin(task.targets(moved), classes)
        if task.metrics != "key":
            numbers = labels.astype(np.float64)
            one &= (moved >= numbers.min()) & (moved <= numbers.max())
        able.append(one)
    return np.stack(able)


def score_following(
    metrics: str,
    estimates: Estimates,
    tracks: pd.DataFrame,
    alterations: Sequence[Alteration],
    able: NDArray[np.bool_],
    ratio: float,
    *,
    part: str,
    row: str,
    draws: int,
) -> Iterator[dict[str, Any]]:
    """Lines of a study's table: how far estimates follow, with intervals over groups.

    Parameters
    ----------
    metrics
        Of the probe.
    estimates, alterations
        What was estimated, and of what.
    tracks
        ``label`` and ``group`` of the tracks.
    able
        Which cases of a key are scored, [alterations, tracks]; of tempo and pitch all are.
    ratio
        Tracks tested for each that read-outs learnt from.
    part, row, draws
        As in :func:`m2l2_mir.probe.studies.line`; bootstrap draws.
    """
    groups, truth = tracks["group"].to_numpy(dtype=object), tracks["label"].to_numpy()
    follows, right, errors = [], [], []
    for step, alteration in enumerate(alterations):
        after = estimates.after[:, step]
        before = _nearest(estimates.before) if metrics == "pitch" else estimates.before
        follows.append(np.where(able[step], _follows(metrics, before, after, alteration), np.nan))
        moved_truth = [labels_altered(metrics, truth, alteration)] * len(before)
        right.append(np.where(able[step], _shares(metrics, moved_truth, after), np.nan))
        if metrics != "key":
            errors.append(_moved(metrics, estimates.before, after) - _amount(alteration))
    places: list[float | str] = [*(one.amount for one in alterations), "all"]
    for metric, values in (("follows", follows), (_RIGHT[metrics], right)):
        for x, one in zip(places, [*values, np.nanmean(values, axis=0)], strict=True):
            interval = cluster_bootstrap(one, groups, tested_per_trained=ratio, bounds=(0, 1), draws=draws)
            yield line(interval, part=part, row=row, x=x, metric=metric)
    unaltered = _shares(metrics, [truth] * len(estimates.before), estimates.before)
    interval = cluster_bootstrap(unaltered, groups, tested_per_trained=ratio, bounds=(0, 1), draws=draws)
    yield line(interval, part=part, row=row, x="unaltered", metric=_RIGHT[metrics])
    if metrics == "key":
        return
    change = np.array([_amount(one) for one in alterations])
    moved = np.stack(errors) + change[:, None, None]
    slopes = np.tensordot(change, moved, axes=1) / np.sum(change**2)  # [seeds, tracks], through the origin
    medians = [("slope", "all", slopes), *(("error", x, one) for x, one in zip(places, errors, strict=False))]
    for metric, x, values in (*medians, ("error", "all", np.mean(errors, axis=0))):
        interval = bootstrap_statistic(
            _median,
            pd.DataFrame({"value": values.mean(axis=0)}),
            groups,
            tested_per_trained=ratio,
            of_seeds=np.median(values, axis=1),
            draws=min(draws, MEDIAN_DRAWS),
        )
        yield line(interval, part=part, row=row, x=x, metric=metric)


def _median(items: pd.DataFrame) -> float:
    return float(np.median(items["value"].to_numpy()))


def _follows(metrics: str, before: NDArray[Any], after: NDArray[Any], alteration: Alteration) -> NDArray[np.float64]:
    """0 or 1 for each seed and track: has the estimate moved along?"""
    if metrics == "key":
        pairs = zip(before, after, strict=True)
        return np.stack([key.transposition_per_item(*pair, int(alteration.amount))["key"] for pair in pairs])
    return _shares(metrics, [labels_altered(metrics, one, alteration) for one in before], after)


def _shares(metrics: str, wanted: Sequence[NDArray[Any]], after: NDArray[Any]) -> NDArray[np.float64]:
    """0 or 1 for each seed and track: is the estimate the wanted label?"""
    if metrics == "key":
        return np.stack([key.per_item(*pair)["accuracy"] for pair in zip(wanted, after, strict=True)])
    if metrics == "pitch":
        return (_nearest(after) == np.stack(wanted)).astype(np.float64)
    return np.stack([tempo.per_item(*pair)["acc1"] for pair in zip(wanted, after, strict=True)])


def _nearest(pitches: NDArray[Any]) -> NDArray[np.float64]:
    """Nearest MIDI numbers; these may lie out of their range, as a moved estimate may."""
    nearest: NDArray[np.float64] = np.floor(pitches.astype(np.float64) + 0.5)
    return nearest


def _moved(metrics: str, before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float64]:
    """How far estimates moved, in octaves of tempo or semitones of pitch."""
    first, second = before.astype(np.float64), after.astype(np.float64)
    return np.log2(second / first) if metrics == "tempo" else second - first


def _amount(alteration: Alteration) -> float:
    return math.log2(alteration.amount) if alteration.kind == "stretch" else float(alteration.amount)
