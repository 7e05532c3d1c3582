"""What the causal mask of the consistency network does: trained with it and without, at equal data, steps and start.

With the mask a chunk sees itself and the chunks before it; without, all chunks of its window. The paper's model has it.
Tiny models: each seed trains one encoder (recipe `low-budget`, shortened), then two decoders for it
(`low-budget-decoder`, shortened and so changed, see _trained.py), which begin with the same weights and decode the same
latents. Held-out excerpts are decoded by every method. Figures are those of chunk_boundaries.py: SI-SDR, log-spectral
distance and excess flux where chunks meet less those inside chunks, and the drift of level and log-spectral distance
beyond decoding chunk by chunk. A model without the mask has seldom heard a chunk alone, so that this reference of its
drift is a poorer one.

The sentence goes by the log-spectral distance of two-step decoding where chunks meet less inside: mask less none, over
seeds. By that method a chunk is refined in a window with the next one; with the mask it does not see that, and with a
context of two chunks no other either. The floor is noise with the mean spectrum of each excerpt: from decoders that are
no nearer than that inside chunks, nothing follows. Finished runs stay in --work, which context_length.py can
share: the arm with the mask is the same there.

    m2l2 corpus fetch free-music --out music
    m2l2 corpus fetch renders --out renders
    python benchmarks/causal_mask.py --data music --data renders --work trained
    python benchmarks/causal_mask.py --data music --quick
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from _arms import at_the_floor, beyond_floor, compared, comparison_table, told
from _boundaries import CHUNKWISE, DRIFTING, UNITS, drift, measure, rows
from _common import argument_parser, interval, machine, write_results
from _held_out import Waveform
from _plots import save_figure
from _trained import DECODER_STEPS, TINY, add_options, budget, decoder_arms, held_out_clips, split_corpus, work_folder
from matplotlib.figure import Figure
from numpy.typing import NDArray

from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.decoding import Method
from m2l2_mir.quality.baseline import shaped_noise
from m2l2_mir.quality.boundaries import FIGURES, boundary_figures

MASK, NONE = "causal mask", "no mask"
ARMS = {
    MASK: TINY.replace(name="m2l2-tiny-context-2"),
    NONE: TINY.replace(name="m2l2-tiny-context-2-open", causal=False),
}
METHODS: tuple[Method, ...] = get_args(Method)
LOSS = "held_out_consistency"
ASKED = "log_spectral_distance_rise"  # of two-step: what the sentence goes by

Measured = dict[tuple[str, int], dict[str, dict[str, Any]]]  # (arm, seed) -> method -> what chunk_boundaries measures


def main() -> None:
    options = read_options()
    facts = machine()
    work = work_folder(options, "tiny_decoders")
    corpus = split_corpus(options, TINY)
    clips = held_out_clips(options, corpus, TINY)
    runs = decoder_arms(options, work, corpus, ARMS)
    pieces = {clip.piece: clip.waveform for clip in clips}
    measured: Measured = {}
    for run in runs:
        if run["arm"] in ARMS:
            measured[run["arm"], run["seed"]] = decoded(run, pieces, options.device)
    floor = noise_inside(pieces)
    results = {
        "clips": [{"piece": clip.piece, "start": clip.start} for clip in clips],
        "seconds": options.seconds,
        "runs": [{**run, "weights": run["weights"].parent.name} for run in runs],
        "floor": floor.tolist(),
        "compared": comparisons(measured, runs, floor, options.seeds),
        "measured": [
            {"arm": arm, "seed": seed, "method": method}
            | {name: values for name, values in found.items() if name != "of_chunk"}  # megabytes
            for (arm, seed), methods in measured.items()
            for method, found in methods.items()
        ],
    }
    save_figure(options, draw(results["compared"]))
    write_results(options, facts, results, summary(results, budget(runs, options.seeds)))


def read_options() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    add_options(parser, steps=DECODER_STEPS)
    parser.add_argument("--clips", type=int, default=8, help="held-out excerpts, each of another piece (default: 8)")
    parser.add_argument("--seconds", type=float, default=120, help="length of an excerpt (default: 120)")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.clips, options.seconds = 2, 3, 4
    return options


def decoded(run: Mapping[str, Any], pieces: dict[str, Waveform], device: str) -> dict[str, dict[str, Any]]:
    """Decode all pieces by every method, and measure them."""
    model = load_model(run["weights"], device=device)
    latents = {name: model.encode(piece, model.config.sample_rate) for name, piece in pieces.items()}
    found = {
        row: measure(model, pieces, latents, rebuild)
        for row, rebuild in rows(model, run["seed"])
        if row in (*METHODS, CHUNKWISE)
    }
    for method in METHODS:
        found[method]["drift"] = drift(found[method]["of_chunk"], found[CHUNKWISE]["of_chunk"])
    print(f"{run['arm']}, seed {run['seed']}: measured", flush=True)
    return found


# Comparison


def noise_inside(pieces: Mapping[str, Waveform]) -> NDArray[np.float64]:
    """Log-spectral distance inside chunks of noise with the mean spectrum of each piece."""
    of_chunk = {
        name: boundary_figures(
            piece,
            shaped_noise(piece, sample_rate=TINY.sample_rate, seed=number),
            sample_rate=TINY.sample_rate,
            chunk_samples=TINY.chunk_samples,
            overlap=TINY.overlap,
        )
        for number, (name, piece) in enumerate(pieces.items())
    }
    return at_places({"of_chunk": of_chunk}, "log_spectral_distance", "inside")


def comparisons(
    measured: Measured, runs: Sequence[Mapping[str, Any]], floor: NDArray[np.float64], seeds: int
) -> dict[str, dict[str, Any]]:
    """Mask less none: figures of boundaries and drift of each method, and the held-out loss.

    The log-spectral distance where chunks meet has ``beyond_floor``, by how much each arm is nearer inside chunks than
    the `floor` [pieces].
    """
    found: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        columns: dict[str, Any] = {}
        for figure in FIGURES:
            for place in ("rise", "inside"):
                mask, none = (
                    np.stack([at_places(measured[arm, seed][method], figure, place) for seed in range(seeds)])
                    for arm in ARMS
                )
                columns[f"{figure}_{place}"] = compared(mask, none)
        columns[ASKED]["beyond_floor"] = {
            side: beyond_floor(
                np.stack(
                    [at_places(measured[arm, seed][method], "log_spectral_distance", "inside") for seed in range(seeds)]
                ),
                floor,
                better=-1,
            )
            for side, arm in zip(("ours", "theirs"), ARMS, strict=True)
        }
        for figure in DRIFTING:
            mask, none = (
                np.array([measured[arm, seed][method]["drift"][figure]["estimate"] for seed in range(seeds)])
                for arm in ARMS
            )
            columns[f"{figure}_drift"] = compared(mask, none)
        found[method] = columns
    mask, none = (np.array([run[LOSS] for run in runs if run["arm"] == arm and LOSS in run]) for arm in ARMS)
    if len(mask) == len(none) == seeds:
        found["training"] = {LOSS: compared(mask, none)}
    return found


def at_places(measured: Mapping[str, Any], figure: str, place: str) -> NDArray[np.float64]:
    """Mean over the boundaries of each piece: inside the chunk behind, or by how much more it is where chunks meet."""
    pieces = [np.asarray(one[figure]) for one in measured["of_chunk"].values()]  # of each [boundaries, 2]
    return np.array([np.nanmean(one[:, 0] - one[:, 1] if place == "rise" else one[:, 1]) for one in pieces])


# What to read

TITLES = {
    **{f"{figure}_rise": f"{UNITS[figure]}, where chunks meet less inside" for figure in FIGURES},
    **{f"{figure}_inside": f"{UNITS[figure]}, inside" for figure in FIGURES},
    **{f"{figure}_drift": f"drift a minute: {UNITS[figure]}" for figure in DRIFTING},
    LOSS: "held-out consistency loss",
}


def summary(results: dict[str, Any], trained: str) -> str:
    """What NAME.md says."""
    found = results["compared"]
    lines = [
        ([method if method != "training" else "", TITLES[name]], one)
        for method, columns in found.items()
        for name, one in columns.items()
    ]
    return "\n\n".join(
        [
            trained,
            f"Decoded: {len(results['clips'])} excerpts of {results['seconds']:g} s, each of another held-out piece. "
            "Drift is that beyond chunk-by-chunk decoding of the same latents by the same model. The paper's model has "
            "the mask; no figures of one without it are published that we know of.",
            sentence(found),
            f"Log-spectral distance inside chunks of the floor: {np.mean(results['floor']):.2f} dB.",
            comparison_table(["", "", MASK, NONE], lines),
        ]
    )


def sentence(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The answer, as far as the seeds go."""
    one = found["two-step"][ASKED]
    sides = [f"{np.mean(one[side]):.2f} dB {name}" for side, name in (("ours", "with the mask"), ("theirs", "without"))]
    others = [
        f"{method} {interval(found[method][ASKED]['seeds'])} dB"
        f"{'' if told(found[method][ASKED]) else ', not told apart'}"
        for method in METHODS
        if method != "two-step"
    ]
    if at_the_floor(one["beyond_floor"]):
        verdict = "neither arm is told to be nearer than the floor inside chunks, so that nothing follows"
    elif told(one):
        verdict = f"with the mask, boundaries stand out {'more' if one['seeds']['estimate'] > 0 else 'less'}"
    else:
        verdict = "these seeds do not tell whether the mask matters where chunks meet"
    drifts = [
        f"{method} ({UNITS[figure]})"
        for method in METHODS
        for figure in DRIFTING
        if told(found[method][f"{figure}_drift"])
    ]
    of = f"of {len(METHODS) * len(DRIFTING)} comparisons, uncorrected"
    rest = f"drift differs in {', '.join(drifts)} ({of})" if drifts else f"no difference in drift is told ({of})"
    return (
        f"Two-step, log-spectral distance where chunks meet less that inside: {' and '.join(sides)}, difference "
        f"{interval(one['seeds'])} dB over {len(one['ours'])} seeds: {verdict} (difference by the other methods: "
        f"{'; '.join(others)}); {rest}."
    )


