"""The part of each summary embedding in a similarity, and how to weigh them.

Conventions
-----------
* With "l2" and "centred" preparation the similarity is the sum over the K slots of the inner products of what both
  tracks hold in that slot, divided by both lengths: each slot's contribution, exactly.
* Principal components mix slots. Both tracks are then traced back to the embedding (by the pseudo-inverse), and a
  slot's contribution is what it adds there, averaged over the two directions of the product. The parts still sum to the
  similarity, but a direction that was whitened or dropped may move weight from slot to slot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.index.preparation import Preparation

__all__ = ["contributions", "explained", "weighting"]


def contributions(
    preparation: Preparation, query: NDArray[np.float32], found: NDArray[np.float32], slots: int
) -> NDArray[np.float64]:
    """Parts [n, slots] of the similarities of prepared vectors `found` [n, rank] to `query` [rank].

    Examples
    --------
    >>> simple = Preparation(kind="l2", mean=np.zeros(4, np.float32), spread=1.0, fitted=0)
    >>> contributions(simple, np.full(4, 0.5), np.array([[0.6, 0.0, 0.0, 0.8]]), slots=2).round(2).tolist()
    [[0.3, 0.4]]
    """
    one, many = np.asarray(query, np.float64)[None], np.asarray(found, np.float64)
    if preparation.projection is None:
        products = one * many
    else:
        onward = preparation.projection.astype(np.float64)
        back = np.linalg.pinv(onward)  # [width, rank]
        products = ((one @ back.T) * (many @ onward) + (many @ back.T) * (one @ onward)) / 2
    return products.reshape(len(many), slots, -1).sum(axis=2)


def explained(preparation: Preparation) -> str:
    """What the contributions of slots are under this preparation, in a sentence."""
    if preparation.projection is None:
        return "Each slot's part of the similarity, exactly: the parts sum to it."
    how = "whitened projection" if preparation.kind == "whitened" else "projection"
    return (
        f"Each slot's part of the similarity, traced back through the {how}, which mixes slots: the parts sum to the "
        "similarity, but how it is split between slots is only one way of doing so."
    )


def weighting(weights: Sequence[float], slots: int, width: int) -> NDArray[np.float32]:
    """Linear map [width, width] of embeddings after which each slot counts by its weight.

    Raises
    ------
    InputError
        There is not one weight for each slot, one is negative or not finite, or all are 0.

    Examples
    --------
    >>> np.diag(weighting([4, 0], slots=2, width=4)).tolist()
    [2.0, 2.0, 0.0, 0.0]
    """
    given = np.asarray(weights, np.float64)
    if given.shape != (slots,):
        raise InputError(f"{slots} slots need as many weights: {list(weights)}")
    if not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise InputError(f"weights must be 0 or more, and not all 0: {list(weights)}")
    return np.diag(np.sqrt(np.repeat(given, width // slots))).astype(np.float32)
