"""Generalisation: whether a factor is read from combinations with another one that the probe has never heard.

    unseen[f] = held-out information of f in all slots, where training lacks the very values of another factor g
    seen[f]   = the same where training lacks as many items of any value of g

Conventions
-----------
* The values of g are dealt into :data:`PARTS` parts (two values: two). A probe of f learns from items of the other
  parts, in other groups, and is tested on this one: every combination of f with these values of g is new to it. Each
  part is tested in turn, so that "seen" and "unseen" are of the same items, and of as many in training; for "seen" the
  values of g are permuted first, as :func:`~m2l2_mir.disentangle.nulls.permuted_rows` does.
* All values of f are heard with all values of g that are in training, so that f and g stay independent there. Keeping
  out single combinations, each value being heard in another one, would make them dependent; a probe learns that, and a
  code of separate but noisy factors that tells .49 then tells .23.
* Factors stand in a ring, and g is one of the neighbours of f in turn; the losses of both count.
* Information is that of :mod:`m2l2_mir.disentangle.information`, but not clipped: below 0 a probe is sure of what is
  wrong, and worse than not to listen.
* Intervals are from losses without blocks of groups, widened for the sample that was learnt from after Nadeau and
  Bengio, as those of all slots in :mod:`m2l2_mir.disentangle.slots`.

Known failure: where values of g are far from those in training (the highest register), the probe extrapolates, and a
code that is curved there fails although it holds f apart.

Source of the question: M. L. Montero et al., "The role of disentanglement in generalisation", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.bases import evened
from m2l2_mir.disentangle.evidence import blocks_of
from m2l2_mir.disentangle.factors import Factor, read_factors
from m2l2_mir.disentangle.information import Probes, dealt
from m2l2_mir.disentangle.nulls import permuted_rows
from m2l2_mir.disentangle.paired import spread_of
from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import group_codes

__all__ = ["unseen_combinations"]

FOLDS = 3
PARTS = 3
LEAST_TRAINING = 10  # items of each fold; a part of the values that leaves fewer is not tested

Floats = NDArray[np.float64]


def unseen_combinations(
    slots: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> dict[str, Any]:
    """Read each factor from combinations that were left out of training, and from those that were not.

    Parameters
    ----------
    slots : array-like [n, K, d]
    factors : array-like [n, F]
        Two or more.
    schema, groups, folds
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`.
    seed
        Of folds and permutations.

    Returns
    -------
    dict
        ``seen``, ``unseen`` and ``difference`` (unseen less seen) [F]; ``low``, ``high`` [F], 95 % of the difference;
        ``factors``, names, and ``beside``, for each the names of its neighbours. nan where no part of their values
        leaves items enough to learn from.

    Raises
    ------
    InputError
        Shapes do not fit, there is one factor only, or there are fewer groups than folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 4, size=(400, 2))
    >>> apart = np.eye(4)[labels] + 0.1 * rng.normal(size=(400, 2, 4))
    >>> together = rng.normal(size=(4, 4, 1, 40))[labels[:, 0], labels[:, 1]]
    >>> unseen_combinations(apart, labels)["unseen"].round(1).tolist()
    [1.0, 1.0]
    >>> found = unseen_combinations(together, labels)
    >>> bool((found["seen"] > 0.9).all()), bool((found["unseen"] < 0.1).all())
    (True, True)
    """
    given = np.asarray(slots, dtype=np.float64)
    if given.ndim != 3 or not given.size or not np.isfinite(given).all():
        raise InputError(f"slots have shape {list(given.shape)}; give finite values [n, K, d]")
    n, code = len(given), evened(given).reshape(1, len(given), -1)
    columns = read_factors(factors, schema, items=n)
    if len(columns) < 2:
        raise InputError("one factor has no combinations; give two or more")
    nuisance = group_codes(groups, n).astype(np.intp)
    fold, block = dealt(nuisance, folds, seed), blocks_of(nuisance, n)
    belongs = (block[:, None] == np.arange(block.max() + 1)).astype(np.float64)  # [n, blocks]
    sums = np.zeros((len(columns), 2, 2, belongs.shape[1]))  # seen and unseen; losses, and those of the prior
    neighbours = _ring(len(columns))
    rng = np.random.default_rng(seed)
    for other, beside in enumerate(neighbours):
        values = columns[other].codes
        [rows] = permuted_rows(values, nuisance, 1, rng)
        for unseen, codes in enumerate((values[rows], values)):
            parts = codes % min(PARTS, columns[other].classes)
            for part in range(int(parts.max()) + 1):
                tested = parts == part
                if np.bincount(fold[~tested], minlength=folds).min() < LEAST_TRAINING:
                    continue
                probes = Probes(code, fold, ~tested)
                for read in beside:
                    losses, prior = probes.losses(columns[read])
                    sums[read, unseen] += np.stack([losses[0, 0], prior[0]])[:, tested] @ belongs[tested]
    whole = _information(sums.sum(axis=-1))
    without = _information(np.moveaxis(sums.sum(axis=-1, keepdims=True) - sums, -1, 0))  # [blocks, F, 2]
    difference = whole[:, 1] - whole[:, 0]
    left_out = difference + np.sqrt(1 + 1 / (folds - 1)) * (without[..., 1] - without[..., 0] - difference)
    intervals = [spread_of(of, many).interval(of) for of, many in zip(difference.tolist(), left_out.T, strict=True)]
    low, high = np.transpose(intervals)
    names = [column.factor.name for column in columns]
    return {
        "factors": names,
        "seen": whole[:, 0],
        "unseen": whole[:, 1],
        "difference": difference,
        "low": low,
        "high": high,
        "beside": [[names[other] for other in beside] for beside in neighbours],
    }


def _ring(factors: int) -> list[list[int]]:
    """The neighbours of each; the same one twice counts once."""
    return [sorted({(at - 1) % factors, (at + 1) % factors}) for at in range(factors)]


def _information(sums: Floats) -> Floats:
    """1 - loss over that of the prior: [..., 2] -> [...]; nan where nothing was tested."""
    losses, prior = sums[..., 0], sums[..., 1]
    return np.where(prior > 0, 1 - losses / np.where(prior > 0, prior, 1.0), np.nan)
