"""Small models that benchmarks train themselves: runs that stay in a folder, paired arms.

An arm is a way of training. The arms of a seed have the same data in the same order and as many steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from _held_out import Clip, listen

from m2l2_mir.durable import cache_home, write_durably
from m2l2_mir.errors import ConfigError, MissingExtraError
from m2l2_mir.model.checkpoint import load_model, random_model, save_model
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.recipe import from_mapping
from m2l2_mir.training.augmentation import Augmentation, no_augmentation
from m2l2_mir.training.batches import CorpusBatches
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.corpus import Corpus
from m2l2_mir.training.loop import train
from m2l2_mir.training.monitors import TrainingStopped
from m2l2_mir.training.quick_probes import QuickProbes
from m2l2_mir.training.recordings import recordings_of
from m2l2_mir.training.run import WEIGHTS
from m2l2_mir.training.state import STATE, read_history, resumed_history

MIX = {"*renders*": 0.4, "*": 0.6}
STOPPED = "stopped.txt"  # in the folder of a run that training gave up

# A step of m2l2-tiny spends its time on spectra and targets: twice its width and depth cost a third more, and the
# chunks of a window can be looked at across more than a single attention.
TINY = ModelConfig.preset("m2l2-tiny").replace(
    name="m2l2-tiny-wide",
    level_channels=(32, 128),
    dim=128,
    encoder_layers=2,
    upsampler_layers=2,
    consistency_layers=2,
    noise_dim=64,
)
POSITIONS = "consistency.transformer.positions"  # the only weights whose number depends on the context
ENCODER_STEPS, DECODER_STEPS = 1000, 1500
CHUNKS = 16  # in a step of the decoder's stage, whatever the context
# In so short a stage `low-budget-decoder` leaves a decoder all but silent: see docs/training-trials.md.
SHORT_DECODER = {"phase_until": 0.7, "easy_until": 0.0, "noise_mean": 1.5, "noise_std": 2.0}
SHORT_DECODER_SAID = (
    f"For {SHORT_DECODER['phase_until']:.0%} of its steps a decoder learns magnitudes alone, its phases being those of "
    "the noise, by the consistency loss in the rest: continuous phases where chunks meet are hardly taught."
)


# Options


def add_options(parser: argparse.ArgumentParser, *, steps: int, seeds: int = 3) -> None:
    parser.add_argument("--data", type=Path, action="append", required=True, metavar="DIR", help="repeatable")
    parser.add_argument("--test", type=Path, metavar="DIR", help="held-out music (default: what --data marks as test)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="of the runs (default: in the user's cache)")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"pairs (default: {seeds})")
    parser.add_argument("--steps", type=int, default=steps, help=f"of the stage that is compared (default: {steps})")
    parser.add_argument("--device", default="auto", help="cpu, cuda, auto (default: auto)")


def work_folder(options: argparse.Namespace, name: str) -> Path:
    """Folder of the runs; those of a quick run lie apart."""
    work: Path = options.work or cache_home() / name
    return work / "quick" if options.quick else work


# Music


def split_corpus(options: argparse.Namespace, model: ModelConfig) -> Corpus:
    """Corpus of --data, of which something can be held out."""
    corpus = build_corpus(options.data, sample_rate=model.sample_rate, channels=model.channels)
    if not corpus.recommended:
        raise SystemExit(
            "--data marks no collection as validation or test, so that nothing would be held out; "
            "m2l2 corpus fetch free-music does"
        )
    return corpus


def held_out_clips(options: argparse.Namespace, corpus: Corpus, config: ModelConfig) -> list[Clip]:
    """Excerpts of music that training does not hear, one of each piece; options has clips and seconds.

    Collections marked as test; of --test, where it marks none, all.
    """
    folders = options.data if options.test is None else [options.test]
    for folder in folders:
        splits = {recording.collection: recording.facts.split for recording in recordings_of([folder]).found}
        names = [name for name, split in splits.items() if split == "test"]
        if options.test is not None and not names:
            names = list(splits)
        if names:
            break
    else:
        raise SystemExit("--data marks no collection as test; give held-out music with --test")
    trained = corpus.split(corpus.recommended)[0].pieces["collection"]
    if both := sorted(set(names) & set(trained)):
        raise SystemExit(f"training hears {', '.join(both)}; give other music with --test")
    choice = argparse.Namespace(
        data=folder,
        hold_out=sorted(names),
        clips=options.clips,
        per_piece=1,
        seconds=options.seconds,
        seed=0,
        quick=options.quick,
    )
    clips, _ = listen(choice, config, lambda piece, excerpts: None)
    if len(clips) < 3:
        raise SystemExit(f"held-out pieces with {options.seconds:g} s of sound: {len(clips)}; 3 are needed")
    return clips


def mix_of(corpus: Corpus) -> dict[str, float]:
    """Shares of what is heard: two fifths renders, where there are any."""
    rendered = corpus.pieces["collection"].str.contains("renders").any()
    return MIX if rendered else {}


# Training


def one_run(
    out: Path,
    config: TrainingConfig,
    corpus: Corpus,
    device: str,
    *,
    probes: QuickProbes | None = None,
    init_from: Path | None = None,
    watched: bool = True,
    may_stop: bool = False,
) -> dict[str, Any]:
    """Train one model, or what is left of it, and return what was measured at its end.

    A run of another recipe or of other data in the folder ends the script.

    Parameters
    ----------
    out
        Folder of the run; a finished run stays as it is.
    watched
        Measure held-out losses of the collections that are recommended for that.
    may_stop
        A run that training gives up, as one that has collapsed, is finished: ``stopped`` says why.

    Returns
    -------
    dict
        The last row of its metrics, ``seconds`` and ``device``.
    """
    batches = heard(config, corpus)
    require_same(out, config, json.loads(json.dumps(batches.describe())))
    started = (out / STATE).exists()
    given_up = out / STOPPED
    if not given_up.exists() and (not started or read_history(out)["stretches"][-1]["to_step"] < config.steps):
        aside = corpus.split(corpus.recommended[:1])[1]
        try:
            train(
                config,
                batches,
                out,
                held_out=CorpusBatches(aside, seed=config.seed, augmentation=no_augmentation()) if watched else None,
                probes=probes,
                resume=started,
                init_from=None if init_from is None else str(init_from),
                device=device,
                say=lambda line: print(f"{out.name}: {line}", flush=True),
            )
        except TrainingStopped as stopped:
            if not may_stop:
                raise
            reason = str(stopped)
            write_durably(given_up, lambda file: file.write(reason.encode()))
    stretches = read_history(out)["stretches"]
    return {
        **{str(name): float(value) for name, value in metrics_of(out).iloc[-1].items()},
        "seconds": sum(stretch["seconds"] for stretch in stretches),
        "device": ", ".join(sorted({stretch["device"] for stretch in stretches})),
        **({"stopped": given_up.read_text()} if given_up.exists() else {}),
    }


def heard(config: TrainingConfig, corpus: Corpus) -> CorpusBatches:
    """What training hears of a corpus: all that is not held out."""
    augmentation = from_mapping(Augmentation, config.augmentation, source=f"augmentation of {config.name}")
    return CorpusBatches(
        corpus.split(corpus.recommended)[0], seed=config.seed, augmentation=augmentation, mix=config.mix
    )


def require_same(run: Path, config: TrainingConfig, data: dict[str, Any]) -> None:
    """Refuse a run of other data, another recipe or another length, on which its learning rate depends."""
    if not (run / STATE).exists():
        return
    history = read_history(run)
    try:
        resumed_history(run, config, data)
    except ConfigError as error:
        raise SystemExit(f"{error}; here: give another --work") from error
    planned = {stretch["of"] for stretch in history["stretches"]}
    if planned != {config.steps}:
        others = ", ".join(map(str, sorted(planned - {config.steps})))
        raise SystemExit(
            f"{run} was planned for {others} steps, not {config.steps}; give that --steps or another --work"
        )


def metrics_of(run: Path) -> pd.DataFrame:
    """What was logged of a run, a row every 50 steps."""
    return pd.read_csv(run / "metrics.csv")


@cache
def monitors(config: ModelConfig) -> QuickProbes | None:
    """The monitors that need rendered music, if it can be rendered."""
    try:
        return QuickProbes(config)
    except MissingExtraError:
        return None


def model_file(config: ModelConfig, work: Path) -> str:
    """Write a configuration where a recipe can name it, and return its path."""
    path = work / f"{config.name}.toml"
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in config.to_dict().items() if value is not None]
    work.mkdir(parents=True, exist_ok=True)
    write_durably(path, lambda file: file.write("".join(lines).encode()))
    return str(path)


def decoder_arms(
    options: argparse.Namespace, work: Path, corpus: Corpus, configs: Mapping[str, ModelConfig]
) -> list[dict[str, Any]]:
    """Train an encoder for each seed and kind of latents, then each arm's decoder for its encoder.

    Two stages, as the shipped model has them, shortened: `low-budget`, then `low-budget-decoder` changed by
    `SHORT_DECODER`, in which the encoder stays as it is: arms of a seed with the same kind of latents decode the same
    ones. A step has as many chunks in every arm.

    Returns
    -------
    list of dict
        Of each run: ``arm`` (that of a first stage begins with "encoder"), ``seed``, ``weights`` and what
        :func:`one_run` gives.
    """
    first, second = (20, 20) if options.quick else (ENCODER_STEPS, options.steps)
    runs = []
    for seed in range(options.seeds):
        encoders: dict[str, Path] = {}
        for arm, config in configs.items():
            if config.latents not in encoders:
                run = encoder_run(options, work, corpus, config.latents, seed, first)
                encoders[config.latents] = run["weights"]
                runs.append(run)
            folder = work / f"{config.name.removeprefix('m2l2-tiny-')}-{seed}"
            begin = moved(encoders[config.latents], config, work / f"{folder.name}-begin.safetensors", seed)
            runs.append({"arm": arm, "seed": seed} | decoder_run(options, folder, corpus, config, begin, seed, second))
    return runs


def decoder_run(
    options: argparse.Namespace,
    folder: Path,
    corpus: Corpus,
    config: ModelConfig,
    begin: Path,
    seed: int,
    steps: int,
) -> dict[str, Any]:
    """Train a decoder for the encoder in the weights that it begins with."""
    recipe = dataclasses.replace(
        TrainingConfig.load("low-budget-decoder"),
        **SHORT_DECODER,
        model=model_file(config, folder.parent),
        latents=config.latents,
        steps=steps,
        warmup_steps=min(100, steps),
        batch_size=CHUNKS // config.context_chunks,
        mix=mix_of(corpus),
        seed=seed,
    )
    found = one_run(folder, recipe, corpus, options.device, init_from=begin, watched=not options.quick)
    return {"weights": folder / WEIGHTS} | found


def encoder_run(
    options: argparse.Namespace, work: Path, corpus: Corpus, latents: str, seed: int, steps: int
) -> dict[str, Any]:
    """Train the encoder that decoders of one kind of latents share."""
    shared = latents == TINY.latents
    recipe = dataclasses.replace(
        TrainingConfig.load("low-budget"),
        model=model_file(TINY.replace(name="m2l2-tiny-context-2"), work),
        latents=latents,
        steps=steps,
        warmup_steps=min(100, steps),
        mix=mix_of(corpus),
        seed=seed,
    )
    folder = work / (f"encoder-{seed}" if shared else f"encoder-{latents}-{seed}")
    found = one_run(folder, recipe, corpus, options.device, watched=not options.quick)
    return {"arm": "encoder" if shared else f"encoder ({latents})", "seed": seed, "weights": folder / WEIGHTS} | found


def moved(weights: Path, config: ModelConfig, out: Path, seed: int) -> Path:
    """Write weights for another context or mask: what both have is taken over, what is new is drawn from `seed`."""
    before, model = load_model(weights, device="cpu"), random_model(config, seed)
    tensors, own = before.state_dict(), model.state_dict()
    both = min(len(tensors[POSITIONS]), len(own[POSITIONS]))
    own[POSITIONS][:both] = tensors.pop(POSITIONS)[:both]
    model.load_state_dict({**own, **tensors})
    model.weights_id = before.weights_id
    save_model(model, out, metadata=before.metadata)
    return out


# What to read


def budget(runs: Sequence[Mapping[str, Any]], seeds: int) -> str:
    """Say what was trained, so that nobody takes it for more."""
    model = f"`{TINY.name}` ({parameters() / 1e6:.1f} M parameters)"
    stages: dict[int, list[str]] = {}
    for run in runs:
        stages.setdefault(int(run["step"]), []).append(run["arm"])
    steps = "; ".join(f"{', '.join(dict.fromkeys(arms))}: {count} steps" for count, arms in stages.items())
    minutes = sum(run["seconds"] for run in runs) / 60
    devices = ", ".join(sorted({run["device"] for run in runs}))
    return (
        f"Tiny models, trained for minutes: {model}, {seeds} seeds; {steps}; {minutes:.0f} minutes of training in all "
        f"({devices}). {SHORT_DECODER_SAID} What they show need not hold for full-size models trained to the end. "
        f"Intervals are of 95 %: over seeds, after Student, of {seeds}; over held-out pieces, for these very seeds. "
        "None is corrected for the number of comparisons."
    )


def parameters() -> int:
    """Of the model that is trained."""
    return sum(tensor.numel() for tensor in random_model(TINY).parameters())
