"""Fetching packages: an apt of paper, with the odd cases of the real ones."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.errors import InputError
from m2l2_mir.training import manifest
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.decoding import Decoded, decode
from m2l2_mir.training.free_music import fetch_free_music, free_music
from m2l2_mir.training.recordings import Recording, read_collections
from tests.training.tones import RATE, tone

# Packages lie unpacked under $SHELF; a ".deb" holds the name of its package. Versions have an epoch, as real ones do.
APT_GET = """#!/bin/sh
[ "$1 $2" = "download -q" ] || exit 9
echo "$3" >> "$SHELF/asked"
if [ ! -d "$SHELF/$3" ]; then echo "W: something" >&2; echo "E: Unable to locate package $3" >&2; exit 100; fi
echo "$3" > "$3_1%3a1.16.9-1_all.deb"
"""
APT_CACHE = """#!/bin/sh
[ "$1" = pkgnames ] || exit 9
ls "$SHELF" | grep "^$2"
"""
DPKG_DEB = """#!/bin/sh
[ "$1" = -x ] || exit 9
cp -r "$SHELF/$(cat "$2")/." "$3"
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """wesnoth in two versions and with what is not music, ufoai with a zip; a PATH with the paper apt first."""
    tools, shelf = tmp_path / "bin", tmp_path / "shelf"
    tools.mkdir()
    for name, script in (("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("dpkg-deb", DPKG_DEB)):
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    for version in ("1.9", "1.16"):
        music = shelf / f"wesnoth-{version}-music/usr/share/games/wesnoth/{version}/data/core/music"
        (music / "more").mkdir(parents=True)
        save(music / "more" / "a song.wav", tone(200), RATE)
        save(music / f"{version}.wav", tone(300), RATE)
        (music / "readme.txt").touch()
        save(music.parent / "click.wav", tone(400), RATE)
        notices = shelf / f"wesnoth-{version}-music/usr/share/doc/wesnoth-{version}-music"
        notices.mkdir(parents=True)
        (notices / "copyright").write_text("GPL-2+")
    (shelf / "wesnoth-1.18-music-extras").mkdir()
    base = shelf / "ufoai-music/usr/share/games/ufoai/base"
    base.mkdir(parents=True)
    save(tmp_path / "z.wav", tone(500), RATE)
    with zipfile.ZipFile(base / "0music.pk3", "w") as archive:
        archive.write(tmp_path / "z.wav", "music/z.wav")
        archive.write(tmp_path / "z.wav", "sound/z.wav")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SHELF", str(shelf))
    return shelf


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_list_is_whole_and_splits_by_package() -> None:
    packages = free_music()
    assert len({package.name for package in packages}) == len(packages) == 14
    assert {package.split for package in packages} == {"train", "validation", "test"}
    assert all(package.split == "train" for package in packages[:5])
    assert sum(package.megabytes for package in packages[:5]) < 250


def test_the_newest_version_is_unpacked_with_its_music_only(shelf: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = fetch_free_music(out, only=["wesnoth-music", "ufoai*"])
    assert (result.fetched, result.failed) == (["wesnoth-music", "ufoai-music"], [])
    assert files(out / "wesnoth-music") == ["1.16.wav", "copyright", "more/a song.wav"]
    assert files(out / "ufoai-music") == ["z.wav"]
    about = read_collections(out)["wesnoth-music"]
    assert about.source == "Debian package wesnoth-1.16-music 1:1.16.9-1"
    assert (about.licence, about.split, about.min_bandwidth) == ("GPL-2+", "test", 10_000)
    assert sorted(os.listdir(out)) == [".lock", "collections.json", "manifest.csv", "ufoai-music", "wesnoth-music"]


def test_what_is_there_is_not_fetched_again_and_what_fails_does_not_stop_the_rest(shelf: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch_free_music(out, only=["wesnoth-music"])
    (out / ".ufoai-music").mkdir()  # of an earlier run that was killed
    (out / ".ufoai-music" / "half.deb").touch()
    (shelf / "flare-game").mkdir()
    told: list[str] = []
    result = fetch_free_music(out, say=told.append)
    assert (result.present, result.fetched) == (["wesnoth-music"], ["ufoai-music"])
    assert (shelf / "asked").read_text().split().count("wesnoth-1.16-music") == 1
    reasons = dict(result.failed)
    assert len(reasons) == 12
    assert "(E: Unable to locate package pushover-data); run apt-get update" in reasons["pushover-data"]
    assert "holds no music" in reasons["flare-music"]
    assert told[0] == "warzone2100-music: 86 MB, GPL-2+"


def test_the_manifest_says_of_each_file_whose_it_is_and_whether_training_hears_it(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = shelf / "planetblupi-music-ogg/usr/share/games/planetblupi/music"
    base.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(1, 44100))
    for name, waveform in (("wide", noise), ("again", noise), ("silent", 0 * noise), ("other", noise[:, ::-1])):
        save(base / f"{name}.wav", waveform, 44100)
    save(base / "low.wav", tone(500), RATE)
    (base / "broken.ogg").write_bytes(b"OggS" + bytes(100))
    notices = shelf / "planetblupi-music-ogg/usr/share/doc/planetblupi-music-ogg"
    notices.mkdir(parents=True)
    named = "Files:\n base/music/wide.wav\n x/o*r.wav\nLicense: CC-BY-3.0\n its text\n"
    (notices / "copyright").write_text(f"Format: 1.0\n\nFiles: base/*\nLicense: GPL-2+\n\n{named}")
    out = tmp_path / "out"
    result = fetch_free_music(out, only=["planetblupi-music"])
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False).set_index("name")
    reasons = {name.removeprefix("planetblupi-music/"): row["reason"] for name, row in table.iterrows()}
    assert reasons.pop("broken.ogg").startswith("planetblupi-music/broken.ogg")
    assert reasons == {
        "again.wav": "",
        "other.wav": "",
        "silent.wav": "silent from beginning to end",
        "wide.wav": "the same samples as planetblupi-music/again.wav",
        "low.wav": "nothing above 3.9 kHz; 10 kHz is the least",
    }
    assert ((table["kept"] == "yes") == (table["reason"] == "")).all()
    assert (result.files, result.left_out) == (6, 4)
    licences = [table.loc[f"planetblupi-music/{name}.wav", "licence"] for name in ("wide", "other", "again")]
    assert licences == ["CC-BY-3.0", "CC-BY-3.0", "GPL-3+"]
    wide = (out / "planetblupi-music/wide.wav").read_bytes()
    assert table.loc["planetblupi-music/wide.wav", "sha256"] == hashlib.sha256(wide).hexdigest()
    corpus = build_corpus([out], sample_rate=44100, cache=tmp_path / "cache")
    assert set(corpus.pieces["name"]) == set(table.index[table["kept"] == "yes"])

    decoded: list[str] = []

    def counted(recording: Recording, **options: Any) -> Decoded:
        decoded.append(recording.name)
        return decode(recording, **options)

    monkeypatch.setattr(manifest, "decode", counted)
    before = (out / "manifest.csv").read_bytes()
    fetch_free_music(out, only=["planetblupi-music"])
    assert (decoded, (out / "manifest.csv").read_bytes()) == ([], before)
    (out / "planetblupi-music/again.wav").unlink()
    save(out / "planetblupi-music/silent.wav", noise[:, :30000], 44100)
    fetch_free_music(out, only=["planetblupi-music"])
    assert decoded == ["planetblupi-music/silent.wav"]
    table = pd.read_csv(out / "manifest.csv").set_index("name")
    assert table.loc[["planetblupi-music/silent.wav", "planetblupi-music/wide.wav"], "kept"].tolist() == ["yes", "yes"]


def test_wrong_names_and_other_systems_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="did you mean 'wesnoth-music'"):
        fetch_free_music(tmp_path, only=["wesnoth-musik"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no apt-get, apt-cache, dpkg-deb"):
        fetch_free_music(tmp_path)
