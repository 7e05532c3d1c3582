"""The command ``m2l2 probe equivariance``: does an estimate follow when the music is transposed or played faster?"""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from m2l2_mir.cli_datasets import DataHomeOption, SizeOption
from m2l2_mir.errors import InputError, M2L2Error, UntrainedWarning
from m2l2_mir.model import DEFAULT_MODEL

if TYPE_CHECKING:
    from m2l2_mir.probe.alteration import Means

DONE_WITH_FAILURES = 3
QUICK_SEEDS, QUICK_TRACKS = 2, 12


def equivariance(
    names: Annotated[list[str], typer.Argument(help="key, pitch, tempo, all of them, or my.toml.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results, that of 'm2l2 probe run' or new.")],
    models: Annotated[
        list[str] | None, typer.Option("--model", "-m", help=f"Several in one run. Default: {DEFAULT_MODEL}.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="In place of the probe's own, as in 'm2l2 probe run'.")] = None,
    embedders: Annotated[list[str] | None, typer.Option("--embedder", help="module:Class, any other embedder.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Default: both for rendered sets.", metavar="[rendering|vocoder]"),
    ] = None,
    tracks: Annotated[int | None, typer.Option(help="Held-out tracks that are altered. Default: 100.")] = None,
    split: Annotated[str | None, typer.Option(help="Default: the probe's first.", metavar="NAME")] = None,
    readout: Annotated[str | None, typer.Option(help="Default: the probe's first.", metavar="NAME")] = None,
    pooling: Annotated[str, typer.Option(metavar="[mean|mean+std]", help="Over time.")] = "mean",
    features: Annotated[
        str, typer.Option(metavar="[bottleneck|pre-bottleneck]", help="As in 'm2l2 embed'.")
    ] = "bottleneck",
    seeds: Annotated[int | None, typer.Option(help="As in 'm2l2 probe run'. Default: 5, with --quick 2.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smallest sets, 12 tracks, every third change.")] = False,
    size: SizeOption = "default",
    data_home: DataHomeOption = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")] = "auto",
    jobs: Annotated[int | None, typer.Option(help="Processes; default: the cores this process may use.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a study in --out that was made with other settings.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Transpose or stretch held-out tracks and see whether the estimates follow.

    [bold]m2l2 probe equivariance key --model m2l2-small --quick --out probes/[/bold]

    [bold]m2l2 probe equivariance tempo --dataset table:my.csv --out probes/[/bold]

    Keys and pitches are transposed by 1 to 6 semitones up and down (pitches that lie further apart, by the step
    between them), tempi stretched by factors from 0.8 to 1.25. A rendered set is rendered again (nothing but the notes
    changes) and, as recordings are, altered by a phase vocoder.
    """
    from m2l2_mir.probe.alteration import MEANS
    from m2l2_mir.probe.altered_tracks import TRACKS
    from m2l2_mir.probe.following import ALTERATIONS
    from m2l2_mir.probe.inputs import Extraction
    from m2l2_mir.probe.plan import SEEDS
    from m2l2_mir.probe.report import write_report
    from m2l2_mir.probe.request import Request, request_equivariance
    from m2l2_mir.probe.sources import Sources
    from m2l2_mir.probe.space import View

    warnings.simplefilter("ignore", UntrainedWarning)
    if unknown := [one for one in by or () if one not in MEANS]:
        raise InputError(f"--by is {unknown[0]!r}; it must be one of {', '.join(MEANS)}")
    if (count := tracks if tracks is not None else QUICK_TRACKS if quick else TRACKS) < 2:
        raise InputError(f"--tracks is {count}; give at least 2, and 50 or more for intervals that tell something")
    request = Request(
        sources=Sources(models=models or ([] if embedders else [DEFAULT_MODEL]), embedders=embedders or []),
        out=out,
        dataset=dataset,
        splits=[split] if split else (),
        readouts=[readout] if readout else (),
        seeds=seeds if seeds is not None else QUICK_SEEDS if quick else SEEDS,
        size="quick" if quick else size,
        data_home=data_home,
        # Features and pooling are checked where they are used.
        extraction=Extraction(device=device, jobs=jobs, features=cast("Any", features)),
        command=shlex.join(["m2l2", *sys.argv[1:]]),
        overwrite=overwrite,
        say=None if as_json else typer.echo,
    )
    view = View(pooling=pooling)
    wanted = list(dict.fromkeys(one for name in names for one in (ALTERATIONS if name == "all" else [name])))
    told: list[dict[str, Any]] = []
    for name in wanted:
        try:
            study, path = request_equivariance(
                name,
                request,
                means=cast("list[Means]", by or []),
                tracks=count,
                every=3 if quick else 1,
                view=view,
            )
        except M2L2Error as error:
            if len(wanted) == 1:
                raise
            told.append({"probe": name, "error": str(error)})
            typer.echo(f"{name}: {error}", err=True)
            continue
        told.append({"probe": study.probe, "sentence": study.sentence, "results": str(path)})
        if not as_json:
            typer.echo(f"{study.sentence}.\nResults: {path}")
    report = str(write_report(out)) if any("sentence" in one for one in told) else None
    if as_json:
        typer.echo(json.dumps({"probes": told, "report": report}))
    elif report:
        typer.echo(f"Report: {report}")
    if any("error" in one for one in told):
        raise typer.Exit(DONE_WITH_FAILURES)
