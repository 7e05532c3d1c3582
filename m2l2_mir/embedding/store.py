"""Reading an embedding store: a folder of Parquet files with the summaries of many tracks.

``STORE/provenance.json`` tells what made the embeddings, ``STORE/tracks/`` has one row per track,
``STORE/chunks/``, where it was kept, one row per chunk. Any Parquet reader can read these folders
(``pandas.read_parquet("STORE/tracks")``). One thing only this module knows: while a writer is at work,
or after it was killed, a few rows may be there twice, and only one of them counts, or be there with
status "removed". Closing a writer tidies that up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from m2l2_mir.embedding.parts import Part, Parts
from m2l2_mir.embedding.pooling import apply_pooling, uses_std
from m2l2_mir.embedding.provenance import read_provenance
from m2l2_mir.embedding.scratch import scratch
from m2l2_mir.embedding.track import CHUNK_FIELDS, TRACK_FIELDS, KnownTrack, TrackResult
from m2l2_mir.embedding.writer import StoreWriter
from m2l2_mir.errors import InputError, StoreError
from m2l2_mir.recipe import close_match

__all__ = ["EmbeddingStore", "KnownTrack", "StoreWriter", "TrackResult"]

HELD_BYTES = 1 << 30  # larger summaries lie in a file, so that a library need not fit into memory
_OPEN_ATTEMPTS = 5  # a writer may merge parts between our listing and our reading of them
_MOST_IDS_COMPARED = 20_000  # difflib takes about a second for as many


class EmbeddingStore:
    """The embeddings of a collection as they stood when :meth:`open` was called.

    Examples
    --------
    >>> import tempfile
    >>> made_with = {"settings": {"weights": "random:0"}, "num_embeddings": 2, "dim": 3, "chunk_seconds": 1}
    >>> one = np.ones((2, 3), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with StoreWriter.open(folder, made_with, keep_chunks=False) as writer:
    ...         writer.add(TrackResult(track_id="a", path="a.wav", status="ok", mean=one, std=one))
    ...         writer.add(TrackResult(track_id="b", path="b.wav", status="failed", reason="empty"))
    ...     store = EmbeddingStore.open(folder)
    ...     len(store), store.trained, store.embeddings("mean+std").shape
    (2, False, (1, 2, 6))
    """

    def __init__(self, parts: Parts, provenance: dict[str, Any], live: list[Part], winners: pd.DataFrame) -> None:
        self.provenance = provenance
        """What the embeddings were made with."""
        self.path = parts.folder
        self._parts = parts
        self._live = live
        rows = winners.sort_values("track_id", ignore_index=True)
        self._part_number: NDArray[np.int64] = rows.pop("part").to_numpy()
        self._rows = rows
        self._index = pd.Index(rows["track_id"])
        self._vectors: dict[str, NDArray[np.float32]] = {}

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store for reading; a writer may be adding to it meanwhile.

        Parameters
        ----------
        path : str or Path
            The store's folder.

        Raises
        ------
        StoreError
            If it is no store, is damaged, or was written by a newer version.
        """
        folder = Path(path)
        provenance = read_provenance(folder)
        parts = Parts.of(folder, provenance)
        for _ in range(_OPEN_ATTEMPTS):
            live = parts.live()
            try:
                return cls(parts, provenance, live, parts.winners(live, TRACK_FIELDS))
            except FileNotFoundError:
                continue
        raise StoreError(f"{folder} keeps changing while it is opened: try again when its writer has ended")

    @property
    def tracks(self) -> pd.DataFrame:
        """One row per track, sorted by ``track_id`` so that it does not depend on who finished first.

        Columns: track_id, path, status ("ok" or "failed"), reason, duration (seconds), sample_rate,
        channels, chunks, silent_chunks, audio_sha256, size_bytes, mtime_ns, embedded_at.
        """
        return self._rows.copy()  # the caller may add columns or reorder it

    @property
    def ok(self) -> pd.DataFrame:
        """The tracks that :meth:`embeddings` has rows for, in the same order, numbered from 0."""
        return self._rows[self._rows["status"] == "ok"].reset_index(drop=True)

    @property
    def num_embeddings(self) -> int:
        """Summary embeddings per chunk, K."""
        return int(self.provenance["num_embeddings"])

    @property
    def dim(self) -> int:
        """Numbers per summary embedding, d."""
        return int(self.provenance["dim"])

    @property
    def trained(self) -> bool:
        """False if the weights were random, so that nothing should be read into the embeddings."""
        return bool(self.provenance["settings"].get("trained", False))

    def embeddings(self, pooling: str = "mean") -> NDArray[np.float32]:
        """The summaries of all tracks with status ok, in the order of :attr:`ok`.

        Parameters
        ----------
        pooling : str
            One of :data:`~m2l2_mir.embedding.pooling.POOLINGS`: "mean" gives [tracks, K, d], "mean+std"
            [tracks, K, 2d], "flatten" [tracks, K*d], "mean+std-flatten" [tracks, K*2d], "slot-mean"
            [tracks, d].

        Returns
        -------
        np.ndarray, float32
            "mean" and "flatten" share one read-only array: copy it before changing it. Above 1 GiB (500,000 tracks
            of 8 x 64) it lies in a temporary file, see ``TMPDIR``; the other poolings are held in memory.

        Raises
        ------
        InputError
            If the pooling is unknown.
        StoreError
            If a part is damaged, or the store was rewritten since it was opened.
        """
        std = self._vector("std") if uses_std(pooling) else None
        return apply_pooling(pooling, self._vector("mean"), std)

    def chunks(self, track_id: str) -> NDArray[np.float32]:
        """The embeddings of each chunk of one track, silent ones included.

        Parameters
        ----------
        track_id : str
            Of a track with status ok.

        Returns
        -------
        np.ndarray [shape=(chunks, K, d)], float32
            Stored in float16, so exact to about three digits.

        Raises
        ------
        InputError
            If there is no such track, or it failed.
        StoreError
            If the store kept no chunks, or is damaged.
        """
        table = self._read_chunks(track_id, ["embedding"])
        flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat.reshape(-1, self.num_embeddings, self.dim), dtype=np.float32)

    def chunk_table(self, track_id: str) -> pd.DataFrame:
        """The chunks of one track: chunk, start (seconds), samples (real ones), silent.

        Raises as :meth:`chunks` does.
        """
        frame: pd.DataFrame = self._read_chunks(track_id, list(CHUNK_FIELDS)).to_pandas()
        return frame.drop(columns="track_id")

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        failed = int((self._rows["status"] == "failed").sum())
        kept = "with chunks" if "chunks" in self._parts.kinds else "without chunks"
        weights = "" if self.trained else ", random weights"
        return (
            f"EmbeddingStore({str(self.path)!r}: {len(self)} tracks, {failed} failed, "
            f"{self.num_embeddings} x {self.dim}, {kept}{weights})"
        )

    def _vector(self, name: Literal["mean", "std"]) -> NDArray[np.float32]:
        if name not in self._vectors:
            ok = (self._rows["status"] == "ok").to_numpy()
            # where each ok track goes, per part: rows of the file that are not among them do not count
            shape = (int(ok.sum()), self.num_embeddings * self.dim)
            vectors = (np.empty if 4 * np.prod(shape) <= HELD_BYTES else scratch)(shape, np.float32)
            place = np.cumsum(ok) - 1
            filled = 0
            for number in np.unique(self._part_number[ok]):
                table = self._read(self._live[number], ["track_id", name])
                row = self._index.get_indexer(pd.Index(table["track_id"].to_pandas()))
                wanted = (row >= 0) & ok[row] & (self._part_number[row] == number)
                flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
                vectors[place[row[wanted]]] = flat.reshape(-1, vectors.shape[1])[wanted]
                filled += int(wanted.sum())
            if filled != len(vectors):
                raise self._rewritten()
            vectors.flags.writeable = False
            self._vectors[name] = vectors.reshape(-1, self.num_embeddings, self.dim)
        return self._vectors[name]

    def _read_chunks(self, track_id: str, columns: list[str]) -> pa.Table:
        if "chunks" not in self._parts.kinds:
            raise StoreError(f"{self.path} kept no chunks: embed again into another --out with --keep chunks")
        if track_id not in self._index:
            hint = close_match(str(track_id), list(self._index[:_MOST_IDS_COMPARED]))
            raise InputError(f"no track {track_id!r} in {self.path}{hint or '; .tracks lists what it holds'}")
        row = int(self._index.get_indexer([track_id])[0])
        if self._rows["status"].iat[row] != "ok":
            raise InputError(f"track {track_id!r} has no chunks, it failed: {self._rows['reason'].iat[row]}")
        table = self._read(self._live[self._part_number[row]], columns, track_id)
        if len(table) != self._rows["chunks"].iat[row]:
            raise self._rewritten()
        return table

    def _read(self, part: Part, columns: list[str], track_id: str | None = None) -> pa.Table:
        try:
            return self._parts.read("tracks" if track_id is None else "chunks", part, columns, track_id)
        except FileNotFoundError as error:
            raise self._rewritten() from error

    def _rewritten(self) -> StoreError:
        return StoreError(f"{self.path} was rewritten since it was opened: open it again")
