"""Explicitness and size of DCI-ES: how little capacity a probe needs to read the factors.

    E[f] = 1 - AULCC / Z,   AULCC = sum_t ((l_t + l_(t-1)) / 2 - l_T) (k_t - k_(t-1)),   Z = (k_T - k_0) l_base / 2

l_t is the least loss of factor f up to capacity k_t, here 1 - held-out information, so that l_base = 1 and the lowest
possible loss is 0. Capacities are those of the linear probe of :mod:`m2l2_mir.disentangle.information` on the code and
on random Fourier features [1]_ of the whitened code beside it, four times as many from step to step. E is 1 where the
linear probe reads all that the largest one does. size = F / D, factors over dimensions.

Assumes that the largest probe reads what there is. Known failure: 1 for a code that holds nothing, which the
permutation floor shows. Rotations do not change it by design, so that by default there is no rotation null.
Source: C. Eastwood et al., "DCI-ES: An extended disentanglement framework with connections to identifiability", ICLR
2023, section 4, with the normalisation of the authors' code (lowest loss 0).

References
----------
.. [1] A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NeurIPS 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.bases import whitening
from m2l2_mir.disentangle.dimensions import block_jackknife, with_nulls
from m2l2_mir.disentangle.factors import Column, Factor
from m2l2_mir.disentangle.information import Probes, dealt
from m2l2_mir.disentangle.nulls import Nulls

__all__ = ["dci_es"]

Floats = NDArray[np.float64]

_WIDTHS = (0, 32, 128, 512)  # random features beside the code
_NULLS = Nulls(rotations=0, permutations=5)


def dci_es(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    schema: Sequence[Factor] | None = None,
    groups: ArrayLike | None = None,
    nulls: Nulls | None = _NULLS,
    folds: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Explicitness and size of a code; see the module for their formulas and failures.

    Parameters
    ----------
    codes : array-like [n, D] or [n, K, d]
    factors : array-like [n, F]
    schema, groups, nulls, folds
        As in :func:`~m2l2_mir.disentangle.slots.slot_scores`.
    seed
        Of the random features.

    Returns
    -------
    dict
        ``explicitness``, ``size``; ``explicit`` [F]; ``losses`` [T, F], of each capacity; ``widths`` [T], random
        features of each; ``nulls``, ``intervals`` (for the probes as they are).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, size=(300, 2))
    >>> dci_es(labels + 0.1 * rng.normal(size=(300, 2)), labels, nulls=None)["explicitness"] > 0.95
    True
    """

    held: list[Probes] = []  # of the code, which permutations of labels leave as it is

    def measure(code: Floats, columns: list[Column], nuisance: NDArray[np.intp]) -> dict[str, Any]:
        if not held or (nulls is not None and nulls.rotations):
            features = _features(code, max(_WIDTHS), seed)
            held[:] = [
                Probes(np.hstack([_unit(code), _unit(features[:, :width])])[None], dealt(nuisance, folds))
                for width in _WIDTHS
            ]
        told = [[probes.losses(column) for column in columns] for probes in held]
        shares = np.array([[losses[0, 0] / prior.mean() for losses, prior in line] for line in told])  # [T, F, n]
        explicit = _explicit(shares)
        return {
            "explicitness": float(explicit.mean()),
            "size": len(columns) / code.shape[1],
            "explicit": explicit,
            "losses": _losses(shares),
            "widths": np.array(_WIDTHS),
            "shares": shares,
        }

    def intervals(
        found: dict[str, Any], nuisance: NDArray[np.intp], rng: np.random.Generator
    ) -> dict[str, tuple[float, float]]:
        def again(kept: NDArray[np.intp]) -> dict[str, float]:
            return {"explicitness": float(_explicit(found["shares"][..., kept]).mean()), "size": found["size"]}

        names = ("explicitness", "size")
        return block_jackknife(again, nuisance, {name: found[name] for name in names}, rng)

    found = with_nulls(measure, codes, factors, schema=schema, groups=groups, nulls=nulls, intervals=intervals)
    del found["shares"]
    return found


def _losses(shares: Floats) -> Floats:
    """Losses [T, F] from those of items over the prior's mean, [T, F, n]: between 0 and 1."""
    return np.clip(shares.mean(axis=-1), 0.0, 1.0)


def _explicit(shares: Floats) -> Floats:
    """E [F]; capacities are at equal steps, so that their range drops out."""
    least = np.minimum.accumulate(_losses(shares), axis=0)
    return 1 - 2 * ((least[1:] + least[:-1]) / 2 - least[-1]).mean(axis=0)


def _features(code: Floats, width: int, seed: int) -> Floats:
    """Random Fourier features [n, width] of a Gaussian kernel as wide as the typical distance of whitened items."""
    rng = np.random.default_rng(seed)
    white = (code - code.mean(axis=0)) @ whitening(code)
    directions = rng.normal(size=(white.shape[1], width)) / np.sqrt(2 * white.shape[1])
    return np.cos(white @ directions + rng.uniform(0, 2 * np.pi, size=width))


def _unit(code: Floats) -> Floats:
    """Centred, with a total variance of 1."""
    centred = code - code.mean(axis=0)
    total = np.sqrt(np.square(centred).sum() / max(len(code), 1))
    return centred / total if total > 0 else centred
