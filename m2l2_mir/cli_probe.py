"""The commands under ``m2l2 probe``."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from m2l2_mir.cli_datasets import DataHomeOption, SizeOption
from m2l2_mir.cli_equivariance import equivariance
from m2l2_mir.cli_excerpt import ExcerptOption, LoudnessOption, read_excerpt
from m2l2_mir.errors import M2L2Error, UntrainedWarning
from m2l2_mir.model import DEFAULT_MODEL

DONE_WITH_FAILURES = 3
MOST_NAMED = 4
QUICK_SEEDS = 2

probe = typer.Typer(
    help="Probes: what can be read from embeddings, beside baselines and with intervals.", no_args_is_help=True
)
probe.command("equivariance")(equivariance)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@probe.command("run")
def run_probes(
    names: Annotated[
        list[str], typer.Argument(help="Names of 'm2l2 probe list', all, or my.toml.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results; a probe in it is not run twice.")],
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help=f"Several in one run; the first is compared. Default: {DEFAULT_MODEL}."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="In place of the probe's own: a name, my.toml, table:FILE or folder:DIR.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column that is predicted; default: the probe's.")] = None,
    splits: Annotated[list[str] | None, typer.Option("--split", help="Splits of the data set, in turn.")] = None,
    readouts: Annotated[
        list[str] | None,
        typer.Option("--readout", help="linear, mlp, knn; -regression after it for pitch and tempo.", metavar="NAME"),
    ] = None,
    stores: Annotated[
        list[Path] | None,
        typer.Option("--store", help="Embeddings of this data set, tracks matched by id, else by file."),
    ] = None,
    embedders: Annotated[list[str] | None, typer.Option("--embedder", help="module:Class, any other embedder.")] = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(
            "--vectors", help="A vector for each track: .parquet with a track_id, or .npy with ids in a .txt."
        ),
    ] = None,
    slots: Annotated[
        list[str] | None,
        typer.Option(
            "--slots",
            help="flatten (default): all side by side, mean; each, leave-one-out: a row a slot, below flatten.",
            metavar="VIEW",
        ),
    ] = None,
    pooling: Annotated[str, typer.Option(metavar="[mean|mean+std]", help="Over time.")] = "mean",
    features: Annotated[
        str, typer.Option(metavar="[bottleneck|pre-bottleneck]", help="As in 'm2l2 embed'.")
    ] = "bottleneck",
    excerpt: ExcerptOption = None,
    loudness: LoudnessOption = None,
    seeds: Annotated[
        int | None, typer.Option(help="Each redraws folds and initialisations. Default: 5, with --quick 2.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Of splits that draw them; default: the split's.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smallest rendered sets and 2 seeds: to try it out.")] = False,
    size: SizeOption = "default",
    data_home: DataHomeOption = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")] = "auto",
    jobs: Annotated[int | None, typer.Option(help="Processes; default: the cores this process may use.")] = None,
    curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also fit on a half, a quarter, ... of the training tracks.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results in --out that were made with other settings.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read labels from embeddings by linear and other read-outs.

    [bold]m2l2 probe run key --model m2l2-small --quick --out probes/[/bold]

    [bold]m2l2 probe run all --model a.safetensors --model b.safetensors --out probes/[/bold]

    [bold]m2l2 probe run genre --dataset table:my.csv --store embeddings/ --out probes/[/bold]

    Beside the model stand its untrained self, shuffled labels, the majority class and hand-made features, all on the
    same folds. Run the same command again to go on after an interruption: embeddings and finished probes are kept.
    In the end the model's read-outs are fitted on all tracks and kept, for 'm2l2 predict'.
    """
    from m2l2_mir.probe.inputs import Extraction
    from m2l2_mir.probe.plan import SEEDS
    from m2l2_mir.probe.recipe import probe_names
    from m2l2_mir.probe.report import write_report
    from m2l2_mir.probe.request import Request, request_probe
    from m2l2_mir.probe.sources import Sources
    from m2l2_mir.probe.space import View

    warnings.simplefilter("ignore", UntrainedWarning)
    named = bool(stores or embedders or vectors)
    request = Request(
        sources=Sources(
            models=models or ([] if named else [DEFAULT_MODEL]),
            stores=stores or [],
            embedders=embedders or [],
            vectors=vectors or [],
        ),
        out=out,
        dataset=dataset,
        label=label,
        splits=splits or (),
        readouts=readouts or (),
        folds=folds,
        seeds=seeds if seeds is not None else QUICK_SEEDS if quick else SEEDS,
        size="quick" if quick else size,
        data_home=data_home,
        extraction=Extraction(
            device=device,
            jobs=jobs,
            features=cast("Any", features),  # checked where it is used
            excerpt=read_excerpt(excerpt),
            loudness=loudness,
        ),
        command=shlex.join(["m2l2", *sys.argv[1:]]),
        overwrite=overwrite,
        say=None if as_json else typer.echo,
    )
    chosen = slots or ["flatten"]
    if {"each", "leave-one-out"} & {*chosen}:  # what a slot is compared with
        chosen = ["flatten", *chosen]
    views = [View(slots=one, pooling=pooling) for one in dict.fromkeys(chosen)]
    wanted = list(dict.fromkeys(one for name in names for one in (probe_names() if name == "all" else [name])))
    told: list[dict[str, Any]] = []
    failures = 0
    for name in wanted:
        try:
            scores, fitted = request_probe(name, request, views=views, curve=curve)
        except M2L2Error as error:
            if len(wanted) == 1:
                raise
            failures += 1
            told.append({"probe": name, "error": str(error)})
            typer.echo(f"{name}: {error}", err=True)
            continue
        if not as_json:
            _tell(scores, fitted, out)
        failures += any(section["left_out"] for section in scores["sections"])
        told.append(
            {
                "probe": name,
                "sentence": scores["sentence"],
                "results": str(out / scores["probe"]),
                "fitted": [str(place) for place in fitted],
            }
        )
    report = str(write_report(out)) if any("sentence" in one for one in told) else None
    if as_json:
        typer.echo(json.dumps({"probes": told, "report": report}))
    elif len(told) > 1:
        typer.echo("\n" + "\n".join(one.get("sentence") or f"{one['probe']}: failed" for one in told))
        typer.echo(f"All beside each other: {out / 'table.md'}")
    if report and not as_json:
        typer.echo(f"Report: {report}")
    if failures:
        raise typer.Exit(DONE_WITH_FAILURES)


