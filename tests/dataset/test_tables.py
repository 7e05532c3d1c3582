"""Tables and folders of a user: what is read, what is dropped and counted, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import m2l2_mir as mm
from m2l2_mir.audio import save
from m2l2_mir.dataset.dataset import check_dataset, load_dataset
from m2l2_mir.errors import InputError


def tone(path: Path, seconds: float = 0.2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, 0.1 * np.sin(np.arange(round(seconds * 8000))[None] / 5), 8000)
    return path


def csv(folder: Path, *lines: str) -> str:
    (folder / "my.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"table:{folder / 'my.csv'}"


def test_labels_become_canonical_and_what_cannot_is_counted(tmp_path: Path) -> None:
    rows = ["a.wav,C# Major,120,60,Hip-Hop,x,calm", "b c.wav,X,0,300,rock,x,", "d+é.wav,Cb:min,90.5,60.0,rock,y,wild"]
    name = csv(tmp_path, "path,key,bpm,midi,genre,artist,mood", *rows)
    dataset = load_dataset(name)
    tracks = dataset.tracks.set_index("track_id")
    assert tracks.loc["a.wav", ["key", "tempo", "pitch", "genre"]].tolist() == ["Db major", 120.0, 60, "hiphop"]
    assert tracks.loc["d+é.wav", ["key", "tempo", "pitch"]].tolist() == ["B minor", 90.5, 60]
    assert sorted(zip(dataset.dropped["label"], dataset.dropped["reason"], strict=True)) == [
        ("key", "no key"),
        ("pitch", "pitch outside MIDI 0 to 127"),
        ("tempo", "tempo outside 20 to 400 bpm"),
    ]
    assert tracks["group"].tolist() == ["x", "x", "y"]
    assert tracks.loc["a.wav", "path"] == str(tmp_path / "a.wav")
    assert "  key: 2 labelled, 2 values; dropped 1: 1 no key" in dataset.summary()
    assert dataset.labels == ["key", "pitch", "genre", "tempo"]
    assert "mood" in tracks


def test_paths_count_from_the_audio_root_and_parquet_is_as_good(tmp_path: Path) -> None:
    tone(tmp_path / "music" / "a b.wav")
    table = pd.DataFrame({"id": ["one"], "file": ["a b.wav"], "genre": ["jazz"], "fold": ["test"]})
    table.to_parquet(tmp_path / "my.parquet")
    dataset = load_dataset(f"table:{tmp_path / 'my.parquet'}", data_home=tmp_path / "music")
    assert [(file.track_id, file.path) for file in dataset.listing().files] == [("one", tmp_path / "music" / "a b.wav")]
    assert list(dataset.recipe.splits) == ["fold"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["pathh,key", "a.wav,C major"], "has no column 'path'; did you mean 'pathh'.*it has pathh, key"),
        (["path,key"], "holds no tracks"),
        ([""], "is empty; its first line must name the columns"),
        (["path,key", "a.wav,C major", "a.wav,D major"], "names 1 tracks twice, such as 'a.wav'"),
        (["path,key", ",C major"], "1 of 1 rows have no path"),
        (["id,path", "1,a.wav", ",b.wav", "3,c.wav"], "row 2 has no id; give each track its own"),
        (["path,key,Key", "a.wav,C major,x"], "has 2 columns 'key'; rename or remove"),
        (["path,mood,mood", "a.wav,x,y"], "has 2 columns 'mood'"),
        (["path;key", "a.wav;C major"], "columns separated by ';'; in a .csv file it is ','"),
        (["path\tkey", "a.wav\tC major"], "columns separated by a tab; in a .csv file it is ','"),
        (["path,key", "a.wav,C major,x"], "rows of more fields than its header"),
        (["path,key", 'a.wav,"C major'], "cannot be read as a table"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_dataset(csv(tmp_path, *lines))
    assert "\n" not in str(error.value)
    assert str(error.value).count("my.csv") == 1


def test_a_missing_label_or_split_names_the_near_one(tmp_path: Path) -> None:
    dataset = load_dataset(csv(tmp_path, "path,genre,group", "a.wav,rock,x"))
    with pytest.raises(InputError, match="no label 'genr'; did you mean 'genre'"):
        dataset.split("genr")
    with pytest.raises(InputError, match="no split 'groupd'; did you mean 'grouped'"):
        dataset.split("genre", "groupd")
    with pytest.raises(InputError, match=r"none of 1 audio files is there, such as .*a\.wav.*--data-home"):
        dataset.listing()
    with pytest.raises(InputError, match=r"'.*none\.csv' does not exist"):
        load_dataset(f"table:{tmp_path / 'none.csv'}")


def test_headers_are_known_in_any_case_and_what_the_user_wrote_stays(tmp_path: Path) -> None:
    header = " Track_ID ,Path,Key, Genre,BPM,Artist,audio,Mood"
    rows = ["1,a.wav,C major,rock,120,x,lo,calm", "007,b.wav,,,,y,hi,wild"]
    dataset = load_dataset(csv(tmp_path, header, *rows))
    tracks = dataset.tracks.set_index("track_id")
    assert sorted(tracks.index) == ["007", "1"]
    assert dataset.labels == ["key", "genre", "tempo"]
    assert tracks.loc["1", ["artist", "group", "audio", "audio_column", "Mood"]].tolist() == [
        "x",
        "x",
        "",
        "lo",
        "calm",
    ]
    pd.DataFrame({"id": [1.0, 2.0], "path": ["a", "b"]}).to_parquet(tmp_path / "my.parquet")
    assert load_dataset(f"table:{tmp_path / 'my.parquet'}").tracks["track_id"].tolist() == ["1", "2"]


def test_a_split_takes_other_folds_and_groups_and_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{'xy'[n % 2]},{n // 2},{n // 4}" for n in range(8)]
    dataset = load_dataset(csv(tmp_path, "path,genre,group,album", *rows))
    with pytest.raises(InputError, match="5 folds cannot be drawn from 4 groups; ask for fewer folds, with folds= or"):
        dataset.split("genre")
    assert dataset.split("genre", folds=3).folds == ("1", "2", "3")
    assert set(dataset.split("genre", folds=2, group="album").table["group"]) == {"0", "1"}
    with pytest.raises(InputError, match="no column 'albun'; did you mean 'album'"):
        dataset.split("genre", folds=2, group="albun")
    for wrong in ("x", -1, 1.5):
        with pytest.raises(InputError, match="seed must be a whole number, 0 or more"):
            dataset.split("genre", folds=2, seed=wrong)  # type: ignore[arg-type]
    for wrong in ("x", 1):
        with pytest.raises(InputError, match="folds must be a whole number, 2 or more"):
            dataset.split("genre", folds=wrong)  # type: ignore[arg-type]
    given = load_dataset(csv(tmp_path, "path,genre,fold", "a,x,train", "b,y,test"))
    with pytest.raises(InputError, match="the folds of split 'fold' are given, not drawn"):
        given.split("genre", folds=3)


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tone(tmp_path / "music" / "jazz" / "a.wav")
    csv(tmp_path, "path,genre", "jazz/a.wav,jazz")
    assert len(load_dataset("table:~/my.csv", data_home="~/music").listing().files) == 1
    assert len(load_dataset("folder:~/music").listing().files) == 1


def test_check_lists_all_problems_at_once(tmp_path: Path) -> None:
    tone(tmp_path / "good.wav")
    whole = tone(tmp_path / "cut.wav", 2.0).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:20])
    name = csv(tmp_path, "path,key,bpm", "good.wav,X,100", "cut.wav,C major,0", "gone.wav,D minor,90")
    problems = check_dataset(name)
    assert problems[0] == "key: 1 tracks dropped: no key, such as good.wav"
    assert problems[1] == "tempo: 1 tracks dropped: tempo outside 20 to 400 bpm, such as cut.wav"
    assert problems[2].startswith(f"1 of 3 audio files missing, such as {tmp_path / 'gone.wav'}; ")
    assert "cut.wav" in problems[3]
    assert len(problems) == 4


def test_a_folder_name_is_a_label_for_what_it_can_mean(tmp_path: Path) -> None:
    for name in ("jazz/a.wav", "jazz/deep/b.wav", "Hip-Hop/c.wav", "loose.wav"):
        tone(tmp_path / "styles" / name)
    dataset = load_dataset(f"folder:{tmp_path / 'styles'}")
    assert dataset.labels == ["genre", "instrument"]
    assert "  note: one label under 2 names, genre and instrument; use the one it is" in dataset.summary()
    genres = dataset.tracks.set_index("track_id")["genre"]
    assert genres.dropna().to_dict() == {"Hip-Hop/c.wav": "hiphop", "jazz/a.wav": "jazz", "jazz/deep/b.wav": "jazz"}
    assert dataset.dropped["track_id"].tolist() == ["loose.wav", "loose.wav"]
    tone(tmp_path / "keys" / "C major" / "a.wav")
    tone(tmp_path / "keys" / "f# minor" / "b.wav")
    dataset = load_dataset(f"folder:{tmp_path / 'keys'}")
    assert dataset.tracks["key"].tolist() == ["C major", "F# minor"]
    assert (dataset.labels, dataset.notes) == (["key"], ())
    assert dataset.tracks["class"].tolist() == ["C major", "f# minor"]
    with pytest.raises(InputError, match="no audio in sub-folders"):
        load_dataset(f"folder:{tmp_path / 'keys' / 'C major'}")
    with pytest.raises(InputError, match="is not a folder"):
        load_dataset(f"folder:{tmp_path / 'nowhere'}")


def test_a_data_set_embeds_under_its_own_ids(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 1.0)
    name = csv(tmp_path, "track_id,path,genre", "first,a.wav,rock", "second,gone.wav,jazz")
    store = mm.extract(load_dataset(name), out=tmp_path / "store", model="random:m2l2-tiny", device="cpu")
    rows = store.tracks.set_index("track_id")
    assert rows["status"].to_dict() == {"first": "ok", "second": "failed"}
    assert "gone.wav" in rows.loc["second", "reason"]
