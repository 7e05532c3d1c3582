"""Rows of altered tracks beside the same rows of the tracks as they are.

Models and embedders are run over both; vectors and stores that are there already know nothing of altered tracks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.errors import InputError
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.probe.alteration import Alteration, Means, altered_dataset, can_alter
from m2l2_mir.probe.altered_tracks import draw_tracks
from m2l2_mir.probe.embedders import embedder_row, load_embedder
from m2l2_mir.probe.inputs import Extraction, config_of, model_name, model_store, store_rows, untrained_rows
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.rows import Row, hand_made_rows
from m2l2_mir.probe.sources import Sources
from m2l2_mir.probe.space import View

__all__ = ["AlteredRows", "gather_altered"]

Count = Callable[[int, int], None]
Counting = Callable[[str], AbstractContextManager[Count | None]]

AlteredRows = tuple[list[Row], dict[str, list[Row]], list[int]]


def gather_altered(
    plan: Plan,
    sources: Sources,
    alterations: Sequence[Alteration],
    *,
    means: Sequence[Means] = (),
    tracks: int,
    view: View = View(),  # noqa: B008 (frozen)
    extraction: Extraction = Extraction(),  # noqa: B008 (frozen)
    count: Counting = lambda _: nullcontext(),
) -> AlteredRows:
    """Render, alter and embed what is not in the cache yet.

    Parameters
    ----------
    plan
        Its data set is rendered if need be.
    sources
        Models and embedders.
    alterations
        Made of each track that is drawn.
    means
        "rendering", "vocoder"; none: all that the data set allows.
    tracks
        How many are drawn to be altered, of those that the first split tests.
    view
        How embeddings become vectors.
    extraction
        How models are run.
    count
        From the title of a piece of work to what is told of its progress.

    Returns
    -------
    rows : list of Row
        Of all tracks; an untrained row has one initialisation.
    altered : dict of list of Row
        The same rows of the altered tracks, by means.
    positions : list of int
        Of the tracks that were altered.

    Raises
    ------
    InputError
        Stores or vectors are given, a means does not serve the data set, or there is no audio.
    """
    if sources.stores or sources.vectors:
        raise InputError("vectors of altered tracks are needed; name a model or an embedder that can make them")
    dataset = plan.dataset
    means = means or (("rendering", "vocoder") if dataset.clips else ("vocoder",))
    with count("rendering") as progress:
        dataset.render(jobs=extraction.jobs, progress=progress)
    usable = np.logical_and.reduce([can_alter(dataset, one) for one in means])
    if not usable.any():
        raise InputError(
            f"{dataset.name}: none of {len(usable)} tracks can be altered by {' and '.join(means)}: only rendered sets "
            "can be rendered again, and recordings have to be there and take two minutes at most"
        )
    positions = draw_tracks(plan, usable, alterations=alterations, count=tracks)
    altered: dict[str, list[Row]] = {}
    for one in means:
        with count("altering") as progress:
            others = altered_dataset(
                dataset, positions, alterations, means=one, jobs=extraction.jobs, progress=progress
            )
        with count("rendering") as progress:
            others.render(jobs=extraction.jobs, progress=progress)
        altered[one] = _rows(others, sources, view, extraction, count)
    return _rows(dataset, sources, view, extraction, count), altered, positions


def _rows(dataset: Dataset, sources: Sources, view: View, extraction: Extraction, count: Counting) -> list[Row]:
    paths = dataset.tracks["path"].astype(str).tolist()
    rows: list[Row] = []
    configs: list[tuple[str, ModelConfig]] = []
    for model in sources.models:
        store = model_store(model, dataset, extraction)
        rows += store_rows(store, model_name(model), dataset, [view])
        if (config := config_of(store)) is not None:
            configs.append((model_name(model), config))
    for reference in sources.embedders:
        with count(f"embedding with {reference}") as progress:
            rows.append(embedder_row(load_embedder(reference), paths, progress=progress))
    for row in untrained_rows(configs, dataset, seeds=1, view=view, extraction=extraction):
        # One initialisation, since all altered tracks have to be embedded with each.
        rows.append(replace(row, load=lambda _, first=row.load: first(0), about=f"{row.about}: one draw"))  # type: ignore[misc]
    with count("hand-made features") as progress:
        rows += hand_made_rows(paths, jobs=extraction.jobs, progress=progress)
    return rows
