"""Vectors from files and embedders come in the order of the tracks, and what lacks tracks is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.errors import InputError
from m2l2_mir.probe.embedders import check_embedder, embedder_row, load_embedder
from m2l2_mir.probe.rows import file_row

IDS = ["a", "b", "c"]


def test_npy_is_taken_in_order(tmp_path) -> None:
    np.save(tmp_path / "mine.npy", [[1.0, 2.0], [3.0, 4.0], [np.nan, 6.0]])
    row = file_row(tmp_path / "mine.npy", IDS)
    assert (row.name, row.width) == ("mine", 2)
    assert row.load(0)[1].tolist() == [3, 4]
    assert list(row.failed) == [2]
    with pytest.raises(InputError, match=r"vectors are \[3, 2\] for 2 tracks"):
        file_row(tmp_path / "mine.npy", IDS[:2])


@pytest.mark.parametrize("lists", [True, False])
def test_parquet_is_taken_by_track_id(tmp_path, lists: bool) -> None:
    vectors = {"vector": [[3.0, 3.5], [1.0, 1.5], [2.0, 2.5]]} if lists else {"x": [3.0, 1, 2], "y": [3.5, 1.5, 2.5]}
    pd.DataFrame({"track_id": ["c", "a", "b"], **vectors}).to_parquet(tmp_path / "mine.parquet")
    assert file_row(tmp_path / "mine.parquet", IDS).load(0).tolist() == [[1, 1.5], [2, 2.5], [3, 3.5]]
    with pytest.raises(InputError, match="lacks 1 of 4 tracks, such as 'd'"):
        file_row(tmp_path / "mine.parquet", [*IDS, "d"])


def test_files_that_hold_no_vectors_are_named(tmp_path) -> None:
    (tmp_path / "mine.npy").write_text("no array")
    with pytest.raises(InputError, match="no vectors can be read"):
        file_row(tmp_path / "mine.npy", IDS)
    with pytest.raises(InputError, match="no vectors can be read"):
        file_row(tmp_path / "missing.parquet", IDS)


class Loudness:
    name, sample_rate = "loudness", 8000

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        return np.array([np.sqrt(np.mean(waveform**2)), np.abs(waveform).max()])


def test_an_embedder_embeds_what_can_be_read(tmp_path) -> None:
    for name, level in (("a", 0.1), ("b", 0.4)):
        save(tmp_path / f"{name}.wav", np.full((1, 4000), level), 8000)
    row = embedder_row(Loudness(), [str(tmp_path / f"{name}.wav") for name in IDS])
    np.testing.assert_allclose(row.load(0)[:2, 0], [0.1, 0.4], rtol=1e-3)
    assert list(row.failed) == [2]
    assert row.provenance["embedder"].endswith("Loudness")


class Wandering(Loudness):
    calls = 0

    def embed(self, waveform):
        self.calls += 1
        return super().embed(waveform) + self.calls


class ByFrame(Loudness):
    def embed(self, waveform):
        return np.abs(waveform[::100])


class Writing(Loudness):
    def embed(self, waveform):
        waveform *= 0.5
        return super().embed(waveform)


class Matrix(Loudness):
    def embed(self, waveform):
        return np.zeros((2, 2))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Wandering, "two vectors for the same clip"),
        (ByFrame, "widths 40 and 160"),
        (Writing, "writes into the clip"),
        (Matrix, r"gave \[2, 2\]"),
        (dict, "dict is no embedder"),
    ],
)
def test_what_is_no_embedder_is_told(kind, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_embedder(kind())


def test_an_embedder_is_found_by_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_loudness.py").write_text(
        "import numpy as np\nclass Mine:\n    name, sample_rate = 'mine', 8000\n"
        "    def embed(self, waveform):\n        return np.array([waveform.std()])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_embedder("my_loudness:Mine").name == "mine"
    for wrong in ("my_loudness", "my_loudness:Other", "no_such_module:Mine"):
        with pytest.raises(InputError, match=wrong):
            load_embedder(wrong)
