"""Rendered audio with known musical truth: pitch, onsets, chords, keys, and the same samples twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2l2_mir.dataset.rendered import corpus, demo, scores, synthesizer
from m2l2_mir.dataset.rendered.soundfont import training_soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note, notes_to_midi, render
from m2l2_mir.errors import InputError, M2L2Error

pytest.importorskip("midirenderer")
pytest.importorskip("pretty_midi")
PIANO, ORGAN, GUITAR, VIOLIN, XYLOPHONE = 0, 19, 24, 40, 13


@pytest.fixture(scope="module")
def soundfont() -> Path:
    return training_soundfont().path


def strongest_frequency(waveform: np.ndarray, sample_rate: int, near: float) -> float:
    """Frequency in Hz of the highest spectral peak within two semitones of ``near``."""
    size = 2**20  # zero-padded: 0.05 Hz a bin
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), size))
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    allowed = np.abs(np.log2(np.maximum(frequencies, 1) / near)) < 2 / 12
    return float(frequencies[np.where(allowed, spectrum, 0).argmax()])


@pytest.mark.parametrize("program", [PIANO, ORGAN, GUITAR, VIOLIN])
@pytest.mark.parametrize("pitch", [33, 69, 96])
def test_in_tune(soundfont: Path, program: int, pitch: int) -> None:
    sample_rate = 44_100
    waveform = render([Note(0.1, 2.0, pitch, 100, program)], soundfont, sample_rate=sample_rate)
    expected = 440 * 2 ** ((pitch - 69) / 12)
    found = strongest_frequency(waveform.mean(axis=0)[sample_rate // 4 : 2 * sample_rate], sample_rate, expected)
    assert abs(1200 * np.log2(found / expected)) < 10


def test_onsets_within_three_milliseconds(soundfont: Path) -> None:
    onsets = [0.25, 1.0, 1.777, 3.1]
    notes = [Note(onset, 0.2, 84, 110, XYLOPHONE) for onset in onsets]
    sample_rate = 22_050
    loudness = np.abs(render(notes, soundfont, sample_rate=sample_rate)).max(axis=0)
    for onset in onsets:
        start = round((onset - 0.1) * sample_rate)
        window = loudness[start : start + round(0.2 * sample_rate)]
        before = window[: round(0.09 * sample_rate)].max()
        first = np.argmax(window > max(2 * before, 0.1 * window.max()))
        assert abs((start + first) / sample_rate - onset) < 0.003


def test_same_samples_twice_and_exact_length(soundfont: Path) -> None:
    notes = [Note(0.0, 0.5, 60), Note(0.25, 0.5, 64, program=ORGAN)]
    first, second = (render(notes, soundfont, sample_rate=44_100, duration=1.237) for _ in range(2))
    assert first.shape == (2, round(1.237 * 44_100))
    assert first.dtype == np.float32
    midi = notes_to_midi(notes, duration=1.0)
    assert render(midi, soundfont, sample_rate=44_100, duration=1.237).shape == first.shape
    assert render(midi, soundfont, sample_rate=44_100, duration=0.5).shape == (2, 22_050)
    np.testing.assert_array_equal(first, second)


def test_two_parts_on_one_pitch_do_not_cut_each_other(soundfont: Path) -> None:
    short, long = Note(0.0, 0.3, 60, 90, ORGAN, part=1), Note(0.0, 2.0, 60, 90, ORGAN, part=0)
    waveform = render([short, long], soundfont, sample_rate=48_000)
    assert np.abs(waveform[:, 48_000:80_000]).max() > 0.01


def test_repeated_note_sounds_again(soundfont: Path) -> None:
    # The second note starts where the first one ends: its note-on must come after that note-off.
    waveform = render([Note(0.0, 1.0, 60, 90, ORGAN), Note(1.0, 1.0, 60, 90, ORGAN)], soundfont, sample_rate=48_000)
    assert np.abs(waveform[:, 70_000:90_000]).max() > 0.01


def test_delta_times_cross_seven_bits() -> None:
    # 1 s is 48,000 ticks: 0x82 0xF7 0x00 as a variable-length quantity, then note-on A4.
    assert bytes([0x82, 0xF7, 0x00, 0x90, 69, 80]) in notes_to_midi([Note(1.0, 0.5, 69)])


def test_bad_input_is_one_line(soundfont: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="MIDI"):
        render(b"not a MIDI file", soundfont, sample_rate=44_100)
    with pytest.raises(InputError, match="cannot read the soundfont"):
        render([Note(0, 1, 60)], tmp_path / "none.sf2", sample_rate=44_100)
    with pytest.raises(InputError, match="0 to 127"):
        Note(0, 1, 128)


def test_missing_extra_names_the_command() -> None:
    with pytest.raises(M2L2Error, match=r'pip install "m2l2-mir\[render\]"'):
        synthesizer.require_extra("no_such_package_of_the_extra")


@pytest.mark.parametrize("piece", demo.PIECES, ids=lambda piece: piece.slug)
def test_pieces_are_in_the_key_the_table_says(piece: demo.Piece) -> None:
    pytest.importorskip("music21")
    names = {"C": 0, "D": 2, "E flat": 3, "E": 4, "F": 5, "G": 7, "A": 9, "B flat": 10}
    assert scores.stated_key(corpus.load(piece.score)) == (names[piece.tonic], piece.mode)
    voices = {note.part for note in demo.piece_notes(piece)}
    assert voices == ({0, 1, 2, 3} if piece.style == "chorale" else {0, 1, 2})


def test_tune_starts_and_is_accompanied_in_its_key() -> None:
    pytest.importorskip("music21")
    notes = scores.tune_with_chords("ryansMammoth/LanigansBallJig", quarters_per_minute=120)
    first_bass = next(note for note in notes if note.part == 2)
    assert first_bass.pitch % 12 == 4  # E
    assert first_bass.onset == pytest.approx(0.25)  # after a pick-up of an eighth
    chord = [note.pitch % 12 for note in notes if note.part == 1][:3]
    assert set(chord) == {4, 7, 11}  # E minor


def test_drums_play_beside_a_full_set_of_parts(soundfont: Path) -> None:
    notes = [Note(0.0, 0.1, 60 + part, part=part) for part in range(15)]
    assert bytes([0x99, 36, 80]) in notes_to_midi([*notes, Note(0.0, 0.1, 36, drum=True, part=99)])
    with pytest.raises(InputError, match="room for 15"):
        notes_to_midi([*notes, Note(0.0, 0.1, 36, part=99)])
    kick, tone = (render([Note(0.0, 0.5, 36, 100, drum=drum)], soundfont, sample_rate=44_100) for drum in (True, False))
    assert np.abs(kick[:, :4410]).max() > 3 * np.abs(kick[:, 22_050:]).max()  # over when a note would still sound
    assert np.abs(tone[:, :4410]).max() < 2 * np.abs(tone[:, 15_000:22_050]).max()


def test_demo_tracks_are_level_and_whole(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    table = demo.demo_tracks(tmp_path, quick=True)
    assert (table["piece"].nunique(), table["instrument"].nunique(), len(table)) == (2, 3, 6)
    for path in table["path"]:
        waveform, sample_rate = soundfile.read(path)
        assert (sample_rate, len(waveform)) == (44_100, 6 * 44_100)
        assert 20 * np.log10(np.sqrt(np.mean(waveform**2))) == pytest.approx(-20, abs=0.5)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(Path(p).name for p in table["path"])
