"""The equations of consistency models, against the papers' formulas in plain floats."""

import math

import pytest
import torch

from m2l2_mir.model import consistency
from m2l2_mir.model.config import ModelConfig

CONFIG = ModelConfig.preset("m2l2-tiny")
MIN, MAX, DATA, RHO = 0.002, 80.0, 0.5, 7.0
SIGMAS = (0.002, 0.01, 0.4, 1.0, 7.5, 80.0)


def test_schedule_runs_from_sigma_min_to_sigma_max():
    assert consistency.sigma_at(0.0, CONFIG) == pytest.approx(MIN, rel=1e-9)
    assert consistency.sigma_at(1.0, CONFIG) == pytest.approx(MAX, rel=1e-9)
    levels = consistency.sigma_at(torch.linspace(0, 1, 1001, dtype=torch.float64), CONFIG)
    assert (levels.diff() > 0).all()


def test_schedule_is_that_of_karras():
    # Karras et al. (2022), eq. 5, over i / (N - 1) counted from the other end
    for t in (0.0, 0.1, 0.4, 0.5, 0.9, 1.0):
        karras = (MAX ** (1 / RHO) + (1 - t) * (MIN ** (1 / RHO) - MAX ** (1 / RHO))) ** RHO
        assert consistency.sigma_at(t, CONFIG) == pytest.approx(karras, rel=1e-9)
    assert consistency.sigma_at(0.4, CONFIG) == pytest.approx(0.965, abs=5e-4)


def test_position_is_the_inverse_of_sigma():
    for t in (0.0, 0.1, 0.4, 1.0):
        assert consistency.position_of_sigma(consistency.sigma_at(t, CONFIG), CONFIG) == pytest.approx(t, abs=1e-12)
    positions = torch.linspace(0, 1, 11)
    back = consistency.position_of_sigma(consistency.sigma_at(positions, CONFIG), CONFIG)
    torch.testing.assert_close(back, positions, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_scales_are_those_of_song(sigma):
    # Song et al. (2023), appendix C
    level = torch.tensor(sigma, dtype=torch.float64)
    skip = DATA**2 / ((sigma - MIN) ** 2 + DATA**2)
    out = DATA * (sigma - MIN) / math.sqrt(DATA**2 + sigma**2)
    scale = 1 / math.sqrt(sigma**2 + DATA**2)
    assert consistency.skip_scale(level, CONFIG).item() == pytest.approx(skip, rel=1e-12)
    assert consistency.output_scale(level, CONFIG).item() == pytest.approx(out, rel=1e-12)
    assert consistency.input_scale(level, CONFIG).item() == pytest.approx(scale, rel=1e-12)

    # ... and f puts them together: the network sees c_in x and sigma itself
    def network(scaled, level):
        torch.testing.assert_close(scaled, torch.full((2, 3), 3.0 * scale))
        assert level.flatten().tolist() == pytest.approx([sigma] * 2)
        return torch.full((2, 3), 5.0)

    found = consistency.denoise(network, torch.full((2, 3), 3.0), torch.full((2,), sigma), CONFIG)
    torch.testing.assert_close(found, torch.full((2, 3), skip * 3.0 + out * 5.0))


def test_noise_grows_by_the_difference_of_the_variances():
    x, noise = torch.zeros(2, 4), torch.ones(2, 4)
    for level in (MIN, MIN / 2):  # no NaN below
        torch.testing.assert_close(consistency.renoise(x, noise, level, CONFIG), x, atol=1e-6, rtol=0)
    levels = torch.tensor([0.4, 3.0])
    found = consistency.renoise(x, noise, levels, CONFIG)[:, 0].tolist()
    assert found == pytest.approx([math.sqrt(0.4**2 - MIN**2), math.sqrt(9 - MIN**2)])
    assert consistency.add_noise(x, noise, levels)[:, 0].tolist() == pytest.approx([0.4, 3.0])


def test_whole_model_leaves_a_clean_chunk_as_it_is(model, rng):
    x = torch.from_numpy(rng.standard_normal((1, 2, *CONFIG.spectrogram_shape))).float()
    condition = model.condition(torch.from_numpy(rng.standard_normal((2, 8, 64))).float())
    with torch.no_grad():
        found = model.denoise(x, torch.tensor([[CONFIG.sigma_min, 1.0]]), [[condition[0], condition[1]]])
    assert torch.equal(found[:, 0], x[:, 0])
    assert (found[:, 1] - x[:, 1]).abs().max() > 0.1
