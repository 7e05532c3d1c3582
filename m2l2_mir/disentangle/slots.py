"""Slot scores: what each slot of an embedding tells of each factor, and how well the two pair up.

    S[k, f]         information that a probe reads from slot k alone (:mod:`m2l2_mir.disentangle.information`), 0 to 1
    D_slot, C_slot  the entropies of DCI on S (:mod:`m2l2_mir.disentangle.entropies`)
    U[k, f]         = S(all slots, f) - S(all but k, f), what slot k alone knows
    redundancy[f]   = sum_k S[k, f] - S(all slots, f)

DCI [1]_ on slots in place of dimensions, and held-out information in place of importances.

Assumptions
-----------
Factors are drawn independently of each other, or one would be read through another. What counts is information in a
linear probe's reach: a slot that holds a factor in a nonlinear way only is taken to hold nothing of it.

Known failures
--------------
* D and C are shares: of a code with hardly any information they say nothing. So entries that do not exceed what
  permuted labels reach anywhere in the matrix (95 % of draws) count as 0.
* A code of which a single factor can be read has D = 1 in any basis. The rotation null then is 1 too, and the
  normalised score 0.
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

from m2l2_mir.disentangle.entropies import disentanglement_completeness
from m2l2_mir.disentangle.factors import Column, Factor, read_factors
from m2l2_mir.disentangle.information import Probes
from m2l2_mir.disentangle.nulls import NULLS, Nulls, against_null, permuted_rows, rotated
from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import FEW_GROUPS, Bounds, Resampled, group_codes

__all__ = ["disentanglement_completeness", "slot_scores"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

_LEVEL = 0.95  # of the bound that information must exceed, over the whole matrix
_DRAWS = 1000


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
        None: no nulls, and no entry is taken for 0.
    folds
        Of the probe, at least 3.
    seed
        Of the folds and of the bootstrap.

    Returns
    -------
    dict
        ``D_slot``, ``C_slot`` : float; nan for a single factor, or a single slot.
        ``information``, ``unique`` : np.ndarray [K, F]; ``information_all``, ``redundancy`` : np.ndarray [F]
        ``D_of_slots`` [K] and ``C_of_factors`` [F] : 1 - entropy of a row, of a column; 0 where it is empty.
        ``informative`` : np.ndarray [K, F] of bool, what counts in D and C; ``bound``, the information to exceed.
        ``intervals`` : of all these, (low, high) of the 95 % interval over groups, for the probes as they are.
        ``nulls`` : for ``D_slot``, ``C_slot``, ``information`` a dict ``{"rotation": ..., "permutation": ...}``, for
        ``information_all`` ``{"permutation": ...}``, as of :func:`~m2l2_mir.disentangle.nulls.against_null`.
        ``rotated`` : np.ndarray [rotations, K, F], information of slots of rotated codes.
        ``losses`` [K, F, n], ``losses_all`` [F, n] : held-out loss of each item over the mean loss of the prior;
        ``information`` is 1 - the mean over items, and at least 0.
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
    codes = _checked(slots)
    n, K, _ = codes.shape
    columns = read_factors(factors, schema, items=n)
    nuisance = group_codes(groups, n).astype(np.intp)
    options: dict[str, Any] = {"folds": folds, "seed": seed}
    each = Probes(codes.swapaxes(0, 1), nuisance, **options)
    whole = Probes(codes.reshape(1, n, -1), nuisance, **options)

    losses, losses_all = _losses(each, columns), _losses(whole, columns)[0]
    losses_without = np.ones((1, *losses_all.shape))  # of a code of one slot
    if K > 1:
        others = (np.delete(codes, slot, axis=1).reshape(1, n, -1) for slot in range(K))  # one at a time: memory
        losses_without = np.concatenate([_losses(Probes(other, nuisance, **options), columns) for other in others])
    sums = _GroupSums(nuisance, losses, losses_all, losses_without)

    given = Nulls(rotations=0, permutations=0) if nulls is None else nulls
    rng = np.random.default_rng(given.seed)
    draws: dict[str, dict[str, Floats]] = {name: {} for name in ("D_slot", "C_slot", "information", "information_all")}
    bound = 0.0
    if given.permutations:
        rows = [permuted_rows(column.values, nuisance, given.permutations, rng) for column in columns]
        permuted = np.stack([each.means(column, of) for column, of in zip(columns, rows, strict=True)], axis=-1)
        of_all = np.stack([whole.means(column, of)[:, 0] for column, of in zip(columns, rows, strict=True)], axis=-1)
        bound = float(np.quantile(permuted.max(axis=(1, 2)), _LEVEL))
        draws["information"]["permutation"], draws["information_all"]["permutation"] = permuted, of_all
    turned = np.zeros((given.rotations, K, len(columns)))
    for draw, code in enumerate(rotated(codes.reshape(n, -1), given.rotations, rng)):
        probes = Probes(code.reshape(codes.shape).swapaxes(0, 1), nuisance, **options)
        turned[draw] = np.clip(1 - _losses(probes, columns).mean(axis=-1), 0.0, 1.0)
    if given.rotations:
        draws["information"]["rotation"] = turned
    for null, matrices in draws["information"].items():
        pair = disentanglement_completeness(_counted(matrices, bound))
        draws["D_slot"][null], draws["C_slot"][null] = pair["D"], pair["C"]
    if given.rotations:  # slots of a rotated code are alike, so that each slot is set against all of them
        pooled = turned.reshape(-1, 1, len(columns))
        draws["information"]["rotation"] = np.broadcast_to(pooled, (len(pooled), K, len(columns)))

    found = sums.scores(np.ones((1, sums.sizes.size)), bound)
    scores = {name: value[0] for name, value in found.items()}
    counted = _counted(scores["information"], bound)
    pure = disentanglement_completeness(counted)
    return {
        **{name: value if value.ndim else float(value) for name, value in scores.items()},
        "D_of_slots": pure["slots"],
        "C_of_factors": pure["factors"],
        "informative": counted > 0,
        "bound": bound,
        "intervals": sums.intervals(bound, seed),
        "nulls": {
            name: {null: against_null(scores[name], drawn) for null, drawn in of.items()} for name, of in draws.items()
        },
        "rotated": turned,
        "losses": losses,
        "losses_all": losses_all,
        "factors": [column.factor.name for column in columns],
        "items": n,
        "groups": int(sums.sizes.size),
        "folds": folds,
    }


class _GroupSums:
    """Losses summed over groups, from which all scores and those of other groups follow."""

    def __init__(self, groups: Integers, each: Floats, whole: Floats, without: Floats) -> None:
        self.sizes = np.bincount(groups).astype(np.float64)
        order, starts = np.argsort(groups, kind="stable"), np.cumsum(self.sizes) - self.sizes
        self._each, self._whole, self._without = (
            np.moveaxis(np.add.reduceat(losses[..., order], starts.astype(np.intp), axis=-1), -1, 0)
            for losses in (each, whole, without)
        )  # [groups, ...]

    def scores(self, weights: Floats, bound: float) -> dict[str, Floats]:
        """Scores of weighted groups: [draws, groups] -> [draws, ...]."""
        each, whole, without = (
            np.clip(1 - np.tensordot(weights / (weights @ self.sizes)[:, None], losses, axes=1), 0.0, 1.0)
            for losses in (self._each, self._whole, self._without)
        )
        pair = disentanglement_completeness(_counted(each, bound))
        return {
            "D_slot": pair["D"],
            "C_slot": pair["C"],
            "information": each,
            "information_all": whole,
            "unique": whole[:, None] - without,
            "redundancy": each.sum(axis=1) - whole,
        }

    def intervals(self, bound: float, seed: int) -> dict[str, Any]:
        groups = len(self.sizes)
        if groups < FEW_GROUPS:
            weights = 1.0 - np.eye(groups)
        else:
            weights = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), _DRAWS).astype(float)
        estimates = self.scores(np.ones((1, groups)), bound)
        others = self.scores(weights, bound)
        bounds: dict[str, Bounds | None] = {"unique": None, "redundancy": None}
        return {
            name: self._interval(estimates[name][0], others[name], bounds.get(name, (0.0, 1.0))) for name in estimates
        }

    def _interval(self, estimate: Floats, others: Floats, bounds: Bounds | None) -> Any:
        items = int(self.sizes.sum())
        pairs = []
        for value, other in zip(np.ravel(estimate), others.reshape(len(others), -1).T, strict=True):
            drawn = Resampled(estimate=float(value), sizes=self.sizes, others=other, scored=items, expected=items)
            found = drawn.interval(bounds=bounds)
            pairs.append((found.low, found.high))
        low, high = np.transpose(pairs).reshape(2, *np.shape(estimate))
        return (low, high) if np.ndim(estimate) else (float(low), float(high))


def _counted(matrices: Floats, bound: float) -> Floats:
    return np.where(matrices > bound, matrices, 0.0)


def _losses(probes: Probes, columns: Sequence[Column]) -> Floats:
    """Losses [R, F, n] over the mean loss of the prior."""
    found = [probes.losses(column) for column in columns]
    return np.stack([losses[:, 0] / prior.mean() for losses, prior in found], axis=1)


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
