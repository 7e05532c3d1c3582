"""A probe experiment: every row fitted on the same folds of every seed, scored, and compared with the first row.

plan + rows --fit_folds, in parallel--> predictions of each row, seed and item --> scores with intervals --> comparisons

Conventions
-----------
* Two rows are added to those given: "majority" (class shares of the training items; their mean for a regression), and
  "shuffled labels", the first row's vectors with training labels permuted, anew for each seed.
* A track that fails in any row is left out of all rows, of training too, and is counted: scored of expected.
* A section is one split and one read-out. Every row against the model, in all sections, is one family of tests.
* Classes that are equally frequent in training tie in the majority row; of these it names the one that sorts first.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import m2l2_mir
from m2l2_mir.dataset.manifest import Manifest
from m2l2_mir.errors import InputError
from m2l2_mir.probe.comparison import as_one_family
from m2l2_mir.probe.fitting import PRIOR, FoldItems, Predicted, fit_folds
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.resampling import DRAWS
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.scoring import Section, score_section

__all__ = [
    "MAJORITY",
    "SHUFFLED",
    "ProbeResult",
    "environment",
    "run_probe",
    "section_of",
    "section_vectors",
    "settings_of",
    "with_controls",
]

MAJORITY, SHUFFLED = "majority", "shuffled labels"
FORMAT = 3

_LIBRARIES = ("numpy", "scipy", "scikit-learn", "mir_eval", "librosa", "torch")

_ORDER = ("model", "untrained", "control", "hand-made")


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Scores, and the predictions that they are of.

    Parameters
    ----------
    scores
        Everything that is shown, as plain values: ``probe``, ``title``, ``about``, ``model`` (the row that others are
        compared with), ``dataset`` (with its ``size``), ``notes``, ``rows``, ``settings``, ``environment`` and
        ``sections``, each with ``split``, ``readout``, ``primary``, ``expected``, ``scored``, ``training_items``,
        ``tested_per_trained``, ``left_out``, ``scores`` (of each row and metric), ``comparisons`` and ``fits`` (of each
        row: their ``number``, what was ``selected``, and in how many a warning was given).
    predictions
        One line for each section, row, seed and item: ``split``, ``readout``, ``row``, ``seed``, ``fold``,
        ``track_id``, ``group``, ``reference``, ``estimated``, and of a classification ``confidence`` and
        ``probabilities`` of the section's ``classes``.
    """

    scores: dict[str, Any]
    predictions: pd.DataFrame


def run_probe(
    plan: Plan,
    rows: Sequence[Row],
    *,
    jobs: int | None = None,
    draws: int = DRAWS,
    progress: Callable[[int, int], None] | None = None,
) -> ProbeResult:
    """Fit, score and compare.

    Parameters
    ----------
    plan
        From :func:`m2l2_mir.probe.plan.plan_probe`.
    rows
        Names are unique; the first model is what all others are compared with. Their vectors are in the order of the
        plan's tracks.
    jobs
        Processes; None: the cores this process may use. The result is the same for any number.
    draws
        Bootstrap draws.
    progress
        Called with the number of fits done and of all.

    Returns
    -------
    ProbeResult

    Raises
    ------
    InputError
        There is no row, names repeat, vectors have another shape than stated, or a fold has nothing to train on.
    """
    rows = with_controls(rows)
    workers = jobs or joblib.cpu_count()
    sections = [section_of(plan, rows, split, readout) for split in plan.manifests for readout in plan.recipe.readouts]
    total = sum(len(rows) * len(folds) for section in sections for folds in section.folds)
    done, scored, predictions = 0, [], []
    for section in sections:
        predicted: dict[tuple[str, int], Predicted] = {}
        calls = ((row, seed) for row in rows for seed in range(plan.seeds))
        # Vectors are loaded when their turn comes, so that few rows are in memory at once.
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
        fits = parallel(_calls(section, rows, plan.seeds))
        for (row, seed), one in zip(calls, fits, strict=True):
            predicted[row.name, seed] = one
            done += len(section.folds[seed])
            if progress is not None:
                progress(done, total)
        table = pd.concat([_predictions(section, *key, one) for key, one in predicted.items()], ignore_index=True)
        scored.append(score_section(section, rows, predicted, table, workers=workers, draws=draws))
        predictions.append(table)
    family = as_one_family([pd.DataFrame(one["comparisons"]) for one in scored])
    for one, compared in zip(scored, family, strict=True):
        one["comparisons"] = compared.to_dict("records")
    return ProbeResult(
        scores=_facts(plan, rows, draws) | {"sections": scored},
        predictions=pd.concat(predictions, ignore_index=True),
    )


def settings_of(plan: Plan, rows: Sequence[Row], *, draws: int = DRAWS) -> dict[str, Any]:
    """What a result depends on, by which a finished one is known again.

    Libraries count by their first two numbers: a patch release moves results by rounding at most. What differs without
    a new result is in :func:`environment`.
    """
    return {
        **plan.settings,
        "seeds": plan.seeds,
        "draws": draws,
        "rows": [{"name": row.name, "width": row.width, **row.provenance} for row in with_controls(rows)],
        "versions": {
            "m2l2-mir": m2l2_mir.__version__,
            **{package: ".".join(version(package).split(".")[:2]) for package in _LIBRARIES},
        },
    }


