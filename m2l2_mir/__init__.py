"""Music information retrieval on the summary embeddings of Music2Latent2.

>>> import m2l2_mir as mm
>>> model = mm.load_model("random:m2l2-tiny", device="cpu")
>>> store = mm.EmbeddingStore.open("embeddings/")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2l2_mir.dataset.dataset import Dataset, load_dataset
    from m2l2_mir.embedding.extract import extract
    from m2l2_mir.embedding.store import EmbeddingStore
    from m2l2_mir.embedding.summary import embed
    from m2l2_mir.errors import M2L2Error
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.model.autoencoder import Music2Latent2
    from m2l2_mir.model.checkpoint import load_model, save_model
    from m2l2_mir.model.config import ModelConfig

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "EmbeddingStore",
    "M2L2Error",
    "ModelConfig",
    "Music2Latent2",
    "SimilarityIndex",
    "embed",
    "extract",
    "load_dataset",
    "load_model",
    "save_model",
]

# Imported on first use, so that `m2l2 --help` does not wait for torch.
_HOMES = {
    "Dataset": "m2l2_mir.dataset.dataset",
    "EmbeddingStore": "m2l2_mir.embedding.store",
    "M2L2Error": "m2l2_mir.errors",
    "ModelConfig": "m2l2_mir.model.config",
    "Music2Latent2": "m2l2_mir.model.autoencoder",
    "SimilarityIndex": "m2l2_mir.index.similarity",
    "embed": "m2l2_mir.embedding.summary",
    "extract": "m2l2_mir.embedding.extract",
    "load_dataset": "m2l2_mir.dataset.dataset",
    "load_model": "m2l2_mir.model.checkpoint",
    "save_model": "m2l2_mir.model.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'm2l2_mir' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
