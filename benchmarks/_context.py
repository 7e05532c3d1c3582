"""What a chunk gains from those before it: the error of its estimate with them, less that without."""

from __future__ import annotations

import numpy as np
import torch
from _held_out import Waveform
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.model import consistency, spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.decoding import SeededNoise

SIGMAS = (1.0, 5.0, 80.0)  # noise on the chunk that is estimated; generation begins at 80
BEFORE = 0.4  # noise on the chunks before it, as in decoding
ESTIMATED = 24  # chunks of a recording


@torch.no_grad()
def denoising_errors(
    model: Music2Latent2, waveform: Waveform, embeddings: Tensor, *, first: int, seed: int, chunks: int = ESTIMATED
) -> NDArray[np.float64]:
    """Errors of one-step estimates of chunks, by noise level and number of chunks before.

    The chunks before are the original's: decoded ones can hardly give more.

    Parameters
    ----------
    waveform : [channels, samples]
    embeddings : [chunks, num_embeddings, latent_dim]
        Of the same recording.
    first
        The first chunk that is estimated, at least ``context_chunks - 1``; models that are compared share it.
    seed
        Of the noise, which a chunk has alike with any number of chunks before, in any model.
    chunks
        How many are estimated at most, spread over the recording.

    Returns
    -------
    [sigmas, context_chunks]
        Energy of the error relative to the original's, in dB, in the spectrogram of the model: by `SIGMAS`, with none,
        one, ... chunks before.
    """
    config = model.config
    blocks = spectrogram.blocks(torch.from_numpy(waveform), config)
    chosen = np.unique(np.linspace(first, len(blocks) - 2, chunks).astype(int))  # of the last one, a part is padding
    needed = sorted({chunk - before for chunk in chosen for before in range(config.context_chunks)})
    clean = dict(zip(needed, spectrogram.analyze(blocks[needed], config), strict=True))
    conditions = {chunk: model.condition(embeddings[chunk][None])[0] for chunk in needed}
    noise = SeededNoise(config, seed)
    target = torch.stack([clean[chunk] for chunk in chosen])
    errors = np.empty((len(SIGMAS), config.context_chunks))
    for before in range(config.context_chunks):
        windows = [range(chunk - before, chunk + 1) for chunk in chosen]
        spectra, field = (
            torch.stack([torch.stack([of(chunk) for chunk in window]) for window in windows])
            for of in (clean.__getitem__, lambda chunk: noise(chunk, 0))
        )
        for row, sigma in enumerate(SIGMAS):
            levels = torch.tensor([[BEFORE] * before + [sigma]]).expand(len(windows), -1)
            noisy = consistency.add_noise(spectra, field, levels)
            estimated = model.denoise(noisy, levels, [[conditions[chunk] for chunk in window] for window in windows])
            error = (estimated[:, -1].cpu() - target).square().sum() / target.square().sum()
            errors[row, before] = 10 * np.log10(float(error))
    return errors
