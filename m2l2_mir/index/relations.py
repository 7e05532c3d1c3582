"""What makes a neighbour the right one: the same label, a key that goes with it, a tempo close to it.

Conventions
-----------
* A relation is between a query and its candidates. Tracks whose label is not known are neither.
* Keys go together where they are the same, relatives (C major and A minor), or of one mode and a fifth apart: the
  neighbours on the circle of fifths, which DJs mix by.
* Tempi go together where the candidate's is within 4 % of the query's, the tolerance of ``acc1`` in
  :mod:`m2l2_mir.probe.tempo`; with octaves, also within 4 % of a third, half, twice or three times it (``acc2``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.dataset import labels
from m2l2_mir.dataset.table_file import column_named
from m2l2_mir.errors import InputError
from m2l2_mir.probe.tempo import FACTORS, TOLERANCE
from m2l2_mir.recipe import close_match

__all__ = ["RELATIONS", "Relation", "find_relations", "key_compatible", "label_codes", "same", "tempo_within"]

_BLOCK_VALUES = 1 << 22  # pairs looked at at once

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

# What is looked at where nobody says what: columns of the metadata, and the relation that makes sense for them.
_USUAL = {
    "genre": "same",
    "artist": "same",
    "album": "same",
    "piece": "same",
    "instrument": "same",
    "key": "key",
    "tempo": "tempo",
    "bpm": "tempo",
}


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Which tracks are relevant to which, by one label.

    Parameters
    ----------
    name
        Such as ``"genre"`` or ``"key, compatible"``.
    about
        When a candidate is relevant.
    values : np.ndarray [n]
        A number for each track, nan where the label is not known.
    related
        From values [b, 1] of queries and [1, m] of candidates to whether these are relevant [b, m].
    """

    name: str
    about: str
    values: Floats
    related: Callable[[Floats, Floats], Bools]

    @property
    def known(self) -> Bools:
        """Whether the label of each track is known, [n]."""
        return ~np.isnan(self.values)

    @property
    def answerable(self) -> Bools:
        """Whether each track has another one that is relevant to it, [n]."""
        values, place, counts = np.unique(self.values[self.known], return_inverse=True, return_counts=True)
        found = counts > 1  # every relation holds between equal values
        step = max(1, _BLOCK_VALUES // max(len(values), 1))
        for start in range(0, len(values), step):
            part = np.arange(start, min(start + step, len(values)))
            related = self.related(values[part, None], values[None])
            related[np.arange(len(part)), part] = False
            found[part] |= related.any(axis=1)
        answerable = np.zeros(len(self.values), dtype=np.bool_)
        answerable[self.known] = found[place]
        return answerable

    def between(self, queries: NDArray[np.intp], candidates: NDArray[np.intp] | None = None) -> Bools:
        """Whether each query's candidates are relevant to it, [b, m].

        Parameters
        ----------
        queries : np.ndarray [b]
            Positions.
        candidates : np.ndarray [b, m], optional
            Positions, of each query its own; None: all tracks.
        """
        others = self.values[None] if candidates is None else self.values[candidates]
        return self.related(self.values[queries][:, None], others)


def same(values: ArrayLike, name: str = "label") -> Relation:
    """Tracks of one value: a genre, an artist, an album.

    Parameters
    ----------
    values : array-like [n]
        None, nan or "" where not known.
    name
        Of the label.

    Examples
    --------
    >>> same(["jazz", "rock", "jazz", None]).between(np.array([0])).tolist()
    [[True, False, True, False]]
    """
    codes = label_codes(values).astype(np.float64)
    codes[codes < 0] = np.nan
    return Relation(name=name, about=f"of the same {name}", values=codes, related=lambda query, other: query == other)


def key_compatible(values: ArrayLike, name: str = "key") -> Relation:
    """Tracks whose keys go together: the same, the relative, or a fifth up or down in the same mode.

    Parameters
    ----------
    values : array-like [n]
        Keys in any spelling that :func:`m2l2_mir.dataset.labels.key` reads, ``8A`` and ``1m`` among them; others count
        as not known.
    name
        Of the label.

    Examples
    --------
    >>> keys = ["C major", "A minor", "G major", "F major", "E minor", "D major", "C minor", "none"]
    >>> key_compatible(keys).between(np.array([0])).astype(int).tolist()
    [[1, 1, 1, 1, 0, 0, 0, 0]]
    >>> key_compatible(["8B", "8A", "7B", "1m", "10B"]).between(np.array([0])).astype(int).tolist()
    [[1, 1, 1, 1, 0]]
    """
    codes = np.array([_key_code(value) for value in np.asarray(values, dtype=object)], dtype=np.float64)

    def related(query: Floats, other: Floats) -> Bools:
        steps = np.abs(query % 12 - other % 12)  # along the circle of fifths
        same_mode = query // 12 == other // 12
        return (steps == 0) | (same_mode & ((steps == 1) | (steps == 11)))

    about = "in the same key, its relative, or a fifth up or down in the same mode"
    return Relation(name=f"{name}, compatible", about=about, values=codes, related=related)


def tempo_within(values: ArrayLike, name: str = "tempo", *, octaves: bool = False) -> Relation:
    """Tracks whose tempo is within 4 % of the query's.

    Parameters
    ----------
    values : array-like [n]
        bpm; what is no number above 0 counts as not known.
    name
        Of the label.
    octaves
        Also those within 4 % of a third, half, twice or three times the query's tempo.

    Examples
    --------
    >>> tempo_within([100, 103, 97, 105, 200]).between(np.array([0])).astype(int).tolist()
    [[1, 1, 1, 0, 0]]
    >>> tempo_within([100, 103, 97, 105, 200], octaves=True).between(np.array([0])).astype(int).tolist()
    [[1, 1, 1, 0, 1]]
    """
    bpm = pd.to_numeric(pd.Series(np.asarray(values, dtype=object)), errors="coerce").to_numpy(dtype=np.float64)
    bpm = np.where((bpm > 0) & np.isfinite(bpm), bpm, np.nan)
    factors = FACTORS if octaves else (1.0,)

    def related(query: Floats, other: Floats) -> Bools:
        near = np.zeros(np.broadcast_shapes(query.shape, other.shape), dtype=np.bool_)
        for factor in factors:
            near |= np.abs(other - factor * query) <= TOLERANCE * factor * query
        return near

    ending = ", or of a third, half, twice or three times it" if octaves else ""
    about = f"within {100 * TOLERANCE:g} % of its {name}{ending}"
    title = f"{name} within {100 * TOLERANCE:g} %{', any octave' if octaves else ''}"
    return Relation(name=title, about=about, values=bpm, related=related)


RELATIONS: dict[str, Callable[[ArrayLike, str], Relation]] = {
    "same": same,
    "key": key_compatible,
    "tempo": tempo_within,
    "tempo-octaves": lambda values, name: tempo_within(values, name, octaves=True),
}
"""Relations by the name they have on the command line."""


def find_relations(metadata: pd.DataFrame, wanted: list[str]) -> list[Relation]:
    """Relations that were asked for as ``COLUMN`` or ``COLUMN:RELATION``.

    Parameters
    ----------
    metadata : pandas.DataFrame [n rows]
        With the columns.
    wanted
        Such as ``["genre", "key:key", "bpm:tempo-octaves"]``; empty: those columns of usual names that there are, such
        as genre, artist, key and tempo, each by the relation that makes sense for it.

    Returns
    -------
    list of Relation

    Raises
    ------
    InputError
        There is no such column or relation, or no two tracks are related by it.

    Examples
    --------
    >>> table = pd.DataFrame({"genre": ["a", "a"], "key": ["C major", "G major"]})
    >>> [relation.name for relation in find_relations(table, [])]
    ['genre', 'key, compatible']
    """
    columns = list(map(str, metadata.columns))
    if not wanted:
        usual = [_relation(metadata[name], name, kind) for name, kind in _USUAL.items() if name in columns]
        return [relation for relation in usual if relation.answerable.any()]
    found = []
    for text in wanted:
        asked, _, kind = (text, "", "same") if text in columns else text.rpartition(":")
        asked, kind = (asked, kind) if asked else (text, "same")
        name = column_named(asked, columns)
        if name is None:
            raise InputError(
                f"no column {asked!r}{close_match(asked, columns)}; the index has {', '.join(columns) or 'none'}: give "
                "labels by --labels FILE"
            )
        if kind not in RELATIONS:
            raise InputError(
                f"no relation {kind!r}{close_match(kind, list(RELATIONS))}; write {name}:RELATION with "
                f"{', '.join(RELATIONS)}"
            )
        relation = _relation(metadata[name], name, kind)
        if not relation.answerable.any():
            raise InputError(
                f"no two tracks are {relation.about}, so that no neighbour can be right; "
                f"{int(relation.known.sum())} of {len(metadata)} tracks have a usable {name}"
            )
        found.append(relation)
    return found


def label_codes(values: ArrayLike) -> NDArray[np.intp]:
    """A number for each value, [n]; -1 for None, nan and "".

    >>> label_codes(["b", None, "a", "b", ""]).tolist()
    [0, -1, 1, 0, -1]
    """
    column = pd.Series(np.asarray(values, dtype=object))
    return pd.factorize(column.where(column != ""))[0]


def _relation(column: pd.Series[Any], name: str, kind: str) -> Relation:
    return RELATIONS[kind](column.to_numpy(dtype=object), name)


def _key_code(value: Any) -> float:
    """Place on the circle of fifths, plus 12 for minor keys; a minor key has the place of its relative major."""
    try:
        tonic, mode = labels.tonic_and_mode(labels.key(value))
    except labels.Unusable:
        return math.nan
    minor = mode == "minor"
    return float(7 * (tonic + 3 * minor) % 12 + 12 * minor)
