"""How well a model gives back music that it was not trained on, and what its latents are like.

Excerpts are drawn from held-out recordings of a folder as `m2l2 corpus fetch free-music` makes it, a few of each piece
at most, mixed down and resampled as the model hears them. Recordings that training would leave out (silent, low
bandwidth, a repeat of another) are left out here too.

* Reconstruction: each decoding method, beside the STFT round trip of the model (ceiling), Opus at about 16 kbit/s, the
  same model with random weights, and noise with the mean spectrum and level of the excerpt (floor). Log-spectral
  distance and SI-SDR of excerpts with 95 % intervals clustered by piece; KAD, which has no bias, and FAD on log-mel
  statistics, their intervals from leaving out whole pieces; FAD of endless music only with pieces enough (512).
* Does the decoder go by its latents? Each excerpt is decoded once more from those of an excerpt of another piece, and
  the distances are compared excerpt by excerpt, as they are with those of the floor.
* Several models: how much further away the others are than the first, method by method, excerpt by excerpt; with
  `m2l2-small m2l2-small-ordered` the paper's ablation of ordered latents.
* Latents of all excerpts of the held-out pieces: spread, saturation, dead slots, effective rank, and how much chunks
  have in common with their neighbours.

Goals: log-spectral distance of the floor, and of decoding from other latents, further away, beyond the interval; under
2 % of the latents saturated, no dead slot.

    m2l2 corpus fetch free-music --out music --only test
    python benchmarks/reconstruction.py --data music --model model.safetensors --audio examples
    python benchmarks/reconstruction.py --data music --quick
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import numpy as np
import torch
from _common import argument_parser, interval, machine, table, verdict, write_results
from _compared import labelled
from _distances import by_piece, distances, endless
from _held_out import Clip, Waveform, add_options, listen
from _latents import latent_figures, latent_report, latents_of
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir import audio
from m2l2_mir.disentangle.arms import check_models
from m2l2_mir.errors import InputError
from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model, random_model
from m2l2_mir.model.decoding import Method
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.quality import log_spectral
from m2l2_mir.quality.baseline import shaped_noise
from m2l2_mir.quality.degradations import opus
from m2l2_mir.quality.frechet import fad_difference
from m2l2_mir.quality.logmel import logmel_embeddings
from m2l2_mir.quality.reconstruction import clip_figures, other_clips, set_figures

Array = NDArray[np.floating]
Rebuild = Callable[[int], Array]  # number of a clip -> what becomes of it

METHODS: tuple[Method, ...] = get_args(Method)
SIGMA_COND = 0.4
SWAPPED: Method = "two-step"  # decodes from other latents too
OPUS_KBPS = 16
EXAMPLES = 5


def main() -> None:
    options = read_options()
    facts = machine()
    models = [load_model(name, device=options.device) for name in options.model]
    config = models[0].config
    if any((m.config.sample_rate, m.config.channels) != (config.sample_rate, config.channels) for m in models):
        raise SystemExit("the models hear different rates or numbers of channels; run the script once for each")
    seconds = options.seconds
    if seconds * config.sample_rate < 2 * max(model.config.chunk_samples for model in models):
        raise SystemExit(f"--seconds is {seconds:g}; excerpts hold at least two chunks of {config.chunk_seconds:.2f} s")

    latents: list[list[Tensor]] = [[] for _ in models]
    excerpt_pieces: list[str] = []

    def encode_all(piece: str, excerpts: Waveform) -> None:
        excerpt_pieces.extend([piece] * len(excerpts))
        for model, parts in zip(models, latents, strict=True):
            parts.append(latents_of(model, torch.from_numpy(excerpts)))

    clips, left_out = listen(options, config, encode_all)
    pieces = [clip.piece for clip in clips]
    if len(set(pieces)) < 3:
        raise SystemExit(f"excerpts of {seconds:g} s in {len(set(pieces))} pieces found; at least 3 pieces are needed")
    others = other_clips(pieces, seed=options.seed)
    references = [logmel_embeddings(clip.waveform, sample_rate=config.sample_rate) for clip in clips]

    measured: dict[str, dict[str, Any]] = {}
    embedded: dict[str, list[NDArray[np.float64]]] = {}
    for name, rebuild in rows(models, clips, others):
        begun = perf_counter()
        measured[name], embedded[name] = measure(
            rebuild, clips, references, config.sample_rate, examples_of(options.audio, name)
        )
        print(f"{name}: {perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    if options.audio is not None:
        for number, clip in enumerate(clips[:EXAMPLES]):
            audio.save(options.audio / f"{number + 1}-original.wav", clip.waveform, config.sample_rate)
    results: dict[str, Any] = {
        "models": {
            label: {"weights_id": model.weights_id, "trained": model.trained, "preset": model.config.name}
            for label, model in labelled(models)
        },
        "seconds": seconds,
        "clips": [{"piece": clip.piece, "start": clip.start} for clip in clips],
        "pieces": len(set(pieces)),
        "other_clip": others.tolist(),
        "left_out": left_out,
        "floor_db": log_spectral.FLOOR,
        "opus_kbps": [opus(clip.waveform, OPUS_KBPS, sample_rate=config.sample_rate)[1] for clip in clips],
        "reconstruction": measured,
        "further": {
            label: {
                control: further(measured[row_name(label, SWAPPED)], measured[row], pieces)
                for control, row in ((OTHER, row_name(label, SWAPPED, OTHER)), (FLOOR, FLOOR))
            }
            for label, _ in labelled(models)
        },
        "si_sdr_beyond_floor": {
            row: further(measured[FLOOR], measured[row], pieces)["rise"]["si_sdr"] for row in measured if row != FLOOR
        },
        "unequal": unequal(options.model),
        "ablation": ablation([label for label, _ in labelled(models)], measured, embedded, references, pieces),
        "latents": {
            label: latent_figures(torch.cat(parts), excerpt_pieces, model.config)
            for (label, model), parts in zip(labelled(models), latents, strict=True)
        },
    }
    write_results(options, facts, results, summary(results))


def read_options() -> argparse.Namespace:
    parser = argument_parser(__doc__, data=True)
    parser.add_argument("--model", nargs="+", default=["m2l2-small"], metavar="M", help="see m2l2_mir.load_model")
    add_options(parser)
    parser.add_argument("--device", default="auto", help="cpu, cuda, auto (default: auto)")
    parser.add_argument("--audio", type=Path, metavar="DIR", help=f"write {EXAMPLES} clips of each row there")
    options = parser.parse_args()
    if options.quick:
        options.clips, options.per_piece, options.seconds = 6, 1, 3
    return options


# What becomes of a clip

OTHER = "from other latents"
FLOOR = "shaped noise (floor)"


def row_name(*parts: str) -> str:
    return ", ".join(parts)


def rows(
    models: Sequence[Music2Latent2], clips: Sequence[Clip], others: NDArray[np.intp]
) -> Iterator[tuple[str, Rebuild]]:
    """Name what is compared, the best that could be hoped for first."""
    config = models[0].config

    def round_trip(number: int) -> Array:
        waveform = torch.from_numpy(clips[number].waveform)
        spectrograms = spectrogram.analyze(spectrogram.blocks(waveform, config), config)
        return torch.cat(list(spectrogram.synthesize(spectrograms, config, waveform.shape[-1])), dim=-1).numpy()

    yield "STFT round trip (ceiling)", round_trip
    yield (
        f"Opus, {OPUS_KBPS} kbit/s",
        lambda number: opus(clips[number].waveform, OPUS_KBPS, sample_rate=config.sample_rate)[0],
    )
    for label, model in labelled(models):
        embeddings = encoded(model, clips)
        for method in METHODS:
            yield row_name(label, method), decoding(model, embeddings, clips, method)
        swapped = [embeddings[other] for other in others]
        yield row_name(label, SWAPPED, OTHER), decoding(model, swapped, clips, SWAPPED)
        if model.trained:
            untrained = random_model(model.config).to(model.device)
            yield (
                row_name(label, SWAPPED, "random weights"),
                decoding(untrained, encoded(untrained, clips), clips, SWAPPED),
            )
    yield (
        FLOOR,
        lambda number: shaped_noise(clips[number].waveform, sample_rate=config.sample_rate, seed=number),
    )


def encoded(model: Music2Latent2, clips: Sequence[Clip]) -> list[Tensor]:
    return [model.encode(clip.waveform, model.config.sample_rate) for clip in clips]


def decoding(model: Music2Latent2, embeddings: Sequence[Tensor], clips: Sequence[Clip], method: Method) -> Rebuild:
    def rebuild(number: int) -> Array:
        length = clips[number].waveform.shape[-1]
        return model.decode(
            embeddings[number], num_samples=length, method=method, sigma_cond=SIGMA_COND, seed=number
        ).numpy()

    return rebuild


# Figures


def measure(
    rebuild: Rebuild,
    clips: Sequence[Clip],
    references: Sequence[NDArray[np.float64]],
    rate: int,
    keep: Callable[[int, Array, int], None],
) -> tuple[dict[str, Any], list[NDArray[np.float64]]]:
    """Rebuild each clip and compare: figures of each, their means with intervals, figures of the set, speed.

    Returns
    -------
    dict
    list of np.ndarray [frames, d]
        Log-mel embeddings of the rebuilt clips.
    """
    of_clip: list[dict[str, float]] = []
    embeddings, speed = [], []
    for number, clip in enumerate(clips):
        begun = perf_counter()
        estimated = rebuild(number)
        speed.append(clip.waveform.shape[-1] / rate / (perf_counter() - begun))
        of_clip.append(clip_figures(clip.waveform, estimated, sample_rate=rate))
        embeddings.append(logmel_embeddings(estimated, sample_rate=rate))
        keep(number, estimated, rate)
    pieces = [clip.piece for clip in clips]
    columns = {name: [figures[name] for figures in of_clip] for name in of_clip[0]}
    return {
        "of_clip": columns,
        "mean": {name: asdict(cluster_bootstrap(values, pieces)) for name, values in columns.items()},
        "logmel": set_figures(references, embeddings, pieces),
        "x_real_time": speed,
    }, embeddings


def examples_of(folder: Path | None, row: str) -> Callable[[int, Array, int], None]:
    """Return what writes the first reconstructions of a row into a folder, if there is one."""
    name = "-".join("".join(letter if letter.isalnum() else " " for letter in row).split())

    def keep(number: int, estimated: Array, rate: int) -> None:
        if folder is not None and number < EXAMPLES:
            folder.mkdir(parents=True, exist_ok=True)
            audio.save(folder / f"{number + 1}-{name}.wav", np.clip(estimated, -1, 1), rate)

    return keep


def further(ours: dict[str, Any], theirs: dict[str, Any], pieces: Sequence[str]) -> dict[str, Any]:
    """How much further away one row is than another, clip by clip, and in what share of the clips."""
    rise = {name: np.subtract(theirs["of_clip"][name], values) for name, values in ours["of_clip"].items()}
    beyond = (rise["log_spectral_distance"] > 0).astype(float)
    return {
        "rise": {name: asdict(cluster_bootstrap(values, pieces)) for name, values in rise.items()},
        "share": asdict(cluster_bootstrap(beyond, pieces, bounds=(0, 1))),
    }


def ablation(
    labels: Sequence[str],
    measured: dict[str, dict[str, Any]],
    embedded: dict[str, list[NDArray[np.float64]]],
    references: Sequence[NDArray[np.float64]],
    pieces: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """How much further away the other models are than the first, method by method; FAD with intervals over pieces."""
    found: dict[str, dict[str, Any]] = {}
    for label in labels[1:]:
        for method in METHODS:
            first, other = row_name(labels[0], method), row_name(label, method)
            sets = (by_piece(one, pieces) for one in (references, embedded[other], embedded[first]))
            found.setdefault(label, {})[method] = {
                **further(measured[first], measured[other], pieces),
                "fad_logmel": fad_difference(*sets),
            }
    return found


def unequal(names: Sequence[str]) -> list[str]:
    """What else the other models differ in from the first, beside their latents."""
    notes = []
    for other in names[1:]:
        try:
            notes += check_models(names[:1], [other])
        except InputError as error:  # latents of another shape
            notes.append(str(error))
    return notes


# What to read


def summary(results: dict[str, Any]) -> str:
    """What NAME.md says."""
    parts = [caption(results), reconstruction_table(results)]
    at_chance = [row for row, one in results["si_sdr_beyond_floor"].items() if not one["low"] > 0]
    if at_chance:
        parts.append(
            "SI-SDR is at chance, not told to be higher than that of the floor, so that differences in it say nothing: "
            f"{'; '.join(at_chance)}."
        )
    parts += ablation_report(results)
    for label, controls in results["further"].items():
        for control, found in controls.items():
            name = f"`{label}` {control}" if control == OTHER else control
            rise = found["rise"]
            parts.append(
                f"Further away than `{row_name(label, SWAPPED)}`, {name}: log-spectral distance by "
                f"{interval(rise['log_spectral_distance'])} dB, with levels aligned by "
                f"{interval(rise['log_spectral_distance_aligned'])} dB, and in {interval(found['share'], 100, 0)} % of "
                f"the excerpts. Goal, beyond the interval: {verdict(rise['log_spectral_distance']['low'] > 0)}."
            )
    for label, found in results["latents"].items():
        parts += latent_report(label, found)
    return "\n\n".join(parts)


def ablation_report(results: dict[str, Any]) -> list[str]:
    """The other models less the first; nothing where there is one model."""
    parts = []
    for label, methods in results["ablation"].items():
        lines = []
        for method, found in methods.items():
            difference = {**found["fad_logmel"], "estimate": found["fad_logmel"]["difference"]}
            rises = [
                interval(found["rise"][name], digits=digits)
                for name, digits in (("log_spectral_distance", 2), ("log_spectral_distance_aligned", 2), ("si_sdr", 1))
            ]
            lines.append([method, *rises, interval(difference, digits=0)])
        first = next(iter(results["models"]))
        parts += [
            f"`{label}` less `{first}`, the same excerpts paired, 95 % intervals over pieces; one training of each, so "
            "that this is of these weights and says nothing certain of the kind of latents:",
            table(["", "log-spectral distance (dB)", "levels aligned (dB)", "SI-SDR (dB)", "fad_logmel"], lines),
        ]
    return [*parts, *(f"{note}." for note in results["unequal"])]


def caption(results: dict[str, Any]) -> str:
    weights = "; ".join(
        f"`{label}`: `{model['weights_id'][:23]}`{'' if model['trained'] else ', untrained'}"
        for label, model in results["models"].items()
    )
    rate = results["opus_kbps"]
    return (
        f"Reconstruction of {len(results['clips'])} excerpts of {results['seconds']:g} s from {results['pieces']} "
        f"held-out pieces (a piece is a file). Weights: {weights}. Means over excerpts, 95 % intervals clustered by "
        f"piece. Log-spectral distance: down to {results['floor_db']:g} dB below the loudest bin of the excerpt; in "
        "brackets with levels aligned. kad_logmel (without bias) and fad_logmel (with that of so many pieces): "
        "distances on log-mel statistics, with a jackknife interval over pieces; FAD extrapolated to endless music "
        "where there are pieces enough. Lower is better but for SI-SDR, which counts phase. "
        f"Two-step: sigma_cond {SIGMA_COND}. Other latents: those of an excerpt of another piece. Opus took "
        f"{statistics.median(rate):.1f} kbit/s (median, Ogg pages included). Speed of decoding in times real time, "
        "median over excerpts."
    )


def reconstruction_table(results: dict[str, Any]) -> str:
    lines = []
    for name, row in results["reconstruction"].items():
        mean = row["mean"]
        aligned = mean["log_spectral_distance_aligned"]["estimate"]
        lines.append(
            [
                name,
                f"{interval(mean['log_spectral_distance'])} ({aligned:.2f})",
                interval(mean["si_sdr"], digits=1),
                *distances(row["logmel"]),
                endless(row["logmel"]),
                f"{statistics.median(row['x_real_time']):.1f}" if name.startswith(tuple(results["models"])) else "",
            ]
        )
    header = [
        "",
        "log-spectral distance (dB)",
        "SI-SDR (dB)",
        "kad_logmel",
        "fad_logmel",
        "FAD, endless",
        "x real time",
    ]
    return table(header, lines)


if __name__ == "__main__":
    main()
