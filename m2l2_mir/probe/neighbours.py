"""Nearest neighbours by cosine distance, with their number selected inside ``fit``.

Conventions
-----------
- Distances are between standardised items; each of the k nearest neighbours has one vote, or an equal share of the
  mean.
- k is the one with the highest accuracy or R^2 over all held-out items of the inner folds; of equals, the largest. No k
  exceeds the training items of an inner fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from m2l2_mir.errors import InputError
from m2l2_mir.probe.readout import Readout, ReadoutClassifier, ReadoutRegressor
from m2l2_mir.probe.selection import Fold, warn_of_edge

__all__ = ["NEIGHBOURS", "NearestNeighbourClassifier", "NearestNeighbourRegressor"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NEIGHBOURS = (1, 3, 5, 9, 15, 25, 45)

_FALLBACK = 5  # neighbours where inner folds cannot select their number


class _Neighbours(Readout):
    """Parameters, and the selection of the number of neighbours."""

    def __init__(
        self,
        neighbours: Sequence[int] = NEIGHBOURS,
        *,
        folds: int = 3,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.neighbours = neighbours
        self.folds = folds
        self.random_state = random_state

    def _select(self, X: Floats, values: Floats, folds: list[Fold], score: Callable[[Floats, Integers], float]) -> None:
        """Keep items and their values [n] or [n, C]; `score` gives a part of the inner score from means."""
        self.vectors_, self.values_ = X, values
        offered = np.unique(np.asarray(self.neighbours).ravel())[::-1]
        if not len(offered) or offered.dtype.kind not in "iu" or offered[-1] < 1:
            raise InputError(f"neighbours are {list(self.neighbours)}; give one or more whole numbers from 1")
        fewest = min((len(training) for training, _ in folds), default=len(X))
        self.neighbours_ = np.unique(np.minimum(offered, fewest))[::-1]
        scores = np.zeros(len(self.neighbours_))
        for training, held_out in folds:
            order = _nearest(X[training], X[held_out], int(self.neighbours_[0]))
            for i, number in enumerate(self.neighbours_):
                scores[i] += score(values[training[order[:, :number]]].mean(axis=1), held_out)
        self.edge_ = None
        if folds:
            best = int(scores.argmax())  # the largest of equals
            self.n_neighbours_ = int(self.neighbours_[best])
            if offered[0] < fewest:
                self.edge_ = warn_of_edge(best, scores, ("largest number of neighbours", None))
        else:
            scores[:] = np.nan
            self.n_neighbours_ = min(_FALLBACK, fewest)
        self.inner_scores_ = scores

    def _means(self, X: Floats) -> Floats:
        return self.values_[_nearest(self.vectors_, X, self.n_neighbours_)].mean(axis=1)


class NearestNeighbourClassifier(ReadoutClassifier, _Neighbours):
    """Vote of the k nearest neighbours by cosine distance, with k selected by inner folds.

    Parameters
    ----------
    neighbours
        Candidates for k.
    folds
        Inner folds.
    random_state
        Of the inner folds; the same seed gives the same result.

    Attributes
    ----------
    classes_ : np.ndarray [C]
    n_neighbours_ : int
        The selected one; 5 (or all items, if fewer) where inner folds cannot select.
    neighbours_, inner_scores_ : np.ndarray [candidates]
        Candidates from many to few, and their accuracy over held-out items.
    edge_ : str or None
        Whether the largest candidate was selected although the next one scored clearly worse.
    vectors_, values_ : np.ndarray [n, d], [n, C]
        Standardised training items, their classes one-hot.
    scaler_ : StandardScaler

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(90, 4)) + 2
    >>> readout = NearestNeighbourClassifier().fit(X, np.where(X[:, 0] > 2, "major", "minor"))
    >>> readout.predict([[5.0, 2.0, 2.0, 2.0]]).tolist()
    ['major']
    """

    def _learn(self, X: Floats, codes: Integers, folds: list[Fold]) -> None:
        def score(votes: Floats, held_out: Integers) -> float:
            return float(np.sum(votes.argmax(axis=1) == codes[held_out])) / len(codes)

        self._select(X, np.eye(len(self.classes_))[codes], folds, score)

    def _probabilities(self, X: Floats) -> Floats:
        return self._means(X)


class NearestNeighbourRegressor(ReadoutRegressor, _Neighbours):
    """Mean of the k nearest neighbours by cosine distance, with k selected by inner folds.

    Parameters
    ----------
    neighbours, folds, random_state
        As in :class:`NearestNeighbourClassifier`.

    Attributes
    ----------
    n_neighbours_, neighbours_, edge_, vectors_, scaler_
        As in :class:`NearestNeighbourClassifier`.
    inner_scores_ : np.ndarray [candidates]
        R^2 over held-out items.
    values_ : np.ndarray [n]
        Training targets.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> readout = NearestNeighbourRegressor().fit(X, 100 + 20 * (X[:, 0] > 0))
    >>> readout.predict([[3.0, 0.0]]).tolist()
    [120.0]
    """

    def _learn(self, X: Floats, y: Floats, folds: list[Fold]) -> None:
        spread = float(np.sum((y - y.mean()) ** 2)) or 1.0

        def score(means: Floats, held_out: Integers) -> float:
            # R^2 of all held-out items is the sum of these.
            return len(held_out) / len(y) - float(np.sum((y[held_out] - means) ** 2)) / spread

        self._select(X, y, folds, score)

    def _predict(self, X: Floats) -> Floats:
        return self._means(X)


def _nearest(items: Floats, queries: Floats, number: int) -> NDArray[np.intp]:
    """Indices of the nearest items, nearest first: [queries, number]."""
    search = NearestNeighbors(n_neighbors=number, metric="cosine", algorithm="brute").fit(items)
    return search.kneighbors(queries, return_distance=False)
