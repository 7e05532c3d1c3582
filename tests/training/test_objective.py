"""Losses of a batch: the summary heads read latents through noise of their own sample."""

from __future__ import annotations

import torch

from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.training.objective import Objective
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
