"""What models there are: presets and checkpoints, with size, licence and citation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.config import PRESETS, ModelConfig, preset_names

__all__ = ["catalogue", "describe"]

CITATIONS = {
    "codicodec": "CoDiCodec, arXiv 2509.09836",
    "": "Pasini, Lattner, Fazekas: Music2Latent2, arXiv 2501.17578",
}


def catalogue() -> list[dict[str, Any]]:
    """Return one row a preset: name, parameters, K, d, weights at hand, one line about it."""
    return [
        {
            "name": name,
            "parameters": _parameters(config := ModelConfig.preset(name)),
            "num_embeddings": config.num_embeddings,
            "latent_dim": config.latent_dim,
            "weights": f"untrained, as random:{name}",
            "about": _about(name),
        }
        for name in preset_names()
    ]


def describe(name: str) -> dict[str, Any]:
    """Return configuration, size, licence and citation of a preset, checkpoint or ``random:`` model.

    Raises
    ------
    CheckpointError
        There is no such model.
    """
    stated: Mapping[str, str] = {}
    if name in preset_names():
        config, weights = ModelConfig.preset(name), f"untrained, as random:{name}"
    else:
        model = load_model(name, device="cpu")
        config, weights, stated = model.config, model.weights_id, model.metadata
    citation = CITATIONS["codicodec" if config.name == "codicodec" else ""]
    return {
        "name": config.name,
        "weights": weights,
        "parameters": _parameters(config),
        "embeddings": f"{config.num_embeddings} x {config.latent_dim} for each {config.chunk_seconds:.3f} s of music",
        "compression": f"{config.compression:g} x",
        "licence": stated.get("licence", "MIT" if "random:" in weights else "not stated in the checkpoint"),
        "citation": stated.get("citation", citation),
        "config": config.to_dict(),
    }


def _parameters(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Music2Latent2(config).parameters())


def _about(preset: str) -> str:
    """The comment that opens the preset's file."""
    first = Path(PRESETS / f"{preset}.toml").read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ")
