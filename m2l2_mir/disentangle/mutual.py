"""Mutual information of single dimensions and factors, from histograms.

Conventions
-----------
* A dimension is cut into bins of equal count ("quantile", where equal values stay together) or of equal width. Equal
  widths leave most items of a heavy-tailed dimension in one bin; equal counts do not change with any monotonic
  transform of it.
* A factor is its classes (``Column.codes``): a continuous or cyclic one is cut into ``levels`` of them.
* The estimate of the histogram is biased upwards, for independent variables by (filled bins - 1) (classes - 1) / 2n
  nats [1]_, which may be taken off. There, 2n times the estimate is chi-squared with as many degrees of freedom (the G
  test), which tells whether a dimension holds anything at all.

References
----------
.. [1] G. A. Miller, "Note on the bias of information estimates", in Information Theory in Psychology, 1955.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from m2l2_mir.disentangle.factors import Column
from m2l2_mir.errors import InputError

__all__ = ["BINS", "Binning", "entropies", "informative", "mutual_information"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Binning = Literal["quantile", "width"]

BINS = 20
_CHANCE = 0.05  # of taking any dimension that holds nothing for one that does


def entropies(columns: Sequence[Column]) -> Floats:
    """Entropy [F] of the classes of each factor, in nats."""
    return np.array([stats.entropy(np.bincount(column.codes)) for column in columns])


def mutual_information(
    codes: Floats,
    columns: Sequence[Column],
    *,
    bins: int = BINS,
    binning: Binning = "quantile",
    corrected: bool = False,
) -> tuple[Floats, Floats]:
    """Mutual information of each dimension with each factor.

    Parameters
    ----------
    codes : np.ndarray [n, D]
    columns
        F factors.
    bins
        Of a dimension; it has fewer where it has fewer values.
    binning
        How they are cut.
    corrected
        Whether the bias is taken off; what falls below 0 becomes 0.

    Returns
    -------
    information : np.ndarray [D, F]
        In nats.
    p : np.ndarray [D, F]
        Of the G test.

    Raises
    ------
    InputError
        Fewer than 2 bins, or an unknown binning.

    Examples
    --------
    >>> from m2l2_mir.disentangle.factors import read_factors
    >>> code = np.repeat([0.0, 1.0], 50)[:, None]
    >>> found, p = mutual_information(code, read_factors(code, items=100))
    >>> round(float(found.item() / np.log(2)), 3), p.item() < 1e-9
    (1.0, True)
    """
    if bins < 2 or binning not in get_args(Binning):
        raise InputError(f"bins are {bins} of {binning!r}; give 2 or more of one of {', '.join(get_args(Binning))}")
    n, dimensions = codes.shape
    cells = np.stack([_cut(values, bins, binning) for values in codes.T], axis=1)
    # One row for each bin of each dimension, one column for each item: its product with one-hot classes counts both.
    of_bin = sparse.csr_array(
        (np.ones(cells.size), ((cells + bins * np.arange(dimensions)).ravel(), np.repeat(np.arange(n), dimensions))),
        shape=(bins * dimensions, n),
    )
    filled = (np.asarray(of_bin.sum(axis=1)).reshape(dimensions, bins) > 0).sum(axis=1)
    information, p = np.empty((dimensions, len(columns))), np.empty((dimensions, len(columns)))
    for number, column in enumerate(columns):
        one_hot = np.eye(column.classes)[column.codes]
        counts = (of_bin @ one_hot).reshape(dimensions, bins, -1)
        found = _xlogx(counts).sum(axis=(1, 2)) - _xlogx(counts.sum(axis=2)).sum(axis=1)
        found = np.maximum((found - _xlogx(counts.sum(axis=1)).sum(axis=1) + _xlogx(np.array(float(n)))) / n, 0.0)
        freedom = (filled - 1) * ((one_hot.sum(axis=0) > 0).sum() - 1)
        p[:, number] = np.where(freedom > 0, stats.chi2.sf(2 * n * found, np.maximum(freedom, 1)), 1.0)
        information[:, number] = np.maximum(found - freedom / (2 * n), 0.0) if corrected else found
    return information, p


def informative(p: Floats) -> NDArray[np.bool_]:
    """Which dimensions [D] hold information on any factor, by the p of G tests [D, F] and their number (Bonferroni)."""
    return np.asarray((p * p.size < _CHANCE).any(axis=1))


def _cut(values: Floats, bins: int, binning: Binning) -> Integers:
    if binning == "width":
        edges = np.linspace(values.min(), values.max(), bins + 1)[1:-1]
    else:
        edges = np.quantile(values, np.arange(1, bins) / bins)
    return np.searchsorted(edges, values, side="right")


def _xlogx(counts: Floats) -> Floats:
    return counts * np.log(np.where(counts > 0, counts, 1.0))
