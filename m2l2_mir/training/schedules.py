"""Schedules of a run: learning rate, weight of the explicit loss, size of the consistency step.

All are functions of the recipe and of the step alone, so that a resumed run computes what an uninterrupted one would.
"""

from __future__ import annotations

import math

from m2l2_mir.training.config import TrainingConfig

__all__ = ["consistency_step", "ema_decay", "explicit_weight", "learning_rate", "summary_noise"]

EASY_STAGES = 8  # halvings of the noise step while it shrinks from "all"


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine down to ``final_rate``."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    cosine = (1 + math.cos(math.pi * min(1.0, share))) / 2
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * cosine)


def ema_decay(step: int, config: TrainingConfig) -> float:
    """Decay of the moving average: short at first, so that it forgets the initialisation."""
    return min(config.ema_decay, (1 + step) / (10 + step))


def explicit_weight(step: int, config: TrainingConfig) -> float:
    """Weight of the explicit loss: full, then falling linearly, then the rest."""
    start, end = config.explicit_fade
    share = step / config.steps
    if share <= start:
        left = 1.0
    elif share >= end:
        left = 0.0
    else:
        left = (end - share) / (end - start)
    return config.explicit_weight * (config.explicit_rest + (1 - config.explicit_rest) * left)


def summary_noise(step: int, config: TrainingConfig) -> float:
    """Standard deviation of the noise that the heads read latents through: none at first, when it would hide them."""
    if config.summary_noise_by == 0:
        return config.summary_noise
    return config.summary_noise * min(1.0, step / config.steps / config.summary_noise_by)


def consistency_step(step: int, config: TrainingConfig) -> tuple[str, float]:
    """How far below its noise level the consistency target lies.

    Returns
    -------
    kind : {"off", "phase", "clean", "share", "position"}
        No consistency loss yet; the target has the clean signal's magnitudes and the noisy one's phases; the clean
        signal is the target; the lower level is a share of the upper one; or it
        lies a fixed distance below on the noise schedule.
    size : float
        1 - sigma_lo / sigma_hi for "share"; dt for "position".
    """
    share = step / config.steps
    if config.consistency_weight == 0 or share < config.consistency_from:
        return "off", 0.0
    if share < config.phase_until:
        return "phase", 0.0
    begun = max(config.consistency_from, config.phase_until)
    if share < config.easy_until:
        done = (share - begun) / (config.easy_until - begun)
        stage = int(done * EASY_STAGES)
        return ("clean", 1.0) if stage == 0 else ("share", 0.5**stage)
    begun = max(begun, config.easy_until)
    done = (share - begun) / max(1e-9, 1 - begun)
    first, last = config.step_exponents
    return "position", 0.1 ** (first + (last - first) * done)
