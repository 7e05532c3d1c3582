"""Metrics of global tempo estimation, and how a probe reads a tempo.

Conventions
-----------
* Tempi are in beats per minute, above 0.
* ``acc1``: the estimate is within 4 % of the reference; ``acc2``: within 4 % of a third, half, once, twice or three
  times the reference [1]_.
* ``oe1 = log2(estimated / reference)``, the octave error, signed: 1 is twice as fast. ``oe2``: the octave error that is
  smallest in size after the estimate is multiplied by 1/3, 1/2, 1, 2 or 3. ``aoe1`` and ``aoe2`` are their sizes [2]_;
  4 % are 0.057.
* ``mir_eval.tempo`` scores two tempi and their weights; for a single one its ``one_correct`` at ``tol=0.04`` is
  ``acc1``.
* A probe reads log2 bpm (:func:`to_octaves`) by regression, or bins of it (:func:`to_bins`) by classification, never
  bpm itself: the same relative error then counts alike at every tempo.

References
----------
.. [1] F. Gouyon et al., "An experimental comparison of audio tempo induction algorithms", IEEE Transactions on Audio,
   Speech, and Language Processing 14(5), 2006.
.. [2] H. Schreiber, J. Urbano, M. Müller, "Music tempo estimation: are we done yet?", TISMIR 3(1), 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import r2_score

from m2l2_mir.errors import InputError
from m2l2_mir.probe.pairs import number_pairs

__all__ = [
    "BINS_PER_OCTAVE",
    "PRIMARY",
    "bins_of",
    "evaluate",
    "from_bins",
    "from_octaves",
    "from_probabilities",
    "per_item",
    "to_bins",
    "to_octaves",
    "validate",
]

PRIMARY = "acc1"
TOLERANCE = 0.04
FACTORS = (1 / 3, 1 / 2, 1.0, 2.0, 3.0)
BINS_PER_OCTAVE = 12  # a bin reaches 2.9 % to either side of its centre, which is inside the tolerance
EDGES = (60.0, 75.0, 95.0, 120.0, 150.0, 190.0)  # bpm, about a third of an octave apart


def validate(reference: ArrayLike, estimated: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check tempi.

    Parameters
    ----------
    reference, estimated : array-like [items]
        bpm.

    Returns
    -------
    tuple of np.ndarray [items]

    Raises
    ------
    InputError
        A tempo is not above 0, or as in :func:`m2l2_mir.probe.pairs.number_pairs`.
    """
    ours, theirs = number_pairs(reference, estimated)
    for name, tempi in (("reference", ours), ("estimated", theirs)):
        if (tempi <= 0).any():
            raise InputError(
                f"{name} tempo is {tempi.min():g} bpm; it must be above 0, so regress log2 of bpm, not bpm"
            )
    return ours, theirs


def per_item(reference: ArrayLike, estimated: ArrayLike) -> pd.DataFrame:
    """Score each item.

    Parameters
    ----------
    reference, estimated : array-like [items]
        bpm.

    Returns
    -------
    pandas.DataFrame
        One row an item: ``acc1`` and ``acc2`` (0 or 1), ``oe1``, ``oe2``, ``aoe1`` and ``aoe2`` (octaves).

    Examples
    --------
    >>> per_item([100, 100], [103, 200])[["acc1", "acc2", "oe1", "oe2"]].round(3).to_numpy().tolist()
    [[1.0, 1.0, 0.043, 0.043], [0.0, 1.0, 1.0, 0.0]]
    """
    ours, theirs = validate(reference, estimated)
    levels = np.multiply.outer(ours, FACTORS)  # [items, factors]
    hits = np.abs(theirs[:, None] - levels) <= TOLERANCE * levels
    errors = np.log2(np.multiply.outer(theirs, FACTORS) / ours[:, None])
    smallest = np.abs(errors).argmin(axis=1)
    oe1, oe2 = np.log2(theirs / ours), errors[np.arange(len(ours)), smallest]
    return pd.DataFrame(
        {
            "acc1": hits[:, FACTORS.index(1.0)],
            "acc2": hits.any(axis=1),
            "oe1": oe1,
            "oe2": oe2,
            "aoe1": np.abs(oe1),
            "aoe2": np.abs(oe2),
        },
        dtype=np.float64,
    )


def evaluate(reference: ArrayLike, estimated: ArrayLike) -> dict[str, float]:
    """Average over items.

    Parameters
    ----------
    reference, estimated : array-like [items]
        bpm.

    Returns
    -------
    dict
        The means of :func:`per_item`, and ``r2``: the coefficient of determination of log2 bpm, nan where all reference
        tempi are the same.

    Examples
    --------
    >>> scores = evaluate([60, 120, 240], [60, 120, 120])
    >>> round(scores["acc1"], 3), scores["acc2"], round(scores["aoe1"], 3), scores["r2"]
    (0.667, 1.0, 0.333, 0.5)
    """
    ours, theirs = validate(reference, estimated)
    means = {str(name): float(mean) for name, mean in per_item(reference, estimated).mean().items()}
    constant = np.ptp(ours) == 0
    return {**means, "r2": math.nan if constant else float(r2_score(np.log2(ours), np.log2(theirs)))}


