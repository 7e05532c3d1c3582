"""When a run is stopped: just beyond the thresholds, and told what a new run should change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from m2l2_mir.model.config import ModelConfig
from m2l2_mir.training.loop import _line
from m2l2_mir.training.monitors import TrainingStopped, health, require_health
from tests.training.runs import recipe

TINY = ModelConfig.preset("m2l2-tiny")


def latents(spread: float, saturated: float = 0.0) -> Tensor:
    """Values of 64 chunks: normal of some spread, a share of them far beyond the bound in turn."""
    drawn = spread * torch.randn(64, TINY.num_embeddings * TINY.latent_dim, generator=torch.Generator().manual_seed(0))
    drawn[:, : round(saturated * drawn.shape[1])] += 5.0
    return drawn


def test_saturated_and_collapsed_latents_stop_a_run_and_others_do_not() -> None:
    for sound in (latents(0.5), latents(0.002), latents(0.5, 0.45)):
        require_health(health(sound, TINY))
    with pytest.raises(TrainingStopped, match=r"new run with a higher saturation_weight .* --resume keeps the recipe"):
        require_health(health(latents(0.5, 0.55), TINY))
    with pytest.raises(TrainingStopped, match=r"collapsed .* new run with a higher explicit_weight .*--init-from"):
        require_health(health(latents(0.0005), TINY))


def test_dead_slots_are_told() -> None:
    values = latents(0.5).unflatten(1, (TINY.num_embeddings, -1))
    row = {"step": 1.0, "times_real_time": 1.0, "share_of_peak": 0.1}
    assert "dead" not in _line(row | health(values.flatten(1), TINY), recipe())
    values[:, 1:] *= 0.001
    assert f", 7 of {TINY.num_embeddings} slots dead;" in _line(row | health(values.flatten(1), TINY), recipe())
