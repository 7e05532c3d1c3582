"""Building blocks of Music2Latent (arXiv 2408.06500): norm, attention, residual block, resampling.

Activations are [N, channels, bins, frames]. Attention looks along frequency only; group norms take their statistics
over the whole stretch, which is what ties an output to distant frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2l2_mir.model.layers import Linear, attend, zero_

__all__ = ["Block", "Downsample", "GroupNorm", "Upsample", "norm"]

BLOCK = 4096  # positions whose sums PyTorch is trusted with


class GroupNorm(nn.GroupNorm):
    """Group norm that stays exact over long stretches.

    PyTorch adds up channels-last activations on the CPU one after the other: over 640 frames of 1024 bins, normalised
    values were off by 1e-3. Here the statistics of blocks are put together.
    """

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, bins, frames = x.shape
        if x.device.type != "cpu" or torch.is_grad_enabled() or bins * frames <= BLOCK:
            return super().forward(x)
        rows = max(row for row in range(1, bins + 1) if bins % row == 0 and (row * frames <= BLOCK or row == 1))
        blocks = x.permute(0, 2, 3, 1).reshape(-1, rows, frames, channels).permute(0, 3, 1, 2)
        _, means, scales = torch.native_group_norm(
            blocks, None, None, len(blocks), channels, rows * frames, self.num_groups, self.eps
        )
        means, scales = (part.view(batch, -1, self.num_groups) for part in (means, scales))
        squares = scales**-2 - self.eps + means**2
        mean, square = (part.mean(1).repeat_interleave(channels // self.num_groups, 1) for part in (means, squares))
        variance = square - mean**2
        normed = [
            F.batch_norm(x[one : one + 1], mean[one], variance[one], self.weight, self.bias, eps=self.eps)
            for one in range(batch)
        ]
        return normed[0] if batch == 1 else torch.cat(normed)


class FrequencyAttention(nn.Module):
    """Residual self-attention of the bins of each frame."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm(channels)
        self.qkv = Linear(channels, 3 * channels)
        self.out = zero_(Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, bins, frames = x.shape
        tokens = self.norm(x).permute(0, 3, 2, 1).reshape(batch * frames, bins, channels)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(tokens).chunk(3, dim=-1))
        attended = attend(q, k, v).transpose(1, 2).reshape(batch, frames, bins, channels)
        return x + self.out(attended).permute(0, 3, 2, 1)


class Block(nn.Module):
    """Residual block: twice norm, SiLU, convolution; the noise level's embedding is added between."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        kernel: tuple[int, int] = (3, 3),
        noise_dim: int | None = None,
        heads: int | None = None,
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.norm_in = norm(channels)
        self.conv_in = nn.Conv2d(channels, out_channels, kernel, padding=padding)
        self.noise = zero_(nn.Linear(noise_dim, out_channels)) if noise_dim else None
        self.norm_out = norm(out_channels)
        self.conv_out = zero_(nn.Conv2d(out_channels, out_channels, kernel, padding=padding))
        self.shortcut = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else None
        self.attention = FrequencyAttention(out_channels, heads) if heads else None

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        y = self.conv_in(F.silu(self.norm_in(x), inplace=True))
        if self.noise is not None:
            y = y + self.noise(noise)[:, :, None, None]
        y = self.conv_out(F.silu(self.norm_out(y), inplace=True))
        x = y.add_(x if self.shortcut is None else self.shortcut(x))
        return x if self.attention is None else self.attention(x)


class Downsample(nn.Module):
    """Strided convolution over (frequency, time) cells and their borders."""

    def __init__(self, channels: int, out_channels: int, factor: tuple[int, int], *, normed: bool) -> None:
        super().__init__()
        kernel = _kernel(factor)
        self.norm = norm(channels) if normed else None
        self.conv = nn.Conv2d(channels, out_channels, kernel, factor, padding=(kernel[0] // 2, kernel[1] // 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.norm is None else self.norm(x))


class Upsample(nn.Module):
    """Each value repeated over a (frequency, time) cell, then a convolution.

    Computed as one transposed convolution whose kernel is the convolution's, reversed and summed over a cell: the same
    sums in another order, without the products that the repetition repeats.
    """

    def __init__(self, channels: int, out_channels: int, factor: tuple[int, int]) -> None:
        super().__init__()
        self.factor = factor
        kernel = _kernel(factor)
        self.conv = nn.Conv2d(channels, out_channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight.flip(2, 3).transpose(0, 1)
        for axis, factor in zip((2, 3), self.factor, strict=True):
            margin = (0, 0) * (3 - axis) + (factor - 1, factor - 1)
            weight = F.pad(weight, margin).unfold(axis, factor, 1).sum(-1)
        return F.conv_transpose2d(x, weight, self.conv.bias, self.factor, [factor // 2 for factor in self.factor])


def norm(channels: int) -> GroupNorm:
    """Return the group norm that all parts use."""
    return GroupNorm(min(channels // 4, 32), channels)


def _kernel(factor: tuple[int, int]) -> tuple[int, int]:
    """Of the convolutions that resample: a cell and half of its neighbours, at least."""
    frequency, time = (size + 1 if size > 1 else 1 for size in factor)
    return frequency, time
