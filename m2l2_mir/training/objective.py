"""The losses of one step: consistency, explicit reconstruction, saturation; pure functions of batch, noise and step.

Sources: consistency training as in arXiv 2310.14189 with the constants of arXiv 2408.06500; the easy schedule of
arXiv 2406.14548. The explicit loss is this package's: it wakes the encoder early, and asks open question 2 of
arXiv 2501.17578.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2l2_mir.model import consistency, spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.networks import bound
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.schedules import consistency_step, explicit_weight, summary_noise
from m2l2_mir.training.targets import (
    DIFFERENCE_VARIANCE,
    SUMMARY_DIFFERENCE_VARIANCE,
    SUMMARY_SIZES,
    SUMMARY_VARIANCE,
    VARIANCE,
    Targets,
    explicit_targets,
    summary_targets,
    target_sizes,
)

__all__ = ["Losses", "Noise", "Objective", "draw_noise", "noise_levels"]

HUBER = 0.00054  # times sqrt(D): the constant of the pseudo-Huber loss
LINEAR_UNTIL = 1.5  # tanh(1.5) = 0.905: beyond, the bottleneck saturates


class Noise(NamedTuple):  # tuples, as Fabric walks through what a module takes and gives
    """What is drawn at random for a batch of windows, standard normal; empty where no loss asks for it."""

    log_sigma: Tensor  # [B, W]
    spectrogram: Tensor  # [B, W, channels, bins, frames]
    latents: Tensor  # [B, W, num_embeddings * latent_dim]


class Losses(NamedTuple):
    """Of one batch; every tensor but `total` is detached."""

    total: Tensor
    parts: dict[str, Tensor]  # scalars
    latents: Tensor  # [B * W, latent_tokens * token_dim] before the bound
    sigma: Tensor  # [B * W], empty where there is no consistency loss
    consistency: Tensor  # [B * W], of each chunk


def draw_noise(sample_ids: list[int], seed: int, config: ModelConfig, *, spectrogram: bool, latents: bool) -> Noise:
    """Noise that depends on the seed and a sample's id alone, whatever batch or process it is in."""
    shape = config.spectrogram_shape
    values = config.num_embeddings * config.latent_dim
    sizes = [(), shape, (values,)]
    drawn: list[list[Tensor]] = [[], [], []]
    for sample in sample_ids:
        for stream, wanted in enumerate((spectrogram, spectrogram, latents)):
            if wanted:
                state = np.random.SeedSequence([seed, sample, stream]).generate_state(1, np.uint64)[0]
                generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
                drawn[stream].append(torch.randn(config.context_chunks, *sizes[stream], generator=generator))
    return Noise(*(torch.stack(kind) if kind else torch.empty(0) for kind in drawn))


def noise_levels(drawn: Tensor, recipe: TrainingConfig, config: ModelConfig) -> Tensor:
    """Turn standard normal numbers into noise levels of the recipe's distribution, all inside the schedule's range."""
    least, most = config.sigma_min * 1.01, config.sigma_max
    mean, std = recipe.noise_mean, recipe.noise_std
    if recipe.noise_positions:
        # positions are spaced evenly in sigma^(1/rho): a normal density of log sigma over them has its mean moved
        mean += std**2 / config.rho
        low, high = (NormalDist(mean, std).cdf(math.log(sigma)) for sigma in (least, most))
        drawn = torch.special.ndtri(low + (high - low) * torch.special.ndtr(drawn.double())).to(drawn.dtype)
    return torch.exp(mean + std * drawn).clamp(least, most)


