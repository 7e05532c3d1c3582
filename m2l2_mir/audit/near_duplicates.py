"""Near duplicates: tracks whose embeddings are closer than the collection itself would bring about.

Conventions
-----------
* Vectors are standardised, whitened along the principal components that hold 99.9 % of their variance, and brought to
  unit length: without that, level and timbre, which all tracks share, make strangers look alike.
* A distance is measured by the distance of both tracks to their tenth neighbour, the *local scale* [1]_. Tracks of a
  dense style are near each other and so is their tenth neighbour; a duplicate is much nearer than that.
* The threshold on this ratio comes from the collection: in d dimensions, where d is estimated from the neighbours [2]_,
  a share r ** d of ten strangers lies within r local scales, and r is chosen such that half a pair of strangers in the
  whole collection does. It is never above :data:`LARGEST_RATIO`, because music comes in small families (movements,
  remixes) that are no strangers.
* A percentile of the similarities of random pairs would not do, because someone always is the nearest: among 515
  excerpts of 76 pieces without a planted duplicate, 84 pairs are each other's nearest neighbours and above the 99.9th
  percentile (untrained encoder). This rule lists none of them, and all 61 planted copies at half the level.

References
----------
.. [1] D. Schnitzer, A. Flexer, M. Schedl, G. Widmer, "Local and global scaling reduce hubs in space", JMLR 13, 2012.
.. [2] E. Levina and P. Bickel, "Maximum likelihood estimation of intrinsic dimension", NIPS 17, 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv

from m2l2_mir.errors import InputError

__all__ = [
    "LARGEST_RATIO",
    "LEAST_SCALE",
    "NEIGHBOURS",
    "SMALLEST_COLLECTION",
    "NearDuplicates",
    "Whitening",
    "near_duplicates",
    "threshold_of",
]

LARGEST_RATIO = 0.6
SMALLEST_COLLECTION = 20  # with fewer tracks there are no ten neighbours to measure by

NEIGHBOURS = 10
EXPECTED_STRANGERS = 0.5
VARIANCE_KEPT = 0.999
LEAST_SCALE = 0.1  # of the median: a recording that is there eleven times has no distance to its tenth neighbour
MOST_FITTED = 4096  # tracks that the principal components are taken from
BLOCK_VALUES = 1 << 24  # similarities held at once, 64 MiB


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """What :func:`near_duplicates` has found.

    Parameters
    ----------
    pairs
        Closest first: ``first`` and ``second`` (rows, first < second), ``similarity`` (cosine of the whitened
        vectors) and ``ratio`` (distance by local scale).
    threshold
        Ratio below which a pair is listed.
    dimension
        Of the collection, as its neighbours show it.
    """

    pairs: pd.DataFrame
    threshold: float
    dimension: float


@dataclass(frozen=True, kw_only=True)
class Whitening:
    """Standardised, turned to the principal components, each of variance 1, and brought to unit length."""

    turn: NDArray[np.float32]  # [width, components]
    centre: NDArray[np.float32]  # [components], the mean of all after the turn

    @classmethod
    def of(cls, sample: NDArray[np.float32]) -> Whitening:
        """Fitted to vectors [n, width]."""
        mean, std = sample.mean(axis=0, dtype=np.float64), sample.std(axis=0, dtype=np.float64)
        told = std > 1e-6 * std.max()  # constant dimensions tell nothing
        weight = np.divide(1, std, out=np.zeros_like(std), where=told)
        _, spread, axes = np.linalg.svd((sample - mean) * weight, full_matrices=False)
        share = np.cumsum(spread**2) / max(np.sum(spread**2), np.finfo(np.float64).tiny)
        kept = int(np.searchsorted(share, VARIANCE_KEPT)) + 1
        turn = weight[:, None] * axes[:kept].T * (np.sqrt(len(sample)) / np.maximum(spread[:kept], 1e-12))
        return cls(turn=turn.astype(np.float32), centre=(mean @ turn).astype(np.float32))

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors [n, components]; zero where a track is the mean of all."""
        white = vectors @ self.turn - self.centre
        length = np.linalg.norm(white, axis=1, keepdims=True)
        return np.divide(white, length, out=np.zeros_like(white), where=length > 0)


