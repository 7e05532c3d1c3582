"""What a question may start from: tracks of the library, audio files, vectors, or several of these."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.index.conditions import column_of
from m2l2_mir.index.vectors import as_vectors
from m2l2_mir.recipe import close_match

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.model.autoencoder import Music2Latent2

__all__ = ["Part", "Seeds", "known_rows", "seeds_of"]

_MOST_IDS_COMPARED = 20_000  # difflib takes about a second for as many


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which part of audio files is listened to, and by which model.

    Parameters
    ----------
    start, end
        Seconds; None: the beginning, the end (or as the store was made).
    model
        Name, file or model; None: the index's, where it is at hand.
    device
        As in :func:`m2l2_mir.load_model`.
    """

    start: float | None = None
    end: float | None = None
    model: str | os.PathLike[str] | Music2Latent2 | None = None
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Embeddings to start from.

    Parameters
    ----------
    vectors : np.ndarray [shape=(s, width)]
    rows : np.ndarray [shape=(t,)]
        Rows of the seeds that are tracks of the library.
    files : tuple of Path
        Audio files among the seeds, whose metadata nobody knows unless they lie in the library too.
    own : np.ndarray [shape=(u,)]
        Rows of the library that whole files among the seeds are.
    notes : tuple of str
        What is amiss with them.
    """

    vectors: NDArray[np.float32]
    rows: NDArray[np.int64]
    files: tuple[Path, ...] = ()
    own: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    notes: tuple[str, ...] = ()


def seeds_of(index: SimilarityIndex, what: Any, part: Part | None = None) -> Seeds:
    """Find out what a question starts from.

    Parameters
    ----------
    what : str, Path, array or a sequence of these
        Text is the id of a track if there is such a one, else an audio file; a Path is an audio file; an array is one
        embedding [width] or [K, d], or several [s, width]. Of a part, text is the audio file, or that of the track.

    Raises
    ------
    InputError
        It is none of these, or a vector has another width, is not finite, or is 0.
    AudioError, CheckpointError, StoreError
        A file cannot be used, or there is no model that fits.
    """
    part = part or Part()
    given = list(what) if isinstance(what, list | tuple) and not _is_vector(what) else [what]
    if not given:
        raise InputError("nothing to start from: give a track, an audio file or a vector")
    vectors: list[NDArray[np.float32]] = []
    rows: list[int] = []
    files: list[Path] = []
    notes: list[str] = []
    whole = part.start is None and part.end is None
    for one in given:
        if isinstance(one, str) and not whole:
            one = _file_of(index, one)
        if isinstance(one, str) and (row := int(index.library.rows_of([one])[0])) >= 0:
            rows.append(row)
            vectors.append(index.library.rows.take([row]))
        elif isinstance(one, str | os.PathLike):
            path = Path(one)
            if isinstance(one, str) and not path.exists():
                hint = close_match(one, index.library.ids[:_MOST_IDS_COMPARED])
                raise InputError(f"{one!r} is neither a track of the index nor an audio file{hint}")
            from m2l2_mir.index.listening import embed_file

            vector, note = embed_file(index, path, part)
            vectors.append(vector)
            files.append(path)
            notes += [note] if note else []
        else:
            vectors.append(_checked(index, one))
    own = [row for path in files for row in _rows_at(index, path)] if whole else []
    return Seeds(
        vectors=np.concatenate(vectors),
        rows=np.array(rows, np.int64),
        files=tuple(files),
        own=np.array(own, np.int64),
        notes=tuple(notes),
    )


def known_rows(index: SimilarityIndex, seeds: Seeds, column: str) -> NDArray[np.int64]:
    """Rows of all seeds, each of which has a value in a column; audio files are looked up by their place.

    Raises
    ------
    InputError
        There is no such column, or a seed's value is not known.
    """
    known = column_of(index.library.frame, column).notna().to_numpy()
    remedy = f"name it by a condition, {column}!=NAME"
    rows = [int(row) for row in seeds.rows]
    for path in seeds.files:
        here = _rows_at(index, path)
        if not len(here):
            raise InputError(f"the {column} of {path.name} is not known, since it is no track of the index: {remedy}")
        rows.append(int(here[np.argmax(known[here])]))  # of a file that is there twice, the track that has a value
    for row in rows:
        if not known[row]:
            name = index.library.frame["track_id"].iloc[row]
            raise InputError(f"the {column} of track {name!r} is not known to the index: {remedy}")
    if len(rows) < len(seeds.vectors):
        raise InputError(f"the {column} of a plain vector is not known: {remedy}")
    return np.array(rows, np.int64)


def _is_vector(what: Sequence[Any]) -> bool:
    return len(what) > 0 and all(isinstance(value, int | float | np.number) for value in what)


def _checked(index: SimilarityIndex, given: Any) -> NDArray[np.float32]:
    try:
        array = np.asarray(given)
        numeric = np.issubdtype(array.dtype, np.number)
    except ValueError:
        numeric = False
    if not numeric:
        raise InputError(f"cannot start from {type(given).__name__}: give a track, an audio file or a vector")
    shape = array.shape
    if array.ndim == 1 or (array.ndim == 2 and array.size == index.width and len(array) == index.slots):
        array = array.reshape(1, -1)
    if array.ndim not in (2, 3) or int(np.prod(array.shape[1:])) != index.width:
        raise InputError(f"a vector of the index has {index.width} numbers ({index.slots} slots), not {shape}")
    vectors = as_vectors(array)
    if not vectors.any(axis=1).all():
        raise InputError("a vector of zeros has no direction, and nothing is near it: ask with another")
    return vectors


def _rows_at(index: SimilarityIndex, path: Path) -> NDArray[np.int64]:
    """Rows of the tracks that were made of a file."""
    frame = index.library.frame
    if "path" not in frame:
        return np.zeros(0, np.int64)
    return np.flatnonzero(index.library.alive & (frame["path"] == os.path.abspath(path)).to_numpy())


def _file_of(index: SimilarityIndex, name: str) -> str | Path:
    """The audio file that a part is taken of; the name itself where it is none of a track."""
    if Path(name).is_file():
        return Path(name)
    row = int(index.library.rows_of([name])[0])
    if row < 0:
        return name
    place = index.library.frame["path"].iloc[row] if "path" in index.library.frame else None
    if not isinstance(place, str) or not Path(place).is_file():
        raise InputError(
            f"{name!r} is a track of the index whose audio file is not there, so that no part of it can be taken: give "
            "a file"
        )
    return Path(place)
