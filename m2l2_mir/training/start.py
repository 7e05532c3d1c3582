"""Where training starts: the bottleneck and the heads are fitted to a few hundred windows before the first step.

A random encoder gives nearly the same latents whatever it hears: what varies is small beside the learned tokens, and
the loss falls only after hundreds of steps in which the latents first collapse. So, as in arXiv 1511.06422 (unit
variance layer by layer) and arXiv 1602.07868 (section 3), the last layer before the bottleneck is set from data: it
keeps the principal directions in which a latent token's features vary between chunks, whitened, and leaves out those in
which the tokens differ whatever is heard. The heads start by predicting the mean of their targets.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.targets import SUMMARY_SIZES, explicit_targets, summary_targets
from m2l2_mir.training.watch import Batches

__all__ = ["respread", "start", "start_bottleneck", "start_heads"]

START_IDS = range(2**41, 2**41 + 256)  # windows that neither training nor evaluation reaches
SPREAD = 0.5  # standard deviation of the unbounded latents: tanh is nearly linear there
_LEAST, _NOTHING = 0.02, 1e-4  # of the largest spread
_PART = 32  # windows at once


def start(objective: Objective, batches: Batches, *, new: bool) -> None:
    """Fit bottleneck and heads to windows of the training data.

    Parameters
    ----------
    objective
        Changed in place.
    batches
        The training data.
    new
        Whether the model has random weights; else its latents only get back the spread that training has taken.
    """
    config = objective.model.config
    waveforms = batches.batch(START_IDS, config.chunk_samples + config.overlap, torch.device("cpu"))
    if not waveforms.isfinite().all():
        return  # the first step will say so
    if new and objective.config.fitted_start:
        start_bottleneck(objective.model, waveforms)
    if not new and objective.config.respread:
        respread(objective.model, waveforms)
    start_heads(objective, waveforms)


@torch.no_grad()
def start_bottleneck(model: Music2Latent2, waveforms: Tensor) -> None:
    """Set the layer before the bottleneck, so that the latents of `waveforms` vary, and as little alike as can be.

    Parameters
    ----------
    model
        Changed in place; float32, on the device of `waveforms`.
    waveforms : [n, channels, chunk_samples + overlap]
        Single chunks, several for each value of a latent token.
    """
    config, layer = model.config, model.encoder.to_bottleneck
    parts = [model.encoder_inputs(spectrogram.analyze(part, config)) for part in waveforms.split(_PART)]
    features = torch.cat([model.encoder.features(part).float() for part in parts])  # (n, tokens, dim)
    centre = features.mean(dim=0)
    middle = centre.mean(dim=0)
    varying = (features - centre).flatten(0, 1)
    offsets = torch.linalg.svd(centre - middle, full_matrices=False)[2][: len(centre) - 1]
    varying = varying - varying @ offsets.T @ offsets
    values, directions = torch.linalg.svd(varying, full_matrices=False)[1:]
    spread = values[: config.token_dim] / len(varying) ** 0.5
    # directions that vary little are not blown up further; those of the offsets, which do not vary at all, stay out
    scale = torch.where(spread > _NOTHING * spread[0], 1 / spread.clamp(min=_LEAST * spread[0]), 0.0)
    whitened = directions[: config.token_dim] * scale[:, None]
    # turned at random, so that every value holds a little of all directions rather than some nothing but noise
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(config.token_dim, config.token_dim, generator=generator))[0].to(whitened)
    weight = SPREAD * turn @ whitened
    layer.weight.copy_(weight)
    layer.bias.copy_(-weight @ middle)


@torch.no_grad()
def respread(model: Music2Latent2, waveforms: Tensor) -> None:
    """Scale and shift what goes through the bottleneck, so that tanh is used and what comes out stays about the same.

    Explicit losses let the latents shrink while what reads them grows, to where noise or rounding of a latent would be
    heard. Each value of a latent token is brought back to a spread of :data:`SPREAD` around 0, over all tokens, and
    divided by as much in the networks that read it: exact where tanh is linear.

    Parameters
    ----------
    model, waveforms
        See :func:`start_bottleneck`.
    """
    layer = model.encoder.to_bottleneck
    parts = [model.encoder_inputs(spectrogram.analyze(part, model.config)) for part in waveforms.split(_PART)]
    values = torch.cat([model.encoder(part).float() for part in parts])  # (n, tokens, values)
    middle = values.mean(dim=(0, 1))
    spread = (values - values.mean(dim=0)).square().mean(dim=(0, 1)).sqrt()
    factor = SPREAD / spread.clamp(min=_NOTHING)
    layer.weight.mul_(factor[:, None])
    layer.bias.copy_((layer.bias - middle) * factor)
    for reader in (model.upsampler.from_latents, model.consistency.from_latents):
        if reader is not None:
            reader.bias.add_(reader.weight @ torch.tanh(middle))
            reader.weight.div_(factor)


@torch.no_grad()
def start_heads(objective: Objective, waveforms: Tensor) -> None:
    """Let every head of `objective` predict the mean of its target over `waveforms` (see :func:`start_bottleneck`)."""
    config = objective.model.config
    targets = [explicit_targets(part, config) for part in waveforms.split(_PART)]
    for name, module in objective.heads.items():
        head = cast(nn.Linear, module)
        if name == "summary":
            found = [summary_targets(target) for target in targets]
            means = [torch.cat([summary[part] for summary in found]).mean(dim=0) for part in SUMMARY_SIZES]
            head.bias.copy_(torch.cat(means))
        else:
            mean = torch.cat([target[name] for target in targets]).mean(dim=(0, 2))  # of each band
            head.bias.copy_(mean.repeat_interleave(head.out_features // len(mean)))
