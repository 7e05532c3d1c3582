"""The training loop: one step after the other, interruptible anywhere, on one device or several.

A step computes the same whether or not the run was interrupted before it, and however its batch is divided among
processes: crops, augmentation and noise follow from the seed and the sample's number, and nothing else is random.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor

from m2l2_mir.errors import ConfigError
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model, random_model
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.monitors import TrainingStopped, health, loss_by_noise, require_health
from m2l2_mir.training.objective import Losses, Objective
from m2l2_mir.training.run import WEIGHTS, Run
from m2l2_mir.training.schedules import ema_decay, learning_rate
from m2l2_mir.training.start import start
from m2l2_mir.training.steps import noise_of, windows_of
from m2l2_mir.training.throughput import Throughput
from m2l2_mir.training.watch import Batches, Probes, Watch

__all__ = ["Batches", "compile_networks", "dtype_of", "launch", "parameter_groups", "part", "take_step", "train"]

LOG_EVERY, EVALUATE_EVERY = 50, 1000
SAVE_SECONDS = 300.0

Say = Callable[[str], None]


def train(
    config: TrainingConfig,
    batches: Batches,
    out: str | os.PathLike[str],
    *,
    held_out: Batches | None = None,
    probes: Probes | None = None,
    resume: bool = False,
    init_from: str | None = None,
    max_minutes: float | None = None,
    device: str = "auto",
    compiled: bool | None = None,
    say: Say = lambda line: None,
) -> Path:
    """Train a model, or go on with a run.

    Parameters
    ----------
    config
        The recipe; of a resumed run it must be the one the run began with.
    batches, held_out
        Windows to train on, and others to watch the averaged weights on; without these there is no
        ``best.safetensors``.
    out
        Folder of the run (:mod:`m2l2_mir.training.state`).
    resume
        Go on with the run in `out`.
    init_from
        Weights to begin a new run with; optimiser and warm-up start anew, and the run's history names them.
    probes
        Asked about the averaged weights too, such as :class:`~m2l2_mir.training.quick_probes.QuickProbes`.
    max_minutes
        Stop cleanly after so long; the run can be resumed, also on another kind of device.
    device
        "auto", "cpu" or "cuda"; more than one process: start it with ``torchrun``.
    compiled
        Compile the networks first: minutes on a CPU, for steps about a third shorter. None: on a GPU only.
    say
        Told a line about progress now and then, by the first process.

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
    fabric = launch(device, config.precision)
    if config.batch_size % fabric.world_size:
        raise ConfigError(f"batch_size {config.batch_size} does not divide among {fabric.world_size} processes")
    model = random_model(config.model_config, config.seed) if init_from is None else _initial(init_from, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # of the heads
        objective = Objective(model.train(), config)
    if not resume:
        start(objective, batches, new=init_from is None)
    optimizer = torch.optim.RAdam(
        parameter_groups(objective), lr=config.learning_rate, betas=(0.9, config.second_moment)
    )
    run = Run(Path(out), config, objective, optimizer, fabric)
    throughput = Throughput(
        objective, config, fabric.device, fabric.world_size, dtype_of(config.precision, fabric.device.type)
    )
    wrapped, stepping = fabric.setup(objective, optimizer)
    run.begin(json.loads(json.dumps(batches.describe())), resume=resume, init_from=init_from)
    if resume:
        precision = str(dtype_of(config.precision, fabric.device.type)).removeprefix("torch.")
        say(f"goes on at step {run.step} of {config.steps}, on {fabric.device.type} in {precision}")
    if fabric.device.type == "cuda" if compiled is None else compiled:
        compile_networks(model)
    watch = Watch(config, held_out, probes)
    deadline = float("inf") if max_minutes is None else time.monotonic() + 60 * max_minutes
    try:
        while run.step < config.steps:
            begun = time.monotonic()
            losses = take_step(run, batches, wrapped, stepping, fabric)
            throughput.add(run.step - 1, time.monotonic() - begun)
            last = run.step == config.steps
            if run.step % LOG_EVERY == 0 or last:
                row = _row(run.step, _gathered(losses, fabric), config) | throughput.row()
                if fabric.is_global_zero:
                    if run.step % EVALUATE_EVERY == 0 or last:
                        row |= run.evaluate(watch)
                    run.log(row)
                    say(_line(row, config))
                require_health(row)
            if _anywhere(time.monotonic() > deadline, fabric):
                break
            if time.monotonic() - run.saved > SAVE_SECONDS:
                run.save()
    finally:
        run.end()
    if fabric.is_global_zero and run.step < config.steps:
        say(f"stopped after {max_minutes:g} minutes at step {run.step} of {config.steps}; go on with --resume")
    return run.folder / WEIGHTS


def take_step(run: Run, batches: Batches, wrapped: _FabricModule, stepping: _FabricOptimizer, fabric: Fabric) -> Losses:
    """Hear a batch, follow the gradient, advance the run by one step.

    Parameters
    ----------
    wrapped, stepping
        What ``fabric.setup`` makes of the run's objective and optimiser.

    Raises
    ------
    TrainingStopped
        The gradient is not finite.
    """
    step, config = run.step, run.config
    ids, samples = windows_of(step, config, fabric.global_rank, fabric.world_size)
    losses: Losses = wrapped(batches.batch(ids, samples, fabric.device), noise_of(ids, step, config), step)
    stepping.zero_grad(set_to_none=True)
    fabric.backward(losses.total)
    for group in stepping.param_groups:
        group["lr"] = group["share"] * learning_rate(step, config)
    try:
        fabric.clip_gradients(wrapped, stepping, max_norm=config.clip_norm or float("inf"))
    except RuntimeError as error:  # before the weights are touched, and in all processes alike
        raise TrainingStopped(
            f"step {step}: not finite; begin a new run with a lower learning_rate or a longer warm-up, if need be with "
            "--init-from its weights"
        ) from error
    run.advance(ema_decay(step, config))
    return losses


def parameter_groups(objective: Objective) -> list[dict[str, Any]]:
    """Parameters with their share of the learning rate; a frozen encoder is left out."""
    share = objective.config.encoder_rate
    encoder = list(objective.model.encoder.requires_grad_(share > 0).parameters())
    own = {id(value) for value in encoder}
    rest = {"params": [value for value in objective.parameters() if id(value) not in own], "share": 1.0}
    return [{"params": encoder, "share": share}, rest] if share > 0 else [rest]


def launch(device: str, precision: str = "auto") -> Fabric:
    """One process, or those that torchrun has started, at the precision of a recipe."""
    accelerator = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device.partition(":")[0]
    if accelerator not in ("cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu or cuda: {device!r}")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is cuda, but PyTorch finds no such device; take --device cpu, or install its CUDA build"
        )
    mixed = dtype_of(precision, accelerator) == torch.bfloat16
    fabric = Fabric(
        accelerator=accelerator,
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        strategy=DDPStrategy(find_unused_parameters=True) if "RANK" in os.environ else "auto",
        plugins=[MixedProducts("bf16-mixed", accelerator)] if mixed else [],
    )
    fabric.launch()
    return fabric


