"""The command ``m2l2 train``."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m2l2_mir.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from m2l2_mir.model.config import ModelConfig
    from m2l2_mir.training.quick_probes import QuickProbes


def train(
    data: Annotated[
        list[Path], typer.Option("--data", help="Folder of audio or of packed shards; may be given several times.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder.")],
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe of the package (low-budget, paper), or your own my.toml; not needed with --resume."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    init_from: Annotated[str | None, typer.Option(help="Weights that a new run begins with.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop cleanly after so long.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length, if not the recipe's; with --resume, shortens or lengthens a run.")
    ] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="Collections (sub-folders, patterns) to watch the loss on, not to hear.")
    ] = None,
    hear_all: Annotated[
        bool, typer.Option("--hear-all", help="Train on collections that are marked validation and test too.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile the networks first; default: on a GPU only.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Threads that decode the data; default: all cores.")] = None,
) -> None:
    """Train a model, or go on with a run.

    [bold]m2l2 train low-budget --data MUSIC/ --out run/ --max-minutes 60[/bold]

    [bold]m2l2 train --data MUSIC/ --out run/ --resume[/bold] goes on, here or on another machine: recipe and model are
    taken from the run's folder, the data must be the same, wherever they lie. Only the number of steps may change, by
    --steps: learning rate and schedules follow.

    For several GPUs: [bold]torchrun --nproc-per-node=4 --no-python m2l2 train ...[/bold]
    """
    if find_spec("lightning_fabric") is None:
        raise MissingExtraError(
            'training needs lightning-fabric, which is not installed: pip install "m2l2-mir[train]"'
        )
    from m2l2_mir.model.config import ModelConfig
    from m2l2_mir.progress import CountProgress
    from m2l2_mir.recipe import from_mapping
    from m2l2_mir.training.augmentation import Augmentation, no_augmentation
    from m2l2_mir.training.batches import CorpusBatches
    from m2l2_mir.training.building import build_corpus
    from m2l2_mir.training.config import TrainingConfig
    from m2l2_mir.training.loop import part
    from m2l2_mir.training.loop import train as run_training
    from m2l2_mir.training.metrics import has_tensorboard
    from m2l2_mir.training.state import read_history

    if max_minutes is not None and max_minutes <= 0:
        raise InputError(f"--max-minutes must be above 0: {max_minutes:g}")
    if recipe is None and not resume:
        raise InputError("no recipe: give low-budget, paper or your own my.toml, or --resume to go on with a run")
    begun = read_history(out) if resume else {}
    if resume:  # the run's own, where nothing else is said
        steps = steps or begun["recipe"]["steps"]
        hold_out = hold_out or begun["recipe"]["hold_out"]
    values = begun["recipe"] if recipe is None else TrainingConfig.load(recipe).to_dict()
    aside = [*(hold_out or ()), *(() if recipe is None else values["hold_out"])]
    changes = {"steps": steps or values["steps"], "hold_out": list(dict.fromkeys(aside))}
    own_model = ModelConfig.from_dict(begun["model"]) if recipe is None else None
    config = TrainingConfig.from_dict({**values, **changes}, own_model)
    model = config.model_config
    augmentation = from_mapping(Augmentation, config.augmentation, source=f"augmentation of {config.name}")
    first = int(os.environ.get("RANK", "0")) == 0  # of the processes of torchrun; it alone speaks

    def say(line: str) -> None:
        if first:
            typer.echo(line)

    with CountProgress("decoding") as progress:
        corpus = build_corpus(
            data,
            sample_rate=model.sample_rate,
            channels=model.channels,
            jobs=jobs,
            wait=not first,
            progress=progress,
        )
    say("\n".join(corpus.summary()))
    held_out = None
    marked = set(corpus.pieces.loc[corpus.pieces["split"].isin(corpus.recommended), "collection"])
    heard = begun["data"].get("collections", {}) if resume else {}  # with --hear-all, that of the run too
    recommended = [] if hear_all or not marked.isdisjoint(heard) else corpus.recommended
    if patterns := config.hold_out or tuple(recommended[:1]):
        watched = corpus.split(patterns)[1]
        held_out = CorpusBatches(watched, seed=config.seed, augmentation=no_augmentation())
    if unheard := list(dict.fromkeys([*patterns, *recommended])):
        corpus = corpus.split(unheard)[0]
        say(f"not heard: {', '.join(unheard)}")
    if held_out is None:
        say(
            "nothing is held out: there will be no best.safetensors and no held-out figures; "
            "a new run keeps collections aside with --hold-out"
        )
    batches = CorpusBatches(corpus, seed=config.seed, augmentation=augmentation, mix=config.mix)
    if lacking := [pattern for pattern in config.mix if pattern not in batches.mix]:
        say(f"the mix does without {', '.join(lacking)}: no collection is called like that")
    if not has_tensorboard():
        say('metrics go to metrics.csv alone; for TensorBoard too: pip install "m2l2-mir[train]"')
    weights = run_training(
        config,
        batches,
        out,
        held_out=held_out,
        probes=_quick_probes(model, say) if first else None,
        resume=resume,
        init_from=init_from,
        max_minutes=max_minutes,
        device=device,
        compiled=compiled,
        say=say,
    )
    part()
    say(f"Weights: {weights}")


def _quick_probes(model: ModelConfig, say: Callable[[str], None]) -> QuickProbes | None:
    """The monitors that need rendered music, if it can be rendered."""
    from m2l2_mir.training.quick_probes import QuickProbes

    try:
        return QuickProbes(model)
    except MissingExtraError as error:
        say(f"no quick monitors of pitch and tempo: {error}")
        return None
