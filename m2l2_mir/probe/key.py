"""Metrics of key estimation.

Conventions
-----------
* Keys are canonical, one of :data:`m2l2_mir.dataset.labels.KEYS`.
* An estimate stands in exactly one relation to the reference:

  ==============  =========================================================  ========  ====================
  relation        estimate                                                   weighted  weighted, two-sided
  ==============  =========================================================  ========  ====================
  ``correct``     the same key                                               1         1
  ``fifth_up``    same mode, tonic a perfect fifth above (G for C)           0.5       0.5
  ``fifth_down``  same mode, tonic a perfect fifth below (F for C)           0         0.5
  ``relative``    other mode, same signature (A minor for C major)           0.3       0.3
  ``parallel``    other mode, same tonic                                     0.2       0.2
  ``other``       all else                                                   0         0
  ==============  =========================================================  ========  ====================

* ``weighted`` is ``mir_eval.key.weighted_score`` [1]_; ``weighted_two_sided`` counts both fifths, since the MIREX
  audio key detection task gives its half point for the "distance of perfect fifth" [2]_. The two differ by half the
  share of ``fifth_down``: say which one is shown.

References
----------
.. [1] C. Raffel et al., "mir_eval: A transparent implementation of common MIR metrics", ISMIR 2014.
.. [2] MIREX, "Audio Key Detection", https://www.music-ir.org/mirex/wiki/2017:Audio_Key_Detection
"""

from __future__ import annotations

from functools import cache

import mir_eval
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix, recall_score

from m2l2_mir.dataset.labels import KEYS, tonic_and_mode
from m2l2_mir.errors import InputError
from m2l2_mir.probe.pairs import label_pairs

__all__ = [
    "FIFTHS",
    "PRIMARY",
    "RELATIONS",
    "circle_of_fifths_confusion",
    "evaluate",
    "per_item",
    "transposition_per_item",
    "validate",
]

PRIMARY = "accuracy"
RELATIONS = ("correct", "fifth_up", "fifth_down", "relative", "parallel", "other")
# Major keys along the circle, then each one's relative minor in the same place.
FIFTHS = tuple(KEYS[7 * i % 12] for i in range(12)) + tuple(KEYS[12 + (7 * i + 9) % 12] for i in range(12))

_NUMBER = {key: number for number, key in enumerate(KEYS)}


