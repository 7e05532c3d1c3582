"""General MIDI programs that are in tune, so that a pitch or key label is true to what sounds.

Conventions
-----------
* Programs count from 0, pitches are MIDI numbers, both ends of a range included.
* In TimGM6mb and in FluidR3_GM alike, A4 and both ends of a range sound within 10 cents of equal temperament, every
  pitch between them within 14 (only grand piano and violin of FluidR3_GM exceed 10), and all in the right octave:
  period of the waveform over 1.5 s, so that vibrato averages out, effects off.
* A range is the longest one between MIDI 28 and 96 that passes. As in NSynth it may go beyond what the real instrument
  plays; it says that the label is right, not that a player could do it.
* Within their ranges no two programs share a sample in either font (their zones were compared), so that one instrument
  can be held out for testing. This caps the nylon guitar at 83 and the clean guitar at 93.

What is left out, and why
-------------------------
* 16 to 19 (drawbar, percussive, rock and church organ): a 16-foot stop sounds an octave lower; 21 (accordion): off by
  more than 10 cents over most of the range.
* 44, 48 to 55, 61 and all pads (string and brass ensembles, voices, orchestra hit): several detuned layers.
* 8, 9, 14, 15, 47 (celesta, glockenspiel, tubular bells, dulcimer, timpani): inharmonic, or off over much of the range.
* 73, 74, 76, 77, 78 (flute, recorder, bottle, shakuhachi, whistle): off by 14 to 53 cents, or mostly breath.
* 31 (guitar harmonics): an octave higher. 32, 37, 45, 67, 82 (acoustic bass, second slap bass, pizzicato, baritone sax,
  calliope): zones that are off by more than 10 cents.
* Samples of another program again, in one font or both: 1, 2, 3 (of 0), 23 (of 20 and 22), 30 and 84 (of 29 and 7), 39
  (of 33 and 35), 41 and 110 (of 40), 62 (of 81 and 63), 83 and 85 (of 75), 87 (of 38).
* 86 and 96 to 127: fifths, effects, plucked instruments of no family here, percussion.
"""

from __future__ import annotations

from dataclasses import dataclass

from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["FAMILIES", "INSTRUMENTS", "Instrument", "covering", "instrument"]


@dataclass(frozen=True, slots=True)
class Instrument:
    """A General MIDI program and the pitches at which it is in tune.

    Parameters
    ----------
    program : int
        General MIDI number from 0.
    name : str
        In the spelling of :func:`m2l2_mir.dataset.labels.instrument`.
    family : str
        One of :data:`FAMILIES`.
    low, high : int
        Lowest and highest pitch.
    sustained : bool
        Whether a note sounds as long as it is held; others die away.
    """

    program: int
    name: str
    family: str
    low: int
    high: int
    sustained: bool


INSTRUMENTS = (
    Instrument(0, "grand piano", "keyboard", 28, 94, False),
    Instrument(4, "electric piano", "keyboard", 28, 96, False),
    Instrument(5, "fm electric piano", "keyboard", 28, 96, False),
    Instrument(6, "harpsichord", "keyboard", 28, 96, False),
    Instrument(7, "clavinet", "keyboard", 28, 96, False),
    Instrument(10, "music box", "mallet", 53, 96, False),
    Instrument(11, "vibraphone", "mallet", 53, 96, False),
    Instrument(12, "marimba", "mallet", 52, 96, False),
    Instrument(13, "xylophone", "mallet", 60, 81, False),
    Instrument(20, "reed organ", "organ", 28, 96, True),
    Instrument(22, "harmonica", "organ", 32, 64, True),
    Instrument(24, "nylon guitar", "guitar", 28, 83, False),
    Instrument(25, "steel guitar", "guitar", 28, 96, False),
    Instrument(26, "jazz guitar", "guitar", 28, 96, False),
    Instrument(27, "clean guitar", "guitar", 28, 93, False),
    Instrument(28, "muted guitar", "guitar", 28, 62, False),
    Instrument(29, "overdriven guitar", "guitar", 28, 96, True),
    Instrument(33, "fingered bass", "bass", 28, 84, False),
    Instrument(34, "picked bass", "bass", 28, 84, False),
    Instrument(35, "fretless bass", "bass", 28, 84, False),
    Instrument(36, "slap bass", "bass", 28, 84, False),
    Instrument(38, "synth bass", "bass", 28, 96, False),
    Instrument(40, "violin", "strings", 38, 89, True),
    Instrument(42, "cello", "strings", 28, 96, True),
    Instrument(43, "contrabass", "strings", 28, 57, True),
    Instrument(46, "harp", "strings", 51, 81, False),
    Instrument(56, "trumpet", "brass", 28, 96, True),
    Instrument(57, "trombone", "brass", 28, 95, True),
    Instrument(58, "tuba", "brass", 28, 72, True),
    Instrument(59, "muted trumpet", "brass", 36, 96, True),
    Instrument(60, "french horn", "brass", 41, 96, True),
    Instrument(64, "soprano sax", "reed", 28, 96, True),
    Instrument(65, "alto sax", "reed", 28, 63, True),
    Instrument(66, "tenor sax", "reed", 28, 96, True),
    Instrument(68, "oboe", "reed", 36, 89, True),
    Instrument(69, "english horn", "reed", 28, 85, True),
    Instrument(70, "bassoon", "reed", 47, 84, True),
    Instrument(71, "clarinet", "reed", 28, 96, True),
    Instrument(72, "piccolo", "pipe", 28, 96, True),
    Instrument(75, "pan flute", "pipe", 28, 96, True),
    Instrument(79, "ocarina", "pipe", 28, 96, True),
    Instrument(63, "synth brass", "synth", 28, 93, True),
    Instrument(80, "square lead", "synth", 28, 96, True),
    Instrument(81, "saw lead", "synth", 28, 90, True),
)

FAMILIES = tuple(dict.fromkeys(instrument.family for instrument in INSTRUMENTS))


def covering(low: int, high: int) -> tuple[Instrument, ...]:
    """Instruments that are in tune from `low` to `high`.

    >>> [found.name for found in covering(36, 95) if found.family == "brass"]
    ['trumpet', 'trombone', 'muted trumpet']
    """
    return tuple(found for found in INSTRUMENTS if found.low <= low and found.high >= high)


def instrument(name: str) -> Instrument:
    """Look up an instrument by name.

    Raises
    ------
    InputError
        There is no such instrument in tune.

    Examples
    --------
    >>> instrument("cello").program
    42
    """
    for found in INSTRUMENTS:
        if found.name == name:
            return found
    known = [found.name for found in INSTRUMENTS]
    raise InputError(f"no instrument {name!r}{close_match(name, known)}; there are {', '.join(known)}")
