"""Tables beside slot scores: factor by factor, unseen combinations, single dimensions, slot identity, decoder swaps.

Conventions
-----------
* Frames hold numbers, a line for each thing measured, for files that a program reads. Tables hold text, for pages.
* All take results as :func:`~m2l2_mir.disentangle.results.read_results` gives them; what a run did not measure gives
  an empty frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from m2l2_mir.disentangle.decision import is_undefined, plain, signed
from m2l2_mir.disentangle.paired import Spread

__all__ = [
    "ARMS_NOTE",
    "BESIDE",
    "SEEDS_NOTE",
    "SWAPS_NOTES",
    "arms_table",
    "classics_table",
    "factor_table",
    "generalisation_table",
    "identity_frame",
    "identity_table",
    "seeds_table",
    "swap_frame",
    "swap_tables",
]

Found = Mapping[str, Any]

ARMS_NOTE = (
    "first, second: information of all slots together, means over pairs; 95 %: Student's interval over pairs, of these "
    "clips, not corrected for the number of factors: described, not tested"
)
SWAPS_NOTES = (
    "random subspaces, all slots, noise alone: share of pairs whose attribute moves to the donor's when a random "
    "subspace as wide as a slot, all slots, or nothing but the noise of the decoder is changed; of slots, that share "
    "less that of random subspaces",
    "estimator: how well it follows the true factor on renders and on plain reconstructions (rank correlation; of "
    "pitch classes the length of the mean difference on the circle); where that is low, its column says nothing",
)
SEEDS_NOTE = (
    "matched: held-out linear predictability between slots after the best assignment of one model's slots to the "
    "other's; exchanged slots: the same where slots change places clip by clip"
)

IDENTITY = {  # titles and digits
    "spread": ("spread", 3),
    "saturated": ("saturated", 2),
    "effective_rank": ("effective rank", 1),
    "recognised": ("recognised", 2),
    "adjacent": ("next chunk", 2),
    "within": ("same clip", 2),
    "between": ("other music", 2),
    "kept": ("nearest to itself", 2),
}


def factor_table(found: Found) -> pd.DataFrame:
    """Information, redundancy, equivariance and invariance of every row and factor, with intervals, as text."""
    lines = []
    for line in found["told"]:
        shown = {"row": line["row"], "factor": line["factor"]}
        for name in ("information", "redundancy", "equivariance", "invariance"):
            shown[name] = "" if name not in line else _estimate(line[name], line[f"{name}_low"], line[f"{name}_high"])
            if name in ("redundancy", "invariance"):
                shown[f"{name}, rotated"] = _known(line.get(f"{name}_rotated"))
        lines.append(shown)
    return pd.DataFrame(lines)


def arms_table(found: Found) -> pd.DataFrame:
    """Information of each factor by all slots, means of both arms over pairs of seeds, as text; empty of a single pair.

    The interval of the difference is Student's over pairs.
    """
    compared = found["comparison"]
    if not compared or (pairs := len(compared["first"])) < 2:
        return pd.DataFrame()
    told = pd.DataFrame(found["told"])
    by_row = told.pivot(index="factor", columns="row", values="information").loc[told["factor"].unique()]
    first, second = (by_row[compared[arm]].to_numpy(dtype=float) for arm in ("first", "second"))
    lines = []
    for factor, ours, theirs in zip(by_row.index, first, second, strict=True):
        differences = ours - theirs
        spread = Spread(variance=float(differences.var(ddof=1)) / pairs, freedom=pairs - 1, bias=0.0)
        low, high = spread.interval(float(differences.mean()))
        lines.append(
            {
                "factor": factor,
                "first": plain(float(ours.mean())),
                "second": plain(float(theirs.mean())),
                "difference": signed(float(differences.mean())),
                "95 %": "" if is_undefined(low) else f"[{signed(low)}, {signed(high)}]",
                "pairs above 0": f"{np.count_nonzero(differences > 0)} of {pairs}" if differences.any() else "",
            }
        )
    return pd.DataFrame(lines)


def generalisation_table(found: Found) -> pd.DataFrame:
    """Information of factors on combinations that training heard and on such as it did not, as text."""
    return pd.DataFrame(
        [
            {
                "row": line["row"],
                "factor": line["factor"],
                "beside": ", ".join(line["beside"]),
                "seen": plain(line["seen"]),
                "unseen": plain(line["unseen"]),
                "difference": signed(line["difference"]),
                "95 %": "" if is_undefined(line["low"]) else f"[{signed(line['low'])}, {signed(line['high'])}]",
            }
            for line in found.get("unseen", [])
        ]
    )


def classics_table(found: Found) -> pd.DataFrame:
    """Metrics of single dimensions beside their nulls, as text."""
    return pd.DataFrame(
        [
            {
                "row": line["row"],
                "block": line["block"],
                "metric": line["metric"],
                "raw": _estimate(line["estimate"], line.get("low"), line.get("high")),
                "random rotations": _known(line.get("rotation")),
                "permuted": _known(line.get("permutation")),
                "normalised": plain(line.get("normalised")),
            }
            for line in found.get("classics", [])
        ]
    )


def identity_frame(found: Found) -> pd.DataFrame:
    """A line for each row and slot; ``match`` is the slot of the second model that goes with one of the first."""
    lines = []
    for place, (row, one) in enumerate(found.get("identity", {}).items()):
        stability, matching = one.get("stability") or {}, found.get("matching") if place == 0 else None
        for slot, confusion in enumerate(one["confusion"]):
            line = {"row": row, "slot": slot + 1, "recognised": confusion[slot]}
            line |= {name: one["health"][name][slot] for name in ("spread", "saturated", "effective_rank")}
            line |= {name: stability[name][slot] for name in ("adjacent", "within", "between", "kept") if stability}
            if matching:
                other = matching["match"][slot]
                line |= {"match": other + 1, "similarity": matching["similarity"][slot][other]}
            lines.append(line)
    frame = pd.DataFrame(lines)
    return frame.astype({"match": "Int64"}) if "match" in frame else frame


def identity_table(found: Found) -> pd.DataFrame:
    """Collapse, saturation and stability of every slot of every row, as text."""
    frame = identity_frame(found)
    table = frame[["row", "slot"]].astype(str) if len(frame) else frame
    for name, (title, digits) in IDENTITY.items():
        if name in frame:
            table[title] = ["" if is_undefined(value) else f"{value:.{digits}f}" for value in frame[name]]
    return table


def seeds_table(found: Found) -> pd.DataFrame:
    """Whether slots come again with another seed, arm by arm, as text."""
    return pd.DataFrame(
        [
            {
                "arm": name,
                "matched": f"{one['first']} with {len(one['others'])} more",
                "lowest": plain(min(one["matched"])),
                "mean": plain(sum(one["matched"]) / len(one["matched"])),
                "highest": plain(max(one["matched"])),
                "exchanged slots": plain(one["chance"]),
            }
            for name, one in (found.get("seeds") or {}).items()
            if one
        ]
    )


def swap_frame(found: Found) -> pd.DataFrame:
    """A line for each row, plan, slot and attribute of decoder swaps: T with its interval, and what stands beside."""
    lines = []
    for row, one in found.get("swaps", {}).items():
        for plan in one["plans"]:
            of_plan = {name: plan[name] for name in ("block", "context", "seeds", "null_swaps")}
            for place, (attribute, calibration) in enumerate(zip(plan["attributes"], plan["calibration"], strict=True)):
                of_attribute = {name: plan[name][place] for name in ("counted", "null", "ceiling", "floor")}
                of_attribute |= {name: calibration[name] for name in ("factor", "renders", "reconstructions")}
                lines += [
                    {
                        "row": row,
                        **of_plan,
                        "slot": slot + 1,
                        "attribute": attribute,
                        **{name: plan[name][slot][place] for name in ("transfer", "low", "high", "moved")},
                        **of_attribute,
                        "pairs": len(plan["pairs"]),
                    }
                    for slot in range(len(plan["transfer"]))
                ]
    return pd.DataFrame(lines)


def swap_tables(found: Found) -> dict[str, pd.DataFrame]:
    """By title, of each row and plan: T of each slot with its interval, and shares that move beside it, as text."""
    tables = {}
    for row, one in found.get("swaps", {}).items():
        for plan in one["plans"]:
            behind = "" if plan["context"] == "none" else f", behind a chunk of the {plan['context']}"
            lines = [
                {"slot": str(slot + 1), **_attributes(plan, [*map(_estimate, *(plan[of][slot] for of in _T))])}
                for slot in range(len(plan["transfer"]))
            ]
            lines += [
                {"slot": title, **_attributes(plan, [plain(share) for share in plan[name]])}
                for name, title in BESIDE.items()
            ]
            lines += [
                {"slot": title, **_attributes(plan, [plain(line[name]) for line in plan["calibration"]])}
                for name, title in _CALIBRATED.items()
            ]
            tables[f"Decoder swaps of {row}, clips of {plan['block']}{behind}"] = pd.DataFrame(lines)
    return tables


_T = ("transfer", "low", "high")
_CALIBRATED = {"renders": "estimator, on renders", "reconstructions": "estimator, on reconstructions"}
BESIDE = {"null": "random subspaces", "ceiling": "all slots", "floor": "noise alone"}


def _attributes(plan: Mapping[str, Any], values: list[str]) -> dict[str, str]:
    return dict(zip(plan["attributes"], values, strict=True))


def _estimate(value: float | None, low: float | None, high: float | None) -> str:
    return plain(value) + ("" if is_undefined(low) else f" [{plain(low)}, {plain(high)}]")


def _known(value: float | None) -> str:
    """Nothing where a null was not drawn."""
    return "" if value is None else plain(value)
