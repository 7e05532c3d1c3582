"""Eight seeds of a tiny pair, summary and ordered latents: statistics about the mechanism, not about one checkpoint.

`m2l2-tiny` is trained by the `low-budget` recipe, shortened. The arms of a pair differ in the kind of latents alone:
the same seed, so the same data in the same order, and as many steps. Each run ends with its averaged weights in --work,
where a run that was stopped goes on and a finished one stays. Reported, on collections that were only watched: the
held-out loss, how evenly the latents are used, and the quick monitors of pitch and tempo, with the paired difference
and its 95 % interval after Student. `m2l2 disentangle` then compares the runs, with the command that is printed last.

    python benchmarks/tiny_pairs.py --data music --data renders --work pairs
    python benchmarks/tiny_pairs.py --data music --quick
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
from _arms import student
from _common import argument_parser, machine, table, write_results
from _trained import mix_of, monitors, one_run, split_corpus

from m2l2_mir.durable import cache_home
from m2l2_mir.training.config import TrainingConfig

ARMS = ("summary", "ordered")
MEASURED = {
    "held_out_total": "held-out loss",
    "held_out_effective_rank": "effective rank",
    "quick_pitch_accuracy": "pitch (quick monitor)",
    "quick_tempo_r2": "tempo R2 (quick monitor)",
}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True, metavar="DIR", help="repeatable")
    parser.add_argument("--work", type=Path, metavar="DIR", help="of the runs (default: in the user's cache)")
    parser.add_argument("--seeds", type=int, default=8, help="pairs (default: 8)")
    parser.add_argument("--steps", type=int, default=2000, help="of each run (default: 2000)")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    seeds, steps = (2, 20) if options.quick else (options.seeds, options.steps)
    facts = machine()
    work = options.work or cache_home() / "tiny_pairs"
    config = dataclasses.replace(
        TrainingConfig.load("low-budget"), model="m2l2-tiny", steps=steps, warmup_steps=min(100, steps)
    )
    corpus = split_corpus(options, config.model_config)
    config = dataclasses.replace(config, mix=mix_of(corpus))
    runs = []
    for seed in range(seeds):
        for arm in ARMS:
            recipe = dataclasses.replace(config, name=f"tiny-{arm}", latents=arm, seed=seed)
            folder = work / f"{arm}-{seed}"
            found = one_run(folder, recipe, corpus, options.device, probes=monitors(recipe.model_config))
            measured = {name: found[name] for name in MEASURED if name in found}
            runs.append({"arm": arm, "seed": seed, "seconds": found["seconds"], **measured})
    write_results(options, facts, {"steps": steps, "runs": runs}, summary(runs, work))


def summary(runs: list[dict[str, Any]], work: Path) -> str:
    """Say it for a person: both arms, their paired difference, and how to go on."""
    runs_of = pd.DataFrame(runs).set_index(["seed", "arm"])
    lines = []
    for name, title in MEASURED.items():
        if name in runs_of:
            values = runs_of[name].unstack("arm")
            arms = [f"{values[arm].mean():.3f} (sd {values[arm].std():.3f})" for arm in ARMS]
            found = student(values["summary"] - values["ordered"])
            difference = "{estimate:+.3f} [{low:+.3f}, {high:+.3f}]".format(**found)
            lines.append([title, *arms, difference])
    pairs = len(runs) // 2
    arguments = " ".join(
        f"{option} {work.name}/{arm}-{seed}/weights.safetensors"
        for option, arm in (("--model", "summary"), ("--against", "ordered"))
        for seed in range(pairs)
    )
    minutes = sum(run["seconds"] for run in runs) / 60
    return (
        f"{pairs} pairs of `m2l2-tiny`, {minutes:.0f} minutes of training in all.\n\n"
        + table(["measured at the end", *ARMS, "difference, 95 % interval"], lines)
        + f"\n\nCompare them: `m2l2 disentangle {arguments} --out tiny-pairs/`"
    )


if __name__ == "__main__":
    main()
