"""What a store gives back, what it refuses, and what others can read of it."""

import copy
import dataclasses
import errno
import json
import os

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from m2l2_mir.embedding import merging
from m2l2_mir.embedding import writer as writer_module
from m2l2_mir.embedding.parts import Part, Parts
from m2l2_mir.embedding.scratch import scratch
from m2l2_mir.embedding.store import EmbeddingStore, KnownTrack, StoreWriter, TrackResult
from m2l2_mir.errors import InputError, StoreError

K, D = 2, 3
PROVENANCE = {
    "settings": {"weights": "sha256:1234", "trained": True, "model": {"latent_dim": D, "levels": (1, 2)}},
    "versions": {"m2l2-mir": "0.1.0"},
    "num_embeddings": K,
    "dim": D,
    "chunk_seconds": 0.75,
}


def result(track_id, seed=0, chunks=4, **changes):
    """An embedded track whose numbers depend on its id and the seed."""
    rng = np.random.default_rng([seed, *track_id.encode()])
    values = {
        "track_id": track_id,
        "path": f"music/{track_id}.wav",
        "status": "ok",
        "duration": 0.75 * chunks,
        "sample_rate": 44100,
        "channels": 2,
        "chunks": chunks,
        "silent_chunks": 1,
        "audio_sha256": f"{seed:064x}",
        "size_bytes": 1000 + seed,
        "mtime_ns": 1_700_000_000_000_000_001 + seed,
        "embedded_at": "2026-01-01T00:00:00+00:00",
        "mean": rng.normal(size=(K, D)).astype(np.float32),
        "std": rng.uniform(size=(K, D)).astype(np.float32),
        "chunk_embeddings": rng.normal(size=(chunks, K, D)).astype(np.float16),
        "chunk_samples": np.full(chunks, 33075),
        "chunk_silent": np.arange(chunks) == 0,
    }
    return TrackResult(**values | changes)


def failed(track_id, reason="the file is empty"):
    return TrackResult(track_id=track_id, path=track_id, status="failed", reason=reason, embedded_at="then")


def write(folder, *results, keep_chunks=True, provenance=PROVENANCE, **options):
    with StoreWriter.open(folder, provenance, keep_chunks=keep_chunks, **options) as writer:
        for one in results:
            writer.add(one)


def assert_holds(store, *expected):
    """The store holds these results and no others."""
    expected = sorted(expected, key=lambda one: one.track_id)
    tracks, ok = store.tracks, [one for one in expected if one.status == "ok"]
    for column in tracks.columns:
        np.testing.assert_array_equal(tracks[column], [getattr(one, column) for one in expected])
    for pooling, names in (("mean", ["mean"]), ("mean+std", ["mean", "std"])):
        wanted = [np.concatenate([getattr(one, name) for name in names], axis=-1) for one in ok]
        np.testing.assert_array_equal(store.embeddings(pooling), np.reshape(wanted, (-1, K, D * len(names))))
    if store.provenance["keep_chunks"]:
        for one in ok:
            np.testing.assert_array_equal(store.chunks(one.track_id), one.chunk_embeddings)


def test_round_trip(tmp_path):
    odd = result("b/é ♫", path="a folder/\udcff.wav", chunks=1)  # a file name that is no UTF-8
    noted = result("c", reason="cut off: 2.9 s of 3.0 s could be decoded")
    write(tmp_path / "set=a", noted, failed("a"), odd)
    store = EmbeddingStore.open(tmp_path / "set=a")
    escaped = result("b/é ♫", path="a folder/\\udcff.wav", chunks=1)
    assert_holds(store, failed("a"), escaped, noted)
    assert list(store.tracks["track_id"]) == ["a", "b/é ♫", "c"]
    assert list(store.ok["track_id"]) == ["b/é ♫", "c"]
    assert (len(store), store.num_embeddings, store.dim, store.trained) == (3, K, D, True)
    assert "3 tracks, 1 failed, 2 x 3, with chunks" in repr(store)

    chunks = store.chunk_table("c")
    assert list(chunks["start"]) == [0, 0.75, 1.5, 2.25]
    assert list(chunks["silent"]) == [True, False, False, False]
    assert list(chunks["samples"]) == [33075] * 4


