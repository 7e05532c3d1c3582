"""Neighbours of a question: candidates from the structure, filtered, capped, scored and told as a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.index.backends import RESCORED
from m2l2_mir.index.conditions import capped, matching, sharing
from m2l2_mir.index.preparation import Preparation
from m2l2_mir.index.seeds import Part, Seeds, known_rows, seeds_of
from m2l2_mir.index.similarities import percentiles, random_pairs
from m2l2_mir.index.slots import contributions, weighting

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.model.autoencoder import Music2Latent2

__all__ = ["Filters", "Hits", "nearest", "query", "ranked", "table_of"]

SCANNED = 20_000  # tracks compared one by one where the structure does not serve
SHORTLIST = 5_000  # candidates of another view, scored again
VIEWED_PAIRS = 10_000  # random pairs that a view's percentiles come from
OWN_COLUMNS = ("rank", "track_id", "similarity", "percentile")


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What may be among the results.

    Parameters
    ----------
    where : sequence of str
        Conditions on metadata; see :mod:`m2l2_mir.index.conditions`.
    other : sequence of str
        Columns in which a result must differ from the seeds, such as "artist".
    at_most : mapping
        Column -> results with the same value.
    fold
        Show one of several near duplicates, and count the others in ``copies``.
    """

    where: Sequence[str] = ()
    other: Sequence[str] = ()
    at_most: Mapping[str, int] | None = None
    fold: bool = False


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Results before they are told: rows and similarities, best first, and how many were folded into each."""

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]
    copies: tuple[int, ...]


def query(
    index: SimilarityIndex,
    what: Any,
    k: int = 10,
    *,
    start: float | None = None,
    end: float | None = None,
    where: Sequence[str] = (),
    other: Sequence[str] = (),
    at_most: Mapping[str, int] | None = None,
    fold: bool = False,
    weights: Sequence[float] | None = None,
    why: bool = False,
    model: str | os.PathLike[str] | Music2Latent2 | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Neighbours of tracks of the library, audio files or vectors.

    Parameters
    ----------
    index : SimilarityIndex
    what : str, Path, array or a list of these
        The id of a track, an audio file, an embedding [K, d] or [K * d]; of several, the mean direction. Tracks that
        are asked with are not among the results.
    k
        Results, as far as there are so many.
    start, end
        Seconds, of audio files.
    where
        Conditions on metadata: ``["genre=jazz", "bpm>=120"]``.
    other
        Columns in which results must differ from the question: ``["artist"]``.
    at_most
        Results with the same value of a column: ``{"artist": 2}``.
    fold
        Near duplicates of an earlier result are counted in ``copies`` instead of shown.
    weights
        Of each slot in the similarity; None: all alike.
    why
        Add a column for each slot with its part of the similarity.
    model, device
        For audio files; None: the index's model, where it is at hand.

    Returns
    -------
    pd.DataFrame
        ``rank`` from 1, ``track_id``, ``similarity`` (cosine of prepared vectors), ``percentile`` (share of 100,000
        random pairs of the library that are no more similar), then metadata.

    Raises
    ------
    InputError
        The question or an option is wrong.
    AudioError, CheckpointError, StoreError
        A file cannot be used, or there is no model that fits the index.
    """
    seeds = seeds_of(index, what, Part(start=start, end=end, model=model, device=device))
    view = None if weights is None else weighting(weights, index.slots, index.width)
    preparation = index.preparation if view is None else index.preparation.viewed(view)
    direction = mean_direction(preparation(seeds.vectors))
    filters = Filters(where=where, other=other, at_most=at_most, fold=fold)
    hits = ranked(index, seeds, direction, k, preparation, filters)
    table = table_of(index, hits, preparation, folded=fold)
    if why:
        found = preparation(index.library.rows.take(hits.rows))
        parts = contributions(preparation, direction, found, index.slots)
        names = [f"slot {slot + 1}" for slot in range(index.slots)]
        table = pd.concat([table, pd.DataFrame(parts, columns=names)], axis=1)
    if seeds.notes:
        table.attrs["notes"] = list(seeds.notes)
    return table


def nearest(
    index: SimilarityIndex, queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """See :meth:`m2l2_mir.index.similarity.SimilarityIndex.search`."""
    count = min(_positive(k), len(index))
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


def ranked(
    index: SimilarityIndex,
    seeds: Seeds,
    direction: NDArray[np.float32],
    k: int,
    preparation: Preparation,
    filters: Filters,
) -> Hits:
    """The best `k` tracks for a prepared direction that pass the filters."""
    count = _positive(k)
    frame = index.library.frame
    allowed = index.library.alive.copy()
    allowed[seeds.rows] = False
    if filters.where:
        allowed &= matching(frame, filters.where)
    for column in filters.other:
        allowed &= ~sharing(frame, [column], known_rows(index, seeds, column))
    possible = int(allowed.sum())
    at_most = dict(filters.at_most or {})
    fetched = min(count if not at_most and not filters.fold else 4 * count, possible)
    while True:
        rows, scores = _candidates(index, direction, preparation, allowed, fetched)
        groups = None
        if filters.fold:
            from m2l2_mir.index.duplicates import groups_of

            groups = groups_of(index, rows)
        stay, folded = capped(frame, rows, at_most, groups)
        if len(stay) >= count or fetched >= possible:
            break
        fetched = min(4 * fetched, possible)
    stay = stay[:count]
    return Hits(rows=rows[stay], similarity=scores[stay], copies=tuple(folded.get(int(one), 0) for one in stay))


def table_of(index: SimilarityIndex, hits: Hits, preparation: Preparation, *, folded: bool = False) -> pd.DataFrame:
    """Hits as a person reads them."""
    pairs = index.pairs
    if preparation is not index.preparation:
        pairs = random_pairs(index.library, preparation, index.about["options"]["seed"], VIEWED_PAIRS)
    frame = index.library.frame.iloc[hits.rows].reset_index(drop=True)
    table = pd.DataFrame(
        {
            "rank": np.arange(1, len(hits.rows) + 1),
            "track_id": frame["track_id"].astype(object),
            "similarity": hits.similarity.astype(np.float64),
            "percentile": percentiles(hits.similarity, pairs),
        }
    )
    if folded:
        table["copies"] = np.array(hits.copies, np.int64)
    return pd.concat([table, frame.drop(columns="track_id")], axis=1)


def _candidates(
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


def _positive(k: int) -> int:
    if k < 1:
        raise InputError(f"k must be at least 1: {k}")
    return int(k)
