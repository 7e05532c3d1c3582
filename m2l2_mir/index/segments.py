"""Every chunk of every track, to find where in the library a few seconds occur.

A chunk that is silent has no embedding worth comparing: its row is NaN here, and is never found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from m2l2_mir.embedding.scratch import scratch
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError, StoreError
from m2l2_mir.index.backends import Backend
from m2l2_mir.index.choice import Choice, choose
from m2l2_mir.index.filling import filled
from m2l2_mir.index.preparation import Preparation, prepare
from m2l2_mir.index.vectors import Rows

__all__ = ["Segments"]

MOST_DEAD = 0.1


class Segments:
    """Chunks of tracks, searchable.

    Parameters
    ----------
    tracks : pd.DataFrame
        ``track_id``, ``first`` (row of its first chunk), ``count`` and ``alive``; in order of ``first``.
    rows : Rows
        Embeddings of chunks.
    preparation, backend
        As in the index of tracks, but made for chunks.
    seconds
        Of a chunk.
    seed
        Of what is sampled.
    """

    def __init__(
        self, tracks: pd.DataFrame, rows: Rows, preparation: Preparation, backend: Backend, seconds: float, seed: int
    ) -> None:
        self.tracks, self.rows = tracks.reset_index(drop=True), rows
        self.preparation, self.backend = preparation, backend
        self.seconds, self.seed = float(seconds), seed
        self.absent: dict[int, NDArray[np.float64]] = {}
        """Number of chunks -> what snippets of so many find where they do not occur, once someone has asked."""

    @classmethod
    def build(
        cls,
        store: EmbeddingStore,
        ids: Sequence[str],
        seed: int = 0,
        *,
        exact: bool = False,
        memory_mb: float | None = None,
    ) -> Self:
        """Take the chunks of these tracks from a store.

        Parameters
        ----------
        exact, memory_mb
            See :func:`m2l2_mir.index.choice.choose`.

        Raises
        ------
        StoreError
            It kept no chunks.
        InputError
            Nothing fits the budget.
        """
        if not store.provenance.get("keep_chunks"):
            raise StoreError(
                f"{store.path} kept no chunks, which segments are made of: embed again into another --out with "
                "--keep chunks"
            )
        tracks, chunks = _chunks_of(store, ids)
        seconds = float(store.provenance["chunk_seconds"])
        return cls._filled(tracks, Rows([chunks]), seconds, seed, exact=exact, memory_mb=memory_mb)

    @classmethod
    def _filled(
        cls, tracks: pd.DataFrame, rows: Rows, seconds: float, seed: int, *, exact: bool, memory_mb: float | None
    ) -> Self:
        heard = _heard(rows)
        preparation, _ = prepare(rows, heard, "auto", seed)
        choice = choose(len(rows), preparation.rank, exact=exact, memory_mb=memory_mb)
        return cls(tracks, rows, preparation, _backend(rows, preparation, choice, seed, heard), seconds, seed)

    def __len__(self) -> int:
        return int(self.tracks["count"][self.tracks["alive"]].sum())

    def prepared(self, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors of chunks; zero for silent ones."""
        return _prepared(self.preparation, chunks)

    def place(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of the track in :attr:`tracks`, and of the chunk in it, for rows of chunks."""
        first = self.tracks["first"].to_numpy()
        track = np.searchsorted(first, rows, side="right") - 1
        return track, rows - first[track]

    def changed(self, dropped: Sequence[str], added: Sequence[str], store: EmbeddingStore | None) -> Segments:
        """The same after tracks have gone or have come from a store; an updated one does both."""
        alive = self.tracks["alive"] & ~self.tracks["track_id"].isin(list(dropped))
        tracks = self.tracks.assign(alive=alive)
        backend, rows = self.backend, self.rows
        if added:
            if store is None or not store.provenance.get("keep_chunks"):
                raise InputError("the index has segments, but the store kept no chunks: embed with --keep chunks")
            backend = backend.writable()
            fresh, chunks = _chunks_of(store, added)
            tracks = pd.concat([tracks, fresh.assign(first=fresh["first"] + len(rows))], ignore_index=True)
            rows.append(chunks)
            backend.add(self.prepared(np.asarray(chunks, np.float32)))
        made = Segments(tracks, rows, self.preparation, backend, self.seconds, self.seed)
        dead = tracks["count"][~tracks["alive"]].sum()
        return made.compacted() if dead > MOST_DEAD * len(rows) else made

    def rebuilt(self, *, exact: bool = False, memory_mb: float | None = None) -> Segments:
        """The same chunks, prepared anew and in a structure that is chosen again."""
        tracks, rows = self._live()
        return Segments._filled(tracks, rows, self.seconds, self.seed, exact=exact, memory_mb=memory_mb)

    def compacted(self) -> Segments:
        """The same without the chunks of tracks that are gone."""
        tracks, rows = self._live()
        heard = _heard(rows)
        try:
            backend = _backend(rows, self.preparation, self.backend.choice, self.seed, heard)
        except InputError:  # too few are left for it
            exact = choose(len(rows), self.preparation.rank, exact=True)
            backend = _backend(rows, self.preparation, exact, self.seed, heard)
        return Segments(tracks, rows, self.preparation, backend, self.seconds, self.seed)

    def _live(self) -> tuple[pd.DataFrame, Rows]:
        """Tracks that are not gone, and their chunks."""
        live = self.tracks[self.tracks["alive"]]
        kept = [np.arange(first, first + count) for first, count in zip(live["first"], live["count"], strict=True)]
        rows = self.rows.select(np.concatenate([np.zeros(0, np.int64), *kept]))
        count = live["count"].to_numpy()
        return live.assign(first=np.cumsum(count) - count), rows

    def write_tracks(self, file: IO[bytes]) -> None:
        """Write the table of tracks as Parquet."""
        pq.write_table(pa.Table.from_pandas(self.tracks, preserve_index=False), file, compression="zstd")

    @staticmethod
    def read_tracks(path: Path) -> pd.DataFrame:
        """Read what :meth:`write_tracks` has written."""
        frame: pd.DataFrame = pq.read_table(path, columns=["track_id", "first", "count", "alive"]).to_pandas()
        return frame


def _heard(rows: Rows) -> NDArray[np.bool_]:
    """Which chunks are not silent."""
    return np.concatenate([np.isfinite(block).all(axis=1) for _, block in rows.blocks()] or [np.zeros(0, bool)])


def _prepared(preparation: Preparation, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
    silent = np.asarray(np.isnan(chunks).any(axis=1), bool)
    return np.where(silent[:, None], np.float32(0), preparation(np.where(silent[:, None], 0, chunks)))


def _backend(rows: Rows, preparation: Preparation, choice: Choice, seed: int, heard: NDArray[np.bool_]) -> Backend:
    prepared = partial(_prepared, preparation)
    return filled(rows, prepared, choice, width=preparation.rank, seed=seed, among=np.flatnonzero(heard))


def _chunks_of(store: EmbeddingStore, ids: Sequence[str]) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Table and embeddings [n, width] of the chunks of some tracks, held in a file that vanishes with them."""
    counts = store.ok.set_index("track_id")["chunks"].loc[list(ids)].to_numpy(np.int64)
    first = np.cumsum(counts) - counts
    shape = (int(counts.sum()), store.num_embeddings * store.dim)
    chunks = scratch(shape, np.float16)
    for name, start, count in zip(ids, first, counts, strict=True):
        silent = store.chunk_table(name)["silent"].to_numpy(bool)
        part = store.chunks(name).reshape(count, -1)
        chunks[start : start + count] = np.where(silent[:, None], np.nan, part)
    return pd.DataFrame({"track_id": list(ids), "first": first, "count": counts, "alive": True}), chunks
