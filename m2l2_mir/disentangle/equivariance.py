"""Equivariance: whether one and the same shift of the embedding follows from the same change of a factor's value.

    equivariance[f] = 1 - SS(change - predicted) / SS(change), held out, clipped at 0

Ridge regression of the change on the difference of one-hot values (a change and its reverse are opposite), against a
prediction of no change; whatever else is heard. Each slot is scaled to a mean variance of 1, and not whitened: a factor
of few values moves a code along few directions, and whitening lifts all others to the same size. Of a trained encoder
of 8 x 64, the change that drums make is told in .15 so and in .01 whitened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

from m2l2_mir.disentangle.counterfactual import checked_pairs
from m2l2_mir.probe.resampling import group_codes

__all__ = ["equivariance"]

PENALTIES = np.logspace(-2, 4, 7)
FOLDS = 5

Floats = NDArray[np.float64]


def equivariance(
    before: ArrayLike,
    after: ArrayLike,
    value_before: ArrayLike,
    value_after: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How well the change of the embedding follows from the change of one factor's value (formula: see the module).

    Parameters
    ----------
    before, after : array-like [n, K, d]
        Pairs that change this factor only.
    value_before, value_after : array-like [n]
        Its values.
    reference, groups
        As in :func:`~m2l2_mir.disentangle.counterfactual.counterfactual_scores`.
    seed
        Of the folds, which keep groups together.

    Returns
    -------
    dict
        ``equivariance``, over all slots, ``slots`` [K], of each, and ``pairs``; nan with fewer than two groups.
    """
    ours, theirs, other, _, _ = checked_pairs(before, after, np.zeros(len(np.asarray(before))), reference)
    spread = np.sqrt(other.var(axis=0).mean(axis=1))  # [K]
    moved = (theirs - ours) / np.where(spread > 0, spread, 1.0)[:, None]
    values = np.unique(np.concatenate([np.asarray(value_before), np.asarray(value_after)]))
    step = (np.asarray(value_after)[:, None] == values).astype(float) - (np.asarray(value_before)[:, None] == values)
    codes = group_codes(groups, len(ours))
    folds = min(FOLDS, len(np.unique(codes)))
    if folds < 2:
        return {"equivariance": np.nan, "slots": np.full(ours.shape[1], np.nan), "pairs": len(ours)}
    error = np.zeros(ours.shape[1])
    total = np.zeros(ours.shape[1])
    for train, test in GroupKFold(folds, shuffle=True, random_state=seed).split(step, groups=codes):
        model = RidgeCV(alphas=PENALTIES, fit_intercept=False).fit(step[train], moved[train].reshape(len(train), -1))
        missed = moved[test] - model.predict(step[test]).reshape(moved[test].shape)
        error += np.square(missed).sum(axis=(0, 2))
        total += np.square(moved[test]).sum(axis=(0, 2))
    share = np.clip(1 - error / np.maximum(total, 1e-12), 0, 1)
    return {
        "equivariance": float(max(0.0, 1 - error.sum() / max(total.sum(), 1e-12))),
        "slots": share,
        "pairs": len(ours),
    }
