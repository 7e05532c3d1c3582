"""The demo from end to end: rendered, embedded, reported, and nothing done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2l2_mir.dataset.dataset import load_dataset
from m2l2_mir.demo_search import SHOWN
from m2l2_mir.embedding.store import EmbeddingStore

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


def test_quick_and_full_exclude_each_other(m2l2, tmp_path: Path) -> None:
    code, _, err = m2l2("demo", "--quick", "--full", "--out", tmp_path / "demo")
    assert (code, len(err.splitlines())) == (2, 1)
