"""Sets of mirdata, read from miniatures in the layout of the real ones."""

from __future__ import annotations

import shutil
import urllib.error
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import mirdata
import pytest

from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.dataset.published.fold_file import fold_columns
from m2l2_mir.dataset.published.mirdata_files import md5_of
from m2l2_mir.dataset.published.mirdata_sets import check, fetch
from m2l2_mir.dataset.recipe import DatasetRecipe, SplitRecipe, find_recipe
from m2l2_mir.errors import ConfigError, InputError
from tests.dataset.published.miniatures import Audio, Content, File, make_miniature, write_file

BEATPORT = {  # track id -> name, key, artists
    "1": ("100066 Lindstrøm - Monsteer, Pt. 1 + 2 (Original Mix)", "D minor", ["Lindstrøm"]),
    "2": ("11 A - One", "C# Major", ["Zed", "Alice"]),
    "3": ("12 B - Two", "A minor|C major", ["Bob", "Alice "]),
    "4": ("13 C - Three", "Unknown", ["Bob"]),
    "5": ("14 D - Four", "E phrygian", ["Zoë"]),
    "6": ("15 E - Five", "H moll", ["Zoë"]),
}


def beatport(home: Path) -> Path:
    return make_miniature(
        home,
        "beatport_key",
        {
            track_id: {
                "audio": (f"audio/{name}.mp3", Audio()),
                "meta": (f"meta/{name}.json", {"artists": [{"name": artist} for artist in artists], "bpm": 120}),
                "key": (f"keys/{name}.txt", key),
            }
            for track_id, (name, key, artists) in BEATPORT.items()
        },
    )


def gtzan(home: Path, *, mini: bool = False, tempi: dict[str, Content | None] | None = None) -> Path:
    tracks: dict[str, dict[str, File]] = {}
    for track_id, tempo in (tempi or {"hiphop.00000": "95.2\n", "blues.00012": "120.5", "jazz.00054": "100"}).items():
        genre, number = track_id.split(".")
        folder = "gtzan_mini-main" if mini else "gtzan_genre"
        tracks[track_id] = {
            "audio": (f"{folder}/genres/{genre}/{track_id}.wav", Audio()),
            "beats": (f"gtzan_tempo_beat-main/beats/gtzan_{genre}_{number}.beats", "0.5\t1\n"),
            "tempo": (tempo and f"gtzan_tempo_beat-main/tempo/gtzan_{genre}_{number}.bpm", tempo),
        }
    return make_miniature(home, "gtzan_genre", tracks, version="mini" if mini else "1.0")


def guitarset(home: Path, keys: dict[str, Any]) -> Path:
    return make_miniature(
        home,
        "guitarset",
        {
            track_id: {
                "audio_hex_cln": (f"audio_hex-pickup_debleeded/{track_id}_hex_cln.wav", None),
                "audio_hex": (f"audio_hex-pickup_original/{track_id}_hex.wav", None),
                "audio_mic": (f"audio_mono-mic/{track_id}_mic.wav", Audio()),
                "audio_mix": (f"audio_mono-pickup_mix/{track_id}_mix.wav", None),
                "jams": (
                    f"annotation/{track_id}.jams",
                    {
                        "annotations": [
                            {"namespace": "key_mode", "data": [{"time": 0.0, "duration": 2.0, "value": key}]},
                        ]
                    },
                ),
            }
            for track_id, key in keys.items()
        },
    )


def giantsteps_tempo(home: Path, votes: dict[str, list[tuple[float, float]]]) -> Path:
    folder = "giantsteps-tempo-dataset-0b7d47ba8cae59d3535a02e3db69e2cf6d0af5bb"

    def jams(tempi: list[tuple[float, float]], genre: str) -> dict[str, Any]:
        data = [{"time": 0.0, "duration": 120.0, "value": bpm, "confidence": vote} for bpm, vote in tempi]
        tag = {"namespace": "tag_open", "data": [{"value": genre}]}
        return {"annotations": [{"namespace": "tempo", "data": data}, tag]}

    return make_miniature(
        home,
        "giantsteps_tempo",
        {
            str(number): {
                "audio": (f"audio/{name}.LOFI.mp3", None),
                "annotation_v1": (f"{folder}/annotations/jams/{name}.LOFI.jams", jams([(99.0, 1.0)], "Drum & Bass")),
                "annotation_v2": (f"{folder}/annotations_v2/jams/{name}.LOFI.jams", jams(tempi, "")),
            }
            for number, (name, tempi) in enumerate(votes.items())
        },
    )