class Objective(nn.Module):
    """A model with the heads that only training needs."""

    def __init__(self, model: Music2Latent2, config: TrainingConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        frequencies, times = model.config.token_grid
        widths = {
            part: (frequencies * model.config.dim, bands * frames // times)
            for part, (bands, frames) in (target_sizes(model.config).items() if config.explicit_weight > 0 else ())
        }
        if config.summary_weight > 0:
            values = model.config.num_embeddings * model.config.latent_dim
            widths["summary"] = (values, sum(SUMMARY_SIZES.values()))
        self.heads = nn.ModuleDict({part: _silent(*width) for part, width in widths.items()})

    def forward(self, waveforms: Tensor, noise: Noise, step: int) -> Losses:
        """Losses of a batch.

        Parameters
        ----------
        waveforms : [B, channels, W * chunk_samples + overlap]
            W is `context_chunks` where there is a consistency loss, else any number of chunks.
        noise : Noise
            From :func:`m2l2_mir.training.steps.noise_of`.
        step : int
        """
        config, model = self.model.config, self.model
        blocks = waveforms.unfold(-1, config.chunk_samples + config.overlap, config.chunk_samples)
        chunks = blocks.transpose(1, 2).flatten(0, 1)  # (B * W, channels, samples)
        clean = spectrogram.analyze(chunks, config)
        unbounded = model.encoder(model.encoder_inputs(clean))
        latents = bound(unbounded.float(), config)
        tokens = model.upsampler.tokens(latents)
        parts: dict[str, Tensor] = {}
        total = waveforms.new_zeros(())

        weight = explicit_weight(step, self.config)
        targets = explicit_targets(chunks, config) if weight > 0 or self.config.summary_weight > 0 else {}
        if self.config.summary_weight > 0:
            summary = self._summary(latents.flatten(1) + self._hiss(noise, blocks.shape[2], step), targets)
            parts |= {f"summary_{name}": value for name, value in summary.items()}
            shares = {"spectrum": 1.0, "low_spectrum": 1.0} | {
                "chroma": self.config.chroma_weight,
                "rhythm": self.config.rhythm_weight,
            }
            total = total + self.config.summary_weight * sum(shares[name] * value for name, value in summary.items())
        if weight > 0:
            explicit = self._explicit(tokens, targets)
            parts |= {f"explicit_{name}": value for name, value in explicit.items()}
            shares = {"bands": 1.0, "low": self.config.low_weight, "onsets": self.config.onset_weight}
            total = total + weight * sum(shares[name] * value for name, value in explicit.items())
        kind, size = consistency_step(step, self.config)
        per_chunk = sigma = waveforms.new_zeros(0)
        if kind != "off":
            shape = (len(waveforms), config.context_chunks)
            features = model.upsampler.depatchifier(tokens)[1]
            per_chunk, sigma = self._consistency(
                clean.unflatten(0, shape), latents.unflatten(0, shape), features, noise, kind, size
            )
            parts["consistency"] = per_chunk.mean()
            total = total + self.config.consistency_weight * parts["consistency"]
        if self.config.saturation_weight > 0:
            parts["saturation"] = (unbounded.float().abs() - LINEAR_UNTIL).clamp(min=0).square().mean()
            total = total + self.config.saturation_weight * parts["saturation"]
        return Losses(
            total=total,
            parts={name: value.detach() for name, value in parts.items()},
            latents=unbounded.detach().flatten(1),
            sigma=sigma.detach(),
            consistency=per_chunk.detach(),
        )

    def _explicit(self, tokens: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Squared error of each part, about 1 where the mean of all music is predicted."""
        frequencies, times = self.model.config.token_grid
        columns = tokens.unflatten(1, (frequencies, times)).transpose(1, 2).flatten(2)  # (n, times, frequencies * dim)
        found = {}
        for part, target in targets.items():
            bands, frames = target.shape[1:]
            out = self.heads[part](columns).unflatten(2, (bands, frames // times))  # (n, times, bands, frames / times)
            estimate = out.transpose(1, 2).flatten(2).float()  # (n, bands, frames)
            share = self.config.difference_weight if part != "onsets" else 0.0
            error = (1 - share) * F.mse_loss(estimate, target) / VARIANCE[part]
            if share > 0:
                difference = F.mse_loss(estimate.diff(dim=1), target.diff(dim=1))
                error = error + share * difference / DIFFERENCE_VARIANCE[part]
            found[part] = error
        return found

    def _hiss(self, noise: Noise, chunks: int, step: int) -> Tensor | float:
        """What is added to latents [B * W, values] before the heads: what they need has to be written large."""
        if not len(noise.latents):
            return 0.0
        return summary_noise(step, self.config) * noise.latents[:, :chunks].flatten(0, 1).to(self.model.device)

    def _summary(self, latents: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Squared error of what a linear head reads from the latents, about 1 where the mean of all is predicted."""
        estimates = self.heads["summary"](latents).float().split(list(SUMMARY_SIZES.values()), dim=1)
        found = {}
        for (part, target), estimate in zip(summary_targets(targets).items(), estimates, strict=True):
            share = self.config.difference_weight if part in SUMMARY_DIFFERENCE_VARIANCE else 0.0
            error = (1 - share) * F.mse_loss(estimate, target) / SUMMARY_VARIANCE[part]
            if share > 0:
                difference = F.mse_loss(estimate.diff(dim=1), target.diff(dim=1))
                error = error + share * difference / SUMMARY_DIFFERENCE_VARIANCE[part]
            found[part] = error
        return found

    def _consistency(
        self, clean: Tensor, latents: Tensor, features: list[Tensor], noise: Noise, kind: str, size: float
    ) -> tuple[Tensor, Tensor]:
        """Pseudo-Huber distance between the estimates from two noise levels, each chunk, over the levels' distance.

        Of kind "phase", the distance from the clean magnitudes with the phases of the noisy input. From much noise the
        best estimate of a clean chunk is silence, and a network learns that first; this target is as loud as the
        chunk, and the clean chunk itself where there is little noise.
        """
        config = self.model.config
        high = noise_levels(noise.log_sigma.to(clean.device), self.config, config)
        if kind == "position":
            position = (consistency.position_of_sigma(high, config) - size).clamp(min=0)
            low = consistency.sigma_at(position, config)
        else:
            low = (high * (1 - size)).clamp(min=config.sigma_min)
        field = noise.spectrogram.to(clean.device)

        def estimate(sigma: Tensor) -> Tensor:
            return consistency.denoise(
                lambda x, level: self.model.consistency(x, level, latents, features),
                consistency.add_noise(clean, field, sigma),
                sigma,
                config,
            )

        student = estimate(high)
        distance: Tensor | float = high - low
        if kind == "phase":
            teacher = spectrogram.with_phases_of(clean, consistency.add_noise(clean, field, high), config)
            distance = 1.0
        elif kind == "clean":
            teacher = clean
        else:
            with torch.no_grad():
                teacher = estimate(low)
        size_of_chunk = math.prod(config.spectrogram_shape)
        constant = HUBER * math.sqrt(size_of_chunk)
        squared = (student.float() - teacher.float()).square().flatten(2).sum(2)
        per_chunk = ((squared + constant**2).sqrt() - constant) / distance
        return per_chunk.flatten() / math.sqrt(size_of_chunk), high.flatten()


def _silent(width: int, values: int) -> nn.Linear:
    """A head that starts at zero: else the latents are first trained to hide what a random one makes of them."""
    head = nn.Linear(width, values)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
