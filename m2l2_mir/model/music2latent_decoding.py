"""Decoding with Music2Latent (arXiv 2408.06500): stretches of several chunks, denoised at one noise level.

The network takes a stretch of any length, and knows no chunk that is already decoded: of the methods in
:mod:`m2l2_mir.model.decoding` only ``"parallel"`` applies. Here neighbouring stretches overlap by one chunk on either
side, whose noise is the same in both, and what lies in the overlap is dropped. A chunk is as long as the excerpts that
the network was trained on, so no more context than that has a learned meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from m2l2_mir.model.autoencoder import Condition
from m2l2_mir.model.consistency import renoise, sigma_at
from m2l2_mir.model.decoding import Denoiser, Noise
from m2l2_mir.model.music2latent_config import Music2LatentConfig

__all__ = ["decode_official", "decode_overlapping"]

KEPT = 8  # chunks of a stretch that are kept; one on either side is context


def decode_overlapping(
    denoise: Denoiser[Condition],
    conditions: Iterable[Condition],
    noise: Noise,
    config: Music2LatentConfig,
    *,
    steps: int,
) -> Iterator[Tensor]:
    """Yield the decoded spectrogram of each chunk, in order; no more than a stretch is held."""
    incoming = iter(conditions)
    held: list[Condition] = []  # of the chunks from `first` on
    first = done = 0
    ended = False
    while not ended:
        held += islice(incoming, done + KEPT + 1 - first - len(held))
        ended = first + len(held) <= done + KEPT
        if len(held) == done - first:  # all of them were kept already
            return
        chunks = range(first, first + len(held))

        def drawn(draw: int, chunks: range = chunks) -> Tensor:
            return torch.stack([noise(chunk, draw) for chunk in chunks])

        stretch = _generate(denoise, drawn, held, config, steps)
        last = min(done + KEPT, chunks.stop)
        yield from stretch[done - first : last - first]
        drop = last - 1 - first
        held, first, done = held[drop:], first + drop, last


def decode_official(
    denoise: Denoiser[Condition],
    latents: Tensor,
    noise: Noise,
    config: Music2LatentConfig,
    *,
    steps: int,
    longest: int,
) -> Iterator[Tensor]:
    """Yield the decoded spectrogram of each chunk as the published package decodes.

    All `latents` [time steps, latent_dim] are one stretch; where there are more than `longest`, they are cut into
    stretches of that many, and the last one is filled up with the first latents. The chunk that is left incomplete
    at the end is filled with zeros.
    """
    count = len(latents)
    longest = min(longest, count)
    frames, width = config.latent_frames, config.num_embeddings
    carry = torch.zeros(*config.spectrogram_shape[:2], 0)
    for start in range(0, count, longest):
        places = range(start, start + longest)

        def drawn(draw: int, places: range = places) -> Tensor:
            """The noise of these places in time, cut out of that of the chunks which hold them."""
            chunks = range(places.start // width, (places.stop - 1) // width + 1)
            begin = (places.start - chunks.start * width) * frames
            return torch.cat([noise(chunk, draw) for chunk in chunks], -1)[None, ..., begin : begin + longest * frames]

        stretch = latents[[place % count for place in places]]
        found = _generate(denoise, drawn, [Condition(stretch, ())], config, steps)[0].cpu()
        carry = torch.cat([carry, found[..., : (min(start + longest, count) - start) * frames]], dim=-1)
        *whole, carry = carry.split(config.chunk_frames, dim=-1)
        yield from whole
    yield torch.nn.functional.pad(carry, (0, config.chunk_frames - carry.shape[-1]))


def _generate(
    denoise: Denoiser[Condition],
    noise: Callable[[int], Tensor],
    conditions: Sequence[Condition],
    config: Music2LatentConfig,
    steps: int,
) -> Tensor:
    """One stretch [chunks, channels, bins, frames] from noise, which is drawn anew before each step."""
    x = noise(0) * config.sigma_max
    for step in range(steps):
        sigma, after = (sigma_at(1 - done / steps, config) for done in (step, step + 1))
        x = denoise(x[None], torch.full((1, len(x)), sigma), [list(conditions)])[0]
        if step + 1 < steps:
            x = renoise(x, noise(step + 1).to(x), after, config)
    return x
