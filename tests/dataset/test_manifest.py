"""Manifests: the hash tells content from form, and a file that was touched is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from m2l2_mir.dataset.manifest import Manifest
from m2l2_mir.errors import InputError

GOLDEN = "085116109f7a895d351687fe380008883720adc0bbc99d12565d48784cfe9a19"


def _manifest(dataset: str = "set") -> Manifest:
    rows = [
        ("a/ä b,+.wav", 60.5, "train", "A", "md5:0"),
        ("b", 120.25, "train", "track:b", ""),
        ("c", 0.1 + 0.2, "valid", "C", ""),
        ("d", 90.0, "test", "D", ""),
    ]
    return Manifest(
        dataset=dataset,
        label="tempo",
        split="official",
        seed=0,
        table=pd.DataFrame(rows, columns=["track_id", "label", "fold", "group", "audio"]),
        excluded=pd.DataFrame([("e", "no tempo stated")], columns=["track_id", "reason"]),
    )


def _changed(column: str, value: object) -> Callable[[Manifest], Manifest]:
    def change(manifest: Manifest) -> Manifest:
        table = manifest.table.copy()
        table.loc[1, column] = value
        return dataclasses.replace(manifest, table=table)

    return change


def _without_last(manifest: Manifest) -> Manifest:
    return dataclasses.replace(manifest, table=manifest.table.iloc[:-1])


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert _manifest().sha256 == GOLDEN


def test_the_hash_ignores_order_index_place_and_names() -> None:
    manifest = _manifest("table:/data/my.csv")
    turned = manifest.table.iloc[::-1].set_axis([7, 8, 9, 10]).assign(path="elsewhere")
    other = dataclasses.replace(manifest, dataset="table:my.csv", split="other", seed=9, table=turned)
    assert other.sha256 == manifest.sha256
    manifest.require_same(other)
    pitches = [manifest.table.assign(label=[60, 61, 62, 63]), manifest.table.assign(label=[60.0, 61.0, 62.0, 63.0])]
    assert len({dataclasses.replace(manifest, table=table).sha256 for table in pitches}) == 1


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda m: dataclasses.replace(m, dataset="other"), "dataset 'set' and 'other'"),
        (lambda m: dataclasses.replace(m, label="key"), "label 'tempo' and 'key'"),
        (_without_last, "1 tracks are only in the first, 0 only in the second, such as 'd'"),
        (_changed("track_id", "z"), "1 tracks are only in the first, 1 only in the second, such as 'b'"),
        (_changed("label", 120.25000000000001), "labels of 1 of 4 tracks differ, such as 'b': '120.25' and '120.250"),
        (_changed("fold", "test"), r"folds of 1 of 4 .* 'train' and 'test'; splits 'official' \(seed 0\)"),
        (_changed("group", "A"), "groups of 1 of 4 tracks differ, such as 'b': 'track:b' and 'A'"),
        (_changed("audio", "md5:1"), "audio checksums of 1 of 4"),
        (_changed("file", "x/b.wav"), "audio files of 1 of 4 tracks differ, such as 'b': '' and 'x/b.wav'"),
        (lambda m: dataclasses.replace(m, excluded=m.excluded.iloc[:0]), "1 and 0 tracks are excluded"),
        (lambda m: dataclasses.replace(m, excluded=m.excluded.assign(reason="?")), "for other reasons"),
    ],
)
def test_every_difference_in_content_changes_the_hash_and_is_named(
    change: Callable[[Manifest], Manifest], difference: str
) -> None:
    manifest, other = _manifest(), change(_manifest())
    assert other.sha256 != manifest.sha256
    with pytest.raises(InputError, match=difference):
        manifest.require_same(other)


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    for number, manifest in enumerate([_manifest(), _changed("track_id", '日本 "x".wav')(_manifest())]):
        path = tmp_path / f"{number}.json"
        manifest.save(path)
        again = Manifest.load(path)
        assert again.sha256 == manifest.sha256
        assert (again.dataset, again.label, again.split, again.seed) == ("set", "tempo", "official", 0)
        pd.testing.assert_frame_equal(again.table, manifest.table)
        pd.testing.assert_frame_equal(again.excluded, manifest.excluded)
    assert len((tmp_path / "0.json").read_text().splitlines()) < 25  # a line a track: for people and for diff


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"train"', '"test"', "was changed since it was written"),
        ('"seed": 0', '"seed": 1', "was changed since it was written"),
        ('"format": 2', '"format": 3', "is no manifest of a split that this version can read"),
        ("{", "[", "is no JSON"),
    ],
)
def test_a_file_that_was_touched_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "split.json"
    _manifest().save(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        Manifest.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Manifest.load(tmp_path / "none.json")


def test_describe_counts_classes_or_sums_up_numbers() -> None:
    manifest = _manifest()
    few = manifest.describe()
    assert few.index.tolist() == ["train", "valid", "test"]
    assert few.loc["train"].to_dict() == {"tracks": 2, "groups": 2, 0.1 + 0.2: 0, 60.5: 1, 90.0: 0, 120.25: 1}
    many = pd.DataFrame(
        {"track_id": [f"{n:02}" for n in range(30)], "label": range(40, 70), "fold": ["2", "10", "a"] * 10}
    )
    table = many.assign(group="A", audio="")
    described = dataclasses.replace(manifest, table=table).describe()
    assert described.index.tolist() == ["2", "10", "a"]
    assert described.loc["2"].to_dict() == {"tracks": 10, "groups": 1, "min": 40, "median": 53.5, "max": 67}
