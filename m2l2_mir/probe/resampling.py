"""Intervals and p-values of estimates over items that come in groups.

Conventions
-----------
* Items of one group (artist, instrument, tune family) are not independent: groups are drawn, with all their items. A
  mean is the sum over items divided by their number, in every draw, so a group weighs as many items as it has.
* From 20 groups on: the expanded percentile interval [1]_, those percentiles of the draws that make a normal interval
  as wide as Student's t over G groups does; plain percentiles are too narrow by sqrt((G - 1) / G) and the tails of t.
* With fewer: Student's t with the jackknife error over groups. Degrees of freedom are the effective number of groups
  [2]_, (sum n)^2 / sum n^2 for n items each, less one, and at least 1. A metric with bounds is taken to the logit
  scale for that, which keeps the interval inside.
* Measured on simulated right or wrong items, correlated .3 within groups of 10: 95 % intervals hold a rate of .5 in 94
  to 97 % of cases from 3 groups on. A rate of .1 or .9 they hold in 93 to 99 % below 20 groups, 90 to 93 % with 20 or
  30, 94 to 95 % with 100 and more; where few groups have most of the items, 88 to 91 % with 20 or 30. BCa intervals
  were at most 1 % better and plain percentiles up to 3 % worse.
* Where all groups have the same value, they show no spread. At a bound of the metric, as when all items are right, the
  interval is the exact one of Clopper and Pearson [4]_ for as many items as the effective number of groups, which is
  divided by the factor of the variance where fits are a sample too; elsewhere there is no interval.
* A p-value is two-sided, of the estimate being 0, and below .05 where the 95 % interval without bounds leaves 0 out.
* Groups drawn so tell what other test items would have given to these very fits. The items that fits learnt from are a
  sample too, and so are the seeds; :meth:`Resampled.refitted` adds what they would have varied by, after [3]_.
* Measured on two simulated rows, equal by construction (ridge read-out, 5 seeds x 5 folds, 4 or 24 classes, groups of
  1 to 7; seven kinds of vectors, from noise to an accuracy of .9): with the fits as given p was below .05 in 14 / 14 /
  9 % of the cases with 60 / 200 / 1,000 tracks, and in 4 / 4 / 1 % once refitted, at most 7 % for any kind; intervals
  of one row's accuracy missed in 11 / 12 / 8 and 5 / 4 / 2 %. Of rows that each seed draws anew, like untrained
  encoders, p was below .05 in 11 / 18 / 34 and 1 / 0 / 4 %. So results are cautious where tracks are many. A t test
  over folds as in [3]_ had 14 / 9 / 4 %, adding the variance between seeds alone 11 / 9 / 5 %.
  ``benchmarks/probe_statistics.py`` does the main cases with the linear read-out.

References
----------
.. [1] T. C. Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69(4), 2015.
.. [2] L. Kish, "Survey Sampling", Wiley, 1965.
.. [3] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
.. [4] C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from m2l2_mir.errors import InputError
from m2l2_mir.quality.intervals import check_level, jackknife

__all__ = ["DRAWS", "FEW_GROUPS", "Bounds", "Interval", "Resampled", "group_codes", "resample_means"]

FEW_GROUPS = 20  # with fewer, draws of groups are too coarse
DRAWS = 5000
_BLOCK = 1 << 21  # groups drawn at once, 16 MiB
_ROUNDING = 1e-12  # of sums, whose differences would be 0 otherwise

Bounds = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate, its confidence interval, and what they rest on."""

    estimate: float
    low: float  # nan where there is no interval
    high: float
    method: str  # "bootstrap", "t", "exact" or "none"
    groups: int  # with at least one scored item
    scored: int  # items with a value
    expected: int
    reason: str = ""  # why the interval is no bootstrap interval, or is missing


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """An estimate, and the same estimate from other groups."""

    estimate: float
    sizes: Floats  # items of each group
    others: Floats  # without each of the groups if they are few (empty for one), else of each draw
    scored: int
    expected: int
    inflation: float = 1.0  # factor of the variance that groups without spread cannot show

    def refitted(self, tested_per_trained: float, of_seeds: ArrayLike) -> Resampled:
        """The same as it would spread if other items had been learnt from too, and other seeds drawn.

        The variance over groups is multiplied by 1 + tested / trained items, and the variance between seeds over their
        number is added. Trained are the items that any of a seed's fits learnt from: all of them in cross-validation,
        where this doubles the variance. The source counts those of one fold; then three folds would give wider
        intervals than ten, while the true variance was simulated to be the same.

        Parameters
        ----------
        tested_per_trained
            Items tested for each item that fits learnt from.
        of_seeds : array-like [seeds]
            The estimate of each seed.

        Returns
        -------
        Resampled
        """
        check_ratio(tested_per_trained)
        if self._why_not():
            return self
        if self._flat():
            return replace(self, inflation=self.inflation * (1 + tested_per_trained))
        seeds = np.asarray(of_seeds, dtype=np.float64)
        seeds = seeds[~np.isnan(seeds)]
        of_the_draw = float(seeds.var(ddof=1)) / len(seeds) if len(seeds) > 1 else 0.0
        widening = math.sqrt(1 + tested_per_trained + of_the_draw / self._error() ** 2)
        return replace(self, others=self.estimate + widening * (self.others - self.estimate))

    def interval(self, *, bounds: Bounds | None = None, level: float = 0.95) -> Interval:
        """Confidence interval.

        Raises
        ------
        InputError
            The level is not between 0 and 1, or the estimate out of bounds.
        """
        check_level(level)
        if bounds is not None and not (math.isnan(self.estimate) or bounds[0] <= self.estimate <= bounds[1]):
            raise InputError(f"estimate {self.estimate:g} lies outside the bounds {bounds}; give those of the metric")
        groups = len(self.sizes)
        reason = self._why_not()
        if reason:
            low, high, method = math.nan, math.nan, "none"
        elif self._flat():
            low, high, method, reason = self._exact(bounds, level)
        elif groups < FEW_GROUPS:
            low, high = self._student(bounds, level)
            method, reason = "t", f"{groups} groups, fewer than {FEW_GROUPS}: t interval over groups"
        else:
            tail = stats.norm.cdf(math.sqrt(groups / (groups - 1)) * stats.t.ppf((1 - level) / 2, groups - 1))
            low, high = np.nanquantile(self.others, [tail, 1 - tail])
            if bounds is not None:
                low, high = np.clip([low, high], *bounds)
            method = "bootstrap"
            if undefined := int(np.isnan(self.others).sum()):
                reason = f"{undefined} of {len(self.others)} draws are not defined and left out"
        return Interval(
            estimate=self.estimate,
            low=float(low),
            high=float(high),
            method=method,
            groups=groups,
            scored=self.scored,
            expected=self.expected,
            reason=reason,
        )

    def p_value(self) -> float:
        """Two-sided p of the estimate being 0; nan where there is no interval."""
        groups = len(self.sizes)
        if self._why_not():
            return math.nan
        if self._flat():  # of all signs that groups could have, the two that give this estimate or its opposite
            return 2.0 ** (1 - groups) if self.estimate else 1.0
        student = float(2 * stats.t.sf(abs(self.estimate) / self._error(), self._freedom()))
        if groups < FEW_GROUPS:
            return student
        drawn = self.others[~np.isnan(self.others)]
        beyond = min((drawn <= _ROUNDING).sum(), (drawn >= -_ROUNDING).sum())
        tail = min((beyond + 1) / (len(drawn) + 1), 0.5)
        expanded = stats.norm.ppf(tail) / math.sqrt(groups / (groups - 1))
        p = float(2 * stats.t.cdf(expanded, groups - 1))
        # No draw reaching 0 says only that p is below some bound, which many comparisons could not live with.
        return p if beyond else min(p, student)

    def _why_not(self) -> str:
        if self.scored == 0:
            return "no item is scored"
        if math.isnan(self.estimate):
            return "the statistic is not defined on these items"
        if len(self.sizes) < 2:
            return "all items are of one group: no interval over groups"
        undefined = np.isnan(self.others).sum()
        if undefined and (len(self.sizes) < FEW_GROUPS or undefined > len(self.others) / 2):
            return f"the statistic is not defined without some groups ({undefined} of {len(self.others)} times)"
        return ""

    def _flat(self) -> bool:
        return bool(np.nanmax(np.abs(self.others - self.estimate)) <= _ROUNDING * max(1.0, abs(self.estimate)))

    def _error(self) -> float:
        groups = len(self.sizes)
        if groups < FEW_GROUPS:
            return jackknife(self.estimate, self.others)["standard_error"]
        return float(np.nanstd(self.others, ddof=1)) * math.sqrt(groups / (groups - 1))

    def _freedom(self) -> float:
        return max(self._effective() - 1, 1.0)

    def _effective(self) -> float:
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())

    def _exact(self, bounds: Bounds | None, level: float) -> tuple[float, float, str, str]:
        low, high = bounds or (-math.inf, math.inf)
        reach = (high - low) * (1 - ((1 - level) / 2) ** (self.inflation / self._effective()))
        method, reason = "exact", "same value in every group, at a bound: exact interval, a group counted as one item"
        if self.estimate >= high - _ROUNDING:
            return high - reach, high, method, reason
        if self.estimate <= low + _ROUNDING:
            return low, low + reach, method, reason
        return math.nan, math.nan, "none", "same value in every group: nothing to tell an interval from"

    def _student(self, bounds: Bounds | None, level: float) -> tuple[float, float]:
        half = float(stats.t.ppf((1 + level) / 2, self._freedom())) * self._error()
        if bounds is None or self.estimate in bounds:
            return self.estimate - half, self.estimate + half
        least, width = bounds[0], bounds[1] - bounds[0]
        share = (self.estimate - least) / width
        half /= width * share * (1 - share)
        low, high = special.expit(special.logit(share) + np.array([-half, half]))
        return least + width * float(low), least + width * float(high)


