"""Audio files to waveforms and back, in bounded memory.

file --decode--> blocks --map_channels--> blocks --resample--> blocks of ``[channels, samples]``

Conventions
-----------
- A waveform is ``float32 [channels, samples]`` with full scale at -1 and 1; nothing is clipped on reading.
- Channels are mixed before resampling. Equal numbers of channels pass unchanged; everything else goes
  through the mean of all channels, see :func:`map_channels`.
- ``n`` samples at rate ``a`` become exactly ``round(n * b / a)`` at rate ``b``, time-aligned.
  :func:`stream`, :func:`load` and :func:`resample` share one engine and agree.
- Every function may be called from several threads at once; there is no module-level state.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.audio_writing import write_blocks
from m2l2_mir.audiofile import AUDIO_EXTENSIONS, AudioInfo, Source, info_of, open_source, printable
from m2l2_mir.errors import AudioError, AudioWarning, InputError
from m2l2_mir.waveform import check_channels, check_rate, check_waveform, map_channels, resample, resampled

__all__ = ["AUDIO_EXTENSIONS", "AudioInfo", "load", "map_channels", "read_info", "resample", "save", "stream"]

# However many channels or Hz a header claims, a block stays below 64 MiB.
_MAX_BLOCK_VALUES = 1 << 24
# Encoders pad and round: only a larger gap between announced and decoded length is worth a warning.
_TOLERATED_SHORTFALL = 0.1


def read_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Return sample rate, channels and duration of a file, from its header.

    Parameters
    ----------
    path
        Audio file.

    Returns
    -------
    AudioInfo
        ``duration`` is nan where only decoding would tell.

    Raises
    ------
    AudioError
        The file is missing, unreadable, a folder, empty or not audio.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/a.wav", np.zeros((2, 4000)), 8000)
    ...     read_info(folder + "/a.wav")
    AudioInfo(sample_rate=8000, channels=2, duration=0.5)
    """
    with open_source(Path(path)) as source:
        return info_of(source)


def stream(
    path: str | os.PathLike[str],
    *,
    sample_rate: int,
    channels: int,
    excerpt: tuple[float, float] | None = None,
    block_seconds: float = 10.0,
) -> Iterator[NDArray[np.float32]]:
    """Decode a file block by block, at the wanted rate and number of channels.

    Memory is bounded by ``block_seconds``, whatever the length of the file.

    Parameters
    ----------
    path
        Audio file.
    sample_rate
        Wanted rate in Hz.
    channels
        Wanted number of channels, see :func:`map_channels`.
    excerpt
        Start and length in seconds; None for everything. Past the end there is less than asked for.
    block_seconds
        Upper bound on the length of a decoded block in seconds.

    Yields
    ------
    np.ndarray [channels, samples]
        float32, contiguous, never empty. Together they hold ``round(n * sample_rate / native_rate)``
        samples for the ``n`` decoded ones.

    Raises
    ------
    InputError
        An argument is out of range (raised by the call itself, all others while iterating).
    AudioError
        The file cannot be opened, has no samples, is damaged at some second, holds NaN or infinity, or
        the excerpt begins after its end. Blocks before the damage have been yielded by then.

    Warns
    -----
    AudioWarning
        The file ends earlier than its header announces.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/a.wav", np.zeros((2, 16000)), 8000)
    ...     blocks = stream(folder + "/a.wav", sample_rate=8000, channels=1, block_seconds=1)
    ...     [block.shape for block in blocks]
    [(1, 8000), (1, 8000)]
    """
    check_rate(sample_rate)
    check_channels(channels)
    if excerpt is not None and not (math.isfinite(sum(excerpt)) and excerpt[0] >= 0 and excerpt[1] > 0):
        raise InputError(f"excerpt is {excerpt}; it must be (start >= 0, length > 0) in seconds")
    if not block_seconds > 0:
        raise InputError(f"block_seconds is {block_seconds}; it must be positive")
    return _stream(Path(path), sample_rate, channels, excerpt, block_seconds)


