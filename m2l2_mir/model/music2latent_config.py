"""The configuration of Music2Latent (arXiv 2408.06500), the UNet from which the family descends.

Audio, latents and noise schedule are described as in :class:`~m2l2_mir.model.config.ModelConfig`, so that whatever
takes one takes the other. There is no transformer: what describes one has no place here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from m2l2_mir.errors import ConfigError
from m2l2_mir.model.config import PRESETS, ModelConfig
from m2l2_mir.recipe import from_toml

__all__ = ["Music2LatentConfig"]

PRESET = PRESETS / "unet" / "music2latent.toml"

# Of ModelConfig, without a meaning here
ABSENT = (
    "stem_patch",
    "magnitude_channel",
    "envelope_tokens",
    "mlp_ratio",
    "encoder_layers",
    "upsampler_layers",
    "consistency_layers",
    "registers",
    "fsq_levels",
    "latent_rescale",
    "latents_in_consistency",
    "context_chunks",
    "causal",
)


@dataclass(frozen=True, kw_only=True)
class Music2LatentConfig(ModelConfig):
    """Everything that decides the shape and the arithmetic of a Music2Latent network.

    Latent k of a chunk is its k-th time step after all downsampling. `level_blocks` are those of the consistency
    network on its way down, and again on its way up; `encoder_blocks` those of the encoder and, mirrored, of the
    upsampler.

    >>> config = Music2LatentConfig.official()
    >>> config.num_embeddings, config.latent_dim, config.chunk_samples, config.compression
    (8, 64, 32768, 64.0)
    """

    architecture: Literal["unet"] = "unet"  # tells its mapping from that of a ModelConfig
    level_attention: tuple[bool, ...]  # whether the blocks of a level end with attention along frequency
    bottleneck_channels: int  # of the convolutions along time that lie on both sides of the latents
    bottleneck_blocks: int
    latent_scale: float  # embeddings are tanh values / latent_scale
    dim: int = 8192  # numbers a time step before the bottleneck: channels x bins of the last level
    latents: Literal["summary", "ordered"] = "ordered"

    @classmethod
    def official(cls) -> Music2LatentConfig:
        """Return the configuration of the published weights."""
        return from_toml(cls, PRESET)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values that JSON can hold; only what has a meaning here."""
        return {key: value for key, value in super().to_dict().items() if key not in ABSENT}

    @property
    def encoder_levels(self) -> tuple[int, ...]:
        """Blocks of each level of the encoder."""
        return self.encoder_blocks or self.level_blocks

    @property
    def latent_frames(self) -> int:
        """STFT frames that become one latent."""
        return self.chunk_frames // self.token_grid[1]

    def _check_shapes(self) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
        for field in ABSENT:
            if getattr(self, field) != defaults[field]:
                raise ConfigError(f"{field} has no meaning for {self.architecture!r}: {getattr(self, field)!r}")
        if (self.latents, self.bottleneck) != ("ordered", "tanh"):
            raise ConfigError(
                f"latents and bottleneck can only be 'ordered' and 'tanh': {self.latents!r}, {self.bottleneck!r}"
            )
        if self.bottleneck_channels < 4 or self.bottleneck_blocks < 0 or not self.latent_scale > 0:
            raise ConfigError(
                "bottleneck_channels must be at least 4, bottleneck_blocks 0, and latent_scale above 0: "
                f"{self.bottleneck_channels}, {self.bottleneck_blocks}, {self.latent_scale}"
            )
        if self.n_fft % self.hop_length or self.n_fft // self.hop_length < 2:
            raise ConfigError(
                f"n_fft must be a multiple of hop_length, at least twice it: {self.n_fft}, {self.hop_length}"
            )
        levels = len(self.level_channels)
        if any(len(each) != levels for each in (self.level_blocks, self.encoder_levels, self.level_attention)):
            raise ConfigError("level_blocks, encoder_blocks and level_attention need one entry a level")
        if len(self.downsample) != levels - 1 or min((*self.level_blocks, *self.encoder_levels)) < 1:
            raise ConfigError("downsample needs an entry between levels, and each level a block")
        for channels in (*self.level_channels, self.bottleneck_channels):
            if channels < 4 or channels % min(channels // 4, 32):
                raise ConfigError(f"channels must be multiples of 32 (or of 4 below 128): {channels}")
        for channels, attends in zip(self.level_channels, self.level_attention, strict=True):
            if attends and channels % self.heads:
                raise ConfigError(f"channels of levels with attention must be multiples of heads: {channels}")
        bins, frames = self.bins, self.chunk_frames
        for frequency, time in self.downsample:
            if frequency < 1 or time < 1 or bins % frequency or frames % time:
                raise ConfigError(f"{self.bins} bins, {self.chunk_frames} frames do not divide by {self.downsample}")
            if any(factor % 2 and factor > 1 for factor in (frequency, time)):
                raise ConfigError(f"downsample holds even factors, or 1: {self.downsample}")
            bins, frames = bins // frequency, frames // time
        if not self.latent_tokens == self.num_embeddings == frames:
            raise ConfigError(
                f"a chunk has {frames} time steps after downsampling: so many num_embeddings and latent_tokens, not "
                f"{self.num_embeddings} and {self.latent_tokens}"
            )
        if self.dim != self.level_channels[-1] * bins:
            raise ConfigError(f"dim is channels x bins of the last level, {self.level_channels[-1] * bins}: {self.dim}")
