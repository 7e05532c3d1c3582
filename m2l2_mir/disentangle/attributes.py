"""Attributes of sound by signal processing, to see what a swap of slots does to decoded audio, and how well they work.

Conventions
-----------
* An estimator gives one number for a waveform, nan where it finds none. Distances are in its unit; pitch classes are on
  a circle of 12.
* No estimator is right on all music: :func:`calibrate` says how well each follows the truth, on clean renders and on
  plain reconstructions, and a swap is told of only beside that.

Sources: yin, tempo and chroma as librosa has them; the key of a chroma is the tonic of the major or minor profile of
C. Krumhansl, "Cognitive Foundations of Musical Pitch", 1990, that it correlates with best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import librosa
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from m2l2_mir.errors import InputError

__all__ = ["ESTIMATORS", "Estimator", "calibrate"]

Floats = NDArray[np.float64]

LOWEST, HIGHEST = 55.0, 1760.0  # Hz, of yin
FLOOR = 1e-6  # of an amplitude, -120 dBFS
LEAST_ITEMS = 5  # of a correlation

_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """One attribute.

    Parameters
    ----------
    name
        Of the attribute.
    factor
        Of the rendered set ``factors``, whose truth it should follow.
    measure
        From mono samples and their rate to a number.
    tolerance
        Two sounds closer than this are alike.
    period
        Of a circle; None: the line.
    """

    name: str
    factor: str
    measure: Callable[[Floats, int], float]
    tolerance: float
    period: float | None = None

    def distance(self, one: ArrayLike, other: ArrayLike) -> Floats:
        """Distance of measured values, on the circle if it is one."""
        apart = np.abs(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64))
        if self.period is not None:
            apart = np.mod(apart, self.period)
            apart = np.minimum(apart, self.period - apart)
        return apart


def calibrate(measured: ArrayLike, truth: ArrayLike, estimator: Estimator) -> dict[str, float]:
    """How well an estimator follows a known attribute.

    Parameters
    ----------
    measured, truth : array-like [items]
        nan where nothing was found.
    estimator
        Whose circle counts.

    Returns
    -------
    dict
        ``agreement``: Spearman's correlation; on a circle the length of the mean vector of differences, 1 if they are
        all the same (an offset does not matter), about 0 for chance. ``found``: share of items with a value. nan for
        fewer than five.

    Raises
    ------
    InputError
        There is not a truth for each value.

    Examples
    --------
    >>> round(calibrate([1.0, 2.0, 4.0, 8.0, 9.0], [1, 2, 3, 4, 5], ESTIMATORS["level"])["agreement"], 3)
    1.0
    """
    ours, theirs = np.asarray(measured, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise InputError(f"{list(ours.shape)} values for {list(theirs.shape)} truths; give one of each for every item")
    found = np.isfinite(ours) & np.isfinite(theirs)
    if found.sum() < LEAST_ITEMS or np.ptp(theirs[found]) == 0:
        agreement = float("nan")
    elif estimator.period is not None:
        turn = 2j * np.pi / estimator.period
        agreement = float(abs(np.exp(turn * (ours[found] - theirs[found])).mean()))
    elif np.ptp(ours[found]) == 0:
        agreement = 0.0
    else:
        agreement = float(stats.spearmanr(ours[found], theirs[found]).statistic)
    return {"agreement": agreement, "found": float(found.mean()) if len(found) else float("nan")}


def _level(samples: Floats, _: int) -> float:
    return float(20 * np.log10(max(float(np.sqrt(np.mean(np.square(samples)))), FLOOR)))


def _brightness(samples: Floats, sample_rate: int) -> float:
    """Spectral centroid in octaves above 1 Hz, each frame weighted by its power."""
    spectrum = np.abs(librosa.stft(samples, n_fft=2048)) ** 2
    total = spectrum.sum()
    if total <= FLOOR:
        return float("nan")
    frequencies = librosa.fft_frequencies(sr=sample_rate, n_fft=2048)
    return float(np.log2(max(float((frequencies @ spectrum).sum() / total), 1.0)))


def _pitch(samples: Floats, sample_rate: int) -> float:
    """Median of yin over the louder half of the frames, as pitch class."""
    if _level(samples, sample_rate) < -80:
        return float("nan")
    pitches = librosa.yin(samples, fmin=LOWEST, fmax=HIGHEST, sr=sample_rate, frame_length=2048)
    power = librosa.feature.rms(y=samples, frame_length=2048)[0][: len(pitches)]
    loud = pitches[: len(power)][power >= np.median(power)]
    return float(librosa.hz_to_midi(np.median(loud)) % 12)


def _tonic(samples: Floats, sample_rate: int) -> float:
    chroma = librosa.feature.chroma_cqt(y=samples, sr=sample_rate).mean(axis=1)
    if not np.isfinite(chroma).all() or np.ptp(chroma) < FLOOR:
        return float("nan")
    profiles = np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
    return float(np.argmax([np.corrcoef(chroma, profile)[0, 1] for profile in profiles]) % 12)


def _tempo(samples: Floats, sample_rate: int) -> float:
    """log2 of beats a minute."""
    onsets = librosa.onset.onset_strength(y=samples, sr=sample_rate)
    if np.ptp(onsets) < FLOOR:
        return float("nan")
    return float(np.log2(librosa.feature.tempo(onset_envelope=onsets, sr=sample_rate)[0]))


def _estimators(entries: Sequence[Estimator]) -> dict[str, Estimator]:
    return {entry.name: entry for entry in entries}


ESTIMATORS = _estimators(
    [
        Estimator(name="level", factor="level", measure=_level, tolerance=1.0),
        Estimator(name="brightness", factor="register", measure=_brightness, tolerance=0.1),
        Estimator(name="pitch", factor="pitch", measure=_pitch, tolerance=0.5, period=12.0),
        Estimator(name="tonic", factor="tonic", measure=_tonic, tolerance=0.5, period=12.0),
        Estimator(name="tempo", factor="tempo", measure=_tempo, tolerance=0.08),
    ]
)
