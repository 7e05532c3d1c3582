"""Tables of results: Markdown, LaTeX (booktabs), and all numbers as one long table.

Every number has its 95 % interval; what intervals rest on stands below the table. A row that is not distinguishable
from the model is marked "n.s.", not significant, and never said to be equal: its interval says what may be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from m2l2_mir.probe.comparison import NOT_DISTINGUISHABLE, NOT_TESTED
from m2l2_mir.probe.wording import sentence
from m2l2_mir.report.paper import latex_table, markdown_table

__all__ = [
    "footnotes",
    "latex",
    "long_table",
    "markdown",
    "overview",
    "overview_table",
    "section_table",
    "sign",
    "signs",
]

# Stand for NOT_DISTINGUISHABLE and NOT_TESTED.
NOT_SIGNIFICANT, UNTESTED = "n.s.", "?"


def section_table(scores: Mapping[str, Any], section: Mapping[str, Any], *, brief: bool = False) -> pd.DataFrame:
    """One line for each row, as text.

    Parameters
    ----------
    scores, section
        Of :class:`m2l2_mir.probe.experiment.ProbeResult`, and one of its sections.
    brief
        For a terminal: without the metrics beside the primary one.
    """
    found = {(line["row"], line["metric"]): line for line in section["scores"]}
    compared = {line["row"]: line for line in section["comparisons"]}
    primary = section["primary"]
    lines = []
    for row in scores["rows"]:
        name = row["name"]
        line = {"row": name, "width": str(row["width"] or "")}
        line[primary] = _with_interval(found[name, primary])
        line["less the model"] = _difference(compared.get(name), brief=brief)
        if not brief:
            line["p (Holm)"] = _p(compared.get(name))
            line |= {metric: _with_interval(found[name, metric]) for metric in scores["shown"]}
            line["sd of seeds"] = _number(found[name, primary]["seed_std"])
        line["scored"] = f"{found[name, primary]['scored']} of {found[name, primary]['expected']}"
        lines.append(line)
    return pd.DataFrame(lines)


def footnotes(scores: Mapping[str, Any], section: Mapping[str, Any]) -> list[str]:
    """What has to be said below the table of a section."""
    primary = [line for line in section["scores"] if line["metric"] == section["primary"]]
    reasons: dict[str, list[str]] = {}
    for line in primary:
        reasons.setdefault(line["reason"], []).append(line["row"])
    own = primary[0]
    sections = scores["sections"]
    tests = sum(not _missing(line["p"]) for one in sections for line in one["comparisons"])
    where = "table" if len(sections) == 1 else f"{len(sections)} tables"
    notes = [
        f"95 % intervals over {own['groups']} groups of tracks, {own['seeds']} seeds, for other tracks to test, to "
        f"train on and other seeds; differences are paired, p adjusted after Holm over the {tests} comparisons of this "
        f"probe's {where}; {signs()}",
        *(
            reason if len(rows) == len(primary) else f"{reason} ({', '.join(rows)})"
            for reason, rows in reasons.items()
            if reason
        ),
        *scores["notes"],
    ]
    warned: dict[str, list[str]] = {}
    for row, fits in section["fits"].items():
        for message, count in fits["warnings"].items():
            warned.setdefault(message, []).append(f"{row} ({count} of {fits['number']})")
    notes += [f"warned of in fits of {', '.join(rows)}: {message}" for message, rows in warned.items()]
    if section["left_out"]:
        example = section["left_out"][0]
        failed = section["expected"] - section["scored"]
        notes.append(
            f"{failed} of {section['expected']} tracks failed in some row and are left out of all, such as "
            f"{example['track_id']}: {example['reason']} (in {example['rows']})"
        )
    return notes


def markdown(scores: Mapping[str, Any]) -> str:
    """The tables of a probe with all that belongs below them."""
    data = scores["dataset"]
    parts = [f"# {scores['title']}: {scores['model']} on {data['name']}", sentence(scores) + "."]
    for section in scores["sections"]:
        parts.append(f"## Split {section['split']}, read-out {section['readout']}")
        parts.append(markdown_table(section_table(scores, section)))
        parts.append("\n".join(f"* {note}" for note in footnotes(scores, section)))
    parts.append("\n".join(f"* {row['name']}: {row['about']}" for row in scores["rows"] if row["about"]))
    manifests = "; ".join(f"{split} {seeds[0][:12]}" for split, seeds in scores["settings"]["manifests"].items())
    parts.append(f"Data: {data['title']}. Licence: {data['licence']}. Please cite: {data['citation']}")
    parts.append(f"Manifest of the first seed: {manifests}. Versions: {_versions(scores)}.")
    return "\n\n".join(parts) + "\n"


def latex(scores: Mapping[str, Any]) -> str:
    """The tables of a probe for a paper; needs the package booktabs."""
    tables = []
    for section in scores["sections"]:
        table = section_table(scores, section)
        caption = (
            f"{scores['title']} on {scores['dataset']['name']}, split {section['split']}, "
            f"read-out {section['readout']}. " + " ".join(note.rstrip(".") + "." for note in footnotes(scores, section))
        )
        tables.append(latex_table(table, caption=caption))
    return "\n".join(tables)


def long_table(scores: Mapping[str, Any]) -> pd.DataFrame:
    """One line for each section, row and metric."""
    kinds = {row["name"]: {"kind": row["kind"], "width": row["width"]} for row in scores["rows"]}
    lines = []
    for section in scores["sections"]:
        compared = {line["row"]: line for line in section["comparisons"]}
        for line in section["scores"]:
            against = compared.get(line["row"], {}) if line["metric"] == section["primary"] else {}
            lines.append(
                {
                    "probe": scores["probe"],
                    "dataset": scores["dataset"]["name"],
                    "split": section["split"],
                    "readout": section["readout"],
                    "row": line["row"],
                    **kinds[line["row"]],
                    **{key: value for key, value in line.items() if key != "row"},
                    "difference": against.get("difference"),
                    "difference_low": against.get("low"),
                    "difference_high": against.get("high"),
                    "p": against.get("p"),
                    "p_holm": against.get("p_holm"),
                    "mark": against.get("mark", ""),
                }
            )
    return pd.DataFrame(lines)


def overview(probes: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of several probes beside each other: every row's primary metric, and a sentence for each probe."""
    said = "\n".join(f"* {sentence(scores)}." for scores in probes)
    return f"{markdown_table(overview_table(probes))}\n\nCompared with the first row, {signs()}.\n\n{said}\n"


