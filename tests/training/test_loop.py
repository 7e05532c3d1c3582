"""The training loop: what it computes does not depend on interruptions, on the division of the batch, or on the run."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import m2l2_mir as mm
from m2l2_mir.errors import CheckpointError, ConfigError
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.training import loop, monitors, watch
from m2l2_mir.training.loop import compile_networks, launch, train
from m2l2_mir.training.monitors import TrainingStopped
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.schedules import learning_rate
from m2l2_mir.training.steps import noise_of, windows_of
from tests.training.runs import Interrupted, Tones, recipe, require_equal, weights


class Hears:
    """A probe that asks for embeddings."""

    def measure(self, model: mm.model.autoencoder.Music2Latent2) -> dict[str, float]:
        blocks = torch.zeros(1, 1, model.config.chunk_samples + model.config.overlap)
        return {"quick": float(model.encode_blocks(blocks).std())}


@pytest.mark.parametrize("at", [1, 2, 5])  # before the consistency loss joins, as it does, and late
def test_resumed_and_watched_run_ends_as_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    train(recipe(), Tones(), tmp_path / "whole", device="cpu")
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    monkeypatch.setattr(loop, "EVALUATE_EVERY", 2)
    monkeypatch.setattr(watch, "HELD_OUT_WINDOWS", 3)
    monkeypatch.setattr(watch, "HELD_OUT_CHUNKS", 4)
    watched: dict[str, Any] = {"held_out": Tones(), "probes": Hears(), "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), Interrupted(at, 2), tmp_path / "parts", **watched)
    train(recipe(), Tones(), tmp_path / "parts", resume=True, **watched)
    require_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"), atol=0)
    stretches = json.loads((tmp_path / "parts" / "run.json").read_text())["stretches"]
    assert [(stretch["from_step"], stretch["to_step"]) for stretch in stretches] == [(0, at), (at, 6)]
    with open(tmp_path / "parts" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [row["step"] for row in rows if row["quick"] and row["held_out_total"]] == ["2", "4", "6"]


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
    monkeypatch.setattr(loop, "LOG_EVERY", 10)
    monkeypatch.setattr(loop, "EVALUATE_EVERY", 40)
    monkeypatch.setattr(watch, "HELD_OUT_WINDOWS", 4)
    monkeypatch.setattr(watch, "HELD_OUT_CHUNKS", 8)
    said: list[str] = []
    losses = {"consistency_weight": 0.0, "summary_weight": 0.0, "saturation_weight": 0.1}
    config = recipe(steps=80, learning_rate=3e-3, second_moment=0.95, **losses)
    train(config, Tones(), tmp_path, held_out=Tones(), device="cpu", say=said.append)
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(10, 81, 10))
    watched = {row["step"]: float(row["held_out_explicit_bands"]) for row in rows if row["held_out_explicit_bands"]}
    assert list(watched) == ["40", "80"]
    assert watched["80"] < 0.98 * watched["40"]
    assert len(said) == 8


def test_time_is_kept_and_other_runs_are_not_touched(tmp_path: Path) -> None:
    said: list[str] = []
    train(recipe(), Tones(), tmp_path / "run", max_minutes=0, device="cpu", say=said.append)
    assert "step 1 of 6" in said[-1]
    with pytest.raises(CheckpointError, match="holds a run already; go on with --resume"):
        train(recipe(), Tones(), tmp_path / "run", device="cpu")
    with pytest.raises(
        ConfigError, match=r"begun with another recipe \(seed: 0 there, 1 here\); resume it with its own"
    ):
        train(recipe(seed=1), Tones(), tmp_path / "run", resume=True, device="cpu")
    other = Tones()
    other.describe = lambda: {"name": "noise"}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"begun with other data \(name: tones there, noise here\)"):
        train(recipe(), other, tmp_path / "run", resume=True, device="cpu")
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        train(recipe(), Tones(), tmp_path / "none", resume=True, device="cpu")
    (tmp_path / "run" / "state.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cannot be read"):
        train(recipe(), Tones(), tmp_path / "run", resume=True, device="cpu")


def test_a_run_is_shortened_while_it_runs_and_its_schedules_follow(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), Interrupted(2, 2), tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="is at step 2 already; give 2 steps or more"):
        train(recipe(steps=1), Tones(), tmp_path, resume=True, device="cpu")
    train(recipe(steps=3), Tones(), tmp_path, resume=True, device="cpu")
    history = json.loads((tmp_path / "run.json").read_text())
    assert history["recipe"]["steps"] == 3
    assert [(stretch["of"], stretch["to_step"]) for stretch in history["stretches"]] == [(6, 2), (3, 3)]
    with open(tmp_path / "metrics.csv", newline="") as file:
        rate = float(list(csv.DictReader(file))[-1]["learning_rate"])
    assert rate == pytest.approx(learning_rate(2, recipe(steps=3)), rel=1e-5)


def test_a_model_of_ones_own_may_lie_elsewhere_when_its_run_is_resumed(tmp_path: Path) -> None:
    from m2l2_mir.model import config as model_config

    tiny = (Path(model_config.__file__).parent / "presets" / "m2l2-tiny.toml").read_text()
    for name, text in (
        ("here.toml", tiny),
        ("there.toml", tiny),
        ("other.toml", tiny.replace("heads = 2", "heads = 4")),
    ):
        (tmp_path / name).write_text(text)
    train(recipe(model=str(tmp_path / "here.toml")), Tones(), tmp_path / "run", max_minutes=0, device="cpu")
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "here.toml").unlink()
    with pytest.raises(ConfigError, match=r"another recipe \(model\)"):
        train(recipe(model=str(tmp_path / "other.toml")), Tones(), tmp_path / "moved", resume=True, device="cpu")
    train(recipe(model=str(tmp_path / "there.toml")), Tones(), tmp_path / "moved", resume=True, device="cpu")
    assert json.loads((tmp_path / "moved" / "run.json").read_text())["stretches"][-1]["to_step"] == 6


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

    with pytest.raises(TrainingStopped, match="not finite; begin a new run with a lower learning_rate"):
        train(recipe(), Broken(), tmp_path / "broken", device="cpu")
    kept = load_file(tmp_path / "broken" / "state.safetensors")
    assert all(value.isfinite().all() for value in kept.values())
    monkeypatch.setattr(monitors, "LEAST_SPREAD", 10.0)
    with pytest.raises(TrainingStopped, match="collapsed"):
        train(recipe(), Tones(), tmp_path / "collapsed", device="cpu")
    monkeypatch.setattr(monitors, "MOST_SATURATED", -1.0)
    with pytest.raises(TrainingStopped, match="saturated"):
        train(recipe(), Tones(), tmp_path / "saturated", device="cpu")


def test_a_frozen_encoder_stays_and_a_slow_one_moves_less(tmp_path: Path) -> None:
    begun = train(recipe(consistency_from=0.0), Tones(), tmp_path / "begun", device="cpu")
    moved = {}
    for rate in (0.0, 0.1, 1.0):
        changes = {"consistency_from": 0.0, "encoder_rate": rate, "ema_decay": 0.0, "explicit_weight": 0.0}
        run = tmp_path / f"rate-{rate}"
        train(recipe(**changes), Tones(), run, device="cpu", init_from=str(begun))
        before, after = weights(begun.parent), weights(run)
        for part in ("encoder", "consistency"):
            names = [name for name in before if name.startswith(part)]
            moved[part, rate] = sum(float((after[name] - before[name]).abs().sum()) for name in names)
    assert moved["encoder", 0.0] == 0
    assert 0 < moved["encoder", 0.1] < 0.3 * moved["encoder", 1.0]
    assert all(moved["consistency", rate] > 0 for rate in (0.0, 0.1, 1.0))


def test_compiling_changes_speed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def compiler(function: Any, dynamic: bool) -> Any:
        def compiled(*arguments: Any, **more: Any) -> Any:
            called.append(function.__qualname__)
            return function(*arguments, **more)

        return compiled

    plain = train(recipe(), Tones(), tmp_path / "plain", device="cpu")
    monkeypatch.setattr(torch, "compile", compiler)
    train(recipe(), Tones(), tmp_path / "compiled", device="cpu", compiled=True)
    assert set(called) == {
        "Encoder.forward", "Upsampler.tokens", "Depatchifier.forward", "ConsistencyNetwork.forward"
    }  # fmt: skip
    require_equal(weights(plain.parent), weights(tmp_path / "compiled"), atol=0.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_goes_on_on_another_kind_of_device_and_back(tmp_path: Path) -> None:
    config = recipe(steps=9)
    train(config, Tones(), tmp_path / "begun", device="cpu", max_minutes=0)
    train(config, Tones(), tmp_path / "whole", device="cpu")
    said: list[str] = []
    for until, device in ((3, "cuda"), (6, "cpu"), (9, "cuda")):
        options: dict[str, Any] = {"device": device, "resume": until > 3, "compiled": False, "say": said.append}
        if until < 9:
            with pytest.raises(KeyboardInterrupt):
                train(config, Interrupted(until, 2), tmp_path / "parts", **options)
        else:
            train(config, Tones(), tmp_path / "parts", **options)
    assert [line for line in said if line.startswith("goes on")] == [
        "goes on at step 3 of 9, on cpu in float32",
        "goes on at step 6 of 9, on cuda in float32",
    ]
    begun, whole, parts = (weights(tmp_path / name) for name in ("begun", "whole", "parts"))
    way, error = (
        sum(float((one[name] - other[name]).square().sum()) for name in one) ** 0.5
        for one, other in ((whole, begun), (parts, whole))
    )
    assert error < 0.05 * way


def gradients(objective: Objective, device: str) -> dict[str, torch.Tensor]:
    """Of the first step's losses, by parameter."""
    config = objective.config
    ids, samples = windows_of(0, config)
    objective.zero_grad()
    objective(Tones().batch(ids, samples, torch.device(device)), noise_of(ids, 0, config), 0).total.backward()
    return {name: value.grad.clone() for name, value in objective.named_parameters() if value.grad is not None}


