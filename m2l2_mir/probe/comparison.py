"""Rows of a table of results beside each other: estimates of all rows, and paired tests of each against the model.

Conventions
-----------
* A table of scores is long, one line for each ``row`` (model or baseline), ``seed`` and ``track_id``, with the track's
  ``group`` and a column for each metric, nan where a track is not scored.
* A difference is row less model, of the same items, averaged over seeds; its interval is over groups of items, as in
  :mod:`m2l2_mir.probe.resampling`. Rows that were not scored on the very tracks and seeds of the model are refused.
* The p-values of all rows against the model, in every table that belongs to one task, are one family, adjusted after
  Holm [1]_: :func:`as_one_family`.
* A row that is not distinguishable from the model is not said to equal it: a p is no evidence for a null hypothesis.
  How large a difference may be is what the interval says.

References
----------
.. [1] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import DRAWS, Bounds, Interval
from m2l2_mir.probe.statistics import resample_seeds, seed_spread
from m2l2_mir.recipe import close_match

__all__ = ["Comparison", "as_one_family", "compare_rows", "holm", "paired_bootstrap", "score_rows"]

ALPHA = 0.05
NOT_DISTINGUISHABLE = "not distinguishable"
NOT_TESTED = "not tested"

_SHOWN = 3  # names in an error


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A paired difference with its interval and two-sided p."""

    difference: Interval
    p: float  # nan where there is no interval


def paired_bootstrap(
    row: ArrayLike,
    reference: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    tested_per_trained: float | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int | np.random.Generator = 0,
) -> Comparison:
    """Mean difference between two rows scored on the same items.

    Parameters
    ----------
    row, reference : array-like [items] or [seeds, items]
        Of one shape, nan for not scored in the same places.
    groups, tested_per_trained, level, draws, seed
        As in :func:`m2l2_mir.probe.statistics.cluster_bootstrap`; the same seed draws the same groups there.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        The two score different items, or as in ``cluster_bootstrap``.

    Examples
    --------
    >>> result = paired_bootstrap([0.0] * 30 + [1.0] * 30, [0.0, 1.0] * 30)
    >>> result.difference.estimate, result.p
    (0.0, 1.0)
    """
    ours, theirs = (np.asarray(values, dtype=np.float64) for values in (row, reference))
    if ours.shape != theirs.shape:
        raise InputError(f"values have shapes {list(ours.shape)} and {list(theirs.shape)}; give the same items to both")
    if differ := np.argwhere(np.isnan(ours) != np.isnan(theirs)).tolist():
        raise InputError(
            f"{len(differ)} values are scored in one row only, at {_some(differ)}; score the same items in both"
        )
    [resampled] = resample_seeds([ours - theirs], groups, tested_per_trained=tested_per_trained, draws=draws, seed=seed)
    return Comparison(difference=resampled.interval(level=level), p=resampled.p_value())


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values of a family of tests so that the chance of any false rejection is bounded.

    Parameters
    ----------
    p_values : array-like [tests]
        nan for tests that could not be made; these do not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, 0.005]).round(3)
    array([0.03, 0.06, 0.06, 0.02])
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # nan sorts last
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted


