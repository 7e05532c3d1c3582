"""Degradations of known order: what a metric must find worse and worse.

Conventions
-----------
- A clip is ``[channels, samples]``, full scale at -1 and 1; its degraded copy is aligned with it and of its shape.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from m2l2_mir.errors import InputError
from m2l2_mir.quality.waveform_pairs import check_clip
from m2l2_mir.waveform import resample

__all__ = ["add_noise", "low_pass", "opus"]

OPUS_RATE = 48_000
_OPUS_LEAST, _OPUS_MOST = 6.0, 256.0  # kbit/s a channel, which libsndfile maps its compression levels of 1 to 0 onto


def add_noise(clip: NDArray[np.floating], snr: float, *, seed: int = 0) -> NDArray[np.float64]:
    """Add white noise that is orthogonal to each channel, so that SI-SDR is exactly the ratio.

    Parameters
    ----------
    clip : np.ndarray [channels, samples]
        No channel may be silent.
    snr
        Ratio in dB.
    seed
        The same seed gives the same noise.

    Raises
    ------
    InputError
        The clip is no waveform, or a channel is silent.

    Examples
    --------
    >>> from m2l2_mir.quality.si_sdr import si_sdr
    >>> tone = np.sin(np.arange(8000) / 10)[None]
    >>> round(si_sdr(tone, add_noise(tone, 20)), 6)
    20.0
    """
    checked = check_clip(clip, "clip")
    centred = checked - checked.mean(axis=1, keepdims=True)
    energy = np.sum(centred**2, axis=1, keepdims=True)
    if not energy.all():
        raise InputError("a channel of the clip is silent; no noise has a ratio to that")
    noise = np.random.default_rng(seed).normal(size=checked.shape)
    noise -= noise.mean(axis=1, keepdims=True)
    noise -= centred * np.sum(noise * centred, axis=1, keepdims=True) / energy
    scale = np.sqrt(energy / np.sum(noise**2, axis=1, keepdims=True)) * 10 ** (-snr / 20)
    return np.asarray(checked + noise * scale)


def low_pass(clip: NDArray[np.floating], hertz: float, *, sample_rate: int) -> NDArray[np.float64]:
    """Take away what lies above a frequency, without delay (Butterworth, there and back).

    Raises
    ------
    InputError
        The clip is no waveform, or the frequency is not between 0 and half the sample rate.
    """
    if not 0 < hertz < sample_rate / 2:
        raise InputError(f"low-pass at {hertz} Hz; it must lie between 0 and {sample_rate / 2:g} Hz")
    sections = butter(8, hertz, fs=sample_rate, output="sos")
    return np.asarray(sosfiltfilt(sections, check_clip(clip, "clip"), axis=1))


def opus(clip: NDArray[np.floating], kbps: float, *, sample_rate: int) -> tuple[NDArray[np.float32], float]:
    """Code a clip with Opus, at 48 kHz and a variable bit rate, and decode it again.

    Parameters
    ----------
    clip : np.ndarray [channels, samples]
        Mono or stereo.
    kbps
        Bit rate to aim for, kbit/s of all channels: 6 to 256 for each.
    sample_rate
        Rate in Hz of the clip.

    Returns
    -------
    decoded : np.ndarray [channels, samples]
        float32, at the rate of the clip.
    kbps : float
        That it took, with the pages of the file.

    Raises
    ------
    InputError
        The clip is no waveform or has other channels, or the bit rate is out of range.

    Examples
    --------
    >>> decoded, kbps = opus(0.1 * np.random.default_rng(0).normal(size=(1, 44100)), 32, sample_rate=44100)
    >>> decoded.shape, 20 < kbps < 50
    ((1, 44100), True)
    """
    checked = check_clip(clip, "clip")
    channels, samples = checked.shape
    if channels > 2 or not _OPUS_LEAST <= kbps / channels <= _OPUS_MOST:
        raise InputError(f"Opus of {channels} channels at {kbps} kbit/s; give 1 or 2 and 6 to 256 kbit/s for each")
    resampled = resample(checked, sample_rate, OPUS_RATE)
    level = 1 - (kbps / channels - _OPUS_LEAST) / (_OPUS_MOST - _OPUS_LEAST)
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", OPUS_RATE, channels, "OPUS", format="OGG", compression_level=level) as file:
        file.write(resampled.T)
    taken = 8 * len(buffer.getvalue()) * OPUS_RATE / resampled.shape[1] / 1000
    buffer.seek(0)
    decoded = soundfile.read(buffer, dtype="float32", always_2d=True)[0].T
    back = resample(np.ascontiguousarray(decoded), OPUS_RATE, sample_rate)[:, :samples]
    return np.pad(back, ((0, 0), (0, samples - back.shape[1]))), taken