def test_the_compiler_sees_fixed_shapes_though_the_networks_share_code(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, given = torch.compile, []

    def traced(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        given.extend(inputs)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **options: compiler(function, backend=traced, **options))
    config = recipe(consistency_from=0.0, easy_until=0.0)
    objective = Objective(random_model(config.model_config, 0), config)
    plain = gradients(objective, "cpu")
    compile_networks(objective.model)
    require_equal(gradients(objective, "cpu"), plain, atol=1e-5)
    assert given
    # a size that may change is more than inductor can make code of here
    assert not [value for value in given if isinstance(value, torch.SymInt)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_networks_compiled_for_a_gpu_compute_the_same() -> None:
    config = recipe(consistency_from=0.0, easy_until=0.0)
    objective = Objective(random_model(config.model_config, 0), config).cuda()
    plain = gradients(objective, "cuda")
    compile_networks(objective.model)
    compiled = gradients(objective, "cuda")
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-3 * float(value.abs().max()), msg=name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finds no such device; take --device cpu"):
        train(recipe(), Tones(), tmp_path, device="cuda")


def test_losses_hear_what_was_drawn_at_mixed_precision() -> None:
    fabric = launch("cpu", "bfloat16")
    heard: list[torch.dtype] = []

    class Ear(torch.nn.Linear):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            heard.append(values.dtype)
            product = super().forward(values)
            heard.append(product.dtype)
            return product

    model = Ear(2, 2)
    wrapped, _ = fabric.setup(model, torch.optim.SGD(model.parameters()))
    assert wrapped(torch.ones(1, 2)).dtype == torch.float32
    assert heard == [torch.float32, torch.bfloat16]
