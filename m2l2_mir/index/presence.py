"""Does a snippet occur where it was found, or nowhere? Its places beside those of snippets that are known to be absent.

Conventions
-----------
* Some place is always the most alike, and among many it is very much so. A place is therefore judged as what it is, the
  best of all, by how far it stands out from the other places in the library, those in the same track among them.
* The *distinctness* of a place is the share of what the next place leaves unexplained that this one explains:
  (s² - b²) / (1 - b²) for their similarities s and b. A passage may be repeated, or a recording be there several times:
  the largest of the first :data:`STEPS` steps down from the place counts.
* The null are random snippets of the library, as long as the one asked, looked for in the tracks that they do *not*
  come from; p is the share of them, with the one asked among them, that find as distinct a place. What is as near to
  them as a copy (:data:`COPY`) is passed over, because there they are not absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.index.places import VOTES, Place, compared, voted
from m2l2_mir.index.segments import Segments
from m2l2_mir.probe.comparison import ALPHA

__all__ = ["STEPS", "chances", "distinctness", "distinctness_of_absent", "verdict"]

STEPS = 8
COPY = 0.9
DRAWN = 99  # snippets of the null: p goes down to 0.01
LAID = 64  # places of each that are compared


@dataclass(frozen=True, kw_only=True)
class _Excerpt:
    """Chunks of the library as a snippet, which lies on the cuts and is known at no other shift."""

    numbers: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def at(self, shift: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if shift:
            raise ValueError(f"chunks of the library are known at no shift of {shift}")
        return self.numbers, self.vectors


def distinctness(similarity: float, others: Sequence[float]) -> float:
    """How far a place stands out, 0 to 1.

    Parameters
    ----------
    similarity
        Of the place.
    others
        Of all other places; higher ones are passed over. NaN without any.

    Examples
    --------
    >>> round(distinctness(0.9, [0.3, 0.2]), 2), round(distinctness(0.9, [0.88, 0.3]), 2)  # a copy changes little
    (0.79, 0.75)
    >>> round(distinctness(0.17, [0.165, 0.16]), 3)
    0.002
    """
    below = sorted((other for other in others if other <= similarity), reverse=True)[:STEPS]
    explained = np.square(np.clip([similarity, *below], 0, 1))
    if len(explained) < 2:
        return float("nan")
    left = 1 - explained[1:]
    steps = np.divide(explained[:-1] - explained[1:], left, out=np.zeros_like(left), where=left > 0)
    return float(steps.max())


def distinctness_of_absent(segments: Segments, chunks: int) -> NDArray[np.float64]:
    """Distinctness of the best places of random snippets of so many chunks in tracks that they do not come from."""
    room = np.where(segments.tracks["alive"], segments.tracks["count"] - chunks + 1, 0).clip(min=0)
    total, rng = int(room.sum()), np.random.default_rng(segments.seed)
    found = []
    for place in rng.choice(total, min(DRAWN, total), replace=False) if total else ():
        track = int(np.searchsorted(np.cumsum(room), place, side="right"))
        first = segments.tracks["first"].to_numpy()[track] + int(place) - int(np.cumsum(room)[track] - room[track])
        raw = segments.rows.take(np.arange(first, first + chunks))
        audible = np.flatnonzero(np.isfinite(raw).all(axis=1))
        if not len(audible):
            continue
        snippet = _Excerpt(numbers=audible, vectors=segments.prepared(raw[audible]))
        # its own track has most of the nearest chunks: more of them are looked at
        diagonals = voted(segments, snippet, [0], votes=4 * VOTES, but=track)[:LAID]
        best = [one.similarity for one in compared(segments, snippet, diagonals, [0]) if one.similarity < COPY]
        if len(best) > 1:
            found.append(distinctness(best[0], best[1:]))
    return np.array(found)


def chances(places: Sequence[Place], absent: NDArray[np.float64]) -> NDArray[np.float64]:
    """p of each place: the share of absent snippets that find as distinct a place.

    Parameters
    ----------
    places : sequence of Place
        Best first.
    absent : np.ndarray
        Of :func:`distinctness_of_absent`.
    """
    values = [
        distinctness(place.similarity, [one.similarity for one in places[number + 1 :]])
        for number, place in enumerate(places)
    ]
    return np.array(
        [np.nan if np.isnan(value) else (1 + np.sum(absent >= value)) / (1 + len(absent)) for value in values]
    )


def verdict(chance: NDArray[np.float64], absent: int) -> str:
    """What was found, in a sentence.

    >>> verdict(np.array([0.4, 0.9]), 99)[:23]
    'No place stands out: 40'
    """
    standing = int(np.sum(chance <= ALPHA))
    if standing:
        told = "1 place stands out" if standing == 1 else f"{standing} places stand out"
        return (
            f"{told} (p {chance[0]:.2g}): so few of {absent} random snippets of the library find as distinct a place "
            "in tracks that they do not come from."
        )
    if not len(chance) or np.isnan(chance[0]) or (1 + absent) * ALPHA < 1:
        return "Nobody can tell whether the snippet occurs: the library has too few tracks and places to compare with."
    return (
        f"No place stands out: {100 * chance[0]:.0f} % of {absent} random snippets of the library find as distinct a "
        "place in tracks that they do not come from. The snippet may occur nowhere."
    )
