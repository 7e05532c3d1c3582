"""How similar random pairs of a library are, and neighbours in it: the measures by which one similarity is read.

The k nearest of n tracks are above a share 1 - k/n of random pairs by themselves, noise among noise too. Whether a
track is as near as neighbours in this library usually are is told by the second measure: its percentile among the
similarities of random tracks to *their* nearest neighbours. There 50 is usual, and what has nothing like it is low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.index.library import Library
from m2l2_mir.index.preparation import Preparation
from m2l2_mir.index.vectors import BLOCK_VALUES

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["PAIRS", "nearest_similarities", "percentiles", "random_pairs"]

PAIRS = 100_000
DRAWN = 20_000  # tracks that the pairs are made of
NEIGHBOURS = 300  # tracks whose nearest neighbours are looked for
ROUNDING = 1e-6  # the same pair, multiplied in another order


def random_pairs(library: Library, preparation: Preparation, seed: int = 0, count: int = PAIRS) -> NDArray[np.float32]:
    """Similarities of random pairs of different tracks, sorted; all pairs where there are no more than `count`."""
    rng = np.random.default_rng(seed)
    drawn = library.live
    if len(drawn) > DRAWN:
        drawn = np.sort(rng.choice(drawn, DRAWN, replace=False))
    prepared = np.empty((len(drawn), preparation.rank), np.float32)
    for start, block in library.rows.select(drawn).blocks():
        prepared[start : start + len(block)] = preparation(block)
    if len(drawn) * (len(drawn) - 1) // 2 <= count:
        first, second = np.triu_indices(len(drawn), 1)
    else:
        first = rng.integers(len(drawn), size=count)
        second = (first + rng.integers(1, len(drawn), size=count)) % len(drawn)  # never itself
    similarity = np.empty(len(first), np.float32)
    step = max(1, BLOCK_VALUES // (2 * preparation.rank))
    for start in range(0, len(first), step):
        part = slice(start, start + step)
        similarity[part] = np.einsum("ij,ij->i", prepared[first[part]], prepared[second[part]])
    return np.sort(similarity)


def nearest_similarities(index: SimilarityIndex) -> NDArray[np.float32]:
    """Similarities of random tracks to their nearest neighbours, sorted; none in a library of one track."""
    if len(index) < 2:
        return np.zeros(0, np.float32)
    rng = np.random.default_rng(index.about["options"]["seed"])
    drawn = np.sort(rng.permutation(len(index))[:NEIGHBOURS])
    queries = index.preparation(index.library.rows.take(index.library.live[drawn]))
    similarity, found = index.search(queries, 2)
    other = np.where(found[:, 0] == drawn, similarity[:, 1], similarity[:, 0])
    return np.sort(other[np.isfinite(other)])


def percentiles(similarity: NDArray[np.floating], pairs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of such similarities, sorted, that are no higher, in percent; NaN where there are none.

    >>> percentiles(np.array([0.5, 2.0]), np.array([0.0, 0.4, 0.6, 0.9], np.float32)).tolist()
    [50.0, 100.0]
    """
    if not len(pairs):
        return np.full(len(similarity), np.nan)
    reached = np.asarray(similarity, np.float64) + ROUNDING
    return 100 * np.searchsorted(pairs.astype(np.float64), reached, side="right") / len(pairs)