def rhythms(home: Path, loader: str, root: str, tracks: dict[str, tuple[str, str]]) -> Path:
    return make_miniature(
        home,
        loader,
        {
            track_id: {
                "audio": (f"{root}/audio/{folder}{track_id}.wav", Audio()),
                "beats": (f"{root}/annotations/beats/{track_id}.beats", "0.5\t1\n"),
                "tempo": (f"{root}/annotations/tempo/{track_id}.bpm", tempo),
            }
            for track_id, (folder, tempo) in tracks.items()
        },
    )


def column(dataset: Dataset, name: str) -> dict[str, Any]:
    """Values by track, without those that are missing."""
    values = dataset.tracks.set_index("track_id")[name].dropna()
    return dict(zip(values.index, values, strict=True))


def reasons(dataset: Dataset) -> dict[tuple[str, str], str]:
    assert not dataset.dropped.duplicated(["track_id", "label"]).any()
    return {(row.track_id, row.label): row.reason for row in dataset.dropped.itertuples()}


def recipe_of(name: str) -> DatasetRecipe:
    return find_recipe(name)[1]


def test_beatport_key(tmp_path: Path) -> None:
    beatport(tmp_path)
    dataset = load_dataset("beatport_key", data_home=tmp_path)
    assert column(dataset, "key") == {"1": "D minor", "2": "Db major"}
    assert reasons(dataset) == {
        ("3", "key"): "several keys",
        ("4", "key"): "no key",
        ("5", "key"): "neither major nor minor: 'phrygian'",
        ("6", "key"): "key not understood: 'H moll'",
    }
    # 4 shares no artist with 2, but 3 shares one with each
    assert column(dataset, "group") == {"1": "lindstrøm", **dict.fromkeys("234", "alice"), **dict.fromkeys("56", "zoë")}
    assert len(dataset.listing().files) == 6
    first = dataset.tracks.iloc[0]
    assert first["audio"] == f"md5:{md5_of(Path(first['path']))}"
    assert check(recipe_of("beatport_key"), tmp_path) == [
        "1 tracks with an unusable key: key not understood: 'H moll': 6"
    ]


def test_giantsteps_key(tmp_path: Path) -> None:
    name = "10089 Jason Sparks - Close My Eyes feat. J. Little (Original Mix)"
    files = {
        "audio": (f"audio/{name}.mp3", Audio()),
        "meta": (f"meta/{name}.json", {"artists": [{"name": "Jason Sparks"}]}),
        "key": (f"keys_gs+/{name}.txt", "Gb minor\n"),
    }
    make_miniature(tmp_path, "giantsteps_key", {"3": files})
    dataset = load_dataset("giantsteps_key", data_home=tmp_path)
    assert column(dataset, "key") == {"3": "F# minor"}
    assert column(dataset, "group") == {"3": "jason sparks"}


def test_fma_keys_survives_an_odd_row_and_takes_artists_from_fma(tmp_path: Path) -> None:
    rows = "track_id,spotify_uri,key_and_mode\n10,spotify:track:x,F# Major\n141,,A minor\n142,,atonal\n"
    tracks = {name: {"audio": (f"000/{int(name):06}.mp3", Audio())} for name in ("10", "141", "142", "143")}
    make_miniature(tmp_path, "fma_keys", tracks, metadata={"fma_keys_metadata": ("fma_keys_metadata.csv", rows)})
    dataset = load_dataset("fma_keys", data_home=tmp_path)
    assert column(dataset, "key") == {"10": "F# major", "141": "A minor"}
    assert reasons(dataset) == {("142", "key"): "no key", ("143", "key"): "no key"}
    assert column(dataset, "group") == {}
    header = ",album,artist,artist,track\n,id,id,name,title\ntrack_id,,,,\n"
    write_file(tmp_path / "fma_metadata/tracks.csv", f'{header}10,1,7,"A, B",x\n141,2,7,"A, B","y\nz"\n')
    assert column(load_dataset("fma_keys", data_home=tmp_path), "group") == {"10": "7", "141": "7"}


