"""Arms of training compared seed by seed, and piece by piece where there are any.

What other seeds would give is told by Student's interval over their differences; what other music would give, by an
interval over held-out pieces, the seeds being taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from _common import interval, table
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from m2l2_mir.probe.statistics import cluster_bootstrap


def student(values: ArrayLike) -> dict[str, float]:
    """Mean over seeds with its 95 % interval after Student; without bounds of a single one.

    >>> found = student([1.0, 2.0, 3.0])
    >>> [round(found[name], 2) for name in ("estimate", "low", "high")]
    [2.0, -0.48, 4.48]
    """
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return dict.fromkeys(("estimate", "low", "high"), np.nan)
    mean = float(kept.mean())
    if len(kept) == 1:
        return {"estimate": mean, "low": np.nan, "high": np.nan}
    half = float(stats.t.ppf(0.975, len(kept) - 1) * kept.std(ddof=1) / np.sqrt(len(kept)))
    return {"estimate": mean, "low": mean - half, "high": mean + half}


def compared(ours: ArrayLike, theirs: ArrayLike) -> dict[str, Any]:
    """Compare two arms seed by seed, and piece by piece where there are any.

    Parameters
    ----------
    ours, theirs : array-like [seeds] or [seeds, pieces]
        nan where there is no value.

    Returns
    -------
    dict
        ``ours`` and ``theirs`` [seeds], ``seeds`` (the difference with Student's interval), and ``pieces`` (with that
        over pieces), None where there are none.
    """
    values = [np.asarray(side, dtype=np.float64) for side in (ours, theirs)]
    difference = values[0] - values[1]
    pieces = None
    if difference.ndim == 2:
        missing = np.isnan(difference)
        values = [means(np.where(missing, np.nan, side)) for side in values]
        found = cluster_bootstrap(difference)
        pieces = {name: float(getattr(found, name)) for name in ("estimate", "low", "high")}
    return {
        "ours": values[0].tolist(),
        "theirs": values[1].tolist(),
        "seeds": student(values[0] - values[1]),
        "pieces": pieces,
    }


def beyond_floor(values: ArrayLike, floor: ArrayLike, *, better: int = 1) -> dict[str, float]:
    """By how much an arm is better than a floor, with an interval over pieces.

    Parameters
    ----------
    values : array-like [seeds, pieces]
    floor : array-like [pieces]
    better
        1 where more is better, -1 where less is.
    """
    by_piece = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        found = cluster_bootstrap(better * (by_piece.mean(axis=0) - np.asarray(floor, dtype=np.float64)))
    return {name: float(getattr(found, name)) for name in ("estimate", "low", "high")}


def at_the_floor(sides: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether neither arm is told to be better than its floor, by what :func:`beyond_floor` gives of each."""
    return all(not side["low"] > 0 for side in sides.values())


def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the pieces of each seed [seeds, pieces]; nan where there is none."""
    count = np.isfinite(values).sum(axis=1)
    return np.where(count, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def told(found: Mapping[str, Any]) -> bool:
    """Whether the arms differ beyond the interval over seeds."""
    low, high = found["seeds"]["low"], found["seeds"]["high"]
    return bool(low > 0 or high < 0)


def comparison_table(header: Sequence[str], rows: Iterable[tuple[Sequence[object], Mapping[str, Any]]]) -> str:
    """Table of arms: the mean of each over seeds with its spread, and their difference with both intervals."""
    lines = []
    for names, found in rows:
        sides = [with_spread(found[side]) for side in ("ours", "theirs")]
        pieces = "" if found["pieces"] is None else interval(found["pieces"], digits=3)
        lines.append([*names, *sides, interval(found["seeds"], digits=3), pieces])
    return table([*header, "difference, over seeds", "over held-out pieces"], lines)


def with_spread(values: Sequence[float]) -> str:
    """Mean over seeds and their standard deviation.

    >>> with_spread([1.0, 2.0, 3.0])
    '2.000 (sd 1.000)'
    """
    kept = [value for value in values if np.isfinite(value)]
    if len(kept) < 2:
        return f"{kept[0]:.3f}" if kept else ""
    return f"{np.mean(kept):.3f} (sd {np.std(kept, ddof=1):.3f})"
