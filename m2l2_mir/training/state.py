"""A run's folder: recipe, state, weights, history; each file is there whole or not at all.

``run.json``: recipe, model, data, every stretch the run was worked on, and where it was best. ``state.safetensors``:
everything a step depends on; no random state, as all noise follows from the seed and the sample.
``weights.safetensors`` and ``best.safetensors`` (:mod:`m2l2_mir.training.best`): moving averages, as
:func:`m2l2_mir.load_model` reads them. ``metrics.csv`` and ``tensorboard/`` (:mod:`m2l2_mir.training.metrics`): what
was watched. Nothing in it names a place: a run goes on wherever its folder and the same data are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import CheckpointError, ConfigError
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.training.config import TrainingConfig

__all__ = ["load_state", "new_history", "read_history", "resumed_history", "save_state", "write_history"]

STATE, HISTORY = "state.safetensors", "run.json"


def save_state(
    run: Path, step: int, objective: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Write everything that the next step depends on."""
    tensors = {f"objective.{name}": value for name, value in objective.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    ready = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    content = to_bytes(ready, metadata={"step": str(step)})
    write_durably(run / STATE, lambda file: file.write(content))


def load_state(run: Path, objective: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
    """Restore what :func:`save_state` wrote; return the number of steps done.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or of another model.
    """
    path = run / STATE
    try:
        with safe_open(path, framework="pt") as file:
            step = int((file.metadata() or {})["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; give another --out to begin a new run") from error
    parts: dict[str, dict[str, Tensor]] = {"objective": {}, "average": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    try:
        objective.load_state_dict(parts["objective"], strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} is of another model: {error}") from error
    for name, value in parts["average"].items():
        average[name].copy_(value)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


def read_history(run: Path) -> dict[str, Any]:
    """What ``run.json`` holds.

    Raises
    ------
    CheckpointError
        There is none, or it cannot be read.
    """
    try:
        history: dict[str, Any] = json.loads((run / HISTORY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{run} holds no run to resume; leave --resume out to begin one") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run / HISTORY} cannot be read: {error}") from error
    return history


def new_history(run: Path, config: TrainingConfig, data: dict[str, Any], init_from: str | None) -> dict[str, Any]:
    """What ``run.json`` of a new run holds at first.

    Raises
    ------
    CheckpointError
        There is a run in the folder.
    """
    if (run / STATE).exists():
        raise CheckpointError(f"{run} holds a run already; go on with --resume, or give another --out")
    return {
        "recipe": config.to_dict(),
        "model": config.model_config.to_dict(),
        "init_from": init_from,
        "data": data,
        "torch": torch.__version__,
        "stretches": [],
    }


def resumed_history(run: Path, config: TrainingConfig, data: dict[str, Any]) -> dict[str, Any]:
    """What ``run.json`` holds, if the run can go on with this recipe and these data.

    ``steps`` may differ: what depends on shares of training, as the learning rate does, follows the new length from
    here on, and every stretch of the run says which length it was trained for.

    Raises
    ------
    CheckpointError
        See :func:`read_history`.
    ConfigError
        The recipe or the data differ; the message says in what.
    """
    history = read_history(run)
    begun, now = ({**recipe.to_dict(), "model": ""} for recipe in (TrainingConfig.from_dict(history["recipe"]), config))
    # of a model of one's own the recipe names the file, which may lie elsewhere now: its content counts
    begun["model"] = ModelConfig.from_dict(history["model"]).to_dict()
    begun["steps"] = now["steps"]
    now["model"] = config.model_config.to_dict()
    if changed := _differences(begun, now):
        raise ConfigError(
            f"{run} was begun with another recipe ({changed}); resume it with its own, which is taken where none is "
            "given, or begin a new run"
        )
    if changed := _differences(history["data"], data):
        raise ConfigError(f"{run} was begun with other data ({changed}); resume it with the same folders and options")
    history["recipe"]["steps"] = config.steps
    return history


def write_history(run: Path, history: dict[str, Any]) -> None:
    """Replace ``run.json``."""
    write_json(run / HISTORY, history)


def _differences(begun: dict[str, Any], now: dict[str, Any]) -> str:
    """Keys whose values differ, and the values where they are short; "" where there are none."""
    begun, now = (json.loads(json.dumps(values)) for values in (begun, now))  # tuples are lists in run.json
    found = []
    for key in dict.fromkeys([*begun, *now]):
        if (old := begun.get(key)) != (new := now.get(key)):
            plain = not isinstance(old, dict | list) and not isinstance(new, dict | list)
            found.append(f"{key}: {old} there, {new} here" if plain else key)
    return "; ".join(found)
