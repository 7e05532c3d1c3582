"""The command ``m2l2 reconstruct``."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from m2l2_mir.cli_excerpt import ExcerptOption, read_excerpt
from m2l2_mir.errors import InputError, UntrainedWarning
from m2l2_mir.model import DEFAULT_MODEL

if TYPE_CHECKING:
    from m2l2_mir.model.autoencoder import Music2Latent2
    from m2l2_mir.reconstruct.outcome import Outcome
    from m2l2_mir.reconstruct.plan import Job

DONE_WITH_FAILURES = 3
MOST_SHOWN = 40


def reconstruct(
    paths: Annotated[list[str], typer.Argument(metavar="AUDIO", help="Files and folders.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A file such as out.wav or .flac; for several, a folder of .wav.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A name of 'm2l2 models list', a checkpoint or random:PRESET.")
    ] = DEFAULT_MODEL,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="[two-step|single-step|parallel]",
            help="two-step (default): each chunk is generated after the one before it and refined once, as the next is "
            "generated; single-step: not refined; parallel: all chunks at once. Repeat it to compare, with a folder as "
            "--out.",
        ),
    ] = None,
    sigma_cond: Annotated[
        float | None,
        typer.Option(help="Noise on the chunk before, for two-step and single-step; 0: none. Default: 0.4."),
    ] = None,
    position_cond: Annotated[
        float | None, typer.Option(help="Instead of it, its position on the noise schedule, 0 to 1.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; default: 1, of parallel 5.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise; the same seed gives the same audio.", min=0)] = 0,
    rate: Annotated[int | None, typer.Option(help="To write, in Hz; default: that of each file.", min=1)] = None,
    raw_level: Annotated[
        bool, typer.Option("--raw-level", help="The decoder's own level; otherwise the file's loudness is kept.")
    ] = False,
    excerpt: ExcerptOption = None,
    metrics: Annotated[
        Path | None, typer.Option(help="Write the metrics of each file there, as .json or .csv.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Encode music and decode it again, and say how near it comes.

    [bold]m2l2 reconstruct song.mp3 --out song-again.wav[/bold]

    [bold]m2l2 reconstruct MUSIC/ --out again/ --method two-step --method parallel --metrics again/metrics.csv[/bold]

    Prints SI-SDR (phase counts; higher is better), log-spectral distance (lower is better; also with equal levels),
    ViSQOL where visqol-python is installed (1 to 4.7, of up to 30 s) and, over several files or pieces of 10 s, the
    distances kad_logmel and, given some minutes of music, fad_logmel. All compare what the decoder gave, at its own
    level; what is written has the duration and the loudness of its file, and the channels of the model. Files that
    cannot be used are listed with the reason, and the rest goes on (exit code 3).
    """
    from m2l2_mir.model.checkpoint import load_model
    from m2l2_mir.model.decoding import Method
    from m2l2_mir.reconstruct.outcome import write_metrics
    from m2l2_mir.reconstruct.plan import plan
    from m2l2_mir.reconstruct.run import run
    from m2l2_mir.reconstruct.settings import SIGMA_COND, Decoding, default_method

    warnings.simplefilter("ignore", UntrainedWarning)  # said below
    wanted = list(dict.fromkeys(methods or ()))
    if unknown := [one for one in wanted if one not in get_args(Method)]:
        raise InputError(f"--method is {unknown[0]!r}; it must be one of {', '.join(get_args(Method))}")
    if metrics is not None and metrics.suffix not in (".json", ".csv"):
        raise InputError(f"--metrics is {metrics}; its name must end in .json or .csv")
    if sigma_cond is not None and position_cond is not None:
        raise InputError("--sigma-cond and --position-cond name one noise in two ways; give one of them")
    part = read_excerpt(excerpt)
    planned = plan(paths, out, wanted, sample_rate=rate, metrics=metrics)
    network = load_model(model, device=device)
    used = wanted or [default_method(network)]
    if used == ["parallel"] and not (sigma_cond is None and position_cond is None):
        raise InputError(
            "--sigma-cond and --position-cond have no part in decoding in parallel; leave them out, or add a --method"
        )
    decodings = [
        Decoding(
            method=cast("Method", method),
            sigma_cond=SIGMA_COND if sigma_cond is None else sigma_cond,
            position_cond=position_cond,
            steps=steps,
            seed=seed,
        )
        for method in used
    ]
    if not network.trained and not as_json:
        typer.echo(f"{network.weights_id}: the weights are untrained (random), so this will be noise.", err=True)
    found = run(
        network,
        planned,
        decodings,
        excerpt=part,
        sample_rate=rate,
        raw_level=raw_level,
        quiet=as_json,
        say=None if as_json else _say,
    )
    if metrics is not None:
        write_metrics(metrics, found, network)
    if as_json:
        typer.echo(json.dumps(found.record(network)))
    else:
        _summarise(found, network, metrics)
    if found.failures:
        raise typer.Exit(DONE_WITH_FAILURES)


def _say(job: Job, row: dict[str, Any]) -> None:
    """One line about one reconstruction."""
    if math.isnan(row["si_sdr"]) and math.isnan(row["log_spectral_distance"]):
        figures = ["no figures"]
    else:
        figures = [
            f"SI-SDR {row['si_sdr']:.1f} dB",
            f"log-spectral distance {row['log_spectral_distance']:.1f} dB "
            f"({row['log_spectral_distance_aligned']:.1f} with equal levels)",
        ]
    if not math.isnan(row.get("visqol", math.nan)):
        figures.append(f"ViSQOL {row['visqol']:.2f}")
    speed = f"encoded {row['encode_x_real_time']:.1f} x, decoded {row['decode_x_real_time']:.1f} x real time"
    typer.echo(f"{_printable(job.name)} -> {row['out']} ({row['method']}): {', '.join(figures)}; {speed}")
    if row["note"]:
        typer.echo(f"  {row['note']}", err=True)


def _summarise(found: Outcome, model: Music2Latent2, metrics: Path | None) -> None:
    for name, reason in found.failures[:MOST_SHOWN]:
        typer.echo(f"  failed: {_printable(name)}: {reason}", err=True)
    if len(found.failures) > MOST_SHOWN:
        typer.echo(f"  ... and {len(found.failures) - MOST_SHOWN} more", err=True)
    typer.echo("\n".join(found.sentences()))
    if metrics is not None:
        typer.echo(f"Metrics: {metrics}")
    if not model.trained:
        typer.echo("The weights are untrained (random): good for trying the pipeline, not for conclusions about music.")


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)
