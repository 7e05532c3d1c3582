"""Open question 2 of the paper: an explicit reconstruction loss, kept to the end or switched off once the encoder woke.

Encoder, upsampler and consistency network are trained together in one stage, by the consistency loss and beside it the
explicit loss of this package: a linear head on the upsampler's tokens predicts log-frequency magnitudes and onsets. No
other loss reads the latents (the heads on the latents themselves, which the shipped model has, are left out). Arms:

* kept: the explicit loss has its full weight to the end;
* switched off: it fades out between two shares of training, by when the encoder has woken (its loss at that point is in
  the table: 1 is what the mean of all music would have), so that the consistency loss alone shapes the rest;
* never: the consistency loss alone from the first step, reported apart.

All arms of a seed have the same steps, data, noise and learning rate; kept and switched off compute the same until the
fade begins, which is looked at. Of the latents are measured quick monitors of pitch and tempo, spread, effective rank;
the command for the probes is printed. A decoder trained for so few steps beside its encoder is all but silent, so that
each encoder, as it is then, gets a second stage of the decoder (_trained.py), alike for all arms: what comes back is
what the latents hold and that decoder can tell. Decoded are held-out excerpts, single-step and two-step: log-spectral
distance, SI-SDR, ViSQOL where it is installed, KAD and FAD on log-mel statistics. The sentence goes by FAD of
single-step (little trained decoders lose by every further step, see docs/training-trials.md) and by the pitch monitor.
The paper states the question and no figures.

    m2l2 corpus fetch free-music --out music
    m2l2 corpus fetch renders --out renders
    python benchmarks/explicit_loss.py --data music --data renders --work trained
    python benchmarks/explicit_loss.py --data music --quick
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _arms import compared, comparison_table, told, with_spread
from _common import argument_parser, interval, machine, table, write_results
from _decoded import DECODED, METHODS, figures_of_clips, floor, floor_line, references_of
from _plots import save_figure
from _trained import (
    CHUNKS,
    DECODER_STEPS,
    TINY,
    add_options,
    budget,
    decoder_run,
    heard,
    held_out_clips,
    metrics_of,
    mix_of,
    model_file,
    monitors,
    one_run,
    split_corpus,
    work_folder,
)
from matplotlib.figure import Figure

from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.quality.visqol import has_visqol
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.corpus import Corpus
from m2l2_mir.training.loop import LOG_EVERY
from m2l2_mir.training.objective import Objective
from m2l2_mir.training.run import WEIGHTS
from m2l2_mir.training.start import start

KEPT, OFF, NEVER = "kept", "switched off", "never"
FADE = (0.4, 0.5)  # shares of training between which it is switched off
STEPS = 1500
ASLEEP = 0.9  # explicit loss of the bands above which an encoder is not awake: 1 is that of the mean of all music
OF_LATENTS = {
    "quick_pitch_accuracy": "pitch (quick monitor)",
    "quick_tempo_r2": "tempo R2 (quick monitor)",
    "held_out_bounded_std": "standard deviation of latents",
    "held_out_effective_rank": "effective rank of latents",
    "held_out_consistency": "held-out consistency loss",
}
TITLES = {**DECODED, **OF_LATENTS}
FAD, PITCH = f"{METHODS[0]}, fad", "quick_pitch_accuracy"  # what the sentence goes by
WATCHED = ("explicit_bands", "bounded_std", "consistency")

Measured = dict[tuple[str, int], dict[str, Any]]  # (arm, seed) -> figures: numbers, and of clips [clips]


def main() -> None:
    options = read_options()
    facts = machine()
    work = work_folder(options, "explicit_loss")
    corpus = split_corpus(options, TINY)
    clips = held_out_clips(options, corpus, TINY)
    runs = [train_arm(options, work, corpus, arm, seed) for seed in range(options.seeds) for arm in (KEPT, OFF, NEVER)]
    decoders = [train_decoder(options, work, corpus, run) for run in runs]
    references = references_of(clips, TINY.sample_rate)
    measured: Measured = {
        (run["arm"], run["seed"]): {**figures_of_clips(decoder, clips, references, options.device), **of_latents(run)}
        for run, decoder in zip(runs, decoders, strict=True)
    }
    results = {
        "clips": [{"piece": clip.piece, "start": clip.start} for clip in clips],
        "seconds": options.seconds,
        "fade": FADE,
        "runs": [{**run, "weights": run["weights"].parent.name} for run in runs],
        "decoders": [{**run, "weights": run["weights"].parent.name} for run in decoders],
        "compared": comparisons(measured, options.seeds),
        "floor": floor(clips, references, TINY.sample_rate),
        "woken": [woken(work, seed, options.steps) for seed in range(options.seeds)],
        "untrained": [untrained(seed, corpus, work) for seed in range(options.seeds)],
        "measured": [{"arm": arm, "seed": seed, **found} for (arm, seed), found in measured.items()],
    }
    save_figure(options, draw(work, options.seeds))
    write_results(options, facts, results, summary(results, budget([*runs, *decoders], options.seeds)))


def read_options() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    add_options(parser, steps=STEPS)
    parser.add_argument("--clips", type=int, default=40, help="held-out excerpts, each of another piece (default: 40)")
    parser.add_argument("--seconds", type=float, default=5, help="length of an excerpt (default: 5)")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.steps, options.clips, options.seconds = 2, 20, 3, 3
    return options


# Training


def train_arm(options: argparse.Namespace, work: Path, corpus: Corpus, arm: str, seed: int) -> dict[str, Any]:
    """Train an arm; it may collapse, which ends it."""
    folder = run_folder(work, arm, seed)
    found = one_run(
        folder,
        recipe_of(arm, seed, options.steps, model_file(TINY, work), mix_of(corpus)),
        corpus,
        options.device,
        probes=None if options.quick else monitors(TINY),
        watched=not options.quick,
        may_stop=True,
    )
    return {"arm": arm, "seed": seed, "weights": folder / WEIGHTS} | found


def train_decoder(options: argparse.Namespace, work: Path, corpus: Corpus, run: Mapping[str, Any]) -> dict[str, Any]:
    """Train a decoder for the encoder of a run, which stays as it is."""
    folder = work / f"{run_folder(work, run['arm'], run['seed']).name}-decoder"
    steps = 20 if options.quick else DECODER_STEPS
    found = decoder_run(options, folder, corpus, TINY, run["weights"], run["seed"], steps)
    return {"arm": f"decoder of {run['arm']}", "seed": run["seed"]} | found


def recipe_of(arm: str, seed: int, steps: int, model: str, mix: Mapping[str, float]) -> TrainingConfig:
    """Both stages of the shipped model in one; the arms differ in the explicit loss alone."""
    first = TrainingConfig.load("low-budget")
    return dataclasses.replace(
        TrainingConfig.load("low-budget-decoder"),
        name=f"explicit loss {arm}",
        model=model,
        steps=steps,
        warmup_steps=min(100, steps),
        batch_size=CHUNKS // TINY.context_chunks,
        seed=seed,
        mix=mix,
        encoder_rate=1.0,
        onset_weight=first.onset_weight,
        saturation_weight=first.saturation_weight,
        explicit_weight=0.0 if arm == NEVER else first.explicit_weight,
        explicit_fade=FADE if arm == OFF else (1.0, 1.0),
    )


def run_folder(work: Path, arm: str, seed: int) -> Path:
    return work / f"explicit-{arm.replace(' ', '-')}-{seed}"


# Figures


def of_latents(run: Mapping[str, Any]) -> dict[str, float]:
    """What was measured at the end of training; nothing of a run that was given up before."""
    return {name: run[name] for name in OF_LATENTS if np.isfinite(run.get(name, np.nan))}


def untrained(seed: int, corpus: Corpus, work: Path) -> dict[str, float]:
    """The monitors' figures for the network that training begins with, its bottleneck fitted to the first windows."""
    probes = monitors(TINY)
    if probes is None:
        return {}
    recipe = recipe_of(NEVER, seed, STEPS, model_file(TINY, work), mix_of(corpus))
    model = random_model(TINY, seed)
    start(Objective(model.train(), recipe), heard(recipe, corpus), new=True)
    return probes.measure(model.eval())


