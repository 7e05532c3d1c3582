"""The evaluation of an index in words: sentences, notes below tables, and numbers with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from m2l2_mir.probe.comparison import NOT_DISTINGUISHABLE, NOT_TESTED
from m2l2_mir.probe.tables import signs

__all__ = ["footnotes", "interval", "section_title", "sentences", "share", "short"]

Scores = Mapping[str, Any]


def section_title(section: Scores, group: str | None) -> str:
    """Such as ``"genre, without others of the same artist"``."""
    return f"{section['label']}, without others of the same {group}" if section["filter"] else section["label"]


def footnotes(scores: Scores) -> list[str]:
    """What has to be said below the tables."""
    notes = []
    if scores["sections"]:
        over = f"groups ({scores['group']})" if scores["group"] else "tracks"
        notes.append(
            f"95 % intervals over {over}; differences are paired, p adjusted after Holm over all tables; compared "
            f"with the index, {signs()}"
        )
        reasons = [line["reason"] for section in scores["sections"] for line in section["scores"][:1]]
        notes += list(dict.fromkeys(filter(None, reasons)))
    if left_out := scores["left_out"]:
        first = left_out[0]
        notes.append(
            f"{len(left_out)} of {scores['index']['tracks']} tracks failed in some row and are left out of all, such "
            f"as {first['track_id']}: {first['reason']} (in {first['row']})"
        )
    return [*notes, *scores["notes"]]


def sentences(scores: Scores) -> list[str]:
    """What was found, in words: retrieval by each relation, hubness, search."""
    told = []
    for section in scores["sections"]:
        found = {line["row"]: line for line in section["scores"] if line["metric"] == scores["primary"]}
        marks = {line["row"]: line for line in section["comparisons"]}
        own, *others = scores["rows"]
        beside = [
            f"{_standing(marks[row['name']])} {row['name']} ({short(found[row['name']]['estimate'])})"
            for row in others
            if not row["same_embeddings"]
        ]
        told.append(
            f"{section_title(section, scores['group'])}: of {scores['k']} neighbours "
            f"{interval(found[own['name']], words=True)} are right, {', '.join(beside)}; "
            f"{section['scored']} of {section['expected']} queries scored{_otherwise(others, found, marks)}"
        )
    before, *after = scores["hubness"]
    text = (
        f"hubness: {share(before['orphans'])} of the tracks are among nobody's {before['k']} neighbours, skewness "
        f"{_digits(before['skewness']['estimate'])}"
    )
    if after:
        best = min(after, key=lambda line: [_or_infinite(line[name]["estimate"]) for name in ("orphans", "skewness")])
        text += f"; {share(best['orphans'])} by {best['scoring']}, skewness {_digits(best['skewness']['estimate'])}"
    told.append(text)
    if search := scores["search"]:
        unseen = f", {interval(search['recall_unseen'])} of unseen queries," if "recall_unseen" in search else ""
        told.append(
            f"search: recall@{search['k']} {interval(search['recall'])}{unseen} against exact search at "
            f"{search['queries_per_second']['one at a time']:,.0f} queries per second, one at a time"
        )
    return told


def interval(line: Scores, *, digits: int = 3, words: bool = False) -> str:
    """An estimate with its interval as text."""
    if _missing(line["estimate"]):
        return "not defined"
    if words:
        text = short(line["estimate"])
        return text if _missing(line["low"]) else f"{text} [{short(line['low'])}, {short(line['high'])}]"
    text = f"{line['estimate']:.{digits}f}"
    return text if _missing(line["low"]) else f"{text} [{line['low']:.{digits}f}, {line['high']:.{digits}f}]"


def short(value: float | None) -> str:
    """Two digits, without the zero before the point.

    >>> short(0.714), short(1.0), short(float("nan"))
    ('.71', '1.00', 'not defined')
    """
    return "not defined" if _missing(value) else f"{value:.2f}".replace("0.", ".", 1)


def share(line: Scores) -> str:
    """An estimated share in percent.

    >>> share({"estimate": 0.125, "low": 0.1, "high": 0.151})
    '12 % [10, 15]'
    """
    if _missing(line["estimate"]):
        return "not defined"
    text = f"{100 * line['estimate']:.0f} %"
    return text if _missing(line["low"]) else f"{text} [{100 * line['low']:.0f}, {100 * line['high']:.0f}]"


def _otherwise(others: Sequence[Scores], found: Scores, marks: Scores) -> str:
    """What the same embeddings give when they are prepared otherwise."""
    told, better = [], []
    for row in others:
        if row["same_embeddings"]:
            kind, mark = row["name"].rpartition(" ")[2], marks[row["name"]]
            distinct = mark["mark"] not in (NOT_DISTINGUISHABLE, NOT_TESTED)
            told.append(f"{kind} {short(found[row['name']]['estimate'])}" + ("" if distinct else " (no difference)"))
            if distinct and mark["difference"] > 0:
                better.append((found[row["name"]]["estimate"], kind))
    if not told:
        return ""
    advice = f"; m2l2 index rebuild --preparation {max(better)[1]} serves this better" if better else ""
    return f"; the same embeddings prepared otherwise: {', '.join(told)}{advice}"


def _standing(line: Scores) -> str:
    """Where the index is, seen from a row."""
    if line["mark"] == NOT_DISTINGUISHABLE:
        return "not distinguishable from"
    if line["mark"] == NOT_TESTED:
        return "not tested against"
    return "below" if line["difference"] > 0 else "above"


def _digits(value: float | None) -> str:
    return "not defined" if _missing(value) else f"{value:.2f}"


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else value


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)
