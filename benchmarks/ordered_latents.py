"""The paper's ablation of ordered latents, several seeds: summary embeddings against latents tied to spans of time.

The arms of a seed have the same data in the same order, the same steps in both stages, as many floats a second and
decoders of the same size, and start alike as far as they have weights in common. Tiny models: each arm trains an
encoder (recipe `low-budget`, shortened), then a decoder for it (`low-budget-decoder`, shortened and so changed, see
_trained.py). Held-out excerpts are decoded single-step and two-step, and the arms are compared excerpt by excerpt:
log-spectral distance, SI-SDR, ViSQOL where it is installed; FAD and KAD on log-mel statistics seed by seed.

The sentence goes by the log-spectral distance and FAD of single-step (little trained decoders lose by every further
step, see docs/training-trials.md). reconstruction.py sets the shipped models side by side: one pair, trained for
longer. tiny_pairs.py compares eight pairs of encoders.

    m2l2 corpus fetch free-music --out music
    m2l2 corpus fetch renders --out renders
    python benchmarks/ordered_latents.py --data music --data renders --work trained
    python benchmarks/ordered_latents.py --data music --quick
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
from _arms import at_the_floor, beyond_floor, compared, comparison_table, told
from _common import argument_parser, interval, machine, write_results
from _decoded import DECODED, METHODS, figures_of_clips, floor, floor_line, references_of
from _plots import save_figure
from _trained import DECODER_STEPS, TINY, add_options, budget, decoder_arms, held_out_clips, split_corpus, work_folder
from matplotlib.figure import Figure

from m2l2_mir.quality.visqol import has_visqol

SUMMARY, ORDERED = "summary", "ordered"
ARMS = {
    SUMMARY: TINY.replace(name="m2l2-tiny-context-2"),
    ORDERED: TINY.replace(name="m2l2-tiny-context-2-ordered", latents="ordered"),
}
OF_TRAINING = {"held_out_consistency": "held-out consistency loss"}
TITLES = {**DECODED, **OF_TRAINING}
ASKED = ("log_spectral_distance", "fad")  # of the first method: what the sentence goes by
NEARER = tuple(f"{method}, log_spectral_distance" for method in METHODS)  # held against the floor clip by clip

Measured = dict[tuple[str, int], dict[str, Any]]  # (arm, seed) -> figures: numbers, and of clips [clips]


def main() -> None:
    options = read_options()
    facts = machine()
    work = work_folder(options, "tiny_decoders")
    corpus = split_corpus(options, TINY)
    clips = held_out_clips(options, corpus, TINY)
    runs = decoder_arms(options, work, corpus, ARMS)
    references = references_of(clips, TINY.sample_rate)
    measured: Measured = {
        (run["arm"], run["seed"]): {
            **figures_of_clips(run, clips, references, options.device),
            **{name: run[name] for name in OF_TRAINING if name in run},
        }
        for run in runs
        if run["arm"] in ARMS
    }
    least = floor(clips, references, TINY.sample_rate)
    results = {
        "clips": [{"piece": clip.piece, "start": clip.start} for clip in clips],
        "seconds": options.seconds,
        "runs": [{**run, "weights": run["weights"].parent.name} for run in runs],
        "compared": comparisons(measured, least, options.seeds),
        "floor": least,
        "measured": [{"arm": arm, "seed": seed, **found} for (arm, seed), found in measured.items()],
    }
    save_figure(options, draw(results["compared"]))
    write_results(options, facts, results, summary(results, budget(runs, options.seeds)))


def read_options() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    add_options(parser, steps=DECODER_STEPS)
    parser.add_argument("--clips", type=int, default=40, help="held-out excerpts, each of another piece (default: 40)")
    parser.add_argument("--seconds", type=float, default=5, help="length of an excerpt (default: 5)")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.clips, options.seconds = 2, 3, 3
    return options


def comparisons(measured: Measured, floor: Mapping[str, Any], seeds: int) -> dict[str, Any]:
    """Summary less ordered, of every figure that all runs have; of spectra also how far both are beyond the floor."""
    found = {}
    for name in TITLES:
        if all(name in one for one in measured.values()):
            ours, theirs = (np.array([measured[arm, seed][name] for seed in range(seeds)]) for arm in ARMS)
            found[name] = compared(ours, theirs)
            if name in NEARER:
                found[name]["beyond_floor"] = {
                    side: beyond_floor(values, floor["log_spectral_distance"], better=-1)
                    for side, values in (("ours", ours), ("theirs", theirs))
                }
    return found


# What to read


def summary(results: dict[str, Any], trained: str) -> str:
    """What NAME.md says."""
    found = results["compared"]
    parts = [
        trained,
        f"Decoded: {len(results['clips'])} excerpts of {results['seconds']:g} s, each of another held-out piece.",
        sentence(found, results["floor"]),
        comparison_table(["", SUMMARY, ORDERED], [([TITLES[name]], one) for name, one in found.items()]),
        floor_line(results["floor"]),
    ]
    if not has_visqol():
        parts.append("ViSQOL: visqol-python is not installed.")
    return "\n\n".join(parts)


def sentence(found: Mapping[str, Mapping[str, Any]], floor: Mapping[str, Any]) -> str:
    """The answer, as far as the seeds and the decoders go."""
    answers = []
    for figure in ASKED:
        one = found[name := f"{METHODS[0]}, {figure}"]
        verdict = "not told apart by these seeds"
        if name in NEARER and at_the_floor(one["beyond_floor"]):
            verdict = "neither is told to be nearer than the floor, so that nothing follows"
        elif name not in NEARER and min(np.mean(one["ours"]), np.mean(one["theirs"])) >= floor[figure]:
            verdict = "both no nearer than the floor, so that nothing follows"
        elif told(one):
            verdict = f"{SUMMARY if one['seeds']['estimate'] < 0 else ORDERED} is nearer to the original"
        answers.append(f"{TITLES[name]} {interval(one['seeds'], digits=3)}, {verdict}")
    seeds = len(one["ours"])
    return f"Summary less ordered, same rate, data and steps, {seeds} seeds of tiny models: {'; '.join(answers)}."


def draw(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Summary less ordered, figure by figure: each seed, and the interval over them."""
    names = [name for name in DECODED if name in found]
    across = len(names) // len(METHODS)
    figure = Figure(figsize=(2.6 * across, 4.2), layout="constrained")
    for panel, name in zip(figure.subplots(len(METHODS), across, squeeze=False).flat, names, strict=True):
        one = found[name]
        panel.plot(np.subtract(one["ours"], one["theirs"]), [0] * len(one["ours"]), "x", color="grey")
        middle, low, high = (one["seeds"][key] for key in ("estimate", "low", "high"))
        panel.errorbar(middle, 0, xerr=[[middle - low], [high - middle]], fmt="o", color="C0", capsize=3)
        panel.axvline(0, color="grey", linewidth=0.8)
        panel.set_yticks([])
        panel.set_xlabel(TITLES[name].replace(", ", ",\n"), fontsize="small")
    figure.suptitle(f"{SUMMARY} less {ORDERED}: seeds (crosses), mean and 95 % interval over them", fontsize="medium")
    return figure


if __name__ == "__main__":
    main()
