"""The page of an index's evaluation: what was found, a map to listen on, all tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from m2l2_mir.index.evaluate import Evaluation
from m2l2_mir.index.evaluation_tables import hubness_table, search_table, section_table
from m2l2_mir.index.evaluation_words import footnotes, section_title, sentences
from m2l2_mir.report import page
from m2l2_mir.report.drawing import MUTED, RULE, TEXT, canvas
from m2l2_mir.report.page import escape
from m2l2_mir.report.score_figures import SERIES, Bar, score_bars
from m2l2_mir.report.track_map import track_map

__all__ = ["index_page"]

KINDS = {
    "model": "index and other models",
    "untrained": "untrained encoder",
    "control": "chance",
    "hand-made": "hand-made features",
}
UNTRAINED = "untrained weights"
OCCURRENCES = "times a neighbour"
MOST_HUBS = 5  # named
MOST_TRACKS = 10_000  # on the map


def index_page(evaluation: Evaluation, *, clips: Mapping[int, str], command: str = "") -> str:
    """The report as one offline HTML page.

    Parameters
    ----------
    evaluation
        Of :func:`m2l2_mir.index.evaluate.evaluate_index`.
    clips
        Sound by position of the track, of :func:`m2l2_mir.report.track_map.sound_clips`.
    command
        That made it.
    """
    scores = evaluation.scores
    found = "".join(f"<li>{escape(line)}.</li>" for line in sentences(scores))
    notes = "".join(f"<li>{escape(line)}.</li>" for line in footnotes(scores))
    sections = [
        page.section("What was found", f'<ul class="prose">{found}</ul>', f'<ul class="notes">{notes}</ul>'),
        _map_section(evaluation, clips),
        *(_retrieval_section(scores, number) for number in range(len(scores["sections"]))),
        _hubness_section(evaluation),
    ]
    if scores["search"]:
        intro = "What the index finds of the true neighbours, how fast, and in how many bytes."
        sections.append(page.section("Search", _wide(search_table(scores)), intro=intro))
    sections.append(_facts_section(scores, command))
    untrained = scores["index"]["trained"] is False
    return page.page(
        f"Neighbours of {scores['index']['name']}",
        *sections,
        lede=f"Do the neighbours of {scores['index']['tracks']:,} tracks mean anything? Every track is a query, and "
        "its ranking of all others is scored by labels, beside what has learnt nothing.",
        badge=UNTRAINED if untrained else "",
        badge_note="The encoder has random weights: what its neighbours share is no result of learning."
        if untrained
        else "",
    )


def _map_section(evaluation: Evaluation, clips: Mapping[int, str]) -> str:
    tracks, about = evaluation.tracks, evaluation.scores["map"]
    if len(tracks) > MOST_TRACKS:
        return page.section("The map", intro=f"Left out: it serves up to {MOST_TRACKS:,} tracks.")
    lists = evaluation.neighbours
    colour_by = _colour_columns(evaluation)
    trust = "" if np.isnan(about["trustworthiness"]) else f"; trustworthiness {about['trustworthiness']:.2f} of 1"
    sounding = f"{len(clips):,} of {len(tracks):,} tracks can be heard" if clips else "No track can be heard"
    intro = f"By {about['method']}{trust}. Neighbours in the list are those of the index, not of the plane. {sounding}."
    tracks = tracks.rename(columns={"occurrences": OCCURRENCES})
    html = track_map(tracks, lists.positions, lists.scores, colour_by=colour_by, clips=clips)
    return page.section("The map", html, intro=intro)


def _colour_columns(evaluation: Evaluation) -> list[str]:
    """Columns worth a colour: those of the relations, the group, then others of few values; how often one is found."""
    tracks, scores = evaluation.tracks, evaluation.scores
    own = {"track_id", "title", "path", "source", "x", "y", "occurrences"}
    offered = [name for name in map(str, tracks.columns) if name not in own and tracks[name].notna().any()]
    asked = [
        name
        for name in offered
        if any(section["label"].split(",")[0].split(" within")[0] == name for section in scores["sections"])
    ]
    grouped = [scores["group"]] if scores["group"] in offered else []
    others = [name for name in offered if _is_class_or_number(tracks[name])]
    return [*dict.fromkeys([*asked, *grouped, *others]), OCCURRENCES]


def _is_class_or_number(values: pd.Series[Any]) -> bool:
    known = values.dropna()
    return bool(pd.api.types.is_numeric_dtype(values)) or known.astype(str).nunique() <= max(2, len(known) // 3)


def _retrieval_section(scores: Mapping[str, Any], number: int) -> str:
    section = scores["sections"][number]
    primary = {line["row"]: line for line in section["scores"] if line["metric"] == scores["primary"]}
    marks = {line["row"]: line["mark"] for line in section["comparisons"]}
    bars = [
        Bar(
            name=row["name"],
            estimate=primary[row["name"]]["estimate"],
            low=primary[row["name"]]["low"],
            high=primary[row["name"]]["high"],
            kind=row["kind"],
            hollow=bool(marks.get(row["name"])),
        )
        for row in scores["rows"]
    ]
    drawing = score_bars(bars, label=f"precision of {scores['k']} neighbours", kinds=KINDS)
    title = section_title(section, scores["group"])
    svg = page.figure_svg(drawing, alt=f"Precision by {title}", identifier=f"retrieval{number}")
    best = (
        f"A perfect ranking would reach {section['attainable']:.3f}: not every track has as many. "
        if section["attainable"] < 0.9995
        else ""
    )
    missing = section["expected"] > section["scored"]
    unanswerable = ", the others have no right neighbour to find" if missing else ""
    intro = (
        f"Right is a neighbour {section['about']}. {section['known']} of {scores['index']['tracks']} tracks have a "
        f"label; {section['scored']} of {section['expected']} queries are scored{unanswerable}. {best}"
    )
    table = _wide(section_table(scores, section))
    return page.section(
        f"By {title}",
        f'<div class="card narrow">{page.figure(svg)}</div><div class="figures">{table}</div>',
        intro=intro,
    )


def _hubness_section(evaluation: Evaluation) -> str:
    scores, tracks = evaluation.scores, evaluation.tracks
    counts = tracks["occurrences"].to_numpy()
    k = scores["hubness"][0]["k"]
    svg = page.figure_svg(_histogram(counts), alt="Tracks by how often they are a neighbour", identifier="hubness")
    named = tracks.assign(number=counts).nlargest(MOST_HUBS, "number")
    hubs = "; ".join(f"{line.track_id} ({line.number})" for line in named.itertuples())
    caption = f"Tracks by how often they are among the {k} neighbours of others. Most often: {hubs}."
    figure = page.figure(svg, caption=escape(caption))
    intro = (
        f"A track is on average {k} times among the {k} neighbours of others. A hub is so {5 * k} times or more, an "
        f"orphan never: it cannot be found. Of {scores['hubness_of']}. Mutual proximity and CSLS put "
        "the same candidates into another order that is fairer to orphans."
    )
    table = _wide(hubness_table(scores))
    return page.section(
        "Hubs and orphans", f'<div class="card narrow">{figure}</div><div class="figures">{table}</div>', intro=intro
    )


def _histogram(counts: np.ndarray) -> Figure:
    figure, axes = canvas(520.0, 200.0, (46.0, 8.0, 40.0, 8.0))
    most = int(counts.max(initial=1))
    step = max(1, -(-most // 60))
    heights = np.bincount(counts // step)
    axes.bar(np.arange(len(heights)) * step, heights, width=0.9 * step, align="edge", color=SERIES[0])
    axes.set_xlabel("times among the neighbours of others", color=MUTED, fontsize=TEXT, labelpad=3)
    axes.set_ylabel("tracks", color=MUTED, fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure


def _facts_section(scores: Mapping[str, Any], command: str) -> str:
    facts = scores["index"]
    entries = {
        "weights": facts["weights"] or "not known",
        "sha256 of the weights": facts["weights_sha256"] or "not known",
        "structure": facts["structure"],
        "why": "; ".join(reason for reasons in facts["reasons"].values() for reason in reasons),
        "queries at most, seed": f"{scores['settings']['queries']:,}, {scores['settings']['seed']}",
        "versions": ", ".join(f"{name} {number}" for name, number in scores["settings"]["versions"].items()),
    }
    rows = page.table(
        pd.DataFrame([{"row": row["name"], "kind": row["kind"], "what it is": row["about"]} for row in scores["rows"]])
    )
    again = f"<pre>{escape(command)}</pre>" if command else ""
    return page.section("How it was made", again, rows, page.definitions(entries))


def _wide(table: pd.DataFrame) -> str:
    return f'<div class="wide">{page.table(table, numeric=[str(name) for name in table.columns[1:]])}</div>'
