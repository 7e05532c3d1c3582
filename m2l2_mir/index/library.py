"""The tracks of an index: ids that stay, metadata, embeddings, and which rows count.

A row is never moved or reused: a changed track gets a new row, and its old one is dead from then on. That keeps rows,
files and search structures of different ages in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.index.vectors import Rows
from m2l2_mir.recipe import close_match

__all__ = ["FROM_STORE", "RESERVED", "SOURCE", "Library", "checked_ids", "metadata_of"]

RESERVED = ("rank", "similarity", "percentile", "among_nearest", "copies")  # columns of a result
SOURCE = "source"  # the store that a track came from
FROM_STORE = ("path", "duration")  # what an index takes from its stores, whatever a table of metadata says
_COMPARED = 4096  # rows at once
_MOST_IDS_COMPARED = 20_000  # difflib takes about a second for as many


class Library:
    """Tracks, in the order in which they were added.

    Parameters
    ----------
    frame : pd.DataFrame
        A row for each row of `rows`: ``track_id``, ``source`` and metadata.
    rows : Rows
        Embeddings.
    alive : np.ndarray [shape=(n,)], bool

    Examples
    --------
    >>> library = Library.of(["a", "b"], np.eye(2, dtype=np.float32), pd.DataFrame({"year": [1, 2]}))
    >>> library.put(["b", "c"], np.ones((2, 2), np.float32), pd.DataFrame({"year": [2, 3]}))
    (['c'], ['b'], [], 0)
    >>> library.ids, len(library.rows)
    (['a', 'b', 'c'], 4)
    """

    def __init__(self, frame: pd.DataFrame, rows: Rows, alive: NDArray[np.bool_]) -> None:
        self.frame, self.rows, self.alive = frame, rows, alive
        self._index: pd.Index[Any] | None = None

    @classmethod
    def of(cls, ids: Sequence[str], vectors: NDArray[np.float32], metadata: pd.DataFrame) -> Library:
        """A new library of checked ids and vectors."""
        frame = metadata.reset_index(drop=True)
        frame.insert(0, "track_id", pd.Series(list(ids), dtype=object))
        return cls(frame, Rows([vectors]), np.ones(len(vectors), bool))

    def __len__(self) -> int:
        return int(self.alive.sum())

    @property
    def dead(self) -> int:
        """Rows that count no more."""
        return len(self.alive) - len(self)

    @property
    def live(self) -> NDArray[np.int64]:
        """Numbers of the rows that count."""
        return np.flatnonzero(self.alive)

    @property
    def ids(self) -> list[str]:
        """Ids of the tracks that count, in order of their rows."""
        return self.frame["track_id"].to_numpy()[self.alive].tolist()

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Row of each id, -1 where there is none."""
        if self._index is None:
            self._index = pd.Index(self.frame["track_id"].to_numpy()[self.alive])
        found = self._index.get_indexer(pd.Index(list(ids), dtype=object))
        return np.where(found >= 0, self.live[found], -1) if len(self) else np.full(len(found), -1)

    def known_rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Row of each id; InputError if there is none, with the nearest name."""
        rows = self.rows_of(ids)
        for name, row in zip(ids, rows, strict=True):
            if row < 0:
                hint = close_match(str(name), self.ids[:_MOST_IDS_COMPARED])
                raise InputError(f"no track {name!r} in the index{hint or ''}")
        return rows

    def put(
        self, ids: Sequence[str], vectors: NDArray[np.float32], metadata: pd.DataFrame
    ) -> tuple[list[str], list[str], list[str], int]:
        """Add tracks, or bring those that are there to this state.

        Returns
        -------
        added, updated, relabelled : list of str
            Ids; the last of tracks with the same embedding and other metadata.
        unchanged : int
            Number of tracks left as they were.

        Only the columns of `metadata` are changed in tracks whose embedding is the same; a track with another
        embedding keeps the rest of its metadata.
        """
        rows = self.rows_of(ids)
        known = np.flatnonzero(rows >= 0)
        same = np.zeros(len(rows), bool)
        for start in range(0, len(known), _COMPARED):
            part = known[start : start + _COMPARED]
            same[part] = (self.rows.take(rows[part]) == vectors[part]).all(axis=1)
        changed = np.flatnonzero((rows >= 0) & ~same)
        new = np.flatnonzero(rows < 0)
        other = np.zeros(len(rows), bool)
        other[known] = self._note(rows[known], metadata.iloc[known])
        relabelled = np.flatnonzero(other & same)
        fresh = pd.concat(
            [self.frame.iloc[rows[changed]], _named(ids, metadata, new)], ignore_index=True
        )  # the old rows of what has changed already carry the new metadata
        self.alive[rows[changed]] = False
        appended = np.concatenate([changed, new])
        self.frame = pd.concat([self.frame, fresh], ignore_index=True) if len(fresh) else self.frame
        self.rows.append(vectors[appended])
        self.alive = np.concatenate([self.alive, np.ones(len(appended), bool)])
        self._index = None
        added, updated, other_metadata = ([ids[int(row)] for row in some] for some in (new, changed, relabelled))
        return added, updated, other_metadata, int(same.sum()) - len(relabelled)

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Let these rows count no more."""
        self.alive[rows] = False
        self._index = None

    def compacted(self) -> Library:
        """The same without dead rows; nothing is copied but the frame."""
        live = self.live
        return Library(self.frame.iloc[live].reset_index(drop=True), self.rows.select(live), np.ones(len(live), bool))

    def _note(self, rows: NDArray[np.int64], metadata: pd.DataFrame) -> NDArray[np.bool_]:
        """Set metadata of rows that are there; -> which of them had others before."""
        other = np.zeros(len(rows), bool)
        for column in metadata.columns:
            given = metadata[column]
            if column not in self.frame:
                self.frame[column] = pd.Series([None] * len(self.frame), dtype=object).astype(_nullable(given.dtype))
            if self.frame[column].dtype != given.dtype:
                self.frame[column] = self.frame[column].astype(object)
            told = given.notna().to_numpy()  # a table that does not know a track erases nothing
            before, after = self.frame[column].iloc[rows[told]].tolist(), given[told].tolist()
            other[told] |= np.array([pd.isna(old) or new != old for old, new in zip(before, after, strict=True)], bool)
            self.frame.loc[self.frame.index[rows[told]], column] = given.to_numpy()[told]
            self.frame[column] = self.frame[column].infer_objects()
        return other


