"""A user's own tracks: a table with a path column, or a folder with a sub-folder for each class.

Conventions
-----------
* Columns called as in :mod:`m2l2_mir.dataset.labels` (``bpm`` and ``midi`` stand for ``tempo`` and ``pitch``) are
  brought into canonical form; other columns stay as they are and can be probed as classes.
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
ALIASES = {"bpm": "tempo", "midi": "pitch", "artist": "group"}
CLASS_TASKS = ("genre", "instrument")


def read_table(file: Path, *, audio_root: Path | None) -> tuple[DatasetRecipe, Reading]:
    """Read a CSV (or TSV) or Parquet file.

    Raises
    ------
    InputError
        The file cannot be read, is empty, has no path column, or names a track twice.
    """
    table = _load(file)
    path_column = _column(table, PATH_COLUMNS)
    if path_column is None:
        columns = [str(column) for column in table.columns]
        hint = next((match for name in PATH_COLUMNS if (match := close_match(name, columns))), "")
        raise InputError(f"{file} has no column 'path'{hint}; it has {', '.join(columns) or 'none'}")
    if table.empty:
        raise InputError(f"{file} holds no tracks: it has a header and no rows")
    if missing := int(table[path_column].isna().sum()):
        raise InputError(f"{file}: {missing} of {len(table)} rows have no {path_column}; give each a path or remove it")
    root = file.parent if audio_root is None else audio_root
    id_column = _column(table, ID_COLUMNS) or path_column
    names = table[id_column].map(str)
    if len(twice := names[names.duplicated()]):
        raise InputError(f"{file} names {len(twice)} tracks twice, such as {twice.iloc[0]!r}; give each one row")
    table = table.rename(columns=_aliases(table))
    labels = [task for task in TASKS if task in table]
    others = [name for name in table.columns if name not in (*labels, path_column, id_column, "audio")]
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
        splits={"fold": {"column": "fold"}} if "fold" in table else {},
    )
    return recipe, read_rows(rows)


def read_folder(folder: Path) -> tuple[DatasetRecipe, Reading]:
    """Read a folder whose sub-folders are classes.

    The name of a track's first sub-folder is its label for every task that it makes sense for: genre and instrument
    always; key, pitch or tempo if the names of all sub-folders are keys, notes or numbers.

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
    tasks = [task for task in TASKS if task in CLASS_TASKS or _all_usable(task, set(classes.values()))]
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
            return pd.read_parquet(file)
        return pd.read_csv(file, sep="\t" if file.suffix.casefold() == ".tsv" else ",", encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{str(file)!r} does not exist; check the path") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{file} is empty; its first line must name the columns, 'path' among them") from None
    except (OSError, ValueError) as error:  # parser, encoding and Parquet errors are ValueErrors
        raise InputError(f"{file} cannot be read as a table: {error}") from error


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
