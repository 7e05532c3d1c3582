"""Results on the disk, and their tables.

Conventions
-----------
* ``OUT/`` holds ``scores.json`` (everything), ``scores.csv`` (a line for each row, stratum and score), ``factors.csv``
  (for each row and factor), ``cells.parquet`` (for each row, slot and factor), ``dimensions.parquet`` (for each
  dimension and factor), ``unseen.csv`` (combinations that were not heard), ``identity.csv`` (for each slot),
  ``classics.csv`` (metrics of single dimensions) and ``swaps.parquet`` (decoder swaps, for each slot and attribute),
  which are empty where they were not made, ``table.md``, ``table.tex``, ``figures/`` and ``report.html``
  (:mod:`m2l2_mir.disentangle.report`), ``swaps/``, examples of decoder swaps where they were made, and ``parts/``, the
  measurements, which a later run takes up.
* ``scores.json`` is written last and removed first: a folder without it is unfinished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from m2l2_mir.disentangle.compare import PAIRS, SCORES
from m2l2_mir.disentangle.decision import LEAST_TOLD, is_undefined, plain, signed
from m2l2_mir.disentangle.dimension_maps import dimension_table
from m2l2_mir.disentangle.experiment import FORMAT
from m2l2_mir.disentangle.side_tables import (
    ARMS_NOTE,
    SEEDS_NOTE,
    SWAPS_NOTES,
    arms_table,
    classics_table,
    factor_table,
    generalisation_table,
    identity_frame,
    identity_table,
    seeds_table,
    swap_frame,
    swap_tables,
)
from m2l2_mir.disentangle.strata_comparison import arm_name
from m2l2_mir.disentangle.words import slot_table
from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import InputError
from m2l2_mir.probe.results import plain as plain_values
from m2l2_mir.report.paper import latex_table, markdown_table

__all__ = [
    "COMPARED",
    "SWAPS",
    "comparison_table",
    "footnotes",
    "read_results",
    "score_table",
    "strata_of",
    "write_results",
]

RESULTS, SWAPS = "scores.json", "swaps"
TITLES = {
    "P1 D": "slot scores: D",
    "P1 C": "slot scores: C",
    "P2 D": "counterfactual: D",
    "P2 C": "counterfactual: C",
    "information": "information of all slots",
}
COMPARED = (
    "first, second, difference: scores normalised by each model's own random rotations, beside them raw ones and those "
    "of the rotations, means over models; intervals from leaving out the same groups "
    "of clips in both, fitted again",
    f"p from {PAIRS} pairs of seeds on; with fewer, intervals speak of these checkpoints, and are not adjusted for "
    "their number",
    "first is: by D of the primary stratum on both measures and against time bases, which must all hold and so are not "
    "adjusted; by p (Holm) for D of the strata beside it, a family of their own; equal within the margin by the "
    "interval alone",
    "Completeness, information and the stratum of all factors are described and not tested beyond what the decision "
    "asks of them, nor is, where there is no p, D of strata beside the primary one",
)


def write_results(out: Path, found: Mapping[str, Any], *, command: str = "") -> None:
    """Write the files of a run.

    Parameters
    ----------
    out
        Folder; made if need be.
    found
        Of :func:`~m2l2_mir.disentangle.experiment.run_analysis`, with what was added to it.
    command
        That made it.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    values = plain_values(_listed({**found, "command": command}))
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / RESULTS).unlink(missing_ok=True)
        cells = pd.DataFrame(values["cells"])
        write_durably(out / "cells.parquet", lambda file: cells.to_parquet(file, index=False))
        unseen = [{**line, "beside": " ".join(line["beside"])} for line in values.get("unseen", [])]
        dimensions = dimension_table(values.get("dimensions", {}))
        write_durably(out / "dimensions.parquet", lambda file: dimensions.to_parquet(file, index=False))
        swaps = swap_frame(values)
        write_durably(out / "swaps.parquet", lambda file: swaps.to_parquet(file, index=False))
        for name, text in (
            ("scores.csv", pd.DataFrame(values["scores"]).to_csv(index=False)),
            ("factors.csv", pd.DataFrame(values["told"]).to_csv(index=False)),
            ("unseen.csv", pd.DataFrame(unseen).to_csv(index=False)),
            ("classics.csv", pd.DataFrame(values.get("classics", [])).to_csv(index=False)),
            ("identity.csv", identity_frame(values).to_csv(index=False)),
            ("table.md", _markdown(values)),
            ("table.tex", _latex(values)),
        ):
            content = text.encode()
            write_durably(out / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
        write_json(out / RESULTS, values)
    except OSError as error:
        raise InputError(f"cannot write results into {out}: {error.strerror or error}") from error


def read_results(out: Path) -> dict[str, Any]:
    """Results of a finished run.

    Raises
    ------
    InputError
        There are none, or they cannot be read.
    """
    path = Path(out) / RESULTS
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{out} holds no results; 'm2l2 disentangle --out {out}' makes them") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run 'm2l2 disentangle' again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path} is no result that this version can read; run 'm2l2 disentangle' again")
    return found


