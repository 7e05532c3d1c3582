"""Steered search: like this, but faster, in another key, or whatever its timbre.

An attribute is what a fitted probe reads from embeddings, in the subspace that its directions span.

Conventions
-----------
* "any" removes the subspace: tracks are compared by everything else. "other" also leaves out what is predicted as the
  question is. To *like* an attribute is the reverse: only its subspace counts.
* "more" and "less" move the question by a standard deviation of what is predicted in the library, and leave out what is
  not predicted above, or below, the question: cosines know directions, and tell little of how far along one a track is.
* A wanted class or number moves the question inside the subspace: to the mean of the library's tracks with that class,
  or along the line on which the predicted number grows in the library. Elsewhere it stays as it is.
* A subspace of few of the 512 directions would hardly change a cosine. It is stretched until it holds as much of the
  library's variance as all the rest; `strength` multiplies that.
* A probe reads what goes along with its label in the music that it was fitted on, and steering moves that along. So
  what all probes, and labels where the library has them, say of the question and of the results before and after is
  told: see :mod:`m2l2_mir.index.effects`. Of several seeds it is their mean that is asked with, before and after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.index.attributes import LESS, MORE, Attribute, directions_of, predictions_of
from m2l2_mir.index.candidates import mean_direction
from m2l2_mir.index.effects import effects_of
from m2l2_mir.index.query import Filters, Hits, ranked, table_of
from m2l2_mir.index.seeds import Part, Seeds, seeds_of
from m2l2_mir.recipe import close_match

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["Steered", "steer"]

JUDGED = 20_000  # candidates whose predictions are looked at; where a question is extreme, few or none are wanted
SAMPLED = 5_000  # tracks of the library that moves are measured on


@dataclass(frozen=True, kw_only=True)
class Steered:
    """Outcome of a steered search.

    Parameters
    ----------
    results : pd.DataFrame
        As :func:`m2l2_mir.index.query.query` gives them; similarity is that of the steered comparison.
    effects : pd.DataFrame
        As :func:`m2l2_mir.index.effects.effects_of` gives them, over the results of the same search without and with
        steering.
    kept
        How many results are the same without steering.
    """

    results: pd.DataFrame
    effects: pd.DataFrame
    kept: int


@dataclass
class _Plan:
    """How the question and the comparison change."""

    view: NDArray[np.float64]
    moves: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)
    removed: list[NDArray[np.float64]] = field(default_factory=list)
    wanted: dict[str, Callable[[NDArray[Any]], NDArray[np.bool_]]] = field(default_factory=dict)
    targets: dict[str, Any] = field(default_factory=dict)


def steer(
    index: SimilarityIndex,
    what: Any,
    attributes: Sequence[Attribute],
    k: int = 10,
    *,
    like: Sequence[str] = (),
    but: Mapping[str, str | float] | None = None,
    strength: float = 1.0,
    filters: Filters | None = None,
    part: Part | None = None,
) -> Steered:
    """Search for what is like the question in some attributes and unlike it in others.

    Parameters
    ----------
    index : SimilarityIndex
    what
        As in :func:`m2l2_mir.index.query.query`; of several, the mean is moved.
    attributes : sequence of Attribute
        All probes at hand; those without a wish are asked for side effects.
    k
        Results.
    like
        Names of attributes; only they are compared.
    but : mapping
        Name -> "any", "other", "more" ("faster", "higher"), "less" ("slower", "lower"), a class or a number.
    strength
        Weight of a moved attribute against all the rest; 1: as much.
    filters, part
        As the options of a plain query.

    Raises
    ------
    InputError
        There is no such attribute or class, the wish does not fit the probe, or the probe does not fit the index.
    """
    wishes = dict(but or {})
    known = {attribute.name: attribute for attribute in attributes}
    for name in (*like, *wishes):
        if name not in known:
            raise InputError(
                f"no probe for {name!r}{close_match(name, list(known))}; there are: {', '.join(known) or 'none'}"
            )
    if not like and not wishes:
        raise InputError("nothing to steer by: give like or but")
    if both := sorted(set(like) & set(wishes)):
        raise InputError(f"{both[0]!r} cannot be both alike and different")
    if not (np.isfinite(strength) and strength > 0):
        raise InputError(f"strength must be above 0: {strength}")
    filters, part = filters or Filters(), part or Part()
    seeds = seeds_of(index, what, part)
    centre = seeds.vectors.mean(axis=0, keepdims=True)
    sample = _sample(index)
    plan = _Plan(view=np.eye(index.width))
    if like:
        basis = np.linalg.qr(np.concatenate([directions_of(index, known[name]) for name in like]).T)[0]
        plan.view = basis @ basis.T
    for name, wish in wishes.items():
        _wished(index, known[name], wish, centre, sample, strength, plan)
    if plan.removed:  # all at once: subspaces overlap, and one after the other the last would bring back the first
        joint = np.linalg.qr(np.concatenate(plan.removed).T)[0]
        plan.view = (np.eye(index.width) - joint @ joint.T) @ plan.view
    moved = centre.astype(np.float64)
    for basis, coordinates in plan.moves:
        moved = moved + (coordinates - (moved - index.preparation.mean) @ basis.T) @ basis
    preparation = index.preparation.viewed(plan.view)
    direction = mean_direction(preparation(moved.astype(np.float32)))
    before = ranked(index, seeds, mean_direction(index.preparation(centre)), k, index.preparation, filters)
    after = _found(index, seeds, direction, k, preparation, filters, plan, known)
    return Steered(
        results=table_of(index, after, preparation, folded=filters.fold),
        effects=effects_of(
            index,
            attributes,
            centre,
            np.concatenate([seeds.rows, seeds.own]),
            (sample, before.rows, after.rows),
            {**dict.fromkeys(like, "alike"), **{name: str(wish) for name, wish in wishes.items()}},
            plan.targets,
        ),
        kept=len(np.intersect1d(before.rows, after.rows)),
    )


def _wished(
    index: SimilarityIndex,
    attribute: Attribute,
    wish: str | float,
    centre: NDArray[np.float32],
    sample: NDArray[np.float32],
    strength: float,
    plan: _Plan,
) -> None:
    """Add one wish to the plan."""
    basis = directions_of(index, attribute)
    inside = basis.T @ basis
    if wish == "any":
        plan.removed.append(basis)
        return
    mine = predictions_of(index, attribute, centre)[0]
    predicted = predictions_of(index, attribute, sample)
    coordinates = (sample - index.preparation.mean) @ basis.T
    numeric = np.issubdtype(predicted.dtype, np.number)
    if wish == "other":
        if numeric:
            raise InputError(f"{attribute.name}: 'other' is for classes; take any, more, less or a number")
        plan.removed.append(basis)
        plan.wanted[attribute.name] = lambda found: found != mine
        return
    if numeric:
        spread = float(predicted.std())
        if not spread:
            raise InputError(f"{attribute.name} is predicted as {predicted[0]:g} throughout: there is nowhere to go")
        target = _number(attribute.name, wish, float(mine), spread)
        if wish in MORE:
            plan.wanted[attribute.name] = lambda found: found > mine
        elif wish in LESS:
            plan.wanted[attribute.name] = lambda found: found < mine
        slope = (coordinates - coordinates.mean(axis=0)).T @ (predicted - predicted.mean())
        slope = slope / np.sum(np.square(predicted - predicted.mean()))
        here = (centre[0] - index.preparation.mean) @ basis.T
        place = here + slope * (target - float(mine))
        plan.targets[attribute.name] = target
    else:
        alike = predicted.astype(str) == str(wish)
        if not alike.any():
            found = [name for name, _ in Counter(predicted.astype(str).tolist()).most_common(8)]
            raise InputError(
                f"no track is predicted as {attribute.name} {wish!r}{close_match(str(wish), found)}; there are "
                f"{', '.join(found)}"
            )
        place = coordinates[alike].mean(axis=0)
        plan.targets[attribute.name] = str(wish)
    plan.moves.append((basis, place))
    plan.view = plan.view @ (np.eye(index.width) + (_gain(index, sample, inside, strength) - 1) * inside)


def _found(
    index: SimilarityIndex,
    seeds: Seeds,
    direction: NDArray[np.float32],
    k: int,
    preparation: Any,
    filters: Filters,
    plan: _Plan,
    known: Mapping[str, Attribute],
) -> Hits:
    """Results of the steered comparison, without those predicted as what is not wanted; fewer where few are."""
    if not plan.wanted:
        return ranked(index, seeds, direction, k, preparation, filters)
    fetched = 4 * k
    while True:
        hits = ranked(index, seeds, direction, fetched, preparation, filters)
        vectors = index.library.rows.take(hits.rows)
        wanted = np.ones(len(hits.rows), bool)
        for name, passes in plan.wanted.items():
            wanted &= passes(predictions_of(index, known[name], vectors))
        stay = np.flatnonzero(wanted)[:k]
        if len(stay) == k or len(hits.rows) < fetched or fetched >= JUDGED:
            return replace(
                hits,
                rows=hits.rows[stay],
                similarity=hits.similarity[stay],
                copies=tuple(hits.copies[one] for one in stay),
            )
        fetched *= 4


def _number(name: str, wish: str | float, mine: float, spread: float) -> float:
    if wish in MORE:
        return mine + spread
    if wish in LESS:
        return mine - spread
    try:
        target = float(wish)
    except ValueError as error:
        raise InputError(
            f"{name}={wish}: write any, {', '.join((*MORE, *LESS))} or a number, since the probe predicts numbers"
        ) from error
    if not np.isfinite(target):
        raise InputError(f"{name}={wish}: a number is needed")
    return target


def _gain(index: SimilarityIndex, sample: NDArray[np.float32], inside: NDArray[np.float64], strength: float) -> float:
    """Stretch after which the subspace holds `strength` times the standard deviation of all the rest."""
    centred = (sample - index.preparation.mean).astype(np.float64)
    within = centred @ inside
    projection = index.preparation.projection
    parts = [within, centred - within]
    if projection is not None:
        parts = [part @ projection.T for part in parts]
    mine, rest = (float(np.mean(np.sum(np.square(part - part.mean(axis=0)), axis=1))) for part in parts)
    return strength * float(np.sqrt(rest / mine)) if mine > 0 and rest > 0 else strength


def _sample(index: SimilarityIndex) -> NDArray[np.float32]:
    live = index.library.live
    if len(live) < 2:
        raise InputError(f"an index of {len(live)} tracks cannot be steered in: it takes two at least")
    if len(live) > SAMPLED:
        live = np.sort(np.random.default_rng(index.about["options"]["seed"]).choice(live, SAMPLED, replace=False))
    return index.library.rows.take(live)
