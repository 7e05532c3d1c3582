"""Clips: their audio follows from their content, whatever renders them, and is what the clip says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2l2_mir.dataset.dataset import load_dataset
from m2l2_mir.dataset.rendered.clips import SAMPLE_RATE, Clip, clip_fault, clip_path, render_clip, render_clips
from m2l2_mir.dataset.rendered.soundfont import VERIFIED, probe_soundfonts, training_soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note
from m2l2_mir.errors import InputError, MissingExtraError

pytest.importorskip("midirenderer")
pytest.importorskip("pretty_midi")
PIANO, ORGAN = 0, 19


def clip(**changes: object) -> Clip:
    notes = (Note(0.0, 0.4, 60), Note(0.5, 0.4, 67))
    return replace(Clip(track_id="a", notes=notes, seconds=1.0, soundfont=training_soundfont()), **changes)


def rms_db(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(waveform**2)))


def test_hash_follows_the_content_and_nothing_else() -> None:
    base = clip()
    assert base.sha256 == clip(track_id="b", labels={"key": "C major"}, notes=base.notes[::-1]).sha256
    others = [
        clip(seconds=1.5),
        clip(reverb_seconds=1.0),
        clip(level_dbfs=-20.0),
        clip(level_dbfs=None),
        clip(notes=base.notes[:1]),
        clip(notes=(replace(base.notes[0], drum=True), base.notes[1])),
        clip(soundfont=replace(base.soundfont, sha256="0" * 64)),
    ]
    assert len({other.sha256 for other in [base, *others]}) == len(others) + 1


def test_same_bytes_in_one_process_and_in_two_and_rendered_once(tmp_path: Path) -> None:
    clips = [clip(notes=(Note(0.0, 0.5, pitch),)) for pitch in (60, 62, 64, 62)]
    told: list[tuple[int, int]] = []
    parallel = render_clips(clips, cache=tmp_path / "two", jobs=2, progress=lambda *count: told.append(count))
    alone = render_clips(clips, cache=tmp_path / "one", jobs=1)
    assert told == [(1, 3), (2, 3), (3, 3)]  # equal clips are one file
    assert parallel[1] == parallel[3] == clip_path(clips[1], tmp_path / "two")
    for one, two in zip(alone, parallel, strict=True):
        assert one.read_bytes() == two.read_bytes()
    times = [path.stat().st_mtime_ns for path in parallel]
    render_clips(clips, cache=tmp_path / "two", progress=lambda *count: told.append(count))
    assert [path.stat().st_mtime_ns for path in parallel] == times
    assert len(told) == 3


def test_length_level_and_format(tmp_path: Path) -> None:
    seconds = 32_768 / SAMPLE_RATE
    [path] = render_clips([clip(seconds=seconds, level_dbfs=-30.0)], cache=tmp_path, jobs=1)
    waveform, rate = soundfile.read(path, always_2d=True)
    assert (rate, waveform.shape) == (SAMPLE_RATE, (32_768, 1))
    assert rms_db(waveform) == pytest.approx(-30, abs=0.05)
    assert np.abs(waveform[[0, -1]]).max() < 1e-4
    assert np.abs(render_clip(clip(level_dbfs=0.0))).max() == pytest.approx(0.99)  # as loud as it can be


def test_a_note_that_began_before_is_heard_from_where_it_has_got_to() -> None:
    whole = render_clip(clip(notes=(Note(0.0, 2.0, 60),), seconds=2.0, level_dbfs=None))
    later = render_clip(clip(notes=(Note(-1.0, 2.0, 60),), seconds=1.0, level_dbfs=None))
    inside = slice(400, -400)  # away from the fades
    np.testing.assert_allclose(later[inside], whole[SAMPLE_RATE:][inside], atol=1e-4)


def test_the_room_decays_in_the_time_it_says() -> None:
    click = clip(notes=(Note(0.0, 0.01, 42, 127, drum=True),), seconds=2.0, level_dbfs=None)
    room = render_clip(replace(click, reverb_seconds=1.0)) - render_clip(click)
    energy = np.cumsum(room[::-1] ** 2)[::-1]  # Schroeder's integral
    curve = 10 * np.log10(np.maximum(energy / energy[0], 1e-12))
    fall = [np.argmax(curve < level) / SAMPLE_RATE for level in (-5, -35)]
    assert 2 * (fall[1] - fall[0]) == pytest.approx(1.0, abs=0.1)
    assert rms_db(render_clip(replace(click, reverb_seconds=2.0))) > rms_db(render_clip(click)) + 1


def test_silence_stays_silence() -> None:
    assert not render_clip(clip(notes=())).any()


def test_soundfonts_have_roles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "FluidR3_GM.sf2"
    own.write_bytes(b"only hashed here")
    monkeypatch.setenv("M2L2_SOUNDFONT", str(own))
    first, second = probe_soundfonts()
    assert first.name == f"FluidR3_GM-{first.sha256[:8]}"  # by content, not by name
    assert not first.heard_in_training
    assert first.note == f"rendered with {first.name}: tuning not proven for this soundfont"
    assert second == training_soundfont()
    assert second.note == "rendered with TimGM6mb: soundfont heard in training"
    verified = {**VERIFIED, first.sha256: "FluidR3_GM"}
    monkeypatch.setattr("m2l2_mir.dataset.rendered.soundfont.VERIFIED", verified)
    assert (probe_soundfonts()[0].name, probe_soundfonts()[0].note) == ("FluidR3_GM", "")
    link = tmp_path / "default-GM.sf2"
    link.symlink_to(second.path)
    monkeypatch.setenv("M2L2_SOUNDFONT", str(link))
    assert probe_soundfonts() == (second,)
    monkeypatch.setenv("M2L2_SOUNDFONT", str(tmp_path))
    with pytest.raises(InputError, match="names a folder"):
        probe_soundfonts()
    monkeypatch.setenv("M2L2_SOUNDFONT", str(tmp_path / "none.sf2"))
    with pytest.raises(InputError, match=r"none\.sf2"):
        probe_soundfonts()
    monkeypatch.setenv("M2L2_SOUNDFONT", str(own.rename(tmp_path / "FluidR3Mono_GM.sf3")))
    with pytest.raises(InputError, match=r"only \.sf2"):
        probe_soundfonts()
    monkeypatch.delenv("M2L2_SOUNDFONT")
    monkeypatch.setattr("m2l2_mir.dataset.rendered.soundfont._FLUID_PLACES", ())
    assert probe_soundfonts() == (training_soundfont(),)
    monkeypatch.setattr("m2l2_mir.dataset.rendered.soundfont.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "m2l2-mir\[render\]"'):
        training_soundfont()


def test_a_damaged_or_swapped_clip_is_found_and_rendered_again(tmp_path: Path) -> None:
    clips = [clip(notes=(Note(0.0, 0.9, pitch),)) for pitch in (60, 62, 64, 65)]
    paths = render_clips(clips, cache=tmp_path, jobs=1)
    whole = [path.read_bytes() for path in paths]
    assert [clip_fault(*pair) for pair in zip(clips, paths, strict=True)] == [""] * 4
    paths[0].write_bytes(whole[1])
    paths[1].write_bytes(b"")
    paths[2].write_bytes(whole[2][: len(whole[2]) // 3])
    paths[3].unlink()
    faults = [clip_fault(*pair) for pair in zip(clips, paths, strict=True)]
    assert faults[0] == "another clip"
    assert faults[1].startswith("damaged")
    assert faults[2]
    assert faults[3] == "missing"
    render_clips(clips, cache=tmp_path, jobs=1)  # what a look at the headers finds
    assert [path.read_bytes() == content for path, content in zip(paths, whole, strict=True)] == [
        True,
        True,
        False,
        True,
    ]
    render_clips(clips, cache=tmp_path, jobs=1, decode=True)
    assert [path.read_bytes() for path in paths] == whole


def test_one_id_never_means_two_sounds() -> None:
    tables = [load_dataset("factors", size="quick", seed=seed).tracks for seed in (0, 1)]
    sounds: dict[str, set[str]] = {}
    for table in tables:
        for track_id, audio in zip(table["track_id"], table["audio"], strict=True):
            sounds.setdefault(track_id, set()).add(audio)
    assert all(len(audio) == 1 for audio in sounds.values())
    assert len(sounds) > len(tables[0])
