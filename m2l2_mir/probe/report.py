"""The report of a run: one HTML page that opens offline, and its figures as files.

scores.json, predictions.parquet --figures--> OUT/PROBE/figures/*.svg, OUT/figures/*.svg --page--> OUT/report.html
studies (equivariance.json, ...) --figures--'

Nothing is fitted or scored anew: the page says what is in the files of the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.durable import write_durably
from m2l2_mir.errors import InputError
from m2l2_mir.probe.comparison import NOT_DISTINGUISHABLE
from m2l2_mir.probe.figures import section_figures, slot_figures
from m2l2_mir.probe.glossary import explain
from m2l2_mir.probe.results import SCORES, read_predictions, read_scores
from m2l2_mir.probe.studies import Study, read_studies, study_table
from m2l2_mir.probe.study_figures import study_figures
from m2l2_mir.probe.tables import footnotes, overview_table, section_table, signs
from m2l2_mir.probe.task_figures import ProbeFigure
from m2l2_mir.report import page
from m2l2_mir.report.page import escape

__all__ = ["REPORT", "summary_section", "write_report"]

REPORT, FIGURES = "report.html", "figures"
UNTRAINED = "untrained weights"


def write_report(out: Path) -> Path:
    """Draw the figures and write the report of the finished probes and studies of a folder.

    Parameters
    ----------
    out
        Folder of ``m2l2 probe run`` or ``m2l2 probe equivariance``; older figures and reports in it are replaced.

    Returns
    -------
    Path
        ``out / "report.html"``, complete or not there at all.

    Raises
    ------
    InputError
        There are no results, one cannot be read, or the folder cannot be written.
    """
    studies = read_studies(out)
    probes = read_scores(out) if _has_scores(out) or not studies else {}
    across = slot_figures(list(probes.values()))
    sections = [_found_section(probes, studies)]
    try:
        if across:
            _write_figures(out / FIGURES, {one.name: one for one in across})
            sections.append(_slots_section(across))
        for number, (name, scores) in enumerate(probes.items()):
            sections.append(_probe_section(out, name, scores, number))
        if studies:
            sections.append(_studies_section(out, studies))
        if probes:
            sections += [_heard_section(probes), _rows_section(probes), _reproduce_section(probes, out)]
        models = dict.fromkeys([*(scores["model"] for scores in probes.values()), *(one.model for one in studies)])
        text = page.page(
            f"Probes of {', '.join(models)}",
            *sections,
            lede="What a read-out, trained on the vectors of some tracks, tells of tracks it has not seen: beside an "
            "untrained encoder, shuffled labels, the majority class and hand-made features, all on the same folds.",
            badge=UNTRAINED if any(map(_untrained, probes.values())) else "",
            badge_note="The first row of a table has random weights: what it reaches is no result of learning.",
        )
        write_durably(out / REPORT, lambda file: file.write(text.encode()))
    except OSError as error:
        raise InputError(f"cannot write the report into {out}: {error.strerror or error}") from error
    return out / REPORT


def summary_section(out: Path, *, intro: str, report: Path) -> str:
    """The finished probes of a folder as one section of another page: what was found, table, a figure for each.

    Parameters
    ----------
    out
        As in :func:`write_report`.
    intro
        Opening, plain text.
    report
        Where the whole of it is.
    """
    probes = read_scores(out)
    cards = []
    for number, (name, scores) in enumerate(probes.items()):
        section = scores["sections"][0]
        all_rows, *others = section_figures(scores, section, read_predictions(out, name))
        own = [one for one in others if one.name.endswith("-1")]
        cards += [_card(one, f"probe{number}-{one.name}") for one in (all_rows, *own[:1])]
    return page.section(
        "What can be read from the embeddings",
        _sentences(probes, linked=False),
        _overview(probes),
        f'<div class="pair figures">{"".join(cards)}</div>',
        f'<p class="intro figures">All figures, tables with every metric, and how to make them again: '
        f"<code>{escape(Path(report.parent.name, report.name))}</code></p>",
        intro=intro,
    )


def _found_section(probes: Mapping[str, Mapping[str, Any]], studies: Sequence[Study]) -> str:
    lines = [
        f'<li><a href="#study{number}">{escape(one.title)}</a> {escape(one.sentence)}.</li>'
        for number, one in enumerate(studies)
    ]
    said = f'<ul class="prose">{"".join(lines)}</ul>' if lines else ""
    if not probes:
        return page.section("What was found", said)
    return page.section("What was found", _sentences(probes, linked=True), said, _overview(probes))


def _slots_section(figures: Sequence[ProbeFigure]) -> str:
    cards = "".join(_card(one, one.name) for one in figures)
    intro = (
        "Slot by slot: a stronger colour is more of the way from the majority class to every track right; where a slot "
        "is left out, blue is a loss and rust a gain. Shuffled labels are the null; ~ marks slots read alone whose "
        f"interval meets that of shuffled labels, n.s. left-out slots that are {NOT_DISTINGUISHABLE} from all of them. "
        "Intervals are in the tables below."
    )
    return page.section("Which slot holds what", f'<div class="pair">{cards}</div>', intro=intro)


def _probe_section(out: Path, name: str, scores: Mapping[str, Any], number: int) -> str:
    predictions = read_predictions(out, name)
    files: dict[str, ProbeFigure] = {}
    blocks = []
    for part, section in enumerate(scores["sections"]):
        figures = section_figures(scores, section, predictions)
        files |= {f"{section['split']}-{section['readout']}-{one.name}": one for one in figures}
        all_rows, *others = [_card(one, f"probe{number}-{part}-{one.name}") for one in figures]
        words = explain(scores["metrics"], [section["primary"], *scores["shown"]])
        notes = [*footnotes(scores, section), *(f"{metric}: {text}" for metric, text in words.items())]
        blocks += [
            f'<h3 class="part">Split {escape(section["split"])}, read-out {escape(section["readout"])}</h3>',
            _table(section_table(scores, section)),
            _list(notes, "notes"),
            f'<div class="narrow">{all_rows}</div>',
            f'<div class="pair figures">{"".join(others)}</div>' if others else "",
        ]
    _write_figures(out / name / FIGURES, files)
    data = scores["dataset"]
    intro = f"{data['title']} ({data['name']}), {data['tracks']} tracks."
    return f'<div id="probe{number}">{page.section(scores["title"], *blocks, intro=intro)}</div>'


def _studies_section(out: Path, studies: Sequence[Study]) -> str:
    blocks = []
    for number, study in enumerate(studies):
        figures = study_figures(study)
        for one in figures:
            (out / study.probe / FIGURES).mkdir(parents=True, exist_ok=True)
            content = page.figure_file(one.figure)
            path = out / study.probe / FIGURES / f"{one.name}.svg"
            write_durably(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
        cards = "".join(_card(one, f"study{number}-{one.name}") for one in figures)
        parts = study.table["part"].unique()
        tables = "".join(
            f"<p>{escape(part)}: {escape(study.metric)} by {escape(study.x_label)}</p>"
            f"{_table(study_table(study, part))}"
            for part in parts
        )
        blocks.append(
            f'<div id="study{number}"><h3 class="part">{escape(study.title)}</h3>'
            f'<p class="intro">{escape(study.sentence)}.</p>{tables}{_list(study.notes, "notes")}'
            f'<div class="pair figures">{cards}</div></div>'
        )
    intro = (
        "Whether estimates move with the music, what more tracks to train on would bring, and what a score owes to "
        "hearing the same artist or piece in training. All metrics are in the .md and .csv files beside the scores."
    )
    return page.section("What a single score hides", *blocks, intro=intro)


def _heard_section(probes: Mapping[str, Mapping[str, Any]]) -> str:
    sets: dict[str, dict[str, Any]] = {}
    for scores in probes.values():
        rows = [row["name"] for row in scores["rows"]]
        notes = [note for note in scores["notes"] if not note.startswith(tuple(f"{row}: " for row in rows))]
        entry = sets.setdefault(scores["dataset"]["name"], {**scores["dataset"], "notes": {}})
        entry["notes"] |= dict.fromkeys(notes)
    cards = [
        f'<article class="card"><h3>{escape(name)}</h3><p>{escape(entry["title"])}, {entry["tracks"]} tracks</p>'
        f"{_list(entry['notes'], 'notes')}<p>Licence: {escape(entry['licence'])}</p>"
        f"<p>Please cite: {escape(entry['citation'])}</p></article>"
        for name, entry in sets.items()
    ]
    return page.section("What was heard", f'<div class="grid">{"".join(cards)}</div>')


def _rows_section(probes: Mapping[str, Mapping[str, Any]]) -> str:
    lines: dict[str, dict[str, str]] = {}
    for scores in probes.values():
        for row in scores["rows"]:
            lines.setdefault(
                row["name"],
                {"row": row["name"], "kind": row["kind"], "width": str(row["width"] or ""), "what it is": row["about"]},
            )
    return page.section("The rows", page.table(pd.DataFrame(list(lines.values())), numeric=["width"]))


def _reproduce_section(probes: Mapping[str, Mapping[str, Any]], out: Path) -> str:
    commands = [*dict.fromkeys(scores.get("command", "") for scores in probes.values()), f"m2l2 probe report {out}"]
    facts: dict[str, object] = {}
    for name, scores in probes.items():
        settings = scores["settings"]
        for row in settings["rows"]:
            if weights := row.get("store", {}).get("weights_sha256"):
                facts[f"sha256 of {row['store'].get('weights', row['name'])}"] = weights
        facts[f"{name}: seeds, bootstrap draws"] = f"{settings['seeds']}, {settings['draws']}"
        for split, manifests in settings["manifests"].items():
            facts[f"{name}, split {split}: sha256 of the manifests"] = ", ".join(one[:12] for one in manifests)
        versions = ", ".join(f"{package} {number}" for package, number in scores["environment"]["versions"].items())
        facts["versions"] = versions
    return page.section(
        "How to make it again",
        f"<pre>{escape(chr(10).join(filter(None, commands)))}</pre>",
        page.definitions(facts),
        intro="The first line fits and scores; what is there already is kept. The last one rebuilds figures and page. "
        "Raw predictions of every row, seed and track are in predictions.parquet, all numbers in scores.csv, those by "
        "tempo, register or confidence in binned.csv.",
    )


def _sentences(probes: Mapping[str, Mapping[str, Any]], *, linked: bool) -> str:
    lines = []
    for number, scores in enumerate(probes.values()):
        title = escape(scores["title"])
        lead = f'<a href="#probe{number}">{title}</a>' if linked else f"<b>{title}</b>"
        lines.append(f"<li>{lead}: {escape(scores['sentence'])}.</li>")
    return f'<ul class="prose">{"".join(lines)}</ul>'


def _overview(probes: Mapping[str, Mapping[str, Any]]) -> str:
    scored = ", ".join(
        f"{scores['title'].lower()} {scores['sections'][0]['scored']} of {scores['sections'][0]['expected']}"
        for scores in probes.values()
    )
    return _table(overview_table(list(probes.values()))) + _list(
        [
            f"95 % intervals over groups of tracks; compared with the first row, {signs()}",
            f"tracks scored of expected: {scored}",
        ],
        "notes",
    )


def _table(frame: pd.DataFrame) -> str:
    text = frame.astype(str)
    for name in text.columns[1:]:
        # Intervals keep together where cells wrap, and numbers stay below each other where only some have a sign.
        signed = text[name].str.contains(r" (?:n\.s\.|\?)$")
        padded = text[name] + ("\u00a0\u2002" if signed.any() else "")
        text[name] = text[name].where(signed, padded).str.replace(r", | of | (?=(?:n\.s\.|\?)$)", _unbroken, regex=True)
    return f'<div class="wide">{page.table(text, numeric=[str(name) for name in frame.columns[1:]])}</div>'


def _unbroken(space: re.Match[str]) -> str:
    return space[0].replace(" ", "\u00a0")


def _list(lines: Sequence[str] | Mapping[str, None], kind: str) -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def _card(one: ProbeFigure, identifier: str) -> str:
    svg = page.figure_svg(one.figure, alt=one.caption, identifier=identifier)
    return f'<div class="card">{page.figure(svg, caption=escape(one.caption) + ".")}</div>'


def _has_scores(out: Path) -> bool:
    return any(Path(out).glob(f"*/{SCORES}"))


def _write_figures(folder: Path, figures: Mapping[str, ProbeFigure]) -> None:
    """Write figures by name; those of an earlier run that had others are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in figures.items():
        content = page.figure_file(one.figure)
        write_durably(folder / f"{name}.svg", lambda file, content=content: file.write(content))  # type: ignore[misc]
    for path in folder.glob("*.svg"):
        if path.stem not in figures:
            path.unlink()


def _untrained(scores: Mapping[str, Any]) -> bool:
    own = next(row for row in scores["settings"]["rows"] if row["name"] == scores["model"])
    return str(own.get("store", {}).get("weights", "")).startswith("random")
