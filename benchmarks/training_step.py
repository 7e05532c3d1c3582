"""How long one step of training `m2l2-small` takes, and what share of the machine's matrix-product rate that is.

The step is the one of `m2l2 train`: crops and augmentation (of noise from a file in a temporary folder; what is heard
does not change the time), forward and backward pass, clipping, optimiser and moving average. Phases: "explicit", the
recipe `low-budget`; "clean" and "share", the recipe `low-budget-decoder` (frozen encoder, pairs of chunks) before and
after its consistency loss has a second pass as its teacher. On a CPU with one thread and with all; on a GPU against its
dense bfloat16 rate. Operations are those of matrix products, convolutions and attention. Goal: 40 % or more on a CPU.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --compile
    python benchmarks/training_step.py --device cuda --compile
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
from m2l2_mir.training.loop import compile_networks, dtype_of, launch, parameter_groups, take_step
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.run import Run
from m2l2_mir.training.throughput import peak_rate, step_flop

GOAL = 0.4
RATES = {
    "cpu": {"float32": torch.float32, "bfloat16": torch.bfloat16},
    "cuda": {"bfloat16": torch.bfloat16},
}
PHASES = {"explicit": ("low-budget", 0.0), "clean": ("low-budget-decoder", 0.0), "share": ("low-budget-decoder", 0.5)}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each phase (default: 7)")
    parser.add_argument("--compile", action="store_true", help="compile the networks first")
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
    facts = machine()
    threads = sorted({1, torch.get_num_threads()}) if options.device == "cpu" else [torch.get_num_threads()]

    with tempfile.TemporaryDirectory() as folder:
        prepared = {
            name: prepare(recipe, share, options, Path(folder) / name) for name, (recipe, share) in PHASES.items()
        }
        steps = {name: step for name, (step, _) in prepared.items()}
        rows = []
        for count in threads:
            with kernel_threads(count):
                device = torch.device(options.device)
                rates = {kind: peak_rate(device, dtype) / 1e9 for kind, dtype in RATES[options.device].items()}
                seconds = interleaved(steps, repeats=options.repeats)
            for phase, times in seconds.items():
                rows.append(row(phase, count, prepared[phase][1], times, rates))
    results: dict[str, Any] = {
        "compiled": options.compile,
        "dtype": str(dtype_of("auto", options.device)),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "CPU",
        "rows": rows,
    }
    write_results(options, facts, results, summary(results, options.device))


def prepare(recipe: str, share: float, options: Any, folder: Path) -> tuple[Callable[[], None], float]:
    """A step at a share of a recipe's training, and its operations."""
    config = TrainingConfig.load(recipe)
    if options.quick:
        config = dataclasses.replace(config, batch_size=2)
    model = config.model_config
    (folder / "music" / "noise").mkdir(parents=True)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(model.channels, 30 * model.sample_rate))
    save(folder / "music" / "noise" / "noise.wav", noise, model.sample_rate)
    corpus = build_corpus(
        [folder / "music"], sample_rate=model.sample_rate, channels=model.channels, cache=folder / "cache"
    )
    augmentation = from_mapping(Augmentation, config.augmentation, source=f"augmentation of {config.name}")
    batches = CorpusBatches(corpus, seed=config.seed, augmentation=augmentation)

    fabric = launch(options.device)
    objective = Objective(random_model(model, config.seed).train(), config)
    optimizer = torch.optim.RAdam(parameter_groups(objective), lr=config.learning_rate)
    run = Run(folder / "run", config, objective, optimizer, fabric)
    first = round(share * config.steps)
    flop = step_flop(copy.deepcopy(objective).to("meta"), config, first)
    wrapped, stepping = fabric.setup(objective, optimizer)
    if options.compile:
        compile_networks(objective.model)

    def step() -> None:
        run.step = first
        take_step(run, batches, wrapped, stepping, fabric)
        if options.device == "cuda":
            torch.cuda.synchronize()

    return step, flop


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


def summary(results: dict[str, Any], device: str) -> str:
    """What NAME.md says."""
    rows = results["rows"]
    worst = min(min(found["share"].values()) for found in rows)
    goal = f" Goal: {GOAL:.0%} or more of both: {verdict(worst >= GOAL)} ({worst:.0%} at least)."
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
        f"One step of training `m2l2-small` on {results['device']}, 32 chunks in the explicit phase, 16 in the others, "
        f"{results['dtype']}, {'compiled' if results['compiled'] else 'not compiled'}: seconds as median (range), "
        "beside matrix products."
        + (goal if device == "cpu" else "")
        + "\n\n"
        + table(["phase", "threads", "seconds", "GFLOP", "GFLOP/s", f"{kinds}, GFLOP/s", f"share of {kinds}"], lines)
    )


if __name__ == "__main__":
    main()