def overview_table(probes: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Several probes beside each other, as text: one line for each row, its primary metric with the interval."""
    columns = {}
    for scores in probes:
        section = scores["sections"][0]
        title = f"{scores['title']} ({section['primary']})"
        compared = {line["row"]: line for line in section["comparisons"]}
        columns[title] = {
            line["row"]: _with_interval(line) + sign(compared.get(line["row"], {}))
            for line in section["scores"]
            if line["metric"] == section["primary"]
        }
    table = pd.DataFrame(columns).fillna("")
    order = dict.fromkeys(row["name"] for scores in probes for row in scores["rows"])
    return table.loc[list(order)].rename_axis("row").reset_index()


def _with_interval(line: Mapping[str, Any]) -> str:
    if _missing(line["estimate"]):
        return "not defined"
    text = _number(line["estimate"])
    return text if _missing(line["low"]) else f"{text} [{_number(line['low'])}, {_number(line['high'])}]"


def _difference(line: Mapping[str, Any] | None, *, brief: bool) -> str:
    if line is None or _missing(line["difference"]):
        return ""
    interval = "" if brief or _missing(line["low"]) else f" [{line['low']:+.3f}, {line['high']:+.3f}]"
    return f"{line['difference']:+.3f}{interval}{sign(line)}"


def sign(line: Mapping[str, Any]) -> str:
    """What stands after a number in place of the mark of its comparison."""
    return {NOT_DISTINGUISHABLE: f" {NOT_SIGNIFICANT}", NOT_TESTED: f" {UNTESTED}"}.get(line.get("mark", ""), "")


def signs() -> str:
    """What the signs stand for."""
    return f"'{NOT_SIGNIFICANT}': {NOT_DISTINGUISHABLE}, which does not say equal, '{UNTESTED}': {NOT_TESTED}"


def _p(line: Mapping[str, Any] | None) -> str:
    if line is None or _missing(line["p_holm"]):
        return ""
    return "< .001" if line["p_holm"] < 0.001 else f"{line['p_holm']:.3f}".lstrip("0")


def _number(value: float | None) -> str:
    return "" if _missing(value) else f"{value:.3f}"


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _versions(scores: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in scores["environment"]["versions"].items())
