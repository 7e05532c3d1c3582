"""Studies: measurements that belong to a probe beside its scores, each written as one JSON, CSV and Markdown file.

Conventions
-----------
* A study lies in ``OUT/PROBE/`` beside the scores, called by its kind: ``equivariance.json``, ``learning-curve.csv``,
  ``grouping.md``. It needs no ``scores.json`` there.
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
from m2l2_mir.probe.results import plain

__all__ = ["KINDS", "Study", "forget_studies", "line", "read_studies", "study_table", "write_study"]

KINDS = ("equivariance", "learning-curve", "grouping")
FORMAT = 1


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
    """Write a study into the folder of its probe; an older one of its kind is replaced.

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
