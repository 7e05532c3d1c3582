"""The command ``m2l2 train``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from m2l2_mir.errors import InputError, MissingExtraError


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe of the package (low-budget, paper), or your own my.toml.")],
    data: Annotated[
        list[Path], typer.Option("--data", help="Folder of audio or of packed shards; may be given several times.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    init_from: Annotated[str | None, typer.Option(help="Weights that a new run begins with.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop cleanly after so long.")] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="Collections (sub-folders, patterns) to watch the loss on, not to hear.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[int | None, typer.Option(help="Threads that decode the data; default: all cores.")] = None,
) -> None:
    """Train a model, or go on with a run.

    [bold]m2l2 train low-budget --data MUSIC/ --out run/ --max-minutes 60[/bold]

    Run it again with --resume to go on, here or on another machine. For several GPUs start it with torchrun.
    """
    if find_spec("lightning_fabric") is None:
        raise MissingExtraError(
            'training needs lightning-fabric, which is not installed: pip install "m2l2-mir[train]"'
        )
    from m2l2_mir.progress import CountProgress
    from m2l2_mir.recipe import from_mapping
    from m2l2_mir.training.augmentation import Augmentation
    from m2l2_mir.training.batches import CorpusBatches
    from m2l2_mir.training.building import build_corpus
    from m2l2_mir.training.config import TrainingConfig
    from m2l2_mir.training.loop import train as run_training

    if max_minutes is not None and max_minutes <= 0:
        raise InputError(f"--max-minutes must be above 0: {max_minutes:g}")
    config = TrainingConfig.load(recipe)
    model = config.model_config
    augmentation = from_mapping(Augmentation, config.augmentation, source=f"augmentation of {config.name}")
    with CountProgress("decoding") as progress:
        corpus = build_corpus(
            data, sample_rate=model.sample_rate, channels=model.channels, jobs=jobs, progress=progress
        )
    typer.echo("\n".join(corpus.summary()))
    held_out = None
    if patterns := [*(hold_out or ()), *config.hold_out]:
        corpus, watched = corpus.split(patterns)
        held_out = CorpusBatches(watched, seed=config.seed, augmentation=augmentation)
    weights = run_training(
        config,
        CorpusBatches(corpus, seed=config.seed, augmentation=augmentation, mix=config.mix),
        out,
        held_out=held_out,
        resume=resume,
        init_from=init_from,
        max_minutes=max_minutes,
        device=device,
        say=typer.echo,
    )
    typer.echo(f"Weights: {weights}")
