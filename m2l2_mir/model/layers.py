"""Building blocks: norms, attention and convolution blocks, with optional noise-level conditioning.

Conditioning multiplies a normalised activation by 1 + W c, with W zero at first. `c` is the embedding of one
noise level per chunk. Inside the transformers, activations are [batch, chunks, tokens, dim]; inside the
patchifiers, [batch * chunks, channels, bins, frames].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "ConvBlock",
    "Downsample",
    "GroupNorm",
    "LayerNorm",
    "Linear",
    "Transformer",
    "Upsample",
    "learned",
    "noise_embedding",
]

EPS = 1e-4  # of layer norm and of the RMS norm on queries and keys
GROUP_EPS = 1e-5
ALL = slice(None)


class Linear(nn.Linear):
    """`nn.Linear` that runs as a 1x1 convolution on the CPU.

    PyTorch sends matrix products to MKL and convolutions to oneDNN, which was 1.3 to 2.2 times as fast on the one
    processor measured (AMD, AVX-512). On another, run `benchmarks/linear.py` before believing it.
    """

    def forward(self, x: Tensor) -> Tensor:  # (..., in_features)
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, as :class:`Linear` runs it."""
    width = x.shape[-1]
    rows = x.numel() // width
    if x.device.type != "cpu" or rows < 32 or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    image = x.reshape(1, rows, width).transpose(1, 2).unsqueeze(2)  # channels last, without a copy
    # PyTorch leaves 1x1 convolutions on a single thread to MKL too, unless they are dilated: a no-op at this size.
    out = F.conv2d(image, weight[:, :, None, None], bias, dilation=2)
    return out.squeeze(2).transpose(1, 2).reshape(*x.shape[:-1], len(weight))


