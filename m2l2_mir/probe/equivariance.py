"""Equivariance: does the estimate move with the music when a held-out track is transposed or played faster?

plan + rows of the tracks + rows of altered tracks --fit on unaltered training tracks--> estimates --> shares, slopes

A probe may be right for a wrong reason: register may tell the key, instrumentation the tempo. Then the estimate stays
where it is, or goes elsewhere, when only the key or the tempo changes [1]_, [2]_.

Conventions
-----------
* Read-outs are fitted on the folds of the probe, on unaltered tracks alone; a track is altered where it is held out.
* What is measured of the estimates: :mod:`m2l2_mir.probe.following`.
* Tempi and pitches that a change would move out of the range of all labels are not drawn: a read-out that cannot reach
  them would look as if it did not follow.

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
from m2l2_mir.probe.following import ALTERATIONS, Estimates, labels_altered, score_following
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.resampling import DRAWS
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.scoring import Section
from m2l2_mir.probe.studies import Study

__all__ = ["TRACKS", "draw_tracks", "equivariance"]

TRACKS = 100
_PARTS = {"rendering": "rendered again", "vocoder": "phase vocoder"}


def draw_tracks(
    plan: Plan,
    usable: NDArray[np.bool_],
    *,
    alterations: Sequence[Alteration] = (),
    count: int = TRACKS,
    seed: int = 0,
) -> list[int]:
    """Positions of tracks to alter, in the order of the plan's tracks: whole groups at random until there are enough.

    Parameters
    ----------
    plan
        Tracks that the first split tests are drawn.
    usable
        Of the plan's tracks [tracks], which may be drawn.
    alterations
        None of them may lead out of the range of all labels; keys have no such range.
    count
        How many; all there are if they are fewer.
    seed
        The same seed draws the same tracks.

    Raises
    ------
    InputError
        There are not two tracks to draw.
    """
    manifest = next(iter(plan.manifests.values()))[0]
    table = manifest.table.set_index("track_id")
    tested = {track for rotation in manifest.rotations() for track in rotation.test}
    places = {track: place for place, track in enumerate(plan.track_ids)}
    able = {track for track in tested if usable[places[track]]}
    if plan.recipe.metrics != "key":
        numbers = table["label"].astype(float)
        for alteration in alterations:
            moved = labels_altered(plan.recipe.metrics, numbers, alteration).astype(float)
            able &= set(numbers.index[(moved >= numbers.min()) & (moved <= numbers.max())])
    members: dict[str, list[str]] = {}
    for track in sorted(able):
        members.setdefault(str(table["group"][track]), []).append(track)
    names = sorted(members)
    drawn: list[str] = []
    for index in np.random.default_rng(np.random.PCG64(seed)).permutation(len(names)):
        if len(drawn) < count:
            drawn += members[names[index]]
    if len(drawn) < 2:
        raise InputError(
            f"{plan.dataset.name}: {len(drawn)} tracks can be altered without leaving the range of the labels; "
            "take a larger set, or smaller changes"
        )
    return sorted(places[track] for track in drawn[:count])


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
        The labels are none that an alteration moves, or a row is missing from the altered ones.
    """
    metrics = plan.recipe.metrics
    if metrics not in ALTERATIONS:
        raise InputError(f"no change moves labels of {metrics}; name a probe of {', '.join(ALTERATIONS)}")
    everything = [row for row in with_controls(rows) if row.width]  # majority has no vectors, and never moves
    model = everything[0].name
    split, readout = next(iter(plan.manifests)), plan.recipe.readouts[0]
    section = section_of(plan, everything, split, readout)
    item_of = {int(place): item for item, place in enumerate(section.places)}
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
                    metrics, estimates, tracks, alterations, ratio, part=_PARTS[means], row=row, draws=draws
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
        sentence=_sentence(table, model, metrics, [row.name for row in everything if row.kind == "hand-made"]),
        metric="follows",
        x_label="factor of tempo" if metrics == "tempo" else "semitones",
        table=table,
        notes=(*notes, *_NOTES[metrics], *plan.notes),
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


_NOTES: dict[str, tuple[str, ...]] = {
    "key": ("follows: tonic moved by the semitones, mode kept, whatever the true key; a random key would in .04",),
    "pitch": ("follows: the nearest MIDI number moved by the semitones, whatever the true pitch",),
    "tempo": (
        "follows: the tempo moved by the factor within 4 %, whatever the true tempo",
        "slope: octaves that the estimate moves for each octave of the music, median over tracks; 1 follows, 0 ignores",
    ),
}


def _sentence(table: pd.DataFrame, model: str, metrics: str, hand_made: Sequence[str]) -> str:
    """In words: how far the model's estimates follow, and the best hand-made row beside it."""
    metric = "follows" if metrics == "key" else "slope"
    overall = table[table["x"] == "all"]
    shares = overall[(overall["metric"] == "follows") & (overall["part"] == table["part"].iloc[0])].set_index("row")
    others = shares.loc[[row for row in hand_made if row in shares.index], "estimate"]
    best = [str(others.index[int(others.argmax())])] if len(others) else []
    parts = []
    for part, lines in overall[overall["metric"] == metric].groupby("part", sort=False):
        found = lines.set_index("row")
        own = found.loc[model]
        beside = "".join(f", {row} {found['estimate'][row]:.2f}" for row in best)
        parts.append(f"{own['estimate']:.2f} [{own['low']:.2f}, {own['high']:.2f}] {part}{beside}")
    what = {
        "key": "the estimated key follows transpositions in",
        "pitch": "semitones that the estimated pitch moves for each semitone of transposition, in the median:",
        "tempo": "octaves that the estimated tempo moves for each octave of stretching, in the median:",
    }[metrics]
    ending = "" if metrics == "key" else f"; it follows in {shares['estimate'][model]:.2f} of the cases"
    return f"{model}: {what} {'; '.join(parts)}{ending}"
