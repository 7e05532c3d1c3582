"""Fréchet audio distance (FAD) between two sets of embeddings.

    FAD = |m1 - m2|^2 + tr( C1 + C2 - 2 (C1 C2)^(1/2) )

Conventions
-----------
- m and C are mean and covariance (divided by n - 1) of all embeddings of a set; a frame is a sample, as in the sources.
- The figure belongs to its embedder: name both, as in ``fad_logmel``. Figures of different embedders, numbers of clips
  or toolkits do not compare.
- FAD is biased upwards by about a constant over the number of clips. :func:`fad_interval` corrects it by the jackknife,
  :func:`m2l2_mir.quality.extrapolation.fad_inf` by extrapolation; both need several times more independent clips than
  dimensions, however many embeddings a clip has (figures: :mod:`m2l2_mir.quality.intervals`).
- Sets, clips and pairs: :mod:`m2l2_mir.quality.embedding_sets`.

Source: K. Kilgour, M. Zuluaga, D. Roblek, M. Sharifi, "Fréchet Audio Distance: a reference-free metric for evaluating
music enhancement algorithms", Interspeech 2019 (arXiv 1812.08466).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.quality.embedding_sets import Embeddings, EmbeddingSet, embedding_sets
from m2l2_mir.quality.intervals import jackknife

__all__ = ["fad", "fad_difference", "fad_interval", "fad_of", "frechet_distance"]

_PARTS = 100  # left out one after the other; more clips are left out in groups
_ROUNDING = 1e-6  # negative eigenvalue, relative to the largest, that rounding may explain
_STILL = 1e-20  # variance below which there is nothing but rounding, as of the embeddings of silence


def frechet_distance(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> float:
    """Squared Fréchet (2-Wasserstein) distance between two Gaussians.

    The trace of the root is the sum of the singular values of C1^(1/2) C2^(1/2), both roots from eigenvalues. This is
    real, exact to rounding, and needs no offset on the diagonal where a covariance is singular.

    Parameters
    ----------
    mean1, mean2 : array-like [d]
        Means.
    cov1, cov2 : array-like [d, d]
        Covariances, symmetric and positive semidefinite.

    Returns
    -------
    float
        At least 0, in squared units of the embedding.

    Raises
    ------
    InputError
        Shapes do not fit, a value is not finite, or a matrix is not a covariance.

    Examples
    --------
    >>> frechet_distance([0.0], [[4.0]], [3.0], [[1.0]])
    10.0
    """
    means = [np.asarray(mean, dtype=np.float64) for mean in (mean1, mean2)]
    covs = [np.asarray(cov, dtype=np.float64) for cov in (cov1, cov2)]
    width = means[0].size
    if any(mean.shape != (width,) for mean in means) or any(cov.shape != (width, width) for cov in covs):
        shapes = [list(part.shape) for part in (*means, *covs)]
        raise InputError(f"means and covariances have shapes {shapes}; they must be [d], [d], [d, d], [d, d]")
    roots = [_root(cov) for cov in covs]
    cross = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum()
    spread = float(np.trace(covs[0]) + np.trace(covs[1]) - 2 * cross)
    return max(float(np.sum((means[0] - means[1]) ** 2)) + spread, 0.0)


def fad(reference: Embeddings, estimated: Embeddings) -> float:
    """Fréchet distance between the Gaussians fitted to two sets.

    Parameters
    ----------
    reference, estimated : np.ndarray [clips, d] or [clips, frames, d], or list of np.ndarray [frames, d]
        At least two embeddings each.

    Returns
    -------
    float
        At least 0; lower is better.

    Raises
    ------
    InputError
        See :func:`m2l2_mir.quality.embedding_sets.embedding_sets`.
    """
    return fad_of(*(one.vectors for one in embedding_sets(reference, estimated)))


def fad_interval(
    reference: Embeddings, estimated: Embeddings, *, paired: bool = False, level: float = 0.95, seed: int = 0
) -> dict[str, float]:
    """FAD with a confidence interval over clips, and FAD less its bias.

    Each clip (in pairs: a clip and its reconstruction) is left out once; above 100 clips, each of 100 groups. The
    interval around ``fad`` is for the expected FAD of as many clips, the one around ``unbiased`` for endless ones.

    Parameters
    ----------
    reference, estimated : np.ndarray [clips, d] or [clips, frames, d], or list of np.ndarray [frames, d]
        At least three clips each.
    paired
        Estimated clip i is the reconstruction of reference clip i.
    level
        Of confidence, between 0 and 1.
    seed
        Forms the groups.

    Returns
    -------
    dict
        ``fad``, ``clips`` (of the estimated set) and the entries of :func:`m2l2_mir.quality.intervals.jackknife`. Only
        ``low`` is held at 0 or above: an unbiased estimate of a distance of 0 is negative half of the time.

    Raises
    ------
    InputError
        See :func:`m2l2_mir.quality.embedding_sets.embedding_sets`; or there are fewer than three clips.
    """
    sets = embedding_sets(reference, estimated, paired=paired)
    few = min(one.clips for one in sets)
    if few < 3:
        raise InputError(f"an interval over clips needs at least 3 clips, there are {few}; use fad")
    generator = np.random.default_rng(seed)
    parts = [_parts(one, generator) for one in sets]
    if paired:
        parts[1] = parts[0]
    # Means far from the origin would lose digits that their difference needs.
    centre = sets[0].vectors.mean(axis=0)
    ours, theirs = (_Sums(one.vectors - centre, part[one.clip]) for one, part in zip(sets, parts, strict=True))
    estimate = frechet_distance(*ours.moments(), *theirs.moments())
    count = [int(part.max()) + 1 for part in parts]
    if paired:
        left_out = [[frechet_distance(*ours.moments(part), *theirs.moments(part)) for part in range(count[0])]]
    else:
        left_out = [
            [frechet_distance(*ours.moments(part), *theirs.moments()) for part in range(count[0])],
            [frechet_distance(*ours.moments(), *theirs.moments(part)) for part in range(count[1])],
        ]
    result = jackknife(estimate, *map(np.array, left_out), level=level)
    return {"fad": estimate, **result, "low": max(result["low"], 0.0), "clips": sets[1].clips}


def fad_difference(
    reference: Embeddings, first: Embeddings, second: Embeddings, *, level: float = 0.95, seed: int = 0
) -> dict[str, float]:
    """How much further from a reference one set of reconstructions is than another, with an interval over clips.

    Each clip is left out once of all three sets, so what the reconstructions have in common does not widen the
    interval, as it does the two of :func:`fad_interval`.

    Parameters
    ----------
    reference, first, second : np.ndarray [clips, d] or [clips, frames, d], or list of np.ndarray [frames, d]
        At least three clips; clip i of the others is a reconstruction of reference clip i.
    level
        Of confidence, between 0 and 1.
    seed
        Forms the groups where there are more than 100 clips.

    Returns
    -------
    dict
        ``difference``, FAD of the first less FAD of the second, ``low``, ``high``, ``standard_error`` and ``clips``.

    Raises
    ------
    InputError
        See :func:`m2l2_mir.quality.embedding_sets.embedding_sets`; or there are fewer than three clips.
    """
    base, ours = embedding_sets(reference, first, paired=True)
    _, theirs = embedding_sets(reference, second, paired=True)
    if base.clips < 3:
        raise InputError(f"an interval over clips needs at least 3 clips, there are {base.clips}; use fad")
    part = _parts(base, np.random.default_rng(seed))
    centre = base.vectors.mean(axis=0)
    sums = [_Sums(one.vectors - centre, part[one.clip]) for one in (base, ours, theirs)]

    def difference(without: int | None = None) -> float:
        kept, *others = (one.moments(without) for one in sums)
        return frechet_distance(*kept, *others[0]) - frechet_distance(*kept, *others[1])

    estimate = difference()
    found = jackknife(estimate, np.array([difference(number) for number in range(int(part.max()) + 1)]), level=level)
    return {
        "difference": estimate,
        **{name: found[name] for name in ("low", "high", "standard_error")},
        "clips": base.clips,
    }


class _Sums:
    """First and second moments of a set, whole or without a part, from one pass over each part."""

    def __init__(self, vectors: NDArray[np.float64], part: NDArray[np.intp]) -> None:
        self._centre = vectors.mean(axis=0)  # sums taken around it lose no digits of the covariance
        centred = vectors - self._centre
        self._parts = [_sums_of(centred[part == number]) for number in range(int(part.max()) + 1)]
        self._all = _sums_of(centred)

    def moments(self, without: int | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        count, total, products = self._all
        if without is not None:
            less = self._parts[without]
            count, total, products = count - less[0], total - less[1], products - less[2]
        mean = total / count
        return mean + self._centre, (products - count * np.outer(mean, mean)) / (count - 1)


def _sums_of(vectors: NDArray[np.float64]) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    return len(vectors), vectors.sum(axis=0), vectors.T @ vectors


def fad_of(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> float:
    """FAD of checked embeddings [n, d]."""
    moments = [(x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))) for x in (reference, estimated)]
    return frechet_distance(*moments[0], *moments[1])


def _parts(clips: EmbeddingSet, generator: np.random.Generator) -> NDArray[np.intp]:
    """Part that each clip is left out with."""
    return generator.permutation(np.arange(clips.clips) % _PARTS)


def _root(cov: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(cov).all():
        raise InputError("a covariance holds NaN or infinity")
    values, axes = np.linalg.eigh(cov)
    rounding = _ROUNDING * values[-1] + _STILL
    if not np.allclose(cov, cov.T, atol=rounding) or values[0] < -rounding:
        raise InputError(f"a covariance is not symmetric or has an eigenvalue of {values[0]:.3g}; check its source")
    return (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