def test_large_summaries_lie_in_a_file_and_are_the_same(tmp_path, monkeypatch):
    tracks = [result("a"), failed("b"), result("c")]
    write(tmp_path, *tracks, keep_chunks=False)
    monkeypatch.setattr("m2l2_mir.embedding.store.HELD_BYTES", 0)
    store = EmbeddingStore.open(tmp_path)
    assert_holds(store, *tracks)
    lying = store.embeddings()
    assert not lying.flags.writeable
    while isinstance(lying, np.ndarray) and not isinstance(lying, np.memmap):
        lying = lying.base
    assert isinstance(lying, np.memmap)


def test_no_room_for_large_summaries_is_one_line(monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(StoreError, match=r"no room for 0\.0 GB in .*No space left.*set TMPDIR"):
        scratch((10, 10), np.float32)


def test_other_programs_read_it(tmp_path):
    write(tmp_path, result("a"), result("b"), flush_seconds=0)
    write(tmp_path, result("b", seed=1), failed("c"), flush_seconds=0)
    tracks = pd.read_parquet(tmp_path / "tracks").set_index("track_id")
    assert sorted(tracks.index) == ["a", "b", "c"]
    np.testing.assert_array_equal(tracks["mean"]["b"], result("b", seed=1).mean.ravel())
    assert np.isnan(tracks["mean"]["c"]).all()
    chunks = pyarrow.dataset.dataset(tmp_path / "chunks").to_table().to_pandas()
    assert sorted(chunks["track_id"]) == ["a"] * 4 + ["b"] * 4
    part = next((tmp_path / "tracks").glob("*.parquet"))
    assert pq.read_schema(part).metadata[b"dim"] == b"3"


def test_resume_sees_what_is_done(tmp_path):
    write(tmp_path, result("a"), failed("b"), result("a", seed=1), flush_seconds=0)
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=99) as writer:
        writer.add(result("c"))
        known = writer.known()
    assert set(known) == {"a", "b", "c"}
    assert known["b"].status == "failed"
    assert known["a"] == KnownTrack(
        path="music/a.wav",
        status="ok",
        size_bytes=1001,
        mtime_ns=1_700_000_000_000_000_002,  # would round as a float
        audio_sha256=f"{1:064x}",
    )


@pytest.mark.parametrize("large_bytes", [0, 1 << 30], ids=["rewritten alone", "merged"])
@pytest.mark.parametrize("flush_seconds", [0, 99], ids=["in many parts", "in one part"])
def test_last_row_wins_with_its_chunks(tmp_path, monkeypatch, large_bytes, flush_seconds):
    monkeypatch.setattr(merging, "_LARGE_BYTES", large_bytes)
    write(tmp_path, result("a"), failed("b"), result("c"), result("d"), flush_seconds=flush_seconds)
    now = [result("a", seed=1, chunks=2), result("b"), result("c", seed=2, chunks=4), result("d")]
    writer = StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=flush_seconds)
    for one in (result("c", seed=1, chunks=6), *now[:3]):
        writer.add(one)
    writer.flush()
    before = EmbeddingStore.open(tmp_path)
    assert_holds(before, *now)
    writer.close()
    assert_holds(EmbeddingStore.open(tmp_path), *now)
    assert len(pd.read_parquet(tmp_path / "tracks")) == 4
    assert len(pd.read_parquet(tmp_path / "chunks")) == 2 + 4 + 4 + 4


def test_large_parts_are_left_alone(tmp_path, monkeypatch):
    write(tmp_path, result("a"), result("b"), flush_seconds=0)
    first = next((tmp_path / "tracks").glob("*.parquet"))
    before = first.stat().st_ino
    monkeypatch.setattr(merging, "_LARGE_BYTES", 1)
    write(tmp_path, result("c"))
    assert first.stat().st_ino == before
    assert_holds(EmbeddingStore.open(tmp_path), result("a"), result("b"), result("c"))


