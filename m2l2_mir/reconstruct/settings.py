"""How summary embeddings are decoded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch

from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.decoding import PARALLEL_STEPS, Method
from m2l2_mir.model.music2latent import Music2Latent

__all__ = ["SIGMA_COND", "Decoding", "check", "default_method"]

SIGMA_COND = 0.4  # as the paper has it


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Settings of :meth:`m2l2_mir.model.autoencoder.Music2Latent2.decode`."""

    method: Method = "two-step"
    sigma_cond: float = SIGMA_COND
    position_cond: float | None = None
    steps: int | None = None
    seed: int = 0


def default_method(model: Music2Latent2) -> Method:
    """The paper's method, or the one that the model has."""
    return "parallel" if isinstance(model, Music2Latent) else "two-step"


def check(model: Music2Latent2, decoding: Decoding) -> Decoding:
    """Decode one chunk of zeros, so that a setting out of range is told before any file is read.

    Returns
    -------
    Decoding
        With the number of steps that None stands for.

    Raises
    ------
    InputError
        As of :meth:`m2l2_mir.model.autoencoder.Music2Latent2.decode`.
    """
    chunk = torch.zeros(1, model.config.num_embeddings, model.config.latent_dim)
    model.decode(chunk, num_samples=1, **asdict(decoding))
    usual = PARALLEL_STEPS if decoding.method == "parallel" and not isinstance(model, Music2Latent) else 1
    return replace(decoding, steps=decoding.steps or usual)
