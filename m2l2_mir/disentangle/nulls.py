"""What chance gives: random rotations of a code, and permutations of the labels.

Conventions
-----------
* Rotation null: all K*d dimensions are turned by a random rotation, then cut into slots of the same width. The rotated
  code holds the same linear information, in no meaningful basis; a score that it reaches as well says something about
  width, not about disentanglement. A dead dimension is turned too, since scores of single dimensions rise with their
  number. Draw i is one and the same basis for all codes of one width, so that what is measured on several sets of
  clips, or in two ways, and joined, is of one code.
* What is turned is the code that is scored. Scores of slots do not see the scale of a slot, nor its basis, and are of
  evened slots (:mod:`m2l2_mir.disentangle.bases`): so are their rotations, and what all slots tell stays. Where each
  dimension is standardised first, the null moves when slots are turned inside themselves; of `m2l2-small` (625 clips
  of one chunk) D of the null is .201 so and .204 of evened slots for global factors, .274 and .282 for local ones.
  Scores of single dimensions do not see the scale of a dimension: of these, standardised ones are turned.
* The code is not whitened first: that would lift noise to the level of what is told, and change the code, not its basis
  alone. Dimensions: a noisy mixture of five factors in 64 of them, which is a random basis already, has a DCI-D of .87
  (l1), rotated likewise, but .17 where it is whitened first. Slots: those of a trained encoder, 625 clips, held .38 of
  the factors' information and those rotated after whitening .002, so that D of the null was 0 or 1 by chance.
  Counterfactual scores whiten each slot as a part of their measure, and so they do with those of the rotated code
  (:mod:`m2l2_mir.disentangle.counterfactual`).
* Permutation floor: labels are exchanged inside nuisance groups, so that what a group's nuisance tells of its labels
  stays. A factor that is the same throughout a group, or nearly, cannot change inside it: where less than
  :data:`INSIDE` of the labels that a free exchange would change do so inside groups, groups exchange their labels as a
  whole, in random order (a larger group takes those of a smaller one several times). Where each item is a group of its
  own, that is any exchange. :func:`moved_share` says how many labels moved; with few groups it is few.
* A score s against the mean m of a null is normalised to (s - m) / (1 - m): 0 is chance, 1 is perfect. Where the null
  leaves less than :data:`LEAST_ROOM` the quotient is of rounding and luck: nothing can be distinguished, and it is nan.
* p = (1 + draws that reach the score) / (1 + draws), one-sided [1]_: 200 draws give .005 at least, 50 give .02.

References
----------
.. [1] B. Phipson and G. K. Smyth, "Permutation p-values should never be zero", Statistical Applications in Genetics and
   Molecular Biology 9(1), 2010.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.bases import random_basis
from m2l2_mir.errors import InputError

__all__ = [
    "CLASSIC_NULLS",
    "NULLS",
    "Nulls",
    "against_null",
    "moved_share",
    "normalised",
    "permuted_rows",
    "rotations",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

INSIDE = 0.5
LEAST_ROOM = 0.1
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Nulls:
    """How many draws of each null; 0 leaves it out."""

    rotations: int = 50
    permutations: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rotations < 0 or self.permutations < 0:
            raise InputError(f"{self.rotations} rotations and {self.permutations} permutations; give 0 or more")

    def at_most(self, other: Nulls) -> Nulls:
        """The same with no more draws than another.

        >>> Nulls(rotations=50, permutations=10).at_most(Nulls(rotations=20, permutations=50))
        Nulls(rotations=20, permutations=10, seed=0)
        """
        return replace(
            self,
            rotations=min(self.rotations, other.rotations),
            permutations=min(self.permutations, other.permutations),
        )


NULLS = Nulls()
CLASSIC_NULLS = Nulls(rotations=5, permutations=20)
"""For the metrics of single dimensions, which take longer."""


def against_null(score: float | Floats, draws: Floats) -> dict[str, Any]:
    """Set a score against draws of a null.

    Parameters
    ----------
    score : float or np.ndarray [...]
    draws : np.ndarray [draws, ...]

    Returns
    -------
    dict
        ``mean``, ``low`` and ``high`` (2.5 and 97.5 %) of the draws, ``normalised`` score, one-sided ``p``, and
        ``draws``, their number. Floats for a float, arrays [...] for an array.

    Examples
    --------
    >>> found = against_null(0.8, np.array([0.1, 0.3, 0.2]))
    >>> round(found["mean"], 3), round(found["normalised"], 3), found["p"]
    (0.2, 0.75, 0.25)
    """
    mean = draws.mean(axis=0)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    reached = (draws >= np.asarray(score) - _ROUNDING).sum(axis=0)
    p = np.where(np.isnan(score), np.nan, (1 + reached) / (1 + len(draws)))
    found = {"mean": mean, "low": low, "high": high, "normalised": normalised(score, mean), "p": p}
    if np.ndim(score) == 0:
        found = {name: float(value) for name, value in found.items()}
    return {**found, "draws": len(draws)}


def normalised(score: float | Floats, null: float | Floats) -> Any:
    """(score - null) / (1 - null); nan where the null leaves no room, or the score is not defined.

    >>> float(normalised(0.75, 0.5)), float(normalised(1.0, 0.97))
    (0.5, nan)
    """
    room = 1 - np.asarray(null, dtype=np.float64)
    enough = room >= LEAST_ROOM
    return np.where(enough, (score - np.asarray(null)) / np.where(enough, room, 1.0), np.nan)


def permuted_rows(labels: NDArray[Any], groups: Integers, draws: int, rng: np.random.Generator) -> Integers:
    """Rows [draws, n] such that ``labels[rows]`` are permuted labels; inside groups, or of whole groups.

    Parameters
    ----------
    labels : np.ndarray [n]
        Classes of one factor.
    groups : np.ndarray [n]
        Nuisance group of each item, numbered from 0.
    draws
        Number of permutations.
    rng
        Draws them.

    Returns
    -------
    np.ndarray [draws, n]

    Examples
    --------
    >>> codes, groups = np.array([0, 1, 5, 6]), np.array([0, 0, 1, 1])
    >>> np.sort(codes[permuted_rows(codes, groups, 1, np.random.default_rng(0))[0]].reshape(2, 2)).tolist()
    [[0, 1], [5, 6]]
    """
    place = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(place)
    starts = np.cumsum(sizes) - sizes
    by_group = np.argsort(place, kind="stable")
    whole = _variety(labels, place) < INSIDE * _variety(labels, np.zeros_like(place))
    rank = np.arange(len(labels)) - starts[place[by_group]]  # of each item in its group
    rows = np.empty((draws, len(labels)), dtype=np.intp)
    for draw in range(draws):
        shuffled = np.lexsort((rng.random(len(labels)), place))
        giver = (rng.permutation(len(sizes)) if whole else np.arange(len(sizes)))[place[by_group]]
        rows[draw, by_group] = shuffled[starts[giver] + rank % sizes[giver]]
    return rows


def moved_share(labels: NDArray[Any], rows: Integers) -> float:
    """Share of labels that permutations change, over that of a free exchange; near 0 a floor says little.

    >>> moved_share(np.array([0, 1, 0, 1]), np.array([[0, 1, 2, 3], [1, 0, 3, 2]]))
    1.0
    """
    return float((labels[rows] != labels).mean() / _variety(labels, np.zeros(len(labels), dtype=np.intp)))


def _variety(labels: NDArray[Any], groups: Integers) -> float:
    """Expected share of labels that an exchange inside groups changes: 1 - sum of squared shares, over all items."""
    codes = np.unique(labels, return_inverse=True)[1]
    count = np.zeros((int(groups.max()) + 1, int(codes.max()) + 1))
    np.add.at(count, (groups, codes), 1)
    sizes = count.sum(axis=1)
    return float((sizes - np.square(count).sum(axis=1) / np.maximum(sizes, 1)).sum() / len(labels))


def rotations(width: int, nulls: Nulls) -> Iterator[Floats]:
    """Random rotations [width, width], one for each draw.

    >>> [turn] = rotations(3, Nulls(rotations=1))
    >>> np.allclose(turn @ turn.T, np.eye(3))
    True
    """
    rng = np.random.default_rng([nulls.seed, 1])  # of its own: other nulls draw as many numbers as there are items
    for _ in range(nulls.rotations):
        yield random_basis(width, width, rng)