def test_guitarset_groups_by_lead_sheet(tmp_path: Path) -> None:
    sheets = ("BN1-129-Eb", "SS3-84-Bb")
    names = [f"{player}_{sheet}_{part}" for player in ("00", "05") for sheet in sheets for part in ("comp", "solo")]
    guitarset(tmp_path, {name: "Eb:major" if "Eb" in name else "A#:minor" for name in names})
    dataset = load_dataset("guitarset", data_home=tmp_path)
    assert Counter(column(dataset, "group").values()) == {"BN1-129-Eb": 4, "SS3-84-Bb": 4}
    assert set(column(dataset, "key").values()) == {"Eb major", "Bb minor"}
    assert set(column(dataset, "tempo").values()) == {129.0, 84.0}
    assert set(column(dataset, "genre").values()) == {"bossanova", "singersongwriter"}
    assert all(file.path.parent.name == "audio_mono-mic" for file in dataset.listing().files)
    assert check(recipe_of("guitarset"), tmp_path) == []  # the other microphones are not asked for


@pytest.mark.filterwarnings("ignore::m2l2_mir.errors.SplitWarning")
def test_gtzan_takes_the_filtered_split_and_reads_tempi_itself(tmp_path: Path) -> None:
    tempi: dict[str, Content | None] = {"hiphop.00000": "95.2\n", "blues.00012": "120.5", "jazz.00054": "100"}
    tempi |= {"jazz.00033": None, "blues.00029": "0.5"}
    gtzan(tmp_path, tempi=tempi)
    dataset = load_dataset("gtzan_genre", data_home=tmp_path)
    assert column(dataset, "genre")["hiphop.00000"] == "hiphop"
    assert column(dataset, "tempo") == {"hiphop.00000": 95.2, "blues.00012": 120.5, "jazz.00054": 100.0}
    assert reasons(dataset)["jazz.00033", "tempo"] == "no tempo"
    assert reasons(dataset)["blues.00029", "tempo"] == "tempo outside 20 to 400 bpm"
    folds = fold_columns(recipe_of("gtzan_genre"))["filtered"]
    assert Counter(folds.values()) == {"train": 443, "valid": 197, "test": 290}
    assert column(dataset, "filtered") == {track_id: folds[track_id] for track_id in tempi if track_id in folds}
    manifest = dataset.split("genre")
    assert dict(manifest.excluded.itertuples(index=False)) == {"jazz.00033": "not in the split filtered"}


def test_gtzan_mini_has_its_own_index(tmp_path: Path) -> None:
    gtzan(tmp_path, mini=True)
    dataset = load_dataset("gtzan_genre-mini", data_home=tmp_path)
    assert len(dataset.listing().files) == 3
    assert "group" not in dataset.tracks
    with pytest.raises(InputError, match="m2l2 datasets fetch gtzan_genre',"):
        load_dataset("gtzan_genre", data_home=tmp_path)


def test_ballroom_groups_by_album(tmp_path: Path) -> None:
    tracks = {
        "Albums-Latin_Jam2-05": ("Rumba-International/", "104"),
        "Albums-Latin_Jam2-11": ("ChaChaCha/", "124"),
        "Media-105901": ("Waltz/", "84.0"),
        "Media-105912": ("Waltz/", "87"),
    }
    rhythms(tmp_path, "ballroom", "B_1.0", tracks)
    dataset = load_dataset("ballroom", data_home=tmp_path)
    assert list(column(dataset, "group").values()) == ["Latin_Jam2", "Latin_Jam2", "1059", "1059"]
    assert list(column(dataset, "tempo").values()) == [104.0, 124.0, 84.0, 87.0]
    assert list(column(dataset, "genre").values()) == ["rumbainternational", "chachacha", "waltz", "waltz"]


def test_brid(tmp_path: Path) -> None:
    rhythms(tmp_path, "brid", "BRID_1.0", {"[0001] M4-01-SA": ("", "79.988654"), "[0010] M4-10-SE": ("", "x")})
    dataset = load_dataset("brid", data_home=tmp_path)
    assert column(dataset, "tempo") == {"[0001] M4-01-SA": 79.988654}
    assert column(dataset, "rhythm") == {"[0001] M4-01-SA": "SA", "[0010] M4-10-SE": "SE"}
    assert reasons(dataset) == {("[0010] M4-10-SE", "tempo"): "annotation cannot be read (ValueError)"}


