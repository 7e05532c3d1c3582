"""Figures of scores: bars with intervals, shares that add up to 1, heat maps with numbers in their cells.

Conventions
-----------
* Hues are apart for colour-blind readers, and none stands alone for a meaning: bars and cells carry their names and
  numbers, so that the figures can be read in grey.
* Whiskers are intervals. A score that is not defined has no bar, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from m2l2_mir.report.drawing import INK, MAGNITUDE, MUTED, PAPER, RULE, SMALL_TEXT, TEXT, canvas, diverging, shaded

__all__ = ["SERIES", "Bar", "binned_bars", "score_bars", "score_map", "stacked_shares"]

# In the order of use; text on them is white on the dark ones.
SERIES = ("#0f5f9c", "#d98a1f", "#3b9a78", "#b0598f", "#9a9a96", "#8d7565")

_DARK = (SERIES[0], SERIES[3])
_LINE = 19.0  # pixels a bar
_LONGEST = 38  # characters of a name
_CHARACTER = 5.7  # pixels


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One score.

    Parameters
    ----------
    name
        Beside the bar.
    estimate, low, high
        nan where not defined.
    kind
        Bars of one kind share a colour.
    hollow
        Drawn as an outline, with an equals sign.
    """

    name: str
    estimate: float
    low: float
    high: float
    kind: str
    hollow: bool = False


def score_bars(bars: Sequence[Bar], *, label: str, kinds: Mapping[str, str], width: float = 520.0) -> Figure:
    """Draw scores with intervals from top to bottom.

    Parameters
    ----------
    bars
        In this order.
    label
        Of the axis.
    kinds
        From kinds to their names in the key, in the order of ``SERIES``; of those that occur.
    width
        In pixels.
    """
    names = [_shortened(bar.name) for bar in bars]
    left = 14 + _CHARACTER * max(map(len, names))
    used = {kind: title for kind, title in kinds.items() if any(bar.kind == kind for bar in bars)}
    figure, axes = canvas(width, 64 + _LINE * len(bars), (left, 52.0, 58.0, 4.0))
    colours = dict(zip(kinds, SERIES, strict=False))
    for place, bar in enumerate(bars):
        if math.isnan(bar.estimate):
            axes.text(0, place, " not defined", color=MUTED, fontsize=SMALL_TEXT, va="center")
            continue
        colour = colours[bar.kind]
        face = "none" if bar.hollow else colour
        axes.barh(place, bar.estimate, height=0.66, facecolor=face, edgecolor=colour, linewidth=1.4)
        _whisker(axes, bar, place)
        number = f"{bar.estimate:.3f}{' n.s.' if bar.hollow else ''}"
        axes.text(1.02, place, number, transform=axes.get_yaxis_transform(), color=INK, fontsize=TEXT, va="center")
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_yticks(range(len(bars)), names, color=INK, parse_math=False)  # names come from outside
    axes.set_xlim(0, _reach(bars))
    axes.set_xlabel(label, color=MUTED, fontsize=TEXT, labelpad=3)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    _key(figure, [(title, colours[kind]) for kind, title in used.items()])
    return figure


def binned_bars(table: pd.DataFrame, *, label: str, x_label: str, width: float = 440.0) -> Figure:
    """Draw scores against something that is cut into bins.

    Parameters
    ----------
    table
        Columns ``bin``, ``items``, ``series``, ``estimate``, ``low`` and ``high``.
    label, x_label
        Of the axes.
    width
        In pixels.
    """
    bins, series = list(dict.fromkeys(table["bin"])), list(dict.fromkeys(table["series"]))
    figure, axes = canvas(width, 270.0, (40.0, 4.0, 78.0, 8.0))
    broad = 0.8 / len(series)
    for number, name in enumerate(series):
        lines = table[table["series"] == name]
        places = np.array([bins.index(one) for one in lines["bin"]]) + broad * (number - (len(series) - 1) / 2)
        axes.bar(places, lines["estimate"], width=0.92 * broad, color=SERIES[number])
        for place, low, high in zip(places, lines["low"], lines["high"], strict=True):
            if not math.isnan(low):
                axes.plot([place, place], [low, high], color=INK, linewidth=1.2)
    items = table.drop_duplicates("bin")["items"]
    axes.set_xticks(range(len(bins)), [f"{one}\n{count}" for one, count in zip(bins, items, strict=True)])
    axes.set_xlim(-0.5, max(len(bins), 4) - 0.5)
    axes.set_ylim(0, 1)
    axes.set_xlabel(x_label, color=MUTED, fontsize=TEXT)
    axes.set_ylabel(label, color=MUTED, fontsize=TEXT)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    _key(figure, list(zip(series, SERIES, strict=False)))
    return figure


