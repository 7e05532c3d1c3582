"""An index for engines that run on many machines: one Parquet file, or a Qdrant collection.

Conventions
-----------
* What is exported are the prepared unit vectors: a query must be prepared alike, by ``index.preparation``, and compared
  by cosine or inner product.
* Parquet: ``track_id``, the metadata, and ``vector``, a list of float32; what made the vectors is in the key
  ``m2l2`` of the file's metadata. pandas, polars, DuckDB, Spark and most vector engines read such a file as it is.
* Qdrant [1]_: a point for each track, whose id is a UUID made of the ``track_id``, so that exporting again replaces
  points rather than doubles them; the payload holds ``track_id`` and the metadata. Qdrant was chosen because its client
  has an embedded mode in pure Python on all systems, needs nothing else, and speaks to a server by the same calls.

References
----------
.. [1] https://qdrant.tech/documentation
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from m2l2_mir.durable import write_durably
from m2l2_mir.errors import InputError, MissingExtraError
from m2l2_mir.probe.results import plain

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["COLLECTION", "export_parquet", "export_qdrant", "point_id"]

COLLECTION = "m2l2"
VECTOR = "vector"
_BLOCK = 10_000  # tracks written at once
_POINTS = 256  # in one request
_NAMESPACE = uuid.UUID("9d7e0f0e-6a5e-5c0b-8f0a-2f6d1c1f4d8e")


def export_parquet(index: SimilarityIndex, path: Path, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Write ids, metadata and prepared vectors into one Parquet file; -> number of tracks.

    Parameters
    ----------
    index
        Whose tracks are written.
    path
        Of the file, replaced if it is there; its folder is made if need be.
    progress
        Called with tracks done and all.

    Raises
    ------
    InputError
        The metadata has a column ``vector``, or the file cannot be written.
    """
    table, rank = _metadata(index), index.preparation.rank
    fields = pa.Schema.from_pandas(table, preserve_index=False)
    about = {"m2l2": json.dumps(plain(_about(index)))}
    schema = pa.schema(fields).append(pa.field(VECTOR, pa.list_(pa.float32(), rank))).with_metadata(about)

    def write(file: Any) -> None:
        with pq.ParquetWriter(file, schema) as writer:
            for part, vectors in _prepared(index, _BLOCK):
                arrays = list(pa.Table.from_pandas(table.iloc[part], fields, preserve_index=False).columns)
                arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), rank))
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                if progress is not None:
                    progress(part.stop, len(table))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, write)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return len(table)


def export_qdrant(
    index: SimilarityIndex,
    client: Any,
    collection: str = COLLECTION,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Bring a Qdrant collection to the state of an index; -> number of tracks.

    Points of tracks that the index does not hold are deleted: the collection is one index's own.

    Parameters
    ----------
    index
        Whose tracks are written.
    client : qdrant_client.QdrantClient
        Of a server, or in embedded mode, such as ``QdrantClient(path="folder")``; see :func:`open_qdrant`.
    collection
        Made if need be.
    progress
        Called with tracks done and all.

    Raises
    ------
    InputError
        The collection holds vectors of another width or distance, or points that are not of an export.
    """
    models = _qdrant().models
    table = _metadata(index)
    ids = table["track_id"].astype(str).tolist()
    wanted = models.VectorParams(size=index.preparation.rank, distance=models.Distance.COSINE)
    if client.collection_exists(collection):
        _check_collection(client, collection, wanted)
    else:
        client.create_collection(collection, vectors_config=wanted)
    for part, vectors in _prepared(index, _POINTS):
        points = [
            models.PointStruct(id=point_id(track), vector=vector.tolist(), payload=payload)
            for track, vector, payload in zip(ids[part], vectors, _payloads(table.iloc[part]), strict=True)
        ]
        client.upsert(collection, points=points, wait=True)
        if progress is not None:
            progress(part.stop, len(ids))
    kept = {point_id(track) for track in ids}
    gone = [point for point in _points(client, collection) if point not in kept]
    for start in range(0, len(gone), _POINTS):
        client.delete(collection, points_selector=models.PointIdsList(points=gone[start : start + _POINTS]), wait=True)
    return len(ids)


def open_qdrant(*, path: Path | None = None, url: str | None = None) -> Any:
    """A client of a Qdrant server, or of a folder in embedded mode.

    Raises
    ------
    MissingExtraError
        ``qdrant-client`` is not installed.
    InputError
        Neither or both are given, the server does not answer, or another process has the folder open.
    """
    qdrant = _qdrant()
    if (path is None) == (url is None):
        raise InputError("give a folder by --out, or a server by --url http://HOST:6333")
    try:
        client = qdrant.QdrantClient(path=str(path)) if url is None else qdrant.QdrantClient(url=url)
        client.get_collections()
    except (OSError, RuntimeError, ValueError, qdrant.http.exceptions.ApiException) as error:
        place = url or path
        raise InputError(
            f"Qdrant at {place} cannot be used ({' '.join(str(error).split())}); is it running?"
        ) from error
    return client


def point_id(track_id: str) -> str:
    """Id of a track's point, always the same: a UUID of version 5.

    >>> point_id("a") == point_id("a") != point_id("b")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, track_id))


