"""What has to be said of factors before scores are read: labels that hardly move, factors that depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.factors import read_factors
from m2l2_mir.disentangle.independence import dependent_factors
from m2l2_mir.disentangle.measure import Measured

__all__ = ["dependence_notes", "moved_notes"]

LEAST_MOVED = 0.5  # of the labels that a free exchange would change, for a permutation floor without a warning


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
