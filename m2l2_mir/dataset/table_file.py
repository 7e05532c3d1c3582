"""A user's table of tracks as it lies on the disk: its columns, and which track each of its rows is.

Conventions
-----------
* CSV, TSV or Parquet. Neither case nor spaces around a known name of a column count. ``id`` is ``track_id``; ``file``,
  ``filename``, ``audio_path`` and ``audio`` are paths where there is no ``path``.
* In text files only the empty cell is empty: NA, None and null are text, but where all else is numbers or truth values.
* A row is the track of its id, else of its file, links followed. A relative path counts from the table's folder, or
  from the folder that was embedded, as ids do. An id and a path of two different known tracks are an error.
* An id that is the end of the row's own path says no more than the path does: of two files called ``a.wav`` the row is
  the one that its path names. If it names none, such a mere file name counts if one known track alone is called so, or
  if longer ids of the table show that they count from that folder (a library that has moved). A path that is the end of
  the row's own id says no more than the id.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.dataset.recipe import TASKS
from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = [
    "ALIASES",
    "ID",
    "PATH_COLUMNS",
    "column_named",
    "empty",
    "find_tracks",
    "id_column",
    "id_text",
    "load_table",
    "names_in",
    "path_column",
    "tracks_table",
]

ID = "track_id"
ID_COLUMNS = (ID, "id")
PATH_COLUMNS = ("path", "file", "filename", "audio_path", "audio")
ALIASES = {"bpm": "tempo", "midi": "pitch"}
KNOWN_COLUMNS = {*PATH_COLUMNS, *ID_COLUMNS, *ALIASES, *TASKS, "artist", "group", "fold"}


def load_table(file: Path) -> pd.DataFrame:
    """Read a CSV, TSV or Parquet file; ids and paths of text files as they are written (007 and not 7).

    Raises
    ------
    InputError
        It cannot be read, is empty, or names a column twice.
    """
    try:
        if file.suffix.casefold() in (".parquet", ".pq"):
            table = pd.read_parquet(file)
            return table.set_axis(_known(file, map(str, table.columns)), axis="columns")
        return _load_text(file, "\t" if file.suffix.casefold() == ".tsv" else ",")
    except InputError:  # a ValueError too
        raise
    except FileNotFoundError:
        raise InputError(f"{str(file)!r} does not exist; check the path") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{file} is empty; its first line must name the columns, 'path' among them") from None
    except (OSError, ValueError) as error:  # parser, encoding and Parquet errors are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(f"{file} cannot be read as a table ({reason}); give CSV, TSV or Parquet") from error


def id_column(table: pd.DataFrame) -> str | None:
    """The column that holds ids."""
    return next((name for name in ID_COLUMNS if name in table), None)


def path_column(table: pd.DataFrame) -> str | None:
    """The column that holds paths of audio files."""
    return next((name for name in PATH_COLUMNS if name in table), None)


def column_named(name: str, columns: Iterable[Any]) -> str | None:
    """The column that a name means: itself, the same in another case, or by its other name (bpm is tempo).

    >>> column_named("tempo", ["Genre", "bpm"]), column_named("genre", ["Genre"]), column_named("key", ["Genre"])
    ('bpm', 'Genre', None)
    """
    known = [str(column) for column in columns]
    others = ALIASES | {meant: alias for alias, meant in ALIASES.items()}
    for meant in (name, others.get(name.casefold(), name)):
        if meant in known:
            return meant
        alike = [column for column in known if column.casefold() == meant.casefold()]
        if len(alike) == 1:
            return alike[0]
    return None


def tracks_table(file: Path, known: pd.DataFrame) -> pd.DataFrame:
    """A user's table of metadata or labels, its rows under the ids that known tracks have.

    Parameters
    ----------
    file
        See the module's conventions. It needs ids or paths.
    known
        Tracks with the columns ``track_id`` and, unless nobody knows them, ``path``.

    Returns
    -------
    pandas.DataFrame
        The columns of the file, ``track_id`` first and ``path`` absolute. A row that is none of the known tracks keeps
        its own id, or its path as it is written where it has no id or one that is another track's.

    Raises
    ------
    InputError
        As :func:`load_table`; or it has neither ids nor paths, a row that has none, or one of two known tracks.

    Examples
    --------
    >>> import tempfile
    >>> known = pd.DataFrame({"track_id": ["a/b.wav", "c.wav"], "path": ["/music/a/b.wav", "/music/c.wav"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "my.csv").write_text("file,Genre\\n/music/a/b.wav,jazz\\nc.wav,rock\\nd.wav,pop\\n")
    ...     tracks_table(Path(folder, "my.csv"), known)[["track_id", "genre"]].to_numpy().tolist()
    [['a/b.wav', 'jazz'], ['c.wav', 'rock'], ['d.wav', 'pop']]
    """
    table = load_table(file)
    ids, paths = id_column(table), path_column(table)
    if ids is None and paths is None:
        columns = [str(column) for column in table.columns]
        hint = next((match for name in (ID, "path") if (match := close_match(name, columns))), "")
        raise InputError(f"{file} has no column {ID} or path{hint}; it has {', '.join(columns) or 'none'}")
    written = _texts(table, paths)
    own = [name or place for name, place in zip(_texts(table, ids), written, strict=True)]
    if "" in own:
        raise InputError(f"{file}: row {own.index('') + 1} has no {ids or paths}; give it one, or remove the row")
    places = [os.path.abspath(file.parent / place) if place else "" for place in written]
    found = _found(known, own, places, written, file)
    theirs = known[ID].astype(str).to_numpy(dtype=object)
    taken = set(theirs)
    named = [
        theirs[row] if row >= 0 else place if name in taken else name
        for row, name, place in zip(found, own, written, strict=True)
    ]
    if "path" in table:
        table = table.assign(path=places)
    table = table.drop(columns=[ids] if ids else [])
    table.insert(0, ID, pd.Series(named, dtype=object))
    return table


def find_tracks(known: pd.DataFrame, ids: Sequence[str], paths: Sequence[str]) -> NDArray[np.int64]:
    """Which of the known tracks each wanted one is: by its id, else by its file; see the module's conventions.

    Parameters
    ----------
    known
        ``track_id`` and, unless nobody knows them, ``path`` (absolute).
    ids, paths
        Of the wanted tracks; paths absolute, "" where there is none.

    Returns
    -------
    np.ndarray [n], int64
        Rows of `known`, -1 where there is none.

    Raises
    ------
    InputError
        The id and the path of one are of two different known tracks.

    Examples
    --------
    >>> known = pd.DataFrame({"track_id": ["a.wav", "b/a.wav"], "path": ["/music/a.wav", "/music/b/a.wav"]})
    >>> find_tracks(known, ["b/a.wav", "7", "8"], ["", "/music/a.wav", "/music/c.wav"]).tolist()
    [1, 0, -1]
    >>> find_tracks(known, ["a.wav"], ["/music/b/a.wav"]).tolist()
    [1]
    """
    return _found(known, ids, paths)


def names_in(known: pd.DataFrame, ids: Sequence[str], paths: Sequence[Any]) -> list[str]:
    """What wanted tracks are called among known ones (:func:`find_tracks`); those that are not there keep their id.

    >>> names_in(pd.DataFrame({"track_id": ["a.wav"], "path": ["/music/a.wav"]}), ["7", "8"], ["/music/a.wav", None])
    ['a.wav', '8']
    """
    places = [os.path.abspath(path) if isinstance(path, str) and path else "" for path in paths]
    theirs = known[ID].tolist()
    return [theirs[row] if row >= 0 else name for row, name in zip(find_tracks(known, ids, places), ids, strict=True)]


def empty(values: pd.Series[Any]) -> pd.Series[bool]:
    """Which cells hold nothing but blanks."""
    return values.isna() | (values.astype(str).str.strip() == "")


def id_text(value: Any) -> str:
    """An id as text: 1.0, which pandas makes of 1 where a Parquet file has a gap, as "1"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _found(
    known: pd.DataFrame, ids: Sequence[str], paths: Sequence[str], written: Sequence[str] = (), file: Path | None = None
) -> NDArray[np.int64]:
    """:func:`find_tracks`, also by what a user has `written` in a file: paths that may count from where ids do."""
    named = _by_id(known, ids)
    if not len(known):
        return named
    theirs = known["path"].fillna("").astype(str).to_numpy(dtype=object) if "path" in known else np.full(len(known), "")
    of_id = np.where(named >= 0, theirs[named], "")
    vague = _are_ends(ids, paths)
    below = [os.path.normpath(path) if path else "" for path in written] or [""] * len(ids)
    more = (named >= 0) & _are_ends(below, ids)  # the id says more than the path
    placed = _by_file(theirs, np.where(more & ~vague, "", np.array(paths, dtype=object)))
    if written:
        fits = (placed < 0) & _are_ends(below, of_id)  # the path, from another folder, may be of the id's own file
        placed = np.where((placed < 0) & ~more & ~fits, _by_id(known, below), placed)
        named[vague & ~fits & _doubtful(known, theirs, ids, paths)] = -1
    differ = (named >= 0) & (placed >= 0) & (named != placed)
    for row in np.flatnonzero(differ & ~vague):  # two ids of one file are no contradiction
        differ[row] = not of_id[row] or os.path.realpath(of_id[row]) != os.path.realpath(theirs[placed[row]])
    if len(wrong := np.flatnonzero(differ & ~vague)):
        row = wrong[0]
        where = f"{file}: row {row + 1}: " if file else ""
        first, second = known[ID].iloc[[named[row], placed[row]]]
        raise InputError(
            f"{where}id {ids[row]!r} and path {(written or paths)[row]!r} are of two known tracks, {first!r} and "
            f"{second!r}; correct the one that is wrong, or leave it out"
        )
    return np.where(differ | (named < 0), placed, named)


def _by_file(theirs: NDArray[np.object_], wanted: NDArray[np.object_]) -> NDArray[np.int64]:
    """By the path, else by where its links lead."""
    found = _first(theirs, wanted)
    left = np.flatnonzero((wanted != "") & (found < 0))
    if len(left) and (theirs != "").any():  # links cost a look at the disk for each file, and are rarely there
        found[left] = _first(_real(theirs), _real(wanted[left]))
    return found


def _doubtful(
    known: pd.DataFrame, theirs: NDArray[np.object_], ids: Sequence[str], paths: Sequence[str]
) -> NDArray[np.bool_]:
    """Ids that are mere names of files, which several known tracks have, and that no longer id beside them explains."""
    tracks = zip(known[ID].astype(str), theirs, strict=True)
    called = Counter(name for track in tracks for name in {os.path.basename(part) for part in track if part})
    wanted = list(zip(ids, paths, strict=True))
    roots = {path.removesuffix(name) for name, path in wanted if os.sep in name and path.endswith(os.sep + name)}
    return np.array([called[name.strip()] > 1 and path.removesuffix(name) not in roots for name, path in wanted], bool)


def _are_ends(ends: Iterable[str], paths: Iterable[str]) -> NDArray[np.bool_]:
    """Which are the last parts, but not all, of the path beside them."""
    return np.array([bool(end) and path.endswith(os.sep + end) for end, path in zip(ends, paths, strict=True)], bool)


def _by_id(known: pd.DataFrame, ids: Sequence[str]) -> NDArray[np.int64]:
    """By the id as it is written, else without the blanks around it."""
    theirs = known[ID].astype(str).to_numpy(dtype=object)
    found = _first(theirs, ids)
    return np.where(found < 0, _first(theirs, [name.strip() for name in ids]), found)


def _first(values: NDArray[np.object_], wanted: Iterable[str]) -> NDArray[np.int64]:
    """Row of the first that equals each wanted value, -1 where there is none; "" equals nothing."""
    rows = np.flatnonzero(values != "")
    first = pd.Series(rows, index=pd.Index(values[rows], dtype=object))
    first = first[~first.index.duplicated()]
    return first.reindex(pd.Index(list(wanted), dtype=object)).fillna(-1).to_numpy(dtype=np.int64)


def _real(paths: NDArray[np.object_]) -> NDArray[np.object_]:
    """Where the links of paths lead; "" stays."""
    return np.array([os.path.realpath(path) if path else "" for path in paths], dtype=object)


def _texts(table: pd.DataFrame, column: str | None) -> list[str]:
    """Cells of a column as text, "" where they are empty or there is no such column."""
    if column is None:
        return [""] * len(table)
    return [
        "" if nothing else id_text(value) for value, nothing in zip(table[column], empty(table[column]), strict=True)
    ]


def _load_text(file: Path, separator: str) -> pd.DataFrame:
    """A CSV or TSV; its header is read by itself, as pandas renames columns that occur twice."""
    only_empty: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}
    header = pd.read_csv(file, sep=separator, encoding="utf-8-sig", header=None, nrows=1, dtype=str, **only_empty).iloc[
        0
    ]
    if len(header) == 1 and (other := next((mark for mark in ";\t,|" if mark in str(header[0])), "")):
        shown, wanted = ("a tab" if mark == "\t" else repr(mark) for mark in (other, separator))
        raise InputError(
            f"{file} has its columns separated by {shown}; in a {file.suffix or 'CSV'} file it is {wanted}"
        )
    names = _known(file, [f"unnamed {number}" if pd.isna(name) else name for number, name in enumerate(header, 1)])
    as_written = (*PATH_COLUMNS, *ID_COLUMNS)  # 007 and not 7
    texts = {raw: str for raw, name in zip(header, names, strict=True) if name in as_written}
    table = pd.read_csv(file, sep=separator, encoding="utf-8-sig", dtype=texts, **only_empty)
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(
            f"{file} has rows of more fields than its header has columns; quote fields that hold {separator!r}"
        )
    usual = pd.read_csv(file, sep=separator, encoding="utf-8-sig", dtype=texts)  # NA and the like are empty here
    for column in [column for column in table if _has_text(table[column]) and not _has_text(usual[column])]:
        if usual[column].notna().any():  # else the column is made of nothing but such words
            table[column] = usual[column]
    return table.set_axis(names, axis="columns")


def _has_text(values: pd.Series[Any]) -> bool:
    return not pd.api.types.is_numeric_dtype(values) and any(isinstance(value, str) for value in values)


def _known(file: Path, columns: Iterable[str]) -> list[str]:
    """Names of columns without spaces around them, those that mean something in lower case; none twice."""
    names = [name.strip() for name in columns]
    names = [name.casefold() if name.casefold() in KNOWN_COLUMNS else name for name in names]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{file} has {names.count(twice[0])} columns {twice[0]!r}; rename or remove all but one")
    return names
