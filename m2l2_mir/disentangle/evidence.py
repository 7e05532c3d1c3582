"""Slot x factor scores kept item by item, so that they can be resampled, joined and cut into strata.

Conventions
-----------
* An item is a clip (P1) or a pair (P2). A score is one function of two sums over items: ``top`` [items, K, F] and
  ``bottom`` [items, F]. Information (P1): 1 - top / bottom, clipped at 0, of the probe's held-out losses and those of
  the factor's frequencies alone. Change (P2): top / bottom, of squared changes and the number of pairs.
* Clips of two lengths have different factors and items: joined, each item has zeros in the columns of the other length.
* ``weights`` [draws, items] count how often an item is drawn. A bootstrap draws nuisance groups, then as many clips
  inside each of them as it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import group_codes
from m2l2_mir.recipe import close_match

__all__ = ["ItemScores", "drawn_weights", "left_out_weights"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ItemScores:
    """Sums of items behind a slot x factor matrix; see the module's conventions.

    Examples
    --------
    >>> top, bottom = np.ones((2, 3, 1)), np.ones((2, 1))
    >>> one = ItemScores(kind="change", names=("pitch",), top=top, bottom=bottom, groups=["a", "b"])
    >>> one.matrix().ravel().tolist(), one.matrix(np.array([[2.0, 0.0], [1.0, 1.0]])).shape
    ([1.0, 1.0, 1.0], (2, 3, 1))
    """

    kind: Literal["information", "change"]
    names: tuple[str, ...]
    top: Floats
    bottom: Floats
    groups: Sequence[str]
    bound: Floats | None = None  # [F]; scores that do not exceed it count as 0; None: all count

    def __post_init__(self) -> None:
        items, factors = self.bottom.shape
        if self.top.shape[0] != items or self.top.shape[2] != factors or len(self.groups) != items:
            raise InputError(
                f"scores of items have shapes {list(self.top.shape)} and {list(self.bottom.shape)} for "
                f"{len(self.groups)} groups; give [items, K, F], [items, F] and a group for each item"
            )

    def matrix(self, weights: Floats | None = None) -> Floats:
        """Scores [K, F] of all items, or [draws, K, F] of weighted ones; nan where no item tells of a factor."""
        items, slots, factors = self.top.shape
        given = np.ones((1, items)) if weights is None else weights
        top = (given @ self.top.reshape(items, slots * factors)).reshape(len(given), slots, factors)
        bottom = (given @ self.bottom)[:, None]
        share = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
        score = np.clip(1 - share, 0, None) if self.kind == "information" else share
        if self.bound is not None:
            score = np.where(score > self.bound, score, 0.0)
        return score[0] if weights is None else score

    def of(self, names: Iterable[str]) -> Self:
        """The columns of some factors, in this order, and the items that tell of them.

        Raises
        ------
        InputError
            There is no such factor.
        """
        chosen = []
        for name in names:
            if name not in self.names:
                raise InputError(
                    f"no factor {name!r}{close_match(name, list(self.names))}; it has {', '.join(self.names)}"
                )
            chosen.append(self.names.index(name))
        told = np.flatnonzero((self.bottom[:, chosen] > 0).any(axis=1)).tolist()
        return type(self)(
            kind=self.kind,
            names=tuple(self.names[at] for at in chosen),
            top=self.top[told][:, :, chosen],
            bottom=self.bottom[told][:, chosen],
            groups=[self.groups[item] for item in told],
            bound=None if self.bound is None else self.bound[chosen],
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put items and factors of several parts beside each other."""
        items, factors = sum(len(part.groups) for part in parts), sum(len(part.names) for part in parts)
        top, bottom = np.zeros((items, parts[0].top.shape[1], factors)), np.zeros((items, factors))
        row = column = 0
        for part in parts:
            here = slice(row, row + len(part.groups)), slice(column, column + len(part.names))
            top[here[0], :, here[1]], bottom[here] = part.top, part.bottom
            row, column = here[0].stop, here[1].stop
        return cls(
            kind=parts[0].kind,
            names=tuple(name for part in parts for name in part.names),
            top=top,
            bottom=bottom,
            groups=[group for part in parts for group in part.groups],
            bound=np.concatenate(
                [np.full(len(part.names), -np.inf) if part.bound is None else part.bound for part in parts]
            ),
        )


def drawn_weights(groups: Sequence[str], draws: int, seed: int = 0) -> Floats:
    """Weights [draws, items] of a bootstrap of groups, and of the items in each of them.

    >>> drawn_weights(["a", "a", "b"], 3).sum(axis=1).min() >= 2
    np.True_
    """
    codes = group_codes(groups, len(groups))
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rng = np.random.default_rng(seed)
    weights = np.empty((draws, len(codes)))
    for draw in range(draws):
        picked = rng.integers(len(sizes), size=len(sizes))
        many = sizes[picked]
        inside = (rng.random(many.sum()) * np.repeat(many, many)).astype(np.int64)
        weights[draw] = np.bincount(order[np.repeat(starts[picked], many) + inside], minlength=len(codes))
    return weights


def left_out_weights(groups: Sequence[str]) -> Floats:
    """Weights [groups, items] that leave out one group in turn."""
    codes = group_codes(groups, len(groups))
    return (codes != np.arange(codes.max() + 1)[:, None]).astype(np.float64)
