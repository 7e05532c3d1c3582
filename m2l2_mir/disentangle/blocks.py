"""What an analysis is of: blocks of clips with factors, and pairs of clips that differ in one of them.

Conventions
-----------
* A block is a set of clips in which the same factors vary. The rendered set ``factors`` gives two: clips of one chunk,
  and clips of eight, whose slots are means over time; a factor is analysed in the shorter clips that can express it.
* A table of labels gives one block: a column for each factor beside ``track_id`` and, if there is one, ``group``. Text
  and whole numbers are classes, numbers with fractions are continuous. With the columns ``pair``, ``side`` ("before",
  "after") and ``changed`` (name of a factor) it has pairs too; rows of pairs are kept out of the slot scores.
* Strata: "global" factors hold throughout a clip, "local" at one place, "sequence" as an order of events. The factors
  of a user's table are all of the stratum "labels".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.dataset.recipe import find_recipe
from m2l2_mir.dataset.rendered.factors import FACTORS
from m2l2_mir.dataset.sources import render_plan
from m2l2_mir.disentangle.factors import Factor
from m2l2_mir.errors import InputError

__all__ = ["OWN", "Block", "factor_blocks", "factor_clips", "label_blocks"]

OWN = "labels"  # stratum of a user's factors
ANALYSED = {factor.name: min(factor.lengths) for factor in FACTORS}  # chunks of the clips that each is analysed in
QUICK_CLIPS = 1400
LEAST_CLIPS = 30
TITLES = {1: "one chunk", 8: "eight chunks"}
RESERVED = ("track_id", "group", "path", "pair", "side", "changed")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Clips in which the same factors vary.

    Parameters
    ----------
    name
        Such as "one chunk".
    track_ids, factors, groups
        Of the clips for slot scores: [n], [n, F], [n].
    schema, strata
        What each column of `factors` holds, and the stratum it counts to.
    values
        Names of the classes of each factor, by code; empty for numbers.
    pairs
        One line a pair: ``before``, ``after`` (track ids), ``changed``, ``group``, ``value_before``, ``value_after``.
    codes
        Of all clips, those of pairs too: a column for each factor, indexed by track id.
    """

    name: str
    track_ids: list[str]
    factors: NDArray[np.float64]
    groups: list[str]
    schema: tuple[Factor, ...]
    strata: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    pairs: pd.DataFrame
    codes: pd.DataFrame

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(factor.name for factor in self.schema)

    @property
    def all_ids(self) -> list[str]:
        """Clips of slot scores and of pairs, each once."""
        return list(dict.fromkeys([*self.track_ids, *self.pairs["before"], *self.pairs["after"]]))

    def without(self, failed: set[str]) -> Block:
        """The block without some clips, and the pairs that they are in."""
        kept = [track not in failed for track in self.track_ids]
        whole = ~(self.pairs["before"].isin(failed) | self.pairs["after"].isin(failed))
        return replace(
            self,
            track_ids=[track for track, keep in zip(self.track_ids, kept, strict=True) if keep],
            factors=self.factors[kept],
            groups=[group for group, keep in zip(self.groups, kept, strict=True) if keep],
            pairs=self.pairs[whole].reset_index(drop=True),
        )


def factor_clips(*, quick: bool = False, data_home: Path | None = None) -> Dataset:
    """The clips of the set ``factors`` that are analysed.

    Clips of eight chunks that are pairs of a factor analysed in one chunk are left out.

    Parameters
    ----------
    quick
        A small set (:data:`QUICK_CLIPS` clips before that) in place of the default one.
    data_home
        Cache of the rendered clips; None: the user's.
    """
    if quick:
        name, recipe = find_recipe("factors")
        recipe = replace(recipe, sizes={**recipe.sizes, "quick": QUICK_CLIPS})
        reading, clips, notes = render_plan(recipe, cache=data_home, size="quick", seed=0, progress=None)
        dataset = Dataset(
            name=name,
            recipe=recipe,
            tracks=reading.tracks,
            dropped=reading.dropped,
            clips=clips,
            cache=data_home,
            notes=(recipe.note, *notes),
        )
    else:
        dataset = load_dataset("factors", data_home=data_home)
    tracks = dataset.tracks
    kept = tracks["changed"].isna() | (tracks["changed"].map(ANALYSED) == tracks["chunks"])
    rows = np.flatnonzero(kept).tolist()
    return replace(
        dataset, tracks=tracks.iloc[rows].reset_index(drop=True), clips=tuple(dataset.clips[row] for row in rows)
    )


def factor_blocks(dataset: Dataset) -> list[Block]:
    """Blocks of :func:`factor_clips`, one for each length."""
    blocks = []
    for length in sorted(set(ANALYSED.values())):
        wanted = [factor for factor in FACTORS if ANALYSED[factor.name] == length]
        tracks = dataset.tracks[dataset.tracks["chunks"] == length]
        clips = tracks[tracks["changed"].isna()]
        blocks.append(
            Block(
                name=TITLES[length],
                track_ids=clips["track_id"].tolist(),
                factors=clips[[factor.column for factor in wanted]].to_numpy(dtype=np.float64),
                groups=clips["group"].tolist(),
                schema=tuple(Factor(name=factor.name) for factor in wanted),  # cyclic ones are classified too
                strata=tuple(factor.stratum for factor in wanted),
                values=tuple(factor.values for factor in wanted),
                pairs=_pairs(tracks[tracks["changed"].notna()], {factor.name: factor.column for factor in wanted}),
                codes=tracks.set_index("track_id")[[factor.column for factor in wanted]].set_axis(
                    [factor.name for factor in wanted], axis=1
                ),
            )
        )
    return blocks


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
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: no labels can be read ({reason}); give a CSV or Parquet file") from error
    if "track_id" not in table:
        raise InputError(f"{path} has no column track_id; it has {', '.join(map(str, table.columns))}")
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
    whole = table[columns].notna().all(axis=1)
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
    coded_table["group"] = coded_table["group"].astype(str)
    paired = {"pair", "side", "changed"} <= set(coded_table)
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
        pairs=_pairs(coded_table[~single], {factor.name: factor.name for factor in schema}),
        codes=coded_table.set_index("track_id")[[factor.name for factor in schema]],
    )
    if block.pairs.empty:
        notes.append("no pairs that differ in one factor: counterfactual scores (P2) are missing")
    return [block], notes


def _pairs(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Pairs with both sides, of the factors that are analysed."""
    found: list[dict[str, Any]] = []
    if len(rows):
        for (_, changed), sides in rows.groupby(["pair", "changed"], sort=False):
            by_side = {side: line for side, line in zip(sides["side"], sides.to_dict("records"), strict=True)}
            if changed in columns and {"before", "after"} <= set(by_side):
                before, after = by_side["before"], by_side["after"]
                found.append(
                    {
                        "before": before["track_id"],
                        "after": after["track_id"],
                        "changed": changed,
                        "group": before["group"],
                        "value_before": float(before[columns[changed]]),
                        "value_after": float(after[columns[changed]]),
                    }
                )
    names = ["before", "after", "changed", "group", "value_before", "value_after"]
    return pd.DataFrame(found, columns=names)


def _read_column(name: str, column: pd.Series[Any]) -> tuple[Factor, tuple[str, ...], NDArray[np.float64]]:
    if pd.api.types.is_float_dtype(column) and (column % 1 != 0).any():
        return Factor(name=name, kind="continuous"), (), column.to_numpy(dtype=np.float64)
    codes, values = pd.factorize(column, sort=True)
    return Factor(name=name), tuple(str(value) for value in values), codes.astype(np.float64)
