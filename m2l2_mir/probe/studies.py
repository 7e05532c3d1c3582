"""Studies: measurements that belong to a probe beside its scores, each written as one JSON, CSV and Markdown file.

Conventions
-----------
* A study lies in ``OUT/PROBE/`` beside the scores, called by its kind: ``equivariance.json``, ``learning-curve.csv``,
  ``grouping.md``. It needs no ``scores.json`` there.
* A study of one model does not stand beside the scores of another, and one of other settings is not replaced unasked:
  :func:`refuse_other_study`.
* Its table is long: a line for each ``part`` (what belongs into one figure), ``row``, ``x`` and ``metric`` with the
  fields of :class:`~m2l2_mir.probe.resampling.Interval`. ``x`` is a number or the name of a summary, such as "all".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import Interval
from m2l2_mir.probe.results import SCORES, differences, plain, read_scores

__all__ = [
    "KINDS",
    "Study",
    "forget_studies",
    "has_study",
    "line",
    "read_studies",
    "refuse_beside_studies",
    "refuse_other_study",
    "study_table",
    "write_study",
]

KINDS = ("equivariance", "learning-curve", "grouping")
FORMAT = 1

# Where these differ, a study and scores do not belong into one report; folds, seeds and read-outs may differ.
_OF_BOTH = ("dataset", "label")
_OF_A_ROW = ("store", "view", "embedder", "file", "sha256")  # in the provenance of a model


@dataclass(frozen=True, kw_only=True)
class Study:
    """What was measured.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    probe, title
        Name of the probe, and what is measured.
    model
        The row that the sentence is about.
    sentence
        What was found, without a full stop.
    metric
        Shown first.
    x_label
        What ``x`` is, with its unit.
    table
        See the module's conventions.
    notes
        What belongs below the table.
    settings
        What the result depends on.
    """

    kind: str
    probe: str
    title: str
    model: str
    sentence: str
    metric: str
    x_label: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def line(interval: Interval, *, part: str, row: str, x: float | str, metric: str) -> dict[str, Any]:
    """One line of a study's table."""
    return {"part": part, "row": row, "x": x, "metric": metric, **asdict(interval)}


