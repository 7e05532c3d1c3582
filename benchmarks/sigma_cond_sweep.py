"""How much noise the chunk before should carry when the next is generated: sigma_cond, with and without refinement.

The paper's experiment: held-out excerpts are encoded once and decoded autoregressively at each sigma_cond, two-step
(each chunk is refined once, in the window in which the next is generated, which a causal model does not let it see) and
single-step (it is not). KAD and FAD by the embedders named (logmel always), with a jackknife interval over pieces;
SI-SDR and log-spectral distance of excerpts, means with 95 % bootstrap intervals clustered by piece. "Optimal at" names
the sigma_cond of the least FAD, by how much the others lie above it, and those told apart from it: by the jackknife of
the difference, excerpt by excerpt, after Holm's correction over the other values. The least is chosen and tested on the
same excerpts, each decoded from one draw of noise, the same at all values. At 0 both methods are the same by
construction: what is refined carries no noise, so that nothing of it changes. At the paper's value the methods are
compared with each other, too.

The paper finds 0.4 best; whether as a noise level or as a position on the noise schedule is not confirmed. --position
takes the values as positions.

    m2l2 corpus fetch free-music --out music --only test
    python benchmarks/sigma_cond_sweep.py --data music --model model.safetensors
    python benchmarks/sigma_cond_sweep.py --data music --model model.safetensors --embedder vggish=vggish.pth
    python benchmarks/sigma_cond_sweep.py --data music --model random:m2l2-tiny --quick
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any

import numpy as np
from _common import argument_parser, interval, machine, table, write_results
from _distances import by_piece, distances
from _held_out import Clip, add_options, listen
from _plots import save_figure
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.decoding import Method
from m2l2_mir.probe.comparison import holm
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.quality.embedders import Embed, read_embedder
from m2l2_mir.quality.frechet import fad, fad_difference
from m2l2_mir.quality.reconstruction import clip_figures, set_figures

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
QUICK_LEVELS = (0.0, 0.4, 1.0)
ALPHA = 0.05
PAPER = 0.4
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
    parser.add_argument("--model", default="m2l2-small", metavar="M", help="see m2l2_mir.load_model")
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
    """Decode all clips at each level by each method; figures of each row, and which level is lowest."""
    rate, pieces = model.config.sample_rate, [clip.piece for clip in clips]
    latents = [model.encode(clip.waveform, rate) for clip in clips]
    references = {name: [embed(clip.waveform, sample_rate=rate) for clip in clips] for name, embed in embedders.items()}
    rows: dict[str, list[dict[str, Any]]] = {}
    best: dict[str, dict[str, Any]] = {}
    heard: dict[tuple[str, str], list[Embeddings]] = {}  # (method, embedder) -> of each level
    for method in METHODS:
        rows[method] = []
        sets = {name: heard.setdefault((method, name), []) for name in embedders}
        for level in levels:
            begun = perf_counter()
            row, embeddings = measure(model, clips, latents, method, level, position, embedders)
            for name, found in embeddings.items():
                row.setdefault("sets", {})[name] = set_figures(references[name], found, pieces)
                sets[name].append(found)
            rows[method].append({"level": level, **row})
            print(f"{method}, {level}: {perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
        best[method] = {name: lowest(levels, references[name], sets[name], pieces) for name in embedders}
    return {"rows": rows, "lowest": best, "methods": methods_at(PAPER, levels, references, heard, rows, pieces)}


def methods_at(
    level: float,
    levels: Sequence[float],
    references: dict[str, Embeddings],
    heard: dict[tuple[str, str], list[Embeddings]],
    rows: dict[str, list[dict[str, Any]]],
    pieces: Sequence[str],
) -> dict[str, Any]:
    """The first method less the second at a level, the same excerpts: FAD by embedder, log-spectral distance."""
    place = list(levels).index(level)
    fads = {
        name: fad_difference(
            *(by_piece(one, pieces) for one in (of, *(heard[method, name][place] for method in METHODS)))
        )
        for name, of in references.items()
    }
    ours, theirs = (np.array(rows[method][place]["of_clip"]["log_spectral_distance"]) for method in METHODS)
    return {"level": level, "fad": fads, "log_spectral_distance": asdict(cluster_bootstrap(ours - theirs, pieces))}


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
    for number, (clip, embedded) in enumerate(zip(clips, latents, strict=True)):
        # The same noise at each level, so that levels are compared and not draws.
        estimated = model.decode(
            embedded,
            num_samples=clip.waveform.shape[-1],
            method=method,
            sigma_cond=level,
            position_cond=level if position else None,
            seed=number,
        ).numpy()
        of_clip.append(clip_figures(clip.waveform, estimated, sample_rate=rate))
        for name, embed in embedders.items():
            embeddings[name].append(embed(estimated, sample_rate=rate))
    columns = {name: [figures[name] for figures in of_clip] for name in of_clip[0]}
    means = {name: asdict(cluster_bootstrap(values, pieces)) for name, values in columns.items()}
    return {"of_clip": columns, "mean": means}, embeddings


def lowest(
    levels: Sequence[float], reference: Embeddings, sets: Sequence[Embeddings], pieces: Sequence[str]
) -> dict[str, Any]:
    """Level of the least FAD, how much further away the others are, and which of them are told apart from it."""
    ours, *versions = (by_piece(one, pieces) for one in (reference, *sets))
    fads = [fad(ours, one) for one in versions]
    place = int(np.argmin(fads))
    others = [level for level in levels if level != levels[place]]
    rise = {
        level: fad_difference(ours, one, versions[place])
        for level, one in zip(levels, versions, strict=True)
        if level in others
    }
    p_values = holm([p_value(found) for found in rise.values()])
    return {
        "level": levels[place],
        "fad": fads[place],
        "rise": {
            str(level): {**found, "p_holm": float(p)} for (level, found), p in zip(rise.items(), p_values, strict=True)
        },
        "told_apart": [level for level, p in zip(others, p_values, strict=True) if p < ALPHA],
    }


def p_value(difference: dict[str, float]) -> float:
    """Two-sided p of a difference of 0, by Student's t over pieces; 1 where nothing differs."""
    error = difference["standard_error"]
    if not error:
        return 1.0
    return float(2 * stats.t.sf(abs(difference["difference"]) / error, difference["clips"] - 1))


