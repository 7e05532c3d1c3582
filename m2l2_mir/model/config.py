"""The configuration of one model of the family, and the named presets.

Music2Latent2 (arXiv 2501.17578), its ablation with ordered latents, its successor CoDiCodec (arXiv 2509.09836)
and the small models of this package differ only in the values below. A configuration travels inside each
checkpoint; a new one is a TOML file with these keys.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from m2l2_mir.errors import ConfigError
from m2l2_mir.recipe import close_match, from_mapping, from_toml

__all__ = ["ModelConfig", "preset_names"]

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that decides the shape and the arithmetic of a model.

    >>> config = ModelConfig.preset("m2l2-small")
    >>> config.num_embeddings, config.latent_dim, config.chunk_samples
    (8, 64, 32768)
    """

    name: str

    # Audio and time-frequency representation
    sample_rate: int = 44100  # Hz
    channels: int = 1  # audio channels the model sees at once
    n_fft: int = 2048  # samples in one STFT frame
    hop_length: int = 1024  # samples between frames; the bins kept are n_fft / 2 (Nyquist is dropped)
    chunk_frames: int = 32  # STFT frames in one chunk
    amplitude_transform: Literal["component", "polar"] = "component"  # what |x|^power is applied to
    amplitude_scale: float = 0.34
    amplitude_power: float = 0.65

    # Patchifiers: spectrogram <-> tokens. One level = channels, blocks; between levels a (frequency, time) factor
    stem_patch: tuple[int, int] = (
        1,
        1,
    )  # (1, 1): a 3x3 convolution; else a linear map of (bins, frames) patches
    level_channels: tuple[int, ...] = (64, 128, 256, 512)
    level_blocks: tuple[int, ...] = (3, 3, 3, 1)  # of upsampler and consistency model
    encoder_blocks: tuple[int, ...] | None = None  # of the encoder; None: as level_blocks
    downsample: tuple[tuple[int, int], ...] = ((2, 2), (4, 1), (2, 2))
    magnitude_channel: bool = False  # the encoder also sees log magnitude
    envelope_tokens: int = 0  # octaves whose onset envelope and its autocorrelation the encoder also sees, as tokens

    # Transformers
    dim: int = 512
    heads: int = 4
    mlp_ratio: float = 2.0  # SwiGLU hidden width / dim
    encoder_layers: int = 12
    upsampler_layers: int = 12
    consistency_layers: int = 12
    registers: int = 8  # learned tokens in every sequence whose outputs are dropped
    noise_dim: int = 512  # width of the noise-level embedding

    # Latents
    num_embeddings: int = 8  # K
    latent_dim: int = 64  # d
    latent_tokens: int = 8  # tokens that carry the K * d values
    latents: Literal["summary", "ordered"] = "summary"  # ordered: token k is tied to the k-th time span
    bottleneck: Literal["tanh", "fsq"] = "tanh"
    fsq_levels: int = 11  # levels of each value of the "fsq" bottleneck (odd)
    latent_rescale: float | None = None  # embeddings are atanh(value) / rescale; None: the bounded value itself
    latents_in_consistency: bool = False  # the consistency transformer sees the latents too

    # Consistency model
    context_chunks: int = 2  # consecutive chunks in one window
    causal: bool = True  # a chunk sees itself and earlier chunks only
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    rho: float = 7.0

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_shapes()

    def _check_numbers(self) -> None:
        sizes = ("sample_rate", "channels", "n_fft", "hop_length", "chunk_frames", "dim", "heads", "context_chunks")
        layers = ("encoder_layers", "upsampler_layers", "consistency_layers")
        for field in (*sizes, *layers, "num_embeddings", "latent_dim", "latent_tokens", "fsq_levels"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} must be at least 1: {getattr(self, field)}")
        for field in ("amplitude_scale", "amplitude_power", "mlp_ratio", "sigma_min", "sigma_data", "rho"):
            if not getattr(self, field) > 0:
                raise ConfigError(f"{field} must be above 0: {getattr(self, field)}")
        if not self.sigma_min < self.sigma_max:
            raise ConfigError(f"sigma_min must lie below sigma_max: {self.sigma_min}, {self.sigma_max}")
        for field in ("registers", "envelope_tokens"):
            if getattr(self, field) < 0:
                raise ConfigError(f"{field} must not be negative: {getattr(self, field)}")
        if self.envelope_tokens and not (self.magnitude_channel and 2**self.envelope_tokens <= self.n_fft):
            raise ConfigError(
                f"envelope_tokens needs magnitude_channel, and at most one octave for each halving of n_fft / 2: "
                f"{self.envelope_tokens}"
            )
        if self.noise_dim < 4 or self.noise_dim % 2:
            raise ConfigError(f"noise_dim must be even and at least 4: {self.noise_dim}")
        if self.latent_rescale is not None and not self.latent_rescale > 0:
            raise ConfigError(f"latent_rescale must be above 0: {self.latent_rescale}")
        if self.bottleneck == "fsq" and self.fsq_levels % 2 == 0:
            raise ConfigError(f"fsq_levels must be odd: {self.fsq_levels}")
        for field, known in (
            ("amplitude_transform", ("component", "polar")),
            ("latents", ("summary", "ordered")),
            ("bottleneck", ("tanh", "fsq")),
        ):
            if getattr(self, field) not in known:
                raise ConfigError(f"{field} must be one of {known}: {getattr(self, field)!r}")

    def _check_shapes(self) -> None:
        if self.n_fft % self.hop_length or self.n_fft // self.hop_length < 2:
            raise ConfigError(
                f"n_fft must be a multiple of hop_length, at least twice it: {self.n_fft}, {self.hop_length}"
            )
        if not len(self.level_channels) == len(self.level_blocks) == len(self.downsample) + 1:
            raise ConfigError("level_channels and level_blocks need one entry a level, downsample one fewer")
        if self.encoder_blocks is not None and len(self.encoder_blocks) != len(self.level_blocks):
            raise ConfigError(f"encoder_blocks needs one entry a level: {self.encoder_blocks}")
        if min(self.level_blocks + (self.encoder_blocks or ())) < 0 or not any(self.level_blocks):
            raise ConfigError(
                f"level_blocks and encoder_blocks count blocks, and the latents reach the decoder through those of "
                f"level_blocks: {self.level_blocks}, {self.encoder_blocks}"
            )
        for narrow, wide in pairwise((*self.level_channels, self.level_channels[-1])):
            if narrow < 4 or narrow % min(narrow // 4, 32) or wide % narrow:
                raise ConfigError(
                    f"level_channels must be multiples of 32 (or of 4 below 128), each a multiple of the one before: "
                    f"{self.level_channels}"
                )
        if self.level_channels[-1] != self.dim:
            raise ConfigError(
                f"the last level must be as wide as the transformers: {self.level_channels[-1]} != {self.dim}"
            )
        factors = [self.stem_patch, *self.downsample]
        if min(min(pair) for pair in factors) < 1:
            raise ConfigError(f"stem_patch and downsample are factors of at least 1: {factors}")
        for axis, size in ((0, self.n_fft // 2), (1, self.chunk_frames)):
            if size % math.prod(factor[axis] for factor in factors):
                raise ConfigError(
                    f"{size} {('bins', 'frames')[axis]} do not divide by stem_patch and downsample: {factors}"
                )
        if (self.num_embeddings * self.latent_dim) % self.latent_tokens:
            raise ConfigError(
                f"{self.num_embeddings} x {self.latent_dim} values do not divide into {self.latent_tokens} tokens"
            )
        if self.dim % self.heads:
            raise ConfigError(f"dim must be a multiple of heads: {self.dim}, {self.heads}")
        if self.latents == "ordered":
            tokens, spans = self.token_grid[1], self.latent_tokens
            if tokens % spans and spans % tokens:
                raise ConfigError(
                    f"ordered latents need time positions and latent tokens that divide: {tokens}, {spans}"
                )

    # Derived sizes

    @property
    def overlap(self) -> int:
        """Samples that neighbouring STFT frames share."""
        return self.n_fft - self.hop_length

    @property
    def chunk_samples(self) -> int:
        """Samples from the start of one chunk to the start of the next."""
        return self.chunk_frames * self.hop_length

    @property
    def chunk_seconds(self) -> float:
        """Seconds from the start of one chunk to the start of the next."""
        return self.chunk_samples / self.sample_rate

    @property
    def bins(self) -> int:
        """Frequency bins of the spectrogram."""
        return self.n_fft // 2

    @property
    def spectrogram_shape(self) -> tuple[int, int, int]:
        """Shape (real and imaginary part of each channel, bins, frames) of one chunk."""
        return 2 * self.channels, self.bins, self.chunk_frames

    @property
    def token_grid(self) -> tuple[int, int]:
        """Audio tokens of one chunk along (frequency, time)."""
        factors = [self.stem_patch, *self.downsample]
        return self.bins // math.prod(f for f, _ in factors), self.chunk_frames // math.prod(t for _, t in factors)

    @property
    def audio_tokens(self) -> int:
        """Audio tokens of one chunk."""
        return math.prod(self.token_grid)

    @property
    def token_dim(self) -> int:
        """Values that each latent token carries."""
        return self.num_embeddings * self.latent_dim // self.latent_tokens

    @property
    def compression(self) -> float:
        """Waveform samples, over all channels, for each latent value."""
        return self.channels * self.chunk_samples / (self.num_embeddings * self.latent_dim)

    # Ways in and out

    @classmethod
    def preset(cls, name: str) -> ModelConfig:
        """Return the preset called `name` (see :func:`preset_names`).

        Raises
        ------
        ConfigError
            There is no such preset.
        """
        if name not in preset_names():
            raise ConfigError(
                f"no preset {name!r}{close_match(name, preset_names())}; presets: {', '.join(preset_names())}"
            )
        return cls.from_toml(PRESETS / f"{name}.toml")

    @classmethod
    def from_toml(cls, path: str | Path) -> ModelConfig:
        """Read a configuration from a TOML file."""
        return from_toml(cls, path)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Rebuild a configuration from :meth:`to_dict`."""
        return from_mapping(cls, values, source="the model configuration")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values that JSON can hold."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> ModelConfig:
        """Return a copy with `changes`."""
        return from_mapping(type(self), {**self.to_dict(), **changes})


def preset_names() -> list[str]:
    """Return the names of the presets, sorted.

    >>> "m2l2-small" in preset_names()
    True
    """
    return sorted(path.stem for path in PRESETS.glob("*.toml"))
