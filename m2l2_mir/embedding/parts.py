"""The Parquet parts of a store: which of them count, and how they are read and written.

``part-<first>-<last>.parquet`` covers the flushes numbered first to last. Two rules make every change
a single rename:

* A part of ``tracks/`` is what commits; a part of ``chunks/`` counts only beside a track part of the
  same name, and is renamed into place before it.
* A part whose range lies inside that of another is superseded, and ignored.

Of several rows of one track, the one in the last part counts, and with it the chunks in that part. If its status is
"removed", the track is no longer there: readers leave the row out, and merging drops it.
Inside a part each track stands once, and rows are sorted by track, so that Parquet's statistics lead
a reader to the chunks of one track.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from m2l2_mir.durable import is_unfinished, remove_unfinished, write_durably
from m2l2_mir.embedding.track import CHUNK_FIELDS, REMOVED, TRACK_FIELDS
from m2l2_mir.errors import StoreError

__all__ = ["Part", "Parts"]

Kind = Literal["tracks", "chunks"]

_NAME = re.compile(r"part-(\d{8,})-(\d{8,})\.parquet")
_ROW_GROUP_BYTES = 4 << 20  # read at least, to find the chunks of one track
_SORT = {"tracks": ["track_id"], "chunks": ["track_id", "chunk"]}


@dataclass(frozen=True, order=True)
class Part:
    """The numbers of the first and the last flush that a part covers.

    Examples
    --------
    >>> Part(3, 12).name
    'part-00000003-00000012.parquet'
    """

    first: int
    last: int

    @property
    def name(self) -> str:
        """Its file name, the same under ``tracks/`` and ``chunks/``."""
        return f"part-{self.first:08d}-{self.last:08d}.parquet"


class Parts:
    """The parts of one store.

    Parameters
    ----------
    folder : Path
        The store.
    num_embeddings, dim : int
        K and d, also written into each part.
    keep_chunks : bool
        Whether track parts have chunk parts beside them.
    """

    def __init__(self, folder: Path, *, num_embeddings: int, dim: int, keep_chunks: bool) -> None:
        self.folder = folder
        self.kinds: tuple[Kind, ...] = ("chunks", "tracks") if keep_chunks else ("tracks",)
        size = num_embeddings * dim
        about = {"num_embeddings": str(num_embeddings), "dim": str(dim)}
        vectors = {
            "tracks": {"mean": pa.list_(pa.float32(), size), "std": pa.list_(pa.float32(), size)},
            "chunks": {"embedding": pa.list_(pa.float16(), size)},
        }
        self.schemas: dict[str, pa.Schema] = {
            kind: pa.schema(list((fields | vectors[kind]).items()), metadata=about)
            for kind, fields in (("tracks", TRACK_FIELDS), ("chunks", CHUNK_FIELDS))
        }
        self._group_rows = {
            "tracks": max(1, _ROW_GROUP_BYTES // (size * 8)),
            "chunks": max(1, _ROW_GROUP_BYTES // (size * 2)),
        }

    @classmethod
    def of(cls, folder: Path, provenance: dict[str, Any]) -> Parts:
        """The parts of a store with this provenance."""
        return cls(
            folder,
            num_embeddings=provenance["num_embeddings"],
            dim=provenance["dim"],
            keep_chunks=bool(provenance.get("keep_chunks")),
        )

    def path(self, kind: Kind, part: Part) -> Path:
        """Where a part lies."""
        return self.folder / kind / part.name

    def live(self) -> list[Part]:
        """The parts that count, oldest first."""
        live: list[Part] = []
        for part in sorted(self._listed("tracks"), key=lambda part: (part.first, -part.last)):
            if not live or part.last > live[-1].last:
                live.append(part)
        return live

    def size_bytes(self, part: Part) -> int:
        """Size of a part on disk, its chunks included."""
        return sum(self.path(kind, part).stat().st_size for kind in self.kinds)

    def write(self, part: Part, tables: dict[Kind, pa.Table]) -> None:
        """Commit a part: one table per kind of the store."""
        for kind in self.kinds:  # "tracks" last: it is the commit
            table = tables[kind].sort_by([(key, "ascending") for key in _SORT[kind]])
            write_durably(self.path(kind, part), partial(self._write, kind, table))

    def read(
        self,
        kind: Kind,
        part: Part,
        columns: Sequence[str] | None = None,
        track_id: str | None = None,
    ) -> pa.Table:
        """Read a part, all of it or the rows of one track.

        Raises
        ------
        StoreError
            If it cannot be read; if it is damaged, tells what to delete and to run after that.
        FileNotFoundError
            If it is gone, as happens to a reader while a writer merges parts.
        """
        path = self.path(kind, part)
        try:
            table = pq.read_table(
                path,
                columns=None if columns is None else list(columns),
                filters=None if track_id is None else [("track_id", "==", track_id)],
                page_checksum_verification=True,
            )
        except FileNotFoundError as error:
            if kind == "chunks" and self.path("tracks", part).exists():  # a writer deletes that one first
                raise StoreError(self._damaged(path, part, "it is missing")) from error
            raise
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the system's fault, not the file's
                raise StoreError(f"{path} cannot be read: {error}") from error
            raise StoreError(self._damaged(path, part, str(error).partition("\n")[0])) from error
        schema = self.schemas[kind] if columns is None else pa.schema(map(self.schemas[kind].field, columns))
        if not table.schema.equals(schema):
            raise StoreError(self._damaged(path, part, "its columns are not those of this store"))
        return table

    def winners(self, parts: Sequence[Part], columns: Collection[str] = ()) -> pd.DataFrame:
        """The row that counts of each track, with `columns`, "track_id" and "part" (position in `parts`)."""
        names = ["track_id", *(name for name in columns if name != "track_id")]
        read = [*names, *({"status"} - {*names})]
        empty = self.schemas["tracks"].empty_table().select(read)
        tables = [self.read("tracks", part, read).cast(empty.schema) for part in parts]
        rows: pd.DataFrame = pa.concat_tables([empty, *tables]).to_pandas()
        numbers = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        last = rows.assign(part=numbers).drop_duplicates("track_id", keep="last")
        return last.loc[last["status"] != REMOVED, [*names, "part"]].reset_index(drop=True)

    def num_rows(self, part: Part) -> int:
        """Tracks in a part, those that do not count included."""
        return int(pq.read_metadata(self.path("tracks", part)).num_rows)

    def check(self) -> None:
        """StoreError if a live part cannot be read, or lacks its chunks."""
        live = self.live()
        self.winners(live)
        for part in live:
            for kind in self.kinds:
                if not self.path(kind, part).exists():
                    raise StoreError(self._damaged(self.path(kind, part), part, "it is missing"))

    def sweep(self) -> None:
        """Delete what does not count: unfinished files, superseded parts, chunks without tracks.

        Track parts go first: their chunks are then orphans, whereas tracks without chunks would
        count as damage, should a larger part that supersedes them be deleted by hand.
        """
        remove_unfinished(self.folder)
        live = set(self.live())
        for kind in reversed(self.kinds):
            remove_unfinished(self.folder / kind)
            for part in self._listed(kind):
                if part not in live:
                    os.unlink(self.path(kind, part))

    def _listed(self, kind: Kind) -> list[Part]:
        try:
            names = os.listdir(self.folder / kind)
        except FileNotFoundError:  # killed while being made
            return []
        matches = (_NAME.fullmatch(name) for name in names if not is_unfinished(name))
        return [Part(int(match[1]), int(match[2])) for match in matches if match]

    def _write(self, kind: Kind, table: pa.Table, file: Any) -> None:
        strings = [field.name for field in self.schemas[kind] if pa.types.is_string(field.type)]
        pq.write_table(
            table.replace_schema_metadata(self.schemas[kind].metadata),
            file,
            row_group_size=self._group_rows[kind],
            use_dictionary=strings,
            compression="zstd",
            write_page_checksum=True,
        )

    def _damaged(self, path: Path, part: Part, why: str) -> str:
        return (  # deleting the track part is enough: the chunk part then counts no more
            f"{path} is damaged ({why}): delete {self.path('tracks', part)}, then run the same m2l2 embed "
            f"... --out {self.folder} again, which re-embeds the tracks of this part and keeps all others"
        )
