"""What a study of equivariance found, in words, and what its measures mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

__all__ = ["FOLLOWING_NOTES", "following_sentence"]

# By module of metrics.
FOLLOWING_NOTES: dict[str, tuple[str, ...]] = {
    "key": ("follows: tonic moved by the semitones, mode kept, whatever the true key; a random key would in .04",),
    "pitch": (
        "follows: the nearest MIDI number moved by the semitones, whatever the true pitch; a wrong estimate that would "
        "have to leave the range of the labels cannot follow",
    ),
    "tempo": (
        "follows: the tempo moved by the factor within 4 %, whatever the true tempo",
        "slope: octaves that the estimate moves for each octave of the music, median over tracks; 1 follows, 0 ignores",
    ),
}


def following_sentence(table: pd.DataFrame, model: str, metrics: str, hand_made: Sequence[str]) -> str:
    """How far the model's estimates follow, and the best hand-made row beside it; without a full stop.

    Parameters
    ----------
    table
        Lines of :func:`m2l2_mir.probe.following.score_following`.
    model, hand_made
        Rows of it.
    metrics
        Of the probe.
    """
    metric = "follows" if metrics == "key" else "slope"
    overall = table[table["x"] == "all"]
    shares = overall[(overall["metric"] == "follows") & (overall["part"] == table["part"].iloc[0])].set_index("row")
    others = shares.loc[[row for row in hand_made if row in shares.index], "estimate"]
    best = [str(others.index[int(others.argmax())])] if len(others) else []
    parts = []
    for part, lines in overall[overall["metric"] == metric].groupby("part", sort=False):
        found = lines.set_index("row")
        own = found.loc[model]
        beside = "".join(f", {row} {found['estimate'][row]:.2f}" for row in best)
        parts.append(f"{own['estimate']:.2f}{_interval(own)} {part}{beside}")
    what = {
        "key": "the estimated key follows transpositions in",
        "pitch": "semitones that the estimated pitch moves for each semitone of transposition, in the median:",
        "tempo": "octaves that the estimated tempo moves for each octave of stretching, in the median:",
    }[metrics]
    ending = "" if metrics == "key" else f"; it follows in {shares['estimate'][model]:.2f} of the cases"
    return f"{model}: {what} {'; '.join(parts)}{ending}"


def _interval(line: Any) -> str:
    return "" if math.isnan(line["low"]) else f" [{line['low']:.2f}, {line['high']:.2f}]"
