"""A run's folder: the best weights, and metrics that are the same in the table and in TensorBoard."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from m2l2_mir.training import loop
from m2l2_mir.training import run as run_module
from m2l2_mir.training.loop import train
from m2l2_mir.training.run import Run
from tests.training.runs import Interrupted, Tones, recipe, require_equal

TOTALS = {1: 0.1, 2: 0.3, 3: 0.9, 4: 0.7, 5: 0.8, 6: 0.7}  # the consistency loss joins in step 3, as easy as can be


class Totals:
    """Held-out totals that are known; keeps the weights that were shown."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, torch.Tensor]] = {}

    def __call__(self, *_: Any) -> Totals:
        return self

    def measure(self, objective: Any, average: Any, averaged: Any, step: int) -> dict[str, float]:
        self.seen[step + 1] = {name: value.clone() for name, value in averaged.state_dict().items()}
        return {"held_out_total": TOTALS[step + 1]}


@pytest.fixture
def totals(monkeypatch: pytest.MonkeyPatch) -> Totals:
    totals = Totals()
    monkeypatch.setattr(loop, "Watch", totals)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    monkeypatch.setattr(loop, "EVALUATE_EVERY", 1)
    return totals


def config(**changes: Any) -> Any:
    return recipe(consistency_from=0.3, easy_until=1.0, **changes)


def recorded(folder: Path) -> tuple[int, str, float]:
    best = json.loads((folder / "run.json").read_text())["best"]
    return best["step"], best["phase"], best["held_out_total"]


def test_best_is_the_lowest_of_the_last_phase(tmp_path: Path, totals: Totals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2l2_mir.training.schedules.EASY_STAGES", 1)  # one phase from step 3 on
    train(config(), Tones(), tmp_path, device="cpu")
    assert recorded(tmp_path) == (4, "explicit + clean", 0.7)  # not step 1, which had less to learn, nor the later 6
    require_equal(load_file(tmp_path / "best.safetensors"), totals.seen[4], atol=0)


@pytest.mark.parametrize("at", [2, 4, 5])
def test_best_survives_a_resume(tmp_path: Path, totals: Totals, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr("m2l2_mir.training.schedules.EASY_STAGES", 1)
    with pytest.raises(KeyboardInterrupt):
        train(config(), Interrupted(at, 2), tmp_path, device="cpu")
    train(config(), Tones(), tmp_path, resume=True, device="cpu")
    assert recorded(tmp_path) == (4, "explicit + clean", 0.7)
    require_equal(load_file(tmp_path / "best.safetensors"), totals.seen[4], atol=0)


def test_a_kill_between_best_and_history_does_no_harm(
    tmp_path: Path, totals: Totals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2l2_mir.training.schedules.EASY_STAGES", 1)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        real = run_module.write_history
        patch.setattr(Run, "end", lambda self: None)
        patch.setattr(
            run_module,
            "write_history",
            lambda folder, history: killed() if history.get("best", {}).get("step") == 4 else real(folder, history),
        )
        with pytest.raises(KeyboardInterrupt):
            train(config(), Tones(), tmp_path, device="cpu")
    assert recorded(tmp_path)[0] == 3
    require_equal(load_file(tmp_path / "best.safetensors"), totals.seen[4], atol=0)
    shown = dict(totals.seen)
    monkeypatch.setitem(TOTALS, 4, 0.75)  # as another device may find it: the file's own record is what counts
    train(config(), Tones(), tmp_path, resume=True, device="cpu")
    assert recorded(tmp_path) == (4, "explicit + clean", 0.7)
    require_equal(load_file(tmp_path / "best.safetensors"), shown[4], atol=0)


def test_a_kill_after_the_first_state_leaves_a_run_to_resume(
    tmp_path: Path, totals: Totals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_save_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config(), Tones(), tmp_path, device="cpu")
    train(config(), Tones(), tmp_path, resume=True, device="cpu")
    assert json.loads((tmp_path / "run.json").read_text())["stretches"][-1]["to_step"] == 6


def test_tensorboard_has_what_the_table_has_and_no_step_twice(
    tmp_path: Path, totals: Totals, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    real = Run.save
    with monkeypatch.context() as patch:
        patch.setattr(loop, "SAVE_SECONDS", 0.0)
        patch.setattr(Run, "save", lambda self: real(self) if self.step == 2 else None)
        with pytest.raises(KeyboardInterrupt):  # killed after step 4, saved after step 2
            train(config(), Interrupted(4, 2), tmp_path, device="cpu")
    train(config(), Tones(), tmp_path, resume=True, device="cpu")
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"total", "held_out_total", "share_of_peak"} <= set(events.Tags()["scalars"]) == set(rows[0]) - {"step"}
    for name in events.Tags()["scalars"]:
        table = {int(row["step"]): float(row[name]) for row in rows if row[name]}
        scalars = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in scalars] == sorted(table)
        assert dict(scalars) == pytest.approx(table, rel=1e-5, abs=1e-7, nan_ok=True)


def test_stopped_while_the_weights_change_it_keeps_the_last_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe(), Tones(), tmp_path / "whole", device="cpu")
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    step = torch.optim.RAdam.step

    def stopped(self: torch.optim.RAdam, *arguments: Any) -> None:
        step(self, *arguments)
        if self.param_groups[0]["lr"] == pytest.approx(1e-3):  # in step 2, when the warm-up is over
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.RAdam, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(), Tones(), tmp_path / "parts", device="cpu")
    train(recipe(), Tones(), tmp_path / "parts", resume=True, device="cpu")
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    require_equal(one, other, atol=0)


def test_best_weights_of_a_run_that_never_saved_are_not_adopted(tmp_path: Path) -> None:
    tmp_path.joinpath("best.safetensors").write_bytes(b"left by another run")
    train(recipe(), Tones(), tmp_path, device="cpu")
    assert not tmp_path.joinpath("best.safetensors").exists()
