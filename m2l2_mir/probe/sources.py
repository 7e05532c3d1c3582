"""All rows of an experiment: what the user names, and what always stands beside it.

Conventions
-----------
* All rows hear the same of each file: where an excerpt is asked for or a store was made of one, models, embedders and
  hand-made features get that excerpt. Vectors that come as files are as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.probe.embedders import embedder_row, load_embedder
from m2l2_mir.probe.inputs import Extraction, config_of, model_name, model_store, store_rows, untrained_rows
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.rows import Row, file_row, hand_made_rows
from m2l2_mir.probe.space import View

__all__ = ["Sources", "gather_rows"]

Count = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is probed, in this order; the first of all is what other rows are compared with.

    Parameters
    ----------
    models
        Names, paths, ``random:NAME``.
    stores
        Folders of embedding stores.
    embedders
        ``module:Class`` each.
    vectors
        Files, as :func:`m2l2_mir.probe.rows.file_row` takes them.
    """

    models: Sequence[str] = ()
    stores: Sequence[Path] = ()
    embedders: Sequence[str] = ()
    vectors: Sequence[Path] = ()

    def check(self) -> None:
        """Raise an InputError unless folders and files are there, before any work is done."""
        for folder in self.stores:
            EmbeddingStore.open(folder)
        for file in self.vectors:
            if not os.path.isfile(file):
                raise InputError(f"{file} is no file; give vectors as .npy or .parquet")


def gather_rows(
    plan: Plan,
    sources: Sources,
    *,
    views: Sequence[View] = (View(),),
    extraction: Extraction = Extraction(),  # noqa: B008 (frozen)
    kept: Path | None = None,
    count: Callable[[str], AbstractContextManager[Count | None]] = lambda _: nullcontext(),
) -> tuple[list[Row], list[str]]:
    """Embed and compute what is not in the cache yet.

    Parameters
    ----------
    plan
        Its data set is rendered if need be.
    sources
        What is probed.
    views
        Of models and stores; the untrained row is read in the first one.
    extraction
        How models are run.
    kept
        Folder for the vectors of embedders until the run is done; see :func:`m2l2_mir.probe.embedders.embedder_row`.
    count
        From the title of a piece of work to what is told of its progress.

    Returns
    -------
    rows : list of Row
        For :func:`m2l2_mir.probe.experiment.run_probe`: models first, then untrained and hand-made rows.
    notes : list of str
        Which rows that always appear could not be made, and why; and what rows hear where it is not the whole file.

    Raises
    ------
    InputError
        A source cannot be read, lacks tracks, or stores have heard different parts of the files.
    """
    dataset = plan.dataset
    opened = [EmbeddingStore.open(folder) for folder in sources.stores]
    extraction, notes = _as_heard(opened, extraction, alone=not sources.models)
    files = [file_row(file, plan.track_ids, columns=set(dataset.tracks.columns)) for file in sources.vectors]
    embedders = [(reference, load_embedder(reference)) for reference in sources.embedders]
    with count("rendering") as progress:
        dataset.render(jobs=extraction.jobs, progress=progress)
    paths = dataset.tracks["path"].astype(str).tolist()
    rows: list[Row] = []
    configs: list[tuple[str, ModelConfig]] = []
    stores = [
        (model_name(model), _reference(model), model_store(model, dataset, extraction)) for model in sources.models
    ]
    stores += [(Path(store.path).name, "", store) for store in opened]
    for name, reference, store in stores:
        rows += store_rows(store, name, dataset, views, model=reference)
        if (config := config_of(store)) is not None:
            configs.append((name, config))
    for reference, embedder in embedders:
        with count(f"embedding with {reference}") as progress:
            rows.append(embedder_row(embedder, paths, excerpt=extraction.excerpt, kept=kept, progress=progress))
    rows += files
    if not any(os.path.isfile(path) for path in paths):
        return rows, [*notes, "no audio is there, so that hand-made and untrained rows are missing"]
    if configs:
        rows += untrained_rows(configs, dataset, seeds=plan.seeds, view=views[0], extraction=extraction)
    else:
        notes.append("no architecture is known, so that an untrained row is missing")
    with count("hand-made features") as progress:
        rows += hand_made_rows(paths, excerpt=extraction.excerpt, jobs=extraction.jobs, progress=progress)
    return rows, [*notes, *_other_audio(rows)]


def _as_heard(stores: Sequence[EmbeddingStore], extraction: Extraction, *, alone: bool) -> tuple[Extraction, list[str]]:
    """The extraction that hears what stores have heard, and what has to be said of it.

    `alone`: no model is named, so that untrained rows show the features that the stores hold.
    """
    settings: list[dict[str, Any]] = [store.provenance["settings"] for store in stores]
    first: dict[str, Any] = (
        settings[0] if settings else {"excerpt": extraction.excerpt, "loudness": extraction.loudness}
    )
    for key in ("excerpt", "loudness"):
        asked, there = getattr(extraction, key), first.get(key)
        if asked is not None and (there is None or np.any(np.asarray(asked) != np.asarray(there))):
            raise InputError(
                f"{stores[0].path} was made with {key} {there}, and {asked} is asked for; rows are compared on "
                "the same audio only: embed it so, or leave that out"
            )
        for store, other in zip(stores, settings, strict=True):
            if other.get(key) != first.get(key):
                raise InputError(
                    f"{store.path} was made with {key} {other.get(key)}, {stores[0].path} with {first.get(key)}; rows "
                    "are compared on the same audio only: embed both alike"
                )
    excerpt, loudness = first.get("excerpt"), first.get("loudness")
    extraction = replace(extraction, excerpt=None if excerpt is None else (excerpt[0], excerpt[1]), loudness=loudness)
    if alone and "features" in first:
        extraction = replace(extraction, features=first["features"])
    notes = []
    if excerpt is not None:
        said = "all rows hear {1:g} s of each file from {0:g} s on".format(*excerpt)
        notes.append(f"{said}, as the store does" if stores else said)
    if loudness is not None:
        notes.append(
            f"models hear files at {loudness:g} LUFS, hand-made features and other embedders at their own level"
        )
    return extraction, notes


def _other_audio(rows: Sequence[Row]) -> list[str]:
    """What has to be said where two rows did not hear the same files."""
    hashed = [row for row in rows if row.audio]
    for row in hashed[1:]:
        pairs = zip(row.audio, hashed[0].audio, strict=True)
        if different := sum(bool(mine and theirs) and mine != theirs for mine, theirs in pairs):
            return [
                f"{different} of {len(row.audio)} files that {row.name} heard are not those that {hashed[0].name} heard"
            ]
    return []


def _reference(model: str) -> str:
    """A model as it is found from any folder."""
    return os.path.abspath(model) if os.path.isfile(model) else model
