"""Many vectors in few files: rows of float arrays that lie one after the other, in memory or mapped from disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError

__all__ = ["BLOCK_VALUES", "Rows", "as_vectors"]

BLOCK_VALUES = 1 << 23  # numbers held at once, 32 MiB in float32


class Rows:
    """Arrays [n, width] as one: rows are appended, never moved, so that files once written stay as they are.

    Parameters
    ----------
    parts : sequence of np.ndarray [shape=(n_i, width)]
    names : sequence of str, optional
        File of each part; None: it is in none yet.
    order : np.ndarray [shape=(n,)], optional
        Row of the parts that each row is; None: as they lie.

    Examples
    --------
    >>> rows = Rows([np.zeros((2, 3), np.float32)])
    >>> rows.append(np.ones((1, 3), np.float32))
    >>> len(rows), rows.select(np.array([2, 0])).take([0])[0].tolist()
    (3, [1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        parts: Sequence[NDArray[Any]],
        names: Sequence[str | None] | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        self.parts = list(parts)
        self.names = [None] * len(self.parts) if names is None else list(names)
        self.order = order
        self.width = int(self.parts[0].shape[1])

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts) if self.order is None else len(self.order)

    def append(self, part: NDArray[Any]) -> None:
        """Add rows at the end."""
        if not len(part):
            return
        if self.order is not None:
            first = sum(len(one) for one in self.parts)
            self.order = np.concatenate([self.order, np.arange(first, first + len(part))])
        self.parts.append(part)
        self.names.append(None)

    def select(self, rows: NDArray[np.int64]) -> Rows:
        """These rows only, in this order; nothing is copied."""
        return Rows(self.parts, self.names, rows if self.order is None else self.order[rows])

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> NDArray[np.float32]:
        """The rows of these numbers, [len(rows), width]."""
        wanted = np.asarray(rows, np.int64)
        wanted = wanted if self.order is None else self.order[wanted]
        taken = np.empty((len(wanted), self.width), np.float32)
        first = 0
        for part in self.parts:
            inside = (wanted >= first) & (wanted < first + len(part))
            if inside.any():
                taken[inside] = part[wanted[inside] - first]
            first += len(part)
        return taken

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Number of the first row and the rows, block by block, in order."""
        step = max(1, BLOCK_VALUES // self.width)
        if self.order is not None:
            for start in range(0, len(self), step):
                yield start, self.take(np.arange(start, min(start + step, len(self))))
            return
        first = 0
        for part in self.parts:
            for start in range(0, len(part), step):
                yield first + start, np.asarray(part[start : start + step], np.float32)
            first += len(part)

    def write(self, file: IO[bytes], dtype: Any) -> None:
        """Write all rows as one .npy file, block by block."""
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (len(self), self.width)}
        np.lib.format.write_array_header_1_0(file, header)
        for _, block in self.blocks():
            file.write(np.ascontiguousarray(block, dtype).tobytes())


def as_vectors(given: Any, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Check vectors [n, ...] and flatten them to [n, width] in float32, contiguous.

    Raises
    ------
    InputError
        There is no axis of rows, or a row holds NaN or infinity; named where `names` are given.

    Examples
    --------
    >>> as_vectors([[[1, 2], [3, 4]]]).tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """
    try:
        array = np.asarray(given)
        with np.errstate(over="ignore"):  # infinite then, and refused
            vectors = array.astype(np.float32).reshape(len(array), int(np.prod(array.shape[1:])))
    except (TypeError, ValueError) as error:
        raise InputError(f"vectors must be numbers shaped [n, ...]: {error}") from error
    if array.ndim < 2 or not vectors.shape[1]:
        raise InputError(f"vectors must be shaped [n, ...], a row for each track: {array.shape}")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        shown = ", ".join(repr(names[row]) if names is not None else f"row {row}" for row in bad[:3])
        raise InputError(
            f"{len(bad)} of {len(vectors)} vectors hold NaN or infinity ({shown}{', ...' if len(bad) > 3 else ''}): "
            "leave them out or embed them again"
        )
    return np.ascontiguousarray(vectors)
