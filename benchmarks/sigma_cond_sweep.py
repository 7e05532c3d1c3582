"""How much noise the chunk before should carry when the next is generated: sigma_cond, with and without refinement.

The paper's experiment: held-out excerpts are encoded once and decoded autoregressively at each sigma_cond, two-step
(each chunk is refined once, with the chunk after it) and single-step (it is not). Fréchet distances by the embedders
named (fad_logmel always), with a jackknife interval over pieces; SI-SDR and log-spectral distance of excerpts, means
with 95 % bootstrap intervals clustered by piece. The sentence "optimal at" names the sigma_cond of the least distance
and those whose distance cannot be told from it, by the jackknife of the difference, excerpt by excerpt.

The paper finds 0.4 best; whether as a noise level or as a position on the noise schedule is not confirmed. --position
takes the values as positions.

    m2l2 corpus fetch free-music --out music --only test
    python benchmarks/sigma_cond_sweep.py --data music --model model.safetensors
    python benchmarks/sigma_cond_sweep.py --data music --model model.safetensors --embedder vggish=vggish.pth
    python benchmarks/sigma_cond_sweep.py --data music --model random:m2l2-tiny --quick
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any

import numpy as np
from _common import argument_parser, interval, machine, table, write_results
from _held_out import Clip, add_options, listen
from _plots import save_figure
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.decoding import Method
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.quality.embedders import Embed, read_embedder
from m2l2_mir.quality.frechet import fad, fad_difference
from m2l2_mir.quality.reconstruction import clip_figures, set_figures

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
QUICK_LEVELS = (0.0, 0.4, 1.0)
METHODS: tuple[Method, ...] = ("two-step", "single-step")
Embeddings = list[NDArray[np.float64]]  # of each clip


def main() -> None:
    options = read_options()
    facts = machine()
    model = load_model(options.model, device=options.device)
    embedders = dict(read_embedder(text, device=str(model.device)) for text in options.embedder)
    clips, left_out = listen(options, model.config, lambda name, excerpts: None)
    pieces = [clip.piece for clip in clips]
    if len(set(pieces)) < 3:
        raise SystemExit(
            f"excerpts of {options.seconds:g} s in {len(set(pieces))} pieces; at least 3 pieces are needed"
        )
    results: dict[str, Any] = {
        "model": {"name": model.config.name, "weights_id": model.weights_id, "trained": model.trained},
        "levels": list(QUICK_LEVELS if options.quick else LEVELS),
        "as_position": options.position,
        "seconds": options.seconds,
        "clips": [{"piece": clip.piece, "start": clip.start} for clip in clips],
        "pieces": len(set(pieces)),
        "left_out": left_out,
        **sweep(model, clips, embedders, options.position, QUICK_LEVELS if options.quick else LEVELS),
    }
    save_figure(options, draw(results))
    write_results(options, facts, results, summary(results))


def read_options() -> argparse.Namespace:
    parser = argument_parser(__doc__, data=True)
    parser.add_argument("--model", default="random:m2l2-small", metavar="M", help="see m2l2_mir.load_model")
    parser.add_argument("--position", action="store_true", help="take the values as positions on the noise schedule")
    parser.add_argument(
        "--embedder", action="append", metavar="NAME[=WEIGHTS]", help="of m2l2_mir.quality.embedders; repeatable"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, auto (default: auto)")
    add_options(parser)
    options = parser.parse_args()
    options.embedder = list(dict.fromkeys(["logmel", *(options.embedder or [])]))
    if options.quick:
        options.clips, options.per_piece, options.seconds = 6, 1, 3
    return options


def sweep(
    model: Music2Latent2, clips: Sequence[Clip], embedders: dict[str, Embed], position: bool, levels: Sequence[float]
) -> dict[str, Any]:
    """Decode all clips at each level by each method; figures of each row, and which level is best."""
    rate, pieces = model.config.sample_rate, [clip.piece for clip in clips]
    latents = [model.encode(clip.waveform, rate) for clip in clips]
    references = {name: [embed(clip.waveform, sample_rate=rate) for clip in clips] for name, embed in embedders.items()}
    rows: dict[str, list[dict[str, Any]]] = {}
    best: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        rows[method] = []
        sets: dict[str, list[Embeddings]] = {name: [] for name in embedders}
        for level in levels:
            begun = perf_counter()
            row, embeddings = measure(model, clips, latents, method, level, position, embedders)
            for name, found in embeddings.items():
                row[f"fad_{name}"] = set_figures(references[name], found, pieces)
                sets[name].append(found)
            rows[method].append({"level": level, **row})
            print(f"{method}, {level}: {perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
        best[method] = {f"fad_{name}": optimum(levels, references[name], sets[name], pieces) for name in embedders}
    return {"rows": rows, "best": best}


def measure(
    model: Music2Latent2,
    clips: Sequence[Clip],
    latents: Sequence[Tensor],
    method: Method,
    level: float,
    position: bool,
    embedders: dict[str, Embed],
) -> tuple[dict[str, Any], dict[str, Embeddings]]:
    rate, pieces = model.config.sample_rate, [clip.piece for clip in clips]
    of_clip: list[dict[str, float]] = []
    embeddings: dict[str, Embeddings] = {name: [] for name in embedders}
    speed = []
    for number, (clip, embedded) in enumerate(zip(clips, latents, strict=True)):
        begun = perf_counter()
        # The same noise at each level, so that levels are compared and not draws.
        estimated = model.decode(
            embedded,
            num_samples=clip.waveform.shape[-1],
            method=method,
            sigma_cond=level,
            position_cond=level if position else None,
            seed=number,
        ).numpy()
        speed.append(clip.waveform.shape[-1] / rate / (perf_counter() - begun))
        of_clip.append(clip_figures(clip.waveform, estimated, sample_rate=rate))
        for name, embed in embedders.items():
            embeddings[name].append(embed(estimated, sample_rate=rate))
    columns = {name: [figures[name] for figures in of_clip] for name in of_clip[0]}
    means = {name: asdict(cluster_bootstrap(values, pieces)) for name, values in columns.items()}
    return {"of_clip": columns, "mean": means, "x_real_time": speed}, embeddings


def optimum(
    levels: Sequence[float], reference: Embeddings, sets: Sequence[Embeddings], pieces: Sequence[str]
) -> dict[str, Any]:
    """Level of the least distance, and how much further away the others are, with intervals over pieces."""
    ours, *versions = (grouped(one, pieces) for one in (reference, *sets))
    place = int(np.argmin([fad(ours, one) for one in versions]))
    rise = {level: fad_difference(ours, one, versions[place]) for level, one in zip(levels, versions, strict=True)}
    return {
        "level": levels[place],
        "rise": {str(level): found for level, found in rise.items()},
        "not_told_apart": [level for level, found in rise.items() if level != levels[place] and found["low"] <= 0],
    }


def grouped(embeddings: Embeddings, pieces: Sequence[str]) -> Embeddings:
    """Embeddings of each piece, whose clips are not independent."""
    names = sorted(set(pieces))
    return [
        np.concatenate([one for one, piece in zip(embeddings, pieces, strict=True) if piece == name]) for name in names
    ]


# What to read


def summary(results: dict[str, Any]) -> str:
    """What NAME.md says."""
    model = results["model"]
    symbol = "position_cond" if results["as_position"] else "sigma_cond"
    weights = f"`{model['weights_id'][:23]}`{'' if model['trained'] else ', untrained'}"
    parts = [
        f"Decoding of {len(results['clips'])} excerpts of {results['seconds']:g} s from {results['pieces']} held-out "
        f"pieces by `{model['name']}`, weights {weights}. "
        "Means over excerpts with 95 % intervals clustered by piece; distances with a jackknife interval over pieces. "
        "Lower is better but for SI-SDR, which counts phase. Speed of decoding in times real time, median."
    ]
    parts += [sentence(results, method, name) for method in METHODS for name in results["best"][method]]
    distances = list(results["best"][METHODS[0]])
    header = ["", symbol, *distances, "SI-SDR (dB)", "log-spectral distance (dB)", "x real time"]
    lines = [
        [
            method,
            row["level"],
            *(f"{row[name]['fad']:.2f} [{row[name]['low']:.2f}, {row[name]['high']:.2f}]" for name in distances),
            interval(row["mean"]["si_sdr"], digits=1),
            interval(row["mean"]["log_spectral_distance"]),
            f"{statistics.median(row['x_real_time']):.1f}",
        ]
        for method, rows in results["rows"].items()
        for row in rows
    ]
    parts.append(table(header, lines))
    return "\n\n".join(parts)


def sentence(results: dict[str, Any], method: str, name: str) -> str:
    """Say where a distance is least, and what it cannot be told from."""
    best = results["best"][method][name]
    symbol = "position_cond" if results["as_position"] else "sigma_cond"
    alike = ", ".join(f"{level:g}" for level in best["not_told_apart"])
    apart = f"not told apart from {alike}" if alike else "every other value is further away, beyond its 95 % interval"
    noise = "" if results["model"]["trained"] else " (untrained weights: no finding)"
    return f"By {name}, {method} is optimal at {symbol} {best['level']:g}; {apart}{noise}."


def draw(results: dict[str, Any]) -> Figure:
    """One panel for each distance and one for SI-SDR, a line for each method."""
    distances = list(results["best"][METHODS[0]])
    figure = Figure(figsize=(4.2 * (len(distances) + 1), 3.4), layout="constrained")
    panels = figure.subplots(1, len(distances) + 1, squeeze=False)[0]
    for panel, name in zip(panels, [*distances, "si_sdr"], strict=True):
        for shift, (method, rows) in zip((-0.006, 0.006), results["rows"].items(), strict=True):
            found = [row["mean"][name] if name == "si_sdr" else row[name] for row in rows]
            middle = np.array([one["estimate" if name == "si_sdr" else "fad"] for one in found])
            bounds = np.array([[one["low"], one["high"]] for one in found]).T
            around = np.abs(bounds - middle)
            levels = np.array(results["levels"]) + shift
            panel.errorbar(levels, middle, yerr=around, marker="o", markersize=4, capsize=2, label=method)
        panel.set_xlabel("position_cond" if results["as_position"] else "sigma_cond")
        panel.set_ylabel("SI-SDR (dB)" if name == "si_sdr" else name)
    panels[0].legend(frameon=False)
    figure.suptitle(f"{results['model']['name']}{'' if results['model']['trained'] else ', untrained'}")
    return figure


if __name__ == "__main__":
    main()
