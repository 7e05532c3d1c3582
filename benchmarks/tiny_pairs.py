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

import numpy as np
import pandas as pd
from _common import argument_parser, machine, table, write_results
from scipy import stats

from m2l2_mir.durable import cache_home
from m2l2_mir.errors import MissingExtraError
from m2l2_mir.recipe import from_mapping
from m2l2_mir.training.augmentation import Augmentation, no_augmentation
from m2l2_mir.training.batches import CorpusBatches
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.corpus import Corpus
from m2l2_mir.training.loop import train
from m2l2_mir.training.quick_probes import QuickProbes
from m2l2_mir.training.state import STATE, read_history

ARMS = ("summary", "ordered")
MIX = {"*renders*": 0.4, "*": 0.6}
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
        TrainingConfig.load("low-budget"), model="m2l2-tiny", steps=steps, warmup_steps=min(100, steps), mix=MIX
    )
    model = config.model_config
    corpus = build_corpus(options.data, sample_rate=model.sample_rate, channels=model.channels)
    runs = [
        one_run(
            work / f"{arm}-{seed}",
            dataclasses.replace(config, name=f"tiny-{arm}", latents=arm, seed=seed),
            corpus,
            options.device,
        )
        for seed in range(seeds)
        for arm in ARMS
    ]
    write_results(options, facts, {"steps": steps, "runs": runs}, summary(runs, work))


def one_run(out: Path, config: TrainingConfig, corpus: Corpus, device: str) -> dict[str, Any]:
    """Train one model, or what is left of it, and return what was measured at its end."""
    heard, watched = corpus.split(corpus.recommended)[0], corpus.split(corpus.recommended[:1])[1]
    started = (out / STATE).exists()
    if not started or read_history(out)["stretches"][-1]["to_step"] < config.steps:
        augmentation = from_mapping(Augmentation, config.augmentation, source="augmentation of low-budget")
        train(
            config,
            CorpusBatches(heard, seed=config.seed, augmentation=augmentation, mix=config.mix),
            out,
            held_out=CorpusBatches(watched, seed=config.seed, augmentation=no_augmentation()),
            probes=monitors(config),
            resume=started,
            device=device,
            say=lambda line: print(f"{out.name}: {line}", flush=True),
        )
    last = pd.read_csv(out / "metrics.csv").iloc[-1]
    stretches = read_history(out)["stretches"]
    return {
        "arm": config.latents,
        "seed": config.seed,
        "seconds": sum(stretch["seconds"] for stretch in stretches),
        **{name: float(last[name]) for name in MEASURED if name in last},
    }


def monitors(config: TrainingConfig) -> QuickProbes | None:
    """The monitors that need rendered music, if it can be rendered."""
    try:
        return QuickProbes(config.model_config)
    except MissingExtraError:
        return None


def summary(runs: list[dict[str, Any]], work: Path) -> str:
    """Say it for a person: both arms, their paired difference, and how to go on."""
    runs_of = pd.DataFrame(runs).set_index(["seed", "arm"])
    lines = []
    for name, title in MEASURED.items():
        if name in runs_of:
            values = runs_of[name].unstack("arm")
            difference = values["summary"] - values["ordered"]
            half = stats.t.ppf(0.975, len(difference) - 1) * difference.std() / np.sqrt(len(difference))
            arms = [f"{values[arm].mean():.3f} (sd {values[arm].std():.3f})" for arm in ARMS]
            mean = difference.mean()
            lines.append([title, *arms, f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"])
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
