"""Slot identity: is slot k the same thing in every chunk, and which slot of another model corresponds to it.

Conventions
-----------
* ``slots`` are [n, K, d], ``chunks`` [clips, T, K, d]. Items of one group are never on both sides of a split.
* Slots of two models are matched by held-out linear predictability: R2 of a ridge read-out from one slot to the other,
  averaged over both directions. It does not move under a change of basis inside a slot, which slot scores ignore too;
  it weighs directions by their variance; and it is held out. Canonical correlation has the first property only: with d
  of the order of n it nears 1 for noise, and a direction without variance counts as much as any other.
* The best of K! assignments is high whatever the slots hold. So it is set against best assignments: the second model's
  slots are exchanged at random, anew in each group of items, and matched again.

Source of the assignment: H. W. Kuhn, "The Hungarian method for the assignment problem", 1955, as SciPy has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

from m2l2_mir.disentangle.nulls import against_null
from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import group_codes
from m2l2_mir.quality.latents import chunk_agreement

__all__ = ["EXCHANGES", "match_slots", "predictability", "slot_health", "slot_identity", "slot_stability"]

FOLDS = 5
DEAD = 0.01  # standard deviation of a slot that tells nothing
SATURATED = 0.97  # of the bound of a tanh
PENALTIES = np.logspace(-1, 5, 7)
EXCHANGES = 19  # of slots, which can reach a p of .05

Floats = NDArray[np.float64]


def slot_identity(slots: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0) -> dict[str, Any]:
    """Tell from a single vector which slot it came from.

    A linear discriminant with shrinkage sees one vector at a time. Near 1: slots have roles of their own; near chance:
    the model gives a bag of exchangeable vectors, whose per-slot scores mean nothing.

    Parameters
    ----------
    slots : array-like [n, K, d]
    groups : array-like [n], optional
        Nuisance groups; None: every item is one.
    seed
        Of the folds.

    Returns
    -------
    dict
        ``accuracy``, ``chance`` (1 / K) and ``confusion``, [true slot, estimated slot], lines add up to 1.

    Raises
    ------
    InputError
        The slots have another shape, are not finite, or are of fewer than two groups.

    Examples
    --------
    >>> slots = np.random.default_rng(0).standard_normal((60, 3, 4)) + 9 * np.eye(3, 4)
    >>> slot_identity(slots)["accuracy"]
    1.0
    """
    given = _checked(slots)
    items, number, _ = given.shape
    confusion = np.zeros((number, number))
    for train, test in _folds(items, groups, seed):
        labels = np.tile(np.arange(number), len(train))
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        model.fit(given[train].reshape(len(train) * number, -1), labels)
        guessed = model.predict(given[test].reshape(len(test) * number, -1))
        np.add.at(confusion, (np.tile(np.arange(number), len(test)), guessed), 1)
    accuracy = float(np.trace(confusion) / confusion.sum())
    return {"accuracy": accuracy, "chance": 1 / number, "confusion": confusion / confusion.sum(axis=1, keepdims=True)}


def slot_stability(chunks: ArrayLike, pieces: ArrayLike) -> dict[str, Any]:
    """How much a slot has in common with itself in the next chunk, beside the other slots and other pieces.

    Parameters
    ----------
    chunks : array-like [clips, T, K, d]
        At least two successive chunks of each clip.
    pieces : array-like [clips]
        What must differ for the level of chance, such as nuisance groups.

    Returns
    -------
    dict
        ``adjacent``, ``within`` and ``between`` [K] as in :func:`~m2l2_mir.quality.latents.chunk_agreement`, slot by
        slot, averaged over clips; ``transition`` [K, K], how often slot j of the next chunk is the one nearest to slot
        k (Euclidean), and ``kept`` [K], its diagonal.

    Raises
    ------
    InputError
        The chunks have another shape or are not finite, or a slot never changes.
    """
    given = np.asarray(chunks, dtype=np.float64)
    if given.ndim != 4 or given.shape[1] < 2 or not np.isfinite(given).all():
        raise InputError(f"chunks have shape {list(given.shape)}; give finite [clips, chunks, K, d], 2 chunks or more")
    number = given.shape[2]
    agreement = [chunk_agreement(given[:, :, slot], pieces) for slot in range(number)]
    before, after = given[:, :-1].reshape(-1, number, given.shape[3]), given[:, 1:].reshape(-1, number, given.shape[3])
    distance = (
        np.square(before).sum(axis=2)[:, :, None]
        + np.square(after).sum(axis=2)[:, None]
        - 2 * np.einsum("nkd,njd->nkj", before, after)
    )
    transition = np.eye(number)[distance.argmin(axis=2)].mean(axis=0)
    return {
        **{name: np.array([np.nanmean(one[name]) for one in agreement]) for name in ("adjacent", "within", "between")},
        "transition": transition,
        "kept": np.diag(transition).copy(),
    }


def match_slots(
    first: ArrayLike, second: ArrayLike, groups: ArrayLike | None = None, *, exchanges: int = EXCHANGES, seed: int = 0
) -> dict[str, Any]:
    """Find for each slot of one model the slot of another that holds the same (see the module's conventions).

    Parameters
    ----------
    first, second : array-like [n, K, d] and [n, K, e]
        Of the same items, in the same order.
    groups : array-like [n], optional
        Nuisance groups.
    exchanges
        Times that slots are exchanged for the level of chance; each takes as long as the matching itself.
    seed
        Of folds and exchanges.

    Returns
    -------
    dict
        ``similarity`` [K, K], ``match`` [K] (slot k of the first goes with ``match[k]`` of the second), ``matched``
        (mean similarity of the pairs found), ``chance`` (the same where slots are exchanged, on average) and ``p``,
        one-sided; nan without exchanges.

    Raises
    ------
    InputError
        The models have not equally many items and slots.

    Examples
    --------
    >>> one = np.random.default_rng(0).standard_normal((80, 3, 4))
    >>> match_slots(one, one[:, [2, 0, 1]])["match"].tolist()
    [1, 2, 0]
    """
    ours, theirs = _checked(first), _checked(second)
    if ours.shape[:2] != theirs.shape[:2]:
        raise InputError(
            f"the models have slots {list(ours.shape)} and {list(theirs.shape)}; give the same items and as many slots"
        )
    similarity, match, matched = _matched(ours, theirs, groups, seed)
    rng = np.random.default_rng(seed)
    place = group_codes(groups, len(theirs))
    drawn = []
    for _ in range(exchanges):
        order = np.argsort(rng.random((int(place.max()) + 1, theirs.shape[1])), axis=1)[place]
        drawn.append(_matched(ours, np.take_along_axis(theirs, order[:, :, None], axis=1), groups, seed)[2])
    against = against_null(matched, np.array(drawn)) if drawn else {"mean": np.nan, "p": np.nan}
    return {
        "similarity": similarity,
        "match": match,
        "matched": matched,
        "chance": against["mean"],
        "p": against["p"],
    }


def _matched(
    ours: Floats, theirs: Floats, groups: ArrayLike | None, seed: int
) -> tuple[Floats, NDArray[np.intp], float]:
    similarity = (
        predictability(ours, theirs, groups, seed=seed) + predictability(theirs, ours, groups, seed=seed).T
    ) / 2
    rows, match = linear_sum_assignment(similarity, maximize=True)
    return similarity, match, float(similarity[rows, match].mean())


def predictability(
    source: ArrayLike, target: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0
) -> NDArray[np.float64]:
    """Held-out R2 of ridge regression from each slot of one model to each of another, clipped at 0.

    Returns
    -------
    np.ndarray [K of source, K of target]
        Over all dimensions of the target slot together; its penalty is chosen on training items alone.
    """
    ours, theirs = _checked(source), _checked(target)
    items, number, width = theirs.shape
    wanted = theirs.reshape(items, -1)
    error = np.zeros((ours.shape[1], number))
    spread = np.zeros(number)
    for train, test in _folds(items, groups, seed):
        centre = wanted[train].mean(axis=0)
        spread += np.square(wanted[test] - centre).reshape(len(test), number, width).sum(axis=(0, 2))
        for slot in range(ours.shape[1]):
            seen = ours[train, slot]
            scale = np.maximum(seen.std(axis=0), 1e-12)
            model = RidgeCV(alphas=PENALTIES).fit((seen - seen.mean(axis=0)) / scale, wanted[train])
            missed = wanted[test] - model.predict((ours[test, slot] - seen.mean(axis=0)) / scale)
            error[slot] += np.square(missed).reshape(len(test), number, width).sum(axis=(0, 2))
    return np.clip(1 - error / np.maximum(spread, 1e-12), 0, 1)


def slot_health(slots: ArrayLike, *, bounded: bool = True) -> dict[str, Any]:
    """Collapse and saturation, slot by slot.

    Parameters
    ----------
    slots : array-like [n, K, d]
        Single chunks, since a mean over time hides saturation.
    bounded
        Whether the values lie in -1 to 1 (a tanh bottleneck); else saturation is nan.

    Returns
    -------
    dict
        ``spread`` [K] (standard deviation over items, averaged over dimensions), ``saturated`` [K] (share of values
        beyond 0.97), ``effective_rank`` [K] and ``total_effective_rank`` (exponential of the entropy of the
        eigenvalues of the covariance), ``dead`` (number of slots with a spread below 0.01).
    """
    given = _checked(slots)
    spread = given.std(axis=0).mean(axis=1)
    saturated = (np.abs(given) > SATURATED).mean(axis=(0, 2)) if bounded else np.full(given.shape[1], np.nan)
    return {
        "spread": spread,
        "saturated": saturated,
        "effective_rank": np.array([_effective_rank(given[:, slot]) for slot in range(given.shape[1])]),
        "total_effective_rank": _effective_rank(given.reshape(len(given), -1)),
        "dead": int((spread < DEAD).sum()),
    }


def _effective_rank(values: Floats) -> float:
    """O. Roy, M. Vetterli, "The effective rank", EUSIPCO 2007, of the covariance."""
    power = np.square(np.linalg.svd(values - values.mean(axis=0), compute_uv=False))
    shares = power[power > 0] / max(power.sum(), 1e-300)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _checked(slots: ArrayLike) -> Floats:
    given = np.asarray(slots, dtype=np.float64)
    if given.ndim != 3 or not given.size or not np.isfinite(given).all():
        raise InputError(f"slots have shape {list(given.shape)}; give finite values [items, K, d]")
    return given


def _folds(items: int, groups: ArrayLike | None, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    codes = group_codes(groups, items)
    number = min(FOLDS, len(np.unique(codes)))
    if number < 2:
        raise InputError("all items are of one group; give items of two groups or more")
    split = GroupKFold(n_splits=number, shuffle=True, random_state=seed)
    return list(split.split(np.zeros(items), groups=codes))
