"""How long one step of training `m2l2-small` takes, and what share of the machine's matrix-product rate that is.

The step is the one of `m2l2 train` with the recipe `low-budget`: crops and augmentation (of noise from a file in a
temporary folder; what is heard does not change the time), forward and backward pass, clipping, optimiser and moving
average. Phases: "explicit", single chunks and the explicit loss alone; "consistency", pairs of chunks with the
consistency loss, whose teacher is a second pass. On a CPU with one thread and with all; on a GPU in bfloat16, against
its dense rate. Operations are those of matrix products, convolutions and attention. Goal: 40 % or more on a CPU.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --device cuda
    python benchmarks/training_step.py --quick
"""

from __future__ import annotations

import copy
import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    argument_parser,
    interleaved,
    kernel_threads,
    machine,
    matrix_rates,
    spread,
    table,
    verdict,
    write_results,
)

from m2l2_mir.audio import save
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.recipe import from_mapping
from m2l2_mir.training.augmentation import Augmentation
from m2l2_mir.training.batches import CorpusBatches
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.loop import launch, take_step
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.run import Run
from m2l2_mir.training.throughput import peak_rate, step_flop

GOAL = 0.4
PHASES = {"explicit": 0.0, "consistency": 0.95}  # share of training


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each phase (default: 7)")
    options = parser.parse_args()
    config = TrainingConfig.load("low-budget")
    if options.quick:
        options.repeats, config = 1, dataclasses.replace(config, batch_size=2)
    facts = machine()
    threads = sorted({1, torch.get_num_threads()}) if options.device == "cpu" else [torch.get_num_threads()]

    with tempfile.TemporaryDirectory() as folder:
        steps, flop = prepared(config, options.device, Path(folder))
        rows = []
        for count in threads:
            with kernel_threads(count):
                rates = rates_of(options)
                seconds = interleaved(steps, repeats=options.repeats)
            for phase, times in seconds.items():
                rows.append(row(phase, count, flop[phase], times, rates))
    results: dict[str, Any] = {
        "model": config.model,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "CPU",
        "windows": config.batch_size,
        "rows": rows,
    }
    write_results(options, facts, results, summary(results, config, options.device))


def prepared(
    config: TrainingConfig, device: str, folder: Path
) -> tuple[dict[str, Callable[[], None]], dict[str, float]]:
    """A step of each phase, and its operations."""
    model = config.model_config
    (folder / "music" / "noise").mkdir(parents=True)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(model.channels, 30 * model.sample_rate))
    save(folder / "music" / "noise" / "noise.wav", noise, model.sample_rate)
    corpus = build_corpus(
        [folder / "music"], sample_rate=model.sample_rate, channels=model.channels, cache=folder / "cache"
    )
    augmentation = from_mapping(Augmentation, config.augmentation, source=f"augmentation of {config.name}")
    batches = CorpusBatches(corpus, seed=config.seed, augmentation=augmentation)

    fabric = launch(device)
    objective = Objective(random_model(model, config.seed).train(), config)
    optimizer = torch.optim.RAdam(objective.parameters(), lr=config.learning_rate)
    run = Run(folder / "run", config, objective, optimizer, fabric)
    without_data = copy.deepcopy(objective).to("meta")
    wrapped, stepping = fabric.setup(objective, optimizer)

    def stepper(first: int) -> Callable[[], None]:
        def step() -> None:
            run.step = first
            take_step(run, batches, wrapped, stepping, fabric)
            if device == "cuda":
                torch.cuda.synchronize()

        return step

    firsts = {name: round(share * config.steps) for name, share in PHASES.items()}
    steps = {name: stepper(first) for name, first in firsts.items()}
    return steps, {name: step_flop(without_data, config, first) for name, first in firsts.items()}


def rates_of(options: Any) -> dict[str, float]:
    """GFLOP/s that a step is compared with, by name."""
    if options.device == "cuda":
        return {"bfloat16": peak_rate(torch.device("cuda")) / 1e9}
    return matrix_rates(quick=options.quick)


def row(phase: str, threads: int, flop: float, times: list[float], rates: dict[str, float]) -> dict[str, Any]:
    """One line of the table."""
    gflops = [flop / 1e9 / seconds for seconds in times]
    share = {name: statistics.median(gflops) / rate for name, rate in rates.items()}
    return {
        "phase": phase,
        "threads": threads,
        "gflop": flop / 1e9,
        "seconds": times,
        "gflops": gflops,
        "rates": rates,
        "share": share,
    }


def summary(results: dict[str, Any], config: TrainingConfig, device: str) -> str:
    """What NAME.md says."""
    rows = results["rows"]
    worst = min(min(found["share"].values()) for found in rows)
    goal = f" Goal: {GOAL:.0%} or more of the faster product: {verdict(worst >= GOAL)} ({worst:.0%} at least)."
    kinds = " / ".join(rows[0]["rates"])
    lines = [
        [
            found["phase"],
            "" if device == "cuda" else found["threads"],
            spread(found["seconds"]),
            f"{found['gflop']:.0f}",
            f"{statistics.median(found['gflops']):.0f}",
            " / ".join(f"{rate:.0f}" for rate in found["rates"].values()),
            " / ".join(f"{share:.0%}" for share in found["share"].values()),
        ]
        for found in rows
    ]
    return (
        f"One step of training `{config.model}` on {results['device']}, {config.batch_size} windows of "
        f"{config.model_config.context_chunks} chunks or as many single chunks: seconds as median (range)."
        + (goal if device == "cpu" else "")
        + "\n\n"
        + table(["phase", "threads", "seconds", "GFLOP", "GFLOP/s", f"{kinds}, GFLOP/s", f"share of {kinds}"], lines)
    )


if __name__ == "__main__":
    main()
