"""Everything that is measured of one source of slots on one block of clips, kept as one file.

slots of clips --slot scores, again without blocks of groups, of permuted labels, of rotations--> P1
slots of pairs --counterfactual scores, likewise--> P2; equivariance
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.counterfactual import counterfactual_evidence
from m2l2_mir.disentangle.equivariance import equivariance
from m2l2_mir.disentangle.evidence import Evidence
from m2l2_mir.disentangle.nulls import NULLS, Nulls
from m2l2_mir.disentangle.slots import slot_scores
from m2l2_mir.durable import write_durably
from m2l2_mir.errors import InputError

__all__ = ["Measured", "measure"]

Floats = NDArray[np.float64]
SlotsOf = Callable[[Sequence[str]], NDArray[np.floating]]

_PARTS = ("slots", "whole", "pairs")
_DRAWN = ("left_out", "rotations", "permutations")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Evidence of P1 (of each slot, of all slots) and P2, and matrices beside it.

    Parameters
    ----------
    slots, whole
        P1; `whole` has one slot only: all of them.
    pairs
        P2; without columns where there are no pairs.
    arrays
        ``unique`` [K, F] and ``moved`` [F] of slot scores; ``equivariance`` [3, F] of each factor of `pairs`, with the
        ends of its interval.
    """

    slots: Evidence
    whole: Evidence
    pairs: Evidence
    arrays: dict[str, Floats]

    def save(self, path: Path) -> None:
        """Write a NumPy archive, atomically."""
        held: dict[str, NDArray[np.generic]] = {f"array_{name}": array for name, array in self.arrays.items()}
        for part in _PARTS:
            one: Evidence = getattr(self, part)
            held |= {f"{part}_{name}": getattr(one, name).astype(np.float32) for name in _DRAWN}
            held |= {
                f"{part}_matrix": one.matrix,
                f"{part}_names": np.array(one.names, dtype=np.str_),
                f"{part}_counts": np.array([one.items, one.groups]),
            }
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
                parts = {part: _read(held, part) for part in _PARTS}
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
    found = slot_scores(slots, block.factors, schema=block.schema, groups=block.groups, nulls=nulls, folds=folds)
    counts: dict[str, Any] = {"names": block.names, "items": found["items"], "groups": found["groups"]}
    none = np.zeros((0, 1, len(block.names)))
    pairs, followed = _pairs(block, slots_of, slots, nulls)
    return Measured(
        slots=Evidence(
            kind="information",
            matrix=found["information"],
            left_out=found["left_out"],
            rotations=found["rotated"],
            permutations=found["permuted"],
            **counts,
        ),
        whole=Evidence(
            kind="information",
            matrix=found["information_all"][None],
            left_out=found["left_out_all"][:, None],
            rotations=none,
            permutations=none,
            **counts,
        ),
        pairs=pairs,
        arrays={"unique": found["unique"], "moved": found["moved"], "equivariance": followed},
    )


def _pairs(block: Block, slots_of: SlotsOf, reference: Floats, nulls: Nulls) -> tuple[Evidence, Floats]:
    """P2 with its nulls, and the equivariance [3, F] of its factors; without columns where there are no pairs."""
    pairs, number = block.pairs, reference.shape[1]
    if pairs.empty:
        matrix, none = np.zeros((number, 0)), np.zeros((0, number, 0))
        empty = Evidence(
            kind="change",
            names=(),
            matrix=matrix,
            left_out=none,
            rotations=none,
            permutations=none,
            items=0,
            groups=0,
        )
        return empty, np.zeros((3, 0))
    before = np.asarray(slots_of(pairs["before"].tolist()), dtype=np.float64)
    after = np.asarray(slots_of(pairs["after"].tolist()), dtype=np.float64)
    changed, groups = pairs["changed"].to_numpy(dtype=object).astype(str), pairs["group"].tolist()
    found = counterfactual_evidence(before, after, changed, reference=reference, groups=groups, nulls=nulls)
    names = [name for name in block.names if name in found.names]
    followed = []
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
        followed.append((one["equivariance"], *one["interval"]))
    return found.of(names), np.array(followed).T


def _read(held: Any, part: str) -> Evidence:
    items, groups = (int(count) for count in held[f"{part}_counts"])
    return Evidence(
        kind="change" if part == "pairs" else "information",
        names=tuple(map(str, held[f"{part}_names"])),
        matrix=held[f"{part}_matrix"],
        items=items,
        groups=groups,
        **{name: held[f"{part}_{name}"].astype(np.float64) for name in _DRAWN},
    )