@probe.command("list")
def list_probes(as_json: JsonOption = False) -> None:
    """List the probes that there are recipes for."""
    from m2l2_mir.probe.recipe import find_probe, probe_names

    rows: list[dict[str, Any]] = []
    for name in probe_names():
        _, recipe = find_probe(name)
        metric = recipe.task(recipe.readouts[0]).primary
        rows.append(
            {
                "name": name,
                "label": recipe.label,
                "dataset": recipe.dataset,
                "metric": metric,
                "readouts": list(recipe.readouts),
                "about": recipe.about,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(
            f"{row['name']:12} {row['metric']:10} on {row['dataset']:12} read-outs: {', '.join(row['readouts'])}"
        )


@probe.command("report")
def report_again(
    out: Annotated[Path, typer.Argument(help="Results of 'm2l2 probe run'.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Draw the figures and write the report of a run again, from its files alone.

    [bold]m2l2 probe report probes/[/bold]
    """
    from m2l2_mir.probe.report import write_report

    report = str(write_report(out))
    typer.echo(json.dumps({"report": report}) if as_json else f"Report: {report}")


@probe.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(help="Results of 'm2l2 probe run'.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Results on the same tracks, folds and seeds.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Set two runs side by side, by paired differences.

    [bold]m2l2 probe compare probes-before/ probes-after/[/bold]
    """
    from m2l2_mir.probe.results import plain
    from m2l2_mir.probe.side_by_side import compare_runs

    compared = compare_runs(first, second)
    if as_json:
        typer.echo(json.dumps({one.probe: plain(one.table.to_dict("records")) for one in compared}))
        return
    for one in compared:
        typer.echo(f"{one.probe}, split {one.split}, read-out {one.readout}: {one.metric}, second less first")
        typer.echo(one.table.round(3).to_string(index=False, na_rep=""))


@probe.command("check-embedder")
def check(
    reference: Annotated[str, typer.Argument(metavar="MODULE:CLASS", help="As --embedder takes it.")],
    as_json: JsonOption = False,
) -> None:
    """Try an embedder on noise before hours are spent on it: shape, repeatability, memory of earlier clips, speed.

    [bold]m2l2 probe check-embedder my_module:MyEmbedder[/bold]

    'm2l2 probe run --embedder' makes the same check first.
    """
    from m2l2_mir.probe.embedders import embedder_facts, load_embedder

    facts = embedder_facts(load_embedder(reference))
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        typer.echo(
            f"{reference} is sound: row {facts['name']!r}, {facts['width']} numbers a clip at "
            f"{facts['sample_rate']} Hz, {facts['speed']:.0f} x real time"
        )


def _tell(scores: dict[str, Any], fitted: list[Path], out: Path) -> None:
    from m2l2_mir.probe.final_fit import FITTED

    folder = out / str(scores["probe"])
    _show(scores, folder)
    if len(fitted) > MOST_NAMED:
        typer.echo(f"Fitted probes: {len(fitted)} in {folder / FITTED}")
    elif fitted:
        typer.echo("\n".join(f"Fitted probe: {place}" for place in fitted))


def _show(scores: dict[str, Any], folder: Path) -> None:
    """The table of the first section on a terminal, what was found in words, and where the rest is."""
    from rich.console import Console
    from rich.table import Table

    from m2l2_mir.probe.tables import footnotes, section_table

    section = scores["sections"][0]
    text = section_table(scores, section, brief=True)
    table = Table(title=f"{scores['title']}, split {section['split']}, read-out {section['readout']}")
    for column in text:
        table.add_column(str(column), justify="left" if column == "row" else "right", no_wrap=column == "row")
    for line in text.itertuples(index=False):
        table.add_row(*line)
    Console(highlight=False).print(table)
    typer.echo(
        "\n".join(
            [*(f"  {note}" for note in footnotes(scores, section)), f"{scores['sentence']}.", f"Results: {folder}"]
        )
    )
