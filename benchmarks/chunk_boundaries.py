"""Does one hear where chunks meet, and does decoding drift? Long recordings, decoded with context and without.

The longest recordings, from each collection as many, are encoded once and decoded by each method of the model
(two-step, single-step, parallel), and chunk by chunk: each chunk from noise of its own, knowing nothing of its
neighbours. SI-SDR, log-spectral distance and spectral flux beyond that of the reference, where chunks meet and as long
in the middle of chunks; the difference, and what it is less that of chunk-by-chunk decoding, where the overlap alone
joins chunks: that is what context does. 95 % intervals over recordings. Drift: what level and log-spectral distance of
a chunk are beyond those of the same chunk decoded from the same latents chunk by chunk, which cannot drift, so that the
music's own course is taken off; the slope a minute of one line with an intercept for each recording, in which long
recordings count most, with a jackknife interval over recordings (none for a single one). The STFT round trip of the
model, which knows no chunks, shows what the figures are where nothing happens at boundaries.

Does the model use its context at all? The energy score of a chunk generated in one step that knows the chunks before
it, as they are in the original, less that of the same chunk alone, from the same noise (_context.py): below 0 where
knowing them helps.

    m2l2 corpus fetch free-music --out music --only test
    python benchmarks/chunk_boundaries.py --data music --model model.safetensors
    python benchmarks/chunk_boundaries.py --data music --model random:m2l2-tiny --quick
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice, zip_longest
from typing import Any

import numpy as np
from _boundaries import CHUNKWISE, DRIFTING, ROUND_TRIP, UNITS, drift, measure, of_context, rows
from _common import argument_parser, interval, machine, table, write_results
from _context import BEFORE, OF, energy_scores
from _held_out import SILENCE, Waveform, held_out, waveforms
from _plots import save_figure
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.errors import InputError
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.quality.boundaries import FIGURES

LEAST_SECONDS = 30.0
SMOOTHED = 10  # chunks, in the figure


def main() -> None:
    options = read_options()
    facts = machine()
    model = load_model(options.model, device=options.device)
    pieces = dict(recordings(options, model))
    if not pieces:
        raise SystemExit(f"no recording of {LEAST_SECONDS:g} s or more in the named collections")
    measured: dict[str, dict[str, Any]] = {}
    latents = {name: model.encode(piece, model.config.sample_rate) for name, piece in pieces.items()}
    for row, rebuild in rows(model, options.seed):
        try:
            measured[row] = measure(model, pieces, latents, rebuild)
        except InputError as error:  # a method that this model does not have
            print(f"{row} left out: {error}", file=sys.stderr, flush=True)
    for row, found in measured.items():
        if row not in (ROUND_TRIP, CHUNKWISE) and CHUNKWISE in measured:
            found |= of_context(found["of_chunk"], measured[CHUNKWISE]["of_chunk"])
            found["drift"] = drift(found["of_chunk"], measured[CHUNKWISE]["of_chunk"])
    results = {
        "model": {"name": model.config.name, "weights_id": model.weights_id, "trained": model.trained},
        "chunk_seconds": model.config.chunk_seconds,
        "recordings": {name: piece.shape[1] / model.config.sample_rate for name, piece in pieces.items()},
        "rows": measured,
        "context": use_of_context(model, pieces, latents, options.seed),
    }
    save_figure(options, draw(results))
    write_results(options, facts, results, summary(results))


def read_options() -> argparse.Namespace:
    parser = argument_parser(__doc__, data=True)
    parser.add_argument("--model", default="m2l2-small", metavar="M", help="see m2l2_mir.load_model")
    parser.add_argument("--hold-out", nargs="+", default=["test"], metavar="NAME", help="collections (default: test)")
    parser.add_argument("--files", type=int, default=8, help="recordings, at most (default: 8)")
    parser.add_argument("--minutes", type=float, default=5, help="of each recording, at most (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, auto (default: auto)")
    options = parser.parse_args()
    if options.quick:
        options.files, options.minutes = 1, LEAST_SECONDS / 60
    return options


def recordings(options: argparse.Namespace, model: Music2Latent2) -> Iterator[tuple[str, Waveform]]:
    """Give the longest recordings that are not silent, cut to as long as asked for, from each collection in turn."""
    rate = model.config.sample_rate
    most = round(60 * options.minutes * rate)
    listed = held_out(options.data, options.hold_out)
    found: dict[str, list[tuple[str, Waveform]]] = {}
    for name, heard in waveforms(listed[: 4 * options.files] if options.quick else listed, model.config):
        if isinstance(heard, str) or heard.shape[1] < LEAST_SECONDS * rate:
            continue
        if np.sqrt(np.mean(heard[:, :most] ** 2)) > SILENCE:
            longest = found.setdefault(name.split("/")[0], [])
            longest.append((name, heard[:, :most]))
            longest.sort(key=lambda one: -one[1].shape[1])
            del longest[options.files :]
    turns = (one for turn in zip_longest(*found.values()) for one in turn if one is not None)
    yield from islice(turns, options.files)


def use_of_context(
    model: Music2Latent2, pieces: dict[str, Waveform], latents: dict[str, Tensor], seed: int
) -> dict[str, Any] | None:
    """Energy scores with the whole context and alone, and the difference; None of a model that takes no other chunk."""
    whole = model.config.context_chunks - 1
    if not whole:
        return None
    try:
        scores = np.stack(
            [energy_scores(model, piece, latents[name], first=whole, seed=seed) for name, piece in pieces.items()]
        )  # [recordings, kinds, chunks before]
    except InputError as error:  # Music2Latent: all chunks of a window have one noise level
        print(f"use of the context left out: {error}", file=sys.stderr, flush=True)
        return None
    return {
        "before": whole,
        "scores": scores.tolist(),
        "compared": {
            kind: {
                "alone": asdict(cluster_bootstrap(scores[:, row, 0])),
                "difference": asdict(cluster_bootstrap(scores[:, row, -1] - scores[:, row, 0])),
            }
            for row, kind in enumerate(OF)
        },
    }


# What to read


def summary(results: dict[str, Any]) -> str:
    """What NAME.md says."""
    model = results["model"]
    weights = f"`{model['weights_id'][:23]}`{'' if model['trained'] else ', untrained'}"
    parts = [
        f"{len(results['recordings'])} recordings, {sum(results['recordings'].values()) / 60:.1f} min, decoded by "
        f"`{model['name']}`, weights {weights}, in chunks of {results['chunk_seconds']:.2f} s. At: where chunks meet; "
        "inside: as long in the middle of chunks; of context: less chunk-by-chunk decoding, where the overlap alone "
        "joins chunks (the difference, and what is inside). 95 % intervals over recordings. Excess flux: rise of the "
        "spectrum from frame to frame, beyond that of the reference."
    ]
    for row, found in results["rows"].items():
        if row in (ROUND_TRIP, CHUNKWISE):
            continue
        rise = found["compared"]["log_spectral_distance"]["difference"]
        beside = [found[of]["log_spectral_distance"] for of in ("of_context", "inside_of_context")]
        said = [
            f"{'further' if one['low'] > 0 else 'nearer' if one['high'] < 0 else 'not told to be further or nearer'}"
            f" ({interval(one)} dB)"
            for one in (rise, *beside)
        ]
        noise = "" if model["trained"] else " (untrained weights: no finding)"
        parts.append(
            f"{row}: where chunks meet the spectrum is {said[0]} than inside; less chunk-by-chunk decoding it is "
            f"{said[1]} there, and {said[2]} inside{noise}."
        )
    lines = []
    for row, found in results["rows"].items():
        for figure, compared in found["compared"].items():
            means = [f"{compared[place]['estimate']:.2f}" for place in ("at", "inside")]
            context = [interval(found[of][figure]) if of in found else "" for of in ("of_context", "inside_of_context")]
            lines.append([row, UNITS[figure], *means, interval(compared["difference"]), *context])
    parts.append(table(["", "", "at", "inside", "difference", "of context", "inside, of context"], lines))
    slopes = []
    for row, found in results["rows"].items():
        if "drift" in found:
            parts.append(drift_sentence(row, found["drift"], trained=model["trained"]))
        drifts = [interval(found["drift"][figure]) if "drift" in found else "" for figure in DRIFTING]
        slopes.append([row, *drifts, f"{statistics.median(found['x_real_time']):.1f}"])
    minutes = [seconds / 60 for seconds in results["recordings"].values()]
    parts.append(
        "Drift a minute, beyond chunk-by-chunk decoding of the same latents, each with its 95 % interval, over "
        f"recordings of {min(minutes):.1f} to {max(minutes):.1f} min."
    )
    parts.append(table(["", *(f"drift: {UNITS[figure]}" for figure in DRIFTING), "x real time"], slopes))
    if results["context"]:
        parts += use_said(results["context"], trained=model["trained"])
    return "\n\n".join(parts)


def use_said(found: Mapping[str, Any], *, trained: bool) -> list[str]:
    """Say whether generated chunks are nearer with the chunks before, and by how much."""
    said = []
    for kind, one in found["compared"].items():
        low, high = (one["difference"][bound] for bound in ("low", "high"))
        does = "helps" if high < 0 else "does harm" if low > 0 else "is not told to help or to do harm"
        said.append(f"{kind}, it {does}")
    noise = "" if trained else " (untrained weights: no finding)"
    rows = [
        [kind, interval(one["alone"], digits=3), interval(one["difference"], digits=4)]
        for kind, one in found["compared"].items()
    ]
    return [
        f"Use of the context, {found['before']} before (the original under noise {BEFORE:g}), in a chunk generated in "
        f"one step: by {', by '.join(said)}{noise}. Energy scores, in shares of the original's norm: 0 is the "
        "original, 1 silence; of spectra, .71 has the right power in every bin and phases at random.",
        table(["", "alone", "with the context, less alone"], rows),
    ]


def drift_sentence(row: str, found: Mapping[str, Mapping[str, float]], *, trained: bool) -> str:
    """Say which figures drift, beyond their interval."""
    noise = "" if trained else " (untrained weights: no finding)"
    if math.isnan(found["level"]["low"]):
        return f"{row}: whether it drifts cannot be told from a single recording{noise}."
    told = [figure for figure in DRIFTING if not found[figure]["low"] <= 0 <= found[figure]["high"]]
    if not told:
        most = ", ".join(
            f"{UNITS[figure]} by {max(abs(found[figure][bound]) for bound in ('low', 'high')):.2f}"
            for figure in DRIFTING
        )
        return f"{row}: no drift is told; the intervals hold at most {most} a minute{noise}."
    slopes = " and ".join(f"{UNITS[figure]} by {interval(found[figure])} a minute" for figure in told)
    return f"{row}: drifts, {slopes}{noise}."


def draw(results: dict[str, Any]) -> Figure:
    """Differences at boundaries, figure by figure; and the log-spectral distance over time."""
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    *panels, last = figure.subplots(1, len(FIGURES) + 1)
    names = list(results["rows"])
    for panel, name in zip(panels, FIGURES, strict=True):
        found = [results["rows"][row]["compared"][name]["difference"] for row in names]
        middle = np.array([one["estimate"] for one in found])
        around = np.abs(np.array([[one["low"], one["high"]] for one in found]).T - middle)
        panel.errorbar(middle, range(len(names)), xerr=around, fmt="o", capsize=3)
        panel.axvline(0, color="grey", linewidth=0.8)
        panel.set_yticks(range(len(names)), names if panel is panels[0] else [""] * len(names))
        panel.set_xlabel(f"{UNITS[name]}, at less inside")
        panel.invert_yaxis()
    longest = max(results["recordings"], key=results["recordings"].__getitem__)
    for row in names:
        one = results["rows"][row]["of_chunk"][longest]
        last.plot(one["seconds"], smoothed(np.array(one["log_spectral_distance"])[:, 1]), label=row)
    last.set_xlabel("seconds")
    last.set_ylabel("log-spectral distance (dB)")
    last.legend(frameon=False, fontsize="small")
    return figure


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running mean over some chunks; nan where there is nothing."""
    kept = np.isfinite(values)
    window = np.ones(min(SMOOTHED, len(values)))
    total = np.convolve(np.where(kept, values, 0), window, "same")
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.where(count := np.convolve(kept, window, "same"), count, np.nan))


if __name__ == "__main__":
    main()
