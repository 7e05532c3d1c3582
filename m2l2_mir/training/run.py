"""One run at work: how far it is, its averaged weights, its folder and its history."""

from __future__ import annotations

import copy
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from m2l2_mir.errors import ConfigError
from m2l2_mir.model.checkpoint import save_model
from m2l2_mir.training.best import BEST, Best, read_best
from m2l2_mir.training.card import write_card
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.metrics import Metrics
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.stages import earlier_stages, stages_of, story
from m2l2_mir.training.state import load_state, new_history, resumed_history, save_state, write_history
from m2l2_mir.training.steps import phase_of
from m2l2_mir.training.watch import Watch

__all__ = ["WEIGHTS", "Run"]

WEIGHTS = "weights.safetensors"


class Run:
    """State of a run, in memory and in its folder; only the first process writes.

    Parameters
    ----------
    folder
        Of the run.
    config
        Its recipe.
    objective, optimizer
        What is trained; not wrapped and not moved yet.
    fabric
        The processes and the device.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        fabric: Fabric,
    ) -> None:
        self.folder, self.config, self.objective, self.optimizer = folder, config, objective, optimizer
        self.step = 0  # steps done
        self.averaged = copy.deepcopy(objective.model).requires_grad_(False).eval().to(fabric.device)
        # of what the weights that it begins with state, no more is true of what they become
        kept = ("licence", "citation")
        self.averaged.metadata = {key: value for key, value in self.averaged.metadata.items() if key in kept}
        # the same memory, called as the objective calls it
        self._average = {f"model.{name}": value for name, value in self.averaged.state_dict().items()}
        self._leads, self._device = fabric.is_global_zero, _name(fabric)
        self._whole = True
        self._started = self.saved = time.monotonic()
        self._history: dict[str, Any] = {}
        self._best: Best | None = None
        self._metrics: Metrics | None = None

    def begin(self, data: dict[str, Any], *, resume: bool, init_from: str | None) -> None:
        """Begin in an empty folder, or go on where the run in it stopped.

        The objective is on its device by now, as a state is loaded to where the weights are.

        Raises
        ------
        ConfigError, CheckpointError
            The folder and the arguments do not fit, see :mod:`m2l2_mir.training.state`.
        """
        if resume:
            self._history = resumed_history(self.folder, self.config, data)
            self.step = load_state(self.folder, self.objective, self._average, self.optimizer)
            if self.step > self.config.steps:
                raise ConfigError(f"{self.folder} is at step {self.step} already; give {self.step} steps or more")
        else:
            self._history = new_history(self.folder, self.config, data, init_from)
            self._history["earlier"] = [] if init_from is None else earlier_stages(init_from)
        if self._leads:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not resume:  # left by a run that was killed before its first state
                (self.folder / BEST).unlink(missing_ok=True)
            self._best = read_best(self.folder) if resume else None
            self._metrics = Metrics(self.folder, self.step)
        planned = {"from_step": self.step, "to_step": self.step, "of": self.config.steps}
        stretch = planned | {"device": self._device, "seconds": 0.0}
        threads = {"threads": torch.get_num_threads()} if self.averaged.device.type == "cpu" else {}
        self._history["stretches"].append(stretch | threads)
        if self._leads:
            self._write_history()  # before any state, so that a folder with a state can be resumed

    def advance(self, ema_decay: float) -> None:
        """Step the optimiser and the moving average."""
        self._whole = False
        self.optimizer.step()
        with torch.no_grad():
            weights = self.objective.model.state_dict()
            for name, value in self._average.items():
                value.lerp_(weights[name.removeprefix("model.")], 1 - ema_decay)
        self.step += 1
        self._whole = True

    def evaluate(self, watch: Watch) -> dict[str, float]:
        """Measure the averaged weights, and keep them if they are the best so far."""
        with torch.compiler.set_stance("force_eager"):  # other shapes than in training, and seldom
            found = watch.measure(self.objective, self._average, self.averaged, self.step - 1)
        if "held_out_total" in found:
            phase = phase_of(self.step - 1, self.config)
            total = float(found["held_out_total"])
            best = Best(step=self.step, phase=phase.name, phase_first=phase.first, held_out_total=total)
            if best.beats(self._best):
                self._best = best
                self._save_weights(BEST, best.as_metadata())
                self._write_history()
        return found

    def log(self, row: dict[str, float]) -> None:
        """Write a row of metrics."""
        if self._metrics is not None:
            self._metrics.add(row)

    def save(self) -> None:
        """Write everything that the next step depends on, and the averaged weights.

        After a Ctrl-C in the middle of :meth:`advance` nothing is written: what was saved before is whole.
        """
        if self._leads and self._whole:
            save_state(self.folder, self.step, self.objective, self._average, self.optimizer)
            self._save_weights(WEIGHTS, {})
            self._write_history()
        self.saved = time.monotonic()

    def end(self) -> None:
        """Save, close the metrics, and write the model card."""
        self.save()
        if self._metrics is not None:
            self._metrics.close()
            write_card(self.folder, weights=WEIGHTS)

    def _note_time(self) -> None:
        seconds = round(time.monotonic() - self._started, 1)
        self._history["stretches"][-1] |= {"to_step": self.step, "seconds": seconds}

    def _write_history(self) -> None:
        self._note_time()
        if self._best is not None:
            self._history["best"] = asdict(self._best)
        write_history(self.folder, self._history)

    def _save_weights(self, name: str, metadata: dict[str, str]) -> None:
        config, path = self.config, self.folder / name
        self._note_time()
        self.averaged.weights_id = f"{config.name}, step {self.step}"
        note = f"{config.name}, {self.step} of {config.steps} steps of {config.batch_size} windows"
        told = {"training": note, **story(stages_of(self._history, path)), **metadata}
        save_model(self.averaged, path, metadata=told)


def _name(fabric: Fabric) -> str:
    kind = torch.cuda.get_device_name() if fabric.device.type == "cuda" else _cpu_name()
    return f"{fabric.world_size} x {kind}" if fabric.world_size > 1 else kind


def _cpu_name() -> str:
    """Model of the CPU, as Linux tells it or else as Python does."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor()) or "CPU"
