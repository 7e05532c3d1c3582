"""Tables of metadata and labels from files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from m2l2_mir.errors import InputError
from m2l2_mir.index.files import ALIVE
from m2l2_mir.index.library import SOURCE
from m2l2_mir.recipe import close_match

__all__ = ["ID", "read_table"]

ID = "track_id"
FROM_STORE = ("path", "duration")  # what an index takes from its stores


def read_table(path: Path) -> pd.DataFrame:
    """A table of metadata or labels: CSV, TSV or Parquet, with a column ``track_id``.

    The ``tracks-*.parquet`` of an index is one as well: its metadata, without what the index itself knows.

    Raises
    ------
    InputError
        It cannot be read, or lacks that column.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, sep="\t" if kind == ".tsv" else ",", dtype={ID: str})
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: no table can be read ({' '.join(str(error).split())}); give CSV, TSV or Parquet"
        ) from error
    if ID not in table:
        names = list(map(str, table.columns))
        raise InputError(f"{path} has no column {ID!r}{close_match(ID, names)}; columns: {', '.join(names)}")
    if {ALIVE, SOURCE} <= set(table):
        table = table[table[ALIVE]].drop(columns=[ALIVE, SOURCE, *FROM_STORE], errors="ignore").reset_index(drop=True)
    return table
