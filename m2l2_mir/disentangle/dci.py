"""Disentanglement, completeness and informativeness of single dimensions.

R[j, f] is the importance of dimension j in a model that predicts factor f from the whole code, 0 where the model does
not predict it beyond chance on held-out items: the few weights that noise leaves look like a perfect D. D and C are the
entropies of :mod:`m2l2_mir.disentangle.entropies` on R; informativeness is the mean over factors of held-out accuracy
beyond the most frequent class, (accuracy - share) / (1 - share), or R^2 of continuous and cyclic factors.

Importances
-----------
"trees" : impurity decrease in scikit-learn's extremely randomised trees (ExtraTreesClassifier, ExtraTreesRegressor)
    that try all dimensions at each split. Forests that try some of them give a perfect code .77, as a split among
    irrelevant dimensions has to take one. Gradient boosting, which the reference code uses, sorts every dimension for
    every class and so takes more than ten times as long on 512 dimensions; its histogram variant, which does not,
    exposes no importances.
"l1" : absolute weights of sparse linear models (:mod:`m2l2_mir.disentangle.lasso`), as in the paper; the penalty is
    selected among the training groups.
"permutation" : loss of held-out accuracy, or R^2, of the same trees when a dimension is permuted, at least 0. Slow.

Report two of them: they differ in what they assume. Known failures: D rewards width, a linear mixture scores .24 in 5
dimensions and above .9 in 64, so that only what exceeds the rotation null counts; correlated dimensions share
importance at random; "l1" sees linear relations only.

Source: C. Eastwood, C. K. I. Williams, "A framework for the quantitative evaluation of disentangled representations",
ICLR 2018; trees: P. Geurts et al., "Extremely randomized trees", Machine Learning 63, 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.inspection import permutation_importance

from m2l2_mir.disentangle.dimensions import halves, with_nulls
from m2l2_mir.disentangle.entropies import disentanglement_completeness
from m2l2_mir.disentangle.factors import Column, Factor
from m2l2_mir.disentangle.lasso import sparse_weights
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls
from m2l2_mir.errors import InputError

__all__ = ["Importance", "dci"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Importance = Literal["trees", "l1", "permutation"]

_TREES = {"n_estimators": 20, "max_features": None, "max_depth": 8, "min_samples_leaf": 3}
_REPEATS = 3
_SURE = 3.0  # standard errors by which a factor must be predicted better than by a constant


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    importance: Importance = "trees",
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = CLASSIC_NULLS,
    seed: int = 0,
) -> dict[str, Any]:
    """DCI of a code; see the module for importances and failures.

    Parameters
    ----------
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
    importance
        Of which model.
    schema, groups, nulls
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`; one half of the groups trains, the other tests.
    seed
        Of the trees.

    Returns
    -------
    dict
        ``disentanglement``, ``completeness``, ``informativeness``; ``importances`` R [D, F], each column with sum 1 (or
        0); ``accuracy`` [F], held out and beyond chance, or R^2; ``nulls``, ``intervals``.

    Raises
    ------
    InputError
        The importance is unknown.

    Examples
    --------
    >>> labels = np.random.default_rng(0).integers(0, 3, size=(400, 3))
    >>> found = dci(labels, labels, "l1", nulls=None)
    >>> round(found["disentanglement"], 1), round(found["completeness"], 1)
    (1.0, 1.0)
    """
    if importance not in get_args(Importance):
        raise InputError(f"importance is {importance!r}; take one of {', '.join(get_args(Importance))}")

    def measure(code: Floats, columns: list[Column], nuisance: Integers) -> dict[str, Any]:
        training, testing = halves(nuisance)
        if importance == "l1":
            raw, skills = _sparse(code, columns, nuisance, training, testing)
        else:
            raw, skills = _trees(code, columns, training, testing, importance, seed)
        accuracy, predicted = skills.T
        total = raw.sum(axis=0)
        matrix = np.where(predicted > 0, raw / np.where(total > 0, total, 1.0), 0.0)
        found = disentanglement_completeness(matrix)
        return {
            "disentanglement": float(found["D"]),
            "completeness": float(found["C"]),
            "informativeness": float(accuracy.mean()),
            "importances": matrix,
            "accuracy": accuracy,
        }

    return with_nulls(measure, codes, factors, schema=schema, groups=groups, nulls=nulls)


def _sparse(
    code: Floats, columns: list[Column], groups: Integers, training: Integers, testing: Integers
) -> tuple[Floats, Floats]:
    fitting, selecting = halves(np.unique(groups[training], return_inverse=True)[1])
    weights, predictions = sparse_weights(code, columns, training[fitting], training[selecting], testing)
    skills = []
    for column, scores in zip(columns, predictions, strict=True):
        predicted: Any = scores.argmax(axis=1)
        if column.factor.kind != "classes":
            known = column.target()[training]
            predicted = scores * known.std() + known.mean(axis=0)
        skills.append(_skill(predicted, column, training, testing))
    return np.stack([np.abs(of).sum(axis=1) for of in weights], axis=1), np.array(skills)


def _trees(
    code: Floats, columns: list[Column], training: Integers, testing: Integers, importance: str, seed: int
) -> tuple[Floats, Floats]:
    importances, skills = [], []
    for column in columns:
        classes = column.factor.kind == "classes"
        target = column.codes if classes else np.squeeze(column.target())
        model = (ExtraTreesClassifier if classes else ExtraTreesRegressor)(**_TREES, random_state=seed)
        model.fit(code[training], target[training])
        predicted = model.predict(code[testing])
        skills.append(_skill(predicted if classes else predicted.reshape(len(testing), -1), column, training, testing))
        if importance == "trees":
            importances.append(model.feature_importances_)
        else:
            lost = permutation_importance(
                model, code[testing], target[testing], n_repeats=_REPEATS, random_state=seed
            ).importances_mean
            importances.append(np.maximum(lost, 0.0))
    return np.stack(importances, axis=1), np.array(skills)


def _skill(predicted: Any, column: Column, training: Integers, testing: Integers) -> tuple[float, bool]:
    """Part of the held-out error of a constant prediction that is gone, and whether it is beyond chance."""
    if column.factor.kind == "classes":
        constant = (column.codes[testing] != np.bincount(column.codes[training]).argmax()).astype(np.float64)
        left = (column.codes[testing] != predicted).astype(np.float64)
    else:
        target = column.target()
        constant = np.square(target[testing] - target[training].mean(axis=0)).sum(axis=1)
        left = np.square(target[testing] - predicted).sum(axis=1)
    gain, error = constant - left, constant.mean()
    sure = gain.mean() > _SURE * gain.std() / np.sqrt(len(gain))
    return float(gain.mean() / error) if error > 0 else 0.0, bool(sure)
