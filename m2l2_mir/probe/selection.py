"""Selection of a read-out's strength by inner folds, of its training items alone.

Conventions
-----------
- Inner folds keep a group (artist, piece, instrument) on one side and have, as far as groups allow, equal shares of
  every class; a target of more than 20 numbers is cut into ten classes of equal size for that.
- Candidates are tried in the order given, from the simplest read-out to the most flexible. Held-out scores need not
  rise and then fall along that order: where strong directions that vary by group come before weak ones that carry the
  label, they fall first and rise far higher later. So two scores in a row below the best end a search only where the
  training items leave the candidates beyond nothing to explain.
- The best candidate at an end of the list is warned of, where its neighbour scores worse by more than
  :data:`MATERIAL`: the list should then go further.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["MATERIAL", "Fold", "ReadoutWarning", "best_candidate", "inner_folds", "warn_of_edge"]

MATERIAL = 1e-3  # difference of inner scores (nats per item, R^2 or accuracy) that is worth a warning

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]  # items to train on, items held out


class ReadoutWarning(UserWarning):
    """A read-out was fitted although its training items cannot support all of it, or its settings do not suffice."""


def inner_folds(
    classes: NDArray[np.int64], groups: NDArray[np.int64] | None, folds: int, random: np.random.RandomState
) -> list[Fold]:
    """Deal items into folds by group, with equal shares of every class.

    Groups are dealt one by one, those with the largest shares of their classes first, each to the fold that has the
    least of its classes so far. It is done here because scikit-learn's StratifiedGroupKFold, when it shuffles, does not
    stratify (its issue 32478) and may leave a fold empty (34828).

    Parameters
    ----------
    classes : np.ndarray [n]
        Integers from 0.
    groups : np.ndarray [n] or None
        Integers from 0; None: each item is a group of its own.
    folds
        Fewer are made where there are fewer groups.
    random
        Breaks ties.

    Returns
    -------
    list of (training items, held-out items)
        Empty with a single group.

    Examples
    --------
    >>> parts = inner_folds(np.array([0, 0, 1, 1]), None, 2, np.random.RandomState(0))
    >>> [sorted(np.array([0, 0, 1, 1])[held_out].tolist()) for _, held_out in parts]
    [[0, 1], [0, 1]]
    """
    groups = np.arange(len(classes)) if groups is None else groups
    counts = sparse.csr_array((np.ones(len(classes)), (groups, classes)))
    counts.sum_duplicates()
    weights = 1.0 / np.maximum(np.bincount(classes), 1.0) ** 2  # crowding is a product of two shares of a class
    number = counts.shape[0]
    folds = min(folds, number)
    if folds < 2:
        return []
    start, column, count = counts.indptr, counts.indices, counts.data
    shuffled = random.permutation(number)
    order = shuffled[np.argsort(-(counts.power(2) @ weights)[shuffled], kind="stable")]
    inside, sizes = np.zeros((folds, len(weights))), np.zeros(folds)
    fold_of = np.empty(number, dtype=np.intp)
    for group in order:
        part = slice(start[group], start[group + 1])
        present = column[part]
        crowded = inside[:, present] @ (count[part] * weights[present])
        # Rounded, because shares that are equal must be seen as equal for the sizes to decide.
        fold = min(range(folds), key=lambda i: (round(crowded[i], 12), sizes[i]))
        fold_of[group] = fold
        inside[fold, present] += count[part]
        sizes[fold] += count[part].sum()
    fold_of_item = fold_of[groups]
    return [(np.flatnonzero(fold_of_item != i), np.flatnonzero(fold_of_item == i)) for i in range(folds)]


def best_candidate(
    number: int, score: Callable[[int], float], exhausted: Callable[[], bool] = lambda: False
) -> tuple[int, NDArray[np.float64]]:
    """Find the candidate with the highest held-out score; the earlier one of equals.

    Parameters
    ----------
    number
        Of candidates, from the simplest to the most flexible.
    score
        Gives a candidate's score; called once for each, in order.
    exhausted
        Asked after two scores in a row below the best: whether those to come can bring nothing new. All are tried
        without it.

    Returns
    -------
    best
        Index of the candidate.
    scores : np.ndarray [number]
        nan where the search ended before.

    Examples
    --------
    >>> dips = [1.0, 2.0, 1.5, 1.0, 0.5, 9.0]
    >>> best_candidate(6, dips.__getitem__)[0]
    5
    >>> best, scores = best_candidate(6, dips.__getitem__, lambda: True)
    >>> best, scores.tolist()
    (1, [1.0, 2.0, 1.5, 1.0, nan, nan])
    """
    scores = np.full(number, math.nan)
    best = 0
    for candidate in range(number):
        scores[candidate] = score(candidate)
        if scores[candidate] > scores[best]:
            best = candidate
        if candidate > 1 and max(scores[candidate - 1], scores[candidate]) < scores[best] and exhausted():
            break
    return best, scores


def warn_of_edge(best: int, scores: NDArray[np.float64], ends: Sequence[str | None]) -> str | None:
    """Name the end of the list that the best candidate lies at, with a warning, or nothing.

    Parameters
    ----------
    best, scores
        From :func:`best_candidate`.
    ends
        What the first and the last candidate are called in the warning; None: an end that nothing lies beyond.

    Returns
    -------
    str or None
        The name of the end, where a candidate beyond it may score higher by more than :data:`MATERIAL`.
    """
    for end, edge, neighbour in zip(ends, (0, len(scores) - 1), (1, len(scores) - 2), strict=True):
        if end and best == edge != neighbour and len(scores) > 1 and scores[edge] - scores[neighbour] > MATERIAL:
            warnings.warn(
                f"the {end} offered scored best in the inner folds; offer values beyond it, or results may be too low",
                ReadoutWarning,
                stacklevel=5,
            )
            return end
    return None
