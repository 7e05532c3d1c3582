"""The fit that is kept: after the cross-validation has told what a read-out is worth, it is fitted on all tracks.

plan + rows + scores --fit on all usable tracks--> FittedProbe, in OUT/PROBE/fitted/ROW-READOUT/

Conventions
-----------
* Kept are the run's own models and stores, by every read-out that has coefficients ("linear", "mlp" and their
  regressions; neighbours would be the training set itself), on the tracks of the first split that failed in no row.
* The score that travels along is that of the cross-validation: the read-out that is kept has been tested on nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import m2l2_mir
from m2l2_mir.errors import CheckpointError, InputError
from m2l2_mir.model.catalogue import NOT_STATED, describe
from m2l2_mir.probe.confidence import Confidence
from m2l2_mir.probe.facts import Facts
from m2l2_mir.probe.fitted import CARD, FittedProbe
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.selection import ReadoutWarning
from m2l2_mir.probe.space import Space
from m2l2_mir.probe.task import READOUTS, Task

__all__ = ["FITTED", "keep_fits"]

FITTED = "fitted"
_KEPT = ("linear", "mlp", "linear-regression", "mlp-regression")
_SELECTED = ("penalty_", "epochs_")

Floats = NDArray[np.float64]


def keep_fits(
    plan: Plan, rows: Sequence[Row], scores: Mapping[str, Any], predictions: pd.DataFrame, folder: Path
) -> list[Path]:
    """Fit on all tracks and save, unless this run has done so already.

    Parameters
    ----------
    plan, rows
        Of the run.
    scores, predictions
        That came of it, as :mod:`m2l2_mir.probe.results` has written them.
    folder
        Of the probe's results.

    Returns
    -------
    list of Path
        Folders of the fitted probes: one for each model and read-out.

    Raises
    ------
    InputError
        They cannot be written.
    """
    run = hashlib.sha256(json.dumps(scores["settings"], sort_keys=True).encode()).hexdigest()
    places, wanted = [], set[str]()
    for row, space, section in _kept(plan, rows, scores):
        name = _name(f"{row.name}-{section['readout']}", wanted)
        wanted.add(name)
        place = folder / FITTED / name
        if _run_of(place) != run:
            _fit(plan, row, space, section, scores, predictions, run).save(place)
        places.append(place)
    for other in (folder / FITTED).glob("*"):
        if other.name not in wanted and (other / CARD).is_file():  # of an older run
            shutil.rmtree(other)
    return places


def _kept(plan: Plan, rows: Sequence[Row], scores: Mapping[str, Any]) -> Iterator[tuple[Row, Space, Mapping[str, Any]]]:
    first = next(iter(plan.manifests))
    for section in scores["sections"]:
        if section["split"] == first and section["readout"] in _KEPT:
            for row in rows:
                if row.kind == "model" and row.space is not None:
                    yield row, row.space, section


def _fit(
    plan: Plan,
    row: Row,
    space: Space,
    section: Mapping[str, Any],
    scores: Mapping[str, Any],
    predictions: pd.DataFrame,
    run: str,
) -> FittedProbe:
    readout, recipe = section["readout"], plan.recipe
    task = recipe.task(readout)
    manifest = plan.manifests[section["split"]][0]
    failed = {one["track_id"] for one in section["left_out"]}
    items = manifest.table[~manifest.table["track_id"].isin(failed)]
    vectors = row.load(0)[pd.Index(plan.track_ids).get_indexer(pd.Index(items["track_id"]))]
    estimator = READOUTS[readout](random_state=0)
    with threadpool_limits(1), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ReadoutWarning)
        fitted = estimator.fit(
            vectors, task.targets(task.labels(items["label"].to_numpy())), pd.factorize(items["group"])[0]
        )
    own = predictions[
        (predictions["split"] == section["split"])
        & (predictions["readout"] == readout)
        & (predictions["row"] == row.name)
    ]
    score = next(line for line in section["scores"] if line["row"] == row.name and line["metric"] == section["primary"])
    licence, citation = _terms(space)
    facts = Facts(
        probe=plan.name,
        title=recipe.title,
        label=plan.label,
        metrics=recipe.metrics,
        bins_per_octave=recipe.bins_per_octave,
        reach_bins=recipe.reach_bins,
        readout=readout,
        classes=() if task.regression else tuple(fitted.classes_.tolist()),
        row=row.name,
        dataset={
            **{key: scores["dataset"][key] for key in ("name", "title", "licence", "citation")},
            "split": section["split"],
            "manifest_sha256": manifest.sha256,
            "tracks": len(items),
        },
        weights_licence=licence,
        weights_citation=citation,
        training_tracks=dict(zip(items["track_id"], _audio(row, plan, items["track_id"]), strict=True)),
        score={key: score[key] for key in ("metric", "estimate", "low", "high", "scored", "expected", "seeds")},
        selected=next((float(getattr(fitted, name)) for name in _SELECTED if hasattr(fitted, name)), None),
        notes=tuple(dict.fromkeys([*scores["notes"], *(str(one.message) for one in told)])),
        run=run,
        versions={"m2l2-mir": m2l2_mir.__version__, **{name: version(name) for name in ("numpy", "scikit-learn")}},
    )
    return FittedProbe(
        facts=facts,
        space=space,
        confidence=_confidence(task, own),
        mean=fitted.scaler_.mean_,
        scale=fitted.scaler_.scale_,
        layers=_layers(fitted, regression=task.regression),
    )


def _layers(fitted: Any, *, regression: bool) -> list[tuple[Floats, Floats]]:
    """Affine layers of a read-out, so that the last one gives the target, or a logit for each class."""
    if hasattr(fitted, "network_"):
        network = fitted.network_
        layers = list(zip(network.coefs_, network.intercepts_, strict=True))
    else:
        layers = [(np.atleast_2d(fitted.coef_).T, np.atleast_1d(fitted.intercept_))]
    *inner, (weights, offsets) = [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in layers]
    if regression and hasattr(fitted, "network_"):
        weights, offsets = weights * fitted.target_scale_, offsets * fitted.target_scale_ + fitted.target_mean_
    elif not regression and len(fitted.classes_) == 2:
        # Two classes have one logit, of the second against the first.
        weights, offsets = np.hstack([-weights / 2, weights / 2]), np.concatenate([-offsets / 2, offsets / 2])
    return [*inner, (weights, offsets)]


def _confidence(task: Task, own: pd.DataFrame) -> Confidence:
    right = task.per_item(own["reference"].to_numpy(), own["estimated"].to_numpy())[task.primary]
    probability = None if task.regression else own["confidence"].to_numpy()
    return Confidence.learn(probability, right, own["group"].to_numpy(), own["track_id"].to_numpy())


def _terms(space: Space) -> tuple[str, str]:
    """Licence and citation of the weights, as far as they are known here."""
    try:
        stated = describe(space.model) if space.model else {}
    except CheckpointError:  # the file went away meanwhile
        stated = {}
    return stated.get("licence", NOT_STATED), stated.get("citation", NOT_STATED)


def _audio(row: Row, plan: Plan, wanted: pd.Series) -> list[str]:
    known = dict(zip(plan.track_ids, row.audio or [""] * len(plan.track_ids), strict=True))
    return [known[track] for track in wanted]


def _name(text: str, taken: set[str]) -> str:
    """A name for a folder; two rows that differ in odd characters only get two."""
    name = re.sub(r"[^\w.+-]+", "-", text).strip(".-") or "row"
    if name in taken:
        name = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return name


def _run_of(place: Path) -> str:
    try:
        return FittedProbe.load(place).facts.run
    except (CheckpointError, InputError):
        return ""