def write_study(out: Path, study: Study, *, command: str = "") -> Path:
    """Write a study into the folder of its probe; an older one of its kind is replaced: see :func:`refuse_other_study`.

    Returns
    -------
    Path
        The JSON file, which is written last.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(out) / study.probe
    path = folder / f"{study.kind}.json"
    values = {"format": FORMAT, **{key: value for key, value in vars(study).items() if key != "table"}}
    values |= {"command": command, "table": study.table.to_dict("records")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        for suffix, text in ((".csv", study.table.to_csv(index=False)), (".md", _markdown(study))):
            content = text.encode()
            write_durably(path.with_suffix(suffix), lambda file, content=content: file.write(content))  # type: ignore[misc]
        write_json(path, plain(values))
    except OSError as error:
        raise InputError(f"cannot write results into {folder}: {error.strerror or error}") from error
    return path


def refuse_other_study(
    out: Path, probe: str, kind: str, settings: Mapping[str, Any], *, model: str = "", overwrite: bool = False
) -> None:
    """Refuse to write a study beside results that it does not belong to, or over one of other settings.

    Parameters
    ----------
    out, probe, kind
        Where it would be written.
    settings
        Of the study, or those that are known so far.
    model
        Its first row; "" where that is not known yet.
    overwrite
        Whether an older study may be replaced; scores never are.

    Raises
    ------
    InputError
        The message names what differs.
    """
    folder, now = Path(out) / probe, json.loads(json.dumps(plain(settings)))
    if (folder / SCORES).is_file() and (shown := _strange(read_scores(out)[probe]["settings"], now, model)):
        raise InputError(
            f"{folder} holds scores of something else ({shown}), and one report would join them: choose another --out"
        )
    path = folder / f"{kind}.json"
    if not path.is_file() or overwrite:
        return
    older = _read(path)
    if model and older.model != model:
        shown = f"model {older.model!r} in the folder, {model!r} asked for"
    else:
        shown = differences(older.settings, now)
    if shown:
        raise InputError(
            f"{path} was made with other settings ({shown}): choose another --out, or replace it with --overwrite"
        )


def refuse_beside_studies(out: Path, probe: str, settings: Mapping[str, Any]) -> None:
    """Refuse to write scores beside a study of another model or data set.

    Parameters
    ----------
    out, probe
        Where they would be written.
    settings
        Of the scores.

    Raises
    ------
    InputError
        The message names what differs.
    """
    now = json.loads(json.dumps(plain(settings)))
    for study in read_studies(out):
        if study.probe == probe and (shown := _strange(now, study.settings, study.model)):
            raise InputError(
                f"{Path(out) / probe} holds a study ({study.kind}) of something else ({shown}), and one report would "
                "join them: choose another --out, or remove it with --overwrite"
            )


def has_study(out: Path, probe: str, kind: str, settings: Mapping[str, Any]) -> bool:
    """Whether a study is there that was made with these settings; those that it does not state do not count."""
    path = Path(out) / probe / f"{kind}.json"
    try:
        there = _read(path).settings
    except InputError:
        return False
    now = json.loads(json.dumps(plain(settings)))
    return all(there[key] == now[key] for key in there.keys() & now.keys())


def forget_studies(out: Path, probe: str) -> None:
    """Remove the studies of a probe, as when its scores are replaced by those of other settings."""
    for kind in KINDS:
        for suffix in (".json", ".csv", ".md"):
            (Path(out) / probe / f"{kind}{suffix}").unlink(missing_ok=True)


def read_studies(out: Path) -> list[Study]:
    """All studies of a folder of results, by probe and kind; none is no error.

    Raises
    ------
    InputError
        One cannot be read.
    """
    found = [path for kind in KINDS for path in sorted(Path(out).glob(f"*/{kind}.json"))]
    return [_read(path) for path in sorted(found, key=lambda path: path.parent.name)]


def study_table(study: Study, part: str, metric: str | None = None) -> pd.DataFrame:
    """One part of a study as text: a line for each row, a column for each ``x``.

    Parameters
    ----------
    study, part
        Which one.
    metric
        None: the one that is shown first.
    """
    inside = study.table[(study.table["part"] == part) & (study.table["metric"] == (metric or study.metric))]
    lines: dict[str, dict[str, str]] = {}
    for one in inside.to_dict("records"):
        lines.setdefault(one["row"], {"row": one["row"]})[_heading(one["x"])] = _with_interval(one)
    return pd.DataFrame(list(lines.values())).fillna("")


def _strange(scores: Mapping[str, Any], study: Mapping[str, Any], model: str) -> str:
    """In words: why settings of scores and of a study do not belong together; "" if they do."""
    shown = [differences(scores, {key: study[key] for key in _OF_BOTH if key in study})]
    there, own = ({row["name"]: row for row in settings.get("rows", [])} for settings in (scores, study))
    if model and model not in there:
        shown.append(f"no row {model!r} among the scores")
    elif model in own:
        shown.append(differences(*({key: rows[model].get(key) for key in _OF_A_ROW} for rows in (there, own))))
    return "; ".join(filter(None, shown))


def _read(path: Path) -> Study:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); make it again") from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise InputError(f"{path} is no result that this version can read; make it again")
    values.pop("command", None)
    values["notes"] = tuple(values["notes"])
    table = pd.DataFrame(values.pop("table"))
    numbers = ["estimate", "low", "high"]
    table[numbers] = table[numbers].astype(float)  # None of JSON is nan
    return Study(**values, table=table)


def _markdown(study: Study) -> str:
    parts = [f"# {study.title}", f"{study.sentence}."]
    for part in study.table["part"].unique():
        metrics: Sequence[str] = study.table.loc[study.table["part"] == part, "metric"].unique().tolist()
        for metric in metrics:
            table = study_table(study, part, metric)
            rows = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
            cells = "\n".join(
                f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows
            )
            parts += [f"## {part}: {metric} by {study.x_label}", cells]
    parts.append("\n".join(f"* {note}" for note in study.notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def _heading(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:g}"


def _with_interval(one: Mapping[Any, Any]) -> str:
    if math.isnan(one["estimate"]):
        return "not defined"
    text = f"{one['estimate']:.3f}"
    return text if math.isnan(one["low"]) else f"{text} [{one['low']:.3f}, {one['high']:.3f}]"
