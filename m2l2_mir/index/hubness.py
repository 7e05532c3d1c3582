"""Hubs and orphans: tracks that are among the neighbours of very many others, and of none.

Conventions
-----------
* ``N_k`` of a track counts the tracks that have it among their k nearest neighbours; its mean is k. In high dimensions
  its distribution is skewed to the right [1]_: a few hubs fill the lists, and orphans (anti-hubs) are never found.
* A hub has ``N_k`` of 5 k or more, an orphan of 0 (as in [2]_).
* Neighbour lists are arrays [n, m]: positions, and their similarities (cosine), best first, without the track itself.
* Re-scorings look at the m candidates of each track and put them into another order; with m = n - 1 that is the
  published method, with fewer it is what a search engine can afford: an index hands over m candidates.
* ``mutual_proximity``: the probability that a random track is farther from both than they are from each other [2]_,
  counted among all tracks up to 10,000; above, both distributions are taken to be normal and independent (the "Gauss"
  and independence approximations of [2]_), with the moments of cosine similarity to a sample of 10,000 tracks. A count
  in a sample would tie all near neighbours at 1.
* ``csls``: cross-domain similarity local scaling, 2 cos(x, y) - r(x) - r(y), where r is the mean cosine to a track's k
  nearest neighbours [3]_.

References
----------
.. [1] M. Radovanović, A. Nanopoulos, M. Ivanović, "Hubs in space: popular nearest neighbors in high-dimensional data",
   JMLR 11, 2010.
.. [2] D. Schnitzer, A. Flexer, M. Schedl, G. Widmer, "Local and global scaling reduce hubs in space", JMLR 13, 2012.
.. [3] A. Conneau, G. Lample, M. Ranzato, L. Denoyer, H. Jégou, "Word translation without parallel data", ICLR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from m2l2_mir.errors import InputError
from m2l2_mir.index.retrieval import check_vectors

__all__ = ["COUNTED", "Hubness", "Neighbours", "csls", "hubness", "k_occurrence", "mutual_proximity", "nearest"]

COUNTED = 10_000  # tracks up to which mutual proximity counts; it holds their n x n similarities, 400 MB
HUB = 5.0  # times k

_BLOCK_VALUES = 1 << 22

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Lists of neighbours.

    Parameters
    ----------
    positions : np.ndarray [n, m]
        Best first; -1 where a search found fewer.
    scores : np.ndarray [n, m]
        Similarities, or what they were re-scored to; the higher, the nearer.
    """

    positions: Integers
    scores: Floats


@dataclass(frozen=True, kw_only=True)
class Hubness:
    """What the k-occurrences of a library show.

    Parameters
    ----------
    occurrences : np.ndarray [n]
        ``N_k`` of each track.
    k
        Neighbours counted.
    skewness
        Third standardised moment of ``N_k``: about 0 without hubness, nan where all are equal.
    hubs, orphans
        Share of the tracks, 0 to 1.
    """

    occurrences: Integers
    k: int
    skewness: float
    hubs: float
    orphans: float


