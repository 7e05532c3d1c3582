"""Equivariance: does the estimate move with the music when a held-out track is transposed or played faster?

plan + rows of the tracks + rows of altered tracks --fit on unaltered training tracks--> estimates --> shares, slopes

A probe may be right for a wrong reason: register may tell the key, instrumentation the tempo. Then the estimate stays
where it is, or goes elsewhere, when only the key or the tempo changes [1]_, [2]_.

Conventions
-----------
* Read-outs are fitted on the folds of the probe, on unaltered tracks alone; a track is altered where it is held out.
* What is measured of the estimates: :mod:`m2l2_mir.probe.following`.
* A change that leads to a label which the read-out cannot give is not scored: it would look as if it was not followed.
  Which tracks and changes there are: :mod:`m2l2_mir.probe.altered_tracks`.

References
----------
.. [1] E. Quinton, "Equivariant self-supervision for musical tempo estimation", ISMIR 2022.
.. [2] B. L. Sturm, "A simple method to determine if a music information retrieval system is a 'horse'", IEEE
   Transactions on Multimedia 16(6), 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.probe.alteration import Alteration
from m2l2_mir.probe.experiment import SHUFFLED, section_of, section_vectors, with_controls
from m2l2_mir.probe.fitting import FoldItems, fit_folds
from m2l2_mir.probe.following import Estimates, check_movable, reachable, score_following
from m2l2_mir.probe.following_words import FOLLOWING_NOTES, following_sentence
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.resampling import DRAWS
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.scoring import Section
from m2l2_mir.probe.studies import Study

__all__ = ["equivariance"]

_PARTS = {"rendering": "rendered again", "vocoder": "phase vocoder"}


def equivariance(
    plan: Plan,
    rows: Sequence[Row],
    altered: Mapping[str, Sequence[Row]],
    positions: Sequence[int],
    alterations: Sequence[Alteration],
    *,
    jobs: int | None = None,
    draws: int = DRAWS,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Fit on unaltered tracks and see where the estimates of held-out ones go.

    Parameters
    ----------
    plan
        Its first split and read-out are used.
    rows
        Of the plan's tracks; the first is the one that the sentence is about.
    altered
        By means of alteration: the same rows, by name, of the altered tracks, in the order of
        :func:`~m2l2_mir.probe.alteration.altered_dataset`.
    positions, alterations
        What that was made of.
    jobs
        Processes; None: the cores this process may use.
    draws
        Of the bootstrap.
    progress
        Called with the number of fits done and of all.

    Returns
    -------
    Study
        Of kind "equivariance".

    Raises
    ------
    InputError
        The labels are none that an alteration moves, a tempo or pitch is moved to where the read-out cannot follow,
        or a row is missing from the altered ones.
    """
    metrics = plan.recipe.metrics
    check_movable(metrics)
    everything = [row for row in with_controls(rows) if row.width]  # majority has no vectors, and never moves
    model = everything[0].name
    split, readout = next(iter(plan.manifests)), plan.recipe.readouts[0]
    section = section_of(plan, everything, split, readout)
    item_of = {int(place): item for item, place in enumerate(section.places)}
    able = reachable(section.task, section.items["label"].to_numpy(), alterations)
    wrong = [place for place in positions if not able[:, item_of[place]].all()]
    if metrics != "key" and wrong:
        raise InputError(
            f"{len(wrong)} of {len(positions)} altered tracks have a label that the read-out {readout!r} cannot give, "
            "so that it could not follow; give the tracks and changes of m2l2_mir.probe.altered_tracks"
        )
    lines: list[dict[str, Any]] = []
    notes = []
    done, total = 0, len(altered) * len(everything) * plan.seeds
    for means, others in altered.items():
        named = {row.name: row for row in others}
        if lacking := [row.name for row in everything if row.name not in (*named, SHUFFLED)]:
            raise InputError(f"row {lacking[0]!r} has no vectors of the altered tracks; give them, or leave it out")
        broken = {place for row in others for place in row.failed}
        kept = [
            number
            for number, place in enumerate(positions)
            if section.usable[item_of[place]]
            and not broken & {number + step * len(positions) for step in range(len(alterations))}
        ]
        if len(kept) < 2:
            raise InputError(f"{len(positions) - len(kept)} of {len(positions)} altered tracks failed; see why")
        items = np.array([item_of[positions[number]] for number in kept])
        places = np.concatenate([np.asarray(kept) + step * len(positions) for step in range(len(alterations))])
        calls = (
            joblib.delayed(_estimated)(
                section,
                section_vectors(row, seed, section),
                named[model if row.name == SHUFFLED else row.name].load(seed)[places],
                items,
                seed=seed,
                shuffled=row.name == SHUFFLED,
            )
            for row in everything
            for seed in range(plan.seeds)
        )
        parallel = joblib.Parallel(n_jobs=jobs or joblib.cpu_count(), return_as="generator")
        found: dict[str, list[NDArray[Any]]] = {}
        rounds = ((row.name, seed) for row in everything for seed in range(plan.seeds))
        for (name, _), one in zip(rounds, parallel(calls), strict=True):
            found.setdefault(name, []).append(one)
            done += 1
            if progress is not None:
                progress(done, total)
        tracks = section.items.iloc[items]
        learnt = np.unique(np.concatenate([fold.train for fold in section.folds[0]]))
        ratio = len(items) / len(learnt)
        for row, seeds in found.items():
            stacked = np.stack(seeds)
            estimates = Estimates(before=stacked[:, 0], after=stacked[:, 1:])
            lines += [
                {**one, "expected": len(positions)}
                for one in score_following(
                    metrics,
                    estimates,
                    tracks,
                    alterations,
                    able[:, items],
                    ratio,
                    part=_PARTS[means],
                    row=row,
                    draws=draws,
                )
            ]
        notes.append(
            f"{_PARTS[means]}: {len(kept)} of {len(positions)} held-out tracks in {tracks['group'].nunique()} groups, "
            f"{plan.seeds} seeds; 95 % intervals over groups"
        )
    table = pd.DataFrame(lines)
    return Study(
        kind="equivariance",
        probe=plan.name,
        title=f"{plan.recipe.title}: does the estimate follow?",
        model=model,
        sentence=following_sentence(table, model, metrics, [row.name for row in everything if row.kind == "hand-made"]),
        metric="follows",
        x_label="factor of tempo" if metrics == "tempo" else "semitones",
        table=table,
        notes=(*notes, *FOLLOWING_NOTES[metrics], *plan.notes),
        settings={
            **plan.settings,
            "seeds": plan.seeds,
            "draws": draws,
            "section": [split, readout],
            "alterations": [asdict(one) for one in alterations],
            "tracks": [plan.track_ids[place] for place in positions],
            "rows": [{"name": row.name, "width": row.width, **row.provenance} for row in everything],
        },
    )


