"""Small runs on made-up audio, shared by the tests of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from m2l2_mir.training.config import TrainingConfig


class Tones:
    """Windows of a few harmonics and some noise, drawn by number."""

    def batch(self, sample_ids: Sequence[int], samples: int, device: torch.device) -> torch.Tensor:
        found = []
        for sample in sample_ids:
            generator = torch.Generator().manual_seed(sample)
            pitch = 100 * 2 ** (3 * torch.rand(1, generator=generator))
            phase = pitch * torch.arange(samples) / 44100 * 2 * torch.pi
            tone = sum(torch.sin(harmonic * phase) / harmonic for harmonic in range(1, 5))
            found.append(0.1 * tone + 0.01 * torch.randn(samples, generator=generator))
        return torch.stack(found)[:, None].to(device)

    def describe(self) -> dict[str, Any]:
        return {"name": "tones"}


def recipe(**changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "name": "test",
        "model": "m2l2-tiny",
        "steps": 6,
        "batch_size": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "explicit_weight": 1.0,
        "summary_weight": 0.5,
        "summary_noise": 0.3,
        "precision": "float32",
        "consistency_from": 0.3,
        "easy_until": 0.6,
    }
    return TrainingConfig(**{**values, **changes})


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "weights.safetensors")


def require_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=atol, rtol=0, msg=name)


class Interrupted(Tones):
    """Dies, as a kill would, when step `at` asks for its windows."""

    def __init__(self, at: int, batch_size: int) -> None:
        self.first = 2 * at * batch_size  # two chunks a window

    def batch(self, sample_ids: Sequence[int], samples: int, device: torch.device) -> torch.Tensor:
        if self.first in sample_ids:
            raise KeyboardInterrupt
        return super().batch(sample_ids, samples, device)
