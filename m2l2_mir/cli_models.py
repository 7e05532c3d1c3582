"""The commands under ``m2l2 models``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from m2l2_mir.errors import InputError

models = typer.Typer(help="Models: what there is, with size, licence and citation.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@models.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the presets of the family, with their size and whether weights are at hand."""
    from m2l2_mir.model.catalogue import catalogue

    rows = catalogue()
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        shape = f"{row['num_embeddings']} x {row['latent_dim']}"
        weights = row["weights"]
        if row["megabytes"] is not None:
            weights += f", {row['megabytes']} MB"
        typer.echo(f"{row['name']:20} {row['parameters'] / 1e6:7.2f} M  {shape:7} {weights:34} {row['about']}")
        if not weights.startswith("untrained"):
            typer.echo(f"{'':20} licence: {row['licence']}")


@models.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="A name of 'm2l2 models list', a checkpoint or random:PRESET.")],
    as_json: JsonOption = False,
) -> None:
    """Show data, licence, citation, model card and configuration of one model."""
    from m2l2_mir.model.catalogue import describe

    facts = describe(name)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for field, setting in value.items():
                typer.echo(f"  {field} = {setting}")
        else:
            typer.echo(f"{key}: {value}")


@models.command("convert")
def convert(
    weights: Annotated[
        Path, typer.Argument(help="A .safetensors checkpoint, or the .pt of official weights.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="The new file, NAME.safetensors.", show_default=False)],
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of training data: its collections.json tells the card where they came from."),
    ] = None,
    notes: Annotated[
        list[Path] | None, typer.Option(help="Markdown that ends the card, such as measured results.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint anew, with its licence and its stages of training inside.

    [bold]m2l2 models convert run/best.safetensors my-model.safetensors --half[/bold]

    [bold]m2l2 models convert codicodec.pt codicodec.safetensors[/bold] takes official weights as published.

    Beside weights from a run's folder their model card is written: my-model.md, with its curves in my-model.png. Prints
    the SHA-256 of the file as sha256sum does.
    """
    if weights.suffix == ".safetensors":
        from m2l2_mir.training.release import release

        sha256 = release(weights, out, half=half, sources=data or (), notes=notes or ())
    else:
        from m2l2_mir.model.checkpoint import convert_official

        if data or notes:
            raise InputError(f"{weights}: --data and --notes are for weights of a run's folder")
        sha256 = convert_official(weights, out, half=half)
    if as_json:
        typer.echo(json.dumps({"file": str(out), "sha256": sha256, "bytes": out.stat().st_size}))
    else:
        typer.echo(f"{sha256}  {out.name}")