def draw(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Mask less none, figure by figure: each seed, and the interval over them."""
    names = [*(f"{figure}_rise" for figure in FIGURES), *(f"{figure}_drift" for figure in DRIFTING)]
    figure = Figure(figsize=(3.2 * len(names), 2.8), layout="constrained")
    for panel, name in zip(figure.subplots(1, len(names)), names, strict=True):
        for height, method in enumerate(METHODS):
            one = found[method][name]
            panel.plot(np.subtract(one["ours"], one["theirs"]), [height] * len(one["ours"]), "x", color="grey")
            middle, low, high = (one["seeds"][key] for key in ("estimate", "low", "high"))
            panel.errorbar(middle, height, xerr=[[middle - low], [high - middle]], fmt="o", color="C0", capsize=3)
        panel.axvline(0, color="grey", linewidth=0.8)
        panel.set_yticks(range(len(METHODS)), METHODS if name == names[0] else [""] * len(METHODS))
        panel.set_ylim(len(METHODS) - 0.5, -0.5)
        panel.set_xlabel(TITLES[name].replace(", ", ",\n").replace(": ", ":\n"), fontsize="small")
    figure.suptitle(f"{MASK} less {NONE}: seeds (crosses), mean and 95 % interval over them", fontsize="medium")
    return figure


if __name__ == "__main__":
    main()
