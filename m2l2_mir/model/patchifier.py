"""Convolutional patchifier (spectrogram -> tokens) and de-patchifier (tokens -> spectrogram).

Both walk the same levels in opposite order and expose one feature map for each of their blocks. A feature map from
another network enters before the block of the same place as (x + f) / sqrt(2): the encoder's mirror image
(upsampler) feeds the consistency model's patchifier, which feeds its de-patchifier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.layers import ConvBlock, Downsample, GroupNorm, Upsample, residual_scale, zero_

__all__ = ["Depatchifier", "Patchifier"]


class Patchifier(nn.Module):
    """Spectrogram [N, channels, bins, frames] -> tokens [N, audio_tokens, dim], frequency-major."""

    def __init__(
        self, config: ModelConfig, in_channels: int, level_blocks: Sequence[int], cond_dim: int | None = None
    ) -> None:
        super().__init__()
        widths = config.level_channels
        if config.stem_patch == (1, 1):
            self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        else:
            self.stem = nn.Conv2d(in_channels, widths[0], config.stem_patch, stride=config.stem_patch)
        self.levels = _levels(widths, level_blocks, cond_dim)
        self.down = nn.ModuleList(
            [Downsample(*pair, factor) for pair, factor in zip(pairwise(widths), config.downsample, strict=True)]
        )
        _initialise(self)

    def forward(
        self, x: Tensor, gain: Tensor, cond: Tensor | None = None, features: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return tokens and the feature maps, finest first; `gain` [(N, 1,) stem bins, 1] scales the stem's output."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last)) * gain
        found: list[Tensor] = []
        for index, level in enumerate(self.levels):
            for block in cast(nn.ModuleList, level):
                x = block(x if features is None else _join(x, features[len(found)]), cond)
                found.append(x)
            if index < len(self.down):
                x = self.down[index](x)
        return x.flatten(2).transpose(1, 2), found


class Depatchifier(nn.Module):
    """Tokens [N, audio_tokens, dim] -> feature maps, and with `out_channels` a spectrogram."""

    def __init__(
        self,
        config: ModelConfig,
        level_blocks: Sequence[int],
        out_channels: int | None = None,
        cond_dim: int | None = None,
    ) -> None:
        super().__init__()
        widths = config.level_channels[::-1]
        self.grid = config.token_grid
        self.levels = _levels(widths, level_blocks[::-1], cond_dim)
        self.up = nn.ModuleList(
            [Upsample(*pair, factor) for pair, factor in zip(pairwise(widths), config.downsample[::-1], strict=True)]
        )
        self.head: nn.Conv2d | nn.ConvTranspose2d | None = None
        _initialise(self)
        if out_channels is not None:
            self.norm_out = GroupNorm(widths[-1], cond_dim)
            if config.stem_patch == (1, 1):
                head: nn.Conv2d | nn.ConvTranspose2d = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
            else:
                head = nn.ConvTranspose2d(widths[-1], out_channels, config.stem_patch, stride=config.stem_patch)
            zero_(head)
            self.head = head

    def forward(
        self, tokens: Tensor, cond: Tensor | None = None, features: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the finest map and all feature maps, finest first; `features` are finest first too."""
        x = tokens.transpose(1, 2).unflatten(2, self.grid)  # channels last, as the tokens lie in memory
        found: list[Tensor] = []
        for index, level in enumerate(self.levels):
            for block in cast(nn.ModuleList, level):
                x = block(x if features is None else _join(x, features[-1 - len(found)]), cond)
                found.append(x)
            if index < len(self.up):
                x = self.up[index](x)
        return x, found[::-1]

    def output(self, x: Tensor, gain: Tensor, cond: Tensor | None) -> Tensor:
        """Turn the finest map into a spectrogram; `gain` scales it before the last convolution."""
        if self.head is None:
            raise RuntimeError("this de-patchifier was built without an output")
        return self.head(self.norm_out(x, cond) * gain)


def _levels(widths: Sequence[int], level_blocks: Sequence[int], cond_dim: int | None) -> nn.ModuleList:
    return nn.ModuleList(
        [
            nn.ModuleList([ConvBlock(width, cond_dim) for _ in range(blocks)])
            for width, blocks in zip(widths, level_blocks, strict=True)
        ]
    )


def _join(x: Tensor, feature: Tensor) -> Tensor:
    return (x + feature) / math.sqrt(2)


def _initialise(module: nn.Module) -> None:
    """Xavier weights; the last convolution of a residual branch smaller, so that depth does not blow up the sum."""
    blocks = sum(isinstance(part, ConvBlock) for part in module.modules())
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, ConvBlock):
            nn.init.xavier_uniform_(part.conv_out.weight, gain=residual_scale(blocks))
