"""Two arms of models, such as summary against ordered latents, compared on the same clips.

items of every model --bootstrap of seeds, groups, clips--> difference with BCa interval, p, equivalence

Conventions
-----------
* A difference is first arm less second, of scores less their own rotation null, (s - null) / (1 - null), averaged over
  pairs of seeds; the null of each model is held constant. Every draw takes the same groups and clips in all models,
  since all of them heard the same, and the same seeds in both arms.
* The interval is BCa (:mod:`m2l2_mir.disentangle.paired`). Its acceleration comes from leaving out a pair of seeds,
  with fewer than :data:`PAIRS` a nuisance group.
* p is that of sign flips, two-sided: of the differences of the pairs of seeds (all flips up to 16 pairs), and with
  fewer than :data:`PAIRS` of the jackknife pseudo-values of the groups, which then says nothing of other seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.evidence import ItemScores, drawn_weights, left_out_weights
from m2l2_mir.disentangle.nulls import normalised
from m2l2_mir.disentangle.paired import bca_interval, sign_flip_p
from m2l2_mir.disentangle.slots import disentanglement_completeness
from m2l2_mir.errors import InputError

__all__ = ["DRAWS", "MARGIN", "PAIRS", "SCORES", "Arm", "compare_arms"]

SCORES = ("P1 D", "P1 C", "P2 D", "P2 C")
DRAWS = 2000
MARGIN = 0.05  # within which two scores are held to be equal
PAIRS = 8  # of seeds, from which on a mechanism and not a checkpoint is compared

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one model gives in one stratum.

    Parameters
    ----------
    slots, whole, pairs
        P1 of each slot, P1 of all slots together (K is 1), P2.
    null
        Mean score of equally wide random rotations, by "P1 D", "P1 C", "P2 D" and "P2 C".
    """

    slots: ItemScores
    whole: ItemScores
    pairs: ItemScores
    null: Mapping[str, float] = field(default_factory=dict)

    def scores(self, what: str, weights: Floats | None = None) -> Floats:
        """One of ``SCORES`` or "information", normalised by its null, of all or of weighted items."""
        if what == "information":
            return self.whole.matrix(weights).mean(axis=(-2, -1))
        score = disentanglement_completeness(np.nan_to_num(self.items(what).matrix(weights)))[what[-1]]
        return np.asarray(normalised(score, self.null.get(what, 0.0)))

    def items(self, what: str) -> ItemScores:
        """The items that a score comes from."""
        return self.whole if what == "information" else self.slots if what.startswith("P1") else self.pairs


def compare_arms(
    first: Sequence[Arm], second: Sequence[Arm], *, draws: int = DRAWS, margin: float = MARGIN, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Compare two arms in one stratum.

    Parameters
    ----------
    first, second
        Models of each arm, paired by seed; of the same items.
    draws
        Of the bootstrap.
    margin
        Of equivalence.
    seed
        Of draws and flips.

    Returns
    -------
    dict
        For "P1 D", "P1 C", "P2 D", "P2 C" and "information": ``first``, ``second`` (means over seeds), ``difference``,
        ``low``, ``high`` (95 %), ``p``, ``above`` and ``below`` (0, with the whole interval), ``equivalent`` (the whole
        interval within the margin), ``pairs``, ``groups``. Scores that need what is not there are left out.

    Raises
    ------
    InputError
        The arms are not paired, or models heard other items.
    """
    if len(first) != len(second) or not first:
        raise InputError(f"{len(first)} models against {len(second)}; give as many of each, paired by seed, 1 or more")
    found = {}
    for what in (*SCORES, "information"):
        items = first[0].items(what)
        if len(items.names) < (1 if what == "information" else 2):
            continue
        for arm in (*first, *second):
            if list(arm.items(what).groups) != list(items.groups) or arm.items(what).names != items.names:
                raise InputError("the models heard other clips; compare models on one data set, at one size")
        found[what] = _compared(first, second, what, list(items.groups), draws, margin, seed)
    return found


def _compared(
    first: Sequence[Arm], second: Sequence[Arm], what: str, groups: list[str], draws: int, margin: float, seed: int
) -> dict[str, Any]:
    ours, theirs = ([float(arm.scores(what)) for arm in arms] for arms in (first, second))
    differences = np.subtract(ours, theirs)
    estimate, pairs = float(differences.mean()), len(first)

    paired = list(zip(first, second, strict=True))

    def of(weights: Floats) -> Floats:
        return np.array([one.scores(what, weights) - other.scores(what, weights) for one, other in paired])

    drawn = of(drawn_weights(groups, draws, seed))  # [pairs, draws]
    if pairs > 1:
        chosen = np.random.default_rng([seed, 1]).integers(pairs, size=(draws, pairs))
        drawn = drawn[chosen, np.arange(draws)[:, None]].T
    left_out = of(left_out_weights(groups)).mean(axis=0)
    if pairs >= PAIRS:
        one_less, flipped = (differences.sum() - differences) / (pairs - 1), differences
    else:
        one_less, flipped = left_out, len(left_out) * estimate - (len(left_out) - 1) * left_out
    low, high = bca_interval(estimate, drawn.mean(axis=0), one_less)
    return {
        "first": float(np.mean(ours)),
        "second": float(np.mean(theirs)),
        "difference": estimate,
        "low": low,
        "high": high,
        "p": sign_flip_p(flipped, seed=seed),
        "above": bool(low > 0),
        "below": bool(high < 0),
        "equivalent": bool(low > -margin and high < margin),
        "pairs": pairs,
        "groups": len(left_out),
    }
