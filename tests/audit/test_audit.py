"""The audit: a leak of each kind is planted and must be found, and a clean split must be called clean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from m2l2_mir.audit.audit import Audit, audit
from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.manifest import Manifest
from m2l2_mir.dataset.recipe import DatasetRecipe
from m2l2_mir.embedding.store import EmbeddingStore, StoreWriter, TrackResult
from m2l2_mir.errors import InputError

RATE = 8_000
TRACKS = 60


def _recipe() -> DatasetRecipe:
    return DatasetRecipe(
        title="A set", about="", source="local", loader="none", tasks=("genre",), licence="MIT", citation="none"
    )


class Planted:
    """A clean set of 60 short sounds in three folds, to be spoilt at one place by a test."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.sounds = (rng.normal(size=(TRACKS, RATE // 20)) * 3000).astype(np.int16)
        self.vectors = rng.normal(size=(TRACKS, 4, 6)).astype(np.float32)
        self.folder = folder
        self.table = pd.DataFrame(
            {
                "track_id": [f"t{number:02}" for number in range(TRACKS)],
                "label": ["rock", "pop"] * (TRACKS // 2),
                "fold": ["train", "train", "train", "train", "valid", "test"] * (TRACKS // 6),
                "group": [f"artist {number}" for number in range(TRACKS)],
                "audio": "",
            }
        )
        self.paths = [str(folder / f"{track}.wav") for track in self.table["track_id"]]

    def dataset(self) -> Dataset:
        for path, sound in zip(self.paths, self.sounds, strict=True):
            if path:
                soundfile.write(path, sound, RATE, subtype="PCM_16")
        tracks = pd.DataFrame({"track_id": self.table["track_id"], "path": self.paths})
        dropped = pd.DataFrame(columns=["track_id", "label", "reason"])
        return Dataset(name="set", recipe=_recipe(), tracks=tracks, dropped=dropped)

    def manifest(self) -> Manifest:
        excluded = pd.DataFrame(columns=["track_id", "reason"])
        return Manifest(dataset="set", label="genre", split="s", seed=0, table=self.table, excluded=excluded)

    def store(self, hashes: dict[int, str] | None = None, *, trained: bool = True) -> EmbeddingStore:
        made_with = {"settings": {"trained": trained}, "num_embeddings": 4, "dim": 6, "chunk_seconds": 1}
        with StoreWriter.open(self.folder / "store", made_with, keep_chunks=False) as writer:
            for number, vector in enumerate(self.vectors):
                known = {"track_id": self.table["track_id"][number], "path": self.paths[number], "status": "ok"}
                digest = (hashes or {}).get(number, "")
                writer.add(TrackResult(**known, mean=vector, std=abs(vector), audio_sha256=digest))
        return EmbeddingStore.open(self.folder / "store")

    def audit(self, **more: Any) -> Audit:
        return audit(self.dataset(), self.manifest(), **more)


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return Planted(tmp_path)


def test_a_clean_split_is_called_clean(planted: Planted) -> None:
    told: list[tuple[int, int]] = []
    found = planted.audit(store=planted.store(), progress=lambda *counts: told.append(counts))
    assert found.ok
    assert found.not_checked == ()
    assert told[-1] == (TRACKS, TRACKS)
    assert (len(found.groups), len(found.identical), len(found.near)) == (0, 0, 0)
    assert found.clean
    assert found.lines()[-1] == "no leakage found"
    assert found.manifest == planted.manifest().sha256
    assert json.loads(json.dumps(found.to_dict()))["ok"] is True


def test_groups_in_several_folds(planted: Planted) -> None:
    planted.table.loc[[0, 5, 6], "group"] = "one artist"  # train, test and train
    planted.table.loc[[1, 2], "group"] = "another"  # both train
    found = planted.audit()
    assert not found.ok
    assert found.groups.to_dict("records") == [{"group": "one artist", "folds": ("test", "train"), "tracks": 3}]
    assert "    one artist: 3 tracks in folds test, train" in found.lines()


@pytest.mark.parametrize("by", ["file", "samples", "checksum"])
def test_identical_audio_in_several_folds(planted: Planted, by: str) -> None:
    if by == "checksum":  # such as in an index whose audio is not there
        planted.table.loc[[4, 6], "audio"] = "md5:0"
        planted.paths[4] = ""
    else:
        planted.sounds[6] = planted.sounds[4]
        if by == "samples":
            planted.paths[6] = planted.paths[6].replace(".wav", ".flac")
    planted.sounds[1] = planted.sounds[3]  # both train
    planted.table.loc[[1, 3], "label"] = "rock"
    planted.table.loc[[4, 6], "label"] = "pop"
    found = planted.audit(store=planted.store())
    assert not found.ok
    first, second = found.identical.to_dict("records")
    assert second == {
        "tracks": ("t04", "t06"),
        "folds": ("valid", "train"),
        "labels": ("pop", "pop"),
        "by": by,
        "leak": True,
        "conflict": False,
    }
    assert (first["tracks"], first["leak"]) == (("t01", "t03"), False)
    assert "    t04 (fold valid, pop) = t06 (fold train, pop)" in found.lines()
    assert len(found.near) == 0


def test_one_recording_with_two_labels(planted: Planted) -> None:
    planted.sounds[1] = planted.sounds[2]  # both train: no leak, and yet one of the labels is wrong
    found = planted.audit()
    assert not found.ok
    assert found.identical[["leak", "conflict"]].to_numpy().tolist() == [[False, True]]


def test_near_duplicates_in_two_folds(planted: Planted) -> None:
    rng = np.random.default_rng(1)
    for original, copy in ((0, 5), (1, 2), (10, 11)):
        planted.vectors[copy] = planted.vectors[original] + 0.05 * rng.normal(size=(4, 6))
    planted.sounds[11] = planted.sounds[10]  # told of as identical
    planted.table.loc[[10, 11], ["fold", "label"]] = ["train", "pop"]
    found = planted.audit(store=planted.store())
    assert not found.ok
    pairs = found.near.set_index(["first", "second"])["leak"].to_dict()
    assert pairs == {("t00", "t05"): True, ("t01", "t02"): False}
    assert any(line.startswith("    t00 (fold train) ~ t05 (fold test), similarity ") for line in found.lines())
    assert "  near duplicates, of 60 embedded tracks: 1 pairs in two folds, 1 within one" in found.lines()
    assert planted.audit(store=planted.store(), threshold=0.001).ok


def test_embeddings_are_matched_by_path_where_the_ids_are_others(planted: Planted) -> None:
    planted.vectors[5] = planted.vectors[0]
    store = planted.store()
    planted.table["track_id"] = [f"other {number:02}" for number in range(TRACKS)]
    found = planted.audit(store=store)
    assert found.near[["first", "second"]].to_numpy().tolist() == [["other 00", "other 05"]]


def test_an_audit_says_what_it_did_not_look_at(planted: Planted) -> None:
    planted.table["group"] = "track:" + planted.table["track_id"]
    dataset, manifest = planted.dataset(), planted.manifest()
    Path(planted.paths[7]).unlink()
    Path(planted.paths[8]).write_bytes(b"no audio")
    found = audit(dataset, manifest)
    assert found.ok
    assert not found.clean
    assert found.to_dict()["clean"] is False
    assert found.lines()[-1] == (
        "nothing found; NOT checked: groups, identical audio (in part), identical sound (in part), near duplicates"
    )
    assert (found.grouped, found.heard, found.embedded) == (0, 59, 0)
    groups, missing, broken, near = found.not_checked
    assert groups.startswith("groups: the set states none")
    assert missing == "identical audio of 1 of 60 tracks, whose files are not there"
    assert broken.startswith("identical sound of 1 tracks that cannot be decoded, such as ")
    assert "t08.wav: cannot be read as audio" in broken
    assert near.startswith("near duplicates: no embeddings were given")


def test_a_leak_does_not_hide_what_was_not_checked(planted: Planted) -> None:
    planted.table.loc[[0, 5], "group"] = "one artist"
    planted.table.loc[3, "group"] = "track:t03"
    planted.paths = [""] * TRACKS
    found = planted.audit()
    assert found.not_checked[1] == "identical audio: none of the files is there"
    assert found.lines()[-1] == (
        "LEAKAGE, or one recording with two labels: see above; "
        "NOT checked: groups (in part), identical audio, near duplicates"
    )


def test_embeddings_that_are_of_something_else_are_not_used(planted: Planted) -> None:
    planted.vectors[[5, 23]] = planted.vectors[[0, 20]]
    store = planted.store({5: "f" * 64}, trained=False)
    planted.table.loc[9, "track_id"] = "not embedded"
    planted.paths[9] = str(planted.folder / "new.wav")
    planted.table.loc[3, "group"] = "track:t03"
    found = planted.audit(store=store)
    assert found.near[["first", "second"]].to_numpy().tolist() == [["t20", "t23"]]
    assert (found.grouped, found.heard, found.embedded) == (59, 60, 58)
    assert [line.split(";")[0] for line in found.not_checked] == [
        "groups of 1 of 60 tracks, which state none",
        "near duplicates of untrained embeddings: only the closest copies are found",
        "near duplicates of 1 tracks whose audio is not the embedded one",
        f"near duplicates of 1 of 60 tracks that are not in {store.path}",
    ]


def test_too_few_embedded_tracks_are_not_compared(planted: Planted) -> None:
    store = planted.store()
    planted.table.loc[19:, "track_id"] = [f"x{number}" for number in range(19, TRACKS)]
    planted.paths[19:] = [str(planted.folder / f"x{number}.wav") for number in range(19, TRACKS)]
    found = planted.audit(store=store)
    assert found.not_checked[-1] == "near duplicates: 19 embedded tracks are too few, 20 are needed"


def test_balance_tells_uneven_folds_from_chance(planted: Planted) -> None:
    planted.table["label"] = ["x"] * 30 + ["y"] * 30
    even = planted.audit().balance.set_index("fold")
    assert even.index.tolist() == ["train", "valid", "test"]
    assert even["tracks"].tolist() == [40, 10, 10]
    assert (even["distance"] == 0).all()
    assert even["missing"].tolist() == [(), (), ()]
    planted.table["fold"] = ["train"] * 40 + ["test"] * 20
    uneven = planted.audit()
    balance = uneven.balance.set_index("fold")
    assert balance["distance"].to_dict() == pytest.approx({"train": 0.25, "test": 0.5})
    # a hypergeometric fold of 20 from 30 + 30 is off by 4 or more of 20 in 5.5 % of draws
    assert balance["chance"]["test"] == pytest.approx(0.2, abs=0.051)
    assert balance["missing"]["test"] == ("x",)
    assert uneven.ok
    assert "    fold 'test' has none of 1 classes: x" in uneven.lines()
    planted.table["label"] = np.linspace(60, 180, TRACKS)
    numbers = planted.audit().balance.set_index("fold")
    assert numbers["distance"]["test"] > 0.5
    assert numbers["missing"]["test"] == ()


def test_a_manifest_of_another_set_is_refused(planted: Planted) -> None:
    dataset = planted.dataset()
    planted.table["track_id"] = "other" + planted.table["track_id"]
    with pytest.raises(InputError, match="set has no track 'othert00': this manifest is of set"):
        audit(dataset, planted.manifest())
