"""The three networks of the autoencoder: encoder, upsampler, consistency network.

Sequences of one chunk are ordered [audio tokens | latent tokens | registers | envelope tokens]. Summary embeddings are
latent tokens that see, and are seen by, the whole chunk. With ordered latents the token k sees, and is seen by, the
audio tokens of the k-th time span only: an attention mask, so parameters, sequence and cost stay
equal. Audio tokens see each other in both, as in any codec whose receptive field is the chunk: from the second layer
on, token k can hold something of other spans too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.envelope import EnvelopeTokens
from m2l2_mir.model.layers import LayerNorm, Linear, Transformer, learned, noise_embedding, zero_
from m2l2_mir.model.patchifier import Depatchifier, Patchifier

__all__ = ["ConsistencyNetwork", "Encoder", "Upsampler"]

SHARPNESS = 4.0  # of the encoder's attention at the start: with 1, latent tokens average over all they see
CACHE_BYTES = 20_000_000  # chosen on one machine: larger feature maps were slower a chunk


class Encoder(nn.Module):
    """Spectrogram of one chunk -> latent tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.spectrogram_shape[0] + (config.channels if config.magnitude_channel else 0)
        self.gain = nn.Parameter(torch.ones(config.bins // config.stem_patch[0], 1))
        self.patchifier = Patchifier(config, inputs, config.encoder_blocks or config.level_blocks)
        self.latents = learned(config.latent_tokens, config.dim)
        self.registers = learned(config.registers, config.dim)
        self.envelope = EnvelopeTokens(config) if config.envelope_tokens else None
        self.transformer = Transformer(
            config.dim,
            config.heads,
            round(config.dim * config.mlp_ratio),
            config.encoder_layers,
            _sequence(config) + config.envelope_tokens,
            sharpness=SHARPNESS,
        )
        self.norm_out = LayerNorm(config.dim)
        self.to_bottleneck = Linear(config.dim, config.token_dim)
        if not self.to_bottleneck.weight.is_meta:  # see `learned`
            nn.init.normal_(self.to_bottleneck.weight, std=0.5 * config.dim**-0.5)  # tanh starts in its linear part
        nn.init.zeros_(self.to_bottleneck.bias)

    def features(self, inputs: Tensor) -> Tensor:
        """Encoder input [N, channels, bins, frames] -> features before the bottleneck [N, latent_tokens, dim]."""
        if inputs.device.type == "cpu" and not torch.is_grad_enabled():
            return torch.cat([self._features(part) for part in inputs.split(_cached_chunks(self.config))])
        return self._features(inputs)

    def _features(self, inputs: Tensor) -> Tensor:
        tokens, _ = self.patchifier(inputs, self.gain)
        extra = torch.cat([self.latents, self.registers]).expand(len(tokens), -1, -1)
        parts = [tokens, extra]
        if self.envelope is not None:
            parts.append(self.envelope(inputs[:, self.config.spectrogram_shape[0] :]))
        x = torch.cat(parts, dim=1).unsqueeze(1)
        latents = slice(self.config.audio_tokens, self.config.audio_tokens + self.config.latent_tokens)
        mask = _span_mask(self.config, self.config.registers + self.config.envelope_tokens, x.device)
        return self.norm_out(self.transformer(x, keep=latents, mask=mask)).squeeze(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Encoder input [N, channels, bins, frames] -> unbounded latent tokens [N, latent_tokens, token_dim]."""
        return self.to_bottleneck(self.features(inputs))


class Upsampler(nn.Module):
    """Latent tokens of one chunk -> the feature maps that guide the consistency network."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.from_latents = Linear(config.token_dim, config.dim)
        self.mask_tokens = learned(config.token_grid[0], config.dim)  # one for each frequency, at all times
        self.registers = learned(config.registers, config.dim)
        self.transformer = Transformer(
            config.dim,
            config.heads,
            round(config.dim * config.mlp_ratio),
            config.upsampler_layers,
            _sequence(config),
        )
        self.depatchifier = Depatchifier(config, config.level_blocks)

    def tokens(self, latents: Tensor) -> Tensor:
        """Latent tokens [N, latent_tokens, token_dim] -> audio tokens [N, audio_tokens, dim]."""
        audio = self.mask_tokens.repeat_interleave(self.config.token_grid[1], dim=0)
        audio, registers = (part.expand(len(latents), -1, -1) for part in (audio, self.registers))
        x = torch.cat([audio, self.from_latents(latents), registers], dim=1).unsqueeze(1)
        mask = _span_mask(self.config, self.config.registers, x.device)
        return self.transformer(x, keep=slice(self.config.audio_tokens), mask=mask).squeeze(1)

    def forward(self, latents: Tensor) -> list[Tensor]:
        """Latent tokens [N, latent_tokens, token_dim] -> feature maps [N, channels, bins, frames], finest first."""
        return self.depatchifier(self.tokens(latents))[1]


class ConsistencyNetwork(nn.Module):
    """F(x, sigma): noisy spectrograms of up to `context_chunks` consecutive chunks -> denoising direction."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        channels, cond = config.spectrogram_shape[0], config.noise_dim
        self.noise_mlp = nn.Sequential(*(part for _ in range(3) for part in (Linear(cond, cond), nn.SiLU())))
        stem_bins = config.bins // config.stem_patch[0]
        self.gain_mlp = nn.Sequential(
            Linear(cond, cond), nn.SiLU(), Linear(cond, cond), nn.SiLU(), zero_(Linear(cond, 2 * stem_bins))
        )
        self.patchifier = Patchifier(config, channels, config.level_blocks, cond)
        self.from_latents = Linear(config.token_dim, config.dim) if config.latents_in_consistency else None
        self.registers = learned(config.registers, config.dim)
        latents = config.latent_tokens if config.latents_in_consistency else 0
        self.transformer = Transformer(
            config.dim,
            config.heads,
            round(config.dim * config.mlp_ratio),
            config.consistency_layers,
            config.context_chunks * (config.audio_tokens + latents + config.registers),
            cond_dim=cond,
            causal=config.causal,
        )
        self.norm_out = LayerNorm(config.dim, cond)
        self.depatchifier = Depatchifier(config, config.level_blocks, channels, cond)

    def forward(self, x: Tensor, sigma: Tensor, latents: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return F for a window of W <= `context_chunks` chunks.

        Parameters
        ----------
        x : [B, W, channels, bins, frames], scaled noisy spectrograms
        sigma : [B, W], noise levels
        latents : [B, W, latent_tokens, token_dim]
        features : the upsampler's feature maps of the B * W chunks, each [B * W, channels, bins, frames]
        """
        batch, chunks = sigma.shape
        embedding = noise_embedding(sigma, self.config.noise_dim).to(x.dtype)
        cond = self.noise_mlp(embedding)  # (B, W, cond)
        flat_cond = cond.flatten(0, 1)
        gain_in, gain_out = (1 + self.gain_mlp(embedding).flatten(0, 1))[:, None, :, None].chunk(2, dim=2)

        tokens, skips = self.patchifier(x.flatten(0, 1), gain_in, flat_cond, features)
        parts = [tokens.unflatten(0, (batch, chunks))]
        if self.from_latents is not None:
            parts.append(self.from_latents(latents))
        parts.append(self.registers.expand(batch, chunks, -1, -1))
        y = self.transformer(torch.cat(parts, dim=2), cond, keep=slice(self.config.audio_tokens))
        y, _ = self.depatchifier(self.norm_out(y, cond).flatten(0, 1), flat_cond, skips)
        return self.depatchifier.output(y, gain_out, flat_cond).unflatten(0, (batch, chunks))


def bound(z: Tensor, config: ModelConfig) -> Tensor:
    """Bottleneck: unbounded latent values -> (-1, 1)."""
    # FSQ (arXiv 2309.15505), not rounded: the outermost of the odd number of levels lies 1e-3 inside the bound.
    return torch.tanh(z) * (1 - 1e-3) if config.bottleneck == "fsq" else torch.tanh(z)


def _cached_chunks(config: ModelConfig) -> int:
    """Chunks whose finest feature map a CPU's cache holds: larger batches only wait for memory."""
    stem_bins, stem_frames = config.bins // config.stem_patch[0], config.chunk_frames // config.stem_patch[1]
    return max(1, CACHE_BYTES // (4 * config.level_channels[0] * stem_bins * stem_frames))


def _sequence(config: ModelConfig) -> int:
    return config.audio_tokens + config.latent_tokens + config.registers


@lru_cache(maxsize=8)
def _span_mask(config: ModelConfig, others: int, device: torch.device) -> Tensor | None:
    """Mask of ordered latents [tokens, tokens], True where a query may see a key; None for summary embeddings.

    `others` are the tokens after the latent ones: registers and envelope tokens belong to no span of time, so that
    latent tokens do not see them.
    """
    if config.latents == "summary":
        return None
    times, count = config.token_grid[1], config.latent_tokens
    spans = min(times, count)  # the coarser of the two divisions of time
    audio_span = torch.arange(config.audio_tokens) % times * spans // times
    latent_span = torch.arange(count) * spans // count
    index = torch.arange(config.audio_tokens + count + others)
    audio = index < config.audio_tokens
    latent = ~audio & (index < config.audio_tokens + count)
    other = ~audio & ~latent
    span = torch.cat([audio_span, latent_span, torch.full((others,), -1)])
    same_span = span[:, None] == span[None, :]
    crossing = (audio[:, None] & latent[None, :]) | (latent[:, None] & audio[None, :])
    between = latent[:, None] & latent[None, :]
    bypass = (latent[:, None] & other[None, :]) | (other[:, None] & latent[None, :])
    return (torch.eye(len(span), dtype=torch.bool) | ~between & ~bypass & (~crossing | same_span)).to(device)
