"""Arrays too large to hold: in a file without a name, which the system may write out of memory and back."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["scratch"]


def scratch(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros that lies in a temporary file (see ``TMPDIR``), which vanishes with it.

    >>> scratch((2, 3), np.float32).sum()
    np.float32(0.0)
    """
    if not np.prod(shape):
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=shape))  # the mapping outlives the closed file
