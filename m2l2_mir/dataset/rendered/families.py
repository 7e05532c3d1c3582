"""Which scores are settings of one tune: those that share a title, an opening, much of the melody or its end.

A tune must not lie on both sides of a split, and it recurs: Bach harmonised many a melody several times, and dance
tunes stand in several books under one name or in one book under several. A shared opening is judged without
transposition; the opening by beats passes over ornaments and passing notes, the opening by notes over metre and rhythm.
Settings that part ways in the opening are found by the windows of their melodies, wherever they stand: tunes share a
second strain, chorales their last lines. Two tunes taken for one cost nothing but size, one taken for two is a leak:
hence any of these is enough.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, pairwise
from operator import itemgetter
from typing import TypeVar

import numpy as np
from scipy.sparse import csr_array

from m2l2_mir.dataset.rendered.parsing import Event

__all__ = [
    "ALIKE",
    "SHARED",
    "closing_line",
    "families",
    "note_windows",
    "openings",
    "same_end",
    "sharing",
    "step_windows",
    "title_key",
]

OPENING = 12  # intervals; shorter ones join melodies that part ways in the second bar
WINDOW = 8  # notes or steps
SHARED = 0.3  # of the windows of the melody that has fewer
CLOSING_QUARTERS = 24  # the most that a clip of bach-key holds is 21
ALIKE = 0.7  # of the time of two closing lines
_CLOSING_STEP = 0.5  # quarters
_SHIFT = 4  # steps: how far the ends of two settings may differ, by the length of the last note
_Item = TypeVar("_Item")
_DANCES = {"reel", "jig", "hornpipe", "clog", "strathspey", "slip", "single", "double"}
_SAYS_NOTHING = _DANCES | {"a", "an", "the", "der", "die", "das", "no"}


def openings(melody: Sequence[Event], *, beat: float, downbeat: float) -> set[str]:
    """Intervals of a melody's opening, from note to note and from beat to beat.

    Parameters
    ----------
    melody : sequence of (start, length, pitch)
        In quarters and MIDI numbers.
    beat : float
        Quarters.
    downbeat : float
        Start of the first full bar, in quarters: pick-ups vary between settings.

    Returns
    -------
    set of str
        Empty where the melody is too short to be told by its opening.
    """
    pitches = [pitch for start, _, pitch in melody if start > downbeat - 1e-6][: OPENING + 1]
    beats = [_sounding(melody, downbeat + step * beat) for step in range(OPENING + 1)]
    found = set()
    for kind, line in (("notes", pitches), ("beats", beats)):
        if len(line) > OPENING and None not in line:
            known = [pitch for pitch in line if pitch is not None]
            found.add(f"{kind} " + " ".join(str(pitch - known[0]) for pitch in known))
    return found


def title_key(title: str) -> set[str]:
    """Normalised title; empty where nothing is left that tells tunes apart.

    >>> title_key("The Devil's Dream -- REEL") == title_key("Devils Dream (1)"), title_key("Hornpipe")
    (True, set())
    """
    plain = re.sub(r"['’]|\(.*?\)", "", title.casefold())
    words = [word for word in re.findall(r"[^\W\d_]+", plain) if word not in _SAYS_NOTHING]
    return {"title " + " ".join(words)} if words else set()


def note_windows(melody: Sequence[Event]) -> set[tuple[int, ...]]:
    """Intervals of each run of notes, whatever their rhythm and key.

    >>> len(note_windows([(float(time), 1.0, 60 + time) for time in range(10)]))  # a scale: each run is the same
    1
    """
    intervals = [second[2] - first[2] for first, second in pairwise(melody)]
    return set(_runs(intervals, WINDOW - 1))


def step_windows(melody: Sequence[Event], *, tonic: int, step: float, start: float) -> set[tuple[int | None, ...]]:
    """Degrees (semitones above the tonic, in whatever octave) of each run of steps in time, passing over ornaments.

    Parameters
    ----------
    melody : sequence of (start, length, pitch)
    tonic : int
        Pitch class.
    step, start : float
        Quarters.
    """
    end = melody[-1][0] + melody[-1][1]
    return set(_runs(_degrees(melody, tonic, start, step, round((end - start) / step)), WINDOW))


def sharing(windows: Mapping[str, AbstractSet[Hashable]], share: float = SHARED) -> list[tuple[str, str]]:
    """Pairs that have more than a share of their windows in common, measured on the one that has fewer.

    >>> sharing({"a": {1, 2}, "b": {2, 3, 4, 5}, "c": {5, 6, 7, 8}})
    [('a', 'b')]
    """
    names = list(windows)
    column: dict[Hashable, int] = {}
    columns = [column.setdefault(window, len(column)) for name in names for window in windows[name]]
    sizes = np.array([len(windows[name]) for name in names], dtype=np.int64)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    has = csr_array((np.ones(len(columns), dtype=np.int64), columns, edges), shape=(len(names), len(column)))
    common = (has @ has.T).tocoo()
    fewer = np.minimum(sizes[common.row], sizes[common.col])
    found = (common.row < common.col) & (common.data > share * fewer)
    return sorted((names[one], names[other]) for one, other in zip(common.row[found], common.col[found], strict=True))


def closing_line(melody: Sequence[Event], *, tonic: int, end: float) -> list[int | None]:
    """Degrees of a melody in its last :data:`CLOSING_QUARTERS`, every half of a quarter."""
    count = round(CLOSING_QUARTERS / _CLOSING_STEP)
    return _degrees(melody, tonic, end - CLOSING_QUARTERS, _CLOSING_STEP, count)


def same_end(lines: Mapping[str, Sequence[int | None]], alike: float = ALIKE) -> list[tuple[str, str]]:
    """Pairs of closing lines of equal length that are at one degree for a share of the time or more.

    Lines are compared as they stand and up to two quarters apart, for the last note of one may be longer.

    >>> same_end({"a": [0, 4, 7, 4, 0], "b": [0, 4, 7, 5, 0], "c": [7, 5, 4, 2, 0]})
    [('a', 'b')]
    """
    names = list(lines)
    # a rest is like nothing, not even a rest
    table = np.array([[-1 if degree is None else degree for degree in lines[name]] for name in names])
    found = set()
    for row, name in enumerate(names):
        for shift in range(min(_SHIFT, table.shape[1] // 4) + 1):
            kept = table.shape[1] - shift
            for own, others in ((table[row, :kept], table[:, shift:]), (table[row, shift:], table[:, :kept])):
                equal = ((others == own) & (own >= 0)).mean(axis=1) >= alike
                found |= {(min(name, names[other]), max(name, names[other])) for other in np.flatnonzero(equal)}
    return sorted((one, other) for one, other in found if one != other)


def families(keys: Mapping[str, Iterable[str]], pairs: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """Join scores that share a key or are a pair, directly or through others.

    Parameters
    ----------
    keys : mapping of str to iterable of str
        Score -> titles and openings.
    pairs : iterable of (str, str), optional
        Scores found to be alike otherwise.

    Returns
    -------
    dict of str to str
        Score -> its family, called by the first name in it.

    Examples
    --------
    >>> families({"a": ["x"], "b": ["x", "y"], "c": ["y"], "d": []})
    {'a': 'a', 'b': 'a', 'c': 'a', 'd': 'd'}
    >>> families({"a": ["x"], "b": ["y"], "c": []}, [("b", "c")])
    {'a': 'a', 'b': 'b', 'c': 'b'}
    """
    parent = {name: name for name in keys}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[str, str] = {}
    by_key = ((name, first.setdefault(key, name)) for name, own in keys.items() for key in own)
    for pair in chain(by_key, pairs):
        one, other = sorted(map(root, pair))
        parent[other] = one
    return {name: root(name) for name in keys}


def _runs(line: Sequence[_Item], length: int) -> Iterator[tuple[_Item, ...]]:
    return (tuple(line[place : place + length]) for place in range(len(line) - length + 1))


def _degrees(melody: Sequence[Event], tonic: int, start: float, step: float, count: int) -> list[int | None]:
    """Semitones above the tonic at each step, or None in a rest."""
    pitches = [_sounding(melody, start + place * step) for place in range(count)]
    return [None if pitch is None else (pitch - tonic) % 12 for pitch in pitches]


def _sounding(melody: Sequence[Event], time: float) -> int | None:
    """The pitch at a moment, or None in a rest."""
    place = bisect_right(melody, time + 1e-6, key=itemgetter(0)) - 1
    if place < 0:
        return None
    start, length, pitch = melody[place]
    return pitch if time < start + length - 1e-6 else None
