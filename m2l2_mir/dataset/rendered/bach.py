"""bach-key: the closing bars of Bach's chorales in all 24 keys, for key detection.

Conventions
-----------
* A clip is the end of a piece with its final cadence: there the key of the piece is beyond doubt, while phrases inside
  it close in neighbouring keys and would carry a label that is wrong for what is heard.
* The label is the encoded key, and only where the end confirms it: the last bass note is the tonic, and the last chord
  has no minor third in major. (A major third in minor is a Picardy third; most of the minor pieces close with one.)
  Modal melodies, which their encoding calls major or minor, end elsewhere and are dropped with that reason.
* Each key is equally frequent: pieces are transposed within their mode, by 6 semitones down to 5 up, a piece to another
  tonic each time it is used.
* ``group`` joins pieces whose melodies share a title, an opening, more than 0.3 of their windows of eight notes or
  eight quarters, or 0.7 of the last 24 quarters (:mod:`m2l2_mir.dataset.rendered.families`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from m2l2_mir.dataset.labels import TONICS, Unusable
from m2l2_mir.dataset.rendered.casting import draw_player, draw_stage, players
from m2l2_mir.dataset.rendered.clips import Clip, ClipSet
from m2l2_mir.dataset.rendered.corpus import load_many, names
from m2l2_mir.dataset.rendered.families import (
    closing_line,
    families,
    note_windows,
    openings,
    same_end,
    sharing,
    step_windows,
    title_key,
)
from m2l2_mir.dataset.rendered.instruments import Instrument
from m2l2_mir.dataset.rendered.parsing import Event, Score
from m2l2_mir.dataset.rendered.scores import excerpt, orchestrate, transposed, voiced, voices
from m2l2_mir.dataset.rendered.soundfont import Soundfont
from m2l2_mir.errors import InputError

__all__ = ["QUARTERS_PER_MINUTE", "SECONDS", "clips", "confirmed_key"]

SECONDS = 12.0
RELEASE_SECONDS = 0.5  # after the last chord, inside the clip
QUARTERS_PER_MINUTE = (60.0, 110.0)
LONGEST_SILENCE = 1.5  # quarters
MODES = ("major", "minor")
USES = 2  # of each piece, so that a small set need not read many; more where there are not enough pieces
_BATCH = 24  # scores looked at before asking whether there are enough

_CLOSE = 1e-6


def clips(
    *, count: int, seed: int, fonts: Sequence[Soundfont], progress: Callable[[int, int], None] | None = None
) -> ClipSet:
    """Plan the clips of bach-key.

    Parameters
    ----------
    count : int
        Of clips; half are major, half minor, and each tonic is as frequent as any other within one clip.
    seed : int
        Decides on pieces, transpositions, tempi, instruments, rooms and levels.
    fonts : sequence of Soundfont
        The first plays.
    progress : callable, optional
        Called as ``progress(done, total)`` while scores are read.

    Returns
    -------
    ClipSet
        ``dropped`` counts the pieces that were looked at: a small set does not look at all.

    Raises
    ------
    MissingExtraError
        Without the [render] extra.
    """
    rng = np.random.default_rng(np.random.PCG64(seed))
    wanted = {"major": (count + 1) // 2, "minor": count // 2}
    pools, dropped = _pools(rng, wanted, progress)
    family = _melody_families([score for pool in pools.values() for score in pool])
    planned = [
        _clip(rng, score, tonic=tonic, index=index, group=family[score.name], soundfont=fonts[0])
        for mode in MODES
        for index, (score, tonic) in enumerate(_transpositions(rng, pools[mode], wanted[mode]))
    ]
    return ClipSet(clips=tuple(planned), dropped=dropped)


def confirmed_key(score: Score) -> tuple[int, str]:
    """Tonic (pitch class, 0 = C) and mode of a chorale, as encoded and confirmed by its last chord.

    Raises
    ------
    Unusable
        With the reason.
    """
    try:
        parts = voices(score)
    except InputError:
        raise Unusable("not in four voices") from None
    if score.tonic is None or score.mode not in MODES:
        raise Unusable("no mode stated")
    if not score.steady:
        raise Unusable("key or metre changes")
    last = parts[-1][-1]
    if last[2] % 12 != score.tonic:
        raise Unusable("final bass note is not the tonic")
    if score.mode == "major" and any(pitch % 12 == (score.tonic + 3) % 12 for pitch in _chord(parts, last[0])):
        raise Unusable("final chord is minor in a major key")
    if _longest_silence(parts) > LONGEST_SILENCE:
        raise Unusable("the voices pause before the end")  # while instruments play on, which are not rendered
    return score.tonic, score.mode


def _chord(parts: Sequence[Sequence[Event]], start: float) -> list[int]:
    """Where each voice has come to rest, from the onset of the last bass note on."""
    return [part[-1][2] for part in parts if part[-1][0] + part[-1][1] > start + _CLOSE]


def _longest_silence(parts: Sequence[Sequence[Event]]) -> float:
    """Quarters without any note in the longest stretch that a clip can hold."""
    events = sorted(event for part in parts for event in part)
    end = max(start + length for start, length, _ in events)
    sounding = end - SECONDS * QUARTERS_PER_MINUTE[1] / 60
    longest = 0.0
    for start, length, _ in events:
        longest = max(longest, start - sounding)
        sounding = max(sounding, start + length)
    return longest


def _pools(
    rng: np.random.Generator, wanted: dict[str, int], progress: Callable[[int, int], None] | None
) -> tuple[dict[str, list[Score]], pd.DataFrame]:
    """Usable pieces of either mode in random order, one for two clips or all there are; and what was dropped."""
    known = names("bach")
    order = [known[index] for index in rng.permutation(len(known))]
    pools: dict[str, list[Score]] = {mode: [] for mode in MODES}
    dropped = []
    # a large set needs all pieces, and those are parsed in parallel
    batch = len(order) if sum(wanted.values()) > len(order) else _BATCH
    for start in range(0, len(order), batch):
        for score in load_many(order[start : start + batch]):
            try:
                _, mode = confirmed_key(score)
            except Unusable as reason:
                dropped.append({"track_id": score.name, "label": "key", "reason": str(reason)})
            else:
                pools[mode].append(score)
        if progress:
            progress(min(start + batch, len(order)), len(order))
        if all(len(pools[mode]) >= wanted[mode] / USES for mode in MODES):
            break
    pools = {mode: pool[: -(-wanted[mode] // USES)] for mode, pool in pools.items()}
    return pools, pd.DataFrame(dropped, columns=["track_id", "label", "reason"])


def _melody_families(scores: Sequence[Score]) -> dict[str, str]:
    """Family of each usable chorale."""
    keys, notes, quarters, ends = {}, {}, {}, {}
    for score in scores:
        tonic, _ = confirmed_key(score)
        soprano, *_, bass = voices(score)
        keys[score.name] = _identity(score)
        notes[score.name] = note_windows(soprano)
        quarters[score.name] = step_windows(soprano, tonic=tonic, step=1.0, start=0.0)
        ends[score.name] = closing_line(soprano, tonic=tonic, end=bass[-1][0] + bass[-1][1])
    return families(keys, sharing(notes) + sharing(quarters) + same_end(ends))


def _identity(score: Score) -> set[str]:
    soprano = voices(score)[0]
    longest = max(length for _, length in score.bars)
    downbeat = next(start for start, length in score.bars if length > longest - _CLOSE)
    known = set() if score.title.startswith("BWV ") else title_key(score.title)  # a number is no title
    return openings(soprano, beat=score.beat, downbeat=downbeat) | known


def _transpositions(rng: np.random.Generator, pool: Sequence[Score], wanted: int) -> Iterator[tuple[Score, int]]:
    """Pieces in turn and tonics in turn, so that each tonic is as frequent as any other within one clip.

    Where the two turns fall into step, the tonics move on by one, so that a piece meets all twelve before any again.
    """
    if wanted and not pool:
        raise InputError("no usable chorale in the music21 corpus: pip install --force-reinstall music21")
    tonics = rng.permutation(12).tolist()
    in_step = math.lcm(len(pool), 12) if pool else 1  # a multiple of 12: moving on there keeps the balance
    for index in range(wanted):
        yield pool[index % len(pool)], tonics[(index + index // in_step) % 12]


def _clip(rng: np.random.Generator, score: Score, *, tonic: int, index: int, group: str, soundfont: Soundfont) -> Clip:
    semitones = (tonic - confirmed_key(score)[0] + 6) % 12 - 6
    moved = transposed(score, semitones)
    tempo = float(rng.uniform(*QUARTERS_PER_MINUTE))
    notes = voiced(voices(moved), quarters_per_minute=tempo)
    cast = _cast(rng, voices(moved))
    end = max(note.onset + note.duration for note in notes)
    played = orchestrate(notes, [player.program for player in cast])
    return Clip(
        track_id=f"{score.mode}-{index:04d}-{score.name.removeprefix('bach/')}",
        notes=excerpt(played, start=end + RELEASE_SECONDS - SECONDS, seconds=SECONDS),
        seconds=SECONDS,
        soundfont=soundfont,
        **draw_stage(rng),
        labels={
            "key": f"{TONICS[tonic]} {score.mode}",
            "group": group,
            "title": score.title,
            "score": score.name,
            "tonic": TONICS[tonic],
            "mode": score.mode,
            "meter": score.meter,
            "quarters_per_minute": round(tempo, 2),
            "transposition": semitones,
            "players": ", ".join(player.name for player in cast),
        },
    )


def _cast(rng: np.random.Generator, parts: Sequence[Sequence[Event]]) -> list[Instrument]:
    """One instrument for all four voices, or one for each, with even chances."""
    if rng.random() < 0.5:
        return [draw_player(rng, players(pitch for part in parts for *_, pitch in part))] * len(parts)
    return [draw_player(rng, players(pitch for *_, pitch in part)) for part in parts]
