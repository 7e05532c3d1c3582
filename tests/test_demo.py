"""The demo from end to end: rendered, embedded, reported, and nothing done twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m2l2_mir import demo
from m2l2_mir.audio import save
from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.dataset.recipe import DatasetRecipe, SplitRecipe
from m2l2_mir.demo_search import SHOWN
from m2l2_mir.embedding.extract import extract
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.results import read_scores

pytest.importorskip("music21")
pytest.importorskip("midirenderer")


def test_quick_demo_writes_a_page_and_does_nothing_twice(m2l2, tmp_path: Path) -> None:
    command = ["demo", "--quick", "--out", tmp_path, "--model", "random:m2l2-tiny", "--device", "cpu"]
    code, out, _ = m2l2(*command)
    assert code == 0
    assert out.splitlines()[-1] == f"Report: {(tmp_path / 'index.html').resolve()}"
    count = len(load_dataset("notes-pitch", size="quick").tracks)
    page = (tmp_path / "index.html").read_text()
    for words in ("untrained weights", "Nearest neighbours", "Data sets that come along", f"{count} of {count} clips"):
        assert words in page
    assert "What can be read from the embeddings" in page
    report = (tmp_path / "probes-random-m2l2-tiny-0" / "report.html").read_text()
    assert all(f'<td data-name="row">{row}</td>' in report for row in ("random:m2l2-tiny", "majority", "log-mel"))
    assert page.count("<audio") == 6 + 2 + 2 * SHOWN  # the tracks, two clips of the set, two lists of neighbours
    assert "like this, whatever its pitch" in page
    assert (tmp_path / "neighbours" / "report.html").is_file()
    [tracks, clips] = sorted(tmp_path.glob("embeddings-*"), key=lambda folder: len(folder.name))
    scores = tmp_path / "probes-random-m2l2-tiny-0" / "pitch" / "scores.json"
    scored = scores.stat().st_mtime_ns
    assert (len(EmbeddingStore.open(tracks).ok), len(EmbeddingStore.open(clips).ok)) == (6, count)

    parts = sorted(clips.rglob("*.parquet"))
    times = [part.stat().st_mtime_ns for part in parts]
    assert m2l2(*command)[0] == 0
    assert sorted(clips.rglob("*.parquet")) == parts
    assert [part.stat().st_mtime_ns for part in parts] == times
    assert scores.stat().st_mtime_ns == scored


def test_by_default_all_four_probes_are_read_beside_an_untrained_encoder(tmp_path: Path, monkeypatch) -> None:
    """On a dozen clips that need no rendering, the same for every probe."""
    monkeypatch.setattr(demo, "hand_made_rows", lambda paths: [])
    rng = np.random.default_rng(0)
    numbers = np.arange(12)
    paths = [str(tmp_path / f"{number:02}.wav") for number in numbers]
    for path in paths:
        save(path, 0.1 * rng.standard_normal((1, 4000)), 16000)
    labels = {"key": ["C major", "G major"], "pitch": [60, 64], "tempo": [90.0, 120.0], "genre": ["jig", "reel"]}
    dataset = Dataset(
        name="clips",
        recipe=DatasetRecipe(
            title="Clips", about="", source="local", loader="", tasks=("key", "pitch", "tempo", "genre"),
            licence="none", citation="none", splits={"grouped": SplitRecipe(folds=2)},
        ),
        tracks=pd.DataFrame(
            {
                "track_id": [Path(path).name for path in paths],
                "path": paths,
                "group": [str(number // 2) for number in numbers],
                **{name: [values[number % 2] for number in numbers] for name, values in labels.items()},
            }
        ),
        dropped=pd.DataFrame(columns=["track_id", "label", "reason"]),
    )  # fmt: skip
    network = load_model("random:m2l2-tiny", device="cpu")
    network.weights_id = "sha256:0123"  # as if trained
    names = [find_probe(probe)[1].dataset for probe in labels]
    stores = dict.fromkeys(names, extract(dataset, out=tmp_path / "store", model=network, jobs=1))
    section = demo._probes_section(
        tmp_path, "mine", network, dict.fromkeys(names, dataset), stores, size="default", say=lambda _: None
    )
    found = read_scores(tmp_path / f"probes-{network.fingerprint}")
    assert {*found} == {*labels}
    for scores in found.values():
        kinds = {row["name"]: row["kind"] for row in scores["rows"]}
        assert (kinds["mine"], kinds["untrained m2l2-tiny"]) == ("model", "untrained")
    assert "with 1 seed: enough" in section
    assert "--quick adds" not in section
    assert "untrained, so that" not in section


def test_quick_and_full_exclude_each_other(m2l2, tmp_path: Path) -> None:
    code, _, err = m2l2("demo", "--quick", "--full", "--out", tmp_path / "demo")
    assert (code, len(err.splitlines())) == (2, 1)
