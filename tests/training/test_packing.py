"""Shards: what goes in comes out, nothing is larger than it may be, and a stopped run goes on."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2l2_mir.audio import load, save
from m2l2_mir.errors import InputError
from m2l2_mir.training import packing
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.packing import OPUS_RATE, pack
from m2l2_mir.training.recordings import Collection, write_collections
from tests.training.tones import tone

RATE = 44100


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    for number in range(6):
        (folder / f"album {number % 2}").mkdir(parents=True, exist_ok=True)
        save(folder / f"album {number % 2}" / f"{number}.wav", tone(200 + 50 * number, 3, 0.3, RATE), RATE)
    write_collections(folder, {"album 0": Collection(licence="CC BY 4.0", source="here", split="test")})
    return folder


def snr(reference: np.ndarray, heard: np.ndarray) -> float:
    return float(10 * np.log10(np.square(reference).sum() / np.square(reference - heard).sum()))


def test_packed_music_comes_back_in_time_and_close(music: Path, tmp_path: Path) -> None:
    pack(music, tmp_path / "shards", jobs=2)
    packed, direct = (build_corpus([f], sample_rate=RATE, cache=tmp_path) for f in (tmp_path / "shards", music))
    facts = ["name", "collection", "licence", "split", "start"]
    assert packed.pieces[facts].equals(direct.pieces[facts])
    assert (packed.pieces["samples"] - direct.pieces["samples"]).abs().max() <= 2  # there and back between two rates
    assert packed.pieces["licence"].tolist() == ["CC BY 4.0"] * 3 + ["unknown"] * 3
    for start, samples in direct.pieces[["start", "samples"]].to_numpy() - [0, 2]:
        part = slice(start, start + samples)
        assert snr(direct.audio[part].astype(float), packed.audio[part].astype(float)) > 15


def test_a_shard_is_a_webdataset_and_no_larger_than_it_may_be(music: Path, tmp_path: Path) -> None:
    manifest = pack(music, tmp_path / "shards", shard_mb=0.06)
    assert len(manifest["shards"]) > 1
    names = []
    for shard in manifest["shards"]:
        path = tmp_path / "shards" / shard["file"]
        assert path.stat().st_size == shard["size"] <= 60_000
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        for entry in shard["recordings"]:
            names.append(entry["name"])
            about = json.loads(members[entry["key"] + ".json"])
            assert set(about) == {"name", "collection", "licence", "source", "split", "sha256", "duration"}
            waveform, rate = soundfile.read(io.BytesIO(members[entry["key"] + ".opus"]))
            assert (rate, waveform.ndim) == (OPUS_RATE, 1)
            assert len(waveform) / rate == pytest.approx(about["duration"]) == pytest.approx(3, abs=0.01)
    assert names == sorted(names)
    assert len(names) == 6


def test_a_stopped_run_goes_on(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pack(music, tmp_path / "whole", shard_mb=0.06)
    encoded: list[str] = []
    encode = packing._Packer._encode

    def dies_at_the_fourth(self, recording):
        encoded.append(recording.name)
        if len(encoded) == 4:
            raise KeyboardInterrupt
        return encode(self, recording)

    monkeypatch.setattr(packing._Packer, "_encode", dies_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        pack(music, tmp_path / "cut", shard_mb=0.06, jobs=1)
    resumed = pack(music, tmp_path / "cut", shard_mb=0.06, jobs=1)
    # what was in a finished shard was not encoded again
    assert encoded.count("album 0/0.wav") == 1

    def without_bytes(manifest: dict) -> list:  # an Ogg stream carries a random number
        return [[e["name"], e["sha256"], e["size"]] for shard in manifest["shards"] for e in shard["recordings"]]

    assert without_bytes(resumed) == without_bytes(whole)
    encoded.clear()
    pack(music, tmp_path / "cut", shard_mb=0.06)
    assert not encoded
    with pytest.raises(InputError, match="other files or settings"):
        pack(music, tmp_path / "cut", shard_mb=0.07)


def test_bad_files_are_listed_and_damaged_shards_found_out(music: Path, tmp_path: Path) -> None:
    (music / "album 0" / "broken.ogg").write_bytes(b"OggS" + bytes(100))
    save(music / "album 1" / "long.wav", tone(100, 8, 0.3, RATE), RATE)
    waveform, _ = load(music / "album 0" / "0.wav")
    save(music / "album 1" / "copy.flac", waveform, RATE)
    manifest = pack(music, tmp_path / "shards", shard_mb=0.05)
    reasons = {entry["name"]: (entry["kind"], entry["reason"]) for entry in manifest["skipped"]}
    assert reasons["album 0/broken.ogg"][0] == "failed"
    assert reasons["album 1/copy.flac"] == ("left out", "the same samples as album 0/0.wav")
    assert "larger --shard-mb" in reasons["album 1/long.wav"][1]
    entry = manifest["shards"][0]["recordings"][0]
    with open(tmp_path / "shards" / manifest["shards"][0]["file"], "r+b") as shard:
        shard.seek(entry["offset"] + entry["size"] // 2)
        shard.write(b"damage")
    corpus = build_corpus([tmp_path / "shards"], sample_rate=RATE, cache=tmp_path / "cache")
    assert corpus.skipped["name"].tolist() == [entry["name"]]
    assert len(corpus.pieces) == 5
