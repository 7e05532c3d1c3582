"""Vectors of a view, and functionals of them brought back to the embedding's own coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.embedding.store import EmbeddingStore, StoreWriter, TrackResult
from m2l2_mir.errors import InputError
from m2l2_mir.probe.space import Space, View

SETTINGS = {"weights": "sha256:abcdef", "weights_sha256": "12", "trained": True, "features": "bottleneck"}


def make_store(folder, tracks: int = 3, **settings) -> EmbeddingStore:
    made_with = {"settings": {**SETTINGS, **settings}, "num_embeddings": 4, "dim": 3, "chunk_seconds": 1}
    rng = np.random.default_rng(0)
    with StoreWriter.open(folder, made_with, keep_chunks=False) as writer:
        for number in range(tracks):
            mean, std = rng.normal(size=(2, 4, 3)).astype(np.float32)
            writer.add(TrackResult(track_id=f"t{number}", path="", status="ok", mean=mean, std=np.abs(std)))
    return EmbeddingStore.open(folder)


@pytest.mark.parametrize("slots", ["flatten", "mean", "each", "leave-one-out"])
@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
def test_a_functional_says_the_same_in_either_coordinates(tmp_path, rng, slots: str, pooling: str) -> None:
    store = make_store(tmp_path)
    part = 2 if slots in ("each", "leave-one-out") else 0
    space = Space.of(store, View(slots=slots, pooling=pooling), part)
    embeddings = store.embeddings(pooling)
    vectors = space.vectors(embeddings)
    assert vectors.shape == (3, space.width)
    assert np.array_equal(space.vectors(vectors), vectors)
    functional = rng.normal(size=(2, space.width))
    inside = space.back(functional)
    assert inside.shape == (2, embeddings[0].size)
    np.testing.assert_allclose(embeddings.reshape(3, -1) @ inside.T, vectors @ functional.T, rtol=1e-12)


def test_other_embeddings_are_refused_by_name(tmp_path) -> None:
    space = Space.of(make_store(tmp_path / "a"), View(), model="mine.safetensors")
    space.require(make_store(tmp_path / "b", excerpt=[0, 30], weights="the same under another name"))
    other = make_store(tmp_path / "c", weights="random:m2l2-tiny:1", weights_sha256="34")
    with pytest.raises(InputError, match=r"of random:m2l2-tiny:1, .* of mine.safetensors \(sha256:abcdef\)"):
        space.require(other)
    with pytest.raises(InputError, match="loudness -23"):
        space.require(make_store(tmp_path / "d", loudness=-23))
    with pytest.raises(InputError, match=r"have? shape \[3, 5\]"):
        space.vectors(np.zeros((3, 5)))
    with pytest.raises(InputError, match="part 4 of slots 'each'"):
        Space.of(other, View(slots="each"), 4)
