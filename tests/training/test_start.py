"""Where training starts: latents that vary with what is heard, heads that predict the mean."""

from __future__ import annotations

import pytest
import torch

from m2l2_mir.model import spectrogram
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.training.monitors import health
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.start import START_IDS, start
from m2l2_mir.training.steps import noise_of
from tests.training.runs import Tones, recipe


def test_the_latents_vary_and_the_heads_know_the_mean() -> None:
    config = recipe(consistency_weight=0.0, summary_weight=1.0, summary_noise=0.0)
    model = random_model(config.model_config, 0)
    objective = Objective(model, config)
    samples = config.model_config.chunk_samples + config.model_config.overlap
    waveforms = Tones().batch(range(64), samples, torch.device("cpu"))

    def state() -> tuple[dict[str, float], torch.Tensor]:
        with torch.no_grad():
            values = model.encoder(model.encoder_inputs(spectrogram.analyze(waveforms, model.config)))
        return health(values.flatten(1), model.config), values

    before, _ = state()
    started = START_IDS
    start(objective, Tones(), new=True)
    after, values = state()
    assert after["effective_rank"] > before["effective_rank"]
    assert after["bounded_std"] > 2 * before["bounded_std"]
    assert after["saturated"] < 0.02
    centre = values.mean(dim=0)  # (tokens, values): slots do not differ in what is always there
    assert float((centre - centre.mean(dim=0)).abs().max()) < 0.5
    assert len(started) >= 8 * 8

    parts = objective(Tones().batch(started[:64], samples, torch.device("cpu")), noise_of([], 0, config), 0).parts
    shifted = objective(waveforms, noise_of([], 0, config), 0).parts
    assert all(abs(float(parts[name] / shifted[name]) - 1) < 0.5 for name in parts if name != "saturation")


def test_a_start_may_be_left_as_drawn() -> None:
    config = recipe(fitted_start=False, explicit_weight=0.0, summary_weight=0.0)
    objective = Objective(random_model(config.model_config, 0), config)
    kept = {name: value.clone() for name, value in objective.state_dict().items()}
    start(objective, Tones(), new=True)
    assert all(torch.equal(value, kept[name]) for name, value in objective.state_dict().items())


def test_loaded_weights_are_kept() -> None:
    config = recipe(consistency_weight=0.0)
    objective = Objective(random_model(config.model_config, 0), config)
    kept = objective.model.encoder.to_bottleneck.weight.clone()
    start(objective, Tones(), new=False)
    assert torch.equal(kept, objective.model.encoder.to_bottleneck.weight)
    assert float(objective.heads["bands"].bias.detach().abs().max()) > 0


def test_latents_get_their_spread_back_and_are_read_as_before() -> None:
    config = recipe(explicit_weight=1.0, respread=True)
    objective = Objective(random_model(config.model_config, 0), config)
    model = objective.model
    start(objective, Tones(), new=True)
    with torch.no_grad():  # as long training leaves them: small, and not around 0
        model.encoder.to_bottleneck.weight.mul_(0.05)
        model.encoder.to_bottleneck.bias.mul_(0.05).add_(0.1)
    samples = config.model_config.chunk_samples + config.model_config.overlap
    inputs = model.encoder_inputs(
        spectrogram.analyze(Tones().batch(range(64), samples, torch.device("cpu")), model.config)
    )

    def seen() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            values = model.encoder(inputs)
            return values, model.upsampler.from_latents(torch.tanh(values))

    before = seen()[1]
    start(objective, Tones(), new=False)
    values, after = seen()
    spread = (values - values.mean(dim=0)).square().mean(dim=(0, 1)).sqrt()
    assert float(spread.mean()) == pytest.approx(0.5, rel=0.2)
    assert float(values.mean(dim=(0, 1)).abs().max()) < 0.2
    varying = before - before.mean(dim=0)
    assert float((after - before).norm() / varying.norm()) < 0.35
