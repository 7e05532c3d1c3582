"""What the explicit loss asks the upsampler to predict of a chunk: magnitudes on a logarithmic frequency axis.

Conventions
-----------
* Three parts: 192 bands of 24 an octave from 55 Hz on, each STFT frame of the model; 144 bands of 36 an octave from
  27.5 Hz on, from windows four times as long (low pitches); and the onset envelope of 8 octaves, each frame.
* Bands are triangles in log frequency, normalised to unit sum, at least one bin wide. Magnitudes are compressed
  by log(1 + 10 |X|) / 4, as the encoder's own magnitude channel.
* Every part is an array [n, values]: all bands and frames of the chunk, frames last.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from m2l2_mir.model.config import ModelConfig

__all__ = ["SUMMARY_SIZES", "Targets", "explicit_targets", "summary_targets", "target_sizes"]

BANDS, BANDS_AN_OCTAVE, LOWEST_HZ = 192, 24, 55.0
LOW_BANDS, LOW_BANDS_AN_OCTAVE, LOW_LOWEST_HZ = 144, 36, 27.5
LOW_WINDOW = 4  # times the model's
ONSET_OCTAVES = 8
CHROMA_FROM, CHROMA_TO = 3, 6  # octaves above the lowest band
RHYTHM_LAGS = 24  # frames
# Of 2,000 chunks of recorded and rendered music, each value apart, and of differences along frequency; fixed, so that a
# loss never depends on the rest of its batch.
VARIANCE = {"bands": 0.108, "low": 0.158, "onsets": 0.0048}
DIFFERENCE_VARIANCE = {"bands": 0.0100, "low": 0.0077}
SUMMARY_VARIANCE = {"spectrum": 0.085, "low_spectrum": 0.128, "chroma": 0.0040, "rhythm": 0.0106}
SUMMARY_DIFFERENCE_VARIANCE = {"spectrum": 0.0052, "low_spectrum": 0.0042}

Targets = dict[str, Tensor]


def target_sizes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Bands and frames of each part.

    >>> target_sizes(ModelConfig.preset("m2l2-small"))
    {'bands': (192, 32), 'low': (144, 8), 'onsets': (8, 32)}
    """
    return {
        "bands": (BANDS, config.chunk_frames),
        "low": (LOW_BANDS, config.chunk_frames // LOW_WINDOW),
        "onsets": (ONSET_OCTAVES, config.chunk_frames),
    }


def explicit_targets(chunks: Tensor, config: ModelConfig) -> Targets:
    """Targets of chunks of audio.

    Parameters
    ----------
    chunks : [n, channels, chunk_samples + overlap]
        As the encoder sees them (:func:`m2l2_mir.model.spectrogram.blocks`); channels are averaged.

    Returns
    -------
    dict of str to Tensor
        "bands" [n, 192, frames], "low" [n, 144, frames / 4], "onsets" [n, 8, frames].
    """
    mono = chunks.mean(1)
    magnitude = _magnitude(mono, config.n_fft, config.hop_length, config.chunk_frames)
    bands = _compress(_bank(config, BANDS, BANDS_AN_OCTAVE, LOWEST_HZ, config.n_fft, mono.device) @ magnitude)
    window = LOW_WINDOW * config.n_fft
    frames = config.chunk_frames // LOW_WINDOW
    padded = torch.nn.functional.pad(mono, (window // 2 - config.n_fft // 2,) * 2)
    long = _magnitude(padded, window, LOW_WINDOW * config.hop_length, frames)
    low_bank = _bank(config, LOW_BANDS, LOW_BANDS_AN_OCTAVE, LOW_LOWEST_HZ, window, mono.device)
    # a window four times as long gathers four times the amplitude of a steady tone
    low = _compress(low_bank @ long / LOW_WINDOW)
    octaves = bands.unflatten(1, (ONSET_OCTAVES, -1)).mean(2)
    rise = torch.diff(octaves, dim=-1, prepend=octaves[..., :1]).clamp(min=0)
    return {"bands": bands, "low": low, "onsets": rise}


SUMMARY_SIZES = {
    "spectrum": BANDS,
    "low_spectrum": LOW_BANDS,
    "chroma": 2 * 12,
    "rhythm": 3 * RHYTHM_LAGS,
}


def summary_targets(targets: Targets) -> Targets:
    """What a chunk is like as a whole, from its explicit targets.

    Returns
    -------
    dict of str to Tensor
        "spectrum" [n, 192] and "low_spectrum" [n, 144], means over the frames; "chroma" [n, 2 * 12], log
        magnitudes of 55 to 440 Hz (long windows) and of 440 to 3520 Hz, each folded into pitch classes from A on and of
        unit norm; "rhythm"
        [n, 3 * 24], autocorrelation of the onset envelopes of low, middle and high octaves by lag.
    """
    bands, onsets = targets["bands"], targets["onsets"]
    low = _folded(targets["low"][:, LOW_BANDS_AN_OCTAVE:], LOW_BANDS_AN_OCTAVE)
    high = _folded(bands[:, CHROMA_FROM * BANDS_AN_OCTAVE : CHROMA_TO * BANDS_AN_OCTAVE], BANDS_AN_OCTAVE)
    groups = torch.stack([onsets[:, low:high].sum(1) for low, high in ((0, 3), (3, 5), (5, 8))], 1)  # (n, 3, frames)
    centred = groups - groups.mean(2, keepdim=True)
    power = torch.fft.rfft(centred, n=2 * centred.shape[2]).abs().square()
    correlation = torch.fft.irfft(power)[..., : RHYTHM_LAGS + 1]
    rhythm = correlation[..., 1:] / (correlation[..., :1] + 0.05)
    return {
        "spectrum": bands.mean(2),
        "low_spectrum": targets["low"].mean(2),
        "chroma": torch.cat([low, high], dim=1),
        "rhythm": rhythm.flatten(1),
    }


def _folded(bands: Tensor, an_octave: int) -> Tensor:
    """Bands [n, octaves * an_octave, frames], the lowest on a pitch of 12-tone tuning -> pitch classes [n, 12]."""
    octave = bands.mean(2).unflatten(1, (-1, an_octave)).sum(1)
    each = an_octave // 12
    classes = octave.unflatten(1, (12, each))[:, :, 0]
    for offset in (1, -1):  # a band of quarter tones belongs to both neighbours, one of sixth tones to the nearer
        classes = classes + octave.roll(-offset, dims=1).unflatten(1, (12, each))[:, :, 0] / (2 if each == 2 else 1)
    return classes / classes.square().sum(1, keepdim=True).add(1e-6).sqrt()


def _magnitude(mono: Tensor, window: int, hop: int, frames: int) -> Tensor:
    """STFT magnitudes [n, bins, frames]."""
    cut = mono.unfold(-1, window, hop)[:, :frames]
    return torch.fft.rfft(cut * torch.hann_window(window, device=mono.device)).abs().transpose(1, 2)


def _compress(magnitude: Tensor) -> Tensor:
    return torch.log1p(10 * magnitude) / 4


@lru_cache(maxsize=8)
def _bank(config: ModelConfig, bands: int, an_octave: int, lowest: float, window: int, device: torch.device) -> Tensor:
    """Triangular bands [bands, bins] on a logarithmic axis, each summing to one."""
    frequencies = torch.arange(window // 2 + 1, dtype=torch.float64) * config.sample_rate / window
    position = an_octave * torch.log2(frequencies.clamp(min=1e-3) / lowest)  # of each bin, in bands
    centres = torch.arange(bands, dtype=torch.float64)
    # a band is never narrower than the distance of two bins there
    centre_hz = lowest * 2 ** (centres / an_octave)
    bin_width = an_octave * torch.log2(1 + config.sample_rate / window / centre_hz)
    width = bin_width.clamp(min=1.0)
    weights = (1 - (position[None, :] - centres[:, None]).abs() / width[:, None]).clamp(min=0)
    weights[centre_hz > config.sample_rate / 2] = 0
    return (weights / weights.sum(1, keepdim=True).clamp(min=1e-12)).float().to(device)
