"""Decoding strategies: which chunks are denoised together, at which noise levels, in which order.

All take a stream of per-chunk conditions and yield one spectrogram [channels, bins, frames] a chunk, holding only a
few chunks in memory. A window is `context_chunks` consecutive chunks (2 in the paper).

* ``"two-step"`` (the paper): the window is [previous chunk + sigma_cond * noise, sigma_max * noise]. The left half of
  what comes back *replaces* the previous chunk as final output, the right half is the draft that is re-noised as the
  next context: each chunk is generated once and refined once, for one network evaluation a chunk. sigma_cond = 0
  leaves the draft as it is. With `context_chunks` 1 there is nothing to refine: it is ``"single-step"``.
* ``"single-step"``: the same context, but the right half is final at once.
* ``"parallel"`` (CoDiCodec, arXiv 2509.09836): all chunks start from noise and are denoised in `steps` steps, in
  windows that shift by half a window from step to step, so that information travels across boundaries. A chunk that
  is left alone at an end is denoised without a neighbour; CoDiCodec puts a chunk of zeros behind it, which a causal
  model does not see.

With the same noise, ``"parallel"`` and ``"single-step"`` (there: autoregressive, `position_cond` 0.4, 2 steps) give the
published CoDiCodec package's audio, before it is clipped to -1 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from m2l2_mir.errors import InputError
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.consistency import renoise, sigma_at

__all__ = ["Denoiser", "Method", "Noise", "SeededNoise", "decode"]

Method = Literal["two-step", "single-step", "parallel"]
Condition = TypeVar("Condition")

PARALLEL_STEPS = 5
PARALLEL_BATCH = 8  # chunks taken in at once


class Denoiser(Protocol[Condition]):
    """The consistency function over windows: x [B, W, ...], sigma [B, W], B lists of W conditions -> like x."""

    def __call__(self, x: Tensor, sigma: Tensor, conditions: list[list[Condition]], /) -> Tensor: ...


class Noise(Protocol):
    """Standard normal noise of one chunk's shape for the `draw`-th time that chunk needs some."""

    def __call__(self, chunk: int, draw: int, /) -> Tensor: ...


class SeededNoise:
    """Noise that depends on seed, chunk and draw alone: equal in any batch, order or length of the piece."""

    def __init__(self, config: ModelConfig, seed: int) -> None:
        self.shape, self.seed = config.spectrogram_shape, seed

    def __call__(self, chunk: int, draw: int) -> Tensor:
        state = np.random.SeedSequence((self.seed, chunk, draw)).generate_state(1, np.uint64)
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(int(state[0] >> 1)))


def decode(
    denoise: Denoiser[Condition],
    conditions: Iterable[Condition],
    noise: Noise,
    config: ModelConfig,
    *,
    method: Method = "two-step",
    sigma_cond: float = 0.4,
    steps: int | None = None,
) -> Iterator[Tensor]:
    """Yield the decoded spectrogram of each chunk, in order.

    Raises
    ------
    InputError
        The method is unknown, `sigma_cond` lies outside 0 to sigma_max, or `steps` is below 1.
    """
    if not 0 <= sigma_cond <= config.sigma_max:
        raise InputError(f"sigma_cond must lie in 0 to {config.sigma_max}: {sigma_cond}")
    if steps is not None and steps < 1:
        raise InputError(f"steps must be at least 1: {steps}")
    if method == "parallel":
        return _parallel(denoise, iter(conditions), noise, config, steps or PARALLEL_STEPS)
    if method in ("two-step", "single-step"):
        refine = method == "two-step"
        return _autoregressive(denoise, conditions, noise, config, sigma_cond, steps or 1, refine)
    raise InputError(f"method must be 'two-step', 'single-step' or 'parallel': {method!r}")


def _autoregressive(
    denoise: Denoiser[Condition],
    conditions: Iterable[Condition],
    noise: Noise,
    config: ModelConfig,
    sigma_cond: float,
    steps: int,
    refine: bool,
) -> Iterator[Tensor]:
    context: list[tuple[int, Tensor, Condition]] = []  # chunks decoded so far that still condition the next
    level = max(sigma_cond, config.sigma_min)
    index = -1

    def noisy_context() -> list[Tensor]:
        return [renoise(x, noise(chunk, steps + index - chunk).to(x), level, config) for chunk, x, _ in context]

    for index, condition in enumerate(conditions):
        left = noisy_context()
        new, sigma = noise(index, 0) * config.sigma_max, config.sigma_max
        for step in range(steps):
            window = torch.stack([*left, new.to(left[0]) if left else new])[None]
            sigmas = torch.tensor([[level] * len(left) + [sigma]])
            out = denoise(window, sigmas, [[*(c for _, _, c in context), condition]])[0]
            new = out[-1]
            if step + 1 < steps:
                sigma = sigma_at(1 - (step + 1) / steps, config)
                new = renoise(new, noise(index, step + 1).to(new), sigma, config)
        if refine:
            context = [(chunk, refined, c) for (chunk, _, c), refined in zip(context, out[:-1], strict=True)]
        else:
            yield new
        context.append((index, new, condition))
        if len(context) == config.context_chunks:
            _, final, _ = context.pop(0)
            if refine:
                yield final
    if refine and context:
        # The last chunks have no successor: they are refined in a window of their own.
        index += 1
        window = torch.stack(noisy_context())[None]
        yield from denoise(window, torch.full((1, len(context)), level), [[c for _, _, c in context]])[0]


def _parallel(
    denoise: Denoiser[Condition],
    conditions: Iterator[Condition],
    noise: Noise,
    config: ModelConfig,
    steps: int,
) -> Iterator[Tensor]:
    width = config.context_chunks
    state: dict[int, tuple[Tensor, Condition]] = {}  # chunks not yet final: noisy spectrogram, condition
    done = [0] * (steps + 1)  # done[s]: chunks before this one have been through s steps
    ended = False
    while not ended or done[steps] < done[0]:
        taken = list(islice(conditions, PARALLEL_BATCH))
        ended = len(taken) < PARALLEL_BATCH
        for condition in taken:
            state[done[0]] = (noise(done[0], 0) * config.sigma_max, condition)
            done[0] += 1
        # A wave: each step follows the one before it as far as whole windows allow.
        for step in range(steps):
            sigma, after = (sigma_at(1 - s / steps, config) for s in (step, step + 1))
            shift = width // 2 if step % 2 else 0
            windows: list[list[int]] = []
            while (start := done[step + 1]) < done[step]:
                end = start - (start - shift) % width + width
                if end > done[step] and not ended:  # the last window may be a short one
                    break
                windows.append(list(range(start, min(end, done[step]))))
                done[step + 1] = windows[-1][-1] + 1
            for length in sorted({len(window) for window in windows}):
                group = [window for window in windows if len(window) == length]
                x = torch.stack([torch.stack([state[chunk][0] for chunk in window]) for window in group])
                found = [[state[chunk][1] for chunk in window] for window in group]
                out = denoise(x, torch.full(x.shape[:2], sigma), found)
                for row, window in zip(out, group, strict=True):
                    for clean, chunk in zip(row, window, strict=True):
                        last = step + 1 == steps
                        new = clean if last else renoise(clean, noise(chunk, step + 1).to(clean), after, config)
                        state[chunk] = (new, state[chunk][1])
        for chunk in sorted(chunk for chunk in state if chunk < done[steps]):
            yield state.pop(chunk)[0]
