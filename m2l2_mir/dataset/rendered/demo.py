"""The demo library: four pieces, each in three instrumentations, rendered on the spot.

The twelve tracks cross what is played with what it is played on, so that a nearest neighbour always says
something: it shares the piece (and with it key, tempo and style), the instrument, or neither. The four pieces
differ in key; two are major and two minor, two are chorales and two are dances.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from m2l2_mir.dataset.rendered.clips import Clip, render_clips
from m2l2_mir.dataset.rendered.scores import chorale, orchestrate, tune_with_chords
from m2l2_mir.dataset.rendered.soundfont import probe_soundfonts
from m2l2_mir.dataset.rendered.synthesizer import Note
from m2l2_mir.durable import write_durably

SECONDS, QUICK_SECONDS = 12.0, 6.0
LEVEL_DBFS = -20.0  # common to all, lest loudness tell the instruments apart


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A score of the music21 corpus and what a musician would say about it."""

    slug: str
    title: str
    score: str  # name in the music21 corpus
    style: str  # "chorale", "reel" or "jig"
    tonic: str
    mode: str
    meter: str
    beats_per_minute: float
    beat_quarters: float  # length of the beat: 1 = quarter, 1.5 = dotted quarter
    source: str

    @property
    def quarters_per_minute(self) -> float:
        return self.beats_per_minute * self.beat_quarters


_BACH = "J. S. Bach, {}; music21 corpus"
_RYAN = "Ryan's Mammoth Collection (1883), ABC by John Chambers; music21 corpus"

PIECES = (
    Piece(
        slug="wachet-auf", title="Wachet auf", score="bach/bwv140.7", style="chorale",
        tonic="E flat", mode="major", meter="4/4", beats_per_minute=84, beat_quarters=1,
        source=_BACH.format("BWV 140.7"),
    ),
    Piece(
        slug="masons-apron", title="Mason's Apron", score="ryansMammoth/MasonsApronReel", style="reel",
        tonic="A", mode="major", meter="2/4", beats_per_minute=104, beat_quarters=1, source=_RYAN,
    ),
    Piece(
        slug="jesu-meine-freude", title="Jesu, meine Freude", score="bach/bwv358", style="chorale",
        tonic="D", mode="minor", meter="4/4", beats_per_minute=72, beat_quarters=1,
        source=_BACH.format("BWV 358"),
    ),
    Piece(
        slug="lanigans-ball", title="Lanigan's Ball", score="ryansMammoth/LanigansBallJig", style="jig",
        tonic="E", mode="minor", meter="6/8", beats_per_minute=116, beat_quarters=1.5, source=_RYAN,
    ),
)  # fmt: skip

# General MIDI programs from the melody down to the bass.
INSTRUMENTATIONS = {
    "piano": (0, 0, 0, 0),
    "strings": (40, 41, 42, 42),
    "flute and guitar": (73, 24, 24, 24),
}


def demo_tracks(out: Path, *, quick: bool = False) -> pd.DataFrame:
    """Render the demo library as FLAC files and describe it.

    Parameters
    ----------
    out : Path
        Folder for the files, ``TRACK_ID.flac``; made if need be.
    quick : bool
        Six tracks (two pieces) of 6 s instead of twelve of 12 s.

    Returns
    -------
    pandas.DataFrame
        One row a track: ``track_id``, ``path``, ``title``, ``piece``, ``instrument``, ``style``, ``key``,
        ``tonic``, ``mode``, ``meter``, ``bpm``, ``duration`` (seconds) and ``source``.
        ``attrs["credits"]`` lists the sources of scores and sounds.

    Raises
    ------
    MissingExtraError
        Without the ``[render]`` extra.
    """
    soundfont = probe_soundfonts()[0]
    pieces, seconds = (PIECES[:2], QUICK_SECONDS) if quick else (PIECES, SECONDS)
    clips = [
        Clip(
            track_id=f"{piece.slug}_{instrument.replace(' ', '-')}",
            notes=tuple(orchestrate(piece_notes(piece), programs)),
            seconds=seconds,
            soundfont=soundfont,
            level_dbfs=LEVEL_DBFS,
            labels={
                "title": f"{piece.title}, {instrument}",
                "piece": piece.title,
                "instrument": instrument,
                "style": piece.style,
                "key": f"{piece.tonic} {piece.mode}",
                "tonic": piece.tonic,
                "mode": piece.mode,
                "meter": piece.meter,
                "bpm": piece.beats_per_minute,
                "duration": seconds,
                "source": piece.source,
            },
        )
        for piece in pieces
        for instrument, programs in INSTRUMENTATIONS.items()
    ]
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for clip, rendered in zip(clips, render_clips(clips), strict=True):
        path = out / f"{clip.track_id}.flac"
        with open(rendered, "rb") as source:
            write_durably(path, partial(shutil.copyfileobj, source))
        rows.append({"track_id": clip.track_id, "path": str(path), **clip.labels})
    table = pd.DataFrame(rows)
    table.attrs["credits"] = [
        *(f"{piece.title}: {piece.source}" for piece in pieces),
        f"Sounds: {soundfont.name} soundfont ({soundfont.licence})",
        "Synthesizer: midirenderer (rustysynth, MIT)",
    ]
    return table


def piece_notes(piece: Piece) -> list[Note]:
    """Notes of a piece at its tempo, before anyone plays them."""
    read = chorale if piece.style == "chorale" else tune_with_chords
    return read(piece.score, quarters_per_minute=piece.quarters_per_minute)
