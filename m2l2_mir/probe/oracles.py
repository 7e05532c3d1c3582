"""Oracle rows: what the score of a rendered track tells, where a label of it gives much of another one away.

A row of sound that is no better than such an oracle has not been shown to hear more than that. Oracles read the score
and not the sound, so they bound nothing: a row may be above them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.rendered.clips import Clip
from m2l2_mir.errors import ConfigError
from m2l2_mir.probe.rows import Row
from m2l2_mir.recipe import close_match

__all__ = ["ORACLES", "check_oracles", "oracle_rows"]

Vectors = NDArray[np.float32]


def check_oracles(names: tuple[str, ...]) -> None:
    """Raise a ConfigError unless all are names of ``ORACLES``."""
    for name in names:
        if name not in ORACLES:
            raise ConfigError(f"no oracle {name!r}{close_match(name, list(ORACLES))}; there are {', '.join(ORACLES)}")


def oracle_rows(dataset: Dataset, names: tuple[str, ...]) -> list[Row]:
    """A row for each oracle that the data set has what it takes for.

    Parameters
    ----------
    dataset
        Vectors are in the order of its tracks.
    names
        Of ``ORACLES``.
    """
    check_oracles(names)
    rows = []
    for name in names:
        about, make = ORACLES[name]
        vectors = make(dataset)
        if vectors is not None:
            rows.append(
                Row(
                    name=f"oracle: {name}",
                    kind="control",
                    width=vectors.shape[1],
                    load=lambda _, vectors=vectors: vectors,  # type: ignore[misc]
                    about=about,
                    note=_unknown(dataset) if make is _metre else "",
                    provenance={"oracle": name},
                )
            )
    return rows


def _metre(dataset: Dataset) -> Vectors | None:
    if "meter" not in dataset.tracks or dataset.tracks["meter"].isna().all():
        return None
    # One that is not known is a class of its own, so that a single one costs neither the row nor the track.
    return pd.get_dummies(dataset.tracks["meter"].fillna("")).to_numpy(dtype=np.float32)


def _unknown(dataset: Dataset) -> str:
    missing = int(dataset.tracks["meter"].isna().sum())
    return (
        f"oracle: metre: not known of {missing} of {len(dataset.tracks)} tracks, a class of its own" if missing else ""
    )


def _last_bass(dataset: Dataset) -> Vectors | None:
    """Pitch class of the lowest of the notes that are struck or held when the last note of the lowest voice begins."""
    if not dataset.clips:
        return None
    return np.eye(12, dtype=np.float32)[[_bass_of(clip) for clip in dataset.clips]]


def _bass_of(clip: Clip) -> int:
    pitched = [note for note in clip.notes if not note.drum]
    lowest = max({note.part for note in pitched}, key=lambda part: -_mean_pitch(clip, part))
    return max((note.onset, note.pitch) for note in pitched if note.part == lowest)[1] % 12


def _mean_pitch(clip: Clip, part: int) -> float:
    return float(np.mean([note.pitch for note in clip.notes if note.part == part and not note.drum]))


def _register(dataset: Dataset) -> Vectors | None:
    """Lowest, highest, mean and standard deviation of the pitches."""
    if not dataset.clips:
        return None
    pitches = [np.array([note.pitch for note in clip.notes if not note.drum], dtype=float) for clip in dataset.clips]
    return np.array([[p.min(), p.max(), p.mean(), p.std()] for p in pitches], dtype=np.float32)


ORACLES: dict[str, tuple[str, Callable[[Dataset], Vectors | None]]] = {
    "metre": ("the notated metre and nothing else: the most frequent class given it", _metre),
    "last bass note": ("pitch class of the last note of the lowest voice, from the score", _last_bass),
    "register": ("lowest, highest, mean and standard deviation of the pitches, from the score", _register),
}
