"""The commands under ``m2l2 index``."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2l2_mir.errors import InputError, UntrainedWarning

if TYPE_CHECKING:
    import pandas as pd

    from m2l2_mir.index.similarity import Changes, SimilarityIndex

SHOWN_COLUMNS = ("title", "artist", "album", "genre")  # of the metadata, where there are such

index = typer.Typer(
    help="Similarity: what in a library is like this.\n\n"
    "Start with: [bold]m2l2 index build embeddings/ --out idx/[/bold], then "
    "[bold]m2l2 index query idx/ song.mp3[/bold]",
    no_args_is_help=True,
)

IndexArgument = Annotated[Path, typer.Argument(help="Folder of 'm2l2 index build'.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ExactOption = Annotated[bool, typer.Option("--exact", help="Compare with every track, however many.")]
MemoryOption = Annotated[
    float | None, typer.Option("--memory-mb", help="Budget of the search structure; default: half of the memory.")
]
FactoryOption = Annotated[str | None, typer.Option("--factory", help="A FAISS factory string, as in IVF256,PQ32.")]
PreparationOption = Annotated[
    str, typer.Option(metavar="[auto|l2|centred|pca]", help="Of the vectors; auto: by the number of tracks.")
]
MetadataOption = Annotated[
    Path | None, typer.Option(help="CSV or Parquet with a track_id column; its other columns travel along.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Where the index's model is; another one is refused.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]


@index.command("build")
def build(
    store: Annotated[Path, typer.Argument(help="Folder of 'm2l2 embed'.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the index.")],
    metadata: MetadataOption = None,
    pooling: Annotated[str, typer.Option(metavar="[mean|mean+std]", help="Over time.")] = "mean",
    preparation: PreparationOption = "auto",
    exact: ExactOption = False,
    memory_mb: MemoryOption = None,
    factory: FactoryOption = None,
    segments: Annotated[
        bool, typer.Option("--segments", help="Index every chunk too: the store needs --keep chunks.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the index that is there.")] = False,
    seed: Annotated[int, typer.Option(help="Of what is sampled.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Build the index of a store.

    [bold]m2l2 index build embeddings/ --out idx/ --metadata tags.csv[/bold]
    """
    from m2l2_mir.index.persist import is_index
    from m2l2_mir.index.similarity import SimilarityIndex

    if is_index(out) and not overwrite:
        raise InputError(
            f"{out} holds an index already: m2l2 index add {out} {store} brings it up to date, or give --overwrite"
        )
    made = SimilarityIndex.build(
        store,
        metadata=_table(metadata),
        pooling=pooling,
        preparation=preparation,
        exact=exact,
        memory_mb=memory_mb,
        factory=factory,
        segments=segments,
        seed=seed,
    )
    made.save(out, overwrite=overwrite)
    _say_built(made, out, as_json)


