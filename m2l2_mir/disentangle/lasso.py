"""L1-penalised linear models of all factors at once.

    minimise over W [D, C] and b [C], for each factor:  mean_i loss(x_i W + b, y_i) + penalty * sum |W|

with the softmax log loss for classes, half the squared error of the standardised target otherwise. Factors stand side
by side, so that one product with X serves all of them in each step of FISTA. Penalties go down from the largest that
keeps any weight, each started from the last. The penalty of each factor is selected inside the training items: the path
is fitted on one half of their groups, and the penalty with the least loss on the other half is taken from the path that
is fitted on all of them.

Source: A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM Journal on Imaging Sciences 2,
2009; restarts: B. O'Donoghue, E. Candès, Foundations of Computational Mathematics 15, 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from m2l2_mir.disentangle.factors import Column

__all__ = ["sparse_weights"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.intp]

_PATH = (0.5, 0.2, 0.1, 0.05, 0.02)  # of the largest penalty
_STEPS = 200
_TOLERANCE = 1e-4  # of the largest change of a weight


def sparse_weights(
    code: Floats, columns: Sequence[Column], fitting: Integers, selecting: Integers, testing: Integers
) -> tuple[list[Floats], list[Floats]]:
    """Fit on some items, select the penalty among them, predict others.

    Parameters
    ----------
    code : np.ndarray [n, D]
    columns
        F factors.
    fitting, selecting, testing : np.ndarray [m]
        Items: the penalty fitted on `fitting` is selected on `selecting`, and both then train what predicts `testing`.

    Returns
    -------
    weights : list of np.ndarray [D, C]
        Of the standardised dimensions.
    predictions : list of np.ndarray [testing items, C]
        Log odds, or standardised numbers.
    """
    chosen = np.zeros(len(columns), dtype=np.intp)
    least = np.full(len(columns), np.inf)
    for step, fits in enumerate(_path(code, columns, fitting, selecting)):
        for number, (column, (_, scores)) in enumerate(zip(columns, fits, strict=True)):
            target = _target(column, fitting)[selecting]
            loss = _loss(scores, target, classes=column.factor.kind == "classes")
            if loss < least[number]:
                least[number], chosen[number] = loss, step
    kept: list[tuple[Floats, Floats]] = [(np.empty(0), np.empty(0))] * len(columns)
    training = np.concatenate([fitting, selecting])
    for step, fits in enumerate(_path(code, columns, training, testing)):
        kept = [new if at == step else old for at, old, new in zip(chosen, kept, fits, strict=True)]
        if step == chosen.max():
            break
    return [weights for weights, _ in kept], [scores for _, scores in kept]


def _path(
    code: Floats, columns: Sequence[Column], training: Integers, testing: Integers
) -> Iterator[list[tuple[Floats, Floats]]]:
    """Of each penalty the weights and the predictions of `testing`, for each factor; the first has no weights."""
    spread = code[training].std(axis=0)
    standard = ((code - code[training].mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    X = standard[training]
    targets = [_target(column, training) for column in columns]
    parts = np.split(
        np.arange(sum(target.shape[1] for target in targets)), np.cumsum([t.shape[1] for t in targets])[:-1]
    )
    softmaxed = [column.factor.kind == "classes" for column in columns]
    Y = np.hstack([target[training] for target in targets]).astype(np.float32)
    n = len(X)
    centre = Y.mean(axis=0)
    largest = np.abs(X.T @ (Y - centre)).max(axis=0) / n
    ceiling = np.concatenate([np.full(len(part), largest[part].max()) for part in parts]).astype(np.float32)
    bound = _largest_eigenvalue(X) + 1.0  # of X'X / n, and of the intercept

    def residual(scores: Singles) -> Singles:
        for part, classes in zip(parts, softmaxed, strict=True):
            block = slice(part[0], part[-1] + 1)
            if classes:
                scores[:, block] = softmax(scores[:, block], axis=1)
        scores -= Y
        return scores

    W, b = np.zeros((X.shape[1], Y.shape[1]), dtype=np.float32), np.zeros(Y.shape[1], dtype=np.float32)
    for part, classes in zip(parts, softmaxed, strict=True):
        b[part] = np.log(np.maximum(centre[part], 0.5 / n)) if classes else 0.0
    for share in (None, *_PATH):
        if share is not None:
            W, b = _fista(X, W, b, share * ceiling, bound, residual)
        scores = (standard[testing] @ W + b).astype(np.float64)
        yield [(W[:, part].astype(np.float64), scores[:, part]) for part in parts]


def _fista(
    X: Singles,
    W: Singles,
    b: Singles,
    penalty: Singles,
    bound: float,
    residual: Callable[[Singles], Singles],
) -> tuple[Singles, Singles]:
    V, c, t = W, b, 1.0
    for _ in range(_STEPS):
        errors = residual(X @ V + c)
        moved = V - (X.T @ errors) / (len(X) * bound)
        following = np.sign(moved) * np.maximum(np.abs(moved) - penalty / bound, 0)
        offset = c - errors.mean(axis=0) / bound
        change = following - W
        if float((V - following).ravel() @ change.ravel()) > 0:
            t = 1.0  # momentum points uphill
        later = (1 + np.sqrt(1 + 4 * t**2)) / 2
        V = following + np.float32((t - 1) / later) * change
        c = offset + np.float32((t - 1) / later) * (offset - b)
        W, b, t = following, offset, later
        if np.abs(change).max() < _TOLERANCE:
            break
    return W, b


def _target(column: Column, training: Integers) -> Floats:
    target = column.target()
    if column.factor.kind == "classes":
        return target
    part = target[training]
    return (target - part.mean(axis=0)) / part.std()


def _loss(scores: Floats, target: Floats, *, classes: bool) -> float:
    if classes:
        return float((logsumexp(scores, axis=1) - (scores * target).sum(axis=1)).mean())
    return float(0.5 * np.square(scores - target).sum(axis=1).mean())


def _largest_eigenvalue(X: Singles) -> float:
    return float(np.linalg.norm(X, ord=2)) ** 2 / len(X)
