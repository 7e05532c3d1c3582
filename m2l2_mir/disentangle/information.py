r"""Held-out predictive information: how many bits of a factor a linear probe reads from a part of a code.

    I[f] = 1 - L / L0,   L = - mean_i log p(f_i | x_i),   L0 = - mean_i log p(f_i)

Conventions
-----------
* Classes: L0 is the loss of the frequencies in training, about the entropy, so I is the share of the factor's entropy
  that is read: a lower bound of the normalised mutual information [1]_. A mutual information in bits would grow with
  the number of classes, and accuracies have different floors; shares of entropy compare between factors.
* Continuous and cyclic factors have no entropy to take a share of. Their gain of log density over the prior (with
  Gaussian errors - 1/2 log(1 - R^2)) is set against log(levels), the entropy of as many equal classes, so that a
  number scores about as its cut into that many classes does: read with noise of .8, .4 and .2 standard deviations,
  .22, .47 and .79, its cut into eight .20, .41 and .62. R^2, with .61, .86 and .96, would not compare with classes.
* The probe: linear log odds. Ridge regression on the target (one-hot, number, or cosine and sine) with penalties per
  item and isotropic, which any rotation of the input leaves as they are; then, for classes, optimal scoring of the
  fitted values, which makes penalised linear discriminant analysis of them [2]_ with softmax probabilities, as
  multinomial logistic regression has. Gaussian with one error variance for numbers, von Mises for cyclic factors.
* Why not logistic regression itself: everything before the softmax follows from the sums X'X and X'Y of each fold, so
  that one eigendecomposition serves all factors and all permutations of their labels. Where the classes of a code are
  far from normal with one covariance, logistic regression reads more; on the toy codes the scores differ by less than
  .03 and their order does not (tests).
* Nested: folds of whole groups; the other folds, one held out in turn, select the penalty by squared error and then the
  scale of the log odds (for numbers, slope and error variance) by log loss. What is overconfident is so brought back
  towards the prior; what knows nothing becomes the prior, and scores about 0.

References
----------
.. [1] Y. Xu et al., "A theory of usable information under computational constraints", ICLR 2020.
.. [2] T. Hastie, A. Buja, R. Tibshirani, "Penalized discriminant analysis", Annals of Statistics 23(1), 1995.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.densities import density
from m2l2_mir.disentangle.factors import Column
from m2l2_mir.errors import InputError
from m2l2_mir.probe.selection import inner_folds

__all__ = ["PENALTIES", "Probes", "dealt", "information"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.intp]

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Per item, of input scaled to a mean variance of 1."""

_CHUNK = 1 << 22  # numbers of one block of permutations, 16 MiB


def information(losses: Floats, baseline: Floats) -> Floats:
    """Share of what is to be known that is read, 0 to 1, from losses of items: [..., n] and [..., n] -> [...].

    >>> information(np.array([0.2, 0.4]), np.array([1.0, 1.0])).round(3).item()
    0.7
    """
    return np.clip(1 - losses.mean(axis=-1) / baseline.mean(axis=-1), 0.0, 1.0)


def dealt(groups: Integers, folds: int = 5, seed: int = 0) -> Integers:
    """Fold of each item [n] from its group, numbered from 0; a group lies in one fold.

    Raises
    ------
    InputError
        There are fewer groups than folds, or fewer than 3 folds.

    Examples
    --------
    >>> np.bincount(dealt(np.arange(9), 3)).tolist()
    [3, 3, 3]
    """
    if folds < 3:
        raise InputError(f"{folds} folds; nested selection needs 3 or more")
    nothing = np.zeros(len(groups), dtype=np.int64)
    parts = inner_folds(nothing, groups.astype(np.int64), folds, np.random.RandomState(seed))
    if len(parts) < folds:
        raise InputError(f"{len(np.unique(groups))} groups do not make {folds} folds; give more groups or fewer folds")
    fold = np.empty(len(groups), dtype=np.intp)
    for number, (_, held_out) in enumerate(parts):
        fold[held_out] = number
    return fold


