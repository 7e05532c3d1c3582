"""Embeddings of the clips of a set, as the distances between sets take them.

Conventions
-----------
- An array ``[n, d]`` holds one embedding for each of n clips. A list of arrays ``[frames, d]``, or an array
  ``[clips, frames, d]``, holds several embeddings for each clip.
- Clips are drawn and left out as wholes: neighbouring frames of one clip are not independent.
- Two sets are *paired* where estimated clip i is the reconstruction of reference clip i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError

__all__ = ["EmbeddingSet", "Embeddings", "embedding_sets"]

Embeddings = NDArray[np.floating] | Sequence[NDArray[np.floating]]


@dataclass(frozen=True, kw_only=True)
class EmbeddingSet:
    """All embeddings of a set, and the clip each belongs to.

    Parameters
    ----------
    vectors : np.ndarray [n, d]
        float64, clip after clip.
    clip : np.ndarray [n]
        Number of the clip, from 0.
    clips
        How many clips there are.
    """

    vectors: NDArray[np.float64]
    clip: NDArray[np.intp]
    clips: int

    def rows(self, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
        """Rows of the chosen clips, as often as each was chosen."""
        ends = np.searchsorted(self.clip, np.arange(self.clips + 1))
        return np.concatenate([np.arange(ends[clip], ends[clip + 1]) for clip in chosen])


def embedding_sets(
    reference: Embeddings, estimated: Embeddings, *, paired: bool = False, least: int = 2
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Check two sets and bring them into one form.

    Raises
    ------
    InputError
        Widths differ, a value is not finite, a clip has no embedding, a set has fewer than ``least`` embeddings, or the
        sets are said to be paired and have different numbers of clips.
    """
    sets = _embedding_set(reference, "reference", least), _embedding_set(estimated, "estimated", least)
    widths = [one.vectors.shape[1] for one in sets]
    if widths[0] != widths[1]:
        raise InputError(f"reference embeddings have {widths[0]} dimensions, estimated {widths[1]}; use one embedder")
    if paired and sets[0].clips != sets[1].clips:
        raise InputError(f"{sets[0].clips} reference and {sets[1].clips} estimated clips; pairs need as many of each")
    return sets


def _embedding_set(embeddings: Embeddings, name: str, least: int) -> EmbeddingSet:
    if isinstance(embeddings, np.ndarray) and embeddings.ndim == 2:
        embeddings = embeddings[:, None]
    clips = [np.asarray(clip, dtype=np.float64) for clip in embeddings]
    if not clips:
        raise InputError(f"the {name} set is empty; at least {least} embeddings are needed")
    for place, clip in enumerate(clips):
        if clip.ndim != 2 or not clip.size or clip.shape[1] != clips[0].shape[-1]:
            raise InputError(
                f"{name} clip {place} has embeddings {list(clip.shape)}; give [frames, d] with one d for all clips"
            )
    vectors = np.concatenate(clips)
    if not np.isfinite(vectors).all():
        raise InputError(f"{name} embeddings hold NaN or infinity; leave those clips out")
    if len(vectors) < least:
        raise InputError(f"the {name} set has {len(vectors)} embedding; at least {least} are needed")
    lengths = [len(clip) for clip in clips]
    return EmbeddingSet(vectors=vectors, clip=np.repeat(np.arange(len(clips)), lengths), clips=len(clips))
