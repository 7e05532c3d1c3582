"""Which files an index consists of, and whether those that were read fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

import m2l2_mir
from m2l2_mir.embedding.provenance import utc_now
from m2l2_mir.errors import StoreError
from m2l2_mir.index.backends import Backend, faiss
from m2l2_mir.index.choice import Choice
from m2l2_mir.index.library import SOURCE, Library
from m2l2_mir.index.persist import check_file, commit, is_index, read_manifest, writing
from m2l2_mir.index.preparation import Preparation
from m2l2_mir.index.segments import Segments
from m2l2_mir.index.vectors import Rows

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["Saved", "load_parts", "save_parts"]

MOST_PARTS = 32  # files of vectors; then they are written as one
ATTEMPTS = 5  # a writer may replace files between our reading of the manifest and of them
ALIVE = "alive"

Files = Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What of an index is on disk.

    Parameters
    ----------
    folder : Path
    generation
        Counts the changes; tells whether someone else has changed it since.
    files : mapping
        Role -> entries of the manifest.
    """

    folder: Path
    generation: int
    files: Files


def save_parts(index: SimilarityIndex, folder: Path, saved: Saved | None, *, overwrite: bool) -> Saved:
    """Write what is new of an index; see :meth:`SimilarityIndex.save`."""
    with writing(folder):
        current = read_manifest(folder)["generation"] if is_index(folder) and not overwrite else None
        ours = saved is not None and folder.resolve() == saved.folder.resolve() and current == saved.generation
        if current is not None and not ours:
            raise StoreError(
                f"{folder} holds an index already"
                + (
                    ", changed by another process since this one was loaded: load it and repeat the change"
                    if saved
                    else ": add to it with m2l2 index add, or give --overwrite"
                )
            )
        generation = _newest(folder, current) + 1
        kept: dict[str, list[dict[str, Any]]] = {}
        new: dict[str, Any] = {
            "tracks": lambda file: _write_tracks(index.library, file),
            "preparation": lambda file: file.write(_packed(index.preparation)),
            "pairs": lambda file: np.lib.format.write_array(file, index.pairs, allow_pickle=False),
            "nearest": lambda file: np.lib.format.write_array(file, index.nearest, allow_pickle=False),
        }
        _structure_file("backend", index.backend, saved if ours else None, kept, new)
        _vector_files("vectors", index.library.rows, saved if ours else None, kept, new, np.float32)
        if index.segments is not None:
            part = index.segments
            new["segment-tracks"] = part.write_tracks
            new["segment-preparation"] = lambda file: file.write(_packed(part.preparation))
            _structure_file("segment-backend", part.backend, saved if ours else None, kept, new)
            _vector_files("segment-chunks", part.rows, saved if ours else None, kept, new, np.float16)
        commit(folder, {**_stated(index), "generation": generation}, kept, new)
        files = read_manifest(folder)["files"]
    index.backend.name = files["backend"][0]["name"]
    if index.segments is not None:
        index.segments.backend.name = files["segment-backend"][0]["name"]
    for role, rows in _rows_of(index).items():
        names = [entry["name"] for entry in files[role]]
        if rows.order is None and len(names) == len(rows.parts):
            rows.names = list(names)
        else:  # written as one; what is in memory stays as it is, and is mapped by the next that loads it
            rows.names = [None] * len(rows.parts)
    return Saved(folder=folder, generation=generation, files=files)


def load_parts(folder: Path, *, mapped: bool) -> dict[str, Any]:
    """Read the parts of an index, checked: the arguments of :class:`SimilarityIndex`."""
    for _ in range(ATTEMPTS):
        manifest = read_manifest(folder)
        try:
            return _parts(folder, manifest, mapped=mapped)
        except FileNotFoundError as error:
            if read_manifest(folder)["generation"] == manifest["generation"]:
                raise StoreError(
                    f"{folder} lacks {Path(str(error.filename)).name if error.filename else error}: "
                    f"m2l2 doctor {folder} tells how to mend it"
                ) from error
    raise StoreError(f"{folder} keeps changing while it is opened: try again when its writer has ended")


def _parts(folder: Path, manifest: dict[str, Any], *, mapped: bool) -> dict[str, Any]:
    files: Files = manifest["files"]
    paths = {role: [check_file(folder, entry) for entry in entries] for role, entries in files.items()}
    try:
        frame = pq.read_table(paths["tracks"][0]).to_pandas()
        alive = frame.pop(ALIVE).to_numpy(bool, copy=True)
        preparation = _unpacked(paths["preparation"][0])
        rows = _read_rows(files["vectors"], paths["vectors"], mapped=mapped)
        backend = Backend.read(paths["backend"][0], _choice(manifest["backend"]), mapped=mapped)
        pairs: NDArray[np.float32] = np.load(paths["pairs"][0], allow_pickle=False)
        nearest: NDArray[np.float32] = np.load(paths["nearest"][0], allow_pickle=False)
        segments = None
        if "segment-tracks" in files:
            segments = Segments(
                Segments.read_tracks(paths["segment-tracks"][0]),
                _read_rows(files["segment-chunks"], paths["segment-chunks"], mapped=mapped),
                _unpacked(paths["segment-preparation"][0]),
                Backend.read(paths["segment-backend"][0], _choice(manifest["segment_backend"]), mapped=mapped),
                manifest["segment_seconds"],
                manifest["about"]["options"]["seed"],
            )
    except (KeyError, IndexError, ValueError, TypeError, SafetensorError, pa.ArrowException) as error:
        raise StoreError(
            f"{folder} cannot be read ({' '.join(str(error).split())[:200]}): m2l2 doctor {folder} tells how to mend it"
        ) from error
    counts = {"tracks": len(frame), "vectors": len(rows), "structure": len(backend)}
    widths = {"vectors": rows.width, "preparation": preparation.width}
    _refuse_unfit(folder, counts, widths, (backend.index.d, preparation.rank))
    if segments is not None:
        own = segments.preparation
        counts = {
            "segments": int(segments.tracks["count"].sum()),
            "chunks": len(segments.rows),
            "structure of segments": len(segments.backend),
        }
        widths = {"chunks": segments.rows.width, "preparation of segments": own.width}
        _refuse_unfit(folder, counts, widths, (segments.backend.index.d, own.rank))
    library = Library(frame, rows, alive)
    saved = Saved(folder=folder, generation=manifest["generation"], files=files)
    return {
        "library": library,
        "preparation": preparation,
        "backend": backend,
        "pairs": pairs,
        "nearest": nearest,
        "about": manifest["about"],
        "segments": segments,
        "saved": saved,
    }


