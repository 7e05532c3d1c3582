"""The training loop: one step after the other, interruptible anywhere, on one device or several.

A step computes the same whether or not the run was interrupted before it, and however its batch is divided among
processes: crops, augmentation and noise follow from the seed and the sample's number, and nothing else is random.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.func import functional_call

from m2l2_mir.errors import CheckpointError, ConfigError
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model, random_model, save_model
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.monitors import TrainingStopped, health, loss_by_noise, require_health
from m2l2_mir.training.objective import Losses, Objective, draw_noise
from m2l2_mir.training.schedules import ema_decay, learning_rate
from m2l2_mir.training.state import STATE, Metrics, load_state, read_history, save_state, write_history

__all__ = ["Batches", "train"]

LOG_EVERY, EVALUATE_EVERY = 50, 1000
SAVE_SECONDS = 300.0
HELD_OUT_WINDOWS = 64
HELD_OUT_IDS = 2**40  # sample numbers that training never reaches


class Batches(Protocol):
    """Windows of audio by number."""

    def batch(self, sample_ids: Sequence[int], samples: int, device: torch.device) -> Tensor:
        """Windows [len(sample_ids), channels, samples], float32; the same numbers give the same windows."""

    def describe(self) -> dict[str, Any]:
        """What the data are, with licences and a hash, for the run's history."""


Say = Callable[[str], None]


