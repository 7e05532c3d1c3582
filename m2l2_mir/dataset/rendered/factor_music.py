"""The music of the set `factors`: notes from factor values and a nuisance seed.

Conventions
-----------
* Notes are a function of the values and the nuisance generator, which is always asked for the same numbers in the same
  order: with one seed, what two clips differ in is what their values differ in.
* Times are in seconds from the start of the clip; music runs across both edges at a random offset.
* Pitch classes are folded into an octave that begins at a pitch drawn by the nuisance generator, so that height tells
  little of the class: its expectation is the same for every pitch of one chunk, and within 3 semitones for the tonics
  of eight (the instruments' ranges leave room for three octaves to choose from, 4 semitones apart).
* Melody, chords and bass (parts 0, 1, 2) are played by one instrument; register moves all of them by an octave.
* One chunk: a held triad and a melody note of fixed length that begins in one of seven eighths of the clip.
* Eight chunks: 4/4. Every bar repeats a tonic pedal on the beats, the tonic triad and another one, and a melody of five
  notes: the same five degrees of the scale whatever the contour, five onsets whatever the rhythm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from m2l2_mir.dataset.rendered.clips import SAMPLE_RATE
from m2l2_mir.dataset.rendered.instruments import instrument
from m2l2_mir.dataset.rendered.synthesizer import Note

__all__ = [
    "CHORDS",
    "CHUNK_SECONDS",
    "CONTOURS",
    "MELODY_LOWS",
    "POSITIONS",
    "PROGRAMS",
    "REGISTERS",
    "RHYTHMS",
    "SCALES",
    "bars",
    "single_chunk",
]

CHUNK_SECONDS = 32_768 / SAMPLE_RATE
EIGHTH_OF_CHUNK = CHUNK_SECONDS / 8
POSITIONS = 7  # the eighth one would leave no time to sound
MELODY_LOWS = range(58, 70)  # one chunk, middle register: where the melody's octave begins, above the chords

PROGRAMS = {
    name: instrument(name).program
    for name in (
        "grand piano", "reed organ", "steel guitar", "cello", "trumpet", "clarinet", "pan flute", "square lead",
    )
}  # fmt: skip
REGISTERS = {"low": -12, "middle": 0, "high": 12}
CHORDS = {
    "C": (48, 52, 55),
    "Dm": (50, 53, 57),
    "Em": (47, 52, 55),
    "F": (48, 53, 57),
    "G": (47, 50, 55),
    "Am": (48, 52, 57),
}
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
CONTOURS = {"rising": (0, 1, 2, 3, 4), "falling": (4, 3, 2, 1, 0), "arch": (0, 2, 4, 3, 1), "valley": (4, 2, 0, 1, 3)}
# onsets in sixteenths of a bar; none is another one begun elsewhere
RHYTHMS = {
    "straight": (0, 4, 8, 12, 14),
    "dotted": (0, 3, 4, 7, 8),
    "cinquillo": (0, 4, 6, 10, 12),
    "clave": (0, 3, 6, 10, 12),
}

KICK, SNARE, HAT = 36, 38, 42
_TONIC_LOWS = (52, 56, 60)  # middle register: where the tonics' octave begins
_BARS = 6  # enough for eight chunks at 180 bpm, begun anywhere in the first bar
_BEATS = 4
_KICKS = ((0.0, 2.0), (0.0, 2.5), (0.0, 1.5, 2.0))  # beats


def single_chunk(values: Mapping[str, int], rng: np.random.Generator) -> tuple[Note, ...]:
    """Notes of a clip of one chunk.

    Parameters
    ----------
    values : mapping
        Codes of instrument, register, drums, pitch, position and chord.
    rng : numpy.random.Generator
        The nuisance: offset to the chunk's edge, velocities, drum pattern, octave.
    """
    offset, lead = rng.random() / 4, 0.05 + 0.25 * rng.random()
    melody_velocity, chord_velocity = (int(velocity) for velocity in rng.integers((88, 60), (108, 76)))
    hits = np.sort(rng.choice(8, 4, replace=False)).tolist()
    low = int(rng.choice(MELODY_LOWS))

    program, shift = _player(values)
    onset = (values["position"] + offset) * EIGHTH_OF_CHUNK
    melody = _folded(values["pitch"], low) + shift
    notes = [Note(onset, 1.75 * EIGHTH_OF_CHUNK, melody, melody_velocity, program)]
    chord = [pitch + shift for pitch in list(CHORDS.values())[values["chord"]]]
    notes += [Note(-lead, lead + CHUNK_SECONDS, pitch, chord_velocity, program, part=1) for pitch in chord]
    if values["drums"]:
        for drum, hit in zip((KICK, HAT, SNARE, HAT), hits, strict=True):
            notes.append(Note((hit + offset) * EIGHTH_OF_CHUNK, 0.1, drum, 90, drum=True))
    return tuple(notes)


def bars(values: Mapping[str, int], bpm: float, rng: np.random.Generator) -> tuple[Note, ...]:
    """Notes of a clip of eight chunks.

    Parameters
    ----------
    values : mapping
        Codes of instrument, register, drums, tonic, mode, contour and rhythm.
    bpm : float
        Quarters a minute.
    rng : numpy.random.Generator
        The nuisance: where in the bar the clip begins, degrees, second chord, articulation, velocities, drum pattern,
        octave.
    """
    phase, articulation = _BEATS * rng.random(), rng.uniform(0.75, 0.95)
    velocities = rng.integers((88, 60, 68), (108, 76, 84)).tolist()
    degrees = [np.sort(rng.choice(7, 5, replace=False)).tolist() for _ in range(_BARS)]
    chords = rng.choice((3, 4, 5), _BARS).tolist()  # subdominant, dominant, submediant
    kicks = _KICKS[rng.integers(len(_KICKS))]
    low = int(rng.choice(_TONIC_LOWS))

    program, shift = _player(values)
    tonic = _folded(values["tonic"], low) + shift
    scale = list(SCALES.values())[values["mode"]]
    contour = list(CONTOURS.values())[values["contour"]]
    rhythm = list(RHYTHMS.values())[values["rhythm"]]

    notes = []
    for bar in range(_BARS):
        start = bar * _BEATS
        ends = (*rhythm[1:], 4 * _BEATS)
        for step, on, end in zip(contour, rhythm, ends, strict=True):
            pitch = tonic + scale[degrees[bar][step]]
            length = articulation * (end - on) / 4
            notes.append(Note(start + on / 4, length, pitch, velocities[0], program))
        for late, root in ((0, 0), (_BEATS / 2, chords[bar])):
            triad = _triad(tonic, scale, root)
            notes += [Note(start + late, _BEATS / 2, pitch, velocities[1], program, part=1) for pitch in triad]
        beats = range(start, start + _BEATS)
        notes += [Note(beat, articulation, tonic - 12, velocities[2], program, part=2) for beat in beats]
        if values["drums"]:
            notes += [Note(start + on, 0.2, drum, velocity, drum=True) for on, drum, velocity in _drums(kicks)]
    return tuple(_cut(notes, phase=phase, bpm=bpm))


def _player(values: Mapping[str, int]) -> tuple[int, int]:
    """Program and transposition."""
    return list(PROGRAMS.values())[values["instrument"]], list(REGISTERS.values())[values["register"]]


def _folded(pitch_class: int, low: int) -> int:
    """The pitch of this class in the octave that begins at `low`."""
    return low + (pitch_class - low) % 12


def _triad(tonic: int, scale: tuple[int, ...], root: int) -> list[int]:
    """Three notes of the scale from 7 semitones below the tonic to 4 above, where no degree that minor lowers wraps."""
    return [tonic - 7 + (scale[(root + third) % 7] + 7) % 12 for third in (0, 2, 4)]


def _drums(kicks: tuple[float, ...]) -> Iterator[tuple[float, int, int]]:
    """One bar: beat, drum, velocity."""
    yield from ((beat, KICK, 100) for beat in kicks)
    yield from ((beat, SNARE, 92) for beat in (1.0, 3.0))
    yield from ((eighth / 2, HAT, 70) for eighth in range(8))


def _cut(notes: Iterable[Note], *, phase: float, bpm: float) -> Iterator[Note]:
    """From beats to seconds, `phase` beats into the music; what is not heard in eight chunks is left out."""
    beat = 60 / bpm
    for note in notes:
        onset, length = (note.onset - phase) * beat, note.duration * beat
        if onset < 8 * CHUNK_SECONDS and onset + length > 0:
            yield Note(onset, length, note.pitch, note.velocity, note.program, note.part, note.drum)
