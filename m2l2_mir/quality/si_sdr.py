"""Scale-invariant signal-to-distortion ratio.

    SI-SDR = 10 log10( |a r|^2 / |a r - e|^2 ),   a = <e, r> / <r, r>

of a reference r and an estimate e. Phase counts: a reconstruction that sounds right with other phases has a low or
negative SI-SDR, so it belongs beside metrics of the spectrum and of the ear.

Source: J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR: half-baked or well done?", ICASSP 2019
(arXiv 1811.02508), equations 2 and 3. Conventions of clips and silence: :mod:`m2l2_mir.quality.waveform_pairs`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.quality.waveform_pairs import Clips, measure

__all__ = ["LIMIT", "si_sdr"]

LIMIT = 100.0
"""dB; values are kept within plus and minus this, which is beyond what 16 bits resolve, so that means stay finite."""

_CONSTANT = 1e-12  # share of the peak that rounding leaves of a constant when its mean is taken away


def si_sdr(
    reference: Clips, estimated: Clips, *, zero_mean: bool = True, channels: Literal["mean", "joint"] = "mean"
) -> float | NDArray[np.float64]:
    """Measure how much of a reconstruction is the reference, whatever its level.

    A scaled copy, of either sign, gives +100 dB (:data:`LIMIT`); an estimate that is silent or orthogonal to the
    reference gives -100 dB; a silent reference gives nan.

    Parameters
    ----------
    reference, estimated : np.ndarray [samples], [channels, samples] or [clips, channels, samples], or list of clips
        Aligned and of equal shapes.
    zero_mean
        Remove the mean of each channel first, as the paper has it; without this a constant offset counts.
    channels
        "mean": each channel has its own scale, and the dB of those that are not silent in the reference are averaged.
        "joint": one scale for all, so a change of balance counts.

    Returns
    -------
    float or np.ndarray [clips]
        dB; higher is better.

    Raises
    ------
    InputError
        Shapes differ, there are no samples, a sample is not finite, or ``channels`` is neither word.

    Examples
    --------
    >>> time = np.arange(1000) / 1000
    >>> tone, other = np.sin(2 * np.pi * 50 * time), np.sin(2 * np.pi * 70 * time)
    >>> round(si_sdr(tone, 0.5 * (tone + 0.1 * other)), 2)
    20.0
    """
    if channels not in ("mean", "joint"):
        raise InputError(f'channels is {channels!r}; it must be "mean" or "joint"')

    def metric(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> float:
        if zero_mean:
            reference, estimated = _zero_mean(reference), _zero_mean(estimated)
        if channels == "joint":
            reference, estimated = reference.reshape(1, -1), estimated.reshape(1, -1)
        values = [_ratio(r, e) for r, e in zip(reference, estimated, strict=True) if r.any()]
        return float(np.mean(values)) if values else np.nan

    return measure(metric, reference, estimated)


def _ratio(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> float:
    """dB of one channel whose reference is not silent."""
    reference, estimated = (x / max(np.abs(x).max(), np.finfo(x.dtype).tiny) for x in (reference, estimated))
    target = (np.vdot(estimated, reference) / np.vdot(reference, reference)) * reference
    distortion = target - estimated
    signal, noise = float(np.vdot(target, target)), float(np.vdot(distortion, distortion))
    if signal == 0:
        return -LIMIT
    return LIMIT if noise == 0 else float(np.clip(10 * np.log10(signal / noise), -LIMIT, LIMIT))


def _zero_mean(clip: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = clip - clip.mean(axis=1, keepdims=True)
    constant = np.abs(centred).max(axis=1) <= _CONSTANT * np.abs(clip).max(axis=1)
    centred[constant] = 0
    return centred
