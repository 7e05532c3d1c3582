"""Slot scores: what each slot of an embedding tells of each factor, and how well the two pair up.

    S[k, f]         information that a probe reads from slot k alone (:mod:`m2l2_mir.disentangle.information`), 0 to 1
    D_slot, C_slot  the entropies of DCI on S (:mod:`m2l2_mir.disentangle.entropies`)
    U[k, f]         = S(all slots, f) - S(all but k, f), what slot k alone knows
    redundancy[f]   = sum_k S[k, f] - S(all slots, f)

DCI [1]_ on slots in place of dimensions, and held-out information in place of importances. Slots are centred and scaled
by one number each first, and so is what all slots together, and their rotations, are read from.

Assumptions
-----------
Factors are drawn independently of each other, or one would be read through another. What counts is information in a
linear probe's reach: a slot that holds a factor in a nonlinear way only is taken to hold nothing of it.

Intervals
---------
* From a jackknife that leaves out a tenth of the groups at a time and fits again, in the same folds, with Student's t.
  They say how a score would vary over samples of as many groups; ``unique`` has none, since it would take K more fits
  of nearly the whole code each time.
* Measured as the level of differences of two codes: :mod:`m2l2_mir.disentangle.compare`.

Known failures
--------------
* D and C are shares: of a code with hardly any information they say nothing. Entries count as far as they exceed their
  mean under permuted labels, and not at all where the sum of all does not exceed that of every permutation.
* D depends on the number of items: with few, a probe reads nothing of what is told weakly, and slots look purer. One
  population in which every slot tells of every factor had .53 with 300 items, .45 with 1,000 and .41 with 4,000.
  Compare D at equal numbers only; the interval does not count this.
* A code of which a single factor can be read has D = 1 in any basis. The rotation null then is 1 too, and nothing can
  be distinguished: the normalised score is nan.
* Two slots that hold a factor each in half (an exclusive or) have S = 0 and U > 0.

References
----------
.. [1] C. Eastwood, C. K. I. Williams, "A framework for the quantitative evaluation of disentangled representations",
   ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.bases import evened
from m2l2_mir.disentangle.entropies import disentanglement_completeness
from m2l2_mir.disentangle.evidence import beyond_floor, blocks_of
from m2l2_mir.disentangle.factors import Column, Factor, read_factors
from m2l2_mir.disentangle.information import Probes, dealt
from m2l2_mir.disentangle.nulls import NULLS, Nulls, against_null, moved_share, permuted_rows, rotations
from m2l2_mir.disentangle.paired import spread_of
from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import group_codes

__all__ = ["slot_scores"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

MOST_UNIQUE = 32
_LEVEL = 0.95  # of the bound that information must exceed, over all slots


def slot_scores(
    slots: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = NULLS,
    folds: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Score slots against factors, with nulls and intervals.

    Parameters
    ----------
    slots : array-like [n, K, d]
        K slots of d numbers of each item.
    factors : array-like [n, F]
        Classes as integers, or what the schema declares.
    schema : sequence of Factor [F], optional
        None: all are classes, named by their place.
    groups : array-like [n], optional
        Nuisance group of each item: groups lie in one fold, labels are permuted inside them, and intervals are over
        them. None: each item is one, and labels are permuted freely.
    nulls
        None: no nulls, and all information counts.
    folds
        Of the probe, at least 3.
    seed
        Of the folds.

    Returns
    -------
    dict
        ``D_slot``, ``C_slot`` : float; nan for a single factor, or a single slot.
        ``information``, ``unique`` : np.ndarray [K, F]; ``information_all``, ``redundancy`` : np.ndarray [F].
        ``unique`` is nan with more than 32 slots, since each of them would take a fit of nearly the whole code.
        ``D_of_slots`` [K] and ``C_of_factors`` [F] : 1 - entropy of a row, of a column; 0 where it is empty.
        ``bound`` [F] : what permuted labels reach in any slot (95 %); ``informative`` [K, F] of bool : what exceeds it.
        ``moved`` [F] : share of labels that permutations change (:func:`~m2l2_mir.disentangle.nulls.moved_share`).
        ``intervals`` : (low, high), 95 %, of all but ``unique`` (see the module); nan where groups are too few.
        ``nulls`` : for ``D_slot``, ``C_slot``, ``information`` a dict ``{"rotation": ..., "permutation": ...}``, for
        ``information_all`` ``{"permutation": ...}``, as of :func:`~m2l2_mir.disentangle.nulls.against_null`.
        ``rotated`` [rotations, K, F], ``permuted`` [permutations, K, F] : information of those.
        ``left_out`` [blocks, K, F], ``left_out_all`` [blocks, F] : information without blocks of groups.
        ``losses_all`` [F, n] : held-out loss of each item over the mean loss of the prior; ``information_all`` is 1 -
        the mean over items, and at least 0.
        ``factors`` : list of their names; ``items``, ``groups``, ``folds`` : int.

    Raises
    ------
    InputError
        Shapes do not fit, numbers are not finite, a factor does not vary or is not what it is declared, or there are
        fewer groups than folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 3, size=(300, 2))
    >>> slots = np.eye(3)[labels] + 0.1 * rng.normal(size=(300, 2, 3))   # slot k holds factor k
    >>> found = slot_scores(slots, labels, nulls=Nulls(rotations=5, permutations=20))
    >>> round(found["D_slot"], 2), found["information"].round(1).tolist()
    (1.0, [[1.0, 0.0], [0.0, 1.0]])
    """
    codes = evened(_checked(slots))
    n, K, d = codes.shape
    columns = read_factors(factors, schema, items=n)
    nuisance = group_codes(groups, n).astype(np.intp)
    fold = dealt(nuisance, folds, seed)
    each = Probes(codes.swapaxes(0, 1), fold)
    whole = Probes(codes.reshape(1, n, -1), fold)
    information = _information(_losses(each, columns))  # [K, F]
    losses_all = _losses(whole, columns)[0]
    information_all = _information(losses_all)
    without = np.zeros(information.shape) if K == 1 else np.full(information.shape, np.nan)
    if 1 < K <= MOST_UNIQUE:
        others = (np.delete(codes, slot, axis=1).reshape(1, n, -1) for slot in range(K))  # one at a time: memory
        without = np.concatenate([_information(_losses(Probes(other, fold), columns)) for other in others])

    given = Nulls(rotations=0, permutations=0) if nulls is None else nulls
    rng = np.random.default_rng(given.seed)
    permuted, permuted_all = np.zeros((0, *information.shape)), np.zeros((0, len(columns)))
    moved = np.full(len(columns), np.nan)
    if given.permutations:
        rows = [permuted_rows(column.codes, nuisance, given.permutations, rng) for column in columns]
        moved = np.array([moved_share(column.codes, of) for column, of in zip(columns, rows, strict=True)])
        permuted = np.stack([each.means(column, of) for column, of in zip(columns, rows, strict=True)], axis=-1)
        permuted_all = np.stack([whole.means(column, of)[:, 0] for column, of in zip(columns, rows, strict=True)], -1)
    turned = np.zeros((given.rotations, K, len(columns)))
    for draw, turn in enumerate(rotations(K * d, given)):
        code = (codes.reshape(n, -1) @ turn).reshape(codes.shape)
        probes = Probes(code.swapaxes(0, 1), fold)
        turned[draw] = _information(_losses(probes, columns))
    left_out = _left_out(codes, columns, nuisance, fold)
    left_out_all = _left_out_all(losses_all, nuisance, folds) if len(left_out) else np.zeros((0, len(columns)))

    scores: dict[str, Any] = {
        **_entropies(information, permuted),
        "information": information,
        "information_all": information_all,
        "redundancy": information.sum(axis=0) - information_all,
    }
    again = {
        **_entropies(left_out, permuted),
        "information": left_out,
        "information_all": left_out_all,
        "redundancy": left_out.sum(axis=1) - left_out_all,
    }
    draws: dict[str, dict[str, Floats]] = {
        "information": {"permutation": permuted},
        "information_all": {"permutation": permuted_all},
        "D_slot": {},
        "C_slot": {},
    }
    for null, matrices in (("rotation", turned), ("permutation", permuted)):
        for name, drawn in _entropies(matrices, permuted).items():
            draws[name][null] = drawn
    # Slots of a rotated code are alike, so that each slot is set against all of them.
    pooled = turned.reshape(-1, 1, len(columns))
    draws["information"]["rotation"] = np.broadcast_to(pooled, (len(pooled), K, len(columns)))
    pure = disentanglement_completeness(beyond_floor(information, permuted))
    bound = np.quantile(permuted.max(axis=1), _LEVEL, axis=0) if len(permuted) else np.zeros(len(columns))
    bounds = {"redundancy": (-1.0, float(K))}
    return {
        **{name: value if np.ndim(value) else float(value) for name, value in scores.items()},
        "unique": information_all - without,
        "D_of_slots": pure["slots"],
        "C_of_factors": pure["factors"],
        "informative": information > bound,
        "bound": bound,
        "moved": moved,
        "intervals": {name: _interval(scores[name], again[name], bounds.get(name, (0.0, 1.0))) for name in scores},
        "nulls": {
            name: {null: against_null(scores[name], drawn) for null, drawn in of.items() if len(drawn)}
            for name, of in draws.items()
        },
        "rotated": turned,
        "permuted": permuted,
        "left_out": left_out,
        "left_out_all": left_out_all,
        "losses_all": losses_all,
        "factors": [column.factor.name for column in columns],
        "items": n,
        "groups": int(nuisance.max()) + 1,
        "folds": folds,
    }


