"""Which dance tunes can be used, what dance and metre they are in, and how a balanced pool of them is drawn.

Conventions
-----------
* Tunes are those of ``ryansMammoth`` and ``oneills1850``, one line of melody each.
* The dance is what the transcriber states. A jig in 9/8 is a slip jig, a double jig a jig; jigs in two-four (sand jigs,
  straight jigs) are other dances and left out, as are dances and metres with fewer than a hundred usable tunes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from m2l2_mir.dataset.labels import Unusable
from m2l2_mir.dataset.rendered.corpus import heading, load_many, names
from m2l2_mir.dataset.rendered.families import families, note_windows, openings, sharing, step_windows, title_key
from m2l2_mir.dataset.rendered.parsing import Heading, Score
from m2l2_mir.dataset.rendered.scores import TRIADS, bar_grid, stated_key
from m2l2_mir.errors import InputError

__all__ = ["COLLECTIONS", "DANCES", "METERS", "check_tune", "dance_of", "draw_pools", "meter_of", "tune_families"]

COLLECTIONS = ("ryansMammoth", "oneills1850")
DANCES = ("hornpipe", "jig", "reel", "slipjig")
METERS = ("2/2", "2/4", "3/4", "4/4", "6/8", "9/8")
_IN_THREES = ("6/8", "9/8")  # three eighths to the beat
_SHORTEST = 8  # bars: two strains of four, repeats not unfolded

_SPELLINGS = {"C": "4/4", "C|": "2/2"}


def dance_of(head: Heading) -> str:
    """Dance of a tune, one of :data:`DANCES`.

    Raises
    ------
    Unusable
        With the reason.

    Examples
    --------
    >>> dance_of(Heading(name="", title="", dance="double jig", meter="6/8"))
    'jig'
    """
    stated = head.dance.replace(" ", "")
    if not stated:
        raise Unusable("no dance stated")
    if stated in ("jig", "doublejig"):
        if head.meter not in ("6/8", "9/8"):
            raise Unusable("a jig in neither 6/8 nor 9/8")
        return "jig" if head.meter == "6/8" else "slipjig"
    if stated not in DANCES:
        raise Unusable("a dance of fewer than 100 tunes")
    return stated


def meter_of(head: Heading) -> str:
    """Metre of a tune, one of :data:`METERS`; errors as in :func:`dance_of`.

    >>> meter_of(Heading(name="", title="", dance="reel", meter="C|"))
    '2/2'
    """
    meter = _SPELLINGS.get(head.meter, head.meter)
    if meter not in METERS:
        raise Unusable("a metre of fewer than 100 tunes")
    return meter


def check_tune(score: Score) -> None:
    """Refuse a tune whose beats are not where its metre says, or whose mode has no chords.

    Raises
    ------
    Unusable
        With the reason.
    """
    try:
        stated_key(score)
    except InputError:
        raise Unusable("mode is not one of " + ", ".join(TRIADS)) from None
    if not score.steady:
        raise Unusable("key or metre changes")
    try:
        bars = bar_grid(score)
    except InputError:
        raise Unusable("bars of different lengths") from None
    if len(bars) < _SHORTEST:
        raise Unusable(f"fewer than {_SHORTEST} bars")


def draw_pools(
    rng: np.random.Generator,
    kind_of: Callable[[Heading], str],
    *,
    label: str,
    count: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, list[Score]], pd.DataFrame]:
    """Draw tunes of each kind in random order: as many as clips are needed, or as there are.

    Parameters
    ----------
    rng : numpy.random.Generator
    kind_of : callable
        :func:`dance_of` or :func:`meter_of`.
    label : str
        Column that the kind decides on, for the table of what is dropped.
    count : int
        Tunes wanted of each kind.
    progress : callable, optional
        Called as ``progress(done, total)`` while tunes are read.

    Returns
    -------
    pools : dict of str to list of Score
    dropped : pandas.DataFrame
        ``track_id``, ``label``, ``reason``. Tunes that were not needed were not looked at and are not in it.
    """
    kinds, dropped = _sorted(kind_of, label)
    queues = {kind: [own[index] for index in rng.permutation(len(own))] for kind, own in kinds.items()}
    pools: dict[str, list[Score]] = {kind: [] for kind in kinds}
    total = sum(min(count, len(queue)) for queue in queues.values())
    while True:
        batch: dict[str, str] = {}
        for kind, queue in queues.items():
            short = max(0, count - len(pools[kind]))
            batch |= dict.fromkeys(queue[:short], kind)
            del queue[:short]
        if not batch:
            break
        for score in load_many(batch):
            try:
                check_tune(score)
            except Unusable as reason:
                dropped.append({"track_id": score.name, "label": label, "reason": str(reason)})
            else:
                pools[batch[score.name]].append(score)
                if progress:
                    progress(sum(map(len, pools.values())), total)
    if not all(pools.values()):
        raise InputError("the music21 corpus lacks dance tunes: pip install --force-reinstall music21")
    return pools, pd.DataFrame(dropped, columns=["track_id", "label", "reason"])


def tune_families(pools: Mapping[str, Sequence[Score]]) -> dict[str, str]:
    """Family of each tune of the pools, over all kinds and both collections."""
    tunes = [score for pool in pools.values() for score in pool]
    keys, notes, steps = {}, {}, {}
    for score in tunes:
        melody, downbeat = score.parts[0], bar_grid(score)[0][0]
        keys[score.name] = openings(melody, beat=score.beat, downbeat=downbeat) | title_key(score.title)
        notes[score.name] = note_windows(melody)
        step = score.beat / (3 if score.meter in _IN_THREES else 2)
        steps[score.name] = step_windows(melody, tonic=stated_key(score)[0], step=step, start=downbeat)
    return families(keys, sharing(notes) + sharing(steps))


def _sorted(kind_of: Callable[[Heading], str], label: str) -> tuple[dict[str, list[str]], list[dict[str, str]]]:
    """Names of tunes by kind, and rows of those that are of none."""
    kinds: dict[str, list[str]] = {}
    dropped = []
    for name in (name for collection in COLLECTIONS for name in names(collection)):
        try:
            kinds.setdefault(kind_of(heading(name)), []).append(name)
        except Unusable as reason:
            dropped.append({"track_id": name, "label": label, "reason": str(reason)})
    return dict(sorted(kinds.items())), dropped
