"""Counterfactual scores: how much each slot moves when one factor of the music changes and nothing else does.

Formulas
--------
For pairs (before, after) that differ in factor f, with slot k whitened on other clips (the reference)::

    E[k, f]         = mean ||after_k - before_k||^2 / total variance of slot k     (2: as far as any two clips)
    D, C            = entropy scores of E over factors and over slots, as of slot scores
    invariance[k,f] = 1 - E[k, f] / 2                  (1: the slot does not move; 0: as far as two clips at random)
    equivariance[f] = 1 - SS(change - predicted) / SS(change), held out, clipped at 0

Conventions
-----------
* No probe is fitted for E: it has no capacity to choose and nothing to overfit, which makes it the check on slot
  scores. It sees how far a slot moves, not whether the value could be read from it.
* Whitening shrinks the covariance (:mod:`m2l2_mir.disentangle.bases`); E is invariant under any invertible map inside
  a slot as far as the shrinkage is slight.
* Null: slots are equally wide blocks of a random rotation of all K*d whitened dimensions. Floor: which factor a pair
  changed is permuted inside nuisance groups.
* Known failure: a factor that moves the whole signal (level) moves every slot and weighs more in E than a subtle one;
  the rotation null has the same imbalance, and takes off what it gives.
* Equivariance asks whether one and the same shift follows from one and the same change of value, whatever else is
  heard: ridge regression of the whitened change on the difference of one-hot values (a change and its reverse are
  opposite), against a prediction of no change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

from m2l2_mir.disentangle.bases import random_basis, whitening
from m2l2_mir.disentangle.evidence import ItemScores, drawn_weights, left_out_weights
from m2l2_mir.disentangle.nulls import NULLS, Nulls, against_null, permuted_rows
from m2l2_mir.disentangle.paired import bca_interval
from m2l2_mir.disentangle.slots import disentanglement_completeness
from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import group_codes

__all__ = [
    "counterfactual_items",
    "counterfactual_scores",
    "equivariance",
    "permuted_changes",
    "rotated_changes",
]

DRAWS = 1000
PENALTIES = np.logspace(-2, 4, 7)
FOLDS = 5

Floats = NDArray[np.float64]


def counterfactual_scores(
    before: ArrayLike,
    after: ArrayLike,
    factor: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = NULLS,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Score slots by how they move under single changes.

    Parameters
    ----------
    before, after : array-like [n, K, d]
        Slots of the two clips of each pair.
    factor : array-like [n]
        Name or number of the factor that each pair changes.
    reference : array-like [m, K, d], optional
        Clips that give variances and whitening; None: both sides of the pairs, which is second best, since the pairs
        then set their own scale.
    groups : array-like [n], optional
        Nuisance group of each pair: permutation and bootstrap go by it. None: every pair is one.
    nulls
        How many rotations and permutations are drawn; None: none.
    draws, seed
        Of the bootstrap.

    Returns
    -------
    dict
        ``factors`` (names, sorted), ``E`` and ``invariance`` [K, F], ``pairs`` [F] (how many), ``D`` and ``C``,
        ``intervals`` {"D": (low, high), "C": ...} (BCa, 95 %, over groups), ``nulls`` {"D": {"rotation": ...,
        "permutation": ...}, "C": ...} as of :func:`~m2l2_mir.disentangle.nulls.against_null`, and ``items``, the sums
        behind them.

    Raises
    ------
    InputError
        Shapes do not fit, values are not finite, or there is nothing to compare.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> factor = np.repeat([0, 1], 60)
    >>> before = rng.standard_normal((120, 2, 3))
    >>> after = before.copy()
    >>> after[np.arange(120), factor] = rng.standard_normal((120, 3))
    >>> round(counterfactual_scores(before, after, factor, nulls=None, draws=50)["D"], 2)
    1.0
    """
    items = counterfactual_items(before, after, factor, reference=reference, groups=groups)
    matrix = items.matrix()
    own = disentanglement_completeness(matrix)
    drawn = disentanglement_completeness(items.matrix(drawn_weights(items.groups, draws, seed)))
    left_out = disentanglement_completeness(items.matrix(left_out_weights(items.groups)))
    found: dict[str, Any] = {
        "factors": list(items.names),
        "E": matrix,
        "invariance": 1 - matrix / 2,
        "pairs": items.bottom.sum(axis=0).astype(int),
        "intervals": {name: bca_interval(float(own[name]), drawn[name], left_out[name]) for name in "DC"},
        "nulls": {name: {} for name in "DC"},
        "items": items,
        **{name: float(own[name]) for name in "DC"},
    }
    if nulls and nulls.rotations:
        rotated = rotated_changes(
            before, after, factor, reference=reference, groups=groups, rotations=nulls.rotations, seed=nulls.seed
        )
        _set_against(found, "rotation", rotated)
    if nulls and nulls.permutations:
        _set_against(found, "permutation", permuted_changes(items, nulls.permutations, nulls.seed))
    return found


