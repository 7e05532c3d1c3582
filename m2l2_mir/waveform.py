"""Waveforms in memory: number of channels and sample rate.

The arithmetic behind :mod:`m2l2_mir.audio`, which offers its two public functions under its own name.

Conventions
-----------
- A waveform is ``[channels, samples]``, floating point, full scale at -1 and 1.
- ``n`` samples at rate ``a`` become exactly ``round(n * b / a)`` at rate ``b``, time-aligned (the delay of
  the filter is compensated), by the SoX resampler (soxr) at quality "HQ": about 20 bits, pass-band to
  0.91 of the lower Nyquist frequency.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from m2l2_mir.errors import InputError

_QUALITY = "HQ"
_BLOCK_SECONDS = 10


def map_channels(waveform: NDArray[np.floating], channels: int) -> NDArray[np.floating]:
    """Give a waveform another number of channels.

    The same number passes unchanged, so stereo stays stereo. Everything else becomes the mean of all
    channels, repeated: no assumption is made about which speaker a channel was meant for.

    Parameters
    ----------
    waveform : np.ndarray [c, samples]
        Any number of channels.
    channels
        Wanted number of channels.

    Returns
    -------
    np.ndarray [channels, samples]
        The input itself if nothing is to be done.

    Raises
    ------
    InputError
        ``waveform`` is not two-dimensional with at least one channel, or ``channels`` is below 1.

    Examples
    --------
    >>> map_channels(np.array([[1.0, 0.0], [0.0, 0.5]]), 1)
    array([[0.5 , 0.25]])
    >>> map_channels(np.array([[1.0, 0.0]]), 2)
    array([[1., 0.],
           [1., 0.]])
    """
    check_channels(channels)
    check_waveform(waveform)
    present = len(waveform)
    if present == channels:
        return waveform
    if present > 1:
        # Channel by channel: np.mean over so short an axis is far slower, and a matrix product wakes BLAS threads that
        # then spin on the cores that the encoder needs.
        mixed = waveform[0] + waveform[1]
        for channel in waveform[2:]:
            mixed += channel
        waveform = (mixed / present)[None]
    return np.repeat(waveform, channels, axis=0) if channels > 1 else waveform


def resample(waveform: NDArray[np.floating], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """Change the sample rate of a waveform.

    Parameters
    ----------
    waveform : np.ndarray [channels, n]
        Any float type; computed in float32.
    from_rate, to_rate
        Rates in Hz.

    Returns
    -------
    np.ndarray [channels, round(n * to_rate / from_rate)]
        float32; not copied if the rates are equal.

    Raises
    ------
    InputError
        ``waveform`` is not two-dimensional, or a rate is not positive.

    Examples
    --------
    >>> resample(np.zeros((2, 441)), 44100, 48000).shape
    (2, 480)
    """
    check_rate(from_rate)
    check_rate(to_rate)
    check_waveform(waveform)
    waveform = waveform.astype(np.float32, copy=False)
    step = _BLOCK_SECONDS * from_rate
    pieces = (waveform[:, i : i + step] for i in range(0, waveform.shape[1], step))
    blocks = list(resampled(pieces, len(waveform), from_rate, to_rate))
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks, axis=1) if blocks else np.empty((len(waveform), 0), np.float32)


def resampled(
    blocks: Iterable[NDArray[np.floating]], channels: int, from_rate: int, to_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Resample consecutive blocks ``[channels, n]`` to ``round(total * to_rate / from_rate)`` samples."""
    if from_rate == to_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality=_QUALITY)
    taken = given = 0
    for block in itertools.chain(blocks, [None]):
        chunk = np.zeros((0, channels), np.float32) if block is None else np.ascontiguousarray(block.T)
        taken += len(chunk)
        out = resampler.resample_chunk(chunk, last=block is None)
        if block is None:  # the resampler rounds halves otherwise than Python does
            missing = round(taken * to_rate / from_rate) - given
            out = np.pad(out[:missing], ((0, max(missing - len(out), 0)), (0, 0)))
        given += len(out)
        if len(out):
            yield np.ascontiguousarray(out.T)


def check_rate(sample_rate: int) -> None:
    if sample_rate < 1:
        raise InputError(f"a sample rate is {sample_rate} Hz; it must be positive")


def check_channels(channels: int) -> None:
    if channels < 1:
        raise InputError(f"channels is {channels}; it must be at least 1")


def check_waveform(waveform: NDArray[np.floating]) -> None:
    if waveform.ndim != 2 or len(waveform) < 1 or not np.issubdtype(waveform.dtype, np.floating):
        raise InputError(f"a waveform is {waveform.dtype} {list(waveform.shape)}; it must be float [channels, samples]")
