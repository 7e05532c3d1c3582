"""The figures of a clip and its reconstruction that are too long to be held in memory.

Conventions
-----------
- A stream is called to be read from its beginning, as often as needed, and gives blocks ``[channels, samples]`` of any
  length, in order. Reference and estimate are as long as each other; their blocks need not be.
- Figures are those of the whole clip, as :func:`m2l2_mir.quality.reconstruction.clip_figures` has them; memory holds
  one block of about 10 s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.quality.log_spectral import FLOOR, frame_distances
from m2l2_mir.quality.si_sdr import LIMIT
from m2l2_mir.quality.spectra import fft_size, power_spectra

__all__ = ["SEGMENT_SECONDS", "Stream", "segments", "stream_figures"]

SEGMENT_SECONDS = 10.0
"""Length of the pieces that a long clip is cut into, where a figure is one of short clips."""

Stream = Callable[[], Iterable[NDArray[np.floating]]]
Block = NDArray[np.float64]

_CONSTANT = 1e-20  # share of the energy that rounding leaves of a constant when its mean is taken away


def stream_figures(reference: Stream, estimated: Stream, *, sample_rate: int) -> dict[str, float]:
    """Compare a clip with its reconstruction, both read twice.

    Parameters
    ----------
    reference, estimated
        Streams of as many channels and samples.
    sample_rate
        Rate in Hz, of both.

    Returns
    -------
    dict
        As of :func:`m2l2_mir.quality.reconstruction.clip_figures`; nan where the reference is silent.

    Raises
    ------
    InputError
        Numbers of channels or samples differ, there are no samples, or a sample is not finite.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(1, 22050))
    >>> halves = lambda: iter([noise[:, :999], noise[:, 999:]])
    >>> figures = stream_figures(halves, lambda: [2 * noise], sample_rate=22050)
    >>> {name: round(value, 2) for name, value in figures.items()}
    {'log_spectral_distance': 6.02, 'log_spectral_distance_aligned': 0.0, 'si_sdr': 100.0}
    """
    window = fft_size(sample_rate)
    hop = window // 4
    size = max(round(SEGMENT_SECONDS * sample_rate), window)
    sums, samples, loudest = np.zeros(()), 0, 0.0
    for framed, block in _framed(_pairs(reference, estimated, size), window, hop):
        if block is not None:
            sums = sums + _sums(block)
            samples += block.shape[-1]
        for channel in framed[0]:
            loudest = max([loudest, *(float(power.max()) for power in power_spectra(channel, window=window, hop=hop))])
    if not samples:
        raise InputError("the clip has no samples to compare")
    if not np.isfinite(sums).all():
        raise InputError("the clip or its reconstruction holds NaN or infinity; it cannot be measured")
    figures = dict.fromkeys(("log_spectral_distance", "log_spectral_distance_aligned"), math.nan)
    if loudest > 0:
        energy = sums[2:4].sum(axis=1)
        gain = energy[0] / energy[1] if energy[1] > 0 else 1.0
        least = loudest * 10 ** (FLOOR / 10)
        total, frames = np.zeros(2), np.zeros(2)
        for framed, _ in _framed(_pairs(reference, estimated, size), window, hop):
            for channels in zip(*framed, strict=True):
                spectra = (power_spectra(channel, window=window, hop=hop) for channel in channels)
                for ours, theirs in zip(*spectra, strict=True):
                    for place, scale in enumerate((1.0, gain)):
                        found = frame_distances(ours, scale * theirs, least)
                        total[place] += found.sum()
                        frames[place] += len(found)
        figures = dict(zip(figures, (total / frames).tolist(), strict=True))
    return {**figures, "si_sdr": _si_sdr(sums, samples)}


def segments(reference: Stream, estimated: Stream, *, sample_rate: int) -> Iterator[NDArray[np.float64]]:
    """Cut a pair of streams into pieces of 10 s.

    Yields
    ------
    np.ndarray [2, channels, samples]
        Reference, estimate. The last piece is shorter; it is left out where it would be under 1 s and others are there.
    """
    first = True
    for pair in _pairs(reference, estimated, round(SEGMENT_SECONDS * sample_rate)):
        if first or pair.shape[-1] >= sample_rate:
            yield pair
        first = False


def _framed(pairs: Iterable[Block], window: int, hop: int) -> Iterator[tuple[Block, Block | None]]:
    """Give samples [2, channels, n] such that each frame of the whole clip lies in them once, and the block read."""
    carry: Block | None = None
    framed = False
    for block in pairs:
        joined = block if carry is None else np.concatenate([carry, block], axis=-1)
        count = max((joined.shape[-1] - window) // hop + 1, 0)
        end = (count - 1) * hop + window if count else 0
        yield joined[..., :end] if count else joined[:, :0], block
        framed = framed or count > 0
        carry = joined[..., count * hop :]
    if carry is not None and not framed:
        yield carry, None  # shorter than one frame, which is filled up


def _pairs(reference: Stream, estimated: Stream, size: int) -> Iterator[NDArray[np.float64]]:
    """Read both streams in step: [2, channels, <= size]."""
    for ours, theirs in itertools.zip_longest(_blocks(reference(), size), _blocks(estimated(), size)):
        if ours is None or theirs is None or ours.shape != theirs.shape:
            raise InputError(
                "the reconstruction has another length or number of channels than its reference; cut or pad it"
            )
        yield np.stack([ours, theirs])


def _blocks(stream: Iterable[NDArray[np.floating]], size: int) -> Iterator[NDArray[np.float64]]:
    """Cut a stream anew, into blocks of `size` samples; the last one may be shorter."""
    waiting: list[NDArray[np.float64]] = []
    held = 0
    for block in stream:
        waiting.append(np.asarray(block, dtype=np.float64))
        held += block.shape[-1]
        while held >= size:
            joined = np.concatenate(waiting, axis=-1)
            yield joined[:, :size]
            waiting, held = [joined[:, size:]], held - size
    if held:
        yield np.concatenate(waiting, axis=-1)


def _sums(block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of r, e, r^2, e^2 and r e by channel, [5, channels]."""
    reference, estimated = block
    products = (reference, estimated, reference**2, estimated**2, reference * estimated)
    return np.stack([product.sum(axis=-1) for product in products])


def _si_sdr(sums: NDArray[np.float64], samples: int) -> float:
    """SI-SDR without means, averaged over the channels that are not silent in the reference."""
    values = []
    for r, e, rr, ee, re in sums.T:
        ours, theirs, both = rr - r * r / samples, ee - e * e / samples, re - r * e / samples
        if ours <= _CONSTANT * rr:
            continue
        signal = both * both / ours
        noise = theirs - signal
        if theirs <= _CONSTANT * ee or signal <= 0:
            values.append(-LIMIT)
        elif noise <= 0:
            values.append(LIMIT)
        else:
            values.append(float(np.clip(10 * np.log10(signal / noise), -LIMIT, LIMIT)))
    return float(np.mean(values)) if values else math.nan
