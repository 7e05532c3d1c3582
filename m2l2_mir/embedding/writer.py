"""Writing an embedding store: durable, resumable, one process at a time.

Finished tracks are collected for a moment, then written as one small part (see
:mod:`m2l2_mir.embedding.parts`). Small parts are merged when there are many of them and on closing;
merging also drops rows that a later result of the same track has replaced, or that were removed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m2l2_mir.durable import is_unfinished
from m2l2_mir.embedding.lock import LOCK_NAME, WriterLock
from m2l2_mir.embedding.merging import merge_parts
from m2l2_mir.embedding.parts import Kind, Part, Parts
from m2l2_mir.embedding.provenance import PROVENANCE_NAME, complete, read_provenance, record
from m2l2_mir.embedding.track import REMOVED, KnownTrack, TrackResult, checked, chunk_table, tombstone, track_table
from m2l2_mir.errors import StoreError

__all__ = ["StoreWriter"]

_FLUSH_TRACKS = 256
_FLUSH_BYTES = 64 << 20  # of chunk embeddings waiting to be written
_MERGE_EVERY = 64  # flushes; a long run would else leave thousands of parts to its reader


class StoreWriter:
    """Adds tracks to an embedding store. Open it with :meth:`open`, as a context manager.

    A process killed at any moment leaves a store that reads, and holds every flushed track once.
    Leaving the ``with`` block by an exception still saves the tracks that were finished.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from m2l2_mir.embedding.store import EmbeddingStore
    >>> made_with = {"settings": {"weights": "random:0"}, "num_embeddings": 2, "dim": 3, "chunk_seconds": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with StoreWriter.open(folder, made_with, keep_chunks=False) as writer:
    ...         one = np.ones((2, 3), np.float32)
    ...         writer.add(TrackResult(track_id="a", path="a.wav", status="ok", mean=one, std=one))
    ...     EmbeddingStore.open(folder).embeddings().shape
    (1, 2, 3)
    """

    def __init__(self, parts: Parts, lock: WriterLock, provenance: dict[str, Any], flush_seconds: float) -> None:
        self.provenance = provenance
        self._parts = parts
        self._lock = lock
        self._flush_seconds = flush_seconds
        self._waiting: dict[str, dict[str, Any]] = {}  # by track_id: within a part a track stands once
        self._waiting_bytes = 0
        self._next_number = max((part.last for part in parts.live()), default=-1) + 1
        self._flushes = 0
        self._flushed_at = time.monotonic()
        self._closed = False

    @classmethod
    def open(
        cls, path: str | Path, provenance: dict[str, Any], *, keep_chunks: bool, flush_seconds: float = 2.0
    ) -> Self:
        """Make a store, or go on with one that was made with the same settings.

        Parameters
        ----------
        path : str or Path
            A folder that is a store, or is empty, or does not exist.
        provenance : dict
            ``settings`` (dict), ``num_embeddings``, ``dim`` and ``chunk_seconds`` must equal those of
            an existing store; ``versions`` (dict) may differ, which is recorded.
        keep_chunks : bool
            Whether to keep the embedding of every chunk; must be as in the existing store.
        flush_seconds : float
            A track added this long after the last flush is written at once, with all that wait.

        Raises
        ------
        StoreError
            If the folder holds something else, was made with other settings, is damaged, cannot be
            written, or is being written by another process. No embedding is changed then.
        InputError
            If the provenance is incomplete.
        """
        folder = Path(path)
        asked = complete(provenance, keep_chunks=keep_chunks)
        _refuse_foreign(folder)
        with _write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(folder)
            try:
                stored = record(folder, asked)
                parts = Parts.of(folder, stored)
                for kind in parts.kinds:
                    (folder / kind).mkdir(exist_ok=True)
                parts.check()  # before anything is deleted that a damaged part has replaced
                parts.sweep()
                return cls(parts, lock, stored, flush_seconds)
            except BaseException:
                lock.release()
                raise

    def known(self) -> dict[str, KnownTrack]:
        """Every track finished so far, by track_id, for skipping what is done."""
        names = list(KnownTrack.__dataclass_fields__)
        rows = self._parts.winners(self._parts.live(), names)
        columns = [rows[name].tolist() for name in names]
        values = zip(*columns, strict=True)
        known = {
            track_id: KnownTrack(**dict(zip(names, one, strict=True)))
            for track_id, one in zip(rows["track_id"], values, strict=True)
        }
        for track_id, row in self._waiting.items():
            known[track_id] = KnownTrack(**{name: row[name] for name in names})
        return {track_id: track for track_id, track in known.items() if track.status != REMOVED}

    def add(self, result: TrackResult) -> None:
        """Take a finished track, in place of an earlier result of the same track_id if there is one.

        It is on disk after the next flush: at once when ``flush_seconds`` have passed since the last,
        else with a later track, on :meth:`flush` or on :meth:`close`.

        Raises
        ------
        InputError
            If shapes do not fit the store, a number is not finite, or the status contradicts the rest.
            The result is not stored; the writer stays usable.
        """
        self._refuse_closed()
        row = checked(
            result,
            self.provenance["num_embeddings"],
            self.provenance["dim"],
            keep_chunks="chunks" in self._parts.kinds,
        )
        self._waiting[result.track_id] = row
        self._waiting_bytes += row["embedding"].nbytes if "embedding" in row else 0
        if (
            time.monotonic() - self._flushed_at >= self._flush_seconds
            or len(self._waiting) >= _FLUSH_TRACKS
            or self._waiting_bytes >= _FLUSH_BYTES
        ):
            self.flush()

    def relocate(self, places: Mapping[str, Mapping[str, Any]]) -> None:
        """Record that finished tracks lie elsewhere, carry another time stamp or another id; their embeddings stay.

        Parameters
        ----------
        places : mapping
            track_id -> new values of ``path``, ``size_bytes`` and ``mtime_ns``, and of ``track_id`` where it is another
            now: the track is then there under the new id or under the old one, whenever the process is killed.
        """
        self.flush()
        pending = dict(places)
        while pending:  # one part at a time; a flush may merge parts, so look again each time
            live = self._parts.live()
            rows = self._parts.winners(live)
            rows = rows[rows["track_id"].isin(list(pending))]
            if rows.empty:
                break
            part = live[rows["part"].iloc[0]]
            here = rows["track_id"][rows["part"] == rows["part"].iloc[0]].tolist()
            table = self._parts.read("tracks", part)
            for row in table.filter(pc.is_in(table["track_id"], pa.array(here))).to_pylist():
                former = row["track_id"]
                moved = self._as_added(row, part) | dict(pending.pop(former))
                self._waiting[moved["track_id"]] = moved
                if moved["track_id"] != former:  # in the same part, so that one rename commits both
                    self._waiting[former] = tombstone(former, *self._shape)
            self.flush()

    def remove(self, track_ids: Iterable[str]) -> None:
        """Take tracks out of the store, with their chunks.

        When this returns, that outlasts a kill; their space is free after closing.

        Parameters
        ----------
        track_ids : iterable of str
            One that is not there does no harm.
        """
        self.flush()
        for track_id in track_ids:
            self._waiting[track_id] = tombstone(track_id, *self._shape)
            if len(self._waiting) >= _FLUSH_TRACKS:
                self.flush()
        self.flush()

    @property
    def _shape(self) -> tuple[int, int]:
        return self.provenance["num_embeddings"], self.provenance["dim"]

    def _as_added(self, row: dict[str, Any], part: Part) -> dict[str, Any]:
        """A row of the track table as :func:`~m2l2_mir.embedding.track.checked` gave it, with its chunks."""
        row |= {name: np.array(row[name], np.float32).reshape(self._shape) for name in ("mean", "std")}
        if "chunks" in self._parts.kinds:
            chunks = self._parts.read("chunks", part, track_id=row["track_id"])
            flat = chunks["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            row |= {
                "embedding": flat.reshape(-1, *self._shape),
                "samples": chunks["samples"].to_numpy(),
                "silent": chunks["silent"].to_numpy(),
            }
        return row

    def flush(self) -> None:
        """Write the tracks that wait; when this returns they outlast a kill or a power cut.

        Raises
        ------
        StoreError
            If the disk is full or fails. The tracks still wait: a later flush tries again.
        """
        self._refuse_closed()
        if self._waiting:
            rows = list(self._waiting.values())
            tables: dict[Kind, pa.Table] = {"tracks": track_table(rows, self._parts.schemas["tracks"])}
            if "chunks" in self._parts.kinds:
                seconds = self.provenance["chunk_seconds"]
                tables["chunks"] = chunk_table(rows, self._parts.schemas["chunks"], seconds)
            part = Part(self._next_number, self._next_number)
            self._next_number += 1  # even if writing fails: a number never stands for two contents
            with _write_errors(self._parts.folder):
                self._parts.write(part, tables)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._flushes += 1
            if self._flushes % _MERGE_EVERY == 0:
                self._merge()
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Flush, merge small parts, and let the next writer in. A second call does nothing."""
        self._finish(merge=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish(merge=error is None)  # who interrupts a run does not want to wait for tidying

    def _finish(self, *, merge: bool) -> None:
        if self._closed:
            return
        try:
            self.flush()
            if merge:
                self._merge()
        finally:
            self._closed = True
            self._lock.release()

    def _merge(self) -> None:
        with _write_errors(self._parts.folder):
            merge_parts(self._parts)
            self._parts.sweep()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError(f"this writer of {self._parts.folder} is closed: open another to add tracks")


def _refuse_foreign(folder: Path) -> None:
    """StoreError if the path is a file, or a folder with contents that are no store's."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{folder} cannot be used as an embedding store: {error}") from error
    if PROVENANCE_NAME in names:
        read_provenance(folder)
        return
    # a writer killed before it recorded its provenance leaves a lock and an unfinished file
    foreign = sorted(name for name in names if name != LOCK_NAME and not is_unfinished(name))
    if foreign:
        raise StoreError(
            f"{folder} holds {foreign[0]!r} and no {PROVENANCE_NAME}, so it is no embedding store: "
            "choose an empty or new folder for --out"
        )


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """A failing disk as a StoreError."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written: {error}; mend that and run the same command again, "
            "which goes on from what is stored"
        ) from error
