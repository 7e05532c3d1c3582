"""Figures of a probe's results: all rows in order, what models take for what, and slots alone.

Conventions
-----------
* Estimates are drawn for the models, slots one by one left out, and for the best hand-made row beside them.
* The maps of slots put the probes of a folder beside each other. Where one slot is read alone, colour is the share of
  the way from the majority class (blank) to 1 (full); where one is left out, it is what that adds or takes away.
* Below slots read alone stands what no slot is responsible for: all slots together, and shuffled labels, the null. The
  mean over slots would be none, since every slot may hold what is asked for. "~" marks slots whose interval meets that
  of shuffled labels, "n.s." left-out ones that are not distinguishable from all slots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from m2l2_mir.probe.comparison import NOT_DISTINGUISHABLE
from m2l2_mir.probe.experiment import MAJORITY, SHUFFLED
from m2l2_mir.probe.task_figures import ProbeFigure, task_figures
from m2l2_mir.report.score_figures import Bar, score_bars, score_map, stacked_shares

__all__ = ["section_figures", "slot_figures"]

KINDS = {"model": "model", "untrained": "untrained", "hand-made": "hand-made", "control": "control"}
MODELS_DRAWN = 3
FULL_CHANGE = 0.2  # of a score, that colours a cell fully

_ALONE, _WITHOUT = "each", "leave-one-out"


def section_figures(
    scores: Mapping[str, Any], section: Mapping[str, Any], predictions: pd.DataFrame
) -> list[ProbeFigure]:
    """Draw one split and read-out.

    Parameters
    ----------
    scores, section
        From :func:`m2l2_mir.probe.results.read_scores`, and one of its sections.
    predictions
        From :func:`m2l2_mir.probe.results.read_predictions`.

    Returns
    -------
    list of ProbeFigure
        The one of all rows first.
    """
    found = [_all_rows(scores, section)]
    if scores["metrics"] == "key":
        found.append(_relations(scores, section))
    inside = predictions[(predictions["split"] == section["split"]) & (predictions["readout"] == section["readout"])]
    for number, row in enumerate(_drawn(scores, section)):
        drawn = task_figures(
            scores["metrics"],
            inside[inside["row"] == row],
            section["classes"],
            tested_per_trained=section["tested_per_trained"],
        )
        found += [replace(one, name=f"{one.name}-{number + 1}", caption=f"{row}: {one.caption}") for one in drawn]
    return found


def slot_figures(probes: Sequence[Mapping[str, Any]]) -> list[ProbeFigure]:
    """Draw slots against probes, for every model whose slots were read alone or left out one by one.

    Parameters
    ----------
    probes
        From :func:`m2l2_mir.probe.results.read_scores`; only their first sections are drawn.
    """
    cells = pd.DataFrame([cell for scores in probes for cell in _slot_cells(scores)])
    found = []
    for number, ((model, view), part) in enumerate(cells.groupby(["model", "view"], sort=False) if len(cells) else ()):
        signed = view == _WITHOUT
        numbers, strength, marks = (
            part.pivot(index="slot", columns="probe", values=name).reindex(
                index=part["slot"].unique(), columns=part["probe"].unique()
            )
            for name in ("number", "strength", "mark")
        )
        figure = score_map(numbers, strength, marks=marks.fillna(""), signed=signed)
        name = f"slots-{'left-out' if signed else 'alone'}-{number + 1}"
        found.append(ProbeFigure(name=name, figure=figure, caption=_slot_caption(str(model), numbers, signed)))
    return found


def _all_rows(scores: Mapping[str, Any], section: Mapping[str, Any]) -> ProbeFigure:
    primary = section["primary"]
    kinds = {row["name"]: row["kind"] for row in scores["rows"]}
    alike = {line["row"] for line in section["comparisons"] if line["mark"] == NOT_DISTINGUISHABLE}
    bars = [
        Bar(
            name=line["row"],
            estimate=_number(line["estimate"]),
            low=_number(line["low"]),
            high=_number(line["high"]),
            kind=kinds[line["row"]],
            hollow=line["row"] in alike,
        )
        for line in section["scores"]
        if line["metric"] == primary
    ]
    bars.sort(key=lambda bar: -math.inf if math.isnan(bar.estimate) else bar.estimate, reverse=True)
    own = next(bar for bar in bars if bar.name == scores["model"])
    caption = f"All rows from the highest score down: {_scored(bars[0])} first"
    if own is not bars[0]:
        caption += f", {_scored(own)} is what is probed"
    if alike:
        caption += f"; hollow bars, marked n.s., are {NOT_DISTINGUISHABLE} from {own.name}"
    label = f"{scores['title']}: {primary}, with 95 % intervals"
    return ProbeFigure(name="scores", figure=score_bars(bars, label=label, kinds=KINDS), caption=caption)


def _relations(scores: Mapping[str, Any], section: Mapping[str, Any]) -> ProbeFigure:
    columns = {
        "accuracy": "correct",
        "fifth": "fifth",
        "relative": "relative",
        "parallel": "parallel",
        "other": "other",
    }
    lines = pd.DataFrame([line for line in section["scores"] if line["metric"] in columns])
    table = lines.pivot(index="row", columns="metric", values="estimate").astype(np.float64)
    table = table.loc[[row["name"] for row in scores["rows"]], list(columns)].rename(columns=columns)
    own = table.loc[scores["model"]]
    wrong = own.drop("correct")
    often = f"to the {wrong.idxmax()}" if wrong.idxmax() != "other" else "without a simple relation to the true key"
    caption = (
        f"{scores['model']} is right for {own['correct']:.0%} of the clips; its most frequent errors are those {often} "
        f"({wrong.max():.0%})"
    )
    figure = stacked_shares(table, label="share of clips by relation of the estimate to the true key")
    return ProbeFigure(name="relations", figure=figure, caption=caption)


def _drawn(scores: Mapping[str, Any], section: Mapping[str, Any]) -> list[str]:
    """Names of the rows whose estimates are drawn."""
    views = _views(scores)
    kinds = {row["name"]: row["kind"] for row in scores["rows"]}
    models = [name for name, kind in kinds.items() if kind == "model" and views.get(name, "") not in (_ALONE, _WITHOUT)]
    found = {
        line["row"]: _number(line["estimate"]) for line in section["scores"] if line["metric"] == section["primary"]
    }
    hand_made = [name for name, kind in kinds.items() if kind == "hand-made" and not math.isnan(found[name])]
    best = [max(hand_made, key=found.__getitem__)] if hand_made else []
    return [*(models or [scores["model"]])[:MODELS_DRAWN], *best]


def _views(scores: Mapping[str, Any]) -> dict[str, str]:
    """How the slots of each row were put together, of rows that have slots."""
    return {row["name"]: row["view"][0] for row in scores["settings"]["rows"] if "view" in row}


def _slot_cells(scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    section = scores["sections"][0]
    lines = {line["row"]: line for line in section["scores"] if line["metric"] == section["primary"]}
    found = {row: _number(line["estimate"]) for row, line in lines.items()}
    alike = {line["row"] for line in section["comparisons"] if line["mark"] == NOT_DISTINGUISHABLE}
    kinds = {row["name"]: row["kind"] for row in scores["rows"]}
    chance = found[MAJORITY]

    def cell(model: str, view: str, slot: str, number: float, strength: float, mark: str) -> dict[str, Any]:
        return {
            "probe": f"{scores['title']}\n({section['primary']})",
            "model": model,
            "view": view,
            "slot": slot,
            "number": number,
            "strength": strength,
            "mark": mark,
        }

    models = []
    for row in scores["settings"]["rows"]:
        name, (view, _, number) = row["name"], row.get("view", ("", "", 0))
        if kinds[name] != "model" or view not in (_ALONE, _WITHOUT):
            continue
        model = name.rsplit(", ", 1)[0]
        if view == _ALONE:
            models.append(model)
            mark = " ~" if _number(lines[name]["low"]) <= _number(lines[SHUFFLED]["high"]) else ""
            yield cell(model, view, f"slot {number + 1}", found[name], _above(found[name], chance), mark)
        elif not math.isnan(whole := found.get(model, math.nan)):
            change = found[name] - whole
            mark = " n.s." if name in alike and model == scores["model"] else ""
            yield cell(model, view, f"without {number + 1}", change, change / FULL_CHANGE, mark)
    for model in dict.fromkeys(models):
        for name, title in ((model, "all slots"), (SHUFFLED, SHUFFLED)):
            if name in found:
                yield cell(model, _ALONE, title, found[name], _above(found[name], chance), "")


def _above(score: float, chance: float) -> float:
    """Share of the way from the majority class to every track right."""
    return (score - chance) / (1 - chance) if chance < 1 else math.nan


def _slot_caption(model: str, numbers: pd.DataFrame, signed: bool) -> str:
    found = []
    for probe, values in numbers.to_dict("list").items():
        title = str(probe).split("\n")[0].lower()
        column = pd.Series(values, numbers.index).drop(["all slots", SHUFFLED], errors="ignore")
        if signed:
            most = str(column.abs().idxmax())
            found.append(f"{title} changes most {most} ({column.loc[most]:+.3f})")
        else:
            found.append(f"{title} is read best from {column.idxmax()} ({column.max():.3f})")
    read = "with one slot left out, less the score of all of them" if signed else "each slot read alone"
    read += "" if signed else "; ~ where its interval meets that of shuffled labels"
    return f"{model}, {read}: {', '.join(found)}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _scored(bar: Bar) -> str:
    return f"{bar.name} ({'not defined' if math.isnan(bar.estimate) else f'{bar.estimate:.3f}'})"
