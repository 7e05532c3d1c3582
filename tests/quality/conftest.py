"""Music of known make, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

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
    """Add white noise that is orthogonal to each channel, at a ratio in dB."""

    def degrade(clip: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).normal(size=clip.shape)
        noise -= noise.mean(axis=1, keepdims=True)
        centred = clip - clip.mean(axis=1, keepdims=True)
        energy = np.sum(centred**2, axis=1, keepdims=True)
        noise -= centred * np.sum(noise * centred, axis=1, keepdims=True) / energy
        return clip + noise * np.sqrt(energy / np.sum(noise**2, axis=1, keepdims=True)) * 10 ** (-snr / 20)

    return degrade


def low_pass(hertz: float) -> Degradation:
    return lambda clip: sosfiltfilt(butter(8, hertz, fs=RATE, output="sos"), clip)


@pytest.fixture(scope="session", params=["noise", "low-pass"])
def worse_and_worse(request) -> list[Degradation]:
    if request.param == "noise":
        return [noise_at(40), noise_at(20), noise_at(0)]
    return [low_pass(8000), low_pass(4000), low_pass(2000)]


@pytest.fixture(scope="session")
def noisy() -> Callable[[float], Degradation]:
    return noise_at
