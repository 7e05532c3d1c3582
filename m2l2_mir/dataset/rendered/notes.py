"""notes-pitch: single notes, instrument by pitch by velocity, for pitch estimation across instruments.

Conventions
-----------
* As in NSynth, a note is held for 3 s of a clip of 4 s. It is dry, and the whole clip is brought to one RMS level: as
  played, low notes and high velocities are louder, and loudness would tell part of the pitch. Velocity stays audible in
  the timbre.
* All instruments play the same pitches (:data:`CORE`, F2 to B5), each equally often, so that no instrument tells
  anything about the pitch; those that are not in tune over all of it, the mallets among them, are left out. Small sets
  take fewer instruments, at least one of each family, and pitches evenly spread.
* Velocities are equally frequent within an instrument, in an order that is drawn; among five instruments each pitch has
  each velocity once. So neither tells the other.
* The synthesizer writes 16 bits before the level is set, so soft notes carry its rounding: the softest layer of NSynth
  (25: 48 dB above rounding noise in the median, 27 at least) is left out, and :data:`VELOCITIES` begin with 40 (56 and
  35).
* ``group`` is the instrument. Folds hold out whole instruments, each family spread over the folds.
* A second soundfont plays the instruments of the first fold only. In the split ``soundfont``, training is on the first
  soundfont without these instruments and testing on them in the second one: a change of soundfont for a probe, but not
  an unheard one, as the second is TimGM6mb, which the shipped models were trained on. The split ``instruments`` holds
  the same instruments out within the first soundfont, so the difference is the soundfont's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from m2l2_mir.dataset.rendered.clips import Clip, ClipSet
from m2l2_mir.dataset.rendered.instruments import Instrument, covering
from m2l2_mir.dataset.rendered.soundfont import Soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note
from m2l2_mir.errors import InputError

__all__ = ["CORE", "FOLDS", "VELOCITIES", "clips"]

SECONDS, HELD_SECONDS = 4.0, 3.0
LEVEL_DBFS = -30.0  # low enough for short, sharp notes to reach it without clipping
CORE = (41, 83)
VELOCITIES = (40, 60, 80, 100, 127)
FOLDS = 5
_LEAST_INSTRUMENTS = 10  # two a fold, one a family


def clips(
    *, count: int, seed: int, fonts: Sequence[Soundfont], progress: Callable[[int, int], None] | None = None
) -> ClipSet:
    """Plan the clips of notes-pitch.

    Parameters
    ----------
    count : int
        Of clips, roughly: the nearest smaller set in which all combinations of instrument and pitch are equally
        frequent.
    seed : int
        Decides on folds and velocities, and on the instruments of a small set.
    fonts : sequence of Soundfont
        The first plays all instruments, the second (if any) those of the first fold.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Raises
    ------
    InputError
        `count` is too small for a note of one instrument of each family.
    """
    rng = np.random.default_rng(np.random.PCG64(seed))
    everyone = covering(*CORE)
    of_first_font = count / (1 + (1 / FOLDS if len(fonts) > 1 else 0))
    pitches_of_core = CORE[1] - CORE[0] + 1
    # instruments and pitches are thinned out alike
    share = min(1.0, (of_first_font / (len(everyone) * pitches_of_core)) ** 0.5)
    ensemble = _ensemble(rng, everyone, max(_LEAST_INSTRUMENTS, round(share * len(everyone))))
    folds = {player: index % FOLDS for index, player in enumerate(ensemble)}
    second = [player for player in ensemble if folds[player] == 0] if len(fonts) > 1 else []
    notes = count // (len(ensemble) + len(second))
    if not notes:
        raise InputError(f"notes-pitch needs at least {len(ensemble) + len(second)} clips: {count}")
    pitches = np.unique(np.linspace(*CORE, min(notes, pitches_of_core)).round().astype(int)).tolist()
    layers = min(len(VELOCITIES), notes // len(pitches))

    planned = []
    for font, players in ((fonts[0], ensemble), (fonts[-1], second)):
        main = players is ensemble
        for index, player in enumerate(players):
            if index % len(VELOCITIES) == 0:
                turns = rng.permutation(np.arange(len(pitches)) % len(VELOCITIES)).tolist()
            held_out = folds[player] == 0
            membership = {
                "instrument_fold": str(folds[player] + 1) if main else None,
                "family_fold": player.family if main else None,
                "soundfont_fold": None if not second or (main and held_out) else "train" if main else "test",
            }
            for pitch, turn in zip(pitches, turns, strict=True):
                for layer in range(layers):
                    velocity = VELOCITIES[(turn + index + layer) % len(VELOCITIES)]
                    planned.append(_clip(player, pitch, velocity, font, membership))
    if progress:
        progress(len(planned), len(planned))
    return ClipSet(clips=tuple(planned), dropped=pd.DataFrame(columns=["track_id", "label", "reason"]))


def _ensemble(rng: np.random.Generator, everyone: Sequence[Instrument], size: int) -> list[Instrument]:
    """Draw instruments, one of each family first, and order them by family, so that dealing them out spreads these."""
    shuffled = [everyone[index] for index in rng.permutation(len(everyone))]
    firsts = list({player.family: player for player in shuffled}.values())
    chosen = (firsts + [player for player in shuffled if player not in firsts])[:size]
    families = sorted({player.family for player in chosen})
    return sorted(chosen, key=lambda player: families.index(player.family))


def _clip(player: Instrument, pitch: int, velocity: int, font: Soundfont, membership: dict[str, str | None]) -> Clip:
    return Clip(
        track_id=f"{player.name.replace(' ', '-')}-{pitch:03d}-{velocity:03d}-{font.name}",
        notes=(Note(0.0, HELD_SECONDS, pitch, velocity, player.program),),
        seconds=SECONDS,
        soundfont=font,
        level_dbfs=LEVEL_DBFS,
        labels={
            "pitch": pitch,
            "instrument": player.name,
            "group": player.name,
            "family": player.family,
            "velocity": velocity,
            "soundfont": font.name,
            **membership,
        },
    )