def test_chunks_are_found_by_statistics(tmp_path):
    """Reading one track must not read the others, however the parts were merged."""
    many = 12_000 * 64  # chunks of 2 x 3 are small: several row groups need many
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=0) as writer:
        for track_id in ("b", "a", "c"):
            writer.add(result(track_id, chunks=many // 3))
    metadata = pq.read_metadata(next((tmp_path / "chunks").glob("*.parquet")))
    spans = [metadata.row_group(i).column(0).statistics for i in range(metadata.num_row_groups)]
    assert len(spans) == 3
    assert sum(span.min <= "a" <= span.max for span in spans) == 1


def test_other_settings_are_refused_by_name(tmp_path):
    write(tmp_path, result("a"))
    other = copy.deepcopy(PROVENANCE)
    other["settings"]["model"]["latent_dim"] = 4
    other["settings"] |= {"weights": "sha256:99", "loudness": -23}
    other["chunk_seconds"] = 1.5
    with pytest.raises(StoreError) as caught:
        StoreWriter.open(tmp_path, other, keep_chunks=False)
    for part in (
        'weights: "sha256:1234" in the store, "sha256:99" asked for',
        "model.latent_dim: 3 in the store, 4 asked for",
        "loudness: absent in the store, -23 asked for",
        "chunk_seconds: 0.75 in the store, 1.5 asked for",
        "keep_chunks: true in the store, false asked for",
        "another --out",
    ):
        assert part in str(caught.value)
    assert "levels" not in str(caught.value)
    assert_holds(EmbeddingStore.open(tmp_path), result("a"))


def test_other_versions_are_recorded(tmp_path):
    write(tmp_path)
    newer = PROVENANCE | {"versions": {"m2l2-mir": "0.2.0"}}
    write(tmp_path, provenance=newer)
    write(tmp_path, provenance=newer)
    provenance = EmbeddingStore.open(tmp_path).provenance
    assert provenance["versions"] == {"m2l2-mir": "0.1.0"}
    assert [entry["versions"] for entry in provenance["history"]] == [{"m2l2-mir": "0.2.0"}]


def test_random_weights_are_not_trained(tmp_path):
    write(tmp_path, provenance=PROVENANCE | {"settings": {"weights": "random", "trained": False}})
    assert not EmbeddingStore.open(tmp_path).trained
    assert EmbeddingStore.open(tmp_path).embeddings().shape == (0, K, D)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX locks and fork")
def test_one_writer_at_a_time(tmp_path):
    waits, told = os.pipe()
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True) as writer:
        worker = os.fork()
        if worker == 0:  # a worker forked meanwhile must not keep the lock when its parent is gone
            os.close(told)
            os.read(waits, 1)
            os._exit(0)
        with pytest.raises(StoreError, match="being written by another process"):
            StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True)
        writer.add(result("a"))
    try:
        write(tmp_path, result("b"))
    finally:
        os.close(told)
        os.waitpid(worker, 0)
        os.close(waits)
    with pytest.raises(StoreError, match="closed"):
        writer.add(result("c"))
    assert_holds(EmbeddingStore.open(tmp_path), result("a"), result("b"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": np.full((K, D), np.nan)}, "mean holds NaN"),
        ({"std": np.zeros((D, K))}, r"std is shaped \(3, 2\), must be shaped \(2, 3\)"),
        ({"mean": None}, "mean is missing"),
        ({"chunk_embeddings": np.full((4, K, D), 1e6)}, "beyond float16"),
        ({"chunk_samples": np.ones(3)}, "chunk_samples must hold 4 values"),
        ({"status": "failed", "mean": None, "std": None}, "needs a reason"),
        ({"status": "done"}, "'done'"),
        ({"status": "failed", "reason": "no"}, "a failed track has no embeddings"),
        ({"track_id": ""}, "track_id is missing"),
        ({"track_id": "\udcff"}, "track_id cannot be"),
        ({"duration": None}, "duration is missing"),
        ({"sample_rate": 1 << 40}, "sample_rate cannot be"),
    ],
)
def test_unfit_results_are_refused_and_harm_no_other(tmp_path, changes, message):
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True) as writer:
        writer.add(result("a"))
        values = {name: getattr(result("b"), name) for name in TrackResult.__dataclass_fields__}
        with pytest.raises(InputError, match=message):
            writer.add(TrackResult(**values | changes))
    assert_holds(EmbeddingStore.open(tmp_path), result("a"))


