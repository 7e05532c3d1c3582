"""The decision rule: from compared arms to one word, and the sentence that says what was found and what was not.

"yes" iff, on global factors, D of the first arm is higher with its whole interval on slot scores (P1) and on
counterfactual scores (P2), the first arm beats its own rotation null on both, no time basis of the second arm closes
the gap, all slots together tell no less (to within the margin), and decoder swaps, where they were made, move what they
should. P1 and P2 must both hold, so that no correction is made between them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from m2l2_mir.disentangle.compare import MARGIN, PAIRS

__all__ = [
    "DECIDING",
    "DECISIONS",
    "LEAST_TOLD",
    "Verdict",
    "decide",
    "describe",
    "describe_swaps",
    "is_purer",
    "is_undefined",
    "plain",
    "signed",
]

DECIDING = ("P1 D", "P2 D")

DECISIONS = {
    "yes": "the first arm disentangles better",
    "not controllable": "it does by its scores, but decoder swaps are not shown to move more than a random subspace",
    "no better than its null": "higher than the other, but not shown to be higher than random rotations of its own",
    "change of basis": "not shown to be higher than a transform of the other's K positions: a change of basis, perhaps",
    "less informative": "higher, but all its slots together may tell less",
    "probe artefact": "the two measures disagree, so it is put down to the measure",
    "only compaction": "fewer slots tell of each factor (completeness), but slots are no purer",
    "opposite": "the other arm disentangles better",
    "equivalent": f"no difference: equal within {MARGIN:g}",
    "no difference shown": "no difference is shown, nor that they are equal",
    "too little told": "an arm tells hardly anything of the factors, so that D says nothing",
    "not decided": "P1, P2 and their nulls are all needed; one of them is missing, or its null leaves no room",
}

WITHIN = ("equivalent", "only compaction")  # decisions that say themselves that D is equal within the margin

PURER = 0.05  # largest p against random rotations; 19 of them can reach it
LEAST_TOLD = 0.02  # of the factors by all slots together: D and C are shares, and of nothing they say nothing

Compared = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``decision`` is a key of ``DECISIONS``."""

    decision: str
    sentence: str


def decide(
    primary: Compared,
    *,
    names: tuple[str, str],
    beats_null: bool,
    bases: Mapping[str, Compared] | None = None,
    controllable: bool | None = None,
    stratum: str = "global",
) -> Verdict:
    """Apply the rule.

    Parameters
    ----------
    primary
        Global factors, from :func:`~m2l2_mir.disentangle.compare.compare_arms`.
    names
        Of the arms.
    beats_null
        Whether D of the first arm is purer than its rotations (:func:`is_purer`), on P1 and on P2.
    bases
        The same comparison with the second arm in other time bases, by name; none: not tried.
    controllable
        Whether decoder swaps of the first arm move more than the null; None: not tried.
    stratum
        Of the factors, for the sentence.

    Returns
    -------
    Verdict
        Its sentence gives differences, intervals, how many checkpoints it rests on, and what was not tried.
    """
    p1, p2, told = primary.get("P1 D"), primary.get("P2 D"), primary["information"]
    closing = next(
        (name for name, other in (bases or {}).items() if not all(other[what]["above"] for what in DECIDING)), None
    )
    if p1 is None or p2 is None or not all(math.isfinite(one["difference"]) for one in (p1, p2)):
        decision = "not decided"
    elif min(told["first"], told["second"]) < LEAST_TOLD:
        decision = "too little told"
    elif p1["above"] and p2["above"]:
        if not beats_null:
            decision = "no better than its null"
        elif closing is not None:
            decision = "change of basis"
        elif not told["low"] > -MARGIN:
            decision = "less informative"
        elif controllable is False:
            decision = "not controllable"
        else:
            decision = "yes"
    elif p1["below"] and p2["below"]:
        decision = "opposite"
    elif _disagree(p1, p2) or _disagree(p2, p1):
        decision = "probe artefact"
    elif p1["equivalent"] and p2["equivalent"]:
        compact = primary["P1 C"]["above"] and primary["P2 C"]["above"]
        decision = "only compaction" if compact else "equivalent"
    else:
        decision = "no difference shown"
    sentence = _sentence(decision, primary, names, closing, controllable, bool(bases), stratum)
    return Verdict(decision=decision, sentence=sentence)


