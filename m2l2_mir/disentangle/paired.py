"""Intervals and p-values of scores that are no means: Student's t with jackknife errors, sign flips.

Conventions
-----------
* The caller leaves out blocks of groups and measures again, fits included (:mod:`m2l2_mir.disentangle.evidence`); what
  comes here are values of the score. A bootstrap of held-out losses says only what other test items would have given to
  these very fits: 28 to 32 % of the intervals of a difference that is 0 by construction left out 0.
* Where no block that is left out changes the score, nothing tells how it spreads: there is no interval.

Source: J. Shao, C. F. J. Wu, "A general theory for jackknife variance estimation", Annals of Statistics 17, 1989 (a
statistic that is not smooth needs more than one item left out at a time).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from m2l2_mir.quality.intervals import jackknife

__all__ = ["Spread", "sign_flip_p", "spread_of"]

ALL_FLIPS = 16  # differences up to which all flips are made
FLIPS = 10_000
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Variance of a score over samples of groups, degrees of freedom of that, and the score's bias; nan if unknown."""

    variance: float
    freedom: int
    bias: float

    def at_most(self, freedom: int) -> Spread:
        """The same with no more degrees of freedom than these."""
        return replace(self, freedom=min(self.freedom, freedom))

    def interval(
        self,
        centre: float,
        *,
        added: float = 0.0,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        level: float = 0.95,
    ) -> tuple[float, float]:
        """Student's t interval, cut at the bounds; `added` is variance from other sources.

        >>> low, high = Spread(variance=0.01, freedom=9, bias=0.0).interval(0.5)
        >>> round(low, 2), round(high, 2)
        (0.27, 0.73)
        """
        variance = self.variance + added
        if not (math.isfinite(centre) and variance > _ROUNDING**2 and self.freedom > 0):
            return math.nan, math.nan
        half = float(stats.t.ppf((1 + level) / 2, self.freedom)) * math.sqrt(variance)
        least, most = bounds
        return min(max(centre - half, least), most), max(min(centre + half, most), least)


def spread_of(estimate: float, left_out: ArrayLike) -> Spread:
    """Of the values without each block; nan with fewer than two, or where one is not defined.

    >>> spread_of(2.0, [1.0, 2.0, 3.0])
    Spread(variance=1.3333333333333333, freedom=2, bias=0.0)
    """
    left = np.asarray(left_out, dtype=np.float64)
    if len(left) < 2 or not np.isfinite(left).all() or not math.isfinite(estimate):
        return Spread(variance=math.nan, freedom=0, bias=math.nan)
    plain = jackknife(estimate, left)
    return Spread(
        variance=plain["standard_error"] ** 2, freedom=len(left) - 1, bias=float(estimate - plain["unbiased"])
    )


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
