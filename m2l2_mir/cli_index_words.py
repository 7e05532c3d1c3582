"""What the commands under ``m2l2 index`` say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from m2l2_mir.index.changes import Changes
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["records", "say_built", "say_changed", "say_unknown", "show"]

SHOWN_LAST = ("title", "artist", "album", "genre")  # of the metadata, where there are such
LEFT_OUT = ("path", "duration", "source")
MOST_COLUMNS = 12


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows fit for JSON: what is missing is null."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=6))
    return rows


def say_built(made: SimilarityIndex, out: Path, as_json: bool) -> None:
    """What an index became, and why."""
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "index": str(out),
                    "tracks": len(made),
                    "width": made.width,
                    "rank": made.preparation.rank,
                    "structure": made.backend.choice.factory,
                    "preparation": made.preparation.kind,
                    "reasons": made.reasons,
                    "chunks": len(made.segments) if made.segments else None,
                }
            )
        )
        return
    typer.echo(f"{out}: {len(made):,} tracks, {made.slots} x {made.width // made.slots} each")
    typer.echo(f"  preparation: {'; '.join(made.reasons['preparation'])}")
    typer.echo(f"  structure: {made.backend.choice.kind}; {'; '.join(made.reasons['backend'])}")
    if made.segments is not None:
        part = made.segments
        typer.echo(
            f"  segments: {len(part):,} chunks of {part.seconds:.2f} s; {part.backend.choice.kind}; "
            f"{'; '.join(made.reasons['segments'])}"
        )


def say_changed(opened: SimilarityIndex, path: Path, changes: Changes, as_json: bool) -> None:
    """What a change did, and what to do now."""
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "index": str(path),
                    "tracks": len(opened),
                    "added": list(changes.added),
                    "updated": list(changes.updated),
                    "removed": list(changes.removed),
                    "relabelled": list(changes.relabelled),
                    "moved": changes.moved,
                    "unchanged": changes.unchanged,
                    "drift": changes.drift.shift,
                    "advice": changes.advice,
                }
            )
        )
        return
    typer.echo(
        f"{path}: {len(changes.added)} added, {len(changes.updated)} updated, {len(changes.removed)} removed, "
        f"{len(changes.relabelled)} with other metadata, {changes.unchanged} unchanged; {len(opened):,} tracks now"
    )
    if changes.moved:
        typer.echo(f"  {changes.moved} tracks were another store's before, and follow this one from now on")
    if changes.drift.tracks:
        typer.echo(
            f"  drift of the {changes.drift.tracks:,} added since it was built: {changes.drift.shift:.2f} spreads"
        )
    if changes.advice:
        typer.echo(f"  {changes.advice} (m2l2 index rebuild {path})")


def say_unknown(table: pd.DataFrame | None, made: SimilarityIndex, as_json: bool) -> None:
    """Which tracks a metadata table did not know, and which of its lines no track."""
    if table is None or as_json:
        return
    named, ids = set(table["track_id"].astype(str)), set(made.ids)
    if lacking := len(ids - named):
        typer.echo(f"  metadata: nothing about {lacking:,} of {len(ids):,} tracks, such as {min(ids - named)!r}")
    if strange := len(named - ids):
        typer.echo(f"  metadata: {strange:,} of its lines name no track, such as {min(named - ids)!r}")


def show(table: pd.DataFrame) -> None:
    """A table on the terminal: numbers short, names whole, no places of files."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    own = [name for name in table.columns if name not in LEFT_OUT]
    told = [name for name in SHOWN_LAST if name in own]
    slots = [name for name in own if str(name).startswith("slot ")]  # parts of a sum: all or none
    others = [name for name in own if name not in told and name not in slots][:MOST_COLUMNS]
    rest = [name for name in own if name in slots or name in others]
    drawn = Table()
    for name in (*rest, *told):
        drawn.add_column(str(name), justify="right" if table[name].dtype.kind in "fi" else "left", overflow="fold")
    for row in table[[*rest, *told]].itertuples(index=False):
        drawn.add_row(*(Text(_shown(name, value)) for name, value in zip((*rest, *told), row, strict=True)))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a file has room
    console.print(drawn)


def _shown(column: str, value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}" if column in ("percentile", "among_nearest", "start", "end") else f"{value:.3f}"
    text = str(value)
    return text if text.isprintable() else repr(text)
