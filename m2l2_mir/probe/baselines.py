"""Hand-made features that stand beside every embedding: what a probe reads from sound without a learnt model.

file --decode--> mono at 44.1 kHz --segments--> frame features --mean or mean+std over time--> row of fixed width

Conventions
-----------
* Frames and chunks, windows and floors: :mod:`m2l2_mir.probe.frame_features`.
* Chunks below -70 dBFS are left out, as they are of embeddings; of a clip that is silent throughout nothing is.
* A clip shorter than a chunk (0.743 s) is padded with zeros to one. Clips over 59 s (80 chunks) are taken in segments
  of that, and what is left at the end, under a chunk, is left out.
* :data:`VERSION` is raised with every change of a definition: rows of many files are kept on disk
  (:mod:`m2l2_mir.probe.baseline_vectors`).

The chroma row was chosen by looking: on 400 of the rendered chorales (logistic regression, five grouped folds, accuracy
of 24 keys) the mean of ``chroma_cqt`` reached .94, that of ``chroma_stft`` .87; standard deviations added nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.audio import stream
from m2l2_mir.errors import InputError
from m2l2_mir.probe.frame_features import (
    CHUNK,
    SAMPLE_RATE,
    Segment,
    chroma,
    chunk_tempogram,
    log_mel,
    mfcc,
    tempogram,
    waveform_statistics,
)
from m2l2_mir.recipe import close_match
from m2l2_mir.waveform import map_channels, resample

__all__ = ["BASELINES", "VERSION", "Baseline", "check_names", "features_of_file"]

VERSION = 4
SEGMENT = 80 * CHUNK  # samples, 59 s; bounds memory, whatever the length of the file

_LEAST_VARIANCE = 1e-10  # as a share of the squared mean


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One row: frame features, and how they are pooled over time.

    Parameters
    ----------
    name
        As in ``BASELINES``.
    width
        Of the row.
    about
        What it is, for tables and reports.
    frames
        Segment -> [features, frames].
    spread
        Whether the standard deviation over frames follows the mean.
    """

    name: str
    width: int
    about: str
    frames: Callable[[Segment], NDArray[np.floating]]
    spread: bool = False

    def features(self, waveform: NDArray[np.floating], sample_rate: int) -> NDArray[np.float32]:
        """Compute the row of a clip.

        Parameters
        ----------
        waveform : np.ndarray [samples] or [channels, samples]
            Full scale at -1 and 1.
        sample_rate
            Rate in Hz.

        Returns
        -------
        np.ndarray [width]

        Raises
        ------
        InputError
            There are no samples, a sample is not finite, or the rate is not positive.

        Examples
        --------
        >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
        >>> int(BASELINES["chroma"].features(tone, 44100).argmax())
        9
        """
        samples = np.atleast_2d(waveform)
        if not samples.size or not np.isfinite(samples).all():
            raise InputError(
                f"a waveform {list(samples.shape)} has no samples or some are not finite; check its source"
            )
        mono = resample(map_channels(samples, 1), sample_rate, SAMPLE_RATE)
        return _pooled([mono], [self])[self.name]