def comparisons(measured: Measured, seeds: int) -> dict[str, Any]:
    """Kept less switched off, of every figure that all runs of both have."""
    found = {}
    for name in TITLES:
        if all(name in measured[arm, seed] for arm in (KEPT, OFF) for seed in range(seeds)):
            kept, off = (np.array([measured[arm, seed][name] for seed in range(seeds)]) for arm in (KEPT, OFF))
            found[name] = compared(kept, off)
    return found


def woken(work: Path, seed: int, steps: int) -> dict[str, float] | None:
    """State of the encoder when the loss begins to fade, and how far the two arms are apart by then."""
    histories = [metrics_of(run_folder(work, arm, seed)) for arm in (KEPT, OFF)]
    kept, off = (rows[rows["step"] <= FADE[0] * steps] for rows in histories)
    both = kept.merge(off, on="step", suffixes=("", "_off"))  # one of them may have been given up
    if both.empty:  # of a quick run nothing is logged so early
        return None
    apart = (both["total"] - both["total_off"]).abs().max()
    state = {name: float(off[name].tail(3).mean()) for name in WATCHED}
    return {"step": int(off["step"].iloc[-1]), "apart": float(apart), **state}


# What to read


def summary(results: dict[str, Any], trained: str) -> str:
    """What NAME.md says."""
    found = results["compared"]
    parts = [
        trained,
        f"Decoded: {len(results['clips'])} excerpts of {results['seconds']:g} s, each of another held-out "
        f"piece. Switched off: over shares {FADE[0]:g} to {FADE[1]:g} of training. {awake(results['woken'])}The paper "
        "states the question, and no figures.",
        sentence(found, results["floor"]) + given_up(results["runs"], (KEPT, OFF)),
        comparison_table(["", KEPT, OFF], [([TITLES[name]], one) for name, one in found.items()]),
        floor_line(results["floor"]),
        apart_from_the_start(results),
    ]
    if not has_visqol():
        parts.append("ViSQOL: visqol-python is not installed.")
    models = " ".join(f"--model {run['weights']}/{WEIGHTS}" for run in results["runs"])
    parts.append(f"Probes of the encoders, from the folder of the runs: `m2l2 probe run all {models} --out probes/`")
    return "\n\n".join(parts)


