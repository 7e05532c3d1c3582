"""A run that is killed (SIGKILL) again and again: no finished track is lost, none is there twice.

One warm child process, with the package imported, forks a process for each run; forking the test process itself
would not do, since it has used threads.
"""

import itertools
import math
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import StoreError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FILES = 12
KILLS = 24
NURSERY = """
import os, signal, sys, time
from functools import partial
from types import SimpleNamespace
from m2l2_mir.embedding import extract, merging, writer

# every finished track is a flush of its own, and every few flushes are merged
extract.StoreWriter = SimpleNamespace(open=partial(extract.StoreWriter.open, flush_seconds=0))
writer._MERGE_EVERY = 5
print("ready", flush=True)
for line in sys.stdin:
    seconds, music, store = line.rstrip().split("|")
    begun = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            if "in small steps" in store:  # a part a track, a flush a renamed or removed one
                merging._LARGE_BYTES, writer._FLUSH_TRACKS = 0, 1
            options = dict(model="random:m2l2-tiny", device="cpu", keep="chunks", jobs=2, prune=True)
            extract.extract(music, out=store, **options)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    ended = 0
    while not ended and time.perf_counter() - begun < float(seconds):
        time.sleep(0.001)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGKILL)
        ended, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), time.perf_counter() - begun, flush=True)
"""


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "music"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(FILES):
        save(folder / f"{number:02}.wav", rng.normal(scale=0.1, size=(1, 20_000 + 12_345 * (number % 5))), 44100)
    return folder


@pytest.fixture(scope="module")
def run(music):
    """Run `extract` into a folder, killed after some seconds (or not); -> its exit code and how long it took."""
    command = [sys.executable, "-c", NURSERY]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
    ) as nursery:
        assert nursery.stdout.readline() == "ready\n"

        def run(folder, seconds=math.inf, music=music):
            nursery.stdin.write(f"{seconds}|{music}|{folder}\n")
            code, took = nursery.stdout.readline().split()
            return int(code), float(took)

        yield run
        nursery.stdin.close()


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A store that was made without a kill, and the seconds that took."""
    folders = [tmp_path_factory.mktemp("whole") / str(number) for number in range(3)]
    codes, seconds = zip(*(run(folder) for folder in folders), strict=True)
    assert codes == (0, 0, 0)
    return EmbeddingStore.open(folders[0]), sorted(seconds)[1]


def assert_right(store, whole):
    """Every row of `store` is as in `whole`, the chunks as well; -> the names it has."""
    expected = dict(zip(whole.ok["track_id"], whole.embeddings("mean+std"), strict=True))
    assert list(store.tracks["status"]) == ["ok"] * len(store)
    assert store.tracks["track_id"].is_unique
    facts = ["track_id", "path", "duration", "chunks", "silent_chunks", "audio_sha256", "size_bytes", "mtime_ns"]
    merged = store.tracks[facts].merge(whole.tracks[facts])
    assert len(merged) == len(store)
    for name, vector in zip(store.ok["track_id"], store.embeddings("mean+std"), strict=True):
        np.testing.assert_allclose(vector, expected[name], rtol=0, atol=1e-5)
        np.testing.assert_allclose(store.chunks(name), whole.chunks(name), rtol=0, atol=1e-3)
        pd.testing.assert_frame_equal(store.chunk_table(name), whole.chunk_table(name))
    return set(store.tracks["track_id"])


def test_killed_until_it_is_done(run, whole, tmp_path):
    """Stores are made one after the other, each under kills until one run gets through."""
    whole, duration = whole
    rng = np.random.default_rng(1)
    # one moment in each stretch of the duration, more of them at both ends, in random order
    stretches = np.concatenate([np.linspace(0, 1, KILLS), np.repeat([0.0, 0.03, 0.9, 0.95], 2)])
    moments = itertools.cycle(rng.permutation(stretches + rng.uniform(0, 1 / KILLS, len(stretches))) * duration)
    kills = partial = stores = 0
    names: set[str] = set()
    while True:
        folder = tmp_path / str(stores)
        code, _ = run(folder, next(moments)) if kills < KILLS else run(folder)
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        if code and not (folder / "provenance.json").exists():
            with pytest.raises(StoreError, match=r"no provenance\.json"):
                EmbeddingStore.open(folder)
            assert not names
            continue
        now = assert_right(EmbeddingStore.open(folder), whole)
        assert now >= names  # nothing that was there is lost
        names = now
        partial += code != 0 and 0 < len(names) < FILES
        if code:
            continue
        assert names == set(whole.tracks["track_id"])
        tracks, chunks = (pd.read_parquet(folder / kind) for kind in ("tracks", "chunks"))
        assert sorted(tracks["track_id"]) == sorted(names)
        assert len(chunks) == whole.tracks["chunks"].sum()
        assert not chunks.duplicated(["track_id", "chunk"]).any()
        assert [len(os.listdir(folder / kind)) for kind in ("tracks", "chunks")] == [1, 1]
        if kills >= KILLS:
            break
        stores, names = stores + 1, set()
    assert partial >= 5  # the kills did hit the work, and not only its ends


def test_killed_while_it_follows_its_folder(run, music, whole, tmp_path):
    """Of 12 files six were renamed and three are gone: each kept embedding is there once, under one of two names."""
    whole, _ = whole
    shutil.copytree(music, tmp_path / "music")
    names = sorted(path.name for path in music.iterdir())
    renamed, gone, same = names[:6], names[6:9], names[9:]
    now = {name: f"new/{name}" for name in renamed} | {name: name for name in same}
    former = {after: before for before, after in now.items()} | {name: name for name in names}
    vectors = dict(zip(whole.ok["track_id"], whole.embeddings("mean+std"), strict=True))
    steps = tmp_path / "in small steps"
    assert run(steps / "first", music=tmp_path / "music")[0] == 0
    assert len(list((steps / "first" / "tracks").iterdir())) == FILES
    (tmp_path / "music" / "new").mkdir()
    for name in renamed:
        (tmp_path / "music" / name).rename(tmp_path / "music" / "new" / name)
    for name in gone:
        (tmp_path / "music" / name).unlink()
    shutil.copytree(steps / "first", steps / "whole")
    code, duration = run(steps / "whole", music=tmp_path / "music")
    assert code == 0
    between = 0
    for number, moment in enumerate(np.linspace(0.3, 1, 12) * duration):
        folder = steps / str(number)
        shutil.copytree(steps / "first", folder)
        run(folder, moment, tmp_path / "music")
        store = EmbeddingStore.open(folder)
        held = store.ok["track_id"].tolist()
        assert len(store) == len(held)
        assert sorted({former[name] for name in held} | {*gone}) == names
        assert len({former[name] for name in held}) == len(held)
        for name, vector in zip(held, store.embeddings("mean+std"), strict=True):
            np.testing.assert_allclose(vector, vectors[former[name]], rtol=0, atol=1e-5)
            np.testing.assert_allclose(store.chunks(name), whole.chunks(former[name]), rtol=0, atol=1e-3)
        between += {*held} not in ({*now.values()}, {*names})
        assert run(folder, music=tmp_path / "music")[0] == 0
        assert sorted(EmbeddingStore.open(folder).ok["track_id"]) == sorted(now.values())
        assert sorted(pd.read_parquet(folder / "tracks")["track_id"]) == sorted(now.values())
    assert between  # a kill did come in the middle of it
