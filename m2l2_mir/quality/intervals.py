"""Confidence intervals over clips.

Means over clips get a BCa bootstrap. Distances between sets get a jackknife that leaves out whole clips, since the
bootstrap fails on them: clips drawn twice make a sample narrower, and the Fréchet distance rises with that. In 100
simulated sets (60 clips, 16 dimensions) the 95 % percentile interval never held the expected distance, nor even the
distance of the set itself; that of the jackknife holds it in 97 of 100, for FAD and for KAD.

The jackknife also takes off the part of the bias that falls with the number of clips. How much that leaves of FAD in
128 dimensions, with 19 embeddings for each clip, depends on the spectrum of their covariance. Draws of 500 rendered
pieces in log-mel embeddings, where 10 directions hold 86 % of the variance, against the same after Opus at 24 kbit/s;
and a hard case, Gaussians of one variance in all directions (1 between clips, .49 within); c is the number of clips:

    c       10       33       100      128      200      256      512      1024     endless
    pieces  113, 90  70, 53   56, 48            54, 49            51, 49   50, 48   48     FAD, FAD less its bias
            20/20    19/20    18/20             20/20             16/16    11/12           the latter's interval holds
    hard                               5.6, 2.5          3.9, 2.1 3.0, 2.0 2.5, 2.0 1.9
                                       0/6               2/6      7/8      6/6

So the estimate for endless clips is to be believed from about four clips for each dimension on, unless the spectrum is
known to fall. KAD of 10, 33 and 100 of these pieces was 12, 3 and 0 % above that of endless ones on average, from
the bandwidth of so few; its interval held that of endless ones in 92, 91 and 92 % of the draws, at 8 kbit/s as at 24.

Source: B. Efron, C. Stein, "The jackknife estimate of variance", Annals of Statistics 9, 1981; for two samples
J. N. Arvesen, "Jackknifing U-statistics", Annals of Mathematical Statistics 40, 1969; BCa: B. Efron, "Better bootstrap
confidence intervals", JASA 82, 1987.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from m2l2_mir.errors import InputError

__all__ = ["check_level", "jackknife", "mean_interval"]


def mean_interval(values: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> dict[str, float]:
    """Average a metric over clips, with the BCa bootstrap interval of the mean.

    Parameters
    ----------
    values : array-like [clips]
        nan for clips that have no value; they are left out and counted.
    level
        Of confidence, between 0 and 1.
    resamples
        Bootstrap samples.
    seed
        The same seed gives the same interval.

    Returns
    -------
    dict
        ``mean``, ``low``, ``high``, ``scored`` and ``expected`` (numbers of clips). The bounds are nan with fewer than
        two scored clips, all three with none.

    Raises
    ------
    InputError
        ``values`` is not one-dimensional or the level is out of range.

    Examples
    --------
    >>> result = mean_interval([1.0, 2.0, 3.0, np.nan])
    >>> result["mean"], result["scored"], result["expected"]
    (2.0, 3, 4)
    """
    check_level(level)
    all_values = np.asarray(values, dtype=np.float64)
    if all_values.ndim != 1:
        raise InputError(f"values have shape {list(all_values.shape)}; give one value per clip")
    scored = all_values[~np.isnan(all_values)]
    mean = float(scored.mean()) if len(scored) else math.nan
    low = high = math.nan
    if len(scored) > 1 and np.ptp(scored) == 0:
        low = high = mean  # the bootstrap has no acceleration to estimate here
    elif len(scored) > 1:
        interval = stats.bootstrap(
            (scored,),
            np.mean,
            n_resamples=resamples,
            batch=100,
            confidence_level=level,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return {"mean": mean, "low": low, "high": high, "scored": len(scored), "expected": len(all_values)}


def jackknife(estimate: float, *left_out: NDArray[np.float64], level: float = 0.95) -> dict[str, float]:
    """Interval and bias of an estimate from its values with one part of the data left out.

    Parameters
    ----------
    estimate
        From all data.
    *left_out : np.ndarray [parts]
        For each independent sample (one for paired sets), the estimate without each of its parts, of at least two parts
        of about equal size.
    level
        Of confidence, between 0 and 1.

    Returns
    -------
    dict
        ``standard_error``; ``low`` and ``high`` around the estimate; ``unbiased``, the estimate less its bias, with
        ``unbiased_low`` and ``unbiased_high``. Bounds from Student's t with as many degrees of freedom as the smallest
        sample has parts, less one.

    Examples
    --------
    >>> values = np.array([1.0, 2.0, 4.0, 7.0])
    >>> result = jackknife(values.mean(), (values.sum() - values) / 3)
    >>> bool(np.isclose(result["standard_error"], values.std(ddof=1) / 2))
    True
    """
    check_level(level)
    bias = sum((len(part) - 1) * (part.mean() - estimate) for part in left_out)
    variance = sum((len(part) - 1) ** 2 / len(part) * part.var(ddof=1) for part in left_out)
    error = math.sqrt(variance)
    half = float(stats.t.ppf((1 + level) / 2, min(map(len, left_out)) - 1)) * error
    unbiased = float(estimate - bias)
    return {
        "low": estimate - half,
        "high": estimate + half,
        "standard_error": error,
        "unbiased": unbiased,
        "unbiased_low": unbiased - half,
        "unbiased_high": unbiased + half,
    }


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"confidence level is {level}; it must lie between 0 and 1")
