"""A user's own table of labels, as a block of clips with factors.

Conventions
-----------
* A column for each factor beside ``track_id`` and, if there is one, ``group``. Text and whole numbers are classes,
  numbers with fractions are continuous. Blanks around text do not count.
* With the columns ``pair``, ``side`` ("before", "after") and ``changed`` (name of a factor) it has pairs too; rows of
  pairs are kept out of the slot scores.
* What cannot be used is left out and said: tracks without a label or an embedding, columns that do not vary, columns of
  more classes than a probe can learn, rows of pairs without their other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.disentangle.blocks import Block, pairs_of
from m2l2_mir.disentangle.factors import Factor
from m2l2_mir.errors import InputError

__all__ = ["OWN", "label_blocks"]

OWN = "labels"  # stratum of a user's factors
LEAST_CLIPS = 30
LEAST_A_CLASS = 4  # tracks, on average
PAIRED = {"pair", "side", "changed"}
RESERVED = ("track_id", "group", "path", "pair", "side", "changed")


def label_blocks(path: Path, known: Sequence[str]) -> tuple[list[Block], list[str]]:
    """The block of a table of labels (CSV or Parquet), and what of it could not be used.

    Parameters
    ----------
    path
        Of the table; see the module's conventions.
    known
        Tracks that there are embeddings of.

    Raises
    ------
    InputError
        It cannot be read, has no ``track_id``, no factor that varies, or too few tracks are known.
    """
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"track_id": str})
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path}: no labels can be read ({reason}); give a CSV or Parquet file") from error
    if "track_id" not in table:
        raise InputError(f"{path} has no column track_id; it has {', '.join(map(str, table.columns))}")
    text = table.select_dtypes(include=["object", "string"]).columns
    table[text] = table[text].map(lambda value: value.strip() if isinstance(value, str) else value)
    table["track_id"] = table["track_id"].astype(str)
    if twice := table.loc[table["track_id"].duplicated(), "track_id"].tolist():
        raise InputError(f"{path}: track {twice[0]!r} occurs twice; give one line for each")
    notes = []
    here = table["track_id"].isin(list(known))
    if unknown := int((~here).sum()):
        notes.append(
            f"{unknown} of {len(table)} labelled tracks have no embedding, such as {table['track_id'][~here].iloc[0]}"
        )
    table = table[here]
    columns = [str(column) for column in table.columns if column not in RESERVED]
    whole = table[columns].replace([np.inf, -np.inf], np.nan).notna().all(axis=1)
    if missing := int((~whole).sum()):
        notes.append(f"{missing} tracks lack a label and are left out")
    table = table[whole].reset_index(drop=True)
    if len(table) < LEAST_CLIPS:
        raise InputError(
            f"{path}: {len(table)} tracks have embeddings and all labels; give {LEAST_CLIPS} or more"
            + (f" ({'; '.join(notes)})" if notes else "")
        )
    schema, values, codes = [], [], []
    for column in columns:
        if table[column].nunique() < 2:
            notes.append(f"{column} does not vary and is left out")
            continue
        factor, named, coded = _read_column(column, table[column])
        if len(named) * LEAST_A_CLASS > len(table):
            notes.append(_too_many(column, table[column], len(named)))
            continue
        schema.append(factor)
        values.append(named)
        codes.append(coded)
    if not schema:
        raise InputError(f"{path} has no label that varies; give a column for each factor beside track_id")
    coded_table = pd.DataFrame({factor.name: code for factor, code in zip(schema, codes, strict=True)})
    coded_table = pd.concat([coded_table, table[[name for name in RESERVED if name in table]]], axis=1)
    if "group" not in coded_table:
        coded_table["group"] = coded_table["track_id"]
        notes.append("no column group: every track counts as independent of all others")
    if lacking := int(coded_table["group"].isna().sum()):
        raise InputError(f"{path}: {lacking} tracks have no group; give each one, or leave out the column")
    coded_table["group"] = coded_table["group"].astype(str)
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


def _read_column(name: str, column: pd.Series[Any]) -> tuple[Factor, tuple[str, ...], NDArray[np.float64]]:
    if pd.api.types.is_float_dtype(column) and (column % 1 != 0).any():
        return Factor(name=name, kind="continuous"), (), column.to_numpy(dtype=np.float64)
    codes, values = pd.factorize(column, sort=True)
    return Factor(name=name), tuple(str(value) for value in values), codes.astype(np.float64)


def _too_many(name: str, column: pd.Series[Any], classes: int) -> str:
    """Why a column of so many classes is left out."""
    numbers = pd.to_numeric(column, errors="coerce")
    said = f"{name} has {classes} classes for {len(column)} tracks and is left out"
    if numbers.isna().any() and numbers.notna().mean() > 0.5:
        said += f"; {column[numbers.isna()].iloc[0]!r} is no number"
    return said
