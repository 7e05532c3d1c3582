"""Separated attribute predictability.

    SAP = mean_f (s[j*, f] - max over j other than j* of s[j, f]),   j* = argmax_j s[j, f]

s[j, f] is how well dimension j alone predicts factor f: for classes the held-out accuracy of linear support vector
machines (one against the rest, balanced, squared hinge, C = .01), as the common implementation has it; for a continuous
factor the squared correlation; for a cyclic one R^2 of its cosine and sine.

Assumes that a factor should be told by one dimension. Known failures: .4 on a perfect code of five values, as lines
over one dimension tell only some of the values apart; 0 where a dimension is there twice; it depends on the scale of
dimensions, which are standardised here.
Source: A. Kumar et al., "Variational inference of disentangled latent concepts from unlabeled observations", ICLR 2018;
F. Locatello et al., "Challenging common assumptions in the unsupervised learning of disentangled representations", ICML
2019, appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.dimensions import halves, with_nulls
from m2l2_mir.disentangle.factors import Column, Factor
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls

__all__ = ["sap"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

_C = 0.01
_STEPS = 30
_BLOCK = 1 << 20  # numbers at once


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = CLASSIC_NULLS,
) -> dict[str, Any]:
    """SAP of a code; see the module for its formula and failures.

    Parameters
    ----------
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
    schema, groups, nulls
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`; one half of the groups trains, the other tests.

    Returns
    -------
    dict
        ``sap``, ``gaps`` [F], ``predictability`` s [D, F]; ``nulls``, ``intervals``.

    Examples
    --------
    >>> labels = np.random.default_rng(0).integers(0, 2, size=(400, 3))
    >>> sap(labels, labels, nulls=None)["sap"] > 0.4
    True
    """

    def measure(code: Floats, columns: list[Column], nuisance: Integers) -> dict[str, Any]:
        training, testing = halves(nuisance)
        spread = code[training].std(axis=0)
        standard = (code - code[training].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        scores = np.stack([_predictability(standard, column, training, testing) for column in columns], axis=1)
        ordered = np.sort(np.vstack([scores, np.zeros((1, len(columns)))]), axis=0)  # of one dimension, against none
        gaps = ordered[-1] - ordered[-2]
        return {"sap": float(gaps.mean()), "gaps": gaps, "predictability": scores}

    return with_nulls(measure, codes, factors, schema=schema, groups=groups, nulls=nulls)


def _predictability(code: Floats, column: Column, training: Integers, testing: Integers) -> Floats:
    """Of each dimension, [D]."""
    if column.factor.kind != "classes":
        target = column.target()
        centred, varied = target - target.mean(axis=0), code - code.mean(axis=0)
        power = np.square(varied).sum(axis=0)
        explained = np.square(varied.T @ centred).sum(axis=1) / np.where(power > 0, power, 1.0)
        return explained / np.square(centred).sum()
    labels = column.codes
    found = np.empty(code.shape[1])
    step = max(1, _BLOCK // (len(code) * column.classes))
    for first in range(0, len(found), step):
        part = code[:, first : first + step]
        slopes, offsets = _machines(part[training], labels[training], column.classes)
        margins = part[testing, :, None] * slopes + offsets
        found[first : first + step] = (margins.argmax(axis=2) == labels[testing, None]).mean(axis=0)
    return found


def _machines(code: Floats, labels: Integers, classes: int) -> tuple[Floats, Floats]:
    """Slopes and offsets [D, C] of machines with one input each: minimise (w^2 + b^2) / 2 + sum_i c_i hinge_i^2."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    side = np.where(np.eye(classes, dtype=bool)[labels], 1.0, -1.0)[:, None]  # [n, 1, C]
    balanced = len(labels) / (classes * counts)
    # Of two classes the one machine that is usual has both weights; the other is its mirror image.
    costs = _C * (balanced[labels][:, None, None] if classes == 2 else np.where(side > 0, balanced, 1.0))
    w, b = np.zeros((2, code.shape[1], classes))
    x = code[:, :, None]
    for _ in range(_STEPS):  # Newton on a piecewise quadratic ends where no item changes sides
        lack = 1 - side * (x * w + b)
        active = np.where(lack > 0, costs, 0.0)
        pull = active * side * lack
        gradient_w, gradient_b = w - 2 * (pull * x).sum(axis=0), b - 2 * pull.sum(axis=0)
        ww, wb, bb = 1 + 2 * (active * x**2).sum(axis=0), 2 * (active * x).sum(axis=0), 1 + 2 * active.sum(axis=0)
        determinant = ww * bb - wb**2
        step_w = (bb * gradient_w - wb * gradient_b) / determinant
        step_b = (ww * gradient_b - wb * gradient_w) / determinant
        w, b = w - step_w, b - step_b
        if max(np.abs(step_w).max(), np.abs(step_b).max()) < 1e-6:
            break
    return w, b
