"""Labels of many sources in one spelling.

Conventions
-----------
* ``key``: tonic and mode, as in ``"Eb minor"``; the tonic is one of :data:`TONICS` whatever the source spelled (so C#
  major is ``"Db major"``), the mode ``major`` or ``minor``. Every one of the 24 is accepted by ``mir_eval.key``.
  The notations of DJ programs are read as well, in which a step of the number is a fifth: Camelot, where 8B is C major
  and 8A is A minor, and Open Key, where these are 1d and 1m.
* ``pitch``: MIDI number, 0 to 127, 69 = A4.
* ``tempo``: beats per minute.
* ``genre``, ``instrument``: lower case, words joined by nothing (``hiphop``) for genre and by spaces for instrument.
* What cannot be brought into this form raises :class:`Unusable` with a reason short enough to be counted by.
"""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["KEYS", "TONICS", "Unusable", "canonical", "genre", "instrument", "key", "pitch", "tempo", "tonic_and_mode"]

TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)
TEMPO_RANGE = (20.0, 400.0)

_NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHIFT = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1, "##": 2, "x": 2, "bb": -2}
_MODES = {"major": "major", "maj": "major", "minor": "minor", "min": "minor", "m": "minor"}
_KEY = re.compile(r"([A-Ga-g])(##|bb|[#b♯♭x]?)[\s:_-]*([A-Za-z]*)")
_NOTE = re.compile(r"([A-Ga-g])(##|bb|[#b♯♭x]?)(-?\d)")
_WHEEL = re.compile(r"(0?[1-9]|1[0-2])([ABDMabdm])")
_HOUR_OF_C = {"a": 8, "b": 8, "m": 1, "d": 1}  # number of C major and A minor: Camelot 8A and 8B, Open Key 1m and 1d
_NO_KEY = {"", "x", "n", "none", "other", "unknown", "atonal", "-", "no key", "all"}


class Unusable(ValueError):
    """A label that a probe cannot be trained on; the message is the reason to count it under."""


def key(raw: Any) -> str:
    """Canonical key.

    Raises
    ------
    Unusable
        No key, several keys, no mode, or a spelling that is not understood.

    Examples
    --------
    >>> key("C# Major"), key(["f minor"]), key("Cb major"), key("E:min"), key("9A"), key("2m")
    ('Db major', 'F minor', 'B major', 'E minor', 'E minor', 'E minor')
    """
    texts = raw if isinstance(raw, list | tuple) else [raw]
    keys = {_one_key(str(text)) for text in texts if text is not None}
    if not keys:
        raise Unusable("no key")
    if len(keys) > 1:
        raise Unusable("several keys")
    return keys.pop()


def pitch(raw: Any) -> int:
    """MIDI number from a number or a note name.

    >>> pitch("A#4"), pitch("Cb4"), pitch(60.0)
    (70, 59, 60)
    """
    if isinstance(raw, str) and (match := _NOTE.fullmatch(raw.strip())):
        letter, shift, octave = match.groups()
        number = float(_NATURAL[letter.upper()] + _SHIFT[shift] + 12 * (int(octave) + 1))
    else:
        number = _number(raw, "pitch")
    if number != round(number):
        raise Unusable("pitch between two semitones")
    if not 0 <= number <= 127:
        raise Unusable("pitch outside MIDI 0 to 127")
    return int(number)


def tempo(raw: Any) -> float:
    """Beats per minute, within :data:`TEMPO_RANGE`."""
    bpm = _number(raw, "tempo")
    if not TEMPO_RANGE[0] <= bpm <= TEMPO_RANGE[1]:
        raise Unusable("tempo outside {:g} to {:g} bpm".format(*TEMPO_RANGE))
    return bpm


def genre(raw: Any) -> str:
    """Genre without case, spaces and punctuation.

    >>> genre("Hip-Hop")
    'hiphop'
    """
    name = re.sub(r"[\W_]+", "", str(raw).casefold())
    if not name:
        raise Unusable("no genre")
    return name


def instrument(raw: Any) -> str:
    """Instrument in lower case, words apart.

    >>> instrument("Acoustic_Guitar")
    'acoustic guitar'
    """
    name = re.sub(r"[\s_-]+", " ", str(raw).casefold()).strip()
    if not name:
        raise Unusable("no instrument")
    return name


def tonic_and_mode(name: str) -> tuple[int, str]:
    """Pitch class (0 = C) and mode of a canonical key.

    >>> tonic_and_mode("Eb minor")
    (3, 'minor')
    """
    tonic, mode = name.split()
    return TONICS.index(tonic), mode


_READERS = {"key": key, "pitch": pitch, "tempo": tempo, "genre": genre, "instrument": instrument}


def canonical(label: str, raw: Any) -> Any:
    """Canonical form of a label by the name of its column; columns of other names are taken as they are.

    A source that knows why its label cannot be used gives an :class:`Unusable` in place of the label.

    Raises
    ------
    Unusable
        With the reason.
    """
    if isinstance(raw, Unusable):
        raise raw
    if raw is None or (isinstance(raw, float) and math.isnan(raw)):
        raise Unusable(f"no {label}")
    return _READERS[label](raw) if label in _READERS else raw


def _one_key(text: str) -> str:
    text = text.strip()
    if text.casefold() in _NO_KEY:
        raise Unusable("no key")
    if re.search(r"[/,;|]", text):
        raise Unusable("several keys")
    if wheel := _WHEEL.fullmatch(text):
        return _wheel_key(int(wheel[1]), wheel[2].casefold())
    match = _KEY.fullmatch(text)
    if match is None:
        raise Unusable(f"key not understood: {text!r}")
    letter, shift, mode = match.groups()
    if not mode:
        raise Unusable("no mode")
    # "M" is major and "m" minor, which casefold would not tell apart
    mode = "major" if mode == "M" else _MODES.get(mode.casefold(), "")
    if not mode:
        raise Unusable(f"neither major nor minor: {match[3]!r}")
    tonic = (_NATURAL[letter.upper()] + _SHIFT[shift]) % 12
    return f"{TONICS[tonic]} {mode}"


def _wheel_key(hour: int, mark: str) -> str:
    """Key of a number and a letter on the wheel of a DJ program."""
    minor = mark in "am"
    tonic = (7 * (hour - _HOUR_OF_C[mark]) - 3 * minor) % 12
    return f"{TONICS[tonic]} {'minor' if minor else 'major'}"


def _number(raw: Any, what: str) -> float:
    try:
        number = float(raw)
    except (TypeError, ValueError):
        raise Unusable(f"{what} is not a number: {raw!r}") from None
    if not math.isfinite(number):
        raise Unusable(f"no {what}")
    return number
