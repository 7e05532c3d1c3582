"""The command ``m2l2 probe equivariance``: does an estimate follow when the music is transposed or played faster?"""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from m2l2_mir.cli_datasets import DataHomeOption, SizeOption
from m2l2_mir.errors import InputError, M2L2Error, UntrainedWarning
from m2l2_mir.model import DEFAULT_MODEL

if TYPE_CHECKING:
    from m2l2_mir.probe.alteration import Means
    from m2l2_mir.probe.sources import Sources
    from m2l2_mir.probe.studies import Study

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
    readout: Annotated[str | None, typer.Option(help="Default: the probe's first.", metavar="NAME")] = None,
    seeds: Annotated[int | None, typer.Option(help="As in 'm2l2 probe run'. Default: 5, with --quick 2.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smallest sets, 12 tracks, every third change.")] = False,
    size: SizeOption = "default",
    data_home: DataHomeOption = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")] = "auto",
    jobs: Annotated[int | None, typer.Option(help="Processes; default: the cores this process may use.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Transpose or stretch held-out tracks and see whether the estimates follow.

    [bold]m2l2 probe equivariance key --model random:m2l2-small --quick --out probes/[/bold]

    [bold]m2l2 probe equivariance tempo --dataset table:my.csv --out probes/[/bold]

    Keys and pitches are transposed by 1 to 6 semitones up and down, tempi stretched by factors from 0.8 to 1.25. A
    rendered set is rendered again (nothing but the notes changes) and, as recordings are, altered by a phase vocoder.
    """
    from m2l2_mir.probe.alteration import MEANS
    from m2l2_mir.probe.equivariance import TRACKS
    from m2l2_mir.probe.following import ALTERATIONS
    from m2l2_mir.probe.report import write_report
    from m2l2_mir.probe.sources import Sources
    from m2l2_mir.probe.studies import write_study

    warnings.simplefilter("ignore", UntrainedWarning)
    if unknown := [one for one in by or () if one not in MEANS]:
        raise InputError(f"--by is {unknown[0]!r}; it must be one of {', '.join(MEANS)}")
    if (count := tracks if tracks is not None else QUICK_TRACKS if quick else TRACKS) < 2:
        raise InputError(f"--tracks is {count}; give at least 2, and 50 or more for intervals that tell something")
    sources = Sources(models=models or ([] if embedders else [DEFAULT_MODEL]), embedders=embedders or [])
    wanted = list(dict.fromkeys(one for name in names for one in (ALTERATIONS if name == "all" else [name])))
    command = shlex.join(["m2l2", *sys.argv[1:]])
    told: list[dict[str, Any]] = []
    for name in wanted:
        try:
            study = _measure(
                name,
                sources,
                means=cast("list[Means]", by or []),
                tracks=count,
                dataset=dataset,
                readout=readout,
                seeds=seeds if seeds is not None else QUICK_SEEDS if quick else None,
                every=3 if quick else 1,
                size="quick" if quick else size,
                data_home=data_home,
                device=device,
                jobs=jobs,
                quiet=as_json,
            )
        except M2L2Error as error:
            if len(wanted) == 1:
                raise
            told.append({"probe": name, "error": str(error)})
            typer.echo(f"{name}: {error}", err=True)
            continue
        path = write_study(out, study, command=command)
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


def _measure(name: str, sources: Sources, *, means: list[Means], tracks: int, **settings: Any) -> Study:
    """Plan, alter, embed and fit one probe."""
    from m2l2_mir.dataset.dataset import load_dataset
    from m2l2_mir.embedding.pipeline import keep_freed_memory
    from m2l2_mir.probe.altered_rows import gather_altered
    from m2l2_mir.probe.equivariance import equivariance
    from m2l2_mir.probe.following import ALTERATIONS
    from m2l2_mir.probe.inputs import Extraction
    from m2l2_mir.probe.plan import SEEDS, plan_probe
    from m2l2_mir.probe.recipe import find_probe
    from m2l2_mir.progress import CountProgress, EmbedProgress

    quiet = settings["quiet"]
    name, recipe = find_probe(name)
    if recipe.metrics not in ALTERATIONS:
        raise InputError(f"no change moves labels of {recipe.metrics}; name a probe of {', '.join(ALTERATIONS)}")
    with CountProgress("reading scores", quiet=quiet) as progress:
        data = load_dataset(
            settings["dataset"] or recipe.dataset,
            data_home=settings["data_home"],
            size=settings["size"],
            progress=progress,
        )
    plan = plan_probe(
        name,
        recipe,
        data,
        splits=recipe.splits_of(data)[:1],
        readouts=[settings["readout"] or recipe.readouts[0]],
        seeds=SEEDS if settings["seeds"] is None else settings["seeds"],
    )

    def observe(row: str) -> AbstractContextManager[Any]:
        if not quiet:
            typer.echo(f"  embeddings of {row}")
        return EmbedProgress(quiet=quiet)

    keep_freed_memory()
    extraction = Extraction(device=settings["device"], jobs=settings["jobs"], observe=observe)
    alterations = ALTERATIONS[recipe.metrics][:: settings["every"]]
    rows, altered, positions = gather_altered(
        plan,
        sources,
        alterations,
        means=means,
        tracks=tracks,
        extraction=extraction,
        count=lambda title: CountProgress(title, quiet=quiet),
    )
    with CountProgress("fitting", quiet=quiet) as progress:
        return equivariance(plan, rows, altered, positions, alterations, jobs=settings["jobs"], progress=progress)
