"""What happens to an index when tracks are added, updated or removed.

The preparation stays as it is, so that no similarity between tracks that are there changes. Rows of tracks that are
gone stay too, and are left out of every search, until they are :data:`MOST_DEAD` of all rows: then the library is
written anew without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError
from m2l2_mir.index.choice import choose
from m2l2_mir.index.filling import filled
from m2l2_mir.index.library import SOURCE, Library
from m2l2_mir.index.preparation import Drift, drift_of
from m2l2_mir.index.similarities import nearest_similarities, random_pairs
from m2l2_mir.index.sources import store_of

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["MOST_DEAD", "Changes", "advice_on", "put", "refuse_namesakes"]

MOST_DEAD = 0.1


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What adding or removing did.

    Parameters
    ----------
    added, updated, removed : tuple of str
        Ids of tracks.
    relabelled : tuple of str
        Ids of tracks with the same embedding and other metadata.
    moved
        How many tracks were another store's before.
    unchanged
        Number of tracks that were there as they are.
    compacted
        Whether dead rows were dropped.
    drift : Drift
        Of all tracks added since the preparation was made.
    advice
        What to do about it; empty: nothing.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    moved: int = 0
    unchanged: int = 0
    compacted: bool = False
    drift: Drift
    advice: str = ""


def put(
    index: SimilarityIndex,
    ids: Sequence[str],
    vectors: NDArray[np.float32],
    table: pd.DataFrame,
    lost: NDArray[np.int64],
    store: EmbeddingStore | None = None,
) -> Changes:
    """Remove rows, then add tracks or bring them to this state.

    Parameters
    ----------
    index : SimilarityIndex
        Changed in place.
    ids, vectors, table
        Checked, in one order.
    lost : np.ndarray
        Rows to remove.
    store : EmbeddingStore, optional
        That segments are taken from.
    """
    library, seed = index.library, index.about["options"]["seed"]
    backend = index.backend.writable() if len(ids) else index.backend  # fails, if at all, before anything has changed
    removed = library.frame["track_id"].to_numpy()[lost].tolist()
    table = _taken_along(library, ids, vectors, table, lost)
    first = len(library.rows)
    library.remove(lost)
    moved = _moved(library, ids, table)
    added, updated, relabelled, unchanged = library.put(ids, vectors, table)
    index.backend = backend
    index.backend.add(index.preparation(library.rows.take(np.arange(first, len(library.rows)))))
    if index.segments is not None and (added or updated or removed):
        index.segments = index.segments.changed([*updated, *removed], [*updated, *added], store)
        index.about["reasons"] = {**index.about["reasons"], "segments": list(index.segments.backend.choice.reasons)}
    compacted = library.dead > MOST_DEAD * len(library.rows)
    if compacted:
        left, choice, rank = library.compacted(), index.backend.choice, index.preparation.rank
        try:
            backend = filled(left.rows, index.preparation, choice, width=rank, seed=seed)
        except InputError:  # too few are left for its structure: they are compared one by one
            backend = filled(left.rows, index.preparation, choose(len(left), rank, exact=True), width=rank, seed=seed)
        index.about["reasons"] = {**index.about["reasons"], "backend": list(backend.choice.reasons)}
        index.about["fitted_rows"] = int(library.alive[: index.about["fitted_rows"]].sum())
        index.library, index.backend = left, backend
    if added or updated or removed:
        index.duplicate_pairs = index.duplicate_rule = None
        index.pairs = random_pairs(index.library, index.preparation, seed)
        index.nearest = nearest_similarities(index)
    return Changes(
        added=tuple(added),
        updated=tuple(updated),
        removed=tuple(removed),
        relabelled=tuple(relabelled),
        moved=moved,
        unchanged=unchanged,
        compacted=compacted,
        drift=_drift(index),
        advice=advice_on(index),
    )


def advice_on(index: SimilarityIndex) -> str:
    """What to do about tracks added since an index was built; empty: nothing."""
    drift = _drift(index)
    if drift.large:
        return (
            f"the {drift.tracks:,} tracks added since it was built lie {drift.shift:.2f} spreads from the rest: "
            "rebuild it, to prepare all of them alike"
        )
    if drift.tracks > max(index.preparation.fitted, 1):
        return f"it was built for {index.preparation.fitted:,} tracks and has {len(index):,} now: rebuild it"
    return ""


def refuse_namesakes(library: Library, ids: Sequence[str], vectors: NDArray[np.float32], source: str) -> None:
    """InputError if a track of another store that is still there would be replaced by one of this store."""
    if SOURCE not in library.frame:
        return
    rows = library.rows_of(ids)
    known = np.flatnonzero(rows >= 0)
    theirs = library.frame[SOURCE].to_numpy()[rows[known]]
    for position in known[(theirs != source) & ~pd.isna(theirs)]:
        other = library.frame[SOURCE].iloc[rows[position]]
        same = np.array_equal(library.rows.take([int(rows[position])])[0], vectors[position])
        if not same and store_of(other) is not None:
            raise InputError(
                f"track {ids[int(position)]!r} is in the index already, from {other}, and another in {source}: embed "
                "their common parent folder into one store, or build two indexes"
            )


def _taken_along(
    library: Library, ids: Sequence[str], vectors: NDArray[np.float32], table: pd.DataFrame, lost: NDArray[np.int64]
) -> pd.DataFrame:
    """The table, where a new track with the very embedding of one that goes, renamed then, has the metadata of that."""
    new = np.flatnonzero(library.rows_of(ids) < 0)
    former = {library.rows.take([row])[0].tobytes(): row for row in lost} if len(new) else {}
    pairs = [(at, former[key]) for at in new if (key := np.float32(vectors[at]).tobytes()) in former]
    if not pairs:
        return table
    places, rows = (np.array(side) for side in zip(*pairs, strict=True))
    table = table.copy()
    for column in library.frame.columns.difference(["track_id", SOURCE]):
        before = library.frame[column].iloc[rows].to_numpy(object)
        values = table[column].to_numpy(object) if column in table else np.full(len(table), None, object)
        untold = pd.isna(values[places])
        values[places[untold]] = before[untold]
        table[column] = pd.Series(values, index=table.index).infer_objects()
    return table


def _moved(library: Library, ids: Sequence[str], table: pd.DataFrame) -> int:
    """How many of the tracks belong to another store than the one they come from now."""
    if SOURCE not in table or SOURCE not in library.frame:
        return 0
    rows = library.rows_of(ids)
    before = library.frame[SOURCE].to_numpy()[rows[rows >= 0]]
    return int(np.sum((before != table[SOURCE].to_numpy()[rows >= 0]) & ~pd.isna(before)))


def _drift(index: SimilarityIndex) -> Drift:
    later = index.library.live
    later = later[later >= index.about["fitted_rows"]]
    return drift_of(index.preparation, (block for _, block in index.library.rows.select(later).blocks()))
