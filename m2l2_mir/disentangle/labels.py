"""A user's own table of labels, as a block of clips with factors.

Conventions
-----------
* A column for each factor beside ``track_id`` or ``path`` (:mod:`m2l2_mir.dataset.table_file`) and, if there is one,
  ``group``. ``artist`` stands for a ``group`` that is not there, unless it is chosen as a factor or has too few values.
  Text and whole numbers are classes, numbers with fractions are continuous, unless :func:`read_choice` says otherwise.
  Blanks around text do not count.
* With the columns ``pair``, ``side`` ("before", "after") and ``changed`` (name of a factor) it has pairs too; rows of
  pairs are kept out of the slot scores.
* What cannot be used is left out and said. First columns: those that most tracks have no value of (unless chosen), that
  do not vary or hardly do, or have more classes than a probe can learn. Then tracks without an embedding, or without a
  label in the columns that are left; rows of pairs without their other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.dataset.table_file import PATH_COLUMNS, column_named, tracks_table
from m2l2_mir.disentangle.blocks import Block, pairs_of
from m2l2_mir.disentangle.factors import Factor, Kind
from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["OWN", "label_blocks", "read_choice"]

OWN = "labels"  # stratum of a user's factors
LEAST_CLIPS = 30
LEAST_GROUPS = 5  # a fold each
LEAST_A_CLASS = 4  # tracks, on average
LEAST_OTHERS = 5  # tracks outside the most frequent class
LEAST_LABELLED = 0.5  # of the tracks, for a column that is not chosen by name
PAIRED = {"pair", "side", "changed"}
RESERVED = ("track_id", "group", *PATH_COLUMNS[:-1], "pair", "side", "changed")  # audio may be how it sounds


def read_choice(text: str) -> Factor | str:
    """What ``NAME``, ``NAME:kind`` or ``NAME:cyclic:PERIOD`` says of a column; its name alone leaves the kind open.

    Raises
    ------
    InputError
        The kind is unknown, or the period is no number or missing.

    Examples
    --------
    >>> read_choice("bpm:continuous").kind, read_choice("phase:cyclic:12").period, read_choice("genre")
    ('continuous', 12.0, 'genre')
    """
    name, *told = text.split(":")
    if not told:
        return name
    if len(told) > 2 or told[0] not in get_args(Kind):
        raise InputError(
            f"factor {text!r} is not understood; give NAME, NAME:classes, NAME:continuous or NAME:cyclic:12"
        )
    try:
        period = float(told[1]) if len(told) == 2 else None
    except ValueError:
        raise InputError(f"factor {text!r} has the period {told[1]!r}; give a number, as in NAME:cyclic:12") from None
    return Factor(name=name, kind=cast(Kind, told[0]), period=period)


def label_blocks(
    path: Path, known: Sequence[str] | pd.DataFrame, *, factors: Sequence[str] = ()
) -> tuple[list[Block], list[str]]:
    """The block of a table of labels (CSV, TSV or Parquet), and what of it could not be used.

    Parameters
    ----------
    path
        Of the table; see the module's conventions.
    known
        Tracks that there are embeddings of: their ids, or ``track_id`` and ``path`` for a table without such ids.
    factors
        Columns to use, as :func:`read_choice` takes them; none: all.

    Raises
    ------
    InputError
        It cannot be read, has neither ids nor paths, no factor that varies, lacks one that is chosen, or too few
        tracks are known.
    """
    tracks = known if isinstance(known, pd.DataFrame) else pd.DataFrame({"track_id": list(known)}, dtype=object)
    known = tracks["track_id"].tolist()
    table = tracks_table(path, tracks)
    text = table.select_dtypes(include=["object", "string"]).columns
    table[text] = table[text].map(lambda value: value.strip() if isinstance(value, str) else value)
    if twice := table.loc[table["track_id"].duplicated(), "track_id"].tolist():
        raise InputError(f"{path}: track {twice[0]!r} occurs twice; give one line for each")
    notes = []
    here = table["track_id"].isin(list(known))
    if unknown := int((~here).sum()):
        notes.append(
            f"{unknown} of {len(table)} labelled tracks have no embedding, such as {table['track_id'][~here].iloc[0]}"
        )
    if len(known) and len(table) == unknown:
        raise InputError(
            f"{path}: none of its {len(table)} tracks has an embedding; it has {', '.join(table['track_id'][:2])}, "
            f"there are embeddings of {', '.join(list(known)[:2])}; give the same track_id or path in both"
        )
    table = table[here]
    by_artist = "group" not in table and "artist" in table and table["artist"].nunique() >= LEAST_GROUPS
    if by_artist and "artist" not in [text.split(":")[0] for text in factors]:
        table = table.rename(columns={"artist": "group"})
        table["group"] = table["group"].fillna(table["track_id"])  # a track without one stands alone
        notes.append("no column group: tracks of one artist count as belonging together")
    offered = [str(column) for column in table.columns if column not in RESERVED]
    table[offered] = table[offered].replace([np.inf, -np.inf], np.nan)
    usable = {}
    for factor in _chosen(path, offered, factors):
        name = factor if isinstance(factor, str) else factor.name
        if not factors and (share := table[name].notna().mean()) < LEAST_LABELLED:
            notes.append(f"{name} has a value for {share:.0%} of the tracks and is left out")
        elif reason := _unusable(one := _factor_of(factor, table[name]), table[name].dropna()):
            notes.append(reason)
        else:
            usable[name] = one
    whole = table[list(usable)].notna().all(axis=1)
    if missing := int((~whole).sum()):
        notes.append(f"{missing} tracks lack a label and are left out")
    table = table[whole].reset_index(drop=True)
    if usable and len(table) < LEAST_CLIPS:
        raise InputError(
            f"{path}: {len(table)} tracks have embeddings and all labels ({', '.join(usable)}); give {LEAST_CLIPS} or "
            "more" + (f" ({'; '.join(notes)})" if notes else "")
        )
    schema, values, codes = [], [], []
    for name, factor in usable.items():
        if reason := _unusable(factor, table[name]):  # of the tracks that are left
            notes.append(reason)
            continue
        named, coded = _coded(factor, table[name])
        schema.append(factor)
        values.append(named)
        codes.append(coded)
    if not schema:
        raise InputError(
            f"{path} has no label that varies; give a column for each factor beside track_id"
            + (f" ({'; '.join(notes)})" if notes else "")
        )
    coded_table = pd.DataFrame({factor.name: code for factor, code in zip(schema, codes, strict=True)})
    coded_table = pd.concat([coded_table, table[[name for name in RESERVED if name in table]]], axis=1)
    if "group" not in coded_table:
        coded_table["group"] = coded_table["track_id"]
        notes.append("no column group: every track counts as independent of all others")
    if lacking := int(coded_table["group"].isna().sum()):
        raise InputError(f"{path}: {lacking} tracks have no group; give each one, or leave out the column")
    coded_table["group"] = coded_table["group"].astype(str)
    if (number := coded_table["group"].nunique()) < LEAST_GROUPS:
        raise InputError(
            f"{path}: {number} groups; give {LEAST_GROUPS} or more, since probes are tested on groups that they have "
            "not heard, or leave out the column"
        )
    paired = set(coded_table) >= PAIRED
    if not paired and (some := PAIRED & set(coded_table)):
        notes.append(f"pairs need the columns pair, side and changed; there is only {' and '.join(sorted(some))}")
    single = coded_table["changed"].isna() if paired else np.ones(len(coded_table), dtype=bool)
    clips = coded_table[single]
    block = Block(
        name=OWN,
        track_ids=clips["track_id"].tolist(),
        factors=clips[[factor.name for factor in schema]].to_numpy(dtype=np.float64),
        groups=clips["group"].tolist(),
        schema=tuple(schema),
        strata=(OWN,) * len(schema),
        values=tuple(values),
        pairs=pairs_of(coded_table[~single], {factor.name: factor.name for factor in schema}),
        codes=coded_table.set_index("track_id")[[factor.name for factor in schema]],
    )
    if lost := int((~single).sum()) - 2 * len(block.pairs):
        notes.append(
            f"{lost} rows of pairs make no pair: each needs a side 'before' and one 'after', and in 'changed' one of "
            + ", ".join(block.names)
        )
    if block.pairs.empty:
        notes.append("no pairs that differ in one factor: counterfactual scores (P2) are missing")
    return [block], notes


def _chosen(path: Path, offered: Sequence[str], factors: Sequence[str]) -> list[Factor | str]:
    if not factors:
        return list(offered)
    # A name may hold a colon itself.
    chosen = [text if text in offered else read_choice(text) for text in factors]
    found: list[Factor | str] = []
    for factor in chosen:
        name = factor if isinstance(factor, str) else factor.name
        column = column_named(name, offered)
        if column is None:
            raise InputError(
                f"{path} has no column {name!r}{close_match(name, list(offered))}; it has {', '.join(offered)}"
            )
        found.append(column if isinstance(factor, str) else replace(factor, name=column))
    return found


def _factor_of(factor: Factor | str, column: pd.Series[Any]) -> Factor:
    if isinstance(factor, Factor):
        return factor
    fractions = pd.api.types.is_float_dtype(column) and (column.dropna() % 1 != 0).any()
    return Factor(name=factor, kind="continuous" if fractions else "classes")


def _unusable(factor: Factor, column: pd.Series[Any]) -> str:
    """Why a column of labels is left out; empty if it is not."""
    name, many = factor.name, column.nunique()
    if many < 2:
        return f"{name} does not vary and is left out"
    numbers = pd.to_numeric(column, errors="coerce")
    if factor.kind != "classes":
        strange = column[numbers.isna()]
        return f"{name} holds {strange.iloc[0]!r}, which is no number, and is left out" if len(strange) else ""
    if (others := len(column) - int(column.value_counts().iloc[0])) < LEAST_OTHERS:
        return f"{name} is {column.mode().iloc[0]} but for {others} tracks and is left out"
    if many * LEAST_A_CLASS <= len(column):
        return ""
    said = f"{name} has {many} classes for {len(column)} tracks and is left out"
    if numbers.isna().any() and numbers.notna().mean() > 0.5:
        return f"{said}; {column[numbers.isna()].iloc[0]!r} is no number"
    return f"{said}; '{name}:continuous' takes it as numbers" if numbers.notna().all() else said


def _coded(factor: Factor, column: pd.Series[Any]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names of the classes, and codes; of numbers the numbers."""
    if factor.kind != "classes":
        return (), pd.to_numeric(column).to_numpy(dtype=np.float64)
    codes, values = pd.factorize(column, sort=True)
    # Whole numbers are read as 3.0 where a value of the column is missing.
    named = tuple(
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values
    )
    return named, codes.astype(np.float64)