def _qdrant() -> Any:
    try:
        import qdrant_client
        import qdrant_client.http.exceptions
    except ImportError as error:
        raise MissingExtraError(
            "exporting to Qdrant needs its client: pip install 'm2l2-mir[qdrant]'; --to parquet needs nothing"
        ) from error
    return qdrant_client


def _metadata(index: SimilarityIndex) -> pd.DataFrame:
    """``track_id`` first, then what travels along; columns of mixed types as text."""
    table = index.metadata
    if VECTOR in table:
        raise InputError(f"the metadata has a column {VECTOR!r}, which the export needs; build the index without it")
    return table.assign(
        **{
            str(name): table[name].map(lambda value: None if pd.isna(value) else str(value)).astype("string")
            for name in table
            if table[name].dtype == object
        }
    )


def _prepared(index: SimilarityIndex, size: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Positions and prepared vectors of so many tracks at a time: all of them may not fit into memory."""
    live = index.library.live
    for start in range(0, len(live), size):
        part = slice(start, min(start + size, len(live)))
        yield part, index.preparation(index.library.rows.take(live[part]))


def _payloads(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Values that JSON can hold; what is not known is left out."""
    for record in table.astype(object).to_dict("records"):
        plain_values = {str(name): _json_value(value) for name, value in record.items()}
        yield {name: value for name, value in plain_values.items() if value is not None}


def _json_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def _about(index: SimilarityIndex) -> dict[str, Any]:
    settings = index.provenance.get("settings", {})
    return {
        "similarity": "inner product of unit vectors (cosine)",
        "preparation": index.preparation.kind,
        "rank": index.preparation.rank,
        "weights": settings.get("weights"),
        "weights_sha256": settings.get("weights_sha256"),
        "licence": index.provenance.get("licence"),
        "citation": index.provenance.get("citation"),
    }


def _check_collection(client: Any, collection: str, wanted: Any) -> None:
    found = client.get_collection(collection).config.params.vectors
    if getattr(found, "size", None) != wanted.size or getattr(found, "distance", None) != wanted.distance:
        raise InputError(
            f"collection {collection!r} is there and holds other vectors than {wanted.size} numbers compared by "
            "cosine; give another name by --collection"
        )
    points, _ = client.scroll(collection, limit=1, with_payload=True)
    if points and points[0].id != point_id(str((points[0].payload or {}).get("track_id"))):
        raise InputError(
            f"collection {collection!r} holds points that are no export of an index; give another name by --collection"
        )


def _points(client: Any, collection: str) -> Iterator[str]:
    offset = None
    while True:
        points, offset = client.scroll(collection, limit=_BLOCK, offset=offset, with_payload=False, with_vectors=False)
        yield from (str(point.id) for point in points)
        if offset is None:
            return
