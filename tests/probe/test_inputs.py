"""A store that was made of the same files under other names gives rows of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.dataset.dataset import load_dataset
from m2l2_mir.embedding.store import EmbeddingStore, StoreWriter, TrackResult
from m2l2_mir.errors import InputError
from m2l2_mir.probe.inputs import store_rows

MADE_WITH = {"settings": {"weights": "random:0", "features": "bottleneck"}, "num_embeddings": 2, "dim": 3}


def test_tracks_are_found_by_their_files(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    with StoreWriter.open(tmp_path / "store", {**MADE_WITH, "chunk_seconds": 1}, keep_chunks=False) as writer:
        for number, name in enumerate(("c.wav", "a.wav", "b.wav")):
            known = {"track_id": name, "path": str(tmp_path / "music" / name), "audio_sha256": f"sha of {name}"}
            mean = np.full((2, 3), number, np.float32)
            broken = {"status": "failed", "reason": "broken"}
            writer.add(
                TrackResult(**known, **(broken if name == "b.wav" else {"status": "ok", "mean": mean, "std": mean}))
            )
    store = EmbeddingStore.open(tmp_path / "store")
    (tmp_path / "my.csv").write_text("path,genre\nmusic/a.wav,x\nmusic/b.wav,y\nmusic/c.wav,x\n")
    dataset = load_dataset(f"table:{tmp_path / 'my.csv'}")
    assert dataset.tracks["track_id"].tolist() == ["music/a.wav", "music/b.wav", "music/c.wav"]
    (row,) = store_rows(store, "mine", dataset)
    assert row.load(0)[:, 0].tolist() == pytest.approx([1, np.nan, 0], nan_ok=True)
    assert row.failed == {1: "broken"}
    assert row.audio == ["sha of a.wav", "sha of b.wav", "sha of c.wav"]
    with (tmp_path / "my.csv").open("a") as file:
        file.write("music/d.wav,x\n")
    with pytest.raises(InputError, match=r"lacks 1 of 4 tracks, such as 'music/d\.wav'"):
        store_rows(store, "mine", load_dataset(f"table:{tmp_path / 'my.csv'}"))
