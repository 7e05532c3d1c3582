"""Results of a query as a file: a table, JSON, or a playlist."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from m2l2_mir.durable import write_durably
from m2l2_mir.errors import InputError

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["KINDS", "check_kind", "playlist", "write_results"]

PLAYLISTS = (".m3u8", ".m3u")
KINDS = (".csv", ".json", *PLAYLISTS)


def check_kind(out: Path) -> None:
    """InputError unless the file's name says what is to be written, and its folder is there."""
    if out.suffix.casefold() not in KINDS:
        raise InputError(f"--out {out}: its name has to end in {', '.join(KINDS)}")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {str(out.parent)!r}; make it first")


def write_results(out: Path, table: pd.DataFrame, told: Mapping[str, Any], index: SimilarityIndex) -> None:
    """Write what a query has found, as the file's name says.

    Parameters
    ----------
    out
        CSV has all columns, JSON what is `told`; an M3U playlist (in UTF-8) has the absolute paths of the audio files,
        with title and duration where they are known.
    table
        Results, best first.
    told
        Results and notes, fit for JSON.
    index
        That was asked: it knows the paths.

    Raises
    ------
    InputError
        The file cannot be written, or a playlist is asked for and no path of a result is known.
    """
    kind = out.suffix.casefold()
    if kind == ".csv":
        text = table.to_csv(index=False)
    elif kind == ".json":
        text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    else:
        rows = index.library.known_rows(table["track_id"].tolist())
        text = playlist(index.library.frame.iloc[rows].to_dict("records"))
    try:
        write_durably(out, lambda file: file.write(text.encode()))
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error


def playlist(tracks: Sequence[Mapping[Any, Any]]) -> str:
    """An extended M3U playlist of tracks with ``path`` and, where they are known, ``title``, ``artist``, ``duration``.

    Raises
    ------
    InputError
        A track has no path, or one of several lines.

    Examples
    --------
    >>> playlist([{"path": "/a.mp3", "title": "So What", "artist": "Miles Davis", "duration": 562.4}]).splitlines()
    ['#EXTM3U', '#EXTINF:562,Miles Davis - So What', '/a.mp3']
    """
    lines = ["#EXTM3U"]
    for track in tracks:
        path = track.get("path")
        if not isinstance(path, str) or not path:
            raise InputError(
                f"a playlist needs paths, and the index knows none of {track['track_id']!r}: give --out FILE.csv"
            )
        if "\n" in path or "\r" in path:
            raise InputError(f"{path!r} has a line break, which a playlist cannot hold: rename the file")
        names = [str(track[key]) for key in ("artist", "title") if not pd.isna(track.get(key, None))]
        title = " ".join(" - ".join(names or [track["track_id"]]).split())
        seconds = track.get("duration")
        lines += [f"#EXTINF:{-1 if pd.isna(seconds) else round(float(seconds))},{title}", os.path.abspath(path)]
    return "\n".join(lines) + "\n"
