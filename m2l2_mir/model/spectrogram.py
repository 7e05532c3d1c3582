"""Waveform <-> chunks of complex spectrogram.

Conventions: periodic Hann window, unnormalised FFT, no centring, Nyquist bin dropped. A chunk is `chunk_frames`
frames; its channels are [left.re, left.im, right.re, right.im]. Amplitudes are compressed by
x -> scale * sign(x) |x|^power, on real and imaginary part apart (``"component"``, CoDiCodec) or on the magnitude
(``"polar"``, Music2Latent).

Chunk c begins at sample c * chunk_samples and looks back over the `n_fft - hop_length` samples before it, so it
can be encoded as soon as its last sample is known. Zeros are added in front and behind so that every sample lies
under as many frames as any other: the inverse is exact to the edges, but for the energy in the dropped bin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from m2l2_mir.errors import InputError
from m2l2_mir.model.config import ModelConfig

__all__ = [
    "Framing",
    "analyze",
    "blocks",
    "log_magnitude",
    "num_chunks",
    "real_samples",
    "synthesize",
    "to_complex",
]

Framing = Literal["full", "official"]
"""``"full"`` keeps every sample; ``"official"`` frames as the published packages do: nothing added in front, the
samples behind the last whole frame dropped, the last chunk filled with zero frames."""


def num_chunks(num_samples: int, config: ModelConfig, framing: Framing = "full") -> int:
    """Return how many chunks `num_samples` samples become.

    Raises
    ------
    InputError
        There is no sample, with official framing not one whole frame, or the framing is unknown.
    """
    _check_framing(framing)
    if framing == "official":
        frames = (num_samples - config.n_fft) // config.hop_length + 1
        if frames < 1:
            raise InputError(f"official framing needs {config.n_fft} samples, got {num_samples}; use framing='full'")
        return -(-frames // config.chunk_frames)
    if num_samples < 1:
        raise InputError("the waveform holds no sample")
    return -(-(num_samples + config.overlap) // config.chunk_samples)


def real_samples(num_samples: int, config: ModelConfig) -> list[int]:
    """Return how many of the `num_samples` samples begin in each chunk of the full framing; the sum is `num_samples`.

    >>> real_samples(40_000, ModelConfig.preset("m2l2-small"))
    [32768, 7232]
    """
    starts = range(0, num_chunks(num_samples, config) * config.chunk_samples, config.chunk_samples)
    return [min(max(num_samples - start, 0), config.chunk_samples) for start in starts]


def blocks(waveform: Tensor, config: ModelConfig, framing: Framing = "full") -> Tensor:
    """Cut a waveform [channels, samples] into overlapping blocks [chunks, channels, chunk_samples + overlap]."""
    samples = waveform.shape[-1]
    chunks = num_chunks(samples, config, framing)
    front = 0 if framing == "official" else config.overlap
    behind = chunks * config.chunk_samples + config.overlap - front - samples  # negative: cut off
    padded = torch.nn.functional.pad(waveform, (front, behind))
    return padded.unfold(-1, config.chunk_samples + config.overlap, config.chunk_samples).transpose(0, 1)


def analyze(chunk_blocks: Tensor, config: ModelConfig) -> Tensor:
    """Turn blocks [n, channels, chunk_samples + overlap] into spectrograms [n, 2 * channels, bins, frames]."""
    frames = chunk_blocks.unfold(-1, config.n_fft, config.hop_length)  # (n, c, frames, n_fft)
    spectrum = torch.fft.rfft(frames * _window(config, chunk_blocks.device))[..., : config.bins]
    # (n, c, frames, bins) complex -> (n, c, 2, bins, frames)
    parts = _compress(torch.view_as_real(spectrum), config).permute(0, 1, 4, 3, 2)
    return parts.flatten(1, 2).contiguous()


def synthesize(
    spectrograms: Iterable[Tensor],
    config: ModelConfig,
    num_samples: int | None = None,
    framing: Framing = "full",
) -> Iterator[Tensor]:
    """Turn a stream of spectrograms [2 * channels, bins, frames] into pieces of waveform [channels, samples].

    Memory holds one chunk. The pieces add up to `num_samples`; None: all that the chunks cover.
    """
    _check_framing(framing)
    window = synthesis_window(config)
    carry: Tensor | None = None
    skip = 0 if framing == "official" else config.overlap
    left = num_samples
    for spectrogram in spectrograms:
        spectrum = torch.nn.functional.pad(to_complex(spectrogram, config), (0, 0, 0, 1))  # Nyquist back, as zero
        frames = torch.fft.irfft(spectrum, n=config.n_fft, dim=-2) * window.to(spectrogram.device)[:, None]
        length = config.chunk_samples + config.overlap
        signal = torch.nn.functional.fold(frames, (1, length), (1, config.n_fft), stride=(1, config.hop_length))
        signal = signal[:, 0, 0]  # (c, chunk_samples + overlap)
        if carry is not None:
            signal[:, : config.overlap] += carry
        signal, carry = signal[:, : config.chunk_samples], signal[:, config.chunk_samples :]
        signal = signal[:, skip:]
        skip = 0
        if left is not None:
            signal = signal[:, :left]
            left -= signal.shape[-1]
        yield signal
    if framing == "official" and carry is not None:
        yield carry if left is None else carry[:, :left]


def to_complex(spectrogram: Tensor, config: ModelConfig) -> Tensor:
    """Undo the amplitude compression: [..., 2 * channels, bins, frames] -> complex [..., channels, bins, frames]."""
    parts = spectrogram.unflatten(-3, (-1, 2)).movedim(-3, -1)  # (..., c, bins, frames, 2)
    return torch.view_as_complex(_expand(parts, config).contiguous())


def log_magnitude(spectrogram: Tensor, config: ModelConfig) -> Tensor:
    """Log magnitude, about 0 to 2: [..., 2 * channels, bins, frames] -> [..., channels, bins, frames]."""
    if config.amplitude_transform == "polar":
        real, imaginary = spectrogram[..., 0::2, :, :], spectrogram[..., 1::2, :, :]
        magnitude = (torch.hypot(real, imaginary) / config.amplitude_scale) ** (1 / config.amplitude_power)
    else:
        power = 2 / config.amplitude_power
        squares = spectrogram.abs().pow_(power)
        squares = squares[..., 0::2, :, :] + squares[..., 1::2, :, :]
        magnitude = squares.mul_(config.amplitude_scale**-power).sqrt_()
    return torch.log1p(10 * magnitude) / 4


def with_phases_of(spectrogram: Tensor, other: Tensor, config: ModelConfig) -> Tensor:
    """The magnitudes of one spectrogram with the phases of another, both [..., 2 * channels, bins, frames]."""
    magnitudes, phases = to_complex(spectrogram, config).abs(), to_complex(other, config).angle()
    parts = _compress(torch.view_as_real(torch.polar(magnitudes, phases)), config)  # (..., c, bins, frames, 2)
    return parts.movedim(-1, -3).flatten(-4, -3).contiguous()


def synthesis_window(config: ModelConfig) -> Tensor:
    """The least-squares inverse of the analysis window: w / sum of the w^2 that overlap at each sample."""
    window = torch.hann_window(config.n_fft)
    overlapping = (window**2).reshape(-1, config.hop_length).sum(0)
    return window / overlapping.repeat(config.n_fft // config.hop_length)


def _check_framing(framing: str) -> None:
    if framing not in ("full", "official"):
        raise InputError(f"framing must be 'full' or 'official': {framing!r}")


@lru_cache(maxsize=8)
def _window(config: ModelConfig, device: torch.device) -> Tensor:
    return torch.hann_window(config.n_fft, device=device)


def _compress(parts: Tensor, config: ModelConfig) -> Tensor:
    """Amplitude compression; real and imaginary part on the last axis."""
    if config.amplitude_transform == "component":
        return parts.abs().pow_(config.amplitude_power).mul_(config.amplitude_scale).copysign_(parts)
    magnitude = torch.linalg.vector_norm(parts, dim=-1, keepdim=True)
    return parts * config.amplitude_scale * magnitude.clamp(min=1e-12) ** (config.amplitude_power - 1)


def _expand(parts: Tensor, config: ModelConfig) -> Tensor:
    """Inverse of :func:`_compress`."""
    parts = parts / config.amplitude_scale
    if config.amplitude_transform == "component":
        return parts.sign() * parts.abs() ** (1 / config.amplitude_power)
    magnitude = torch.linalg.vector_norm(parts, dim=-1, keepdim=True)
    return parts * magnitude.clamp(min=1e-12) ** (1 / config.amplitude_power - 1)
