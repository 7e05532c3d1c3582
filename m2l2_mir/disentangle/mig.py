"""Mutual information gap.

    MIG = mean_f (I(z_j*; f) - max over j other than j* of I(z_j; f)) / H(f),   j* = argmax_j I(z_j; f)

Assumes that a factor should be told by one dimension. Known failures: 0 where that dimension is there twice, however
well a code is disentangled otherwise; blind to a dimension that tells several factors; biased by the number of items
to a bin.
Source: R. T. Q. Chen et al., "Isolating sources of disentanglement in variational autoencoders", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.dimensions import with_nulls
from m2l2_mir.disentangle.factors import Column, Factor
from m2l2_mir.disentangle.mutual import BINS, Binning, entropies, mutual_information
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls

__all__ = ["mig"]

Floats = NDArray[np.float64]


def mig(
    codes: ArrayLike,
    factors: ArrayLike,
    bins: int = BINS,
    binning: Binning = "quantile",
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = CLASSIC_NULLS,
) -> dict[str, Any]:
    """Mutual information gap of a code; see the module for its formula and failures.

    Parameters
    ----------
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
    bins, binning
        Of a dimension: see :mod:`m2l2_mir.disentangle.mutual`.
    schema, groups, nulls
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`.

    Returns
    -------
    dict
        ``mig``, ``gaps`` [F], ``information`` [D, F] over entropy; ``nulls`` and ``intervals`` of
        :func:`~m2l2_mir.disentangle.dimensions.with_nulls`.

    Examples
    --------
    >>> labels = np.random.default_rng(0).integers(0, 4, size=(500, 2))
    >>> mig(labels, labels, nulls=None)["mig"] > 0.95, mig(np.hstack([labels, labels]), labels, nulls=None)["mig"]
    (True, 0.0)
    """

    def measure(code: Floats, columns: list[Column], _: NDArray[np.intp]) -> dict[str, Any]:
        shares = mutual_information(code, columns, bins=bins, binning=binning)[0] / entropies(columns)
        ordered = np.sort(np.vstack([shares, np.zeros((1, len(columns)))]), axis=0)  # of one dimension, against none
        gaps = ordered[-1] - ordered[-2]
        return {"mig": float(gaps.mean()), "gaps": gaps, "information": shares}

    return with_nulls(measure, codes, factors, schema=schema, groups=groups, nulls=nulls)
