"""Finite scalar quantisation: the values of a latent token as one whole number.

Source: Mentzer et al., *Finite Scalar Quantization: VQ-VAE Made Simple* (arXiv 2309.15505). Each value is rounded to
one of `fsq_levels` levels from -1 to 1; the levels of a token are the digits of its code, the first value the lowest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from m2l2_mir.model.config import ModelConfig

__all__ = ["codes_from_values", "values_from_codes"]


def codes_from_values(values: Tensor, config: ModelConfig) -> Tensor:
    """Bounded values [..., token_dim] -> codes [...], int64.

    >>> codes_from_values(torch.tensor([-1.0, -1.0, -0.79, 1.0]), ModelConfig.preset("codicodec"))
    tensor(13431)
    """
    half = config.fsq_levels // 2
    digits = (values * half).round().clamp(-half, half).long() + half
    return (digits * _places(config, values.device)).sum(-1)


def values_from_codes(codes: Tensor, config: ModelConfig) -> Tensor:
    """Codes [...] -> values [..., token_dim] at the levels -1 to 1; the inverse of :func:`codes_from_values`."""
    half = config.fsq_levels // 2
    digits = codes.long()[..., None] // _places(config, codes.device) % config.fsq_levels
    return (digits - half) / half


def _places(config: ModelConfig, device: torch.device) -> Tensor:
    return config.fsq_levels ** torch.arange(config.token_dim, device=device)
