"""Finding audio: trees of empty files, since nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from m2l2_mir.dataset.folder import Listing, find_audio
from m2l2_mir.errors import InputError


def _tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def _ids(listing: Listing) -> list[str]:
    return [file.track_id for file in listing.files]


def test_takes_audio_sorted_and_counts_the_rest(tmp_path: Path) -> None:
    decomposed = "Bjo\u0308rk, live + encore.ogg"
    _tree(
        tmp_path,
        "b.wav",
        "a/z.MP3",
        f"a/{decomposed}",
        "a/cover.jpg",
        "a-1.flac",
        ".hidden.wav",
        ".git/x.wav",
        "w",
    )
    listing = find_audio([tmp_path])
    assert _ids(listing) == ["a-1.flac", f"a/{decomposed}", "a/z.MP3", "b.wav"]
    assert [file.path.read_text() for file in listing.files] == _ids(listing)
    assert (listing.passed_over, listing.failures) == (3, ())


def test_an_explicit_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    _tree(tmp_path, "deep/notes.txt", "deep/.hidden")
    listing = find_audio([str(tmp_path / "deep/notes.txt"), tmp_path / "deep/.hidden"])
    assert _ids(listing) == ["notes.txt", ".hidden"]
    assert listing.passed_over == 0


def test_links(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    _tree(root, "real/a.wav")
    _tree(elsewhere, "b.wav")
    (root / "alias.wav").symlink_to("real/a.wav")
    (root / "aaa").symlink_to("real")  # sorts before it, yet the real name wins
    (root / "real/loop").symlink_to("..")
    (root / "out").symlink_to(elsewhere)
    (root / "gone.wav").symlink_to("nowhere")
    (root / "self.wav").symlink_to("self.wav")
    listing = find_audio([root])
    assert _ids(listing) == ["alias.wav", "out/b.wav", "real/a.wav"]
    assert [name for name, _ in listing.failures] == ["gone.wav", "self.wav"]
    assert "does not exist" in listing.failures[0][1]
    (tmp_path / "linked").symlink_to("root")
    assert _ids(find_audio([tmp_path / "linked"])) == _ids(listing)


def test_an_unreadable_folder_does_not_stop_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tree(tmp_path, "closed/a.wav", "open/b.wav")
    scandir: Callable[..., object] = os.scandir

    def refuse(path: str) -> object:
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as a user who may read everything
    listing = find_audio([tmp_path])
    assert _ids(listing) == ["open/b.wav"]
    assert listing.failures == (("closed", "the folder cannot be read: Permission denied"),)


def test_names_that_are_not_text(tmp_path: Path) -> None:
    _tree(tmp_path, "b.wav")
    bad = os.fsencode(tmp_path) + b"/\xff"
    for name in (bad + b".wav", bad + b".jpg"):
        Path(os.fsdecode(name)).touch()
    os.mkdir(bad)
    Path(os.fsdecode(bad + b"/a.wav")).touch()
    listing = find_audio([tmp_path, os.fsdecode(bad + b"/a.wav")])
    assert _ids(listing) == ["b.wav"]
    assert [name.removeprefix(f"{tmp_path}/") for name, _ in listing.failures] == [
        "\\xff",
        "\\xff.wav",
        "\\xff/a.wav",
    ]
    assert listing.passed_over == 1
    repr(listing).encode()


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere' does not exist"):
        find_audio([tmp_path, tmp_path / "nowhere"])
    (tmp_path / "broken.wav").symlink_to("nowhere")
    assert len(find_audio([tmp_path / "broken.wav"]).failures) == 1


def test_namesakes(tmp_path: Path) -> None:
    _tree(tmp_path, "one/a.wav", "two/a.wav")
    (tmp_path / "again").symlink_to("one")
    assert _ids(find_audio([tmp_path / "one", tmp_path / "again", tmp_path / "one/a.wav"])) == ["a.wav"]
    with pytest.raises(InputError) as caught:
        find_audio([tmp_path / "one", tmp_path / "two"])
    for part in (
        "'a.wav'",
        str(tmp_path / "one/a.wav"),
        str(tmp_path / "two/a.wav"),
        f"folder '{tmp_path}' instead",
    ):
        assert part in str(caught.value)


def test_one_file_under_two_names_is_refused(tmp_path: Path) -> None:
    _tree(tmp_path, "all/part/a.wav", "all/b.wav")
    (tmp_path / "link").symlink_to("all/part")
    for inner in ("all/part", "all/part/a.wav", "link"):
        with pytest.raises(InputError, match=r"'part/a\.wav' and 'a\.wav'.*leave it out"):
            find_audio([tmp_path / "all", tmp_path / inner])
    (tmp_path / "all/alias.wav").symlink_to("b.wav")  # a link to a file is a file of its own
    assert _ids(find_audio([tmp_path / "all", tmp_path / "all/b.wav"])) == ["alias.wav", "b.wav", "part/a.wav"]


def test_what_is_excluded_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tree(tmp_path, "a.wav", "b.m4a", "talk/c.wav", "deep/talk/d.wav", "deep/e.wav")
    listing = find_audio([tmp_path, tmp_path / "b.m4a"], ["talk/", "*.m4a"])
    assert _ids(listing) == ["a.wav", "deep/e.wav", "deep/talk/d.wav"]
    assert listing.passed_over == 2  # the file twice; what lies in a folder that is not looked into is not counted
    assert _ids(find_audio([tmp_path], ["*/talk", "[ab].*"])) == ["deep/e.wav", "talk/c.wav"]


def test_a_special_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert find_audio([tmp_path]) == Listing(files=(), passed_over=1, failures=())
