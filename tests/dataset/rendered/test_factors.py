"""factors: independent, balanced, and pairs that differ in one thing only."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mutual_info_score

from m2l2_mir.dataset.recipe import find_recipe
from m2l2_mir.dataset.rendered import factors
from m2l2_mir.dataset.rendered.clips import Clip, ClipSet, render_clip
from m2l2_mir.dataset.rendered.factors import FACTORS, LENGTHS, LEVELS_DBFS, factors_of
from m2l2_mir.dataset.rendered.instruments import instrument
from m2l2_mir.dataset.rendered.soundfont import Soundfont, training_soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note
from m2l2_mir.dataset.split import make_manifest
from m2l2_mir.errors import InputError

FONT = Soundfont(name="font", path=Path("font"), sha256="font", licence="", heard_in_training=False)
RECIPE = find_recipe("factors")[1]


def table(clip_set: ClipSet) -> pd.DataFrame:
    return pd.DataFrame([{"track_id": clip.track_id, **clip.labels} for clip in clip_set.clips])


@pytest.fixture(scope="module")
def clip_set() -> ClipSet:
    return factors.clips(count=2000, seed=5, fonts=[FONT])


@pytest.fixture(scope="module")
def tracks(clip_set: ClipSet) -> pd.DataFrame:
    return table(clip_set)


@pytest.mark.parametrize("length", LENGTHS)
def test_factors_are_balanced_and_independent(tracks: pd.DataFrame, length: int) -> None:
    rng = np.random.default_rng(0)
    factorial = tracks[(tracks["kind"] == "factorial") & (tracks["chunks"] == length)]
    names = [factor.column for factor in factors_of(length)]
    for factor in factors_of(length):
        counts = np.bincount(factorial[factor.column].astype(int), minlength=len(factor.values))
        assert counts.max() - counts.min() <= 1
        assert len(counts) == len(factor.values)
    columns = {name: factorial[name].to_numpy().astype(int) for name in names}
    columns["group"] = pd.factorize(factorial["group"])[0]
    pairs = list(combinations(columns.values(), 2))
    found = [mutual_info_score(*pair) for pair in pairs]
    # the largest of as many pairs under permutation, 200 times: independent factors pass with 99.5 %
    bound = max(max(mutual_info_score(rng.permutation(a), b) for a, b in pairs) for _ in range(200 // len(pairs) + 1))
    assert max(found) < 1.1 * bound


def test_one_factor_differs_in_a_pair_and_nothing_else(clip_set: ClipSet, tracks: pd.DataFrame) -> None:
    sides: dict[str, dict[str, Clip]] = {}
    for clip in clip_set.clips:
        if clip.labels["kind"] == "pair":
            sides.setdefault(clip.labels["pair"], {})[clip.labels["side"]] = clip
    counts = tracks[tracks["side"] == "before"].groupby(["chunks", "changed"]).size()
    assert set(counts) == {22}
    assert len(counts) == sum(len(factor.lengths) for factor in FACTORS)
    for pair in sides.values():
        before, after = pair["before"], pair["after"]
        changed = before.labels["changed"]
        length = before.labels["chunks"]
        different = [
            factor.name for factor in factors_of(length) if before.labels[factor.column] != after.labels[factor.column]
        ]
        assert different == [changed]
        assert before.labels["group"] == after.labels["group"]
        assert before.sha256 != after.sha256
        assert undone(before, after, changed) == before.notes
        for attribute, factor in (("level_dbfs", "level"), ("reverb_seconds", "reverb")):
            assert (getattr(before, attribute) == getattr(after, attribute)) == (changed != factor)
        assert before.seconds == after.seconds == pytest.approx(length * 32_768 / 44_100)


def undone(before: Clip, after: Clip, changed: str) -> tuple[Note, ...]:
    """Notes of `after` with what the factor may change set back to what it was in `before`."""
    old, new = before.notes, after.notes
    if changed == "drums":
        pitched = [tuple(note for note in notes if not note.drum) for notes in (old, new)]
        assert pitched[0] == pitched[1]
        assert {len(old), len(new)} == {len(pitched[0]), max(len(old), len(new))}
        return old
    if changed in ("tempo", "rhythm"):  # other notes come into the clip or fall out of it
        check = same_music if changed == "tempo" else same_but_melody
        check(before, after)
        return old
    assert len(old) == len(new)
    pairs = list(zip(old, new, strict=True))
    if changed == "instrument":
        return tuple(b if b.drum else replace(b, program=a.program) for a, b in pairs)
    steps = {b.pitch - a.pitch for a, b in pairs if not a.drum}
    if changed == "register":
        assert len(steps) == 1
        assert steps <= {-24, -12, 12, 24}
    elif changed == "tonic":
        assert len(steps) == 1
        assert 0 < abs(steps.pop()) < 12
    elif changed == "mode":
        assert steps <= {-1, 0, 1}
    elif changed == "position":
        assert [a.onset != b.onset for a, b in pairs] == [True] + [False] * (len(pairs) - 1)
        return (replace(new[0], onset=old[0].onset), *new[1:])
    elif changed in ("pitch", "chord", "contour"):
        assert {a.part for a, b in pairs if a.pitch != b.pitch} == {1 if changed == "chord" else 0}
    else:
        assert changed in ("level", "reverb")
        return new
    return tuple(b if b.drum else replace(b, pitch=a.pitch) for a, b in pairs)


def in_beats(clip: Clip, *, melody: bool = True) -> dict[tuple[float, int, int, bool], Note]:
    beat = 60 / clip.labels["tempo"]
    notes = [note for note in clip.notes if melody or note.part or note.drum]
    return {(round(note.onset / beat, 6), note.pitch, note.part, note.drum): note for note in notes}


def same_music(before: Clip, after: Clip) -> None:
    """At another tempo, every note that the slower clip has is in the faster one, at the same beat."""
    slow, fast = sorted((before, after), key=lambda clip: clip.labels["tempo"])
    assert set(in_beats(slow)) < set(in_beats(fast))


def same_but_melody(before: Clip, after: Clip) -> None:
    assert in_beats(before, melody=False) == in_beats(after, melody=False)
    onsets = [{note.onset for note in clip.notes if not note.part and not note.drum} for clip in (before, after)]
    assert onsets[0] != onsets[1]


def test_contours_and_rhythms_share_pitches_and_density(clip_set: ClipSet) -> None:
    music = factors.music
    assert {tuple(sorted(contour)) for contour in music.CONTOURS.values()} == {(0, 1, 2, 3, 4)}
    assert {len(rhythm) for rhythm in music.RHYTHMS.values()} == {5}
    rotations = []
    for rhythm in music.RHYTHMS.values():
        steps = np.diff([*rhythm, 16]).tolist()
        rotations.append({tuple(steps[turn:] + steps[:turn]) for turn in range(5)})
    assert not any(a & b for a, b in combinations(rotations, 2))
    for clip in clip_set.clips:
        program = {note.program for note in clip.notes if not note.drum}
        player = instrument(clip.labels["instrument"])
        assert program == {player.program}
        assert all(player.low <= note.pitch <= player.high for note in clip.notes if not note.drum)


def test_labels_say_what_sounds(clip_set: ClipSet) -> None:
    for clip in clip_set.clips:
        labels = clip.labels
        if labels["chunks"] == 1:
            melody = next(note for note in clip.notes if note.part == 0 and not note.drum)
            assert labels["pitch"] == melody.pitch
            assert melody.pitch % 12 == labels["factor_pitch"]
            eighth = clip.seconds / 8
            assert labels["factor_position"] <= melody.onset / eighth < labels["factor_position"] + 1
            assert melody.onset + melody.duration <= clip.seconds
            chord = {note.pitch % 12 for note in clip.notes if note.part == 1}
            root = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9}[labels["chord"][0]]
            assert chord == {root, (root + (3 if labels["chord"][1:] else 4)) % 12, (root + 7) % 12}
        else:
            beat = 60 / labels["tempo"]
            onsets = sorted(note.onset for note in clip.notes if note.part == 2)
            assert np.diff(onsets) == pytest.approx(beat)
            assert onsets[0] < beat
            assert onsets[-1] > clip.seconds - beat - 1e-9
            third = {"major": 4, "minor": 3}[labels["mode"]]
            classes = {(note.pitch - labels["factor_tonic"]) % 12 for note in clip.notes if not note.drum}
            assert third in classes
            assert 7 - third not in classes
            assert 70 <= labels["tempo"] <= 180


def test_height_does_not_tell_pitch_or_tonic(clip_set: ClipSet) -> None:
    for factor, part in (("tonic", 2), ("pitch", 0)):
        found = []
        for clip in clip_set.clips:
            if clip.labels["kind"] == "factorial" and clip.labels.get(f"factor_{factor}") is not None:
                pitch = next(note.pitch for note in clip.notes if note.part == part and not note.drum)
                found.append((clip.labels[f"factor_{factor}"], pitch - 12 * clip.labels["factor_register"]))
        codes, heights = np.array(found).T
        assert abs(np.corrcoef(codes, heights)[0, 1]) < 0.25
        assert len(set(heights)) == {"tonic": 20, "pitch": 23}[factor]


def test_default_split_has_factorial_clips_only(clip_set: ClipSet, tracks: pd.DataFrame) -> None:
    assert next(iter(RECIPE.splits)) == "factorial"
    for name, chunks in (("factorial", {1, 8}), ("one-chunk", {1}), ("eight-chunks", {8})):
        manifest = make_manifest(
            tracks,
            clip_set.dropped,
            dataset="factors",
            label="instrument",
            split_name=name,
            split=RECIPE.splits[name],
            seed=0,
        )
        assert len(list(manifest.rotations())) == 5
        used = tracks[tracks["track_id"].isin(manifest.table["track_id"])]
        assert set(used["kind"]) == {"factorial"}
        assert set(used["chunks"]) == chunks
        assert len(used) == ((tracks["kind"] == "factorial") & tracks["chunks"].isin(chunks)).sum()
        assert (manifest.table.groupby("group")["fold"].nunique() == 1).all()


def test_splits_keep_seeds_and_combinations_apart(clip_set: ClipSet, tracks: pd.DataFrame) -> None:
    for name, label in (("grouped", "key"), ("combinations", "factor_drums")):
        manifest = make_manifest(
            tracks,
            clip_set.dropped,
            dataset="factors",
            label=label,
            split_name=name,
            split=RECIPE.splits[name],
            seed=0,
        )
        for rotation in manifest.rotations():
            train, test = (tracks[tracks["track_id"].isin(ids)] for ids in (rotation.train, rotation.test))
            assert not set(train["group"]) & set(test["group"])
            if name == "combinations":
                seen, new = ({*zip(part["instrument"], part["register"], strict=True)} for part in (train, test))
                assert not seen & new
                assert len(seen | new) == 24
                assert set(train["instrument"]) == set(test["instrument"])
                assert set(train["register"]) == set(test["register"])


def test_sizes_seeds_and_groups() -> None:
    quick = table(factors.clips(count=RECIPE.sizes["quick"], seed=0, fonts=[FONT]))
    assert len(quick) == 136
    assert (quick["kind"] == "factorial").sum() == 64
    assert (quick.groupby("chunks")["group"].nunique() == 6).all()
    assert quick["track_id"].is_unique
    assert quick[quick["kind"] == "pair"]["group"].nunique() == 12  # spread over all, few as they are
    pd.testing.assert_frame_equal(quick, table(factors.clips(count=136, seed=0, fonts=[FONT])))
    assert not quick.equals(table(factors.clips(count=136, seed=1, fonts=[FONT])))
    with pytest.raises(InputError, match="at least 116 clips: 115"):
        factors.clips(count=115, seed=0, fonts=[FONT])


def test_level_follows_its_factor_alone() -> None:
    pytest.importorskip("midirenderer")
    planned = factors.clips(count=136, seed=0, fonts=[training_soundfont()]).clips
    loudest = [clip for clip in planned if clip.level_dbfs == LEVELS_DBFS[-1]]
    for clip in [*loudest[:8], *planned[:4], *planned[-4:]]:
        waveform = render_clip(clip)
        assert len(waveform) == clip.labels["chunks"] * 32_768
        assert 20 * np.log10(np.sqrt(np.mean(waveform**2))) == pytest.approx(clip.level_dbfs, abs=0.1)
