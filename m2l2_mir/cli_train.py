"""The command ``m2l2 train``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m2l2_mir.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from m2l2_mir.model.config import ModelConfig
    from m2l2_mir.training.quick_probes import QuickProbes


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe of the package (low-budget, paper), or your own my.toml.")],
    data: Annotated[
        list[Path], typer.Option("--data", help="Folder of audio or of packed shards; may be given several times.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder.")],
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

    Run it again with --resume to go on, here or on another machine; the recipe and the data must be the same, wherever
    they lie. Only the number of steps may change, by --steps: learning rate and schedules follow.

    For several GPUs: [bold]torchrun --nproc-per-node=4 --no-python m2l2 train ...[/bold]
    """
    if find_spec("lightning_fabric") is None:
        raise MissingExtraError(
            'training needs lightning-fabric, which is not installed: pip install "m2l2-mir[train]"'
        )
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
    config = TrainingConfig.load(recipe)
    if resume:  # the run's own, where nothing else is said
        begun = read_history(out)["recipe"]
        steps = steps or begun["steps"]
        hold_out = hold_out or begun["hold_out"]
    config = replace(
        config, steps=steps or config.steps, hold_out=tuple(dict.fromkeys([*(hold_out or ()), *config.hold_out]))
    )
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
    recommended = [] if hear_all else corpus.recommended
    if patterns := config.hold_out or tuple(recommended[:1]):
        watched = corpus.split(patterns)[1]
        held_out = CorpusBatches(watched, seed=config.seed, augmentation=no_augmentation())
    if unheard := list(dict.fromkeys([*patterns, *recommended])):
        corpus = corpus.split(unheard)[0]
        say(f"not heard: {', '.join(unheard)}")
    if not has_tensorboard():
        say('metrics go to metrics.csv alone; for TensorBoard too: pip install "m2l2-mir[train]"')
    weights = run_training(
        config,
        CorpusBatches(corpus, seed=config.seed, augmentation=augmentation, mix=config.mix),
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
