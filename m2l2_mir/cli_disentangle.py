"""The command ``m2l2 disentangle``."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2l2_mir.cli_datasets import DataHomeOption
from m2l2_mir.errors import InputError, UntrainedWarning
from m2l2_mir.model import DEFAULT_MODEL

if TYPE_CHECKING:
    from m2l2_mir.disentangle.run import Size

SHORT = {"random rotations": "rotated", "permuted labels": "permuted"}  # columns on a terminal


def disentangle(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of results; what is done in it is not done again.")],
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help=f"One is described, two are compared. Default: {DEFAULT_MODEL}."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Second arm of several pairs, in the order of --model (seeds of one recipe)."),
    ] = None,
    stores: Annotated[
        list[Path] | None, typer.Option("--store", help="Your own embeddings, with --labels; two are compared.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV, TSV or Parquet: track_id or path, group (what belongs together; else artist), and a column for "
            "each factor."
        ),
    ] = None,
    factors: Annotated[
        list[str] | None,
        typer.Option(
            "--factor",
            help="Column of --labels: NAME, or with its kind NAME:classes, NAME:continuous, NAME:cyclic:PERIOD.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small set and few draws of the nulls: to try it.")] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="More draws, --swaps, and the metrics of single dimensions (half an hour a model)."
        ),
    ] = False,
    swaps: Annotated[
        bool, typer.Option("--swaps", help="Give a slot of one clip to another, decode, and hear what moves along.")
    ] = False,
    data_home: DataHomeOption = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")] = "auto",
    jobs: Annotated[int | None, typer.Option(help="Threads and processes; default: the cores there are.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Ask what each summary embedding (slot) means: which factors of the music it tells, and which move it.

    [bold]m2l2 disentangle --model m2l2-small --quick --out slots/[/bold]

    [bold]m2l2 disentangle --model summary.safetensors --model ordered.safetensors --out slots/[/bold] compares two.

    [bold]m2l2 disentangle -m a1.safetensors -m a2.safetensors --against b1.safetensors --against b2.safetensors
    --out slots/[/bold] compares pairs of seeds; a claim about the mechanism needs 8 of them.

    [bold]m2l2 disentangle --store embeddings/ --labels my.csv --out slots/[/bold] takes your own embeddings and labels
    (all columns; --factor genre --factor bpm:continuous takes two of them, and bpm as a number).

    Rendered music whose factors (instrument, tempo, chord, ...) vary independently is embedded. Slot scores (P1): what
    a probe reads from one slot alone. Counterfactual scores (P2): how far a slot moves when one factor changes. D is 1
    where a slot tells of one factor only, C where one slot tells all of a factor; every score stands beside random
    rotations of the same code and permuted labels. The report says slot by slot what it tells beyond those, and whether
    a factor is still read in combinations that were kept out of training. Run the same command again to go on after an
    interruption.
    """
    from m2l2_mir.disentangle.run import analyse_models, analyse_stores
    from m2l2_mir.progress import CountProgress, EmbedProgress

    if quick and full:
        raise InputError("--quick and --full exclude each other; give one of them")
    if (labels is None) != (not stores):
        raise InputError("--store and --labels belong together; give both, or neither to use rendered music")
    if stores and (models or against):
        raise InputError("--store takes embeddings that are there; leave out --model and --against")
    if stores and swaps:
        raise InputError("--swaps needs a model that decodes; leave it out with --store")
    if factors and labels is None:
        raise InputError("--factor names columns of --labels; leave it out with rendered music")
    warnings.simplefilter("ignore", UntrainedWarning)
    size: Size = "quick" if quick else "full" if full else "default"

    def observe(name: str) -> AbstractContextManager[Any]:
        if not as_json:
            typer.echo(f"embeddings of {name}")
        return EmbedProgress(quiet=as_json)

    def count(title: str) -> AbstractContextManager[Any]:
        return CountProgress(title, quiet=as_json)

    command = shlex.join(["m2l2", *sys.argv[1:]])
    if stores and labels is not None:
        found = analyse_stores(stores, labels, out, factors=factors or (), size=size, command=command, count=count)
    else:
        from m2l2_mir.embedding.pipeline import keep_freed_memory

        keep_freed_memory()
        found = analyse_models(
            models or [DEFAULT_MODEL],
            out,
            against=against or [],
            size=size,
            swaps=swaps,
            device=device,
            jobs=jobs,
            data_home=data_home,
            command=command,
            observe=observe,
            count=count,
        )
    report = str((out / "report.html").resolve())
    if as_json:
        told = {key: found[key] for key in ("decision", "sentence", "counts")}
        told["swaps"] = {name: one["control"] for name, one in found["swaps"].items()}
        typer.echo(json.dumps({**told, "report": report}))
        return
    _show(found)
    sentences = [found["sentence"], *(one["sentence"] for one in found["swaps"].values())]
    typer.echo("".join(f"{sentence}.\n" for sentence in sentences) + f"Report: {report}")


def _show(found: dict[str, Any]) -> None:
    """The scores of the primary stratum, and the comparison where there is one, on a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from m2l2_mir.disentangle.results import comparison_table, score_table, strata_of

    stratum = strata_of(found)[0]
    tables = [(f"Scores, stratum {stratum}", score_table(found, stratum, brief=True))]
    if found["comparison"]:
        tables.append(("First less second", comparison_table(found, brief=True)))
    for title, text in tables:
        table = Table(title=title, box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        for column in text:
            named = column in ("row", "score")
            table.add_column(
                SHORT.get(str(column), str(column)),
                justify="left" if named else "right",
                overflow="fold",
                no_wrap=column not in ("row", "normalised"),
                min_width=12 if column == "row" else None,
            )
        for line in text.itertuples(index=False):
            table.add_row(*line)
        Console(highlight=False).print(table)
