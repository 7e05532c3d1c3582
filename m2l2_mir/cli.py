"""The command line ``m2l2``: arguments in, words out; no logic of its own.

Everything heavy is imported inside the commands, so that ``--help`` is instant. Exit codes: 0 done; 3 done, but some
inputs failed and are listed; 2 wrong usage or input; 1 anything else.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

import m2l2_mir.cli_index_evaluate  # noqa: F401  (adds its commands to `index`)
from m2l2_mir import __version__
from m2l2_mir.cli_corpus import corpus, pack
from m2l2_mir.cli_datasets import DataHomeOption, SeedOption, SizeOption, datasets, load_and_render
from m2l2_mir.cli_disentangle import disentangle
from m2l2_mir.cli_doctor import doctor
from m2l2_mir.cli_excerpt import ExcerptOption, LoudnessOption, read_excerpt
from m2l2_mir.cli_index import index
from m2l2_mir.cli_models import models
from m2l2_mir.cli_predict import predict
from m2l2_mir.cli_probe import probe
from m2l2_mir.cli_reconstruct import reconstruct
from m2l2_mir.cli_train import train
from m2l2_mir.errors import InputError, M2L2Error, UntrainedWarning
from m2l2_mir.model import DEFAULT_MODEL

if TYPE_CHECKING:
    from m2l2_mir.embedding.store import EmbeddingStore

DONE_WITH_FAILURES = 3
SHOWN_FAILURES = 20
SHOWN_NAMES = 3


class Stopped(Exception):
    """Ctrl-C, under a name that typer does not turn into an exit code of its own."""


class Commands(TyperGroup):
    """All commands, stopped by Ctrl-C alike."""

    def invoke(self, context: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:
            raise Stopped from error


app = typer.Typer(
    cls=Commands,
    help="Music information retrieval on summary embeddings.\n\nStart with: [bold]m2l2 demo[/bold], then "
    "[bold]m2l2 embed MUSIC/ --out embeddings/[/bold]",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(models, name="models")
app.add_typer(datasets, name="datasets")
app.add_typer(corpus, name="corpus")
app.add_typer(probe, name="probe")
app.add_typer(index, name="index")

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A name of 'm2l2 models list', a .safetensors or official .pt file, random:PRESET."
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command()
def embed(
    paths: Annotated[
        list[str],
        typer.Argument(help="Audio files, folders to search for them, or one dataset:NAME.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The store's folder; made if need be, continued if there.")],
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = "auto",
    keep: Annotated[
        str, typer.Option(metavar="[track|chunks]", help="track: mean and std of each track; chunks: every chunk too.")
    ] = "track",
    features: Annotated[
        str,
        typer.Option(
            metavar="[bottleneck|pre-bottleneck]",
            help="bottleneck: the summary embeddings; pre-bottleneck: the activations before it.",
        ),
    ] = "bottleneck",
    excerpt: ExcerptOption = None,
    loudness: LoudnessOption = None,
    jobs: Annotated[int | None, typer.Option(help="Threads; default: the cores this process may use.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Chunks in one pass through the encoder.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="GLOB",
            help="Pass over files and folders whose path under PATHS matches, as in 'podcasts' or '*.m4a'; repeatable.",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Take tracks out of the store whose file is gone, or that --exclude matches."),
    ] = False,
    forget: Annotated[
        list[Path] | None,
        typer.Option(
            "--forget",
            metavar="DIR",
            help="Take tracks below DIR out whose file is not there, even if a disk may be missing; repeatable.",
            show_default=False,
        ),
    ] = None,
    size: SizeOption = "default",
    seed: SeedOption = 0,
    data_home: DataHomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn music into summary embeddings.

    [bold]m2l2 embed MUSIC/ --out embeddings/[/bold]

    [bold]m2l2 embed dataset:bach-key --out embeddings/[/bold] takes a data set (see 'm2l2 datasets list').

    Run the same command again to go on after an interruption, or to follow the folder: new and changed files are
    embedded, renamed ones keep their embeddings, and tracks whose file is gone are counted, or removed with --prune
    (not where most files of a folder are gone: its disk may not be mounted; --forget DIR removes those too).
    Files that cannot be used are listed with the reason, and the rest goes on (exit code 3).
    """
    from m2l2_mir.embedding.extract import extract
    from m2l2_mir.embedding.pipeline import keep_freed_memory
    from m2l2_mir.progress import EmbedProgress

    keep_freed_memory()
    _no_untrained_warnings()
    if own := [path for path in paths if path.startswith(("table:", "folder:"))]:
        raise InputError(f"write dataset:{own[0]} to embed it")
    names = [path.removeprefix("dataset:") for path in paths if path.startswith("dataset:")]
    if names and len(paths) > 1:
        raise InputError(f"give dataset:{names[0]} alone; a store holds one data set or files and folders")
    dataset = load_and_render(names[0], data_home, size, seed, jobs=jobs, quiet=as_json) if names else None
    with EmbedProgress(quiet=as_json) as progress:
        store = extract(
            paths if dataset is None else dataset,
            out=out,
            model=model,
            device=device,
            keep=keep,  # type: ignore[arg-type]  # checked there, to be told in one line
            features=features,  # type: ignore[arg-type]
            excerpt=read_excerpt(excerpt),
            loudness=loudness,
            jobs=jobs,
            batch_size=batch_size,
            exclude=exclude or (),
            prune=prune,
            forget=forget or (),
            observer=progress,
        )
    summary = progress.summary()
    if as_json:
        typer.echo(json.dumps({"store": str(out), "trained": store.trained, **summary}))
    else:
        _say_embedded(store, out, summary)
    if summary["failed"]:
        raise typer.Exit(DONE_WITH_FAILURES)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tracks, the store and the report.")] = Path(
        "demo"
    ),
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="Six short tracks instead of twelve, and one probe.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Two seeds of every probe instead of one.")] = False,
) -> None:
    """Render a dozen short tracks, embed them and show what the embeddings hold.

    [bold]m2l2 demo[/bold] needs no network and a few minutes; it prints where its HTML report lies.
    """
    from m2l2_mir.demo import run_demo

    if quick and full:
        raise InputError("--quick and --full exclude each other; give one of them")
    _no_untrained_warnings()
    size: Literal["quick", "default", "full"] = "quick" if quick else "full" if full else "default"
    report = run_demo(out, model=model, device=device, size=size, say=typer.echo)
    typer.echo(f"Report: {report.resolve()}")


