"""Codes whose disentanglement is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

ITEMS, SLOTS, WIDTH, FACTORS, VALUES = 600, 4, 6, 4, 5


@pytest.fixture
def labels() -> np.ndarray:
    """Four independent factors of five values, [600, 4]."""
    return np.random.default_rng(1).integers(0, VALUES, size=(ITEMS, FACTORS))


@pytest.fixture
def groups() -> np.ndarray:
    return np.arange(ITEMS) // 12


@pytest.fixture
def slots(labels: np.ndarray) -> Callable[[str], np.ndarray]:
    """Sets of four slots of six numbers, by what they are called in the protocol."""

    def make(name: str) -> np.ndarray:
        rng = np.random.default_rng(2)
        noise = 0.05 * rng.normal(size=(ITEMS, SLOTS, WIDTH))
        places = rng.normal(size=(FACTORS, VALUES, WIDTH))  # of each value of each factor
        told = np.stack([places[f][labels[:, f]] for f in range(FACTORS)], axis=1)  # slot f holds factor f
        if name == "noisy":
            return told + 20 * noise
        if name == "scalar":  # ordered along one line
            return noise + np.eye(WIDTH)[0] * labels[:, :, None]
        if name == "none":
            return noise
        if name == "one factor":
            return noise + told[:, :1]
        if name == "plus noise":
            return np.where(np.arange(SLOTS)[:, None] < 2, told, 0.0) + noise
        aligned = told + noise
        if name == "rotated inside":
            turns = [np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0] for _ in range(SLOTS)]
            return np.stack([aligned[:, k] @ turn for k, turn in enumerate(turns)], axis=1)
        if name == "rotated across":
            turn = np.linalg.qr(rng.normal(size=(SLOTS * WIDTH, SLOTS * WIDTH)))[0]
            return (aligned.reshape(ITEMS, -1) @ turn).reshape(aligned.shape)
        if name == "redundant":
            places = rng.normal(size=(FACTORS, VALUES, 4 * WIDTH))
            everything = sum(places[f][labels[:, f]] for f in range(FACTORS))
            return np.repeat(everything[:, None], SLOTS, axis=1) + 0.05 * rng.normal(size=(ITEMS, SLOTS, 4 * WIDTH))
        if name == "shuffled":
            order = np.argsort(rng.random((ITEMS, SLOTS)), axis=1)
            return np.take_along_axis(aligned, order[:, :, None], axis=1)
        assert name == "aligned"
        return aligned

    return make


@pytest.fixture
def codes(labels: np.ndarray) -> Callable[[str], np.ndarray]:
    """Codes [n, D] of single dimensions."""

    def make(name: str) -> np.ndarray:
        rng = np.random.default_rng(3)
        noise = 0.02 * rng.normal(size=labels.shape)
        if name == "perfect":
            return labels + noise
        if name == "noisy":
            return labels + 25 * noise
        if name == "duplicated":
            return np.hstack([labels, labels]) + np.hstack([noise, noise])
        if name == "one factor":
            return labels[:, :1] + noise
        if name == "plus noise":
            return np.hstack([labels + noise, rng.normal(size=(ITEMS, 8))])
        if name == "none":
            return rng.normal(size=labels.shape)
        if name == "mixture":
            return (labels - 2.0) @ rng.normal(size=(FACTORS, FACTORS)) + noise
        if name == "wide mixture":
            return (labels - 2.0) @ rng.normal(size=(FACTORS, 48)) + 0.02 * rng.normal(size=(ITEMS, 48))
        assert name == "rotated"
        return (labels - 2.0 + noise) @ np.linalg.qr(rng.normal(size=(FACTORS, FACTORS)))[0]

    return make