def score_table(found: Mapping[str, Any], stratum: str, *, brief: bool = False) -> pd.DataFrame:
    """Every row's scores in one stratum as text, each beside its nulls.

    Parameters
    ----------
    found
        Results.
    stratum
        One of them.
    brief
        For a terminal: short names, without C.
    """
    told_of = {
        line["row"]: line["estimate"]
        for line in found["scores"]
        if line["stratum"] == stratum and line["score"] == "information"
    }
    lines = []
    for line in found["scores"]:
        if line["stratum"] != stratum or (brief and line["score"].endswith("C")):
            continue
        rotation, permutation = line.get("rotation_mean"), line.get("permutation_mean")
        lines.append(
            {
                "row": line["row"],
                "score": line["score"] if brief else TITLES[line["score"]],
                "raw": plain(line["estimate"]),
                "95 %": "" if is_undefined(line["low"]) else f"[{plain(line['low'])}, {plain(line['high'])}]",
                "random rotations": "" if rotation is None else plain(rotation),
                "permuted labels": "" if permutation is None else plain(permutation),
                "normalised": ""
                if rotation is None
                else "too little told"
                if line["score"].startswith("P1") and told_of[line["row"]] < LEAST_TOLD
                else "not distinguishable"
                if is_undefined(line["rotation_normalised"])
                else signed(line["rotation_normalised"]),
                "p": "" if rotation is None else _p(line["rotation_p"], line["rotation_draws"]),
            }
        )
    return pd.DataFrame(lines)


def comparison_table(found: Mapping[str, Any], *, brief: bool = False) -> pd.DataFrame:
    """Differences of the two arms in every stratum, and against time bases of the second, as text.

    Parameters
    ----------
    found
        Results of two arms.
    brief
        For a terminal: the primary stratum alone, with short names.
    """
    compared = found["comparison"]
    titled = [(stratum, one) for stratum, one in compared["strata"].items()]
    titled += [(f"{compared['primary']}, against {name}", one) for name, one in compared["bases"].items()]
    lines = []
    for title, one in titled:
        for what in (*SCORES, "information"):
            if what not in one:
                continue
            line = one[what]
            mark = "equal within the margin" if line["equivalent"] else ""
            if line["above"] or line["below"]:
                mark = ("higher" if line["above"] else "lower") + (", within the margin" if mark else "")
            lines.append(
                {
                    "stratum": title,
                    "score": TITLES[what],
                    "first": plain(line["first"]),
                    "second": plain(line["second"]),
                    "first, raw (rotations)": _beside_null(line, "first"),
                    "second, raw (rotations)": _beside_null(line, "second"),
                    "difference": signed(line["difference"]),
                    "95 %": "" if is_undefined(line["low"]) else f"[{signed(line['low'])}, {signed(line['high'])}]",
                    "p": _p(line["p"], 10_000),
                    "p (Holm)": _p(line.get("p_holm"), 10_000),
                    "first is": mark if line["tested"] else "",
                }
            )
    table = pd.DataFrame(lines)
    if brief:
        table = table[table["stratum"] == compared["primary"]].drop(columns=["stratum", "p (Holm)", "first is"])
        table["score"] = table["score"].map({title: what for what, title in TITLES.items()})
    return table


def _beside_null(line: Mapping[str, Any], arm: str) -> str:
    """An arm's score as it is, and what its random rotations have; means over its models."""
    raw, null = (line.get(f"{arm}_{what}") for what in ("raw", "null"))
    return "" if raw is None else f"{plain(raw)} ({plain(null)})"


def strata_of(found: Mapping[str, Any]) -> list[str]:
    """Strata of results, in order."""
    return list(dict.fromkeys(line["stratum"] for line in found["scores"]))


