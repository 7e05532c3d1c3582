"""One summary of a waveform in memory, as a store holds it of a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.embedding.pooling import apply_pooling, pool_time
from m2l2_mir.embedding.reading import SILENCE_DBFS
from m2l2_mir.model.autoencoder import Music2Latent2, as_waveform
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.shipped import default_model
from m2l2_mir.model.spectrogram import real_samples

__all__ = ["embed"]


def embed(
    waveform: ArrayLike, sample_rate: int, model: Music2Latent2 | str | None = None, *, pooling: str = "mean"
) -> NDArray[np.float32]:
    """Embed a waveform and summarise it over time, leaving out silence, as :func:`m2l2_mir.extract` does with a file.

    Parameters
    ----------
    waveform : array_like [samples] or [channels, samples]
        Full scale at -1 and 1; any length, any number of channels.
    sample_rate
        Of `waveform` in Hz.
    model
        From :func:`m2l2_mir.load_model`, or its name; None: the default model. A name is loaded anew at every call.
    pooling
        One of :data:`m2l2_mir.embedding.pooling.POOLINGS`; "mean" gives [K, d], "flatten" [K*d].

    Returns
    -------
    np.ndarray, float32
        One item of what :meth:`m2l2_mir.EmbeddingStore.embeddings` gives for this pooling.

    Raises
    ------
    InputError
        The waveform is empty, not float or not finite, or all of it is silent.

    Examples
    --------
    >>> model = load_model("random:m2l2-tiny", device="cpu")
    >>> embed(np.random.default_rng(0).normal(scale=0.1, size=44100), 44100, model).shape
    (8, 64)
    """
    network = model if isinstance(model, Music2Latent2) else load_model(model or default_model())
    config = network.config
    samples = as_waveform(waveform, sample_rate, config)
    chunks = network.encode(samples, config.sample_rate)
    first, weights = 0, []
    for count in real_samples(samples.shape[-1], config):
        weights.append(0 if _silent(samples[:, first : first + count]) else count)
        first += count
    mean, std = pool_time(chunks.numpy(), weights)
    pooled: NDArray[np.float32] = apply_pooling(pooling, mean[None], std[None])[0]
    return pooled


def _silent(heard: NDArray[np.floating]) -> bool:
    return not heard.size or float(np.sqrt(np.mean(np.square(heard, dtype=np.float64)))) < 10 ** (SILENCE_DBFS / 20)
