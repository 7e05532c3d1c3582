"""Everything that is measured of one source of slots on one block of clips, kept as one file.

slots of clips --slot scores--> losses of items, permutations; rotations --> P1
slots of pairs --counterfactual scores--> changes of pairs, permutations; rotations --> P2; equivariance

Conventions
-----------
* Information that does not exceed what permuted labels reach anywhere in the matrix of a block (95 % of draws) counts
  as 0 in D and C, of rotated slots too.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.counterfactual import (
    counterfactual_items,
    equivariance,
    permuted_changes,
    rotated_changes,
)
from m2l2_mir.disentangle.evidence import ItemScores
from m2l2_mir.disentangle.nulls import NULLS, Nulls
from m2l2_mir.disentangle.slots import slot_scores
from m2l2_mir.durable import write_durably
from m2l2_mir.errors import InputError

__all__ = ["Measured", "measure"]

Floats = NDArray[np.float64]
SlotsOf = Callable[[Sequence[str]], NDArray[np.floating]]

_PARTS = ("slots", "whole", "pairs")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Items behind P1 (of each slot, of all slots) and P2, and matrices beside them.

    Parameters
    ----------
    slots, whole
        P1; `whole` has one slot only: all of them.
    pairs
        P2; without columns where there are no pairs.
    arrays
        ``unique`` and ``floor`` (mean under permutation) [K, F], ``redundancy`` [F], ``rotations`` (of P1) and
        ``E_rotations`` [draws, K, F], ``E_permutations`` [draws, K, F], ``equivariance`` [F].
    """

    slots: ItemScores
    whole: ItemScores
    pairs: ItemScores
    arrays: dict[str, Floats]

    def save(self, path: Path) -> None:
        """Write a NumPy archive, atomically."""
        held: dict[str, NDArray[np.generic]] = {f"array_{name}": array for name, array in self.arrays.items()}
        for part in _PARTS:
            scores: ItemScores = getattr(self, part)
            held |= {
                f"{part}_top": scores.top.astype(np.float32),
                f"{part}_bottom": scores.bottom.astype(np.float32),
                f"{part}_names": np.array(scores.names, dtype=np.str_),
                f"{part}_groups": np.array(list(scores.groups), dtype=np.str_),
            }
            if scores.bound is not None:
                held[f"{part}_bound"] = scores.bound
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **held)  # type: ignore[arg-type]
        write_durably(path, lambda file: file.write(buffer.getbuffer()))

    @classmethod
    def load(cls, path: Path) -> Measured:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InputError
            The file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                parts = {
                    part: ItemScores(
                        kind="change" if part == "pairs" else "information",
                        names=tuple(map(str, held[f"{part}_names"])),
                        top=held[f"{part}_top"].astype(np.float64),
                        bottom=held[f"{part}_bottom"].astype(np.float64),
                        groups=[str(group) for group in held[f"{part}_groups"]],
                        bound=held.get(f"{part}_bound"),
                    )
                    for part in _PARTS
                }
                arrays = {name[6:]: held[name] for name in held.files if name.startswith("array_")}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} cannot be read ({error}); delete it and run the command again") from error
        return cls(**parts, arrays=arrays)


def measure(block: Block, slots_of: SlotsOf, *, nulls: Nulls = NULLS, folds: int = 5) -> Measured:
    """Measure P1 and P2 with their nulls.

    Parameters
    ----------
    block
        Clips, factors, pairs.
    slots_of
        From track ids to their slots [n, K, d].
    nulls
        Draws of each null.
    folds
        Of the probes.

    Raises
    ------
    InputError
        Too few groups for the folds, or slots of another shape.
    """
    slots = np.asarray(slots_of(block.track_ids), dtype=np.float64)
    found = slot_scores(
        slots,
        block.factors,
        schema=block.schema,
        groups=block.groups,
        nulls=nulls,
        folds=folds,
    )
    groups = [str(group) for group in block.groups]
    shares = np.moveaxis(np.asarray(found["losses"]), -1, 0)  # [n, K, F]
    bottom = np.ones((len(slots), len(block.names)))
    arrays = {"unique": np.asarray(found["unique"]), "redundancy": np.asarray(found["redundancy"])}
    if nulls.permutations:
        arrays["floor"] = found["nulls"]["information"]["permutation"]["mean"]
    scores = ItemScores(
        kind="information",
        names=block.names,
        top=shares,
        bottom=bottom,
        groups=groups,
        bound=np.full(len(block.names), found["bound"]),
    )
    whole = ItemScores(
        kind="information",
        names=block.names,
        top=np.asarray(found["losses_all"]).T[:, None],
        bottom=bottom,
        groups=groups,
    )
    if nulls.rotations:
        arrays["rotations"] = np.where(found["rotated"] > found["bound"], found["rotated"], 0.0)
    pairs, more = _pairs(block, slots_of, slots, nulls)
    return Measured(slots=scores, whole=whole, pairs=pairs, arrays=arrays | more)


def _pairs(block: Block, slots_of: SlotsOf, reference: Floats, nulls: Nulls) -> tuple[ItemScores, dict[str, Floats]]:
    """P2 with its nulls, and equivariance; without columns where there are no pairs."""
    pairs, number = block.pairs, reference.shape[1]
    if pairs.empty:
        empty = ItemScores(kind="change", names=(), top=np.zeros((0, number, 0)), bottom=np.zeros((0, 0)), groups=[])
        return empty, {}
    before = np.asarray(slots_of(pairs["before"].tolist()), dtype=np.float64)
    after = np.asarray(slots_of(pairs["after"].tolist()), dtype=np.float64)
    changed, groups = pairs["changed"].to_numpy(dtype=object).astype(str), pairs["group"].tolist()
    items = counterfactual_items(before, after, changed, reference=reference, groups=groups)
    names = [name for name in block.names if name in items.names]
    order = [items.names.index(name) for name in names]
    found: dict[str, Floats] = {}
    if nulls.rotations:
        turned = rotated_changes(
            before, after, changed, reference=reference, groups=groups, rotations=nulls.rotations, seed=nulls.seed
        )
        found["E_rotations"] = turned[:, :, order]
    if nulls.permutations:
        found["E_permutations"] = permuted_changes(items, nulls.permutations, nulls.seed)[:, :, order]
    told = []
    for name in names:
        here = changed == name
        one = equivariance(
            before[here],
            after[here],
            pairs.loc[here, "value_before"].to_numpy(),
            pairs.loc[here, "value_after"].to_numpy(),
            reference=reference,
            groups=[group for group, kept in zip(groups, here, strict=True) if kept],
        )
        told.append(one["equivariance"])
    return items.of(names), {**found, "equivariance": np.array(told)}
