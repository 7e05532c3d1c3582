"""A clickable map of a library as a section of a page: points on a canvas, players of a track and its neighbours.

Conventions
-----------
* Everything is inside the page, sound included. Where not all clips fit the budget, some tracks are drawn and kept with
  their neighbours, so that what can be heard can be compared.
* Up to eight values of a column have a colour of their own, the most frequent ones; numbers have a scale.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.audio import load, read_info
from m2l2_mir.errors import M2L2Error
from m2l2_mir.report import page
from m2l2_mir.report.figures import GROUP_COLOURS
from m2l2_mir.report.page import escape

__all__ = ["NEIGHBOURS", "sound_clips", "track_map"]

NEIGHBOURS = 8
CLIP_SECONDS = (4.0, 12.0)  # of a player: with many tracks they get shorter
BYTES_A_SECOND = 11_000
FEW_VALUES = 12  # numbers of no more distinct values are shown as classes


def sound_clips(
    paths: Sequence[str],
    neighbours: NDArray[np.intp],
    *,
    budget: float,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, str]:
    """Clips from the middle of tracks as ``data:`` URIs, by position.

    Parameters
    ----------
    paths
        Audio file of each track, "" where there is none.
    neighbours : np.ndarray [n, m]
        Positions, -1 where there are no more; the first :data:`NEIGHBOURS` are shown.
    budget
        Bytes of encoded sound in all.
    seed
        Of the draw of tracks, where not all fit.
    progress
        Called with files done and all.

    Returns
    -------
    dict of str
        Files that cannot be read are left out.
    """
    shortest, longest = CLIP_SECONDS
    there = [position for position, path in enumerate(paths) if path]
    fitting = int(budget / (shortest * BYTES_A_SECOND))
    wanted = dict.fromkeys(there)
    if len(there) > fitting:
        wanted = {}
        for position in np.random.default_rng(seed).permutation(there):
            listed = [int(position), *(int(one) for one in neighbours[position, :NEIGHBOURS] if one >= 0)]
            wanted.update(dict.fromkeys(one for one in listed if paths[one]))
            if len(wanted) >= fitting:
                break
        wanted = dict.fromkeys(list(wanted)[:fitting])
    seconds = min(longest, budget / BYTES_A_SECOND / max(len(wanted), 1))
    clips = {}
    for done, position in enumerate(wanted):
        with contextlib.suppress(M2L2Error, OSError):  # such as a file that has moved; the page says that it is mute
            clips[position] = _clip(paths[position], seconds)
        if progress is not None:
            progress(done + 1, len(wanted))
    return clips


def track_map(
    tracks: pd.DataFrame,
    neighbours: NDArray[np.intp],
    similarities: NDArray[np.floating],
    *,
    colour_by: Sequence[str],
    clips: Mapping[int, str],
) -> str:
    """The map as HTML, once in a page.

    Parameters
    ----------
    tracks
        ``track_id``, ``x`` and ``y`` (between -1 and 1), ``title`` and ``artist`` where they are known, and columns to
        colour by.
    neighbours, similarities : np.ndarray [n, m]
        Best first; the first :data:`NEIGHBOURS` are shown. Positions are -1 where there are no more.
    colour_by
        Columns, the first one is shown first.
    clips
        Of :func:`sound_clips`.
    """
    shown = neighbours[:, :NEIGHBOURS]
    kept = shown >= 0
    data = {
        "x": tracks["x"].round(4).tolist(),
        "y": tracks["y"].round(4).tolist(),
        "titles": _titles(tracks),
        "neighbours": [row[keep].tolist() for row, keep in zip(shown, kept, strict=True)],
        "scores": [row[keep].round(4).tolist() for row, keep in zip(similarities[:, :NEIGHBOURS], kept, strict=True)],
        "columns": {name: _column(tracks[name]) for name in colour_by},
        "palette": list(GROUP_COLOURS),
        "clips": {str(position): clip for position, clip in clips.items()},
    }
    content = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    options = "".join(f"<option>{escape(name)}</option>" for name in colour_by) or "<option>none</option>"
    titles = "".join(f'<option value="{escape(title)}"></option>' for title in data["titles"])
    return (
        f"<style>{_asset('map.css')}</style>"
        '<div class="atlas-tools"><label>Colour <select id="atlas-colour">'
        f'{options}</select></label><label>Find <input id="atlas-find" list="atlas-titles" placeholder="a track">'
        f'</label><datalist id="atlas-titles">{titles}</datalist></div>'
        '<div class="atlas"><div class="card"><canvas id="atlas-board" role="img" '
        f'aria-label="Map of {len(tracks)} tracks; find one by name to list its neighbours"></canvas>'
        '<p id="atlas-hint" aria-live="polite"></p><ul class="legend" id="atlas-legend"></ul></div>'
        '<div class="card" id="atlas-panel" aria-live="polite"><p>Click a point, or find a track by its name: it is '
        "listed here with its neighbours, to listen to. The wheel zooms, dragging moves.</p></div></div>"
        '<audio id="atlas-sound" hidden></audio>'
        f'<script type="application/json" id="atlas-data">{content}</script><script>(() => {{{_asset("map.js")}}})();'
        "</script>"
    )


def _clip(path: str, seconds: float) -> str:
    duration = read_info(path).duration
    start = max(0.0, (duration - seconds) / 2) if math.isfinite(duration) else 0.0
    waveform, sample_rate = load(path, excerpt=(start, seconds))
    return page.audio_uri(waveform.mean(axis=0), sample_rate, seconds=seconds)


def _titles(tracks: pd.DataFrame) -> list[str]:
    """What a track is called, distinct for each."""
    ids = tracks["track_id"].astype(str)
    titles = tracks["title"].where(tracks["title"].notna(), ids).astype(str) if "title" in tracks else ids
    if "artist" in tracks:
        titles = titles.where(tracks["artist"].isna(), tracks["artist"].astype(str) + ": " + titles)
    return titles.where(~titles.duplicated(keep=False), titles + " (" + ids + ")").tolist()


def _column(values: pd.Series[Any]) -> dict[str, Any]:
    """Values of a column for the script: numbers with their range, or codes and names, most frequent first."""
    known = values.dropna()
    if pd.api.types.is_numeric_dtype(values) and known.nunique() > FEW_VALUES:
        numbers = values.astype(float).to_numpy()
        told = [_significant(float(number)) if math.isfinite(number) else None for number in numbers]
        finite = [number for number in told if number is not None]
        return {"kind": "number", "values": told, "range": [min(finite, default=0.0), max(finite, default=1.0)]}
    names = known.astype(str).value_counts(sort=True).index.tolist()
    codes = {name: code for code, name in enumerate(names)}
    return {
        "kind": "class",
        "values": [None if pd.isna(value) else codes[str(value)] for value in values],
        "names": names,
    }


def _significant(number: float) -> float:
    return float(f"{number:.4g}")


def _asset(name: str) -> str:
    return resources.files("m2l2_mir.report").joinpath(name).read_text(encoding="utf-8")
