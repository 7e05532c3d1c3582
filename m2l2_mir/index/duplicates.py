"""Near duplicates in an index.

In a library of up to :data:`SMALL` tracks this is :func:`m2l2_mir.audit.near_duplicates.near_duplicates`, which
compares all with all. In a larger one each track is compared with the neighbours that the structure finds, by the same
rule: the distance of two tracks is measured by their distances to their tenth neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from m2l2_mir.audit.near_duplicates import LARGEST_RATIO, SMALLEST_COLLECTION, near_duplicates

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["groups_of", "near_pairs"]

SMALL = 20_000
SAMPLED = 4_000  # tracks that the threshold of a large library comes from
NEIGHBOURS = 10
SAME = 1 - 1e-6  # similarity of what is the same but for rounding
BLOCK = 1024


def near_pairs(index: SimilarityIndex) -> pd.DataFrame:
    """Pairs of tracks that are much closer than their neighbourhood, closest first.

    Returns
    -------
    pd.DataFrame
        ``first``, ``second`` (ids), ``similarity`` and ``ratio`` (distance by local scale; 0 in a library of fewer
        than 20 tracks, where only equal embeddings are listed).
    """
    positions = _pairs(index, np.arange(len(index)))
    ids = np.array(index.ids, object)
    first, second = (positions[name].to_numpy(np.int64) for name in ("first", "second"))
    live = index.library.live
    similarity = np.empty(len(positions))
    for start in range(0, len(positions), BLOCK):
        part = slice(start, start + BLOCK)
        one, two = (index.preparation(index.library.rows.take(live[rows[part]])) for rows in (first, second))
        similarity[part] = np.einsum("ij,ij->i", one, two)
    return pd.DataFrame(
        {"first": ids[first], "second": ids[second], "similarity": similarity, "ratio": positions["ratio"]}
    )


def groups_of(index: SimilarityIndex, rows: NDArray[np.int64]) -> dict[int, int]:
    """Row -> number of its group of near duplicates, for those of the rows that have one among them."""
    positions = np.searchsorted(index.library.live, rows)
    pairs = _pairs(index, positions)
    pairs = pairs[pairs["first"].isin(positions) & pairs["second"].isin(positions)]
    if not len(pairs):
        return {}
    size = len(index)
    links = coo_array((np.ones(len(pairs)), (pairs["first"], pairs["second"])), shape=(size, size))
    _, label = connected_components(links, directed=False)
    paired = np.unique(pairs[["first", "second"]].to_numpy())
    return {int(index.library.live[position]): int(label[position]) for position in paired}


def _pairs(index: SimilarityIndex, positions: NDArray[np.int64]) -> pd.DataFrame:
    """Pairs of positions with their ratios; in a large library those that one of the given positions is in."""
    if len(index) < SMALLEST_COLLECTION:
        return _equal(index)
    if len(index) <= SMALL:
        if index.duplicate_pairs is None:
            index.duplicate_pairs = near_duplicates(index.embeddings()).pairs[["first", "second", "ratio"]]
        return index.duplicate_pairs
    live = index.library.live
    chosen = np.sort(np.random.default_rng(0).choice(len(live), SAMPLED, replace=False))
    dimension = near_duplicates(index.library.rows.take(live[chosen])).dimension
    threshold = min((1 / (len(live) * NEIGHBOURS)) ** (1 / dimension), LARGEST_RATIO)
    starts = range(0, len(positions), BLOCK)
    found = [_near(index, positions[start : start + BLOCK], threshold) for start in starts]
    pairs = pd.concat(found, ignore_index=True).drop_duplicates(["first", "second"])
    return pairs.sort_values(["ratio", "first", "second"], ignore_index=True)


def _near(index: SimilarityIndex, positions: NDArray[np.int64], threshold: float) -> pd.DataFrame:
    """Near pairs of some positions with their neighbours in the structure."""
    similarity, neighbours = _neighbours(index, positions)
    distance = np.sqrt(np.maximum(2 - 2 * similarity, 0))
    scale = distance[:, -1]
    close = (distance < LARGEST_RATIO * scale[:, None]) & (neighbours >= 0)
    row, column = np.nonzero(close)
    second = neighbours[row, column]
    theirs = np.sqrt(np.maximum(2 - 2 * _neighbours(index, second)[0][:, -1], 0)) if len(second) else scale[:0]
    ratio = distance[row, column] / np.maximum(np.sqrt(scale[row] * theirs), 1e-12)
    pairs = pd.DataFrame(
        {
            "first": np.minimum(positions[row], second),
            "second": np.maximum(positions[row], second),
            "ratio": ratio,
        }
    )
    return pairs[pairs["ratio"] < threshold]


def _neighbours(index: SimilarityIndex, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Ten nearest others of each position: similarity and position."""
    queries = index.preparation(index.library.rows.take(index.library.live[positions]))
    similarity, found = index.search(queries, NEIGHBOURS + 1)
    itself = found == positions[:, None]
    itself[~itself.any(axis=1), -1] = True  # an approximate structure may miss even that
    kept = ~itself
    return similarity[kept].reshape(len(positions), -1), found[kept].reshape(len(positions), -1)


def _equal(index: SimilarityIndex) -> pd.DataFrame:
    prepared = index.vectors()
    first, second = np.nonzero(np.triu(prepared @ prepared.T >= SAME, 1))
    return pd.DataFrame({"first": first, "second": second, "ratio": np.zeros(len(first))})
