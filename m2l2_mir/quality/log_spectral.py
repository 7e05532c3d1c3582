"""Log-spectral distance: how far the spectrum of a reconstruction is from its reference, phase left aside.

    LSD = mean over frames of sqrt( mean over frequency of (L_r - L_e)^2 ),   L = max(10 log10 P, floor) in dB

Conventions
-----------
- P is the power spectrum of frames of about 46 ms (:func:`m2l2_mir.quality.spectra.fft_size`) every quarter of that.
- Both spectra are kept above a floor relative to the loudest bin of the reference clip, 80 dB below it unless told
  otherwise: differences beneath it are not heard and would otherwise rule the mean. Frames in which neither rises above
  the floor are left out. The distance therefore depends on the floor: state it with the figure.
- Each channel counts by its own frames. Clips and silence: :mod:`m2l2_mir.quality.waveform_pairs`.

Source: A. H. Gray, J. D. Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24, 1976.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.quality.spectra import fft_size, power_spectra
from m2l2_mir.quality.waveform_pairs import Clips, measure

__all__ = ["FLOOR", "frame_distances", "log_spectral_distance"]

FLOOR = -80.0
"""dB relative to the loudest bin of the reference."""


def log_spectral_distance(
    reference: Clips, estimated: Clips, *, sample_rate: int, floor: float = FLOOR, align_level: bool = False
) -> float | NDArray[np.float64]:
    """Measure the log-spectral distance of reconstructions.

    Parameters
    ----------
    reference, estimated : np.ndarray [samples], [channels, samples] or [clips, channels, samples], or list of clips
        Aligned and of equal shapes.
    sample_rate
        Rate in Hz, of both.
    floor
        dB below 0.
    align_level
        First scale each estimated clip, all channels alike, to the RMS of its reference: the shape of the spectrum is
        compared and a wrong level forgiven. A silent estimate stays silent.

    Returns
    -------
    float or np.ndarray [clips]
        dB; 0 for identical clips, nan where the reference is silent.

    Raises
    ------
    InputError
        Shapes differ, there are no samples, a sample is not finite, the floor is not below 0 or the rate is below 100.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=22050)
    >>> round(log_spectral_distance(noise, 2 * noise, sample_rate=22050), 2)
    6.02
    """
    if not -np.inf < floor < 0:
        raise InputError(f"floor is {floor} dB; it must be finite and below 0")
    window = fft_size(sample_rate)

    def metric(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> float:
        if not reference.any():
            return np.nan
        if align_level and estimated.any():
            estimated = estimated * (np.linalg.norm(reference) / np.linalg.norm(estimated))
        return _distance(reference, estimated, window, floor)

    return measure(metric, reference, estimated)


def _distance(reference: NDArray[np.float64], estimated: NDArray[np.float64], window: int, floor: float) -> float:
    hop = window // 4
    loudest = max(block.max() for channel in reference for block in power_spectra(channel, window=window, hop=hop))
    if loudest == 0:  # sound only in the part of a hop that no frame reaches
        return np.nan
    least = loudest * 10 ** (floor / 10)
    distances = []
    for channels in zip(reference, estimated, strict=True):
        spectra = (power_spectra(channel, window=window, hop=hop) for channel in channels)
        distances += [frame_distances(ours, theirs, least) for ours, theirs in zip(*spectra, strict=True)]
    return float(np.mean(np.concatenate(distances)))


def frame_distances(
    reference: NDArray[np.float64], estimated: NDArray[np.float64], least: float
) -> NDArray[np.float64]:
    """Distance of each frame in which either spectrum rises above the floor.

    Parameters
    ----------
    reference, estimated : np.ndarray [frames, bins]
        Power.
    least
        Power of the floor.

    Returns
    -------
    np.ndarray [frames heard]
        dB.
    """
    heard = (reference.max(axis=1) > least) | (estimated.max(axis=1) > least)
    levels = (10 * np.log10(np.maximum(power[heard], least)) for power in (reference, estimated))
    return np.asarray(np.sqrt(np.mean(np.subtract(*levels) ** 2, axis=1)))
