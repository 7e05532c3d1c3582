"""Operations of a step: counted without data, they are those of the real step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.training import throughput
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.steps import noise_of, phase_of, phases, windows_of
from m2l2_mir.training.throughput import Throughput, step_flop
from tests.training.runs import Tones, recipe

CONFIG = recipe(steps=100)


@pytest.mark.parametrize("step", [0, 50])  # without and with the consistency loss
def test_operations_are_those_of_the_whole_batch(step: int) -> None:
    objective = Objective(random_model(CONFIG.model_config), CONFIG)
    ids, samples = windows_of(step, CONFIG)
    windows = Tones().batch(ids, samples, torch.device("cpu"))
    # the counter does not know the attention of a CPU, but in its plain form
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        objective(windows, noise_of(ids, step, CONFIG), step).total.backward()
    assert step_flop(copy.deepcopy(objective).to("meta"), CONFIG, step) == counter.get_total_flops() > 1e6


def test_share_is_operations_over_time_over_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "peak_rate", lambda device, dtype: 1e9)
    monkeypatch.setattr(throughput, "step_flop", lambda objective, config, step: 1e9 if step == 0 else 4e9)
    objective = Objective(random_model(CONFIG.model_config), CONFIG)
    speed = Throughput(objective, CONFIG, torch.device("cpu"), processes=2)
    speed.add(0, 1.0)
    speed.add(50, 3.0)
    row = speed.row()
    assert row["share_of_peak"] == pytest.approx(5e9 / 4 / 2e9)
    assert row["windows_a_second"] == pytest.approx(2 * 2 / 4)
    speed.add(50, 1.0)
    assert speed.row()["share_of_peak"] == pytest.approx(2.0)  # since the last row


def test_phases_follow_the_schedules() -> None:
    found = phases(recipe(steps=100, explicit_fade=(0.0, 0.8)))
    assert [(phase.name, phase.first) for phase in found] == [
        ("explicit", 0),
        ("explicit + clean", 30),
        ("explicit + share", 34),
        ("explicit + position", 60),
        ("position", 80),
    ]
    assert all(phase_of(phase.first + 3, CONFIG).first == phase.first for phase in found[:4])
