"""Whether factors are independent of each other: a slot that tells one of two dependent factors tells of both.

    N[f, g] = I(f; g) / min(H(f), H(g))      share of the smaller entropy that the other factor tells

from counts of the classes of both; a continuous or cyclic factor is cut into its ``levels``. The estimate is biased
upwards, so that it is set against permutations of one of the two, inside nuisance groups or of whole ones
(:func:`~m2l2_mir.disentangle.nulls.permuted_rows`). The bound is the 95th percentile of the largest N of all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from m2l2_mir.disentangle.factors import Column
from m2l2_mir.disentangle.nulls import permuted_rows
from m2l2_mir.probe.resampling import group_codes

__all__ = ["Dependent", "dependent_factors"]

PERMUTATIONS = 100
_LEVEL = 0.95

Integers = NDArray[np.intp]


class Dependent(NamedTuple):
    """Two factors that share more than permutations do: N and its bound."""

    one: str
    other: str
    shared: float
    bound: float


def dependent_factors(
    columns: Sequence[Column], groups: ArrayLike | None = None, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> list[Dependent]:
    """Pairs of factors that are not independent, those that share most first.

    Parameters
    ----------
    columns
        Factors of the same n items.
    groups : array-like [n], optional
        Nuisance groups; None: each item is one.
    permutations, seed
        Of labels.

    Examples
    --------
    >>> from m2l2_mir.disentangle.factors import read_factors
    >>> labels = np.random.default_rng(0).integers(0, 3, size=(200, 2))
    >>> columns = read_factors(np.column_stack([labels, labels[:, 0] // 2]), items=200)
    >>> [(found.one, found.other) for found in dependent_factors(columns)]
    [('0', '2')]
    """
    rng = np.random.default_rng(seed)
    nuisance = group_codes(groups, len(columns[0].codes)).astype(np.intp) if columns else np.zeros(0, dtype=np.intp)
    pairs = list(combinations(range(len(columns)), 2))
    if not pairs:
        return []
    own = [_shared(columns[one].codes, columns[other].codes) for one, other in pairs]
    most = np.zeros(permutations)
    for one, others in {one: [other for first, other in pairs if first == one] for one, _ in pairs}.items():
        for draw, rows in enumerate(permuted_rows(columns[one].codes, nuisance, permutations, rng)):
            permuted = columns[one].codes[rows]
            most[draw] = max(most[draw], *(_shared(permuted, columns[other].codes) for other in others))
    bound = float(np.quantile(most, _LEVEL))
    found = [
        Dependent(columns[one].factor.name, columns[other].factor.name, shared, bound)
        for (one, other), shared in zip(pairs, own, strict=True)
        if shared > bound
    ]
    return sorted(found, key=lambda pair: -pair.shared)


def _shared(one: Integers, other: Integers) -> float:
    count = np.bincount(one * (other.max() + 1) + other, minlength=int((one.max() + 1) * (other.max() + 1)))
    table = count.reshape(int(one.max()) + 1, -1)
    entropies = stats.entropy(table.sum(axis=1)), stats.entropy(table.sum(axis=0))
    least = min(entropies)
    return float((sum(entropies) - stats.entropy(table.ravel())) / least) if least > 0 else 0.0
