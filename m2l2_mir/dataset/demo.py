"""The demo library: four pieces, each in three instrumentations, rendered on the spot.

The twelve tracks cross what is played with what it is played on, so that a nearest neighbour always says
something: it shares the piece (and with it key, tempo and style), the instrument, or neither. The four pieces
differ in key; two are major and two minor, two are chorales and two are dances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import soundfile

from m2l2_mir.dataset.rendering import Note, find_soundfont, render
from m2l2_mir.dataset.scores import chorale, orchestrate, tune_with_chords
from m2l2_mir.durable import write_durably

SECONDS, QUICK_SECONDS = 12.0, 6.0
LEVEL_DBFS = -20.0
FADE_SECONDS = 0.4
# Counts up whenever the rendering changes, so that older files are not taken for new ones.
RECIPE_VERSION = 1

Progress = Callable[[int, int, str], None]


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


def demo_tracks(out: Path, *, sample_rate: int, quick: bool = False, progress: Progress | None = None) -> pd.DataFrame:
    """Render the demo library as FLAC files and describe it.

    Files that an earlier call rendered with the same settings are used again. Each is written aside and
    renamed, so none is ever half there.

    Parameters
    ----------
    out : Path
        Folder for the files; made if need be.
    sample_rate : int
        Of the files, in Hz.
    quick : bool
        Six tracks (two pieces) of 6 s instead of twelve of 12 s.
    progress : callable, optional
        Called as ``progress(done, total, title)`` after each track.

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
    soundfont, soundfont_name = find_soundfont()
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    pieces, seconds = (PIECES[:2], QUICK_SECONDS) if quick else (PIECES, SECONDS)
    jobs = [(piece, instrument) for piece in pieces for instrument in INSTRUMENTATIONS]
    rows = []
    for done, (piece, instrument) in enumerate(jobs, start=1):
        track_id = f"{piece.slug}_{instrument.replace(' ', '-')}"
        path = out / f"{track_id}.flac"
        stamp = f"m2l2-mir demo {RECIPE_VERSION}; {seconds:g} s; {sample_rate} Hz; {soundfont_name}"
        if _stamp_of(path) != stamp:
            notes = orchestrate(piece_notes(piece), INSTRUMENTATIONS[instrument])
            waveform = render(notes, soundfont, sample_rate=sample_rate, duration=seconds)
            _write_flac(path, _finish(waveform, sample_rate), sample_rate, stamp)
        rows.append(
            {
                "track_id": track_id,
                "path": str(path),
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
            }
        )
        if progress:
            progress(done, len(jobs), str(rows[-1]["title"]))
    table = pd.DataFrame(rows)
    table.attrs["credits"] = _credits(pieces, soundfont_name)
    return table


def piece_notes(piece: Piece) -> list[Note]:
    """Notes of a piece at its tempo, before anyone plays them."""
    read = chorale if piece.style == "chorale" else tune_with_chords
    return read(piece.score, quarters_per_minute=piece.quarters_per_minute)


def _finish(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Bring a track to the common level, lest loudness tell the instruments apart, and fade its end."""
    level = np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
    gain = min(10 ** (LEVEL_DBFS / 20) / level, 0.99 / np.abs(waveform).max())
    fade = np.ones(waveform.shape[1])
    samples = round(FADE_SECONDS * sample_rate)
    fade[-samples:] = np.cos(np.linspace(0, np.pi / 2, samples)) ** 2
    finished: np.ndarray = waveform * gain * fade
    return finished


def _stamp_of(path: Path) -> str | None:
    """How the file at ``path`` was rendered, or None if there is none that can be read."""
    try:
        with soundfile.SoundFile(path) as file:
            return str(file.comment)
    except soundfile.LibsndfileError:
        return None


def _write_flac(path: Path, waveform: np.ndarray, sample_rate: int, stamp: str) -> None:
    def write(out: IO[bytes]) -> None:
        with soundfile.SoundFile(out, "w", sample_rate, len(waveform), "PCM_16", format="FLAC") as file:
            file.comment = stamp
            file.write(waveform.T)

    write_durably(path, write)


def _credits(pieces: tuple[Piece, ...], soundfont_name: str) -> list[str]:
    scores = [f"{piece.title}: {piece.source}" for piece in pieces]
    return [
        *scores,
        f"Sounds: {soundfont_name} soundfont by Tim Brechbill (GPL-2), read at run time from pretty_midi",
        "Synthesizer: midirenderer (rustysynth, MIT)",
    ]
