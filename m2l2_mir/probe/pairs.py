"""Reference and estimated labels, item by item: the checks that the metrics of every task share."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError

__all__ = ["label_pairs", "number_pairs"]


def label_pairs(reference: ArrayLike, estimated: ArrayLike) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Check class labels of any kind.

    Parameters
    ----------
    reference, estimated : array-like [items]
        Equally many, at least one, none missing.

    Returns
    -------
    tuple of np.ndarray [items]

    Raises
    ------
    InputError
        The shapes differ or are empty, or a label is missing.

    Examples
    --------
    >>> label_pairs(["jig", "reel"], ["jig"])
    Traceback (most recent call last):
    m2l2_mir.errors.InputError: 2 reference but 1 estimated labels; give one of each for every item
    """
    ours, theirs = np.asarray(reference, dtype=object), np.asarray(estimated, dtype=object)
    _check_shapes(ours, theirs)
    for name, labels in (("reference", ours), ("estimated", theirs)):
        missing = np.flatnonzero(pd.isna(labels))
        if len(missing):
            raise InputError(
                f"{len(missing)} {name} labels are missing, the first at item {missing[0]}; leave them out"
            )
    return ours, theirs


def number_pairs(reference: ArrayLike, estimated: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check labels that are numbers.

    Parameters
    ----------
    reference, estimated : array-like [items]
        Equally many, at least one, all finite.

    Returns
    -------
    tuple of np.ndarray [items]

    Raises
    ------
    InputError
        A label is no number or not finite, or the shapes differ or are empty.

    Examples
    --------
    >>> number_pairs([60], [60.2])
    (array([60.]), array([60.2]))
    """
    try:
        ours, theirs = np.asarray(reference, dtype=np.float64), np.asarray(estimated, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("labels are not numbers; pitch takes MIDI numbers, tempo beats per minute") from None
    _check_shapes(ours, theirs)
    for name, labels in (("reference", ours), ("estimated", theirs)):
        wrong = np.flatnonzero(~np.isfinite(labels))
        if len(wrong):
            raise InputError(
                f"{len(wrong)} {name} labels are not finite, the first at item {wrong[0]}; leave these items out"
            )
    return ours, theirs


def _check_shapes(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> None:
    if ours.ndim != 1 or theirs.ndim != 1:
        raise InputError(f"labels have shapes {list(ours.shape)} and {list(theirs.shape)}; give one per item")
    if len(ours) != len(theirs):
        raise InputError(f"{len(ours)} reference but {len(theirs)} estimated labels; give one of each for every item")
    if not len(ours):
        raise InputError("there are no items to score; give at least one")
