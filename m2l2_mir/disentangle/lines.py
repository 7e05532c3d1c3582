"""From measurements to lines of results: strata, scores beside their nulls, matrices cell by cell, factor by factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.compare import SCORES, Arm
from m2l2_mir.disentangle.evidence import ItemScores, drawn_weights, left_out_weights
from m2l2_mir.disentangle.measure import Measured
from m2l2_mir.disentangle.nulls import against_null
from m2l2_mir.disentangle.paired import bca_interval
from m2l2_mir.disentangle.slots import disentanglement_completeness

__all__ = ["LEAST_FACTORS", "Stratum", "arm_of", "cell_lines", "factor_lines", "score_lines", "strata_of_blocks"]

LEAST_FACTORS = 2  # of a stratum whose entropies are defined

Floats = NDArray[np.float64]
Stratum = list[tuple[int, str]]  # block and name of each factor


def strata_of_blocks(blocks: Sequence[Block]) -> dict[str, Stratum]:
    """Block and name of the factors of each stratum; those with a single factor have no entropy and are left out."""
    found: dict[str, Stratum] = {}
    for number, block in enumerate(blocks):
        for name, stratum in zip(block.names, block.strata, strict=True):
            found.setdefault(stratum, []).append((number, name))
    if len(found) > 1:
        found["all"] = [one for stratum in found.values() for one in stratum]
    return {name: chosen for name, chosen in found.items() if len(chosen) >= LEAST_FACTORS}


def arm_of(measured: Sequence[Measured], chosen: Stratum) -> Arm:
    def joined(part: str) -> ItemScores:
        pieces = []
        for number, one in enumerate(measured):
            scores: ItemScores = getattr(one, part)
            here = [name for block, name in chosen if block == number and name in scores.names]
            if here:
                pieces.append(scores.of(here))
        if pieces:
            return ItemScores.joined(pieces)
        scores = getattr(measured[0], part)
        return scores.of([])

    null = {}
    for what in SCORES:
        drawn = _drawn(measured, chosen, "rotations" if what.startswith("P1") else "E_rotations", what[:2])
        if drawn is not None:
            null[what] = float(disentanglement_completeness(drawn)[what[-1]].mean())
    return Arm(slots=joined("slots"), whole=joined("whole"), pairs=joined("pairs"), null=null)


def _drawn(measured: Sequence[Measured], chosen: Stratum, array: str, part: str) -> Floats | None:
    """Null matrices [draws, K, F] of the factors of a stratum; None where there are none."""
    columns = []
    for number, one in enumerate(measured):
        names = (one.slots if part == "P1" else one.pairs).names
        here = [names.index(name) for block, name in chosen if block == number and name in names]
        if here and array in one.arrays:
            columns.append(one.arrays[array][:, :, here])
    return np.concatenate(columns, axis=2) if columns else None


def score_lines(
    row: str, stratum: str, arm: Arm, measured: Sequence[Measured], chosen: Stratum, draws: int
) -> list[dict[str, Any]]:
    """D and C of P1 and P2, raw, with interval, rotation null, permutation floor; and the information of all slots."""
    lines = []
    groups = arm.whole.groups
    for part, items, rotations, permutations in (
        ("P1", arm.slots, "rotations", None),
        ("P2", arm.pairs, "E_rotations", "E_permutations"),
    ):
        if len(items.names) < LEAST_FACTORS:
            continue
        own = disentanglement_completeness(items.matrix())
        drawn = disentanglement_completeness(items.matrix(drawn_weights(items.groups, draws)))
        left = disentanglement_completeness(items.matrix(left_out_weights(items.groups)))
        for name in "DC":
            low, high = bca_interval(float(own[name]), drawn[name], left[name])
            line: dict[str, Any] = {
                "row": row,
                "stratum": stratum,
                "score": f"{part} {name}",
                "estimate": float(own[name]),
                "low": low,
                "high": high,
                "factors": len(items.names),
                "items": len(items.groups),
                "groups": len(set(items.groups)),
            }
            for title, array in (("rotation", rotations), ("permutation", permutations)):
                matrices = None if array is None else _drawn(measured, chosen, array, part)
                if matrices is None:
                    continue
                chance = disentanglement_completeness(matrices)[name]
                against = against_null(float(own[name]), chance)
                line |= {f"{title}_{key}": value for key, value in against.items()}
                line[f"{title}_95"] = float(np.quantile(chance, 0.95))
            lines.append(line)
    told = arm.whole.matrix().mean()
    others = (arm.scores("information", of) for of in (drawn_weights(groups, draws), left_out_weights(groups)))
    low, high = bca_interval(float(told), *others)
    lines.append(
        {
            "row": row,
            "stratum": stratum,
            "score": "information",
            "estimate": float(told),
            "low": low,
            "high": high,
            "factors": len(arm.whole.names),
            "items": len(arm.whole.groups),
            "groups": len(set(arm.whole.groups)),
        }
    )
    return lines


def cell_lines(row: str, measured: Sequence[Measured], blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """A line for each slot and factor: P1, what permutation and rotation give of it, unique information, P2."""
    lines = []
    for one, block in zip(measured, blocks, strict=True):
        information, changes = one.slots.matrix(), one.pairs.matrix()
        for column, name in enumerate(block.names):
            pair = one.pairs.names.index(name) if name in one.pairs.names else None
            for slot in range(information.shape[0]):
                line: dict[str, Any] = {
                    "row": row,
                    "slot": slot + 1,
                    "factor": name,
                    "information": information[slot, column],
                    "unique": one.arrays["unique"][slot, column],
                }
                if "floor" in one.arrays:
                    line["information_permuted"] = one.arrays["floor"][slot, column]
                if "rotations" in one.arrays:
                    line["information_rotated"] = one.arrays["rotations"][:, :, column].mean()
                if pair is not None:
                    line |= {"change": changes[slot, pair], "invariance": 1 - changes[slot, pair] / 2}
                    if "E_rotations" in one.arrays:
                        line["change_rotated"] = one.arrays["E_rotations"][:, :, pair].mean()
                lines.append(line)
    return lines


def factor_lines(row: str, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """A line for each factor: information of all slots, redundancy, equivariance, invariance."""
    lines = []
    for one in measured:
        whole, changes = one.whole.matrix()[0], one.pairs.matrix()
        for column, name in enumerate(one.whole.names):
            line = {
                "row": row,
                "factor": name,
                "information": whole[column],
                "redundancy": one.arrays["redundancy"][column],
            }
            if name in one.pairs.names:
                pair = one.pairs.names.index(name)
                line |= {
                    "equivariance": one.arrays["equivariance"][pair],
                    "invariance": 1 - changes[:, pair].mean() / 2,
                }
            lines.append(line)
    return lines
