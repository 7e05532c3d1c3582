"""Small libraries with known answers, as vectors and as stores."""

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.embedding.store import StoreWriter, TrackResult

K, D = 4, 6
PROVENANCE = {
    "settings": {
        "weights": "random:m2l2-tiny:0",
        "weights_sha256": "aaaa",
        "trained": False,
        "model": {"name": "m2l2-tiny"},
        "features": "bottleneck",
        "excerpt": None,
        "loudness": None,
    },
    "num_embeddings": K,
    "dim": D,
    "chunk_seconds": 0.5,
}


@pytest.fixture
def library(rng):
    """60 tracks of 6 artists, whose tracks lie near each other, far from the origin: vectors, ids, metadata."""
    artists = np.arange(60) % 6
    centres = rng.normal(size=(6, K, D))
    vectors = 5 + centres[artists] + 0.3 * rng.normal(size=(60, K, D))
    metadata = pd.DataFrame({"artist": [f"artist {one}" for one in artists], "bpm": 60.0 + np.arange(60)})
    return vectors.astype(np.float32), [f"t{number:02}" for number in range(60)], metadata


@pytest.fixture
def provenance():
    """What the stores of :func:`make_store` say they were made with."""
    return PROVENANCE


@pytest.fixture
def make_store(tmp_path):
    """Write (or go on with) a store of tracks: name -> means [K, D], and chunks [n, K, D] of some."""

    def make(name, tracks, chunks=None, provenance=PROVENANCE):
        folder = tmp_path / name
        with StoreWriter.open(folder, provenance, keep_chunks=chunks is not None) as writer:
            for track_id, mean in tracks.items():
                audio = tmp_path / "music" / track_id
                audio.parent.mkdir(exist_ok=True)
                audio.touch()
                mine = None if chunks is None else np.asarray(chunks[track_id], np.float16)
                writer.add(
                    TrackResult(
                        track_id=track_id,
                        path=str(audio),
                        status="ok",
                        duration=1.0,
                        chunks=1 if mine is None else len(mine),
                        mtime_ns=audio.stat().st_mtime_ns,
                        mean=np.asarray(mean, np.float32),
                        std=np.ones((K, D), np.float32),
                        chunk_embeddings=mine,
                        chunk_samples=None if mine is None else np.full(len(mine), 100),
                        chunk_silent=None if mine is None else np.zeros(len(mine), bool),
                    )
                )
        return folder

    return make
