"""The section on data sets: counts are those of the tables, and nothing from outside is taken for HTML."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2l2_mir.audio import save
from m2l2_mir.dataset.dataset import load_dataset
from m2l2_mir.report.sets import sets_section


def test_counts_labels_and_hostile_names(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", np.zeros((1, 800)), 8000)
    rows = ["path,title,genre,key,artist", "a.wav,<b>one,rock,C major,x", "gone.wav,two,jazz,X,y"]
    (tmp_path / "my.csv").write_text("\n".join(rows) + "\n")
    dataset = load_dataset(f"table:{tmp_path / 'my.csv'}")
    html = sets_section({"m2l2 embed <it>": dataset}, {dataset.name: 1})
    assert "<b>one" not in html
    assert "<it>" not in html
    assert "1 of 2 clips" in html
    assert "&lt;b&gt;one, key C major, genre rock" in html
    assert html.count("<audio") == 1
    assert "the sound file could not be read" in html
