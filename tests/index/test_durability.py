"""An index on disk: read as written, refused when damaged, old or new after a kill at any step."""

import itertools
import json
import os
import shutil
from contextlib import contextmanager

import faiss
import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import StoreError
from m2l2_mir.index.similarity import SimilarityIndex


class Killed(BaseException):
    """Stands for SIGKILL: no `except Exception` may see it, and nothing works after it."""


@contextmanager
def killed_at(monkeypatch, step):
    """From the step-th change of the file system on, every change fails; a structure is written half."""
    steps = itertools.count(1)
    real = faiss.write_index

    def dying(real):
        def call(*args, **kwargs):
            if next(steps) >= step:
                raise Killed
            return real(*args, **kwargs)

        return call

    def write_half(index, writer):
        if next(steps) >= step:
            raise Killed
        real(index, writer)

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "fsync", "mkdir"):
            patch.setattr(os, name, dying(getattr(os, name)))
        patch.setattr(faiss, "write_index", write_half)
        yield


def held(folder):
    """Tracks of an index that loads, each found by its own vector."""
    index = SimilarityIndex.load(folder)
    for name, vector in zip(index.ids, index.embeddings(), strict=True):
        best = index.query(vector, k=1)
        assert best["track_id"].item() == name
        assert best["similarity"].item() == pytest.approx(1, abs=1e-4)
    return set(index.ids)


@pytest.mark.parametrize("factory", ["Flat", "HNSW16,Flat", "IVF4,PQ4x4", "PCA8,SQ8"])
@pytest.mark.parametrize("mapped", [True, False])
def test_a_saved_index_answers_as_before(tmp_path, library, factory, mapped):
    index = SimilarityIndex.from_vectors(*library, factory=factory, preparation="pca")
    index.remove(["t05"])
    index.save(tmp_path / "idx")
    loaded = SimilarityIndex.load(tmp_path / "idx", mapped=mapped)
    for name in ("t00", "t33"):
        one, other = index.query(name, k=20), loaded.query(name, k=20)
        pd.testing.assert_frame_equal(one, other, check_dtype=False, atol=1e-5)
    assert loaded.reasons == index.reasons
    assert loaded.add_vectors(library[0][5:6], ["t05"]).added == ("t05",)  # a mapped structure is never written to
    loaded.save(tmp_path / "idx")
    assert SimilarityIndex.load(tmp_path / "idx").query(library[0][5], k=1)["track_id"].item() == "t05"


def test_adding_writes_only_what_is_new(tmp_path, library):
    vectors, ids, metadata = library
    SimilarityIndex.from_vectors(vectors[:50], ids[:50], metadata[:50]).save(tmp_path)
    for first in (50, 52):
        index = SimilarityIndex.load(tmp_path)
        index.add_vectors(vectors[first : first + 2], ids[first : first + 2])
        index.add_vectors(vectors[first + 6 : first + 8], ids[first + 6 : first + 8])
        index.save(tmp_path)
    sizes = sorted((path.name, len(np.load(path))) for path in tmp_path.glob("vectors-*.npy"))
    assert sizes == [("vectors-000001.npy", 50), ("vectors-000002.npy", 4), ("vectors-000003.npy", 4)]
    assert len(list(tmp_path.glob("backend-*"))) == len(list(tmp_path.glob("tracks-*"))) == 1
    assert held(tmp_path) == set(ids[:54] + ids[56:60])


