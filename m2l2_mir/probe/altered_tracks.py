"""Which changes are made of which held-out tracks, so that a read-out could follow if the music tells it.

Conventions
-----------
* A read-out of classes gives no label that is none of its classes, and a regression none that it was not near: a
  track whose moved label lies outside would look as if it was not followed. Such tracks are not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.probe.alteration import Alteration
from m2l2_mir.probe.following import ALTERATIONS, check_movable, reachable
from m2l2_mir.probe.plan import Plan

__all__ = ["TRACKS", "changes_of", "draw_tracks"]

TRACKS = 100
_LARGEST_STEP = 24  # semitones


def changes_of(plan: Plan, *, every: int = 1) -> tuple[Alteration, ...]:
    """The changes to make: those of :data:`~m2l2_mir.probe.following.ALTERATIONS`, or a step that the labels have.

    Where pitches are classes and lie apart, as in a small set of them, no usual transposition leads from one to
    another; then the smallest step that leads some of them both up and down is taken.

    Parameters
    ----------
    plan
        Its first split and read-out count.
    every
        Only every so many of the usual changes.

    Raises
    ------
    InputError
        The labels are none that a change moves.
    """
    metrics = plan.recipe.metrics
    check_movable(metrics)
    usual = ALTERATIONS[metrics][::every]
    task = plan.recipe.task(plan.recipe.readouts[0])
    labels = next(iter(plan.manifests.values()))[0].table["label"].to_numpy()
    if metrics != "pitch" or reachable(task, labels, usual).all(axis=0).any():
        return usual
    pitches = np.unique(labels.astype(np.int64))
    steps = np.unique(pitches[:, None] - pitches[None])
    for step in steps[(steps > 0) & (steps <= _LARGEST_STEP)].tolist():
        both = tuple(Alteration(kind="transposition", amount=amount) for amount in (-step, step))
        if reachable(task, labels, both).all(axis=0).any():
            return both
    return usual


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
        All of them lead to a tempo or pitch that the first read-out can give, and some of them to such a key.
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
    readout = plan.recipe.readouts[0]
    if alterations:
        reached = reachable(plan.recipe.task(readout), table["label"].to_numpy(), alterations)
        # Of keys, single changes may be left out of a mean; slopes over changes need all of them.
        enough = np.any if plan.recipe.metrics == "key" else np.all
        able &= set(table.index.to_numpy()[enough(reached, axis=0)])
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
            f"{plan.dataset.name}: {len(drawn)} tracks can be altered to a label that the read-out {readout!r} can "
            "give; take a larger set, smaller changes, or for pitch and tempo --readout linear-regression"
        )
    return sorted(places[track] for track in drawn[:count])