def near_duplicates(vectors: NDArray[np.floating], *, threshold: float | None = None, seed: int = 0) -> NearDuplicates:
    """Find pairs of tracks that are much closer than their neighbourhood.

    A listed pair is a suspicion: listen to it. Copies that the embedding does not take for the same are missed, and a
    recording that is there more than ten times may hide behind its own copies.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, ...)]
        A vector or a set of summary embeddings for each track, at least 20.
    threshold
        Ratio in (0, 1) below which a pair is listed; None: from the collection.
    seed
        Chooses the tracks that the principal components of a large collection are taken from.

    Returns
    -------
    NearDuplicates

    Raises
    ------
    InputError
        There are too few vectors, some are not finite, or the threshold is out of range.

    Examples
    --------
    >>> tracks = np.random.default_rng(0).normal(size=(100, 8, 4))
    >>> tracks[7] = tracks[3] + 0.01
    >>> near_duplicates(tracks).pairs[["first", "second"]].to_numpy().tolist()
    [[3, 7]]
    """
    flat = np.asarray(vectors, dtype=np.float32).reshape(len(vectors), -1)
    if len(flat) < SMALLEST_COLLECTION:
        raise InputError(f"near duplicates need at least {SMALLEST_COLLECTION} tracks to compare with: {len(flat)}")
    if not np.isfinite(flat).all():
        raise InputError("embeddings hold NaN or infinity; embed the tracks again")
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"threshold must lie between 0 and 1: {threshold}")

    count = min(NEIGHBOURS, (len(flat) - 1) // 2)
    neighbours, distance = _nearest(Whitening.of(_sampled(flat, seed))(flat), count)
    scale = np.maximum(distance[:, -1], LEAST_SCALE * np.median(distance[:, -1]))
    dimension = _dimension(distance / scale[:, None])
    if threshold is None:
        threshold = threshold_of(len(flat), count, dimension)

    row = np.repeat(np.arange(len(flat)), count)
    column = neighbours.ravel()
    ratio = distance.ravel() / np.maximum(np.sqrt(scale[row] * scale[column]), np.finfo(np.float32).tiny)
    pairs = pd.DataFrame(
        {
            "first": np.minimum(row, column),
            "second": np.maximum(row, column),
            "similarity": 1 - distance.ravel() ** 2 / 2,
            "ratio": ratio,
        }
    )
    pairs = pairs[pairs["ratio"] < threshold].drop_duplicates(["first", "second"])
    return NearDuplicates(
        pairs=pairs.sort_values(["ratio", "first", "second"], ignore_index=True),
        threshold=float(threshold),
        dimension=dimension,
    )


def threshold_of(count: int, neighbours: int, dimension: float) -> float:
    """Ratio below which half a pair of strangers is expected among so many tracks and their nearest neighbours.

    >>> round(threshold_of(10_000, 10, 5), 6), threshold_of(20, 9, 50)
    (0.1, 0.6)
    """
    return float(min((2 * EXPECTED_STRANGERS / (count * neighbours)) ** (1 / dimension), LARGEST_RATIO))


def _sampled(flat: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    if len(flat) <= MOST_FITTED:
        return flat
    return flat[np.sort(np.random.default_rng(seed).choice(len(flat), MOST_FITTED, replace=False))]


def _nearest(unit: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows and distances of each row's nearest others, [n, count], nearest first, without an n x n matrix."""
    neighbours = np.empty((len(unit), count), dtype=np.int64)
    distance = np.empty((len(unit), count))
    step = max(1, BLOCK_VALUES // len(unit))
    for start in range(0, len(unit), step):
        block = unit[start : start + step] @ unit.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf  # itself
        top = np.argpartition(block, -count, axis=1)[:, -count:]
        # by the difference: a cosine in float32 cannot tell copies from what is only close
        apart = np.linalg.norm(unit[start + rows, None] - unit[top], axis=2)
        order = np.argsort(apart, axis=1, kind="stable")
        neighbours[start : start + step] = np.take_along_axis(top, order, axis=1)
        distance[start : start + step] = np.take_along_axis(apart, order, axis=1)
    return neighbours, distance


def _dimension(relative: NDArray[np.float64]) -> float:
    """Intrinsic dimension from the middle neighbour's distance in local scales.

    In d dimensions the k-th of m distances over the last, to the power of d, has the distribution Beta(k, m - k). The
    nearest neighbours are left out, since duplicates are what is looked for, and the median passes over large families.
    """
    last = relative.shape[1]
    middle = last // 2
    gap = -np.log(max(float(np.median(relative[:, middle - 1])), 1e-3))
    return float(-np.log(betaincinv(middle, last - middle, 0.5)) / max(gap, 1e-6))
