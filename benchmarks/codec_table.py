"""How codecs of music give it back, in the columns of the paper: rate, SI-SDR, ViSQOL, FAD_clap, FAD.

Held-out excerpts through our checkpoints (and codicodec or music2latent, whose weights --model takes as well), EnCodec
and DAC where a folder of their weights is given, Opus at 8, 16 and 32 kbit/s, the STFT round trip and noise with the
spectrum and level of the excerpt. ViSQOL where visqol-python is installed; KAD and FAD on VGGish and CLAP where weights
are given, on log-mel statistics always. Means over excerpts with 95 % intervals clustered by piece. Published numbers
stand apart: other music, other pipelines, not comparable.

All rows are compared at the rate and in the channels of the first --model. What codes at another rate hears the clips
resampled; what codes stereo gets a mono clip in both channels, at the rate of stereo, and their mean is compared; what
codes mono takes the channels of stereo one by one, at twice its rate.

    m2l2 corpus fetch free-music --out music --only test
    python benchmarks/codec_table.py --data music --model model.safetensors --model codicodec --model music2latent
    python benchmarks/codec_table.py --data music --codec dac=dac_44khz/ --embedder vggish=vggish.pth
    python benchmarks/codec_table.py --data music --model random:m2l2-tiny --quick
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import numpy as np
from _common import argument_parser, interval, machine, table, write_results
from _compared import FOLDERS, Codec, labelled, latent, opus_at, round_trip
from _distances import distances
from _held_out import Clip, add_options, listen
from numpy.typing import NDArray

from m2l2_mir.errors import CheckpointError, M2L2Error
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.decoding import Method
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.quality.baseline import shaped_noise
from m2l2_mir.quality.embedders import EMBEDDERS, Embed, read_embedder
from m2l2_mir.quality.reconstruction import clip_figures, set_figures
from m2l2_mir.quality.visqol import INSTALL, has_visqol, visqol
from m2l2_mir.reconstruct.settings import default_method

OPUS_KBPS = (8, 16, 32)
PARALLEL: Method = "parallel"
OFFICIAL = ("codicodec", "music2latent")
COLUMNS = {  # embedder: names of KAD and FAD on it
    "clap": ("KAD_clap", "FAD_clap"),
    "vggish": ("KAD (VGGish)", "FAD (VGGish)"),
    "torchcrepe": ("kad_torchcrepe", "fad_torchcrepe"),
    "logmel": ("kad_logmel", "fad_logmel"),
}
PUBLISHED = [
    # On MusicCaps, as the authors of CoDiCodec report them (arXiv 2509.09836).
    ("Music2Latent2, stereo", "128x", "-2.29", "3.91", "0.023", "0.717"),
    ("Music2Latent, mono", "64x", "-3.85", "3.84", "0.036", "1.176"),
    ("CoDiCodec, autoregressive", "128x", "-0.28", "3.95", "0.0120", "0.390"),
    ("CoDiCodec, parallel, 4 steps", "128x", "-0.01", "3.95", "0.0112", "0.344"),
    ("Stable Audio VAE", "64x", "6.04", "4.08", "0.107", "1.017"),
    ("Musika", "64x", "-25.8", "3.80", "0.103", "2.31"),
    ("LatMusic", "64x", "-27.3", "3.95", "0.050", "1.63"),
    ("Mousai v2", "64x", "-21.4", "2.36", "0.731", "4.69"),
    ("Mousai v3", "32x", "-17.5", "2.28", "0.647", "4.47"),
    ("DAC", "8 kbit/s", "9.48", "4.21", "0.041", "0.966"),
    ("DAC", "2.67 kbit/s", "2.80", "3.87", "0.174", "3.791"),
]


def main() -> None:
    options = read_options()
    facts = machine()
    missing: list[str] = []
    models = []
    for name in options.model:
        try:
            models.append(load_model(name, device=options.device))
        except CheckpointError as error:
            print(error, file=sys.stderr)
            missing.append(f"{Path(name).name}: its weights could not be loaded")
    if not models:
        raise SystemExit(f"no model could be loaded: {'; '.join(missing)}")
    config = models[0].config
    embedders = dict(read_embedder(text, device=str(models[0].device)) for text in options.embedder)
    clips, left_out = listen(options, config, lambda name, excerpts: None)
    if len({clip.piece for clip in clips}) < 3:
        raise SystemExit(f"excerpts of {options.seconds:g} s in fewer than 3 pieces; at least 3 are needed")
    rate, with_visqol = config.sample_rate, has_visqol() and not options.no_visqol
    references = {name: [embed(clip.waveform, sample_rate=rate) for clip in clips] for name, embed in embedders.items()}
    rows: dict[str, dict[str, Any]] = {}
    if not with_visqol:
        missing.append(f"ViSQOL: {INSTALL}")
    for codec in codecs(options, models, missing):
        begun = perf_counter()
        rows[codec.name] = measure(codec, clips, rate, references, embedders, with_visqol)
        print(f"{codec.name}: {perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    missing += not_asked_for(models, options.codec, embedders)
    results = {
        "models": {label: {"weights_id": m.weights_id, "trained": m.trained} for label, m in labelled(models)},
        "sample_rate": rate,
        "channels": config.channels,
        "seconds": options.seconds,
        "clips": [{"piece": clip.piece, "start": clip.start} for clip in clips],
        "pieces": len({clip.piece for clip in clips}),
        "left_out": left_out,
        "missing": missing,
        "rows": rows,
        "published": [list(row) for row in PUBLISHED],
    }
    write_results(options, facts, results, summary(results))


def read_options() -> argparse.Namespace:
    parser = argument_parser(__doc__, data=True)
    parser.add_argument("--model", action="append", metavar="M", help="see m2l2_mir.load_model; repeatable")
    parser.add_argument(
        "--codec", action="append", default=[], metavar="NAME=FOLDER", help=f"{' or '.join(FOLDERS)}; repeatable"
    )
    parser.add_argument(
        "--embedder", action="append", metavar="NAME[=WEIGHTS]", help="of m2l2_mir.quality.embedders; repeatable"
    )
    parser.add_argument(
        "--no-visqol", action="store_true", help="leave ViSQOL out: it takes as long as the music lasts"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, auto (default: auto)")
    add_options(parser)
    options = parser.parse_args()
    options.model = options.model or ["m2l2-small"]
    options.embedder = list(dict.fromkeys(["logmel", *(options.embedder or [])]))
    if unknown := [text for text in options.codec if text.partition("=")[0] not in FOLDERS or "=" not in text]:
        parser.error(f"--codec {unknown[0]}: give {' or '.join(f'{name}=FOLDER' for name in FOLDERS)}")
    if options.quick:
        options.clips, options.per_piece, options.seconds = 6, 1, 3
    return options


def codecs(options: argparse.Namespace, models: Sequence[Music2Latent2], missing: list[str]) -> Iterator[Codec]:
    """Give what is compared, the ceiling first; what cannot be had goes to `missing` with the reason."""
    config = models[0].config
    yield round_trip(config)
    for kbps in OPUS_KBPS:
        if kbps / config.channels < 6:
            missing.append(f"Opus at {kbps} kbit/s: it takes at least 6 a channel")
        else:
            yield opus_at(kbps, config.sample_rate)
    for text in options.codec:
        name, _, folder = text.partition("=")
        try:
            yield from FOLDERS[name](Path(folder), config.sample_rate, config.channels, str(models[0].device))
        except M2L2Error as error:
            missing.append(f"{name}: {str(error).replace(folder, 'its folder')}")
    for label, model in labelled(models):
        for method in [PARALLEL] if default_method(model) == PARALLEL else get_args(Method):
            yield latent(model, label, method, sample_rate=config.sample_rate, channels=config.channels)
    yield Codec(
        name="noise with its spectrum and level (floor)",
        rate="-",
        rebuild=lambda clip, number: (shaped_noise(clip, sample_rate=config.sample_rate, seed=number), None),
    )


def not_asked_for(models: Sequence[Music2Latent2], codecs: Sequence[str], embedders: Container[str]) -> list[str]:
    """What belongs into the table and was not asked for, and how to ask for it."""
    given = {model.config.name for model in models}
    named = {text.partition("=")[0] for text in codecs}
    return [
        *(f"{name}: not asked for; --model {name}" for name in OFFICIAL if name not in given),
        *(f"{name}: no weights were given; --codec {name}=FOLDER" for name in FOLDERS if name not in named),
        *(
            f"{' and '.join(columns)}: not asked for; --embedder {name}"
            + "=WEIGHTS" * (EMBEDDERS[name].needs == "weights")
            for name, columns in COLUMNS.items()
            if name not in embedders
        ),
    ]


def measure(
    codec: Codec,
    clips: Sequence[Clip],
    rate: int,
    references: dict[str, list[NDArray[np.float64]]],
    embedders: dict[str, Embed],
    with_visqol: bool,
) -> dict[str, Any]:
    """Take all clips through a codec: figures of each, means with intervals, distances, rate, speed."""
    of_clip: list[dict[str, float]] = []
    embeddings: dict[str, list[NDArray[np.float64]]] = {name: [] for name in embedders}
    speed, taken = [], []
    for number, clip in enumerate(clips):
        begun = perf_counter()
        estimated, kbps = codec.rebuild(clip.waveform, number)
        speed.append(clip.waveform.shape[-1] / rate / (perf_counter() - begun))
        taken.append(kbps)
        figures = clip_figures(clip.waveform, estimated, sample_rate=rate)
        if with_visqol:
            figures["visqol"] = float(np.asarray(visqol(clip.waveform, estimated, sample_rate=rate)))
        of_clip.append(figures)
        for name, embed in embedders.items():
            embeddings[name].append(embed(estimated, sample_rate=rate))
    pieces = [clip.piece for clip in clips]
    columns = {name: [figures[name] for figures in of_clip] for name in of_clip[0]}
    bits = [one for one in taken if one is not None]
    return {
        "rate": codec.rate.format(kbps=statistics.median(bits) if bits else math.nan),
        "of_clip": columns,
        "mean": {name: asdict(cluster_bootstrap(values, pieces)) for name, values in columns.items()},
        "sets": {name: set_figures(references[name], found, pieces) for name, found in embeddings.items()},
        "x_real_time": speed,
    }


# What to read


def summary(results: dict[str, Any]) -> str:
    """What NAME.md says."""
    weights = "; ".join(
        f"`{label}`: `{model['weights_id'][:23]}`{'' if model['trained'] else ', untrained'}"
        for label, model in results["models"].items()
    )
    sound = "mono" if results["channels"] == 1 else f"{results['channels']} channels"
    parts = [
        f"{len(results['clips'])} excerpts of {results['seconds']:g} s from {results['pieces']} held-out pieces, at "
        f"{results['sample_rate'] / 1000:g} kHz, {sound}. Weights: {weights}. Means over excerpts with 95 % intervals "
        "clustered by piece; KAD and FAD with a jackknife interval over pieces, lower is better: KAD without bias, "
        f"FAD with that of {results['pieces']} pieces. Rate: kbit/s as counted in the files that were written or as "
        "the codec states it (nominal), or numbers of the code a second, and samples of the clip for each (64x). What "
        "codes stereo gets mono in both channels, at its full rate. Speed of coding and decoding in times real time."
    ]
    parts.append(measured_table(results))
    if results["missing"]:
        parts.append("\n".join(["Not measured:", "", *(f"* {line}" for line in results["missing"])]))
    parts.append(
        "**Published, on MusicCaps (arXiv 2509.09836): other music and another pipeline, not comparable with the rows "
        "above.** FAD_clap depends on the embedder's weights and on how the audio is prepared."
    )
    parts.append(table(["published", "rate", "SI-SDR (dB)", "ViSQOL", "FAD_clap", "FAD"], results["published"]))
    return "\n\n".join(parts)


def measured_table(results: dict[str, Any]) -> str:
    first = next(iter(results["rows"].values()))
    embedders = [name for name in COLUMNS if name in first["sets"]]
    with_visqol = "visqol" in first["mean"]
    lines = [
        [
            name,
            row["rate"],
            interval(row["mean"]["si_sdr"], digits=1),
            *([interval(row["mean"]["visqol"])] if with_visqol else []),
            *(cell for embedder in embedders for cell in distances(row["sets"][embedder])),
            interval(row["mean"]["log_spectral_distance"]),
            f"{statistics.median(row['x_real_time']):.1f}",
        ]
        for name, row in results["rows"].items()
    ]
    shown = [*(["ViSQOL"] if with_visqol else []), *(column for name in embedders for column in COLUMNS[name])]
    return table(["", "rate", "SI-SDR (dB)", *shown, "log-spectral distance (dB)", "x real time"], lines)


if __name__ == "__main__":
    main()
