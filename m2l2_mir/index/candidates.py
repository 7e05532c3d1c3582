"""The nearest tracks of a prepared direction: from the structure, from a shortlist of it, or by comparing all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.index.backends import RESCORED
from m2l2_mir.index.preparation import Preparation

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["candidates", "crowding", "mean_direction", "nearest", "positive"]

CROWD = 10  # neighbours that say how crowded it is around a track

SCANNED = 100_000  # tracks compared one by one under another view, in some seconds
# Candidates of another view in a larger library, scored again: the structure's nearest to what the view looks for. A
# view of few directions, such as `like` by one probe, may have better ones elsewhere.
SHORTLIST = 20_000


def nearest(
    index: SimilarityIndex, queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """See :meth:`m2l2_mir.index.similarity.SimilarityIndex.search`."""
    count = min(positive(k), len(index))
    library, backend = index.library, index.backend
    if not count:
        return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
    allowed = library.alive if library.dead else None
    wanted = min(count * RESCORED, len(index)) if backend.rescored else count
    found = backend.search(queries, wanted, allowed)
    if found is None:  # a structure of the user's own that cannot leave out dead rows
        rows = [_scanned(index, one, index.preparation, library.alive, count) for one in queries]
        scores = np.stack([one[1] for one in rows])
        return scores, np.searchsorted(library.live, np.stack([one[0] for one in rows]))
    scores, numbers = found
    if backend.rescored:
        scores, numbers = _rescored(index, queries, numbers, count)
    if allowed is None:
        return scores, numbers
    return scores, np.where(numbers >= 0, np.searchsorted(library.live, numbers), -1)


def mean_direction(prepared: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vector between several."""
    total = prepared.mean(axis=0)
    length = float(np.linalg.norm(total))
    return total / length if length > 1e-6 else np.zeros_like(total)


def crowding(index: SimilarityIndex, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean similarity of tracks to their ten nearest others, [n]: the r of CSLS, see :mod:`m2l2_mir.index.hubness`."""
    similarity, found = index.search(index.preparation(index.library.rows.take(rows)), CROWD + 1)
    itself = found == np.searchsorted(index.library.live, rows)[:, None]
    itself[~itself.any(axis=1), -1] = True  # an approximate structure may miss even that
    others = ~itself & (found >= 0)
    total = np.where(others, similarity, 0).sum(axis=1)
    return np.asarray(total / np.maximum(others.sum(axis=1), 1), np.float32)


def candidates(
    index: SimilarityIndex,
    direction: NDArray[np.float32],
    preparation: Preparation,
    allowed: NDArray[np.bool_],
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best `count` allowed rows, best first."""
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    if preparation is not index.preparation:
        return _viewed(index, direction, preparation, allowed, count)
    wanted = min(count * RESCORED, int(allowed.sum())) if index.backend.rescored else count
    found = index.backend.search(direction[None], wanted, allowed)
    if found is None:
        return _scanned(index, direction, preparation, allowed, count)
    scores, rows = found
    if index.backend.rescored:
        scores, rows = _rescored(index, direction[None], rows, count)
    there = rows[0] >= 0
    if there.sum() < count:  # the structure found no more, though there are
        return _scanned(index, direction, preparation, allowed, count)
    return rows[0][there], scores[0][there]


def _viewed(
    index: SimilarityIndex,
    direction: NDArray[np.float32],
    preparation: Preparation,
    allowed: NDArray[np.bool_],
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best rows under another view: all compared in a small library, else a shortlist of the structure's."""
    if allowed.sum() > SCANNED and preparation.projection is not None:
        # <direction, P y> for centred y, as an inner product with prepared vectors
        wanted = preparation.projection.T @ direction
        base = index.preparation
        pulled = wanted if base.projection is None else np.linalg.pinv(base.projection).T @ wanted
        found = index.backend.search(
            mean_direction(pulled[None]).astype(np.float32)[None], max(SHORTLIST, RESCORED * count), allowed
        )
        if found is not None:
            allowed = np.zeros_like(allowed)
            allowed[found[1][0][found[1][0] >= 0]] = True
    return _scanned(index, direction, preparation, allowed, count)


def _scanned(
    index: SimilarityIndex,
    direction: NDArray[np.float32],
    preparation: Preparation,
    allowed: NDArray[np.bool_],
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best allowed rows by comparing all of them."""
    numbers = np.flatnonzero(allowed)
    scores = np.empty(len(numbers), np.float32)
    for first, block in index.library.rows.select(numbers).blocks():
        scores[first : first + len(block)] = preparation(block) @ direction
    order = np.argsort(-scores, kind="stable")[:count]
    return numbers[order], scores[order]


def _rescored(
    index: SimilarityIndex, queries: NDArray[np.float32], rows: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Candidates [m, c] scored with the true vectors; the best `count` of each, -1 where there are no more."""
    best = np.full((len(rows), count), -1, np.int64)
    scores = np.full((len(rows), count), -np.inf, np.float32)
    for number, (one, candidates) in enumerate(zip(queries, rows, strict=True)):
        there = candidates[candidates >= 0]
        true = index.preparation(index.library.rows.take(there)) @ one
        order = np.argsort(-true, kind="stable")[:count]
        best[number, : len(order)], scores[number, : len(order)] = there[order], true[order]
    return scores, best


def positive(k: int) -> int:
    """k, or an InputError if it is below 1."""
    if k < 1:
        raise InputError(f"k must be at least 1: {k}")
    return int(k)