class MixedProducts(MixedPrecision):
    """Matrix products in bfloat16, and nothing else.

    Fabric's own would round what a module is given: audio to 8 bits, and neighbouring noise levels to the same one.
    """

    def convert_input(self, data: Any) -> Any:
        """The batch, as it is."""
        return data


def part() -> None:
    """End what :func:`launch` began: several processes part while all of them are alive, not while they exit."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def dtype_of(precision: str, device: str) -> torch.dtype:
    """What matrix products are computed in: of "auto", bfloat16 where the device has instructions for it."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older PyTorch does not tell
    built_for_it = device == "cuda" or capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if precision == "bfloat16" or (precision == "auto" and built_for_it) else torch.float32


def compile_networks(model: Music2Latent2) -> None:
    """Compile what a step spends its time in; evaluation and the weights' names do not see it."""
    parts = (
        (model.encoder, "forward"),
        (model.upsampler, "tokens"),
        (model.upsampler.depatchifier, "forward"),
        (model.consistency, "forward"),
    )
    for module, name in parts:
        # the networks share the code of their layers: without this, what differs between them would count as dynamic
        setattr(module, name, torch.compile(getattr(module, name), dynamic=False))


def _initial(weights: str, config: TrainingConfig) -> Music2Latent2:
    model = load_model(weights, device="cpu")
    if model.config.replace(name="") != config.model_config.replace(name=""):
        raise ConfigError(f"{weights} is a {model.config.name}, not the {config.model_config.name} of {config.name}")
    return model


@torch.no_grad()
def _gathered(losses: Losses, fabric: Fabric) -> Losses:
    """Losses of the whole batch in every process, so that all log and stop alike."""
    if fabric.world_size == 1:
        return losses
    latents, sigma, consistency = (
        cast(Tensor, fabric.all_gather(values)).flatten(0, 1)
        for values in (losses.latents, losses.sigma, losses.consistency)
    )
    names = sorted(losses.parts)
    means = fabric.all_reduce(torch.stack([losses.total.detach(), *(losses.parts[name] for name in names)]))
    return Losses(
        total=means[0],
        parts=dict(zip(names, means[1:], strict=True)),
        latents=latents,
        sigma=sigma,
        consistency=consistency,
    )


def _anywhere(true: bool, fabric: Fabric) -> bool:
    """Whether it is true in any process: all leave the loop at the same step, though their clocks differ."""
    if fabric.world_size == 1:
        return true
    return bool(fabric.all_reduce(torch.tensor(float(true), device=fabric.device), reduce_op="sum"))


def _row(step: int, losses: Losses, config: TrainingConfig) -> dict[str, float]:
    row = {"step": float(step), "total": float(losses.total.detach()), "learning_rate": learning_rate(step - 1, config)}
    row |= {name: float(value) for name, value in losses.parts.items()}
    return row | loss_by_noise(losses.consistency, losses.sigma) | health(losses.latents, config.model_config)


def _line(row: dict[str, float], config: TrainingConfig) -> str:
    shown = ("explicit", "summary", "consistency", "held_out_total", "held_out_fad", "quick")
    losses = ", ".join(f"{name} {row[name]:.3f}" for name in row if name.startswith(shown) and "sigma" not in name)
    slots = config.model_config.num_embeddings
    dead = f", {row['dead_slots']:.0f} of {slots} slots dead" if row["dead_slots"] else ""
    return (
        f"step {row['step']:.0f}/{config.steps}: {losses}; latents {row['bounded_std']:.2f}, "
        f"{row['saturated']:.1%} saturated{dead}; {row['times_real_time']:.0f} x real time, "
        f"{row['share_of_peak']:.0%} of peak"
    )
