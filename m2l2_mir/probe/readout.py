"""What every read-out shares: checks of its input, standardisation, inner folds.

Conventions
-----------
- A read-out is a scikit-learn estimator: ``fit(X, y, groups=None)``, then ``predict(X)``; learned attributes end in
  ``_``. An item is a row of X: one file, or one clip.
- Each column is standardised with the mean and standard deviation of the items given to ``fit``; a constant column
  becomes zero. The inner folds share these.
- Legal input that cannot support a fit gives a :class:`~m2l2_mir.probe.selection.ReadoutWarning` and a defined result:
  a single class or a constant target is predicted always; without two groups to hold out in turn, nothing is selected
  and the read-out falls back to a stated value.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from m2l2_mir.dataset.split import strata
from m2l2_mir.errors import InputError
from m2l2_mir.probe.selection import Fold, ReadoutWarning, inner_folds

__all__ = ["Readout", "ReadoutClassifier", "ReadoutRegressor"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Readout(BaseEstimator):  # type: ignore[misc]
    """Base of all read-outs; a child states its parameters, among them ``folds`` and ``random_state``."""

    folds: int
    random_state: int | np.random.RandomState | None
    scaler_: StandardScaler

    def _standardise(self, X: ArrayLike) -> Floats:
        """Check and standardise items to predict."""
        check_is_fitted(self)
        checked = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite=False)
        _check_finite(checked)
        return self.scaler_.transform(checked)

    def _fit_scaler(self, X: Floats) -> Floats:
        _check_finite(X)
        self.scaler_ = StandardScaler().fit(X)
        return self.scaler_.transform(X)

    def _inner_folds(self, classes: Integers, groups: ArrayLike | None) -> list[Fold]:
        if self.folds < 2:
            raise InputError(f"folds is {self.folds}; selection needs at least 2 inner folds")
        self._random = check_random_state(self.random_state)
        folds = inner_folds(classes, _group_codes(groups, len(classes)), self.folds, self._random)
        if not folds:
            self._warn("all training items are one group, so nothing is selected; give items of several groups")
        return folds

    def _warn(self, message: str) -> None:
        # Without figures, so that Python shows the same trouble of a thousand fits once.
        warnings.warn(f"{type(self).__name__}: {message}", ReadoutWarning, stacklevel=3)


class ReadoutClassifier(ClassifierMixin, Readout):  # type: ignore[misc]
    """A child learns from class codes (``_learn``) and gives probabilities of standardised items (``_probabilities``).

    Attributes
    ----------
    classes_ : np.ndarray [C]
        Labels, sorted.
    scaler_ : StandardScaler
        Mean and standard deviation of the training items.
    """

    classes_: NDArray[Any]

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Select and fit.

        Parameters
        ----------
        X : array-like [n, d]
        y : array-like [n]
            Labels.
        groups : array-like [n], optional
            Items of one group are never on both sides of an inner fold.

        Raises
        ------
        InputError
            NaN or infinity in X; groups of another length or missing; an impossible parameter.
        """
        checked, labels = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=False)
        check_classification_targets(labels)
        standard = self._fit_scaler(checked)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        folds = self._inner_folds(codes, groups)
        if len(self.classes_) == 1:
            self._warn("all training items are of one class, which is predicted always; give items of several classes")
        elif any(len(np.setdiff1d(codes[held_out], codes[training])) for training, held_out in folds):
            self._warn("a class lies in a single item or group, so selection leaves its items out; give it several")
        self._learn(standard, codes, folds)
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probability of each class: [n, d] -> [n, C]."""
        standard = self._standardise(X)
        return self._probabilities(standard) if len(self.classes_) > 1 else np.ones((len(standard), 1))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable label: [n, d] -> [n]."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def _learn(self, X: Floats, codes: Integers, folds: list[Fold]) -> None:
        raise NotImplementedError

    def _probabilities(self, X: Floats) -> Floats:
        raise NotImplementedError


class ReadoutRegressor(RegressorMixin, Readout):  # type: ignore[misc]
    """A child learns from numbers (``_learn``) and predicts standardised items (``_predict``).

    Attributes
    ----------
    scaler_ : StandardScaler
        Mean and standard deviation of the training items.
    """

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Select and fit.

        Parameters
        ----------
        X : array-like [n, d]
        y : array-like [n]
            Numbers.
        groups : array-like [n], optional
            Items of one group are never on both sides of an inner fold.

        Raises
        ------
        InputError
            NaN or infinity in X; groups of another length or missing; an impossible parameter.
        """
        checked, target = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=False, y_numeric=True)
        standard = self._fit_scaler(checked)
        target = target.astype(np.float64)
        folds = self._inner_folds(strata(pd.Series(target), self.folds), groups)
        if np.ptp(target) == 0:
            self._warn("all training targets are equal, and that number is predicted always; give several targets")
        self._learn(standard, target, folds)
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Predicted number: [n, d] -> [n]."""
        return self._predict(self._standardise(X))

    def _learn(self, X: Floats, y: Floats, folds: list[Fold]) -> None:
        raise NotImplementedError

    def _predict(self, X: Floats) -> Floats:
        raise NotImplementedError


def _check_finite(X: Floats) -> None:
    finite = np.isfinite(X).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{np.count_nonzero(~finite)} of {len(X)} items hold NaN or infinity, first item {int(finite.argmin())}; "
            "leave them out and count them"
        )


def _group_codes(groups: ArrayLike | None, items: int) -> Integers | None:
    if groups is None:
        return None
    codes, _ = pd.factorize(np.asarray(groups))
    if codes.shape != (items,):
        raise InputError(f"groups have shape {list(codes.shape)} for {items} items; name one group for each item")
    if (codes < 0).any():
        raise InputError(f"{np.count_nonzero(codes < 0)} of {items} items have no group; name one for each item")
    return codes.astype(np.int64)
