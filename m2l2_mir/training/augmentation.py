"""What is done to a crop before the model hears it: mixing, equaliser, low-pass, pitch and tempo, polarity, gain.

crop [+ partner] --mix--> --equalise--> --resample--> --swap, invert--> --gain--> window

Conventions
-----------
* All parameters of sample ``i`` follow from the seed and ``i`` (:func:`~m2l2_mir.training.sampling.uniforms`).
* Every step can be switched off; with all of them off a window is the crop, bit for bit.
* Both channels of stereo are treated alike.
* A window is cut from the middle of a longer crop (:meth:`Augmentation.crop_samples`), so that no edge of a filter is
  inside it.
* Gain is relative to the recording: quiet passages stay quieter than loud ones, and a wide range of it teaches the
  embedding the same music at all levels. It is lowered where the window would go beyond full scale, never clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.errors import ConfigError
from m2l2_mir.training.sampling import uniforms

__all__ = ["AUGMENTATION_STREAM", "Augmentation", "Parameters", "augment", "no_augmentation", "resample_by"]

AUGMENTATION_STREAM = 2  # of random numbers; 0 and 1 are those of crops and partners
PHASES = 64  # a ratio is PHASES steps out to so many in
_EDGE = 2048  # frames that the equaliser may spoil at each end of a crop
_ZERO_CROSSINGS = 24
_KAISER_BETA = 5.65  # 60 dB
_TILT_PIVOT, _TILT_RANGE = 1000.0, 4.0  # Hz; octaves on both sides
_LOW_PASS_OCTAVES = 1 / 6  # in which it falls from 1 to 0
_WIDTH = 10  # random numbers a sample


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How strongly windows are varied; probabilities of 0 and empty ranges switch a step off.

    Parameters
    ----------
    mix
        Probability that another crop is added.
    mix_db
        Level of the other crop against the first one's, in dB of RMS.
    semitones
        Pitch and tempo go up or down together by up to so much, as on a record player.
    tilt
        Probability of a tilted spectrum.
    tilt_db
        Slope in dB an octave, drawn between minus and plus this.
    low_pass
        Probability of a steep low-pass, as lossy formats and old recordings have.
    low_pass_hz
        Range of its frequency, drawn evenly in octaves.
    swap
        Probability that left and right are exchanged.
    invert
        Probability that the polarity is.
    gain_db
        Range of the gain in dB.
    """

    mix: float = 0.5
    mix_db: tuple[float, float] = (-12.0, 0.0)
    semitones: float = 2.0
    tilt: float = 0.3
    tilt_db: float = 1.5
    low_pass: float = 0.2
    low_pass_hz: tuple[float, float] = (4000.0, 16000.0)
    swap: float = 0.5
    invert: float = 0.5
    gain_db: tuple[float, float] = (-18.0, 6.0)

    def __post_init__(self) -> None:
        for name in ("mix", "tilt", "low_pass", "swap", "invert"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in 0 to 1: {getattr(self, name)}")
        for name in ("mix_db", "gain_db", "low_pass_hz"):
            if len(getattr(self, name)) != 2 or getattr(self, name)[0] > getattr(self, name)[1]:
                raise ConfigError(f"{name} must be two values, the lower one first: {getattr(self, name)}")
        if not 0 <= self.semitones <= 12:
            raise ConfigError(f"semitones must lie in 0 to 12: {self.semitones}")
        if self.low_pass_hz[0] <= 0 or self.tilt_db < 0:
            raise ConfigError(f"low_pass_hz must be above 0 and tilt_db not below: {self.low_pass_hz}, {self.tilt_db}")

    def crop_samples(self, samples: int) -> int:
        """Length of the crop that a window of `samples` is cut from."""
        edge = _EDGE if self.tilt or self.low_pass else 0
        return 2 * edge + _input_samples(samples, self._steps()[1])

    def draw(self, seed: int, sample_ids: Sequence[int]) -> Parameters:
        """Draw the parameters of each sample."""
        drawn = uniforms(seed, sample_ids, AUGMENTATION_STREAM, _WIDTH).T
        lowest, highest = self._steps()
        low, high = (math.log2(hertz) for hertz in self.low_pass_hz)
        # even in octaves: a step of p / PHASES is as likely as it is wide
        pitch = PHASES * 2 ** ((2 * drawn[2] - 1) * self.semitones / 12)
        return Parameters(
            mix_gain=np.where(drawn[0] < self.mix, 10 ** (_between(*self.mix_db, drawn[1]) / 20), 0.0),
            steps=np.clip(np.rint(pitch), lowest, highest).astype(np.int64),
            tilt_db=np.where(drawn[3] < self.tilt, (2 * drawn[4] - 1) * self.tilt_db, 0.0),
            low_pass_hz=np.where(drawn[5] < self.low_pass, 2 ** _between(low, high, drawn[6]), np.inf),
            swap=drawn[7] < self.swap,
            polarity=np.where(drawn[8] < self.invert, -1.0, 1.0),
            gain=10 ** (_between(*self.gain_db, drawn[9]) / 20),
        )

    def _steps(self) -> tuple[int, int]:
        """Fewest and most steps in for :data:`PHASES` out."""
        ratio = 2 ** (self.semitones / 12)
        return math.ceil(PHASES / ratio), math.floor(PHASES * ratio)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What is done to each of ``n`` crops; every array is ``[n]``.

    Parameters
    ----------
    mix_gain
        RMS of the partner against the crop's; 0: no partner.
    steps
        The window has :data:`PHASES` samples where the crop has so many.
    tilt_db
        dB an octave.
    low_pass_hz
        Hz; infinite for none.
    swap
        Whether left and right are exchanged.
    polarity
        1 or -1.
    gain
        Factor.
    """

    mix_gain: NDArray[np.float64]
    steps: NDArray[np.int64]
    tilt_db: NDArray[np.float64]
    low_pass_hz: NDArray[np.float64]
    swap: NDArray[np.bool_]
    polarity: NDArray[np.float64]
    gain: NDArray[np.float64]


def no_augmentation() -> Augmentation:
    """Everything switched off.

    >>> no_augmentation().crop_samples(32768)
    32768
    """
    return Augmentation(mix=0, semitones=0, tilt=0, low_pass=0, swap=0, invert=0, gain_db=(0, 0))


def augment(
    crops: Tensor, partners: Tensor | None, parameters: Parameters, *, samples: int, sample_rate: int
) -> Tensor:
    """Turn crops into windows.

    Parameters
    ----------
    crops : torch.Tensor [n, channels, crop_samples]
        See :meth:`Augmentation.crop_samples`.
    partners : torch.Tensor [m, channels, crop_samples]
        For the m samples whose ``mix_gain`` is above 0, in order; None for none.
    parameters
        Of the n samples.
    samples
        Length of a window.
    sample_rate
        Hz.

    Returns
    -------
    torch.Tensor [n, channels, samples]
        On the device of `crops`.
    """
    mixed = np.flatnonzero(parameters.mix_gain)
    if partners is not None and len(mixed):
        crops = crops.clone()
        crops[_on(mixed, crops)] = _mixed(crops[_on(mixed, crops)], partners, parameters.mix_gain[mixed])
    filtered = np.flatnonzero((parameters.tilt_db != 0) | np.isfinite(parameters.low_pass_hz))
    if len(filtered):
        crops = crops.clone()
        shape = parameters.tilt_db[filtered], parameters.low_pass_hz[filtered]
        crops[_on(filtered, crops)] = _equalised(crops[_on(filtered, crops)], *shape, sample_rate)
    windows = torch.stack(
        [resample_by(crop, steps, samples) for crop, steps in zip(crops, parameters.steps.tolist(), strict=True)]
    )
    if crops.shape[1] == 2 and parameters.swap.any():
        swapped = _on(np.flatnonzero(parameters.swap), crops)
        windows[swapped] = windows[swapped].flip(1)
    gain = torch.as_tensor(parameters.gain, dtype=windows.dtype, device=windows.device)
    peak = windows.abs().amax(dim=(1, 2)) * gain
    gain = torch.where(peak > 1, gain / peak, gain)
    polarity = torch.as_tensor(parameters.polarity, dtype=windows.dtype, device=windows.device)
    return windows * (gain * polarity)[:, None, None]


def resample_by(crop: Tensor, steps: int, samples: int) -> Tensor:
    """Play the middle of a crop `steps` / :data:`PHASES` times as fast: polyphase, windowed sinc, -60 dB.

    Parameters
    ----------
    crop : torch.Tensor [channels, crop_samples]
        Long enough, see :meth:`Augmentation.crop_samples`.
    steps
        More than :data:`PHASES` raises pitch and tempo, fewer lower them.
    samples
        Wanted.

    Returns
    -------
    torch.Tensor [channels, samples]
    """
    needed = _input_samples(samples, steps)
    start = (crop.shape[-1] - needed) // 2
    middle = crop[:, start : start + needed]
    if steps == PHASES:
        return middle
    kernel = _kernel(steps).to(crop)  # [length, PHASES]
    frames = middle.unfold(-1, kernel.shape[0], steps)  # [channels, frames, length]
    return (frames @ kernel).flatten(1)[:, :samples]


def _input_samples(samples: int, steps: int) -> int:
    """How much of a crop :func:`resample_by` looks at."""
    if steps == PHASES:
        return samples
    return (-(-samples // PHASES) - 1) * steps + 2 * _ZERO_CROSSINGS + steps


@lru_cache(maxsize=4 * PHASES)
def _kernel(steps: int) -> Tensor:
    """Weights [length, PHASES]: output j of a frame lies at input ``j * steps / PHASES + _ZERO_CROSSINGS``."""
    length = 2 * _ZERO_CROSSINGS + steps
    at = np.arange(PHASES) * steps / PHASES + _ZERO_CROSSINGS
    distance = np.arange(length)[:, None] - at
    # below the lower one of both Nyquist frequencies, by half of the transition that the window's length allows
    cutoff = min(1.0, PHASES / steps) - 0.5 * (60 - 7.95) / (14.36 * _ZERO_CROSSINGS)
    inside = np.sqrt(np.clip(1 - (distance / _ZERO_CROSSINGS) ** 2, 0, None))
    window = np.where(np.abs(distance) < _ZERO_CROSSINGS, np.i0(_KAISER_BETA * inside) / np.i0(_KAISER_BETA), 0)
    weights = cutoff * np.sinc(cutoff * distance) * window
    return torch.from_numpy(weights / weights.sum(axis=0)).float()


def _mixed(crops: Tensor, partners: Tensor, gains: NDArray[np.float64]) -> Tensor:
    level, other = (x.square().mean(dim=(1, 2), keepdim=True).sqrt() for x in (crops, partners))
    wanted = torch.as_tensor(gains, dtype=crops.dtype, device=crops.device)[:, None, None]
    # the floor keeps the noise of a partner that is nearly silent from being blown up
    return crops + partners * (wanted * level / other.clamp_min(1e-4))


def _equalised(crops: Tensor, tilt_db: NDArray[np.float64], low_pass_hz: NDArray[np.float64], rate: int) -> Tensor:
    """Filter without shifting any phase; the ends of a crop run into each other and are cut off later."""
    length = crops.shape[-1]
    padded = _fast_length(length)
    hertz = torch.arange(padded // 2 + 1, device=crops.device) * (rate / padded)
    octaves = torch.log2(hertz.clamp_min(1.0) / _TILT_PIVOT).clamp(-_TILT_RANGE, _TILT_RANGE)
    tilt, cut = (torch.as_tensor(x, dtype=torch.float32, device=crops.device)[:, None] for x in (tilt_db, low_pass_hz))
    above = torch.log2(hertz.clamp_min(1.0) / cut) / _LOW_PASS_OCTAVES  # 0 to 1 where it falls
    response = 10 ** (tilt * octaves / 20) * torch.cos(above.clamp(0, 1) * (math.pi / 2)).square()
    spectrum = torch.fft.rfft(crops, n=padded) * response[:, None]
    return torch.fft.irfft(spectrum, n=padded)[..., :length]


def _fast_length(length: int) -> int:
    """Next length of the form 2^a times 1, 3, 5 or 9: others can be many times slower to transform."""
    return min(factor << max(0, math.ceil(math.log2(length / factor))) for factor in (1, 3, 5, 9))


def _between(low: float, high: float, share: NDArray[np.float64]) -> NDArray[np.float64]:
    return low + (high - low) * share


def _on(index: NDArray[np.int64], like: Tensor) -> Tensor:
    return torch.from_numpy(index).to(like.device)