class LayerNorm(nn.Module):
    """Layer norm over the last axis with a learned gain, or with a gain given by the condition; no bias."""

    def __init__(self, dim: int, cond_dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        if cond_dim is None:
            self.weight = nn.Parameter(torch.ones(dim))
        else:
            self.gain = zero_(Linear(cond_dim, dim))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:  # x (B, W, n, dim), cond (B, W, cond_dim)
        if cond is None:
            return F.layer_norm(x, (self.dim,), self.weight, eps=EPS)
        return F.layer_norm(x, (self.dim,), eps=EPS) * (1 + self.gain(cond)).unsqueeze(-2)


class GroupNorm(nn.Module):
    """Group norm with a learned gain, or with a gain given by the condition; no bias."""

    def __init__(self, channels: int, cond_dim: int | None = None) -> None:
        super().__init__()
        self.groups = min(channels // 4, 32)
        if cond_dim is None:
            self.weight = nn.Parameter(torch.ones(channels))
        else:
            self.gain = zero_(Linear(cond_dim, channels))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:  # x (N, C, F, T), cond (N, cond_dim)
        if cond is None:
            return F.group_norm(x, self.groups, self.weight, eps=GROUP_EPS)
        return F.group_norm(x, self.groups, eps=GROUP_EPS) * (1 + self.gain(cond))[:, :, None, None]


class ConvBlock(nn.Module):
    """Residual block: norm, 3x3 convolution, SiLU, 3x3 convolution."""

    def __init__(self, channels: int, cond_dim: int | None = None) -> None:
        super().__init__()
        self.norm = GroupNorm(channels, cond_dim)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return _sum(x, self.conv_out(F.silu(self.conv_in(self.norm(x, cond)), inplace=True)))


class Downsample(nn.Module):
    """Mean over (frequency, time) cells, channels repeated, plus a learned strided convolution of the normed input."""

    def __init__(self, channels: int, out_channels: int, factor: tuple[int, int]) -> None:
        super().__init__()
        self.factor, self.repeat = factor, out_channels // channels
        self.norm = GroupNorm(channels)
        self.conv = nn.Conv2d(channels, out_channels, factor, stride=factor, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = F.avg_pool2d(x, self.factor)
        return _sum(mean.repeat_interleave(self.repeat, dim=1), self.conv(self.norm(x)))


class Upsample(nn.Module):
    """Mean over channel groups, spread over (frequency, time) cells, plus a learned transposed convolution."""

    def __init__(self, channels: int, out_channels: int, factor: tuple[int, int]) -> None:
        super().__init__()
        self.factor, self.out_channels = factor, out_channels
        self.norm = GroupNorm(channels)
        self.conv = nn.ConvTranspose2d(channels, out_channels, factor, stride=factor, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.unflatten(1, (self.out_channels, -1)).mean(2)
        spread = F.interpolate(mean, scale_factor=[float(f) for f in self.factor], mode="nearest")
        return _sum(spread, self.conv(self.norm(x)))


class Attention(nn.Module):
    """Multi-head self-attention over the tokens of a window, with RMS-normed queries and keys."""

    def __init__(self, dim: int, heads: int, sharpness: float = 1.0) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.query_norm = nn.Parameter(torch.full((dim // heads,), sharpness))
        self.key_norm = nn.Parameter(torch.ones(dim // heads))
        self.out = Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, causal: bool, mask: Tensor | None, keep: slice) -> Tensor:
        """Attend from the tokens `keep` of each chunk to all: [B, W, n, dim] -> [B, W, kept, dim]."""
        batch, chunks, tokens, dim = x.shape
        if keep == ALL:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
        else:
            q = linear(x[:, :, keep], self.qkv.weight[:dim])
            k, v = linear(x, self.qkv.weight[dim:]).chunk(2, dim=-1)
        kept = q.shape[2]
        q, k, v = (part.view(batch, -1, self.heads, dim // self.heads).transpose(1, 2) for part in (q, k, v))
        q = F.rms_norm(q, q.shape[-1:], self.query_norm.to(q.dtype), EPS)  # (B, heads, W kept, dim / heads)
        k = F.rms_norm(k, k.shape[-1:], self.key_norm.to(k.dtype), EPS)
        if causal and chunks > 1:
            # Chunk c sees chunks 0..c: one unmasked call a chunk costs less than one masked call for all.
            parts = [
                attend(queries, k[:, :, : end * tokens], v[:, :, : end * tokens])
                for end, queries in enumerate(q.split(kept, dim=2), start=1)
            ]
            out = torch.cat(parts, dim=2)
        else:
            out = attend(q, k, v, None if mask is None else mask[keep])
        return self.out(out.transpose(1, 2).reshape(batch, chunks, kept, dim))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention of queries [B, heads, m, e] over keys and values [B, heads, n, e].

    Inference on the CPU takes one head at a time where its scores fit into the cache, for the reason given at
    :class:`Linear`. Training there takes plain matrix products: the fused kernel's backward pass is slow in bfloat16.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled() and k.shape[2] <= 1024:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1) @ v
    own = q.device.type == "cpu" and mask is None and not torch.is_grad_enabled() and q.dtype == torch.float32
    if not own or not 256 <= k.shape[2] <= 1024:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    batch, heads, queries, width = q.shape
    out = q.new_empty(batch, queries, heads, width)  # as the caller wants it: heads side by side
    for sample in range(batch):
        for head in range(heads):
            weights = linear(q[sample, head] * width**-0.5, k[sample, head]).softmax(dim=-1)
            out[sample, :, head] = linear(weights, v[sample, head].T.contiguous())
    return out.transpose(1, 2)


class SwiGLU(nn.Module):
    """Gated feed-forward network."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = Linear(dim, 2 * hidden, bias=False)
        self.down = Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, hidden: int, cond_dim: int | None, sharpness: float) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dim, cond_dim)
        self.attention = Attention(dim, heads, sharpness)
        self.mlp_norm = LayerNorm(dim, cond_dim)
        self.mlp = SwiGLU(dim, hidden)

    def forward(self, x: Tensor, cond: Tensor | None, causal: bool, mask: Tensor | None, keep: slice) -> Tensor:
        x = _sum(x[:, :, keep], self.attention(self.attention_norm(x, cond), causal, mask, keep))
        return _sum(x, self.mlp(self.mlp_norm(x, cond)))


class Transformer(nn.Module):
    """Learned absolute positions, an input norm and pre-norm blocks over a window of chunks.

    `causal` lets a chunk see itself and earlier chunks only; `mask` [tokens, tokens], True where a query may see a
    key, is for windows of one chunk. `sharpness` is the length of queries at the start.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        layers: int,
        positions: int,
        *,
        cond_dim: int | None = None,
        causal: bool = False,
        sharpness: float = 1.0,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.positions = learned(positions, dim)
        self.norm_in = LayerNorm(dim, cond_dim)
        blocks = [Block(dim, heads, hidden, cond_dim, sharpness) for _ in range(layers)]
        for block in blocks:
            nn.init.xavier_uniform_(block.attention.qkv.weight)
            nn.init.xavier_uniform_(block.mlp.up.weight)
            nn.init.xavier_uniform_(block.attention.out.weight, gain=residual_scale(layers))
            nn.init.xavier_uniform_(block.mlp.down.weight, gain=residual_scale(layers))
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self, x: Tensor, cond: Tensor | None = None, *, keep: slice, mask: Tensor | None = None
    ) -> Tensor:  # (B, W, n, dim)
        """Return the tokens `keep` of each chunk; the last block computes no others."""
        chunks, tokens = x.shape[1:3]
        x = self.norm_in(x + self.positions[: chunks * tokens].view(chunks, tokens, -1), cond)
        for index, block in enumerate(self.blocks, start=1):
            x = block(x, cond, self.causal, mask, keep if index == len(self.blocks) else ALL)
        return x


def _sum(x: Tensor, branch: Tensor) -> Tensor:
    """x + branch in the memory of `branch`, unless autocast made that narrower than the residual stream."""
    return branch.add_(x) if branch.dtype == x.dtype else x + branch


def noise_embedding(sigma: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding of log(sigma) / 4, shape [..., dim]."""
    exponents = torch.arange(dim // 2, device=sigma.device, dtype=torch.float32) / (dim // 2 - 1)
    angles = torch.log(sigma.float())[..., None] / 4 * 10_000.0**-exponents
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def learned(count: int, dim: int) -> nn.Parameter:
    """Learned tokens [count, dim], random to begin with."""
    values = torch.empty(count, dim)
    if not values.is_meta:  # there drawing imports PyTorch's compiler, which takes longer than loading a model
        values = torch.randn(count, dim) * dim**-0.5
    return nn.Parameter(values)


def zero_(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> nn.Linear | nn.Conv2d | nn.ConvTranspose2d:
    """Set all parameters of `module` to zero, so that it starts as no-op in a residual or scale."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def residual_scale(blocks: int) -> float:
    """Gain, at initialisation, of what each of `blocks` residual blocks adds: the sum keeps its scale with depth."""
    return 1 / math.sqrt(2 * max(blocks, 1))
