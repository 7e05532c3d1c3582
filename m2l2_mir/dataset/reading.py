"""What a source has found: the tracks of a set with their labels, and what was dropped and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from m2l2_mir.dataset.labels import Unusable, canonical

__all__ = ["Reading", "Row", "read_rows"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One track as its source states it.

    Parameters
    ----------
    track_id
        Unique in the set.
    path
        Absolute path of the audio, or "" if the source knows of none.
    labels
        Raw labels: column -> what the source says, None where it says nothing.
    extras
        Other columns, taken as they are: ``group`` (artist, piece or instrument that must not be on both sides of a
        split), ``title``, official folds, ...
    audio
        Checksum of the audio as the source states it ("md5:..."), or "".
    """

    track_id: str
    path: str
    labels: Mapping[str, Any]
    extras: Mapping[str, Any]
    audio: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Tables of one set.

    Parameters
    ----------
    tracks
        One row a track: ``track_id``, ``path``, ``audio``, canonical label columns (missing where unusable), and extra
        columns; sorted by ``track_id``.
    dropped
        One row a label that cannot be used: ``track_id``, ``label``, ``reason``.
    """

    tracks: pd.DataFrame
    dropped: pd.DataFrame


def read_rows(rows: Iterable[Row]) -> Reading:
    """Bring raw labels into canonical form (:mod:`m2l2_mir.dataset.labels`), noting what cannot be used."""
    tracks, dropped = [], []
    for row in rows:
        labels: dict[str, Any] = {}
        for label, raw in row.labels.items():
            try:
                labels[label] = canonical(label, raw)
            except Unusable as reason:
                labels[label] = None
                dropped.append({"track_id": row.track_id, "label": label, "reason": str(reason)})
        tracks.append({"track_id": row.track_id, "path": row.path, "audio": row.audio, **labels, **row.extras})
    table = pd.DataFrame(tracks, columns=None if tracks else ["track_id", "path", "audio"])
    return Reading(
        tracks=table.sort_values("track_id", ignore_index=True),
        dropped=pd.DataFrame(dropped, columns=["track_id", "label", "reason"]),
    )