@index.command("query")
def query(
    path: IndexArgument,
    what: Annotated[
        list[str] | None, typer.Argument(help="Audio files or tracks of the index; of several, what lies between.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results.")] = 10,
    start: Annotated[float | None, typer.Option("--from", help="Seconds, of audio files.")] = None,
    end: Annotated[float | None, typer.Option("--to", help="Seconds, of audio files.")] = None,
    vector: Annotated[Path | None, typer.Option(help="A .npy file with one embedding or several.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="genre=jazz, 'bpm>=120', ... Several hold together.")
    ] = None,
    other: Annotated[
        list[str] | None, typer.Option("--other", metavar="COLUMN", help="Only tracks of another artist, album, ...")
    ] = None,
    at_most: Annotated[
        list[str] | None, typer.Option("--at-most", metavar="COLUMN=N", help="So many results of the same artist, ...")
    ] = None,
    fold: Annotated[bool, typer.Option("--fold", help="Show one of several near duplicates.")] = False,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight", metavar="SLOT=W", help="Weight of a slot, 1 to K, in the similarity; default: 1 each."
        ),
    ] = None,
    why: Annotated[bool, typer.Option("--why", help="Show each slot's part of the similarity.")] = False,
    segment: Annotated[
        bool, typer.Option("--segment", help="Find where in the library this very snippet occurs.")
    ] = False,
    like: Annotated[
        list[str] | None, typer.Option("--like", metavar="ATTRIBUTE", help="Compare in what this probe reads only.")
    ] = None,
    but: Annotated[
        list[str] | None,
        typer.Option(
            "--but",
            metavar="ATTRIBUTE=WISH",
            help="tempo=faster, key=other, genre=jazz, tempo=140, key=any (not compared): by a probe.",
        ),
    ] = None,
    probes: Annotated[
        list[Path] | None, typer.Option("--probe", help="Fitted probes or results of 'm2l2 probe run', for steering.")
    ] = None,
    strength: Annotated[
        float, typer.Option(help="Of steering; 1: the attribute weighs as much as all the rest.")
    ] = 1.0,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find what is like a track, an audio file, or several of them.

    [bold]m2l2 index query idx/ song.mp3 --from 30 --to 45 --where genre=jazz --at-most artist=1[/bold]

    [bold]m2l2 index query idx/ song.mp3 --but tempo=faster --probe probes/[/bold]

    [bold]m2l2 index query idx/ snippet.wav --segment[/bold]
    """
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.index.slots import explained

    warnings.simplefilter("ignore", UntrainedWarning)
    opened = SimilarityIndex.load(path)
    seeds: list[Any] = [*(what or []), *([_vectors(vector)] if vector else [])]
    filters: dict[str, Any] = {
        "where": where or (),
        "other": other or (),
        "at_most": {name: int(count) for name, count in _pairs("--at-most", at_most, whole=True)},
        "fold": fold,
    }
    listening: dict[str, Any] = {"start": start, "end": end, "model": model, "device": device}
    weights = _weights(weight, opened.slots)
    notes: list[str] = []
    extra: dict[str, Any] = {}
    if segment:
        if len(seeds) != 1 or vector or like or but or weights or why or any(filters.values()):
            raise InputError("--segment takes one audio file, and -k, --from, --to, --model and --device")
        table = opened.find_segment(seeds[0], k, **listening)
    elif like or but:
        if weights or why:
            raise InputError("--weight and --why do not go with --like and --but")
        table, extra = _steered(opened, seeds, k, like, but, probes, strength, filters, listening)
    else:
        if probes:
            raise InputError("--probe steers only together with --like or --but")
        table = opened.query(seeds, k, **filters, weights=weights, why=why, **listening)
        notes = [explained(opened.preparation)] if why else []
    notes += table.attrs.get("notes", [])
    if not opened.provenance.get("settings", {"trained": True}).get("trained", False):
        notes.append(
            "The weights are untrained (random): good for trying the pipeline, not for conclusions about music."
        )
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "results": _records(table),
                    **{key: _records(one) for key, one in extra.items() if key == "effects"},
                    "notes": notes,
                }
            )
        )
        return
    _show(table)
    if "effects" in extra:
        typer.echo(f"Beside the same search without steering ({extra['kept']} of {len(table)} results are the same):")
        _show(extra["effects"])
    for note in notes:
        typer.echo(f"  {note}")


@index.command("add")
def add(
    path: IndexArgument,
    store: Annotated[Path, typer.Argument(help="Folder of 'm2l2 embed'.", show_default=False)],
    metadata: MetadataOption = None,
    gone: Annotated[
        bool, typer.Option("--remove-gone", help="Remove tracks whose audio file is no longer where it was, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the index to the state of a store: add, update and remove exactly what differs.

    [bold]m2l2 embed MUSIC/ --out embeddings/ && m2l2 index add idx/ embeddings/[/bold]
    """
    from m2l2_mir.index.similarity import SimilarityIndex

    opened = SimilarityIndex.load(path)
    changes = opened.add(store, metadata=_table(metadata), files="checked" if gone else "kept")
    opened.save(path)
    _say_changed(opened, path, changes, as_json)