# What to read


def summary(results: dict[str, Any]) -> str:
    """What NAME.md says."""
    model = results["model"]
    symbol = "position_cond" if results["as_position"] else "sigma_cond"
    weights = f"`{model['weights_id'][:23]}`{'' if model['trained'] else ', untrained'}"
    parts = [
        f"Decoding of {len(results['clips'])} excerpts of {results['seconds']:g} s from {results['pieces']} held-out "
        f"pieces by `{model['name']}`, weights {weights}. "
        "Means over excerpts with 95 % intervals clustered by piece; KAD (without bias) and FAD (with that of so many "
        "pieces) with a jackknife interval over pieces. Lower is better but for SI-SDR, which counts phase."
    ]
    parts += [sentence(results, method, name) for method in METHODS for name in results["lowest"][method]]
    parts.append(methods_sentence(results["methods"], symbol))
    parts.append(
        "Chosen and tested on the same excerpts; told apart: p < .05 after Holm's correction over the other values. "
        f"At {symbol} 0 both methods are the same by construction."
    )
    names = list(results["lowest"][METHODS[0]])
    columns = [f"{kind}_{name}" for name in names for kind in ("kad", "fad")]
    header = ["", symbol, *columns, "SI-SDR (dB)", "log-spectral distance (dB)"]
    lines = [
        [
            method,
            row["level"],
            *(cell for name in names for cell in distances(row["sets"][name])),
            interval(row["mean"]["si_sdr"], digits=1),
            interval(row["mean"]["log_spectral_distance"]),
        ]
        for method, rows in results["rows"].items()
        for row in rows
    ]
    parts.append(table(header, lines))
    return "\n\n".join(parts)


def sentence(results: dict[str, Any], method: str, name: str) -> str:
    """Say where FAD is least, and what is told apart from that."""
    found = results["lowest"][method][name]
    symbol = "position_cond" if results["as_position"] else "sigma_cond"
    others = [level for level in results["levels"] if level != found["level"]]
    apart = ", ".join(f"{level:g}" for level in found["told_apart"])
    alike = ", ".join(f"{level:g}" for level in others if level not in found["told_apart"])
    noise = "" if results["model"]["trained"] else " (untrained weights: no finding)"
    edge = ", an end of the values tried" if found["level"] in (min(results["levels"]), max(results["levels"])) else ""
    rises = [one["difference"] for one in found["rise"].values()]
    where = (
        f"{method}: optimal at {symbol} {found['level']:g} by fad_{name} ({found['fad']:.4g}{edge}); the others lie "
        f"{min(rises):.3g} to {max(rises):.3g} above it"
    )
    if not apart:
        return f"{where}; none is told apart from it{noise}."
    return f"{where}; told apart from it: {apart}{f', not {alike}' if alike else ''}{noise}."


def methods_sentence(found: dict[str, Any], symbol: str) -> str:
    """Say how far the methods are apart at the paper's value."""
    fads = ", ".join(
        f"fad_{name} {one['difference']:+.4g} [{one['low']:.4g}, {one['high']:.4g}]"
        for name, one in found["fad"].items()
    )
    return (
        f"{' less '.join(METHODS)} at {symbol} {found['level']:g}: {fads}, log-spectral distance "
        f"{interval(found['log_spectral_distance'])} dB."
    )


def draw(results: dict[str, Any]) -> Figure:
    """One panel for each distance and one for SI-SDR, a line for each method."""
    kinds = {"kad": ("kad", "kad_low", "kad_high"), "fad": ("fad", "low", "high")}
    columns = [(kind, name) for name in results["lowest"][METHODS[0]] for kind in kinds]
    figure = Figure(figsize=(4.2 * (len(columns) + 1), 3.4), layout="constrained")
    panels = figure.subplots(1, len(columns) + 1, squeeze=False)[0]
    for panel, (kind, name) in zip(panels, [*columns, ("si_sdr", "")], strict=True):
        for shift, (method, rows) in zip((-0.006, 0.006), results["rows"].items(), strict=True):
            keys = kinds.get(kind, ("estimate", "low", "high"))
            found = [row["mean"]["si_sdr"] if kind == "si_sdr" else row["sets"][name] for row in rows]
            middle, *bounds = np.array([[one[key] for key in keys] for one in found]).T
            around = np.abs(bounds - middle)
            levels = np.array(results["levels"]) + shift
            panel.errorbar(levels, middle, yerr=around, marker="o", markersize=4, capsize=2, label=method)
        panel.set_xlabel("position_cond" if results["as_position"] else "sigma_cond")
        panel.set_ylabel("SI-SDR (dB)" if kind == "si_sdr" else f"{kind}_{name}")
    panels[0].legend(frameon=False)
    figure.suptitle(f"{results['model']['name']}{'' if results['model']['trained'] else ', untrained'}")
    return figure


if __name__ == "__main__":
    main()
