"""Identical audio: the same sound is found in whatever file it is, and another sound is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from m2l2_mir.audit.duplicates import fingerprints, identical_sets


def test_the_same_sound_in_other_files(tmp_path: Path, rng: np.random.Generator) -> None:
    sound = (rng.normal(size=8000) * 3000).astype(np.int16)  # integers: rounding differs between formats
    for name, samples, rate in (
        ("a.wav", sound, 16000),
        ("tagged + ü.flac", sound, 16000),  # lossless, another container
        ("stereo.wav", np.stack([sound, sound], axis=1), 16000),
        ("rate.wav", sound, 8000),  # the same numbers, an octave lower
        ("gain.wav", sound // 2, 16000),
        ("shorter.wav", sound[:-1], 16000),
        ("left.wav", np.stack([sound, 0 * sound], axis=1), 16000),
        ("right.wav", np.stack([0 * sound, sound], axis=1), 16000),
    ):
        soundfile.write(tmp_path / name, samples, rate, subtype="PCM_16")
    shutil.copy(tmp_path / "a.wav", tmp_path / "copy.wav")
    (tmp_path / "broken.wav").write_bytes(b"no audio at all")
    names = [
        "a.wav",
        "tagged + ü.flac",
        "stereo.wav",
        "copy.wav",
        "rate.wav",
        "gain.wav",
        "shorter.wav",
        "left.wav",
        "right.wav",
        "broken.wav",
        "gone.wav",
    ]
    told: list[tuple[int, int]] = []
    paths = [*(str(tmp_path / name) for name in names), ""]
    found = fingerprints(paths, jobs=2, progress=lambda *counts: told.append(counts))
    assert told == [(done, 11) for done in range(1, 12)]
    assert found["samples"].iloc[:9].map(len).tolist() == [64] * 9
    assert identical_sets(found[["samples"]]) == [(0, 1, 2, 3), (7, 8)]
    assert identical_sets(found[["file"]]) == [(0, 3)]
    assert found["problem"].tolist()[:9] == [""] * 9
    assert found["problem"].tolist()[10:] == ["missing", "missing"]
    assert "broken.wav: cannot be read as audio" in found["problem"][9]
    assert found["file"][9] != ""


def test_sets_are_joined_through_other_tracks() -> None:
    keys = pd.DataFrame(
        {"file": ["a", "", "b", "a", "c"], "samples": ["", "x", "y", "x", ""], "md5": ["", "", "", "", "m"]}
    )
    assert identical_sets(keys) == [(0, 1, 3)]
    assert identical_sets(keys.iloc[:0]) == []
