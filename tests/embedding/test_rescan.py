"""A store follows the folder it was made from: what was renamed, what is gone, what would be there twice."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.dataset.folder import AudioFile, Listing
from m2l2_mir.embedding import rescan as rescan_module
from m2l2_mir.embedding.extract import Silent, extract
from m2l2_mir.embedding.rescan import Rescan, folder_of, is_gone
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.embedding.track import KnownTrack
from m2l2_mir.errors import InputError
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.model.checkpoint import load_model

RATE = 44100
TINY = ("--model", "random:m2l2-tiny", "--device", "cpu")
NAMES = ["a/0.wav", "a/1.wav", "a/2.wav", "b/3.wav", "b/4.wav", "b/5.wav"]


@pytest.fixture(scope="module")
def model():
    return load_model("random:m2l2-tiny", device="cpu")


@pytest.fixture
def music(tmp_path):
    """Six files in two folders."""
    for number, name in enumerate(NAMES):
        write(tmp_path / "music" / name, number)
    return tmp_path / "music"


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, np.random.default_rng(seed).normal(scale=0.1, size=(1, 20_000)), RATE)
    return path


class Told(Silent):
    """What the last run said, and how much it embedded."""

    def __init__(self):
        self.embedded, self.changes = [], None

    def finished(self, result):
        self.embedded.append(result.track_id)

    def followed(self, changes):
        self.changes = changes


@pytest.fixture
def embed(tmp_path, model):
    """Embed into one store; -> vectors by name, what was said."""

    def embed(*paths, **options):
        told = Told()
        store = extract(paths, out=tmp_path / "store", model=model, observer=told, **options)
        assert len(store) == len(pd.read_parquet(tmp_path / "store" / "tracks"))
        return dict(zip(store.ok["track_id"], store.embeddings("mean+std"), strict=True)), told

    return embed


def test_a_renamed_file_takes_its_embedding_along(music, embed, tmp_path):
    before, _ = embed(music, keep="chunks")
    chunks = EmbeddingStore.open(tmp_path / "store").chunks("a/0.wav")
    (music / "a" / "0.wav").rename(music / "zero.wav")
    (music / "b").rename(music / "c")
    after, told = embed(music, keep="chunks")
    assert told.embedded == []
    assert told.changes.renamed == {"a/0.wav": "zero.wav"} | {f"b/{n}.wav": f"c/{n}.wav" for n in (3, 4, 5)}
    assert told.changes.gone == ()
    assert list(after) == ["a/1.wav", "a/2.wav", "c/3.wav", "c/4.wav", "c/5.wav", "zero.wav"]
    for name, former in [("zero.wav", "a/0.wav"), ("c/4.wav", "b/4.wav"), ("a/1.wav", "a/1.wav")]:
        np.testing.assert_array_equal(after[name], before[former])
    store = EmbeddingStore.open(tmp_path / "store")
    np.testing.assert_array_equal(store.chunks("zero.wav"), chunks)
    assert store.tracks["path"].tolist() == [str(music / name) for name in after]
    _, told = embed(music, keep="chunks")  # the new place and time stamps are known
    assert (told.embedded, told.changes.renamed) == ([], {})


def test_another_spelling_is_a_renaming_where_the_file_system_knows_both(tmp_path):
    former = write(tmp_path / "Album" / "Song.wav", 0)
    known = {"Album/Song.wav": KnownTrack(path=str(former), status="ok", size_bytes=1, mtime_ns=1, audio_sha256="12ab")}
    now = tmp_path / "album" / "song.wav"
    now.parent.mkdir()
    os.link(former, now)  # one file, found under both names, as where upper and lower case are not told apart
    listing = Listing(files=(AudioFile(track_id="album/song.wav", path=now),), passed_over=0, failures=())
    assert Rescan(listing, known, store="st").lost.claim("12ab") == "Album/Song.wav"
    now.unlink()
    write(now, 1)  # a file of its own
    assert Rescan(listing, known, store="st").lost.claim("12ab") is None


def test_a_copy_is_no_renaming_and_one_of_two_copies_is(music, embed):
    before, _ = embed(music)
    shutil.copy(music / "a" / "0.wav", music / "copy.wav")
    _, told = embed(music)
    assert (told.embedded, told.changes.renamed) == (["copy.wav"], {})  # the old one is there still
    (music / "a" / "1.wav").rename(music / "x.wav")
    shutil.copy(music / "x.wav", music / "y.wav")
    after, told = embed(music)
    assert len(told.embedded) == 1
    assert sorted([*told.embedded, *told.changes.renamed.values()]) == ["x.wav", "y.wav"]
    for name in ("x.wav", "y.wav"):
        np.testing.assert_allclose(after[name], before["a/1.wav"], rtol=0, atol=1e-5)


def test_a_file_that_takes_the_name_of_another(music, embed):
    """0 becomes 1, whose own sound is gone."""
    before, _ = embed(music)
    (music / "a" / "0.wav").replace(music / "a" / "1.wav")
    after, told = embed(music)
    assert (told.embedded, told.changes.renamed) == ([], {"a/0.wav": "a/1.wav"})
    assert list(after) == NAMES[1:]
    np.testing.assert_array_equal(after["a/1.wav"], before["a/0.wav"])


def test_what_is_gone_is_told_and_pruned_when_asked(music, embed):
    embed(music)
    (music / "a" / "0.wav").unlink()
    shutil.rmtree(music / "b")
    gone = ("a/0.wav", "b/3.wav", "b/4.wav", "b/5.wav")
    after, told = embed(music)
    assert (list(after), told.changes.gone, told.changes.pruned) == (NAMES, gone, False)
    after, told = embed(music, prune=True)
    assert (list(after), told.changes.gone, told.changes.pruned) == (NAMES[1:3], gone, True)
    after, told = embed(music, prune=True)
    assert (list(after), told.changes.gone) == (NAMES[1:3], ())


def test_what_could_never_be_used_goes_with_its_file(music, embed, tmp_path):
    (music / "bad.wav").touch()
    (music / "link.wav").symlink_to("nowhere")
    embed(music)
    (music / "bad.wav").unlink()
    (music / "link.wav").unlink()
    _, told = embed(music, prune=True)
    assert told.changes.gone == ("bad.wav", "link.wav")
    assert EmbeddingStore.open(tmp_path / "store").tracks["track_id"].tolist() == NAMES


def test_what_cannot_be_looked_up_is_not_gone(music, embed, monkeypatch):
    embed(music)
    stat, scandir = os.stat, os.scandir

    def refused(real):
        def call(path, *rest, **options):
            if "/music/b" in os.fspath(path):
                raise PermissionError(13, "Permission denied")
            return real(path, *rest, **options)

        return call

    monkeypatch.setattr(rescan_module.os, "stat", refused(stat))
    monkeypatch.setattr(os, "scandir", refused(scandir))
    after, told = embed(music, prune=True)
    assert (list(after), told.changes.gone) == (NAMES, ())


def test_a_disk_that_is_not_mounted_costs_nothing(music, embed, tmp_path):
    """Of two folders in one store, one is away, then the other is empty but for a new file."""
    write(tmp_path / "disk" / "x.wav", 10)
    write(tmp_path / "disk" / "y.wav", 11)
    embed(music, tmp_path / "disk")
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    after, told = embed(music, prune=True)
    assert list(after) == [*NAMES, "x.wav", "y.wav"]
    assert (told.changes.gone, told.changes.absent) == ((), {})  # nothing was asked about it
    write(tmp_path / "disk" / "new.wav", 12)
    after, told = embed(tmp_path / "disk", prune=True)
    assert list(after) == [*NAMES, "new.wav", "x.wav", "y.wav"]
    assert (told.changes.gone, told.changes.absent) == ((), {str(tmp_path / "disk"): 2})
    with pytest.raises(InputError, match="no audio files there"):
        embed((tmp_path / "elsewhere" / "none").mkdir() or tmp_path / "elsewhere" / "none", prune=True)


def test_a_copy_in_another_folder_does_not_make_that_folder_a_moved_one(music, embed, tmp_path):
    for name, seed in [("x.wav", 10), ("y.wav", 11), ("z.wav", 12)]:
        write(tmp_path / "disk" / name, seed)
    embed(music, tmp_path / "disk")
    shutil.copy(tmp_path / "disk" / "x.wav", music / "x.wav")
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    after, told = embed(music, prune=True)
    assert list(after) == [*NAMES, "x.wav", "y.wav", "z.wav"]
    assert (told.changes.gone, told.changes.absent) == ((), {str(tmp_path / "disk"): 2})


@pytest.mark.parametrize("at_once", [True, False])
def test_what_a_moved_library_lacks_is_gone(music, embed, tmp_path, at_once):
    embed(music)
    music = music.rename(tmp_path / "moved")
    (music / "a" / "0.wav").unlink()
    (music / "a" / "1.wav").rename(music / "one.wav")
    _, told = embed(music, prune=at_once)
    assert (told.embedded, told.changes.renamed) == ([], {"a/1.wav": "one.wav"})
    assert (told.changes.gone, told.changes.absent) == (("a/0.wav",), {})
    after, told = embed(music, prune=True)
    assert list(after) == [*NAMES[2:], "one.wav"]
    assert told.changes.gone == (() if at_once else ("a/0.wav",))


def test_a_file_is_in_a_store_under_one_name(music, embed, tmp_path):
    before, _ = embed(music)
    shutil.copy(music / "a" / "0.wav", tmp_path / "copy.wav")
    (tmp_path / "link").symlink_to(music / "a")
    for inner, prune in [(music / "a", False), (tmp_path / "link", False), (music / "a" / "0.wav", True)]:
        with pytest.raises(InputError) as caught:
            embed(tmp_path / "copy.wav", inner, prune=prune)
        for part in ("0.wav", "already, as 'a/0.wav'", f"embedded from {music}", "again as '0.wav'", "another --out"):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)
    after, told = embed(music, tmp_path / "copy.wav")
    assert told.embedded == ["copy.wav"]  # and nothing before
    assert list(after) == [*before, "copy.wav"]


def test_a_folder_renamed_with_a_link_left_behind(music, embed):
    before, _ = embed(music)
    (music / "a").rename(music / "new")
    (music / "a").symlink_to("new")
    after, told = embed(music)
    assert told.embedded == []
    assert told.changes.renamed == {f"a/{number}.wav": f"new/{number}.wav" for number in range(3)}
    np.testing.assert_equal(after["new/0.wav"], before["a/0.wav"])


def test_a_part_of_a_library_can_be_embedded_again(music, embed):
    """What was not asked for is still there, and so a copy of it has not been renamed."""
    top = write(music / "top.wav", 10)
    embed(music)
    shutil.copy(music / "a" / "0.wav", music / "copy.wav")
    after, told = embed(top, music / "copy.wav", prune=True)
    assert (told.embedded, told.changes.renamed, told.changes.gone) == (["copy.wav"], {}, ())
    assert sorted(after) == sorted([*NAMES, "copy.wav", "top.wav"])


def test_a_second_name_may_be_excluded_if_it_leaves_the_store(music, embed):
    embed(music / "a")
    with pytest.raises(InputError, match=r"already, as '0\.wav'"):
        embed(music, exclude=["?.wav"])
    after, told = embed(music, exclude=["?.wav"], prune=True)
    assert (list(after), told.changes.excluded) == (NAMES, ("0.wav", "1.wav", "2.wav"))


def test_the_outer_folder_is_refused_after_the_inner_one(music, embed):
    embed(music / "a")
    with pytest.raises(
        InputError, match=r"as '0\.wav', embedded from .*/music/a, and would be there again as 'a/0\.wav'"
    ):
        embed(music)


def test_a_store_that_has_a_file_twice_is_mended(music, embed, tmp_path, monkeypatch, m2l2):
    """As stores made before a second name was refused."""
    with monkeypatch.context() as patch:
        patch.setattr(rescan_module.Rescan, "_second_names", lambda *arguments: ((), set()))
        embed(music)
        embed(music / "a")
    code, out, _ = m2l2("doctor", tmp_path / "store")
    assert code == 3
    assert "3 audio files are in it under more than one name ('a/0.wav', 'a/1.wav', 'a/2.wav')" in out
    with pytest.raises(InputError, match=r"twice, as '0\.wav' and as 'a/0\.wav': --prune takes '0\.wav'"):
        embed(music)
    after, told = embed(music, prune=True)
    assert (list(after), told.embedded, told.changes.doubled) == (NAMES, [], ("0.wav", "1.wav", "2.wav"))
    assert m2l2("doctor", tmp_path / "store")[0] == 0


def test_what_is_excluded_leaves_the_store_only_when_pruned(music, embed):
    after, told = embed(music, exclude=["b"])
    assert list(after) == NAMES[:3]
    after, told = embed(music, exclude=["a", "*4.wav"])
    assert (list(after), told.changes.excluded) == ([n for n in NAMES if n != "b/4.wav"], tuple(NAMES[:3]))
    after, told = embed(music, exclude=["a"], prune=True)
    assert (list(after), told.changes.excluded, told.changes.gone) == (NAMES[3:], tuple(NAMES[:3]), ())
    shutil.rmtree(music / "b")
    _, told = embed(music, exclude=["b"])
    assert (told.changes.excluded, told.changes.gone, told.changes.absent) == (tuple(NAMES[3:]), (), {})
    for wrong in (["a", ""], "a", ["/"]):
        with pytest.raises(InputError, match="exclude must be a list of patterns"):
            embed(music, exclude=wrong)


def test_folders_and_what_is_gone(tmp_path):
    assert folder_of("a.wav", "/a.wav") == "/"
    assert folder_of("b.wav", "/music/ab.wav") == "/music"  # an id is not the end of a name
    assert not is_gone(str(write(tmp_path / "a.wav", 0)))
    assert is_gone(str(tmp_path / "a.wav" / "b.wav"))
    assert not is_gone(str(tmp_path / "\\udcff.wav"))


def test_the_command_line_tells_prunes_and_the_index_follows(music, m2l2, tmp_path):
    store = tmp_path / "store"
    arguments = ("embed", music, "--out", store, *TINY)
    assert m2l2(*arguments)[0] == 0
    moods = pd.DataFrame({"track_id": NAMES, "mood": [f"mood {number}" for number in range(6)], "year": range(6)})
    index = SimilarityIndex.build(store, metadata=moods)
    (music / "a" / "0.wav").rename(music / "zero.wav")
    (music / "a" / "1.wav").unlink()
    (music / "b" / "3.wav").write_bytes(b"no music")
    code, out, err = m2l2(*arguments)
    assert (code, "failed: b/3.wav: " in err) == (3, True)
    assert "1 renamed, their embeddings kept, such as 'a/0.wav', which is 'zero.wav' now\n" in out
    assert "1 tracks no longer there: kept in the store, --prune removes them ('a/1.wav')\n" in out
    code, out, _ = m2l2("doctor", store)
    assert "1 audio files are no longer where they were ('a/1.wav')" in out
    assert "with --prune" in out
    code, out, _ = m2l2(*arguments, "--prune", "--exclude", "b/4*", "--json")
    told = json.loads(out)
    assert (told["gone"], told["excluded"], told["pruned"]) == (["a/1.wav"], ["b/4.wav"], True)
    _, out, _ = m2l2(*arguments, "--prune", "--exclude", "b/5*", "--exclude", "b/4*")
    assert "1 tracks in the store and excluded now: removed from the store ('b/5.wav')\n" in out
    assert EmbeddingStore.open(store).ok["track_id"].tolist() == ["a/2.wav", "zero.wav"]
    (music / "b" / "3.wav").unlink()
    m2l2(*arguments, "--prune", "--exclude", "b")
    assert m2l2("doctor", store)[:2] == (0, f"{store}: store, sound\n")
    changes = index.add(store)
    assert (changes.added, sorted(changes.removed)) == (("zero.wav",), sorted([*NAMES[:2], *NAMES[3:]]))
    assert index.query("zero.wav", k=2)["track_id"].tolist() == ["a/2.wav"]
    kept = index.metadata.set_index("track_id")  # tags go along with the new name, places do not
    assert kept.loc["zero.wav", ["mood", "year", "path"]].tolist() == ["mood 0", 0, str(music / "zero.wav")]
    shutil.rmtree(music)
    write(music / "new.wav", 20)
    _, out, _ = m2l2(*arguments, "--prune")
    assert f"2 tracks of {music} are not there and stay in the store: is a disk not mounted? --forget DIR" in out
    (music / "new.wav").unlink()
    _, out, _ = m2l2("doctor", store)
    assert f"none of 3 audio files of {music} is there ('a/2.wav', 'new.wav', 'zero.wav')" in out
    assert "1 found" in out


@pytest.mark.parametrize("how", ["empty", "link to nowhere", "not empty"])
def test_a_disk_inside_a_library_may_not_be_mounted(music, embed, tmp_path, how):
    embed(music)
    (music / "b").rename(tmp_path / "disk")
    if how == "link to nowhere":
        (music / "b").symlink_to(tmp_path / "away")
    else:
        (music / "b").mkdir()
    if how == "not empty":
        (music / "b" / "other").symlink_to("nowhere")
    after, told = embed(music, prune=True)
    if how == "not empty":  # something is in it: it is mounted, and its files are gone
        assert told.changes.gone == ("b/3.wav", "b/4.wav", "b/5.wav")
        return
    assert list(after) == NAMES
    assert told.changes.gone == ()
    (music / "b").unlink() if how == "link to nowhere" else (music / "b").rmdir()
    after, told = embed(music, prune=True)
    assert list(after) == NAMES[:3]


def test_most_of_a_library_is_not_pruned_but_can_be_forgotten(embed, tmp_path):
    """A file of a night in which the disk was away is in the store, and says nothing of the disk."""
    for number in range(10):
        write(tmp_path / "disk" / f"{number}.wav", number)
    names = [f"{number}.wav" for number in range(10)]
    write(tmp_path / "here" / "x.wav", 20)
    embed(tmp_path / "disk", tmp_path / "here")
    (tmp_path / "disk").rename(tmp_path / "away")
    write(tmp_path / "disk" / "stray.wav", 21)
    for _ in range(2):
        after, told = embed(tmp_path / "disk", prune=True)
        assert list(after) == [*names, "stray.wav", "x.wav"]
        assert (told.changes.gone, told.changes.absent) == ((), {str(tmp_path / "disk"): 10})
    after, told = embed(tmp_path / "here", forget=[tmp_path / "disk"])
    assert (list(after), told.changes.forgotten) == (["stray.wav", "x.wav"], tuple(names))


def test_patterns_reach_no_folder_that_was_not_given(music, embed, tmp_path):
    write(tmp_path / "other" / "a" / "9.wav", 9)
    embed(music, tmp_path / "other")
    after, _ = embed(music, exclude=["a"], prune=True)
    assert list(after) == ["a/9.wav", *NAMES[3:]]


def test_a_library_that_was_half_copied_has_not_moved(embed, tmp_path):
    for number in range(9):
        write(tmp_path / "disk" / f"{number}.wav", number)
    embed(tmp_path / "disk")
    (tmp_path / "laptop").mkdir()
    for number in range(5):
        shutil.copy(tmp_path / "disk" / f"{number}.wav", tmp_path / "laptop")
    (tmp_path / "disk").rename(tmp_path / "away")
    after, told = embed(tmp_path / "laptop", prune=True)
    assert len(after) == 9
    assert told.changes.absent == {str(tmp_path / "disk"): 4}
