"""What the columns of a table of factors mean, and what a probe is asked to predict from them.

Conventions
-----------
* Factors are [n, F]: one row for each item, one column for each :class:`Factor` of the schema. Without a schema every
  column must hold integers and is taken as classes.
* A probe predicts a target [n, columns]: classes as one column for each class (one-hot), a continuous factor as itself,
  a cyclic one as the cosine and sine of its phase, so that its ends meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError

__all__ = ["Column", "Factor", "Kind", "read_factors"]

Kind = Literal["classes", "continuous", "cyclic"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

_MOST_CLASSES = 200  # more are numbers that were not declared, or names of items


@dataclass(frozen=True, kw_only=True, slots=True)
class Factor:
    """What one column of the factors holds.

    Parameters
    ----------
    name
        For tables and figures.
    kind
        "classes": integers or whole floats without order. "continuous": numbers, of which nearness counts. "cyclic":
        numbers of which those a `period` apart are the same, such as the phase of a beat.
    period
        Of a cyclic factor, in its own unit.
    levels
        Resolution that counts as all of a continuous or cyclic factor: it is scored in bits, as a share of
        log2(levels), which is the entropy of that many equal classes.

    Raises
    ------
    InputError
        The kind is unknown, or the period or the levels do not fit it.

    Examples
    --------
    >>> Factor(name="phase", kind="cyclic", period=1.0).kind
    'cyclic'
    """

    name: str
    kind: Kind = "classes"
    period: float | None = None
    levels: int = 8

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"factor {self.name!r} is of kind {self.kind!r}; take one of {', '.join(get_args(Kind))}")
        if (self.kind == "cyclic") != (self.period is not None):
            raise InputError(f"factor {self.name!r} is {self.kind} with period {self.period}; cyclic factors need one")
        if self.period is not None and not (np.isfinite(self.period) and self.period > 0):
            raise InputError(f"factor {self.name!r} has period {self.period}; give a positive number")
        if self.levels < 2:
            raise InputError(f"factor {self.name!r} has {self.levels} levels; give at least 2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One checked column.

    ``codes`` [n] number its classes from 0 in the order of their values; a continuous or cyclic factor is cut into
    ``levels`` classes for them (of equal size, or of equal arcs), for measures that know classes only. ``values`` [n]
    are the numbers as given.
    """

    factor: Factor
    values: Floats
    codes: Integers

    @property
    def classes(self) -> int:
        return int(self.codes.max()) + 1

    def as_classes(self) -> Column:
        """The same items as classes, as ``codes`` number them."""
        return Column(factor=Factor(name=self.factor.name), values=self.codes.astype(np.float64), codes=self.codes)

    def taken(self, rows: Integers) -> Column:
        """Some of the items; classes keep their numbers where one is left out entirely."""
        return replace(self, values=self.values[rows], codes=self.codes[rows])

    def target(self) -> Floats:
        """What a probe predicts, [n, columns]: one-hot classes, the number itself, or (cos, sin)."""
        if self.factor.kind == "classes":
            return np.eye(self.classes)[self.codes]
        if self.factor.period is not None:
            angle = 2 * np.pi * self.values / self.factor.period
            return np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return self.values[:, None]


def read_factors(factors: ArrayLike, schema: Sequence[Factor] | None = None, *, items: int) -> list[Column]:
    """Check a table of factors against its schema.

    Parameters
    ----------
    factors : array-like [n, F]
    schema
        What each column holds; None: classes, named by their place from "0".
    items
        n that the codes have.

    Returns
    -------
    list of Column

    Raises
    ------
    InputError
        Shapes do not fit, values are missing or not finite, classes are not integers or too many, or a factor does not
        vary.

    Examples
    --------
    >>> [column] = read_factors([[3], [5], [3]], items=3)
    >>> column.codes.tolist(), column.target().tolist()
    ([0, 1, 0], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    """
    try:
        table = np.asarray(factors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"factors are not numbers ({error}); number their classes, as pandas.factorize does") from None
    if table.ndim != 2 or not table.size or len(table) != items:
        raise InputError(f"factors have shape {list(table.shape)}; give [{items}, F], one row for each item")
    given = [Factor(name=str(number)) for number in range(table.shape[1])] if schema is None else list(schema)
    if len(given) != table.shape[1]:
        raise InputError(f"the schema has {len(given)} factors for {table.shape[1]} columns; describe each column once")
    return [_column(factor, values) for factor, values in zip(given, table.T, strict=True)]


def _column(factor: Factor, values: Floats) -> Column:
    if missing := int((~np.isfinite(values)).sum()):
        raise InputError(f"factor {factor.name!r} lacks {missing} of {len(values)} values; leave those items out")
    if np.ptp(values) == 0:
        raise InputError(f"factor {factor.name!r} is {values[0]:g} for all items; leave out what does not vary")
    if factor.kind == "classes":
        if (values != np.round(values)).any():
            raise InputError(
                f"factor {factor.name!r} holds fractions such as {values[values != np.round(values)][0]:g}; declare "
                "it continuous or cyclic, or number its classes"
            )
        codes = np.unique(values, return_inverse=True)[1]
        if codes.max() >= _MOST_CLASSES:
            raise InputError(
                f"factor {factor.name!r} has {codes.max() + 1} classes, more than {_MOST_CLASSES}; declare it "
                "continuous if nearness counts"
            )
    elif factor.period is not None:
        arcs = (np.mod(values / factor.period, 1.0) * factor.levels).astype(np.intp)
        codes = np.unique(np.minimum(arcs, factor.levels - 1), return_inverse=True)[1]
    else:
        edges = np.quantile(values, np.arange(1, factor.levels) / factor.levels)
        codes = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]
    return Column(factor=factor, values=values, codes=codes.astype(np.intp))