def stacked_shares(table: pd.DataFrame, *, label: str, width: float = 520.0) -> Figure:
    """Draw shares that add up to 1, one line for each row of the table, one colour for each column."""
    names = [_shortened(str(name)) for name in table.index]
    figure, axes = canvas(width, 64 + _LINE * len(table), (14 + _CHARACTER * max(map(len, names)), 12.0, 58.0, 4.0))
    start = np.zeros(len(table))
    for column, colour in zip(table, SERIES, strict=False):
        shares = table[column].to_numpy(dtype=np.float64)
        axes.barh(range(len(table)), shares, left=start, height=0.72, color=colour, edgecolor=PAPER, linewidth=0.8)
        for place, (share, at) in enumerate(zip(shares, start, strict=True)):
            if share >= 0.08:
                text = f"{share:.2f}".lstrip("0")
                ink = "#ffffff" if colour in _DARK else "#000000"
                axes.text(at + share / 2, place, text, color=ink, fontsize=9, ha="center", va="center")
        start += shares
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_yticks(range(len(table)), names, color=INK, parse_math=False)
    axes.set_xlim(0, 1)
    axes.set_xlabel(label, color=MUTED, fontsize=TEXT, labelpad=3)
    _key(figure, list(zip(map(str, table.columns), SERIES, strict=False)))
    return figure


def score_map(
    numbers: pd.DataFrame,
    strength: pd.DataFrame,
    *,
    marks: pd.DataFrame | None = None,
    signed: bool = False,
    width: float = 440.0,
) -> Figure:
    """Draw a table of numbers as a heat map.

    Parameters
    ----------
    numbers
        Printed in the cells; nan leaves one empty.
    strength
        Of the colour, of the same shape: 0 to 1, or -1 to 1 if `signed`.
    marks
        Text after each number, of the same shape; None: nothing.
    signed
        Blue below 0 and rust above.
    width
        In pixels.
    """
    rows, columns = numbers.shape
    left = 14 + _CHARACTER * max(len(str(name)) for name in numbers.index)
    figure, axes = canvas(width, 34 + 24.0 * rows, (left, 6.0, 6.0, 24.0))
    values = np.nan_to_num(strength.to_numpy(dtype=np.float64))
    pixels = diverging(values, 1.0) if signed else shaded(np.clip(values, 0, 1), np.full(values.shape, MAGNITUDE))
    axes.imshow(pixels, aspect="auto", interpolation="none")
    for place, line in enumerate(numbers.to_numpy(dtype=np.float64)):
        for column, number in enumerate(line):
            if not math.isnan(number):
                colour = "#ffffff" if abs(values[place, column]) > 0.6 else INK
                text = f"{number:+.3f}" if signed else f"{number:.3f}"
                text += "" if marks is None else str(marks.iat[place, column])
                axes.text(column, place, text, color=colour, fontsize=TEXT, ha="center", va="center")
    axes.set_yticks(range(rows), list(map(str, numbers.index)), color=INK, parse_math=False)
    axes.set_xticks(range(columns), list(map(str, numbers.columns)), color=INK, parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    return figure


def _whisker(axes: Axes, bar: Bar, place: int) -> None:
    if not math.isnan(bar.low):
        axes.plot([bar.low, bar.high], [place, place], color=INK, linewidth=1.4)
        axes.plot([bar.low, bar.high], [place, place], "|", color=INK, markersize=6, markeredgewidth=1.2)


def _reach(bars: Sequence[Bar]) -> float:
    """End of the axis: 1, unless scores are far below it or beyond it."""
    ends = [end for bar in bars for end in (bar.estimate, bar.high) if not math.isnan(end)]
    largest = max(ends, default=1.0)
    return 1.0 if 0.5 <= largest <= 1 else max(largest * 1.1, 1e-3)


def _key(figure: Figure, entries: Sequence[tuple[str, str]]) -> None:
    handles = [Patch(facecolor=colour, label=name) for name, colour in entries]
    figure.legend(
        handles=handles,
        loc="lower left",
        ncols=len(handles),
        frameon=False,
        fontsize=SMALL_TEXT,
        labelcolor=MUTED,
        handlelength=0.9,
        handleheight=0.9,
        handletextpad=0.4,
        columnspacing=1.1,
        borderaxespad=0.1,
    )


def _shortened(name: str) -> str:
    """A name of bounded length: its middle is left out, since ends tell rows apart.

    >>> _shortened("a" * 30 + "b" * 30)
    'aaaaaaaaaaaaaaaaaa…bbbbbbbbbbbbbbbbbbb'
    """
    half = (_LONGEST - 1) // 2
    return name if len(name) <= _LONGEST else f"{name[:half]}…{name[half - _LONGEST + 1 :]}"
