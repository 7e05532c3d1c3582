"""Frame features of a stretch of sound: spectra, timbre, chroma and rhythm, as the baseline rows pool them.

Conventions
-----------
* Sound is mono at 44.1 kHz. Spectra have Hann windows of 4096 samples every 1024 (93 ms every 23 ms); power in dB is
  relative to a full-scale sine and at least -100 dB. What is not named here has librosa's defaults [1]_.
* A chunk is 32,768 samples (0.743 s), as the model's is. Features by chunk leave out what is left at the end, under a
  chunk; spectra of a chunk reach 46 ms beyond it.
* Every function gives [features, frames] or [features, chunks], and in silence the floor in dB or zeros;
  :meth:`Segment.audible` says what is none.

References
----------
.. [1] B. McFee et al., "librosa: Audio and music signal analysis in Python", SciPy 2015.
"""

from __future__ import annotations

import warnings
from functools import cache, cached_property

import librosa
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CHUNK",
    "SAMPLE_RATE",
    "Segment",
    "chroma",
    "chunk_tempogram",
    "log_mel",
    "mfcc",
    "tempogram",
    "waveform_statistics",
]

SAMPLE_RATE = 44_100
CHUNK = 32_768  # samples
FFT, HOP = 4096, 1024  # samples
FLOOR = -100.0  # dB
SILENCE_DBFS = -70.0  # of a chunk, as of embeddings
MEL_BANDS, FINE_MEL_BANDS = 128, 256
BANDS, QUANTILES, PROJECTED = 64, 32, 512

_CHUNK_FRAMES = CHUNK // HOP
_LONGEST_FILTER = 1 << 17  # samples that the constant-Q transform needs at its lowest note
_SEED = 0


class Segment:
    """Samples [n >= CHUNK] and what several rows need of them, computed once."""

    def __init__(self, samples: NDArray[np.float32]) -> None:
        self.samples = samples

    def audible(self, columns: int) -> NDArray[np.bool_]:
        """Which chunks are not silent, or which frames lie in such chunks, by the number of columns of a feature."""
        starts = np.arange(0, len(self.samples), CHUNK)  # the last chunk may be a part of one
        squares = np.add.reduceat(np.square(self.samples, dtype=np.float64), starts)
        heard = squares / np.diff([*starts, len(self.samples)]) >= 10 ** (SILENCE_DBFS / 10)
        if columns == len(self.samples) // CHUNK:
            return np.asarray(heard[:columns])
        return np.asarray(heard[np.minimum(np.arange(columns) // _CHUNK_FRAMES, len(heard) - 1)])

    @cached_property
    def power(self) -> NDArray[np.float32]:
        """[bins, frames], 1 for a full-scale sine."""
        spectrum = librosa.stft(self.samples, n_fft=FFT, hop_length=HOP)
        return (spectrum.real**2 + spectrum.imag**2) / np.float32((FFT / 4) ** 2)

    @cached_property
    def mel(self) -> NDArray[np.float32]:
        """dB [128, frames]."""
        return _decibels(_mel_filters(MEL_BANDS) @ self.power)

    @cached_property
    def onset_strength(self) -> NDArray[np.float32]:
        """[frames]."""
        strength = librosa.onset.onset_strength(S=self.mel, sr=SAMPLE_RATE, n_fft=FFT, hop_length=HOP)
        return np.asarray(strength, dtype=np.float32)


def log_mel(segment: Segment) -> NDArray[np.floating]:
    """Power in 256 bands of the Slaney mel scale up to 22.05 kHz, dB [256, frames]."""
    return _decibels(_mel_filters(FINE_MEL_BANDS) @ segment.power)


def mfcc(segment: Segment) -> NDArray[np.floating]:
    """20 cepstral coefficients of 128 mel bands, then their slopes over 9 frames [40, frames]."""
    coefficients = librosa.feature.mfcc(S=segment.mel, n_mfcc=20)
    return np.concatenate([coefficients, librosa.feature.delta(coefficients)])


def chroma(segment: Segment) -> NDArray[np.floating]:
    """Constant-Q chroma from C, 7 octaves of 36 bins from C1, tuning estimated, largest of a frame 1 [12, frames]."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Trying to estimate tuning")  # nothing sounds: it is 0
        # Every fourth frame: it is one number for the whole segment, and its search is slower than the spectra.
        tuning = librosa.estimate_tuning(S=np.sqrt(segment.power[:, ::4]), sr=SAMPLE_RATE, n_fft=FFT)
    padded = np.pad(segment.samples, (0, max(_LONGEST_FILTER - len(segment.samples), 0)))
    classes = librosa.feature.chroma_cqt(y=padded, sr=SAMPLE_RATE, hop_length=HOP, tuning=tuning)
    return np.asarray(classes[:, : segment.power.shape[1]])


def tempogram(segment: Segment) -> NDArray[np.floating]:
    """Autocorrelation of the onset strength in windows of 8.9 s, by lag in frames from 0 [384, frames]."""
    return np.asarray(librosa.feature.tempogram(onset_envelope=segment.onset_strength, sr=SAMPLE_RATE, hop_length=HOP))


def chunk_tempogram(segment: Segment) -> NDArray[np.floating]:
    """Autocorrelation of the onset strength within each chunk, by lag in frames from 0 [32, chunks].

    Without librosa's Hann window, which leaves next to nothing of lags beyond half a chunk.
    """
    chunks = _by_chunk(segment.onset_strength)
    lags = librosa.feature.tempogram(onset_envelope=chunks, win_length=_CHUNK_FRAMES, center=False, window="boxcar")
    return np.asarray(lags[:, :, 0].T)


def waveform_statistics(segment: Segment) -> NDArray[np.floating]:
    """Random projection of 64 log powers in equal bands and 32 amplitude quantiles in dB [512, chunks]."""
    bands = segment.power[1:].reshape(BANDS, -1, segment.power.shape[1]).mean(axis=1)
    chunks = len(segment.samples) // CHUNK
    amplitudes = np.abs(segment.samples[: chunks * CHUNK].reshape(chunks, CHUNK)[:, ::8])  # an eighth tells as much
    quantiles = np.quantile(amplitudes, np.linspace(0, 1, QUANTILES), axis=1)
    return _projection() @ np.concatenate([_decibels(_by_chunk(bands).mean(axis=2)), _decibels(quantiles**2)])


def _decibels(power: NDArray[np.floating]) -> NDArray[np.float32]:
    return (10 * np.log10(np.maximum(power, 10 ** (FLOOR / 10)))).astype(np.float32)


@cache
def _mel_filters(bands: int) -> NDArray[np.float32]:
    """Triangles of height 1 on the Slaney scale [bands, bins]."""
    return np.asarray(librosa.filters.mel(sr=SAMPLE_RATE, n_fft=FFT, n_mels=bands, norm=None), dtype=np.float32)


def _by_chunk(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """[..., frames] -> [..., chunks, frames of a chunk]"""
    chunks = frames.shape[-1] // _CHUNK_FRAMES
    return frames[..., : chunks * _CHUNK_FRAMES].reshape(*frames.shape[:-1], chunks, _CHUNK_FRAMES)


@cache
def _projection() -> NDArray[np.float64]:
    """Gaussian matrix that keeps lengths in the mean [projected, statistics]."""
    statistics = BANDS + QUANTILES
    return np.random.default_rng(_SEED).normal(size=(PROJECTED, statistics)) / np.sqrt(PROJECTED)