@pytest.mark.parametrize("new", [False, True])
def test_killed_at_every_step(tmp_path, monkeypatch, library, new):
    vectors, ids, metadata = library
    old, changed = set(ids[:9]), set(ids[1:11])
    begun = tmp_path / "begun"
    SimilarityIndex.from_vectors(vectors[:9], ids[:9], metadata[:9]).save(begun)
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        if not new:
            shutil.copytree(begun, folder)

        def job(folder=folder):
            if new:
                index = SimilarityIndex.from_vectors(vectors[1:11], ids[1:11], metadata[1:11])
            else:
                index = SimilarityIndex.load(folder)
                index.remove([ids[0]])
                index.add_vectors(vectors[9:11], ids[9:11], metadata[9:11])
            index.save(folder)

        finished = False
        try:
            with killed_at(monkeypatch, step):
                job()
                finished = True
        except Killed:
            pass
        if (folder / "index.json").exists():
            assert held(folder) in ([changed] if new else [old, changed])
            if held(folder) == old:
                job()
        else:
            assert new
            job()
        assert held(folder) == changed
        SimilarityIndex.load(folder).save(folder)  # tidies up what the kill has left
        named = {
            entry["name"] for one in json.loads((folder / "index.json").read_text())["files"].values() for entry in one
        }
        assert set(os.listdir(folder)) == named | {"index.json", ".lock"}
        if finished:
            break
    assert step > 15  # the steps were really met


@pytest.mark.parametrize("role", ["backend", "vectors", "tracks", "preparation", "pairs", "nearest"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "other"])
def test_damage_is_reported_and_never_searched(tmp_path, library, role, damage):
    SimilarityIndex.from_vectors(*library).save(tmp_path / "idx")
    SimilarityIndex.from_vectors(library[0] + 1, library[1]).save(tmp_path / "other")
    (path,) = (tmp_path / "idx").glob(f"{role}-*")
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[:-1])
    elif damage == "changed":
        content[-40] ^= 1
        path.write_bytes(content)
    elif damage == "missing":
        path.unlink()
    else:
        shutil.copy(tmp_path / "other" / path.name, path)
        if path.read_bytes() == content:
            pytest.skip("the same in both")
    with pytest.raises(StoreError, match=f"{path.name}|lacks"):
        SimilarityIndex.load(tmp_path / "idx")


def test_a_damaged_manifest_and_other_folders(tmp_path, library):
    SimilarityIndex.from_vectors(*library).save(tmp_path / "idx")
    manifest = tmp_path / "idx" / "index.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"tracks": 60', '"tracks": 61'))
    with pytest.raises(StoreError, match="not what was written"):
        SimilarityIndex.load(tmp_path / "idx")
    manifest.write_text(text[:100])
    with pytest.raises(StoreError, match="damaged"):
        SimilarityIndex.load(tmp_path / "idx")
    with pytest.raises(StoreError, match="no similarity index"):
        SimilarityIndex.load(tmp_path / "nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"holds 'thesis\.tex'"):
        SimilarityIndex.from_vectors(*library).save(tmp_path / "full")


def test_two_readers_go_on_while_one_adds(tmp_path, library):
    vectors, ids, metadata = library
    SimilarityIndex.from_vectors(vectors[:40], ids[:40], metadata[:40], factory="HNSW16,Flat").save(tmp_path)
    readers = [SimilarityIndex.load(tmp_path) for _ in range(2)]
    before = readers[0].query("t03", k=5)
    writer = SimilarityIndex.load(tmp_path)
    writer.add_vectors(vectors[40:], ids[40:], metadata[40:])
    writer.remove(ids[4:20])
    writer.save(tmp_path)
    for reader in readers:  # files that were replaced are still theirs
        assert len(reader) == 40
        assert reader.query("t03", k=5).equals(before)
    with pytest.raises(StoreError, match="changed by another process"):
        readers[0].add_vectors(vectors[:1], ["new"])
    assert len(readers[0]) == 40
    late = SimilarityIndex.load(tmp_path, mapped=False)
    writer.remove(["t50"])
    writer.save(tmp_path)
    late.remove(["t51"])
    with pytest.raises(StoreError, match="changed by another process"):
        late.save(tmp_path)
    assert len(SimilarityIndex.load(tmp_path)) == 43


def test_an_index_is_not_replaced_unasked(tmp_path, library):
    SimilarityIndex.from_vectors(*library).save(tmp_path)
    other = SimilarityIndex.from_vectors(library[0][:5], library[1][:5])
    with pytest.raises(StoreError, match="holds an index already"):
        other.save(tmp_path)
    other.save(tmp_path, overwrite=True)
    other.remove(["t00"])
    other.save(tmp_path)
    assert len(SimilarityIndex.load(tmp_path)) == 4
