"""The commands under ``m2l2 datasets``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2l2_mir.errors import InputError, M2L2Error

if TYPE_CHECKING:
    from m2l2_mir.dataset.dataset import Dataset

PROBLEMS_FOUND = 3
WIDEST_TABLE = 12  # classes beside each other

datasets = typer.Typer(
    help="Data sets: what there is, with licence and citation.\n\nEvery NAME is one of 'm2l2 datasets list', the path "
    "of your own recipe (my.toml), [bold]table:FILE[/bold] (a CSV or Parquet file with a path column) or "
    "[bold]folder:DIR[/bold] (a sub-folder for each class).",
    no_args_is_help=True,
)

NameArgument = Annotated[str, typer.Argument(help="A set's name, my.toml, table:FILE or folder:DIR.")]
DataHomeOption = Annotated[
    Path | None,
    typer.Option(
        "--data-home", "--audio-root", help="The set's folder; of a table, the folder that its paths count from."
    ),
]
SizeOption = Annotated[
    str, typer.Option(metavar="[quick|default|large]", help="Of a rendered set: how many clips it has.")
]
SeedOption = Annotated[int, typer.Option(help="Of a rendered set: another seed gives other pieces and sounds.")]
LabelOption = Annotated[str | None, typer.Option(help="What is to be predicted; default: the set's first task.")]
FoldsOption = Annotated[int | None, typer.Option(help="Number of folds that are drawn; default: the split's.")]
SplitOption = Annotated[str | None, typer.Option(help="One of the set's splits; default: its first.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def load_and_render(
    name: str,
    data_home: Path | None,
    size: str,
    seed: int,
    *,
    jobs: int | None,
    quiet: bool,
    decode: bool = False,
) -> Dataset:
    """Load a set and render what is missing of it, with progress and, in the end, what is in it."""
    dataset = _load(name, data_home, size, seed, quiet=quiet)
    from m2l2_mir.progress import CountProgress

    with CountProgress("rendering", quiet=quiet) as progress:
        dataset.render(jobs=jobs, progress=progress, decode=decode)
    if not quiet:
        typer.echo("\n".join(dataset.summary()))
    return dataset


@datasets.command("list")
def list_datasets(as_json: JsonOption = False) -> None:
    """List the data sets that there are recipes for."""
    from m2l2_mir.dataset.recipe import dataset_names, find_recipe

    rows: list[dict[str, Any]] = []
    for name in dataset_names():
        _, recipe = find_recipe(name)
        rows.append(
            {
                "name": name,
                "tasks": list(recipe.tasks),
                "source": recipe.source,
                "licence": recipe.licence,
                "title": recipe.title,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['name']:20} {row['source']:8} {', '.join(row['tasks']):20} {row['title']}")


@datasets.command("show")
def show_dataset(
    name: NameArgument,
    data_home: DataHomeOption = None,
    size: SizeOption = "default",
    label: LabelOption = None,
    split: SplitOption = None,
    folds: FoldsOption = None,
    seed: SeedOption = 0,
    split_seed: Annotated[int, typer.Option(help="Of folds that are drawn.")] = 0,
    manifest: Annotated[Path | None, typer.Option(help="Save the split there, as JSON.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a set holds: tracks, labels kept and dropped, folds, licence and citation.

    [bold]m2l2 datasets show bach-key --size quick[/bold]
    """
    from m2l2_mir.dataset.recipe import find_recipe

    facts: dict[str, Any] = {}
    if not name.startswith(("table:", "folder:")):
        _, recipe = find_recipe(name)
        splits = {title: form.about for title, form in recipe.splits.items()}
        facts = {
            key: value
            for key in ("title", "about", "source", "tasks", "licence", "citation", "homepage", "get", "note")
            if (value := getattr(recipe, key))
        } | {"splits": splits}
    try:
        dataset = _load(name, data_home, size, seed, quiet=as_json)
    except M2L2Error as error:
        if not facts or manifest is not None:
            raise
        facts["not here"] = str(error)  # what it is can be told all the same
        dataset = None
    lines: list[str] = []
    if dataset is not None:
        facts["tracks"] = len(dataset.tracks)
        chosen = label or next(iter(dataset.labels), None)
        lines = dataset.summary()
        if chosen is not None:
            lines += _split_lines(dataset, chosen, split, folds, split_seed, manifest, facts)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        if key in ("tracks", "label", "split", "manifest", "folds"):
            continue
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for title, about in value.items():
                typer.echo(f"  {title}: {about}" if about else f"  {title}")
        else:
            typer.echo(f"{key}: {', '.join(value) if isinstance(value, tuple) else ' '.join(str(value).split())}")
    if lines:
        typer.echo("\n".join(lines))


