"""FactorVAE score.

Batches of items that share one value of one factor are drawn. In each, the dimension whose variance, over that among
all items, is the least votes for the factor. The score is the accuracy of the majority vote of each dimension, on other
batches than those that voted.

Assumes that every value of a factor has enough items to fill a batch. Dimensions that do not vary are left out. Known
failures: 1 for a code whose dimensions hold a factor each and others that hold noise with no regard to what noise
costs; blind to a dimension that holds two factors, if another one holds one of them better; a linear mixture in many
dimensions scores high, as the least variance finds chance alignments.
Source: H. Kim, A. Mnih, "Disentangling by factorising", ICML 2018, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.dimensions import with_nulls
from m2l2_mir.disentangle.factors import Column, Factor
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls
from m2l2_mir.errors import InputError

__all__ = ["factor_vae"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


def factor_vae(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = CLASSIC_NULLS,
    votes: int = 800,
    batch: int = 64,
    seed: int = 0,
) -> dict[str, Any]:
    """FactorVAE score of a code; see the module for its definition and failures.

    Parameters
    ----------
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
        Continuous and cyclic ones count as the classes that they are cut into.
    schema, groups, nulls
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`.
    votes
        Batches that vote, and as many that test.
    batch
        Items of a batch, drawn with replacement.
    seed
        Of the batches.

    Returns
    -------
    dict
        ``factor_vae``, accuracy, of which 1 / F is chance; ``votes`` [D, F], how often each dimension voted for each
        factor; ``nulls``, ``intervals``.

    Raises
    ------
    InputError
        There are no votes, or a batch has fewer than 2 items.

    Examples
    --------
    >>> labels = np.random.default_rng(0).integers(0, 4, size=(500, 3))
    >>> factor_vae(labels, labels, nulls=None)["factor_vae"]
    1.0
    """
    if votes < 1 or batch < 2:
        raise InputError(f"{votes} votes of batches of {batch} items; give at least 1 vote and 2 items")

    def measure(code: Floats, columns: list[Column], _: Integers) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        spread = code.std(axis=0)
        varying = spread > 1e-9 * max(float(spread.max()), np.finfo(np.float64).tiny)
        scaled = code[:, varying] / spread[varying]
        rows = [[np.flatnonzero(column.codes == c) for c in np.unique(column.codes)] for column in columns]
        training, testing = (_ballot(scaled, rows, votes, batch, rng) for _ in range(2))
        winners = training.argmax(axis=1)
        right = testing[np.arange(len(testing)), winners].sum()
        counts = np.zeros((code.shape[1], len(columns)))
        counts[varying] = training
        return {"factor_vae": float(right / votes), "votes": counts}

    return with_nulls(measure, codes, factors, schema=schema, groups=groups, nulls=nulls)


def _ballot(code: Floats, rows: list[list[Integers]], votes: int, batch: int, rng: np.random.Generator) -> Floats:
    """How often each dimension has the least variance in a batch of each factor, [D, F]."""
    counts = np.zeros((code.shape[1], len(rows)))
    for factor in rng.integers(len(rows), size=votes):
        values = rows[factor]
        drawn = rng.choice(values[rng.integers(len(values))], size=batch)
        counts[code[drawn].var(axis=0).argmin(), factor] += 1
    return counts