def train(
    config: TrainingConfig,
    batches: Batches,
    out: str | os.PathLike[str],
    *,
    held_out: Batches | None = None,
    resume: bool = False,
    init_from: str | None = None,
    max_minutes: float | None = None,
    device: str = "auto",
    say: Say = lambda line: None,
) -> Path:
    """Train a model, or go on with a run.

    Parameters
    ----------
    config
        The recipe; of a resumed run it must be the one the run began with.
    batches, held_out
        Windows to train on, and others to watch the loss on.
    out
        Folder of the run (:mod:`m2l2_mir.training.state`).
    resume
        Go on with the run in `out`.
    init_from
        Weights to begin a new run with; optimiser and warm-up start anew, and the run's history names them.
    max_minutes
        Stop cleanly after so long; the run can be resumed, also on another kind of device.
    device
        "auto", "cpu" or "cuda"; more than one process: start it with ``torchrun``.
    say
        Told a line about progress now and then.

    Returns
    -------
    Path
        Of the weights, ``weights.safetensors`` in `out`.

    Raises
    ------
    ConfigError, CheckpointError
        The run cannot begin or go on.
    TrainingStopped
        The run has saturated, collapsed or diverged.
    """
    run = Path(out)
    fabric = _fabric(device)
    fabric.launch()
    per_process, rest = divmod(config.batch_size, fabric.world_size)
    if rest:
        raise ConfigError(f"batch_size {config.batch_size} does not divide among {fabric.world_size} processes")
    model = random_model(config.model_config, config.seed) if init_from is None else _initial(init_from, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # of the heads
        objective = Objective(model.train(), config)
    optimizer = torch.optim.RAdam(objective.parameters(), lr=config.learning_rate, betas=(0.9, 0.999))
    average = {f"model.{name}": value.detach().clone() for name, value in model.state_dict().items()}
    history = _history(run, config, batches, resume, init_from, fabric)
    step = load_state(run, objective, average, optimizer) if resume else 0
    average = {name: value.to(fabric.device) for name, value in average.items()}
    wrapped, optimizer = fabric.setup(objective, optimizer)
    metrics = Metrics(run, step) if fabric.is_global_zero else None
    started = saved = time.monotonic()
    first, seconds = step, 0.0
    samples = config.model_config.context_chunks * config.model_config.chunk_samples + config.model_config.overlap
    deadline = None if max_minutes is None else started + 60 * max_minutes

    def keep() -> None:
        if fabric.is_global_zero:
            save_state(run, step, objective, average, optimizer.optimizer)
            _save_weights(run / "weights.safetensors", config, average, step)
            history["stretches"][-1] |= {"to_step": step, "seconds": round(time.monotonic() - started, 1)}
            write_history(run, history)
        fabric.barrier()

    history["stretches"].append({"from_step": step, "to_step": step, "device": _name(fabric), "seconds": 0.0})
    try:
        while step < config.steps:
            begun = time.monotonic()
            ids = [step * config.batch_size + fabric.global_rank * per_process + i for i in range(per_process)]
            waveforms = batches.batch(ids, samples, fabric.device)
            losses = wrapped(waveforms, draw_noise(ids, config.seed, config.model_config), step)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(losses.total)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
            try:
                fabric.clip_gradients(wrapped, optimizer, max_norm=config.clip_norm or float("inf"))
            except RuntimeError as error:  # before the weights are touched, and in all processes alike
                raise TrainingStopped(f"step {step}: not finite; lower learning_rate, or lengthen warm-up") from error
            optimizer.step()
            _follow(average, model, ema_decay(step, config))
            step += 1
            seconds += time.monotonic() - begun
            if step % LOG_EVERY == 0 or step == config.steps:
                row = _row(step, losses, objective, config, (step - first) * config.batch_size / max(seconds, 1e-9))
                if held_out is not None and (step % EVALUATE_EVERY == 0 or step == config.steps):
                    row |= _evaluate(objective, average, held_out, config, step, samples, fabric.device)
                if metrics is not None:
                    metrics.add(row)
                    say(_line(row, config))
                require_health(row)
            late = deadline is not None and time.monotonic() > deadline
            if late or time.monotonic() - saved > SAVE_SECONDS:
                keep()
                saved = time.monotonic()
            if late:
                say(f"stopped after {max_minutes:g} minutes at step {step} of {config.steps}; go on with --resume")
                break
    finally:
        keep()
    return run / "weights.safetensors"


def _fabric(device: str) -> Fabric:
    """One process, or those that torchrun has started; bfloat16 on a GPU."""
    accelerator = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device.partition(":")[0]
    if accelerator not in ("cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu or cuda: {device!r}")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return Fabric(
        accelerator=accelerator,
        devices=processes,
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        strategy=DDPStrategy(find_unused_parameters=True) if "RANK" in os.environ else "auto",
        precision="bf16-mixed" if accelerator == "cuda" else "32-true",
    )


def _name(fabric: Fabric) -> str:
    kind = torch.cuda.get_device_name() if fabric.device.type == "cuda" else "CPU"
    return f"{fabric.world_size} x {kind}" if fabric.world_size > 1 else kind


def _initial(weights: str, config: TrainingConfig) -> Music2Latent2:
    model = load_model(weights, device="cpu")
    if model.config.replace(name="") != config.model_config.replace(name=""):
        raise ConfigError(f"{weights} is a {model.config.name}, not the {config.model_config.name} of {config.name}")
    return model


def _history(
    run: Path, config: TrainingConfig, batches: Batches, resume: bool, init_from: str | None, fabric: Fabric
) -> dict[str, Any]:
    """Read or begin the run's history, refusing to mix runs."""
    if resume:
        history = read_history(run)
        if TrainingConfig.from_dict(history["recipe"]) != config:
            raise ConfigError(f"{run} was begun with another recipe; resume it with its own ({run}/run.json)")
        if history["data"] != json.loads(json.dumps(batches.describe())):
            raise ConfigError(f"{run} was begun with other data ({run}/run.json); resume it with the same folders")
        return history
    if (run / STATE).exists():
        raise CheckpointError(f"{run} holds a run already; go on with --resume, or give another --out")
    if fabric.is_global_zero:
        run.mkdir(parents=True, exist_ok=True)
    return {
        "recipe": config.to_dict(),
        "model": config.model_config.to_dict(),
        "init_from": init_from,
        "data": batches.describe(),
        "torch": torch.__version__,
        "stretches": [],
    }


@torch.no_grad()
def _follow(average: dict[str, Tensor], model: Music2Latent2, decay: float) -> None:
    """Exponential moving average of the weights."""
    weights = model.state_dict()
    for name, value in average.items():
        value.lerp_(weights[name.removeprefix("model.")], 1 - decay)


def _row(
    step: int, losses: Losses, objective: Objective, config: TrainingConfig, windows_a_second: float
) -> dict[str, float]:
    seconds = config.model_config.context_chunks * config.model_config.chunk_seconds
    row = {"step": float(step), "total": float(losses.total.detach()), "learning_rate": learning_rate(step - 1, config)}
    row |= {name: float(value) for name, value in losses.parts.items()}
    row |= loss_by_noise(losses.consistency, losses.sigma) | health(losses.latents, objective.model.config)
    return row | {"windows_a_second": windows_a_second, "times_real_time": windows_a_second * seconds}


@torch.no_grad()
def _evaluate(
    objective: Objective,
    average: dict[str, Tensor],
    held_out: Batches,
    config: TrainingConfig,
    step: int,
    samples: int,
    device: torch.device,
) -> dict[str, float]:
    """Losses of the averaged weights on windows that are the same each time."""
    found: dict[str, float] = {}
    for first in range(0, HELD_OUT_WINDOWS, config.batch_size):
        ids = [HELD_OUT_IDS + first + i for i in range(min(config.batch_size, HELD_OUT_WINDOWS - first))]
        noise = draw_noise(ids, config.seed, config.model_config)
        losses: Losses = functional_call(objective, average, (held_out.batch(ids, samples, device), noise, step - 1))
        for name, value in losses.parts.items():
            found[f"held_out_{name}"] = found.get(f"held_out_{name}", 0.0) + float(value) * len(ids) / HELD_OUT_WINDOWS
    return found


def _save_weights(path: Path, config: TrainingConfig, average: dict[str, Tensor], step: int) -> None:
    model = Music2Latent2(config.model_config)
    model.load_state_dict({name.removeprefix("model."): value.cpu() for name, value in average.items()})
    model.weights_id = f"{config.name}, step {step}"
    note = f"{config.name}, {step} of {config.steps} steps of {config.batch_size} windows"
    save_model(model, path, metadata={"training": note})


def _line(row: dict[str, float], config: TrainingConfig) -> str:
    shown = {name: value for name, value in row.items() if name.startswith(("explicit", "consistency", "held_out"))}
    losses = ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if "sigma" not in name)
    return (
        f"step {row['step']:.0f}/{config.steps}: {losses}; latents {row['bounded_std']:.2f}, "
        f"{row['saturated']:.1%} saturated; {row['times_real_time']:.0f} x real time"
    )
