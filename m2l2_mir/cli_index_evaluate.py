"""The commands ``m2l2 index evaluate`` and ``m2l2 index export``."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from m2l2_mir.cli_index import IndexArgument, JsonOption, index
from m2l2_mir.errors import InputError

DONE_WITH_FAILURES = 3


@index.command("evaluate")
def evaluate(
    path: IndexArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of scores, tables and report.")],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            "-l",
            metavar="COLUMN[:RELATION]",
            help="What makes a neighbour right: same (default), key, tempo or tempo-octaves. Several. Default: genre, "
            "artist, album, key, tempo ... where there are such columns.",
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--labels", help="CSV, TSV or Parquet: track_id or path, and more columns.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column of the artist filter. Default: artist if there is one; none: no filter.")
    ] = None,
    baselines: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            help="Hand-made features of the audio: log-mel (default), mfcc, chroma, tempogram, ..., none.",
            metavar="NAME",
        ),
    ] = None,
    stores: Annotated[
        list[Path] | None,
        typer.Option("--store", help="Other embeddings of the tracks, such as an untrained encoder's."),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Neighbours that are looked at.")] = 10,
    queries: Annotated[int, typer.Option(help="At most as many tracks are queries.")] = 5000,
    plane: Annotated[str, typer.Option("--map", metavar="[auto|pca|tsne]", help="How tracks are placed.")] = "auto",
    audio_mb: Annotated[float, typer.Option("--audio-mb", help="Sound in the report, MB; 0: none.")] = 12.0,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    jobs: Annotated[int | None, typer.Option(help="Processes; default: the cores this process may use.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure whether the neighbours mean anything.

    [bold]m2l2 index evaluate IDX --label genre --group artist --out evaluation/[/bold]

    [bold]m2l2 index evaluate IDX --labels my.csv --label key:key --label bpm:tempo-octaves --out evaluation/[/bold]

    Every track is a query: precision@k, R-precision, MAP and NDCG of its neighbours, with and without the artist
    filter, beside log-mel statistics and random vectors. Hubs and orphans before and after mutual proximity and CSLS;
    recall, speed and size of the search; a page with a map to click and listen.

    The vectors of every row are held in memory: some 2 GB each for 10^6 tracks of 512 numbers. Of a larger library
    evaluate an index of some of its tracks.
    """
    from m2l2_mir.index.evaluate import evaluate_index
    from m2l2_mir.index.evaluation_results import write_evaluation
    from m2l2_mir.index.evaluation_words import sentences
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.index.tables import read_table
    from m2l2_mir.progress import CountProgress
    from m2l2_mir.report.index_report import MOST_TRACKS, index_page
    from m2l2_mir.report.track_map import sound_clips

    if not audio_mb >= 0:
        raise InputError(f"--audio-mb is {audio_mb:g}; give megabytes, or 0 for none")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder for the results")
    opened = SimilarityIndex.load(path)
    command = shlex.join(["m2l2", *sys.argv[1:]])
    evaluation = evaluate_index(
        opened,
        name=path.resolve().name,
        labels=labels or [],
        table=None if table is None else read_table(table, opened.metadata),
        group="auto" if group is None else None if group == "none" else group,
        baselines=[name for name in baselines or ["log-mel"] if name != "none"],
        stores=stores or [],
        k=k,
        queries=queries,
        plane=plane,
        seed=seed,
        jobs=jobs,
        count=lambda title: CountProgress(title, quiet=as_json),
    )
    tracks = evaluation.tracks
    clips = {}
    if "path" in tracks and audio_mb and len(tracks) <= MOST_TRACKS:
        with CountProgress("sound clips", quiet=as_json) as progress:
            clips = sound_clips(
                tracks["path"].fillna("").astype(str).tolist(),
                evaluation.neighbours.positions,
                budget=audio_mb * 1e6,
                seed=seed,
                progress=progress,
            )
    write_evaluation(out, evaluation, report=index_page(evaluation, clips=clips, command=command), command=command)
    scores = evaluation.scores
    if as_json:
        typer.echo(json.dumps({"sentences": sentences(scores), "scores": str(out / "scores.json")}))
    else:
        _show(scores, out)
    if scores["left_out"]:
        raise typer.Exit(DONE_WITH_FAILURES)


@index.command("export")
def export(
    path: IndexArgument,
    to: Annotated[str, typer.Option("--to", metavar="[parquet|qdrant]", help="What to write.")] = "parquet",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .parquet file, or a folder for Qdrant's embedded mode.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Of a Qdrant server, such as http://localhost:6333.")] = None,
    collection: Annotated[str, typer.Option(help="Of Qdrant; made if need be, else brought up to date.")] = "m2l2",
    as_json: JsonOption = False,
) -> None:
    """Write ids, metadata and prepared vectors for an engine that runs on many machines.

    [bold]m2l2 index export IDX --out library.parquet[/bold]

    [bold]m2l2 index export IDX --to qdrant --url http://localhost:6333[/bold] (pip install 'm2l2-mir\\[qdrant]')

    Queries have to be prepared as the index does: see index.preparation.
    """
    from m2l2_mir.index.export import export_parquet, export_qdrant, open_qdrant
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.progress import CountProgress
    from m2l2_mir.recipe import close_match

    if to not in ("parquet", "qdrant"):
        raise InputError(f"--to is {to!r}{close_match(to, ['parquet', 'qdrant'])}; there are parquet and qdrant")
    if to == "parquet" and (out is None or url is not None):
        raise InputError("--to parquet writes a file: give it by --out library.parquet, and no --url")
    opened = SimilarityIndex.load(path)
    with CountProgress("exporting", quiet=as_json) as progress:
        if to == "parquet" and out is not None:
            place = str(out)
            tracks = export_parquet(opened, out, progress=progress)
        else:
            client = open_qdrant(path=out, url=url)
            place = f"{url or out}, collection {collection}"
            try:
                tracks = export_qdrant(opened, client, collection, progress=progress)
            finally:
                client.close()
    told = {"tracks": tracks, "numbers": opened.preparation.rank, "place": place}
    typer.echo(json.dumps(told) if as_json else f"{place}: {tracks:,} tracks, {opened.preparation.rank} numbers each")


def _show(scores: dict[str, Any], out: Path) -> None:
    """What was found on a terminal: precision by label and row, and the sentences."""
    from rich.console import Console
    from rich.table import Table

    from m2l2_mir.index.evaluation_words import footnotes, interval, section_title, sentences

    if scores["sections"]:
        table = Table(title=f"Precision of {scores['k']} neighbours of {scores['index']['tracks']:,} tracks")
        table.add_column("right by")
        table.add_column("neighbours in")
        table.add_column("precision", justify="right", no_wrap=True)
        for section in scores["sections"]:
            found = {line["row"]: line for line in section["scores"] if line["metric"] == scores["primary"]}
            title = section_title(section, scores["group"])
            for place, row in enumerate(scores["rows"]):
                table.add_row("" if place else title, row["name"], interval(found[row["name"]]))
            table.add_section()
        Console(highlight=False).print(table)
    typer.echo("\n".join(f"  {note}" for note in footnotes(scores)))
    typer.echo("\n".join(f"{line}." for line in sentences(scores)))
    if scores["index"]["trained"] is False:
        typer.echo("The weights are untrained (random): good for trying the pipeline, not for conclusions about music.")
    typer.echo(f"Report: {out / 'report.html'}")