def environment() -> dict[str, Any]:
    """Where a result was made, in full: stated, and not compared."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "versions": {
            "m2l2-mir": m2l2_mir.__version__,
            **{package: version(package) for package in _LIBRARIES},
        },
    }


def with_controls(rows: Sequence[Row]) -> list[Row]:
    if not rows:
        raise InputError("there is nothing to probe; give a model, a store or vectors")
    rows = sorted(rows, key=lambda row: _ORDER.index(row.kind))  # stable
    first = rows[0]
    controls = [
        replace(
            first,
            name=SHUFFLED,
            kind="control",
            about=f"{first.name}, fitted on permuted training labels",
            note="",
            provenance={"shuffled": first.name},
        ),
        Row(
            name=MAJORITY,
            kind="control",
            width=0,
            load=lambda _: np.empty((0, 0), np.float32),
            about="class shares of the training items, whatever the track; their mean for a regression",
        ),
    ]
    everything = sorted([*rows, *controls], key=lambda row: _ORDER.index(row.kind))
    names = [row.name for row in everything]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise InputError(f"several rows are called {sorted(repeated)[0]!r}; give each another name")
    return everything


def section_of(plan: Plan, rows: Sequence[Row], split: str, readout: str) -> Section:
    manifests = plan.manifests[split]
    items = manifests[0].table[["track_id", "label", "group"]]
    places = pd.Index(plan.track_ids).get_indexer(pd.Index(items["track_id"]))
    failed = np.zeros(len(plan.track_ids), dtype=np.bool_)
    for row in rows:
        failed[list(row.failed)] = True
    usable = ~failed[places]
    task = plan.recipe.task(readout)
    items = items.assign(label=task.labels(items["label"].to_numpy()))
    targets = task.targets(items["label"].to_numpy())
    index = pd.Index(items["track_id"])
    tested = np.zeros(len(items), dtype=np.bool_)
    for rotation in manifests[0].rotations():
        tested[index.get_indexer(pd.Index(rotation.test))] = True
    return Section(
        task=task,
        readout=readout,
        split=split,
        places=places,
        items=items,
        usable=usable,
        folds=tuple(tuple(_folds(manifest, index, usable)) for manifest in manifests),
        tested=tested,
        targets=targets,
        classes=np.unique(targets),
    )


def _folds(manifest: Manifest, index: pd.Index[str], usable: NDArray[np.bool_]) -> Iterator[FoldItems]:
    for rotation in manifest.rotations():
        train, test = (index.get_indexer(pd.Index(ids)) for ids in (rotation.train, rotation.test))
        train, test = train[usable[train]], test[usable[test]]
        if not len(train) or not len(test):
            raise InputError(
                f"{manifest.dataset}, split {manifest.split!r}: fold {rotation.name} has {len(train)} tracks to train "
                f"on and {len(test)} to test that failed in no row; see why tracks failed, or ask for fewer folds"
            )
        yield FoldItems(name=rotation.name, train=train, test=test)


def _calls(section: Section, rows: Sequence[Row], seeds: int) -> Iterator[Any]:
    codes = pd.factorize(section.items["group"])[0].astype(np.int64)
    for row in rows:
        for seed in range(seeds):
            prior = row.name == MAJORITY
            yield joblib.delayed(fit_folds)(
                np.zeros((len(section.items), 1), np.float32) if prior else section_vectors(row, seed, section),
                section.targets,
                codes,
                section.folds[seed],
                section.classes,
                section.task,
                PRIOR if prior else section.readout,
                seed=seed,
                shuffled=row.name == SHUFFLED,
            )


def section_vectors(row: Row, seed: int, section: Section) -> NDArray[np.float32]:
    vectors = row.load(seed)
    if vectors.ndim != 2 or vectors.shape[1] != row.width or len(vectors) <= section.places.max():
        raise InputError(f"row {row.name!r} gave vectors {list(vectors.shape)}; a row is [tracks, {row.width}]")
    taken = vectors[section.places]
    unstated = section.usable & ~np.isfinite(taken).all(axis=1)
    if unstated.any():
        track = section.items["track_id"].iloc[int(unstated.argmax())]
        raise InputError(
            f"row {row.name!r} holds NaN or infinity for {unstated.sum()} tracks, such as {track!r}; "
            "state them as failed, so that they are left out of all rows"
        )
    return taken


def _predictions(section: Section, row: str, seed: int, predicted: Predicted) -> pd.DataFrame:
    tracks = section.items.iloc[predicted.items]
    table = pd.DataFrame(
        {
            "split": section.split,
            "readout": section.readout,
            "row": row,
            "seed": seed,
            "fold": predicted.folds,
            "track_id": tracks["track_id"].to_numpy(),
            "group": tracks["group"].to_numpy(),
            "reference": tracks["label"].to_numpy(),
            "estimated": predicted.estimates,
        }
    )
    if predicted.probabilities is None:
        return table.assign(confidence=np.nan, probabilities=None)
    return table.assign(
        confidence=predicted.probabilities.max(axis=1).astype(np.float64), probabilities=list(predicted.probabilities)
    )


def _facts(plan: Plan, rows: Sequence[Row], draws: int) -> dict[str, Any]:
    given = [row for row in rows if row.name not in (MAJORITY, SHUFFLED)]
    source = plan.dataset.recipe
    return {
        "format": FORMAT,
        "probe": plan.name,
        "title": plan.recipe.title,
        "about": plan.recipe.about,
        "metrics": plan.recipe.metrics,
        "shown": list(plan.recipe.shown),
        "model": rows[0].name,
        "dataset": {
            "name": plan.dataset.name,
            "title": source.title,
            "licence": source.licence,
            "citation": source.citation,
            "size": plan.dataset.size,
            "tracks": len(plan.track_ids),
        },
        "notes": list(dict.fromkeys([*plan.notes, *(row.note for row in given if row.note)])),
        "rows": [{"name": row.name, "kind": row.kind, "width": row.width, "about": row.about} for row in rows],
        "settings": settings_of(plan, given, draws=draws),
        "environment": environment(),
    }
