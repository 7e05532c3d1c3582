"""Latents of held-out music: spread, saturation, dead slots, effective rank, and what chunks have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from _common import interval, table, verdict
from torch import Tensor

from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.quality.latents import chunk_agreement
from m2l2_mir.training.monitors import SATURATED, health

MOST_SATURATED = 0.02
CHUNKS_AT_ONCE = 64


@torch.no_grad()
def latents_of(model: Music2Latent2, waveforms: Tensor) -> Tensor:
    """Latents before the bound [n, chunks, K, d] of waveforms [n, channels, samples]; chunks filled up are left out."""
    config = model.config
    whole = waveforms.shape[-1] // config.chunk_samples
    blocks = torch.cat([spectrogram.blocks(waveform, config)[:whole] for waveform in waveforms])
    values = [
        model.encoder(model.encoder_inputs(spectrogram.analyze(part.to(model.device), config))).float().cpu()
        for part in blocks.split(CHUNKS_AT_ONCE)
    ]
    return torch.cat(values).reshape(len(waveforms), whole, config.num_embeddings, config.latent_dim)


def latent_figures(latents: Tensor, pieces: Sequence[str], config: ModelConfig) -> dict[str, Any]:
    """State of latents [excerpts, chunks, K, d] before the bound, of all together and of each slot."""
    bounded = torch.tanh(latents).numpy()
    excerpts, chunks = bounded.shape[:2]
    one_slot = config.replace(num_embeddings=1, latent_tokens=1)
    slots = []
    for slot in range(config.num_embeddings):
        agreement = chunk_agreement(bounded[:, :, slot], pieces)
        slots.append(
            {
                **health(latents[:, :, slot].flatten(0, 1), one_slot),
                **{name: float(np.mean(values)) for name, values in agreement.items()},
            }
        )
    agreement = chunk_agreement(bounded.reshape(excerpts, chunks, -1), pieces)
    return {
        "excerpts": excerpts,
        "pieces": len(set(pieces)),
        "chunks": excerpts * chunks,
        "dimensions": config.num_embeddings * config.latent_dim,
        **health(latents.flatten(0, 1).flatten(1), config),
        "agreement": {
            name: asdict(cluster_bootstrap(values, pieces, bounds=(-1, 1))) for name, values in agreement.items()
        },
        "slots": slots,
    }


def latent_report(label: str, found: dict[str, Any]) -> list[str]:
    agreement = found["agreement"]
    healthy = found["saturated"] < MOST_SATURATED and not found["dead_slots"]
    text = (
        f"Latents of `{label}`, all {found['chunks']} whole chunks in {found['excerpts']} excerpts of "
        f"{found['pieces']} held-out pieces: {found['saturated']:.2%} saturated (beyond {SATURATED} of the bound), "
        f"{found['dead_slots']:.0f} dead slots. Goal, under {MOST_SATURATED:.0%} and none: {verdict(healthy)}. "
        f"Standard deviation of all values before tanh {found['latent_std']:.2f}, of each value after it "
        f"{found['bounded_std']:.2f} on average; effective rank (exponential of the entropy of the spectrum) "
        f"{found['effective_rank']:.1f} of {found['dimensions']} dimensions. Correlation of chunks, each value scaled: "
        f"{interval(agreement['adjacent'])} of neighbours, {interval(agreement['within'])} of any two of an excerpt, "
        f"{interval(agreement['between'])} of two pieces. By slot:"
    )
    lines = [
        [
            number,
            f"{slot['latent_std']:.2f}",
            f"{slot['bounded_std']:.2f}",
            f"{slot['saturated']:.2%}",
            f"{slot['effective_rank']:.1f}",
            f"{slot['adjacent']:.2f}",
            f"{slot['within']:.2f}",
            f"{slot['between']:.2f}",
        ]
        for number, slot in enumerate(found["slots"])
    ]
    header = ["slot", "std before tanh", "after", "saturated", "effective rank", "neighbours", "excerpt", "pieces"]
    return [text, table(header, lines)]