def _estimated(
    section: Section,
    vectors: NDArray[np.float32],
    altered: NDArray[np.float32],
    items: NDArray[np.intp],
    *,
    seed: int,
    shuffled: bool,
) -> NDArray[Any]:
    """Estimates of the drawn tracks, [1 + alterations, tracks], the unaltered ones first."""
    alterations = len(altered) // len(items)
    # Altered tracks come behind all items, so that the fits of a probe serve as they are.
    codes = pd.factorize(section.items["group"])[0].astype(np.int64)
    owner = np.concatenate([np.arange(len(vectors)), np.tile(items, alterations)])
    predicted = fit_folds(
        np.concatenate([vectors, altered]),
        section.targets[owner],
        codes[owner],
        list(_with_altered(section.folds[seed], items, len(vectors), alterations)),
        section.classes,
        section.task,
        section.readout,
        seed=seed,
        shuffled=shuffled,
    )
    wanted = np.concatenate([items, len(vectors) + np.arange(len(altered))])
    estimates: NDArray[Any] = predicted.estimates[pd.Index(predicted.items).get_indexer(pd.Index(wanted))]
    return estimates.reshape(1 + alterations, len(items))


def _with_altered(
    folds: Sequence[FoldItems], items: NDArray[np.intp], first: int, alterations: int
) -> Iterator[FoldItems]:
    """Folds that test the drawn tracks alone, altered ones among them; folds that test none are passed over."""
    for fold in folds:
        held_out = np.flatnonzero(np.isin(items, fold.test))
        if len(held_out):
            behind = [first + step * len(items) + held_out for step in range(alterations)]
            yield FoldItems(name=fold.name, train=fold.train, test=np.concatenate([items[held_out], *behind]))