def features_of_file(
    path: str | os.PathLike[str], names: Sequence[str], *, excerpt: tuple[float, float] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Compute several rows of an audio file from one decoding.

    Parameters
    ----------
    path
        Audio file, of any length: memory is bounded.
    names
        Of ``BASELINES``.
    excerpt
        Start and length in seconds; None for everything.

    Returns
    -------
    dict of np.ndarray [width]
        By name.

    Raises
    ------
    InputError
        There is no such row, or the excerpt is out of range.
    AudioError
        The file cannot be read (:func:`m2l2_mir.audio.stream`).
    """
    check_names(names)
    blocks = stream(path, sample_rate=SAMPLE_RATE, channels=1, excerpt=excerpt)
    return _pooled(blocks, [BASELINES[name] for name in names])


def check_names(names: Sequence[str]) -> None:
    """Raise an InputError unless all are names of ``BASELINES``."""
    for name in names:
        if name not in BASELINES:
            raise InputError(
                f"no baseline {name!r}{close_match(name, list(BASELINES))}; there are {', '.join(BASELINES)}"
            )


class _Moments:
    """Sums over frames."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, np.zeros(()), np.zeros(())

    def add(self, frames: NDArray[np.float64]) -> None:
        self.count += frames.shape[1]
        self.total = self.total + frames.sum(axis=1)
        self.squares = self.squares + np.sum(frames**2, axis=1)

    def row(self, *, spread: bool) -> NDArray[np.float32]:
        mean, square = self.total / self.count, self.squares / self.count
        variance = square - mean**2
        # A band that stays at the floor has none at all: a scaler would blow up what rounding leaves.
        variance[variance < _LEAST_VARIANCE * mean**2] = 0
        return np.concatenate([mean, *([np.sqrt(variance)] if spread else [])]).astype(np.float32)


def _pooled(blocks: Iterable[NDArray[np.float32]], baselines: Sequence[Baseline]) -> dict[str, NDArray[np.float32]]:
    """Rows by name, from sums over what is not silent of the segments; over all, where everything is."""
    heard, everything = ({baseline.name: _Moments() for baseline in baselines} for _ in range(2))
    for samples in _segments(blocks):
        segment = Segment(samples)
        for baseline in baselines:
            frames = baseline.frames(segment).astype(np.float64)
            everything[baseline.name].add(frames)
            heard[baseline.name].add(frames[:, segment.audible(frames.shape[1])])
    return {
        baseline.name: (heard if heard[baseline.name].count else everything)[baseline.name].row(spread=baseline.spread)
        for baseline in baselines
    }


def _segments(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Cut blocks [1, n] into segments of 80 chunks; the last, or only, one is what remains but no less than a chunk."""
    held: list[NDArray[np.float32]] = []
    length, first = 0, True
    for block in blocks:
        held.append(block[0])
        length += block.shape[1]
        if length >= SEGMENT:
            joined, whole = np.concatenate(held), length - length % SEGMENT
            yield from (joined[start : start + SEGMENT] for start in range(0, whole, SEGMENT))
            held, length, first = [joined[whole:]], length - whole, False
    if first or length >= CHUNK:
        yield np.pad(np.concatenate([np.empty(0, np.float32), *held]), (0, max(CHUNK - length, 0)))


BASELINES: dict[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline(
            name="log-mel",
            width=512,
            about="mean and standard deviation over frames of 256 log-mel bands up to 22.05 kHz: as wide as 8 x 64",
            frames=log_mel,
            spread=True,
        ),
        Baseline(
            name="mfcc",
            width=80,
            about="mean and standard deviation over frames of 20 MFCC (of 128 mel bands) and their deltas (9 frames)",
            frames=mfcc,
            spread=True,
        ),
        Baseline(
            name="chroma",
            width=12,
            about="mean over frames of the constant-Q chroma (7 octaves from C1, 36 bins each), tuning estimated",
            frames=chroma,
        ),
        Baseline(
            name="tempogram",
            width=384,
            about="mean over frames of the autocorrelation tempogram of the onset strength, windows of 8.9 s: sees the "
            "whole clip, so a ceiling for what hears it in chunks",
            frames=tempogram,
        ),
        Baseline(
            name="tempogram-chunks",
            width=32,
            about="mean over chunks of 0.743 s of the autocorrelation of the onset strength within each: the view of a "
            "model that hears chunks",
            frames=chunk_tempogram,
        ),
        Baseline(
            name="waveform",
            width=512,
            about="64 log powers in equal bands and 32 amplitude quantiles of each chunk, averaged, under a random "
            "projection (seeded, Gaussian); of rank 96",
            frames=waveform_statistics,
        ),
    )
}
