"""Local sets: miniatures in the layout of the real ones, with the odd cases that the real ones hold."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from m2l2_mir.dataset.published.local_sets import CHECKS, READERS
from m2l2_mir.dataset.reading import Reading
from m2l2_mir.dataset.recipe import find_recipe
from m2l2_mir.errors import InputError


def _read(name: str, home: Path) -> Reading:
    return READERS[name](find_recipe(name)[1], home)


def _check(name: str, home: Path) -> list[str]:
    return CHECKS[name](find_recipe(name)[1], home)


def _columns(reading: Reading, *columns: str) -> dict[str, tuple[Any, ...]]:
    """Track id -> the named columns, missing values as None."""
    return {
        row["track_id"]: tuple(None if pd.isna(row[column]) else row[column] for column in columns)
        for row in reading.tracks.to_dict("records")
    }


def _reasons(reading: Reading) -> dict[str, str]:
    return dict(zip(reading.dropped["track_id"], reading.dropped["reason"], strict=True))


def _audio(path: Path, seconds: float, sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(round(seconds * sample_rate)) * 0.05), sample_rate)


def _sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", ["nsynth", "giantsteps-604", "fma-small"])
def test_an_empty_folder_says_what_to_put_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _read(name, tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert find_recipe(name)[1].get in message
    assert "\n" not in message
    assert any("folders missing" in problem for problem in _check(name, tmp_path))


def _nsynth(home: Path, fold: str, *names: str, **changes: Any) -> None:
    examples = {}
    for name in names:
        instrument, pitch, velocity = name.rsplit("-", 2)
        family, source, _ = instrument.rsplit("_", 2)
        _audio(home / f"nsynth-{fold}/audio/{name}.wav", 4.0, 16_000)
        examples[name] = {
            "note_str": name,
            "pitch": int(pitch),
            "velocity": int(velocity),
            "instrument_str": instrument,
            "instrument_family_str": family,
            "instrument_source_str": source,
            "sample_rate": 16_000,
            "qualities_str": ["bright"],
            **changes,
        }
    _text(home / f"nsynth-{fold}/examples.json", json.dumps(examples))


def test_nsynth(tmp_path: Path) -> None:
    _nsynth(tmp_path, "train", "bass_synthetic_033-022-050", "synth_lead_synthetic_011-108-127")
    _nsynth(tmp_path, "test", "vocal_acoustic_000-060-025")
    reading = _read("nsynth", tmp_path)
    assert _columns(reading, "pitch", "instrument", "group", "source", "velocity", "fold") == {
        "bass_synthetic_033-022-050": (22, "bass", "bass_synthetic_033", "synthetic", 50, "train"),
        "synth_lead_synthetic_011-108-127": (108, "synth lead", "synth_lead_synthetic_011", "synthetic", 127, "train"),
        "vocal_acoustic_000-060-025": (60, "vocal", "vocal_acoustic_000", "acoustic", 25, "test"),
    }
    assert all(Path(path).is_file() for path in reading.tracks["path"])
    assert _check("nsynth", tmp_path) == ["1 folders missing: nsynth-valid"]
    _nsynth(tmp_path, "valid", "guitar_acoustic_010-050-075")
    assert _check("nsynth", tmp_path) == []


def test_nsynth_half_unpacked_or_mixed_up(tmp_path: Path) -> None:
    _nsynth(
        tmp_path, "train", "bass_synthetic_033-022-050", "organ_electronic_001-040-100", "reed_acoustic_011-050-050"
    )
    _nsynth(tmp_path, "valid", "bass_synthetic_033-023-050")
    _nsynth(tmp_path, "test", "vocal_acoustic_000-060-025", pitch=61)
    audio = tmp_path / "nsynth-train/audio"
    (audio / "organ_electronic_001-040-100.wav").unlink()
    whole = (audio / "reed_acoustic_011-050-050.wav").read_bytes()
    (audio / "reed_acoustic_011-050-050.wav").write_bytes(whole[:-20_000])
    assert _check("nsynth", tmp_path) == [
        "1 audio files missing in nsynth-train: organ_electronic_001-040-100",
        "1 audio files shorter than 4 s in nsynth-train: reed_acoustic_011-050-050",
        "1 notes in nsynth-test whose labels are not those of their names: vocal_acoustic_000-060-025",
        "1 instruments both in train and in another fold: bass_synthetic_033",
    ]
    examples = tmp_path / "nsynth-valid/examples.json"
    examples.write_bytes(examples.read_bytes()[:50])
    with pytest.raises(InputError, match=r"nsynth-valid.examples\.json is cut short.*jsonwav\.tar\.gz again"):
        _read("nsynth", tmp_path)
    assert len(_check("nsynth", tmp_path)) == 4  # the damaged table among them, the rest still looked at


def _giantsteps(home: Path, tested: dict[str, str], trained: list[tuple[str, str, str]]) -> tuple[Path, Path]:
    test, train = home / "giantsteps-key-dataset", home / "giantsteps-mtg-key-dataset"
    for number, key in tested.items():
        _text(test / f"annotations/key/{number}.LOFI.key", key)
    lines = [("ID", "MANUAL KEY", "C"), *trained]
    _text(train / "annotations/annotations.txt", "".join("\t".join(line) + "\n" for line in lines))
    for folder, numbers in ((test, list(tested)), (train, [line[0] for line in trained])):
        for number in numbers:
            _audio(folder / f"audio/{number}.LOFI.mp3", 0.2, 44_100)
            content = (folder / f"audio/{number}.LOFI.mp3").read_bytes() + number.encode()
            (folder / f"audio/{number}.LOFI.mp3").write_bytes(content)
            _text(folder / f"md5/{number}.LOFI.md5", hashlib.md5(content).hexdigest() + "\n")
    return test, train


def test_giantsteps(tmp_path: Path) -> None:
    test, _ = _giantsteps(
        tmp_path,
        {"0010089": "D major", "677299": "Gb major"},
        [
            ("10089", "D major", "2"),  # padded with zeros in the test set
            ("5061", "D# minor", "2"),
            ("4970565", "B major ", "2"),
            ("16484", "A minor", "1"),
            ("10981", "-", "0"),
            ("4311630", " ", "2"),
            ("61578", "C minor / F# minor", "2"),
        ],
    )
    reading = _read("giantsteps-604", tmp_path)
    assert _columns(reading, "key", "fold", "beatport_id", "confidence") == {
        "604/10089": ("D major", "test", 10089, None),
        "604/677299": ("F# major", "test", 677299, None),
        "mtg/10089": (None, "train", 10089, 2),
        "mtg/5061": ("Eb minor", "train", 5061, 2),
        "mtg/4970565": ("B major", "train", 4970565, 2),
        "mtg/16484": (None, "train", 16484, 1),
        "mtg/10981": (None, "train", 10981, 0),
        "mtg/4311630": (None, "train", 4311630, 2),
        "mtg/61578": (None, "train", 61578, 2),
    }
    assert _reasons(reading) == {
        "mtg/10089": "also in the test set",
        "mtg/16484": "confidence 1 of 2",
        "mtg/10981": "confidence 0 of 2",
        "mtg/4311630": "no key",
        "mtg/61578": "several keys",
    }
    row = reading.tracks.set_index("track_id").loc["604/10089"]
    assert row["path"] == str(test / "audio/0010089.LOFI.mp3")
    assert row["audio"] == f"md5:{hashlib.md5(Path(row['path']).read_bytes()).hexdigest()}"
    assert _check("giantsteps-604", tmp_path) == ["2 annotations in giantsteps-key-dataset, not 604"]


def test_giantsteps_damaged(tmp_path: Path) -> None:
    test, train = _giantsteps(
        tmp_path, {"12": "C minor", "13": "H moll", "14": "A minor"}, [("21", "C major", "2"), ("22", "D major", "2")]
    )
    (test / "audio/12.LOFI.mp3").unlink()
    (train / "audio/21.LOFI.mp3").write_bytes(b"<html>not found</html>")
    (train / "md5/22.LOFI.md5").unlink()
    assert _check("giantsteps-604", tmp_path)[1:] == [
        "1 audio files missing in giantsteps-key-dataset: 604/12",
        "1 checksums missing in giantsteps-mtg-key-dataset/md5: mtg/22",
        "1 audio files in giantsteps-mtg-key-dataset that are not those of their checksums: mtg/21",
        "1 keys not understood: 604/13",
    ]
    _text(train / "annotations/annotations.txt", "ID\tKEY\n21\tC major\n")
    with pytest.raises(InputError, match=r"annotations\.txt is not the table it should be"):
        _read("giantsteps-604", tmp_path)


FMA_HEADER = [
    ["", "album", "artist", "artist", "set", "set", "track", "track"],
    ["", "title", "id", "name", "split", "subset", "genre_top", "title"],
    ["track_id", *[""] * 7],
]
FMA_TRACKS = [
    ["2", "AWOL", "1", "AWOL", "training", "small", "Hip-Hop", "Food"],
    ["3", "AWOL", "1", "AWOL", "training", "medium", "Hip-Hop", "not of the small subset"],
    ["1482", "Ô, two\nlines", "54", 'Björk "B" + Co', "validation", "small", "International", "a, b"],
    ["133297", "C", "77", "NA", "test", "small", "", "no genre"],
]


def _fma(home: Path, rows: list[list[str]]) -> None:
    path = home / "fma_metadata/tracks.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([*FMA_HEADER, *rows])
    _audio(home / "fma_small/000/000002.mp3", 30.0, 44_100)
    _audio(home / "fma_small/001/001482.mp3", 30.0, 44_100)
    names = ("000/000002.mp3", "001/001482.mp3")
    _text(home / "fma_small/checksums", "".join(f"{_sha1(home / 'fma_small' / name)}  {name}\n" for name in names))


def test_fma_small(tmp_path: Path) -> None:
    _fma(tmp_path, FMA_TRACKS)
    sha1 = {name: f"sha1:{_sha1(tmp_path / f'fma_small/{name}.mp3')}" for name in ("000/000002", "001/001482")}
    reading = _read("fma-small", tmp_path)
    assert _columns(reading, "genre", "fold", "group", "artist", "audio") == {
        "2": ("hiphop", "train", "1", "AWOL", sha1["000/000002"]),
        "1482": ("international", "valid", "54", 'Björk "B" + Co', sha1["001/001482"]),
        "133297": (None, "test", "77", "NA", ""),
    }
    assert _reasons(reading) == {"133297": "no genre"}
    assert reading.tracks.set_index("track_id")["path"]["133297"] == str(tmp_path / "fma_small/133/133297.mp3")


def test_fma_small_with_bad_clips(tmp_path: Path) -> None:
    extra = [
        ["98565", "A", "5", "P", "training", "small", "Rock", "short"],
        ["99134", "A", "5", "P", "test", "small", "Rock", "no audio, and the artist is in train"],
    ]
    _fma(tmp_path, FMA_TRACKS + extra)
    _audio(tmp_path / "fma_small/098/098565.mp3", 1.6, 44_100)
    (tmp_path / "fma_small/099").mkdir()
    (tmp_path / "fma_small/099/099134.mp3").write_bytes(b"ID3\x04" + bytes(200))
    with open(tmp_path / "fma_small/001/001482.mp3", "ab") as file:
        file.write(b"a tag added by some player")
    problems = _check("fma-small", tmp_path)
    assert problems[0] == "5 tracks of the small subset in fma_metadata/tracks.csv, not 8000"
    assert problems[1:4] == [
        "1 clips missing: 133297",
        "1 clips that are not those of fma_small/checksums: 1482",
        "1 clips without readable audio: 99134",
    ]
    assert problems[4].startswith("1 clips shorter than 30 s: 98565 (1.6 s)")
    assert problems[5:] == ["1 artists both in train and in another fold: 5"]
    _text(tmp_path / "fma_metadata/tracks.csv", "track_id,title\n2,Food\n")
    with pytest.raises(InputError, match=r"tracks\.csv is not the table it should be .*fma_metadata\.zip again"):
        _read("fma-small", tmp_path)