def test_giantsteps_tempo_takes_the_most_voted_of_version_2(tmp_path: Path) -> None:
    giantsteps_tempo(tmp_path, {"28952": [(139.0, 0.05), (127.0, 0.95)], "3041381": []})
    dataset = load_dataset("giantsteps_tempo", data_home=tmp_path)
    assert column(dataset, "tempo") == {"0": 127.0}
    assert reasons(dataset) == {("1", "tempo"): "no tempo"}
    assert set(column(dataset, "genre").values()) == {"drumbass"}
    with pytest.raises(InputError, match=r"put the 664 previews, named as in audio/5377710.LOFI.mp3"):
        dataset.listing()


def test_damaged_annotations_cost_only_themselves(tmp_path: Path) -> None:
    beatport(tmp_path)
    next(tmp_path.glob("keys/11 *")).unlink()
    next(tmp_path.glob("keys/12 *")).write_bytes(b"\xff\xfe\x00")
    next(tmp_path.glob("keys/13 *")).write_text("")
    next(tmp_path.glob("meta/14 *")).write_text('{"artists": nan}')
    dataset = load_dataset("beatport_key", data_home=tmp_path)
    assert column(dataset, "key") == {"1": "D minor"}
    found = reasons(dataset)
    assert found["2", "key"] == "annotation file missing"
    assert found["3", "key"] == "annotation cannot be read (UnicodeDecodeError)"
    assert found["4", "key"] == "annotation cannot be read (StopIteration)"
    assert found["5", "group"] == "annotation cannot be read (JSONDecodeError)"
    assert len(dataset.tracks) == 6


def test_index_is_found_asked_for_and_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"run 'm2l2 datasets fetch beatport_key', or put beatport_key_index_1.0.0.json"
    ):
        load_dataset("beatport_key", data_home=tmp_path)
    index = beatport(tmp_path)
    index.rename(tmp_path / "index.json")
    assert len(load_dataset("beatport_key", data_home=tmp_path).tracks) == 6
    for damaged in ("{", '{"tracks": [1]}', '{"version": "1"}', '{"tracks": {"1": {"audio": 3}}}'):
        (tmp_path / "index.json").write_text(damaged)
        with pytest.raises(InputError, match="is not an index of mirdata"):
            load_dataset("beatport_key", data_home=tmp_path)
        assert len(check(recipe_of("beatport_key"), tmp_path)) == 1


RECIPE = """
title = "T"
about = "A"
source = "mirdata"
loader = "{loader}"
version = "{version}"
tasks = ["tempo"]
licence = "L"
citation = "C"
[labels]
tempo = "{tempo}"
"""


def test_a_new_set_is_one_toml_file(tmp_path: Path) -> None:
    rhythms(tmp_path, "brid", "BRID_1.0", {"[0001] M4-01-SA": ("", "80")})
    mine = tmp_path / "mine.toml"
    mine.write_text(RECIPE.format(loader="brid", version="default", tempo="tempo"))
    assert column(load_dataset(mine, data_home=tmp_path), "tempo") == {"[0001] M4-01-SA": 80.0}
    for slip, answer in [
        ({"loader": "bird"}, "no loader 'bird'; did you mean 'brid'"),
        ({"version": "9"}, "Invalid version 9"),
        ({"tempo": "tempos"}, "no attribute of mirdata's brid; did you mean 'tempo'"),
        ({"tempo": "bpm_fil()"}, "did you mean 'bpm_file'"),
    ]:
        mine.write_text(RECIPE.format(**{"loader": "brid", "version": "default", "tempo": "tempo"} | slip))
        with pytest.raises(ConfigError, match=answer):
            load_dataset(mine, data_home=tmp_path)


