"""What has to be said beside scores: labels that hardly move, factors that depend on each other, dead slots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.decision import plain
from m2l2_mir.disentangle.factors import read_factors
from m2l2_mir.disentangle.independence import dependent_factors
from m2l2_mir.disentangle.measure import Measured

__all__ = ["dead_slot_notes", "dependence_notes", "moved_notes"]

LEAST_MOVED = 0.5  # of the labels that a free exchange would change, for a permutation floor without a warning
LEAST_SHARE = 0.2  # of what the median slot of a model tells, for a slot that is not nearly dead
FARTHEST = 3.0  # counterfactual change of a slot; two clips at random are 2 apart


def moved_notes(measured: Sequence[Measured], blocks: Sequence[Block]) -> list[str]:
    """Factors whose permuted labels are mostly the same as before."""
    return [
        f"permuted labels of {name} change only {share:.2f} of what a free exchange would, since it hardly varies "
        "between few groups: its floor is too high to say much"
        for one, block in zip(measured, blocks, strict=True)
        for name, share in zip(block.names, one.arrays["moved"], strict=True)
        if share < LEAST_MOVED
    ]


def dependence_notes(blocks: Sequence[Block]) -> list[str]:
    """Whether factors are independent, as slot scores assume."""
    notes = []
    for block in blocks:
        columns = read_factors(block.factors, block.schema, items=len(block.track_ids))
        found = dependent_factors(columns, block.groups)
        many = f" and {len(found) - 1} more pairs" if len(found) > 1 else ""
        notes += [
            f"{block.name}: {one.one} and {one.other}{many} are not independent ({one.shared:.2f} of the entropy of "
            f"one is shared, {one.bound:.2f} by chance): a slot that tells one tells of both"
            for one in found[:1]
        ]
    return notes


def dead_slot_notes(row: str, measured: Sequence[Measured]) -> list[str]:
    """Slots of a model that tell hardly anything beside its others, or move farther than other music is away.

    Counterfactual scores divide by a slot's own variance, so that a slot which hardly varies weighs much in them.
    """
    told = np.concatenate([one.slots.matrix for one in measured], axis=1).mean(axis=1)
    moved = np.concatenate([one.pairs.matrix for one in measured], axis=1).max(axis=1, initial=0.0)
    usual = float(np.median(told))
    return [
        f"{row}, slot {slot + 1}, is nearly dead: it tells {plain(told[slot])} of the factors on average (its median "
        f"slot {plain(usual)}) and moves by up to {moved[slot]:.1f} where one factor changes (two clips at random: 2); "
        "in counterfactual scores it counts as any other"
        for slot in np.flatnonzero((told < LEAST_SHARE * usual) | (moved > FARTHEST))
    ]
