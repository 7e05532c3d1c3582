"""InfoMEC: modularity, explicitness and compactness from normalised information.

    N[j, f] = I(z_j; f) / H(f)
    InfoM = (mean_j max_f N[j, f] / sum_f N[j, f] - 1/F) / (1 - 1/F)
    InfoC = (mean_f max_j N[j, f] / sum_j N[j, f] - 1/J) / (1 - 1/J)
    InfoE = mean_f held-out information of a linear probe on the whole code (:mod:`m2l2_mir.disentangle.information`)

The mean over j, and J, are of the dimensions that hold information. The paper drops those of small range instead, which
is no invariant of the code; a dimension is kept here if the G test finds that it depends on any factor. Information is
that of 20 quantile bins less its bias in place of nearest neighbours; InfoE is held out, where the paper scores the
items that were fitted.

Assumes independent factors. Known failures: where nothing is informative all three are 0 here, while a raw InfoM of
noise is about .6; InfoM of a wide rotated code rises with the width, since a few chance alignments win; InfoC is low
for a duplicated code, InfoM is not. Source: K. Hsu et al., "Disentanglement via latent quantization", NeurIPS 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.dimensions import with_nulls
from m2l2_mir.disentangle.factors import Column, Factor
from m2l2_mir.disentangle.information import Probes, dealt, information
from m2l2_mir.disentangle.mutual import entropies, informative, mutual_information
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls

__all__ = ["infomec"]

Floats = NDArray[np.float64]


def infomec(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = CLASSIC_NULLS,
    folds: int = 5,
) -> dict[str, Any]:
    """InfoM, InfoE and InfoC of a code; see the module for their formulas and failures.

    Parameters
    ----------
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
    schema, groups, nulls, folds
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`.

    Returns
    -------
    dict
        ``infom`` (nan with one factor), ``infoe``, ``infoc``; ``active``, the share of dimensions that hold
        information; ``information`` N [D, F]; ``explicit`` [F], InfoE of each factor; ``nulls``, ``intervals``.

    Examples
    --------
    >>> labels = np.random.default_rng(0).integers(0, 4, size=(500, 3))
    >>> found = infomec(np.hstack([labels, labels[:, :1]]), labels, nulls=None)
    >>> round(found["infom"], 1), round(found["infoe"], 1), found["infoc"] < 0.9
    (1.0, 1.0, True)
    """

    def measure(code: Floats, columns: list[Column], nuisance: NDArray[np.intp]) -> dict[str, Any]:
        mutual, p = mutual_information(code, columns, corrected=True)
        shares = mutual / entropies(columns)
        kept = shares[informative(p)]
        probes = Probes(code[None], dealt(nuisance, folds))
        explicit = np.array([information(*probes.losses(column)).item() for column in columns])
        return {
            "infom": _concentration(kept),
            "infoe": float(explicit.mean()),
            "infoc": _concentration(kept.T) if len(kept) > 1 else float(len(kept)),
            "active": len(kept) / len(shares),
            "information": shares,
            "explicit": explicit,
        }

    return with_nulls(measure, codes, factors, schema=schema, groups=groups, nulls=nulls)


def _concentration(shares: Floats) -> float:
    """Mean over rows of the largest entry's part of the row, from 0 where all are equal to 1; empty rows have 0."""
    rows, columns = shares.shape
    if columns < 2:
        return float("nan")
    total = shares.sum(axis=1)
    part = np.where(total > 0, shares.max(axis=1) / np.where(total > 0, total, 1.0), 1 / columns)
    return float((part.mean() - 1 / columns) / (1 - 1 / columns)) if rows else 0.0
