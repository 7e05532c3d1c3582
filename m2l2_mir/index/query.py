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
from m2l2_mir.index.candidates import candidates, crowding, mean_direction, positive
from m2l2_mir.index.conditions import capped, matching, sharing
from m2l2_mir.index.preparation import Preparation
from m2l2_mir.index.seeds import Part, Seeds, known_rows, seeds_of
from m2l2_mir.index.similarities import percentiles, random_pairs
from m2l2_mir.index.slots import contributions, weighting

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.model.autoencoder import Music2Latent2

__all__ = ["Filters", "Hits", "query", "ranked", "table_of"]

RESCALED = 100  # candidates that CSLS puts into another order
VIEWED_PAIRS = 10_000  # random pairs that a view's percentiles come from


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What may be among the results.

    Parameters
    ----------
    where : sequence of str
        Conditions on metadata; see :mod:`m2l2_mir.index.conditions`.
    other : sequence of str
        Columns in which a result must differ from the seeds, such as "artist"; theirs must be known.
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
    csls: bool = False,
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
        are asked with are not among the results, whether by their id or by their file; a track is, of which a part is
        asked.
    k
        Results, as far as there are so many.
    start, end
        Seconds, of audio files.
    where
        Conditions on metadata: ``["genre=jazz", "bpm>=120"]``.
    other
        Columns in which results must differ from the question: ``["artist"]``. Its own values must be known.
    at_most
        Results with the same value of a column: ``{"artist": 2}``.
    fold
        Near duplicates of an earlier result are counted in ``copies`` instead of shown.
    weights
        Of each slot in the similarity; None: all alike.
    csls
        Rank by cross-domain similarity local scaling, which puts hubs behind tracks that are seldom a neighbour; see
        :mod:`m2l2_mir.index.hubness`. Not with `weights`.
    why
        Add a column for each slot with its part of the similarity.
    model, device
        For audio files; None: the index's model, where it is at hand. It is read anew in each call, unless it is given
        as loaded.

    Returns
    -------
    pd.DataFrame
        ``rank`` from 1, ``track_id``, ``similarity`` (cosine of prepared vectors), ``percentile`` (share of 100,000
        random pairs of the library that are no more similar, 10,000 with `weights` or steered; that of neighbours is
        always high), ``among_nearest`` (share of random tracks of the library whose nearest neighbour is no more
        similar to them: 50 is usual, and near 0 at rank 1 nothing in the library is like the question; not with
        `weights`), then metadata. Both are measured with single tracks; a mean of several questions lies between them
        and reaches less.

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
    if csls and weights is not None:
        raise InputError("csls and weights do not go together: leave one of them out")
    hits = ranked(index, seeds, direction, k, preparation, filters, csls=csls)
    table = table_of(index, hits, preparation, folded=fold)
    if why:
        found = preparation(index.library.rows.take(hits.rows))
        parts = contributions(preparation, direction, found, index.slots)
        names = [f"slot {slot + 1}" for slot in range(index.slots)]
        table = pd.concat([table, pd.DataFrame(parts, columns=names)], axis=1)
    if seeds.notes:
        table.attrs["notes"] = list(seeds.notes)
    return table


def ranked(
    index: SimilarityIndex,
    seeds: Seeds,
    direction: NDArray[np.float32],
    k: int,
    preparation: Preparation,
    filters: Filters,
    *,
    csls: bool = False,
) -> Hits:
    """The best `k` tracks for a prepared direction that pass the filters."""
    count = positive(k)
    frame = index.library.frame
    allowed = index.library.alive.copy()
    allowed[seeds.rows] = False
    allowed[seeds.own] = False
    if filters.where:
        live = index.library.live
        allowed[live] &= matching(frame.iloc[live], filters.where)
    for column in filters.other:
        allowed &= ~sharing(frame, [column], known_rows(index, seeds, column))
    possible = int(allowed.sum())
    at_most = dict(filters.at_most or {})
    fetched = min(count if not at_most and not filters.fold else 4 * count, possible)
    fetched = min(max(fetched, RESCALED), possible) if csls else fetched
    while True:
        rows, scores = candidates(index, direction, preparation, allowed, fetched)
        if csls:  # the question's own r is the same for all
            order = np.argsort(crowding(index, rows) - 2 * scores, kind="stable")
            rows, scores = rows[order], scores[order]
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
    if preparation is index.preparation:
        table["among_nearest"] = percentiles(hits.similarity, index.nearest)
    if folded:
        table["copies"] = np.array(hits.copies, np.int64)
    return pd.concat([table, frame.drop(columns="track_id")], axis=1)
