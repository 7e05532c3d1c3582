"""A writer killed at each of its steps: nothing flushed is lost, nothing is there twice."""

import errno
import itertools
import os
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from m2l2_mir.embedding import merging
from m2l2_mir.embedding import writer as writer_module
from m2l2_mir.embedding.store import EmbeddingStore, StoreWriter, TrackResult
from m2l2_mir.errors import StoreError

K, D = 2, 3
PROVENANCE = {"settings": {"weights": "w"}, "num_embeddings": K, "dim": D, "chunk_seconds": 0.75}
OLD = {"a": 1, "b": 1}
"""What an earlier run left: the version of each track."""
JOB = {"a": 1, "b": 2, "c": 2}
"""What the run that is killed works towards: "b" has changed, "c" is new."""


class Killed(BaseException):
    """Stands for SIGKILL: no `except Exception` may see it, and nothing works after it."""


@contextmanager
def killed_at(monkeypatch, step):
    """From the step-th change of the file system on, every change fails; a write stops half-way."""
    steps = itertools.count(1)
    real_write = pq.write_table

    def dying(real):
        def call(*args, **kwargs):
            if next(steps) >= step:
                raise Killed
            return real(*args, **kwargs)

        return call

    def write_half(table, file, **options):
        if next(steps) >= step:
            file.write(b"PAR1 and no more")
            raise Killed
        real_write(table, file, **options)

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "fsync", "mkdir"):
            patch.setattr(os, name, dying(getattr(os, name)))
        patch.setattr(pq, "write_table", write_half)
        yield


def result(track_id, version):
    values = np.full((version + 2, K, D), ord(track_id) + version, np.float16)
    return TrackResult(
        track_id=track_id,
        path=f"{track_id}.wav",
        status="ok",
        chunks=len(values),
        mtime_ns=version,
        embedded_at="",
        mean=values[0].astype(np.float32),
        std=values[0].astype(np.float32),
        chunk_embeddings=values,
        chunk_samples=np.ones(len(values)),
        chunk_silent=np.zeros(len(values)),
    )


def run(folder, wanted, on_disk):
    """Do what is not yet done, as a resumed run does; `on_disk` follows what is flushed."""
    with StoreWriter.open(folder, PROVENANCE, keep_chunks=True, flush_seconds=0) as writer:
        known = writer.known()
        for track_id, version in wanted.items():
            if track_id not in known or known[track_id].mtime_ns != version:
                writer.add(result(track_id, version))
                on_disk[track_id] = version


def held(folder):
    """Version of each track, from every place of the store that tells it."""
    store = EmbeddingStore.open(folder)
    versions = dict(zip(store.tracks["track_id"], store.tracks["mtime_ns"], strict=True))
    assert len(versions) == len(store)
    for mean, (track_id, version) in zip(store.embeddings(), versions.items(), strict=True):
        assert np.all(mean == ord(track_id) + version)
        np.testing.assert_array_equal(store.chunks(track_id), result(track_id, version).chunk_embeddings)
    return versions


@pytest.mark.parametrize(
    ("old", "job", "fewest_steps"),
    [(OLD, JOB, 30), ({}, {"a": 1}, 12)],
    ids=["resumed store", "new store"],
)
def test_killed_at_every_step(tmp_path, monkeypatch, old, job, fewest_steps):
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        if old:
            run(folder, old, {})
        on_disk = dict(old)
        finished = False
        try:
            with killed_at(monkeypatch, step):
                run(folder, job, on_disk)
                finished = True
        except Killed:
            pass

        if (folder / "provenance.json").exists():
            left = held(folder)
            for track_id, version in left.items():  # the track in flight may have made it
                assert version in (on_disk.get(track_id), job[track_id])
            assert set(left) >= set(on_disk)
            assert all(left[track_id] >= version for track_id, version in on_disk.items())
        else:
            assert not on_disk

        run(folder, job, {})
        assert held(folder) == job
        assert sorted(pd.read_parquet(folder / "tracks")["track_id"]) == list(job)
        assert len(pd.read_parquet(folder / "chunks")) == sum(version + 2 for version in job.values())
        names = [sorted(os.listdir(folder / kind)) for kind in ("tracks", "chunks")]
        assert names[0] == names[1]
        assert len(names[0]) == 1
        if finished:
            break
    assert step > fewest_steps  # the steps were really met


