"""`m2l2 index evaluate` and `export`, end to end on a saved index."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.index.similarity import SimilarityIndex


@pytest.fixture
def folder(tmp_path: Path, rng) -> Path:
    """Twenty tones of half a second, five artists, and an index of them."""
    artist = np.repeat(np.arange(5), 4)
    time = np.arange(8000) / 16000
    paths = []
    for number, one in enumerate(artist):
        paths.append(str(tmp_path / f"{number}.wav"))
        save(Path(paths[-1]), 0.3 * np.sin(2 * np.pi * (200 + 300 * one) * time)[None], 16000)
    table = pd.DataFrame(
        {"artist": [f"a{one}" for one in artist], "genre": [f"g{one % 2}" for one in artist], "path": paths}
    )
    vectors = rng.normal(size=(5, 16))[artist] + 0.1 * rng.normal(size=(20, 16))
    index = SimilarityIndex.from_vectors(vectors, [f"t{number}" for number in range(20)], table)
    index.save(tmp_path / "idx")
    return tmp_path


def test_evaluate(m2l2, folder: Path) -> None:
    run = ["index", "evaluate", folder / "idx", "--label", "genre", "--group", "artist", "--k", "3", "--jobs", "1"]
    code, printed, err = m2l2(*run, "--out", folder / "out")
    assert code == 0, err
    assert "genre, without others of the same artist: of 3 neighbours" in printed
    assert "recall@3 1.000" in printed
    scores = json.loads((folder / "out" / "scores.json").read_text())
    others = ["same embeddings, l2", "same embeddings, pca"]
    assert [row["name"] for row in scores["rows"]] == ["idx", *others, "log-mel", "random vectors"]
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:audio/") == 20
    assert "m2l2 index evaluate" in page
    code, printed, _ = m2l2(*run, "--baseline", "none", "--audio-mb", "0", "--json", "--out", folder / "out")
    assert json.loads(printed)["sentences"][0].startswith("genre: of 3 neighbours")
    assert "data:audio/" not in (folder / "out" / "report.html").read_text(encoding="utf-8")


def test_a_track_without_its_file_is_left_out_and_told(m2l2, folder: Path) -> None:
    (folder / "3.wav").unlink()
    code, printed, _ = m2l2("index", "evaluate", folder / "idx", "-l", "genre", "--jobs", "1", "-o", folder / "out")
    assert code == 3
    assert "1 of 20 tracks failed in some row" in printed


def test_export_to_parquet(m2l2, folder: Path) -> None:
    code, printed, err = m2l2("index", "export", folder / "idx", "--out", folder / "library.parquet", "--json")
    assert code == 0, err
    assert json.loads(printed)["tracks"] == 20
    assert len(pd.read_parquet(folder / "library.parquet")) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "idx", "--to", "quadrant"], "did you mean 'qdrant'"),
        (["export", "idx"], "--out library.parquet"),
        (["evaluate", "nowhere", "--out", "out"], "nowhere is no similarity index"),
        (["evaluate", "idx", "--out", "out", "--baseline", "logmel"], "did you mean 'log-mel'"),
        (["evaluate", "idx", "--out", "out", "--labels", "no.csv"], "'no.csv' does not exist; check the path"),
        (["evaluate", "idx", "--out", "out", "--map", "umap"], "no method 'umap'"),
        (["evaluate", "idx", "--out", "out", "--audio-mb", "-1"], "--audio-mb is -1"),
        (["evaluate", "idx", "--out", "out", "--store", "nowhere"], "nowhere"),
        (["evaluate", "idx", "--out", "0.wav"], "--out 0.wav is a file"),
    ],
)
def test_what_cannot_be_is_one_line(m2l2, folder: Path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(folder)
    code, _, err = m2l2("index", *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("out").exists()
