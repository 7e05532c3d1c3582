"""What happens where chunks meet: figures around the boundaries of chunks against figures inside them.

Conventions
-----------
- Chunk c of the full framing begins at sample c * chunk_samples and fades in over the overlap of the frames before it
  (:mod:`m2l2_mir.model.spectrogram`); the boundary is the middle of that. What lies within half an overlap of it is
  *at* the boundary; as long a stretch in the middle of the chunk behind it is *inside*.
- Frames of about 46 ms every quarter of that; a frame belongs to the stretch that holds its middle. Spectra are kept
  above a floor of 80 dB under the loudest bin of the reference.
- Spectral flux is the mean rise of the log spectrum from one frame to the next, in dB; that of the reference is taken
  off, so that its onsets do not count: what is left over are clicks (positive) or smeared onsets (negative).
- Values are nan where the reference is silent.

Source of the flux: S. Dixon, "Onset detection revisited", DAFx 2006.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.quality.log_spectral import FLOOR
from m2l2_mir.quality.si_sdr import LIMIT
from m2l2_mir.quality.spectra import fft_size, power_spectra
from m2l2_mir.quality.waveform_pairs import check_clip

__all__ = ["FIGURES", "boundary_figures"]

FIGURES = ("si_sdr", "log_spectral_distance", "excess_flux")

Floats = NDArray[np.float64]


def boundary_figures(
    reference: NDArray[np.floating],
    estimated: NDArray[np.floating],
    *,
    sample_rate: int,
    chunk_samples: int,
    overlap: int,
) -> dict[str, Floats]:
    """Figures at each boundary, and inside the chunk behind it.

    Parameters
    ----------
    reference, estimated : np.ndarray [channels, samples]
        Aligned, from the first chunk on.
    sample_rate
        Rate in Hz.
    chunk_samples, overlap
        Of the model's configuration.

    Returns
    -------
    dict of np.ndarray [boundaries, 2]
        :data:`FIGURES` at the boundary and inside, dB; besides ``seconds`` [boundaries], where they are, and
        ``level`` [boundaries], by how much the estimate is louder around them, over one chunk, dB.

    Raises
    ------
    InputError
        Shapes differ, a sample is not finite, or there is no boundary with a whole chunk behind it.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(1, 40000))
    >>> clicks = noise.copy()
    >>> clicks[:, 9500::10000] += 50  # the middle of each overlap
    >>> found = boundary_figures(noise, clicks, sample_rate=8000, chunk_samples=10000, overlap=1000)
    >>> [bool((np.diff(found[name]) > 0).all()) for name in ("si_sdr", "log_spectral_distance")]
    [True, False]
    """
    ours, theirs = check_clip(reference, "reference"), check_clip(estimated, "estimated")
    if ours.shape != theirs.shape:
        raise InputError(f"the reference is {list(ours.shape)}, the estimate {list(theirs.shape)}; cut or pad")
    chunks = ours.shape[1] // chunk_samples
    if chunks < 2:
        raise InputError(
            f"{ours.shape[1]} samples hold no boundary of chunks of {chunk_samples} with a chunk behind it"
        )
    boundaries = np.arange(1, chunks) * chunk_samples - overlap // 2
    middles = np.stack([boundaries, boundaries + chunk_samples // 2], axis=1)
    distance, flux, frame_middles = _frames(ours, theirs, sample_rate)
    found = {name: np.full(middles.shape, np.nan) for name in FIGURES}
    for place, middle in np.ndenumerate(middles):
        stretch = slice(max(int(middle) - overlap // 2, 0), int(middle) + overlap // 2)
        found["si_sdr"][place] = _si_sdr(ours[:, stretch], theirs[:, stretch])
        near = np.abs(frame_middles - middle) <= overlap / 2
        found["log_spectral_distance"][place] = _mean(distance[:, near])
        found["excess_flux"][place] = _mean(flux[:, near])
    return {**found, "seconds": boundaries / sample_rate, "level": _levels(ours, theirs, boundaries, chunk_samples)}


def _frames(ours: Floats, theirs: Floats, sample_rate: int) -> tuple[Floats, Floats, Floats]:
    """Distance and excess flux of each frame [channels, frames], and the middle of each frame in samples."""
    window = fft_size(sample_rate)
    hop = window // 4
    loudest = max(float(power.max()) for clip in ours for power in power_spectra(clip, window=window, hop=hop))
    least = max(loudest * 10 ** (FLOOR / 10), np.finfo(np.float64).tiny)
    channels = [_channel_frames(*pair, window, hop, least) for pair in zip(ours, theirs, strict=True)]
    distance, flux = (np.stack(values) for values in zip(*channels, strict=True))
    middles = np.arange(distance.shape[1], dtype=np.float64) * hop + window / 2
    return distance, flux, middles


def _channel_frames(ours: Floats, theirs: Floats, window: int, hop: int, least: float) -> tuple[Floats, Floats]:
    distances, fluxes = [], []
    before: list[Floats] | None = None  # last spectrum of the block before
    spectra = (power_spectra(clip, window=window, hop=hop) for clip in (ours, theirs))
    for powers in zip(*spectra, strict=True):
        levels = [10 * np.log10(np.maximum(power, least)) for power in powers]
        silent = np.maximum(*powers).max(axis=1) <= least
        first = before or [level[:1] for level in levels]
        rises = [
            np.maximum(np.diff(level, axis=0, prepend=last), 0).mean(axis=1)
            for level, last in zip(levels, first, strict=True)
        ]
        before = [level[-1:] for level in levels]
        distance, flux = np.sqrt(np.mean((levels[0] - levels[1]) ** 2, axis=1)), rises[1] - rises[0]
        distance[silent] = flux[silent] = np.nan
        distances.append(distance)
        fluxes.append(flux)
    return np.concatenate(distances), np.concatenate(fluxes)


def _levels(ours: Floats, theirs: Floats, boundaries: NDArray[np.intp], chunk: int) -> Floats:
    found = np.full(len(boundaries), np.nan)
    for place, boundary in enumerate(boundaries.tolist()):
        stretch = slice(max(boundary - chunk // 2, 0), boundary + chunk // 2)
        energies = [float(np.sum(clip[:, stretch] ** 2)) for clip in (ours, theirs)]
        if all(energies):
            found[place] = 10 * math.log10(energies[1] / energies[0])
    return found


def _si_sdr(reference: Floats, estimated: Floats) -> float:
    """SI-SDR of all channels of a stretch with one scale; a mean is not taken off, as a click is one."""
    energy = float(np.sum(reference**2))
    if not energy:
        return math.nan
    scale = float(np.sum(reference * estimated)) / energy
    signal, noise = scale**2 * energy, float(np.sum((scale * reference - estimated) ** 2))
    if not signal:
        return -LIMIT
    return LIMIT if not noise else float(np.clip(10 * math.log10(signal / noise), -LIMIT, LIMIT))


def _mean(values: Floats) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else math.nan
