"""mirdata's sets of notes and instruments, read from miniatures in the layout of the real ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.dataset.published.mirdata_sets import check
from m2l2_mir.dataset.recipe import find_recipe
from m2l2_mir.errors import InputError, SplitWarning
from tests.dataset.published.miniatures import Audio, make_miniature, write_file


def columns(dataset: Dataset, *names: str) -> dict[str, Any]:
    """Track id -> the named columns, or the one, missing values as None."""
    table = {
        row["track_id"]: tuple(None if pd.isna(row[name]) else row[name] for name in names)
        for row in dataset.tracks.to_dict("records")
    }
    return table if len(names) > 1 else {track_id: value for track_id, (value,) in table.items()}


def reasons(dataset: Dataset, label: str) -> dict[str, str]:
    rows = dataset.dropped[dataset.dropped["label"] == label]
    return dict(zip(rows["track_id"], rows["reason"], strict=True))


def problems(name: str, home: Path) -> list[str]:
    """What `check` finds, but for metadata whose MD5 is not that of the real file, which mirdata knows."""
    return [line for line in check(find_recipe(name)[1], home) if "downloads not complete" not in line]


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


TINYSOL = {  # id -> folder, instrument, pitch, MIDI number, fold, string
    "BTb-ord-F#1-pp-N-N": ("Brass/Bass_Tuba", "Bass Tuba", "F#1", 30, 4, ""),
    "BTb-ord-G1-pp-N-R100u": ("Brass/Bass_Tuba", "Bass Tuba", "G1", 31, 3, ""),
    "BTb-ord-F1-pp-N-T11d_R100d": ("Brass/Bass_Tuba", "Bass Tuba", "F1", 29, 2, ""),
    "BTb-ord-G#1-pp-N-T16u": ("Brass/Bass_Tuba", "Bass Tuba", "G#1", 32, 1, ""),
    "Cb-ord-E2-pp-2c-N": ("Strings/Contrabass", "Contrabass", "E2", 40, 0, "2.0"),
    "Cb-ord-E2-pp-3c-N": ("Strings/Contrabass", "Contrabass", "E2", 40, 1, "3.0"),
}


def tinysol(home: Path) -> None:
    header = "Path,Fold,Family,Instrument (abbr.),Instrument (in full),Technique (abbr.),Technique (in full),Pitch,"
    header += "Pitch ID,Dynamics,Dynamics ID,Instance ID,String ID (if applicable),Resampled"
    rows: list[list[Any]] = [header.split(",")]
    tracks = {}
    for track_id, (folder, instrument, name, number, fold, string) in TINYSOL.items():
        path = f"{folder}/ordinario/{track_id}.wav"
        family, resampled = folder.split("/")[0], "TRUE" if "R100" in track_id else "FALSE"
        abbreviation = track_id.split("-")[0]
        note = [path, fold, family, abbreviation, instrument, "ord", "ordinario", name, number]
        rows.append([*note, "pp", 0, 0, string, resampled])
        tracks[track_id] = {"audio": (f"audio/{path}", Audio())}
    table = "annotation/TinySOL_metadata.csv"
    make_miniature(home, "tinysol", tracks, metadata={"TinySOL_metadata": (table, csv_text(rows))})


@pytest.mark.filterwarnings("ignore:.*classes are missing")  # of so few notes none is played by both instruments
def test_tinysol_joins_a_resampled_note_to_its_recording(tmp_path: Path) -> None:
    tinysol(tmp_path)
    dataset = load_dataset("tinysol", data_home=tmp_path)
    assert columns(dataset, "pitch", "instrument", "group", "fold", "resampled") == {
        "BTb-ord-F#1-pp-N-N": (30, "bass tuba", "BTb-30-pp-N", 4, False),
        "BTb-ord-G1-pp-N-R100u": (31, "bass tuba", "BTb-30-pp-N", 3, True),
        "BTb-ord-F1-pp-N-T11d_R100d": (29, "bass tuba", "BTb-30-pp-N", 2, True),
        "BTb-ord-G#1-pp-N-T16u": (32, "bass tuba", "BTb-32-pp-N", 1, False),
        "Cb-ord-E2-pp-2c-N": (40, "contrabass", "Cb-40-pp-2c", 0, False),
        "Cb-ord-E2-pp-3c-N": (40, "contrabass", "Cb-40-pp-3c", 1, False),
    }
    assert problems("tinysol", tmp_path) == []
    with pytest.warns(SplitWarning, match="1 of 4 groups have tracks in training and test"):
        dataset.split("pitch")
    rotations = list(dataset.split("pitch", split="instruments").rotations())
    assert [rotation.name for rotation in rotations] == ["bass tuba", "contrabass"]
    assert {track_id.split("-")[0] for track_id in rotations[0].train} == {"Cb"}


GOOD_SOUNDS: dict[str, dict[str, Any]] = {  # id of the sound; each is one take here, the first has two
    "1": {"instrument": "flute", "player": "almudena", "note": "C", "octave": 4, "semitone": 48, "klass": "good-sound"},
    "2": {"instrument": "flute", "player": "irene", "note": "A#", "octave": 5, "semitone": 70, "klass": "bad-attack"},
    "3": {"instrument": "flute", "player": "irene", "note": "D", "octave": 3, "semitone": 38, "klass": "scale-good"},
    "4": {"instrument": "bass", "player": "alejandro", "note": "E", "octave": 1, "semitone": 28, "klass": None},
    "5": {"instrument": "bass", "player": "alejandro", "note": "G", "octave": 1, "semitone": 31, "klass": "bad-pitch"},
    "6": {"instrument": None, "player": None, "note": "D#", "octave": None, "semitone": None, "klass": None},
}
TAKES = {
    "1": ("1", "akg"),
    "2": ("1", "iphone"),
    "13": ("2", "neumann"),
    "14": ("3", "neumann"),
    "15": ("4", "neumann"),
}
TAKES |= {"16": ("5", "neumann"), "17": ("6", "neumann")}


def good_sounds(home: Path) -> None:
    pack = "flute_almudena_reference"
    paths = {take: f"sound_files/{pack}/{microphone}/{int(take):04}.wav" for take, (_, microphone) in TAKES.items()}
    make_miniature(
        home, "good_sounds", {take: {"audio": (f"good-sounds/{path}", Audio())} for take, path in paths.items()}
    )
    write_file(home / "packs.json", {"1": {"id": 1, "name": pack, "description": "Play reference notes"}})
    write_file(home / "ratings.json", {})
    sounds = {
        key: {"id": int(key), "pack_id": 1, "pitch_reference": 442, **sound} for key, sound in GOOD_SOUNDS.items()
    }
    write_file(home / "sounds.json", sounds)
    takes = {
        take: {"id": int(take), "microphone": microphone, "filename": paths[take], "sound_id": int(sound)}
        for take, (sound, microphone) in TAKES.items()
    }
    write_file(home / "takes.json", takes)


def test_good_sounds(tmp_path: Path) -> None:
    good_sounds(tmp_path)
    dataset = load_dataset("good_sounds", data_home=tmp_path)
    assert columns(dataset, "pitch", "instrument", "group", "played", "microphone") == {
        "1": (60, "flute", "almudena", "flute", "akg"),
        "2": (60, "flute", "almudena", "flute", "iphone"),
        "13": (82, "flute", "irene", "flute", "neumann"),
        "14": (None, "flute", "irene", "flute", "neumann"),
        "15": (28, None, "alejandro", "bass", "neumann"),
        "16": (None, None, "alejandro", "bass", "neumann"),
        "17": (None, None, None, None, "neumann"),
    }
    assert reasons(dataset, "pitch") == {
        "14": "no single note but a scale",
        "16": "no steady pitch, on purpose",
        "17": "no pitch",
    }
    assert reasons(dataset, "instrument") == {
        "15": "no second player of this instrument",
        "16": "no second player of this instrument",
        "17": "no instrument",
    }
    assert problems("good_sounds", tmp_path) == []
    (tmp_path / "sounds.json").unlink()
    dataset = load_dataset("good_sounds", data_home=tmp_path)
    assert set(reasons(dataset, "pitch").values()) == {"annotation file missing"}


IRMAS = {  # id -> audio, annotation
    "0001__1": ("IRMAS-TrainingData/cel/[cel][cla]0001__1.wav", None),
    "0001__2": ("IRMAS-TrainingData/cel/[cel][cla]0001__2.wav", None),
    "0020__1": ("IRMAS-TrainingData/cel/031__[cel][nod][cla]0020__1.wav", None),
    "1136__3": ("IRMAS-TrainingData/org/012__[org][dru][pop_roc]1136__3.wav", None),
    "1": ("IRMAS-TestingData-Part1/Part1/01 - Canto das três raças-5.wav", "voi\t\r\n"),
    "2": ("IRMAS-TestingData-Part1/Part1/01 - Canto das três raças-15.wav", "voi\t\r\ngac\t\r\n"),
    "3": ("IRMAS-TestingData-Part3/Part3/08-Concerto in A major, K 219 -2- Adagio-15.wav", "vio\n"),
    "4": ("IRMAS-TestingData-Part2/IRTestingData-Part2/Four Tet - Love Cry-40.wav", "theremin\n"),
    "5": ("IRMAS-TestingData-Part2/IRTestingData-Part2/Debussy - Arabesque-11.wav", "pia\n"),
}


def test_irmas(tmp_path: Path) -> None:
    make_miniature(
        tmp_path,
        "irmas",
        {
            track_id: {
                "audio": (audio, Audio(channels=2)),
                "annotation": (audio.replace(".wav", ".txt"), text) if text else (audio, Audio(channels=2)),
            }
            for track_id, (audio, text) in IRMAS.items()
        },
    )
    (tmp_path / IRMAS["5"][0].replace(".wav", ".txt")).unlink()
    dataset = load_dataset("irmas", data_home=tmp_path)
    assert columns(dataset, "instrument", "genre", "group", "fold", "drums") == {
        "0001__1": ("cello", "classical", "train 0001", "train", None),
        "0001__2": ("cello", "classical", "train 0001", "train", None),
        "0020__1": ("cello", "classical", "train 0020", "train", False),
        "1136__3": ("organ", "poprock", "train 1136", "train", True),
        "1": ("voice", None, "01 - canto das três raças", "test", None),
        "2": (None, None, "01 - canto das três raças", "test", None),
        "3": ("violin", None, "08-concerto in a major, k 219 -2- adagio", "test", None),
        "4": (None, None, "four tet - love cry", "test", None),
        "5": (None, None, "debussy - arabesque", "test", None),
    }
    assert reasons(dataset, "instrument") == {
        "2": "several instruments",
        "4": "annotation cannot be read (AssertionError)",
        "5": "annotation file missing",
    }
    assert [problem.split(":")[0] for problem in problems("irmas", tmp_path)] == [
        "1 annotation files missing",
        "1 tracks with an unusable instrument",
        "1 tracks with an unusable instrument",
    ]


MEDLEY = {  # id -> subset, instrument, its number, song
    "0e4371ac-1c6a-51ab-fdb7-f8abd5fbf1a3": ("test", "clarinet", 0, 226),
    "fe22fb4b-b8cf-53dc-f1b3-75a3698119cf": ("training", "distorted electric guitar", 1, 24),
    "05e15c0a-d530-5f3e-fa82-58c55fa44993": ("validation", "clarinet", 0, 76),
    "2dd485de-471d-5d8b-fe92-ef957dac021c": ("training", "clarinet", 0, 3),
    "45971d5f-4de2-5f04-f995-b332fb1968cf": ("test", "distorted electric guitar", 1, 231),
}


def test_medley_solos_db(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["subset", "instrument", "instrument_id", "song_id", "uuid4"]]
    rows += [[*values, uuid] for uuid, values in MEDLEY.items()]
    make_miniature(
        tmp_path,
        "medley_solos_db",
        {
            uuid: {"audio": (f"audio/Medley-solos-DB_{subset}-{number}_{uuid}.wav", Audio())}
            for uuid, (subset, _, number, _) in MEDLEY.items()
        },
        metadata={"Medley-solos-DB_metadata": ("annotation/Medley-solos-DB_metadata.csv", csv_text(rows))},
    )
    dataset = load_dataset("medley_solos_db", data_home=tmp_path)
    assert columns(dataset, "instrument", "group", "fold") == {
        uuid: (instrument, song, subset) for uuid, (subset, instrument, _, song) in MEDLEY.items()
    }
    manifest = dataset.split("instrument")
    assert manifest.table.set_index("track_id")["fold"].to_dict() == {
        uuid: {"training": "train", "validation": "valid", "test": "test"}[subset]
        for uuid, (subset, *_) in MEDLEY.items()
    }


OPENMIC = {  # id -> artist, fold, instrument -> agreement
    "000046_3840": ("Nicky Cook", "train", {"clarinet": 0.17, "flute": 0.0, "trumpet": 0.0}),
    "000135_483840": ("Abominog", "train", {"mallet_percussion": 0.9, "voice": 0.2}),
    "000139_119040": ("Nicky Cook", "test", {"guitar": 0.75, "drums": 1.0}),
    "155311_453120": ("Ana + Zoë", "test", {"violin": 0.6, "cello": 0.5}),
}
GENRES = "[{'genre_id': '76', 'genre_title': 'Experimental Pop', 'genre_url': 'http://freemusicarchive.org/genre/x/'}]"


def openmic(home: Path) -> None:
    metadata: list[list[Any]] = [["track_id", "artist_name", "track_genres", "track_title", "sample_key", "start_time"]]
    labels: list[list[Any]] = [["sample_key", "instrument", "relevance", "num_responses"]]
    tracks = {}
    for key, (artist, _, agreement) in OPENMIC.items():
        metadata.append([int(key[:6]), artist, GENRES, "Father's Day", key, 3.84])
        labels += [[key, name, relevance, 3] for name, relevance in agreement.items()]
        folder = key[:3]
        tracks[key] = {
            "audio": (f"audio/{folder}/{key}.ogg", Audio()),
            "vggish": (f"vggish/{folder}/{key}.json", {"time_points": [], "features": []}),
        }
    folds = {fold: "".join(f"{key}\n" for key in OPENMIC if OPENMIC[key][1] == fold) for fold in ("train", "test")}
    make_miniature(
        home,
        "openmic2018",
        tracks,
        metadata={
            "openmic-metadata": ("openmic-2018-metadata.csv", csv_text(metadata)),
            "openmic-labels": ("openmic-2018-aggregated-labels.csv", csv_text(labels)),
            "openmic-train": ("partitions/split01_train.csv", folds["train"]),
            "openmic-test": ("partitions/split01_test.csv", folds["test"]),
        },
    )


def test_openmic_gives_one_instrument_and_keeps_what_is_known_of_all(tmp_path: Path) -> None:
    openmic(tmp_path)
    dataset = load_dataset("openmic2018", data_home=tmp_path)
    assert columns(dataset, "instrument", "group", "fold", "presence_voice", "presence_cello") == {
        "000046_3840": (None, "Nicky Cook", "train", None, None),
        "000135_483840": ("mallet percussion", "Abominog", "train", 0.2, None),
        "000139_119040": (None, "Nicky Cook", "test", None, None),
        "155311_453120": ("violin", "Ana + Zoë", "test", None, 0.5),
    }
    assert sum(name.startswith("presence_") for name in dataset.tracks) == 20
    assert reasons(dataset, "instrument") == {
        "000046_3840": "no instrument among those asked about",
        "000139_119040": "several instruments",
    }
    assert problems("openmic2018", tmp_path) == []


@pytest.mark.parametrize("name", ["tinysol", "good_sounds", "irmas", "medley_solos_db", "openmic2018"])
def test_no_index_is_one_clear_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"index is not there; run 'm2l2 datasets fetch {name}'") as caught:
        load_dataset(name, data_home=tmp_path)
    assert "\n" not in str(caught.value)
