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

from m2l2_mir.doctor import examine
from m2l2_mir.errors import StoreError
from m2l2_mir.index import persist
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
    if index.segments is not None:
        tracks = index.segments.tracks
        assert tracks["track_id"][tracks["alive"]].tolist() == index.ids
        assert len(index.segments) == 2 * len(index)
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


@pytest.mark.parametrize("kind", ["new", "changed", "with segments"])
def test_killed_at_every_step(tmp_path, monkeypatch, library, make_store, kind):
    vectors, ids, metadata = library
    old, changed, new = set(ids[:9]), set(ids[1:11]), kind == "new"
    begun = tmp_path / "begun"
    if kind == "with segments":
        places = {name: np.stack([vector, -vector]) for name, vector in zip(ids, vectors, strict=True)}
        first, more = (
            make_store(name, dict(zip(ids[some], vectors[some], strict=True)), places)
            for name, some in (("first", slice(9)), ("more", slice(9, 11)))
        )
        SimilarityIndex.build(first, segments=True).save(begun)
    else:
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
                if kind == "with segments":
                    index.add(more)
                else:
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


ROLES = (
    *("backend", "vectors", "tracks", "preparation", "pairs", "nearest"),
    *("segment-backend", "segment-chunks", "segment-tracks", "segment-preparation"),
)


@pytest.fixture
def two_indexes(tmp_path, library, make_store):
    """Folders of an index and of one of other vectors, both with segments."""
    vectors, ids, _ = library
    for name, shift in (("idx", 0), ("other", 1)):
        moved = dict(zip(ids, vectors + shift, strict=True))
        places = {one: np.stack([vector, vector[::-1]]) for one, vector in moved.items()}
        SimilarityIndex.build(make_store(f"{name} store", moved, places), segments=True).save(tmp_path / name)
    return tmp_path / "idx", tmp_path / "other"


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "other"])
def test_damage_is_reported_and_never_searched(two_indexes, damage):
    idx, other = two_indexes
    for role in ROLES:
        (path,) = idx.glob(f"{role}-0*")
        content = path.read_bytes()
        if damage == "truncated":
            path.write_bytes(content[:-1])
        elif damage == "changed":
            path.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
        elif damage == "missing":
            path.unlink()
        elif role != "segment-tracks":  # which says the same in both
            shutil.copy(other / path.name, path)
            assert path.read_bytes() != content
        if damage != "other" or role != "segment-tracks":
            with pytest.raises(StoreError, match=f"{path.name}|lacks"):
                SimilarityIndex.load(idx)
        path.write_bytes(content)
    assert len(SimilarityIndex.load(idx)) == 60


def test_files_that_do_not_fit_each_other_are_refused(two_indexes):
    """Each sound in itself, as from a copy that was made in the middle of a change: the manifest says so too."""
    idx, other = two_indexes
    fewer = SimilarityIndex.load(other)
    fewer.remove(fewer.ids[:20])  # more than a tenth: its files are written without them
    fewer.save(other)
    manifest, theirs = (json.loads((folder / "index.json").read_text()) for folder in two_indexes)
    for role in ("tracks", "segment-tracks", "segment-chunks", "segment-backend"):
        for entry in theirs["files"][role]:
            shutil.copy(other / entry["name"], idx)
        mixed = manifest | {"files": manifest["files"] | {role: theirs["files"][role]}}
        (idx / "index.json").write_text(json.dumps(mixed | {"sha256": persist._digest_of(mixed)}))
        with pytest.raises(StoreError, match="do not fit each other"):
            SimilarityIndex.load(idx)


def test_of_a_large_file_blocks_are_looked_at_and_doctor_reads_all(tmp_path, library, monkeypatch):
    monkeypatch.setattr(persist, "WHOLLY_CHECKED", 2000)
    monkeypatch.setattr(persist, "BLOCK", 20)
    SimilarityIndex.from_vectors(*library).save(tmp_path)
    (path,) = tmp_path.glob("vectors-*")
    content = path.read_bytes()
    size, blocks = len(content), persist.SAMPLED_BLOCKS
    looked_at = np.zeros(size, bool)
    for number in range(blocks):
        first = (size - 20) * number // (blocks - 1)
        looked_at[first : first + 20] = True
    assert 0.1 < looked_at.mean() < 0.5
    for place in (0, size - 1, size // 2, int(np.flatnonzero(~looked_at)[99])):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        if looked_at[place]:
            with pytest.raises(StoreError, match="its SHA-256 is not the one written"):
                SimilarityIndex.load(tmp_path)
        else:
            assert len(SimilarityIndex.load(tmp_path)) == 60
        assert [finding.state for finding in examine(tmp_path)] == ["damaged"]
    path.write_bytes(content[:-1])
    with pytest.raises(StoreError, match="bytes instead of"):
        SimilarityIndex.load(tmp_path)


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
