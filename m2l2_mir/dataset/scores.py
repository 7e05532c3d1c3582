"""Scores of the music21 corpus as notes: chorales part by part, dance tunes with an accompaniment.

Conventions
-----------
* Quarter notes turn into seconds at a fixed tempo, given in quarters per minute: no rubato, no fermatas.
* Repeats are not unfolded and grace notes are left out.
* Part 0 is the melody. A chorale has parts 0 to 3 from soprano to bass; a tune has the chords in part 1 and
  the bass in part 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from m2l2_mir.dataset.rendering import Note, require_extra
from m2l2_mir.errors import InputError

MELODY_VELOCITY = 92
INNER_VELOCITY = 78
BASS_VELOCITY = 84

# Triads a fiddle tune gets along with, as (semitones of the root above the tonic, third). The tonic weighs
# more: melodies pass through its neighbours all the time without the harmony leaving it.
_TRIADS = {
    "major": [(0, 4), (7, 4), (5, 4)],
    "minor": [(0, 3), (10, 4), (7, 4), (5, 3)],
}
_TONIC_WEIGHT = 1.25


def chorale(name: str, *, quarters_per_minute: float) -> list[Note]:
    """Notes of a chorale, one part per voice.

    Parameters
    ----------
    name : str
        In the music21 corpus, such as ``"bach/bwv358"``.
    quarters_per_minute : float

    Returns
    -------
    list of Note
        By onset.
    """
    seconds = 60.0 / quarters_per_minute
    parts = list(_parse(name).parts)
    notes = []
    for index, part in enumerate(parts):
        inner = 0 < index < len(parts) - 1
        velocity = INNER_VELOCITY if inner else MELODY_VELOCITY if index == 0 else BASS_VELOCITY
        for start, length, pitch in _melody(part):
            notes.append(Note(start * seconds, length * seconds, pitch, velocity, part=index))
    return sorted(notes, key=lambda note: (note.onset, note.part))


def tune_with_chords(name: str, *, quarters_per_minute: float) -> list[Note]:
    """Notes of a one-line tune with a bass on the beat and a chord after it.

    Each bar takes the triad that covers most of its melody (:func:`choose_triad`).

    Parameters
    ----------
    name : str
        In the music21 corpus, such as ``"ryansMammoth/LanigansBallJig"``.
    quarters_per_minute : float

    Returns
    -------
    list of Note
        By onset.
    """
    seconds = 60.0 / quarters_per_minute
    part = _parse(name).parts[0]
    tonic, mode = key_of(name)
    melody = _melody(part)
    notes = [Note(start * seconds, length * seconds, pitch, MELODY_VELOCITY) for start, length, pitch in melody]
    meter = part.recurse().getElementsByClass("TimeSignature").first()
    beat = float(meter.beatDuration.quarterLength)
    for measure in part.getElementsByClass("Measure"):
        start, length = float(measure.offset), float(measure.duration.quarterLength)
        inside = [note for note in melody if start <= note[0] < start + length]
        root, third = choose_triad(inside, tonic=tonic, mode=mode)
        for step in range(int(length // beat)):  # none in the pick-up
            on = start + step * beat
            late = on + beat * (1 / 2 if beat == 1 else 2 / 3)
            notes.append(Note(on * seconds, beat * 0.6 * seconds, 36 + root, BASS_VELOCITY, part=2))
            for interval in (0, third, 7):
                pitch = 52 + (root + interval - 52) % 12
                notes.append(Note(late * seconds, beat * 0.3 * seconds, pitch, INNER_VELOCITY, part=1))
    return sorted(notes, key=lambda note: (note.onset, note.part, note.pitch))


def choose_triad(melody: Sequence[tuple[float, float, int]], *, tonic: int, mode: str) -> tuple[int, int]:
    """Choose the triad that covers the most of a melody, ties going to the tonic and then the dominant.

    Parameters
    ----------
    melody : sequence of (start, length, pitch)
        In quarters and MIDI numbers.
    tonic : int
        Pitch class, 0 = C.
    mode : {"major", "minor"}

    Returns
    -------
    root : int
        Pitch class.
    third : int
        Semitones above the root: 4 for a major triad, 3 for a minor one.

    Examples
    --------
    >>> choose_triad([(0, 1, 67), (1, 1, 71), (2, 1, 74)], tonic=0, mode="major")
    (7, 4)
    """

    def covered(triad: tuple[int, int]) -> float:
        chord = {(tonic + triad[0] + interval) % 12 for interval in (0, triad[1], 7)}
        total = sum(length for _, length, pitch in melody if pitch % 12 in chord)
        return total * (_TONIC_WEIGHT if triad[0] == 0 else 1.0)

    offset, third = max(_TRIADS[mode], key=covered)
    return (tonic + offset) % 12, third


def key_of(name: str) -> tuple[int, str]:
    """Tonic (pitch class, 0 = C) and mode of a corpus score, from its key signature.

    Raises
    ------
    InputError
        If the score states no mode.
    """
    signature = _parse(name).recurse().getElementsByClass("Key").first()
    if signature is None or signature.mode not in _TRIADS:
        raise InputError(f"{name}: the score states no major or minor key; choose another one")
    return int(signature.tonic.pitchClass), str(signature.mode)


def orchestrate(notes: Sequence[Note], programs: Sequence[int]) -> list[Note]:
    """Give each part a General MIDI program; parts beyond the last take the last.

    Examples
    --------
    >>> [note.program for note in orchestrate([Note(0, 1, 60), Note(0, 1, 48, part=3)], [73, 24])]
    [73, 24]
    """
    return [replace(note, program=programs[min(note.part, len(programs) - 1)]) for note in notes]


@lru_cache(maxsize=8)
def _parse(name: str) -> Any:
    corpus = require_extra("music21").corpus
    return corpus.parse(name)


def _melody(part: Any) -> list[tuple[float, float, int]]:
    """Start, length and pitch of each note, ties joined; grace notes have no length and drop out."""
    return [
        (float(note.offset), float(note.quarterLength), int(note.pitch.midi))
        for note in part.flatten().stripTies().getElementsByClass("Note")
        if note.quarterLength > 0
    ]
