"""Distances between sets of clips: what they are taken of, and how tables of benchmarks show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def distances(found: Mapping[str, float]) -> list[str]:
    """KAD and FAD with their intervals, of :func:`m2l2_mir.quality.set_figures`.

    >>> figures = {"kad": 0.5, "kad_low": 0.25, "kad_high": 0.75, "fad": 104.2, "low": 90.1, "high": 118.3}
    >>> distances(figures)
    ['0.5 [0.25, 0.75]', '104 [90.1, 118]']
    """
    names = (("kad", "kad_low", "kad_high"), ("fad", "low", "high"))
    return ["{:.3g} [{:.3g}, {:.3g}]".format(*(found[name] for name in figure)) for figure in names]


def endless(found: Mapping[str, float]) -> str:
    """FAD of endless music by extrapolation, where there are groups enough.

    >>> endless({"fad_inf": float("nan")}), endless({"fad_inf": 12.34})
    ('too few groups', '12.3')
    """
    return "too few groups" if found["fad_inf"] != found["fad_inf"] else f"{found['fad_inf']:.3g}"


def by_piece(embeddings: Sequence[NDArray[np.float64]], pieces: Sequence[str]) -> list[NDArray[np.float64]]:
    """Embeddings of clips, those of a piece together."""
    return [
        np.concatenate([one for one, owner in zip(embeddings, pieces, strict=True) if owner == piece])
        for piece in dict.fromkeys(pieces)
    ]
