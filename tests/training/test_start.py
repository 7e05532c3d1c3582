"""Where training starts: latents that vary with what is heard, heads that predict the mean."""

from __future__ import annotations

import torch

from m2l2_mir.model import spectrogram
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.training.monitors import health
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.start import START_IDS, start
from tests.training.runs import Tones, recipe


def test_the_latents_vary_and_the_heads_know_the_mean() -> None:
    config = recipe(consistency_weight=0.0, summary_weight=1.0)
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
    start(objective, Tones(), whole=True)
    after, values = state()
    assert after["effective_rank"] > before["effective_rank"]
    assert after["bounded_std"] > 2 * before["bounded_std"]
    assert after["saturated"] < 0.02
    centre = values.mean(dim=0)  # (tokens, values): slots do not differ in what is always there
    assert float((centre - centre.mean(dim=0)).abs().max()) < 0.5
    assert len(started) >= 8 * 8

    parts = objective(Tones().batch(started[:64], samples, torch.device("cpu")), None, 0).parts
    shifted = objective(waveforms, None, 0).parts
    assert all(abs(float(parts[name] / shifted[name]) - 1) < 0.5 for name in parts if name != "saturation")


def test_loaded_weights_are_kept() -> None:
    config = recipe(consistency_weight=0.0)
    objective = Objective(random_model(config.model_config, 0), config)
    kept = objective.model.encoder.to_bottleneck.weight.clone()
    start(objective, Tones(), whole=False)
    assert torch.equal(kept, objective.model.encoder.to_bottleneck.weight)
    assert float(objective.heads["bands"].bias.detach().abs().max()) > 0
