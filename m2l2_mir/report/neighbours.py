"""Nearest neighbours of a small library, and what chance would make of them.

Conventions
-----------
* A track is its K x d summary, flattened. The library mean is taken off first: all tracks share most of it,
  and it would push every cosine towards 1. With n tracks, unrelated ones then lie near -1 / (n - 1).
* Chance is measured on the neighbour lists at hand: labels are dealt out at random among the tracks, so that
  the range accounts for the lists overlapping, which a binomial formula would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_SPECTRUM_BANDS = 64
_SPECTRUM_RANGE = (50.0, 10_000.0)
_SPECTRUM_WINDOW = 4096


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How many nearest neighbours share a label with their track.

    ``shared`` of ``pairs`` do. ``expected`` is the mean over random labellings with the same label counts,
    ``low`` and ``high`` enclose 95% of them. ``attainable`` is what a perfect library would share.
    """

    shared: int
    pairs: int
    expected: float
    low: int
    high: int
    attainable: int

    @property
    def verdict(self) -> str:
        """``"above"``, ``"below"`` or ``"within"`` what chance gives."""
        return "above" if self.shared > self.high else "below" if self.shared < self.low else "within"


def centred_cosine(vectors: np.ndarray) -> np.ndarray:
    """Cosine similarity of flattened vectors after taking off their mean.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, ...)]

    Returns
    -------
    np.ndarray [shape=(n, n)]
        A vector equal to the mean has no direction: its similarities are 0.

    Examples
    --------
    >>> centred_cosine(np.array([[1.0, 0.0], [-1.0, 0.0]])).round(3).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    flat = _centred(vectors)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 1e-12)
    similarity: np.ndarray = np.clip(unit @ unit.T, -1.0, 1.0)
    return similarity


def nearest(similarity: np.ndarray, *, count: int) -> np.ndarray:
    """Indices of each row's most similar others, best first; ties go to the earlier one.

    Parameters
    ----------
    similarity : np.ndarray [shape=(n, n)]
    count : int
        At most this many; n - 1 if there are no more.

    Returns
    -------
    np.ndarray [shape=(n, min(count, n - 1)), dtype=int]
    """
    others = similarity.astype(np.float64)
    np.fill_diagonal(others, -np.inf)
    order = np.argsort(-others, axis=1, kind="stable")
    return order[:, : max(0, min(count, len(similarity) - 1))]


def agreement(
    neighbours: np.ndarray, labels: Sequence[object] | ArrayLike, *, draws: int = 5000, seed: int = 0
) -> Agreement:
    """Count the neighbours that share their track's label, against random labellings.

    Parameters
    ----------
    neighbours : np.ndarray [shape=(n, k), dtype=int]
        As from :func:`nearest`.
    labels : sequence of n labels
    draws : int
        Random labellings for the 95% range; ``expected`` is exact.
    seed : int

    Returns
    -------
    Agreement

    Examples
    --------
    >>> agreement(np.array([[1], [0], [3], [2]]), ["a", "a", "b", "b"]).shared
    4
    """
    _, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    n = len(codes)

    def count(coded: np.ndarray) -> int:
        return int((coded[neighbours] == coded[:, None]).sum())

    generator = np.random.default_rng(seed)
    null = [count(generator.permutation(codes)) for _ in range(draws)]
    low, high = np.quantile(null, [0.025, 0.975], method="inverted_cdf")
    sizes = np.bincount(codes)
    same_pair = float((sizes * (sizes - 1)).sum() / (n * (n - 1)))  # chance that two random tracks agree
    return Agreement(
        shared=count(codes),
        pairs=neighbours.size,
        expected=same_pair * neighbours.size,
        low=int(low),
        high=int(high),
        attainable=int(np.minimum(sizes - 1, neighbours.shape[1]) @ sizes),
    )


def principal_plane(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project flattened vectors onto their first two principal components.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, ...)]

    Returns
    -------
    points : np.ndarray [shape=(n, 2)]
        The largest loading of each component is positive, which settles the sign.
    shares : np.ndarray [shape=(2,)]
        Part of the variance on each component, 0 to 1.
    """
    flat = _centred(vectors)
    left, scale, right = np.linalg.svd(flat, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    points = (left * scale * signs)[:, :2]
    shares = (scale**2 / max(float((scale**2).sum()), 1e-24))[:2]
    missing = 2 - points.shape[1]  # one track alone spans no plane
    return np.pad(points, ((0, 0), (0, missing))), np.pad(shares, (0, missing))


def average_spectrum(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Long-term average spectrum in dB: what a track sounds like to somebody without a model.

    Parameters
    ----------
    waveform : np.ndarray [shape=(samples,)]
    sample_rate : int

    Returns
    -------
    np.ndarray [shape=(64,)]
        Power in bands evenly spaced in log frequency from 50 Hz to 10 kHz, floored 80 dB below the peak.
    """
    padded = np.pad(waveform, (0, max(0, _SPECTRUM_WINDOW - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _SPECTRUM_WINDOW)[:: _SPECTRUM_WINDOW // 2]
    power = (np.abs(np.fft.rfft(frames * np.hanning(_SPECTRUM_WINDOW), axis=1)) ** 2).mean(axis=0)
    frequencies = np.fft.rfftfreq(_SPECTRUM_WINDOW, 1 / sample_rate)
    centres = np.geomspace(*_SPECTRUM_RANGE, _SPECTRUM_BANDS)
    decibels = 10 * np.log10(np.maximum(power, max(float(power.max()), 1e-12) * 1e-8))
    # Interpolated, not summed: the lowest bands are narrower than one bin.
    spectrum: np.ndarray = np.interp(centres, frequencies, decibels)
    return spectrum


def _centred(vectors: np.ndarray) -> np.ndarray:
    flat = np.asarray(vectors, dtype=np.float64).reshape(len(vectors), -1)
    centred: np.ndarray = flat - flat.mean(axis=0)
    return centred