def follow(folder, on_disk):
    """Rename "a" to "d" and remove "b", in a store of which the parts are too large to be merged, or are not."""
    with StoreWriter.open(folder, PROVENANCE, keep_chunks=True, flush_seconds=0) as writer:
        writer.add(result("c", 2))
        if "a" in writer.known():
            writer.relocate({"a": {"track_id": "d", "path": "d.wav"}})
        on_disk.append("d")
        writer.remove(["b"])
        on_disk.append("b")


@pytest.mark.parametrize("large_bytes", [0, 1 << 30], ids=["rewritten alone", "merged"])
def test_killed_at_every_step_of_a_rename_and_a_removal(tmp_path, monkeypatch, large_bytes):
    """The renamed track is there once, under one of its names; what is removed never comes back."""
    monkeypatch.setattr(merging, "_LARGE_BYTES", large_bytes)
    audio = {"a": "a", "b": "b", "c": "c", "d": "a"}

    def held():
        store = EmbeddingStore.open(folder)
        for mean, (name, path) in zip(store.embeddings(), store.ok[["track_id", "path"]].to_numpy(), strict=True):
            assert path == f"{name}.wav"
            content = result(audio[name], 2 if name == "c" else 1).chunk_embeddings
            assert np.all(mean == content[0])
            np.testing.assert_array_equal(store.chunks(name), content)
        assert len(store) == len(store.ok)
        return sorted(store.tracks["track_id"])

    for step in itertools.count(1):
        folder = tmp_path / str(step)
        run(folder, OLD, {})
        on_disk, finished = [], False
        try:
            with killed_at(monkeypatch, step):
                follow(folder, on_disk)
                finished = True
        except Killed:
            pass
        names = held()
        assert ("a" in names) != ("d" in names)
        assert "d" in names or "d" not in on_disk
        assert "b" not in names or "b" not in on_disk
        follow(folder, [])
        assert held() == ["c", "d"]
        assert sorted(pd.read_parquet(folder / "tracks")["track_id"]) == ["c", "d"]
        assert set(pd.read_parquet(folder / "chunks")["track_id"]) == {"c", "d"}
        if finished:
            break
    assert step > 30


def test_parts_that_do_not_count_are_ignored_then_deleted(tmp_path):
    """Superseded parts, chunks without tracks and unfinished files, all at once."""
    run(tmp_path, OLD, {})
    (whole,) = [path.name for path in (tmp_path / "tracks").iterdir()]
    assert whole == "part-00000000-00000001.parquet"
    for kind in ("tracks", "chunks"):
        (tmp_path / kind / "part-00000001-00000001.parquet").write_bytes(b"stale")
        (tmp_path / kind / ".part-00000003-00000003.parquet.tmp").write_bytes(b"half")
    (tmp_path / "chunks" / "part-00000003-00000003.parquet").write_bytes(b"orphan")
    (tmp_path / ".provenance.json.tmp").write_bytes(b"half")
    assert held(tmp_path) == OLD
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True):
        for kind in ("tracks", "chunks"):
            assert os.listdir(tmp_path / kind) == [whole]
        assert not (tmp_path / ".provenance.json.tmp").exists()
    assert held(tmp_path) == OLD


def test_a_flush_outlasts_a_power_cut(tmp_path, monkeypatch):
    """The content must be on the disk before its name is, the chunks before the tracks."""
    calls = []

    def noted(name, real):
        def call(first, *rest):
            kind = os.path.basename(os.path.dirname(rest[0])) if rest else ""
            calls.append(f"{name} {kind}".strip())
            return real(first, *rest)

        return call

    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=99) as writer:
        writer.add(result("a", 1))
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace"):
                patch.setattr(os, name, noted(name, getattr(os, name)))
            writer.flush()
    assert calls == ["fsync", "replace chunks", "fsync", "fsync", "replace tracks", "fsync"]


def test_a_long_run_merges_as_it_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_MERGE_EVERY", 3)
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=0) as writer:
        for track_id in "abcdefg":
            writer.add(result(track_id, 1))
        assert len(os.listdir(tmp_path / "tracks")) == 2
        assert held(tmp_path) == dict.fromkeys("abcdefg", 1)


def test_an_exception_in_the_loop_keeps_what_was_finished(tmp_path):

    def interrupted():
        with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=99) as writer:
            writer.add(result("a", 1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert held(tmp_path) == {"a": 1}


def test_a_full_disk_loses_no_waiting_track(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=99) as writer:
        writer.add(result("a", 1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StoreError, match=r"cannot be written.*No space left"):
                writer.flush()
        writer.add(result("b", 1))
    assert held(tmp_path) == {"a": 1, "b": 1}