def nearest(
    vectors: NDArray[np.floating], count: int, *, progress: Callable[[int, int], None] | None = None
) -> Neighbours:
    """Exact neighbours of every track, in bounded memory.

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
        Of unit length for cosine similarity.
    count
        Neighbours of each; n - 1 if there are no more.
    progress
        Called with tracks done and all.

    Raises
    ------
    InputError
        Vectors are not [n, dim] or not finite, or the count is below 1.

    Examples
    --------
    >>> nearest(np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), 1).positions.ravel().tolist()
    [2, 2, 1]
    """
    vectors = check_vectors(vectors)
    if count < 1:
        raise InputError(f"{count} neighbours; give at least 1")
    total = len(vectors)
    count = max(0, min(count, total - 1))
    positions = np.empty((total, count), np.intp)
    scores = np.empty((total, count))
    step = max(1, _BLOCK_VALUES // max(total, 1))
    for start in range(0, total if count else 0, step):
        rows = np.arange(start, min(start + step, total))
        similarity = vectors[rows] @ vectors.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        chosen = np.argpartition(similarity, total - count, axis=1)[:, total - count :]
        found = np.take_along_axis(similarity, chosen, axis=1)
        order = np.lexsort((chosen, -found), axis=1)  # ties go to the earlier track
        positions[rows] = np.take_along_axis(chosen, order, axis=1)
        scores[rows] = np.take_along_axis(found, order, axis=1)
        if progress is not None:
            progress(int(rows[-1]) + 1, total)
    return Neighbours(positions=positions, scores=scores)


def k_occurrence(neighbours: Integers, count: int) -> Integers:
    """How often each of `count` tracks is in the lists [n, k]: its ``N_k``, [count]; places of -1 are empty.

    >>> k_occurrence(np.array([[1], [0], [1]]), 3).tolist()
    [1, 2, 0]
    """
    return np.bincount(neighbours[neighbours >= 0], minlength=count)


def hubness(neighbours: Neighbours, *, k: int = 10) -> Hubness:
    """Measure the hubness of neighbour lists.

    Parameters
    ----------
    neighbours
        Of all n tracks, at least k each, or n - 1.
    k
        Neighbours counted, from the front of the lists.

    Examples
    --------
    >>> star = Neighbours(positions=np.array([[1], [2], [1], [1], [1]]), scores=np.ones((5, 1)))
    >>> found = hubness(star, k=1)
    >>> found.occurrences.tolist(), found.orphans
    ([0, 4, 1, 0, 0], 0.6)
    """
    total = len(neighbours.positions)
    shown = neighbours.positions[:, :k]
    occurrences = k_occurrence(shown, total)
    listed = shown.shape[1]
    spread = total > 0 and bool(np.ptp(occurrences))
    return Hubness(
        occurrences=occurrences,
        k=listed,
        skewness=float(stats.skew(occurrences)) if spread else math.nan,
        hubs=float(np.mean(occurrences >= HUB * listed)) if total and listed else math.nan,
        orphans=float(np.mean(occurrences == 0)) if total and listed else math.nan,
    )


def csls(neighbours: Neighbours, *, k: int = 10) -> Neighbours:
    """Re-score neighbours by cross-domain similarity local scaling [3]_, here within one domain.

    Parameters
    ----------
    neighbours
        Similarities; candidates beyond the k that r is the mean of are needed for the order to change much.
    k
        Neighbours that r is the mean of.

    Examples
    --------
    >>> positions, cosines = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[0.9, 0.8], [0.9, 0.1], [0.8, 0.1]])
    >>> csls(Neighbours(positions=positions, scores=cosines), k=1).scores[0].round(2).tolist()
    [0.0, -0.1]
    """
    mean = np.ma.masked_array(neighbours.scores, neighbours.positions < 0)[:, :k].mean(axis=1).filled(0.0)
    scores = 2 * neighbours.scores - mean[:, None] - mean[neighbours.positions]
    return _sorted(neighbours.positions, scores)


def mutual_proximity(vectors: NDArray[np.floating], neighbours: Neighbours, *, seed: int = 0) -> Neighbours:
    """Re-score neighbours by mutual proximity [2]_; which variant is used when, see the conventions above.

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
        That the lists were made of.
    neighbours
        Similarities.
    seed
        Chooses the sample above :data:`COUNTED` tracks.

    Returns
    -------
    Neighbours
        Scores between 0 and 1 where counted; above 10,000 tracks the logarithm of the probability.

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
    >>> mutual_proximity(vectors, nearest(vectors, 1)).scores.ravel().tolist()
    [0.5, 0.5, 0.25, 0.0]
    """
    vectors = check_vectors(vectors)
    if len(vectors) <= COUNTED:
        scores = _counted(vectors, neighbours)
    else:
        scores = _normal(vectors, neighbours, np.random.default_rng(seed))
    return _sorted(neighbours.positions, scores)


def _counted(vectors: NDArray[np.float32], neighbours: Neighbours) -> Floats:
    """Share of tracks that are farther from both than they are from each other, [n, m]."""
    similarity = vectors @ vectors.T
    total = len(vectors)
    scores = np.empty(neighbours.positions.shape)
    for row, positions in enumerate(neighbours.positions):
        between = similarity[row, positions][:, None]
        scores[row] = np.count_nonzero((similarity[row] < between) & (similarity[positions] < between), axis=1) / total
    return scores


def _normal(vectors: NDArray[np.float32], neighbours: Neighbours, rng: np.random.Generator) -> Floats:
    """Logarithm of the product of both probabilities, from mean and spread of each track's similarities, [n, m]."""
    sample = vectors[rng.choice(len(vectors), COUNTED, replace=False)].astype(np.float64)
    mean, root = sample.mean(axis=0), np.linalg.cholesky(np.cov(sample.T) + 1e-12 * np.eye(sample.shape[1]))
    centre = vectors @ mean
    spread = np.maximum(np.linalg.norm(vectors @ root, axis=1), 1e-6)
    scores = np.empty(neighbours.positions.shape)
    step = max(1, _BLOCK_VALUES // max(neighbours.positions.shape[1], 1))
    for start in range(0, len(vectors), step):
        part = slice(start, start + step)
        between, other = neighbours.scores[part], neighbours.positions[part]
        own = stats.norm.logcdf((between - centre[part, None]) / spread[part, None])
        scores[part] = own + stats.norm.logcdf((between - centre[other]) / spread[other])
    return scores


def _sorted(positions: Integers, scores: Floats) -> Neighbours:
    """Lists in the order of their scores; of equals, the one that was nearer before comes first."""
    scores = np.where(positions < 0, -np.inf, scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    return Neighbours(
        positions=np.take_along_axis(positions, order, axis=1), scores=np.take_along_axis(scores, order, axis=1)
    )
