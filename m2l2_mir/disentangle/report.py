"""The report of an analysis: one HTML page that opens offline, and its figures as files. Nothing is measured anew."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.disentangle.figures import AnalysisFigure, identity_figures, map_figure, row_figures, swap_figures
from m2l2_mir.disentangle.report_parts import card, notes_list, wide_table
from m2l2_mir.disentangle.results import (
    COMPARED,
    SWAPS,
    comparison_table,
    footnotes,
    read_results,
    score_table,
    strata_of,
)
from m2l2_mir.disentangle.side_sections import (
    arms_section,
    classics_section,
    generalisation_section,
    identity_section,
    map_section,
    seeds_section,
    swap_section,
)
from m2l2_mir.disentangle.side_tables import factor_table
from m2l2_mir.disentangle.words import slot_sentences, slot_table
from m2l2_mir.durable import write_durably
from m2l2_mir.errors import InputError
from m2l2_mir.report import page
from m2l2_mir.report.page import escape

__all__ = ["REPORT", "matrix_section", "write_report"]

REPORT, FIGURES = "report.html", "figures"
READING = {
    "D": "disentanglement, 0 to 1: a slot tells of one factor only",
    "C": "completeness, 0 to 1: one slot tells all of a factor",
    "random rotations": "the same scores of equally wide blocks of the same code in random bases: what width gives",
    "permuted labels": "the same scores when labels are exchanged inside nuisance groups, or whole groups exchange "
    "theirs: what noise gives; D and C of slot scores are 0 where nothing more is told than that",
    "information": "share of a factor's entropy that a linear probe reads on clips it has not seen",
}
READING_STRATA = (
    "strata: global factors hold throughout a clip, local ones at one place, sequence ones are an order of events; "
    "ordered latents hold global factors several times over by construction, so that strata are told apart"
)
WORDS = {
    "tells": "factors of which a probe reads more from this slot alone (1 is all) than from any slot of the code in "
    "95 % of its random rotations; those first that exceed it most",
    "alone knows": "what is lost of a factor when this slot is left out, from .05 on",
    "is moved by": "factors whose change moves this slot further (2 is as far as to another clip) than any slot of the "
    "rotated code",
}


def write_report(out: Path) -> Path:
    """Draw the figures and write the report of a finished run.

    Parameters
    ----------
    out
        Folder of ``m2l2 disentangle``.

    Returns
    -------
    Path
        ``out / "report.html"``, complete or not there at all.

    Raises
    ------
    InputError
        There are no results, or the folder cannot be written.
    """
    found = read_results(out)
    models = [row["name"] for row in found["rows"] if row["kind"] == "model"]
    sections = [_found_section(found)]
    figures: dict[str, AnalysisFigure] = {}
    for number, row in enumerate(found["rows"]):
        drawn = row_figures(found, row["name"])
        figures |= {f"{_slug(row['name'])}-{one.name}": one for one in drawn}
        if row["kind"] in ("model", "native", "basis", "untrained"):
            sections.append(_row_section(found, row, drawn, number))
    sections += [_score_section(found, stratum) for stratum in strata_of(found)]
    sections.append(_told_section(found))
    if len(models) > 2:
        sections.append(arms_section(found))
    if found.get("unseen"):
        sections.append(generalisation_section(found))
    for number, (name, one) in enumerate(found.get("dimensions", {}).items()):
        drawn_map = map_figure(one)
        figures[f"{_slug(name)}-{drawn_map.name}"] = drawn_map
        sections.append(map_section(name, drawn_map, number))
    for number, name in enumerate(found.get("identity", {})):
        matching = found.get("matching") if number == 0 else None
        drawn = identity_figures(found["identity"][name], matching)
        figures |= {f"{_slug(name)}-{one.name}": one for one in drawn}
        sections.append(identity_section(name, found, matching, drawn, number))
    if any((found.get("seeds") or {}).values()):
        sections.append(seeds_section(found))
    for number, (name, swaps) in enumerate(found.get("swaps", {}).items()):
        if not swaps["plans"]:
            continue
        drawn = swap_figures(swaps["plans"])
        figures |= {f"{_slug(name)}-{one.name}": one for one in drawn}
        sections.append(swap_section(swaps, drawn, number, out / SWAPS))
    if found.get("classics"):
        sections.append(classics_section(found))
    sections += [_heard_section(found), _reproduce_section(found, out)]
    untrained = [row["name"] for row in found["rows"] if row["kind"] == "model" and not row["trained"]]
    text = page.page(
        f"Disentanglement of {' and '.join(models[:2])}" + (f" and {len(models) - 2} more" if len(models) > 2 else ""),
        *sections,
        lede="What each summary embedding means: which attributes of the music can be read from it, and which move it, "
        "beside random rotations of the same code, permuted labels and controls.",
        badge="untrained weights" if untrained else "",
        badge_note=f"{', '.join(untrained)}: random weights, so that nothing here is a result of learning.",
    )
    try:
        folder = out / FIGURES
        folder.mkdir(parents=True, exist_ok=True)
        for name, one in figures.items():
            content = page.figure_file(one.figure)
            write_durably(folder / f"{name}.svg", lambda file, content=content: file.write(content))  # type: ignore[misc]
        for path in folder.glob("*.svg"):
            if path.stem not in figures:
                path.unlink()
        write_durably(out / REPORT, lambda file: file.write(text.encode()))
    except OSError as error:
        raise InputError(f"cannot write the report into {out}: {error.strerror or error}") from error
    return out / REPORT


def matrix_section(out: Path, *, intro: str) -> str:
    """The slot x factor matrices of the first model and what they say, as one section of another page."""
    found = read_results(out)
    drawn = [one for one in row_figures(found, found["model"]) if one.name != "unique"]
    cards = "".join(card(one, f"slots-{one.name}") for one in drawn)
    said = f'<p class="prose">{escape(found["sentence"])}.</p>'
    lead = "<p>Slot by slot, what exceeds every slot of the same code in random bases (1 is all of a factor):</p>"
    words = lead + notes_list([f"{one}." for one in slot_sentences(found, found["model"])])
    return page.section("Which slot holds what", said, words, f'<div class="pair figures">{cards}</div>', intro=intro)


def _found_section(found: Mapping[str, Any]) -> str:
    blocks = [f'<p class="prose">{escape(found["sentence"])}.</p>']
    if found["comparison"]:
        compared = found["comparison"]
        blocks += [
            f"<p>First: {escape(', '.join(compared['first']))}. Second: {escape(', '.join(compared['second']))}.</p>",
            wide_table(comparison_table(found), text_columns=2),
            notes_list(COMPARED),
        ]
    notes = [f"{name}: {text}" for name, text in READING.items()]
    blocks.append(notes_list([*notes, READING_STRATA] if len(strata_of(found)) > 1 else notes))
    return page.section("What was found", *blocks)


def _row_section(found: Mapping[str, Any], row: Mapping[str, Any], drawn: Sequence[AnalysisFigure], number: int) -> str:
    cards = "".join(card(one, f"row{number}-{one.name}") for one in drawn)
    words = ""
    if row["kind"] == "model":
        table = slot_table(found, row["name"])
        shown = " ".join(map(str, table.columns))
        notes = [f"{what}: {text}" for what, text in WORDS.items() if what in shown]
        words = wide_table(table, text_columns=len(table.columns)) + notes_list(notes)
    return page.section(
        f"Slots and factors: {row['name']}", words, f'<div class="figures">{cards}</div>', intro=f"{row['about']}."
    )


def _score_section(found: Mapping[str, Any], stratum: str) -> str:
    factors = ", ".join(one["name"] for one in found["factors"] if stratum in ("all", one["stratum"]))
    return page.section(
        f"Scores, stratum {stratum}",
        wide_table(score_table(found, stratum), text_columns=2),
        notes_list(footnotes(found) if stratum == strata_of(found)[0] else []),
        intro=f"Factors: {factors}.",
    )


def _told_section(found: Mapping[str, Any]) -> str:
    notes = [
        "In brackets 95 % over groups, as below the table of scores; rotated: the mean of the random rotations of the "
        "same code",
        "information: of all slots together, which rotations leave as it is; redundancy: sum over slots less that",
        "equivariance: share of the change of the embedding that follows from the change of the factor, held out, so "
        "that chance gives 0",
        "invariance: 1 less half the squared change in units of variance, averaged over slots: 1 is no change at all",
    ]
    return page.section("Factor by factor", wide_table(factor_table(found), text_columns=2), notes_list(notes))


def _heard_section(found: Mapping[str, Any]) -> str:
    factors = pd.DataFrame(
        [
            {
                "factor": one["name"],
                "stratum": one["stratum"],
                "clips": one["block"],
                "values": ", ".join(one["values"]) or one["kind"],
                "pairs": str(one["pairs"]),
            }
            for one in found["factors"]
        ]
    )
    rows = pd.DataFrame(
        [{"row": one["name"], "kind": one["kind"], "what it is": one["about"]} for one in found["rows"]]
    )
    data = found.get("dataset")
    told = (
        f"{data['title']} ({data['name']}). Licence: {data['licence']}. Please cite: {data['citation']}" if data else ""
    )
    return page.section(
        "What was heard, and by whom", wide_table(factors, text_columns=4), wide_table(rows, text_columns=3), intro=told
    )


def _reproduce_section(found: Mapping[str, Any], out: Path) -> str:
    facts: dict[str, object] = {}
    for name, identity in found["settings"]["sources"].items():
        if sha := identity.get("weights_sha256"):
            facts[f"sha256 of {name}"] = sha
    facts |= {f"digest of {name}": digest for name, digest in found["settings"]["blocks"].items()}
    facts["versions"] = ", ".join(f"{name} {number}" for name, number in found["settings"]["versions"].items())
    return page.section(
        "How to make it again",
        f"<pre>{escape(found.get('command') or f'm2l2 disentangle --out {out}')}</pre>",
        page.definitions(facts),
        intro="What is there already is kept. All numbers are in CSV and Parquet files, all tables in table.tex.",
    )


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
