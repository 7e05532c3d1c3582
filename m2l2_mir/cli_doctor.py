"""The command ``m2l2 doctor``."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m2l2_mir.errors import UntrainedWarning

FOUND = 3


def doctor(
    path: Annotated[Path, typer.Argument(help="A store, an index or a checkpoint.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Tell what is stale, damaged or mismatched, and the command that mends it.

    [bold]m2l2 doctor embeddings/[/bold]

    Reads every byte. Exit code 0: sound; 3: something was found.
    """
    from m2l2_mir.doctor import examine, kind_of

    warnings.simplefilter("ignore", UntrainedWarning)
    kind, findings = kind_of(path), examine(path)
    if as_json:
        typer.echo(json.dumps({"path": str(path), "kind": kind, "findings": [asdict(one) for one in findings]}))
    else:
        typer.echo(f"{path}: {kind}, {'sound' if not findings else f'{len(findings)} found'}")
        for one in findings:
            typer.echo(f"  {one.state}: {one.what}\n    to mend: {one.mend}")
    if findings:
        raise typer.Exit(FOUND)
