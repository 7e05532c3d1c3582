"""What is exported is what the index searches, and other engines find the same neighbours in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from m2l2_mir.errors import InputError, MissingExtraError
from m2l2_mir.index import export
from m2l2_mir.index.export import export_parquet, export_qdrant, open_qdrant, point_id
from m2l2_mir.index.similarity import SimilarityIndex


@pytest.fixture
def index(rng) -> SimilarityIndex:
    names = [f"track {number:02}.wav" for number in range(50)]
    metadata = pd.DataFrame(
        {"genre": ["jazz", None, "rock", "jazz", "ünï"] * 10, "bpm": np.r_[np.nan, np.arange(49.0)]}
    )
    metadata["mixed"] = [1, "two", None, 4.5, True] * 10
    return SimilarityIndex.from_vectors(rng.normal(size=(50, 2, 6)), names, metadata)


def test_parquet_holds_ids_metadata_and_vectors(index, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(export, "_BLOCK", 17)
    path = tmp_path / "new folder" / "library.parquet"
    assert export_parquet(index, path) == 50
    table = pd.read_parquet(path)
    assert np.array_equal(np.stack(table["vector"].tolist()), index.vectors())
    assert table["track_id"].tolist() == index.ids
    assert table["genre"].tolist()[0] == "jazz"
    assert table["genre"].isna().sum() == 10
    assert table["bpm"].tolist()[1:] == list(np.arange(49.0))
    assert table["mixed"].tolist()[:2] == ["1", "two"]
    about = json.loads(pq.read_schema(path).metadata[b"m2l2"])
    assert (about["rank"], about["preparation"]) == (12, index.preparation.kind)


def test_parquet_is_there_whole_or_not_at_all(index, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "library.parquet"
    path.write_bytes(b"old")
    monkeypatch.setattr(export, "_BLOCK", 20)

    def stop(done: int, total: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_parquet(index, path, progress=stop)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["library.parquet"]
    with pytest.raises(InputError, match="cannot write"):
        export_parquet(index, path / "below.parquet")


def test_a_column_of_the_name_is_refused(tmp_path: Path) -> None:
    clashing = SimilarityIndex.from_vectors(np.eye(3), list("abc"), pd.DataFrame({"vector": [1, 2, 3]}))
    with pytest.raises(InputError, match="column 'vector'"):
        export_parquet(clashing, tmp_path / "a.parquet")


def test_without_the_client_the_extra_is_named(index, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(MissingExtraError, match=r"m2l2-mir\[qdrant\]"):
        open_qdrant(url="http://localhost:6333")


def test_a_collection_finds_what_the_index_finds(index, tmp_path: Path, monkeypatch) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    monkeypatch.setattr(export, "_POINTS", 16)
    client = open_qdrant(path=tmp_path / "qdrant")
    assert export_qdrant(index, client) == 50
    assert export_qdrant(index, client) == 50  # replaced, not doubled
    assert client.count("m2l2").count == 50
    asked = index.vectors()[7]
    scores, positions = index.search(asked[None], 5)
    found = client.query_points("m2l2", query=asked.tolist(), limit=5).points
    assert [point.payload["track_id"] for point in found] == [index.ids[position] for position in positions[0]]
    assert np.allclose([point.score for point in found], scores[0], atol=1e-5)
    [first] = client.retrieve("m2l2", [point_id("track 00.wav")])
    assert first.payload == {"track_id": "track 00.wav", "genre": "jazz", "mixed": "1"}  # its bpm is not known
    jazz = qdrant.models.FieldCondition(key="genre", match=qdrant.models.MatchValue(value="jazz"))
    only = client.query_points("m2l2", query=asked.tolist(), query_filter=qdrant.models.Filter(must=[jazz]), limit=50)
    assert len(only.points) == 20
    index.remove(index.ids[:10])
    assert export_qdrant(index, client) == client.count("m2l2").count == 40  # those that are gone are deleted
    client.close()


def test_another_collection_is_left_alone(index, tmp_path: Path) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    client = qdrant.QdrantClient(":memory:")
    for name, size in (("narrow", 3), ("own", 12)):
        vectors = qdrant.models.VectorParams(size=size, distance=qdrant.models.Distance.COSINE)
        client.create_collection(name, vectors_config=vectors)
        client.upsert(name, [qdrant.models.PointStruct(id=1, vector=[1.0] * size, payload={"mine": 1})])
        with pytest.raises(InputError, match="other vectors" if size == 3 else "no export"):
            export_qdrant(index, client, name)
        assert client.count(name).count == 1
    with pytest.raises(InputError, match="--out"):
        open_qdrant()
    with pytest.raises(InputError, match="cannot be used"):
        open_qdrant(url="http://127.0.0.1:9")
