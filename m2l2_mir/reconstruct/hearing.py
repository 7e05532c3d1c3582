"""A file as a model hears it: encoded, and its loudness measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.audio import read_info, stream
from m2l2_mir.audiofile import printable
from m2l2_mir.dataset.folder import AudioFile
from m2l2_mir.embedding.reading import Settings, Track, read_chunks
from m2l2_mir.errors import AudioError
from m2l2_mir.loudness import integrated_loudness
from m2l2_mir.model.autoencoder import Music2Latent2

__all__ = ["Heard", "hear"]

BATCH_SIZE = 16  # chunks encoded at once


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A file as a model heard it.

    Parameters
    ----------
    embeddings : Tensor [chunks, K, d]
        Of all chunks.
    samples
        At the model's rate.
    sample_rate, frames
        Of the file itself.
    loudness
        LUFS of the channels that the model hears; -inf for silence.
    seconds
        That encoding took.
    """

    path: Path
    excerpt: tuple[float, float] | None
    embeddings: Tensor
    samples: int
    sample_rate: int
    frames: int
    loudness: float
    seconds: float


def hear(
    model: Music2Latent2,
    path: Path,
    *,
    excerpt: tuple[float, float] | None = None,
    tell: Callable[[float], object] | None = None,
) -> Heard:
    """Encode a file.

    Parameters
    ----------
    model
        Any model of the family.
    path
        Audio file.
    excerpt
        Start and length in seconds; None for everything.
    tell
        Told the seconds of music encoded, step by step.

    Raises
    ------
    AudioError
        The file cannot be used; see :func:`m2l2_mir.audio.stream`.
    """
    config = model.config
    rate = read_info(path).sample_rate
    frames = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal frames
        for block in stream(path, sample_rate=rate, channels=config.channels, excerpt=excerpt):
            frames += block.shape[1]
            yield block

    loudness = integrated_loudness(counted(), rate)
    begun = perf_counter()
    track = Track(AudioFile(track_id=path.name, path=path), keep_chunks=False)
    found = []
    incoming = read_chunks(track, config, Settings(excerpt=excerpt), None)
    while chunks := list(islice(incoming, BATCH_SIZE)):
        found.append(model.encode_blocks(torch.from_numpy(np.stack([chunk.block for chunk in chunks]))))
        if tell is not None:
            tell(len(chunks) * config.chunk_seconds)
    embeddings = torch.cat(found)
    if not torch.isfinite(embeddings).all():
        raise AudioError(f"{printable(path)}: its embeddings are no finite numbers; check its level")
    return Heard(
        path=path,
        excerpt=excerpt,
        embeddings=embeddings,
        samples=sum(track.samples),
        sample_rate=rate,
        frames=frames,
        loudness=loudness,
        seconds=perf_counter() - begun,
    )
