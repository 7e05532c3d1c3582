"""Open question 3 of the paper: a context of 1, 2 or 4 chunks, trained alike, and what it does for a minute of music.

The consistency network sees `context_chunks` chunks at a time, each its predecessors too (0.74 s a chunk). Tiny models:
each seed trains one encoder (recipe `low-budget`, shortened), then a decoder for each context (`low-budget-decoder`,
shortened and so changed, see _trained.py), which begin with the same weights as far as they have them in common and
decode the same latents. A step hears as many chunks in each arm: 16 windows of 1, 8 of 2, 4 of 4. Held-out minutes are
decoded single-step and two-step. Two-step, a chunk is refined as often as it is context, so that contexts differ in
that too; with a context of 1 both methods are the same, each chunk alone. The sentences go by single-step, in which the
context alone differs. A longer context costs more time, as each new chunk is decoded together with all of it.

Measured against the same analysis of the original (_coherence.py): beats, tempo and key kept, and how steady tempo and
key are beside the original's; and where chunks meet (chunk_boundaries.py): log-spectral distance and excess flux less
those inside. Two floors stand beside: the original of another piece, and noise with the piece's own mean spectrum,
which keeps its key as far as that is in the spectrum. From decoders that are not told to be better than these, piece by
piece, nothing follows about contexts (where chunks meet: that are no nearer than the noise inside chunks). Each
context is compared with that of the paper, 2. The paper states the question and no figures.

Does a decoder use its context at all? The energy score of a chunk generated in one step that knows the chunks before
it, as they are in the original, less that of the same chunk alone (_context.py).

    m2l2 corpus fetch free-music --out music
    m2l2 corpus fetch renders --out renders
    python benchmarks/context_length.py --data music --data renders --work trained
    python benchmarks/context_length.py --data music --quick
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _arms import at_the_floor, beyond_floor, compared, comparison_table, student, told
from _boundaries import measure
from _coherence import FIGURES as COHERENCE
from _coherence import Course, course, figures
from _common import argument_parser, interval, machine, table, write_results
from _context import BEFORE, OF, energy_scores
from _held_out import Waveform
from _plots import save_figure
from _trained import DECODER_STEPS, TINY, add_options, budget, decoder_arms, held_out_clips, split_corpus, work_folder
from causal_mask import at_places, noise_inside
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.decoding import Method
from m2l2_mir.quality.baseline import shaped_noise
from m2l2_mir.quality.reconstruction import other_clips

PAPER = 2
CONTEXTS = (1, 2, 4)
ARMS = {str(chunks): TINY.replace(name=f"m2l2-tiny-context-{chunks}", context_chunks=chunks) for chunks in CONTEXTS}
TITLES = {
    "beats": "beats kept (F-measure)",
    "tempo": "tempo kept (share of windows)",
    "key": "key kept (weighted score)",
    "tempo_steadiness": "steadiness of tempo, less the original's",
    "key_steadiness": "steadiness of key, less the original's",
    "log_spectral_distance": "log-spectral distance (dB), where chunks meet less inside",
    "excess_flux": "excess flux (dB), where chunks meet less inside",
    "log_spectral_distance_inside": "log-spectral distance (dB), inside",
}
METHODS: tuple[Method, ...] = ("single-step", "two-step")
USE = {f"use, {kind}": f"energy score of {kind} with the context, less alone" for kind in OF}
SCORES = {f"score, {kind}": f"energy score of {kind} with the context" for kind in OF}
CONTEXT = "context"  # where measured and compared figures have these
OTHER, NOISE = "the original of another piece", "noise with the piece's mean spectrum"
ASKED = {  # what the sentences go by, of the first method: which figure has to be beyond the floor, and which way
    "beats": ("beats", 1),
    "key": ("key", 1),
    "log_spectral_distance": ("log_spectral_distance_inside", -1),
}

Measured = dict[tuple[str, int], dict[str, dict[str, Any]]]  # (arm, seed) -> method -> figures, by piece


def main() -> None:
    options = read_options()
    facts = machine()
    work = work_folder(options, "tiny_decoders")
    corpus = split_corpus(options, TINY)
    clips = held_out_clips(options, corpus, TINY)
    runs = decoder_arms(options, work, corpus, ARMS)
    pieces = {clip.piece: clip.waveform for clip in clips}
    originals = {name: course(piece, TINY.sample_rate) for name, piece in pieces.items()}
    measured: Measured = {
        (run["arm"], run["seed"]): decoded(run, pieces, originals, options.device) for run in runs if run["arm"] in ARMS
    }
    least = floors(pieces, originals)
    results = {
        "clips": [{"piece": clip.piece, "start": clip.start} for clip in clips],
        "seconds": options.seconds,
        "runs": [{**run, "weights": run["weights"].parent.name} for run in runs],
        "floors": least,
        "compared": comparisons(measured, least, options.seeds),
        "measured": [
            {"arm": arm, "seed": seed, "method": method} | found
            for (arm, seed), methods in measured.items()
            for method, found in methods.items()
        ],
    }
    save_figure(options, draw(results["compared"]))
    write_results(options, facts, results, summary(results, budget(runs, options.seeds)))


def read_options() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    add_options(parser, steps=DECODER_STEPS)
    parser.add_argument("--clips", type=int, default=16, help="held-out excerpts, each of another piece (default: 16)")
    parser.add_argument("--seconds", type=float, default=60, help="length of an excerpt (default: 60)")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.clips, options.seconds = 2, 3, 15
    return options


def decoded(
    run: Mapping[str, Any], pieces: dict[str, Waveform], originals: Mapping[str, Course], device: str
) -> dict[str, dict[str, Any]]:
    """Decode all pieces by each method: coherence of each piece, and means of its boundaries."""
    model = load_model(run["weights"], device=device)
    latents = {name: model.encode(piece, model.config.sample_rate) for name, piece in pieces.items()}
    found: dict[str, dict[str, Any]] = {CONTEXT: context_figures(model, pieces, latents, run["seed"])}
    for method in METHODS:
        heard: list[NDArray[np.floating]] = []

        def rebuild(
            model: Music2Latent2,
            waveform: Waveform,
            embeddings: Tensor,
            method: Method = method,
            heard: list[NDArray[np.floating]] = heard,
        ) -> NDArray[np.floating]:
            estimated = model.decode(embeddings, num_samples=waveform.shape[1], method=method, seed=run["seed"])
            heard.append(estimated.numpy())
            return heard[-1]

        boundaries = measure(model, pieces, latents, rebuild)
        coherence = [
            figures(originals[name], course(estimated, model.config.sample_rate))
            for name, estimated in zip(pieces, heard, strict=True)
        ]
        found[method] = {
            **{figure: [one[figure] for one in coherence] for figure in COHERENCE},
            "log_spectral_distance": at_places(boundaries, "log_spectral_distance", "rise").tolist(),
            "log_spectral_distance_inside": at_places(boundaries, "log_spectral_distance", "inside").tolist(),
            "excess_flux": at_places(boundaries, "excess_flux", "rise").tolist(),
            "x_real_time": boundaries["x_real_time"],
        }
    print(f"context {run['arm']}, seed {run['seed']}: measured", flush=True)
    return found


def context_figures(
    model: Music2Latent2, pieces: Mapping[str, Waveform], latents: Mapping[str, Tensor], seed: int
) -> dict[str, list[float]]:
    """Energy scores of generated chunks with the whole context, and what it takes off them, by piece."""
    first = max(CONTEXTS) - 1
    scores = np.stack(
        [energy_scores(model, piece, latents[name], first=first, seed=seed) for name, piece in pieces.items()]
    )  # [pieces, kinds, chunks before]
    return {
        **{figure: scores[:, row, -1].tolist() for row, figure in enumerate(SCORES)},
        **{figure: (scores[:, row, -1] - scores[:, row, 0]).tolist() for row, figure in enumerate(USE)},
    }


# Comparison


def comparisons(
    measured: Measured, floors: Mapping[str, Mapping[str, Sequence[float]]], seeds: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Each context less that of the paper, by method and figure.

    What the sentences go by has ``beyond_floor``: by how much each side is better than the better of the floors.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    listed = {**dict.fromkeys(METHODS, TITLES), CONTEXT: SCORES | USE}
    for arm in ARMS:
        for method, titles in listed.items() if arm != str(PAPER) else ():
            columns = found.setdefault(arm, {}).setdefault(method, {})
            for figure in titles:
                this, paper = (
                    np.array([measured[side, seed][method][figure] for seed in range(seeds)])
                    for side in (arm, str(PAPER))
                )
                columns[figure] = compared(this, paper)
            for figure, (judged, better) in ASKED.items() if method in METHODS else ():
                floor = max(
                    (one[judged] for one in floors.values() if judged in one), key=lambda one: better * nanmean(one)
                )
                columns[figure]["beyond_floor"] = {
                    side: beyond_floor(
                        [measured[of, seed][method][judged] for seed in range(seeds)], floor, better=better
                    )
                    for side, of in (("ours", arm), ("theirs", str(PAPER)))
                }
    return found


def floors(pieces: Mapping[str, Waveform], originals: Mapping[str, Course]) -> dict[str, dict[str, list[float]]]:
    """What is kept of each piece by the original of another, and by noise with its own mean spectrum."""
    courses = list(originals.values())
    rate = TINY.sample_rate
    instead = {
        OTHER: [courses[other] for other in other_clips(list(originals), seed=0)],
        NOISE: [
            course(shaped_noise(piece, sample_rate=rate, seed=number), rate)
            for number, piece in enumerate(pieces.values())
        ],
    }
    found = {name: [figures(*both) for both in zip(courses, those, strict=True)] for name, those in instead.items()}
    kept = {
        name: {figure: [one[figure] for one in of_pieces] for figure in COHERENCE} for name, of_pieces in found.items()
    }
    kept[NOISE]["log_spectral_distance_inside"] = noise_inside(pieces).tolist()
    return kept


def nanmean(values: Sequence[float]) -> float:
    """Mean of what is there."""
    return float(np.nanmean(values))


# What to read


def summary(results: dict[str, Any], trained: str) -> str:
    """What NAME.md says."""
    found = results["compared"]
    lines = [
        ([arm, method, (TITLES | SCORES | USE)[figure]], one)
        for arm, methods in found.items()
        for method, columns in methods.items()
        for figure, one in columns.items()
    ]
    speed = [[arm, *(f"{np.median(decoding_speeds(results, arm, method)):.1f}" for method in METHODS)] for arm in ARMS]
    kept = [
        [TITLES[figure], *(f"{nanmean(of[figure]):.3f}" if figure in of else "" for of in results["floors"].values())]
        for figure in ("beats", "tempo", "key", "log_spectral_distance_inside")
    ]
    return "\n\n".join(
        [
            trained,
            f"Decoded: {len(results['clips'])} excerpts of {results['seconds']:g} s, each of another held-out piece. "
            "The paper states the question, and no figures.",
            *(sentence(arm, methods[METHODS[0]]) for arm, methods in found.items()),
            use_said(found),
            comparison_table(["context", "", "", "this context", f"context of {PAPER}"], lines),
            "Floors: what else keeps of beats, tempo and key, and how near it is.",
            table(["", *results["floors"]], kept),
            "Decoding in times real time, median:",
            table(["context", *METHODS], speed),
        ]
    )


def decoding_speeds(results: dict[str, Any], arm: str, method: Method) -> list[float]:
    """Of each piece and seed, in times real time."""
    runs = [run for run in results["measured"] if (run["arm"], run["method"]) == (arm, method)]
    return [speed for run in runs for speed in run["x_real_time"]]


def sentence(arm: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """The answer for one context, as far as the seeds and the decoders go."""
    parts = []
    for figure in ASKED:
        one = found[figure]
        said = f"{TITLES[figure]} {interval(one['seeds'], digits=3)}"
        if not told(one):
            said += " (not told apart)"
        if at_the_floor(one["beyond_floor"]):
            said += " (neither told to be beyond the floor, so that nothing follows)"
        parts.append(said)
    seeds = len(found["beats"]["ours"])
    return f"Context of {arm} less {PAPER}, {METHODS[0]}, {seeds} seeds: {'; '.join(parts)}."


def use_said(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Say what each arm with a context gains from it."""
    of_arm = {arm: methods[CONTEXT] for arm, methods in found.items()}
    parts = []
    for arm in (str(chunks) for chunks in CONTEXTS if chunks > 1):
        side, columns = ("theirs", next(iter(of_arm.values()))) if arm == str(PAPER) else ("ours", of_arm[arm])
        gains = (
            f"{interval(student(columns[figure][side]), digits=4)} of {kind}"
            for figure, kind in zip(USE, OF, strict=True)
        )
        parts.append(f"context of {arm}: {', '.join(gains)}")
    return (
        "Use of the context: energy score of a chunk generated in one step with the chunks before it (the original "
        f"under noise {BEFORE:g}), less alone, in shares of the original's norm, over seeds: {'; '.join(parts)}."
    )


def draw(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure:
    """A panel for each figure: every seed's line over the contexts, by method."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    panels = figure.subplots(2, len(TITLES) // 2).flat
    for panel, name in zip(panels, TITLES, strict=True):
        for colour, method in enumerate(METHODS):
            of_arm = {arm: methods[method][name]["ours"] for arm, methods in found.items()}
            of_arm[str(PAPER)] = next(iter(found.values()))[method][name]["theirs"]
            values = np.array([of_arm[arm] for arm in ARMS])  # [contexts, seeds]
            lines = panel.plot(list(ARMS), values, "o-", color=f"C{colour}", linewidth=0.9, markersize=4)
            lines[0].set_label(method)
        panel.set_xlabel("context (chunks)")
        panel.set_title(TITLES[name].replace(", ", ",\n"), fontsize="small")
    panels[0].legend(frameon=False, fontsize="small")
    figure.suptitle(f"{TINY.name}: a line for each seed", fontsize="medium")
    return figure


if __name__ == "__main__":
    main()
