"""What stands beside an index in its evaluation: its embeddings prepared otherwise, log-mel statistics, random vectors,
other embedding stores.

Conventions
-----------
* A row's vectors are in the order of the index's tracks, nan where a track failed, and prepared as the index's own are
  (:mod:`m2l2_mir.index.preparation`): with another preparation a row could lose by that alone. Hand-made features are
  brought to one scale before, since decibels and their spread have different ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from m2l2_mir.dataset.table_file import names_in
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.index.preparation import KINDS, possible, prepare
from m2l2_mir.index.sources import embeddings_of
from m2l2_mir.index.vectors import Rows
from m2l2_mir.probe.baseline_vectors import baseline_vectors
from m2l2_mir.probe.baselines import BASELINES, VERSION
from m2l2_mir.probe.rows import Row, Vectors, align, require_known

__all__ = ["RANDOM", "SAME", "hand_made", "index_row", "otherwise_prepared", "random_row", "store_row"]

RANDOM = "random vectors"
SAME = "same embeddings, "  # and how they are prepared


def index_row(name: str, vectors: NDArray[np.float32], about: str) -> Row:
    """The vectors that an index searches, as they are."""
    return Row(name=name, kind="model", width=vectors.shape[1], load=lambda _: vectors, about=about)


def otherwise_prepared(embeddings: NDArray[np.float32], kind: str) -> list[Row]:
    """The index's embeddings [n, width] with every preparation but its own, as far as there are tracks enough."""
    return [
        Row(
            name=f"{SAME}{other}",
            kind="model",
            width=embeddings.shape[1],
            load=lambda _, other=other: prepared(embeddings, other),  # type: ignore[misc]
            about=f"the index's embeddings, with --preparation {other}",
        )
        for other in KINDS
        if other != kind and possible(other, len(embeddings))
    ]


def random_row(tracks: int, width: int) -> Row:
    """Vectors that know nothing, drawn anew for each seed: what chance gives."""

    def load(seed: int) -> Vectors:
        return np.random.default_rng(seed).normal(size=(tracks, width)).astype(np.float32)

    return Row(name=RANDOM, kind="control", width=width, load=load, about="drawn from a normal distribution: chance")


def hand_made(
    paths: Sequence[str | os.PathLike[str]],
    names: Sequence[str],
    *,
    preparation: str,
    excerpt: tuple[float, float] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Hand-made features of the tracks' audio files.

    Parameters
    ----------
    paths
        Of all tracks, "" where there is none.
    names
        Of :data:`m2l2_mir.probe.baselines.BASELINES`.
    preparation
        Kind of the index's.
    excerpt
        Start and length in seconds that the embeddings were made of; None for everything.
    jobs, progress
        As in :func:`m2l2_mir.probe.baseline_vectors.baseline_vectors`.

    Raises
    ------
    InputError
        There is no such baseline.
    """
    if not names:
        return []
    computed = baseline_vectors(paths, names, excerpt=excerpt, jobs=jobs, progress=progress)
    failed = {position: reason for position, reason in enumerate(computed.reasons) if reason}
    return [
        Row(
            name=name,
            kind="hand-made",
            width=BASELINES[name].width,
            load=lambda _, name=name: prepared(computed.vectors[name], preparation, scaled=True),  # type: ignore[misc]
            about=f"{BASELINES[name].about}; each dimension to variance 1",
            failed=failed,
            provenance={"hand-made": name, "version": VERSION},
        )
        for name in names
    ]


def store_row(
    path: Path, track_ids: Sequence[str], paths: Sequence[str] = (), *, preparation: str, pooling: str
) -> Row:
    """The embeddings of another store of the same tracks, such as those of an untrained encoder.

    Parameters
    ----------
    path, track_ids
        Of the store, and of all tracks.
    paths
        Of the tracks' audio files, for a store that calls them otherwise; empty: they are matched by id alone.
    preparation, pooling
        The index's.

    Raises
    ------
    StoreError
        It is no store.
    InputError
        It lacks some of the tracks.
    """
    store = EmbeddingStore.open(path)
    tracks = store.tracks
    theirs = names_in(tracks, track_ids, paths or [""] * len(track_ids))
    require_known(str(path), tracks["track_id"].tolist(), theirs)
    aligned = align(embeddings_of(store, pooling), store.ok["track_id"].tolist(), theirs)
    lost = tracks[tracks["status"] == "failed"].set_index("track_id")["reason"]
    settings = store.provenance["settings"]
    weights = str(settings.get("weights", path.name))
    return Row(
        name=weights if store.trained else f"untrained {weights.removeprefix('random:')}",
        kind="model" if store.trained else "untrained",
        width=aligned.shape[1],
        load=lambda _: prepared(aligned, preparation),
        about="another model" if store.trained else "an encoder with random weights, as the architecture comes",
        failed={position: lost[track] for position, track in enumerate(theirs) if track in lost.index},
        provenance={"weights": weights, "weights_sha256": settings.get("weights_sha256", "")},
    )


def prepared(vectors: Vectors, kind: str, *, scaled: bool = False) -> Vectors:
    """Vectors as an index with this preparation searches them; rows of nan stay.

    >>> prepared(np.array([[0.0, 4.0], [np.nan, 0.0]], np.float32), "l2").tolist()
    [[0.0, 1.0], [nan, nan]]
    """
    there = np.isfinite(vectors).all(axis=1)
    kept = vectors[there]
    if scaled and len(kept):
        kept = StandardScaler().fit_transform(kept).astype(np.float32)
    fitting = kind if possible(kind, len(kept)) else "auto"  # so many tracks may have failed
    preparation, _ = prepare(Rows([kept]), np.ones(len(kept), dtype=np.bool_), fitting)
    result = np.full((len(vectors), preparation.rank), np.nan, np.float32)
    result[there] = preparation(kept)
    return result
