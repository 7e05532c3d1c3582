"""The commands on data sets: what they print, with which exit code, and that a set is embedded under its own ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.audio import save
from m2l2_mir.dataset.recipe import SIZES, TASKS, dataset_names, find_recipe
from m2l2_mir.dataset.sources import RENDERED
from m2l2_mir.embedding.store import EmbeddingStore

TINY = ["--model", "random:m2l2-tiny", "--device", "cpu"]


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Twelve short tones in two classes and four groups; one label is wrong and one file is missing."""
    rng = np.random.default_rng(0)
    lines = ["path,genre,artist,bpm"]
    for number in range(12):
        if number:
            save(tmp_path / f"{number}.wav", rng.normal(scale=0.1, size=(1, 8000)), 8000)
        lines.append(f"{number}.wav,{'rock' if number % 2 else 'jazz'},artist {number % 6},{number * 20}")
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    return f"table:{tmp_path / 'my.csv'}"


def test_every_recipe_is_whole() -> None:
    names = dataset_names()
    assert set(RENDERED) < set(names)
    for name in names:
        _, recipe = find_recipe(name)
        assert set(recipe.tasks) <= set(TASKS)
        assert recipe.licence
        assert recipe.citation
        if recipe.source == "rendered":
            assert set(recipe.sizes) == set(SIZES)
        if recipe.source == "local":
            assert recipe.get


def test_list_and_show(m2l2, table: str) -> None:
    code, out, _ = m2l2("datasets", "list", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == dataset_names()
    code, out, _ = m2l2("datasets", "show", table)
    assert code == 0
    assert "tempo: 11 labelled, 11 values; dropped 1: 1 tempo outside 20 to 400 bpm" in out
    assert "split 'grouped' of genre" in out


def test_show_tells_what_a_set_is_even_where_it_is_not(m2l2, tmp_path: Path) -> None:
    code, out, _ = m2l2("datasets", "show", "nsynth", "--data-home", tmp_path / "nowhere")
    assert code == 0
    assert "licence: " in out
    assert "not here: " in out
    code, _, err = m2l2("datasets", "show", "nsynth", "--data-home", tmp_path / "nowhere", "--manifest", tmp_path / "m")
    assert code == 2
    assert err.count("\n") == 1


def test_a_manifest_is_saved_and_names_its_hash(m2l2, table: str, tmp_path: Path) -> None:
    code, out, _ = m2l2("datasets", "show", table, "--manifest", tmp_path / "split.json", "--json")
    assert code == 0
    assert json.loads(out)["manifest"] in (tmp_path / "split.json").read_text()


def test_check_and_audit_exit_with_3_where_something_is_wrong(m2l2, table: str, tmp_path: Path) -> None:
    code, out, _ = m2l2("datasets", "check", table)
    assert code == 3
    assert "1 of 12 audio files missing" in out
    code, out, _ = m2l2("datasets", "audit", table)
    assert code == 3
    assert out.splitlines()[-1] == "nothing found; NOT checked: identical audio (in part), near duplicates"
    (tmp_path / "6.wav").write_bytes((tmp_path / "5.wav").read_bytes())  # of another artist
    code, out, _ = m2l2("datasets", "audit", table, "--json")
    assert code == 3
    json.loads(out)


def test_embed_takes_a_data_set(m2l2, table: str, tmp_path: Path) -> None:
    code, out, err = m2l2("embed", f"dataset:{table}", "--out", tmp_path / "store", *TINY)
    assert code == 3
    assert "11 of 12 tracks embedded" in out
    assert "failed: 0.wav: its audio is not there" in err
    assert set(EmbeddingStore.open(tmp_path / "store").ok["track_id"]) == {f"{number}.wav" for number in range(1, 12)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["embed", "dataset:bach-ky", "--out", "store"],
            "no data set 'bach-ky' (see 'm2l2 datasets list'); did you mean",
        ),
        (["embed", "dataset:bach-key", "more.wav", "--out", "store"], "give dataset:bach-key alone"),
        (
            ["embed", "dataset:bach-key", "--out", "store", "--size", "huge"],
            "size must be quick, default, large: 'huge'",
        ),
        (["datasets", "show", "my.toml"], "cannot read the recipe my.toml"),
    ],
)
def test_wrong_use_is_one_line(m2l2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = m2l2(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_check_finds_a_damaged_clip_and_fetch_renders_it_again(m2l2, tmp_path: Path) -> None:
    pytest.importorskip("midirenderer")
    which = ["notes-pitch", "--size", "quick", "--data-home", tmp_path]
    code, out, _ = m2l2("datasets", "check", *which)
    assert code == 3
    assert "clips missing" in out
    assert m2l2("datasets", "fetch", *which, "--jobs", "1")[0] == 0
    assert m2l2("datasets", "check", *which)[0] == 0
    clip = next(tmp_path.rglob("*.flac"))
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) // 2])
    code, out, _ = m2l2("datasets", "check", *which)
    assert code == 3
    assert "1 of " in out
    assert m2l2("datasets", "fetch", *which, "--jobs", "1")[0] == 0
    assert clip.read_bytes() == whole
