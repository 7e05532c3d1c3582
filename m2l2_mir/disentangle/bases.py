"""Bases of a code: the standardised one, the evened one, the whitened one, and random ones.

Conventions
-----------
* Evened slots are centred and scaled by one number each: what a probe of a slot sees whatever its unit, and what
  turning a slot inside itself leaves as it is.
* One way to whiten: with the covariance shrunk after Ledoit and Wolf [1]_, which holds where there are not many more
  items than dimensions, and lifts noise less. A direction without any variance stays without.
* Random bases are uniform over rotations and reflections [2]_.

References
----------
.. [1] O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", JMVA 88, 2004.
.. [2] F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the AMS 54, 2007.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

__all__ = ["evened", "random_basis", "slot_scale", "standardised", "whitening"]

Floats = NDArray[np.float64]

_NULL = 1e-8  # variance below this part of the largest is rounding or dead


def standardised(codes: Floats) -> Floats:
    """Codes [n, D] with zero mean and unit variance in each dimension; one that does not vary becomes 0."""
    return (codes - codes.mean(axis=0)) * _inverse(codes.std(axis=0))


def evened(slots: Floats) -> Floats:
    """Slots [n, K, d] with zero mean, each with a mean variance of 1; one that does not vary becomes 0.

    >>> slots = np.random.default_rng(0).normal(size=(50, 2, 3)) * [[[1.0], [10.0]]]
    >>> evened(slots).var(axis=0).mean(axis=1).round(6).tolist()
    [1.0, 1.0]
    """
    return (slots - slots.mean(axis=0)) * slot_scale(slots)[:, None]


def slot_scale(slots: Floats) -> Floats:
    """Factors [K] that give each of slots [n, K, d] a mean variance of 1; 0 for one that does not vary."""
    return _inverse(np.sqrt(slots.var(axis=0).mean(axis=1)))


def whitening(codes: Floats) -> Floats:
    """Matrix [D, rank] that gives codes [n, D] about unit covariance.

    >>> codes = np.random.default_rng(0).normal(size=(5000, 2)) * [1.0, 10.0]
    >>> white = codes @ whitening(codes)
    >>> np.abs(white.T @ white / 5000 - np.eye(2)).max() < 0.05
    np.True_
    """
    covariance, _ = ledoit_wolf(codes)
    power, axes = np.linalg.eigh(covariance)
    kept = power > _NULL * max(power[-1], np.finfo(np.float64).tiny)
    return axes[:, kept] / np.sqrt(power[kept])


def random_basis(rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """Random matrix [rows, columns] with orthonormal columns; a rotation or reflection if it is square."""
    basis, triangle = np.linalg.qr(rng.standard_normal((rows, columns)))
    return basis * np.sign(np.diag(triangle))


def _inverse(spread: Floats) -> Floats:
    alive = spread > _NULL * max(float(spread.max(initial=0.0)), np.finfo(np.float64).tiny)
    return np.where(alive, 1 / np.where(alive, spread, 1.0), 0.0)