def resample_means(
    means: Floats, groups: ArrayLike | None, *, draws: int = DRAWS, seed: int | np.random.Generator = 0
) -> list[Resampled]:
    """Means over items of several rows, resampled by group; rows that score the same items get the same draws.

    Parameters
    ----------
    means : np.ndarray [rows, items]
        nan for not scored.
    groups : array-like [items] or None
        None: every item is one.
    draws
        Bootstrap draws.
    seed
        The same seed gives the same draws.

    Returns
    -------
    list of Resampled
        One for each row.

    Raises
    ------
    InputError
        There are not as many groups as items, or items have no group.

    Examples
    --------
    >>> [row] = resample_means(np.array([[1.0, 1.0, 0.0, np.nan]]), ["a", "a", "b", "b"])
    >>> round(row.estimate, 2), row.others
    (0.67, array([0., 1.]))
    """
    if draws < 1:
        raise InputError(f"{draws} draws; give at least 1, and 1,000 or more for an interval")
    codes = group_codes(groups, means.shape[1])
    patterns, pattern_of = np.unique(~np.isnan(means), axis=0, return_inverse=True)
    resampled: list[Resampled | None] = [None] * len(means)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(pattern_of == number)
        inside = np.unique(codes[pattern], return_inverse=True)[1]
        sizes = np.bincount(inside).astype(np.float64)
        sums: Floats = np.stack([np.bincount(inside, means[row, pattern], len(sizes)) for row in rows])
        others = _other_means(sums, sizes, draws, seed)
        for row, total, other in zip(rows, sums.sum(axis=1), others, strict=True):
            resampled[row] = Resampled(
                estimate=float(total / sizes.sum()) if len(sizes) else math.nan,
                sizes=sizes,
                others=other,
                scored=int(pattern.sum()),
                expected=len(pattern),
            )
    return [row for row in resampled if row is not None]


