"""Where in the library a snippet of some seconds occurs.

Conventions
-----------
* Tracks are cut into chunks from their beginning, and a snippet begins anywhere between two cuts. So it is embedded at
  several shifts, and one of them lies close to the cuts of the track; :mod:`m2l2_mir.index.places` does the rest.
* The similarity of a place is the mean cosine of its chunks. A place is found for every snippet: whether it is more
  than what any would find is told by p, see :mod:`m2l2_mir.index.presence`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from m2l2_mir.audio import load
from m2l2_mir.embedding.reading import SILENCE_DBFS
from m2l2_mir.errors import InputError
from m2l2_mir.index import places
from m2l2_mir.index.listening import BATCH_SIZE, excerpt_of, model_of
from m2l2_mir.index.presence import STEPS, chances, distinctness_of_absent, verdict
from m2l2_mir.index.segments import Segments
from m2l2_mir.loudness import integrated_loudness

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.model.autoencoder import Features, Music2Latent2

__all__ = ["find_segment"]

LONGEST = 10.0  # seconds of a snippet: 13 chunks are not found by chance


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
        ``rank``, ``track_id``, ``start`` and ``end`` (seconds in that track's file), ``similarity``, ``p`` (share of
        random snippets of the library that find as distinct a place where they do not occur) and ``chunks`` (how many
        were compared). ``attrs["notes"]`` says whether a place stands out.

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
    coarse = [shift * snippet.chunk // places.SHIFTS for shift in range(places.SHIFTS)]
    chunks = max(len(snippet.at(shift)[0]) for shift in coarse)
    if not chunks:
        raise InputError(
            f"{path.name}: {length:.2f} s hold no whole audible chunk of {segments.seconds:.2f} s; give a longer part"
            if length < segments.seconds
            else f"{path.name} is silent there ({length:.2f} s): there is nothing to look for"
        )
    found = places.compared(segments, snippet, places.voted(segments, snippet, coarse), coarse)
    followed = places.refined(segments, snippet, found, snippet.chunk, k + STEPS)
    best = followed[:k]
    if chunks not in segments.absent:
        segments.absent[chunks] = distinctness_of_absent(segments, chunks)
    absent = segments.absent[chunks]
    origin = (stated.get("excerpt") or [0.0])[0]
    starts = np.array([origin + place.start(snippet.chunk) * segments.seconds for place in best])
    chance = chances(followed, absent)[:k]
    table = pd.DataFrame(
        {
            "rank": np.arange(1, len(best) + 1),
            "track_id": [segments.tracks["track_id"].iat[place.track] for place in best],
            "start": np.maximum(starts, 0.0),
            "end": starts + length,
            "similarity": np.array([place.similarity for place in best]),
            "p": chance,
            "chunks": [place.chunks for place in best],
        }
    )
    table.attrs["notes"] = [verdict(chance, len(absent))]
    return table
