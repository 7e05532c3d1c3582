"""factors: music whose attributes vary independently, to ask which of them a representation keeps apart.

Conventions
-----------
* Clips last exactly one chunk (32,768 samples at 44.1 kHz) or eight. :data:`FACTORS` says which factors vary in which:
  a factor is used only where a clip of that length can express it.
* ``kind`` "factorial": every factor is drawn by itself, its values equally often. ``kind`` "pair": two clips, ``side``
  "before" and "after" under one ``pair`` id, that differ in the one factor named by ``changed``.
* What is no factor is a function of the nuisance seed, which is the ``group``. A group has several clips of other
  values; pairs use the groups of the factorial clips.
* ``factor_NAME`` holds codes from 0, NAME the value for a reader: ``level`` in dBFS, ``reverb`` in seconds, ``pitch``
  as the MIDI number that sounds, ``tempo`` in bpm, drawn log-uniformly and binned for its code.
* "Differ in one factor" is said of the notes and settings, from which the sound follows. Held constant is the RMS level
  of the whole clip, which is the one its factor says, whatever is played; what is added therefore pushes the rest down.
  In the pairs of seed 0, played with FluidR3_GM, drums lower the pitched parts by 1.3 dB in the median and by 6.5 at
  most in one chunk (0.5 and 1.6 in eight); between two reverbs the gain differs by 1.4 and 3.9 dB (1.4 and 3.5).
* Height tells little of ``pitch`` and ``tonic``: the nuisance seed draws where their octave begins, so that in one
  group C may lie above B. Two tonics or pitches of a pair are less than an octave apart; registers are an octave apart.
* ``factorial_fold`` deals the groups of the factorial clips of each length out to five folds; ``one_chunk_fold`` and
  ``eight_chunk_fold`` are those of one length. They are empty for pairs.
* ``combination`` is "test" for one register of each instrument (:func:`held_out`). The split ``combinations`` trains
  and tests on different groups as well; ``combination_fold`` is empty for the clips that would mix the two, and has
  pairs beside factorial clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from m2l2_mir.dataset.labels import TONICS
from m2l2_mir.dataset.rendered import factor_music as music
from m2l2_mir.dataset.rendered.clips import Clip, ClipSet
from m2l2_mir.dataset.rendered.soundfont import Soundfont
from m2l2_mir.errors import InputError

__all__ = ["BPM", "FACTORS", "LENGTHS", "Factor", "clips", "factors_of", "held_out"]

LENGTHS = (1, 8)  # chunks
FOLDS = 5
BPM = (70.0, 180.0)
TEMPO_BINS = 6
LEVELS_DBFS = (-48.0, -42.0, -36.0, -30.0, -24.0)  # the loudest still has room for peaks
REVERBS = (0.0, 0.4, 1.0, 2.0)  # seconds

_SHARE_OF_PAIRS = 1 / 91  # pairs a factor and length: 100 in a set of 9,100 clips
_LEAST_PAIRS = 2
_SHARE_OF_ONE_CHUNK = 8 / 11  # of the factorial clips
_GROUP_SIZE, _LEAST_GROUPS = 16, 6


@dataclass(frozen=True, slots=True)
class Factor:
    """One attribute of the music that varies independently of all others.

    Parameters
    ----------
    name : str
        Its codes are in column ``factor_NAME``.
    values : tuple of str
        What the codes 0, 1, ... mean.
    stratum : {"global", "local", "sequence"}
        Whether it holds throughout a clip, at one place in it, or as an order of events.
    lengths : tuple of int
        Chunks of the clips in which it varies.
    cyclic : bool
        Whether the last value neighbours the first one.
    """

    name: str
    values: tuple[str, ...]
    stratum: str
    lengths: tuple[int, ...]
    cyclic: bool = False

    @property
    def column(self) -> str:
        return f"factor_{self.name}"


def _edge(bin_: int) -> float:
    """Lower edge of a tempo bin in bpm."""
    return BPM[0] * (BPM[1] / BPM[0]) ** (bin_ / TEMPO_BINS)


FACTORS = (
    Factor("instrument", tuple(music.PROGRAMS), "global", LENGTHS),
    Factor("register", tuple(music.REGISTERS), "global", LENGTHS),
    Factor("level", tuple(f"{level:g} dBFS" for level in LEVELS_DBFS), "global", LENGTHS),
    Factor("reverb", tuple(f"{decay:g} s" for decay in REVERBS), "global", LENGTHS),
    Factor("drums", ("off", "on"), "global", LENGTHS),
    Factor("tonic", TONICS, "global", (8,), cyclic=True),
    Factor("mode", tuple(music.SCALES), "global", (8,)),
    Factor("tempo", tuple(f"{_edge(b):.0f}-{_edge(b + 1):.0f} bpm" for b in range(TEMPO_BINS)), "global", (8,)),
    Factor("pitch", TONICS, "local", (1,), cyclic=True),
    Factor("position", tuple(f"eighth {number + 1}" for number in range(music.POSITIONS)), "local", (1,)),
    Factor("chord", tuple(music.CHORDS), "local", (1,)),
    Factor("contour", tuple(music.CONTOURS), "sequence", (8,)),
    Factor("rhythm", tuple(music.RHYTHMS), "sequence", (8,)),
)


def factors_of(length: int) -> tuple[Factor, ...]:
    """Factors that vary in clips of so many chunks.

    >>> [factor.name for factor in factors_of(1) if factor.stratum == "local"]
    ['pitch', 'position', 'chord']
    """
    return tuple(factor for factor in FACTORS if length in factor.lengths)


def held_out(instrument: int, register: int) -> bool:
    """Whether a combination is kept for testing: each instrument in one register, each register in two or three."""
    return instrument % len(music.REGISTERS) == register


def clips(
    *, count: int, seed: int, fonts: Sequence[Soundfont], progress: Callable[[int, int], None] | None = None
) -> ClipSet:
    """Plan the clips of factors.

    Parameters
    ----------
    count : int
        Of all clips. A ninety-first of it, at least 2, is the number of pairs for each factor and length; the others
        are factorial, 8 of one chunk to 3 of eight.
    seed : int
        Decides on everything.
    fonts : sequence of Soundfont
        The first plays.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Raises
    ------
    InputError
        `count` is too small for pairs and for groups enough to make folds of.
    """
    kinds = sum(len(factors_of(length)) for length in LENGTHS)
    least = 2 * _LEAST_PAIRS * kinds + math.ceil(2 * _LEAST_GROUPS / (1 - _SHARE_OF_ONE_CHUNK))
    if count < least:
        raise InputError(f"factors needs at least {least} clips: {count}")
    pairs = max(_LEAST_PAIRS, round(count * _SHARE_OF_PAIRS))
    factorial = count - 2 * pairs * kinds
    one = round(factorial * _SHARE_OF_ONE_CHUNK)
    planned = []
    for length, number in zip(LENGTHS, (one, factorial - one), strict=True):
        planner = _Planner(length=length, groups=max(_LEAST_GROUPS, number // _GROUP_SIZE), seed=seed, font=fonts[0])
        for clip in (*planner.factorial(number), *planner.pairs(pairs)):
            planned.append(clip)
            if progress:
                progress(len(planned), count)
    return ClipSet(clips=tuple(planned), dropped=pd.DataFrame(columns=["track_id", "label", "reason"]))


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """Clips of one length."""

    length: int
    groups: int
    seed: int
    font: Soundfont

    def factorial(self, number: int) -> Iterator[Clip]:
        rng = self._rng(0)
        folds = (self._rng(900).permutation(self.groups) % FOLDS + 1).astype(str).tolist()
        design = {
            factor.name: rng.permutation(np.arange(number) % len(factor.values)).tolist()
            for factor in factors_of(self.length)
        }
        within = rng.random(number).tolist()
        for index in range(number):
            values = {name: codes[index] for name, codes in design.items()}
            group = index % self.groups
            about = {"kind": "factorial", "factorial_fold": folds[group]}
            about["one_chunk_fold" if self.length == 1 else "eight_chunk_fold"] = folds[group]
            yield self._clip(f"{index:05d}", values, within[index], group, about)

    def pairs(self, number: int) -> Iterator[Clip]:
        """Pairs of each factor; the values that stay are drawn, and so are the two that change places."""
        for code, factor in enumerate(factors_of(self.length), start=1):
            rng = self._rng(code)
            groups = np.resize(rng.permutation(self.groups), number).tolist()
            for index, group in enumerate(groups):
                values = {other.name: int(rng.integers(len(other.values))) for other in factors_of(self.length)}
                before, after = rng.choice(len(factor.values), 2, replace=False).tolist()
                within = rng.random()
                for side, value in (("before", before), ("after", after)):
                    name = f"{factor.name}-{index:04d}"
                    about = {"kind": "pair", "pair": f"{self.length}-{name}", "side": side, "changed": factor.name}
                    yield self._clip(f"{name}-{side}", {**values, factor.name: value}, within, group, about)

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, self.length, stream]))

    def _clip(self, name: str, values: Mapping[str, int], within: float, group: int, about: Mapping[str, str]) -> Clip:
        """One clip; `within` says where in its bin the tempo lies, from 0 to 1."""
        nuisance = np.random.Generator(np.random.PCG64([self.seed, self.length, 1000, group]))
        if self.length == 1:
            notes = music.single_chunk(values, nuisance)
            told: dict[str, Any] = {"pitch": notes[0].pitch}
        else:
            bpm = _edge(values["tempo"]) * (_edge(1) / _edge(0)) ** within
            notes = music.bars(values, bpm, nuisance)
            told = {"tempo": bpm}
        named = {factor.name: factor.values[values[factor.name]] for factor in factors_of(self.length)}
        if "mode" in named:
            told["key"] = f"{named['tonic']} {named['mode']}"
        level, reverb = LEVELS_DBFS[values["level"]], REVERBS[values["reverb"]]
        tested = held_out(values["instrument"], values["register"])
        test_group = group % 3 == 0
        return Clip(
            track_id=f"{self.length}-{name}",
            notes=notes,
            seconds=self.length * music.CHUNK_SECONDS,
            soundfont=self.font,
            reverb_seconds=reverb,
            level_dbfs=level,
            labels={
                "group": f"{self.length}-{group:04d}",
                "chunks": self.length,
                "pair": None,
                "side": None,
                "changed": None,
                "factorial_fold": None,
                "one_chunk_fold": None,
                "eight_chunk_fold": None,
                **about,
                **{factor.column: values[factor.name] for factor in factors_of(self.length)},
                **named,
                **told,
                "level": level,
                "reverb": reverb,
                "combination": "test" if tested else "train",
                "combination_fold": None if tested != test_group else "test" if tested else "train",
            },
        )