def check_ratio(tested_per_trained: float) -> None:
    if not 0 <= tested_per_trained < math.inf:
        raise InputError(f"{tested_per_trained} items tested for each one trained on; it must be a number from 0")


def group_codes(groups: ArrayLike | None, items: int) -> NDArray[np.intp]:
    """Number of the group of each item, [items]; in an order that is that of the names, not of the items."""
    if groups is None:
        return np.arange(items)
    names = np.asarray(groups, dtype=object)
    if names.shape != (items,):
        raise InputError(f"groups have shape {list(names.shape)}; give one group for each of {items} items")
    codes, _ = pd.factorize(names, sort=True)
    if missing := int((codes < 0).sum()):
        raise InputError(f"{missing} of {items} items have no group; give each of them one of its own")
    return codes


def _other_means(sums: Floats, sizes: Floats, draws: int, seed: int | np.random.Generator) -> Floats:
    """Means [rows, groups] without each group, or [rows, draws] of drawn groups, from sums [rows, groups]."""
    groups = len(sizes)
    if groups < 2:
        return np.empty((len(sums), 0))
    if groups < FEW_GROUPS:
        return (sums.sum(axis=1, keepdims=True) - sums) / (sizes.sum() - sizes)
    rng = np.random.default_rng(seed)
    columns = np.vstack([sums, sizes]).T
    drawn = np.empty((draws, len(sums) + 1))
    step = max(1, _BLOCK // groups)
    for start in range(0, draws, step):
        many = min(step, draws - start)
        chosen = rng.integers(groups, size=(many, groups)) + groups * np.arange(many)[:, None]
        times = np.bincount(chosen.ravel(), minlength=many * groups).reshape(many, groups)
        drawn[start : start + many] = times.astype(np.float64) @ columns
    return (drawn[:, :-1] / drawn[:, -1:]).T
