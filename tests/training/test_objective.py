"""Losses of a batch: noise levels as they are to be drawn, heads that read latents through their own sample's noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from m2l2_mir.model import consistency, spectrogram
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.model.consistency import sigma_at
from m2l2_mir.training.objective import Objective, noise_levels
from m2l2_mir.training.steps import noise_of
from tests.training.runs import Tones, recipe


def test_heads_read_through_noise_of_the_sample_and_of_nothing_else() -> None:
    config = recipe(consistency_weight=0.0, summary_noise=0.3)
    objective = Objective(random_model(config.model_config, 0), config)
    samples = config.model_config.chunk_samples + config.model_config.overlap
    heard: list[torch.Tensor] = []
    objective.heads["summary"].register_forward_pre_hook(lambda _, given: heard.append(given[0].detach()))

    def read(ids: list[int], deviation: float) -> torch.Tensor:
        changed = Objective(objective.model, recipe(consistency_weight=0.0, summary_noise=deviation))
        changed.heads = objective.heads
        changed(Tones().batch(ids, samples, torch.device("cpu")), noise_of(ids, 0, changed.config), 0)
        return heard.pop()

    ids = list(range(40))
    clean, noisy = read(ids, 0.0), read(ids, 0.3)
    assert 0.28 < float((noisy - clean).std()) < 0.32
    torch.testing.assert_close(read(ids[7:9], 0.3), noisy[7:9], atol=1e-5, rtol=0)


def test_noise_levels_are_those_of_weighted_positions_or_lognormal_and_clamped() -> None:
    config = recipe(noise_mean=-1.1, noise_std=2.0).model_config
    drawn = torch.randn(100_000, generator=torch.Generator().manual_seed(0))

    def share_below(levels: torch.Tensor, at: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.sort(levels.log().numpy()), at) / len(levels)

    levels = noise_levels(drawn, recipe(noise_mean=-1.1, noise_std=2.0, noise_positions=True), config)
    grid = sigma_at(torch.linspace(0, 1, 10_000, dtype=torch.float64), config).log().numpy()
    weights = np.exp(-0.5 * ((grid + 1.1) / 2.0) ** 2)
    np.testing.assert_allclose(share_below(levels, grid), np.cumsum(weights) / weights.sum(), atol=0.006)
    assert config.sigma_min < float(levels.min()) < float(levels.max()) <= config.sigma_max
    assert float((levels == levels.max()).float().mean()) < 1e-3  # no heap at the end

    clamped = noise_levels(drawn, recipe(noise_mean=-1.1, noise_std=2.0), config)
    inside = (clamped > config.sigma_min * 1.02) & (clamped < config.sigma_max)
    torch.testing.assert_close(clamped.log()[inside], (2.0 * drawn - 1.1)[inside], atol=1e-4, rtol=0)
    assert float((clamped == config.sigma_max).float().mean()) > 0.5 * math.erfc((math.log(80) + 1.1) / 2 / 2**0.5) / 2


def test_magnitudes_with_the_phases_of_the_noise_are_learnt_first(monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe(consistency_from=0.0, phase_until=0.5, noise_mean=4.0)
    objective = Objective(random_model(config.model_config, 0), config)
    model = config.model_config
    ids = [0, 1]
    audio = Tones().batch(ids, model.context_chunks * model.chunk_samples + model.overlap, torch.device("cpu"))
    blocks = audio.unfold(-1, model.chunk_samples + model.overlap, model.chunk_samples).transpose(1, 2).flatten(0, 1)
    clean = spectrogram.analyze(blocks, model).unflatten(0, (2, -1))

    def losses(estimate: Callable[[Tensor, Tensor], Tensor]) -> float:
        monkeypatch.setattr(consistency, "denoise", lambda network, x, sigma, config: estimate(x, sigma))
        return float(objective(audio, noise_of(ids, 0, config), 0).consistency.max())

    def as_loud(x: Tensor, sigma: Tensor) -> Tensor:
        return spectrogram.with_phases_of(clean, x, model)

    wrong = [lambda x, sigma: torch.zeros_like(x), lambda x, sigma: x, lambda x, sigma: 0.5 * as_loud(x, sigma)]
    assert losses(as_loud) < 1e-3 * min(losses(each) for each in wrong)
    power = as_loud(torch.randn_like(clean), torch.ones(())).square().flatten(2).sum(2)  # whatever the phases
    size = clean[0, 0].numel()
    constant = 0.00054 * size**0.5  # pseudo-Huber, whatever the noise level
    expected = (((power + constant**2).sqrt() - constant) / size**0.5).max()
    assert losses(wrong[0]) == pytest.approx(float(expected), rel=0.1)
