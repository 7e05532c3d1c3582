"""Which scores are settings of one tune: those that share a title, an opening by notes or an opening by beats.

A tune must not lie on both sides of a split, and it recurs: Bach harmonised many a melody several times, and dance
tunes stand in several books under one name or in one book under several. A shared opening is judged without
transposition; the opening by beats passes over ornaments and passing notes, the opening by notes over metre and rhythm.
Two tunes taken for one cost nothing but size, one taken for two is a leak: hence any of the three is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from m2l2_mir.dataset.rendered.parsing import Event

__all__ = ["families", "openings", "title_key"]

OPENING = 12  # intervals; shorter ones join melodies that part ways in the second bar
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


def families(keys: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Join scores that share a key, directly or through others.

    Parameters
    ----------
    keys : mapping of str to iterable of str
        Score -> titles and openings.

    Returns
    -------
    dict of str to str
        Score -> its family, called by the first name in it.

    Examples
    --------
    >>> families({"a": ["x"], "b": ["x", "y"], "c": ["y"], "d": []})
    {'a': 'a', 'b': 'a', 'c': 'a', 'd': 'd'}
    """
    parent = {name: name for name in keys}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[str, str] = {}
    for name, own in keys.items():
        for key in own:
            one, other = sorted((root(name), root(first.setdefault(key, name))))
            parent[other] = one
    return {name: root(name) for name in keys}


def _sounding(melody: Sequence[Event], time: float) -> int | None:
    """The pitch at a moment, or None in a rest."""
    return next((pitch for start, length, pitch in melody if start - 1e-6 <= time < start + length - 1e-6), None)
