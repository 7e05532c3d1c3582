"""tunes-genre and tunes-tempo: dance tunes, played so that only the tune, or only the beat, tells the label.

Conventions
-----------
* Tunes, dances and metres: :mod:`m2l2_mir.dataset.rendered.tune_pool`. ``group`` joins tunes that share a title, an
  opening, or more than 0.3 of the windows of their melodies.
* In tunes-genre the melody plays alone or over a drone: an accompaniment would need the metre, and its pattern would
  then give the dance away. Notes, not beats, come at a drawn rate: at equal beats, a jig has three notes where a reel
  has four, and the rate alone would tell them apart. All notes are equally loud for the same reason.
* In tunes-tempo a bass plays on every beat and a chord after it, so that the beat is audible; half of the clips have
  drums. The beat is that of the time signature: a dotted quarter in 6/8 and 9/8, a half in 2/2, else a quarter.
* Dances (or metres), keys, registers, instruments, rooms and levels are drawn independently of each other.
* A tune that is too short for its clip is played again from its start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from m2l2_mir.dataset.labels import TONICS
from m2l2_mir.dataset.rendered.casting import draw_player, draw_stage, players
from m2l2_mir.dataset.rendered.clips import Clip, ClipSet
from m2l2_mir.dataset.rendered.parsing import Score
from m2l2_mir.dataset.rendered.scores import (
    accompanied,
    bar_grid,
    drums,
    excerpt,
    orchestrate,
    repeated,
    stated_key,
    transposed,
    voiced,
)
from m2l2_mir.dataset.rendered.soundfont import Soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note
from m2l2_mir.dataset.rendered.tune_pool import DANCES, METERS, dance_of, draw_pools, meter_of, tune_families

__all__ = ["BPM", "MIDDLE_BPM", "NOTES_PER_SECOND", "SECONDS", "genre_clips", "tempo_clips"]

SECONDS = 10.0
NOTES_PER_SECOND = (4.5, 7.5)
BPM = (50.0, 210.0)
# The middle half of the range, on its logarithmic scale: what extrapolation trains on.
MIDDLE_BPM = tuple(round(BPM[0] * (BPM[1] / BPM[0]) ** part, 2) for part in (0.25, 0.75))
TRAINING_SHARE = 0.6  # of the tune families, in extrapolation
_CENTRE = 72  # melodies are moved to a median pitch within six semitones of it
_DRONE = 43  # its tonic lies in the octave above
_DRONE_VELOCITY = 60

Progress = Callable[[int, int], None]


def genre_clips(*, count: int, seed: int, fonts: Sequence[Soundfont], progress: Progress | None = None) -> ClipSet:
    """Plan the clips of tunes-genre.

    Parameters
    ----------
    count : int
        Of clips; each dance is as frequent as any other within one clip.
    seed : int
        Decides on tunes, places in them, keys, rates, instruments, rooms and levels.
    fonts : sequence of Soundfont
        The first plays.
    progress : callable, optional
        Called as ``progress(done, total)`` while tunes are read.

    Returns
    -------
    ClipSet
        ``dropped`` has the tunes of other dances, and of the others those that were looked at and cannot be used.

    Raises
    ------
    MissingExtraError
        Without the [render] extra.
    """
    rng = np.random.default_rng(np.random.PCG64(seed))
    pools, dropped = draw_pools(rng, dance_of, label="genre", count=-(-count // len(DANCES)), progress=progress)
    family = tune_families(pools)
    planned = [
        _genre_clip(rng, score, dance=dance, index=index, group=family[score.name], soundfont=fonts[0])
        for dance, index, score in _in_turn(pools, count)
    ]
    return ClipSet(clips=tuple(planned), dropped=dropped)


def tempo_clips(*, count: int, seed: int, fonts: Sequence[Soundfont], progress: Progress | None = None) -> ClipSet:
    """Plan the clips of tunes-tempo; as :func:`genre_clips`, with metres in the place of dances.

    The column ``extrapolation`` is "train" for tempi in :data:`MIDDLE_BPM`, "test" for those at both ends, each for
    tune families of its own; clips of training tunes at the ends and of test tunes in the middle have none.
    """
    rng = np.random.default_rng(np.random.PCG64(seed))
    pools, dropped = draw_pools(rng, meter_of, label="tempo", count=-(-count // len(METERS)), progress=progress)
    family = tune_families(pools)
    known = sorted(set(family.values()))
    training = {known[index] for index in rng.permutation(len(known))[: round(TRAINING_SHARE * len(known))]}
    turns = _in_turn(pools, count)
    bpm = _spread_bpm(rng, [meter for meter, *_ in turns])
    planned = [
        _tempo_clip(
            rng,
            score,
            bpm=bpm[place],
            index=index,
            group=family[score.name],
            trains=family[score.name] in training,
            soundfont=fonts[0],
        )
        for place, (_, index, score) in enumerate(turns)
    ]
    return ClipSet(clips=tuple(planned), dropped=dropped)


def _in_turn(pools: Mapping[str, Sequence[Score]], count: int) -> list[tuple[str, int, Score]]:
    """Kind, number and tune of `count` clips, the kinds in turn and the tunes of a kind in turn."""
    kinds = list(pools)
    turns = [(kinds[place % len(kinds)], place // len(kinds)) for place in range(count)]
    return [(kind, index, pools[kind][index % len(pools[kind])]) for kind, index in turns]


def _spread_bpm(rng: np.random.Generator, meters: Sequence[str]) -> list[float]:
    """Tempi that cover the range evenly on a logarithmic scale within each metre, in random order."""
    bpm = [0.0] * len(meters)
    for meter in sorted(set(meters)):
        places = [place for place, own in enumerate(meters) if own == meter]
        share = (rng.permutation(len(places)) + rng.random(len(places))) / len(places)
        for place, part in zip(places, share.tolist(), strict=True):
            bpm[place] = round(BPM[0] * (BPM[1] / BPM[0]) ** part, 2)
    return bpm


def _genre_clip(
    rng: np.random.Generator, score: Score, *, dance: str, index: int, group: str, soundfont: Soundfont
) -> Clip:
    moved = _moved(rng, score)
    melody = moved.parts[0]
    rate = float(np.exp(rng.uniform(*np.log(NOTES_PER_SECOND))))
    quarters_per_minute = 60.0 * rate * moved.end / len(melody)
    bars = bar_grid(moved)
    start = 0.0 if rng.random() < 0.5 else bars[rng.integers(len(bars))][0]
    start *= 60.0 / quarters_per_minute
    played = _long_enough(moved, start + SECONDS, quarters_per_minute)
    notes = excerpt(voiced(played.parts, quarters_per_minute=quarters_per_minute), start=start, seconds=SECONDS)
    cast = [draw_player(rng, players(pitch for *_, pitch in melody))]
    if drone := bool(rng.random() < 0.5):
        tonic = _DRONE + (stated_key(moved)[0] - _DRONE) % 12
        held = [Note(0.0, SECONDS, pitch, _DRONE_VELOCITY, part=1) for pitch in (tonic, tonic + 7)]
        cast.append(draw_player(rng, players((note.pitch for note in held), sustained=True)))
        notes = (*notes, *held)
    return Clip(
        track_id=f"{dance}-{index:04d}-{_slug(score)}",
        notes=tuple(orchestrate(notes, [player.program for player in cast])),
        seconds=SECONDS,
        soundfont=soundfont,
        **draw_stage(rng),
        labels={
            "genre": dance,
            **_described(moved, group),
            "notes_per_second": round(rate, 2),
            "texture": "drone" if drone else "melody",
            "players": ", ".join(player.name for player in cast),
        },
    )


def _tempo_clip(
    rng: np.random.Generator, score: Score, *, bpm: float, index: int, group: str, trains: bool, soundfont: Soundfont
) -> Clip:
    moved = _moved(rng, score)
    quarters_per_minute = bpm * score.beat
    start = float(rng.uniform(0, moved.end)) * 60.0 / quarters_per_minute
    played = _long_enough(moved, start + SECONDS, quarters_per_minute)
    notes = accompanied(played, quarters_per_minute=quarters_per_minute)
    cast = [draw_player(rng, players(note.pitch for note in notes if note.part == part)) for part in range(3)]
    if drummed := bool(rng.random() < 0.5):
        notes += drums(played, quarters_per_minute=quarters_per_minute)
    middle = MIDDLE_BPM[0] <= bpm <= MIDDLE_BPM[1]
    return Clip(
        track_id=f"{score.meter.replace('/', '-')}-{index:04d}-{_slug(score)}",
        notes=excerpt(orchestrate(notes, [player.program for player in cast]), start=start, seconds=SECONDS),
        seconds=SECONDS,
        soundfont=soundfont,
        **draw_stage(rng),
        labels={
            "tempo": bpm,
            **_described(moved, group),
            "drums": drummed,
            "players": ", ".join(player.name for player in cast),
            "extrapolation": None if trains != middle else "train" if trains else "test",
        },
    )


def _moved(rng: np.random.Generator, score: Score) -> Score:
    """The tune with a drawn tonic, in the octave that brings its median pitch nearest to the common centre."""
    semitones = (int(rng.integers(12)) - stated_key(score)[0]) % 12
    median = float(np.median([pitch for *_, pitch in score.parts[0]])) + semitones
    return transposed(score, semitones + 12 * round((_CENTRE - median) / 12))


def _long_enough(score: Score, seconds: float, quarters_per_minute: float) -> Score:
    """The tune played as often as `seconds` need, and a little more, as a last bar may be incomplete."""
    return repeated(score, 1 + math.ceil(seconds * quarters_per_minute / 60.0 / score.end))


def _described(score: Score, group: str) -> dict[str, Any]:
    return {
        "group": group,
        "title": score.title,
        "score": score.name,
        "collection": score.name.partition("/")[0],
        "meter": score.meter,
        "tonic": TONICS[stated_key(score)[0]],
        "mode": score.mode,
    }


def _slug(score: Score) -> str:
    return score.name.partition("/")[2].replace("/", "-")
