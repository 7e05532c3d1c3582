"""How much neighbouring chunks of music have in common in their embeddings.

A chunk's embedding that tells the piece but nothing of the moment, or the moment but nothing of the piece, is worth
less than one that tells of both. The correlation of chunks shows which: of neighbours, of any two chunks of a clip, and
of chunks of different pieces, which is the level that chance gives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError

__all__ = ["chunk_agreement"]


def chunk_agreement(embeddings: NDArray[np.floating], pieces: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Correlate the embeddings of chunks inside and between clips.

    Each value of the embedding is first centred and scaled to unit spread over all chunks, so that the correlation is
    not that of what all music shares, nor that of the few values with the widest spread. Values that never change are
    left out.

    Parameters
    ----------
    embeddings : np.ndarray [clips, chunks, values]
        At least two successive chunks of each clip.
    pieces : array-like [clips]
        Piece that each clip is taken from.

    Returns
    -------
    dict of np.ndarray [clips]
        Cosine of the scaled embeddings, -1 to 1, averaged over pairs of chunks: ``adjacent``, chunks that follow each
        other; ``within``, any two of a clip; ``between``, one of the clip and one of another piece, nan where there is
        no other.

    Raises
    ------
    InputError
        Embeddings have another shape or are not finite, all chunks are equal, or there is not one piece for each clip.

    Examples
    --------
    >>> embeddings = np.array([[[1.0, 2.0], [1.0, 2.0]], [[-1.0, -2.0], [-1.0, -2.0]]])
    >>> {name: values.round(3).tolist() for name, values in chunk_agreement(embeddings, ["a", "b"]).items()}
    {'adjacent': [1.0, 1.0], 'within': [1.0, 1.0], 'between': [-1.0, -1.0]}
    """
    given = np.asarray(embeddings, dtype=np.float64)
    if given.ndim != 3 or given.shape[1] < 2 or not given.size:
        raise InputError(f"embeddings have shape {list(given.shape)}; give [clips, chunks, values], 2 chunks or more")
    if not np.isfinite(given).all():
        raise InputError("the embeddings hold NaN or infinity; leave those clips out")
    names = np.asarray(pieces, dtype=object)
    if names.shape != (len(given),):
        raise InputError(f"pieces have shape {list(names.shape)}; give one piece for each of {len(given)} clips")
    spread = given.std(axis=(0, 1))
    moving = spread > 1e-9 * np.abs(given).max(axis=(0, 1), initial=np.finfo(np.float64).tiny)
    if not moving.any():
        raise InputError("all chunks have the same embedding; there is nothing to correlate")
    scaled = (given - given.mean(axis=(0, 1)))[..., moving] / spread[moving]
    length = np.linalg.norm(scaled, axis=-1, keepdims=True)
    unit = np.divide(scaled, length, out=np.zeros_like(scaled), where=length > 0)

    clips, chunks, _ = unit.shape
    total = unit.sum(axis=1)  # of each clip: sums of cosines are products of sums
    own = np.square(unit).sum(axis=(1, 2))
    codes = np.unique(names, return_inverse=True)[1]
    of_piece = np.zeros((codes.max() + 1, unit.shape[2]))
    np.add.at(of_piece, codes, total)
    others = total.sum(axis=0) - of_piece[codes]
    count = chunks * (clips - np.bincount(codes)[codes])
    with np.errstate(invalid="ignore"):
        between = (total * others).sum(axis=1) / (chunks * np.where(count, count, np.nan))
    return {
        "adjacent": (unit[:, 1:] * unit[:, :-1]).sum(axis=2).mean(axis=1),
        "within": (np.square(total).sum(axis=1) - own) / (chunks * (chunks - 1)),
        "between": between,
    }
