"""Kernel audio distance (KAD): squared maximum mean discrepancy between two sets of embeddings.

    KAD = 100 ( mean k(x, x') + mean k(y, y') - 2 mean k(x, y) ),   k(x, y) = exp( -|x - y|^2 / (2 s^2) )

Unbiased for any number of clips and of any distribution (but for the bandwidth, where that is taken from the same set),
so it suits small sets better than FAD. It can be negative
where the sets are alike.

Conventions
-----------
- The bandwidth s is the median distance between embeddings of the reference set, so that figures of several
  reconstructions of one reference compare.
- Two embeddings of one clip are not independent and form no pair. In paired sets a clip and its reconstruction form
  none either; a perfect reconstruction then has exactly 0.
- One embedding per clip and unpaired sets give the published estimator. Its toolkit (kadtk 1.1.0) documents the same
  bandwidth but takes that of the estimated set; ``bandwidth=median_distance(estimated)`` reproduces it.
- Sets, clips and pairs: :mod:`m2l2_mir.quality.embedding_sets`.

Sources: Y. Chung, P. Eu, J. Lee, K. Choi, J. Nam, B. S. Chon, "KAD: no more FAD! An effective and efficient evaluation
metric for audio generation", 2025 (arXiv 2502.15602); A. Gretton et al., "A kernel two-sample test", JMLR 13, 2012.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from m2l2_mir.errors import InputError
from m2l2_mir.quality.embedding_sets import Embeddings, EmbeddingSet, embedding_sets
from m2l2_mir.quality.intervals import jackknife

__all__ = ["kad", "kad_interval", "median_distance"]

SCALE = 100.0
_MOST_MEASURED = 2000  # embeddings that the median distance is taken from
_BLOCK = 1 << 22  # kernel values held at once, 32 MiB


def kad(reference: Embeddings, estimated: Embeddings, *, paired: bool = False, bandwidth: float | None = None) -> float:
    """Kernel audio distance between two sets.

    Parameters
    ----------
    reference, estimated : np.ndarray [clips, d] or [clips, frames, d], or list of np.ndarray [frames, d]
        At least two clips each.
    paired
        Estimated clip i is the reconstruction of reference clip i.
    bandwidth
        s in the units of the embedding; None: :func:`median_distance` of the reference.

    Returns
    -------
    float
        Lower is better; 100 times the squared discrepancy, at most 200.

    Raises
    ------
    InputError
        See :func:`m2l2_mir.quality.embedding_sets.embedding_sets`; or there is a single clip, or no positive bandwidth.
    """
    return _Pairs(*embedding_sets(reference, estimated, paired=paired), paired, bandwidth).distance()


def kad_interval(
    reference: Embeddings,
    estimated: Embeddings,
    *,
    paired: bool = False,
    bandwidth: float | None = None,
    level: float = 0.95,
) -> dict[str, float]:
    """KAD with a confidence interval over clips: each clip, or each pair, is left out once.

    Parameters
    ----------
    reference, estimated, paired, bandwidth
        As in :func:`kad`, with at least three clips each. The bandwidth stays that of the whole reference.
    level
        Of confidence, between 0 and 1.

    Returns
    -------
    dict
        ``kad``, ``low``, ``high``, ``standard_error`` and ``clips`` (of the estimated set).

    Raises
    ------
    InputError
        As in :func:`kad`; or there are fewer than three clips.
    """
    sets = embedding_sets(reference, estimated, paired=paired)
    few = min(one.clips for one in sets)
    if few < 3:
        raise InputError(f"an interval over clips needs at least 3 clips, there are {few}; use kad")
    pairs = _Pairs(*sets, paired, bandwidth)
    estimate = pairs.distance()
    result = jackknife(estimate, *pairs.left_out(), level=level)
    kept = {key: result[key] for key in ("low", "high", "standard_error")}
    return {"kad": estimate, **kept, "clips": sets[1].clips}


def median_distance(embeddings: Embeddings) -> float:
    """Median Euclidean distance between the embeddings of a set, of 2,000 evenly spaced ones where there are more.

    >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
    2.0
    """
    return _median_distance(embedding_sets(embeddings, embeddings)[0])


class _Pairs:
    """Sums of kernel values over pairs of different clips, kept by clip so that one can be left out."""

    def __init__(self, ours: EmbeddingSet, theirs: EmbeddingSet, paired: bool, bandwidth: float | None) -> None:
        if min(ours.clips, theirs.clips) < 2:
            raise InputError("KAD compares different clips, and there is only one; give at least 2")
        bandwidth = _median_distance(ours) if bandwidth is None else bandwidth
        if not 0 < bandwidth < np.inf:
            raise InputError(
                f"bandwidth is {bandwidth}, 0 where most reference embeddings are equal; give a positive one"
            )
        self.paired = paired
        self._within = [_kernel_sums(one, one, bandwidth, True) for one in (ours, theirs)]
        self._between = _kernel_sums(ours, theirs, bandwidth, paired)

    def distance(self) -> float:
        within = [rows.sum(axis=1) for rows, _ in self._within]
        between = self._between[0].sum(axis=1)
        return float(SCALE * (within[0][0] / within[0][1] + within[1][0] / within[1][1] - 2 * between[0] / between[1]))

    def left_out(self) -> list[NDArray[np.float64]]:
        """Distance without each clip: one array for pairs, else one for each set."""
        # Sums and numbers of pairs [2, clips] that remain; a clip occurs on both sides of the pairs within a set.
        within = [rows.sum(axis=1, keepdims=True) - rows - columns for rows, columns in self._within]
        whole = [rows.sum(axis=1, keepdims=True) for rows, _ in self._within]
        rows, columns = self._between
        between = rows.sum(axis=1, keepdims=True)
        if self.paired:
            return [_combine(within[0], within[1], between - rows - columns)]
        return [
            _combine(within[0], whole[1], between - rows),
            _combine(whole[0], within[1], between - columns),
        ]


def _combine(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], between: NDArray[np.float64]
) -> NDArray[np.float64]:
    return SCALE * (ours[0] / ours[1] + theirs[0] / theirs[1] - 2 * between[0] / between[1])


def _kernel_sums(
    ours: EmbeddingSet, theirs: EmbeddingSet, bandwidth: float, other_clips_only: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of kernel values and number of pairs, by clip of the first set [2, clips] and of the second [2, clips]."""
    centre = ours.vectors.mean(axis=0)  # differences of squares lose fewer digits near the origin
    left, right = ours.vectors - centre, theirs.vectors - centre
    squares = np.sum(right**2, axis=1)
    by_row, by_column = np.zeros((2, len(left))), np.zeros((2, len(right)))
    step = max(1, _BLOCK // len(right))
    for start in range(0, len(left), step):
        rows = slice(start, start + step)
        distance = np.sum(left[rows] ** 2, axis=1)[:, None] + squares - 2 * left[rows] @ right.T
        kernel = np.exp(np.maximum(distance, 0) / (-2 * bandwidth**2))
        counted = np.ones_like(kernel)
        if other_clips_only:
            counted[ours.clip[rows, None] == theirs.clip] = 0
            kernel *= counted
        by_row[:, rows] = kernel.sum(axis=1), counted.sum(axis=1)
        by_column += kernel.sum(axis=0), counted.sum(axis=0)
    return (
        np.stack([np.bincount(ours.clip, weights) for weights in by_row]),
        np.stack([np.bincount(theirs.clip, weights) for weights in by_column]),
    )


def _median_distance(embeddings: EmbeddingSet) -> float:
    count = len(embeddings.vectors)
    chosen = np.linspace(0, count - 1, min(count, _MOST_MEASURED)).astype(int)
    return float(np.median(pdist(embeddings.vectors[chosen])))
