"""What a chunk gains from those before it: the energy score of generated chunks with them, less that without.

The energy score of draws X of a chunk y is E|X - y| - E|X - X'| / 2 (Gneiting and Raftery 2007, *Strictly Proper
Scoring Rules, Prediction, and Estimation*): lowest, in the mean, where the draws have the distribution of what they
stand for. An error alone would favour a mean of all chunks over a chunk that could be the right one. It is taken of
what the network gives, before it is turned into audio: of spectra, of their magnitudes, as phases are beyond little
trained decoders, and of the magnitudes of the first frames, which the chunk before has most to tell of.
"""

from __future__ import annotations

import numpy as np
import torch
from _held_out import Waveform
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.model import consistency, spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.decoding import SeededNoise

BEFORE = 0.4  # noise on the chunks before, as in decoding
CHUNKS = 24  # of a recording
DRAWS = 4  # of each
FIRST = 4  # frames
OF = ("spectra", "magnitudes", "first magnitudes")


@torch.no_grad()
def energy_scores(
    model: Music2Latent2, waveform: Waveform, embeddings: Tensor, *, first: int, seed: int, chunks: int = CHUNKS
) -> NDArray[np.float64]:
    """Score single-step generation of chunks by how many chunks before are known, as they are in the original.

    Parameters
    ----------
    waveform : [channels, samples]
    embeddings : [chunks, num_embeddings, latent_dim]
        Of the same recording.
    first
        The first chunk that is generated, at least ``context_chunks - 1``; models that are compared share it.
    seed
        Of the noise, which a chunk has alike with any number of chunks before, in any model.
    chunks
        How many are generated at most, spread over the recording.

    Returns
    -------
    [kinds, context_chunks]
        Of spectra, of magnitudes and of those of the first frames (`OF`), with none, one, ... chunks before, in shares
        of the originals' norm: 0 is the original itself, 1 silence; of spectra, .71 the right power in every bin with
        phases at random.
    """
    config = model.config
    blocks = spectrogram.blocks(torch.from_numpy(waveform), config)
    chosen = np.unique(np.linspace(first, len(blocks) - 2, chunks).astype(int))  # of the last one, a part is padding
    needed = sorted({int(chunk) - before for chunk in chosen for before in range(config.context_chunks)})
    clean = dict(zip(needed, spectrogram.analyze(blocks[needed], config), strict=True))
    conditions = {chunk: model.condition(embeddings[chunk][None])[0] for chunk in needed}
    noise = SeededNoise(config, seed)
    target = torch.stack([clean[chunk] for chunk in chosen])
    scores = np.empty((len(OF), config.context_chunks))
    for before in range(config.context_chunks):
        windows = [range(chunk - before, chunk + 1) for chunk in chosen]
        known = torch.stack([torch.stack([clean[chunk] for chunk in window]) for window in windows])
        known[:, -1] = 0
        levels = torch.tensor([[BEFORE] * before + [config.sigma_max]]).expand(len(windows), -1)
        of_windows = [[conditions[chunk] for chunk in window] for window in windows]
        drawn = []
        for draw in range(DRAWS):
            field = torch.stack([torch.stack([noise(chunk, draw) for chunk in window]) for window in windows])
            noisy = consistency.add_noise(known, field, levels)
            drawn.append(model.denoise(noisy, levels, of_windows)[:, -1].cpu())
        estimated = torch.stack(drawn)
        kinds = zip(_kinds(estimated, config), _kinds(target, config), strict=True)
        scores[:, before] = [_energy_score(*kind) for kind in kinds]
    return scores


def _kinds(spectra: Tensor, config: ModelConfig) -> list[Tensor]:
    """What is scored, by `OF`, of [..., 2 * channels, bins, frames]; magnitudes are compressed as spectra are."""
    magnitudes = spectrogram.to_complex(spectra, config).abs() ** config.amplitude_power
    return [spectra, magnitudes, magnitudes[..., :FIRST]]


def _energy_score(drawn: Tensor, target: Tensor) -> float:
    """Mean score of draws [draws, chunks, ...] of chunks [chunks, ...], over the chunks' mean norm."""
    far = (drawn - target).flatten(2).norm(dim=2).mean()
    pairs = torch.combinations(torch.arange(len(drawn)))
    apart = (drawn[pairs[:, 0]] - drawn[pairs[:, 1]]).flatten(2).norm(dim=2).mean()
    return float((far - apart / 2) / target.flatten(1).norm(dim=1).mean())
