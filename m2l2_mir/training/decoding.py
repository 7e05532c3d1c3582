"""One recording -> int16 samples in a scratch file, or the reason why it is left out.

Conventions
-----------
* Samples are little-endian int16 ``[samples, channels]``; what is beyond full scale is clipped.
* Digital silence (no sample beyond the last bit) is cut off at both ends. Inside it stays: the sampler passes over it.
* The bandwidth is the highest frequency at which the mean power spectrum lies within 90 dB of its peak. Music that was
  once at a lower sample rate, or through a strong low-pass, has nothing there but rounding.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import M2L2Error
from m2l2_mir.training.recordings import Recording

__all__ = ["FULL_SCALE", "Decoded", "LeftOut", "decode", "to_int16"]

FULL_SCALE = 32768
BANDWIDTH_DB = -90.0
_FFT = 2048


class LeftOut(M2L2Error):
    """A recording is sound, but nothing to train on."""


@dataclass(frozen=True)
class Decoded:
    """A decoded recording. ``file`` holds it from its start on, and is gone once it is closed."""

    file: IO[bytes]
    samples: int
    sha256: str


def decode(recording: Recording, *, sample_rate: int, channels: int, scratch: Path) -> Decoded:
    """Decode a recording in bounded memory, and look whether it is worth training on.

    Parameters
    ----------
    recording
        Where it comes from.
    sample_rate
        Wanted rate in Hz.
    channels
        Wanted number of channels; mono is the mean of all.
    scratch
        Folder for the scratch file.

    Returns
    -------
    Decoded
        Its hash is that of the samples, so that the same audio in two formats without loss has the same.

    Raises
    ------
    AudioError
        It cannot be decoded to its end.
    LeftOut
        It is silent, or has a lower bandwidth than its collection asks for.
    """
    least = recording.facts.min_bandwidth
    spectrum = _Spectrum(sample_rate) if least else None
    file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  # handed on with what is in it
    try:
        written = end = 0
        for block in recording.blocks(sample_rate, channels):
            if spectrum is not None:
                spectrum.add(block)
            samples = to_int16(block).T
            heard = np.flatnonzero(((samples > 1) | (samples < -1)).any(axis=1))
            if not end:
                if not len(heard):
                    continue
                samples, heard = samples[heard[0] :], heard - heard[0]
            if len(heard):
                end = written + int(heard[-1]) + 1
            file.write(samples.tobytes())
            written += len(samples)
        if not end:
            raise LeftOut("silent from beginning to end")
        if spectrum is not None and (found := spectrum.bandwidth()) < least:
            raise LeftOut(f"nothing above {found / 1000:.1f} kHz; {least / 1000:g} kHz is the least")
        file.truncate(end * channels * 2)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Decoded(file, end, digest)


def to_int16(waveform: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round a waveform to 16 bits; what is beyond full scale is clipped.

    >>> to_int16(np.array([-1.0, 0.5, 1.0])).tolist()
    [-32768, 16384, 32767]
    """
    return np.clip(np.rint(waveform * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")


class _Spectrum:
    """Mean power spectrum of all channels together, gathered block by block."""

    def __init__(self, sample_rate: int) -> None:
        self._bin = sample_rate / _FFT
        self._window = np.hanning(_FFT + 1)[:-1].astype(np.float32)
        self._power = np.zeros(_FFT // 2 + 1)

    def add(self, block: NDArray[np.float32]) -> None:
        # what is left over of a block is too little to matter
        frames = block[:, : block.shape[1] // _FFT * _FFT].reshape(-1, _FFT)
        self._power += np.square(np.abs(np.fft.rfft(frames * self._window))).sum(axis=0)

    def bandwidth(self) -> float:
        threshold = self._power.max() * 10 ** (BANDWIDTH_DB / 10)
        above = np.flatnonzero(self._power > threshold)
        # too short to have a spectrum: nothing can be said against it
        return float(above[-1] * self._bin) if len(above) else float("inf")
