"""What is watched while a model trains, and when a run is stopped because it has gone wrong."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from m2l2_mir.errors import M2L2Error
from m2l2_mir.model.config import ModelConfig

__all__ = ["TrainingStopped", "health", "loss_by_noise", "require_health"]

SATURATED = 0.97  # of the bound
NOISE_EDGES = (0.02, 0.1, 0.5, 2.0, 10.0)
MOST_SATURATED = 0.5
LEAST_SPREAD = 1e-3
DEAD_SPREAD = 0.01
_NOT_RESUMED = "if need be with --init-from weights of before; --resume keeps the recipe"


class TrainingStopped(M2L2Error):
    """A run has saturated, collapsed or diverged; its last checkpoint is kept."""


def health(latents: Tensor, config: ModelConfig) -> dict[str, float]:
    """State of the latents of a batch.

    Parameters
    ----------
    latents : [n, values], before the bound

    Returns
    -------
    dict of float
        Spread before and after the bound, share of saturated values, number of dead slots, effective rank
        (exponential of the entropy of the normalised eigenvalues of the covariance).
    """
    values = latents.float()
    bounded = torch.tanh(values)
    slots = bounded.reshape(len(bounded), config.num_embeddings, -1).std(dim=0).mean(dim=1)
    centred = bounded - bounded.mean(dim=0)
    power = torch.linalg.svdvals(centred).square()
    shares = power / power.sum().clamp(min=1e-12)
    return {
        "latent_std": float(values.std()),
        "bounded_std": float(bounded.std(dim=0).mean()),
        "saturated": float((bounded.abs() > SATURATED).float().mean()),
        "dead_slots": float((slots < DEAD_SPREAD).sum()),
        "effective_rank": float(torch.exp(-(shares * torch.log(shares.clamp(min=1e-12))).sum())),
    }


def loss_by_noise(loss: Tensor, sigma: Tensor) -> dict[str, float]:
    """Mean consistency loss of the chunks in each range of noise levels; ranges without a chunk are left out."""
    edges = torch.tensor((0.0, *NOISE_EDGES, float("inf")), device=sigma.device)
    found = {}
    for low, high in pairwise(edges):
        inside = (sigma >= low) & (sigma < high)
        if inside.any():
            found[f"consistency_sigma_{float(low):g}_{float(high):g}"] = float(loss[inside].mean())
    return found


def require_health(state: dict[str, float]) -> None:
    """Stop a run that cannot recover.

    Raises
    ------
    TrainingStopped
        The latents are saturated or have collapsed; the message says what to change.
    """
    if state["saturated"] > MOST_SATURATED:
        raise TrainingStopped(
            f"{state['saturated']:.0%} of the latents are saturated; begin a new run with a higher saturation_weight "
            f"or a lower learning_rate, {_NOT_RESUMED}"
        )
    if state["bounded_std"] < LEAST_SPREAD:
        raise TrainingStopped(
            f"the latents have collapsed (standard deviation {state['bounded_std']:.1e}); "
            "begin a new run with a higher explicit_weight or with a consistency loss that joins later "
            f"(consistency_from), {_NOT_RESUMED}"
        )
