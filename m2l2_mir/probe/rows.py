"""Rows of a table of results: what gives a vector for each track.

Conventions
-----------
* A row's vectors are in the order of the tracks that were asked for; a track that failed has nan.
* A row that has never heard of a track is refused: rows are compared on the same tracks only. A track that failed, with
  a reason, is left out of all rows, and counted.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.probe.baseline_vectors import baseline_vectors
from m2l2_mir.probe.baselines import BASELINES
from m2l2_mir.probe.baselines import VERSION as BASELINES_VERSION
from m2l2_mir.probe.space import Space

__all__ = ["JOINED", "Row", "align", "content_hash", "file_row", "hand_made_rows", "require_known"]

Kind = Literal["model", "untrained", "hand-made", "control"]
Vectors = NDArray[np.float32]

JOINED = ("log-mel", "chroma", "tempogram-chunks")
"""Hand-made features that make one row together, about as wide as 8 x 64 embeddings."""
_ABOUT_TRACKS = frozenset({"duration", "fold", "group", "label", "split"})  # beside the columns of a data set
_SHOWN = 4  # columns in a message


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: its name, and its vectors.

    Parameters
    ----------
    name
        Unique in a table.
    kind
        "model" for what is probed; "untrained", "hand-made" and "control" for what it is compared with.
    width
        Numbers a track.
    load
        From a seed to vectors [tracks, width], nan where a track failed. Rows whose vectors are the same for all seeds
        ignore it.
    about
        What it is, for tables and reports.
    failed
        Reasons by position of the track.
    provenance
        What the vectors were made with; results of other provenance are not the same.
    note
        What has to be said with every result of it.
    space
        The embeddings that its vectors are of; None of vectors that no model of this package made.
    audio
        SHA-256 of each track's audio, "" where it is not known; () where none is.
    """

    name: str
    kind: Kind
    width: int
    load: Callable[[int], Vectors]
    about: str = ""
    failed: Mapping[int, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    space: Space | None = None
    audio: Sequence[str] = ()


def hand_made_rows(
    paths: Sequence[str | os.PathLike[str]],
    *,
    excerpt: tuple[float, float] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Rows of :data:`m2l2_mir.probe.baselines.BASELINES` for audio files, and :data:`JOINED`; kept in the user's cache.

    Parameters
    ----------
    paths
        Audio files.
    excerpt
        Start and length in seconds that the other rows hear; None for everything.
    jobs, progress
        As in :func:`m2l2_mir.probe.baseline_vectors.baseline_vectors`.
    """
    computed = baseline_vectors(paths, excerpt=excerpt, jobs=jobs, progress=progress)
    failed = {position: reason for position, reason in enumerate(computed.reasons) if reason}
    vectors = {**computed.vectors, "joined": np.concatenate([computed.vectors[name] for name in JOINED], axis=1)}
    about = {name: baseline.about for name, baseline in BASELINES.items()}
    about["joined"] = f"{', '.join(JOINED[:-1])} and {JOINED[-1]} side by side: what one would stack by hand"
    return [
        Row(
            name=name,
            kind="hand-made",
            width=vectors[name].shape[1],
            load=lambda _, name=name: vectors[name],  # type: ignore[misc]
            about=about[name],
            failed=failed,
            provenance={
                "hand-made": name,
                "version": BASELINES_VERSION,
                "vectors_sha256": content_hash(vectors[name]),
            },
        )
        for name in about
    ]


def file_row(path: str | os.PathLike[str], track_ids: Sequence[str], *, columns: Collection[str] = ()) -> Row:
    """Vectors that are there already, each beside the id of its track: order alone is too easily mistaken.

    Of a Parquet table with labels in it, no label may become a dimension: taken is one column of lists, or the one
    family of numbered columns, such as ``e0``, ``e1``, ... What was taken, and what was not, is said with the row.

    Parameters
    ----------
    path
        ``NAME.npy`` [tracks, width] with ``NAME.txt`` beside it, the ``track_id`` of each row on a line; or
        ``.parquet`` with a column ``track_id`` and either one column of lists or one column of numbers for each
        dimension, called by a word and its number; a single dimension may have any name.
    track_ids
        Of the data set. The file may hold more tracks, in any order.
    columns
        Names that the data set has; they are no dimensions.

    Raises
    ------
    InputError
        The file cannot be read, lacks tracks or their ids, has vectors of no or several widths, or its columns do
        not tell which of them are the vector.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
        owners, vectors, taken, others = (
            (*_read_npy(file), "", []) if file.suffix == ".npy" else _read_parquet(file, {*columns, *_ABOUT_TRACKS})
        )
    except (OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: no vectors can be read ({error}); give a .npy or .parquet file") from error
    if vectors.ndim != 2 or len(vectors) != len(owners) or not vectors.shape[1]:
        raise InputError(
            f"{file}: vectors are {list(vectors.shape)} for {len(owners)} track ids; give [tracks, width], a row for "
            "each id"
        )
    if len(set(owners)) != len(owners):
        twice = pd.Series(owners)[pd.Series(owners).duplicated()].iloc[0]
        raise InputError(f"{file}: track {twice!r} occurs twice; give one vector for each")
    require_known(str(file), owners, track_ids)
    aligned = align(vectors, owners, track_ids)
    broken = np.flatnonzero(~np.isfinite(aligned).all(axis=1))
    return Row(
        name=file.stem,
        kind="model",
        width=aligned.shape[1],
        load=lambda _: aligned,
        about=f"vectors of {file.name}{taken}",
        note=f"{file.stem}: vectors are{taken.removeprefix(',')}; not taken: {_some(others)}" if others else "",
        failed=dict.fromkeys(broken.tolist(), "its vector holds NaN or infinity"),
        provenance={"file": file.name, "sha256": hashlib.sha256(content).hexdigest(), "tracks": content_hash(owners)},
    )


def content_hash(content: Vectors | Sequence[str]) -> str:
    """SHA-256 of vectors or of a list of words, for the provenance of a row.

    >>> content_hash(["a", "b"]) == content_hash(["ab"])
    False
    """
    data = content.tobytes() if isinstance(content, np.ndarray) else "\n".join(content).encode()
    return hashlib.sha256(data).hexdigest()


def align(vectors: Vectors, owners: Sequence[str], track_ids: Sequence[str]) -> Vectors:
    """Vectors in the order of `track_ids`, nan for tracks that have none.

    >>> align(np.array([[1.0], [2.0]]), ["b", "a"], ["a", "b", "c"]).ravel().tolist()
    [2.0, 1.0, nan]
    """
    position = pd.Index(owners).get_indexer(pd.Index(track_ids))
    aligned: Vectors = vectors[np.maximum(position, 0)].astype(np.float32)
    aligned[position < 0] = np.nan
    return aligned


def require_known(source: str, known: Sequence[str], track_ids: Sequence[str]) -> None:
    """Raise an InputError unless a source knows all tracks, be it as failed."""
    missing = pd.Index(track_ids).difference(pd.Index(known))
    if len(missing):
        raise InputError(
            f"{source} lacks {len(missing)} of {len(track_ids)} tracks, such as {missing[0]!r}; rows are compared on "
            "the same tracks only: embed this data set, at this size"
        )


def _read_npy(file: Path) -> tuple[list[str], Vectors]:
    beside = file.with_suffix(".txt")
    if not beside.is_file():
        raise InputError(
            f"{file}: nothing says which track each row is of; write the track_id of each on a line of {beside.name} "
            "beside it, or give Parquet with a column track_id"
        )
    vectors: NDArray[Any] = np.load(file, allow_pickle=False)
    return beside.read_text(encoding="utf-8").splitlines(), vectors.astype(np.float32)


def _read_parquet(file: Path, known: Collection[str]) -> tuple[list[str], Vectors, str, list[str]]:
    """Owners, vectors, the columns taken in words, and the columns of numbers or lists that were not taken."""
    table = pd.read_parquet(file)
    table.columns = pd.Index([str(column) for column in table.columns])
    if "track_id" not in table:
        raise InputError(f"{file}: no column track_id; columns: {', '.join(table.columns)}")
    owners = table.pop("track_id").astype(str).tolist()
    lists: list[str] = [column for column in table.columns if table[column].map(np.ndim).eq(1).all()]
    numbers = table.select_dtypes("number").columns.tolist()
    if len(lists) > 1:
        raise InputError(f"{file}: several columns hold vectors: {', '.join(lists)}; keep one")
    taken = lists or _family(file, numbers, known)
    if labels := [column for column in taken if column in known]:
        raise InputError(
            f"{file}: column {labels[0]!r} is one of the data set and no dimension of a vector; give the vectors under "
            "other names, such as e0, e1, ..., or as one column of lists"
        )
    chosen = np.stack(table[lists[0]].tolist()) if lists else table[taken].to_numpy()
    said = f", column {taken[0]}" if len(taken) == 1 else f", columns {taken[0]} to {taken[-1]}"
    return owners, chosen.astype(np.float32), said, [column for column in numbers if column not in taken]


def _family(file: Path, numbers: list[str], known: Collection[str]) -> list[str]:
    """The columns that are the dimensions: all whose names are one word and a number, or the only column there is."""
    if len(numbers) == 1:
        return numbers
    families: dict[str, list[str]] = {}
    for column in numbers:
        if (named := re.fullmatch(r"(.*?)\d+", column)) and column not in known:
            families.setdefault(named[1], []).append(column)
    several = [members for members in families.values() if len(members) > 1]
    if len(several) != 1:
        found = " and ".join(f"{members[0]} to {members[-1]}" for members in several) or _some(numbers) or "none"
        raise InputError(
            f"{file}: columns of numbers are {found}, which does not tell the vector from labels and other facts; name "
            "its dimensions by one word and a number, such as e0, e1, ..., or keep them in one column of lists"
        )
    return several[0]


def _some(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return ", ".join(columns[:_SHOWN]) + more
