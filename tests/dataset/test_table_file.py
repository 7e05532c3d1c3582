"""Which track each row of a user's table is: by id, by its file however it is written, and what cannot be told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from m2l2_mir.dataset.table_file import find_tracks, load_table, names_in, tracks_table
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
    lines = [f"b.wav,{tmp_path}/b.mp3", f"1,{music}/live/a.wav", f",{music}/a.wav", "9,none.wav"]
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
    moved = known.assign(path=known["path"].str.replace("/music/", "/elsewhere/"))
    assert find_tracks(moved, ["a.wav", "b.wav"], known["path"][[0, 2]].tolist()).tolist() == [0, 2]


def test_an_id_that_is_a_mere_file_name_does_not_beat_what_the_path_names(tmp_path: Path, known: pd.DataFrame) -> None:
    notes = tmp_path / "notes"
    assert named(notes, known, "id,path", "a.wav,live/a.wav", "a.wav,a.wav") == ["live/a.wav", "a.wav"]
    assert named(notes, known[["track_id"]], "id,path", "a.wav,./live/a.wav") == ["live/a.wav"]
    link = tmp_path / "music" / "a" / "b.wav"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "music" / "b.wav")
    both = pd.concat([known, pd.DataFrame({"track_id": ["a/b.wav"], "path": [str(link)]})])
    assert named(notes, both, "id,path", f"b.wav,{link}", "b.wav,b.wav") == ["a/b.wav", "b.wav"]
    assert find_tracks(both, ["b.wav"], [str(link)]).tolist() == [3]
    own = pd.DataFrame({"track_id": ["a.wav", "live/a.wav"], "path": ["/music/disc/a.wav", "/else/live/a.wav"]})
    assert named(notes, own, "id,path", "a.wav,disc/a.wav") == ["a.wav"]  # a store whose ids are file names


def test_a_mere_file_name_with_an_unknown_path_counts_if_it_can_only_be_one(
    tmp_path: Path, known: pd.DataFrame
) -> None:
    notes, others = tmp_path / "notes", ["a.wav,/x/1/a.wav", "b.wav,/x/2/b.wav"]
    assert named(notes, known, "id,path", *others) == ["/x/1/a.wav", "b.wav"]
    assert named(notes, known[["track_id"]], "id,path", *others) == ["/x/1/a.wav", "b.wav"]
    assert named(notes, known, "id,path", "a.wav,/x/1.mp3") == ["a.wav"]  # no mere name of that file
    moved = ["a.wav,/x/a.wav", "live/a.wav,/x/live/a.wav"]  # ids that count from one folder, now /x
    assert named(notes, known, "id,path", *moved) == ["a.wav", "live/a.wav"]
    assert named(notes, known, "id,path", moved[1], others[0]) == ["live/a.wav", "/x/1/a.wav"]


def test_a_path_that_is_the_end_of_the_id_does_not_contradict_it(tmp_path: Path, known: pd.DataFrame) -> None:
    for folder in ("notes", "music", "live"):  # in music the path alone is another track's
        assert named(tmp_path / folder, known, "id,path", "live/a.wav,a.wav") == ["live/a.wav"]
    assert named(tmp_path / "live", known[["track_id"]], "id,path", "live/a.wav,a.wav") == ["live/a.wav"]
    assert named(tmp_path / "notes", known, "id,path", "music/a.wav,a.wav") == ["a.wav"]  # an id that is not known
    numbered = known.assign(track_id=["1", "2", "a.wav"])
    assert named(tmp_path / "notes", numbered, "id,path", "2,a.wav") == ["2"]  # fits the file of track 2
    deep = tmp_path / "music" / "1" / "live"
    more = pd.concat([known, pd.DataFrame({"track_id": ["1/live/a.wav"], "path": [f"{deep}/a.wav"]})])
    deep.mkdir(parents=True)
    assert named(deep, more, "id,path", "live/a.wav,a.wav") == ["1/live/a.wav"]  # both are ends of a file's path


def test_names_of_files_beside_whole_ids_cost_no_look_at_the_disk(
    tmp_path: Path, known: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.realpath", lambda path: pytest.fail(f"links of {path} were followed"))
    assert named(tmp_path / "notes", known, "id,path", "live/a.wav,a.wav") == ["live/a.wav"]


def test_an_id_and_a_path_of_two_tracks_are_refused(tmp_path: Path, known: pd.DataFrame) -> None:
    numbered = known.assign(track_id=["1", "2", "3"])
    (tmp_path / "link").symlink_to(tmp_path / "music")
    swapped = ["1,link/a.wav", "2,link/b.wav", "3,link/live/a.wav"]
    both = r"my\.csv: row 2: id '2' and path 'link/b.wav' are of two known tracks, '2' and '3'; correct the one"
    with pytest.raises(InputError, match=both) as error:
        named(tmp_path, numbered, "id,path", *swapped)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"id .b\.wav. and path .live/a\.wav. are of two known tracks"):
        named(tmp_path / "notes", known, "id,path", "b.wav,live/a.wav")
    with pytest.raises(InputError, match=r"id .b\.wav. and path .live/a\.wav. are of two known tracks"):
        named(tmp_path / "notes", known[["track_id"]], "id,path", "b.wav,live/a.wav")
    with pytest.raises(InputError, match=r"^id '1' and path '.*/b\.wav' are of two known tracks, '1' and '3'"):
        names_in(numbered, ["2", "1"], [numbered["path"][1], numbered["path"][2]])
    (tmp_path / "music" / "c.wav").symlink_to(tmp_path / "music" / "b.wav")
    twice = pd.DataFrame(
        {"track_id": ["8", "9"], "path": [str(tmp_path / "music" / name) for name in ("b.wav", "c.wav")]}
    )
    assert named(tmp_path, twice, "id,path", "9,music/b.wav", "8,music/c.wav") == ["9", "8"]  # one file, two ids


def test_only_an_empty_cell_of_a_text_table_is_empty(tmp_path: Path) -> None:
    lines = ["NA,NA,None,90,True,NA,1", "null,,null,NA,NA,NA,", "nan,DE,,nan,False,NA,3"]
    (tmp_path / "my.csv").write_text("\n".join(["id,country,None,bpm,live,era,year", *lines]), encoding="utf-8")
    (tmp_path / "my.tsv").write_text((tmp_path / "my.csv").read_text(encoding="utf-8").replace(",", "\t"))
    for name in ("my.csv", "my.tsv"):
        table = load_table(tmp_path / name).astype(object)
        assert table.where(table.notna(), None).to_dict("list") == {
            "id": ["NA", "null", "nan"],
            "country": ["NA", None, "DE"],
            "None": ["None", "null", None],
            "bpm": [90.0, None, None],
            "live": [True, None, False],
            "era": ["NA", "NA", "NA"],
            "year": [1.0, None, 3.0],
        }
        assert load_table(tmp_path / name)[["bpm", "year"]].dtypes.tolist() == [float, float]
    assert tracks_table(tmp_path / "my.csv", pd.DataFrame({"track_id": ["NA"]}))["track_id"].tolist()[0] == "NA"


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
