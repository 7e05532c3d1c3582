"""The commands under ``m2l2 index``."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2l2_mir.cli_index_questions import MEASURES, pairs, steered, vectors_of, weights_of
from m2l2_mir.cli_index_words import records, say_built, say_changed, say_unknown, show
from m2l2_mir.errors import InputError, UntrainedWarning

if TYPE_CHECKING:
    import pandas as pd


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
    float | None,
    typer.Option(
        "--memory-mb",
        help="Budget of the search structure, and again of that of --segments; default: half of the memory.",
    ),
]
FactoryOption = Annotated[str | None, typer.Option("--factory", help="A FAISS factory string, as in IVF256,PQ32.")]
PreparationOption = Annotated[
    str, typer.Option(metavar="[auto|l2|centred|pca|whitened]", help="Of the vectors; auto: by the number of tracks.")
]
MetadataOption = Annotated[
    Path | None,
    typer.Option(
        help="CSV, TSV or Parquet with a track_id or a path column; its other columns travel along, but path and "
        "duration stay the store's."
    ),
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

    Structures that hold the embeddings take 2 GiB for 10^6 tracks of 8 x 64; those of a large store lie in a
    temporary file.
    """
    from m2l2_mir.embedding.store import EmbeddingStore
    from m2l2_mir.index.persist import is_index
    from m2l2_mir.index.similarity import SimilarityIndex

    if is_index(out) and not overwrite:
        raise InputError(
            f"{out} holds an index already: m2l2 index add {out} {store} brings it up to date, or give --overwrite"
        )
    opened = EmbeddingStore.open(store)
    table = _table(metadata, opened.ok)
    made = SimilarityIndex.build(
        opened,
        metadata=table,
        pooling=pooling,
        preparation=preparation,
        exact=exact,
        memory_mb=memory_mb,
        factory=factory,
        segments=segments,
        seed=seed,
    )
    made.save(out, overwrite=overwrite)
    say_built(made, out, as_json)
    say_unknown(table, made, as_json)


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
    csls: Annotated[
        bool, typer.Option("--csls", help="Rank tracks that are neighbours of everything lower; see 'evaluate'.")
    ] = False,
    why: Annotated[bool, typer.Option("--why", help="Show each slot's part of the similarity.")] = False,
    segment: Annotated[
        bool,
        typer.Option(
            "--segment", help="Find where in the library this very snippet occurs; of a longer one, its first 10 s."
        ),
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
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the results there too: .csv, .json, or a playlist, .m3u8 or .m3u."),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find what is like a track, an audio file, or several of them.

    [bold]m2l2 index query idx/ song.mp3 --from 30 --to 45 --where genre=jazz --at-most artist=1[/bold]

    [bold]m2l2 index query idx/ song.mp3 --but tempo=faster --probe probes/[/bold]

    [bold]m2l2 index query idx/ snippet.wav --segment[/bold]

    [bold]m2l2 index query idx/ song.mp3 -k 30 --out like-song.m3u8[/bold]
    """
    from m2l2_mir.index.result_files import check_kind, write_results
    from m2l2_mir.index.similarity import SimilarityIndex
    from m2l2_mir.index.slots import explained

    if out is not None:
        check_kind(out)
    warnings.simplefilter("ignore", UntrainedWarning)
    opened = SimilarityIndex.load(path)
    seeds: list[Any] = [*(what or []), *([vectors_of(vector)] if vector else [])]
    filters: dict[str, Any] = {
        "where": where or (),
        "other": other or (),
        "at_most": {name: int(count) for name, count in pairs("--at-most", at_most, whole=True)},
        "fold": fold,
    }
    listening: dict[str, Any] = {"start": start, "end": end, "model": model, "device": device}
    weights = weights_of(weight, opened.slots)
    notes: list[str] = []
    extra: dict[str, Any] = {}
    if segment:
        if len(seeds) != 1 or vector or like or but or weights or csls or why or any(filters.values()):
            raise InputError("--segment takes one audio file, and -k, --from, --to, --model and --device")
        table = opened.find_segment(seeds[0], k, **listening)
    elif like or but:
        if weights or why or csls:
            raise InputError("--weight, --csls and --why do not go with --like and --but")
        table, extra = steered(opened, seeds, k, like, but, probes, strength, filters, listening)
    else:
        if probes or strength != 1:
            raise InputError(f"--{'probe' if probes else 'strength'} steers only together with --like or --but")
        table = opened.query(seeds, k, **filters, weights=weights, csls=csls, why=why, **listening)
        notes = [explained(opened.preparation)] if why else []
        notes += [MEASURES] if "among_nearest" in table else []
    notes += table.attrs.get("notes", [])
    if not opened.provenance.get("settings", {"trained": True}).get("trained", False):
        notes.append(
            "The weights are untrained (random): good for trying the pipeline, not for conclusions about music."
        )
    told = {
        "results": records(table),
        **{key: records(one) for key, one in extra.items() if key == "effects"},
        "notes": notes,
    }
    if out is not None:
        write_results(out, table, told, opened)
    if as_json:
        typer.echo(json.dumps(told))
        return
    show(table)
    if "effects" in extra:
        typer.echo(f"Beside the same search without steering ({extra['kept']} of {len(table)} results are the same):")
        show(extra["effects"])
        typer.echo("  'the same probe' and 'by construction' show what was sought; labels and other probes judge it.")
    for note in notes:
        typer.echo(f"  {note}")
    if out is not None:
        typer.echo(f"{len(table)} results: {out}")


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
    import pandas as pd

    from m2l2_mir.embedding.store import EmbeddingStore
    from m2l2_mir.index.similarity import SimilarityIndex

    opened = SimilarityIndex.load(path)
    source = EmbeddingStore.open(store)
    tracks = pd.concat([source.ok[["track_id", "path"]], opened.metadata.reindex(columns=["track_id", "path"])])
    table = _table(metadata, tracks)
    changes = opened.add(source, metadata=table, files="checked" if gone else "kept")
    opened.save(path)
    say_changed(opened, path, changes, as_json)
    say_unknown(table, opened, as_json)


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

    A store that has them still brings them back by 'add', and 'doctor' tells of them: take them out of the store too,
    by 'm2l2 embed --prune' once their files are gone or with --exclude.

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
    say_changed(opened, path, changes, as_json)


@index.command("rebuild")
def rebuild(
    path: IndexArgument,
    preparation: Annotated[
        str | None, typer.Option(metavar="[auto|l2|centred|pca|whitened]", help="Default: as it was built.")
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
    say_built(made, path, as_json)


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
        typer.echo(json.dumps({"pairs": records(pairs)}))
        return
    typer.echo(f"{len(pairs)} pairs among {len(opened):,} tracks are near duplicates" + (":" if len(pairs) else ""))
    if len(pairs):
        show(pairs.head(shown))
    if len(pairs) > shown:
        typer.echo(f"  ... and {len(pairs) - shown} more; --out FILE.csv lists all")


def _table(path: Path | None, tracks: pd.DataFrame) -> pd.DataFrame | None:
    """A metadata table from a file, about tracks with ids and paths."""
    from m2l2_mir.index.tables import read_table

    return None if path is None else read_table(path, tracks)
