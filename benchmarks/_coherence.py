"""Whether beat and key of a decoded minute stay what they are in the original.

Conventions
-----------
* Beats: librosa's tracker, which goes by one tempo for all; F-measure of ``mir_eval.beat`` (70 ms, the first 5 s left
  out) of the decoded audio's beats against those found in the original. No annotation is used: what is measured is
  whether the same analysis still finds the same.
* Windows of 10 s every 5 s have a tempo (autocorrelation of onsets) and a key of their own: the best of 24 by
  correlation of the mean constant-Q chroma with the profiles of Krumhansl and Kessler. Kept: tempo within 4 % of that
  of the original's window; key by the weighted score of MIREX. Steadiness: share of windows with a tempo within 4 % of
  the median, and with the commonest key; that of the original is taken off.
* Windows in which the original is silent are left out; one that is silent in the decoded audio alone keeps nothing.

Source of the profiles: C. L. Krumhansl, E. J. Kessler, "Tracing the dynamic changes in perceived tonal organization in
a spatial representation of musical keys", Psychological Review 89, 1982.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import librosa
import mir_eval
import numpy as np
from numpy.typing import NDArray

from m2l2_mir.probe import key, tempo
from m2l2_mir.probe.frame_features import HOP, SAMPLE_RATE, Segment, chroma
from m2l2_mir.waveform import map_channels, resample

WINDOW, STEP = 10.0, 5.0  # seconds
SILENCE = 1e-3  # RMS
FIGURES = ("beats", "tempo", "key", "tempo_steadiness", "key_steadiness")
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is heard over time: beats in seconds; tempo in BPM and key of each window, nan and "" in silence."""

    beats: NDArray[np.float64]
    tempi: NDArray[np.float64]
    keys: tuple[str, ...]


def course(waveform: NDArray[np.floating], sample_rate: int) -> Course:
    """Analyse a waveform [channels, samples] of at least one window."""
    samples = resample(map_channels(waveform, 1), sample_rate, SAMPLE_RATE)[0].astype(np.float32)
    segment = Segment(samples)
    strength = segment.onset_strength
    beats = librosa.beat.beat_track(onset_envelope=strength, sr=SAMPLE_RATE, hop_length=HOP, units="time")[1]
    classes = chroma(segment)
    tempi, keys = [], []
    for start in np.arange(0, len(samples) / SAMPLE_RATE - WINDOW + 1e-6, STEP):
        inside = samples[round(start * SAMPLE_RATE) : round((start + WINDOW) * SAMPLE_RATE)]
        frames = slice(round(start * SAMPLE_RATE / HOP), round((start + WINDOW) * SAMPLE_RATE / HOP))
        silent = np.sqrt(np.mean(inside**2)) < SILENCE
        tempi.append(math.nan if silent else _tempo(strength[frames]))
        keys.append("" if silent else key_of(classes[:, frames].mean(axis=1)))
    return Course(beats=np.asarray(beats, np.float64), tempi=np.array(tempi), keys=tuple(keys))


def figures(reference: Course, estimated: Course) -> dict[str, float]:
    """:data:`FIGURES` of the decoded audio; nan where the original is silent throughout."""
    heard = [place for place, name in enumerate(reference.keys) if name]
    if not heard:
        return dict.fromkeys(FIGURES, math.nan)
    both = [place for place in heard if estimated.keys[place]]
    kept_tempo = kept_key = 0.0
    if both:
        kept_tempo = float(tempo.per_item(reference.tempi[both], estimated.tempi[both])["acc1"].sum())
        keys = [[side.keys[place] for place in both] for side in (reference, estimated)]
        kept_key = float(key.per_item(*keys)["weighted"].sum())
    return {
        "beats": _beats_kept(reference.beats, estimated.beats),
        "tempo": kept_tempo / len(heard),
        "key": kept_key / len(heard),
        "tempo_steadiness": _steady_tempo(estimated, heard) - _steady_tempo(reference, heard),
        "key_steadiness": _steady_key(estimated, heard) - _steady_key(reference, heard),
    }


def key_of(mean: NDArray[np.floating]) -> str:
    """Key whose profile correlates best with a mean chroma [12].

    >>> key_of(np.roll(MINOR, 9))
    'A minor'
    """
    names = [f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS]
    profiles = np.array([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])
    profiles = profiles - profiles.mean(axis=1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    return names[int(np.argmax(profiles @ (mean - mean.mean())))]


def _tempo(strength: NDArray[np.floating]) -> float:
    return float(librosa.feature.tempo(onset_envelope=strength, sr=SAMPLE_RATE, hop_length=HOP)[0])


def _beats_kept(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> float:
    ours, theirs = (mir_eval.beat.trim_beats(beats) for beats in (reference, estimated))
    if not len(ours):
        return math.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Estimated beats are empty")  # 0 then
        return float(mir_eval.beat.f_measure(ours, theirs))


def _steady_tempo(one: Course, heard: Sequence[int]) -> float:
    tempi = one.tempi[list(heard)]
    if np.isnan(tempi).all():
        return 0.0
    return float(np.mean(np.abs(tempi / np.nanmedian(tempi) - 1) <= 0.04))


def _steady_key(one: Course, heard: Sequence[int]) -> float:
    keys = [one.keys[place] for place in heard]
    named = [name for name in keys if name]
    return max((named.count(name) for name in set(named)), default=0) / len(keys)
