"""Interventional robustness score.

    IRS[j, f] = 1 - mean over values v of q99(|z_j - E[z_j | f = v]| given f = v) / max |z_j - E[z_j]|
    IRS       = mean_j max_f IRS[j, f], weighted by max |z_j - E[z_j]|

How little a dimension moves, in the worst case, while the factor that it tells best stays and all others change. The
items must hold many values of the other factors for each value of one.

Known failures: about the same for a perfect code and for one whose dimensions all hold the same factor; far below 1
for a perfect code beside dimensions of noise, and about .25 for noise alone; a dimension of rare large values counts as
robust, as the largest deviation is the denominator; it depends on the scale of dimensions.
Source: R. Suter et al., "Robustly disentangled causal mechanisms", ICML 2019, in the form for finite sets with the 99th
percentile in place of the largest deviation, which F. Locatello et al. (ICML 2019) made common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.dimensions import with_nulls
from m2l2_mir.disentangle.factors import Column, Factor
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls

__all__ = ["irs"]

Floats = NDArray[np.float64]

_QUANTILE = 0.99


def irs(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = CLASSIC_NULLS,
) -> dict[str, Any]:
    """Interventional robustness of a code; see the module for its formula and failures.

    Parameters
    ----------
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
        Continuous and cyclic ones count as the classes that they are cut into.
    schema, groups, nulls
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`.

    Returns
    -------
    dict
        ``irs``; ``robustness`` [D, F], 0 of a dimension that does not vary; ``nulls``, ``intervals``.

    Examples
    --------
    >>> labels = np.random.default_rng(0).integers(0, 4, size=(500, 3))
    >>> irs(labels, labels, nulls=None)["irs"]
    1.0
    """

    def measure(code: Floats, columns: list[Column], _: NDArray[np.intp]) -> dict[str, Any]:
        largest = np.abs(code - code.mean(axis=0)).max(axis=0)
        moved = np.stack([_moved(code, column) for column in columns], axis=1)
        robust = np.where(largest[:, None] > 0, 1 - moved / np.where(largest > 0, largest, 1.0)[:, None], 0.0)
        total = largest.sum()
        score = float((largest * robust.max(axis=1)).sum() / total) if total > 0 else 0.0
        return {"irs": score, "robustness": robust}

    return with_nulls(measure, codes, factors, schema=schema, groups=groups, nulls=nulls)


def _moved(code: Floats, column: Column) -> Floats:
    """Mean over the factor's values of the 99th percentile of deviations [D] from the mean of that value."""
    parts = [code[column.codes == value] for value in np.unique(column.codes)]
    return np.mean([np.quantile(np.abs(part - part.mean(axis=0)), _QUANTILE, axis=0) for part in parts], axis=0)
