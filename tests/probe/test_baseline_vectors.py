"""Rows of many files: order, failures, and what is kept on disk."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.audio import save
from m2l2_mir.errors import InputError
from m2l2_mir.probe import baseline_vectors as module
from m2l2_mir.probe.baseline_vectors import baseline_vectors
from m2l2_mir.probe.baselines import features_of_file

NAMES = ["mfcc", "tempogram-chunks"]


@pytest.fixture
def files(tmp_path: Path, rng: np.random.Generator) -> list[Path]:
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path in paths:
        save(path, np.clip(0.1 * rng.normal(size=44_100), -1, 1), 44_100)
    return paths


def test_rows_in_order_and_failures_with_reasons(files: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF no sound")
    seen = []
    paths = [files[0], broken, "", files[1], tmp_path / "none.wav", tmp_path]
    result = baseline_vectors(
        paths, NAMES, jobs=1, progress=lambda *count: seen.append(count), cache=tmp_path / "cache"
    )
    for name in NAMES:
        rows = result.vectors[name]
        np.testing.assert_array_equal(np.isnan(rows).all(axis=1), [False, True, True, False, True, True])
        np.testing.assert_array_equal(rows[3], features_of_file(files[1], [name])[name])
    assert [bool(reason) for reason in result.reasons] == [False, True, True, False, True, True]
    assert "cannot be read as audio" in result.reasons[1]
    assert result.reasons[2] == "no audio is known of"
    assert result.reasons[4].endswith("none.wav: no such file")
    assert seen == [(done, 6) for done in range(1, 7)]


def test_a_file_cut_off_has_the_rows_of_what_is_left(tmp_path: Path, rng: np.random.Generator) -> None:
    whole, cut = tmp_path / "whole.mp3", tmp_path / "cut.mp3"
    save(whole, 0.1 * rng.normal(size=3 * 44_100), 44_100)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = baseline_vectors([cut], ["mfcc"], jobs=1, cache=tmp_path / "cache")
    assert np.isfinite(result.vectors["mfcc"]).all()


def test_kept_rows_are_not_computed_again(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = baseline_vectors(files, ["mfcc"], jobs=1, cache=cache)
    asked = []

    def counted(path, names, *, excerpt=None):
        asked.append((Path(path).name, tuple(names), excerpt))
        return features_of_file(path, names, excerpt=excerpt)

    monkeypatch.setattr(module, "features_of_file", counted)
    renamed = files[0].rename(tmp_path / "other name.wav")
    again = baseline_vectors([renamed, *files[1:]], ["mfcc"], jobs=1, cache=cache)
    assert asked == []
    np.testing.assert_array_equal(again.vectors["mfcc"], first.vectors["mfcc"])
    # Another row is computed alone, another excerpt apart from the whole, and a damaged entry again.
    baseline_vectors([renamed], NAMES, jobs=1, cache=cache)
    baseline_vectors([renamed], ["mfcc"], jobs=1, cache=cache)
    baseline_vectors([renamed], ["mfcc"], excerpt=(0, 0.5), jobs=1, cache=cache)
    for entry in cache.rglob("*.npz"):
        entry.write_bytes(entry.read_bytes()[:100])
    damaged = baseline_vectors([renamed], ["mfcc"], jobs=1, cache=cache)
    name = renamed.name
    assert asked == [
        (name, ("tempogram-chunks",), None),
        (name, ("mfcc",), (0, 0.5)),
        (name, ("mfcc",), None),
    ]
    np.testing.assert_array_equal(damaged.vectors["mfcc"][0], first.vectors["mfcc"][0])


def test_processes_agree(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH_PROCESSES", 1)
    alone = baseline_vectors(files, ["mfcc"], jobs=1, cache=tmp_path / "a")
    together = baseline_vectors(files, ["mfcc"], jobs=2, cache=tmp_path / "b")
    np.testing.assert_array_equal(alone.vectors["mfcc"], together.vectors["mfcc"])


def test_unknown_row(files: list[Path]) -> None:
    with pytest.raises(InputError, match="no baseline 'mfc'"):
        baseline_vectors(files, ["mfc"])
    assert baseline_vectors([], NAMES).vectors["mfcc"].shape == (0, 80)
