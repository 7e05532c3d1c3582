"""notes-pitch: balanced, held out cleanly, and what is labelled is what sounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.dataset import sources
from m2l2_mir.dataset.recipe import find_recipe
from m2l2_mir.dataset.rendered import notes
from m2l2_mir.dataset.rendered.clips import SAMPLE_RATE, ClipSet, render_clip
from m2l2_mir.dataset.rendered.instruments import instrument
from m2l2_mir.dataset.rendered.soundfont import Soundfont, training_soundfont
from m2l2_mir.dataset.split import make_manifest
from m2l2_mir.errors import InputError

FONTS = [
    Soundfont(name=name, path=Path(name), sha256=name, licence="", heard_in_training=False) for name in ("one", "two")
]


def table(clip_set: ClipSet) -> pd.DataFrame:
    return pd.DataFrame([{"track_id": clip.track_id, **clip.labels} for clip in clip_set.clips])


@pytest.mark.parametrize(("size", "expected"), [("quick", 48), ("default", 1720), ("large", 8600)])
@pytest.mark.parametrize("fonts", [FONTS, FONTS[:1]], ids=["two fonts", "one font"])
def test_every_instrument_plays_every_pitch_equally_often(size: str, expected: int, fonts: list[Soundfont]) -> None:
    count = find_recipe("notes-pitch")[1].sizes[size]
    tracks = table(notes.clips(count=count, seed=3, fonts=fonts))
    assert 0.8 * expected <= len(tracks) <= expected
    assert tracks["track_id"].is_unique
    main = tracks[tracks["soundfont"] == "one"]
    crossed = pd.crosstab(main["instrument"], main["pitch"])
    assert crossed.to_numpy().min() == crossed.to_numpy().max()
    assert main["family"].nunique() == 9
    assert (tracks["group"] == tracks["instrument"]).all()
    for row in main.itertuples():
        assert instrument(row.instrument).low <= row.pitch <= instrument(row.instrument).high
    if size == "default":  # velocity tells nothing about pitch: the correlation of chance is below 0.08
        assert abs(np.corrcoef(main["velocity"], main["pitch"])[0, 1]) < 0.08
        played = main.pivot(index="pitch", columns="instrument", values="velocity")
        assert len(np.unique(played.to_numpy().T, axis=0)) == played.shape[1]  # no two instruments alike
        for velocities in played.to_numpy().T:
            counts = np.unique_counts(velocities).counts
            assert len(counts) == len(notes.VELOCITIES)
            assert counts.max() - counts.min() <= 1
            assert not (velocities[5:] == velocities[:-5]).all()  # not a cycle of pitches
        for velocities in played.to_numpy():
            assert np.unique_counts(velocities).counts.min() >= played.shape[1] // len(notes.VELOCITIES)


@pytest.mark.parametrize("split", ["instruments", "families", "soundfont"])
def test_splits_hold_out_instruments(split: str) -> None:
    recipe = find_recipe("notes-pitch")[1]
    clip_set = notes.clips(count=recipe.sizes["quick"], seed=0, fonts=FONTS)
    tracks = table(clip_set)
    manifest = make_manifest(
        tracks,
        clip_set.dropped,
        dataset="notes-pitch",
        label="pitch",
        split_name=split,
        split=recipe.splits[split],
        seed=0,
    )
    rotations = list(manifest.rotations())
    assert len(rotations) == {"instruments": 5, "families": 9, "soundfont": 1}[split]
    for rotation in rotations:
        train, test = (tracks[tracks["track_id"].isin(ids)] for ids in (rotation.train, rotation.test))
        assert set(train["pitch"]) == set(test["pitch"])
        assert not set(train["instrument"]) & set(test["instrument"])
        assert set(train["soundfont"]) == {"one"}
        assert set(test["soundfont"]) == {"two" if split == "soundfont" else "one"}
        if split == "soundfont":
            assert set(test["instrument"]) == set(tracks.loc[tracks["instrument_fold"] == "1", "instrument"])
            assert len(train) == 4 * 8


def test_every_soundfont_heard_in_training_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = replace(FONTS[1], heard_in_training=True)
    monkeypatch.setattr(sources, "probe_soundfonts", lambda: (FONTS[0], heard))
    monkeypatch.setattr("m2l2_mir.dataset.rendered.soundfont.VERIFIED", {"one": "one", "two": "two"})
    recipe = find_recipe("notes-pitch")[1]
    _, _, said = sources.render_plan(recipe, cache=None, size="quick", seed=0, progress=None)
    assert said == ("8 of 48 clips rendered with two: soundfont heard in training",)
    monkeypatch.setattr(sources, "probe_soundfonts", lambda: (heard,))
    _, _, [note] = sources.render_plan(recipe, cache=None, size="quick", seed=0, progress=None)
    assert note.startswith("rendered with two: soundfont heard in training; apt-get install")


def test_one_soundfont_has_no_soundfont_split() -> None:
    tracks = table(notes.clips(count=48, seed=0, fonts=FONTS[:1]))
    assert tracks["soundfont_fold"].isna().all()


def test_seed_decides_and_too_few_are_refused() -> None:
    first, again, other = (table(notes.clips(count=48, seed=seed, fonts=FONTS)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert set(first["track_id"]) != set(other["track_id"])
    with pytest.raises(InputError, match="at least 12 clips: 11"):
        notes.clips(count=11, seed=0, fonts=FONTS)


def test_level_is_the_same_whatever_pitch_and_velocity() -> None:
    pytest.importorskip("midirenderer")
    clip_set = notes.clips(count=48, seed=0, fonts=[training_soundfont()])
    for clip in clip_set.clips[::3]:
        waveform = render_clip(clip)
        assert len(waveform) == 4 * SAMPLE_RATE
        assert 20 * np.log10(np.sqrt(np.mean(waveform**2))) == pytest.approx(notes.LEVEL_DBFS, abs=0.1)
