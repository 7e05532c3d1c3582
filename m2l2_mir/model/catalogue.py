"""What models there are: presets and checkpoints, with size, licence and citation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from m2l2_mir.model.architectures import build, config_named, model_names, preset_path
from m2l2_mir.model.checkpoint import checkpoint_path, load_model, read_metadata
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.hub import local_path
from m2l2_mir.model.official_file import OFFICIAL
from m2l2_mir.model.shipped import card_beside, shipped_names, shipped_path

__all__ = ["catalogue", "count_parameters", "describe"]

CITATION = "Pasini, Lattner, Fazekas: Music2Latent2, arXiv 2501.17578"
NOT_STATED = "not stated in the checkpoint"


def catalogue() -> list[dict[str, Any]]:
    """Return one row a preset: name, parameters, K, d, weights at hand with size and licence, one line about it."""
    return [
        {
            "name": name,
            "parameters": count_parameters(config := config_named(name)),
            "num_embeddings": config.num_embeddings,
            "latent_dim": config.latent_dim,
            **_at_hand(name),
            "about": _about(name),
        }
        for name in model_names()
    ]


def describe(name: str) -> dict[str, Any]:
    """Return configuration, size, data, licence, citation and card of a preset, checkpoint or ``random:`` model.

    Raises
    ------
    CheckpointError
        There is no such model.
    """
    stated: Mapping[str, str] = {}
    card = None
    if name in model_names() and name not in shipped_names() and not _local(name):
        row = _at_hand(name)
        config, weights, stated = config_named(name), row["weights"], {"licence": row["licence"], **_to_come(name)}
    else:
        model = load_model(name, device="cpu")
        config, weights, stated = model.config, model.weights_id, model.metadata
        card = None if name.startswith("random:") else card_beside(checkpoint_path(name))
    citation = OFFICIAL[config.name].citation if config.name in OFFICIAL else CITATION
    told: dict[str, Any] = {key: stated[key] for key in ("training", "data", "source") if key in stated}
    return {
        "name": config.name,
        "weights": weights,
        "parameters": count_parameters(config),
        "embeddings": f"{config.num_embeddings} x {config.latent_dim} for each {config.chunk_seconds:.3f} s of music",
        "compression": f"{config.compression:g} x",
        "audio": f"{config.sample_rate / 1000:g} kHz, {'mono (stereo is mixed)' if config.channels == 1 else 'stereo'}",
        **told,
        "licence": stated.get("licence", "MIT" if weights.startswith("random:") else NOT_STATED),
        "citation": stated.get("citation", citation),
        **({} if card is None else {"card": str(card)}),
        "config": config.to_dict(),
    }


def count_parameters(config: ModelConfig) -> int:
    """Number of weights that a model of this configuration has."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(config).parameters())


def _at_hand(name: str) -> dict[str, Any]:
    if name in OFFICIAL:
        path, licence = _local(name), OFFICIAL[name].licence
        if path is None:
            return {"weights": "official, to be downloaded", "megabytes": None, "licence": licence}
        return {"weights": "official", "megabytes": round(path.stat().st_size / 1e6, 1), "licence": licence}
    if name not in shipped_names():
        return {"weights": f"untrained, as random:{name}", "megabytes": None, "licence": "MIT"}
    path = shipped_path(name)
    licence = read_metadata(path).get("licence", NOT_STATED)
    return {"weights": "shipped", "megabytes": round(path.stat().st_size / 1e6, 1), "licence": licence}


def _to_come(name: str) -> dict[str, str]:
    """Where official weights will be downloaded from; nothing for other models."""
    if name not in OFFICIAL:
        return {}
    official = OFFICIAL[name]
    return {"source": f"the hub's {official.repository}, {official.file}: its newest commit at first use, then kept"}


def _local(name: str) -> Path | None:
    """Official weights of that name on this machine."""
    return local_path(OFFICIAL[name]) if name in OFFICIAL else None


def _about(preset: str) -> str:
    """The comment that opens the preset's file."""
    first = preset_path(preset).read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ")
