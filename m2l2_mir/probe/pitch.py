"""Metrics of pitch estimation for single notes.

Conventions
-----------
* Pitches are MIDI numbers, 69 = A4 = 440 Hz, 12 to the octave; C4 is 60.
* An estimate may lie between semitones, as a regression gives it. Metrics of classes (``exact``, ``chroma``,
  ``within_semitone``, ``octave_error``) are of the nearest MIDI number, halves rounded up; errors in semitones are of
  the estimate as it is.
* For whole numbers ``exact`` and ``chroma`` are the raw pitch and raw chroma accuracy of ``mir_eval.melody`` [1]_.

References
----------
.. [1] J. Salamon, E. Gómez, D. P. W. Ellis, G. Richard, "Melody extraction from polyphonic music signals", IEEE Signal
   Processing Magazine 31(2), 2014.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.probe.pairs import number_pairs

__all__ = ["PRIMARY", "bins_of", "evaluate", "per_item", "validate"]

PRIMARY = "exact"
LOWEST, HIGHEST = 0, 127


def validate(reference: ArrayLike, estimated: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check pitches.

    Parameters
    ----------
    reference : array-like of int [items]
        MIDI numbers, 0 to 127.
    estimated : array-like of float [items]
        MIDI numbers, whole or not; a regression may leave the range.

    Returns
    -------
    tuple of np.ndarray [items]

    Raises
    ------
    InputError
        A reference is no MIDI number, or as in :func:`m2l2_mir.probe.pairs.number_pairs`.
    """
    ours, theirs = number_pairs(reference, estimated)
    wrong = ours[(ours != np.round(ours)) | (ours < LOWEST) | (ours > HIGHEST)]
    if len(wrong):
        raise InputError(
            f"reference pitch is {wrong[0]:g}; give MIDI numbers, {LOWEST} to {HIGHEST} "
            "(m2l2_mir.dataset.labels.pitch makes them from note names)"
        )
    return ours, theirs


def per_item(reference: ArrayLike, estimated: ArrayLike) -> pd.DataFrame:
    """Score each item.

    Parameters
    ----------
    reference, estimated : array-like [items]
        MIDI numbers, see :func:`validate`.

    Returns
    -------
    pandas.DataFrame
        One row an item: 0 or 1 for ``exact``, ``chroma`` (the pitch class is right), ``within_semitone`` (off by one at
        most) and ``octave_error`` (pitch class right, octave wrong); ``absolute_error`` and ``error`` (estimated less
        reference) in semitones.

    Examples
    --------
    >>> per_item([60, 60], [72, 60.6])[["exact", "chroma", "within_semitone", "octave_error"]].to_numpy().tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]
    """
    ours, theirs = validate(reference, estimated)
    steps = np.floor(theirs + 0.5) - ours
    chroma = steps % 12 == 0
    return pd.DataFrame(
        {
            "exact": steps == 0,
            "chroma": chroma,
            "within_semitone": np.abs(steps) <= 1,
            "octave_error": chroma & (steps != 0),
            "absolute_error": np.abs(theirs - ours),
            "error": theirs - ours,
        },
        dtype=np.float64,
    )


def evaluate(reference: ArrayLike, estimated: ArrayLike) -> dict[str, float]:
    """Average over items: the means of :func:`per_item`.

    >>> evaluate([60, 62, 64, 65], [60, 62, 76, 64])["exact"]
    0.5
    """
    return {str(name): float(mean) for name, mean in per_item(reference, estimated).mean().items()}


def bins_of(reference: ArrayLike) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Register: the octave of each pitch [items], and the name of every octave that occurs (4 from C4 to B4).

    >>> bins_of([59, 60, 71])
    (array([3, 4, 4]), {3: '3', 4: '4'})
    """
    ours, _ = validate(reference, reference)
    octaves = ours.astype(np.int64) // 12 - 1
    return octaves, {number: str(number) for number in np.unique(octaves).tolist()}
