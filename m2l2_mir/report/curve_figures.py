"""Figures of curves: scores of several rows against a number, with their intervals.

Conventions
-----------
* Hues are those of :mod:`m2l2_mir.report.score_figures`; each line has a mark of its own too, so that grey is enough.
* The interval of the first row is a band; those of the others are bars, since bands upon bands cannot be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from m2l2_mir.report.drawing import MUTED, RULE, SMALL_TEXT, TEXT, canvas
from m2l2_mir.report.score_figures import SERIES

__all__ = ["curves"]

_MARKS = ("o", "s", "^", "D", "v", "P")
_MOST = len(SERIES)
_KEY_LINE = 17.0  # pixels


def curves(
    table: pd.DataFrame,
    *,
    label: str,
    x_label: str,
    logarithmic: bool = False,
    limits: tuple[float, float] | None = (0.0, 1.0),
    level: float | None = None,
    width: float = 520.0,
) -> Figure:
    """Draw one line for each row.

    Parameters
    ----------
    table
        Columns ``row``, ``x`` (numbers), ``estimate``, ``low`` and ``high``; six rows at most, in the order of the key.
    label, x_label
        Of the axes.
    logarithmic
        Whether equal factors of ``x`` are equally far apart.
    limits
        Of the upright axis; None: those of the numbers.
    level
        Where a dashed line is drawn across, such as what guessing reaches.
    width
        In pixels.
    """
    rows = list(dict.fromkeys(table["row"]))[:_MOST]
    below = 46 + _KEY_LINE * math.ceil(len(rows) / 2)
    figure, axes = canvas(width, 220 + below, (46.0, 12.0, below, 8.0))
    for row, colour, mark in zip(rows, SERIES, _MARKS, strict=False):
        own = table[table["row"] == row].sort_values("x")
        x, estimate, low, high = (own[name].to_numpy(dtype=np.float64) for name in ("x", "estimate", "low", "high"))
        if row == rows[0]:
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        else:
            axes.vlines(x, low, high, color=colour, alpha=0.6, linewidth=1.0)
        axes.plot(x, estimate, color=colour, marker=mark, markersize=5, linewidth=1.6)
    places = sorted(set(table["x"].astype(float)))
    if logarithmic:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [f"{place:g}" for place in places])
    if limits is not None:
        axes.set_ylim(*limits)
    if level is not None:
        axes.axhline(level, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_xlabel(x_label, color=MUTED, fontsize=TEXT, labelpad=3)
    axes.set_ylabel(label, color=MUTED, fontsize=TEXT)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    _key(figure, rows)
    return figure


def _key(figure: Figure, rows: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=colour, marker=mark, markersize=5, linewidth=1.6, label=row.replace("$", r"\$"))
        for row, colour, mark in zip(rows, SERIES, _MARKS, strict=False)
    ]
    figure.legend(
        handles=handles,
        loc="lower left",
        ncols=2,
        frameon=False,
        fontsize=SMALL_TEXT,
        labelcolor=MUTED,
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.4,
        borderaxespad=0.1,
    )
