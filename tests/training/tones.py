"""Tones that several tests train on."""

from __future__ import annotations

import numpy as np

__all__ = ["RATE", "tone"]

RATE = 8000


def tone(hertz: float, seconds: float = 2.0, level: float = 0.3, rate: int = RATE) -> np.ndarray:
    """Three partials and a little noise, [1, samples]."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(int(hertz)).normal(scale=0.01, size=len(time))
    partials = sum(np.sin(2 * np.pi * hertz * number * time) / number for number in (1, 2, 3))
    return level * (0.6 * partials + noise)[None]