def _left_out(codes: Floats, columns: Sequence[Column], groups: Integers, fold: Integers) -> Floats:
    """Information [blocks, K, F] read without each block of groups, in the same folds; no blocks if groups are few."""
    block = blocks_of(groups, len(groups))
    found = []
    for left in range(int(block.max()) + 1):
        kept = np.flatnonzero(block != left)
        if len(np.unique(fold[kept])) < int(fold.max()) + 1:
            return np.zeros((0, codes.shape[1], len(columns)))
        probes = Probes(codes[kept].swapaxes(0, 1), fold[kept])
        found.append(_information(_losses(probes, [column.taken(kept) for column in columns])))
    return np.array(found)


def _left_out_all(losses: Floats, groups: Integers, folds: int) -> Floats:
    """Information [blocks, F] of the whole code without each block of groups, from held-out losses [F, n].

    Fitting the whole code again takes longer than all slots. What it learnt from is a sample too, for which the
    differences are widened after C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning 52,
    2003, as in :mod:`m2l2_mir.probe.resampling`.
    """
    block = blocks_of(groups, len(groups))
    kept = np.stack([losses[:, block != left].mean(axis=1) for left in range(int(block.max()) + 1)])
    mean = losses.mean(axis=1)
    return np.clip(1 - mean - np.sqrt(1 + 1 / (folds - 1)) * (kept - mean), 0.0, 1.0)


