"""A probe as it is asked for by name: what that takes is found, planned, embedded, fitted and written.

name --find--> recipe --load--> data set --plan--> folds --gather--> rows --run--> scores, fitted probes, studies
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from m2l2_mir.dataset.dataset import load_dataset
from m2l2_mir.embedding.pipeline import keep_freed_memory
from m2l2_mir.probe.alteration import Means
from m2l2_mir.probe.altered_rows import gather_altered
from m2l2_mir.probe.altered_tracks import TRACKS, changes_of
from m2l2_mir.probe.equivariance import equivariance
from m2l2_mir.probe.following import check_movable
from m2l2_mir.probe.inputs import Extraction, model_name
from m2l2_mir.probe.oracles import oracle_rows
from m2l2_mir.probe.plan import SEEDS, Plan, plan_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.results import refuse_other
from m2l2_mir.probe.running import run_into
from m2l2_mir.probe.sources import Sources, gather_rows
from m2l2_mir.probe.space import View
from m2l2_mir.probe.studies import Study, refuse_other_study, write_study
from m2l2_mir.progress import CountProgress, EmbedProgress

__all__ = ["Request", "request_equivariance", "request_probe"]

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, whatever the probe.

    Parameters
    ----------
    sources
        What is probed.
    out
        Folder of results.
    dataset, label, splits, readouts, folds
        In place of the recipe's, as in :func:`m2l2_mir.probe.plan.plan_probe`.
    seeds
        How many.
    size, data_home
        As in :func:`m2l2_mir.dataset.dataset.load_dataset`.
    extraction
        How models are run.
    command
        That is kept beside results.
    overwrite
        Whether results of other settings may be replaced.
    say
        Is told in a line what is being done; None: nobody is, and progress is not shown either.
    """

    sources: Sources
    out: Path
    dataset: str | None = None
    label: str | None = None
    splits: Sequence[str] = ()
    readouts: Sequence[str] = ()
    folds: int | None = None
    seeds: int = SEEDS
    size: str = "default"
    data_home: Path | None = None
    extraction: Extraction = Extraction()  # noqa: RUF009 (frozen)
    command: str = ""
    overwrite: bool = False
    say: Say | None = None

    def plan(self, name: str, *, headline: bool = False) -> Plan:
        """Load the data set and draw the folds; `headline`: of the first split and read-out alone."""
        name, recipe = find_probe(name)
        with CountProgress("reading scores", quiet=self.say is None) as progress:
            data = load_dataset(
                self.dataset or recipe.dataset, data_home=self.data_home, size=self.size, progress=progress
            )
        splits, readouts = self.splits or recipe.splits_of(data), self.readouts or recipe.readouts
        plan = plan_probe(
            name,
            recipe,
            data,
            label=self.label,
            splits=splits[:1] if headline else splits,
            readouts=readouts[:1] if headline else readouts,
            seeds=self.seeds,
            folds=self.folds,
        )
        if self.say is not None:
            self.say(f"{name}: {len(plan.track_ids)} tracks of {data.name}, {plan.seeds} seeds")
        return plan

    def count(self, title: str) -> CountProgress:
        """Progress of a piece of work."""
        return CountProgress(title, quiet=self.say is None)

    def observed(self) -> Extraction:
        """The extraction, with progress."""

        def observe(row: str) -> AbstractContextManager[Any]:
            if self.say is not None:
                self.say(f"  embeddings of {row}")
            return EmbedProgress(quiet=self.say is None)

        keep_freed_memory()
        return replace(self.extraction, observe=observe)


def request_probe(
    name: str, request: Request, *, views: Sequence[View] = (View(),), curve: bool = False
) -> tuple[dict[str, Any], list[Path]]:
    """Run a probe with all its rows.

    Parameters
    ----------
    name
        Of the probe, or its recipe's file.
    request
        What is asked for.
    views
        How embeddings become vectors.
    curve
        Whether to fit on ever fewer training tracks as well.

    Returns
    -------
    As :func:`m2l2_mir.probe.running.run_into`.
    """
    request.sources.check()
    plan = request.plan(name)
    if not request.overwrite:  # before anything is embedded
        refuse_other(request.out, plan.name, {**plan.settings, "seeds": plan.seeds})
    unfinished = request.out / f".{plan.name}-vectors"
    rows, notes = gather_rows(
        plan,
        request.sources,
        views=views,
        extraction=request.observed(),
        kept=unfinished,
        count=request.count,
    )
    plan = replace(plan, notes=(*plan.notes, *notes))
    rows += oracle_rows(plan.dataset, plan.recipe.oracles)
    found = run_into(
        request.out,
        plan,
        rows,
        command=request.command,
        overwrite=request.overwrite,
        curve=curve,
        jobs=request.extraction.jobs,
        quiet=request.say is None,
    )
    shutil.rmtree(unfinished, ignore_errors=True)
    return found


def request_equivariance(
    name: str,
    request: Request,
    *,
    means: Sequence[Means] = (),
    tracks: int = TRACKS,
    every: int = 1,
    view: View = View(),  # noqa: B008 (frozen)
) -> tuple[Study, Path]:
    """See whether the estimates of a probe follow when held-out tracks are altered.

    Parameters
    ----------
    name, request
        As in :func:`request_probe`; the first split and read-out are used.
    means, tracks
        As in :func:`m2l2_mir.probe.altered_rows.gather_altered`.
    every
        Only every so many of the usual changes.
    view
        How embeddings become vectors.

    Returns
    -------
    study : Study
    path : Path
        Where it was written.
    """
    check_movable(find_probe(name)[1].metrics)  # before a data set is read
    plan = request.plan(name, headline=True)
    alterations = changes_of(plan, every=every)
    suffix, _ = view.of(np.zeros((1, 1, 1)))[0]
    model = model_name(request.sources.models[0]) + suffix if request.sources.models else ""
    out, overwrite = request.out, request.overwrite
    refuse_other_study(out, plan.name, "equivariance", plan.settings, model=model, overwrite=overwrite)
    rows, altered, positions = gather_altered(
        plan,
        request.sources,
        alterations,
        means=means,
        tracks=tracks,
        view=view,
        extraction=request.observed(),
        count=request.count,
    )
    with request.count("fitting") as progress:
        study = equivariance(
            plan, rows, altered, positions, alterations, jobs=request.extraction.jobs, progress=progress
        )
    refuse_other_study(out, plan.name, study.kind, study.settings, model=study.model, overwrite=overwrite)
    return study, write_study(out, study, command=request.command)
