"""Two arms compared in every stratum, corrected for their number, and put in words.

What is tested is D. Of the primary stratum, and of time bases of the second arm in it, the decision needs all of them
to hold, so that no correction is made. D of the other strata, on both measures, is a family with Holm's correction, and
is above or below 0 only by the p so adjusted. Completeness, information and the stratum of all factors, whose factors
are those of the others, are in no family: they are described, not tested. The first arm beats its rotations where each
of its models does, on both measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from m2l2_mir.disentangle.compare import LEVEL, Arm, compare_arms
from m2l2_mir.disentangle.decision import DECIDING, decide, is_purer
from m2l2_mir.probe.comparison import holm

__all__ = ["arm_name", "compare_strata"]


def compare_strata(
    first: Sequence[str],
    second: Sequence[str],
    bases: Mapping[str, Sequence[str]],
    arms: Mapping[tuple[str, str], Arm],
    strata: Sequence[str],
    primary: str,
    scores: Sequence[Mapping[str, Any]],
    controllable: bool | None,
) -> dict[str, Any]:
    """Compare two arms in every stratum, and the primary one with time bases of the second; decide.

    Parameters
    ----------
    first, second
        Names of the models of each arm.
    bases
        Names of the models of the second arm in other time bases, by name of the basis.
    arms
        By model and stratum.
    strata, primary
        Names.
    scores
        Lines of :func:`~m2l2_mir.disentangle.lines.score_lines`, for the null of the first arm.
    controllable
        As :func:`~m2l2_mir.disentangle.decision.decide` takes it.

    Returns
    -------
    dict
        ``comparison`` (``first``, ``second``, ``primary``, ``strata``, ``bases``, ``beats_null``), ``decision`` and
        ``sentence``. Lines of ``strata`` and ``bases`` are those of :func:`compare_arms` with ``tested``, and in the
        family ``p_holm``.
    """

    def compared(stratum: str, others: Sequence[str]) -> dict[str, dict[str, Any]]:
        return compare_arms([arms[name, stratum] for name in first], [arms[name, stratum] for name in others])

    by_stratum = {stratum: compared(stratum, second) for stratum in strata}
    in_bases = {name: compared(primary, many) for name, many in bases.items()}
    for stratum, one in (*by_stratum.items(), *((primary, one) for one in in_bases.values())):
        for what, line in one.items():
            line["tested"] = stratum == primary and what in DECIDING
    family = [
        by_stratum[stratum][what]
        for stratum in strata
        if stratum not in (primary, "all")
        for what in DECIDING
        if what in by_stratum[stratum]
    ]
    for line, p in zip(family, holm([line["p"] for line in family]), strict=True):
        # With few pairs of seeds there is no p to adjust, and so no test.
        line |= {"p_holm": float(p), "tested": math.isfinite(p)}
        line |= {side: bool(line[side] and p < LEVEL) for side in ("above", "below")}
    own = [
        line for line in scores if line["row"] in first and line["stratum"] == primary and line["score"].endswith("D")
    ]
    beats = bool(own) and all(is_purer(line) for line in own)
    verdict = decide(
        by_stratum[primary],
        names=(arm_name(first), arm_name(second)),
        beats_null=beats,
        bases=in_bases,
        controllable=controllable,
        stratum=primary,
    )
    return {
        "comparison": {
            "first": list(first),
            "second": list(second),
            "primary": primary,
            "strata": by_stratum,
            "bases": in_bases,
            "beats_null": beats,
        },
        "decision": verdict.decision,
        "sentence": verdict.sentence,
    }


def arm_name(names: Sequence[str]) -> str:
    """Of the models of an arm."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
