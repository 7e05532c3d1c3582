"""Results on the disk: a folder for each probe, written when it is done.

Conventions
-----------
* ``OUT/PROBE/`` holds ``scores.json`` (everything), ``scores.csv`` (a line for each row and metric), ``binned.csv``
  (scores by register, bpm or confidence, :mod:`m2l2_mir.probe.binned`; under "binned" of a section too), ``table.md``,
  ``table.tex`` and ``predictions.parquet`` (a line for each row, seed and track). ``OUT/table.md`` puts the probes of
  the folder beside each other. Figures and ``OUT/report.html``: :mod:`m2l2_mir.probe.report`.
* ``scores.json`` is written last and removed first: a folder without it is unfinished.
* Fitted probes lie in ``OUT/PROBE/fitted/`` (:mod:`m2l2_mir.probe.final_fit`).
* Results made with other settings are never replaced unasked: :func:`refuse_other` names what differs.
"""

from __future__ import annotations

import json
import math
import operator
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import InputError
from m2l2_mir.probe.binned import binned_scores
from m2l2_mir.probe.experiment import FORMAT, ProbeResult
from m2l2_mir.probe.tables import latex, long_table, markdown, overview
from m2l2_mir.probe.wording import sentence

__all__ = [
    "differences",
    "finished",
    "plain",
    "read_predictions",
    "read_scores",
    "refuse_other",
    "scores_in",
    "write_overview",
    "write_result",
]

SCORES, PREDICTIONS = "scores.json", "predictions.parquet"

_MOST_SHOWN, _LONGEST = 6, 60


class OtherVersionError(InputError):
    """Results were written by another version."""


def write_result(out: Path, result: ProbeResult, *, command: str = "") -> Path:
    """Write the files of one probe.

    Parameters
    ----------
    out
        Folder of the run; made if need be.
    result
        Of one probe; an older one of the same name is replaced.
    command
        That made it, kept beside the scores.

    Returns
    -------
    Path
        ``out / probe``.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    sections = [
        {**section, "binned": binned_scores(result.scores, section, result.predictions).to_dict("records")}
        for section in result.scores["sections"]
    ]
    scores = plain(result.scores | {"sections": sections})
    binned = [
        {"split": section["split"], "readout": section["readout"], **line}
        for section in sections
        for line in section["binned"]
    ]
    folder = out / scores["probe"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (SCORES, "binned.csv"):  # the second is not written for every kind of label
            (folder / name).unlink(missing_ok=True)
        write_durably(folder / PREDICTIONS, lambda file: result.predictions.to_parquet(file, index=False))
        for name, text in (
            ("scores.csv", long_table(scores).to_csv(index=False)),
            *([("binned.csv", pd.DataFrame(binned).to_csv(index=False))] if binned else []),
            ("table.md", markdown(scores)),
            ("table.tex", latex(scores)),
        ):
            content = text.encode()
            write_durably(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
        write_json(folder / SCORES, scores | {"sentence": sentence(scores), "command": command})
    except OSError as error:
        raise InputError(f"cannot write results into {folder}: {error.strerror or error}") from error
    write_overview(out)
    return folder


def write_overview(out: Path) -> None:
    """Put the finished probes of a folder beside each other in its ``table.md``."""
    probes = [scores for _, scores in sorted(read_scores(out).items())]
    write_durably(out / "table.md", lambda file: file.write(overview(probes).encode()))


def read_scores(out: Path) -> dict[str, dict[str, Any]]:
    """Scores of the finished probes of a folder, by name; those of another version are left out, with a warning.

    Raises
    ------
    InputError
        There are none, or one cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(out).glob(f"*/{SCORES}")):
        try:
            found[path.parent.name] = scores_in(path.parent)
        except OtherVersionError as error:
            warnings.warn(str(error), stacklevel=2)
    if not found:
        raise InputError(f"{out} holds no results of probes; 'm2l2 probe run NAME --out {out}' makes them")
    return found


def scores_in(folder: Path) -> dict[str, Any]:
    """Scores of one finished probe, from its folder ``OUT/PROBE``.

    Raises
    ------
    InputError
        They are not there, cannot be read, or are of another version.
    """
    path = folder / SCORES
    try:
        scores = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run the probe again with --overwrite") from error
    if not isinstance(scores, dict) or scores.get("format") != FORMAT:
        raise OtherVersionError(f"{path} is no result that this version can read; run the probe again with --overwrite")
    return scores


def read_predictions(out: Path, probe: str) -> pd.DataFrame:
    """Raw predictions of one probe.

    Raises
    ------
    InputError
        They are not there or cannot be read.
    """
    path = Path(out) / probe / PREDICTIONS
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run the probe again") from error


def finished(out: Path, probe: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Scores that are there already, if they were made with just these settings; else None."""
    path = Path(out) / probe / SCORES
    if not path.is_file() or not path.with_name(PREDICTIONS).is_file():
        return None
    try:
        scores = scores_in(path.parent)
    except InputError:
        return None
    return scores if scores["settings"] == json.loads(json.dumps(plain(settings))) else None


def refuse_other(out: Path, probe: str, settings: Mapping[str, Any]) -> None:
    """Refuse to go on where a finished probe was made with other settings.

    Parameters
    ----------
    out
        Folder of the run.
    probe
        Of whose results it is asked.
    settings
        All of them, or those that are known so far.

    Raises
    ------
    InputError
        The message names every setting that differs; or the results cannot be read.
    """
    path = Path(out) / probe / SCORES
    if not path.is_file():
        return
    if shown := differences(scores_in(path.parent)["settings"], json.loads(json.dumps(plain(settings)))):
        raise InputError(
            f"{path.parent} holds results made with other settings ({shown}): choose another --out, or replace them "
            "with --overwrite"
        )


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In words: which of the settings in `now` are others in `there`; "" if none is.

    >>> differences({"seeds": 5, "draws": 9}, {"seeds": 2})
    'seeds: 5 in the folder, 2 asked for'
    """
    shown = _differences({key: there.get(key) for key in now}, now)
    more = f"; and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    return "; ".join(shown[:_MOST_SHOWN]) + more


def plain(value: Any) -> Any:
    """Plain values of Python, nan as None, at any depth: what JSON can hold.

    >>> plain({"a": (np.int64(1), float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def _differences(there: Any, now: Any, name: str = "") -> list[str]:
    """Every setting that differs, with both values; rows and other named things by their name."""
    if isinstance(there, Mapping) and isinstance(now, Mapping):
        keys = dict.fromkeys([*there, *now])
        return [
            line
            for key in keys
            for line in _differences(there.get(key), now.get(key), f"{name}.{key}" if name else str(key))
        ]
    if name == "rows" and isinstance(there, list) and isinstance(now, list):
        mine, theirs = ({row["name"]: row for row in rows} for rows in (there, now))
        lines = [
            f"row {key!r} {'only in the folder' if key in mine else 'only asked for'}"
            for key in dict.fromkeys([*mine, *theirs])
            if (key in mine) != (key in theirs)
        ]
        shared = [
            line for key in mine.keys() & theirs.keys() for line in _differences(mine[key], theirs[key], f"row {key!r}")
        ]
        return lines + sorted(shared) or (["order of rows"] if list(mine) != list(theirs) else [])
    if there == now:
        return []
    if name.startswith("manifests.") and there and now:
        # One for each seed, whose number is a setting of its own.
        return [] if all(map(operator.eq, there, now)) else [f"other tracks, labels or folds in split {name[10:]!r}"]
    if name.endswith("sha256"):
        return [f"{name} differs"]
    return [f"{name}: {_shown(there)} in the folder, {_shown(now)} asked for"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
