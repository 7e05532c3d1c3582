"""Places of a library that a snippet is laid against: found by votes, compared chunk by chunk, moved to where it fits.

Conventions
-----------
* Each chunk of the snippet votes for the places where the structure finds chunks like it; votes on one diagonal, that
  is for the same start, add up. The best places are then compared chunk by chunk with the true embeddings: their
  similarity is the mean cosine of the chunks.
* The best places are then moved by less and less, so that their starts are told to some two milliseconds. How far a
  shift may be off and still be found depends on the encoder: trained weights keep some 0.6 of the similarity at 12 ms,
  random weights lose it within a sample, and find only what lies on the cuts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.index.segments import Segments

__all__ = ["SHIFTS", "Heard", "Place", "compared", "refined", "voted"]

SHIFTS = 16  # of a snippet, in one chunk
FINEST = 64  # samples
VOTES = 32  # places that each chunk votes for
COMPARED = 400  # places compared chunk by chunk
REFINED = 12  # places moved first; then half of them, and so on


class Heard(Protocol):
    """A snippet, embedded at the shifts that are asked for."""

    def at(self, shift: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers [m] and prepared vectors [m, rank] of its whole and audible chunks, without its first samples."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A shifted snippet laid against a track: its chunk j beside chunk `diagonal + j`."""

    track: int
    diagonal: int
    shift: int  # samples
    similarity: float
    chunks: int

    def start(self, chunk_samples: int) -> float:
        """Where the snippet begins in the track, in chunks."""
        return self.diagonal - self.shift / chunk_samples


def voted(
    segments: Segments, snippet: Heard, shifts: Sequence[int], *, votes: int = VOTES, but: int = -1
) -> list[tuple[int, int]]:
    """Track and diagonal of the places with most votes, most first; `but` is a track that is passed over."""
    total: dict[tuple[int, int, int], float] = defaultdict(float)
    alive = segments.tracks["alive"].to_numpy()
    for shift in shifts:
        numbers, queries = snippet.at(shift)
        found = segments.backend.search(queries, min(votes, len(segments.backend))) if len(numbers) else None
        if found is None:
            continue
        for number, score, row in zip(numbers, *found, strict=True):
            score, row = score[row >= 0], row[row >= 0]
            tracks, chunks = segments.place(row)
            for track, chunk, one in zip(tracks, chunks, score, strict=True):
                if alive[track] and track != but and one > 0:
                    total[int(track), int(chunk - number), shift] += float(one)
    best = sorted(total, key=lambda key: -total[key])[:COMPARED]
    return list(dict.fromkeys((track, diagonal) for track, diagonal, _ in best))


def compared(
    segments: Segments, snippet: Heard, diagonals: Sequence[tuple[int, int]], shifts: Sequence[int]
) -> list[Place]:
    """Places at all shifts, best first: votes of a snippet that repeats itself may come from a wrong one."""
    found = [_laid(segments, snippet, *one, shift) for one in diagonals for shift in shifts]
    return sorted((place for place in found if place is not None), key=lambda place: -place.similarity)


def refined(segments: Segments, snippet: Heard, places: list[Place], chunk: int, count: int) -> list[Place]:
    """Move places by less and less to where the snippet fits best; those that fall behind are left.

    Parameters
    ----------
    places : list of Place
        Best first.
    chunk
        Samples.
    count
        Places that are followed to the end.

    Returns
    -------
    list of Place
        Best first, no two of one track within a chunk of each other.
    """
    step = chunk // (2 * SHIFTS)
    wide = chunk // (4 * SHIFTS)  # so far steps are the same shifts for all places, and the fit is still poor
    places = places[:COMPARED]
    left = len(places)
    while step >= FINEST:
        places = [_moved(segments, snippet, place, step, chunk) for place in places]
        if step <= wide:
            left = REFINED if left > REFINED else left // 2
            places = _apart(places, chunk)[: max(left, count)]
        step //= 2
    return _apart(places, chunk)[:count]


def _laid(segments: Segments, snippet: Heard, track: int, diagonal: int, shift: int) -> Place | None:
    """Compare chunk by chunk; None where more than half of the snippet would lie outside of the track."""
    numbers, queries = snippet.at(shift)
    first, count = (int(segments.tracks[name].to_numpy()[track]) for name in ("first", "count"))
    inside = (numbers + diagonal >= 0) & (numbers + diagonal < count)
    if 2 * inside.sum() <= len(numbers):
        return None
    true = segments.prepared(segments.rows.take(first + diagonal + numbers[inside]))
    similarity = float(np.einsum("ij,ij->i", true, queries[inside]).mean())
    return Place(track=track, diagonal=diagonal, shift=shift, similarity=similarity, chunks=int(inside.sum()))


def _moved(segments: Segments, snippet: Heard, place: Place, step: int, chunk: int) -> Place:
    """The best of a place and those one step to both sides."""
    best = place
    for moved in (place.shift - step, place.shift + step):
        before = moved // chunk
        near = _laid(segments, snippet, place.track, place.diagonal - before, moved - before * chunk)
        if near is not None and near.similarity > best.similarity:
            best = near
    return best


def _apart(places: Sequence[Place], chunk: int) -> list[Place]:
    """The best places, no two of one track within a chunk of each other."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda place: -place.similarity):
        near = (abs(place.start(chunk) - other.start(chunk)) < 1 for other in kept if other.track == place.track)
        if not any(near):
            kept.append(place)
    return kept