def _entropies(matrices: Floats, permuted: Floats) -> dict[str, Floats]:
    found = disentanglement_completeness(beyond_floor(matrices, permuted))
    return {"D_slot": found["D"], "C_slot": found["C"]}


def _interval(estimate: Any, left_out: Floats, bounds: tuple[float, float]) -> Any:
    """(low, high) of a score, or two arrays of its shape."""
    values, others = np.ravel(estimate), np.reshape(left_out, (len(left_out), np.size(estimate))).T
    pairs = [
        spread_of(float(value), other).interval(float(value), bounds=bounds)
        for value, other in zip(values, others, strict=True)
    ]
    low, high = np.transpose(pairs).reshape(2, *np.shape(estimate))
    return (low, high) if np.ndim(estimate) else (float(low), float(high))


def _information(losses: Floats) -> Floats:
    """Losses over the mean loss of the prior [..., n] -> 0 to 1."""
    return np.clip(1 - losses.mean(axis=-1), 0.0, 1.0)


def _losses(probes: Probes, columns: Sequence[Column]) -> Floats:
    """Losses [R, F, n] over the mean loss of the prior; 1 where a factor does not vary, as some groups are left out."""
    found = [probes.losses(column) for column in columns]
    return np.stack(
        [losses[:, 0] / prior.mean() if prior.any() else np.ones_like(losses[:, 0]) for losses, prior in found], axis=1
    )


def _checked(slots: ArrayLike) -> Floats:
    codes = np.asarray(slots, dtype=np.float64)
    if codes.ndim != 3 or not codes.size:
        raise InputError(f"slots have shape {list(codes.shape)}; give [n, K, d], items x slots x dimensions")
    if not np.isfinite(codes).all():
        broken = ~np.isfinite(codes).all(axis=(1, 2))
        raise InputError(f"{broken.sum()} of {len(codes)} items hold NaN or infinity; leave them out and count them")
    if not codes.std(axis=0).any():
        raise InputError("all items have the same slots; there is nothing to read from them")
    return codes