def _refuse_unfit(folder: Path, counts: Mapping[str, int], widths: Mapping[str, int], ranks: tuple[int, int]) -> None:
    """See that numbers of rows, widths, and the ranks of structure and preparation are the same."""
    if len({*counts.values()}) > 1 or len({*widths.values()}) > 1 or ranks[0] != ranks[1]:
        raise StoreError(
            f"the files of {folder} do not fit each other ({dict(counts)}, {dict(widths)}): m2l2 doctor {folder} tells "
            "how to mend it"
        )


def _stated(index: SimilarityIndex) -> dict[str, Any]:
    """What the manifest says beside the files."""
    stated: dict[str, Any] = {
        "updated": utc_now(),
        "versions": {"m2l2-mir": m2l2_mir.__version__, "faiss": faiss.__version__},
        "tracks": len(index),
        "width": index.width,
        "backend": asdict(index.backend.choice),
        "about": {**index.about, "sources": _sources(index)},
    }
    if index.segments is not None:
        stated["segment_backend"] = asdict(index.segments.backend.choice)
        stated["segment_seconds"] = index.segments.seconds
    return stated


def _sources(index: SimilarityIndex) -> list[str]:
    """The stores that the tracks came from, for whoever has to build it again."""
    return sorted(index.metadata[SOURCE].dropna().unique()) if SOURCE in index.library.frame else []


def _vector_files(
    role: str,
    rows: Rows,
    saved: Saved | None,
    kept: dict[str, list[dict[str, Any]]],
    new: dict[str, Any],
    dtype: type,
) -> None:
    """Keep the files that parts lie in already, and write the others: as one file, if there would be many."""
    entries = {} if saved is None else {entry["name"]: entry for entry in saved.files.get(role, [])}
    lying = 0
    while lying < len(rows.names) and rows.names[lying] in entries:
        lying += 1
    if rows.order is not None or lying >= MOST_PARTS or lying == 0:
        new[role] = lambda file: rows.write(file, dtype)
        return
    kept[role] = [entries[str(name)] for name in rows.names[:lying]]
    if lying < len(rows.parts):
        rest = Rows([np.concatenate(rows.parts[lying:])])  # what was added is in memory, and becomes one file
        rows.parts[lying:], rows.names[lying:] = rest.parts, [None]
        new[role] = lambda file: rest.write(file, dtype)


def _structure_file(
    role: str, backend: Backend, saved: Saved | None, kept: dict[str, list[dict[str, Any]]], new: dict[str, Any]
) -> None:
    """Keep the file of a structure to which nothing was added."""
    entries = [] if saved is None else [entry for entry in saved.files.get(role, []) if entry["name"] == backend.name]
    if entries:
        kept[role] = entries
    else:
        new[role] = backend.write


def _rows_of(index: SimilarityIndex) -> dict[str, Rows]:
    return {"vectors": index.library.rows} | ({"segment-chunks": index.segments.rows} if index.segments else {})


def _newest(folder: Path, current: int | None) -> int:
    """The highest generation that a file of the folder has, finished or not."""
    found = [current or 0]
    for path in folder.iterdir():
        number = path.stem.rpartition("-")[2]
        if path.suffix in (".npy", ".parquet", ".safetensors", ".faiss") and number.isdecimal():
            found.append(int(number))
    return max(found)


def _write_tracks(library: Library, file: Any) -> None:
    frame = library.frame.assign(**{ALIVE: library.alive})
    for column in frame.columns:
        try:
            pa.array(frame[column], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # numbers and text in one column
            frame[column] = frame[column].map(lambda value: None if pd.isna(value) else str(value))
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), file, compression="zstd")


def _read_rows(entries: list[dict[str, Any]], paths: list[Path], *, mapped: bool) -> Rows:
    parts = [np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False) for path in paths]
    return Rows(parts, [entry["name"] for entry in entries])


def _packed(preparation: Preparation) -> bytes:
    arrays = {"mean": preparation.mean}
    if preparation.projection is not None:
        arrays["projection"] = np.ascontiguousarray(preparation.projection)
    facts = {
        "kind": preparation.kind,
        "spread": repr(preparation.spread),
        "fitted": str(preparation.fitted),
    }
    return safetensors.numpy.save(arrays, metadata=facts)


def _unpacked(path: Path) -> Preparation:
    with safe_open(path, framework="numpy") as file:
        facts = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, a file of tensors is no mapping
    return Preparation(
        kind=facts["kind"],
        mean=arrays["mean"],
        projection=arrays.get("projection"),
        spread=float(facts["spread"]),
        fitted=int(facts["fitted"]),
    )


def _choice(stated: dict[str, Any]) -> Choice:
    return Choice(kind=stated["kind"], factory=stated["factory"], reasons=tuple(stated["reasons"]))
