"""What is predicted of a factor, as a probability: softmax, Gaussian or von Mises, with a fitted scale.

Conventions
-----------
* Scores are [R, P, C, items]: of R codes and P permutations, linear in the code, 0 where nothing is known. A scale
  [R, P] of at least 0 multiplies them before they are added to the prior; it is fitted by maximum likelihood on items
  that the scores were not fitted to, and 0 gives the prior back.
* Targets are [P, C, items], see :meth:`m2l2_mir.disentangle.factors.Column.target`; losses [R, P, items] and baseline
  [P, items], in nats, as :mod:`m2l2_mir.disentangle.information` defines them.
* Scales are bounded where more would count nothing: a number is not told better than to one of its levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0e, i1e

from m2l2_mir.disentangle.factors import Column

__all__ = ["Density", "density"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_STEPS = 8
_MOST = 10.0  # of log odds; those of discriminant analysis need none above 1 but for heavy tails
_ENOUGH = 1000  # items for one number, of which every so many are taken


class Density(Protocol):
    """A family of densities about a prior."""

    def scale(self, scores: Singles, target: Singles) -> None:
        """Fit the scale [R, P]."""

    def losses(self, scores: Singles, target: Singles) -> tuple[Floats, Floats]:
        """Losses [R, P, items], and [P, items] of the prior alone."""


def density(column: Column, known: Singles) -> Density:
    """The family of a factor's kind, with its prior from known targets [P, C, items]."""
    if column.factor.kind == "classes":
        return _Softmax(known)
    return (_Gaussian if column.factor.kind == "continuous" else _VonMises)(known, column.factor.levels)


class _Softmax:
    """p(c) proportional to exp(log prior(c) + scale * score(c)); the prior has half an item of each class added."""

    def __init__(self, known: Singles) -> None:
        counts = known.sum(axis=-1, dtype=np.float64) + 0.5  # [P, C]
        self._prior = np.log(counts / counts.sum(axis=-1, keepdims=True)).astype(np.float32)

    def scale(self, scores: Singles, target: Singles) -> None:
        scores, target = _thinned(scores, target)
        true = (scores * target).sum(axis=2).mean(axis=-1)

        def slope(scale: Floats) -> tuple[Floats, Floats]:
            chances, total, _ = self._chances(scores, scale)
            chances *= scores
            mean = chances.sum(axis=2) / total
            chances *= scores
            square = chances.sum(axis=2) / total - mean**2
            return mean.mean(axis=-1) - true, square.mean(axis=-1)

        self._scale = _search(slope, true.shape, _MOST)

    def losses(self, scores: Singles, target: Singles) -> tuple[Floats, Floats]:
        _, total, exponents = self._chances(scores, self._scale)
        losses = np.log(total) - (exponents * target).sum(axis=2)
        return losses, -np.einsum("pc,pci->pi", self._prior, target)

    def _chances(self, scores: Singles, scale: Floats) -> tuple[Singles, Singles, Singles]:
        """Probabilities before division by their sum [R, P, items], that sum, and exponents."""
        exponents = scores * scale.astype(np.float32)[..., None, None]
        exponents += self._prior[..., None]
        exponents -= exponents.max(axis=2, keepdims=True)
        chances = np.exp(exponents)
        return chances, chances.sum(axis=2), exponents


class _Gaussian:
    """Normal about prior mean + scale * score, with one variance; the prior is normal too."""

    def __init__(self, known: Singles, levels: int) -> None:
        self._mean, self._spread = known.mean(axis=-1), np.maximum(known.std(axis=-1), 1e-30)  # [P, 1]
        self._levels = levels

    def scale(self, scores: Singles, target: Singles) -> None:
        fitted, true = self._standard(scores), self._standard(target - self._mean[..., None])
        power = np.square(fitted).sum(axis=-1)
        slope = (fitted * true).sum(axis=-1) / np.where(power > 0, power, 1.0)
        self._scale = np.maximum(slope, 0.0)[..., None]
        error = np.square(true - self._scale * fitted).mean(axis=-1)
        self._variance = np.clip(error, self._levels**-2, 1.0)[..., None]

    def losses(self, scores: Singles, target: Singles) -> tuple[Floats, Floats]:
        true = self._standard(target - self._mean[..., None])
        error = np.square(true - self._scale * self._standard(scores))
        gain = 0.5 * (np.square(true) - error / self._variance - np.log(self._variance))
        room = math.log(self._levels)
        return room - gain, np.full(true.shape, room)

    def _standard(self, centred: Singles) -> Floats:
        return centred[..., 0, :].astype(np.float64) / self._spread


class _VonMises:
    """p(angle) proportional to exp(eta . (cos, sin)), eta = eta of the prior + scale * score."""

    def __init__(self, known: Singles, levels: int) -> None:
        mean = known.mean(axis=-1, dtype=np.float64)  # [P, 2]
        length = np.linalg.norm(mean, axis=-1, keepdims=True)
        # Concentration of a mean length: A. Banerjee et al., JMLR 6, 2005, equation 4.4.
        self._prior = (mean * (2 - length**2) / np.maximum(1 - length**2, 1e-9))[..., None]
        self._room = math.log(levels)
        self._most = math.e * levels**2 / (2 * math.pi)  # concentration that is worth log(levels)

    def scale(self, scores: Singles, target: Singles) -> None:
        scores, target = _thinned(scores, target)
        true = (scores * target).sum(axis=2).mean(axis=-1)
        length = np.square(scores).sum(axis=2)

        def slope(scale: Floats) -> tuple[Floats, Floats]:
            eta = self._prior + scale[..., None, None] * scores
            size = np.maximum(np.linalg.norm(eta, axis=2), 1e-9)
            along = (eta * scores).sum(axis=2) / size
            mean = i1e(size) / i0e(size)
            square = (1 - mean / size - mean**2) * along**2 + mean / size * (length - along**2)
            return (mean * along).mean(axis=-1) - true, square.mean(axis=-1)

        self._scale = _search(slope, true.shape, self._most)

    def losses(self, scores: Singles, target: Singles) -> tuple[Floats, Floats]:
        eta = self._prior + self._scale[..., None, None] * scores
        before = _log_density(self._prior, target)
        return self._room - (_log_density(eta, target) - before), np.full(before.shape, self._room)


def _log_density(eta: Floats, target: Singles) -> Floats:
    """Log density of angles, but for a constant: [..., 2, items] -> [..., items]."""
    size = np.linalg.norm(eta, axis=-2)
    return (eta * target).sum(axis=-2) - size - np.log(i0e(size))


def _thinned(scores: Singles, target: Singles) -> tuple[Singles, Singles]:
    step = max(1, target.shape[-1] // _ENOUGH)
    return np.ascontiguousarray(scores[..., ::step]), np.ascontiguousarray(target[..., ::step])


def _search(slope: Callable[[Floats], tuple[Floats, Floats]], shape: tuple[int, ...], most: float) -> Floats:
    """Minimise convex losses of one number each in [0, most], from their first and second derivatives: Newton's steps,
    or halving where a step would leave what is left of the interval."""
    low, high, at = np.zeros(shape), np.full(shape, most), np.full(shape, 1.0)
    for _ in range(_STEPS):
        first, second = slope(at)
        low, high = np.where(first < 0, at, low), np.where(first < 0, high, at)
        step = at - first / np.maximum(second, 1e-12)
        following = np.where((step > low) & (step < high), step, (low + high) / 2)
        if np.abs(following - at).max() < 1e-3:
            return following
        at = following
    return at
