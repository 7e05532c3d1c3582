"""What the score tells, as rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.rendered.clips import Clip
from m2l2_mir.dataset.rendered.soundfont import Soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note
from m2l2_mir.errors import ConfigError
from m2l2_mir.probe.oracles import oracle_rows


def test_rows_of_the_score(dataset: Dataset) -> None:
    font = Soundfont(name="any", path=Path("any.sf2"), sha256="", licence="", heard_in_training=False)
    # A bass in part 1 that ends on G2, under a melody that ends later on C5, and a drum that counts for nothing.
    notes = (
        Note(0.0, 1.0, 48, part=1),
        Note(1.0, 2.0, 43, part=1),
        Note(0.0, 1.0, 76),
        Note(2.0, 1.0, 72),
        Note(2.5, 0.1, 36, drum=True, part=9),
    )
    clips = [Clip(track_id=track, notes=notes, seconds=3.0, soundfont=font) for track in dataset.tracks["track_id"]]
    meters = np.array(["6/8", "9/8", "4/4"])[np.arange(120) % 3]
    rendered = replace(dataset, clips=clips, tracks=dataset.tracks.assign(meter=meters))
    metre, bass, register = oracle_rows(rendered, ("metre", "last bass note", "register"))
    assert [row.name for row in (metre, bass)] == ["oracle: metre", "oracle: last bass note"]
    assert metre.load(0).sum(axis=0).tolist() == [40, 40, 40]
    assert bass.load(0)[0].argmax() == 7
    np.testing.assert_allclose(register.load(0)[0], [43, 76, 59.75, np.std([48, 43, 76, 72])])
    assert {row.kind for row in (metre, bass, register)} == {"control"}


def test_a_metre_that_is_not_known_costs_neither_the_row_nor_the_track(dataset: Dataset) -> None:
    meters = np.array(["6/8", "4/4"], dtype=object)[np.arange(120) % 2]
    meters[[3, 5, 7]] = None
    [metre] = oracle_rows(replace(dataset, tracks=dataset.tracks.assign(meter=meters)), ("metre",))
    assert (sorted(metre.load(0).sum(axis=0).tolist()), metre.failed) == ([3, 57, 60], {})
    assert metre.note == "oracle: metre: not known of 3 of 120 tracks, a class of its own"
    assert oracle_rows(replace(dataset, tracks=dataset.tracks.assign(meter=None)), ("metre",)) == []


def test_none_without_a_score(dataset: Dataset) -> None:
    assert oracle_rows(dataset, ("metre", "last bass note", "register")) == []
    with pytest.raises(ConfigError, match="no oracle 'meter'; did you mean 'metre'"):
        oracle_rows(dataset, ("meter",))