def test_unfit_questions_are_answered(tmp_path):
    write(tmp_path / "chunks", result("song-1"), failed("song-2"))
    store = EmbeddingStore.open(tmp_path / "chunks")
    with pytest.raises(InputError, match="did you mean 'song-1'"):
        store.chunks("song1")
    with pytest.raises(InputError, match="failed: the file is empty"):
        store.chunks("song-2")
    with pytest.raises(ValueError, match="read-only"):
        store.embeddings()[0] = 0
    write(tmp_path / "no chunks", result("a"), keep_chunks=False)
    with pytest.raises(StoreError, match="--keep chunks"):
        EmbeddingStore.open(tmp_path / "no chunks").chunks("a")


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"'notes\.txt'"):
        StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    for call in (lambda path: StoreWriter.open(path, PROVENANCE, keep_chunks=True), EmbeddingStore.open):
        with pytest.raises(StoreError, match=r"notes\.txt"):
            call(tmp_path / "notes.txt")
    with pytest.raises(StoreError, match="m2l2 embed"):
        EmbeddingStore.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "damaged"), ("[]", "damaged"), ('{"settings": {}}', "num_embeddings"), (None, "upgrade")],
)
def test_unusable_provenance(tmp_path, text, message):
    write(tmp_path, result("a"))
    path = tmp_path / "provenance.json"
    path.write_text(text or json.dumps(json.loads(path.read_text()) | {"format": 99}))
    for call in (lambda: EmbeddingStore.open(tmp_path), lambda: write(tmp_path, result("b"))):
        with pytest.raises(StoreError, match=message):
            call()


@pytest.mark.parametrize("kind", ["tracks", "chunks"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_damaged_part_costs_its_own_tracks_only(tmp_path, monkeypatch, kind, how):
    monkeypatch.setattr(merging, "_LARGE_BYTES", 0)
    write(tmp_path, result("a"), result("b"), flush_seconds=0)
    damaged = tmp_path / kind / "part-00000001-00000001.parquet"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 4] ^= 0xFF
    if how == "gone":
        damaged.unlink()
    else:
        damaged.write_bytes(content[:-20] if how == "cut" else content)

    def use_all():
        store = EmbeddingStore.open(tmp_path)
        store.embeddings("mean+std")
        store.chunks("b")

    advice = rf"{kind}/{damaged.name} is damaged.*delete .*tracks/{damaged.name}"
    if (kind, how) != ("tracks", "gone"):
        with pytest.raises(StoreError, match=advice):
            use_all()
    if (kind, how) == ("chunks", "gone"):
        with pytest.raises(StoreError, match=advice):
            write(tmp_path, result("c"))
    (tmp_path / "tracks" / damaged.name).unlink(missing_ok=True)
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True) as writer:
        assert set(writer.known()) == {"a"}
        writer.add(result("b"))
    assert_holds(EmbeddingStore.open(tmp_path), result("a"), result("b"))


@pytest.mark.parametrize(("limit", "value"), [("_FLUSH_TRACKS", 2), ("_FLUSH_BYTES", 2 * 4 * K * D * 2)])
def test_waiting_tracks_are_limited_and_copied(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(writer_module, limit, value)
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=99) as writer:
        reused = result("a")
        writer.add(reused)
        assert len(EmbeddingStore.open(tmp_path)) == 0
        reused.mean[:] = reused.chunk_embeddings[:] = 7
        writer.add(result("b"))
        assert_holds(EmbeddingStore.open(tmp_path), result("a"), result("b"))


def test_parts_merged_while_opening_are_listed_again(tmp_path, monkeypatch):
    write(tmp_path, result("a"), result("b"), flush_seconds=0)
    listings = iter([[Part(0, 0), Part(1, 1)], [Part(0, 1)]])
    monkeypatch.setattr(Parts, "live", lambda parts: next(listings))
    assert_holds(EmbeddingStore.open(tmp_path), result("a"), result("b"))