def _disagree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether one says that there is a difference, and the other that there is none or the opposite."""
    against = other["below"] if one["above"] else other["above"]
    return bool((one["above"] or one["below"]) and (against or other["equivalent"]))


def is_purer(line: Mapping[str, Any]) -> bool:
    """Whether a score exceeds its random rotations with p of :data:`PURER` at most, and by more than the margin.

    >>> is_purer({"rotation_p": 0.02, "rotation_normalised": 0.3}), is_purer({"rotation_p": 0.1})
    (True, False)
    """
    p, normalised = line.get("rotation_p"), line.get("rotation_normalised")
    return p is not None and normalised is not None and bool(p <= PURER and normalised > MARGIN)


def describe(found: Mapping[str, Any], primary: str) -> str:
    """The sentence of one model alone: whether its slots are purer than random rotations of them, on P1 and on P2.

    Parameters
    ----------
    found
        Of :func:`~m2l2_mir.disentangle.experiment.run_analysis`: ``model`` and ``scores``.
    primary
        Stratum that is told of.
    """
    own = {
        line["score"]: line for line in found["scores"] if line["row"] == found["model"] and line["stratum"] == primary
    }
    told, purer, lost = [], [], []
    for title, what in (("slot scores (P1)", "P1 D"), ("counterfactual scores (P2)", "P2 D")):
        if (line := own.get(what)) is None:
            told.append(f"{title} not measured")
            continue
        null = line.get("rotation_mean")
        beside = "" if null is None else f" against {plain(null)} of random rotations"
        bias = f" (less its bias {plain(line['unbiased'])})" if "unbiased" in line else ""
        told.append(f"{title} {plain(line['estimate'])}{bias}{_interval(line)}{beside}")
        if null is not None:
            purer.append(is_purer(line))
            lost.append(is_undefined(line["rotation_normalised"]))
    if own["information"]["estimate"] < LEAST_TOLD:
        verdict = "They tell hardly anything of the factors, so that D says nothing"
    elif not purer:
        verdict = "No null was drawn, so that nothing follows"
    elif all(purer):
        verdict = "Its slots are purer than chance on " + ("both" if len(purer) == 2 else "the one that was measured")
    elif any(purer):
        verdict = "Its slots are purer than chance on one of the two only, so that nothing follows"
    elif any(lost):
        verdict = "Rotations reach nearly 1 as well, so that nothing can be distinguished"
    else:
        verdict = "Its slots are not shown to be purer than random rotations of them"
    information = own["information"]
    scope = "One checkpoint: this says nothing of others, nor why"
    kind = "" if primary == "labels" else f", {primary} factors"
    return (
        f"{found['model']}{kind}: disentanglement D on {'; on '.join(told)}; all slots tell "
        f"{plain(information['estimate'])}{_interval(information)} of the factors. {verdict}. {scope}"
    )


def describe_swaps(name: str, control: Mapping[str, Any] | None) -> str:
    """The sentence of decoder swaps.

    Parameters
    ----------
    name
        Of the model.
    control
        Of :func:`~m2l2_mir.disentangle.swapping.controllable`.
    """
    if control is None:
        return f"{name}, decoder swaps: no attribute can be measured on what it decodes, so that nothing follows"
    asked = ", ".join(f"{attribute} by slot {slot}" for attribute, slot in control["slots"].items())
    verdict = "its slots can be swapped" if control["controllable"] else "not shown to be more than the null"
    return (
        f"{name}, decoder swaps: the slot that tells most of an attribute ({asked}) moves it to the donor's in "
        f"{signed(control['estimate'])} [{signed(control['low'])}, {signed(control['high'])}] of pairs more than a "
        f"random subspace does: {verdict}"
    )


def _sentence(
    decision: str,
    primary: Compared,
    names: tuple[str, str],
    closing: str | None,
    controllable: bool | None,
    tried: bool,
    stratum: str,
) -> str:
    pairs = int(primary["information"]["pairs"])
    found = "; ".join(
        f"{title} {_difference(primary[what])}"
        for title, what in (
            ("D on slot scores (P1)", "P1 D"),
            ("on counterfactual scores (P2)", "P2 D"),
            ("information of all slots", "information"),
        )
        if what in primary
    )
    verdict = DECISIONS[decision]
    if pairs < PAIRS:
        verdict = verdict.replace(" arm", " checkpoint" if pairs == 1 else " checkpoints")
    if decision == "change of basis":
        verdict += f" ({closing})"
    if decision == "probe artefact":
        holds = [what[:2] for what in ("P1 D", "P2 D") if primary[what]["above"] or primary[what]["below"]]
        verdict += f" (a difference on {' and '.join(holds)}{', of opposite sign' if len(holds) > 1 else ' only'})"
    if decision not in WITHIN and all(primary.get(what, {}).get("equivalent") for what in DECIDING):
        verdict += f"; both differences lie within the margin of {MARGIN:g} that counts as equal"
    if pairs >= PAIRS:
        scope = f"{pairs} pairs of seeds"
    else:
        many = "one pair of checkpoints" if pairs == 1 else f"{pairs} pairs of checkpoints"
        scope = f"{many}, fewer than {PAIRS}: this describes these checkpoints only, not the recipe that they come from"
    untried = ["decoder swaps do not count: not made, or not measurable"] if controllable is None else []
    if not tried:
        untried.append("no time basis of the other was tried, so that a mere change of basis is not ruled out")
    kind = "" if stratum == "labels" else f", {stratum} factors"
    return f"{names[0]} less {names[1]}{kind}: {found}. {verdict[0].upper()}{verdict[1:]} ({decision}). " + (
        "; ".join([scope[0].upper() + scope[1:], *untried])
    )


def _interval(line: Mapping[str, Any]) -> str:
    return "" if is_undefined(line["low"]) else f" [{plain(line['low'])}, {plain(line['high'])}]"


def is_undefined(value: float | None) -> bool:
    """None is what nan becomes in a file."""
    return value is None or not math.isfinite(value)


def _difference(one: Mapping[str, Any]) -> str:
    if not math.isfinite(one["difference"]):
        return "not defined"
    if is_undefined(one["low"]):
        return f"{signed(one['difference'])}, without an interval"
    return f"{signed(one['difference'])} [{signed(one['low'])}, {signed(one['high'])}]"


def plain(value: float | None) -> str:
    """Two digits, without the zero before the point; "?" where there is none.

    >>> plain(0.125), plain(1.0), plain(-0.001), plain(None)
    ('.12', '1.00', '.00', '?')
    """
    if value is None or not math.isfinite(value):
        return "?"
    value = round(value, 2) + 0.0  # no minus before a zero
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.2f}"


def signed(value: float | None) -> str:
    """Two digits and a sign; "?" where there is none.

    >>> signed(0.125), signed(-1.0), signed(-0.001), signed(None)
    ('+.12', '-1.00', '+.00', '?')
    """
    if value is None or not math.isfinite(value):
        return "?"
    text = f"{round(value, 2) + 0.0:+.2f}"  # no minus before a zero
    return text.replace("0.", ".", 1) if text[1:].startswith("0.") else text
