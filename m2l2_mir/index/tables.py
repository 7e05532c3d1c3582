"""Tables of metadata and labels from files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from m2l2_mir.dataset.table_file import ID, tracks_table
from m2l2_mir.index.files import ALIVE
from m2l2_mir.index.library import FROM_STORE, SOURCE

__all__ = ["ID", "read_table"]


def read_table(path: Path, known: pd.DataFrame) -> pd.DataFrame:
    """A table of metadata or labels, its rows under the ids of known tracks.

    The ``tracks-*.parquet`` of an index is one as well: its metadata, without what the index itself knows.

    Parameters
    ----------
    path
        Of a file that :func:`m2l2_mir.dataset.table_file.tracks_table` reads: ids in ``track_id``, or paths.
    known
        Tracks of the store or the index that it is about: ``track_id`` and, unless nobody knows them, ``path``.

    Raises
    ------
    InputError
        It cannot be read, or has neither ids nor paths.
    """
    table = tracks_table(path, known)
    if {ALIVE, SOURCE} <= set(table):
        table = table[table[ALIVE]].drop(columns=[ALIVE, SOURCE, *FROM_STORE], errors="ignore").reset_index(drop=True)
    return table
