"""The training loop: what it computes does not depend on interruptions, on the division of the batch, or on the run."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import m2l2_mir as mm
from m2l2_mir.errors import CheckpointError, ConfigError
from m2l2_mir.training import loop, monitors
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.loop import train
from m2l2_mir.training.monitors import TrainingStopped


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
        self.first = at * batch_size

    def batch(self, sample_ids: Sequence[int], samples: int, device: torch.device) -> torch.Tensor:
        if self.first in sample_ids:
            raise KeyboardInterrupt
        return super().batch(sample_ids, samples, device)


@pytest.mark.parametrize("at", [1, 2, 5])  # before the consistency loss joins, as it does, and late
def test_resumed_run_ends_as_the_uninterrupted_one(tmp_path: Path, at: int) -> None:
    train(recipe(), Tones(), tmp_path / "whole", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), Interrupted(at, 2), tmp_path / "parts", device="cpu")
    train(recipe(), Tones(), tmp_path / "parts", resume=True, device="cpu")
    require_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"), atol=0)
    stretches = json.loads((tmp_path / "parts" / "run.json").read_text())["stretches"]
    assert [(stretch["from_step"], stretch["to_step"]) for stretch in stretches] == [(0, at), (at, 6)]


def test_weights_are_a_model_and_averages(tmp_path: Path) -> None:
    train(recipe(), Tones(), tmp_path, device="cpu")
    model = mm.load_model(tmp_path / "weights.safetensors", device="cpu")
    assert model.trained
    assert "6 of 6 steps" in model.metadata["training"]
    state = load_file(tmp_path / "state.safetensors")
    name = "model.encoder.to_bottleneck.weight"
    torch.testing.assert_close(state[f"average.{name}"], model.state_dict()[name.removeprefix("model.")])
    assert not torch.equal(state[f"average.{name}"], state[f"objective.{name}"])


def test_the_explicit_loss_falls_and_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 5)
    monkeypatch.setattr(loop, "EVALUATE_EVERY", 20)
    monkeypatch.setattr(loop, "HELD_OUT_WINDOWS", 4)
    said: list[str] = []
    config = recipe(steps=40, consistency_weight=0.0, learning_rate=3e-3)
    train(config, Tones(), tmp_path, held_out=Tones(), device="cpu", say=said.append)
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(5, 41, 5))
    assert float(rows[-1]["explicit_bands"]) < 0.8 * float(rows[0]["explicit_bands"])
    assert [row["step"] for row in rows if row["held_out_explicit_bands"]] == ["20", "40"]
    assert len(said) == 8


def test_two_processes_equal_one_with_the_doubled_batch(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_loop import Tones, recipe\n"
        "from m2l2_mir.training.loop import train\n"
        "train(recipe(batch_size=4), Tones(), sys.argv[1], device='cpu')\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, tmp_path / "two"], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    train(recipe(batch_size=4), Tones(), tmp_path / "one", device="cpu")
    require_equal(weights(tmp_path / "one"), weights(tmp_path / "two"), atol=1e-5)


def test_time_is_kept_and_other_runs_are_not_touched(tmp_path: Path) -> None:
    said: list[str] = []
    train(recipe(), Tones(), tmp_path / "run", max_minutes=0, device="cpu", say=said.append)
    assert "step 1 of 6" in said[-1]
    with pytest.raises(CheckpointError, match="holds a run already; go on with --resume"):
        train(recipe(), Tones(), tmp_path / "run", device="cpu")
    with pytest.raises(ConfigError, match="begun with another recipe"):
        train(recipe(seed=1), Tones(), tmp_path / "run", resume=True, device="cpu")
    other = Tones()
    other.describe = lambda: {"name": "noise"}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="begun with other data"):
        train(recipe(), other, tmp_path / "run", resume=True, device="cpu")
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        train(recipe(), Tones(), tmp_path / "none", resume=True, device="cpu")
    (tmp_path / "run" / "state.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cannot be read"):
        train(recipe(), Tones(), tmp_path / "run", resume=True, device="cpu")


def test_a_new_stage_begins_with_the_weights_of_the_last(tmp_path: Path) -> None:
    first = train(recipe(), Tones(), tmp_path / "first", device="cpu")
    config = recipe(learning_rate=1e-9, warmup_steps=1)
    second = train(config, Tones(), tmp_path / "second", init_from=str(first), device="cpu")
    require_equal(load_file(first), load_file(second), atol=1e-6)
    assert json.loads((tmp_path / "second" / "run.json").read_text())["init_from"] == str(first)
    with pytest.raises(ConfigError, match="not the m2l2-tiny-ordered"):
        train(recipe(latents="ordered"), Tones(), tmp_path / "third", init_from=str(first), device="cpu")


def test_a_run_that_goes_wrong_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)

    class Broken(Tones):
        def batch(self, sample_ids: Sequence[int], samples: int, device: torch.device) -> torch.Tensor:
            return super().batch(sample_ids, samples, device) * float("nan")

    with pytest.raises(TrainingStopped, match="not finite; lower learning_rate"):
        train(recipe(), Broken(), tmp_path / "broken", device="cpu")
    kept = load_file(tmp_path / "broken" / "state.safetensors")
    assert all(value.isfinite().all() for value in kept.values())
    monkeypatch.setattr(monitors, "LEAST_SPREAD", 10.0)
    with pytest.raises(TrainingStopped, match=r"collapsed.*raise explicit_weight"):
        train(recipe(), Tones(), tmp_path / "collapsed", device="cpu")
    monkeypatch.setattr(monitors, "MOST_SATURATED", -1.0)
    with pytest.raises(TrainingStopped, match="saturated; raise saturation_weight"):
        train(recipe(), Tones(), tmp_path / "saturated", device="cpu")
