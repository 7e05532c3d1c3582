"""All rows of an experiment: what the user names, and what always stands beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.probe.embedders import embedder_row, load_embedder
from m2l2_mir.probe.inputs import Extraction, View, config_of, model_name, model_store, store_rows, untrained_rows
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.rows import Row, file_row, hand_made_rows

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
        Files, ``.npy`` or ``.parquet``.
    """

    models: Sequence[str] = ()
    stores: Sequence[Path] = ()
    embedders: Sequence[str] = ()
    vectors: Sequence[Path] = ()


def gather_rows(
    plan: Plan,
    sources: Sources,
    *,
    views: Sequence[View] = (View(),),
    extraction: Extraction = Extraction(),  # noqa: B008 (frozen)
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
    count
        From the title of a piece of work to what is told of its progress.

    Returns
    -------
    rows : list of Row
        For :func:`m2l2_mir.probe.experiment.run_probe`: models first, then untrained and hand-made rows.
    notes : list of str
        Which rows that always appear could not be made, and why.
    """
    dataset = plan.dataset
    with count("rendering") as progress:
        dataset.render(jobs=extraction.jobs, progress=progress)
    paths = dataset.tracks["path"].astype(str).tolist()
    rows: list[Row] = []
    configs: list[tuple[str, ModelConfig]] = []
    stores = [(model_name(model), model_store(model, dataset, extraction)) for model in sources.models]
    stores += [(Path(folder).name, EmbeddingStore.open(folder)) for folder in sources.stores]
    for name, store in stores:
        rows += store_rows(store, name, dataset, views)
        if (config := config_of(store)) is not None:
            configs.append((name, config))
    for reference in sources.embedders:
        with count(f"embedding with {reference}") as progress:
            rows.append(embedder_row(load_embedder(reference), paths, progress=progress))
    rows += [file_row(file, plan.track_ids) for file in sources.vectors]
    if not any(os.path.isfile(path) for path in paths):
        return rows, ["no audio is there, so that hand-made and untrained rows are missing"]
    notes = []
    if configs:
        rows += untrained_rows(configs, dataset, seeds=plan.seeds, view=views[0], extraction=extraction)
    else:
        notes.append("no architecture is known, so that an untrained row is missing")
    with count("hand-made features") as progress:
        rows += hand_made_rows(paths, jobs=extraction.jobs, progress=progress)
    return rows, notes
