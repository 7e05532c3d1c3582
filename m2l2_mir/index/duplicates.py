"""Near duplicates in an index.

The rule is that of :mod:`m2l2_mir.audit.near_duplicates`, at every size: embeddings are standardised and whitened, a
distance is measured by the distances of both tracks to their tenth neighbours (which are never taken to be less than a
tenth of the usual), and the threshold comes from the library. Up to :data:`SMALL` tracks all are compared with all.
In a larger library each track is compared with the :data:`CANDIDATES` nearest that the index finds, while whitening,
usual distance and dimension are those of a sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from m2l2_mir.audit.near_duplicates import (
    LEAST_SCALE,
    NEIGHBOURS,
    SMALLEST_COLLECTION,
    Whitening,
    near_duplicates,
    threshold_of,
)

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["Rule", "groups_of", "near_pairs"]

SMALL = 20_000
SAMPLED = 4_000  # tracks that whitening, usual distance and threshold of a large library come from
CANDIDATES = 50
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
    if index.duplicate_rule is None:
        index.duplicate_rule = _rule(index)
    rule, starts = index.duplicate_rule, range(0, len(positions), BLOCK)
    found = [_near(index, positions[start : start + BLOCK], rule) for start in starts]
    pairs = pd.concat(found, ignore_index=True).drop_duplicates(["first", "second"])
    return pairs.sort_values(["ratio", "first", "second"], ignore_index=True)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What near means in a library: the map to whitened vectors, the least scale, and the largest ratio."""

    whitened: Whitening
    least: float
    threshold: float


def _rule(index: SimilarityIndex) -> Rule:
    """The rule of a large library, from a sample of its tracks."""
    live = index.library.live
    chosen = np.sort(np.random.default_rng(0).choice(len(live), min(SAMPLED, len(live)), replace=False))
    sample = index.library.rows.take(live[chosen])
    threshold = threshold_of(len(live), NEIGHBOURS, near_duplicates(sample).dimension)
    rule = Rule(whitened=Whitening.of(sample), least=0.0, threshold=threshold)
    starts = range(0, len(chosen), BLOCK)
    usual = np.median(np.concatenate([_scales(index, chosen[start : start + BLOCK], rule)[0] for start in starts]))
    return replace(rule, least=float(LEAST_SCALE * usual))


def _near(index: SimilarityIndex, positions: NDArray[np.int64], rule: Rule) -> pd.DataFrame:
    """Near pairs of some positions with their neighbours."""
    scale, distance, neighbours = _scales(index, positions, rule)
    # the ten nearest of the one are all within scale + distance of the other
    close = distance < rule.threshold * np.sqrt(scale[:, None] * (scale[:, None] + distance))
    row, column = np.nonzero(close & (neighbours >= 0))
    second = neighbours[row, column]
    others, where = np.unique(second, return_inverse=True)
    theirs = _scales(index, others, rule)[0] if len(others) else scale[:0]
    ratio = distance[row, column] / np.maximum(np.sqrt(scale[row] * theirs[where]), np.finfo(np.float32).tiny)
    first = positions[row]
    pairs = pd.DataFrame({"first": np.minimum(first, second), "second": np.maximum(first, second), "ratio": ratio})
    return pairs[pairs["ratio"] < rule.threshold]


def _scales(
    index: SimilarityIndex, positions: NDArray[np.int64], rule: Rule
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Local scale [m] of some positions, distances [m, 10] to their nearest others, and which these are."""
    rows, live = index.library.rows, index.library.live
    mine = rows.take(live[positions])
    _, found = index.search(index.preparation(mine), CANDIDATES + 1)
    unit = rule.whitened(mine)
    distance = np.full((len(positions), NEIGHBOURS), np.inf)
    neighbours = np.full((len(positions), NEIGHBOURS), -1)
    for number, (itself, candidates) in enumerate(zip(positions, found, strict=True)):
        others = candidates[(candidates >= 0) & (candidates != itself)]
        apart = np.linalg.norm(rule.whitened(rows.take(live[others])) - unit[number], axis=1)
        best = np.argsort(apart, kind="stable")[:NEIGHBOURS]
        distance[number, : len(best)], neighbours[number, : len(best)] = apart[best], others[best]
    scale = np.maximum(distance[:, -1], rule.least)
    return scale, distance, neighbours


def _equal(index: SimilarityIndex) -> pd.DataFrame:
    prepared = index.vectors()
    first, second = np.nonzero(np.triu(prepared @ prepared.T >= SAME, 1))
    return pd.DataFrame({"first": first, "second": second, "ratio": np.zeros(len(first))})
