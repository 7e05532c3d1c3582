"""Scores as notes: chorales voice by voice, dance tunes with an accompaniment.

Conventions
-----------
* Quarter notes turn into seconds at a fixed tempo, given in quarters per minute: no rubato, no fermatas.
* Part 0 is the melody. A chorale has parts 0 to 3 from soprano to bass; a tune has the chords in part 1 and
  the bass in part 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from m2l2_mir.dataset.rendered.corpus import load
from m2l2_mir.dataset.rendered.parsing import Event, Score
from m2l2_mir.dataset.rendered.synthesizer import Note
from m2l2_mir.errors import InputError

__all__ = [
    "TRIADS", "accompanied", "bar_grid", "choose_triad", "chorale", "drums", "excerpt", "orchestrate",
    "repeated", "stated_key", "transposed", "tune_with_chords", "voiced", "voices",
]  # fmt: skip

MELODY_VELOCITY = 92
INNER_VELOCITY = 78
BASS_VELOCITY = 84
KICK, SNARE, HAT = 36, 38, 42

# Triads a fiddle tune gets along with, as (semitones of the root above the tonic, third). The tonic weighs
# more: melodies pass through its neighbours all the time without the harmony leaving it.
TRIADS = {
    "major": [(0, 4), (7, 4), (5, 4)],
    "minor": [(0, 3), (10, 4), (7, 4), (5, 3)],
    "dorian": [(0, 3), (10, 4), (5, 4), (7, 3)],
    "mixolydian": [(0, 4), (10, 4), (5, 4), (7, 3)],
}
_TONIC_WEIGHT = 1.25
_VOICES = ("Soprano", "Alto", "Tenor", "Bass")
_CLOSE = 1e-6  # quarters; starts are sums of fractions


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

    Raises
    ------
    InputError
        There is no such score, or it has not four voices.
    """
    return voiced(voices(load(name)), quarters_per_minute=quarters_per_minute)


def tune_with_chords(name: str, *, quarters_per_minute: float) -> list[Note]:
    """Notes of a one-line tune such as ``"ryansMammoth/LanigansBallJig"``, with the chords of :func:`accompanied`."""
    return accompanied(load(name), quarters_per_minute=quarters_per_minute)


def stated_key(score: Score) -> tuple[int, str]:
    """Tonic (pitch class, 0 = C) and mode of a score, from its key signature.

    Raises
    ------
    InputError
        If the score states no mode, or one that :func:`choose_triad` has no triads for.
    """
    if score.tonic is None or score.mode not in TRIADS:
        stated = f"is {score.mode}" if score.mode else "states no mode"
        raise InputError(f"{score.name} {stated}; choose one that is {', '.join(TRIADS)}")
    return score.tonic, score.mode


def voices(score: Score) -> tuple[tuple[Event, ...], ...]:
    """Soprano, alto, tenor and bass of a chorale, without the instruments that double or surround them.

    Raises
    ------
    InputError
        If there are not four such voices.
    """
    found = []
    for voice in _VOICES:
        named = [part for name, part in zip(score.part_names, score.parts, strict=True) if name.startswith(voice)]
        if not named or not named[0]:
            raise InputError(f"{score.name} has no {voice.lower()}; choose a chorale of four voices")
        found.append(named[0])
    return tuple(found)


def voiced(parts: Sequence[Sequence[Event]], *, quarters_per_minute: float) -> list[Note]:
    """Notes of parts from the highest to the lowest, the outer ones a little louder."""
    seconds = 60.0 / quarters_per_minute
    notes = []
    for index, part in enumerate(parts):
        inner = 0 < index < len(parts) - 1
        velocity = INNER_VELOCITY if inner else MELODY_VELOCITY if index == 0 else BASS_VELOCITY
        notes += [Note(start * seconds, length * seconds, pitch, velocity, part=index) for start, length, pitch in part]
    return sorted(notes, key=lambda note: (note.onset, note.part))


def accompanied(score: Score, *, quarters_per_minute: float) -> list[Note]:
    """Notes of a one-line tune with a bass on every beat and a chord after it.

    Each bar takes the triad that covers most of its melody (:func:`choose_triad`). An opening pick-up stands alone; a
    bar that is split between the end of one strain and the pick-up of the next is accompanied like any other.

    Parameters
    ----------
    score : Score
    quarters_per_minute : float

    Returns
    -------
    list of Note
        By onset.

    Raises
    ------
    InputError
        See :func:`bar_grid` and :func:`stated_key`.
    """
    seconds = 60.0 / quarters_per_minute
    melody = score.parts[0]
    tonic, mode = stated_key(score)
    beat = score.beat
    late = beat * (2 / 3 if _is_compound(score) else 1 / 2)
    notes = [Note(start * seconds, length * seconds, pitch, MELODY_VELOCITY) for start, length, pitch in melody]
    for start, length in bar_grid(score):
        inside = [note for note in melody if start - _CLOSE <= note[0] < start + length - _CLOSE]
        root, third = choose_triad(inside, tonic=tonic, mode=mode)
        for step in range(int(length / beat + _CLOSE)):
            on = start + step * beat
            notes.append(Note(on * seconds, beat * 0.6 * seconds, 36 + root, BASS_VELOCITY, part=2))
            for interval in (0, third, 7):
                pitch = 52 + (root + interval - 52) % 12
                notes.append(Note((on + late) * seconds, beat * 0.3 * seconds, pitch, INNER_VELOCITY, part=1))
    return sorted(notes, key=lambda note: (note.onset, note.part, note.pitch))


