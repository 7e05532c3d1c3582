"""``m2l2 predict``: a probe that was run on a table of tones, applied to files and stores."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.model.checkpoint import load_model, save_model
from m2l2_mir.probe.fitted import FittedProbe
from m2l2_mir.probe.predicting import find_fitted

RATE = 16000


def tone(path: Path, hertz: float) -> None:
    save(path, 0.3 * np.sin(2 * np.pi * hertz * np.arange(RATE // 2) / RATE)[None], RATE)


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    """Forty high or low tones of ten artists, and a folder of music that has no labels."""
    folder = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(0)
    lines = ["path,genre,artist"]
    for number in range(40):
        name = "low" if number % 2 else "high"
        tone(folder / f"{number:02}.wav", (300 if number % 2 else 3000) * (1 + 0.2 * rng.random()))
        lines.append(f"{number:02}.wav,{name},artist {number // 4}")
    (folder / "my.csv").write_text("\n".join(lines) + "\n")
    (folder / "new").mkdir()
    tone(folder / "new" / "zwölf Töne.wav", 340)
    tone(folder / "new" / "high.wav", 3300)
    (folder / "new" / "broken.wav").write_bytes(b"no music")
    return folder


@pytest.fixture
def fitted(m2l2, music: Path) -> Path:
    """Results of a probe on the table, made by the first test that asks for them."""
    out = music / "probes"
    if not out.is_dir():
        run = ["probe", "run", "genre", "--dataset", f"table:{music / 'my.csv'}", "--model", "random:m2l2-tiny"]
        code, printed, err = m2l2(*run, "--jobs", "1", "--seeds", "2", "--folds", "3", "--out", out, "--json")
        assert code == 0, err
        [place] = json.loads(printed)["probes"][0]["fitted"]
        assert place == str(out / "genre" / "fitted" / "random-m2l2-tiny-linear")
    return out / "genre"


def test_files_are_estimated_and_bad_ones_listed(m2l2, fitted: Path, music: Path, tmp_path: Path) -> None:
    code, printed, err = m2l2("predict", fitted, music / "new", music / "05.wav", "--out", tmp_path / "mine.csv")
    assert code == 3
    assert "failed: broken.wav: " in err
    assert "cross-validated on table:" in printed
    assert "the probe was fitted on 1 of 4 tracks" in printed
    table = pd.read_csv(tmp_path / "mine.csv").set_index("track_id")
    assert table["estimate"].to_dict() == {
        "05.wav": "low",
        "broken.wav": pytest.approx(np.nan, nan_ok=True),
        "high.wav": "high",
        "zwölf Töne.wav": "low",
    }
    assert table["fitted_on"].tolist() == [True, False, False, False]
    assert table["confidence"].dropna().between(0.8, 1).all()
    assert table.loc["broken.wav", "status"] == "failed"


def test_a_store_gives_the_same_as_its_files(m2l2, fitted: Path, music: Path, tmp_path: Path) -> None:
    made_with = ["--model", "random:m2l2-tiny", "--out"]
    m2l2("embed", music / "new", *made_with, tmp_path / "store")
    code, printed, _ = m2l2("predict", fitted, tmp_path / "store", "--json")
    assert code == 3
    [from_store] = json.loads(printed)["probes"]
    [from_files] = json.loads(m2l2("predict", fitted, music / "new", "--json")[1])["probes"]
    for mine, theirs in zip(from_store["tracks"], from_files["tracks"], strict=True):
        assert mine == theirs | {"confidence": pytest.approx(theirs["confidence"])}
    assert from_store["tracks"][0]["estimate"] is None
    m2l2("embed", music / "new", *made_with, tmp_path / "part", "--excerpt", "0,0.3")
    _, printed, _ = m2l2("predict", fitted, tmp_path / "part")
    assert "the embeddings are of excerpt [0.0, 0.3], the probe was fitted on None" in printed


def test_another_model_is_refused_by_both_names(m2l2, fitted: Path, music: Path, tmp_path: Path) -> None:
    m2l2("embed", music / "new", "--model", "random:m2l2-tiny:1", "--out", tmp_path / "store")
    code, _, err = m2l2("predict", fitted, tmp_path / "store")
    assert code == 2
    assert "embeddings of random:m2l2-tiny:1, the probe reads those of random:m2l2-tiny (random:m2l2-tiny:0)" in err
    code, _, err = m2l2("predict", fitted, music / "05.wav", "--model", "random:m2l2-tiny:1")
    assert code == 2
    assert "another model than the probe's, random:m2l2-tiny (random:m2l2-tiny:0)" in err
    # The same weights under another name are the same model.
    save_model(load_model("random:m2l2-tiny", device="cpu"), tmp_path / "moved.safetensors")
    assert m2l2("predict", fitted, music / "05.wav", "--model", tmp_path / "moved.safetensors")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NEW", "NEW"], "is no fitted probe (no probe.json)"),
        (["FITTED", "missing.wav"], "'missing.wav' does not exist"),
        (["FITTED", "NEW", "--out", "nowhere/mine.csv"], "its folder is not there"),
    ],
)
def test_wrong_use_is_one_line(m2l2, fitted: Path, music: Path, arguments, message: str) -> None:
    named = [{"NEW": music / "new", "FITTED": fitted}.get(argument, argument) for argument in arguments]
    code, _, err = m2l2("predict", *named)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert message in err


def test_several_probes_of_one_embedding_are_applied_together(m2l2, fitted: Path, music: Path, tmp_path: Path) -> None:
    for name in ("genre", "again"):
        shutil.copytree(fitted, tmp_path / "out" / name)
    [card] = (tmp_path / "out" / "again").glob("fitted/*/probe.json")
    probe = FittedProbe.load(card.parent)
    again = replace(probe, facts=replace(probe.facts, probe="again"))
    again.save(card.parent)
    code, printed, err = m2l2("predict", tmp_path / "out", music / "new", "--out", tmp_path / "mine.csv")
    assert code == 3, err
    assert printed.count("cross-validated on table:") == 2
    same = find_fitted(shutil.copytree(fitted.parent, tmp_path / "same") / "genre")
    shutil.copytree(tmp_path / "same" / "genre", tmp_path / "same" / "older")
    assert [*same] == ["genre"]
    assert [*find_fitted(tmp_path / "same")] == [f"{name}/fitted/{card.parent.name}" for name in ("genre", "older")]
    table = pd.read_csv(tmp_path / "mine.csv").set_index("track_id")
    assert table["genre"].equals(table["again"].rename("genre"))
    assert table.loc["high.wav", "genre"] == "high"
    assert {"again_confidence", "genre_fitted_on", "reason"} <= {*table.columns}
    replace(again, space=replace(again.space, loudness=-23.0)).save(card.parent)
    code, _, err = m2l2("predict", tmp_path / "out", music / "new")
    assert code == 2
    assert "holds fitted probes of several models or settings; name one of them" in err