def checked_ids(ids: Sequence[Any], count: int) -> list[str]:
    """Ids as text, one for each vector.

    Raises
    ------
    InputError
        Their number is wrong, one is there twice, or one is empty.
    """
    names = [str(name) for name in ids]
    if len(names) != count:
        raise InputError(f"{count} vectors need as many ids, not {len(names)}")
    twice = pd.Series(names, dtype=object)
    repeated = twice[twice.duplicated()].unique()
    if len(repeated):
        raise InputError(f"ids must be unique: {repeated[0]!r} and {len(repeated) - 1} others are there more than once")
    if "" in names:
        raise InputError("an id is empty: each track needs one")
    return names


def metadata_of(ids: Sequence[str], table: pd.DataFrame | None) -> pd.DataFrame:
    """Rows of a metadata table in the order of the ids; a table without ``track_id`` is in that order already.

    Raises
    ------
    InputError
        The table has another length, an id twice, a reserved column, or knows none of the ids.
    """
    if table is None:
        return pd.DataFrame(index=range(len(ids)))
    clashing = [column for column in table.columns if column in (*RESERVED, SOURCE)]
    if clashing:
        raise InputError(f"metadata may not have a column {clashing[0]!r}: it is one of the index's own")
    table = table.rename(columns=str)
    if "track_id" not in table:
        if len(table) != len(ids):
            raise InputError(f"metadata without a track_id column needs a row for each of {len(ids)} ids: {len(table)}")
        return table.reset_index(drop=True)
    keys = table["track_id"].astype(str)
    if keys.duplicated().any():
        raise InputError(f"metadata has {keys[keys.duplicated()].iloc[0]!r} more than once: one row for each track")
    if len(ids) and not keys.isin(list(ids)).any():
        raise InputError(f"metadata knows none of the tracks: it has {keys.iloc[0]!r}, the index {ids[0]!r}")
    return table.drop(columns="track_id").set_axis(keys, axis=0).reindex(list(ids)).reset_index(drop=True)


def _named(ids: Sequence[str], metadata: pd.DataFrame, rows: NDArray[np.int64]) -> pd.DataFrame:
    fresh = metadata.iloc[rows].reset_index(drop=True)
    fresh.insert(0, "track_id", pd.Series([ids[row] for row in rows], dtype=object))
    return fresh


def _nullable(dtype: Any) -> Any:
    """A type that holds the values and their absence."""
    return dtype if dtype.kind in "fOM" else object
