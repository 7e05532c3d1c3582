"""The command ``m2l2 predict``."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2l2_mir.errors import InputError, UntrainedWarning

if TYPE_CHECKING:
    import pandas as pd

    from m2l2_mir.probe.fitted import FittedProbe

DONE_WITH_FAILURES = 3
MOST_SHOWN = 40

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def predict(
    probe: Annotated[
        Path,
        typer.Argument(
            metavar="PROBE",
            help="OUT of 'm2l2 probe run' or OUT/NAME, where the first model and read-out count; or a folder in "
            "OUT/NAME/fitted.",
            show_default=False,
        ),
    ],
    paths: Annotated[
        list[str],
        typer.Argument(metavar="AUDIO|STORE", help="Files, folders, or one embedding store.", show_default=False),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write all estimates there, as CSV.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Where the probe's model is now; another one is refused.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    jobs: Annotated[int | None, typer.Option(help="Threads; default: the cores this process may use.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate key, tempo, pitch or genre of music by a fitted probe.

    [bold]m2l2 predict probes/ MUSIC/ --out tags.csv[/bold] applies all probes that were run there, and embeds once.

    [bold]m2l2 predict probes/key embeddings/[/bold] takes a store, and the key alone.

    Audio is embedded by the probe's own model and not kept: for many files make a store by 'm2l2 embed' first. Files
    that cannot be used are listed with the reason, and the rest goes on (exit code 3).
    """
    from m2l2_mir.embedding.store import EmbeddingStore
    from m2l2_mir.probe.predicting import beside, embed_for, find_fitted, is_store, predict_store, remarks
    from m2l2_mir.progress import EmbedProgress

    warnings.simplefilter("ignore", UntrainedWarning)  # the remarks say so
    if out is not None and not out.resolve().parent.is_dir():
        raise InputError(f"cannot write {out}: its folder is not there; make it first")
    probes = find_fitted(probe)
    stores = [path for path in paths if is_store(path)]
    if stores and len(paths) > 1:
        raise InputError(f"{stores[0]} is an embedding store; give it alone, or audio files and folders")
    with tempfile.TemporaryDirectory(prefix="m2l2-predict-") as scratch:
        if stores:
            store = EmbeddingStore.open(stores[0])
        else:
            with EmbedProgress(quiet=as_json) as progress:
                first = next(iter(probes.values()))
                store = embed_for(
                    first, paths, out=Path(scratch), model=model, device=device, jobs=jobs, observer=progress
                )
        tables = {name: predict_store(fitted, store) for name, fitted in probes.items()}
        notes = {name: remarks(fitted, store, tables[name]) for name, fitted in probes.items()}
    table = next(iter(tables.values()))
    failed = table[table["status"] != "ok"]
    if out is not None:
        _write(out, table if len(tables) == 1 else beside(tables))
    if as_json:
        typer.echo(json.dumps({"probes": [_plain(probes[name], tables[name], notes[name]) for name in probes]}))
    else:
        _show(probes, tables, notes)
        for line in failed.head(MOST_SHOWN).to_dict("records"):
            typer.echo(f"  failed: {_printable(line['track_id'])}: {line['reason']}", err=True)
        if len(failed) > MOST_SHOWN:
            typer.echo(f"  ... and {len(failed) - MOST_SHOWN} more; --out FILE.csv lists all", err=True)
        if out is not None:
            typer.echo(f"Estimates: {out}")
    if len(failed):
        raise typer.Exit(DONE_WITH_FAILURES)


def _write(out: Path, table: pd.DataFrame) -> None:
    from m2l2_mir.durable import write_durably

    content = table.to_csv(index=False).encode()
    try:
        write_durably(out, lambda file: file.write(content))
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error


def _plain(fitted: FittedProbe, table: pd.DataFrame, notes: list[str]) -> dict[str, Any]:
    from m2l2_mir.probe.predicting import UNITS
    from m2l2_mir.probe.results import plain

    facts = fitted.facts
    return {
        "probe": facts.probe,
        "label": facts.label,
        "unit": UNITS.get(facts.metrics),
        "model": fitted.space.name,
        "score": plain(facts.score),
        "notes": notes,
        "tracks": plain(table.to_dict("records")),
    }


def _show(
    probes: Mapping[str, FittedProbe], tables: Mapping[str, pd.DataFrame], notes: Mapping[str, list[str]]
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from m2l2_mir.probe.predicting import shown

    drawn = Table()
    drawn.add_column("track", overflow="fold")
    for name in probes:
        drawn.add_column(name, no_wrap=True)
        drawn.add_column("confidence", justify="right")
    heard = {name: table[table["status"] == "ok"] for name, table in tables.items()}
    ids = next(iter(heard.values()))["track_id"].tolist()
    lines = {name: table.head(MOST_SHOWN).to_dict("records") for name, table in heard.items()}
    for position, track in enumerate(ids[:MOST_SHOWN]):
        cells: list[Text | str] = []
        for name, fitted in probes.items():
            line = lines[name][position]
            seen = " *" if line["fitted_on"] else ""
            cells += [Text(shown(fitted, line["estimate"]) + seen), f"{line['confidence']:.2f}"]
        drawn.add_row(Text(_printable(track)), *cells)
    Console(highlight=False).print(drawn)
    if len(ids) > MOST_SHOWN:
        typer.echo(f"  ... and {len(ids) - MOST_SHOWN} more; --out FILE.csv lists all")
    if any(table["fitted_on"].any() for table in heard.values()):
        typer.echo("  * the probe was fitted on this track")
    for name, fitted in probes.items():
        typer.echo(f"{fitted.facts.title} by {fitted.facts.row}, read-out {fitted.facts.readout}")
        typer.echo("\n".join(f"  {note}" for note in notes[name]))


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)
