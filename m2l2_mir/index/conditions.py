"""Which tracks may be found: conditions on metadata, other artists only, so many of each.

Conventions
-----------
* A condition is text: ``genre=jazz``, ``genre!=jazz``, ``bpm>=120``, ``year<1990``. Several hold together, but several
  values of one column after ``=`` are alternatives.
* A value after ``=`` or ``!=`` that the column never holds is an error, since it is rather mistyped. Columns of truth
  values are asked with true, false, 1 or 0.
* A column is meant by its name in any case, and ``bpm`` and ``tempo`` by each other's.
* A track whose value is not known meets no condition on it, and shares it with no other track.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.dataset.table_file import column_named
from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["capped", "column_of", "matching", "sharing"]

_CONDITION = re.compile(r"(?s)\s*([^<>=!]+?)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_MOST_VALUES = 20_000  # difflib takes about a second for as many
_NAMED = 8
_COMPARE: dict[str, Callable[..., pd.Series]] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


def matching(frame: pd.DataFrame, conditions: Sequence[str]) -> NDArray[np.bool_]:
    """Rows of a metadata table that meet all conditions.

    Raises
    ------
    InputError
        A condition cannot be read, its column does not exist or never holds the value, or text is compared as a number.

    Examples
    --------
    >>> table = pd.DataFrame({"genre": ["jazz", "rock", None], "bpm": [90, 120, 150]})
    >>> matching(table, ["genre=jazz", "genre=rock", "bpm>100"]).tolist()
    [False, True, False]
    """
    held = np.ones(len(frame), bool)
    alternatives: dict[str, NDArray[np.bool_]] = {}
    for condition in conditions:
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise InputError(f"cannot read the condition {condition!r}: write COLUMN=VALUE, !=, >=, <=, > or <")
        name, comparison, value = match.groups()
        column = column_of(frame, name)
        met = _compare(column, comparison, value, condition) & column.notna().to_numpy()
        if comparison == "=":
            alternatives[name] = alternatives.get(name, np.zeros(len(frame), bool)) | met
        else:
            held &= met
    for met in alternatives.values():
        held &= met
    return held


def sharing(frame: pd.DataFrame, columns: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that have, in any of these columns, the value of one of the given rows."""
    shared = np.zeros(len(frame), bool)
    for name in columns:
        column = column_of(frame, name)
        values = column.iloc[rows].dropna()
        shared |= column.isin(values.tolist()).to_numpy() & column.notna().to_numpy()
    return shared


def capped(
    frame: pd.DataFrame, rows: NDArray[np.int64], at_most: Mapping[str, int], copies: Mapping[int, int] | None = None
) -> tuple[NDArray[np.int64], dict[int, int]]:
    """Positions in `rows` (best first) that stay when no value of a column occurs more often than it may.

    Parameters
    ----------
    at_most : mapping
        Column -> number of results that may have the same value.
    copies : mapping, optional
        Row -> name of the group of near duplicates that it belongs to; of each group only the first stays.

    Returns
    -------
    positions : np.ndarray
    folded : dict
        Position -> how many later results were folded into it.
    """
    columns = {name: column_of(frame, name).iloc[rows].tolist() for name in at_most}
    for name, count in at_most.items():
        if count < 1:
            raise InputError(f"at most {count} of the same {name} leaves nothing: 1 or more")
    seen: dict[tuple[str, object], int] = {}
    first: dict[int, int] = {}
    folded: dict[int, int] = {}
    stay = []
    for position, row in enumerate(rows):
        group = None if copies is None else copies.get(int(row))
        if group is not None and group in first:
            folded[first[group]] = folded.get(first[group], 0) + 1
            continue
        keys = [(name, values[position]) for name, values in columns.items() if not pd.isna(values[position])]
        if any(seen.get(key, 0) >= at_most[key[0]] for key in keys):
            continue
        for key in keys:
            seen[key] = seen.get(key, 0) + 1
        if group is not None:
            first[group] = position
        stay.append(position)
    return np.array(stay, np.int64), folded


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column of the metadata; InputError with the nearest name if there is none."""
    column = column_named(name, frame.columns)
    if column is None:
        known = [str(column) for column in frame.columns]
        raise InputError(f"the index has no column {name!r}{close_match(name, known)}; it has {', '.join(known)}")
    return frame[column]


def _compare(column: pd.Series, comparison: str, value: str, condition: str) -> NDArray[np.bool_]:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    given: object = value
    if numeric:
        try:
            given = float(value)
        except ValueError as error:
            raise InputError(f"{condition!r}: the column holds numbers, {value!r} is none") from error
    elif comparison not in ("=", "!="):
        raise InputError(f"{condition!r}: the column holds text, which is compared with = and != only")
    elif (known := column.dropna()).map(lambda one: isinstance(one, bool | np.bool_)).all() and len(known):
        if value.lower() not in _TRUTH:
            raise InputError(f"{condition!r}: the column holds truth values, write true or false")
        column, given = column.astype(object), _TRUTH[value.lower()]
    else:
        column = column.astype(str).where(column.notna())
    if comparison in ("=", "!="):
        _refuse_unheld(column, given, condition)
    return np.asarray(_COMPARE[comparison](column, given), bool)


def _refuse_unheld(column: pd.Series, value: object, condition: str) -> None:
    """InputError if no row has the value, with the nearest that one has."""
    known = column.dropna()
    if (known == value).any() or isinstance(value, bool):
        return
    if isinstance(value, float):
        told = f"; its numbers go from {known.min():g} to {known.max():g}" if len(known) else ""
    else:
        named = known.value_counts().index[:_MOST_VALUES].tolist()
        alike = next((one for one in named if one.casefold() == str(value).casefold()), None)
        near = f"; did you mean {alike!r}?" if alike else close_match(str(value), named)
        told = near or f"; it has {', '.join(named[:_NAMED])}{', ...' if len(named) > _NAMED else ''}" * bool(named)
    raise InputError(f"{condition!r}: no track has that value{told}")
