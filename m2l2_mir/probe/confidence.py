"""How sure an estimate is: the chance that it is right, learnt from predictions on tracks held out.

confidence = sigmoid(slope * logit(highest probability) + offset)

The probability that a read-out gives its best class is not the chance of being right: read-outs are over- or
underconfident, and a tempo within 4 % is more than one bin of bpm. So the two are related by logistic regression on the
held-out predictions of the cross-validation, whose read-outs had the track itself nowhere in training, nor its group
where the split keeps groups whole; where it does not, the confidence is for tracks of known groups. A read-out without
probabilities, or whose probabilities do not tell right from wrong on held-out groups, has one confidence for all
tracks: the share that was right.

Sources: J. Platt, "Probabilistic outputs for support vector machines", 1999, with its targets, which stay inside 0 and
1; slope and offset on predictions of cross-validation and the read-out on all items, as scikit-learn's
``CalibratedClassifierCV(ensemble=False)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from m2l2_mir.errors import InputError
from m2l2_mir.probe.selection import inner_folds

__all__ = ["Confidence"]

Floats = NDArray[np.float64]

_CLIP = 1e-6
_PARTS = 5  # that groups are dealt into


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """From the highest probability of a read-out to the chance that its estimate is right.

    Parameters
    ----------
    slope, offset
        Of the logistic curve; slope 0: the same for all tracks.
    brier, brier_constant
        Mean squared error of the confidence on held-out groups that the curve was not learnt from, and that of the
        share of right estimates alone. Where the first is not smaller, the slope is 0.
    """

    slope: float
    offset: float
    brier: float
    brier_constant: float

    def __post_init__(self) -> None:
        values = (self.slope, self.offset, self.brier, self.brier_constant)
        if not np.isfinite(values).all() or self.slope < 0:
            raise InputError(
                f"slope, offset and errors of a confidence are {values}; they must be finite, the slope >= 0"
            )

    @classmethod
    def learn(cls, probability: ArrayLike | None, right: ArrayLike, groups: ArrayLike, tracks: ArrayLike) -> Self:
        """Learn from held-out predictions.

        Parameters
        ----------
        probability : array-like [predictions] or None
            The highest of each; None of a regression.
        right : array-like [predictions]
            0 or 1.
        groups : array-like [predictions]
            Of the tracks. Parts of them are left out in turn, in all seeds at once, to see what the curve is worth; a
            fold would not do, since it holds other tracks for each seed.
        tracks : array-like [predictions]
            Predictions of one track, from several seeds, count as one.

        Returns
        -------
        Confidence

        Examples
        --------
        >>> probability, right = [0.9, 0.8, 0.6, 0.4] * 30, [1, 1, 0, 0] * 30
        >>> sure = Confidence.learn(probability, right, np.arange(120) % 3, np.arange(120))
        >>> bool(sure(0.9) > 0.9), bool(sure(0.4) < 0.1)
        (True, True)
        """
        hits = np.asarray(right, dtype=np.float64)
        if not len(hits):
            raise InputError("there are no held-out predictions to learn a confidence from")
        shares = np.full(len(hits), 0.5) if probability is None else np.asarray(probability, dtype=np.float64)
        _, place, seen = np.unique(np.asarray(tracks), return_inverse=True, return_counts=True)
        weights = 1 / seen[place]
        codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        curve, constant = np.empty(len(hits)), np.empty(len(hits))
        everything = np.arange(len(hits))
        parts = inner_folds((hits > 0).astype(np.int64), codes, _PARTS, np.random.RandomState(0))
        for others, held_out in parts or [(everything, everything)]:  # of a single group there is nothing better
            for answer, slopes in ((curve, True), (constant, False)):
                slope, offset = _fit(shares[others], hits[others], weights[others], slopes=slopes)
                answer[held_out] = expit(slope * _logit(shares[held_out]) + offset)
        brier, brier_constant = (
            float(np.average((answer - hits) ** 2, weights=weights)) for answer in (curve, constant)
        )
        slope, offset = _fit(shares, hits, weights, slopes=brier < brier_constant)
        return cls(slope=slope, offset=offset, brier=brier if slope else brier_constant, brier_constant=brier_constant)

    def __call__(self, probability: ArrayLike) -> Floats:
        """Chance of being right, for highest probabilities of any shape."""
        return np.asarray(expit(self.slope * _logit(np.asarray(probability, dtype=np.float64)) + self.offset))


def _fit(shares: Floats, hits: Floats, weights: Floats, *, slopes: bool) -> tuple[float, float]:
    positive, negative = float(weights @ hits), float(weights @ (1 - hits))
    targets = np.where(hits > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    base = float(np.average(targets, weights=weights))
    if slopes and np.ptp(shares):
        # Each prediction stands twice, as right and as wrong, weighted by its target.
        doubled = np.tile(_logit(shares), 2)[:, None]
        classes = np.repeat([1, 0], len(shares))
        both = np.concatenate([weights * targets, weights * (1 - targets)])
        fitted = LogisticRegression(C=np.inf, max_iter=1000).fit(doubled, classes, sample_weight=both)
        if fitted.coef_[0, 0] > 0:
            return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return 0.0, float(logit(base))


def _logit(shares: Floats) -> Floats:
    return np.asarray(logit(np.clip(shares, _CLIP, 1 - _CLIP)))
