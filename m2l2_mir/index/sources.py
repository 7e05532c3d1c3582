"""What an index takes from an embedding store, and which stores go together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError, StoreError
from m2l2_mir.index.library import FROM_STORE, SOURCE, checked_ids, metadata_of

__all__ = ["COMPARED", "embeddings_of", "model_name", "refuse_other_model", "tracks_of"]

COMPARED = ("weights_sha256", "features", "excerpt", "loudness", "loudness_of", "framing", "resampler", "silence_dbfs")
"""Settings of a store that decide whether its embeddings may be compared with others."""
POOLINGS = ("mean", "mean+std")


def tracks_of(
    store: EmbeddingStore, pooling: str, metadata: pd.DataFrame | None
) -> tuple[list[str], NDArray[np.float32], pd.DataFrame]:
    """Ids, vectors [n, K*d] and metadata of the tracks of a store that could be embedded.

    Where the audio lies and how long it is, the store knows: these columns of `metadata` are passed over.

    Raises
    ------
    InputError
        The pooling is none that keeps the slots apart, or the metadata do not fit.
    StoreError
        The store is damaged.
    """
    if pooling not in POOLINGS:
        raise InputError(f"pooling is {pooling!r}; an index takes one of {', '.join(POOLINGS)}")
    ok = store.ok
    ids = checked_ids(ok["track_id"].tolist(), len(ok))
    vectors = embeddings_of(store, pooling)
    told = metadata_of(ids, metadata)
    own = ok[list(FROM_STORE)].assign(**{SOURCE: source_of(store)})
    return ids, vectors, pd.concat([own, told.drop(columns=list(FROM_STORE), errors="ignore")], axis=1)


def embeddings_of(store: EmbeddingStore, pooling: str) -> NDArray[np.float32]:
    """Embeddings [n, width] of the tracks of a store that could be embedded, as an index takes them."""
    return store.embeddings("flatten" if pooling == "mean" else "mean+std-flatten")


def source_of(store: EmbeddingStore) -> str:
    """How an index calls the store that a track came from."""
    return os.path.abspath(store.path)


def gone(library_rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Which tracks' audio files are no longer where they were embedded.

    Raises
    ------
    InputError
        None of them is there, which is rather a disk that is not mounted.
    """
    missing = np.array([not os.path.exists(path) for path in library_rows["path"]], bool)
    if len(missing) and missing.all():
        raise InputError(
            f"none of the {len(missing)} audio files is there, such as {library_rows['path'].iloc[0]!r}: "
            "is their disk mounted? Nothing was removed"
        )
    return missing


def model_name(settings: Mapping[str, Any]) -> str:
    """A model as a person knows it: preset and weights.

    >>> model_name({"weights": "random:m2l2-tiny:0", "model": {"name": "m2l2-tiny"}})
    'm2l2-tiny (random:m2l2-tiny:0)'
    """
    weights = str(settings.get("weights", "unknown weights"))
    weights = weights if len(weights) < 30 else f"{weights[:19]}..."
    name = settings.get("model", {}).get("name")
    return f"{name} ({weights})" if name else weights


def refuse_other_model(index: Mapping[str, Any], given: Mapping[str, Any], what: str) -> None:
    """See that embeddings are those of the index's model.

    Parameters
    ----------
    index, given : mapping
        Provenance of the index and of what is to be compared with it.
    what
        The latter, for the message.

    Raises
    ------
    StoreError
        They were made with other weights or settings; both are named.
    """
    here, there = index.get("settings", {}), given.get("settings", {})
    if not here:
        raise StoreError(f"the index was made from plain vectors, so that {what} cannot be compared with it")
    weights = "weights_sha256" if "weights_sha256" in here and "weights_sha256" in there else "weights"
    if here.get(weights) != there.get(weights):
        raise StoreError(
            f"{what} was made with {model_name(there)}, the index with {model_name(here)}: vectors of different "
            "models cannot be compared; embed again with the index's model, or build another index"
        )
    shape = [(one.get("num_embeddings"), one.get("dim")) for one in (index, given)]
    for key in COMPARED:
        if here.get(key) != there.get(key):
            raise StoreError(
                f"{what} was made by {model_name(there)} with {key} = {there.get(key)}, the index with "
                f"{key} = {here.get(key)}: embed again with the same settings, or build another index"
            )
    if shape[0] != shape[1]:
        raise StoreError(
            f"{what} has embeddings of {shape[1][0]} x {shape[1][1]}, the index {shape[0][0]} x {shape[0][1]}"
        )


def store_of(source: str) -> EmbeddingStore | None:
    """The store that tracks came from, if it is still there."""
    try:
        return EmbeddingStore.open(Path(source))
    except StoreError:
        return None
