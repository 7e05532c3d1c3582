"""Vectors from files and embedders come in the order of the tracks, and what lacks tracks is refused."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.errors import InputError
from m2l2_mir.probe.embedders import check_embedder, embedder_facts, embedder_row, load_embedder
from m2l2_mir.probe.rows import file_row

IDS = ["a", "b", "c"]


def test_npy_is_taken_by_the_ids_beside_it(tmp_path) -> None:
    np.save(tmp_path / "mine.npy", [[3.0, 4.0], [9.0, 9.0], [np.nan, 6.0], [1.0, 2.0]])
    with pytest.raises(InputError, match=r"nothing says which track each row is of; write .* mine\.txt"):
        file_row(tmp_path / "mine.npy", IDS)
    (tmp_path / "mine.txt").write_text("b\nother\nc\na\n")
    row = file_row(tmp_path / "mine.npy", IDS)
    assert (row.name, row.width) == ("mine", 2)
    assert row.load(0)[:2].tolist() == [[1, 2], [3, 4]]
    assert list(row.failed) == [2]
    (tmp_path / "mine.txt").write_text("b\na\nc\nother\n")
    assert file_row(tmp_path / "mine.npy", IDS).provenance != row.provenance
    for ids, message in (
        ("a\nb\nc", r"\[4, 2\] for 3 track ids"),
        ("a\nb\nc\na", "'a' occurs twice"),
        ("a\nb\nx\ny", "lacks 1"),
    ):
        (tmp_path / "mine.txt").write_text(ids)
        with pytest.raises(InputError, match=message):
            file_row(tmp_path / "mine.npy", IDS)


@pytest.mark.parametrize("lists", [True, False])
def test_parquet_is_taken_by_track_id(tmp_path, lists: bool) -> None:
    vectors = {"vector": [[3.0, 3.5], [1.0, 1.5], [2.0, 2.5]]} if lists else {"e0": [3.0, 1, 2], "e1": [3.5, 1.5, 2.5]}
    pd.DataFrame({"track_id": ["c", "a", "b"], **vectors}).to_parquet(tmp_path / "mine.parquet")
    assert file_row(tmp_path / "mine.parquet", IDS).load(0).tolist() == [[1, 1.5], [2, 2.5], [3, 3.5]]
    with pytest.raises(InputError, match="lacks 1 of 4 tracks, such as 'd'"):
        file_row(tmp_path / "mine.parquet", [*IDS, "d"])


@pytest.mark.parametrize(
    ("columns", "width", "taken"),
    [
        (["e0", "tempo", "e1", "e2", "fold"], 3, "columns e0 to e2"),  # labels between dimensions
        (["0", "1", "fold", "group"], 2, "columns 0 to 1"),
        (["x"], 1, "column x"),
        (["tempo"], None, "column 'tempo' is one of the data set"),
        (["fold"], None, "column 'fold' is one of the data set"),
        (["x", "bpm"], None, "x, bpm, which does not tell the vector from labels"),
        (["e0", "e1", "genre0", "genre1"], None, "e0 to e1 and genre0 to genre1"),
        (["e0", "e1", "q1", "q2"], 2, "columns e0 to e1"),  # q1, q2 are columns of the data set
    ],
)
def test_no_label_becomes_a_dimension(tmp_path, columns: list[str], width: int | None, taken: str) -> None:
    values = {name: [float(number), 2.0, 3.0] for number, name in enumerate(columns)}
    pd.DataFrame({"track_id": IDS, **values}).to_parquet(tmp_path / "mine.parquet")
    if width is None:
        with pytest.raises(InputError, match=taken):
            file_row(tmp_path / "mine.parquet", IDS, columns=["tempo", "q1", "q2"])
        return
    row = file_row(tmp_path / "mine.parquet", IDS, columns=["tempo", "q1", "q2"])
    assert row.width == width
    assert row.about == f"vectors of mine.parquet, {taken}"
    others = [name for name in columns if name in ("tempo", "fold", "group", "q1", "q2")]
    assert row.note == (f"mine: vectors are {taken}; not taken: {', '.join(others)}" if others else "")


def test_files_that_hold_no_vectors_are_named(tmp_path) -> None:
    (tmp_path / "mine.npy").write_text("no array")
    (tmp_path / "mine.txt").write_text("a\nb\nc\n")
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


class Fragile(Loudness):
    """Raises on loud clips, gives another width for long ones."""

    def embed(self, waveform):
        if waveform.max() > 0.9:
            raise RuntimeError("too loud")
        return np.append(super().embed(waveform), [0] * (len(waveform) > 20000))


def test_an_embedder_that_raises_loses_the_file_and_not_the_run(tmp_path) -> None:
    for name, level, seconds in (("loud", 0.99, 1), ("long", 0.1, 3), ("fine", 0.1, 1)):
        save(tmp_path / f"{name}.wav", np.full((1, seconds * 8000), level), 8000)
    paths = {name: str(tmp_path / f"{name}.wav") for name in ("loud", "long", "fine", "missing")}
    row = embedder_row(Fragile(), list(paths.values()))
    assert list(row.failed) == [0, 1, 3]
    assert row.failed[0] == "Fragile.embed raised RuntimeError: too loud"
    assert "gave 3 numbers and not 2" in row.failed[1]
    assert np.isfinite(row.load(0)[2]).all()
    # Nine failures in a row go on, whatever cannot be read between them; the tenth ends it.
    nine = [paths["loud"]] * 5 + [paths["missing"]] * 5 + [paths["loud"]] * 4
    assert len(embedder_row(Fragile(), [*nine, paths["fine"], paths["loud"]]).failed) == 15
    with pytest.raises(InputError, match=r"Fragile failed on 10 files in a row, .*: too loud"):
        embedder_row(Fragile(), [*nine, paths["loud"]])


def test_other_vectors_are_another_provenance(tmp_path) -> None:
    save(tmp_path / "a.wav", np.full((1, 4000), 0.1), 8000)
    first = embedder_row(Loudness(), [str(tmp_path / "a.wav")])
    assert embedder_row(Loudness(), [str(tmp_path / "a.wav")]).provenance == first.provenance
    save(tmp_path / "a.wav", np.full((1, 4000), 0.2), 8000)
    assert embedder_row(Loudness(), [str(tmp_path / "a.wav")]).provenance != first.provenance


class Dying(Loudness):
    """Loudness, but for a weight; killed after so many clips."""

    left, weight = 99, 1.0

    def embed(self, waveform):
        type(self).left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.weight * super().embed(waveform)


def test_what_was_embedded_before_a_kill_is_not_embedded_again(tmp_path, monkeypatch) -> None:
    paths = [str(tmp_path / f"{number}.wav") for number in range(5)]
    for number, path in enumerate(paths):
        save(path, np.full((1, 4000), 0.1 + 0.1 * number), 8000)
    kept, trials = tmp_path / "kept", 5  # of noise: three to check, two to know it again
    monkeypatch.setattr(Dying, "left", trials + 3)
    with pytest.raises(KeyboardInterrupt):
        embedder_row(Dying(), paths, kept=kept)
    (kept / os.listdir(kept)[0]).write_bytes(b"damaged")
    monkeypatch.setattr(Dying, "left", trials + 3)  # two are left, and the damaged one
    again = embedder_row(Dying(), paths, kept=kept)
    assert not again.failed
    np.testing.assert_array_equal(again.load(0), embedder_row(Loudness(), paths).load(0))
    monkeypatch.setattr(Dying, "weight", 2.0)
    monkeypatch.setattr(Dying, "left", 99)
    np.testing.assert_array_equal(embedder_row(Dying(), paths, kept=kept).load(0), 2 * again.load(0))


def test_failures_apart_from_each_other_do_not_end_a_resumed_run(tmp_path) -> None:
    save(tmp_path / "loud.wav", np.full((1, 8000), 0.99), 8000)
    save(tmp_path / "fine.wav", np.full((1, 8000), 0.1), 8000)
    paths = [str(tmp_path / f"{name}.wav") for name in ("loud", "fine")] * 12
    for _ in range(2):  # the second time the fine ones are kept
        assert len(embedder_row(Fragile(), paths, kept=tmp_path / "kept").failed) == 12


def test_an_embedder_hears_the_excerpt(tmp_path) -> None:
    save(tmp_path / "a.wav", np.repeat([[0.1, 0.4]], 8000, axis=1), 8000)
    row = embedder_row(Loudness(), [str(tmp_path / "a.wav")], excerpt=(1.2, 0.5))
    assert row.load(0)[0, 0] == pytest.approx(0.4, rel=1e-3)


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


class Deaf(Loudness):
    def embed(self, waveform):
        return np.ones(3)


class Raising(Loudness):
    def embed(self, waveform):
        raise KeyError("weights")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Deaf, "the same vector for two different clips"),
        (Raising, "embed raised KeyError: 'weights'"),
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
        "class Broken(Mine):\n    def __init__(self):\n        raise OSError('no weights here')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    facts = embedder_facts(load_embedder("my_loudness:Mine"))
    assert (facts["name"], facts["width"], facts["sample_rate"]) == ("mine", 1, 8000)
    for wrong in ("my_loudness", "my_loudness:Other", "no_such_module:Mine", "my_loudness:Broken"):
        with pytest.raises(InputError, match=wrong):
            load_embedder(wrong)