def score_rows(
    table: pd.DataFrame,
    metric: str,
    *,
    tested_per_trained: float | None = None,
    bounds: Bounds | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Mean of a metric for each row, with its interval over groups and its spread between seeds.

    Parameters
    ----------
    table
        Of scores.
    metric
        A column of it.
    tested_per_trained, bounds, level, draws, seed
        As in :func:`m2l2_mir.probe.statistics.cluster_bootstrap`.

    Returns
    -------
    pandas.DataFrame
        One line for each ``row``, in the order of the table, with the fields of
        :class:`~m2l2_mir.probe.resampling.Interval`, ``seed_std`` and ``seeds``. Expected are all tracks of the table.

    Raises
    ------
    InputError
        Columns are missing, a track occurs twice for a row and seed, or has several groups or none.
    """
    values, groups = _arrays(table, metric)
    rows = resample_seeds(list(values.values()), groups, tested_per_trained=tested_per_trained, draws=draws, seed=seed)
    lines: list[dict[str, Any]] = []
    for row, resampled in zip(values, rows, strict=True):
        spread, seeds = seed_spread(values[row])
        interval = resampled.interval(bounds=bounds, level=level)
        lines.append({"row": row, **asdict(interval), "seed_std": spread, "seeds": seeds})
    return pd.DataFrame(lines)


def compare_rows(
    table: pd.DataFrame,
    model: str,
    metric: str,
    *,
    tested_per_trained: float | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Compare every other row with the model on one metric.

    Parameters
    ----------
    table
        Of scores.
    model
        The ``row`` that all others are compared with.
    metric
        A column of the table.
    tested_per_trained, level, draws, seed
        As in :func:`m2l2_mir.probe.statistics.cluster_bootstrap`.

    Returns
    -------
    pandas.DataFrame
        One line for each other ``row``: ``difference`` (row less model), ``low``, ``high``, ``p``, ``p_holm`` and
        ``mark`` of :func:`as_one_family`, ``method``, ``groups``, ``scored``, ``expected``, ``reason``.

    Raises
    ------
    InputError
        As in :func:`score_rows`; or there is no such model, or a row lacks tracks or seeds of the model.

    Examples
    --------
    >>> scores = {"mfcc": [0, 0, 1, 0] * 10, "m2l2": [1, 0, 1, 1] * 10}
    >>> tracks = {"track_id": range(40), "group": range(40), "seed": 0}
    >>> table = pd.concat([pd.DataFrame({"row": row, "accuracy": x, **tracks}) for row, x in scores.items()])
    >>> compare_rows(table, "m2l2", "accuracy")[["row", "difference", "mark", "scored"]]
        row  difference mark  scored
    0  mfcc        -0.5           40
    """
    values, groups = _arrays(table, metric)
    if model not in values:
        raise InputError(f"no row {model!r}{close_match(model, list(values))}; rows: {', '.join(values)}")
    others = [row for row in values if row != model]
    differences = []
    for row in others:
        _check_same(values[row], values[model], row, model, metric)
        differences.append(values[row] - values[model])
    rows = resample_seeds(differences, groups, tested_per_trained=tested_per_trained, draws=draws, seed=seed)
    lines: list[dict[str, Any]] = []
    for row, resampled in zip(others, rows, strict=True):
        interval = asdict(resampled.interval(level=level))
        lines.append({"row": row, "difference": interval.pop("estimate"), **interval, "p": resampled.p_value()})
    columns = ["row", "difference", "low", "high", "p", "method", "groups", "scored", "expected", "reason"]
    [result] = as_one_family([pd.DataFrame(lines, columns=columns)])
    return result


def as_one_family(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Adjust the p-values of all tables together.

    Parameters
    ----------
    tables
        Each with a column ``p``, nan where nothing was tested.

    Returns
    -------
    list of pandas.DataFrame
        The same, with ``p_holm`` and ``mark`` after ``p``: "not distinguishable" where the adjusted p is .05 or more,
        "not tested" where there is none, else empty.

    Examples
    --------
    >>> linear, mlp = as_one_family([pd.DataFrame({"p": [0.03]}), pd.DataFrame({"p": [0.02, np.nan]})])
    >>> linear["p_holm"].tolist(), mlp["mark"].tolist()
    ([0.04], ['', 'not tested'])
    """
    adjusted = holm(np.concatenate([table["p"].to_numpy(dtype=np.float64) for table in tables]))
    marks = np.where(np.isnan(adjusted), NOT_TESTED, np.where(adjusted >= ALPHA, NOT_DISTINGUISHABLE, ""))
    marked, start = [], 0
    for table in tables:
        part = slice(start, start + len(table))
        start += len(table)
        columns = [column for column in table if column not in ("p_holm", "mark")]
        columns[columns.index("p") + 1 : columns.index("p") + 1] = ["p_holm", "mark"]
        marked.append(table.assign(p_holm=adjusted[part], mark=marks[part])[columns])
    return marked


def _arrays(table: pd.DataFrame, metric: str) -> tuple[dict[str, pd.DataFrame], NDArray[Any]]:
    """Values of each row [seeds, tracks], all over the same seeds and tracks, and the group of each track."""
    keys = ["row", "seed", "track_id"]
    for column in (*keys, "group", metric):
        if column not in table:
            known = list(map(str, table.columns))
            raise InputError(
                f"no column {column!r} in the scores{close_match(column, known)}; columns: {', '.join(known)}"
            )
    if table.empty:
        raise InputError("the table of scores is empty; there is nothing to compare")
    if twice := table.loc[table.duplicated(keys), keys].to_numpy().tolist():
        raise InputError(f"{len(twice)} scores occur twice, such as {twice[0]}; give one for each row, seed and track")
    groups = table[["track_id", "group"]].drop_duplicates().set_index("track_id")["group"]
    if several := groups.index[groups.index.duplicated()].tolist():
        raise InputError(f"tracks have several groups: {_some(several)}; give each the same group in all rows")
    wide = table.pivot(index=["row", "seed"], columns="track_id", values=metric).astype(np.float64)
    seeds = table["seed"].unique()
    values = {row: wide.loc[row].reindex(seeds) for row in table["row"].unique()}
    return values, groups.reindex(wide.columns).to_numpy(dtype=object)


def _check_same(values: pd.DataFrame, reference: pd.DataFrame, row: str, model: str, metric: str) -> None:
    scored, wanted = values.notna(), reference.notna()
    faults = []
    for what, differ in (("lacks", wanted & ~scored), ("alone has", scored & ~wanted)):
        if differ.to_numpy().any():
            tracks = differ.columns[differ.any()].tolist()
            seeds = differ.index[differ.any(axis=1)].tolist()
            faults.append(f"{what} {len(tracks)} tracks ({_some(tracks)}) in {len(seeds)} seeds ({_some(seeds)})")
    if faults:
        raise InputError(
            f"row {row!r} has not the {metric} of the tracks that {model!r} has: it {', and it '.join(faults)};"
            " score both on the same tracks and seeds"
        )


def _some(names: list[Any]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more