class Probes:
    """Probes of several codes of equal width, on the same items and in the same folds.

    Parameters
    ----------
    codes : np.ndarray [R, n, d]
        Centred and scaled to a mean variance of 1 here, each by itself.
    fold : np.ndarray [n]
        Fold of each item, as of :func:`dealt`: one is held out, and of the others each in turn.
    training : np.ndarray [n] of bool, optional
        Items that probes may learn from when their fold is not held out; None: all. The others are predicted only.
    """

    def __init__(self, codes: Floats, fold: Integers, training: NDArray[np.bool_] | None = None) -> None:
        learnt = np.ones(len(fold), dtype=bool) if training is None else training
        self.order = np.lexsort((~learnt, fold))  # of each fold first what is learnt from
        self._bounds = np.cumsum([0, *np.bincount(fold)])
        self._folds = range(len(self._bounds) - 1)
        self._sizes = np.bincount(fold[learnt], minlength=len(self._folds))
        centred = codes[:, self.order] - codes.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.square(centred).mean(axis=(1, 2), keepdims=True))
        scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
        self._X: Singles = scaled.astype(np.float32)
        parts = [scaled[:, self._learnt(fold)] for fold in self._folds]
        self._sums = np.stack([part.sum(axis=1) for part in parts])  # [folds, R, d]
        self._grams = np.stack([part.swapaxes(1, 2) @ part for part in parts])  # [folds, R, d, d]
        self._bases = {left: self._basis(left) for many in (1, 2) for left in combinations(self._folds, many)}
        self._turned = {pair: self._held_out_gram(*pair) for pair in permutations(self._folds, 2)}

    def losses(self, column: Column, rows: Integers | None = None) -> tuple[Floats, Floats]:
        """Held-out losses of a factor, and of its prior.

        Parameters
        ----------
        column
            The factor, n items.
        rows : np.ndarray [P, n], optional
            Permutations: item i gets the label of item ``rows[p, i]``. None: the labels as they are.

        Returns
        -------
        losses : np.ndarray [R, P, n]
            In nats. Of continuous and cyclic factors: log(levels) less the gain of log density.
        baseline : np.ndarray [P, n]
            P is 1 without permutations.
        """
        n = len(self.order)
        chosen = np.arange(n)[None] if rows is None else rows
        target = np.ascontiguousarray(column.target().T.astype(np.float32))  # [C, n]
        losses = np.empty((self._X.shape[0], len(chosen), n))
        baseline = np.empty((len(chosen), n))
        step = max(1, _CHUNK // (len(target) * n * len(losses)))
        for first in range(0, len(chosen), step):
            block = slice(first, first + step)
            permuted = target[:, chosen[block][:, self.order]].swapaxes(0, 1)  # [P, C, n]
            losses[:, block, self.order], baseline[block, self.order] = self._nested(column, permuted)
        return losses, baseline

    def scores(self, column: Column) -> Iterator[tuple[Integers, Singles]]:
        """Of each fold its items, and their held-out log odds [R, C, items] less the prior's, not scaled."""
        target = np.ascontiguousarray(column.target()[self.order].astype(np.float32))
        fits = self._fits(column, target, (1, target.shape[1]))
        for outer in self._folds:
            part = self._part(outer)
            yield self.order[part], fits.scores((outer,), part, fits.penalty(outer))[:, 0]

    def means(self, column: Column, rows: Integers) -> Floats:
        """Information [P, R] of permuted labels."""
        return information(*self.losses(column, rows)).T

    def _nested(self, column: Column, target: Singles) -> tuple[Floats, Floats]:
        count, columns, n = target.shape
        fits = self._fits(column, np.ascontiguousarray(target.reshape(-1, n).T), (count, columns))
        losses = np.empty((len(self._X), count, n))
        baseline = np.empty((count, n))
        for outer in self._folds:
            part = self._part(outer)
            penalty = fits.penalty(outer)
            inner = {fold: self._learnt(fold) for fold in self._folds if fold != outer}
            scores = np.concatenate([fits.scores((outer, fold), of, penalty) for fold, of in inner.items()], axis=-1)
            known = np.concatenate([target[..., of] for of in inner.values()], axis=-1)
            predicted = density(column, known)
            predicted.scale(scores, known)
            held_out = fits.scores((outer,), part, penalty)
            losses[..., part], baseline[:, part] = predicted.losses(held_out, target[..., part])
        return losses, baseline

    def _fits(self, column: Column, flat: Singles, shape: tuple[int, int]) -> _Fits:
        """Of targets [n, P*C] in the order of the folds."""
        learnt = [self._learnt(fold) for fold in self._folds]
        totals = np.stack([flat[of].sum(axis=0, dtype=np.float64) for of in learnt])
        moments = np.stack([self._X[:, of].swapaxes(1, 2) @ flat[of] for of in learnt])
        return _Fits(self, shape, totals, moments.astype(np.float64), column.factor.kind == "classes")

    def _part(self, fold: int) -> slice:
        return slice(self._bounds[fold], self._bounds[fold + 1])

    def _learnt(self, fold: int) -> slice:
        return slice(self._bounds[fold], self._bounds[fold] + self._sizes[fold])

    def _basis(self, left_out: tuple[int, ...]) -> tuple[Floats, Floats, Floats, int]:
        """Eigenvalues, eigenvectors, mean and number of the items to learn from outside some folds."""
        kept = [fold for fold in self._folds if fold not in left_out]
        n = int(self._sizes[kept].sum())
        mean = self._sums[kept].sum(axis=0) / n
        values, vectors = np.linalg.eigh(self._grams[kept].sum(axis=0) / n - mean[:, :, None] * mean[:, None])
        return np.maximum(values, 0), vectors, mean, n

    def _held_out_gram(self, outer: int, inner: int) -> Floats:
        """Second moments of what `inner` has to learn from, about the means of training without both, in its basis."""
        _, vectors, mean, _ = self._bases[min(outer, inner), max(outer, inner)]
        size, crossed = self._sizes[inner], mean[:, :, None] * self._sums[inner][:, None]
        gram = self._grams[inner] - crossed - crossed.swapaxes(1, 2) + size * mean[:, :, None] * mean[:, None]
        return vectors.swapaxes(1, 2) @ gram @ vectors


class _Fits:
    """Ridge fits of one factor and its permutations, from sums over folds."""

    def __init__(self, probes: Probes, shape: tuple[int, int], totals: Floats, moments: Floats, classes: bool) -> None:
        self._probes, self._classes = probes, classes
        self._totals, self._moments = totals, moments  # [folds, P*C], [folds, R, d, P*C]
        self._shape = shape  # P, C

    def penalty(self, outer: int) -> Floats:
        """Penalty [R, P] with the least squared error over the other folds, each held out in turn."""
        probes = self._probes
        errors: Floats | float = 0.0
        for inner in probes._folds:
            if inner == outer:
                continue
            values, vectors, mean, _ = probes._bases[min(outer, inner), max(outer, inner)]
            moment, share = self._moment((outer, inner))
            size, total, added = probes._sizes[inner], probes._sums[inner], self._totals[inner]
            # Sums of the held-out fold about the means of training, in the eigenbasis.
            about = self._moments[inner] - mean[:, :, None] * added - (total - size * mean)[:, :, None] * share
            held_out = vectors.swapaxes(1, 2) @ about
            gram = probes._turned[outer, inner]
            errors = errors + np.stack(
                [self._error(moment / (values + penalty)[:, :, None], gram, held_out) for penalty in PENALTIES]
            )
        return np.asarray(PENALTIES)[np.argmin(errors, axis=0)]

    def scores(self, left_out: tuple[int, ...], part: slice, penalty: Floats) -> Singles:
        """Centred predictions, or log odds less the prior's, of some items in the order of folds: [R, P, C, items]."""
        probes = self._probes
        values, vectors, mean, n = probes._bases[tuple(sorted(left_out))]
        moment, share = self._moment(left_out)
        moment = np.ascontiguousarray(moment.reshape(*moment.shape[:2], *self._shape).transpose(0, 2, 3, 1))
        weights = moment / (values[:, None] + penalty[..., None])[:, :, None]  # [R, P, C, d]
        offset: Floats | float = 0.0
        if self._classes:
            shares = np.maximum(share.reshape(self._shape), 0.5 / n)
            explained = moment @ np.ascontiguousarray(weights.swapaxes(2, 3))  # [R, P, C, C]
            inverse = np.linalg.inv(shares[..., None] * np.eye(self._shape[1]) * (1 + 1e-9) - explained)
            weights = inverse @ weights  # symmetric: W^-1 mu of the within-class covariance W
            offset = -0.5 * (explained * inverse).sum(axis=-1) / shares
        flat = weights.reshape(len(weights), -1, weights.shape[-1]) @ np.ascontiguousarray(vectors.swapaxes(1, 2))
        constant = np.asarray(offset) - (flat @ mean[:, :, None]).reshape(len(flat), *self._shape)
        items = np.ascontiguousarray(probes._X[:, part].swapaxes(1, 2))
        products = flat.astype(np.float32) @ items
        return products.reshape(len(flat), *self._shape, -1) + constant.astype(np.float32)[..., None]

    def _moment(self, left_out: tuple[int, ...]) -> tuple[Floats, Floats]:
        """Covariance of input and target outside some folds in their eigenbasis [R, d, P*C], and target means [P*C]."""
        probes = self._probes
        kept = [fold for fold in probes._folds if fold not in left_out]
        _, vectors, mean, n = probes._bases[tuple(sorted(left_out))]
        share = self._totals[kept].sum(axis=0) / n
        moment = self._moments[kept].sum(axis=0) / n - mean[:, :, None] * share
        return vectors.swapaxes(1, 2) @ moment, share

    def _error(self, weights: Floats, gram: Floats, held_out: Floats) -> Floats:
        error = (weights * (gram @ weights - 2 * held_out)).sum(axis=1)
        return error.reshape(len(error), *self._shape).sum(axis=-1)
