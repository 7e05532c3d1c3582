"""Figures of estimated labels against true ones: confusions, errors, tempi on octave lines, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import NDArray

from m2l2_mir.report.drawing import INK, MAGNITUDE, MUTED, RULE, SMALL_TEXT, TEXT, canvas, image, shaded
from m2l2_mir.report.score_figures import SERIES

__all__ = ["confusion_map", "error_histogram", "reliability_plot", "tempo_plot"]

NUMBERED = 12  # classes up to which shares are printed in the cells
NAMED = 40  # classes up to which they are named
MANY_POINTS = 2000  # drawn as pixels, lest the file grow without bound
TEMPO_FACTORS = ((1 / 3, "1/3"), (1 / 2, "1/2"), (1.0, "1"), (2.0, "2"), (3.0, "3"))


def confusion_map(counts: pd.DataFrame, *, blocks: Sequence[int] = (), width: float = 440.0) -> Figure:
    """Draw how often each class is taken for each other one.

    Parameters
    ----------
    counts
        [true classes, estimated classes]; a line is drawn as shares of its sum.
    blocks
        Classes before which a rule parts both axes.
    width
        In pixels.
    """
    shares = counts.to_numpy(dtype=np.float64)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)
    names = [str(name) for name in counts.index] if len(counts) <= NAMED else []
    small = 8.0 if len(names) > NUMBERED else SMALL_TEXT
    margin = 30 + 0.57 * small * max(map(len, names), default=0)
    figure, axes = canvas(width, width, (margin, 6.0, margin, 6.0))
    image(axes, shaded(shares, np.full(shares.shape, MAGNITUDE)))
    axes.set_yticks(range(len(names)), names, fontsize=small, parse_math=False)
    axes.set_xticks(range(len(names)), names, fontsize=small, parse_math=False, rotation=90)
    axes.set_ylabel("true", color=MUTED, fontsize=TEXT)
    axes.set_xlabel("estimated", color=MUTED, fontsize=TEXT)
    if len(counts) <= NUMBERED:
        for place, column in np.argwhere(shares >= 0.005):
            share = shares[place, column]
            colour = "#ffffff" if share > 0.6 else INK
            axes.text(column, place, f"{share:.2f}", color=colour, fontsize=SMALL_TEXT, ha="center", va="center")
    for edge in blocks:
        axes.axhline(edge - 0.5, color=MUTED, linewidth=0.8)
        axes.axvline(edge - 0.5, color=MUTED, linewidth=0.8)
    for spine in axes.spines.values():
        spine.set(visible=True, color=RULE)
    return figure


def error_histogram(errors: NDArray[np.float64], *, label: str, reach: int = 24, width: float = 440.0) -> Figure:
    """Draw how many errors there are of each whole size.

    Parameters
    ----------
    errors : np.ndarray [items]
        Rounded to whole numbers.
    label
        Of the axis.
    reach
        Larger errors are counted at the ends.
    width
        In pixels.
    """
    steps = np.clip(np.floor(errors + 0.5), -reach, reach).astype(np.int64)
    shares = np.bincount(steps + reach, minlength=2 * reach + 1) / max(len(steps), 1)
    figure, axes = canvas(width, 270.0, (40.0, 6.0, 38.0, 8.0))
    sizes = np.arange(-reach, reach + 1)
    octave = sizes % 12 == 0
    axes.bar(sizes, shares, width=0.8, color=np.where(octave, SERIES[0], SERIES[4]))
    ticks = np.arange(-reach, reach + 1, 12)
    marks = {-reach: f"≤ −{reach}", reach: f"≥ {reach}"}
    axes.set_xticks(ticks, [marks.get(int(tick), f"{tick:+d}".replace("-", "−") if tick else "0") for tick in ticks])
    axes.set_ylabel("share of estimates", color=MUTED, fontsize=TEXT)
    axes.set_xlabel(label, color=MUTED, fontsize=TEXT)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure


def tempo_plot(reference: NDArray[np.float64], estimated: NDArray[np.float64], *, width: float = 440.0) -> Figure:
    """Draw estimated against true tempi on logarithmic axes, with lines where a metrical level is taken for another.

    Parameters
    ----------
    reference, estimated : np.ndarray [items]
        bpm, above 0.
    width
        In pixels.
    """
    figure, axes = canvas(width, width * 0.9, (46.0, 30.0, 38.0, 18.0))
    low, high = reference.min() / 1.08, reference.max() * 1.08
    bottom, top = max(min(estimated.min() / 1.08, low), low / 4), min(max(estimated.max() * 1.08, high), high * 4)
    for factor, name in TEMPO_FACTORS:
        axes.plot([low, high], [factor * low, factor * high], color=MUTED, linewidth=1.3 if factor == 1 else 0.8)
        end = min(high, top / factor)  # where the line leaves the axes, on the right or at the top
        if factor * end > bottom:
            beside, place = ("left", "center") if end == high else ("center", "bottom")
            axes.text(end, factor * end, f" ×{name} ", color=MUTED, fontsize=SMALL_TEXT, ha=beside, va=place)
    axes.plot(
        reference,
        np.clip(estimated, bottom, top),
        "o",
        color=SERIES[0],
        alpha=0.45,
        markersize=4.5,
        markeredgewidth=0,
        rasterized=len(reference) > MANY_POINTS,
    )
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(bottom, top))
    for axis, (first, last) in ((axes.xaxis, (low, high)), (axes.yaxis, (bottom, top))):
        ticks = [tick for tick in (15, 30, 45, 60, 90, 120, 180, 240, 360, 480) if first <= tick <= last]
        axis.set_ticks(ticks, [str(tick) for tick in ticks])
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("true bpm", color=MUTED, fontsize=TEXT)
    axes.set_ylabel("estimated bpm", color=MUTED, fontsize=TEXT)
    return figure


def reliability_plot(table: pd.DataFrame, *, width: float = 440.0) -> Figure:
    """Draw accuracy against confidence; on the diagonal the two are the same.

    Parameters
    ----------
    table
        Of :func:`m2l2_mir.probe.genre.reliability`: ``items``, ``confidence``, ``accuracy``.
    width
        In pixels.
    """
    figure, axes = canvas(width, width * 0.9, (46.0, 10.0, 38.0, 10.0))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
    sizes = 220 * table["items"] / table["items"].max()
    axes.scatter(table["confidence"], table["accuracy"], s=sizes.clip(lower=8), color=SERIES[0], alpha=0.75)
    axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("confidence", color=MUTED, fontsize=TEXT)
    axes.set_ylabel("accuracy", color=MUTED, fontsize=TEXT)
    return figure
