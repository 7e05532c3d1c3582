"""Two arms of models, such as summary against ordered latents, compared on the same clips.

evidence of every model --measured again without blocks of groups--> difference with its interval, p, equivalence

Conventions
-----------
* A difference is first arm less second, of scores less their own rotation null, (s - null) / (1 - null), averaged over
  pairs of seeds. D and C of P2 are less their jackknife bias (:mod:`m2l2_mir.disentangle.counterfactual`). Where a null
  leaves no room (:data:`~m2l2_mir.disentangle.nulls.LEAST_ROOM`) there is no difference to speak of, and it is nan.
* The interval is Student's t. Its variance is that over samples of clips, from a jackknife that leaves out the same
  blocks of groups in all models, since all of them heard the same, with probes fitted again; and that of the means of
  the nulls over their draws. From :data:`PAIRS` pairs of seeds on, the variance between pairs over their number is
  added (what clips add to that counts twice, which is cautious), and degrees of freedom are the lesser of the two.
* With fewer pairs the interval speaks of these checkpoints and there is no p; from :data:`PAIRS` on it is that of sign
  flips of the pairs, two-sided, and a difference is above or below 0 only where p is below .05 too.
* Measured on two codes that are equal by construction but for their noise (4 slots, 4 factors of 3 values; 60 cases
  with 200 items, 60 with 600): the interval of the difference of P1 left out 0 in 0 and 7 % of cases for D, in 3 and
  5 % for C; less their nulls (60 and 40 cases) in 0 and 2 % for both. With probes held as they are and widened after
  Nadeau and Bengio it was 8 and 7 %, 10 and 7 %; with a threshold for each arm and a bootstrap of items 32 and 28 %
  for D. Of eight pairs of equal seeds (2,000 made-up cases), 2 % were above and 2 % below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.evidence import Evidence
from m2l2_mir.disentangle.nulls import LEAST_ROOM, normalised
from m2l2_mir.disentangle.paired import sign_flip_p, spread_of
from m2l2_mir.errors import InputError

__all__ = ["LEVEL", "MARGIN", "PAIRS", "SCORES", "Arm", "compare_arms"]

SCORES = ("P1 D", "P1 C", "P2 D", "P2 C")
MARGIN = 0.05  # within which two scores are held to be equal
PAIRS = 8  # of seeds, from which on a mechanism and not a checkpoint is compared
LEVEL = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one model gives in one stratum: P1 of each slot, P1 of all slots together (K is 1), P2."""

    slots: Evidence
    whole: Evidence
    pairs: Evidence

    def evidence(self, what: str) -> Evidence:
        """What a score of ``SCORES``, or "information", comes from."""
        return self.whole if what == "information" else self.slots if what.startswith("P1") else self.pairs

    def scored(self, what: str) -> tuple[float, Floats, float]:
        """A score less its null and less the bias of P2, the same without each block, and the null's variance."""
        evidence = self.evidence(what)
        if what == "information":
            return float(evidence.matrix.mean()), evidence.left_out.mean(axis=(1, 2)), 0.0
        name = what[-1]
        score, left_out = float(evidence.scores()[name]), evidence.scores("left_out")[name]
        drawn = evidence.scores("rotations")[name]
        null, error = (float(drawn.mean()), float(drawn.var() / len(drawn))) if len(drawn) else (0.0, 0.0)
        if what.startswith("P2"):
            bias = spread_of(score, left_out).bias
            score, left_out = score - bias, left_out - bias
        room = 1 - null
        # d/dm (s - m) / (1 - m) = (s - 1) / (1 - m)^2
        slope = (score - 1) / room**2 if room >= LEAST_ROOM else math.nan
        return float(normalised(score, null)), np.asarray(normalised(left_out, null)), slope**2 * error

    def beside_null(self, what: str) -> tuple[float, float] | None:
        """A score as it is, and the mean of its rotations; None where there are none."""
        evidence, name = self.evidence(what), what[-1]
        if what == "information" or not len(drawn := evidence.scores("rotations")[name]):
            return None
        return float(evidence.scores()[name]), float(drawn.mean())


def compare_arms(first: Sequence[Arm], second: Sequence[Arm], *, margin: float = MARGIN) -> dict[str, dict[str, Any]]:
    """Compare two arms in one stratum.

    Parameters
    ----------
    first, second
        Models of each arm, paired by seed; of the same items.
    margin
        Of equivalence.

    Returns
    -------
    dict
        For "P1 D", "P1 C", "P2 D", "P2 C" and "information": ``first``, ``second`` (means over seeds), ``difference``,
        ``first_raw``, ``first_null`` (mean score as it is, and of rotations) and those of the second where there are
        rotations, ``low``, ``high`` (95 %), ``p`` (nan with fewer than :data:`PAIRS` pairs), ``above`` and ``below``
        (0), ``equivalent`` (the whole interval within the margin), ``pairs``, ``groups``. Scores that need what is not
        there are left out.

    Raises
    ------
    InputError
        The arms are not paired, or models heard other items.
    """
    if len(first) != len(second) or not first:
        raise InputError(f"{len(first)} models against {len(second)}; give as many of each, paired by seed, 1 or more")
    found = {}
    for what in (*SCORES, "information"):
        one = first[0].evidence(what)
        if len(one.names) < (1 if what == "information" else 2):
            continue
        for arm in (*first, *second):
            other = arm.evidence(what)
            if (other.names, other.items, other.groups) != (one.names, one.items, one.groups):
                raise InputError("the models heard other clips; compare models on one data set, at one size")
        found[what] = _compared(first, second, what, margin)
    return found


def _compared(first: Sequence[Arm], second: Sequence[Arm], what: str, margin: float) -> dict[str, Any]:
    ours, theirs = ([arm.scored(what) for arm in arms] for arms in (first, second))
    differences = np.array([one[0] - other[0] for one, other in zip(ours, theirs, strict=True)])
    left_out = np.mean([one[1] - other[1] for one, other in zip(ours, theirs, strict=True)], axis=0)
    estimate, pairs = float(differences.mean()), len(first)
    spread = spread_of(estimate, left_out)
    added = sum(one[2] for one in (*ours, *theirs)) / pairs**2
    p = math.nan
    if pairs >= PAIRS:
        added += float(differences.var(ddof=1)) / pairs
        spread = spread.at_most(pairs - 1)
        p = sign_flip_p(differences)
    low, high = spread.interval(estimate, added=added)
    shown = pairs < PAIRS or p < LEVEL
    raw: dict[str, float] = {}
    for side, arms in (("first", first), ("second", second)):
        found = [both for arm in arms if (both := arm.beside_null(what)) is not None]
        if len(found) == pairs:
            raw |= dict(zip((f"{side}_raw", f"{side}_null"), np.mean(found, axis=0).tolist(), strict=True))
    return {
        **raw,
        "first": float(np.mean([one[0] for one in ours])),
        "second": float(np.mean([one[0] for one in theirs])),
        "difference": estimate,
        "low": low,
        "high": high,
        "p": p,
        "above": bool(low > 0 and shown),
        "below": bool(high < 0 and shown),
        "equivalent": bool(low > -margin and high < margin),
        "pairs": pairs,
        "groups": first[0].evidence(what).groups,
    }
