"""What a chunk gains from those before it, of a network whose use of them is known."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from m2l2_mir.model import spectrogram
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.decoding import SeededNoise

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
CONFIG = ModelConfig.preset("m2l2-tiny").replace(context_chunks=3)


class Copies:
    """Estimates a chunk as the mean of those before it; alone, as silence."""

    config = CONFIG

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor, list[list[int]]]] = []

    def condition(self, embeddings: Tensor) -> list[int]:
        return [int(embeddings[0, 0, 0])]

    def denoise(self, x: Tensor, sigma: Tensor, conditions: list[list[int]]) -> Tensor:
        self.seen.append((x[0, -1], sigma, conditions))
        estimate = x[:, :-1].mean(1) if x.shape[1] > 1 else torch.zeros_like(x[:, 0])
        return torch.cat([x[:, :-1], estimate[:, None]], dim=1)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("_context")


def test_what_is_known_of_the_chunks_before_is_told(script: ModuleType) -> None:
    # a waveform that repeats chunk by chunk: those before are the chunk itself, under noise
    period = np.random.default_rng(0).normal(size=(1, CONFIG.chunk_samples)).astype(np.float32)
    waveform = np.tile(period, 12)
    numbers = torch.arange(13.0)[:, None, None].expand(-1, CONFIG.num_embeddings, CONFIG.latent_dim)
    model = Copies()
    spectra, magnitudes, first = script.energy_scores(model, waveform, numbers, first=3, chunks=5, seed=0)
    blocks = spectrogram.blocks(torch.from_numpy(waveform), CONFIG)
    root_mean_square = float(spectrogram.analyze(blocks[5:6], CONFIG).square().mean().sqrt())
    # draws lie a noise from the original and sqrt(2) of it from each other
    far = script.BEFORE / root_mean_square * (1 - np.sqrt(0.5))
    np.testing.assert_allclose(spectra, [1, far, far / np.sqrt(2)], rtol=0.02)
    assert magnitudes[0] == pytest.approx(1)
    assert 0 < magnitudes[2] < magnitudes[1] < far
    np.testing.assert_allclose(first, magnitudes, rtol=0.1)  # noise is the same in all frames
    fields = [SeededNoise(CONFIG, 0)(3, draw) for draw in range(script.DRAWS)]
    for number, (generated, sigma, conditions) in enumerate(model.seen):
        torch.testing.assert_close(generated, CONFIG.sigma_max * fields[number % script.DRAWS])  # nothing of the chunk
        assert (sigma[:, :-1] == script.BEFORE).all()
        assert (sigma[:, -1] == CONFIG.sigma_max).all()
        assert [window[-1] for window in conditions] == [3, 5, 7, 9, 11]
        assert all(np.diff(window).tolist() == [1] * (len(window) - 1) for window in conditions)


def test_the_right_distribution_scores_best(script: ModuleType, rng: np.random.Generator) -> None:
    target = torch.from_numpy(rng.normal(size=(50, 400)))
    draws = torch.from_numpy(rng.normal(size=(4, 50, 400)))
    scores = {scale: script._energy_score(scale * draws, target) for scale in (0.0, 0.5, 1.0, 1.5)}
    assert min(scores, key=scores.__getitem__) == 1.0
    assert scores[0.0] == pytest.approx(1)
    assert scores[1.0] == pytest.approx(np.sqrt(0.5), abs=0.01)