def load(
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    channels: int | None = None,
    excerpt: tuple[float, float] | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Read a whole file, or an excerpt of it, into memory.

    Parameters
    ----------
    path
        Audio file.
    sample_rate
        Wanted rate in Hz; None for the file's own.
    channels
        Wanted number of channels; None for the file's own.
    excerpt
        Start and length in seconds; None for everything.

    Returns
    -------
    waveform : np.ndarray [channels, samples]
        float32.
    sample_rate : int
        Rate of the waveform in Hz.

    Raises
    ------
    InputError, AudioError
        As :func:`stream`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/a.wav", np.zeros((2, 44100)), 44100)
    ...     waveform, rate = load(folder + "/a.wav", sample_rate=22050, channels=1)
    >>> waveform.shape, rate
    ((1, 22050), 22050)
    """
    if sample_rate is None or channels is None:
        info = read_info(path)
        sample_rate = info.sample_rate if sample_rate is None else sample_rate
        channels = info.channels if channels is None else channels
    blocks = list(stream(path, sample_rate=sample_rate, channels=channels, excerpt=excerpt))
    # A file of very few samples may resample to none at all.
    waveform = np.concatenate(blocks, axis=1) if blocks else np.empty((channels, 0), np.float32)
    return waveform, sample_rate


def save(path: str | os.PathLike[str], waveform: NDArray[np.floating], sample_rate: int) -> None:
    """Write a waveform, in the format its extension names.

    WAV, FLAC, AIFF and their kin get 24 bits; ogg, opus and mp3 their usual quality. The file appears
    under its name only once it is complete.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    waveform : np.ndarray [channels, samples] or [samples]
        Full scale is -1 to 1.
    sample_rate
        Rate in Hz.

    Raises
    ------
    InputError
        The extension names no format that can be written, the format does not take this rate or number
        of channels, or the waveform holds NaN or infinity.
    AudioError
        The file cannot be written.

    Warns
    -----
    AudioWarning
        Values beyond full scale were clipped.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/a.flac", np.zeros(100), 44100)
    ...     load(folder + "/a.flac")[0].shape
    (1, 100)
    """
    path = Path(path)
    samples = np.atleast_2d(waveform)
    check_rate(sample_rate)
    check_waveform(samples)
    if not np.isfinite(samples).all():
        raise InputError(f"{printable(path)}: the waveform to write holds NaN or infinity; find out where it came from")
    clipped = write_blocks(path, [samples], sample_rate, len(samples))
    if clipped:
        warnings.warn(
            f"{printable(path)}: {clipped} of {samples.size} values are beyond full scale and were clipped",
            AudioWarning,
            stacklevel=2,
        )


def _stream(
    path: Path, sample_rate: int, channels: int, excerpt: tuple[float, float] | None, block_seconds: float
) -> Iterator[NDArray[np.float32]]:
    with open_source(path) as source:
        # Mixing down comes before resampling, doubling up after it: as few channels as possible in between.
        between = channels if source.channels == channels else 1
        size = min(round(block_seconds * source.sample_rate), _MAX_BLOCK_VALUES // source.channels)
        decoded = _decoded(path, source, excerpt, max(size, 1))
        mixed = (map_channels(block.T, between) for block in decoded)
        for block in resampled(mixed, between, source.sample_rate, sample_rate):
            yield np.ascontiguousarray(map_channels(block, channels), np.float32)


def _decoded(
    path: Path, source: Source, excerpt: tuple[float, float] | None, size: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the blocks of an excerpt ``[frames, channels]``, checked to be there and to be numbers."""
    rate, name = source.sample_rate, printable(path)
    first, count = 0, sys.maxsize
    if excerpt is not None:
        first, count = round(excerpt[0] * rate), max(round(excerpt[1] * rate), 1)
    frame = first
    # Seeking beyond the end is an error of its own, so ask the header first.
    if source.frames is not None and first >= source.frames:
        source.position = source.frames
    else:
        for block in source.blocks(first, count, size):
            finite = np.isfinite(block)
            if not finite.all():
                frame += int(np.argmin(finite.all(axis=1)))
                raise AudioError(f"{name}: holds NaN or infinity at {frame / rate:.3f} s; export the file again")
            frame += len(block)
            yield block
    if source.position == 0:
        raise AudioError(f"{name}: holds no samples; check how it was made")
    if frame == first:
        raise AudioError(
            f"{name}: the excerpt begins at {first / rate:g} s but the file lasts "
            f"{source.position / rate:.2f} s; choose an earlier start"
        )
    if source.frames is None:
        return
    if min(source.frames, first + count) - frame > _TOLERATED_SHORTFALL * rate:
        warnings.warn(
            f"{name}: ends after {frame / rate:.2f} s though its header announces "
            f"{source.frames / rate:.2f} s; it is cut off or damaged, what there is was used",
            AudioWarning,
            stacklevel=2,
        )