def bins_of(reference: ArrayLike, *, edges: Sequence[float] = EDGES) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Bins of tempi, by their bounds.

    Parameters
    ----------
    reference : array-like [items]
        bpm.
    edges
        bpm between which a bin lies, rising; the lower edge belongs to it. There is one bin below all edges and one
        above.

    Returns
    -------
    numbers : np.ndarray [items]
        The bin of each item.
    names : dict
        Of every bin that has items, from slow to fast.

    Raises
    ------
    InputError
        The edges do not rise or there are none, or as in :func:`validate`.

    Examples
    --------
    >>> bins_of([50, 60, 200])
    (array([0, 1, 6]), {0: '< 60', 1: '60-75', 6: '>= 190'})
    """
    if not len(edges) or not np.all(np.diff(edges) > 0):
        raise InputError(f"edges are {list(edges)}; give at least one, each above the one before")
    ours, _ = validate(reference, reference)
    between = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
    names = [f"< {edges[0]:g}", *between, f">= {edges[-1]:g}"]
    numbers = np.digitize(ours, edges)
    return numbers, {number: names[number] for number in np.unique(numbers).tolist()}


def to_octaves(bpm: ArrayLike) -> NDArray[np.float64]:
    """log2 of tempi, what a regression is trained on.

    >>> to_octaves([64, 128])
    array([6., 7.])
    """
    return np.log2(np.asarray(bpm, dtype=np.float64))


def from_octaves(octaves: ArrayLike) -> NDArray[np.float64]:
    """Tempi in bpm from what a regression says; the inverse of :func:`to_octaves`."""
    return np.exp2(np.asarray(octaves, dtype=np.float64))


def to_bins(bpm: ArrayLike, *, bins_per_octave: int = BINS_PER_OCTAVE) -> NDArray[np.int64]:
    """Classes of tempi for a classification: the nearest whole number of ``bins_per_octave * log2(bpm)``.

    >>> to_bins([60, 61, 120])
    array([71, 71, 83])
    """
    return np.rint(bins_per_octave * to_octaves(bpm)).astype(np.int64)


def from_bins(bins: ArrayLike, *, bins_per_octave: int = BINS_PER_OCTAVE) -> NDArray[np.float64]:
    """Centres of bins in bpm; within half a bin of the tempi that :func:`to_bins` put there.

    >>> from_bins([84])
    array([128.])
    """
    return from_octaves(np.asarray(bins, dtype=np.float64) / bins_per_octave)


def from_probabilities(
    probabilities: ArrayLike, bins: ArrayLike, *, reach: float = 0.0, bins_per_octave: int = BINS_PER_OCTAVE
) -> NDArray[np.float64]:
    """Tempi in bpm from the probabilities of bins.

    Parameters
    ----------
    probabilities : array-like [items, bins]
    bins : array-like of int [bins]
        The classes of the columns, as :func:`to_bins` numbers them, in any order; not every bin need be there.
    reach
        Octaves around the centre of the most probable bin over which log2 bpm is averaged, weighted by probability. 0:
        that centre itself. A sixth or so fills in between bins. ``math.inf``: the mean of the whole distribution, which
        lands between tempi that are an octave apart and both likely.
    bins_per_octave
        That the bins were made with.

    Returns
    -------
    np.ndarray [items]

    Raises
    ------
    InputError
        There are not as many columns as bins, a row has no positive probability, or ``reach`` is below 0.

    Examples
    --------
    >>> probabilities = [[0.4, 0.0, 0.6]]  # 64, 91 and 128 bpm
    >>> from_probabilities(probabilities, [72, 78, 84]), from_probabilities(probabilities, [72, 78, 84], reach=math.inf)
    (array([128.]), array([97.00586026]))
    """
    weights = np.asarray(probabilities, dtype=np.float64)
    octaves = np.asarray(bins, dtype=np.float64) / bins_per_octave
    if weights.ndim != 2 or octaves.shape != (weights.shape[1],):
        raise InputError(f"probabilities are {list(weights.shape)} for {octaves.size} bins; give [items, bins]")
    if not (weights.max(axis=1, initial=0) > 0).all() or (weights < 0).any():
        raise InputError("a row of probabilities is nan, negative or all zero; leave out items without an estimate")
    if not reach >= 0:
        raise InputError(f"reach is {reach}; give octaves, 0 or more")
    best = octaves[weights.argmax(axis=1)]
    # A hair wider, so that a bin at exactly that distance counts whatever the rounding.
    near = np.abs(octaves - best[:, None]) <= reach + 1e-9
    weights = weights * near
    return from_octaves(weights @ octaves / weights.sum(axis=1))
