"""Music of known make, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from m2l2_mir.quality.degradations import add_noise, low_pass, opus

RATE = 32_000
Degradation = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def music() -> list[np.ndarray]:
    """Eight clips [2, 3 s] of decaying harmonic notes with noisy onsets, each in its own register and tempo."""
    generator = np.random.default_rng(1)
    time = np.arange(RATE // 2) / RATE
    clips = []
    for _ in range(8):
        clip = np.zeros((2, 3 * RATE))
        for onset in np.arange(0, 2.4, generator.uniform(0.15, 0.4)):
            pitch = 440 * 2 ** (generator.integers(-24, 13) / 12)
            partials = np.arange(1, int(15_000 / pitch))
            note = np.sin(2 * np.pi * pitch * partials[:, None] * time).T @ (1 / partials)
            note += generator.normal(size=len(time)) * np.exp(-80 * time)
            start = int(onset * RATE)
            clip[:, start : start + len(time)] += 0.1 * generator.uniform(0.3, 1, (2, 1)) * note * np.exp(-6 * time)
        clips.append(clip)
    return clips


def noise_at(snr: float) -> Degradation:
    return lambda clip: add_noise(clip, snr)


def low_passed(hertz: float) -> Degradation:
    return lambda clip: low_pass(clip, hertz, sample_rate=RATE)


def coded(kbps: float) -> Degradation:
    return lambda clip: opus(clip, kbps, sample_rate=RATE)[0].astype(np.float64)


@pytest.fixture(scope="session", params=["noise", "low-pass", "opus"])
def worse_and_worse(request) -> list[Degradation]:
    if request.param == "noise":
        return [noise_at(40), noise_at(20), noise_at(0)]
    if request.param == "low-pass":
        return [low_passed(8000), low_passed(4000), low_passed(2000)]
    return [coded(128), coded(32), coded(12)]


@pytest.fixture(scope="session")
def noisy() -> Callable[[float], Degradation]:
    return noise_at
