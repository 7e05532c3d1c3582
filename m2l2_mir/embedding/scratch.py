"""Arrays too large to hold: in a file without a name, which the system may write out of memory and back."""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from m2l2_mir.errors import StoreError

__all__ = ["scratch"]


def scratch(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros that lies in a temporary file (see ``TMPDIR``), which vanishes with it.

    Raises
    ------
    StoreError
        There is no room for it.

    Examples
    --------
    >>> scratch((2, 3), np.float32).sum()
    np.float32(0.0)
    """
    if not np.prod(shape):
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            if hasattr(os, "posix_fallocate"):  # else a full disk ends the process while the array is written
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise StoreError(
                f"no room for {size / 1e9:.1f} GB in {tempfile.gettempdir()} ({error.strerror}): set TMPDIR to a "
                "folder on a larger disk"
            ) from error
        return np.asarray(np.memmap(file, dtype, "w+", shape=shape))  # the mapping outlives the closed file