def drums(score: Score, *, quarters_per_minute: float) -> list[Note]:
    """A beat for a tune: kick and snare in turn from each first beat on, the hi-hat on every division of the beat."""
    seconds = 60.0 / quarters_per_minute
    divisions = 3 if _is_compound(score) else 2
    hits = []
    for start, length in bar_grid(score):
        for step in range(int(length / score.beat + _CLOSE)):
            on = start + step * score.beat
            hits.append((on, KICK if step % 2 == 0 else SNARE, BASS_VELOCITY))
            hits += [(on + part * score.beat / divisions, HAT, INNER_VELOCITY) for part in range(divisions)]
    return [Note(on * seconds, 0.1, pitch, velocity, drum=True) for on, pitch, velocity in hits]


def bar_grid(score: Score) -> list[tuple[float, float]]:
    """Start and length of the bars that the metre lays over a score, from its first full bar on.

    Strains often end in a short bar that the next pick-up completes; such a pair is one bar here. The last bar is
    short where the score ends in it.

    Raises
    ------
    InputError
        If notated bars leave the grid, as where a bar is mis-copied: from there on no beat would be where it is heard.
    """
    numerator, _, denominator = score.meter.partition("/")
    length = 4 * int(numerator) / int(denominator) if denominator else 0.0
    full = [start for start, own in score.bars if abs(own - length) < _CLOSE]
    if not length or not full:
        raise InputError(f"{score.name} has no full bar; choose another tune")
    steps = [(start - full[0]) / length for start in full]
    whole = all(abs(step - round(step)) < _CLOSE for step in steps)
    if not whole or full[0] > length - _CLOSE or any(own > length + _CLOSE for _, own in score.bars):
        raise InputError(f"the bars of {score.name} are of different lengths; choose another tune")
    end = score.bars[-1][0] + score.bars[-1][1]
    count = int((end - full[0]) / length + 1 - _CLOSE)
    return [(full[0] + step * length, min(length, end - full[0] - step * length)) for step in range(count)]


def repeated(score: Score, times: int) -> Score:
    """Play a tune several times over, each time from its pick-up, without losing the beat.

    Raises
    ------
    InputError
        See :func:`bar_grid`.
    """
    length = max(own for _, own in bar_grid(score))
    end = score.bars[-1][0] + score.bars[-1][1]
    period = length * int(end / length + 1 - _CLOSE)  # whole bars; a last bar without room for the pick-up rests
    shifts = [turn * period for turn in range(times)]
    return replace(
        score,
        bars=tuple((start + shift, own) for shift in shifts for start, own in score.bars),
        parts=tuple(
            tuple((on + shift, own, pitch) for shift in shifts for on, own, pitch in part) for part in score.parts
        ),
    )


def choose_triad(melody: Sequence[Event], *, tonic: int, mode: str) -> tuple[int, int]:
    """Choose the triad that covers the most of a melody, ties going to the tonic and then the dominant.

    Parameters
    ----------
    melody : sequence of (start, length, pitch)
        In quarters and MIDI numbers.
    tonic : int
        Pitch class, 0 = C.
    mode : {"major", "minor", "dorian", "mixolydian"}

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

    offset, third = max(TRIADS[mode], key=covered)
    return (tonic + offset) % 12, third


def transposed(score: Score, semitones: int) -> Score:
    """The score in another key."""
    return replace(
        score,
        tonic=None if score.tonic is None else (score.tonic + semitones) % 12,
        parts=tuple(tuple((start, length, pitch + semitones) for start, length, pitch in part) for part in score.parts),
    )


def orchestrate(notes: Sequence[Note], programs: Sequence[int]) -> list[Note]:
    """Give each part a General MIDI program; parts beyond the last take the last, drums stay drums.

    Examples
    --------
    >>> [note.program for note in orchestrate([Note(0, 1, 60), Note(0, 1, 48, part=3)], [73, 24])]
    [73, 24]
    """
    return [note if note.drum else replace(note, program=programs[min(note.part, len(programs) - 1)]) for note in notes]


def excerpt(notes: Sequence[Note], *, start: float, seconds: float) -> tuple[Note, ...]:
    """Notes that sound in ``[start, start + seconds)``, from `start` on: what began before has a negative onset.

    >>> [(note.onset, note.duration) for note in excerpt([Note(1, 2, 60), Note(4, 1, 62)], start=2, seconds=2)]
    [(-1, 2)]
    """
    return tuple(
        replace(note, onset=note.onset - start)
        for note in notes
        if note.onset < start + seconds and note.onset + note.duration > start
    )


def _is_compound(score: Score) -> bool:
    """Whether the beat divides into three: 6/8, 9/8, 12/8, 6/4."""
    return score.beat % 1.5 < _CLOSE