def counterfactual_items(
    before: ArrayLike,
    after: ArrayLike,
    factor: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> ItemScores:
    """Squared changes of each pair, as :func:`counterfactual_scores` sums them up; parameters as there."""
    ours, theirs, other, names, codes = _checked(before, after, factor, reference)
    change = theirs - ours
    moved = np.empty(change.shape[:2])
    for slot in range(change.shape[1]):
        whiten = whitening(other[:, slot])
        variance = np.square((other[:, slot] - other[:, slot].mean(axis=0)) @ whiten).sum(axis=1).mean()
        moved[:, slot] = np.square(change[:, slot] @ whiten).sum(axis=1) / max(variance, 1e-12)
    return _items(moved, codes, names, groups)


def rotated_changes(
    before: ArrayLike,
    after: ArrayLike,
    factor: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    rotations: int = 50,
    seed: int = 0,
) -> Floats:
    """E of random rotations of all whitened dimensions, [rotations, K, F]; parameters as above."""
    ours, theirs, other, names, codes = _checked(before, after, factor, reference)
    pairs, slots, width = ours.shape
    flat = other.reshape(len(other), -1)
    whiten = whitening(flat)
    known = (flat - flat.mean(axis=0)) @ whiten
    covariance = known.T @ known / len(known)
    change = (theirs - ours).reshape(pairs, -1) @ whiten
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(rotations):
        rotation = random_basis(slots * width, whiten.shape[1], rng)
        moved = np.square(change @ rotation.T).reshape(pairs, slots, width).sum(axis=2)
        variance = ((rotation @ covariance) * rotation).sum(axis=1).reshape(slots, width).sum(axis=1)
        drawn.append(_items(moved / np.maximum(variance, 1e-12), codes, names, groups).matrix())
    return np.array(drawn)


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
    """How well the change of the embedding follows from the change of one factor's value (see the formulas above).

    Parameters
    ----------
    before, after : array-like [n, K, d]
        Pairs that change this factor only.
    value_before, value_after : array-like [n]
        Its values.
    reference, groups
        As in :func:`counterfactual_scores`.
    seed
        Of the folds, which keep groups together.

    Returns
    -------
    dict
        ``equivariance``, over all slots, ``slots`` [K], of each, and ``pairs``; nan with fewer than two groups.
    """
    ours, theirs, other, _, _ = _checked(before, after, np.zeros(len(np.asarray(before))), reference)
    flat = np.stack([ours, theirs], axis=1)
    moved = np.stack(
        [(flat[:, 1, slot] - flat[:, 0, slot]) @ _square(whitening(other[:, slot])) for slot in range(ours.shape[1])],
        axis=1,
    )
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


def _items(moved: Floats, codes: NDArray[np.intp], names: tuple[str, ...], groups: ArrayLike | None) -> ItemScores:
    belongs = np.eye(len(names))[codes]
    named = np.arange(len(codes)) if groups is None else np.asarray(groups)
    return ItemScores(
        kind="change",
        names=names,
        top=moved[:, :, None] * belongs[:, None],
        bottom=belongs,
        groups=[str(group) for group in named],
    )


def permuted_changes(items: ItemScores, permutations: int, seed: int = 0) -> Floats:
    """E with the factors of pairs permuted inside groups, [permutations, K, F]."""
    moved, codes = items.top.sum(axis=2), items.bottom.argmax(axis=1)
    groups = group_codes(items.groups, len(codes))
    if np.bincount(groups).max() == 1:  # nothing to permute inside them
        groups = np.zeros_like(groups)
    drawn = []
    for rows in permuted_rows(codes, groups, permutations, np.random.default_rng(seed)):
        belongs = np.eye(len(items.names))[codes[rows]]
        drawn.append(moved.T @ belongs / belongs.sum(axis=0))
    return np.array(drawn)


def _set_against(found: dict[str, Any], null: str, matrices: Floats) -> None:
    """Add what D and C are beside those of the matrices of a null, [draws, K, F]."""
    chance = disentanglement_completeness(matrices)
    for name in "DC":
        found["nulls"][name][null] = against_null(found[name], chance[name])


def _square(matrix: Floats) -> Floats:
    """The same with as many columns as rows: slots of unequal rank can then be put beside each other."""
    return np.pad(matrix, ((0, 0), (0, matrix.shape[0] - matrix.shape[1])))


def _checked(
    before: ArrayLike, after: ArrayLike, factor: ArrayLike, reference: ArrayLike | None
) -> tuple[Floats, Floats, Floats, tuple[str, ...], NDArray[np.intp]]:
    ours, theirs = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if ours.ndim != 3 or ours.shape != theirs.shape or not ours.size:
        raise InputError(
            f"before {list(ours.shape)} and after {list(theirs.shape)} do not fit; give [pairs, K, d] twice"
        )
    other = np.concatenate([ours, theirs]) if reference is None else np.asarray(reference, dtype=np.float64)
    if other.ndim != 3 or other.shape[1:] != ours.shape[1:] or len(other) < 2:
        raise InputError(
            f"the reference has shape {list(other.shape)}; give two clips or more, each {list(ours.shape[1:])}"
        )
    for name, values in (("before", ours), ("after", theirs), ("reference", other)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds NaN or infinity; leave those clips out")
    named = np.asarray(factor)
    if named.shape != (len(ours),):
        raise InputError(f"factor has shape {list(named.shape)}; give one name for each of {len(ours)} pairs")
    values, codes = np.unique(named, return_inverse=True)
    return ours, theirs, other, tuple(str(value) for value in values), codes
