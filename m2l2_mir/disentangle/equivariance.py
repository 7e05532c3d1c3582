"""Equivariance: whether one and the same shift of the embedding follows from the same change of a factor's value.

    equivariance[f] = 1 - SS(change - predicted) / SS(change), held out, clipped at 0

Ridge regression of the change on the difference of one-hot values (a change and its reverse are opposite), against a
prediction of no change; whatever else is heard. Each slot is scaled to a mean variance of 1, and not whitened: a factor
of few values moves a code along few directions, and whitening lifts all others to the same size. Of a trained encoder
of 8 x 64, the change that drums make is told in .15 so and in .01 whitened.

Conventions
-----------
* Asked on held-out groups of pairs, so that chance gives 0 whatever the width of the code. The interval is from a
  jackknife that leaves out a tenth of the groups at a time and fits again in the same folds, with Student's t.
* Assumes that a change from one value to another moves the embedding by one and the same vector, whatever else is
  heard.
* Known failure: a code that holds the factor at places which depend on other factors follows it too, and scores less.

Source of the notion: T. S. Cohen, M. Welling, "Transformation properties of learned visual representations", ICLR 2015.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

from m2l2_mir.disentangle.bases import slot_scale
from m2l2_mir.disentangle.counterfactual import checked_pairs
from m2l2_mir.disentangle.evidence import blocks_of
from m2l2_mir.disentangle.paired import spread_of
from m2l2_mir.probe.resampling import group_codes

__all__ = ["equivariance"]

PENALTIES = np.logspace(-2, 4, 7)
FOLDS = 5

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


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
        ``equivariance``, over all slots, ``interval`` (low, high) of it, 95 %, ``slots`` [K], of each, and ``pairs``;
        nan with fewer than two groups.
    """
    ours, theirs, other, _, _ = checked_pairs(before, after, np.zeros(len(np.asarray(before))), reference)
    moved = (theirs - ours) * slot_scale(other)[:, None]
    values = np.unique(np.concatenate([np.asarray(value_before), np.asarray(value_after)]))
    step = (np.asarray(value_after)[:, None] == values).astype(float) - (np.asarray(value_before)[:, None] == values)
    codes = group_codes(groups, len(ours))
    folds = min(FOLDS, len(np.unique(codes)))
    if folds < 2:
        none = (np.nan, np.nan)
        return {"equivariance": np.nan, "interval": none, "slots": np.full(ours.shape[1], np.nan), "pairs": len(ours)}
    fold = np.empty(len(ours), dtype=np.intp)
    for number, (_, test) in enumerate(GroupKFold(folds, shuffle=True, random_state=seed).split(step, groups=codes)):
        fold[test] = number
    estimate, slots = _explained(step, moved, fold)
    block = blocks_of(groups, len(ours))
    left_out = [
        _explained(step[kept], moved[kept], fold[kept])[0] for kept in block != np.arange(block.max() + 1)[:, None]
    ]
    interval = spread_of(estimate, left_out).interval(estimate, bounds=(0.0, 1.0))
    return {"equivariance": estimate, "interval": interval, "slots": slots, "pairs": len(ours)}


def _explained(step: Floats, moved: Floats, fold: Integers) -> tuple[float, Floats]:
    """Held-out share of the changes [n, K, d] of all slots, and of each [K]; 0 of what does not move."""
    error = np.zeros(moved.shape[1])
    total = np.zeros(moved.shape[1])
    for held_out in np.unique(fold):
        train, test = fold != held_out, fold == held_out
        if not train.any():
            return np.nan, np.full(moved.shape[1], np.nan)
        model = RidgeCV(alphas=PENALTIES, fit_intercept=False).fit(step[train], moved[train].reshape(train.sum(), -1))
        missed = moved[test] - model.predict(step[test]).reshape(moved[test].shape)
        error += np.square(missed).sum(axis=(0, 2))
        total += np.square(moved[test]).sum(axis=(0, 2))
    errors, totals = np.append(error, error.sum()), np.append(total, total.sum())
    shares = np.clip(1 - np.divide(errors, totals, out=np.ones_like(errors), where=totals > 1e-12), 0, 1)
    return float(shares[-1]), shares[:-1]
