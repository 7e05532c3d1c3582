"""One finished track: what is known of it, its summary, its chunks, and how these become tables."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from m2l2_mir.embedding.provenance import utc_now
from m2l2_mir.errors import InputError

__all__ = [
    "CHUNK_FIELDS",
    "REMOVED",
    "TRACK_FIELDS",
    "KnownTrack",
    "TrackResult",
    "checked",
    "chunk_table",
    "embedding_array",
    "stored_path",
    "tombstone",
    "track_table",
]

REMOVED = "removed"
"""Status of a row that takes a track out of a store: it wins over earlier rows, and readers leave it out."""

TRACK_FIELDS: dict[str, pa.DataType] = {
    "track_id": pa.string(),
    "path": pa.string(),
    "status": pa.string(),
    "reason": pa.string(),
    "duration": pa.float64(),
    "sample_rate": pa.int32(),
    "channels": pa.int32(),
    "chunks": pa.int32(),
    "silent_chunks": pa.int32(),
    "audio_sha256": pa.string(),
    "size_bytes": pa.int64(),
    "mtime_ns": pa.int64(),
    "embedded_at": pa.string(),
}
CHUNK_FIELDS: dict[str, pa.DataType] = {
    "track_id": pa.string(),
    "chunk": pa.int32(),
    "start": pa.float64(),
    "samples": pa.int32(),
    "silent": pa.bool_(),
}


@dataclass(frozen=True, kw_only=True)
class TrackResult:
    """The outcome of embedding one track, good or bad.

    Parameters
    ----------
    track_id : str
        Unique in the store; a later result of the same id replaces the earlier one.
    path : str
        Where the audio was.
    status : str
        "ok" or "failed"; a failed track has no embeddings.
    reason : str
        Why it failed; when ok, what is still amiss (a file that is cut off), or empty.
    duration : float
        Seconds of audio in the file; NaN when unknown.
    sample_rate, channels : int
        Of the file; 0 when unknown.
    chunks, silent_chunks : int
        Chunks in all, and those of them left out of `mean` and `std` as silent.
    audio_sha256 : str
        Of the file's bytes.
    size_bytes, mtime_ns : int
        Of the file, to see whether it changed.
    embedded_at : str
        ISO time in UTC.
    mean, std : np.ndarray [shape=(K, d)], float32, or None
        Over time, from :func:`~m2l2_mir.embedding.pooling.pool_time`.
    chunk_embeddings : np.ndarray [shape=(chunks, K, d)], float16, or None
        Only used by a store that keeps chunks, as are the next two.
    chunk_samples : np.ndarray [shape=(chunks,)], int, or None
        Real samples in each chunk.
    chunk_silent : np.ndarray [shape=(chunks,)], bool, or None

    Examples
    --------
    >>> TrackResult(track_id="a", path="a.wav", status="failed", reason="the file is empty").chunks
    0
    """

    track_id: str
    path: str
    status: str
    reason: str = ""
    duration: float = math.nan
    sample_rate: int = 0
    channels: int = 0
    chunks: int = 0
    silent_chunks: int = 0
    audio_sha256: str = ""
    size_bytes: int = 0
    mtime_ns: int = 0
    embedded_at: str = field(default_factory=utc_now)
    mean: NDArray[np.float32] | None = None
    std: NDArray[np.float32] | None = None
    chunk_embeddings: NDArray[np.float16] | None = None
    chunk_samples: NDArray[Any] | None = None
    chunk_silent: NDArray[Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownTrack:
    """What a resumed run needs to decide whether a track is done: see :class:`TrackResult`."""

    path: str
    status: str
    size_bytes: int
    mtime_ns: int
    audio_sha256: str


def stored_path(path: str | os.PathLike[str]) -> str:
    """How a store calls the place of a file: absolute, and escaped where a name is no valid Unicode."""
    return os.path.abspath(path).encode("utf-8", "backslashreplace").decode()


def checked(result: TrackResult, num_embeddings: int, dim: int, *, keep_chunks: bool) -> dict[str, Any]:
    """The values of a result, copied and in the store's types, or InputError if one does not fit.

    All is checked here, because a value refused at the flush would take other tracks with it.
    Text of the path and the reason that is no valid Unicode (file names may be any bytes) is
    escaped; a `track_id` must be valid, because the next run looks it up.
    """
    name = repr(result.track_id)
    values: dict[str, Any] = {}
    for key, kind in TRACK_FIELDS.items():
        value = getattr(result, key)
        if key != "track_id" and isinstance(value, str):
            value = value.encode("utf-8", "backslashreplace").decode("utf-8")
        try:
            values[key] = pa.scalar(value, kind).as_py()
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"track {name}: {key} cannot be {value!r}, must be {kind} ({error})") from error
        if values[key] is None or (key == "track_id" and not value):
            raise InputError(f"track {name}: {key} is missing, must be {kind}")
    if result.status not in ("ok", "failed"):
        raise InputError(f"track {name}: status is {result.status!r}, must be 'ok' or 'failed'")
    if result.status == "failed" and not result.reason:
        raise InputError(f"track {name}: status {result.status!r} needs a reason")

    shape = (num_embeddings, dim)
    if result.status == "failed":
        if result.mean is not None or result.std is not None:
            raise InputError(f"track {name}: a failed track has no embeddings, leave mean and std None")
        # NaN and not null: pyarrow before 16 cannot write a missing fixed-size list
        return values | {
            "mean": np.full(shape, np.nan, np.float32),
            "std": np.full(shape, np.nan, np.float32),
        }
    values["mean"] = _embedding(result.mean, np.float32, shape, f"track {name}: mean")
    values["std"] = _embedding(result.std, np.float32, shape, f"track {name}: std")
    if keep_chunks:
        values["embedding"] = _embedding(
            result.chunk_embeddings, np.float16, (result.chunks, *shape), f"track {name}: chunk_embeddings"
        )
        for key, given, dtype in (
            ("samples", result.chunk_samples, np.int32),
            ("silent", result.chunk_silent, np.bool_),
        ):
            if given is None or np.shape(given) != (result.chunks,):
                raise InputError(f"track {name}: chunk_{key} must hold {result.chunks} values, one per chunk")
            values[key] = np.array(given, dtype=dtype)
    return values


def tombstone(track_id: str, num_embeddings: int, dim: int) -> dict[str, Any]:
    """A row as :func:`checked` gives it, that takes a track out of the store."""
    row = TrackResult(track_id=track_id, path="", status="failed", reason="removed from the store")
    return checked(row, num_embeddings, dim, keep_chunks=False) | {"status": REMOVED}


def track_table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows from :func:`checked` as a track table."""
    columns = [pa.array([row[name] for row in rows], kind) for name, kind in TRACK_FIELDS.items()]
    columns += [embedding_array(np.stack([row[name] for row in rows])) for name in ("mean", "std")]
    return pa.Table.from_arrays(columns, schema=schema)


