"""From measurements to lines of results: strata, scores beside their nulls, matrices cell by cell, factor by factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.compare import Arm
from m2l2_mir.disentangle.evidence import Evidence
from m2l2_mir.disentangle.measure import Measured
from m2l2_mir.disentangle.nulls import against_null
from m2l2_mir.disentangle.paired import spread_of

__all__ = ["LEAST_FACTORS", "Stratum", "arm_of", "cell_lines", "factor_lines", "score_lines", "strata_of_blocks"]

LEVEL = 0.95
LEAST_FACTORS = 2  # of a stratum whose entropies are defined

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
    """What a model gives in a stratum, from what was measured of it on each block."""

    def joined(part: str) -> Evidence:
        pieces = []
        for number, one in enumerate(measured):
            evidence: Evidence = getattr(one, part)
            here = [name for block, name in chosen if block == number and name in evidence.names]
            if here:
                pieces.append(evidence.of(here))
        return Evidence.joined(pieces) if pieces else getattr(measured[0], part).of([])

    return Arm(slots=joined("slots"), whole=joined("whole"), pairs=joined("pairs"))


def score_lines(row: str, stratum: str, arm: Arm) -> list[dict[str, Any]]:
    """D and C of P1 and P2, raw, with interval, rotations, permuted labels; and the information of all slots.

    Intervals of P2 are of the score less its bias, ``unbiased``.
    """
    lines: list[dict[str, Any]] = []
    for part, evidence in (("P1", arm.slots), ("P2", arm.pairs)):
        if len(evidence.names) < LEAST_FACTORS:
            continue
        own, left_out = evidence.scores(), evidence.scores("left_out")
        nulls = {"rotation": evidence.scores("rotations"), "permutation": evidence.scores("permutations")}
        for name in "DC":
            score = float(own[name])
            spread = spread_of(score, left_out[name])
            centre = score - spread.bias if part == "P2" else score
            low, high = spread.interval(centre, bounds=(0.0, 1.0))
            line = _line(row, stratum, f"{part} {name}", evidence, score, low, high)
            if part == "P2":
                line["unbiased"] = centre
            for title, drawn in nulls.items():
                if len(drawn[name]):
                    line |= {f"{title}_{key}": value for key, value in against_null(score, drawn[name]).items()}
            lines.append(line)
    told = float(arm.whole.matrix.mean())
    low, high = spread_of(told, arm.whole.left_out.mean(axis=(1, 2))).interval(told, bounds=(0.0, 1.0))
    lines.append(_line(row, stratum, "information", arm.whole, told, low, high))
    return lines


def _line(
    row: str, stratum: str, score: str, evidence: Evidence, estimate: float, low: float, high: float
) -> dict[str, Any]:
    return {
        "row": row,
        "stratum": stratum,
        "score": score,
        "estimate": estimate,
        "low": low,
        "high": high,
        "factors": len(evidence.names),
        "items": evidence.items,
        "groups": evidence.groups,
    }


def cell_lines(row: str, measured: Sequence[Measured], blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """A line for each slot and factor: P1, what permutation and rotation give of it, unique information, P2.

    ``..._rotated_most`` is the 95 % of what the slot tells, or moves, that does so most of all slots of a rotation.
    """
    lines = []
    for one, block in zip(measured, blocks, strict=True):
        information, changes = one.slots.matrix, one.pairs.matrix
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
                if len(one.slots.permutations):
                    line["information_permuted"] = one.slots.permutations[:, slot, column].mean()
                if len(one.slots.rotations):
                    line |= _rotated("information", one.slots.rotations[:, :, column])
                if pair is not None:
                    line |= {"change": changes[slot, pair], "invariance": 1 - changes[slot, pair] / 2}
                    if len(one.pairs.rotations):
                        line |= _rotated("change", one.pairs.rotations[:, :, pair])
                lines.append(line)
    return lines


def _rotated(what: str, drawn: NDArray[np.float64]) -> dict[str, float]:
    """Of rotations [draws, K] of one factor."""
    return {
        f"{what}_rotated": float(drawn.mean()),
        f"{what}_rotated_most": float(np.quantile(drawn.max(axis=1), LEVEL)),
    }


def factor_lines(row: str, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """A line for each factor: information of all slots, redundancy, equivariance, invariance, with 95 % intervals.

    ``..._low`` and ``..._high`` are over groups, ``redundancy_rotated`` and ``invariance_rotated`` means of rotations.
    """
    lines = []
    for one in measured:
        for column, name in enumerate(one.whole.names):
            K = one.slots.matrix.shape[0]
            whole, each = _mean_of_slots(one.whole, column), _mean_of_slots(one.slots, column)
            shared = [K * own - told for own, told in zip(each, whole, strict=True)]
            line: dict[str, Any] = {"row": row, "factor": name}
            line |= _with_interval("information", whole, (0.0, 1.0))
            line |= _with_interval("redundancy", shared, (-1.0, float(K)))
            if len(drawn := one.slots.rotations):  # all slots of a rotated code tell what all slots of the code do
                line["redundancy_rotated"] = float(K * drawn[..., column].mean() - whole[0])
            if name in one.pairs.names:
                pair = one.pairs.names.index(name)
                names = ("equivariance", "equivariance_low", "equivariance_high")
                line |= dict(zip(names, map(float, one.arrays["equivariance"][:, pair]), strict=True))
                stayed = [1 - moved / 2 for moved in _mean_of_slots(one.pairs, pair)]
                line |= _with_interval("invariance", stayed, (-np.inf, 1.0))
                if len(drawn := one.pairs.rotations):
                    line["invariance_rotated"] = float(1 - drawn[..., pair].mean() / 2)
            lines.append(line)
    return lines


def _mean_of_slots(evidence: Evidence, column: int) -> list[NDArray[np.float64]]:
    """Of one factor: a number, and without each block [blocks]."""
    return [part[..., column].mean(axis=-1) for part in (evidence.matrix, evidence.left_out)]


def _with_interval(name: str, values: list[NDArray[np.float64]], bounds: tuple[float, float]) -> dict[str, float]:
    """Of an estimate, and of the same without each block."""
    estimate = float(values[0])
    low, high = spread_of(estimate, values[1]).interval(estimate, bounds=bounds)
    return {name: estimate, f"{name}_low": low, f"{name}_high": high}
