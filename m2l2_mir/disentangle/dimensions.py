"""What the metrics of single dimensions share: reading of their input, nulls, intervals.

Conventions
-----------
* A code is [n, D]; slots [n, K, d] are taken as n items of K*d dimensions. Nulls are those of
  :mod:`m2l2_mir.disentangle.nulls`; each draw repeats the whole measurement.
* Unless a metric has a way of its own, intervals are from a jackknife that leaves out a tenth of the groups at a time
  and measures again. A bootstrap would draw items twice, which a nearest neighbour, a tree or a histogram takes for
  information (:mod:`m2l2_mir.quality.intervals`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.bases import standardised
from m2l2_mir.disentangle.factors import Column, Factor, read_factors
from m2l2_mir.disentangle.nulls import Nulls, against_null, permuted_rows, rotations
from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import group_codes
from m2l2_mir.probe.selection import inner_folds
from m2l2_mir.quality.intervals import jackknife

__all__ = ["Measure", "block_jackknife", "halves", "with_nulls"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

Measure = Callable[[Floats, list[Column], Integers], dict[str, Any]]
"""From a code [n, D], factors and groups [n] to scores; those that are floats get nulls and intervals."""

_BLOCKS = 10


def with_nulls(
    measure: Measure,
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None,
    groups: ArrayLike | None,
    nulls: Nulls | None,
    intervals: Callable[[dict[str, Any], Integers, np.random.Generator], dict[str, tuple[float, float]]] | None = None,
) -> dict[str, Any]:
    """Measure a code, and with nulls what chance gives and an interval.

    Parameters
    ----------
    measure
        The metric.
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
    schema, groups, nulls
        As in :func:`m2l2_mir.disentangle.slots.slot_scores`.
    intervals
        From what the metric returned, groups and a generator; None: the metric is taken again of nine tenths.

    Returns
    -------
    dict
        What the metric returns, and unless `nulls` is None ``nulls``, ``{name: {"rotation": ..., "permutation": ...}}``
        as of :func:`~m2l2_mir.disentangle.nulls.against_null`, and ``intervals``, ``{name: (low, high)}``, 95 %.

    Raises
    ------
    InputError
        Shapes do not fit, or numbers are not finite.
    """
    given = np.asarray(codes, dtype=np.float64)
    if given.ndim not in (2, 3) or not given.size:
        raise InputError(f"codes have shape {list(given.shape)}; give [n, D], or slots [n, K, d]")
    code = given.reshape(len(given), -1)
    if not np.isfinite(code).all():
        broken = ~np.isfinite(code).all(axis=1)
        raise InputError(f"{broken.sum()} of {len(code)} items hold NaN or infinity; leave them out and count them")
    columns = read_factors(factors, schema, items=len(code))
    nuisance = group_codes(groups, len(code)).astype(np.intp)
    found = measure(code, columns, nuisance)
    if nulls is None:
        return found
    names = [name for name, value in found.items() if isinstance(value, float)]
    rng = np.random.default_rng(nulls.seed)
    draws: dict[str, list[dict[str, Any]]] = {"rotation": [], "permutation": []}
    standard = standardised(code)
    for turn in rotations(code.shape[1], nulls):
        draws["rotation"].append(measure(standard @ turn, columns, nuisance))
    rows = [permuted_rows(column.codes, nuisance, nulls.permutations, rng) for column in columns]
    for draw in range(nulls.permutations):
        permuted = [column.taken(of[draw]) for column, of in zip(columns, rows, strict=True)]
        draws["permutation"].append(measure(code, permuted, nuisance))
    if intervals is None:
        bounds = _refitted(measure, code, columns, nuisance, {name: found[name] for name in names}, rng)
    else:
        bounds = intervals(found, nuisance, rng)
    return {
        **found,
        "nulls": {
            name: {
                null: against_null(found[name], np.array([draw[name] for draw in drawn]))
                for null, drawn in draws.items()
                if drawn
            }
            for name in names
        },
        "intervals": bounds,
    }


def halves(groups: Integers) -> tuple[Integers, Integers]:
    """Items [n] by group in two halves, of which one trains and the other tests; always the same."""
    dealt = inner_folds(np.zeros(len(groups), dtype=np.int64), groups.astype(np.int64), 2, np.random.RandomState(0))
    if not dealt:
        raise InputError("all items are one group; give items of two groups or more")
    return dealt[0]


def block_jackknife(
    again: Callable[[Integers], dict[str, float]], groups: Integers, found: dict[str, float], rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Intervals of scores from those of the items that are left when a tenth of the groups [n] is left out."""
    number = int(groups.max()) + 1
    blocks = min(_BLOCKS, number)
    if blocks < 2:
        return dict.fromkeys(found, (float("nan"), float("nan")))
    block = (rng.permutation(number) % blocks)[groups]
    others = [again(np.flatnonzero(block != left_out)) for left_out in range(blocks)]
    intervals = {}
    for name, estimate in found.items():
        interval = jackknife(estimate, np.array([other[name] for other in others]))
        intervals[name] = (interval["low"], interval["high"])
    return intervals


def _refitted(
    measure: Measure,
    code: Floats,
    columns: list[Column],
    groups: Integers,
    found: dict[str, float],
    rng: np.random.Generator,
) -> dict[str, tuple[float, float]]:
    def again(kept: Integers) -> dict[str, float]:
        return measure(
            code[kept], [column.taken(kept) for column in columns], np.unique(groups[kept], return_inverse=True)[1]
        )

    return block_jackknife(again, groups, found, rng)
