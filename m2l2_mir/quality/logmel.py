"""Log-mel statistics as an embedding that needs no weights: distances on it are ``fad_logmel`` and ``kad_logmel``.

Conventions
-----------
- Clips are mixed to mono and resampled to 32 kHz. Frames of 25 ms every 10 ms give the power in 64 bands of the Slaney
  mel scale from 20 Hz to 16 kHz, in dB relative to a full-scale sine and at least -80 dB.
- An embedding is the mean and the standard deviation of each band over 1 s (128 numbers, in dB), every 0.5 s. What is
  left at the end, under 0.5 s, is left out; a clip shorter than 1 s has one embedding, of all its frames.
- Level counts: a gain moves all means alike.
- These figures show timbre, bandwidth, noise and level. They do not compare with FAD or KAD on any other embedder.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.quality.spectra import power_spectra
from m2l2_mir.quality.waveform_pairs import check_clip
from m2l2_mir.waveform import map_channels, resample

__all__ = ["logmel_embeddings"]

RATE = 32_000
BANDS = 64
FLOOR = -80.0

_WINDOW, _HOP, _FFT = 800, 320, 1024  # samples
_LOWEST, _HIGHEST = 20.0, 16_000.0  # Hz
_FRAMES, _STEP = 100, 50  # frames in 1 s and in 0.5 s


def logmel_embeddings(waveform: NDArray[np.floating], *, sample_rate: int) -> NDArray[np.float64]:
    """Embed a clip by the statistics of its log-mel spectrogram.

    Parameters
    ----------
    waveform : np.ndarray [samples] or [channels, samples]
        Full scale at -1 and 1.
    sample_rate
        Rate in Hz. Below 32 kHz the highest bands are empty: compare clips of one rate.

    Returns
    -------
    np.ndarray [embeddings, 128]
        64 means and 64 standard deviations, dB.

    Raises
    ------
    InputError
        There are no samples, a sample is not finite, or the rate is not positive.

    Examples
    --------
    >>> logmel_embeddings(np.zeros(3 * 16000), sample_rate=16000).shape
    (5, 128)
    """
    mono = map_channels(check_clip(waveform, "waveform"), 1)
    samples = resample(mono, sample_rate, RATE)[0]
    spectra = power_spectra(samples, window=_WINDOW, hop=_HOP, size=_FFT)
    bands = np.concatenate([block @ _filters().T for block in spectra])
    levels = 10 * np.log10(np.maximum(bands, 10 ** (FLOOR / 10)))  # [frames, bands]
    # 3 s of sound have 298 whole frames: the last window may lack the two frames that would reach past the end.
    starts = range(0, max(len(levels) - _FRAMES + _WINDOW // _HOP, 0) + 1, _STEP)
    windows = [levels[start : start + _FRAMES] for start in starts]
    return np.stack([np.concatenate([window.mean(axis=0), window.std(axis=0)]) for window in windows])


@cache
def _filters() -> NDArray[np.float64]:
    """Triangles of height 1 [bands, bins]."""
    import librosa  # slow to import

    triangles = librosa.filters.mel(sr=RATE, n_fft=_FFT, n_mels=BANDS, fmin=_LOWEST, fmax=_HIGHEST, norm=None)
    return np.asarray(triangles, dtype=np.float64)
