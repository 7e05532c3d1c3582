"""Multinomial logistic regression along a path of penalties.

    minimise over W [d, C] and b [C]:   - mean_i log softmax(x_i W + b)[y_i]  +  (penalty / 2) |W|^2

The mean over items makes a penalty mean the same for any number of items. L-BFGS runs in the eigenbasis of the second
moment of X, with eigenvalues e, in coordinates scaled by 1 / sqrt(e / C + penalty). In these the Hessian at W = 0 is
near the identity where classes are even, but for the mean over classes, which is free. A path from strong to weak
penalties, each started from the last one, then takes about 3 to 20 gradients a penalty.

Source: preconditioning, J. Nocedal and S. J. Wright, "Numerical Optimization", 2006, chapters 5 and 7; a fixed bound in
place of the Hessian, D. Böhning, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical
Mathematics 44, 1992.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize
from scipy.special import logsumexp

from m2l2_mir.probe.selection import ReadoutWarning

__all__ = ["eigenbasis", "log_loss", "solve", "start"]

Floats = NDArray[np.float64]

_NULL = 1e-10  # eigenvalues below this part of the largest are rounding errors
_STEPS = 2000  # of L-BFGS; ordinary fits take a few hundred at most


def eigenbasis(X: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues and eigenvectors of the second moment X'X / n.

    Parameters
    ----------
    X : np.ndarray [n, d]

    Returns
    -------
    values : np.ndarray [r]
    vectors : np.ndarray [d, r]
        Orthonormal columns that span at least the rows of X; r is at most d, and at most n where d is far larger.
    """
    n, d = X.shape
    if d <= 2 * n:
        values, vectors = linalg.eigh(X.T @ X / n, driver="evd", check_finite=False)
        return np.maximum(values, 0), vectors
    values, left = linalg.eigh(X @ X.T / n, driver="evd", check_finite=False)
    kept = values > _NULL * values[-1]
    return values[kept], X.T @ left[:, kept] / np.sqrt(n * values[kept])


def start(targets: NDArray[Any], columns: int) -> Floats:
    """Weights where penalties are strong: zero but for the intercepts, the last row, which give the class shares."""
    weights = np.zeros((columns, targets.shape[1]))
    logs = np.log(targets.mean(axis=0, dtype=np.float64))
    weights[-1] = logs - logs.mean()
    return weights


def solve(
    X: NDArray[Any], targets: NDArray[Any], penalty: float, values: Floats, weights: Floats, *, tolerance: float
) -> Floats:
    """Weights of one penalty.

    Parameters
    ----------
    X : np.ndarray [n, r + 1]
        Items in the eigenbasis, and a column of ones for the intercept, which is not penalised. Products are taken in
        its precision.
    targets : np.ndarray [n, C]
        One-hot, each class present, in the precision of X.
    penalty
        Positive.
    values : np.ndarray [r]
        Eigenvalues; those of all items serve for a part of them too.
    weights : np.ndarray [r + 1, C]
        To start from.
    tolerance
        Largest element of the gradient in scaled coordinates. In float32 the search also ends where the loss falls by
        less than a part in 1e8, about its rounding.

    Returns
    -------
    np.ndarray [r + 1, C]
        Rows sum to zero over the classes.

    Warns
    -----
    ReadoutWarning
        The search was ended by its number of steps.
    """
    n, classes = targets.shape
    penalties = np.append(np.full(len(values), penalty), 0.0)[:, None]
    scale = 1 / np.sqrt(np.append(values, 1.0)[:, None] / classes + penalties)

    def loss(flat: Floats) -> tuple[float, Floats]:
        scaled = scale * flat.reshape(weights.shape)
        logits = X @ scaled.astype(X.dtype)  # [n, C], becomes the residual in place
        logits -= logits.max(axis=1, keepdims=True)
        value = -float(np.vdot(logits, targets))
        np.exp(logits, out=logits)
        totals = logits.sum(axis=1, keepdims=True)
        value += float(np.log(totals).sum(dtype=np.float64))
        logits /= totals
        logits -= targets
        shrunk = penalties * scaled
        gradient = scale * ((X.T @ logits).astype(np.float64) / n + shrunk)
        return value / n + 0.5 * float(np.vdot(shrunk, scaled)), gradient.ravel()

    result = optimize.minimize(
        loss,
        (weights / scale).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={
            "gtol": tolerance,
            "ftol": 1e-8 if X.dtype == np.float32 else 1e-15,
            "maxiter": _STEPS,
            "maxfun": 2 * _STEPS,
        },
    )
    if result.status == 1:  # 2 is a line search at the limit of rounding, next to the minimum
        warnings.warn(
            "the solver ended before it converged; results may be off, and stronger penalties would converge",
            ReadoutWarning,
            stacklevel=4,
        )
    return scale * result.x.reshape(weights.shape)


def log_loss(logits: Floats, codes: NDArray[np.int64]) -> float:
    """Sum over items of the negative log probability of their class.

    >>> round(log_loss(np.zeros((3, 2)), np.array([0, 1, 1])) / 3, 4)
    0.6931
    """
    return float(np.sum(logsumexp(logits, axis=1) - logits[np.arange(len(codes)), codes]))