def test_an_unreadable_part_is_not_called_damaged(tmp_path, monkeypatch):
    """Nobody should be told to delete a sound file because too many others are open."""

    def refused(*args, **options):
        raise OSError(errno.EMFILE, "Too many open files")

    write(tmp_path, result("a"))
    monkeypatch.setattr(pq, "read_table", refused)
    with pytest.raises(StoreError, match=r"cannot be read.*Too many open files") as caught:
        EmbeddingStore.open(tmp_path)
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize("large_bytes", [0, 1 << 30], ids=["a row is gone", "a part is gone"])
def test_reader_of_a_store_rewritten_meanwhile_says_so(tmp_path, monkeypatch, large_bytes):
    monkeypatch.setattr(merging, "_LARGE_BYTES", large_bytes)
    write(tmp_path, result("a"), result("b"), flush_seconds=99)
    reader = EmbeddingStore.open(tmp_path)
    write(tmp_path, result("a", seed=1))
    for ask in (reader.embeddings, lambda: reader.chunks("a")):
        with pytest.raises(StoreError, match="open it again"):
            ask()


@pytest.mark.parametrize("large_bytes", [0, 1 << 30], ids=["rewritten alone", "merged"])
def test_removed_and_renamed_tracks(tmp_path, monkeypatch, large_bytes):
    monkeypatch.setattr(merging, "_LARGE_BYTES", large_bytes)
    write(tmp_path, *map(result, "abcd"), flush_seconds=0)
    place = {"track_id": "e", "path": "music/e.wav", "size_bytes": 7, "mtime_ns": 8}
    now = [result("a"), dataclasses.replace(result("b"), **place)]
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True, flush_seconds=99) as writer:
        writer.add(result("f"))
        writer.relocate({"b": place})
        writer.remove(["c", "f", "unknown"])
        writer.add(result("d", seed=1))
        writer.remove(["d"])
        assert set(writer.known()) == {"a", "e"}
        assert_holds(EmbeddingStore.open(tmp_path), *now)
        with pytest.raises(InputError, match="no track 'c'"):
            EmbeddingStore.open(tmp_path).chunks("c")
    assert_holds(EmbeddingStore.open(tmp_path), *now)
    assert sorted(pd.read_parquet(tmp_path / "tracks")["track_id"]) == ["a", "e"]
    assert set(pd.read_parquet(tmp_path / "chunks")["track_id"]) == {"a", "e"}
    write(tmp_path, result("c", seed=2))  # it may come back
    assert_holds(EmbeddingStore.open(tmp_path), *now, result("c", seed=2))
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True) as writer:
        writer.remove(writer.known())
    assert len(EmbeddingStore.open(tmp_path)) == 0
    write(tmp_path, result("c", seed=3))
    assert_holds(EmbeddingStore.open(tmp_path), result("c", seed=3))


def test_a_removal_that_waits_is_not_known(tmp_path, monkeypatch):
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=True) as writer:
        writer.add(result("a"))
        writer.flush()
        with monkeypatch.context() as patch:
            patch.setattr(writer_module, "track_table", None)
            with pytest.raises(TypeError):
                writer.remove(["a"])
        assert writer.known() == {}
    assert len(EmbeddingStore.open(tmp_path)) == 0


@pytest.mark.parametrize("keep_chunks", [False, True])
def test_a_track_that_lies_elsewhere_keeps_its_embeddings(tmp_path, keep_chunks):
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=keep_chunks) as writer:
        for track_id in "abc":
            writer.add(result(track_id))
            writer.flush()
    before = EmbeddingStore.open(tmp_path)
    vectors = before.embeddings("mean+std")
    chunks = (before.chunks("b"), before.chunk_table("b")) if keep_chunks else None
    with StoreWriter.open(tmp_path, PROVENANCE, keep_chunks=keep_chunks) as writer:
        writer.add(result("d"))
        place = {"path": "new/b.wav", "size_bytes": 7, "mtime_ns": 8}
        writer.relocate({"b": place, "d": place | {"path": "new/d.wav"}, "unknown": place})
    after = EmbeddingStore.open(tmp_path)
    assert list(after.tracks["path"]) == ["music/a.wav", "new/b.wav", "music/c.wav", "new/d.wav"]
    assert after.tracks.set_index("track_id").loc["b", ["size_bytes", "mtime_ns"]].tolist() == [7, 8]
    np.testing.assert_array_equal(after.embeddings("mean+std")[:3], vectors)
    if chunks is not None:
        np.testing.assert_array_equal(after.chunks("b"), chunks[0])
        pd.testing.assert_frame_equal(after.chunk_table("b"), chunks[1])