def test_check_lists_everything_at_once(tmp_path: Path) -> None:
    rhythms(
        tmp_path,
        "ballroom",
        "B_1.0",
        {f"Media-10590{number}": ("Waltz/", tempo) for number, tempo in enumerate(["84", "85", "1.4", "86"])},
    )
    root = tmp_path / "B_1.0"
    (root / "audio/Waltz/Media-105900.wav").unlink()
    (root / "audio/Waltz/Media-105901.wav").write_bytes(b"RIFF")
    (root / "annotations/tempo/Media-105903.bpm").unlink()
    write_file(root / "audio/data1.tar.gz", b"half")
    write_file(tmp_path / "data2.tar.gz.part", b"half")
    problems = check(recipe_of("ballroom"), tmp_path)
    places = f"{root}/audio/data1.tar.gz, {tmp_path}/data2.tar.gz.part"
    assert problems == [
        f"2 downloads not complete (delete, then run 'm2l2 datasets fetch ballroom'): {places}",
        "1 audio files missing: B_1.0/audio/Waltz/Media-105900.wav",
        "1 annotation files missing: B_1.0/annotations/tempo/Media-105903.bpm",
        "1 audio files that are not those of the index (MD5): B_1.0/audio/Waltz/Media-105901.wav",
        "1 tracks with an unusable tempo: annotation file missing: Media-105903",
        "1 tracks with an unusable tempo: tempo outside 20 to 400 bpm: Media-105902",
    ]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What the addresses of beatport_key answer with: name of the remote -> file."""
    source, loader = tmp_path / "source", mirdata.initialize("beatport_key")
    answers = {"index": beatport(source)}
    for name, folder in (("keys", "keys"), ("metadata", "meta"), ("audio", "audio")):
        answers[name] = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(answers[name], "w") as archive:
            for path in sorted((source / folder).iterdir()):
                archive.write(path, path.relative_to(source))
    remotes = {
        **{name: loader.remotes[name] for name in answers if name != "index"},
        "index": loader._index_data.remote,
    }
    for name, remote in remotes.items():
        monkeypatch.setattr(remote, "checksum", md5_of(answers[name]))
    names = {remote.url: name for name, remote in remotes.items()}

    def retrieve(url: str, filename: str, **_: Any) -> None:
        if names[url] not in answers:
            raise urllib.error.URLError("Name or service not known")
        shutil.copyfile(answers[names[url]], filename)

    monkeypatch.setattr("urllib.request.urlretrieve", retrieve)
    return answers


def test_fetch_downloads_continues_and_cleans_up(tmp_path: Path, served: dict[str, Path]) -> None:
    recipe, home, lines = recipe_of("beatport_key"), tmp_path / "home", list[str]()
    write_file(home / "audio.zip", b"PK broken off")
    fetch(recipe, home, lines.append)
    assert check(recipe, home) == ["1 tracks with an unusable key: key not understood: 'H moll': 6"]
    assert not list(home.glob("*.zip"))
    assert (home / "beatport_key_index_1.0.0.json").is_file()
    assert any("audio.zip was not downloaded to the end" in line for line in lines)
    served.clear()  # nothing is asked for again
    fetch(recipe, home, lines.append)
    assert lines[-1].endswith("nothing to download")


def test_fetch_names_what_does_not_answer_and_gets_the_rest(
    tmp_path: Path, served: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    del served["keys"]  # the first to be asked for
    home = tmp_path / "home"
    with pytest.raises(
        InputError, match=r"keys cannot be had from https://zenodo.org/.*put that file at .*keys.zip"
    ) as dead:
        fetch(recipe_of("beatport_key"), home, lambda line: None)
    assert "\n" not in str(dead.value)
    assert not caplog.records  # mirdata logs six lines on its own
    assert len(list((home / "audio").iterdir())) == 6
    del served["index"]
    with pytest.raises(InputError, match="index cannot be had"):
        fetch(recipe_of("beatport_key"), tmp_path / "other", lambda line: None)


def test_fetch_says_which_audio_has_to_be_brought(tmp_path: Path) -> None:
    giantsteps_tempo(tmp_path, {"28952": [(127.0, 1.0)]})
    problems = check(recipe_of("giantsteps_tempo"), tmp_path)
    assert problems[0] == "1 audio files missing: audio/28952.LOFI.mp3"
    assert problems[1].startswith("audio has to be brought: only the annotations can be downloaded")


def test_a_list_of_folds_is_used_only_as_published(tmp_path: Path) -> None:
    recipe = recipe_of("gtzan_genre")
    path = write_file(tmp_path / "folds.csv", "track_id,fold\nblues.00000,test\n")
    other = SplitRecipe(column="filtered", file=str(path), sha256=recipe.splits["filtered"].sha256)
    changed = DatasetRecipe(**{**vars(recipe), "splits": {"filtered": other}})
    with pytest.raises(ConfigError, match="not the list the recipe means"):
        fold_columns(changed)
