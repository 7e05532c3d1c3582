"""From models or embedding stores to a finished folder: what is analysed, slot identity, results, report.

Conventions
-----------
* Two models are two arms of one pair; several pairs, trained from several seeds, are given as models and the models
  they are set against, in the same order.
* Controls beside the first model: with ``tour`` none, with ``quick`` its untrained self; else an oracle and log-mel
  statistics too. A tour, for a demonstration, takes clips of one chunk only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

from m2l2_mir.disentangle.arms import arms_of, check_models, check_shapes, names_of
from m2l2_mir.disentangle.blocks import Block, factor_blocks, factor_clips
from m2l2_mir.disentangle.controls import (
    LOG_MEL_SHAPE,
    log_mel_source,
    oracle_source,
    rotated_inside,
    time_bases,
    untrained_source,
)
from m2l2_mir.disentangle.dimension_lines import classic_lines
from m2l2_mir.disentangle.dimension_maps import dimension_map
from m2l2_mir.disentangle.experiment import Analysis, run_analysis
from m2l2_mir.disentangle.generalisation_lines import generalisation_lines
from m2l2_mir.disentangle.labels import label_blocks
from m2l2_mir.disentangle.model_swaps import is_controllable, swaps_of_model, told_swaps
from m2l2_mir.disentangle.nulls import Nulls
from m2l2_mir.disentangle.report import write_report
from m2l2_mir.disentangle.results import SWAPS, write_results
from m2l2_mir.disentangle.source_identity import identity_of, matching_of, seeds_of
from m2l2_mir.disentangle.sources import Observe, Source, model_source, native_tokens, regrouping_note, store_source
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.probe.sources import Count

__all__ = ["Size", "analyse_models", "analyse_stores"]

Size = Literal["tour", "quick", "default", "full"]
SIZES = {
    "tour": Nulls(rotations=20, permutations=50),  # 19 can reach a p of .05
    "quick": Nulls(rotations=20, permutations=50),
    "default": Nulls(rotations=50, permutations=200),
    "full": Nulls(rotations=100, permutations=500),
}
PARTS = "parts"

Counting = Callable[[str], AbstractContextManager[Count | None]]


def analyse_models(
    models: Sequence[str],
    out: Path,
    *,
    against: Sequence[str] = (),
    size: Size = "default",
    swaps: bool = False,
    device: str = "auto",
    jobs: int | None = None,
    data_home: Path | None = None,
    command: str = "",
    observe: Observe = lambda _: nullcontext(),
    count: Counting = lambda _: nullcontext(),
) -> dict[str, Any]:
    """Analyse models on the rendered set ``factors``.

    Parameters
    ----------
    models
        As :func:`m2l2_mir.load_model` takes them: one is described, two are compared.
    out
        Folder of results; what is in it is taken up.
    against
        Second arm, paired with `models` by place.
    size
        "tour" and "quick" for a small set and few draws; "full" for more draws, the metrics of single dimensions and
        decoder swaps.
    swaps
        Decoder swaps of the first model of each arm, in other sizes too, where its decoder is trained.
    device, jobs, data_home
        As in :func:`m2l2_mir.extract` and :func:`m2l2_mir.load_dataset`.
    command
        Kept with the results.
    observe, count
        Progress of extractions, and of other work by its title.

    Returns
    -------
    dict
        As written to ``scores.json``.

    Raises
    ------
    InputError
        Models are not paired, differ in shape, or the folder cannot be written.
    """
    _make_folder(out)
    first_arm, second_arm = arms_of(models, against)
    unequal = check_models(first_arm, second_arm)
    small = size in ("tour", "quick")
    dataset = factor_clips(quick=small, lengths=(1,) if size == "tour" else (1, 8), data_home=data_home)
    with count("rendering") as progress:
        dataset.render(jobs=jobs, progress=progress)
    blocks = factor_blocks(dataset)
    given = {
        name: model_source(name, dataset, device=device, jobs=jobs, observe=observe)
        for name in dict.fromkeys([*first_arm, *second_arm])
    }
    first, second = ([given[name] for name in arm] for arm in (first_arm, second_arm))
    controls = []
    notes = [*dataset.notes, *unequal]
    if size != "tour" and (one := untrained_source(first[0], dataset, jobs=jobs, observe=observe)) is not None:
        controls.append(one)
    if size == "tour":
        notes.append("a tour: few clips, of one chunk only, few draws, and no controls beside random rotations")
    elif size == "quick":
        notes.append("a quick look: few clips and draws, and of the controls only the untrained encoder")
    else:
        controls.append(oracle_source(blocks, first[0].shape))
        if first[0].shape == LOG_MEL_SHAPE:
            with count("log-mel statistics") as progress:
                controls.append(log_mel_source(dataset, jobs=jobs, progress=progress))
        else:
            notes.append("log-mel statistics of equal width are made for 8 x 64 slots only")
    swapped: dict[str, Any] = {}
    if swaps or size == "full":
        for name in dict.fromkeys([first_arm[0], *second_arm[:1]]):
            with count(f"decoder swaps of {given[name].name}") as progress:
                swapped[given[name].name] = swaps_of_model(
                    load_model(name, device=device),
                    given[name],
                    dataset,
                    blocks,
                    out / PARTS,
                    out / SWAPS,
                    size=size,
                    progress=progress,
                )
    # A model that is untrained as given is the control already.
    controls = [one for one in controls if one.identity != first[0].identity]
    return _finish(
        out,
        blocks,
        first,
        second,
        controls,
        size=size,
        notes=notes,
        command=command,
        count=count,
        swapped=swapped,
        dataset={
            "name": dataset.name,
            "title": dataset.recipe.title,
            "licence": dataset.recipe.licence,
            "citation": dataset.recipe.citation,
        },
    )


def analyse_stores(
    stores: Sequence[Path],
    labels: Path,
    out: Path,
    *,
    factors: Sequence[str] = (),
    size: Size = "default",
    command: str = "",
    count: Counting = lambda _: nullcontext(),
) -> dict[str, Any]:
    """Analyse embeddings that are there, with a table of labels; without any renderer.

    Parameters
    ----------
    stores
        One is described, two are compared.
    labels, factors
        See :func:`m2l2_mir.disentangle.labels.label_blocks`.
    out, size, command, count
        As in :func:`analyse_models`.

    Raises
    ------
    InputError, StoreError
        A store or the table cannot be used.
    """
    _make_folder(out)
    if len(stores) not in (1, 2):
        raise InputError(f"{len(stores)} stores; give one to describe it, or two to compare them")
    opened = [EmbeddingStore.open(store) for store in stores]
    sources = [store_source(store, name) for store, name in zip(opened, names_of(stores), strict=True)]
    check_shapes([(source.name, source.shape) for source in sources])
    tracks = opened[0].tracks
    for store in opened[1:]:
        tracks = tracks[tracks["track_id"].isin(store.tracks["track_id"])]
    blocks, notes = label_blocks(labels, tracks, factors=factors)
    controls = [] if size == "quick" else [oracle_source(blocks, sources[0].shape)]
    notes.append("factors of a user's own are rarely drawn independently: what slots share may be what labels share")
    return _finish(
        out, blocks, sources[:1], sources[1:], controls, size=size, notes=notes, command=command, count=count
    )


def _make_folder(out: Path) -> None:
    """Before anything takes time."""
    try:
        (out / PARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out} cannot be a folder of results: {error.strerror or error}; give another --out"
        ) from error


def _finish(
    out: Path,
    blocks: Sequence[Block],
    first: Sequence[Source],
    second: Sequence[Source],
    controls: Sequence[Source],
    *,
    size: Size,
    notes: Sequence[str],
    command: str,
    count: Counting,
    swapped: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
) -> dict[str, Any]:
    bases: dict[str, list[Source]] = {}
    ordered = [time_bases(source, blocks) for source in second if source.ordered]
    if ordered and len(ordered) == len(second):
        bases = {name: [of[place] for of in ordered] for place, name in enumerate(("DCT", "PCA"))}
    elif second:
        notes = [*notes, "the second arm is not of ordered latents, so that no time basis of it was tried"]
    shown = [*first[:1], *second[:1]]
    native = [one for source in shown if (one := native_tokens(source)) is not None]
    notes = [*notes, *(note for source in shown if (note := regrouping_note(source)) is not None)]
    analysis = Analysis(
        blocks=blocks,
        first=first,
        second=second,
        bases=bases,
        controls=[*native, *controls],
        inside=rotated_inside(first[0]),
        nulls=SIZES[size],
        controllable=partial(is_controllable, swapped or {}, first[0].name),
        notes=tuple(notes),
    )
    with count("measuring") as progress:
        found = run_analysis(analysis, out / PARTS, progress=progress)
    with count("slot identity") as progress:
        found["identity"] = {source.name: identity_of(source, blocks) for source in shown}
        found["matching"] = matching_of(first[0], second[0], blocks[0]) if second else None
        found["seeds"] = {"first": seeds_of(first, blocks[0]), "second": seeds_of(second, blocks[0])}
    whole = [block.without({track for source in shown for track in source.failed}) for block in blocks]
    found["dimensions"] = {source.name: dimension_map(source, whole) for source in shown}
    if size != "tour":
        with count("unseen combinations") as progress:
            found["unseen"] = generalisation_lines(shown, whole, out / PARTS, progress=progress)
    if size == "full":
        with count("single dimensions") as progress:
            found["classics"] = classic_lines(shown, whole, out / PARTS, progress=progress)
    found["swaps"] = told_swaps(swapped or {}, found["cells"])
    found["notes"] += [one["sentence"] for one in found["swaps"].values() if not one["plans"]]
    found["dataset"] = dataset
    write_results(out, found, command=command)
    write_report(out)
    return found
