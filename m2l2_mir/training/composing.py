"""Music made up by rule, for training: every instrument, every key, many metres and tempi, and no score of any set.

Conventions
-----------
* A piece is a function of a random generator alone. Onsets are in seconds; music fills the time it is given.
* Programs are General MIDI numbers from 0; the sound effects from 120 on are left out. Nothing here has to be in tune
  or playable: no label is kept.
* Song and chords repeat themselves by bars, as music does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from m2l2_mir.dataset.rendered.synthesizer import Note

__all__ = ["KINDS", "beats", "chords", "notes", "song"]

Composer = Callable[[np.random.Generator, float], list[Note]]

PROGRAMS = 120
BASSES = range(32, 40)
SCALES = (
    (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 8, 11), (0, 2, 3, 5, 7, 9, 10),
    (0, 2, 4, 5, 7, 9, 10), (0, 1, 3, 5, 7, 8, 10), (0, 2, 4, 6, 7, 9, 11), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10),
)  # fmt: skip
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 4, 7, 11), (0, 3, 6), (0, 5, 7), (0, 4, 8), (0, 7))
METRES = ((2, 4), (3, 4), (4, 4), (4, 4), (4, 4), (5, 4), (2, 3), (3, 3), (4, 3), (7, 2))  # beats, divisions of a beat
KICKS, SNARES, CYMBALS = (35, 36), (37, 38, 39, 40), (42, 44, 46, 51, 53, 54, 59, 69, 70, 82)
OTHER_DRUMS = (41, 43, 45, 47, 48, 50, 49, 55, 57, 56, 60, 61, 62, 63, 64, 65, 66, 67, 68, 75, 76, 77)


@dataclass(frozen=True)
class Frame:
    """Metre, tempo and harmony that the parts of one piece share."""

    beats: int
    divisions: int
    beat_seconds: float
    tonic: int
    scale: tuple[int, ...]
    roots: tuple[int, ...]  # degree of the scale, a bar each, over and over
    swing: float  # share of a division by which every second one is late

    def at(self, bar: int, step: int) -> float:
        """Seconds of a division."""
        late = self.swing * (step % 2)
        return (bar * self.beats + (step + late) / self.divisions) * self.beat_seconds

    @property
    def steps(self) -> int:
        """Divisions of a bar."""
        return self.beats * self.divisions

    def bars(self, seconds: float) -> int:
        """Bars that fill so much time."""
        return int(np.ceil(seconds / (self.beats * self.beat_seconds)))

    def pitch(self, degree: int) -> int:
        """MIDI number of a degree, 0 being the tonic in the octave of middle C."""
        octave, step = divmod(degree, len(self.scale))
        return 60 + self.tonic + 12 * octave + self.scale[step]

    def triad(self, bar: int) -> tuple[int, ...]:
        """Degrees of the bar's chord."""
        root = self.roots[bar % len(self.roots)]
        return root, root + 2, root + 4


def notes(rng: np.random.Generator, seconds: float) -> list[Note]:
    """Notes one after the other, alone or two together, a few instruments in turn."""
    found: list[Note] = []
    players = rng.choice(PROGRAMS, int(rng.integers(1, 5)), replace=False).tolist()
    longest, gap = 10 ** rng.uniform(-0.6, 0.5), float(rng.choice([0.0, 0.05, 0.3]))
    now = float(rng.uniform(0, 0.3))
    while now < seconds:
        part = int(now / seconds * len(players))
        length = longest * float(rng.uniform(0.4, 1))
        together = rng.integers(28, 97, 1 + int(rng.random() < 0.15)).tolist()
        velocity = int(rng.integers(40, 120))
        found += [Note(now, length, pitch, velocity, players[part], part) for pitch in together]
        now += length + gap
    return found


def chords(rng: np.random.Generator, seconds: float) -> list[Note]:
    """Chords of all kinds, struck together or broken, on one instrument."""
    program = int(rng.integers(PROGRAMS))
    length, broken = 10 ** rng.uniform(-0.4, 0.4), float(rng.choice([0.0, 0.0, 0.03, 0.12]))
    cycle = [(int(rng.integers(36, 66)), CHORDS[rng.integers(len(CHORDS))]) for _ in range(rng.integers(2, 7))]
    found = []
    for index in range(int(np.ceil(seconds / length))):
        root, shape = cycle[index % len(cycle)]
        inversion = int(rng.integers(len(shape)))
        for step, above in enumerate(shape):
            pitch = root + above + 12 * (step < inversion)
            onset = index * length + step * broken
            found.append(Note(onset, length * 0.95, pitch, int(rng.integers(55, 100)), program, index % 2))
    return found


def song(rng: np.random.Generator, seconds: float) -> list[Note]:
    """Melody, chords, bass and drums, some of which may rest, in one key and metre."""
    frame = _frame(rng)
    present = rng.random(4) < (0.9, 0.75, 0.75, 0.6)
    if not present[:2].any():
        present[0] = True
    found: list[Note] = []
    programs = rng.integers(0, PROGRAMS, 3).tolist()
    if rng.random() < 0.7:
        programs[2] = int(rng.choice(BASSES))
    for part, compose in enumerate((_melody, _accompaniment, _bass)):
        if present[part]:
            found += compose(rng, frame, seconds, programs[part], part)
    if present[3]:
        found += _drums(rng, frame, seconds)
    return _by_hand(rng, found)


def beats(rng: np.random.Generator, seconds: float) -> list[Note]:
    """Drums alone."""
    return _by_hand(rng, _drums(rng, _frame(rng), seconds))


