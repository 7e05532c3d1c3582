"""Intervals and p-values of differences whose statistic is no mean: BCa bootstrap, sign flips.

Conventions
-----------
* The caller draws and leaves out (:mod:`m2l2_mir.disentangle.evidence`); what comes here are values of the statistic.
* Entropies of few items are biased upwards, the more so in a bootstrap. Where nearly all draws lie on one side of the
  estimate BCa [1]_ can correct no further and would give a sliver that need not hold the estimate: Student's t with the
  jackknife error stands there instead.

References
----------
.. [1] B. Efron, "Better bootstrap confidence intervals", JASA 82, 1987.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from m2l2_mir.quality.intervals import jackknife

__all__ = ["bca_interval", "sign_flip_p"]

ALL_FLIPS = 16  # differences up to which all flips are made
FLIPS = 10_000
ONE_SIDED = 0.025  # least share of draws on either side of the estimate for BCa


def bca_interval(estimate: float, draws: ArrayLike, left_out: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Bias-corrected and accelerated interval from bootstrap draws and jackknife values; nan if they are undefined.

    With fewer than :data:`ONE_SIDED` of the draws on one side: the jackknife interval (see the module's conventions).

    >>> rng = np.random.default_rng(0)
    >>> low, high = bca_interval(0.0, rng.standard_normal(4000), np.linspace(-1, 1, 50))
    >>> round(low), round(high)
    (-2, 2)
    """
    drawn, left = (np.asarray(values, dtype=np.float64) for values in (draws, left_out))
    drawn, left = drawn[np.isfinite(drawn)], left[np.isfinite(left)]
    if len(drawn) < 2 or len(left) < 2 or not math.isfinite(estimate):
        return math.nan, math.nan
    share = ((drawn < estimate).sum() + (drawn == estimate).sum() / 2) / len(drawn)
    if np.ptp(drawn) == 0:
        return estimate, estimate
    if not ONE_SIDED <= share <= 1 - ONE_SIDED:
        plain = jackknife(estimate, left, level=level)
        return plain["low"], plain["high"]
    bias = stats.norm.ppf(share)
    deviation = left.mean() - left
    power = float(np.square(deviation).sum())
    acceleration = float((deviation**3).sum()) / (6 * power**1.5) if power > 0 else 0.0
    shifted = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(drawn, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


def sign_flip_p(values: ArrayLike, *, seed: int = 0) -> float:
    """Two-sided p of the mean of paired differences being 0, under flips of their signs; nan for fewer than two.

    >>> sign_flip_p([0.1, 0.2, 0.1, 0.3, 0.1, 0.2, 0.4, 0.1])
    0.0078125
    """
    given = np.asarray(values, dtype=np.float64)
    given = given[np.isfinite(given)]
    if len(given) < 2:
        return math.nan
    exact = len(given) <= ALL_FLIPS
    if exact:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(given))))
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(FLIPS, len(given)))
    reached = (np.abs(signs @ given) >= abs(given.sum()) * (1 - 1e-12)).sum()
    return float(reached / len(signs) if exact else (reached + 1) / (len(signs) + 1))
