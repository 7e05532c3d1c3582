"""The report of an analysis: one HTML page that opens offline, and its figures as files. Nothing is measured anew."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile

from m2l2_mir.disentangle.decision import plain
from m2l2_mir.disentangle.figures import AnalysisFigure, identity_figures, row_figures, swap_figures
from m2l2_mir.disentangle.results import SWAPS, comparison_table, footnotes, read_results, score_table, strata_of
from m2l2_mir.durable import write_durably
from m2l2_mir.errors import InputError
from m2l2_mir.report import page
from m2l2_mir.report.page import escape

__all__ = ["REPORT", "matrix_section", "write_report"]

REPORT, FIGURES = "report.html", "figures"
EXAMPLE_SECONDS = 6.0
READING = {
    "D": "disentanglement, 0 to 1: a slot tells of one factor only",
    "C": "completeness, 0 to 1: one slot tells all of a factor",
    "random rotations": "the same scores of equally wide blocks of the same code in random bases: what width gives",
    "permuted labels": "the same scores when labels are exchanged inside nuisance groups, or whole groups exchange "
    "theirs: what noise gives; D and C of slot scores are 0 where nothing more is told than that",
    "information": "share of a factor's entropy that a linear probe reads on clips it has not seen",
    "strata": "global factors hold throughout a clip, local ones at one place, sequence ones are an order of events; "
    "ordered latents hold global factors several times over by construction, so that strata are told apart",
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
    for number, name in enumerate(found.get("identity", {})):
        matching = found.get("matching") if number == 0 else None
        drawn = identity_figures(found["identity"][name], matching)
        figures |= {f"{_slug(name)}-{one.name}": one for one in drawn}
        sections.append(_identity_section(name, found["identity"][name], matching, drawn, number))
    for number, (name, swaps) in enumerate(found.get("swaps", {}).items()):
        if not swaps["plans"]:
            continue
        drawn = swap_figures(swaps["plans"])
        figures |= {f"{_slug(name)}-{one.name}": one for one in drawn}
        sections.append(_swap_section(swaps, drawn, number, out / SWAPS))
    if classics := found.get("classics"):
        sections.append(_classics_section(classics))
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
    drawn = row_figures(found, found["model"])
    cards = "".join(_card(one, f"slots-{one.name}") for one in drawn)
    said = f'<p class="prose">{escape(found["sentence"])}.</p>'
    return page.section("Which slot holds what", said, f'<div class="pair figures">{cards}</div>', intro=intro)


def _found_section(found: Mapping[str, Any]) -> str:
    blocks = [f'<p class="prose">{escape(found["sentence"])}.</p>']
    if found["comparison"]:
        compared = found["comparison"]
        blocks += [
            f"<p>First: {escape(', '.join(compared['first']))}. Second: {escape(', '.join(compared['second']))}.</p>",
            _table(comparison_table(found), text_columns=2),
            _list(
                [
                    "Differences of scores normalised by each model's own random rotations; intervals from leaving out "
                    "the same groups of clips in both, fitted again",
                    "p, and p (Holm) over D of strata beside the primary one: from 8 pairs of seeds on; with fewer, "
                    "intervals speak of these checkpoints, and are not adjusted for the number of strata",
                ]
            ),
        ]
    return page.section("What was found", *blocks)


def _row_section(found: Mapping[str, Any], row: Mapping[str, Any], drawn: Sequence[AnalysisFigure], number: int) -> str:
    cards = "".join(_card(one, f"row{number}-{one.name}") for one in drawn)
    return page.section(
        f"Slots and factors: {row['name']}", f'<div class="figures">{cards}</div>', intro=f"{row['about']}."
    )


def _score_section(found: Mapping[str, Any], stratum: str) -> str:
    factors = ", ".join(one["name"] for one in found["factors"] if stratum in ("all", one["stratum"]))
    notes = [*footnotes(found), *(f"{name}: {text}" for name, text in READING.items())]
    return page.section(
        f"Scores, stratum {stratum}",
        _table(score_table(found, stratum), text_columns=2),
        _list(notes if stratum == strata_of(found)[0] else []),
        intro=f"Factors: {factors}.",
    )


def _told_section(found: Mapping[str, Any]) -> str:
    columns = ("information", "redundancy", "equivariance", "invariance")
    lines = [
        {"row": line["row"], "factor": line["factor"], **{name: plain(line.get(name)) for name in columns}}
        for line in found["told"]
    ]
    notes = [
        "information: of all slots together; redundancy: sum over slots less that",
        "equivariance: share of the change of the embedding that follows from the change of the factor, held out",
        "invariance: 1 less half the squared change in units of variance, averaged over slots: 1 is no change at all",
    ]
    return page.section("Factor by factor", _table(pd.DataFrame(lines), text_columns=2), _list(notes))


def _identity_section(
    name: str,
    identity: Mapping[str, Any],
    matching: Mapping[str, Any] | None,
    drawn: Sequence[AnalysisFigure],
    number: int,
) -> str:
    health, stability = identity["health"], identity.get("stability")
    lines = []
    for slot, spread in enumerate(health["spread"]):
        line = {
            "slot": str(slot + 1),
            "spread": f"{spread:.3f}",
            "saturated": plain(health["saturated"][slot]),
            "effective rank": f"{health['effective_rank'][slot]:.1f}",
        }
        if stability:
            line |= {
                title: plain(stability[key][slot])
                for key, title in (
                    ("adjacent", "next chunk"),
                    ("within", "same clip"),
                    ("between", "other music"),
                    ("kept", "nearest to itself"),
                )
            }
        lines.append(line)
    said = [
        f"A single vector tells which slot it is in {plain(identity['accuracy'])} of cases; chance is "
        f"{plain(identity['chance'])}",
        f"{health['dead']} dead slots; effective rank of all slots {health['total_effective_rank']:.1f}",
    ]
    if stability:
        said.append(
            "next chunk, same clip, other music: correlation of a slot with itself in those; nearest to itself: how "
            "often the nearest slot of the next chunk is the same one"
        )
    if matching:
        said.append(
            f"Slots matched between the two models: {plain(matching['matched'])} predictable, "
            f"{plain(matching['chance'])} where slots are exchanged clip by clip (p {matching['p']:.2f}); the first's "
            "1, 2, ... go with " + ", ".join(str(slot + 1) for slot in matching["match"])
        )
    cards = "".join(_card(one, f"identity{number}-{one.name}") for one in drawn)
    return page.section(
        f"Slot identity: {name}",
        _table(pd.DataFrame(lines), text_columns=1),
        _list(said),
        f'<div class="figures">{cards}</div>',
    )


def _swap_section(swaps: Mapping[str, Any], drawn: Sequence[AnalysisFigure], number: int, folder: Path) -> str:
    lines = []
    for plan in swaps["plans"]:
        for place, one in enumerate(plan["calibration"]):
            shares = {part: plain(plan[part][place]) for part in ("null", "ceiling", "floor")}
            lines.append(
                {
                    "attribute": one["attribute"],
                    "clips": plan["block"],
                    "context": plan["context"],
                    "pairs": f"{plan['counted'][place]} of {len(plan['pairs'])}",
                    **shares,
                    "on renders": plain(one["renders"]),
                    "on reconstructions": plain(one["reconstructions"]),
                }
            )
    notes = [
        "null, ceiling, floor: share of pairs whose attribute moves to the donor's when a random subspace, all slots, "
        "or nothing but the noise of the decoder is changed; pairs: those whose plain reconstructions differ in it",
        "on renders, on reconstructions: how well the estimator follows the true factor there (rank correlation; of "
        "pitch classes the length of the mean difference on the circle); where it is low, T says nothing",
        "context: the chunk decoded before, which is not measured",
    ]
    cards = "".join(_card(one, f"swaps{number}-{one.name}") for one in drawn)
    heard = "".join(_player(folder / one["file"], f"Pair {one['pair']}: {one['title']}") for one in swaps["examples"])
    if heard:
        heard = f"<p>The slot and attribute that move most, of the pairs where they do:</p>{heard}"
    return page.section(
        "Decoder swaps",
        f'<p class="prose">{escape(swaps["sentence"])}.</p>',
        f'<div class="figures">{cards}</div>',
        _table(pd.DataFrame(lines), text_columns=3),
        _list(notes),
        heard,
        intro="One slot of a clip is replaced by another clip's and decoded: does what it is said to mean move along?",
    )


def _player(path: Path, title: str) -> str:
    try:
        samples, sample_rate = soundfile.read(str(path), dtype="float32")
    except soundfile.LibsndfileError:
        return f"<p>{escape(title)}: {escape(path.name)} could not be read.</p>"
    uri = page.audio_uri(samples, sample_rate, seconds=EXAMPLE_SECONDS)
    return f'<p>{escape(title)}</p><audio controls preload="metadata" src="{uri}" aria-label="{escape(title)}"></audio>'


def _classics_section(classics: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        {
            "row": line["row"],
            "block": line["block"],
            "metric": line["metric"],
            "raw": plain(line["estimate"]),
            **{
                title: plain(line.get(key))
                for key, title in (("rotation", "random rotations"), ("permutation", "permuted"))
            },
            "normalised": plain(line.get("normalised")),
        }
        for line in classics
    ]
    intro = "Metrics of single dimensions: they depend on the basis inside a slot and on width; secondary."
    return page.section("Dimension by dimension", _table(pd.DataFrame(lines), text_columns=3), intro=intro)


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
        "What was heard, and by whom", _table(factors, text_columns=4), _table(rows, text_columns=3), intro=told
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
        intro="What is there already is kept. All numbers are in scores.csv, matrices in cells.parquet.",
    )


def _table(frame: pd.DataFrame, *, text_columns: int) -> str:
    numeric = [str(name) for name in frame.columns[text_columns:]]
    return f'<div class="wide">{page.table(frame, numeric=numeric)}</div>'


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def _card(one: AnalysisFigure, identifier: str) -> str:
    svg = page.figure_svg(one.figure, alt=one.caption, identifier=identifier)
    return f'<div class="card">{page.figure(svg, caption=escape(one.caption) + ".")}</div>'


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
