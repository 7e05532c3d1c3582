"""A model's decoder as swaps need it, and whether there is anything to hear from it.

A decoder is trained where the stages that a checkpoint states reached the consistency loss, or where a trained
checkpoint states no stages, as one that was trained elsewhere does.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.disentangle.intervention import Decode
from m2l2_mir.model.autoencoder import Music2Latent2

__all__ = ["decoder_of", "has_trained_decoder"]


def has_trained_decoder(model: Music2Latent2) -> bool:
    """Whether training reached the decoder."""
    if not model.trained or "stages" not in model.metadata:
        return model.trained
    for stage in json.loads(model.metadata["stages"]):
        recipe, steps = stage["recipe"], max((one["to_step"] for one in stage["stretches"]), default=0)
        if recipe["consistency_weight"] > 0 and steps > recipe["consistency_from"] * recipe["steps"]:
            return True
    return False


def decoder_of(model: Music2Latent2) -> Decode:
    """From embeddings [chunks, K, d] and a noise seed to mono samples of whole chunks, silence after the last one."""

    def decode(embeddings: NDArray[np.float64], noise: int) -> NDArray[np.float64]:
        audio = model.decode(embeddings.astype(np.float32), seed=noise).numpy().mean(axis=0, dtype=np.float64)
        return np.pad(audio, (0, len(embeddings) * model.config.chunk_samples - len(audio)))

    return decode
