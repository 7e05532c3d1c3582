"""Clips and their reconstructions, as the sample-wise metrics take them.

Conventions
-----------
- A clip is ``[samples]`` or ``[channels, samples]``, floating point, full scale at -1 and 1. A reconstruction has the
  shape of its reference and is aligned with it.
- Several clips are an array ``[clips, channels, samples]`` or, where their lengths differ, a list of clips. One clip
  gives a float, several give an array.
- A silent reference (zero throughout, or constant where the mean is removed) has nothing to compare with: its value is
  nan, with an :class:`~m2l2_mir.errors.AudioWarning`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import AudioWarning, InputError

__all__ = ["Clips", "check_clip", "measure"]

Clips = NDArray[np.floating] | Sequence[NDArray[np.floating]]
"""One clip as an array of one or two dimensions; several as three dimensions or a list."""


def measure(
    metric: Callable[[NDArray[np.float64], NDArray[np.float64]], float], reference: Clips, estimated: Clips
) -> float | NDArray[np.float64]:
    """Apply a metric of two arrays [channels, samples] to a clip or to each of several clips.

    Raises
    ------
    InputError
        A clip has another shape than its reference or no samples, or holds NaN or infinity.
    """
    if isinstance(reference, np.ndarray) and reference.ndim < 3:
        values = np.array([_measure_one(metric, reference, np.asarray(estimated), "")])
    else:
        if len(reference) != len(estimated):
            raise InputError(f"{len(reference)} reference clips and {len(estimated)} estimated; give as many of each")
        pairs = zip(reference, estimated, strict=True)
        values = np.array([_measure_one(metric, *pair, f" {place}") for place, pair in enumerate(pairs)])
    silent = int(np.isnan(values).sum())
    if silent:
        warnings.warn(f"{silent} of {len(values)} reference clips silent: value nan", AudioWarning, stacklevel=3)
    return values if not isinstance(reference, np.ndarray) or reference.ndim == 3 else float(values[0])


def check_clip(clip: NDArray[np.floating], name: str) -> NDArray[np.float64]:
    """Return a clip as float64 [channels, samples]."""
    if clip.ndim not in (1, 2) or not np.issubdtype(clip.dtype, np.floating):
        raise InputError(f"{name} is {clip.dtype} {list(clip.shape)}; give float [samples] or [channels, samples]")
    if not clip.size:
        raise InputError(f"{name} has no samples: {list(clip.shape)}")
    checked = np.atleast_2d(clip).astype(np.float64)
    if not math.isfinite(checked.sum()):
        raise InputError(f"{name} holds NaN or infinity; it cannot be measured")
    return checked


def _measure_one(
    metric: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    reference: NDArray[np.floating],
    estimated: NDArray[np.floating],
    place: str,
) -> float:
    if reference.shape != estimated.shape:
        raise InputError(
            f"estimated clip{place} is {list(estimated.shape)}, its reference {list(reference.shape)}; "
            "cut or pad to the same shape"
        )
    return metric(check_clip(reference, f"reference clip{place}"), check_clip(estimated, f"estimated clip{place}"))
