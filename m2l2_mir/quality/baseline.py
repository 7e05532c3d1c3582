"""The floor of a reconstruction: noise with the long-term spectrum and the level of the reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.quality.spectra import fft_size, power_spectra
from m2l2_mir.quality.waveform_pairs import check_clip

__all__ = ["shaped_noise"]


def shaped_noise(reference: NDArray[np.floating], *, sample_rate: int, seed: int) -> NDArray[np.float64]:
    """Make Gaussian noise that has a clip's mean power spectrum and level but nothing else of it.

    What a reconstruction scores above this row is more than equalisation. Each channel has its own noise, spectrum
    (frames of about 46 ms) and exactly the RMS of the reference; a silent channel stays silent.

    Parameters
    ----------
    reference : np.ndarray [samples] or [channels, samples]
        Full scale at -1 and 1; peaks of the noise may lie above.
    sample_rate
        Rate in Hz.
    seed
        The same seed gives the same noise.

    Returns
    -------
    np.ndarray
        Of the shape of ``reference``.

    Raises
    ------
    InputError
        There are no samples, a sample is not finite, or the rate is below 100 Hz.

    Examples
    --------
    >>> tone = np.sin(np.arange(44100) / 10)
    >>> noise = shaped_noise(tone, sample_rate=44100, seed=0)
    >>> bool(np.isclose(noise.std(), tone.std(), rtol=1e-3))
    True
    """
    window = fft_size(sample_rate)
    generator = np.random.default_rng(seed)
    shaped = [_shape(channel, generator, window) for channel in check_clip(reference, "reference")]
    return np.stack(shaped).reshape(reference.shape)


def _shape(channel: NDArray[np.float64], generator: np.random.Generator, window: int) -> NDArray[np.float64]:
    white = generator.standard_normal(len(channel))
    total, frames = np.zeros(window // 2 + 1), 0
    for block in power_spectra(channel, window=window, hop=window // 2):
        total += block.sum(axis=0)
        frames += len(block)
    spectrum = np.fft.rfft(white)
    spectrum *= np.interp(np.linspace(0, 1, len(spectrum)), np.linspace(0, 1, len(total)), np.sqrt(total / frames))
    noise = np.fft.irfft(spectrum, n=len(channel))
    if not noise.any():  # a sound so short that the window hides it
        noise = white
    return noise * (np.linalg.norm(channel) / np.linalg.norm(noise))