app.command()(predict)
app.command()(doctor)
app.command()(disentangle)
app.command()(reconstruct)
app.command()(train)
app.command()(pack)


def main() -> None:
    """Entry point: errors of the package become one line and an exit code."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    else:
        warnings.showwarning = lambda message, *_: _say_error(f"warning: {message}")
    try:
        app(arguments, prog_name="m2l2", standalone_mode=True)
    except M2L2Error as error:
        if debug:
            raise
        _say_error(str(error))
        sys.exit(2)
    except (Stopped, KeyboardInterrupt):
        _say_error("stopped; run the same command again to go on")
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        _say_error(f"unexpected {type(error).__name__}: {error}; run again with --debug for the details")
        sys.exit(1)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        typer.echo(f"m2l2-mir {__version__}")
        raise typer.Exit


def _no_untrained_warnings() -> None:
    """The commands say themselves that weights are untrained."""
    warnings.simplefilter("ignore", UntrainedWarning)


def _say_error(message: str) -> None:
    """One line, though the message of a library may have several."""
    typer.echo(f"m2l2: {' '.join(message.split())}", err=True)


def _say_embedded(store: EmbeddingStore, out: Path, summary: dict[str, Any]) -> None:
    """The outcome of `embed` in a few lines: counts, failures, what is in the store."""
    typer.echo(
        f"{summary['embedded']} of {summary['found']} tracks embedded, {summary['unchanged']} unchanged, "
        f"{summary['failed']} failed; {summary['passed_over']} other files passed over"
    )
    if summary["embedded"]:
        typer.echo(
            f"{summary['hours']:.2f} h of music in {summary['seconds']:.1f} s: {summary['speed']:.0f} x real time"
        )
    for kind, listed in (("failed", summary["failures"]), ("embedded, but", summary["notes"])):
        for name, reason in listed[:SHOWN_FAILURES]:
            typer.echo(f"  {kind}: {name if name.isprintable() else repr(name)}: {reason}", err=True)
        if len(listed) > SHOWN_FAILURES:
            typer.echo(f"  ... and {len(listed) - SHOWN_FAILURES} more, in the store's track table", err=True)
    for line in _followed(summary):
        typer.echo(line)
    typer.echo(f"{out}: {len(store.ok)} tracks, {store.num_embeddings} x {store.dim} each")
    if not store.trained:
        typer.echo("The weights are untrained (random): good for trying the pipeline, not for conclusions about music.")


def _followed(summary: dict[str, Any]) -> Iterator[str]:
    """What became of the store's tracks that were not there to be embedded, a line for each kind."""
    if renamed := summary["renamed"]:
        former = next(iter(renamed))
        yield f"{len(renamed)} renamed, their embeddings kept, such as {former!r}, which is {renamed[former]!r} now"
    kinds = (
        (summary["gone"], "no longer there"),
        (summary["excluded"], "in the store and excluded now"),
        (summary["doubled"], "in the store under another name as well"),
    )
    for names, what in kinds:
        if names:
            named = ", ".join(map(repr, names[:SHOWN_NAMES])) + (", ..." if len(names) > SHOWN_NAMES else "")
            done = "removed from the store" if summary["pruned"] else "kept in the store, --prune removes them"
            yield f"{len(names)} tracks {what}: {done} ({named})"
    if forgotten := summary["forgotten"]:
        yield f"{len(forgotten)} tracks not there: forgotten ({', '.join(map(repr, forgotten[:SHOWN_NAMES]))})"
    for folder, count in summary["absent"].items():
        yield (
            f"{count} tracks of {folder} are not there and stay in the store: is a disk not mounted? "
            "--forget DIR takes them out"
        )
