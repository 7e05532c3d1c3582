"""Which track each row of a user's table is: by id, by its file however it is written, and what cannot be told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from m2l2_mir.dataset.table_file import find_tracks, names_in, tracks_table
from m2l2_mir.errors import InputError


@pytest.fixture
def known(tmp_path: Path) -> pd.DataFrame:
    """Three tracks of a library, two of which are called alike."""
    music = tmp_path / "music"
    (music / "live").mkdir(parents=True)
    ids = ["a.wav", "live/a.wav", "b.wav"]
    for name in ids:
        (music / name).touch()
    return pd.DataFrame({"track_id": ids, "path": [str(music / name) for name in ids]})


def named(folder: Path, known: pd.DataFrame, *lines: str, name: str = "my.csv") -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tracks_table(folder / name, known)["track_id"].tolist()


def test_ids_come_first_then_files(tmp_path: Path, known: pd.DataFrame) -> None:
    music = tmp_path / "music"
    lines = [f"b.wav,{music}/a.wav", f"1,{music}/live/a.wav", f",{music}/a.wav", "9,none.wav"]
    assert named(tmp_path, known, "track_id,path", *lines) == ["b.wav", "live/a.wav", "a.wav", "9"]
    table = tracks_table(tmp_path / "my.csv", known)
    assert table["path"].tolist()[3] == str(tmp_path / "none.wav")


@pytest.mark.parametrize("column", ["path", "file", "filename", "audio_path", "audio", " Path"])
def test_a_path_is_absolute_or_counts_from_the_table_or_from_the_library(
    tmp_path: Path, known: pd.DataFrame, column: str
) -> None:
    music = tmp_path / "music"
    assert named(tmp_path, known, column, str(music / "b.wav"), "music/live/../a.wav") == ["b.wav", "a.wav"]
    assert named(tmp_path / "notes", known, column, "../music/live/a.wav", "./b.wav", "c.wav") == [
        "live/a.wav",
        "b.wav",
        "c.wav",
    ]


def test_links_are_followed(tmp_path: Path, known: pd.DataFrame) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "music")
    assert named(tmp_path, known, "path", "link/b.wav", "link/a.wav") == ["b.wav", "a.wav"]
    (tmp_path / "music" / "again.wav").symlink_to(tmp_path / "music" / "b.wav")
    again = pd.DataFrame({"track_id": ["again"], "path": [str(tmp_path / "music" / "again.wav")]})
    both = pd.concat([again, known], ignore_index=True)  # a link and its file: each under the name it was embedded by
    assert named(tmp_path, both, "path", "music/b.wav", "music/again.wav") == ["b.wav", "again"]
    through = known.assign(path=known["path"].str.replace("/music/", "/link/"))
    assert find_tracks(through, ["1"], [str(tmp_path / "music" / "b.wav")]).tolist() == [2]


def test_of_two_files_of_one_name_the_path_tells(tmp_path: Path, known: pd.DataFrame) -> None:
    """A table beside the live album says a.wav, as the library calls another file."""
    assert named(tmp_path / "music" / "live", known, "path", "a.wav") == ["live/a.wav"]
    (tmp_path / "link").symlink_to(tmp_path / "music" / "live")
    assert named(tmp_path / "link", known, "path", "a.wav") == ["live/a.wav"]
    assert named(tmp_path / "music" / "live", known, "track_id,path", "b.wav,a.wav") == ["b.wav"]  # an id of its own
    moved = known.assign(path=known["path"].str.replace("/music/", "/elsewhere/"))
    assert find_tracks(moved, ["a.wav", "b.wav"], known["path"][[0, 2]].tolist()).tolist() == [0, 2]


def test_other_names_of_tracks_keep_their_own_where_nothing_fits(tmp_path: Path, known: pd.DataFrame) -> None:
    paths = [str(tmp_path / "music" / "b.wav"), "", str(tmp_path / "c.wav"), float("nan")]
    assert names_in(known, ["1", "a.wav", "3", "4"], paths) == ["b.wav", "a.wav", "3", "4"]
    assert names_in(known[["track_id"]], ["a.wav", "b"], ["", ""]) == ["a.wav", "b"]
    assert names_in(known[:0], ["a.wav"], [paths[0]]) == ["a.wav"]


def test_ids_are_text_as_it_is_written(tmp_path: Path) -> None:
    known = pd.DataFrame({"track_id": ["007", "1", "x "]})
    assert named(tmp_path, known, "ID,Genre", "007,jazz", " 1 ,rock", "x ,pop") == ["007", "1", "x "]
    pd.DataFrame({"id": [1.0, 2.0], "genre": ["a", "b"]}).to_parquet(tmp_path / "my.parquet")
    assert tracks_table(tmp_path / "my.parquet", known).columns.tolist() == ["track_id", "genre"]
    assert tracks_table(tmp_path / "my.parquet", known)["track_id"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["trackid,genre", "a,b"], "has no column track_id or path; did you mean 'trackid'.*it has trackid, genre"),
        (["pathh,genre", "a,b"], "has no column track_id or path; did you mean 'pathh'"),
        (["track_id;genre", "a;b"], "columns separated by ';'; in a .csv file it is ','"),
        (["track_id,genre", "a.wav,x", ",y"], "row 2 has no track_id; give it one"),
        (["track_id,genre,Genre", "a,b,c"], "has 2 columns 'genre'"),
        ([""], "is empty"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, known: pd.DataFrame, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        named(tmp_path, known, *lines)
    assert "\n" not in str(error.value)
