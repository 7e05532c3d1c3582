"""What an analysis is of: blocks of clips with factors, and pairs of clips that differ in one of them.

Conventions
-----------
* A block is a set of clips in which the same factors vary. The rendered set ``factors`` gives two: clips of one chunk,
  and clips of eight, whose slots are means over time; a factor is analysed in the shorter clips that can express it.
* A user's own table of labels gives one block (:mod:`m2l2_mir.disentangle.labels`).
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

__all__ = ["Block", "factor_blocks", "factor_clips", "pairs_of"]

ANALYSED = {factor.name: min(factor.lengths) for factor in FACTORS}  # chunks of the clips that each is analysed in
QUICK_CLIPS = 1400
TITLES = {1: "one chunk", 8: "eight chunks"}


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


def factor_clips(
    *, quick: bool = False, lengths: Sequence[int] = tuple(TITLES), data_home: Path | None = None
) -> Dataset:
    """The clips of the set ``factors`` that are analysed.

    Clips of eight chunks that are pairs of a factor analysed in one chunk are left out.

    Parameters
    ----------
    quick
        A small set (:data:`QUICK_CLIPS` clips before that) in place of the default one.
    lengths
        Chunks of the clips that are kept.
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
    rows = np.flatnonzero(kept & tracks["chunks"].isin(lengths)).tolist()
    return replace(
        dataset, tracks=tracks.iloc[rows].reset_index(drop=True), clips=tuple(dataset.clips[row] for row in rows)
    )


def factor_blocks(dataset: Dataset) -> list[Block]:
    """Blocks of :func:`factor_clips`, one for each length that there is."""
    blocks = []
    for length in sorted(set(ANALYSED.values()) & set(dataset.tracks["chunks"])):
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
                pairs=pairs_of(tracks[tracks["changed"].notna()], {factor.name: factor.column for factor in wanted}),
                codes=tracks.set_index("track_id")[[factor.column for factor in wanted]].set_axis(
                    [factor.name for factor in wanted], axis=1
                ),
            )
        )
    return blocks


def pairs_of(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
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
