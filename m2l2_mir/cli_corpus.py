"""The commands that bring training music together: ``m2l2 corpus`` and ``m2l2 pack``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from m2l2_mir.errors import InputError

DONE_WITH_FAILURES = 3
SHOWN = 20
CORPORA = ("free-music", "renders")

corpus = typer.Typer(
    help="Music to train on: free packages of Debian, procedural renders. Any folder of audio of your own serves too.",
    no_args_is_help=True,
)

JobsOption = Annotated[int | None, typer.Option(help="Threads or processes; default: the cores this process may use.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@corpus.command("list")
def list_corpora(as_json: JsonOption = False) -> None:
    """List what can be fetched: the packages of free-music with size, licence and split, and renders."""
    from dataclasses import asdict

    from m2l2_mir.training.free_music import free_music

    packages = free_music()
    if as_json:
        typer.echo(json.dumps([asdict(package) for package in packages]))
        return
    hours, megabytes = sum(package.hours for package in packages), sum(package.megabytes for package in packages)
    typer.echo(f"free-music: {len(packages)} packages, {hours:.1f} h, {megabytes:.0f} MB to download")
    for package in packages:
        size = f"{package.hours:4.1f} h {package.megabytes:4.0f} MB"
        typer.echo(f"  {package.name:26} {package.split:10} {size}  {package.character}; {package.licence}")
    typer.echo("renders: procedural music, played with TimGM6mb, as many hours as you like")


@corpus.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="free-music or renders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder; made if need be, completed if there.")],
    only: Annotated[
        list[str] | None,
        typer.Option(help="Of free-music: packages, patterns or train, validation, test. May be repeated."),
    ] = None,
    hours: Annotated[float, typer.Option(help="Of renders: how many hours there are to be.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Of renders.")] = 0,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch music to train on, with its licences.

    [bold]m2l2 corpus fetch free-music --out music/ --only train[/bold]

    [bold]m2l2 corpus fetch renders --out renders/ --hours 4[/bold]

    The same command goes on where it was stopped. Packages that cannot be had are listed (exit code 3).
    """
    if name not in CORPORA:
        from m2l2_mir.recipe import close_match

        raise InputError(f"no corpus {name!r}{close_match(name, list(CORPORA))}; there are {', '.join(CORPORA)}")
    if name == "renders":
        _fetch_renders(out, hours, seed, jobs, as_json)
        return
    from m2l2_mir.progress import CountProgress
    from m2l2_mir.training.free_music import fetch_free_music

    with CountProgress("looking at files", quiet=as_json) as progress:
        result = fetch_free_music(
            out, only=only or (), jobs=jobs, say=(lambda line: None) if as_json else typer.echo, progress=progress
        )
    if as_json:
        typer.echo(json.dumps(vars(result)))
    else:
        for package, reason in result.failed:
            typer.echo(f"  failed: {package}: {reason}", err=True)
        typer.echo(
            f"{out}: {len(result.fetched)} packages fetched, {len(result.present)} were there, "
            f"{len(result.failed)} failed; {result.files} files, of which training passes over {result.left_out}: "
            "licence, sha256 and reason of each in manifest.csv"
        )
    if result.failed:
        raise typer.Exit(DONE_WITH_FAILURES)


def pack(
    folder: Annotated[Path, typer.Argument(help="With audio files; its sub-folders are kept apart as collections.")],
    out: Annotated[Path, typer.Argument(help="Folder for the shards; made if need be, continued if there.")],
    shard_mb: Annotated[float, typer.Option(help="Size of a shard in MB at most.")] = 50.0,
    kbps: Annotated[float, typer.Option(help="Bit rate of Opus in kbit/s a channel.")] = 48.0,
    stereo: Annotated[bool, typer.Option("--stereo", help="Keep two channels; default: the mean of all.")] = False,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pack music into Opus shards, to train on another machine.

    [bold]m2l2 pack music/ shards/ --shard-mb 50[/bold]

    The same command goes on where it was stopped. Files that cannot be read are listed (exit code 3); silent and
    repeated ones are left out.
    """
    from m2l2_mir.progress import CountProgress
    from m2l2_mir.training.packing import pack as pack_folder

    channels = 2 if stereo else 1
    with CountProgress("packing", quiet=as_json) as progress:
        manifest = pack_folder(
            folder, out, shard_mb=shard_mb, kbps=kbps, channels=channels, jobs=jobs, progress=progress
        )
    shards, skipped = manifest["shards"], manifest["skipped"]
    recordings = [entry for shard in shards for entry in shard["recordings"]]
    failed = [entry for entry in skipped if entry["kind"] == "failed"]
    summary: dict[str, Any] = {
        "shards": len(shards),
        "recordings": len(recordings),
        "hours": sum(entry["duration"] for entry in recordings) / 3600,
        "megabytes": sum(shard["size"] for shard in shards) / 1e6,
        "skipped": skipped,
    }
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        for entry in skipped[:SHOWN]:
            typer.echo(f"  {entry['kind']}: {entry['name']}: {entry['reason']}", err=True)
        if len(skipped) > SHOWN:
            typer.echo(f"  ... and {len(skipped) - SHOWN} more, in {out / 'manifest.json'}", err=True)
        typer.echo(
            f"{out}: {summary['hours']:.2f} h, {len(recordings)} recordings in {len(shards)} shards, "
            f"{summary['megabytes']:.1f} MB; {len(failed)} failed, {len(skipped) - len(failed)} left out"
        )
    if failed:
        raise typer.Exit(DONE_WITH_FAILURES)


def _fetch_renders(out: Path, hours: float, seed: int, jobs: int | None, as_json: bool) -> None:
    from m2l2_mir.progress import CountProgress
    from m2l2_mir.training.renders import render_music

    with CountProgress("rendering", quiet=as_json) as progress:
        rendered = render_music(out, hours=hours, seed=seed, jobs=jobs, progress=progress)
    if as_json:
        typer.echo(json.dumps({"rendered": rendered, "hours": hours, "seed": seed}))
    else:
        typer.echo(f"{out}: {hours:g} h of music, {rendered} pieces rendered now")
