"""Where in the library a snippet of some seconds occurs.

Conventions
-----------
* Tracks are cut into chunks from their beginning, and a snippet begins anywhere between two cuts. So it is embedded at
  several shifts, and one of them lies close to the cuts of the track.
* Each chunk of the snippet votes for the places where the structure finds chunks like it; votes on one diagonal, that
  is for the same start, add up. The best places are then compared chunk by chunk with the true embeddings.
* The best places are then moved by less and less, so that their starts are told to some two milliseconds. How far a
  shift may be off and still be found depends on the encoder: trained weights keep some 0.6 of the similarity at 12 ms,
  random weights lose it within a sample, and find only what lies on the cuts.
* The similarity of a place is the mean cosine of its chunks; its percentile is that among random places of the library.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from m2l2_mir.audio import load
from m2l2_mir.embedding.reading import SILENCE_DBFS
from m2l2_mir.errors import InputError
from m2l2_mir.index.listening import BATCH_SIZE, excerpt_of, model_of
from m2l2_mir.index.segments import Segments
from m2l2_mir.index.similarities import percentiles
from m2l2_mir.loudness import integrated_loudness

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.model.autoencoder import Features, Music2Latent2

__all__ = ["find_segment"]

SHIFTS = 16  # of the snippet, in one chunk
FINEST = 64  # samples
VOTES = 32  # places that each chunk votes for
COMPARED = 400  # places compared chunk by chunk
REFINED = 12  # places moved first; then half of them, and so on
RANDOM_PLACES = 5_000
LONGEST = 10.0  # seconds of a snippet: 13 chunks are not found by chance


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


class Snippet:
    """A waveform embedded at the shifts that are asked for."""

    def __init__(
        self, model: Music2Latent2, waveform: NDArray[np.float32], features: Features, segments: Segments
    ) -> None:
        self.segments, self.chunk = segments, model.config.chunk_samples
        self._model, self._features = model, features
        # the samples that a chunk looks back over are not known before the snippet begins
        self._waveform = np.pad(waveform, ((0, 0), (model.config.overlap, 0)))
        self._known: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}

    def at(self, shift: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers and prepared vectors of the whole and audible chunks of the snippet without its first samples."""
        if shift not in self._known:
            self._known[shift] = self._embedded(shift)
        return self._known[shift]

    def _embedded(self, shift: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        look_back = self._model.config.overlap
        shifted = self._waveform[:, shift:]
        whole = (shifted.shape[1] - look_back) // self.chunk
        blocks = [shifted[:, first : first + look_back + self.chunk] for first in self.chunk * np.arange(whole)]
        levels = np.array([np.sqrt(np.mean(np.square(block[:, look_back:], dtype=np.float64))) for block in blocks])
        numbers = np.flatnonzero(levels >= 10 ** (SILENCE_DBFS / 20))
        embedded = [
            self._model.encode_blocks(
                torch.from_numpy(np.stack([blocks[number] for number in part])), features=self._features
            ).numpy()
            for part in np.array_split(numbers, -(-len(numbers) // BATCH_SIZE) or 1)
            if len(part)
        ]
        if not embedded:
            return numbers, np.zeros((0, self.segments.preparation.rank), np.float32)
        return numbers, self.segments.prepared(np.concatenate(embedded).reshape(len(numbers), -1))


def find_segment(
    index: SimilarityIndex,
    audio: str | os.PathLike[str],
    k: int = 5,
    *,
    start: float | None = None,
    end: float | None = None,
    model: Any = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Find where in the library a snippet occurs.

    Parameters
    ----------
    index : SimilarityIndex
        Built with segments.
    audio : path
        A file of at least a chunk.
    k
        Places to tell.
    start, end
        Seconds: the part of the file that is looked for; of longer ones the first ten seconds.
    model, device
        As in :func:`m2l2_mir.index.query.query`.

    Returns
    -------
    pd.DataFrame
        ``rank``, ``track_id``, ``start`` and ``end`` (seconds in that track's file), ``similarity``, ``percentile``
        and ``chunks`` (how many were compared).

    Raises
    ------
    InputError
        The index has no segments, or the snippet is too short.
    AudioError, CheckpointError, StoreError
        As :func:`m2l2_mir.index.query.query`.
    """
    if index.segments is None:
        raise InputError("the index has no segments: build it with --segments from a store made with --keep chunks")
    if k < 1:
        raise InputError(f"k must be at least 1: {k}")
    path, segments = Path(audio), index.segments
    network = model_of(index, model, device)
    stated = index.about["provenance"]["settings"]
    begin, length = excerpt_of(path, start, end) or (0.0, LONGEST)
    rate = network.config.sample_rate
    waveform, _ = load(path, sample_rate=rate, channels=network.config.channels, excerpt=(begin, min(length, LONGEST)))
    if stated["loudness"] is not None:
        measured = integrated_loudness([waveform], rate)
        waveform *= np.float32(10 ** ((stated["loudness"] - measured) / 20)) if np.isfinite(measured) else 1
    length = waveform.shape[1] / rate
    snippet = Snippet(network, waveform, stated["features"], segments)
    coarse = [shift * snippet.chunk // SHIFTS for shift in range(SHIFTS)]
    if not any(len(snippet.at(shift)[0]) for shift in coarse):
        raise InputError(
            f"{path.name}: {length:.2f} s hold no whole audible chunk of {segments.seconds:.2f} s; give a longer part"
        )
    places = _compared(segments, snippet, _voted(segments, snippet, coarse), coarse)
    best = _refined(segments, snippet, places, k)
    origin = (stated.get("excerpt") or [0.0])[0]
    starts = np.array([origin + place.start(snippet.chunk) * segments.seconds for place in best])
    similarity = np.array([place.similarity for place in best])
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(best) + 1),
            "track_id": [segments.tracks["track_id"].iat[place.track] for place in best],
            "start": np.maximum(starts, 0.0),
            "end": starts + length,
            "similarity": similarity,
            "percentile": percentiles(similarity, _random_places(segments, snippet, coarse)),
            "chunks": [place.chunks for place in best],
        }
    )


def _voted(segments: Segments, snippet: Snippet, shifts: list[int]) -> list[tuple[int, int, int]]:
    """Track, diagonal and shift of the places with most votes."""
    votes: dict[tuple[int, int, int], float] = defaultdict(float)
    alive = segments.tracks["alive"].to_numpy()
    for shift in shifts:
        numbers, queries = snippet.at(shift)
        if not len(numbers):
            continue
        found = segments.backend.search(queries, min(VOTES, len(segments.backend)))
        if found is None:
            continue
        scores, rows = found
        for number, score, row in zip(numbers, scores, rows, strict=True):
            score, row = score[row >= 0], row[row >= 0]
            tracks, chunks = segments.place(row)
            for track, chunk, one in zip(tracks, chunks, score, strict=True):
                if alive[track] and one > 0:
                    votes[int(track), int(chunk - number), shift] += float(one)
    return sorted(votes, key=lambda key: -votes[key])[:COMPARED]


def _compared(
    segments: Segments, snippet: Snippet, voted: list[tuple[int, int, int]], shifts: list[int]
) -> list[Place]:
    """The best places at all shifts: votes of a snippet that repeats itself may come from a wrong one."""
    diagonals = dict.fromkeys((track, diagonal) for track, diagonal, _ in voted)
    found = [_laid(segments, snippet, *one, shift) for one in diagonals for shift in shifts]
    places = [place for place in found if place is not None]
    return sorted(places, key=lambda place: -place.similarity)[:COMPARED]


def _laid(segments: Segments, snippet: Snippet, track: int, diagonal: int, shift: int) -> Place | None:
    """Compare chunk by chunk; None where more than half of the snippet would lie outside of the track."""
    numbers, queries = snippet.at(shift)
    first, count = (int(segments.tracks[name].to_numpy()[track]) for name in ("first", "count"))
    inside = (numbers + diagonal >= 0) & (numbers + diagonal < count)
    if 2 * inside.sum() <= len(numbers):
        return None
    true = segments.prepared(segments.rows.take(first + diagonal + numbers[inside]))
    similarity = float(np.einsum("ij,ij->i", true, queries[inside]).mean())
    return Place(track=track, diagonal=diagonal, shift=shift, similarity=similarity, chunks=int(inside.sum()))


def _refined(segments: Segments, snippet: Snippet, places: list[Place], k: int) -> list[Place]:
    """Move places by less and less to where the snippet fits best; those that fall behind are left."""
    step = snippet.chunk // (2 * SHIFTS)
    wide = snippet.chunk // (4 * SHIFTS)  # so far steps are the same shifts for all places, and the fit is still poor
    count = len(places)
    while step >= FINEST:
        places = [_moved(segments, snippet, place, step) for place in places]
        if step <= wide:
            count = REFINED if count > REFINED else count // 2
            places = _distinct(places, max(count, k), snippet.chunk)
        step //= 2
    return _distinct(places, k, snippet.chunk)


def _moved(segments: Segments, snippet: Snippet, place: Place, step: int) -> Place:
    """The best of a place and those one step to both sides."""
    best = place
    for moved in (place.shift - step, place.shift + step):
        before = moved // snippet.chunk
        near = _laid(segments, snippet, place.track, place.diagonal - before, moved - before * snippet.chunk)
        if near is not None and near.similarity > best.similarity:
            best = near
    return best


def _distinct(places: list[Place], k: int, chunk: int) -> list[Place]:
    """The best places, no two of one track within a chunk of each other."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda place: -place.similarity):
        near = (abs(place.start(chunk) - other.start(chunk)) < 1 for other in kept if other.track == place.track)
        if not any(near):
            kept.append(place)
        if len(kept) == k:
            break
    return kept


def _random_places(segments: Segments, snippet: Snippet, shifts: list[int]) -> NDArray[np.float32]:
    """Similarities of the snippet to random places of the library, sorted."""
    numbers, queries = max((snippet.at(shift) for shift in shifts), key=lambda one: len(one[0]))
    span = int(numbers[-1]) + 1
    room = np.where(segments.tracks["alive"], segments.tracks["count"] - span + 1, 0).clip(min=0)
    if not room.sum():
        return np.zeros(0, np.float32)
    rng = np.random.default_rng(segments.seed)
    # a place among all there are, as track and diagonal
    place = rng.integers(room.sum(), size=min(RANDOM_PLACES, int(room.sum())))
    track = np.searchsorted(np.cumsum(room), place, side="right")
    diagonal = place - (np.cumsum(room) - room)[track]
    first = segments.tracks["first"].to_numpy()[track] + diagonal
    total = np.zeros(len(first), np.float32)
    for number, one in zip(numbers, queries, strict=True):
        total += segments.prepared(segments.rows.take(first + number)) @ one
    return np.sort(total / len(numbers))
