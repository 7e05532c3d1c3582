"""FAD-inf: the Fréchet audio distance that endless clips would have.

FAD is about a line over 1 / number of clips; the line through FAD of subsets of several sizes is followed to 0. The
conventions of :mod:`m2l2_mir.quality.frechet` hold. The ``unbiased`` of its
:func:`~m2l2_mir.quality.frechet.fad_interval` has the same aim, with an interval and without drawing anything. Both
are to be believed only with several times more clips than dimensions (figures: :mod:`m2l2_mir.quality.intervals`).

Sources: A. Gui, H. Gamper, S. Braun, D. Emmanouilidou, "Adapting Frechet Audio Distance for generative music
evaluation", ICASSP 2024 (arXiv 2311.01616), after M. J. Chong, D. Forsyth, "Effectively unbiased FID and Inception
Score and where to find them", CVPR 2020 (arXiv 1911.07023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.quality.embedding_sets import Embeddings, EmbeddingSet, embedding_sets
from m2l2_mir.quality.frechet import fad_of

__all__ = ["fad_inf"]

LEAST_FADTK, STEPS_FADTK = 500, 25  # embeddings in the smallest subset, number of sizes


def fad_inf(
    reference: Embeddings,
    estimated: Embeddings,
    *,
    paired: bool = False,
    fixed_reference: bool = False,
    with_replacement: bool = False,
    smallest: float = 0.5,
    steps: int = 10,
    repeats: int = 4,
    seed: int = 0,
) -> dict[str, float]:
    """Extrapolate FAD to endless clips: the intercept of a line through FAD against 1 / number of clips.

    By default subsets of equal share are drawn from both sets, without replacement. Between two sets of 500 embeddings
    of one distribution (128 dimensions, truth 0, FAD 17.1) the default gives about 0.2 and ``fixed_reference`` 8.2.
    Against 20,000 reference embeddings (FAD 8.9) ``fixed_reference`` gives -0.5.

    Parameters
    ----------
    reference, estimated : np.ndarray [clips, d] or [clips, frames, d], or list of np.ndarray [frames, d]
        Subsets are of clips, with all their frames.
    paired
        Estimated clip i is the reconstruction of reference clip i, and they are drawn together.
    fixed_reference
        Draw from the estimated set only, as Gui et al. do; right where the reference set is far larger.
    with_replacement
        To compare with figures of fadtk: single embeddings of the estimated set are drawn with replacement, once each
        of 25 sizes even from 500 to as many as there are, against all of the reference. A drawn set has fewer
        different embeddings than its size says, and the line ends far above the truth: at 2.2 where FAD is 2.3 and the
        truth 0 (2,000 embeddings against 20,000, 128 dimensions). The other options do not apply.
    smallest
        Size of the smallest subset, as a share of the clips.
    steps
        Number of sizes, evenly spaced in their inverse.
    repeats
        Subsets of each size; FAD is averaged over them.
    seed
        The same seed gives the same subsets.

    Returns
    -------
    dict
        ``fad_inf`` (negative values are estimates of about 0), ``slope`` (FAD times clips), ``r2`` of the line, ``fad``
        of all clips and ``clips``.

    Raises
    ------
    InputError
        See :func:`m2l2_mir.quality.embedding_sets.embedding_sets`; or an option is out of range, ``paired`` meets
        ``fixed_reference``, or there are too few clips for two different sizes.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> same = generator.normal(size=(2, 400, 8))
    >>> result = fad_inf(*same)
    >>> round(result["fad"], 2), round(result["fad_inf"], 2)
    (0.17, 0.02)
    """
    ours, theirs = embedding_sets(reference, estimated, paired=paired)
    if with_replacement:
        return _line(_as_fadtk(ours.vectors, theirs.vectors, seed), ours, theirs)
    if paired and fixed_reference:
        raise InputError("paired clips are drawn together, so the reference cannot be fixed; choose one of the two")
    if not 0 < smallest < 1 or steps < 2 or repeats < 1:
        raise InputError(f"smallest is {smallest} (0 to 1), steps {steps} (>= 2), repeats {repeats} (>= 1)")
    sizes = np.unique(np.rint(1 / np.linspace(1 / (smallest * theirs.clips), 1 / theirs.clips, steps)).astype(int))
    if sizes[0] < 2 or len(sizes) < 2 or smallest * ours.clips < 2:
        raise InputError(f"{theirs.clips} clips are too few to extrapolate from; use more clips, or fad_interval")
    generator = np.random.default_rng(seed)
    points = []
    for size in sizes:
        for _ in range(repeats):
            drawn = generator.choice(theirs.clips, size, replace=False)
            rows = theirs.rows(drawn)
            if fixed_reference:
                base = ours.vectors
            else:
                share = round(size / theirs.clips * ours.clips)
                taken = drawn if paired else generator.choice(ours.clips, share, replace=False)
                base = ours.vectors[ours.rows(taken)]
            points.append((1 / size, fad_of(base, theirs.vectors[rows])))
    return _line(points, ours, theirs)


def _as_fadtk(reference: NDArray[np.float64], estimated: NDArray[np.float64], seed: int) -> list[tuple[float, float]]:
    """1 / size and FAD of subsets drawn as the toolkit of Gui et al. draws them."""
    generator = np.random.default_rng(seed)
    most = len(estimated)
    least = min(LEAST_FADTK, most)
    if most - least < 1:
        raise InputError(f"{most} embeddings are too few to draw from {LEAST_FADTK} upwards; use more, or fad")
    sizes = np.linspace(least, most, min(STEPS_FADTK, most - least + 1)).astype(int)
    return [(1 / size, fad_of(reference, estimated[generator.choice(most, size)])) for size in sizes]


def _line(points: list[tuple[float, float]], ours: EmbeddingSet, theirs: EmbeddingSet) -> dict[str, float]:
    """The line through FAD against 1 / size."""
    inverse, distance = np.array(points).T
    slope, intercept = np.polyfit(inverse, distance, 1)
    scatter = np.sum((distance - distance.mean()) ** 2)
    rest = np.sum((distance - intercept - slope * inverse) ** 2)
    return {
        "fad_inf": float(intercept),
        "slope": float(slope),
        "r2": float(1 - rest / scatter) if scatter > 0 else 1.0,
        "fad": fad_of(ours.vectors, theirs.vectors),
        "clips": theirs.clips,
    }
