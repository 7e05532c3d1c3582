"""The networks of Music2Latent (arXiv 2408.06500): encoder, upsampler (the paper's decoder), consistency UNet.

All are convolutional, so a stretch of any number of frames will do. Activations are [N, channels, bins, frames]; those
around the latents have one bin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2l2_mir.model.layers import noise_embedding, zero_
from m2l2_mir.model.music2latent_config import Music2LatentConfig
from m2l2_mir.model.music2latent_layers import Block, Downsample, Upsample, norm

__all__ = ["ConsistencyNetwork", "Encoder", "Upsampler"]

ALONG_TIME = (1, 3)
CACHE_BYTES = 20_000_000  # as in networks.py: larger feature maps only wait for memory


class Encoder(nn.Module):
    """Spectrogram [N, channels, bins, frames] -> latents [N, time steps, latent_dim]."""

    def __init__(self, config: Music2LatentConfig) -> None:
        super().__init__()
        self.config = config
        self.gain = nn.Parameter(torch.ones(config.bins, 1))
        self.stem = nn.Conv2d(config.spectrogram_shape[0], config.level_channels[0], 3, padding=1)
        widths = config.level_channels
        entering = (widths[0], *widths[:-1])  # its blocks, not its downsampling, change the number of channels
        self.levels = _levels(config, config.encoder_levels, entering, widths)
        self.down = nn.ModuleList(
            [
                Downsample(width, width, factor, normed=True)
                for width, factor in zip(widths[:-1], config.downsample, strict=True)
            ]
        )
        self.norm_features = norm(widths[-1])
        self.gather = nn.Conv2d(widths[-1], config.bottleneck_channels, (config.token_grid[0], 1))
        self.bottleneck = _bottleneck(config)
        self.norm_out = norm(config.bottleneck_channels)
        self.to_latents = nn.Conv2d(config.bottleneck_channels, config.latent_dim, 1)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Return the latents before tanh."""
        return torch.cat([self._latents(self._maps(part)) for part in self._parts(spectrograms)])

    def features(self, spectrograms: Tensor) -> Tensor:
        """Return the features before the bottleneck [N, time steps, channels * bins]."""
        maps = [self._maps(part) for part in self._parts(spectrograms)]
        return torch.cat(maps).flatten(1, 2).transpose(1, 2)

    def _parts(self, spectrograms: Tensor) -> Sequence[Tensor]:
        if spectrograms.device.type != "cpu" or torch.is_grad_enabled():
            return [spectrograms]
        size = spectrograms.element_size() * self.config.level_channels[0] * spectrograms[0, 0].numel()
        return spectrograms.split(max(1, CACHE_BYTES // size))

    def _maps(self, x: Tensor) -> Tensor:
        x = self.stem(x.contiguous(memory_format=torch.channels_last)) * self.gain
        for level, down in zip(self.levels, (*self.down, None), strict=True):
            for block in cast(nn.ModuleList, level):
                x = block(x)
            if down is not None:
                x = down(x)
        return self.norm_features(x)

    def _latents(self, maps: Tensor) -> Tensor:
        x = self.bottleneck(self.gather(maps))
        return self.to_latents(F.silu(self.norm_out(x), inplace=True)).squeeze(2).transpose(1, 2)


class Upsampler(nn.Module):
    """Latents [N, time steps, latent_dim] -> a feature map of each level for the consistency network, finest first."""

    def __init__(self, config: Music2LatentConfig) -> None:
        super().__init__()
        self.config = config
        self.from_latents = nn.Conv2d(config.latent_dim, config.bottleneck_channels, 1)
        self.bottleneck = _bottleneck(config)
        self.spread = nn.Conv2d(config.bottleneck_channels, config.dim, 1)
        widths = config.level_channels[::-1]
        self.levels = _levels(config, config.encoder_levels, config.level_channels, config.level_channels)[::-1]
        self.up = nn.ModuleList(
            [Upsample(*pair, factor) for pair, factor in zip(pairwise(widths), config.downsample[::-1], strict=True)]
        )

    def forward(self, latents: Tensor) -> list[Tensor]:
        x = self.spread(self.bottleneck(self.from_latents(latents.transpose(1, 2).unsqueeze(2))))
        x = x.squeeze(2).unflatten(1, (self.config.token_grid[0], -1)).transpose(1, 2)  # bins are the outer axis
        x = x.contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = []
        for level, up in zip(self.levels, (*self.up, None), strict=True):
            for block in cast(nn.ModuleList, level):
                x = block(x)
            found.append(x)
            if up is not None:
                x = up(x)
        return found[::-1]


class ConsistencyNetwork(nn.Module):
    """F(x, sigma): a noisy stretch of spectrogram -> denoising direction, guided by the upsampler's feature maps."""

    def __init__(self, config: Music2LatentConfig) -> None:
        super().__init__()
        self.config = config
        widths, dim, channels = config.level_channels, config.noise_dim, config.spectrogram_shape[0]
        self.noise_mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
        self.gain_in, self.gain_out = (
            nn.Sequential(
                nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), zero_(nn.Linear(dim, config.bins))
            )
            for _ in range(2)
        )
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.levels_down = _levels(config, config.level_blocks, widths, widths, noise_dim=dim)
        self.join_down = _joins(config)
        self.down = nn.ModuleList(
            [
                Downsample(*pair, factor, normed=False)
                for pair, factor in zip(pairwise(widths), config.downsample, strict=True)
            ]
        )
        self.levels_up = _levels(config, config.level_blocks, widths, widths, noise_dim=dim)[::-1]
        self.join_up = _joins(config)[::-1]
        self.up = nn.ModuleList(
            [
                Upsample(*pair, factor)
                for pair, factor in zip(pairwise(widths[::-1]), config.downsample[::-1], strict=True)
            ]
        )
        self.join_out = nn.Conv2d(widths[0], widths[0], 1)
        self.norm_out = norm(widths[0])
        self.head = zero_(nn.Conv2d(widths[0], channels, 3, padding=1))

    def forward(self, x: Tensor, sigma: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return F.

        Parameters
        ----------
        x : [N, channels, bins, frames], scaled noisy spectrograms
        sigma : [N], noise levels
        features : feature maps [N, channels, bins, frames] of the upsampler, finest first
        """
        embedding = noise_embedding(sigma, self.config.noise_dim).to(x.dtype)
        noise = self.noise_mlp(embedding)
        gain_in, gain_out = (1 + gain(embedding)[:, None, :, None] for gain in (self.gain_in, self.gain_out))

        x = self.stem(x.contiguous(memory_format=torch.channels_last)) * gain_in
        kept: list[Tensor] = []
        walk = zip(self.levels_down, self.join_down, features, (*self.down, None), strict=True)
        for blocks, joins, feature, down in walk:
            for block, join in zip(cast(nn.ModuleList, blocks), cast(nn.ModuleList, joins), strict=True):
                x = block(join(feature).add_(x).div_(math.sqrt(2)), noise)
                kept.append(x)
            if down is not None:
                x = down(x)
        walk = zip(self.levels_up, self.join_up, features[::-1], (*self.up, None), strict=True)
        for blocks, joins, feature, up in walk:
            for block, join in zip(cast(nn.ModuleList, blocks), cast(nn.ModuleList, joins), strict=True):
                x = block(join(feature).add_(x).add_(kept.pop()).div_(math.sqrt(3)), noise)
            if up is not None:
                x = up(x)
        x = self.join_out(features[0]).add_(x).div_(math.sqrt(2))
        return self.head(F.silu(self.norm_out(x), inplace=True) * gain_out)


def _bottleneck(config: Music2LatentConfig) -> nn.Sequential:
    width = config.bottleneck_channels
    return nn.Sequential(*(Block(width, width, kernel=ALONG_TIME) for _ in range(config.bottleneck_blocks)))


def _levels(
    config: Music2LatentConfig,
    counts: Sequence[int],
    entering: Sequence[int],
    widths: Sequence[int],
    *,
    noise_dim: int | None = None,
) -> nn.ModuleList:
    """Blocks of each level, finest first; the first of a level takes `entering` channels."""
    levels = []
    for count, first, width, attends in zip(counts, entering, widths, config.level_attention, strict=True):
        heads = config.heads if attends else None
        channels = [first] + [width] * (count - 1)
        levels.append(nn.ModuleList([Block(one, width, noise_dim=noise_dim, heads=heads) for one in channels]))
    return nn.ModuleList(levels)


def _joins(config: Music2LatentConfig) -> nn.ModuleList:
    """A projection of the upsampler's feature map for each block."""
    return nn.ModuleList(
        [
            nn.ModuleList([nn.Conv2d(width, width, 1) for _ in range(count)])
            for width, count in zip(config.level_channels, config.level_blocks, strict=True)
        ]
    )
