"""Linear read-outs: multinomial logistic regression and ridge regression, with the penalty selected inside ``fit``.

Conventions
-----------
- Both minimise a mean over items plus (penalty / 2) |W|^2 of the standardised input, intercept free, so that a penalty
  means the same for any number of items. In scikit-learn's terms ``LogisticRegression(C=1 / (n * penalty))``, with two
  classes ``C=2 / (n * penalty)`` since both have weights here, and ``Ridge(alpha=n * penalty)``.
- The penalty is the one with the highest score over all held-out items of the inner folds: the mean log probability of
  the true class in nats, or R^2. Log probability, not accuracy, since it moves with every item and keeps probabilities
  calibrated. A regression tries all penalties. A classification may end after two that score below the best, once the
  training items of the inner folds are explained but for a tenth of their entropy: weaker penalties then only
  sharpen what was learnt, while before that they let in directions of ever smaller variance, which may hold the label.
  It does so only with more items than columns, since fewer are explained by anything.
- Shrinkage treats all directions of equal variance alike: any rotation of the standardised input gives the same fit.
- Large sets: a fit on 80,000 of 100,000 tracks x 512 in ten classes took about 27 s of one core and 0.9 GiB beside the
  vectors, a regression 7 s. The 200 fits of a whole probe would be three quarters of an hour on two cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from scipy.special import softmax

from m2l2_mir.errors import InputError
from m2l2_mir.probe.readout import Readout, ReadoutClassifier, ReadoutRegressor
from m2l2_mir.probe.selection import Fold, best_candidate, warn_of_edge
from m2l2_mir.probe.softmax import eigenbasis, log_loss, solve, start

__all__ = ["PENALTIES", "LinearClassifier", "LinearRegressor"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PENALTIES = tuple(float(10 ** (exponent / 2)) for exponent in range(4, -15, -1))
"""From 100 to 1e-7, two per decade."""

_FALLBACK = 0.1  # penalty where inner folds cannot select one
_UNEXPLAINED = 0.1  # of the training items' entropy; with less left over, weaker penalties find nothing new
# Tolerances of the solver. Looser than the first, a weak penalty ends where its search began, near the solution of the
# stronger ones: it then seems to score as well as they do. The second gives weights to 0.1 % at penalties from 1e-3.
_SELECTING, _FITTING = 3e-5, 3e-7


class _Penalised(Readout):
    """Parameters and selection of the penalty."""

    def __init__(
        self,
        penalties: Sequence[float] = PENALTIES,
        *,
        folds: int = 3,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.penalties = penalties
        self.folds = folds
        self.random_state = random_state

    def _select(
        self, score: Callable[[float], float], exhausted: Callable[[], bool] = lambda: False, *, possible: bool
    ) -> None:
        """Set ``penalty_`` and what is known of the others; the score is asked for penalties from strong to weak."""
        self.penalties_ = _from_strong_to_weak(self.penalties)
        self.inner_scores_ = np.full(len(self.penalties_), np.nan)
        self.penalty_, self.edge_ = _FALLBACK, None
        if possible:
            best, self.inner_scores_ = best_candidate(
                len(self.penalties_), lambda candidate: score(float(self.penalties_[candidate])), exhausted
            )
            self.penalty_ = float(self.penalties_[best])
            self.edge_ = warn_of_edge(best, self.inner_scores_, ("strongest penalty", "weakest penalty"))


class LinearClassifier(ReadoutClassifier, _Penalised):
    """Multinomial logistic regression with an L2 penalty that is selected by inner folds.

    Parameters
    ----------
    penalties
        Candidates, positive, per item.
    folds
        Inner folds.
    random_state
        Of the inner folds; the same seed gives the same result.

    Attributes
    ----------
    classes_ : np.ndarray [C]
    coef_ : np.ndarray [C, d], or [1, d] with two classes
        Logits per standard deviation of each column.
    intercept_ : np.ndarray [C] or [1]
    penalty_ : float
        The selected one; 0.1 where inner folds cannot select.
    penalties_, inner_scores_ : np.ndarray [P]
        Candidates from strong to weak, and their mean log probability of the true class over held-out items, in nats;
        nan past the end of the search.
    edge_ : str or None
        The end of the candidates that was selected although its neighbour scored clearly worse.
    scaler_ : StandardScaler

    Notes
    -----
    See :mod:`m2l2_mir.probe.softmax` for the solver.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(90, 4))
    >>> y = np.where(X[:, 0] > 0, "major", "minor")
    >>> readout = LinearClassifier().fit(X, y)
    >>> readout.predict([[2.0, 0.0, 0.0, 0.0]]).tolist()
    ['major']
    """

    def decision_function(self, X: ArrayLike) -> Floats:
        """Logits: [n, d] -> [n, C]; with two classes [n], of the second against the first."""
        logits = self._standardise(X) @ self.coef_.T + self.intercept_
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def _probabilities(self, X: Floats) -> Floats:
        logits = X @ self.coef_.T + self.intercept_
        if logits.shape[1] == 1:
            logits = np.hstack([np.zeros_like(logits), logits])
        return softmax(logits, axis=1)

    def _learn(self, X: Floats, codes: Integers, folds: list[Fold]) -> None:
        values, vectors = eigenbasis(X)
        rotated = np.hstack([X @ vectors, np.ones((len(X), 1))])
        one_hot = np.eye(len(self.classes_))[codes]
        paths = [_Path(rotated, one_hot, values, *fold) for fold in folds]
        scored = sum(path.scored for path in paths)
        self._select(
            lambda penalty: -sum(path.step(penalty) for path in paths) / scored,
            lambda: all(path.exhausted() for path in paths),
            possible=scored > 0,
        )
        first = start(one_hot, rotated.shape[1])
        weights = solve(rotated, one_hot, self.penalty_, values, first, tolerance=_FITTING)
        coefficients, intercepts = (vectors @ weights[:-1]).T, weights[-1]
        if len(self.classes_) == 2:
            coefficients, intercepts = np.diff(coefficients, axis=0), np.diff(intercepts)
        self.coef_, self.intercept_ = coefficients, intercepts


class LinearRegressor(ReadoutRegressor, _Penalised):
    """Ridge regression with a penalty that is selected by inner folds.

    Parameters
    ----------
    penalties
        Candidates, positive, per item.
    folds
        Inner folds.
    random_state
        Of the inner folds; the same seed gives the same result.

    Attributes
    ----------
    coef_ : np.ndarray [d]
        Units of the target per standard deviation of each column.
    intercept_ : float
    penalty_ : float
        The selected one; 0.1 where inner folds cannot select.
    penalties_, inner_scores_ : np.ndarray [P]
        Candidates from strong to weak, and their R^2 over held-out items; nan where inner folds cannot select.
    edge_ : str or None
        The end of the candidates that was selected although its neighbour scored clearly worse.
    scaler_ : StandardScaler

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(90, 4))
    >>> readout = LinearRegressor().fit(X, 120 + 10 * X[:, 0])
    >>> readout.predict([[2.0, 0.0, 0.0, 0.0]]).round().tolist()
    [140.0]
    """

    def _predict(self, X: Floats) -> Floats:
        return X @ self.coef_ + self.intercept_

    def _learn(self, X: Floats, y: Floats, folds: list[Fold]) -> None:
        penalties = _from_strong_to_weak(self.penalties)
        paths = [_ridge(X[training], y[training], penalties) for training, _ in folds]
        spread = float(np.sum((y - y.mean()) ** 2)) or 1.0

        def score(_: float) -> float:
            error = 0.0
            for (_training, held_out), path in zip(folds, paths, strict=True):
                coefficients, intercept = next(path)
                error += float(np.sum((y[held_out] - X[held_out] @ coefficients - intercept) ** 2))
            return 1 - error / spread

        self._select(score, possible=bool(folds))
        self.coef_, self.intercept_ = next(_ridge(X, y, [self.penalty_]))


class _Path:
    """The weights of one inner fold, from the strongest penalty to weaker ones."""

    def __init__(
        self, X: Floats, one_hot: Floats, values: Floats, training: NDArray[np.intp], held_out: NDArray[np.intp]
    ) -> None:
        # A class with nothing to learn from has no finite weights; its held-out items say nothing about penalties.
        known = one_hot[training].any(axis=0)
        held_out = held_out[one_hot[held_out][:, known].any(axis=1)]
        # Selection needs few digits: float32 halves its time.
        self._X = X[training].astype(np.float32)
        self._targets = one_hot[np.ix_(training, known)].astype(np.float32)
        self._values = values
        self._held_out = X[held_out]
        self._codes = one_hot[np.ix_(held_out, known)].argmax(axis=1) if len(held_out) else np.empty(0, dtype=np.int64)
        self._weights = start(self._targets, X.shape[1])
        self.scored = len(held_out)

    def step(self, penalty: float) -> float:
        """Sum of negative log probabilities of the held-out items at the next, weaker penalty."""
        self._weights = solve(self._X, self._targets, penalty, self._values, self._weights, tolerance=_SELECTING)
        return log_loss(self._held_out @ self._weights, self._codes)

    def exhausted(self) -> bool:
        """Whether the training items are more than columns, and leave weaker penalties nothing to explain."""
        items, columns = self._X.shape
        if items <= columns:
            return False
        codes = self._targets.argmax(axis=1)
        by_shares = log_loss(self._X @ start(self._targets, columns), codes)
        return log_loss(self._X @ self._weights, codes) <= _UNEXPLAINED * by_shares


def _ridge(X: Floats, y: Floats, penalties: Sequence[float] | Floats) -> Iterator[tuple[Floats, float]]:
    """Coefficients [d] and intercept of each penalty, from one product of X with itself, the smaller of the two."""
    n, d = X.shape
    mean, centre = X.mean(axis=0), float(y.mean())
    X, y = X - mean, y - centre
    product = X.T @ X if d <= n else X @ X.T
    moment = X.T @ y if d <= n else y
    for penalty in penalties:
        penalised = product.copy()
        penalised.flat[:: len(product) + 1] += n * penalty
        solution = linalg.solve(penalised, moment, assume_a="pos", overwrite_a=True, check_finite=False)
        coefficients = solution if d <= n else X.T @ solution
        yield coefficients, centre - float(mean @ coefficients)


def _from_strong_to_weak(penalties: Sequence[float]) -> Floats:
    ordered = np.sort(np.asarray(penalties, dtype=np.float64).ravel())[::-1]
    if not len(ordered) or not (np.isfinite(ordered) & (ordered > 0)).all():
        raise InputError(f"penalties are {list(penalties)}; give one or more positive numbers")
    return ordered