KINDS: Mapping[str, tuple[float, Composer]] = {
    "notes": (0.25, notes),
    "chords": (0.15, chords),
    "song": (0.5, song),
    "beats": (0.1, beats),
}
"""Name -> share of the pieces, composer."""


def _frame(rng: np.random.Generator) -> Frame:
    count, divisions = METRES[rng.integers(len(METRES))]
    scale = SCALES[rng.integers(len(SCALES))]
    return Frame(
        beats=count,
        divisions=divisions,
        beat_seconds=60 / (50 * 2 ** (2 * float(rng.random()))),  # 50 to 200 beats a minute
        tonic=int(rng.integers(-6, 6)),
        scale=scale,
        roots=(0, *rng.integers(-3, 4, int(rng.choice([1, 3, 3, 7]))).tolist()),
        swing=float(rng.choice([0.0, 0.0, 0.3])) if divisions % 2 == 0 else 0.0,
    )


def _rhythm(rng: np.random.Generator, frame: Frame, density: float) -> list[int]:
    """Divisions of a bar on which something begins; beats more often than what lies between them."""
    on_beat = np.arange(frame.steps) % frame.divisions == 0
    chosen = np.flatnonzero(rng.random(frame.steps) < density * np.where(on_beat, 1.6, 0.7)).tolist()
    return chosen or [0]


def _melody(rng: np.random.Generator, frame: Frame, seconds: float, program: int, part: int) -> list[Note]:
    octave = len(frame.scale) * int(rng.integers(-1, 3))
    density, articulation = rng.uniform(0.2, 0.8), rng.uniform(0.4, 1.0)
    motifs = [_rhythm(rng, frame, density) for _ in range(3)]
    lines = [np.cumsum(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3], frame.steps)).tolist() for _ in motifs]
    order = rng.integers(0, 3, 4).tolist()
    found = []
    for bar in range(frame.bars(seconds)):
        rhythm, line = motifs[order[bar % 4]], lines[order[bar % 4]]
        for index, step in enumerate(rhythm):
            end = rhythm[index + 1] if index + 1 < len(rhythm) else frame.steps
            length = articulation * (frame.at(bar, end) - frame.at(bar, step))
            # a phrase begins on the bar's chord and wanders within a tenth
            degree = octave + frame.triad(bar)[0] + (line[index] + 5) % 11 - 5
            velocity = 100 if step % frame.divisions == 0 else 84
            found.append(Note(frame.at(bar, step), length, _playable(frame.pitch(degree)), velocity, program, part))
    return found


def _accompaniment(rng: np.random.Generator, frame: Frame, seconds: float, program: int, part: int) -> list[Note]:
    broken = rng.random() < 0.4
    rhythm = list(range(0, frame.steps, int(rng.integers(1, 3)))) if broken else _rhythm(rng, frame, 0.3)
    length = frame.beat_seconds * rng.uniform(0.3, 1.5)
    octave = -len(frame.scale) * int(rng.integers(0, 2))
    found = []
    for bar in range(frame.bars(seconds)):
        triad = frame.triad(bar)
        for index, step in enumerate(rhythm):
            struck = (triad[index % 3],) if broken else triad
            for degree in struck:
                pitch = _playable(frame.pitch(degree + octave))
                found.append(Note(frame.at(bar, step), length, pitch, 72, program, part))
    return found


def _bass(rng: np.random.Generator, frame: Frame, seconds: float, program: int, part: int) -> list[Note]:
    rhythm, fifth = _rhythm(rng, frame, 0.35), rng.random() < 0.5
    found = []
    for bar in range(frame.bars(seconds)):
        for index, step in enumerate(rhythm):
            degree = frame.triad(bar)[2 if fifth and index % 2 else 0] - 2 * len(frame.scale)
            pitch = _playable(frame.pitch(degree))
            found.append(Note(frame.at(bar, step), frame.beat_seconds * 0.8, pitch, 92, program, part))
    return found


def _drums(rng: np.random.Generator, frame: Frame, seconds: float) -> list[Note]:
    def one(of: tuple[int, ...]) -> int:
        return of[rng.integers(len(of))]

    kick, snare, cymbal, other = one(KICKS), one(SNARES), one(CYMBALS), one(OTHER_DRUMS)
    back = [beat * frame.divisions for beat in range(1, frame.beats, 2)]
    every = int(rng.integers(1, frame.divisions + 1))
    pattern = [(0, kick, 105), *((step, kick, 95) for step in _rhythm(rng, frame, 0.15))]
    pattern += [(step, snare, 98) for step in back] + [(step, cymbal, 70) for step in range(0, frame.steps, every)]
    if rng.random() < 0.4:
        pattern += [(step, other, 80) for step in _rhythm(rng, frame, 0.2)]
    hits = sorted({(step, drum): velocity for step, drum, velocity in pattern}.items())
    return [
        Note(frame.at(bar, step), 0.1, drum, velocity, drum=True)
        for bar in range(frame.bars(seconds))
        for (step, drum), velocity in hits
    ]


def _by_hand(rng: np.random.Generator, found: list[Note]) -> list[Note]:
    """Shift onsets by some milliseconds and velocities by some steps, as a player would."""
    late = rng.normal(0, 0.006, len(found)).tolist()
    louder = rng.integers(-10, 11, len(found)).tolist()
    return [
        Note(
            max(0.0, note.onset + shift),
            note.duration,
            note.pitch,
            min(127, max(1, note.velocity + more)),
            note.program,
            note.part,
            note.drum,
        )
        for note, shift, more in zip(found, late, louder, strict=True)
    ]


def _playable(pitch: int) -> int:
    """The same pitch class between MIDI 24 and 103."""
    while pitch < 24:
        pitch += 12
    while pitch > 103:
        pitch -= 12
    return pitch