@index.command("remove")
def remove(
    path: IndexArgument,
    tracks: Annotated[list[str] | None, typer.Argument(help="Ids of tracks.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="All tracks with genre=jazz, 'year<1950', ...")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Remove tracks.

    [bold]m2l2 index remove idx/ a.mp3 b.mp3[/bold]
    """
    from m2l2_mir.index.conditions import matching
    from m2l2_mir.index.similarity import SimilarityIndex

    if not tracks and not where:
        raise InputError("nothing to remove: name tracks, or give --where")
    opened = SimilarityIndex.load(path)
    found = opened.metadata
    named = [*(tracks or []), *(found["track_id"][matching(found, where)] if where else [])]
    changes = opened.remove(named)
    opened.save(path)
    _say_changed(opened, path, changes, as_json)


@index.command("rebuild")
def rebuild(
    path: IndexArgument,
    preparation: Annotated[
        str | None, typer.Option(metavar="[auto|l2|centred|pca]", help="Default: as it was built.")
    ] = None,
    exact: ExactOption = False,
    memory_mb: MemoryOption = None,
    factory: FactoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prepare all tracks anew and choose the structure again; needs no store.

    [bold]m2l2 index rebuild idx/[/bold]
    """
    from m2l2_mir.index.similarity import SimilarityIndex

    given: dict[str, Any] = {"preparation": preparation, "memory_mb": memory_mb, "factory": factory}
    options = {key: value for key, value in given.items() if value is not None} | ({"exact": True} if exact else {})
    made = SimilarityIndex.load(path).rebuild(**options)
    made.save(path)
    _say_built(made, path, as_json)


@index.command("duplicates")
def duplicates(
    path: IndexArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write all pairs there, as CSV.")] = None,
    shown: Annotated[int, typer.Option("--shown", help="Pairs on the terminal.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List tracks that are much closer to each other than to their neighbourhood: listen to them.

    [bold]m2l2 index duplicates idx/ --out pairs.csv[/bold]
    """
    from m2l2_mir.durable import write_durably
    from m2l2_mir.index.similarity import SimilarityIndex

    opened = SimilarityIndex.load(path)
    pairs = opened.duplicates()
    if out is not None:
        content = pairs.to_csv(index=False).encode()
        try:
            write_durably(out, lambda file: file.write(content))
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    if as_json:
        typer.echo(json.dumps({"pairs": _records(pairs)}))
        return
    typer.echo(f"{len(pairs)} pairs among {len(opened):,} tracks are near duplicates" + (":" if len(pairs) else ""))
    if len(pairs):
        _show(pairs.head(shown))
    if len(pairs) > shown:
        typer.echo(f"  ... and {len(pairs) - shown} more; --out FILE.csv lists all")


def _steered(
    opened: SimilarityIndex,
    seeds: list[Any],
    k: int,
    like: list[str] | None,
    but: list[str] | None,
    probes: list[Path] | None,
    strength: float,
    filters: dict[str, Any],
    listening: dict[str, Any],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Results of a steered search, and what to say beside them."""
    from m2l2_mir.index.attributes import load_attributes
    from m2l2_mir.index.query import Filters
    from m2l2_mir.index.seeds import Part
    from m2l2_mir.index.steering import steer

    if not probes:
        raise InputError("--like and --but need probes: --probe FOLDER of 'm2l2 probe run NAME --out FOLDER'")
    steered = steer(
        opened,
        seeds,
        load_attributes(opened, probes),
        k,
        like=like or (),
        but=dict(_pairs("--but", but)),
        strength=strength,
        filters=Filters(**filters),
        part=Part(**listening),
    )
    return steered.results, {"effects": steered.effects, "kept": steered.kept}


def _table(path: Path | None) -> pd.DataFrame | None:
    """A metadata table from a file."""
    if path is None:
        return None
    import pandas as pd

    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"track_id": str})
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the metadata {path}: {' '.join(str(error).split())}") from error
    if "track_id" not in table:
        raise InputError(f"{path} has no track_id column; it has {', '.join(map(str, table.columns))}")
    return table


def _vectors(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read vectors from {path}: {' '.join(str(error).split())}") from error


def _pairs(option: str, given: list[str] | None, *, whole: bool = False) -> list[tuple[str, str]]:
    """NAME=VALUE options."""
    pairs = []
    for one in given or []:
        name, sign, value = one.partition("=")
        if not (name and sign and value) or (whole and not value.isdecimal()):
            raise InputError(f"{option} takes NAME={'N' if whole else 'VALUE'}: {one!r}")
        pairs.append((name.strip(), value.strip()))
    return pairs


def _weights(given: list[str] | None, slots: int) -> list[float] | None:
    if not given:
        return None
    weights = [1.0] * slots
    for name, value in _pairs("--weight", given):
        try:
            slot, weight = int(name), float(value)
        except ValueError as error:
            raise InputError(f"--weight takes SLOT=W, as in 3=0.5: {name}={value}") from error
        if not 1 <= slot <= slots:
            raise InputError(f"--weight: the index has slots 1 to {slots}, not {slot}")
        weights[slot - 1] = weight
    return weights


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows fit for JSON: what is missing is null."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=6))
    return rows


def _say_built(made: SimilarityIndex, out: Path, as_json: bool) -> None:
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
        typer.echo(f"  segments: {len(made.segments):,} chunks of {made.segments.seconds:.2f} s")


def _say_changed(opened: SimilarityIndex, path: Path, changes: Changes, as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "index": str(path),
                    "tracks": len(opened),
                    "added": list(changes.added),
                    "updated": list(changes.updated),
                    "removed": list(changes.removed),
                    "unchanged": changes.unchanged,
                    "drift": changes.drift.shift,
                    "advice": changes.advice,
                }
            )
        )
        return
    typer.echo(
        f"{path}: {len(changes.added)} added, {len(changes.updated)} updated, {len(changes.removed)} removed, "
        f"{changes.unchanged} unchanged; {len(opened):,} tracks now"
    )
    if changes.drift.tracks:
        typer.echo(
            f"  drift of the {changes.drift.tracks:,} added since it was built: {changes.drift.shift:.2f} spreads"
        )
    if changes.advice:
        typer.echo(f"  {changes.advice} (m2l2 index rebuild {path})")


def _show(table: pd.DataFrame) -> None:
    """A table on the terminal: numbers short, names whole, no places of files."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    own = [name for name in table.columns if name not in ("path", "duration", "source")]
    told = [name for name in SHOWN_COLUMNS if name in own]
    rest = [name for name in own if name not in told][:12]
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
        return f"{value:.2f}" if column in ("percentile", "start", "end") else f"{value:.3f}"
    text = str(value)
    return text if text.isprintable() else repr(text)
