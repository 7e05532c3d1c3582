"""Which slot holds what, in words: what exceeds the same in every slot of random rotations of the code.

Conventions
-----------
* Listed is what a slot tells (P1), or by what it is moved (P2), beyond 95 % of rotations, each by the slot of it that
  tells, or is moved, most. Of a matrix of noise about one factor in twenty is so told by some slot.
* Unique: what all slots together tell of a factor, and not without this slot; listed from :data:`LEAST` on, since
  differences of two held-out numbers lie on both sides of 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from m2l2_mir.disentangle.decision import is_undefined, plain

__all__ = ["slot_sentences", "slot_table"]

LEAST = 0.05
LISTED = 4  # factors of a slot

TITLES = {
    "information": "tells, beyond rotated slots",
    "unique": "alone knows",
    "change": "is moved by, beyond rotated slots",
}


def slot_table(found: Mapping[str, Any], row: str) -> pd.DataFrame:
    """Of each slot of a row the factors that stand out, those first that exceed most; a column for what was measured.

    Parameters
    ----------
    found
        Results.
    row
        Its name.
    """
    slots: dict[int, list[Mapping[str, Any]]] = {}
    for line in found["cells"]:
        if line["row"] == row:
            slots.setdefault(int(line["slot"]), []).append(line)
    lines = [line for of in slots.values() for line in of]
    titles = {what: title for what, title in TITLES.items() if any(not is_undefined(line.get(what)) for line in lines)}
    return pd.DataFrame(
        [
            {"slot": str(slot), **{title: _listed(of, what) for what, title in titles.items()}}
            for slot, of in slots.items()
        ]
    )


def slot_sentences(found: Mapping[str, Any], row: str) -> list[str]:
    """What slots tell beyond rotated slots, slot by slot, for a reader who sees no table."""
    table = slot_table(found, row)
    title = TITLES["information"]
    told = table[table[title] != ""]
    said = [f"Slot {slot} tells {factors}" for slot, factors in zip(told["slot"], told[title], strict=True)]
    if silent := [str(slot) for slot in table.loc[table[title] == "", "slot"]]:
        many = "slots " if len(silent) > 1 else "slot "
        said.append(f"No factor is told by {many}{', '.join(silent)} beyond what slots of a rotated code tell")
    return said


def _listed(lines: Sequence[Mapping[str, Any]], what: str) -> str:
    beyond = {line["factor"]: line[what] - _bound(line, what) for line in lines if _stands_out(line, what)}
    chosen = sorted(beyond, key=lambda factor: -beyond[factor])
    numbers = {line["factor"]: plain(line.get(what)) for line in lines}
    text = ", ".join(f"{factor} {numbers[factor]}" for factor in chosen[:LISTED])
    return text + (f" and {len(chosen) - LISTED} more" if len(chosen) > LISTED else "")


def _stands_out(line: Mapping[str, Any], what: str) -> bool:
    return not is_undefined(line.get(what)) and bool(line[what] > _bound(line, what))


def _bound(line: Mapping[str, Any], what: str) -> float:
    """What a number has to exceed; no number does where no rotations were drawn."""
    if what == "unique":
        return LEAST
    most = line.get(f"{what}_rotated_most")
    return math.inf if most is None or is_undefined(most) else max(float(most), LEAST)
