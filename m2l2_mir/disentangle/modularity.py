"""Modularity and explicitness.

    modularity   = mean_j (1 - sum over f other than f* of I(z_j; f)^2 / (I(z_j; f*)^2 (F - 1))),
                   f* = argmax_f I(z_j; f)
    explicitness = mean over classes c of all factors of 2 AUC(c) - 1, AUC of telling c from the rest by the whole code

The mean over j is of dimensions that hold information (G test), since the raw modularity of pure noise is .3 or more.
The classifier of c is the linear probe of :mod:`m2l2_mir.disentangle.information`, and its AUC is held out; the authors
fit logistic regressions and report AUC, which is .5 by chance.

Assumes independent factors. Known failures: modularity does not ask whether all factors are there, and forgives the
split of a factor over many dimensions; explicitness is 1 for any invertible linear mixture, by design.
Source: K. Ridgeway, M. C. Mozer, "Learning deep disentangled embeddings with the F-statistic loss", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import log_softmax

from m2l2_mir.disentangle.dimensions import with_nulls
from m2l2_mir.disentangle.factors import Column, Factor
from m2l2_mir.disentangle.information import Probes, dealt
from m2l2_mir.disentangle.mutual import informative, mutual_information
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls

__all__ = ["modularity_explicitness"]

Floats = NDArray[np.float64]


def modularity_explicitness(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = CLASSIC_NULLS,
    folds: int = 5,
) -> dict[str, Any]:
    """Modularity and explicitness of a code; see the module for their formulas and failures.

    Parameters
    ----------
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
        Continuous and cyclic ones count as the classes that they are cut into.
    schema, groups, nulls, folds
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`.

    Returns
    -------
    dict
        ``modularity`` (nan with one factor), ``explicitness``; ``modularities`` [D], nan of a dimension that holds
        nothing; ``explicit`` [F]; ``nulls``, ``intervals``.

    Examples
    --------
    >>> labels = np.random.default_rng(0).integers(0, 2, size=(400, 3))
    >>> found = modularity_explicitness(labels, labels, nulls=None)
    >>> round(found["modularity"], 2), round(found["explicitness"], 2)
    (1.0, 1.0)
    """

    def measure(code: Floats, columns: list[Column], nuisance: NDArray[np.intp]) -> dict[str, Any]:
        mutual, p = mutual_information(code, columns)
        each = np.where(informative(p), _modularities(mutual), np.nan)
        probes = Probes(code[None], dealt(nuisance, folds))
        explicit = np.array([_explicit(probes, column.as_classes()) for column in columns])
        weights = np.array([column.classes for column in columns])
        mean = 0.0 if np.isnan(each).all() else float(np.nanmean(each))
        return {
            "modularity": mean if len(columns) > 1 else float("nan"),
            "explicitness": float(np.average(explicit, weights=weights)),
            "modularities": each,
            "explicit": explicit,
        }

    return with_nulls(measure, codes, factors, schema=schema, groups=groups, nulls=nulls)


def _modularities(mutual: Floats) -> Floats:
    """Of each dimension, from mutual information [D, F]."""
    largest, factors = mutual.max(axis=1), mutual.shape[1]
    others = np.square(mutual).sum(axis=1) - largest**2
    return 1 - others / np.where(largest > 0, largest**2 * max(factors - 1, 1), 1.0)


def _explicit(probes: Probes, column: Column) -> float:
    """Mean over classes of 2 AUC - 1, each the mean over folds that hold the class and others."""
    found: list[list[float]] = [[] for _ in range(column.classes)]
    shares = np.bincount(column.codes, minlength=column.classes)
    for items, scores in probes.scores(column):
        # Of probabilities, since the log odds of a class that lies between others fall on both sides of it.
        ranks = stats.rankdata(log_softmax(scores[0] + np.log(np.maximum(shares, 0.5))[:, None], axis=0), axis=1)
        for c, rank in enumerate(ranks):
            true = column.codes[items] == c
            positives, negatives = int(true.sum()), int((~true).sum())
            if positives and negatives:
                area = (rank[true].sum() - positives * (positives + 1) / 2) / (positives * negatives)
                found[c].append(2 * area - 1)
    return float(np.mean([np.mean(areas) for areas in found if areas]))
