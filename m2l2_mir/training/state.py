"""A run's folder: recipe, state, weights, history; each file is there whole or not at all.

``run.json``: recipe, model, data, and every stretch the run was worked on. ``state.safetensors``: everything a step
depends on; no random state, as all noise follows from the seed and the sample. ``weights.safetensors`` and
``best.safetensors``: moving averages, as :func:`m2l2_mir.load_model` reads them. ``metrics.csv``: what was watched.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import CheckpointError

__all__ = ["Metrics", "load_state", "read_history", "save_state", "write_history"]

STATE, HISTORY, METRICS = "state.safetensors", "run.json", "metrics.csv"


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


def write_history(run: Path, history: dict[str, Any]) -> None:
    """Replace ``run.json``."""
    write_json(run / HISTORY, history)


class Metrics:
    """``metrics.csv``, one row a logged step; a resumed run drops the rows it is about to write again."""

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / METRICS
        self._rows = [row for row in self._read() if int(row["step"]) < step]
        self._write()

    def add(self, row: dict[str, float]) -> None:
        """Append a row; columns that appear for the first time are added."""
        self._rows.append({name: f"{value:.6g}" for name, value in row.items()})
        self._write()

    def _read(self) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        with open(self._path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))

        def write(file: Any) -> None:
            lines = [columns, *([row.get(name, "") for name in columns] for row in self._rows)]
            file.write("".join(",".join(line) + "\n" for line in lines).encode())

        write_durably(self._path, write)
