"""Altered tracks sound as they should, and are called, kept and counted as stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import load, save
from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.dataset.rendered.clips import Clip
from m2l2_mir.dataset.rendered.soundfont import Soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note
from m2l2_mir.errors import InputError
from m2l2_mir.probe.alteration import LONGEST_SECONDS, Alteration, altered_dataset, can_alter

UP = Alteration(kind="transposition", amount=3)
FASTER = Alteration(kind="stretch", amount=1.25)


@pytest.fixture
def tones(tmp_path: Path) -> Dataset:
    """Two tones of 2 s at 440 Hz, one of them too long to alter, and a file that is missing."""
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(32000) / 16000)
    save(tmp_path / "a.wav", tone[None], 16000)
    save(tmp_path / "b.wav", np.zeros((1, 8000 * (int(LONGEST_SECONDS) + 1))), 8000)
    names = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], "key": ["A major"] * 3})
    names.to_csv(tmp_path / "my.csv", index=False)
    return load_dataset(f"table:{tmp_path / 'my.csv'}")


def peak(waveform: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(waveform[0]))) * rate / waveform.shape[1])


def test_a_tone_goes_up_or_is_shorter(tones: Dataset) -> None:
    altered = altered_dataset(tones, [0], [UP, FASTER], means="vocoder", jobs=1)
    assert altered.tracks["track_id"].tolist() == ["a.wav@+3", "a.wav@x1.25"]
    assert altered.tracks["key"].tolist() == ["A major"] * 2
    (higher, rate), (shorter, _) = (load(path) for path in altered.tracks["path"])
    assert rate == 16000
    assert higher.shape == (1, 32000)
    assert peak(higher, rate) == pytest.approx(440 * 2 ** (3 / 12), rel=0.01)
    assert shorter.shape == (1, 25600)
    assert peak(shorter, rate) == pytest.approx(440, rel=0.01)


def test_files_are_kept(tones: Dataset) -> None:
    [path] = altered_dataset(tones, [0], [UP], means="vocoder", jobs=1).tracks["path"]
    before = Path(path).stat().st_mtime_ns
    told = []
    again = altered_dataset(tones, [0], [UP], means="vocoder", jobs=1, progress=lambda *done: told.append(done))
    assert (again.tracks["path"].tolist(), told, Path(path).stat().st_mtime_ns) == ([path], [], before)


def test_what_cannot_be_altered(tones: Dataset) -> None:
    assert can_alter(tones, "vocoder").tolist() == [True, False, False]
    assert not can_alter(tones, "rendering").any()
    with pytest.raises(InputError, match=r"is not rendered.*--by vocoder"):
        altered_dataset(tones, [0], [UP], means="rendering")
    with pytest.raises(InputError, match="stretch by 0 is no factor"):
        Alteration(kind="stretch", amount=0)


def test_notes_move_and_drums_stay() -> None:
    font = Soundfont(name="any", path=Path("any.sf2"), sha256="", licence="", heard_in_training=False)
    notes = (Note(-0.5, 1.0, 60), Note(2.0, 0.5, 38, drum=True))
    clip = Clip(track_id="t", notes=notes, seconds=10.0, soundfont=font)
    assert [note.pitch for note in UP.of_clip(clip).notes] == [63, 38]
    assert UP.of_clip(clip).seconds == 10
    faster = FASTER.of_clip(clip)
    assert (faster.seconds, [(note.onset, note.duration) for note in faster.notes]) == (8, [(-0.4, 0.8), (1.6, 0.4)])
    assert len({clip.sha256, faster.sha256, UP.of_clip(clip).sha256}) == 3
