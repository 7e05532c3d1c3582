"""What single mirdata sets state in another way than by an attribute of their tracks.

Conventions
-----------
* A recipe names a function of :data:`QUIRKS` as ``tempo = "bpm_file()"`` where it would name an attribute.
* Each takes mirdata's Track and gives what an attribute would: a raw label (a list where the source states several),
  or None. Whatever it raises counts as an annotation that cannot be read, for this track alone.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.published.mirdata_instruments import INSTRUMENT_QUIRKS

__all__ = ["QUIRKS"]

_ALBUM = re.compile(r"Albums-(?P<album>.+)-\d+|Media-(?P<number>\d+)\d\d")


def bpm_file(track: Any) -> float | None:
    """Tempo of GTZAN: mirdata 1.0 reads it in a way that NumPy 2.4 and later refuse."""
    path = track.tempo_path
    return None if path is None else float(Path(path).read_text(encoding="utf-8"))


def most_voted_tempo(track: Any) -> float | None:
    """The tempo of GiantSteps, second version, that most listeners tapped; mirdata fails on tracks that have none."""
    jams = json.loads(Path(track.annotation_v2_path).read_text(encoding="utf-8"))
    votes = next(part["data"] for part in jams["annotations"] if part["namespace"] == "tempo")
    return max(votes, key=lambda vote: vote["confidence"])["value"] if votes else None


def key_and_mode(track: Any) -> str | None:
    """Key of FMA Keys: mirdata gives tonic and mode apart, and not one track where a single row is odd."""
    path = Path(track._data_home, "fma_keys_metadata.csv")
    return _fma_keys(path, path.stat().st_mtime_ns).get(track.track_id)


def fma_artist(track: Any) -> str | None:
    """Artist in FMA's own metadata, where a copy of it lies beside FMA Keys."""
    path = Path(track._data_home, "fma_metadata", "tracks.csv")
    return _fma_artists(path, path.stat().st_mtime_ns).get(track.track_id) if path.is_file() else None


def lead_sheet(track: Any) -> str:
    """Lead sheet of a GuitarSet excerpt, which six players share: "BN1-129-Eb" of "00_BN1-129-Eb_comp"."""
    return str(track.track_id.split("_")[1])


def ballroom_album(track: Any) -> str | None:
    """Album of a Ballroom excerpt: "Latin_Jam2" of "Albums-Latin_Jam2-05", "1042" of "Media-104204"."""
    match = _ALBUM.match(track.track_id)
    return (match["album"] or match["number"]) if match else None


def brid_rhythm(track: Any) -> str:
    """Code of the rhythm of a BRID mixture: "SA" of "[0001] M4-01-SA"."""
    return str(track.track_id.rsplit("-", 1)[1])


QUIRKS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function
    for function in (
        bpm_file,
        most_voted_tempo,
        key_and_mode,
        fma_artist,
        lead_sheet,
        ballroom_album,
        brid_rhythm,
    )
} | INSTRUMENT_QUIRKS


@lru_cache(maxsize=1)
def _fma_keys(path: Path, _changed: int) -> dict[str, str]:
    with open(path, encoding="utf-8", newline="") as file:
        return {row["track_id"]: row["key_and_mode"] for row in csv.DictReader(file)}


@lru_cache(maxsize=1)
def _fma_artists(path: Path, _changed: int) -> dict[str, str]:
    """Artist by track id, from a table whose header has two lines: the kind of thing, and the name of its column."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        column = list(zip(next(rows), next(rows), strict=True)).index(("artist", "id"))
        return {row[0]: row[column] for row in rows if row[0].isdigit()}
