"""A slot x factor matrix with all that is needed to judge it, so that it can be scored, joined and cut into strata.

Conventions
-----------
* Information (P1) counts in D and C as far as it exceeds its own mean under permuted labels: max(S - floor, 0). There
  is no threshold that an entry falls below or not, so that scores are continuous in the data. Where the whole matrix
  does not exceed what any permutation reaches, by its sum, nothing counts and D and C are 0; so they are of permuted
  labels, and their p against these says whether anything is told at all.
* Changes (P2) are divided by their mean over slots, factor by factor: a factor that moves all slots alike tells none of
  them apart, however far it moves them. Identical slots so have D = 0. A factor that moves nothing counts 0.
* ``left_out`` is the same matrix measured again without each of about :data:`BLOCKS` blocks of nuisance groups, from
  which come jackknife errors (:mod:`m2l2_mir.disentangle.paired`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.entropies import disentanglement_completeness
from m2l2_mir.errors import InputError
from m2l2_mir.probe.resampling import group_codes
from m2l2_mir.recipe import close_match

__all__ = ["BLOCKS", "Evidence", "balanced", "beyond_floor", "blocks_of"]

BLOCKS = 10  # of groups, left out in turn
_ROUNDING = 1e-9  # a sum of information, or a mean change, that is no more than this is none

Floats = NDArray[np.float64]
Part = Literal["matrix", "left_out", "rotations", "permutations"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One matrix, what it would be without some groups, and what its nulls give; see the module's conventions.

    Parameters
    ----------
    kind
        Information, or changes.
    names
        Of the factors.
    matrix
        [K, F].
    left_out, rotations, permutations
        [draws, K, F]; no draws where there are none.
    items, groups
        How many the matrix rests on.

    Examples
    --------
    >>> none = np.zeros((0, 2, 2))
    >>> one = Evidence(kind="change", names=("pitch", "level"), matrix=np.array([[1.0, 9.0], [1.0, 9.0]]),
    ...                left_out=none, rotations=none, permutations=none, items=9, groups=3)
    >>> one.scores()["D"].item()
    0.0
    """

    kind: Literal["information", "change"]
    names: tuple[str, ...]
    matrix: Floats
    left_out: Floats
    rotations: Floats
    permutations: Floats
    items: int
    groups: int

    def scores(self, part: Part = "matrix") -> dict[str, Floats]:
        """Entropy scores (:mod:`m2l2_mir.disentangle.entropies`) of one of the parts, [draws] or without a shape."""
        chosen: Floats = getattr(self, part)
        counted = balanced(chosen) if self.kind == "change" else beyond_floor(chosen, self.permutations)
        return disentanglement_completeness(counted)

    def of(self, names: Iterable[str]) -> Self:
        """The columns of some factors, in this order.

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
        return type(self)(
            kind=self.kind,
            names=tuple(self.names[at] for at in chosen),
            matrix=self.matrix[:, chosen],
            left_out=self.left_out[:, :, chosen],
            rotations=self.rotations[:, :, chosen],
            permutations=self.permutations[:, :, chosen],
            items=self.items,
            groups=self.groups,
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Factors of several parts beside each other; draws that some part lacks are left out of all."""

        def beside(name: Part) -> Floats:
            arrays: list[Floats] = [getattr(part, name) for part in parts]
            if len({len(array) for array in arrays}) > 1:
                arrays = [array[:0] for array in arrays]
            return np.concatenate(arrays, axis=2)

        return cls(
            kind=parts[0].kind,
            names=tuple(name for part in parts for name in part.names),
            matrix=np.concatenate([part.matrix for part in parts], axis=1),
            left_out=beside("left_out"),
            rotations=beside("rotations"),
            permutations=beside("permutations"),
            items=sum(part.items for part in parts),
            groups=max(part.groups for part in parts),
        )


def beyond_floor(information: Floats, permuted: Floats) -> Floats:
    """Information [..., K, F] as far as it exceeds the mean of that of permuted labels [P, K, F]; P may be 0.

    >>> permuted = np.array([[[0.0, 0.2]], [[0.2, 0.0]]])
    >>> beyond_floor(np.array([[[0.5, 0.05]], [[0.1, 0.05]]]), permuted).round(2).tolist()
    [[[0.4, 0.0]], [[0.0, 0.0]]]
    """
    if not len(permuted):
        return information
    most = permuted.sum(axis=(1, 2)).max()
    told = information.sum(axis=(-2, -1), keepdims=True) > most + _ROUNDING
    return np.where(told, np.maximum(information - permuted.mean(axis=0), 0.0), 0.0)


def balanced(changes: Floats) -> Floats:
    """Changes [..., K, F] over their mean over slots.

    >>> balanced(np.array([[1.0, 9.0], [3.0, 9.0]])).tolist()
    [[0.5, 1.0], [1.5, 1.0]]
    """
    mean = changes.mean(axis=-2, keepdims=True)
    return np.divide(changes, mean, out=np.zeros_like(changes), where=mean > _ROUNDING)


def blocks_of(groups: ArrayLike | None, items: int, *, most: int = BLOCKS) -> NDArray[np.intp]:
    """Block of each item, [items]: groups dealt at random, always the same for the same names, into equal numbers.

    >>> blocks_of(["a", "a", "b", "c"], 4, most=2).tolist()
    [0, 0, 0, 1]
    """
    codes = group_codes(groups, items)
    number = int(codes.max()) + 1
    return (np.random.default_rng(0).permutation(number) % min(most, number))[codes]