def awake(woken: Sequence[Mapping[str, float] | None]) -> str:
    """Say whether the encoder was awake when the loss began to fade, and whether the arms were the same until then."""
    found = [one for one in woken if one is not None]
    if not found:
        return ""
    bands, spread = (np.mean([one[name] for one in found]) for name in ("explicit_bands", "bounded_std"))
    asleep = sum(one["explicit_bands"] > ASLEEP for one in found)
    return (
        f"When it began to fade (step {found[0]['step']}) the explicit loss of the bands had come to {bands:.2f} (1: "
        f"the mean of all music), the standard deviation of the latents was {spread:.2f}; until then the logged losses "
        f"of both arms differ by at most {max(one['apart'] for one in found):.1g}. "
        + (
            f"In {asleep} of {len(found)} seeds the encoder had not woken by then: these ask another question. "
            * (asleep > 0)
        )
    )


def sentence(found: Mapping[str, Mapping[str, Any]], floor: Mapping[str, float]) -> str:
    """The answer, as far as the seeds and the decoders go."""
    answers = []
    for name, better in ((FAD, -1), (PITCH, 1)):
        if name in found:
            one = found[name]
            verdict = "not told apart by these seeds"
            if name == FAD and min(np.mean(one["ours"]), np.mean(one["theirs"])) >= floor["fad"]:
                verdict = "both no nearer than the floor, so that nothing follows"
            elif told(one):
                verdict = f"{KEPT} is {'better' if better * one['seeds']['estimate'] > 0 else 'worse'}"
            answers.append(f"{TITLES[name]} {interval(one['seeds'], digits=3)}, {verdict}")
    seeds = len(found[FAD]["ours"])
    return f"Loss kept to the end less switched off, same budget, {seeds} seeds: {'; '.join(answers)}."


def apart_from_the_start(results: dict[str, Any]) -> str:
    """What becomes of training without the loss, and what the untrained network has."""
    never = [run for run in results["measured"] if run["arm"] == NEVER]
    lines = []
    for name, title in TITLES.items():
        values = [float(np.mean(run[name])) for run in never if name in run]
        first = [one[name] for one in results["untrained"] if name in one]
        if values:
            lines.append([title, with_spread(values), with_spread(first)])
    ends = [run for run in results["runs"] if run["arm"] == NEVER]
    spread = ", ".join(f"{run['bounded_std']:.3f}" for run in ends)
    return (
        f"Apart, without the loss from the first step: standard deviation of the latents in the last step {spread}."
        f"{given_up(results['runs'], (NEVER,)) or ' No run was given up.'}\n\n" + table(["", NEVER, "untrained"], lines)
    )


def given_up(runs: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> str:
    """Say which runs ended early, and why; nothing where none did."""
    return "".join(
        f" {run['arm']}, seed {run['seed']}, was given up at step {run['step']:.0f}: {run['stopped']}."
        for run in runs
        if run["arm"] in arms and "stopped" in run
    )


def draw(work: Path, seeds: int) -> Figure:
    """The course of training: explicit and consistency loss, and the spread of the latents."""
    figure = Figure(figsize=(12, 3), layout="constrained")
    for panel, name in zip(figure.subplots(1, len(WATCHED)), WATCHED, strict=True):
        for colour, arm in enumerate((KEPT, OFF, NEVER)):
            for seed in range(seeds):
                rows = metrics_of(run_folder(work, arm, seed))
                if name in rows:
                    panel.plot(
                        rows["step"],
                        rows[name].rolling(5, min_periods=1).mean(),
                        color=f"C{colour}",
                        linewidth=0.9,
                        label=arm if seed == 0 else None,
                    )
        panel.set_xlabel("step")
        panel.set_ylabel({"bounded_std": "standard deviation of latents"}.get(name, name.replace("_", " ")))
    panel.set_yscale("log")
    panel.legend(frameon=False, fontsize="small")
    figure.suptitle(f"{TINY.name}: means of 5 rows of {LOG_EVERY} steps each; a line for each seed", fontsize="medium")
    return figure


if __name__ == "__main__":
    main()
