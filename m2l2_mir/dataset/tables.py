"""A user's own tracks: a table with a path column, or a folder with a sub-folder for each class.

Conventions
-----------
* Columns called as in :mod:`m2l2_mir.dataset.labels` (``bpm`` and ``midi`` stand for ``tempo`` and ``pitch``) are
  brought into canonical form; other columns stay as they are and can be probed as classes. Neither case nor spaces
  around a known name count.
* A column ``audio`` beside another path column is kept as ``audio_column``: ``audio`` is the checksum.
* ``group`` (or ``artist``) keeps tracks together that must not be on both sides of a split, ``fold`` gives the split.
* A relative path counts from the audio root: the folder given for it, or that of the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.audiofile import printable
from m2l2_mir.dataset.folder import find_audio
from m2l2_mir.dataset.labels import Unusable, canonical
from m2l2_mir.dataset.reading import Reading, Row, read_rows
from m2l2_mir.dataset.recipe import TASKS, DatasetRecipe
from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["read_folder", "read_table"]

PATH_COLUMNS = ("path", "file", "filename", "audio_path", "audio")
ID_COLUMNS = ("track_id", "id")
ALIASES = {"bpm": "tempo", "midi": "pitch"}
KNOWN_COLUMNS = {*PATH_COLUMNS, *ID_COLUMNS, *ALIASES, *TASKS, "artist", "group", "fold"}
CLASS_TASKS = ("genre", "instrument")
DRAWN_FOLDS = 5


def read_table(file: Path, *, audio_root: Path | None) -> tuple[DatasetRecipe, Reading]:
    """Read a CSV (or TSV) or Parquet file.

    Raises
    ------
    InputError
        The file cannot be read, is empty, has no path column, names a column or a track twice, or leaves an id empty.
    """
    table = _load(file)
    path_column = _column(table, PATH_COLUMNS)
    if path_column is None:
        columns = [str(column) for column in table.columns]
        hint = next((match for name in PATH_COLUMNS if (match := close_match(name, columns))), "")
        raise InputError(f"{file} has no column 'path'{hint}; it has {', '.join(columns) or 'none'}")
    if table.empty:
        raise InputError(f"{file} holds no tracks: it has a header and no rows")
    if missing := int(_empty(table[path_column]).sum()):
        raise InputError(f"{file}: {missing} of {len(table)} rows have no {path_column}; give each a path or remove it")
    root = file.parent if audio_root is None else audio_root
    id_column = _column(table, ID_COLUMNS) or path_column
    if (no_id := _empty(table[id_column])).any():
        raise InputError(f"{file}: row {int(no_id.argmax()) + 1} has no {id_column}; give each track its own")
    names = table[id_column].map(_id)
    if len(twice := names[names.duplicated()]):
        raise InputError(f"{file} names {len(twice)} tracks twice, such as {twice.iloc[0]!r}; give each one row")
    if path_column != "audio" and "audio" in table:
        table = table.rename(columns={"audio": "audio_column"})
    table = table.rename(columns=_aliases(table))
    if "artist" in table and "group" not in table:
        table = table.assign(group=table["artist"])
    labels = [task for task in TASKS if task in table]
    others = [name for name in table.columns if name not in (*labels, path_column, id_column)]
    rows = (
        Row(
            track_id=track_id,
            path=os.path.abspath(root / str(record[path_column])),
            labels={name: record[name] for name in labels},
            extras={name: record[name] for name in others},
        )
        for track_id, record in zip(names, table.astype(object).to_dict("records"), strict=True)
    )
    recipe = DatasetRecipe(
        title=file.name,
        about=f"Tracks of {file}",
        source="local",
        loader="table",
        tasks=tuple(labels),
        licence="the user's own",
        citation="",
        get=f"its paths count from {root}; give another folder with --data-home",
        splits=_splits(table),
    )
    return recipe, read_rows(rows)


def read_folder(folder: Path) -> tuple[DatasetRecipe, Reading]:
    """Read a folder whose sub-folders are classes.

    The name of a track's first sub-folder is its ``class``, and its label for every task that it makes sense for: key,
    pitch or tempo if the names of all sub-folders are keys, notes or numbers, else genre and instrument. Where it is
    one of several, a note says so: only the user knows which of them the folders mean.

    Raises
    ------
    InputError
        There is no such folder, or no audio in a sub-folder.
    """
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder; give one with a sub-folder for each class")
    listing = find_audio([folder])
    classes = {file.track_id: file.track_id.split("/")[0] for file in listing.files if "/" in file.track_id}
    if not classes:
        raise InputError(f"{str(folder)!r} holds no audio in sub-folders; make one for each class, as in jazz/a.mp3")
    names = set(classes.values())
    tasks = [task for task in TASKS if task not in CLASS_TASKS and _all_usable(task, names)] or list(CLASS_TASKS)
    rows = (
        Row(
            track_id=file.track_id,
            path=str(file.path.absolute()),
            labels=dict.fromkeys(tasks, classes.get(file.track_id)),
            extras={"class": classes.get(file.track_id)},
        )
        for file in listing.files
    )
    recipe = DatasetRecipe(
        title=folder.name,
        about=f"Audio under {folder}, a class per sub-folder",
        source="local",
        loader="folder",
        tasks=tuple(tasks),
        licence="the user's own",
        citation="",
        note=f"one label under {len(tasks)} names, {' and '.join(tasks)}; use the one it is" if tasks[1:] else "",
    )
    reading = read_rows(rows)
    unreached = [
        {"track_id": printable(name), "label": task, "reason": reason}
        for name, reason in listing.failures
        for task in tasks
    ]
    return recipe, Reading(tracks=reading.tracks, dropped=pd.concat([reading.dropped, pd.DataFrame(unreached)]))


def _load(file: Path) -> pd.DataFrame:
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
        raise InputError(f"{file} cannot be read as a table: {error}") from error


def _load_text(file: Path, separator: str) -> pd.DataFrame:
    """A CSV or TSV; its header is read by itself, as pandas renames columns that occur twice."""
    header = pd.read_csv(file, sep=separator, encoding="utf-8-sig", header=None, nrows=1, dtype=str).iloc[0]
    if len(header) == 1 and (other := next((mark for mark in ";\t,|" if mark in str(header[0])), "")):
        shown, wanted = ("a tab" if mark == "\t" else repr(mark) for mark in (other, separator))
        raise InputError(
            f"{file} has its columns separated by {shown}; in a {file.suffix or 'CSV'} file it is {wanted}"
        )
    names = _known(file, [f"unnamed {number}" if pd.isna(name) else name for number, name in enumerate(header, 1)])
    as_written = (*PATH_COLUMNS, *ID_COLUMNS)  # 007 and not 7
    texts = {raw: str for raw, name in zip(header, names, strict=True) if name in as_written}
    table = pd.read_csv(file, sep=separator, encoding="utf-8-sig", dtype=texts)
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(
            f"{file} has rows of more fields than its header has columns; quote fields that hold {separator!r}"
        )
    return table.set_axis(names, axis="columns")


def _known(file: Path, columns: Iterable[str]) -> list[str]:
    """Names of columns without spaces around them, those that mean something in lower case; none twice."""
    names = [name.strip() for name in columns]
    names = [name.casefold() if name.casefold() in KNOWN_COLUMNS else name for name in names]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{file} has {names.count(twice[0])} columns {twice[0]!r}; rename or remove all but one")
    return names


def _splits(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The split of the user's own, or drawn folds; where there are groups, also folds that disregard them."""
    if "fold" in table:
        return {"fold": {"column": "fold"}}
    drawn = {"grouped": {"folds": DRAWN_FOLDS}, "ungrouped": {"folds": DRAWN_FOLDS, "grouped": False}}
    return drawn if "group" in table else {}


def _empty(values: pd.Series[Any]) -> pd.Series[bool]:
    return values.isna() | (values.astype(str).str.strip() == "")


def _id(value: Any) -> str:
    """An id as text: 1.0, which pandas makes of 1 where a Parquet file has a gap, as "1"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _column(table: pd.DataFrame, names: Iterable[str]) -> str | None:
    return next((name for name in names if name in table), None)


def _aliases(table: pd.DataFrame) -> dict[str, str]:
    return {name: meant for name, meant in ALIASES.items() if name in table and meant not in table}


def _all_usable(task: str, names: set[str]) -> bool:
    def usable(name: Any) -> bool:
        try:
            canonical(task, name)
        except Unusable:
            return False
        return True

    return all(map(usable, names))
