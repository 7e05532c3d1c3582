"""Consistency models: the equations, and nothing else.

Source: Song et al., *Consistency Models* (arXiv 2303.01469) and *Improved Techniques for Training Consistency
Models* (arXiv 2310.14189); values as in Music2Latent (arXiv 2408.06500). Noise levels `sigma` and positions `t`
on the schedule are tensors of any shape, or floats; `x` has the shape of `sigma` followed by its own axes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from m2l2_mir.model.config import ModelConfig

__all__ = [
    "add_noise",
    "denoise",
    "input_scale",
    "output_scale",
    "position_of_sigma",
    "renoise",
    "sigma_at",
    "skip_scale",
]

Level = TypeVar("Level", float, Tensor)


def sigma_at(t: Level, config: ModelConfig) -> Level:
    """Noise level at position `t` in [0, 1] of the schedule: 0 is sigma_min, 1 is sigma_max.

    sigma(t) = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho  (Karras et al., arXiv 2206.00364)
    """
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    return (low + t * (high - low)) ** config.rho


def position_of_sigma(sigma: Level, config: ModelConfig) -> Level:
    """Position on the schedule whose noise level is `sigma`; the inverse of :func:`sigma_at`."""
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    return (sigma ** (1 / config.rho) - low) / (high - low)


def skip_scale(sigma: Tensor, config: ModelConfig) -> Tensor:
    """c_skip(sigma): how much of the noisy input is kept. 1 at sigma_min."""
    return config.sigma_data**2 / ((sigma - config.sigma_min) ** 2 + config.sigma_data**2)


def output_scale(sigma: Tensor, config: ModelConfig) -> Tensor:
    """c_out(sigma): how much of the network's output is added. 0 at sigma_min."""
    return config.sigma_data * (sigma - config.sigma_min) / (sigma**2 + config.sigma_data**2) ** 0.5


def input_scale(sigma: Tensor, config: ModelConfig) -> Tensor:
    """c_in(sigma): brings the network's input to unit variance."""
    return 1 / (sigma**2 + config.sigma_data**2) ** 0.5


def denoise(network: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor, config: ModelConfig) -> Tensor:
    """f(x, sigma) = c_skip x + c_out F(c_in x, sigma): a clean estimate in one step; f(x, sigma_min) = x."""
    level = _like(sigma, x)
    estimate = network(input_scale(level, config) * x, sigma)
    return torch.addcmul(skip_scale(level, config) * x, output_scale(level, config), estimate)


def add_noise(x: Tensor, noise: Tensor, sigma: Tensor | float) -> Tensor:
    """Clean `x` brought to noise level `sigma`: x + sigma * noise."""
    return x + _like(sigma, x) * noise


def renoise(x: Tensor, noise: Tensor, sigma: Tensor | float, config: ModelConfig) -> Tensor:
    """An estimate `x` (at sigma_min) brought back up to `sigma`: x + sqrt(sigma^2 - sigma_min^2) * noise."""
    level = _like(sigma, x)
    return x + (level**2 - config.sigma_min**2).clamp(min=0) ** 0.5 * noise


def _like(sigma: Tensor | float, x: Tensor) -> Tensor:
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return level.reshape(level.shape + (1,) * (x.ndim - level.ndim))
