"""What is measured of the averaged weights now and then: on music that is only watched, and by quick probes.

Conventions
-----------
* The windows, their noise and everything else are the same each time, so that figures of one run compare over time.
  Nothing here draws from a random state that training depends on.
* Held-out losses are those of the first step of the present phase (:mod:`m2l2_mir.training.steps`): within a phase
  their weights and the consistency step stand still, so that ``held_out_total`` falls only when the model gets better.
* ``held_out_fad_logmel`` is a small-sample monitor: 64 windows of 1.5 s and as many embeddings of 128 dimensions, so it
  is far above the FAD of many clips; only its course within runs of one held-out set says something. It is there while
  the consistency network is trained, for the single-step method.
* The latents' health is that of single chunks, as many of them as an effective rank of 512 dimensions needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import functional_call

from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.quality.frechet import fad
from m2l2_mir.quality.logmel import logmel_embeddings
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.monitors import health
from m2l2_mir.training.objective import Losses, Objective
from m2l2_mir.training.schedules import consistency_step
from m2l2_mir.training.steps import noise_of, phase_of

__all__ = ["Batches", "Probes", "Watch"]

HELD_OUT_WINDOWS = 64
HELD_OUT_CHUNKS = 512  # for the latents' health
HELD_OUT_IDS = 2**40  # sample numbers that training never reaches
_CHUNKS_AT_ONCE = 64


class Batches(Protocol):
    """Windows of audio by number."""

    def batch(self, sample_ids: Sequence[int], samples: int, device: torch.device) -> Tensor:
        """Windows [len(sample_ids), channels, samples], float32; the same numbers give the same windows."""

    def describe(self) -> dict[str, Any]:
        """What the data are, with licences and a hash, for the run's history."""


class Probes(Protocol):
    """What a model is asked about music whose answers are known."""

    def measure(self, model: Music2Latent2) -> dict[str, float]:
        """Figures by name."""


class Watch:
    """Looks at the averaged weights.

    Parameters
    ----------
    config
        The run's recipe.
    held_out
        Windows that training does not hear; without them there are the probes alone.
    probes
        Such as :class:`~m2l2_mir.training.quick_probes.QuickProbes`.
    """

    def __init__(self, config: TrainingConfig, held_out: Batches | None, probes: Probes | None) -> None:
        self.config, self.held_out, self.probes = config, held_out, probes

    def measure(
        self, objective: Objective, average: Mapping[str, Tensor], averaged: Music2Latent2, step: int
    ) -> dict[str, float]:
        """Figures by name.

        Parameters
        ----------
        objective
            What is trained; its heads are used as they are.
        average
            Averaged weights, called as the objective calls them.
        averaged
            The model that has these weights.
        step
            The last one done, counted from 0.
        """
        found: dict[str, float] = {}
        if self.held_out is not None:
            found |= held_out_losses(
                objective, average, self.held_out, phase_of(step, self.config).first, averaged.device
            )
            found |= held_out_health(averaged, self.held_out)
            if consistency_step(step, self.config)[0] != "off":
                found["held_out_fad_logmel"] = held_out_fad(averaged, self.held_out)
        if self.probes is not None:
            found |= self.probes.measure(averaged)
        return found


@torch.no_grad()
def held_out_losses(
    objective: Objective, average: Mapping[str, Tensor], held_out: Batches, step: int, device: torch.device
) -> dict[str, float]:
    """Each loss, and ``held_out_total``, as training has it at this step but for the weights."""
    config, model = objective.config, objective.model.config
    samples = model.context_chunks * model.chunk_samples + model.overlap
    found: dict[str, float] = {}
    for first in range(0, HELD_OUT_WINDOWS, config.batch_size):
        ids = _ids(first, min(first + config.batch_size, HELD_OUT_WINDOWS))
        windows = held_out.batch(ids, samples, device)
        losses: Losses = functional_call(objective, dict(average), (windows, noise_of(ids, step, config), step))
        for name, value in {**losses.parts, "total": losses.total}.items():
            found[f"held_out_{name}"] = found.get(f"held_out_{name}", 0.0) + float(value) * len(ids) / HELD_OUT_WINDOWS
    return found


@torch.no_grad()
def held_out_health(averaged: Music2Latent2, held_out: Batches) -> dict[str, float]:
    """State of the latents over :data:`HELD_OUT_CHUNKS` chunks, see :func:`~m2l2_mir.training.monitors.health`."""
    config = averaged.config
    latents = []
    for first in range(0, HELD_OUT_CHUNKS, _CHUNKS_AT_ONCE):
        ids = _ids(first, min(first + _CHUNKS_AT_ONCE, HELD_OUT_CHUNKS))
        chunks = held_out.batch(ids, config.chunk_samples + config.overlap, averaged.device)
        inputs = averaged.encoder_inputs(spectrogram.analyze(chunks, config))
        latents.append(averaged.encoder(inputs).flatten(1).cpu())
    return {f"held_out_{name}": value for name, value in health(torch.cat(latents), config).items()}


def held_out_fad(averaged: Music2Latent2, held_out: Batches) -> float:
    """Fréchet distance on log-mel statistics between windows and what is decoded from their embeddings."""
    config = averaged.config
    samples = config.context_chunks * config.chunk_samples - config.overlap  # what so many chunks give back
    music, decoded = [], []
    for number, sample_id in enumerate(_ids(0, HELD_OUT_WINDOWS)):
        window = held_out.batch([sample_id], samples, averaged.device)[0].cpu()
        embeddings = averaged.encode(window, config.sample_rate)
        estimate = averaged.decode(embeddings, num_samples=samples, method="single-step", seed=number)
        music.append(logmel_embeddings(window.numpy(), sample_rate=config.sample_rate))
        decoded.append(logmel_embeddings(estimate.numpy(), sample_rate=config.sample_rate))
    return fad(music, decoded)


def _ids(first: int, end: int) -> list[int]:
    return list(range(HELD_OUT_IDS + first, HELD_OUT_IDS + end))
