"""The evaluation of an index as tables: Markdown, LaTeX (booktabs), one long table.

Every score has its 95 % interval and the number of queries that it is of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from m2l2_mir.index.evaluation_words import footnotes, interval, section_title, sentences
from m2l2_mir.probe.tables import sign
from m2l2_mir.report.paper import latex_table, markdown_table

__all__ = ["hubness_table", "latex", "long_table", "markdown", "search_table", "section_table"]

TITLES = {"precision": "P@{k}", "r_precision": "R-precision", "average_precision": "MAP", "ndcg": "NDCG@{k}"}

Scores = Mapping[str, Any]


def section_table(scores: Scores, section: Scores) -> pd.DataFrame:
    """Rows of one relation and filter, as text: each metric with its interval.

    Parameters
    ----------
    scores, section
        Of :class:`m2l2_mir.index.evaluate.Evaluation`, and one of its ``sections``.
    """
    found = {(line["row"], line["metric"]): line for line in section["scores"]}
    compared = {line["row"]: line for line in section["comparisons"]}
    lines = []
    for row in scores["rows"]:
        line = {"row": row["name"], "width": str(row["width"])}
        for metric in scores["metrics"]:
            line[TITLES[metric].format(k=scores["k"])] = interval(found[row["name"], metric])
        against = compared.get(row["name"])
        line["less the index"] = "" if against is None else f"{against['difference']:+.3f}{sign(against)}"
        lines.append(line)
    return pd.DataFrame(lines)


def hubness_table(scores: Scores) -> pd.DataFrame:
    """Hubness by scoring, as text, with the precision of each relation."""
    lines = []
    for found in scores["hubness"]:
        line = {
            "neighbours by": found["scoring"],
            "skewness": interval(found["skewness"], digits=2),
            "orphans": interval(found["orphans"]),
            "hubs": interval(found["hubs"]),
            "most often a neighbour": f"{found['largest']} times ({found['largest_track']})",
        }
        line |= {f"P@{scores['k']}, {name}": interval(value) for name, value in found["precision"].items()}
        lines.append(line)
    return pd.DataFrame(lines)


def search_table(scores: Scores) -> pd.DataFrame:
    """Recall, speed and size, as text."""
    search = scores["search"]
    speed, sizes = search["queries_per_second"], search["bytes_per_track"]
    threads = f"{search['threads']} thread{'s' if search['threads'] != 1 else ''}"
    return pd.DataFrame(
        [
            (f"recall@{search['k']} against exact search, {search['queries']} queries", interval(search["recall"])),
            *(
                [(f"the same, {unseen['queries']} unseen queries", interval(unseen))]
                if (unseen := search.get("recall_unseen"))
                else []
            ),
            *((f"queries per second, {name}, {threads}", f"{value:,.0f}") for name, value in speed.items()),
            *((f"bytes per track, {name}", f"{value:,.0f}") for name, value in sizes.items()),
        ],
        columns=["what", "measured"],
    )


def markdown(scores: Scores) -> str:
    """All tables with what belongs below them."""
    facts = scores["index"]
    parts = [f"# Neighbours of {facts['name']}", "\n".join(f"* {line}." for line in sentences(scores))]
    for section in scores["sections"]:
        parts += [
            f"## {_capital(section_title(section, scores['group']))}",
            f"Right is a neighbour {section['about']}; {section['known']} of {facts['tracks']} tracks have a label, "
            f"{section['scored']} of {section['expected']} queries are scored. P@{scores['k']} of a perfect ranking: "
            f"{section['attainable']:.3f}.",
            markdown_table(section_table(scores, section)),
        ]
    parts += ["## Hubness", f"Of {scores['hubness_of']}.", markdown_table(hubness_table(scores))]
    if scores["search"]:
        parts += ["## Search", markdown_table(search_table(scores))]
    if notes := footnotes(scores):
        parts.append("\n".join(f"* {note}" for note in notes))
    parts.append("\n".join(f"* {row['name']}: {row['about']}" for row in scores["rows"]))
    versions = ", ".join(f"{name} {number}" for name, number in scores["settings"]["versions"].items())
    parts.append(f"Weights: {facts['weights'] or 'not known'}. Versions: {versions}.")
    return "\n\n".join(parts) + "\n"


def latex(scores: Scores) -> str:
    """All tables for a paper; needs the package booktabs."""
    notes = " ".join(note.rstrip(".") + "." for note in footnotes(scores))
    tables = [
        latex_table(
            section_table(scores, section),
            caption=f"Neighbours by {section_title(section, scores['group'])}: {section['scored']} of "
            f"{section['expected']} queries scored. {notes}",
        )
        for section in scores["sections"]
    ]
    tables.append(latex_table(hubness_table(scores), caption=f"Hubness of {scores['hubness_of']}."))
    if scores["search"]:
        tables.append(latex_table(search_table(scores), caption="Search."))
    return "\n".join(tables)


def long_table(scores: Scores) -> pd.DataFrame:
    """One line for each number that has an interval."""
    kinds = {row["name"]: row["kind"] for row in scores["rows"]}
    lines = []
    for section in scores["sections"]:
        compared = {line["row"]: line for line in section["comparisons"]}
        about = {"part": "retrieval", "label": section["label"], "filter": section["filter"]}
        for line in section["scores"]:
            against = compared.get(line["row"], {}) if line["metric"] == scores["primary"] else {}
            lines.append(
                {
                    **about,
                    "row": line["row"],
                    "kind": kinds[line["row"]],
                    **{key: value for key, value in line.items() if key != "row"},
                    "difference": against.get("difference"),
                    "difference_low": against.get("low"),
                    "difference_high": against.get("high"),
                    "p": against.get("p"),
                    "p_holm": against.get("p_holm"),
                    "mark": against.get("mark", ""),
                }
            )
    for found in scores["hubness"]:
        about = {"part": "hubness", "label": "", "filter": False, "row": found["scoring"]}
        lines += [{**about, "metric": metric, **found[metric]} for metric in ("skewness", "hubs", "orphans")]
        lines += [{**about, "label": name, "metric": "precision", **one} for name, one in found["precision"].items()]
    if search := scores["search"]:
        own = {"part": "search", "label": "", "filter": False, "row": scores["rows"][0]["name"]}
        lines.append({**own, "metric": f"recall@{search['k']}", **search["recall"]})
        if unseen := search.get("recall_unseen"):
            lines.append({**own, "metric": f"recall@{search['k']}, unseen", **_without(unseen, "queries")})
        for name in ("queries_per_second", "bytes_per_track"):
            lines += [{**own, "metric": f"{name}, {key}", "estimate": value} for key, value in search[name].items()]
    order = ["part", "label", "filter", "row", "kind", "metric", "estimate", "low", "high"]
    table = pd.DataFrame(lines)
    return table[[*order, *table.columns.difference(order, sort=False)]] if "kind" in table else table


def _without(line: Scores, name: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != name}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
