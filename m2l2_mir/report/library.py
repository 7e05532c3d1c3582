"""A small library of tracks with everything a report shows of them: vectors, sound clips, names, colours.

Conventions
-----------
* Tracks are numbered from 1 on the page, in the order of the table, from 0 in here.
* The column ``piece`` decides a track's colour, the column ``instrument`` the shape of its marker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import soundfile

from m2l2_mir.errors import InputError
from m2l2_mir.report import figures, page
from m2l2_mir.report.neighbours import average_spectrum, centred_cosine, nearest
from m2l2_mir.report.page import escape

NEIGHBOURS = 3
CLIP_SECONDS = 12.0
# Of encoded sound in the page; with more tracks the clips get shorter.
_AUDIO_BUDGET = 4_000_000
_AUDIO_BYTES_A_SECOND = 11_000

_MARKER_SVG = {
    "o": '<circle cx="6" cy="6" r="5"/>',
    "s": '<rect x="1.5" y="1.5" width="9" height="9"/>',
    "^": '<path d="M6 1 11 11H1z"/>',
    "D": '<path d="M6 .5 11.5 6 6 11.5.5 6z"/>',
    "v": '<path d="M6 11 1 1h10z"/>',
    "P": '<path d="M4 1h4v3h3v4H8v3H4V8H1V4h3z"/>',
    "X": '<path d="M3 1 6 4l3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3-3-3z"/>',
    "*": '<path d="M6 0 7.8 4.2 12 4.5 8.8 7.3 9.8 12 6 9.4 2.2 12l1-4.7L0 4.5l4.2-.3z"/>',
}


@dataclass(frozen=True, kw_only=True)
class Library:
    """The tracks with what several sections need of them."""

    tracks: pd.DataFrame
    vectors: np.ndarray  # (n, K, d)
    similarity: np.ndarray  # (n, n)
    neighbours: np.ndarray  # (n, up to 3)
    clips: list[str | None]  # data URIs
    spectra: np.ndarray | None  # (n, 64), None if some sound could not be read

    def codes(self, column: str) -> list[int]:
        """Group number of each track by order of appearance; all 0 without the column."""
        if column not in self.tracks:
            return [0] * len(self.tracks)
        return [int(code) for code in pd.factorize(self.tracks[column])[0]]

    def colour(self, row: int) -> str:
        return figures.GROUP_COLOURS[self.codes("piece")[row] % len(figures.GROUP_COLOURS)]


def load_library(tracks: pd.DataFrame, vectors: np.ndarray) -> Library:
    missing = {"track_id", "title", "path"} - set(tracks.columns)
    if missing:
        raise InputError(f"the track table lacks {', '.join(sorted(missing))}")
    if vectors.ndim != 3 or len(vectors) != len(tracks) or not len(tracks):
        raise InputError(f"vectors of shape {vectors.shape} for {len(tracks)} tracks: expected (tracks, K, d)")
    if not np.isfinite(vectors).all():
        raise InputError("vectors hold NaN or infinity: embed the tracks again")
    seconds = min(CLIP_SECONDS, _AUDIO_BUDGET / _AUDIO_BYTES_A_SECOND / len(tracks))
    clips: list[str | None] = []
    spectra = []
    for path in tracks["path"]:
        try:
            waveform, sample_rate = soundfile.read(str(path), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:  # the page says so in place of the player
            clips.append(None)
            continue
        mono = waveform.mean(axis=1)
        clips.append(page.audio_uri(mono, sample_rate, seconds=seconds))
        spectra.append(average_spectrum(mono, sample_rate))
    similarity = centred_cosine(vectors)
    return Library(
        tracks=tracks.reset_index(drop=True),
        vectors=vectors,
        similarity=similarity,
        neighbours=nearest(similarity, count=NEIGHBOURS),
        clips=clips,
        spectra=np.array(spectra) if len(spectra) == len(tracks) else None,
    )


def heading(library: Library, row: int) -> str:
    track = library.tracks.loc[row]
    facts = [str(track[name]) for name in ("style", "key", "meter") if name in library.tracks]
    if "bpm" in library.tracks:
        facts.append(f"{track['bpm']:g} beats/min")
    line = f"<p>{escape(', '.join(facts))}</p>" if facts else ""
    return f"<h3>{tag(library, row)}<span>{escape(track['title'])}</span></h3>{line}"


def tag(library: Library, row: int) -> str:
    return f'<span class="tag" style="--group:{library.colour(row)}">{row + 1}</span>'


def player(library: Library, row: int) -> str:
    clip, title = library.clips[row], escape(library.tracks.at[row, "title"])
    if clip is None:
        return "<p>The sound file could not be read.</p>"
    return f'<audio id="sound{row}" controls preload="metadata" src="{clip}" aria-label="{title}"></audio>'


def row_line(library: Library, row: int, note: str = "") -> str:
    title = escape(library.tracks.at[row, "title"])
    button = ""
    if library.clips[row] is not None:
        button = (
            f'<button class="play" type="button" data-plays="sound{row}" aria-pressed="false" '
            f'aria-label="play {title}"></button>'
        )
    return f'<div class="row">{button}<span>{tag(library, row)} {title}{note}</span></div>'


def legend(library: Library) -> str:
    lines = []
    for column, by_colour in (("piece", True), ("instrument", False)):
        if column not in library.tracks:
            continue
        items = []
        for code, name in enumerate(pd.factorize(library.tracks[column])[1]):
            colour = figures.GROUP_COLOURS[code % len(figures.GROUP_COLOURS)] if by_colour else "currentColor"
            marker = "o" if by_colour else figures.MARKERS[code % len(figures.MARKERS)]
            icon = f'<svg viewBox="0 0 12 12" fill="{colour}" aria-hidden="true">{_MARKER_SVG[marker]}</svg>'
            items.append(f"<li>{icon}{escape(name)}</li>")
        lines.append(f'<ul class="legend">{"".join(items)}</ul>')
    return "".join(lines)