def chunk_table(rows: Sequence[dict[str, Any]], schema: pa.Schema, chunk_seconds: float) -> pa.Table:
    """The chunks of the rows from :func:`checked` that have them, as a chunk table."""
    tables = []
    for row in rows:
        if "embedding" in row:
            number = np.arange(len(row["embedding"]), dtype=np.int32)
            columns = [
                pa.array([row["track_id"]] * len(number), pa.string()),
                pa.array(number),
                pa.array(number * float(chunk_seconds)),
                pa.array(row["samples"]),
                pa.array(row["silent"]),
                embedding_array(row["embedding"]),
            ]
            tables.append(pa.Table.from_arrays(columns, schema=schema))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def embedding_array(values: NDArray[Any]) -> pa.Array:
    """[n, K, d] as n lists of fixed size K*d."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1] * values.shape[2])


def _embedding(given: NDArray[Any] | None, dtype: type, shape: tuple[int, ...], what: str) -> NDArray[Any]:
    if given is None or np.shape(given) != shape:
        found = "missing" if given is None else f"shaped {np.shape(given)}"
        raise InputError(f"{what} is {found}, must be shaped {shape}")
    with np.errstate(over="ignore"):  # told just below, as an error
        values: NDArray[Any] = np.array(given, dtype=dtype)
    if not np.isfinite(values).all():
        kind = np.dtype(dtype).name
        raise InputError(f"{what} holds NaN or numbers beyond {kind}: record the track as failed")
    return values