@datasets.command("fetch")
def fetch_dataset(
    name: NameArgument,
    data_home: DataHomeOption = None,
    size: SizeOption = "default",
    seed: SeedOption = 0,
    jobs: Annotated[int | None, typer.Option(help="Processes that render; default: all cores.")] = None,
) -> None:
    """Render a rendered set, or download another through mirdata.

    Clips that are there are read to their end, and damaged ones rendered again. Where a set cannot be downloaded, the
    message says what to put where.
    """
    from m2l2_mir.dataset.recipe import find_recipe
    from m2l2_mir.dataset.sources import download

    if name.startswith(("table:", "folder:")):
        raise InputError(f"{name} is your own; there is nothing to fetch")
    _, recipe = find_recipe(name)
    if recipe.source == "rendered":
        dataset = load_and_render(name, data_home, size, seed, jobs=jobs, quiet=False, decode=True)
        typer.echo(f"{len(dataset.tracks)} clips are there")
    else:
        download(recipe, data_home, typer.echo)
    typer.echo(f"Licence: {recipe.licence}\nPlease cite: {recipe.citation}")


@datasets.command("check")
def check(
    name: NameArgument, data_home: DataHomeOption = None, size: SizeOption = "default", as_json: JsonOption = False
) -> None:
    """List everything that is wrong with a set on the disk: files missing, cut off or changed, labels unusable.

    Exit code 3 if there is anything.
    """
    from m2l2_mir.dataset.dataset import check_dataset
    from m2l2_mir.progress import CountProgress

    with CountProgress("reading scores", quiet=as_json) as progress:
        problems = check_dataset(name, data_home=data_home, size=size, progress=progress)
    if as_json:
        typer.echo(json.dumps({"name": name, "problems": problems}))
    else:
        for problem in problems:
            typer.echo(problem)
        typer.echo(f"{name}: {len(problems)} problems" if problems else f"{name}: nothing wrong")
    if problems:
        raise typer.Exit(PROBLEMS_FOUND)


@datasets.command("audit")
def audit_dataset(
    name: NameArgument,
    data_home: DataHomeOption = None,
    size: SizeOption = "default",
    label: LabelOption = None,
    split: SplitOption = None,
    folds: FoldsOption = None,
    seed: SeedOption = 0,
    store: Annotated[Path | None, typer.Option(help="Embeddings of the set, to find near duplicates by.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for leakage: groups, recordings and near duplicates on both sides of a split, and uneven labels.

    Exit code 0 if all of this was checked and no leakage found; 3 if there is any, or if something could not be
    checked, which the last line names: groups have to be stated by the set, and near duplicates need --store.
    """
    from m2l2_mir.audit.audit import audit
    from m2l2_mir.embedding.store import EmbeddingStore
    from m2l2_mir.progress import CountProgress

    dataset = _load(name, data_home, size, seed, quiet=as_json)
    if label is None and not dataset.labels:
        raise InputError(f"{name} has no label for a probe; name a column with --label")
    made = dataset.split(label or dataset.labels[0], split, folds=folds)
    embeddings = None if store is None else EmbeddingStore.open(store)
    with CountProgress("hashing audio", quiet=as_json) as progress:
        found = audit(dataset, made, store=embeddings, progress=progress)
    typer.echo(json.dumps(found.to_dict()) if as_json else "\n".join(found.lines()))
    if not found.clean:
        raise typer.Exit(PROBLEMS_FOUND)


def _split_lines(
    dataset: Dataset,
    label: str,
    split: str | None,
    folds: int | None,
    seed: int,
    out: Path | None,
    facts: dict[str, Any],
) -> list[str]:
    """Draw a split, save it where asked to, put it among the facts and describe it for a person."""
    try:
        manifest = dataset.split(label, split, seed=seed, folds=folds)
    except InputError as error:
        if split or folds or out is not None:
            raise
        return [f"no split of {label}: {error}"]
    counts = manifest.describe()
    facts |= {
        "label": label,
        "split": manifest.split,
        "manifest": manifest.sha256,
        "folds": json.loads(counts.to_json(orient="split")),
    }
    if counts.shape[1] > WIDEST_TABLE:
        counts = counts.T
    lines = [f"split {manifest.split!r} of {label}, manifest {manifest.sha256[:12]}", counts.to_string()]
    if out is not None:
        try:
            manifest.save(out)
        except OSError as error:
            raise InputError(f"cannot write the manifest {out}: {error.strerror or error}") from error
        lines.append(f"saved as {out}")
    return lines


def _load(name: str, data_home: Path | None, size: str, seed: int, *, quiet: bool) -> Dataset:
    from m2l2_mir.dataset.dataset import load_dataset
    from m2l2_mir.progress import CountProgress

    with CountProgress("reading scores", quiet=quiet) as progress:
        return load_dataset(name, data_home=data_home, size=size, seed=seed, progress=progress)
