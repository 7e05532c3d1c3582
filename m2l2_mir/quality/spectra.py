"""Power spectra of consecutive frames, in bounded memory.

Conventions
-----------
- Periodic Hann window; frames start at sample 0 and every hop, none is padded, so up to a hop of the end is left out. A
  waveform shorter than the window is padded with zeros to one frame.
- Power is relative to a sine of full scale: at the centre of a bin it reads 1 (0 dB).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.signal import get_window

from m2l2_mir.errors import InputError

__all__ = ["fft_size", "power_spectra"]

_BLOCK = 512  # frames held at once
_NEAREST_WINDOW = 0.046  # seconds: 2048 samples at 44.1 and 48 kHz, 1024 at 22.05 kHz


def fft_size(sample_rate: int) -> int:
    """Power of two nearest to 46 ms, the usual window for music.

    >>> fft_size(44100), fft_size(16000)
    (2048, 1024)
    """
    if sample_rate < 100:
        raise InputError(f"sample rate is {sample_rate} Hz; spectra need at least 100 Hz")
    return int(2 ** np.rint(np.log2(_NEAREST_WINDOW * sample_rate)))


def power_spectra(
    samples: NDArray[np.floating], *, window: int, hop: int, size: int | None = None
) -> Iterator[NDArray[np.float64]]:
    """Yield power spectra in blocks.

    Parameters
    ----------
    samples : np.ndarray [n]
        One channel.
    window, hop
        In samples.
    size
        Of the Fourier transform, at least ``window``; frames are padded with zeros to it. None: ``window``.

    Yields
    ------
    np.ndarray [frames <= 512, size / 2 + 1]
    """
    # The window sums to half its length, and a sine has half its amplitude at positive frequencies.
    weights = get_window("hann", window) / (window / 4)
    padded = np.pad(samples, (0, max(window - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    for start in range(0, len(frames), _BLOCK):
        spectrum = np.fft.rfft(frames[start : start + _BLOCK] * weights, n=size or window)
        yield spectrum.real**2 + spectrum.imag**2
