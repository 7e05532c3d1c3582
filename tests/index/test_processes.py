"""Processes that share an index: two that read while one writes, and writers that are killed (SIGKILL)."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from m2l2_mir.index.similarity import SimilarityIndex

STRUCTURES = {"Flat": "Flat", "HNSW": "HNSW16,Flat", "IVF": "IVF4,PQ4x4"}
CHANGES = 5
READER = """
import json, sys, time
from pathlib import Path
import numpy as np
from m2l2_mir.index.similarity import SimilarityIndex

root, vectors = Path(sys.argv[1]), np.load(sys.argv[2])
folders = sorted(path for path in root.iterdir() if path.is_dir())
held = {folder: SimilarityIndex.load(folder) for folder in folders}
before = {folder: index.query(vectors[0], 5) for folder, index in held.items()}
seen = {folder.name: {index.ids[-1]} for folder, index in held.items()}
print("ready", flush=True)
last = False
while not last:
    last = (root / "stop").exists()  # one more round then: the index is as it ends
    for folder in folders:
        assert held[folder].query(vectors[0], 5).equals(before[folder]), "what was open has changed"
        index = SimilarityIndex.load(folder)
        ids = index.ids
        assert len(set(ids)) == len(ids)
        for name in (ids[0], ids[-1]):
            assert index.query(vectors[int(name[1:])], 1)["track_id"].item() == name
        seen[folder.name].add(ids[-1])
print(json.dumps({name: sorted(states) for name, states in seen.items()}))
"""
NURSERY = """
import os, sys, time
from pathlib import Path
import numpy as np
from m2l2_mir.index.similarity import SimilarityIndex

folder, vectors = Path(sys.argv[1]), np.load(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    begun = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            index = SimilarityIndex.load(folder)
            first = 0 if "t00" in index.ids else 20  # of the 20 tracks that go; as many others come
            index.remove([f"t{row:02}" for row in range(first, first + 20)])
            some = range(20 - first, 40 - first)
            index.add_vectors(vectors[some], [f"t{row:02}" for row in some])
            index.save(folder)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    ended = 0
    while not ended and time.perf_counter() - begun < float(line):
        time.sleep(0.0005)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, 9)
        ended, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), time.perf_counter() - begun, flush=True)
"""


def child(script, *arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, text=True, env=environment, stdout=subprocess.PIPE, **options)


def test_two_processes_read_while_one_adds_and_removes(tmp_path, library):
    """Each answer comes from one state of the index, and what a reader has open stays as it is, mapped as it may be."""
    vectors, ids, _ = library
    np.save(tmp_path / "vectors.npy", vectors)
    root = tmp_path / "indexes"
    for name, factory in STRUCTURES.items():
        SimilarityIndex.from_vectors(vectors[:40], ids[:40], factory=factory).save(root / name)
    readers = [child(READER, root, tmp_path / "vectors.npy") for _ in range(2)]
    try:
        assert [reader.stdout.readline() for reader in readers] == ["ready\n"] * 2
        for change in range(CHANGES):
            for name in STRUCTURES:
                index = SimilarityIndex.load(root / name)
                some = slice(40 + 4 * change, 44 + 4 * change)
                index.add_vectors(vectors[some], ids[some])
                index.remove(ids[4 * change : 4 * change + 4])
                index.save(root / name)
            time.sleep(0.1)
    finally:
        (root / "stop").touch()
    told = [json.loads(reader.communicate(timeout=60)[0] or "{}") for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0]
    for name in STRUCTURES:
        assert SimilarityIndex.load(root / name).ids == ids[20:60]
        assert all({ids[39], ids[59]} <= set(seen[name]) for seen in told)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("structure", list(STRUCTURES))
def test_a_killed_writer_leaves_the_old_index_or_the_new_one(tmp_path, library, structure):
    vectors, ids, _ = library
    np.save(tmp_path / "vectors.npy", vectors)
    idx = tmp_path / "idx"
    SimilarityIndex.from_vectors(vectors[:20], ids[:20], factory=STRUCTURES[structure]).save(idx)
    states, now = ({*ids[:20]}, {*ids[20:40]}), {*ids[:20]}
    rng = np.random.default_rng(0)
    with child(NURSERY, idx, tmp_path / "vectors.npy", stdin=subprocess.PIPE, bufsize=1) as nursery:
        assert nursery.stdout.readline() == "ready\n"

        def change(seconds):
            nursery.stdin.write(f"{seconds}\n")
            code, took = nursery.stdout.readline().split()
            return int(code), float(took)

        durations = []
        for _ in range(3):
            code, took = change("inf")
            assert code == 0
            durations.append(took)
            now = states[now == states[0]]
            assert {*SimilarityIndex.load(idx).ids} == now
        kills = 0
        for moment in rng.permutation(np.linspace(0.1, 1.1, 16)) * sorted(durations)[1]:
            code, _ = change(moment)
            assert code in (0, -signal.SIGKILL)
            index = SimilarityIndex.load(idx)
            held = {*index.ids}
            assert held in (states if code else (states[now == states[0]],))
            for name in itertools.islice(index.ids, 0, None, 7):
                assert index.query(vectors[int(name[1:])], 1)["track_id"].item() == name
            kills, now = kills + (code != 0), held
        assert kills >= 3
        assert change("inf")[0] == 0  # nothing that a kill has left is in the way
        nursery.stdin.close()
    named = json.loads((idx / "index.json").read_text())["files"].values()
    assert {*os.listdir(idx)} == {entry["name"] for entries in named for entry in entries} | {"index.json", ".lock"}
