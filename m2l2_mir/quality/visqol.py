"""ViSQOL: how good a reconstruction sounds beside its reference, as a mean opinion score that a model of hearing gives.

Conventions
-----------
- MOS-LQO, from 1 (bad) to about 4.73, which identical clips get; the "audio" mode, at 48 kHz and in mono.
- Made for clips of about 5 to 10 s; time and memory grow with the length. One second is the least.
- Level does not count: the estimate is brought to that of the reference.
- Computed by the package visqol-python (Apache-2.0; extra ``quality``), a port of the published programme with its own
  trained mapping from similarity to opinion. Clips and silence: :mod:`m2l2_mir.quality.waveform_pairs`.

Source: M. Chinen, F. S. C. Lim, J. Skoglund, N. Gureev, F. O'Gorman, A. Hines, "ViSQOL v3: an open source production
ready objective speech and audio metric", QoMEX 2020 (arXiv 2004.09584).
"""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError, MissingExtraError
from m2l2_mir.quality.waveform_pairs import Clips, measure
from m2l2_mir.waveform import map_channels, resample

__all__ = ["INSTALL", "has_visqol", "visqol"]

INSTALL = 'pip install "m2l2-mir[quality]"'
RATE = 48_000
WORST = 1.0


def has_visqol() -> bool:
    """Whether visqol-python is installed."""
    return find_spec("visqol") is not None


def visqol(reference: Clips, estimated: Clips, *, sample_rate: int) -> float | NDArray[np.float64]:
    """Predict what listeners would say of reconstructions.

    Parameters
    ----------
    reference, estimated : np.ndarray [samples], [channels, samples] or [clips, channels, samples], or list of clips
        Aligned and of equal shapes, a second or longer. Channels are averaged.
    sample_rate
        Rate in Hz, of both. What lies above half of it is missing from both.

    Returns
    -------
    float or np.ndarray [clips]
        MOS-LQO, higher is better. A silent estimate has 1, a silent reference nan.

    Raises
    ------
    MissingExtraError
        visqol-python is not installed.
    InputError
        Shapes differ, a clip is shorter than a second, or a sample is not finite.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=48000)
    >>> visqol(noise, noise, sample_rate=48000) > 4.5  # doctest: +SKIP
    True
    """
    api = _api()

    def metric(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> float:
        if reference.shape[1] < sample_rate:
            raise InputError(
                f"ViSQOL needs a clip of 1 s or more; this one has {reference.shape[1] / sample_rate:.2f} s"
            )
        ours, theirs = (resample(map_channels(clip, 1), sample_rate, RATE)[0] for clip in (reference, estimated))
        if not ours.any():
            return math.nan
        if not theirs.any():
            return WORST
        return float(api.measure_from_arrays(ours.astype(np.float64), theirs.astype(np.float64), RATE).moslqo)

    return measure(metric, reference, estimated)


@cache
def _api() -> Any:
    """The comparer, which reads its mapping once."""
    if not has_visqol():
        raise MissingExtraError(f"ViSQOL needs visqol-python, which is not installed: {INSTALL} (and a C++ compiler)")
    api = import_module("visqol").VisqolApi()
    api.create(mode="audio")
    return api