def validate(reference: ArrayLike, estimated: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Check keys and number them as in ``KEYS``: major keys from C, then minor keys.

    Parameters
    ----------
    reference, estimated : array-like of str [items]

    Returns
    -------
    tuple of np.ndarray [items]
        0 to 23.

    Raises
    ------
    InputError
        A key is not canonical, or as in :func:`m2l2_mir.probe.pairs.label_pairs`.
    """
    ours, theirs = (_numbers(labels) for labels in label_pairs(reference, estimated))
    return ours, theirs


def per_item(reference: ArrayLike, estimated: ArrayLike) -> pd.DataFrame:
    """Score each item.

    Parameters
    ----------
    reference, estimated : array-like of str [items]
        Canonical keys.

    Returns
    -------
    pandas.DataFrame
        One row an item: ``accuracy``, ``weighted``, ``weighted_two_sided``, ``tonic`` and ``mode`` (is it right?), and
        0 or 1 for each relation but ``correct`` (which is ``accuracy``), with ``fifth`` for either fifth.

    Examples
    --------
    >>> scores = per_item(["C major", "C major"], ["F major", "A minor"])
    >>> scores[["weighted", "weighted_two_sided", "fifth", "relative"]].to_numpy().tolist()
    [[0.0, 0.5, 1.0, 0.0], [0.3, 0.3, 0.0, 1.0]]
    """
    ours, theirs = validate(reference, estimated)
    relation = _relations()[ours, theirs]
    shares = {name: relation == number for number, name in enumerate(RELATIONS)}
    fifth = shares["fifth_up"] | shares["fifth_down"]
    weighted = _weights()[ours, theirs]
    return pd.DataFrame(
        {
            "accuracy": shares["correct"],
            "weighted": weighted,
            "weighted_two_sided": np.where(shares["fifth_down"], 0.5, weighted),
            "tonic": ours % 12 == theirs % 12,
            "mode": ours // 12 == theirs // 12,
            "fifth": fifth,
            **{name: shares[name] for name in RELATIONS[1:]},
        },
        dtype=np.float64,
    )


def evaluate(reference: ArrayLike, estimated: ArrayLike) -> dict[str, float]:
    """Average over items.

    Parameters
    ----------
    reference, estimated : array-like of str [items]
        Canonical keys.

    Returns
    -------
    dict
        The means of :func:`per_item`, and ``macro_accuracy``: the mean over true keys of the accuracy in each.

    Examples
    --------
    >>> scores = evaluate(["C major", "C major", "D minor"], ["C major", "C major", "A minor"])
    >>> round(scores["accuracy"], 3), scores["macro_accuracy"], round(scores["weighted"], 3)
    (0.667, 0.5, 0.833)
    """
    ours, theirs = validate(reference, estimated)
    means = {str(name): float(mean) for name, mean in per_item(reference, estimated).mean().items()}
    macro = recall_score(ours, theirs, labels=np.unique(ours), average="macro", zero_division=0)
    return {**means, "macro_accuracy": float(macro)}


def circle_of_fifths_confusion(reference: ArrayLike, estimated: ArrayLike) -> pd.DataFrame:
    """Count estimated keys by true key, neighbours on the circle of fifths side by side.

    Parameters
    ----------
    reference, estimated : array-like of str [items]
        Canonical keys.

    Returns
    -------
    pandas.DataFrame [24, 24]
        Rows are true keys, columns estimated ones, both in the order of ``FIFTHS``.

    Examples
    --------
    >>> circle_of_fifths_confusion(["C major"], ["G major"]).iloc[0, :3].to_dict()
    {'C major': 0, 'G major': 1, 'D major': 0}
    """
    ours, theirs = validate(reference, estimated)
    counts = confusion_matrix(ours, theirs, labels=[_NUMBER[key] for key in FIFTHS])
    return pd.DataFrame(counts, pd.Index(FIFTHS, name="reference"), pd.Index(FIFTHS, name="estimated"))


def transposition_per_item(before: ArrayLike, after: ArrayLike, semitones: ArrayLike) -> pd.DataFrame:
    """Does the estimate follow when the audio is transposed? Whether it is right plays no part.

    Parameters
    ----------
    before, after : array-like of str [items]
        Keys estimated for a clip and for its transposition.
    semitones : int or array-like of int [items]
        By which the audio was transposed, upwards if positive.

    Returns
    -------
    pandas.DataFrame
        One row an item, 0 or 1: ``tonic`` (rotated by as much), ``mode`` (stayed) and ``key`` (both).

    Raises
    ------
    InputError
        A shift is not a whole number, there are neither one nor as many as items, or as in :func:`validate`.

    Examples
    --------
    >>> transposition_per_item(["C major", "A minor"], ["D major", "B major"], 2)["key"].tolist()
    [1.0, 0.0]
    """
    first, second = validate(before, after)
    shifts = np.asarray(semitones, dtype=np.float64)
    if shifts.shape not in ((), first.shape) or not np.array_equal(shifts, np.round(shifts)):
        raise InputError(f"semitones is {semitones!r}; give one whole number, or one for each of {len(first)} items")
    tonic = (second - first - shifts) % 12 == 0
    mode = first // 12 == second // 12
    return pd.DataFrame({"tonic": tonic, "mode": mode, "key": tonic & mode}, dtype=np.float64)


def _numbers(keys: NDArray[np.object_]) -> NDArray[np.int64]:
    unknown = sorted({str(key) for key in keys} - set(KEYS))
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is not one of the 24 canonical keys, such as 'Eb minor'; "
            "bring labels into that form by m2l2_mir.dataset.labels.key"
        )
    return np.array([_NUMBER[key] for key in keys], dtype=np.int64)


@cache
def _weights() -> NDArray[np.float64]:
    """Weighted score of every estimate (column) for every reference (row) [24, 24]."""
    return np.array([[mir_eval.key.weighted_score(ours, theirs) for theirs in KEYS] for ours in KEYS])


@cache
def _relations() -> NDArray[np.int64]:
    """Index into ``RELATIONS`` of every estimate (column) for every reference (row) [24, 24]."""
    return np.array([[RELATIONS.index(_relation(ours, theirs)) for theirs in KEYS] for ours in KEYS])


def _relation(reference: str, estimated: str) -> str:
    (tonic, mode), (estimated_tonic, estimated_mode) = tonic_and_mode(reference), tonic_and_mode(estimated)
    interval = (estimated_tonic - tonic) % 12
    if mode == estimated_mode:
        return {0: "correct", 7: "fifth_up", 5: "fifth_down"}.get(interval, "other")
    return {0: "parallel", 9 if mode == "major" else 3: "relative"}.get(interval, "other")
