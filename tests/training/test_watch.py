"""Held-out monitors: known answers for latents that are ill, and figures that compare over time."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.training import watch
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.watch import Watch, held_out_fad, held_out_health, held_out_losses
from tests.training.runs import Tones, recipe


class Latents(nn.Module):
    """An encoder that gives the next ones of these latents, whatever it hears."""

    def __init__(self, latents: Tensor) -> None:
        super().__init__()
        self.latents, self.given = latents, 0
        self.gain = nn.Parameter(torch.ones(1))  # says which device the model is on

    def forward(self, inputs: Tensor) -> Tensor:
        self.given += len(inputs)
        return self.latents[self.given - len(inputs) : self.given]


def tiny(latents: Tensor | None = None) -> Music2Latent2:
    model = random_model(recipe().model_config)
    if latents is not None:
        model.encoder = Latents(latents)  # type: ignore[assignment]
    return model


def ill_latents() -> Tensor:
    """512 chunks of 8 slots: rank 200, slot 3 dead, slot 5 saturated in half of its values."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(384, 384, generator=generator)).Q[:200]
    sources = torch.linalg.qr(torch.randn(512, 201, generator=generator) + 1).Q[:, 1:]  # each of mean about 0
    values = torch.zeros(512, 8, 64)
    values[:, [0, 1, 2, 4, 6, 7]] = (sources @ basis).unflatten(1, (6, 64))
    values[:, 5, :32] = 5.0
    return values


def test_ill_latents_are_recognised() -> None:
    found = held_out_health(tiny(ill_latents()), Tones())
    assert found["held_out_dead_slots"] == 2  # saturated for good is dead too
    assert found["held_out_saturated"] == pytest.approx(1 / 16)
    assert found["held_out_effective_rank"] == pytest.approx(200, rel=0.02)  # no batch of a hundred could show it
    assert found["held_out_latent_std"] > 1 > 0.4 > found["held_out_bounded_std"]


def test_held_out_losses_stand_still_while_the_schedules_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HELD_OUT_WINDOWS", 2)
    monkeypatch.setattr(watch, "HELD_OUT_CHUNKS", 4)
    config = recipe(steps=100, consistency_from=0.0, easy_until=0.8, explicit_fade=(0.0, 1.0), explicit_rest=0.5)
    objective = Objective(tiny(), config)
    averaged = copy.deepcopy(objective.model)
    average = {f"model.{name}": value for name, value in averaged.state_dict().items()}
    early, later, next_phase = (
        Watch(config, Tones(), None).measure(objective, average, averaged, step) for step in (20, 70, 90)
    )
    assert early == later
    assert early["held_out_total"] != next_phase["held_out_total"]
    # the step of the consistency loss and the weight of the explicit one do change
    as_trained = [held_out_losses(objective, average, Tones(), step, averaged.device) for step in (20, 70)]
    assert as_trained[0]["held_out_total"] != as_trained[1]["held_out_total"]


def test_the_reconstruction_is_judged_while_the_consistency_network_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HELD_OUT_WINDOWS", 3)
    monkeypatch.setattr(watch, "HELD_OUT_CHUNKS", 4)
    config = recipe(steps=10, consistency_from=0.5)
    objective = Objective(tiny(), config)
    average = {f"model.{name}": value for name, value in objective.model.state_dict().items()}
    before, during = (Watch(config, Tones(), None).measure(objective, average, objective.model, s) for s in (4, 5))
    assert "held_out_fad_logmel" not in before
    assert during["held_out_fad_logmel"] > 0


class Copies(Music2Latent2):
    """Decodes what it has encoded."""

    def encode(self, waveform: Tensor, sample_rate: int) -> Tensor:  # type: ignore[override]
        return waveform

    def decode(self, embeddings: Tensor, *, num_samples: int, method: str, seed: int) -> Tensor:  # type: ignore[override]
        assert embeddings.shape[-1] == num_samples
        return embeddings


def test_a_perfect_reconstruction_is_at_no_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HELD_OUT_WINDOWS", 4)
    assert held_out_fad(Copies(recipe().model_config), Tones()) == pytest.approx(0, abs=1e-3)


def test_nothing_random_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HELD_OUT_WINDOWS", 2)
    monkeypatch.setattr(watch, "HELD_OUT_CHUNKS", 4)
    config = recipe(consistency_from=0.0)
    objective = Objective(tiny(), config)
    average = {f"model.{name}": value for name, value in objective.model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    Watch(config, Tones(), None).measure(objective, average, objective.model, 3)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
