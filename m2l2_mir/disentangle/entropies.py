"""Disentanglement and completeness of a matrix of slots (or dimensions) against factors, whatever its entries measure.

    D = sum_k rho_k (1 - H_F(S[k] / sum_f S[k, f])),     rho_k = sum_f S[k, f] / sum S
    C = sum_f rho_f (1 - H_K(S[:, f] / sum_k S[k, f])),  rho_f = sum_k S[k, f] / sum S

D asks whether a slot tells of one factor only, C whether one slot tells all of a factor. H has the base F, or K. The
weights rho_f of C are those of the reference code of the authors; with equal ones, a factor of which nothing is told
would count as much as the others.

Source: C. Eastwood, C. K. I. Williams, "A framework for the quantitative evaluation of disentangled representations",
ICLR 2018, section 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["disentanglement_completeness"]

Floats = NDArray[np.float64]


def disentanglement_completeness(matrix: Floats) -> dict[str, Floats]:
    """D and C of one matrix or of many.

    Parameters
    ----------
    matrix : np.ndarray [..., K, F]
        Not negative.

    Returns
    -------
    dict of np.ndarray
        ``D`` and ``C`` [...], 0 to 1, 0 where all entries are 0; ``slots`` [..., K] and ``factors`` [..., F], 1 -
        entropy of each row and column, 0 where it is empty. D and ``slots`` are nan with one factor, C and ``factors``
        with one slot.

    Examples
    --------
    >>> found = disentanglement_completeness(np.array([np.eye(2), np.ones((2, 2)), np.zeros((2, 2))]))
    >>> found["D"].tolist(), found["C"].tolist()
    ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    """
    D, rows = _purity(matrix)
    C, columns = _purity(np.swapaxes(matrix, -1, -2))
    return {"D": D, "C": C, "slots": rows, "factors": columns}


def _purity(matrix: Floats) -> tuple[Floats, Floats]:
    """1 - entropy of each row, and the mean of that over rows, weighted by their sums."""
    length = matrix.shape[-1]
    if length < 2:
        return np.full(matrix.shape[:-2], np.nan), np.full(matrix.shape[:-1], np.nan)
    total = matrix.sum(axis=-1)
    filled = total > 0
    shares = matrix / np.where(filled, total, 1.0)[..., None]
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    pure = np.where(filled, np.clip(1 + (shares * logs).sum(axis=-1) / np.log(length), 0.0, 1.0), 0.0)
    everything = total.sum(axis=-1)
    return (total * pure).sum(axis=-1) / np.where(everything > 0, everything, 1.0), pure