def footnotes(found: Mapping[str, Any]) -> list[str]:
    """What has to be said below every table."""
    settings = found["settings"]
    counted = "; ".join(
        f"{name}: {one['clips']} of {one['expected']} clips and {one['pairs']} of {one['expected_pairs']} pairs, "
        f"{one['groups']} groups"
        for name, one in found["counts"].items()
    )
    notes = [
        "95 % intervals over nuisance groups, of counterfactual scores less their bias; none where leaving out any "
        "tenth of the groups changes nothing",
        f"{settings['rotations']} rotations, {settings['permutations']} permutations; p against rotations; normalised "
        "= (raw - mean of rotations) / (1 - mean of rotations), not distinguishable where that leaves less than .1",
        "D of slot scores is that of a probe which learns from this many clips: with fewer it misses what is told "
        "weakly, and slots look purer; compare it at equal numbers of clips only",
        f"Scored: {counted}",
    ]
    if moved := found.get("inside"):
        text = ", ".join(f"{TITLES[what]} by {value:.1e}" for what, value in moved.items())
        notes.append(f"Turning slots inside themselves moves {text} at most")
    if found["failed"]:
        example = found["failed"][0]
        notes.append(f"{len(found['failed'])} clips failed, such as {example['track_id']}: {example['reason']}")
    return notes + list(found["notes"])


def _markdown(found: Mapping[str, Any]) -> str:
    parts = [f"# Disentanglement: {_subject(found)}", found["sentence"] + "."]
    if found["comparison"]:
        parts += ["## Comparison", markdown_table(comparison_table(found)), _bullets(COMPARED)]
    for stratum in strata_of(found):
        parts += [f"## Stratum {stratum}", markdown_table(score_table(found, stratum))]
    for row in found["rows"]:
        if row["kind"] == "model":
            parts += [f"## Slot by slot: {row['name']}", markdown_table(slot_table(found, row["name"]))]
    for title, table, notes in _beside(found):
        parts += [f"## {title}", markdown_table(table), *([_bullets(notes)] if notes else [])]
    parts.append(_bullets(footnotes(found)))
    parts.append(_bullets([f"{row['name']}: {row['about']}" for row in found["rows"]]))
    return "\n\n".join(parts) + "\n"


def _latex(found: Mapping[str, Any]) -> str:
    """Tables for a paper; needs the package booktabs."""
    notes = footnotes(found)
    titled = [(f"Stratum {stratum}", score_table(found, stratum), notes) for stratum in strata_of(found)]
    if found["comparison"]:
        titled.insert(0, ("Comparison", comparison_table(found), [*COMPARED, *notes]))
    titled += [(title, table, [*said, *notes]) for title, table, said in _beside(found)]
    return "\n".join(latex_table(table, caption=". ".join([title, *said]) + ".") for title, table, said in titled)


def _subject(found: Mapping[str, Any]) -> str:
    compared = found["comparison"]
    return " against ".join(arm_name(compared[arm]) for arm in ("first", "second")) if compared else found["model"]


def _beside(found: Mapping[str, Any]) -> list[tuple[str, pd.DataFrame, list[str]]]:
    """Tables beside the scores with title and notes of their own, those of what was measured."""
    notes = {"Factors, arm by arm": [ARMS_NOTE], "The same slots with other seeds": [SEEDS_NOTE]}
    notes |= {
        title: [swaps["sentence"], *SWAPS_NOTES]
        for row, swaps in found.get("swaps", {}).items()
        for title in swap_tables({"swaps": {row: swaps}})
    }
    tables = {
        "Factors, arm by arm": arms_table(found),
        "Factor by factor": factor_table(found),
        "Combinations that were not heard": generalisation_table(found),
        "Dimension by dimension": classics_table(found),
        "Slot identity": identity_table(found),
        "The same slots with other seeds": seeds_table(found),
        **swap_tables(found),
    }
    return [(title, table, notes.get(title, [])) for title, table in tables.items() if len(table)]


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _p(p: float | None, draws: int) -> str:
    if p is None or not np.isfinite(p):
        return ""
    return f"{p:.3f}".lstrip("0") if p >= 0.001 else f"< {max(0.001, 1 / (1 + draws)):.3f}".replace("0.", ".")


def _listed(value: Any) -> Any:
    """Arrays as lists, at any depth."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
