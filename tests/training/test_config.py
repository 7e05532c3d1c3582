"""Recipes: those of the package can be used, schedules do what they say, and mistakes are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from m2l2_mir.errors import ConfigError
from m2l2_mir.recipe import from_mapping
from m2l2_mir.training.augmentation import Augmentation, no_augmentation
from m2l2_mir.training.config import TrainingConfig, recipe_names
from m2l2_mir.training.objective import HUBER
from m2l2_mir.training.sampling import QUIET_RMS
from m2l2_mir.training.schedules import consistency_step, ema_decay, explicit_weight, learning_rate, summary_noise


def recipe(**changes: object) -> TrainingConfig:
    return TrainingConfig(name="test", model="m2l2-tiny", steps=1000, batch_size=2, **changes)  # type: ignore[arg-type]


def test_recipes_of_the_package() -> None:
    assert recipe_names() == ["low-budget", "low-budget-decoder", "paper"]
    for name in recipe_names():
        config = TrainingConfig.load(name)
        assert config.name == name
        assert TrainingConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="did you mean 'low-budget'"):
        TrainingConfig.load("low-budgt")


def test_paper_is_the_recipe_of_the_public_trainer() -> None:
    config = TrainingConfig.load("paper")
    assert config == TrainingConfig(
        name="paper",
        model="m2l2",
        steps=800_000,
        batch_size=16,
        learning_rate=1e-4,
        final_rate=0.01,
        warmup_steps=10_000,
        second_moment=0.999,
        clip_norm=0.0,
        ema_decay=0.9999,
        consistency_weight=1.0,
        consistency_from=0.0,
        easy_until=0.0,
        step_exponents=(1.0, 3.0),
        noise_mean=-1.1,
        noise_std=2.0,
        noise_positions=True,
        explicit_weight=0.0,
        summary_weight=0.0,
        saturation_weight=0.0,
        fitted_start=False,
        augmentation=config.augmentation,
    )
    heard = from_mapping(Augmentation, config.augmentation)
    assert heard == replace(no_augmentation(), mix=0.5, mix_db=(0, 0))
    model = config.model_config
    assert (model.context_chunks, model.sigma_min, model.sigma_max, model.rho) == (2, 0.002, 80.0, 7.0)
    assert (HUBER, QUIET_RMS) == (0.00054, 0.001)


def test_low_budget_hears_two_fifths_renders() -> None:
    for name in ("low-budget", "low-budget-decoder"):
        assert dict(TrainingConfig.load(name).mix) == {"*renders*": 0.4, "*": 0.6}


def test_the_arm_of_the_ablation_is_one_key() -> None:
    summary, ordered = recipe().model_config, recipe(latents="ordered").model_config
    assert (ordered.latents, ordered.name) == ("ordered", "m2l2-tiny-ordered")
    assert ordered.replace(latents="summary", name=summary.name) == summary


def test_schedules() -> None:
    config = recipe(warmup_steps=10, learning_rate=1.0, final_rate=0.1)
    assert learning_rate(0, config) == pytest.approx(0.1)
    assert learning_rate(9, config) == learning_rate(10, config) == 1.0
    assert learning_rate(1000, config) == pytest.approx(0.1)
    assert (ema_decay(0, config), ema_decay(10**9, config)) == (pytest.approx(0.1), 0.9999)
    fading = recipe(explicit_weight=2.0, explicit_fade=(0.5, 0.7), explicit_rest=0.25)
    assert [explicit_weight(step, fading) for step in (0, 500, 700, 999)] == [2.0, 2.0, 0.5, 0.5]
    assert explicit_weight(600, fading) == pytest.approx(1.25)
    rising = recipe(summary_noise=0.4, summary_noise_by=0.5)
    assert [summary_noise(step, rising) for step in (0, 250, 500, 999)] == pytest.approx([0.0, 0.2, 0.4, 0.4])
    assert summary_noise(0, recipe(summary_noise=0.4)) == 0.4


def test_the_consistency_step_shrinks_from_all() -> None:
    config = recipe(consistency_from=0.2, easy_until=0.6)
    assert consistency_step(199, config)[0] == "off"
    assert consistency_step(200, config) == ("clean", 1.0)
    assert consistency_step(260, config) == ("share", 0.5)
    assert consistency_step(599, config) == ("share", 0.5**7)
    assert consistency_step(600, config) == ("position", pytest.approx(0.1))
    assert consistency_step(999, config)[1] == pytest.approx(0.001, rel=0.02)
    assert consistency_step(0, recipe()) == ("position", pytest.approx(0.1))
    config = recipe(phase_until=0.4, easy_until=0.6)
    assert consistency_step(399, config) == ("phase", 0.0)
    assert consistency_step(400, config) == ("clean", 1.0)
    config = recipe(phase_until=0.5)
    assert consistency_step(499, config)[0] == "phase"
    assert consistency_step(500, config) == ("position", pytest.approx(0.1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"consistency_weight": 0.0}, "nothing to learn from"),
        ({"explicit_fade": (0.9, 0.1)}, "two rising shares"),
        ({"easy_until": 2.0}, "must lie in 0 to 1"),
        ({"phase_until": -0.1}, "must lie in 0 to 1"),
        ({"phase_until": 0.6, "easy_until": 0.6}, "must be 0 or above phase_until"),
    ],
)
def test_impossible_values_are_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(**changes)
