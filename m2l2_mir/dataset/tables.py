"""A user's own tracks: a table with a path column, or a folder with a sub-folder for each class.

Conventions
-----------
* Files and the names of their columns are read as in :mod:`m2l2_mir.dataset.table_file`.
* Columns called as in :mod:`m2l2_mir.dataset.labels` (``bpm`` and ``midi`` stand for ``tempo`` and ``pitch``) are
  brought into canonical form; other columns stay as they are and can be probed as classes.
* A column ``audio`` beside another path column is kept as ``audio_column``: ``audio`` is the checksum.
* ``group`` (or ``artist``) keeps tracks together that must not be on both sides of a split, ``fold`` gives the split.
* A relative path counts from the audio root: the folder given for it, or that of the table.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.audiofile import printable
from m2l2_mir.dataset.folder import find_audio
from m2l2_mir.dataset.labels import Unusable, canonical
from m2l2_mir.dataset.reading import Reading, Row, read_rows
from m2l2_mir.dataset.recipe import TASKS, DatasetRecipe
from m2l2_mir.dataset.table_file import ALIASES, PATH_COLUMNS, empty, id_column, id_text, load_table, path_column
from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["read_folder", "read_table"]

CLASS_TASKS = ("genre", "instrument")
DRAWN_FOLDS = 5


def read_table(file: Path, *, audio_root: Path | None) -> tuple[DatasetRecipe, Reading]:
    """Read a CSV (or TSV) or Parquet file (:func:`~m2l2_mir.dataset.table_file.load_table`).

    Raises
    ------
    InputError
        The file cannot be read, is empty, has no path column, names a column or a track twice, or leaves an id empty.
    """
    table = load_table(file)
    places = path_column(table)
    if places is None:
        columns = [str(column) for column in table.columns]
        hint = next((match for name in PATH_COLUMNS if (match := close_match(name, columns))), "")
        raise InputError(f"{file} has no column 'path'{hint}; it has {', '.join(columns) or 'none'}")
    if table.empty:
        raise InputError(f"{file} holds no tracks: it has a header and no rows")
    if missing := int(empty(table[places]).sum()):
        raise InputError(f"{file}: {missing} of {len(table)} rows have no {places}; give each a path or remove it")
    root = file.parent if audio_root is None else audio_root
    ids = id_column(table) or places
    if (no_id := empty(table[ids])).any():
        raise InputError(f"{file}: row {int(no_id.argmax()) + 1} has no {ids}; give each track its own")
    names = table[ids].map(id_text)
    if len(twice := names[names.duplicated()]):
        raise InputError(f"{file} names {len(twice)} tracks twice, such as {twice.iloc[0]!r}; give each one row")
    if places != "audio" and "audio" in table:
        table = table.rename(columns={"audio": "audio_column"})
    table = table.rename(columns=_aliases(table))
    if "artist" in table and "group" not in table:
        table = table.assign(group=table["artist"])
    labels = [task for task in TASKS if task in table]
    others = [name for name in table.columns if name not in (*labels, places, ids)]
    rows = (
        Row(
            track_id=track_id,
            path=os.path.abspath(root / str(record[places])),
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


def _splits(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The split of the user's own, or drawn folds; where there are groups, also folds that disregard them."""
    if "fold" in table:
        return {"fold": {"column": "fold"}}
    drawn = {"grouped": {"folds": DRAWN_FOLDS}, "ungrouped": {"folds": DRAWN_FOLDS, "grouped": False}}
    return drawn if "group" in table else {}


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
