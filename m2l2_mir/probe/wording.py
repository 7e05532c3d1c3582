"""What was found, in words: one sentence of the first section of a probe.

A row is said to be below or above the model where the adjusted p of the paired difference is under .05; all other rows
are said to be not distinguishable, by these tracks and seeds, and never to be equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m2l2_mir.probe.comparison import NOT_DISTINGUISHABLE, NOT_TESTED
from m2l2_mir.probe.experiment import MAJORITY

__all__ = ["sentence"]


def sentence(scores: Mapping[str, Any]) -> str:
    """Say how the model did, beside its controls and the hand-made rows.

    Parameters
    ----------
    scores
        Of :class:`m2l2_mir.probe.experiment.ProbeResult`.

    Returns
    -------
    str
        Such as ``"m2l2-small: key accuracy .71 [.66, .75], above its untrained self (.49), majority (.04) and every
        hand-made row but chroma (.94, above it)"``.
    """
    section = scores["sections"][0]
    metric, model = section["primary"], scores["model"]
    found = {line["row"]: line for line in section["scores"] if line["metric"] == metric}
    standing = {line["row"]: _standing(line) for line in section["comparisons"]}
    rows = [row for row in scores["rows"] if row["name"] in standing]
    own = found[model]
    interval = f" [{_short(own['low'])}, {_short(own['high'])}]" if own["low"] is not None else ""
    few = f" ({own['method']} interval over {own['groups']} groups)" if own["method"] in ("t", "exact") else ""
    missing = section["expected"] - section["scored"]
    counted = f", {section['scored']} of {section['expected']} tracks scored" if missing else ""
    groups = {
        below: [
            _named(row, model, found) for row in rows if standing[row["name"]] == below and row["kind"] != "hand-made"
        ]
        for below in ("below", "above", NOT_DISTINGUISHABLE, NOT_TESTED)
    }
    hand_made = [row for row in rows if row["kind"] == "hand-made"]
    summed = _hand_made(hand_made, standing, found)
    if summed:
        groups["below"].append(summed)
    else:
        for row in hand_made:
            groups[standing[row["name"]]].append(_named(row, model, found))
    verbs = {
        "below": "above",
        "above": "below",
        NOT_DISTINGUISHABLE: "not distinguishable from",
        NOT_TESTED: "not tested against",
    }
    parts = [f"{verb} {_listed(groups[key])}" for key, verb in verbs.items() if groups[key]]
    title = scores["title"].lower()
    return f"{model}: {title} {metric} {_short(own['estimate'])}{interval}{few}{counted}; {'; '.join(parts)}"


def _hand_made(rows: Sequence[Mapping[str, Any]], standing: Mapping[str, str], found: Mapping[str, Any]) -> str:
    """All of these rows, or all but few of them, in a few words; "" if it is not most of them that are below."""
    but = [row["name"] for row in rows if standing[row["name"]] != "below"]
    if len(rows) < 2 or 2 * len(but) >= len(rows):
        return ""
    if not but:
        return f"every hand-made row (at most {_short(max(found[row['name']]['estimate'] for row in rows))})"
    states = {"above": "above it"}
    named = [
        f"{name} ({_short(found[name]['estimate'])}, {states.get(standing[name], standing[name])})" for name in but
    ]
    return f"every hand-made row but {_listed(named)}"


def _named(row: Mapping[str, Any], model: str, found: Mapping[str, Any]) -> str:
    name = row["name"]
    if row["kind"] == "untrained" and name == f"untrained {model.removeprefix('random:')}":
        name = "its untrained self"
    elif name == MAJORITY:
        name = "the majority class"
    return f"{name} ({_short(found[row['name']]['estimate'])})"


def _standing(line: Mapping[str, Any]) -> str:
    """Where the row is, seen from the model."""
    return line["mark"] or ("above" if line["difference"] > 0 else "below")


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _short(value: float | None) -> str:
    """Two digits, without the zero before the point.

    >>> _short(0.714), _short(1.0), _short(-0.05)
    ('.71', '1.00', '-.05')
    """
    if value is None:
        return "not defined"
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
